// `viaduct serve` on a real terminal, which script(1) gives it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { has } from '../peers.ts'
import { MAIN, Program, alive, ask, until } from './program.ts'

// What is typed at the test's helper goes to script's standard input, which hands it to the terminal.
const HELPER = `
const child = require('node:child_process').spawn('script', ['-qec', process.env.COMMAND, '/dev/null'], { stdio: ['pipe', 'inherit', 'inherit'] })
process.on('SIGUSR2', () => child.stdin.write('\\x03'))
child.on('exit', (code) => process.exit(code ?? 99))
console.log('script is ' + child.pid + ';')
`

describe.skipIf(!has('script'))('on a terminal', () => {
  let folder = ''
  let program: Program | undefined
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'viaduct-terminal-'))
    writeFileSync(join(folder, 'index.html'), 'hello')
  })
  afterEach(async () => {
    await program?.end()
    rmSync(folder, { recursive: true, force: true })
  })

  async function serve(env: NodeJS.ProcessEnv = {}): Promise<{ program: Program; url: string; script: number }> {
    const command = `exec ${process.execPath} ${MAIN} serve ${folder} --listen 0`
    program = new Program(['-e', HELPER], { COMMAND: command, TERM: 'xterm', ...env })
    const script = Number((await program.said(/script is (\d+);/))[1])
    const url = (await program.said(/(http:\/\/127\.0\.0\.1:\d+)\//))[1]!
    await program.said(/Ctrl-C stops it/)
    program.family()
    return { program, url, script }
  }

  test('it is in colour and for people, and Ctrl-C stops it in order', async () => {
    const { program: it, url } = await serve()
    expect(it.out).toContain('\x1b[1mViaduct\x1b[22m')
    await ask(url, '/')
    await it.said(/200.* GET \/ .*5 B/)
    it.kill('SIGUSR2')
    expect(await it.exited).toEqual({ code: 0, signal: null })
    expect(it.out).toMatch(/\^C.*stopping: requests have 30 s to finish; once more stops at once\r\n$/)
    expect(it.survivors()).toEqual([])
  })

  test('NO_COLOR takes the colours away', async () => {
    const { program: it, url } = await serve({ NO_COLOR: '1' })
    await ask(url, '/')
    await it.said(/200 GET \/ 5 B/)
    expect(it.out).not.toContain('\x1b')
  })

  test('that is closed, it stops; a SIGHUP while it is open is a reload', async () => {
    const { program: it, url, script } = await serve()
    const [, server] = it.family()
    process.kill(server!, 'SIGHUP')
    await it.said(/generation 2 is ready/)
    expect(await ask(url, '/')).toMatchObject({ status: 200 })
    it.family()
    process.kill(script, 'SIGKILL')
    await until('the end of the server', () => !alive(server!))
    await until('the end of every process', () => it.survivors().filter((pid) => pid !== it.pid).length === 0)
  })
})
