// `viaduct request`, `values`, `capture`, `show` and `replay` as people run them, with php-fpm, php-cgi, C on libfcgi and nginx.

import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { text } from '../../src/core/index.ts'
import type { Server } from '../../src/core/index.ts'
import { serveFastCgi } from '../../src/fastcgi/index.ts'
import { CertificateFolder } from '../certificates.ts'
import { MAIN, Program, until } from '../cli/program.ts'
import { has } from '../peers.ts'
import { findPhpFpm, startNginx, startPhpFpm } from './peers/index.ts'
import type { Peer } from './peers/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-tools-'))
const www = join(folder, 'www')
const script = (name: string): string => join(www, name)
mkdirSync(www)

const scripts: Readonly<Record<string, string>> = {
  'hello.php': `<?php header('X-Query: ' . ($_GET['q'] ?? '')); echo 'hello ', $_SERVER['PATH_INFO'] ?? '';`,
  'echo.php': `<?php $in = file_get_contents('php://input'); echo $_SERVER['REQUEST_METHOD'], ' ', strlen($in), ' ', md5($in), ' ', $_SERVER['CONTENT_TYPE'] ?? '-';`,
  'stderr.php': `<?php error_log("one\ntwo \x1b[31m"); http_response_code(503); echo 'sorry';`,
  'cookie.php': `<?php setcookie('session', 'a secret'); echo 'cookie ', isset($_COOKIE['login']) ? 'there' : 'missing';`,
  'big.php': `<?php header('Content-Type: application/octet-stream'); mt_srand(1); for ($i = 0; $i < 64; $i++) { echo str_repeat(chr(mt_rand(0, 255)), 65536); flush(); }`,
  'pid.php': `<?php echo getmypid();`,
}
for (const [name, code] of Object.entries(scripts)) writeFileSync(script(name), code)

const programs: Program[] = []
const children: ChildProcess[] = []
afterEach(async () => {
  await Promise.all(programs.splice(0).map((program) => program.end()))
})
afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
  }
  rmSync(folder, { recursive: true, force: true })
})

interface Said {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

async function viaduct(...args: readonly string[]): Promise<Said> {
  const program = new Program([MAIN, ...args], {}, folder)
  programs.push(program)
  const { code } = await program.exited
  return { code, out: program.out, err: program.err }
}

function curl(...args: readonly string[]): Buffer {
  return execFileSync('curl', ['-sS', ...args], { maxBuffer: 2 ** 24 })
}

function listening(path: string): Promise<void> {
  return until(`a server at ${path}`, () => {
    if (!existsSync(path)) return undefined
    return new Promise<true | undefined>((resolve) => {
      const socket = connect(path)
      socket.once('connect', () => resolve(true)).once('error', () => resolve(undefined))
      socket.once('connect', () => socket.destroy())
    })
  }).then(() => {})
}

async function start(command: string, args: readonly string[], path: string): Promise<void> {
  const child = spawn(command, args, { stdio: 'ignore', env: { PATH: process.env['PATH'] ?? '' } })
  children.push(child)
  await listening(path)
}

describe.skipIf(!has('php-cgi') || findPhpFpm() === undefined)('with PHP', () => {
  let fpm: Peer<{ readonly path: string }>
  let cgi: string

  beforeAll(async () => {
    fpm = await startPhpFpm({ folder, workers: 2, name: 'first', pool: 'pm.status_path = /status\nping.path = /ping\nslowlog = /dev/null' })
    cgi = join(folder, 'cgi.sock')
    await start('php-cgi', ['-b', cgi], cgi)
  })
  afterAll(async () => {
    await fpm.stop()
  })

  describe('a request', () => {
    test("needs no option for php-fpm's own pages", async () => {
      expect(await viaduct('request', `unix:${fpm.address.path}`, '/ping')).toMatchObject({ code: 0, out: 'pong' })
      const { out } = await viaduct('request', fpm.address.path, '/status?json', '--silent')
      expect(JSON.parse(out)).toMatchObject({ pool: 'www', 'process manager': 'static' })
    })

    test.each(['fpm', 'cgi'] as const)(
      'needs no option for a script (%s): the body goes out as it is, the head beside it',
      async (which) => {
        const address = which === 'fpm' ? fpm.address.path : cgi
        const { code, out, err } = await viaduct('request', address, `${script('hello.php')}/path/info?q=a%20b`)
        expect({ code, out }).toEqual({ code: 0, out: 'hello /path/info' })
        expect(err).toMatch(/^Status: 200\n[\s\S]*X-Query: a b\n/)
        expect(err).toMatch(/16 B in .* ms \(connected in .* ms, head after .* ms\)\n$/)
      },
    )

    test.each(['fpm', 'cgi'] as const)('takes its body from the command line, a file or standard input (%s)', async (which) => {
      const address = which === 'fpm' ? fpm.address.path : cgi
      const body = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) & 255))
      const file = join(folder, 'body')
      writeFileSync(file, body)
      const md5 = createHash('md5').update(body).digest('hex')
      expect((await viaduct('request', address, script('echo.php'), '-d', 'a=b')).out).toMatch(
        /^POST 3 .* application\/x-www-form-urlencoded$/,
      )
      expect((await viaduct('request', address, script('echo.php'), '-d', `@${file}`, '-H', 'Content-Type: a/b', '-X', 'PUT')).out).toBe(
        `PUT 300000 ${md5} a/b`,
      )
      const piped = execFileSync('sh', ['-c', `cat ${file} | ${process.execPath} ${MAIN} request ${address} ${script('echo.php')} -s -d -`])
      expect(piped.toString()).toMatch(`POST 300000 ${md5}`)
    })

    test('of a large page is the page, byte for byte', async () => {
      const file = join(folder, 'big')
      execFileSync('sh', ['-c', `${process.execPath} ${MAIN} request ${fpm.address.path} ${script('big.php')} -s > ${file}`])
      expect(statSync(file).size).toBe(64 * 65_536)
      const again = execFileSync('sh', ['-c', `${process.execPath} ${MAIN} request ${cgi} ${script('big.php')} -s | md5sum`]).toString()
      expect(again.slice(0, 32)).toBe(createHash('md5').update(readFileSync(file)).digest('hex'))
    })

    test.each<[string, readonly string[], number, RegExp]>([
      ['a status 404', ['/nope.php'], 4, /Status: 404 Not Found[\s\S]*stderr: Primary script unknown/],
      [
        'a status 5xx, and STDERR that speaks to a terminal',
        [script('stderr.php')],
        5,
        /stderr: .*one\n(?:stderr: )?[\s\S]*two \\x1b\[31m/,
      ],
    ])('shows %s in its exit code', async (_, args, code, err) => {
      const said = await viaduct('request', fpm.address.path, ...args)
      expect(said.code).toBe(code)
      expect(said.err).toMatch(err)
    })

    test('shows every record', async () => {
      const { err, out } = await viaduct(
        'request',
        fpm.address.path,
        script('hello.php'),
        '--records',
        '-p',
        'EXTRA=1',
        '-p',
        'REDIRECT_STATUS',
        '-s',
      )
      expect(out).toBe('hello ')
      expect(err).toMatch(/> .* BEGIN_REQUEST +id 1 +8 +responder\n/)
      expect(err).toContain(`SCRIPT_FILENAME=${script('hello.php')}\n`)
      expect(err).toContain('EXTRA=1\n')
      expect(err).not.toContain('REDIRECT_STATUS')
      expect(err).toMatch(/> .* PARAMS +id 1 +0 +end of the stream\n> .* STDIN +id 1 +0 +end of the stream\n/)
      expect(err).toMatch(/< .* STDOUT +id 1 +\d+\n +X-Query: *\n/)
      expect(err).toMatch(/< .* END_REQUEST +id 1 +8 +REQUEST_COMPLETE, application status 0\n/)
      expect(err).not.toContain('\x1b')
    })

    test('many times on one connection is told with its times', async () => {
      const { code, out } = await viaduct('request', fpm.address.path, script('pid.php'), '-n', '5', '--keep')
      expect(code).toBe(0)
      expect(out.match(/^ +\d +200 .*/gm)).toHaveLength(5)
      expect(out).toMatch(/ 1 +200 .*new, in/)
      expect(out.match(/ kept$/gm)).toHaveLength(4)
      expect(out).toMatch(/5 requests, 1 connection: median/)
      expect((await viaduct('request', fpm.address.path, script('pid.php'), '-n', '2')).out).toMatch(/2 requests, 2 connections: /)
    })
  })

  describe('values', () => {
    test('are told as far as php-fpm and php-cgi tell them', async () => {
      const { code, out } = await viaduct('values', fpm.address.path)
      expect(code).toBe(0)
      expect(out).toMatch(/^FCGI_MPXS_CONNS +0 /m)
      expect(out).toMatch(/^FCGI_MAX_CONNS +- +not told$/m)
      expect(JSON.parse((await viaduct('values', cgi, '--json')).out)).toMatchObject({ answered: true, values: { FCGI_MPXS_CONNS: '0' } })
    })
  })

  describe.skipIf(!has('nginx', 'curl'))('a capture behind nginx', () => {
    const file = join(folder, 'site.fcgicap')
    const socket = join(folder, 'capture.sock')
    const upload = join(folder, 'upload')
    let nginx: Peer<{ readonly port: number }>
    let out = ''

    beforeAll(async () => {
      writeFileSync(upload, Buffer.alloc(700_000, 'u'))
      const location = `location / { include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME ${www}$fastcgi_script_name; fastcgi_pass unix:${socket}; }`
      nginx = await startNginx({ folder, server: location, processes: 1 })
      const program = new Program(
        [MAIN, 'capture', '--listen', `unix:${socket}`, '--to', fpm.address.path, '--out', file, '--mode', '666'],
        {},
        folder,
      )
      try {
        await program.said(/Ctrl-C stops it/)
        const url = `http://127.0.0.1:${nginx.address.port}`
        expect(curl(`${url}/hello.php?q=1`).toString()).toBe('hello ')
        expect(curl('-d', `@${upload}`, '-H', 'Content-Type: text/x', `${url}/echo.php`).toString()).toMatch(/^POST 700000 .* text\/x$/)
        expect(curl('-D', join(folder, 'head'), `${url}/big.php`).length).toBe(64 * 65_536)
        expect(readFileSync(join(folder, 'head'), 'latin1')).toMatch(/transfer-encoding: chunked/i)
        expect(curl('-H', 'Cookie: login=a secret', '-H', 'Authorization: Basic c2VjcmV0', `${url}/cookie.php`).toString()).toBe(
          'cookie there',
        )
        expect(curl('-o', '/dev/null', '-w', '%{http_code}', `${url}/stderr.php`).toString()).toBe('503')
        program.kill('SIGINT')
        expect(await program.exited).toEqual({ code: 0, signal: null })
        out = program.out
        expect(program.err).toMatch(/5 requests on 5 connections, .* in /)
      } finally {
        await program.end()
      }
    })
    afterAll(async () => {
      await nginx.stop()
    })

    test('told each request as it passed', () => {
      expect(out.trimEnd().split('\n')).toEqual([
        expect.stringMatching(/^ +1 +200 +GET \/hello.php\?q=1 +6 B +[\d.]+ ms$/),
        expect.stringMatching(/^ +2 +200 +POST \/echo.php/),
        expect.stringMatching(/^ +3 +200 +GET \/big.php +4.2 MB /),
        expect.stringMatching(/^ +4 +200 +GET \/cookie.php/),
        expect.stringMatching(/^ +5 +503 +GET \/stderr.php .* of STDERR$/),
      ])
    })

    test('holds no secret, and is its owner’s', () => {
      const bytes = readFileSync(file)
      for (const secret of ['a secret', 'a%20secret', 'c2VjcmV0']) expect(bytes.includes(secret), secret).toBe(false)
      expect(statSync(file).mode & 0o777).toBe(0o600)
    })

    test('is shown: as a list, one request, its body, its records, as JSON', async () => {
      expect((await viaduct('show', file)).out).toMatch(
        /^ +2 +200 +POST \/echo.php[\s\S]*5 requests on 5 connections, .*masked: Authorization, /m,
      )
      const one = await viaduct('show', file, '4')
      expect(one.out).toMatch(/ +HTTP_COOKIE=\*+\n/)
      expect(one.out).toMatch(/Set-Cookie: \*+/)
      expect((await viaduct('show', file, '2', '--body', 'request')).out).toBe('u'.repeat(700_000))
      expect((await viaduct('show', file, '1', '--body', 'answer')).out).toBe('hello ')
      const records = (await viaduct('show', file, '1', '-r')).out
      expect(records).toMatch(/ 1 > .* BEGIN_REQUEST[\s\S]*QUERY_STRING=q=1\n[\s\S]* 1 < .* END_REQUEST/)
      expect(records).not.toContain('echo.php')
      const json = (await viaduct('show', file, '--json')).out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
      expect(json.map(({ status, method, bodyBytes }) => [status, method, bodyBytes])[2]).toEqual([200, 'GET', 64 * 65_536])
      expect(json.length).toBe(5)
      expect(await viaduct('show', file, '9')).toMatchObject({ code: 1, err: expect.stringContaining('has no request 9; it has 5') })
      expect((await viaduct('capture', '--read', file)).out).toBe((await viaduct('show', file)).out)
    })

    test('is the same when it is sent to a second php-fpm, but for what was masked; and a difference is shown', async () => {
      const second = await startPhpFpm({ folder, workers: 2, name: 'second', pool: 'php_admin_value[opcache.enable] = 0' })
      try {
        const masked = await viaduct('replay', file, '--to', second.address.path)
        expect(masked.code).toBe(1)
        expect(masked.out).toMatch(
          /^= +1 .*\n= +2 .*\n= +3 .*\n! +4 +200 +GET \/cookie.php .*\n +body, from byte 7 .*\n +- cookie there\n +\+ cookie missing\n= +5 +503 /,
        )
        expect(masked.out).toMatch(/\n4 the same, 1 different\n$/)
        expect(masked.err).toContain(
          'masked in the capture and not sent: HTTP_AUTHORIZATION (1 request), HTTP_COOKIE (1 request); --set NAME=VALUE',
        )
        const set = await viaduct('replay', file, '--to', second.address.path, '--set', 'HTTP_COOKIE=login=x', '--keep')
        expect(set).toMatchObject({ code: 0, out: expect.stringMatching(/5 the same\n$/) })
        writeFileSync(script('hello.php'), `<?php http_response_code(201); header('X-Query: 2'); header('X-New: 1'); echo 'Hello ';`)
        const planted = await viaduct('replay', file, '--to', second.address.path, '--only', '1,3', '--quiet')
        expect(planted.code).toBe(1)
        expect(planted.out).toMatch(
          /^! +1 +201 +GET \/hello.php\?q=1 .*\n +status\n +- 200\n +\+ 201\n[\s\S]*X-Query\n +- 1\n +\+ 2\n[\s\S]*X-New\n +\+ 1\n[\s\S]*body, from byte 0/,
        )
        expect(planted.out).not.toContain('big.php')
        const json = (await viaduct('replay', file, '--to', second.address.path, '--only', '1', '--json')).out
        expect(JSON.parse(json)).toMatchObject({ number: 1, same: false, recorded: { status: 200 }, replayed: { status: 201 } })
      } finally {
        writeFileSync(script('hello.php'), scripts['hello.php']!)
        await second.stop()
      }
    })

    test('that was cut off, or spoilt, is shown as far as it is good', async () => {
      const spoilt = join(folder, 'spoilt')
      const bytes = readFileSync(file)
      writeFileSync(spoilt, bytes.subarray(0, 20_000))
      expect(await viaduct('show', spoilt)).toMatchObject({
        code: 1,
        out: expect.stringMatching(/GET \/hello.php/),
        err: expect.stringMatching(/spoilt is cut off within a frame, at byte \d+; what is before that is shown/),
      })
      bytes[5000]! ^= 0xff
      writeFileSync(spoilt, bytes)
      expect(await viaduct('show', spoilt)).toMatchObject({ code: 1, err: expect.stringContaining('is damaged: the checksum') })
      expect(await viaduct('replay', spoilt, '--to', fpm.address.path)).toMatchObject({
        code: 1,
        err: expect.stringContaining('is damaged'),
      })
      expect(await viaduct('show', script('big.php'))).toMatchObject({ code: 1, err: expect.stringContaining('is no capture of FastCGI') })
    })
  })

  test('a disk that is full ends the recording, is said, and the traffic goes on', async () => {
    const [file, socket] = [join(folder, 'full.fcgicap'), join(folder, 'full.sock')]
    // A process may write files of so many blocks of 512 bytes: the system then says what a full disk says.
    const command = `ulimit -f 128; exec ${process.execPath} ${MAIN} capture -l unix:${socket} -t ${fpm.address.path} -o ${file}`
    const program = new Program(
      [
        '-e',
        `require('node:child_process').spawn('bash', ['-c', ${JSON.stringify(command)}], { stdio: 'inherit' }).on('exit', (code) => process.exit(code))`,
      ],
      {},
      folder,
    )
    programs.push(program)
    await program.said(/Ctrl-C stops it/)
    for (let i = 0; i < 2; i++) {
      const got = execFileSync('sh', ['-c', `${process.execPath} ${MAIN} request ${socket} ${script('big.php')} -s | wc -c`]).toString()
      expect(Number(got)).toBe(64 * 65_536)
    }
    await program.said(/the file cannot be written: EFBIG.*; nothing more is recorded, and the traffic goes on/)
    process.kill(program.family()[0]!, 'SIGINT')
    expect(await program.exited).toMatchObject({ code: 1 })
    expect((await viaduct('show', file)).code).toBe(1)
  })
})

describe.skipIf(!has('gcc') || !existsSync('/usr/include/fcgiapp.h'))('with C on libfcgi', () => {
  const path = join(folder, 'c.sock')
  beforeAll(async () => {
    const program = join(folder, 'tools')
    execFileSync('gcc', ['-O1', '-o', program, new URL('../fixtures/fastcgi/tools.c', import.meta.url).pathname, '-lfcgi'])
    await start(program, [path], path)
  })

  test('a responder answers, and its values are told', async () => {
    expect(await viaduct('request', path, '/')).toMatchObject({ code: 0, out: 'RESPONDER' })
    expect((await viaduct('values', path)).out).toMatch(/^FCGI_MAX_CONNS +1 [\s\S]*^FCGI_MAX_REQS +1 [\s\S]*^FCGI_MPXS_CONNS +0 /m)
    expect((await viaduct('values', path, 'FCGI_MAX_REQS', 'NONSENSE')).out).toMatch(/^FCGI_MAX_REQS +1 .*\nNONSENSE +- +not told\n$/)
  })

  test('an authorizer allows (0) or denies (3)', async () => {
    const allowed = await viaduct('request', path, '/private', '--role', 'authorizer', '-H', 'X-Key: open')
    expect(allowed.code).toBe(0)
    expect(allowed.err).toContain('Variable-USER: ada')
    expect(allowed.err).toContain('Variable-SEEN: - /private')
    expect(await viaduct('request', path, '/private', '--role', 'authorizer')).toMatchObject({ code: 3, out: 'no' })
  })

  test('a filter gets its data, and may answer without them', async () => {
    const file = join(folder, 'data')
    writeFileSync(file, 'shout '.repeat(50_000))
    const { code, out } = await viaduct('request', path, '/x', '--role', 'filter', '--data', file, '-d', 'four', '-X', 'POST')
    expect(code).toBe(0)
    expect(out).toBe(`4 300000 ${Math.floor(statSync(file).mtimeMs / 1000)}\n${'SHOUT '.repeat(50_000)}`)
    expect((await viaduct('request', path, '/x?cached', '--role', 'filter', '--data', file)).out).toBe('from a cache')
  })
})

describe('with our own server', () => {
  let server: Server
  let address: string
  beforeAll(async () => {
    server = await serveFastCgi((request) => text(200, `${request.method} ${request.pathInfo}?${request.queryString}`), {
      listen: {},
      mount: '/',
    })
    address = 'port' in server.address ? String(server.address.port) : ''
  })
  afterAll(() => server.close())

  test('a port of this machine is an address, and requests share a connection', async () => {
    expect((await viaduct('request', address, '/some/path?a=b')).out).toBe('GET /some/path?a=b')
    expect((await viaduct('request', address, '/x', '-n', '3', '-k')).out).toContain('3 requests, 1 connection: ')
    expect((await viaduct('request', address, '/x', '-i', '-s')).out).toMatch(
      /^Status: 200.*\r\nContent-Type: text\/plain; charset=utf-8\r\n[\s\S]*\r\n\r\nGET \/x\?$/,
    )
  })

  test.skipIf(!has('openssl'))('fastcgis:// is TLS, whose certificate must be one that --ca knows', async () => {
    const certificates = new CertificateFolder()
    const { cert, key } = certificates.make('app', ['localhost'])
    const door = createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, (socket) => {
      socket.pipe(connect({ port: Number(address), host: '127.0.0.1' })).pipe(socket)
    })
    door.listen(0, '127.0.0.1')
    await once(door, 'listening')
    const url = `fastcgis://localhost:${(door.address() as AddressInfo).port}`
    try {
      expect(await viaduct('request', url, '/secure', '--ca', cert, '-s')).toMatchObject({ code: 0, out: 'GET /secure?' })
      expect((await viaduct('values', url, '--ca', cert)).out).toMatch(/^FCGI_MPXS_CONNS +1 /m)
      expect(await viaduct('request', url, '/secure')).toMatchObject({
        code: 1,
        err: expect.stringMatching(/cannot connect to fastcgis:.*CERT/),
      })
    } finally {
      door.close()
      certificates.remove()
    }
  })

  test('an application that is silent, or closes, is told from one that answers', async () => {
    const silent = createServer(() => {})
    const closing = createServer((socket) => socket.once('data', () => socket.end()))
    try {
      const [one, other] = await Promise.all(
        [silent, closing].map(async (each) => {
          each.listen(0, '127.0.0.1')
          await once(each, 'listening')
          return String((each.address() as AddressInfo).port)
        }),
      )
      expect(await viaduct('values', one!, '--timeout', '0.2')).toMatchObject({
        code: 1,
        out: '',
        err: expect.stringMatching(/did not answer GET_VALUES within 200 ms\nEither it does not know this record/),
      })
      expect(await viaduct('values', other!)).toMatchObject({
        code: 1,
        err: expect.stringContaining('closed the connection without an answer'),
      })
      expect(JSON.parse((await viaduct('values', other!, '--json')).out)).toMatchObject({ answered: false })
      expect(await viaduct('request', one!, '/x', '--timeout', '0.2')).toMatchObject({
        code: 1,
        err: expect.stringContaining('was silent for 200 ms'),
      })
    } finally {
      silent.close()
      closing.close()
    }
  })

  test('values are all three', async () => {
    expect((await viaduct('values', address)).out).toMatch(/^FCGI_MAX_CONNS +\d+ [\s\S]*^FCGI_MAX_REQS +\d+ [\s\S]*^FCGI_MPXS_CONNS +1 /m)
  })
})
