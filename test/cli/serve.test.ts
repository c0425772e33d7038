// `viaduct serve` as a user meets it: what it says, where it serves, what it writes.

import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { VERSION } from '../../src/core/index.ts'
import { MAIN, Program, ask, until } from './program.ts'

let folder = ''
let site = ''
let open: { end(): Promise<unknown> }[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-cli-'))
  site = join(folder, 'site')
  mkdirSync(site)
  writeFileSync(join(site, 'index.html'), '<p>hello</p>')
})
afterEach(async () => {
  for (const each of open) await each.end()
  open = []
  rmSync(folder, { recursive: true, force: true })
})

function viaduct(args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
  const program = new Program([MAIN, ...args], { NO_COLOR: '1', ...env }, folder)
  open.push(program)
  return program
}

/** What it says on its way to an exit code. */
async function said(...args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const program = viaduct(args)
  const { code } = await program.exited
  return { code, out: program.out, err: program.err }
}

/** A server on a free port of this process. */
async function occupied(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push({ end: () => new Promise((done) => server.close(done)) })
  return (server.address() as net.AddressInfo).port
}

const url = async (program: Program): Promise<string> => (await program.said(/(http:\/\/[^/"]+)\//))[1]!

describe('without serving anything', () => {
  test.each([[['--version']], [['-v']], [['serve', '--version']]])('%j says the version', async (args) => {
    expect(await said(...args)).toEqual({ code: 0, out: `${VERSION}\n`, err: '' })
  })

  test('--help shows the commands and how to begin', async () => {
    expect(await said('--help')).toEqual({
      code: 0,
      err: '',
      out: `Viaduct ${VERSION}: every bridge between the web and a program

Usage
  viaduct <command> [options]

Commands
  serve       Serve a folder: files, PHP, Python, JavaScript, CGI and FastCGI programs; or a configuration
  check       Look for mistakes in a configuration or a folder
  explain     Tell what would answer a URL, and why, without running it
  status      Ask a running server how its pools are doing
  request     Ask a FastCGI application for one page, without a web server
  values      Ask a FastCGI application what it can do (GET_VALUES)
  capture     Record what a web server and a FastCGI application say to each other
  show        Show what was recorded
  replay      Send a capture again, and show how the answers differ
  fpm         Be php-fpm: its options, configuration files, signals and logs, with php-cgi's workers
  spawn       Be spawn-fcgi: bind a socket and start a FastCGI program on it; with -y, manage a pool of it
  completion  Print a script by which a shell completes commands and options

Options
  -h, --help     This help; after a command, the help of that command
  -v, --version  The version

Examples
  viaduct serve                       Serve this folder at http://127.0.0.1:8080/
  viaduct serve ./site --listen 3000  Another folder, another port
  viaduct serve --help                Everything that serve can do
`,
    })
  })

  test.each([[['serve', '--help']], [['serve', '-h']], [['help', 'serve']], [['serve', '--listen', '--help']]])(
    '%j shows every option of serve',
    async (args) => {
      const { code, out, err } = await said(...args)
      expect({ code, err }).toEqual({ code: 0, err: '' })
      const options = out.match(/--[a-z-]+(?= |$)/gm)!
      for (const option of ['--listen', '--workers', '--php-cgi', '--max-body', '--grace', '--access-log', '--log-level', '--log-format']) {
        expect(options).toContain(option)
      }
      expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(110)
    },
  )

  test.each([
    [[], 'viaduct: a command is missing; try: viaduct serve\nMore: viaduct --help\n'],
    [['sevre'], 'viaduct: unknown command "sevre"; did you mean "serve"?\nMore: viaduct --help\n'],
    [['frobnicate'], 'viaduct: unknown command "frobnicate"\nMore: viaduct --help\n'],
    [['./site'], 'viaduct: unknown command "./site"; to serve a folder: viaduct serve ./site\nMore: viaduct --help\n'],
    [['--listen'], 'viaduct: unknown option --listen; options follow the command: viaduct serve --listen\nMore: viaduct --help\n'],
    [['serve', '--lisen', '80'], 'viaduct: serve: unknown option --lisen; did you mean --listen?\nMore: viaduct serve --help\n'],
    [['serve', '--workers', '0'], 'viaduct: serve: --workers: expected a whole number from 1, got "0"\nMore: viaduct serve --help\n'],
    [
      ['serve', '--log-level', 'loud'],
      'viaduct: serve: --log-level: expected debug, info, warn or error, got "loud"\nMore: viaduct serve --help\n',
    ],
    [['serve', 'a', 'b'], 'viaduct: serve: one folder is served, got "a" and "b"\nMore: viaduct serve --help\n'],
  ])('%j is a mistake: %s', async (args, err) => {
    expect(await said(...args)).toEqual({ code: 2, out: '', err })
  })

  test('a PORT that is no port is a mistake', async () => {
    const program = viaduct(['serve'], { PORT: 'http' })
    expect((await program.exited).code).toBe(2)
    expect(program.err).toBe(
      'viaduct: serve: PORT in the environment: a port is a number from 0 to 65535, got "http"\nMore: viaduct serve --help\n',
    )
  })

  test('a folder that is not there, and a file, are named', async () => {
    expect(await said('serve', 'nowhere')).toEqual({ code: 1, out: '', err: `viaduct: serve: there is no folder ${folder}/nowhere\n` })
    expect(await said('serve', 'site/index.html')).toEqual({
      code: 1,
      out: '',
      err: `viaduct: serve: ${site}/index.html is not a folder; name the folder that holds it\n`,
    })
  })

  test('a port that is taken: by whom, and what to do', async () => {
    const port = await occupied()
    const { code, err } = await said('serve', 'site', '--listen', String(port))
    expect(code).toBe(1)
    expect(err).toMatch(
      new RegExp(
        `^viaduct: cannot listen on 127\\.0\\.0\\.1:${port}: another program listens there \\(EADDRINUSE\\)\nIt is .+ \\(pid ${process.pid}\\)\\.\nStop it, or listen elsewhere: --listen 127\\.0\\.0\\.1:${port + 1}\n$`,
      ),
    )
  })

  test.each([
    [['--listen', 'unix:no/x.sock'], /^viaduct: cannot listen on unix:.*: there is no folder .*\/no \(ENOENT\)\n$/],
    [
      ['--listen', 'unix:site/index.html'],
      /: a file that is not a socket is in the way \(EEXIST\)\nRemove that file, or choose another path\.\n$/,
    ],
    [
      ['--listen', '192.0.2.1:0'],
      /: this machine has no such address \(EADDRNOTAVAIL\)\nFor every address of this machine: --listen :0\n$/,
    ],
    [['--access-log', 'no/access.log'], /^viaduct: serve: the access log cannot be written: ENOENT: .*\n$/],
  ])('%j cannot be done, and it says why', async (args, err) => {
    const result = await said('serve', 'site', '--listen', '0', ...args)
    expect(result.code).toBe(1)
    expect(result.err).toMatch(err)
  })
})

describe('serving', () => {
  test('says what and where, in a table, and stops with one line', async () => {
    const program = viaduct(['serve', 'site', '--listen', '0', '--log-format', 'pretty', '--access-log', 'off'])
    const where = await url(program)
    await program.said(/Ctrl-C/)
    expect(program.err).toBe(`Viaduct ${VERSION} serves ${site}\n\n  /   files\n\n  ${where}/\n\n  Ctrl-C stops it\n\n`)
    expect(await ask(where, '/')).toMatchObject({ status: 200, body: '<p>hello</p>' })
    program.kill('SIGINT')
    expect(await program.exited).toEqual({ code: 0, signal: null })
    expect(program.err.split('Ctrl-C stops it\n\n')[1]).toMatch(
      /^\d\d:\d\d:\d\d stopping: requests have 30 s to finish; once more stops at once\n$/,
    )
    expect(program.out).toBe('')
  })

  test('says it as one JSON line where nobody looks', async () => {
    const program = viaduct(['serve', 'site', '--listen', '0'])
    await url(program)
    const line = JSON.parse(program.err.split('\n')[0]!) as object
    expect(line).toMatchObject({
      level: 'info',
      msg: 'viaduct serves',
      version: VERSION,
      folder: site,
      addresses: [expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/$/)],
      serves: [{ path: '/', kind: 'static' }],
    })
  })

  test('listens on several addresses, also on a unix socket, and takes the file away', async () => {
    const program = viaduct(['serve', 'site', '--listen', '127.0.0.1:0', '--listen', 'unix:x.sock', '--listen', 'localhost:0'])
    await url(program)
    const { addresses } = JSON.parse(program.err.split('\n')[0]!) as { addresses: string[] }
    expect(addresses).toHaveLength(3)
    expect(addresses[1]).toBe(`unix:${folder}/x.sock`)
    for (const where of [addresses[0]!, { socketPath: join(folder, 'x.sock') }, addresses[2]!]) {
      expect(await ask(where, '/')).toMatchObject({ status: 200 })
    }
    program.kill('SIGTERM')
    expect(await program.exited).toEqual({ code: 0, signal: null })
    expect(existsSync(join(folder, 'x.sock'))).toBe(false)
  })

  test('PORT and HOST are where it listens when nothing else is said', async () => {
    const server = await occupied()
    const taken = viaduct(['serve', 'site'], { HOST: '127.0.0.1', PORT: String(server) })
    expect((await taken.exited).code).toBe(1)
    expect(taken.err).toContain(`cannot listen on 127.0.0.1:${server}`)
    const program = viaduct(['serve', 'site'], { HOST: 'localhost', PORT: '0' })
    expect(await ask(await url(program), '/')).toMatchObject({ status: 200 })
  })

  test('serves the folder it stands in when none is named', async () => {
    writeFileSync(join(folder, 'here.txt'), 'here')
    const program = viaduct(['serve', '--listen', '0'])
    expect(await ask(await url(program), '/here.txt')).toMatchObject({ status: 200, body: 'here' })
  })

  test('a SIGTERM at any moment of the start ends it in order', async () => {
    for (const delay of [60, 120, 200, 300, 450]) {
      const program = viaduct(['serve', 'site', '--listen', 'unix:x.sock'])
      await new Promise((done) => setTimeout(done, delay))
      program.family()
      program.kill('SIGTERM')
      const end = await program.exited
      // Before the first line of ours runs, the signal is Node's: it ends the process, and there is nothing to tidy up.
      if (end.signal === null) expect(end.code, `after ${delay} ms: ${program.err}`).toBe(0)
      expect(existsSync(join(folder, 'x.sock'))).toBe(false)
      await until('the end of every process', () => program.survivors().length === 0)
    }
  })

  test('a SIGUSR1 at any moment of the start leaves no inspector open', async () => {
    for (const delay of [20, 50, 100, 200]) {
      const program = viaduct(['serve', 'site', '--listen', '0'])
      await new Promise((done) => setTimeout(done, delay))
      program.kill('SIGUSR1')
      const serves = await Promise.race([url(program), program.exited])
      // Before Node itself is up, the signal ends the process.
      if (typeof serves !== 'string') expect(serves.signal).toBe('SIGUSR1')
      else await until('a closed port', () => closed(9229))
      await program.end()
    }
  })
})

describe('the access log', () => {
  test('has a JSON line for each request, to the last', async () => {
    const program = viaduct(['serve', 'site', '--listen', '0'])
    const where = await url(program)
    for (let i = 0; i < 20; i++) await ask(where, `/?${i}`)
    await ask(where, '/nothing')
    program.kill('SIGINT')
    await program.exited
    const lines = program.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { target: string; status: number })
    expect(lines.map(({ target, status }) => `${status} ${target}`)).toEqual([
      ...Array.from({ length: 20 }, (_, i) => `200 /?${i}`),
      '404 /nothing',
    ])
    expect(lines[0]).toMatchObject({
      time: expect.any(String),
      method: 'GET',
      bytes: 12,
      remote: '127.0.0.1',
      duration: expect.any(Number),
    })
  })

  test('is flushed within a second or so while it serves', async () => {
    const program = viaduct(['serve', 'site', '--listen', '0', '--log-format', 'pretty'])
    await ask(await url(program), '/a')
    await program.said(/^\d\d:\d\d:\d\d 404 GET \/a /m)
  })

  test('goes to a file, which is opened anew on SIGUSR1', async () => {
    const program = viaduct(['serve', 'site', '--listen', '0', '--access-log', 'access.log'])
    const where = await url(program)
    const file = join(folder, 'access.log')
    await ask(where, '/one')
    await until('the line', () => readFileSync(file, 'utf8').includes('/one'))
    renameSync(file, `${file}.1`)
    program.kill('SIGUSR1')
    await until('the new file', () => existsSync(file))
    await ask(where, '/two')
    program.kill('SIGINT')
    await program.exited
    expect(readFileSync(`${file}.1`, 'utf8')).not.toContain('/two')
    expect(readFileSync(file, 'utf8')).toContain('/two')
    expect(program.out).toBe('')
  })

  test('whose reader has gone does not end the server', async () => {
    const program = viaduct(['serve', 'site', '--listen', '0'])
    const where = await url(program)
    program.child.stdout!.destroy()
    for (let i = 0; i < 300; i++) expect(await ask(where, `/?${'x'.repeat(100)}`)).toMatchObject({ status: 200 })
    program.kill('SIGINT')
    expect(await program.exited).toMatchObject({ code: 0 })
    expect(program.err).not.toContain('"level":"error"')
  })
})

function closed(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy()
      done(false)
    })
    socket.on('error', () => done(true))
  })
}
