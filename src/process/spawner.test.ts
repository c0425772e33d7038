import { execFile } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { has } from '../../test/peers.ts'
import { collectLog, until } from '../../test/fixtures/cgi/tools.ts'
import { openSpawner } from './spawner.ts'
import type { Spawner } from './spawner.ts'
import type { Program, ProgramExit } from './spawner-program.ts'
import type { ProgramSpec } from './spawner-wire.ts'

const kinds = has('python3') ? (['python', 'node'] as const) : (['node'] as const)
const PATH = ['PATH', '/usr/bin:/bin']

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'spawner-test-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const sh = (script: string, ...args: string[]): ProgramSpec => ({
  file: '/bin/sh',
  argv: ['sh', '-c', script, ...args],
  env: PATH,
  cwd: '/',
})

async function outcome(program: Program): Promise<ProgramExit & { stdout: string; stderr: string[] }> {
  const stderr: string[] = []
  program.onStderr = (line) => stderr.push(line)
  const chunks: Buffer[] = []
  program.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  const closed = new Promise((resolve) => program.stdout.once('close', resolve))
  const exit = await program.exited
  await closed
  return { ...exit, stdout: Buffer.concat(chunks).toString('latin1'), stderr }
}

/** Alive, and not a zombie that only waits for its parent. */
function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

function scriptFile(name: string, text: string): ProgramSpec {
  writeFileSync(join(folder, name), text, { mode: 0o755 })
  return { file: join(folder, name), argv: [name], env: [], cwd: '/' }
}

const descriptors = (pid: number | 'self'): number => readdirSync(`/proc/${pid}/fd`).length

const firstLine = (program: Program): Promise<string> =>
  new Promise((resolve) => {
    let text = ''
    program.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.includes('\n')) resolve(text.split('\n')[0]!)
    })
  })

describe.each(kinds)('a spawner in %s', (kind) => {
  let spawner: Spawner
  const { log, messages } = collectLog()

  beforeEach(async () => {
    messages.length = 0
    spawner = openSpawner({ kind, helpers: 1, log })
    await spawner.ready()
  })
  afterEach(() => spawner.close())

  test('runs a program with exactly its arguments, environment and working directory', async () => {
    const run = await outcome(
      spawner.run({
        file: '/bin/sh',
        argv: ['zero', '-c', 'printf "%s|" "$0" "$@"; pwd; /usr/bin/env', 'a', 'b c', '', '*'],
        env: ['B', '2', 'A', 'a=b\nc'],
        cwd: '/usr/bin',
      }),
    )
    expect(run).toMatchObject({ code: 0, signal: undefined, error: undefined, left: false, stderr: [] })
    const [words, ...env] = run.stdout.trimEnd().split('\n')
    expect(words).toBe('a|b c||*|/usr/bin')
    // The shell adds PWD and the like itself.
    expect(env.filter((line) => !/^(PWD|SHLVL|OLDPWD|_)=/.test(line)).sort()).toEqual(['A=a=b', 'B=2', 'c'])
  })

  test('gives a program no descriptor but the three, no signal mask, default actions, umask 022 and a group of its own', async () => {
    const run = await outcome(
      spawner.run(sh('umask; for f in $(seq 0 300); do [ -e /proc/$$/fd/$f ] && echo $f; done; ps -o pid=,pgid= -p $$')),
    )
    const rest = run.stdout.trim().split('\n')
    const [pid, group] = rest.pop()!.trim().split(/\s+/)
    expect(group).toBe(pid)
    expect(rest).toEqual(['0022', '0', '1', '2'])
    const status = (await outcome(spawner.run(sh('exec grep -E "^Sig(Blk|Ign)" /proc/self/status')))).stdout
    const signals = Object.fromEntries(status.split('\n').map((line) => line.split(/:\s+/)))
    expect(signals['SigBlk']).toMatch(/^0+$/)
    // The C library may ignore its own two, 32 and 33.
    expect(BigInt(`0x${signals['SigIgn']}`) & ~0x180000000n).toBe(0n)
  })

  test('passes bytes that travel with the order, and input ends after them', async () => {
    const run = await outcome(spawner.run({ ...sh('cat; cat /dev/null; echo end'), input: [Buffer.from('one '), Buffer.from('two ')] }))
    expect(run.stdout).toBe('one two end\n')
  })

  test('gives a program that gets no input the end of file at once', async () => {
    expect((await outcome(spawner.run(sh('wc -c')))).stdout.trim()).toBe('0')
  })

  test('streams input over a connection of its own, in step with the program', async () => {
    const program = spawner.run({ ...sh('exec wc -c'), input: 'stream' })
    const done = outcome(program)
    const block = Buffer.alloc(1 << 20, 'x')
    for (let i = 0; i < 8; i++) {
      if (!program.stdin!.write(block)) await new Promise((resolve) => program.stdin!.once('drain', resolve))
    }
    program.stdin!.end()
    expect((await done).stdout.trim()).toBe(String(8 << 20))
  })

  test('keeps the answer of a program that exits without reading its input', async () => {
    const program = spawner.run({ ...sh('exec /usr/bin/printf %100000s x'), input: 'stream' })
    const done = outcome(program)
    const block = Buffer.alloc(1 << 20)
    const closed = new Promise((resolve) => program.stdin!.once('close', resolve))
    program.stdin!.resume()
    const feeding = setInterval(() => program.stdin!.destroyed || program.stdin!.write(block), 1)
    const run = await done
    await closed
    clearInterval(feeding)
    expect(run).toMatchObject({ code: 0 })
    expect(run.stdout.length).toBe(100_000)
  })

  test('tells exit status, signal and standard error, lines whole and made harmless', async () => {
    expect(await outcome(spawner.run(sh('echo one >&2; printf "t\\033wo" >&2; exit 7')))).toMatchObject({
      code: 7,
      signal: undefined,
      stderr: ['one', 't\\x1bwo'],
    })
    expect(await outcome(spawner.run(sh('kill -SEGV $$')))).toMatchObject({ code: undefined, signal: 'SIGSEGV' })
  })

  test('tells CPU time and memory where it can', async () => {
    const run = await outcome(spawner.run(sh('i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done')))
    if (kind === 'python') {
      expect(run.userTime).toBeGreaterThan(0)
      expect(run.maxRss).toBeGreaterThan(100_000)
    } else expect(run).toMatchObject({ userTime: 0, maxRss: 0 })
  })

  test('survives a program that floods standard error, and passes on a bounded part', async () => {
    let bytes = 0
    const program = spawner.run(sh('head -c 20000000 /dev/zero | tr "\\0" "x" | fold -w 1000 >&2'))
    program.onStderr = (line) => {
      bytes += line.length
    }
    expect(await program.exited).toMatchObject({ code: 0 })
    expect(bytes).toBeGreaterThan(1000)
    expect(bytes).toBeLessThan(2_000_000)
  })

  test.each([
    ['does not exist', '/nonexistent/program', 'ENOENT', 'exec'],
    ['is not executable', '/etc/passwd', 'EACCES', 'exec'],
    ['is a directory', '/etc', 'EACCES', 'exec'],
  ])('says so when the program %s', async (_, file, errno, stage) => {
    const run = await outcome(spawner.run({ file, argv: [file], env: [], cwd: '/' }))
    expect(run.error).toMatchObject({ code: 'PROGRAM_FAILED', status: 500, errno, stage })
    expect(run.error!.message).toContain(file)
    expect(run.stdout).toBe('')
  })

  test('says so when an interpreter, an executable format or the working directory is missing', async () => {
    expect((await outcome(spawner.run(scriptFile('crlf', '#!/bin/sh\r\necho\r\n')))).error).toMatchObject({
      errno: 'ENOENT',
      message: expect.stringContaining('CR LF'),
    })
    // Node's own spawn uses execvp, which hands a script without a first line to the shell.
    if (kind === 'python') expect((await outcome(spawner.run(scriptFile('plain', 'echo\n')))).error).toMatchObject({ errno: 'ENOEXEC' })
    expect((await outcome(spawner.run({ ...sh('echo'), cwd: '/nonexistent' }))).error).toMatchObject({ errno: 'ENOENT', stage: 'cwd' })
    expect((await outcome(spawner.run({ ...sh('echo'), env: ['A', 'x'.repeat(140_000)] }))).error).toMatchObject({
      errno: 'E2BIG',
      status: 431,
    })
  })

  test('refuses a NUL before anything is started', () => {
    expect(() => spawner.run({ ...sh('echo'), env: ['A', 'x\0y'] })).toThrow(expect.objectContaining({ status: 400 }))
  })

  test('signals the whole group', async () => {
    const program = spawner.run(sh('sleep 600 & echo $!; wait'))
    const child = Number(await firstLine(program))
    program.kill('SIGKILL')
    expect(await program.exited).toMatchObject({ signal: 'SIGKILL' })
    await until(() => !alive(child))
  })

  test('keeps a signal for a program that has not started yet', async () => {
    const program = spawner.run(sh('exec sleep 600'))
    program.kill('SIGKILL')
    expect(await program.exited).toMatchObject({ signal: 'SIGKILL' })
  })

  test('still reaches what a program left behind, and tells when the last of it has gone', async () => {
    const program = spawner.run(sh('sleep 600 & echo $!'))
    const child = Number(await firstLine(program))
    expect(await program.exited).toMatchObject({ code: 0, left: true })
    expect(program.gone).toBe(false)
    expect(alive(child)).toBe(true)
    const gone = new Promise<void>((resolve) => {
      program.onGone = resolve
    })
    program.kill('SIGTERM')
    await gone
    expect(alive(child)).toBe(false)
    expect(program.gone).toBe(true)
  })

  test('leaves nothing when it is closed: no program, no descendant, no helper, no file', async () => {
    const ignoring = spawner.run(sh('trap "" TERM HUP; sleep 600 & echo $! $$; wait'))
    const left = spawner.run(sh('sleep 600 & echo $! $$'))
    const pids = (await Promise.all([firstLine(ignoring), firstLine(left)])).flatMap((line) => line.split(' ').map(Number))
    const helpers = spawner.pids
    await spawner.close()
    await until(() => [...pids, ...helpers].every((pid) => !alive(pid)))
    expect(await ignoring.exited).toMatchObject({ code: undefined })
    expect(() => spawner.run(sh('echo'))).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    await expect(spawner.ready()).rejects.toMatchObject({ code: 'CLOSED' })
    await spawner.close()
  })

  test('leaves no descriptor behind', async () => {
    await outcome(spawner.run(sh('cat')))
    const [helper] = spawner.pids
    const before = [descriptors('self'), descriptors(helper!)]
    await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        outcome(spawner.run({ ...sh('cat >/dev/null; echo x >&2'), input: i % 2 === 0 ? [Buffer.from('x')] : 'none' })),
      ),
    )
    await until(() => descriptors('self') <= before[0]! && descriptors(helper!) <= before[1]!)
  })

  test('replaces a helper that was killed; its programs are killed, and their ends reported as lost', async () => {
    const program = spawner.run(sh('sleep 600 & echo $!; wait'))
    const child = Number(await firstLine(program))
    const [helper] = spawner.pids
    await until(() => program.pid !== undefined)
    process.kill(helper!, 'SIGKILL')
    const exit = await program.exited
    expect(exit.error).toMatchObject({
      code: 'UNAVAILABLE',
      status: 503,
      stage: 'helper',
      message: expect.stringContaining(String(program.pid)),
    })
    await until(() => !alive(child) && !alive(program.pid!))
    await spawner.ready()
    expect(spawner.pids[0]).not.toBe(helper)
    expect((await outcome(spawner.run(sh('echo again')))).stdout).toBe('again\n')
    expect(messages.join('\n')).toContain('a helper ended with SIGKILL; starting another')
  })

  test('leaves nothing when its front is killed with SIGKILL', async () => {
    // Another process, from what was built.
    const built = new URL('../../dist/process/index.js', import.meta.url).href
    const front = execFile(process.execPath, [
      '--input-type=module',
      '-e',
      `import { openSpawner } from ${JSON.stringify(built)}
      const spawner = openSpawner({ helpers: 1, kind: ${JSON.stringify(kind)} })
      await spawner.ready()
      const program = spawner.run({ file: '/bin/sh', argv: ['sh', '-c', 'trap "" TERM HUP PIPE; sleep 600 & echo $! $$; wait'], env: [], cwd: '/' })
      program.stdout.on('data', (chunk) => process.stdout.write(chunk.toString().trim() + ' ' + spawner.pids + '\\n'))`,
    ])
    const line = await new Promise<string>((resolve) => front.stdout!.once('data', (chunk: string) => resolve(chunk)))
    const pids = line.trim().split(' ').map(Number)
    expect(pids.length).toBe(3)
    const path = readFileSync(`/proc/${pids[2]}/cmdline`, 'utf8').split('\0').at(-2)!
    expect(pids.every(alive)).toBe(true)
    front.kill('SIGKILL')
    await until(() => !pids.some(alive))
    expect(existsSync(path)).toBe(false)
  })

  test('does not lose its programs to a signal that is meant for everybody', async () => {
    const program = spawner.run(sh('read x; echo still here; cat'))
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.kill(spawner.pids[0]!, signal)
    expect((await outcome(program)).stdout).toBe('still here\n')
    expect((await outcome(spawner.run(sh('echo and more')))).stdout).toBe('and more\n')
  })
})

describe.skipIf(!has('python3'))('helpers', () => {
  test('are used in turn', async () => {
    const spawner = openSpawner({ helpers: 3 })
    await until(() => spawner.pids.length === 3)
    await spawner.ready()
    await until(() => spawner.up)
    const parents = new Set<string>()
    await until(async () => {
      parents.add((await outcome(spawner.run(sh('echo $PPID')))).stdout.trim())
      return parents.size === 3
    })
    expect([...parents].map(Number).sort()).toEqual([...spawner.pids].sort())
    await spawner.close()
  })

  test('are replaced without harm to what runs when their socket was cleaned away', async () => {
    const spawner = openSpawner({ helpers: 1, kind: 'python' })
    await spawner.ready()
    const [helper] = spawner.pids
    const path = readFileSync(`/proc/${helper}/cmdline`, 'utf8').split('\0').at(-2)!
    const running = spawner.run({ ...sh('cat; echo whole'), input: 'stream' })
    await until(() => running.pid !== undefined)
    unlinkSync(path)
    expect((await outcome(spawner.run(sh('echo')))).error).toMatchObject({ code: 'UNAVAILABLE', status: 503 })
    await spawner.ready()
    expect((await outcome(spawner.run(sh('echo new')))).stdout).toBe('new\n')
    running.stdin!.end('old ')
    expect((await outcome(running)).stdout).toBe('old whole\n')
    await until(() => !alive(helper!))
    await spawner.close()
    expect(existsSync(path)).toBe(false)
  })

  test('kill what changed its group, too, when they go', async () => {
    const spawner = openSpawner({ helpers: 1, kind: 'python' })
    await spawner.ready()
    // An interactive shell gives each background job a group of its own.
    const program = spawner.run(sh('set -m; sleep 600 & echo $!'))
    const child = Number(await firstLine(program))
    await program.exited
    expect(alive(child)).toBe(true)
    await spawner.close()
    await until(() => !alive(child))
  })

  test('take orders from the process that started them only', async () => {
    const spawner = openSpawner({ helpers: 1, kind: 'python' })
    await spawner.ready()
    const path = readFileSync(`/proc/${spawner.pids[0]}/cmdline`, 'utf8').split('\0').at(-2)!
    const text = 'run\\0009\\0none\\0/\\0/bin/sh\\0001\\0sh'
    const other = spawner.run({
      file: '/usr/bin/python3',
      argv: [
        'python3',
        '-c',
        `import socket; s = socket.socket(socket.AF_UNIX); s.connect(${JSON.stringify(path)}); s.sendall(bytes([0,0,0,29,0,0,0,0]) + b"${text}"); print(s.recv(10))`,
      ],
      env: PATH,
      cwd: '/',
    })
    const run = await outcome(other)
    expect(run.stdout + run.stderr.join('')).toMatch(/^b''\n$|ConnectionReset|BrokenPipe/)
    await spawner.close()
  })

  test('fall back to node when the interpreter does not work', async () => {
    // Not a Python that can be started: the front cannot know before.
    const { log, messages } = collectLog()
    const spawner = openSpawner({ helpers: 1, log, python: '/bin/false' })
    await spawner.ready()
    expect((await outcome(spawner.run(sh('echo hello')))).stdout).toBe('hello\n')
    expect(messages.join('\n')).toContain('using node')
    await spawner.close()
  })
})
