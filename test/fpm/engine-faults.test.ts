// What happens to requests, and what is said, when workers, their leader or the manager die, hang or are killed.

import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { alive, until } from '../cli/program.ts'
import { has } from '../peers.ts'
import { Fpm, ask, descendants, leaderOf, open, variables, workersOf } from './engine.ts'

const SCRIPTS = {
  'ok.php': '<?php echo "ok ", getmypid();',
  'sleep.php': '<?php usleep((int) ($_GET["ms"] * 1000)); echo "slept ", getmypid();',
  'crash.php': '<?php posix_kill(getmypid(), (int) ($_GET["signal"] ?? 11)); sleep(5);',
  'count.php': '<?php header("X-Pid: " . getmypid()); static $n = 0; echo ++$n;',
}

const start = (pool: string, global = ''): Promise<Fpm> => Fpm.start('viaduct', { pool, global, scripts: SCRIPTS })

describe.skipIf(!has('php-cgi'))('viaduct fpm under faults', () => {
  test.each([
    [11, 'signal 11 (SIGSEGV'],
    [7, 'signal 7 (SIGBUS'],
    [9, 'signal 9 (SIGKILL'],
  ])('a worker that dies of signal %i costs its own request, and its end is told truly', async (signal, words) => {
    await using fpm = await start('pm = static\npm.max_children = 2')
    const other = fpm.ask('sleep.php', 'ms=300')
    const crashed = await fpm.ask('crash.php', `signal=${signal}`)
    expect(crashed.whole).toBe(false)
    expect((await other).body).toMatch(/^slept/)
    await fpm.said(
      new RegExp(
        `WARNING: \\[pool www\\] child \\d+ exited on ${words.replace(/[()]/g, '\\$&')}.*\\) after \\d+\\.\\d{6} seconds from start`,
      ),
    )
    await fpm.said(/NOTICE: \[pool www\] child \d+ started/)
    expect((await fpm.ask('ok.php')).body).toMatch(/^ok/)
    const { processes } = await fpm.status()
    expect(processes.length).toBe(2)
  })

  test('in a crash loop the end of each is told with its signal', async () => {
    const die = '<?php usleep(random_int(0, 5000)); posix_kill(getmypid(), random_int(0, 1) ? 11 : 7); sleep(5);'
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 4', scripts: { 'die.php': die } })
    let left = 120
    const client = async (): Promise<void> => {
      while (left-- > 0) expect((await fpm.ask('die.php')).whole).toBe(false)
    }
    await Promise.all(Array.from({ length: 8 }, client))
    await fpm.said(/exited on signal (?:11 \(SIGSEGV|7 \(SIGBUS)/, 120)
    expect(fpm.log).not.toContain('nobody can tell')
  })

  test('so is it when the pool is started anew meanwhile', async () => {
    await using fpm = await start('pm = static\npm.max_children = 4', 'emergency_restart_threshold = 5\nemergency_restart_interval = 1m')
    let left = 40
    const client = async (): Promise<void> => {
      while (left-- > 0) await fpm.ask('crash.php')
    }
    await Promise.all(Array.from({ length: 8 }, client))
    await fpm.said('initiating reload')
    await until('an answer', async () => (await fpm.ask('ok.php')).whole)
    expect(fpm.log).not.toContain('nobody can tell')
  })

  test("a line that a child says is that child's, or the leader's when it can be another one's: never another child's", async () => {
    const pool = 'pm = static\npm.max_children = 2\ncatch_workers_output = yes'
    const talk = '<?php file_put_contents("php://stderr", "here is " . getmypid() . "\\n"); usleep((int) ($_GET["ms"] ?? 0) * 1000);'
    await using fpm = await Fpm.start('viaduct', { pool, scripts: { ...SCRIPTS, 'talk.php': talk } })
    await fpm.ask('talk.php', 'ms=50')
    await fpm.said(/child (\d+) said into stderr: "here is \1"/)
    await Promise.all(Array.from({ length: 12 }, (_, i) => fpm.ask('talk.php', `ms=${i * 3}`)))
    await fpm.said('here is', 13)
    const leader = String(leaderOf(fpm.pid))
    for (const [, named, speaker] of fpm.log.matchAll(/child (\d+) said into stderr: "here is (\d+)"/g))
      expect([leader, speaker]).toContain(named)
  })

  test('an idle worker that is killed is replaced, and no request is lost', async () => {
    await using fpm = await start('pm = static\npm.max_children = 2')
    const victim = (await fpm.status()).processes[1]?.pid
    process.kill(victim!, 'SIGKILL')
    // Until it is dead it may be given a request, which is in its hands then.
    await until('it is dead', () => !alive(victim!))
    const replies = await Promise.all(Array.from({ length: 8 }, () => fpm.ask('ok.php')))
    expect(replies.map((reply) => reply.status)).toEqual(Array.from({ length: 8 }, () => 200))
    await fpm.said(`child ${victim} exited on signal 9 (SIGKILL)`)
  })

  test('a worker that is stopped holds up nobody else', async () => {
    await using fpm = await start('pm = static\npm.max_children = 2\nrequest_terminate_timeout = 1s')
    const stuck = (await fpm.status()).processes[1]?.pid
    process.kill(stuck!, 'SIGSTOP')
    const replies = await Promise.all(Array.from({ length: 6 }, () => fpm.ask('ok.php')))
    // The one that it got is given up at its time; all others are answered.
    expect(replies.filter((reply) => reply.whole).length).toBeGreaterThanOrEqual(5)
    expect(replies.filter((reply) => reply.whole).every((reply) => reply.status === 200)).toBe(true)
    await fpm.said('execution timed out')
    await fpm.said(`child ${stuck} exited on signal 9 (SIGKILL)`)
  })

  test('the leader is killed: what runs is answered, and another one comes', async () => {
    await using fpm = await start('pm = static\npm.max_children = 2')
    const running = fpm.ask('sleep.php', 'ms=400')
    await until('it runs', async () => (await fpm.status())['active processes'] === 1)
    const leader = leaderOf(fpm.pid)
    const before = workersOf(fpm.pid)
    process.kill(leader, 'SIGKILL')
    expect((await running).body).toMatch(/^slept/)
    await fpm.said(`leader ${leader} exited with SIGKILL`)
    expect((await fpm.ask('ok.php')).body).toMatch(/^ok/)
    await until('nobody of the old ones is left', () => !before.some(alive))
  })

  test('the manager is killed: nobody is left behind, and the socket can be used again', async () => {
    await using fpm = await start('pm = static\npm.max_children = 3')
    const family = descendants(fpm.pid)
    expect(family.length).toBeGreaterThanOrEqual(5)
    process.kill(fpm.pid, 'SIGKILL')
    await until('all of them are gone', () => !family.some(alive))
    expect(existsSync(fpm.socket)).toBe(true)
    await using again = Fpm.launch('viaduct', { pool: `pm = static\npm.max_children = 1\nlisten = ${fpm.socket}`, scripts: SCRIPTS })
    await again.said('ready to handle connections')
    const reply = await ask(fpm.socket, variables(again.script('ok.php')))
    expect(reply.body).toMatch(/^ok/)
  })

  test("a web server that leaves frees its worker, at the script's next output", async () => {
    await using fpm = await Fpm.start('viaduct', {
      pool: 'pm = static\npm.max_children = 1',
      scripts: { ...SCRIPTS, 'forever.php': '<?php while (true) { echo str_repeat("x", 10000); flush(); usleep(20000); }' },
    })
    const socket = open(fpm.socket)
    void ask(fpm.socket, variables(fpm.script('forever.php')), { socket })
    await new Promise((resolve) => socket.once('data', resolve))
    socket.destroy()
    expect((await fpm.ask('ok.php')).body).toMatch(/^ok/)
    expect(fpm.log).not.toMatch(/exited/)
  })

  test('so many crashes in a time start the pool anew, with an opcache of its own', async () => {
    await using fpm = await start('pm = static\npm.max_children = 2', 'emergency_restart_threshold = 3\nemergency_restart_interval = 1m')
    const leader = leaderOf(fpm.pid)
    for (let i = 0; i < 3; i++) await fpm.ask('crash.php')
    await fpm.said('failed processes threshold (3 in 60 sec) is reached, initiating reload')
    await until('another leader', () => !alive(leader))
    expect((await fpm.ask('ok.php')).body).toMatch(/^ok/)
  })

  test('a request that takes too long is ended at its time, and told of', async () => {
    await using fpm = await start(
      'pm = static\npm.max_children = 1\nrequest_terminate_timeout = 1s\nslowlog = FOLDER/slow.log\nrequest_slowlog_timeout = 1s',
    )
    const begun = performance.now()
    const reply = await fpm.ask('sleep.php', 'ms=20000')
    expect(reply.whole).toBe(false)
    expect(performance.now() - begun).toBeLessThan(4000)
    await fpm.said(/script '.*sleep\.php' \(request: "GET \/sleep\.php\?ms=20000"\) executing too slow \(1\.\d{6} sec\), logging/)
    await fpm.said(/script '.*sleep\.php' \(request: "GET \/sleep\.php\?ms=20000"\) execution timed out \(\d\.\d{6} sec\), terminating/)
    expect(fpm.read('slow.log')).toMatch(/^\n\[.*\] {2}\[pool www\] pid \d+\nscript_filename = .*sleep\.php\n$/)
    expect((await fpm.ask('ok.php')).body).toMatch(/^ok/)
    expect((await fpm.status())['slow requests']).toBe(1)
  })
})
