// A folder with real programs behind real processes: what happens to them when the server stops, reloads or is killed.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { has } from '../peers.ts'
import { Clients, MAIN, Program, alive, ask, until } from './program.ts'

let folder = ''
let site = ''
let programs: Program[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-site-'))
  site = join(folder, 'site')
  mkdirSync(join(site, 'cgi-bin'), { recursive: true })
  writeFileSync(join(site, 'index.html'), 'hello')
  script('slow', 'sleep 0.8; echo slow $$')
  script('forever', `echo $$ > ${folder}/pid; sleep 600`)
  script('descriptors', 'ls -l /proc/$$/fd')
  script('environment', 'env')
})
afterEach(async () => {
  for (const program of programs) await program.end()
  programs = []
  rmSync(folder, { recursive: true, force: true })
})

function script(name: string, commands: string): void {
  writeFileSync(join(site, 'cgi-bin', name), `#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n${commands}\n`, { mode: 0o755 })
}

async function serve(...args: string[]): Promise<{ program: Program; url: string }> {
  const program = new Program([MAIN, 'serve', site, '--listen', '127.0.0.1:0', '--listen', `unix:${folder}/x.sock`, ...args])
  programs.push(program)
  const url = (await program.said(/(http:\/\/[^/"]+)\//))[1]!
  program.family()
  return { program, url }
}

/** The pid of the program that `forever` runs, once it runs. */
const forever = (): Promise<number> => until('the program', () => existsSync(join(folder, 'pid')) && Number(read('pid')))
const read = (name: string): string => readFileSync(join(folder, name), 'utf8').trim()

async function gone(program: Program): Promise<void> {
  await until('the end of every process', () => program.survivors().length === 0)
}

describe('programs of a folder', () => {
  test('finish what they do when Ctrl-C comes under load, and nothing is left', async () => {
    const { program, url } = await serve()
    const clients = new Clients(url, '/', { kept: 4, fresh: 4 })
    await until('load', () => clients.answered > 100)
    const slow = Array.from({ length: 4 }, () => ask(url, '/cgi-bin/slow'))
    await until('the programs', () => program.family().length > 6)
    program.kill('SIGINT')
    for (const answer of await Promise.all(slow)) expect(answer).toMatchObject({ status: 200, body: expect.stringMatching(/^slow \d+\n$/) })
    expect(await program.exited).toEqual({ code: 0, signal: null })
    await clients.stop()
    expect(existsSync(join(folder, 'x.sock'))).toBe(false)
    await gone(program)
  })

  test('are ended when the grace is over', async () => {
    const { program, url } = await serve('--grace', '0.5')
    const answer = ask(url, '/cgi-bin/forever').catch(() => 'cut')
    const pid = await forever()
    program.kill('SIGTERM')
    expect(await program.exited).toEqual({ code: 0, signal: null })
    await answer
    await until('the end of the program', () => !alive(pid))
    await gone(program)
  })

  test.each(['the front', 'the supervisor'])('do not outlive %s when that is killed', async (who) => {
    const { program, url } = await serve()
    const front = program.family()[0]!
    const answer = ask(url, '/cgi-bin/forever').catch(() => 'cut')
    const pid = await forever()
    program.family()
    process.kill(who === 'the front' ? front : program.pid, 'SIGKILL')
    await answer
    await until('the end of the program', () => !alive(pid))
    await until('the end of the front', () => !alive(front))
    if (who === 'the front')
      expect(await until('the next front', () => ask(url, '/').catch(() => undefined))).toMatchObject({ body: 'hello' })
    else await gone(program)
  })

  test('inherit neither listening sockets nor the channel to the supervisor', async () => {
    const { url } = await serve()
    const { body } = await ask(url, '/cgi-bin/descriptors')
    const numbers = [...body.matchAll(/ (\d+) -> (\S+)/g)].map(([, fd, target]) => `${fd!} ${target!.replace(/\d{3,}/, 'N')}`)
    // sh keeps its script open as 10.
    expect(numbers.filter((line) => !/^(0|1|2) |^10 /.test(line))).toEqual([])
    expect((await ask(url, '/cgi-bin/environment')).body).not.toMatch(/NODE_|VIADUCT/)
  })

  test('that were added are there after a reload, in the table too', async () => {
    const { program, url } = await serve()
    script('new', 'echo new')
    program.kill('SIGHUP')
    await program.said(/generation 2 is ready/)
    expect(await ask(url, '/cgi-bin/new')).toMatchObject({ status: 200, body: 'new\n' })
  })

  test('have their standard error in the log, with name and pid', async () => {
    const { program, url } = await serve()
    script('complains', 'echo "it hurts" >&2; echo $$')
    const { body } = await ask(url, '/cgi-bin/complains')
    const line = await program.said(/^.*it hurts.*$/m)
    expect(JSON.parse(line[0])).toMatchObject({ level: 'warn' })
    expect(line[0]).toContain('complains')
    expect(line[0]).toContain(body.trim())
  })
})

describe.skipIf(!has('php-cgi'))('PHP of a folder', () => {
  beforeEach(() => {
    writeFileSync(join(site, 'pid.php'), '<?php echo getmypid();')
    writeFileSync(join(site, 'slow.php'), '<?php usleep(800000); echo "slow";')
  })

  test('has its workers in the table', async () => {
    const { program } = await serve('--workers', '2')
    const line = JSON.parse(program.err.split('\n')[0]!) as { serves: object[] }
    expect(line.serves).toContainEqual({
      path: '*.php',
      kind: 'php',
      interpreter: 'php-cgi',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      workers: 2,
    })
  })

  test('answers what runs when it is told to stop, and no worker is left', async () => {
    const { program, url } = await serve('--workers', '2')
    const slow = [ask(url, '/slow.php'), ask(url, '/slow.php')]
    const pid = Number((await ask(url, '/pid.php')).body)
    const more = ask(url, '/slow.php')
    program.family()
    await ask(url, '/')
    program.kill('SIGTERM')
    for (const answer of await Promise.all([...slow, more])) expect(answer).toMatchObject({ status: 200, body: 'slow' })
    expect(await program.exited).toEqual({ code: 0, signal: null })
    expect(alive(pid)).toBe(false)
    await gone(program)
  })

  test.each(['the front', 'the supervisor'])('leaves no worker when %s is killed', async (who) => {
    const { program, url } = await serve('--workers', '2')
    const front = program.family()[0]!
    const pid = Number((await ask(url, '/pid.php')).body)
    expect(program.family()).toContain(pid)
    process.kill(who === 'the front' ? front : program.pid, 'SIGKILL')
    await until('the end of the worker', () => !alive(pid))
    if (who === 'the front') {
      const { body } = await until('the next front', () => ask(url, '/pid.php').catch(() => undefined))
      expect(Number(body)).not.toBe(pid)
    } else await gone(program)
  })

  test('is replaced under load by a reload, and no request fails', async () => {
    const { program, url } = await serve('--workers', '2')
    const pid = Number((await ask(url, '/pid.php')).body)
    const clients = new Clients(url, '/pid.php', { kept: 3, fresh: 3 })
    await until('load', () => clients.answered > 100)
    program.kill('SIGHUP')
    await program.said(/generation 2 is ready/)
    const { answered } = clients
    await until('load', () => clients.answered > answered + 200)
    await clients.stop()
    expect(clients.failures).toEqual([])
    await until('the end of the old worker', () => !alive(pid))
  })

  test('with a php-cgi that is none, ends with the reason', async () => {
    const program = new Program([MAIN, 'serve', site, '--listen', '0', '--php-cgi', '/bin/true'])
    programs.push(program)
    expect((await program.exited).code).toBe(1)
    expect(program.err).toContain('/bin/true')
  })
})
