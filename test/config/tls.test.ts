// TLS as an operator has it: `viaduct serve` with certificates, curl and a browser in front, renewals and reloads under load.

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { CertificateFolder } from '../certificates.ts'
import { Clients, MAIN, Program, ask, until } from '../cli/program.ts'
import { has } from '../peers.ts'
import { Http2Clients } from './http2-clients.ts'
import type { MadeCertificate } from '../certificates.ts'

const run = promisify(execFile)

let made: CertificateFolder
let one: MadeCertificate
let two: MadeCertificate
let folder = ''
let programs: Program[] = []

function put(path: string, content: string, mode = 0o644): void {
  mkdirSync(join(folder, path, '..'), { recursive: true })
  writeFileSync(join(folder, path), content, { mode })
}

/** As renewals do it: each file in one step, one after the other. */
function install({ cert, key }: MadeCertificate): void {
  for (const [from, to] of [
    [cert, 'site.crt'],
    [key, 'site.key'],
  ] as const) {
    copyFileSync(from, join(folder, `${to}.new`))
    renameSync(join(folder, `${to}.new`), join(folder, to))
  }
}

const checked = async (...args: string[]): Promise<{ code: number | null; out: string }> => {
  const program = viaduct(['check', ...args])
  return { code: (await program.exited).code, out: program.out }
}

interface Serving {
  readonly program: Program
  /** The first https address, and the first of plain HTTP. */
  readonly url: string
  readonly plain: string | undefined
}

function viaduct(args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
  const program = new Program([MAIN, ...args], { NO_COLOR: '1', ...env }, folder)
  programs.push(program)
  return program
}

async function serving(...args: string[]): Promise<Serving> {
  const program = viaduct(['serve', ...args])
  const url = (await program.said(/(https:\/\/[^/"]+)\//))[1]!
  return { program, url, plain: /(http:\/\/[^/"]+)\//.exec(program.err)?.[1] }
}

const tls = { cert: 'site.crt', key: 'site.key', watchInterval: '20ms' }
const config = (body: string, more: object = {}): string =>
  JSON.stringify({ listeners: [{ listen: '127.0.0.1:0', tls }], applications: {}, sites: [{ routes: [{ respond: { body } }] }], ...more })

/** The name in the certificate that a new connection is shown. */
async function shown(url: string, servername?: string): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false, ...(servername !== undefined && { servername }) })
  await once(socket, 'secureConnect')
  const name = socket.getPeerCertificate().subject.CN
  socket.destroy()
  return String(name)
}

const curl = async (url: string, ...args: string[]): Promise<string> => {
  const { hostname, port } = new URL(url)
  const resolve = ['--cacert', one.cert, '--connect-to', `one.example:${port}:${hostname}:${port}`]
  return (await run('curl', ['-s', ...resolve, ...args])).stdout
}

describe.skipIf(!has('openssl', 'curl'))('viaduct serve with TLS', () => {
  beforeAll(() => {
    made = new CertificateFolder()
    one = made.make('one', ['one.example', 'localhost'])
    two = made.make('two', ['two.example'])
  })
  afterAll(() => made.remove())
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'viaduct-tls-'))
    install(one)
    put('site/index.html', '<p>hello</p>')
    put('site/.well-known/acme-challenge/token', 'proof')
    put('site/cgi-bin/env', '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n$HTTPS $SERVER_PROTOCOL $SERVER_PORT"\n', 0o755)
  })
  afterEach(async () => {
    for (const program of programs) await program.end()
    programs = []
    rmSync(folder, { recursive: true, force: true })
  })

  test('a folder is served by HTTP/2 and HTTP/1.1, and the plain address leads to it', async () => {
    const options = ['site', '--listen', '127.0.0.1:0', '--tls-cert', 'site.crt', '--tls-key', 'site.key', '--redirect-http', '127.0.0.1:0']
    const { url, plain } = await serving(...options)
    const { port } = new URL(url)
    const page = `https://one.example:${port}/cgi-bin/env`
    expect(await curl(url, '--http2', page)).toBe(`on HTTP/2.0 ${port}`)
    expect(await curl(url, '--http1.1', page)).toBe(`on HTTP/1.1 ${port}`)
    const redirected = await ask(plain!, '/a%20b?c')
    expect([redirected.status, redirected.headers.location]).toEqual([308, `https://127.0.0.1:${port}/a%20b?c`])
    expect((await ask(plain!, '/.well-known/acme-challenge/token')).body).toBe('proof')
    expect((await ask(plain!, '/.well-known/acme-challenge/../../index.html')).status).toBe(308)
  })

  test('--print-config shows it, and that configuration serves the same', async () => {
    const options = ['site', '--listen', '127.0.0.1:0', '--tls-cert', 'site.crt', '--tls-key', 'site.key']
    const program = viaduct(['serve', ...options, '--print-config'])
    expect(await program.exited).toEqual({ code: 0, signal: null })
    put('printed.json', program.out)
    const { url } = await serving('-c', 'printed.json')
    expect((await ask(url, '/')).body).toBe('<p>hello</p>')
    expect(await shown(url)).toBe('one.example')
  })

  test('HOST and PORT count, and a key that does not fit is told before anything is served', async () => {
    const program = viaduct(['serve', 'site', '--tls-cert', 'site.crt', '--tls-key', 'site.key'], { HOST: '127.0.0.2', PORT: '0' })
    const url = (await program.said(/(https:\/\/127\.0\.0\.2:\d+)\//))[1]!
    expect((await ask(url, '/')).status).toBe(200)
    const wrong = viaduct(['serve', 'site', '--listen', '127.0.0.1:0', '--tls-cert', 'site.crt', '--tls-key', two.key])
    expect((await wrong.exited).code).toBe(1)
    expect(wrong.err).toContain(`the key ${two.key} does not belong to the certificate ${folder}/site.crt`)
    expect(wrong.err).not.toContain('viaduct serves')
  })

  test('check shows each certificate, and warns of what clients will refuse', async () => {
    const old = made.make('old', ['old.example'], -1)
    const listeners = [
      { listen: '127.0.0.1:8443', tls: { cert: 'site.crt', key: 'site.key', sni: [{ ...old, names: ['new.example'] }] } },
      { listen: '127.0.0.1:8080', redirect: 'https' },
    ]
    put('viaduct.config.json', config('', { listeners }))
    const { code, out } = await checked()
    expect(code).toBe(0)
    for (const text of [
      '127.0.0.1:8443  https, HTTP/2 and HTTP/1.1, from TLS 1.2 on\n',
      `${folder}/site.crt for one.example, localhost, until 20`,
      `${old.cert} for new.example, until 20`,
      '127.0.0.1:8080  http -> https at 127.0.0.1:8443\n',
      `listeners[0].tls: the certificate ${folder}/site.crt expires in `,
      `listeners[0].tls: the certificate ${old.cert} has expired on 20`,
      `listeners[0].tls: the certificate ${old.cert} is not for new.example`,
    ]) {
      expect(out).toContain(text)
    }
    expect(JSON.parse((await checked('--json')).out)).toMatchObject({
      ok: true,
      listeners: [
        {
          listen: '127.0.0.1:8443',
          protocol: 'http',
          certificates: [{ cert: `${folder}/site.crt`, names: ['one.example', 'localhost'] }, { names: ['new.example'] }],
        },
        { listen: '127.0.0.1:8080', protocol: 'http', redirect: 'https' },
      ],
    })
  })

  test('who comes by https to a proxy that is trusted is not redirected', async () => {
    const listeners = [
      { listen: '127.0.0.1:0', tls },
      { listen: '127.0.0.1:0', redirect: 'https:443' },
    ]
    put('viaduct.config.json', config('here', { listeners, trustedProxies: { from: ['127.0.0.1'] } }))
    const { plain } = await serving()
    const status = (...args: string[]): Promise<string> =>
      curl(plain!, '-o', '/dev/null', '-w', '%{http_code} %{redirect_url}', ...args, `${plain}/x`)
    expect(await status()).toBe('308 https://127.0.0.1/x')
    expect(await status('-H', 'X-Forwarded-Proto: https')).toBe('200 ')
  })

  test('each name is shown its certificate, old versions are refused, and HTTP/2 can be switched off', async () => {
    const listeners = [{ listen: '127.0.0.1:0', tls: { ...tls, sni: [two], minVersion: 'TLSv1.3', http2: false } }]
    put('viaduct.config.json', config('here', { listeners }))
    const { url } = await serving()
    expect([await shown(url, 'two.example'), await shown(url, 'other.example'), await shown(url)]).toEqual([
      'two.example',
      'one.example',
      'one.example',
    ])
    const page = `https://one.example:${new URL(url).port}/`
    expect(await curl(url, '--http2', '-w', ' %{http_version}', page)).toBe('here 1.1')
    await expect(curl(url, '--tls-max', '1.2', page)).rejects.toThrow()
  })

  test('a certificate is changed under load: no request fails, and new connections get the new one', async () => {
    put('viaduct.config.json', config('here'))
    const { program, url } = await serving()
    const clients = new Clients(url, '/', { kept: 2, fresh: 2 })
    const modern = new Http2Clients(url, '/', { connections: 1, streams: 2 })
    await until('load', () => clients.answered > 50 && modern.answered > 50)
    const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    for (const [pair, name] of [
      [two, 'two.example'],
      [one, 'one.example'],
      [two, 'two.example'],
    ] as const) {
      install(pair)
      await until(`${name} to be shown`, async () => (await shown(url)) === name)
      const { answered } = clients
      await until('load', () => clients.answered > answered + 20)
    }
    // A connection of before is still one.
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    let got = ''
    for await (const chunk of socket) got += String(chunk)
    expect(got).toMatch(/^HTTP\/1\.1 200 [^]*here$/)
    await Promise.all([clients.stop(), modern.stop()])
    expect([...clients.failures, ...modern.failures]).toEqual([])
    expect(modern.repeated).toBe(0)
    expect(program.err).toContain('certificates were read again')
  })

  test('a new certificate that cannot be used is refused, by itself and with a reload, and the old one stays', async () => {
    put('viaduct.config.json', config('first'))
    const { program, url } = await serving()
    put('site.key', 'junk')
    await program.said(/the key [^ ]*site\.key is no PEM private key; the certificates that were there before stay in use/)
    expect(await shown(url)).toBe('one.example')
    put('viaduct.config.json', config('second'))
    program.kill('SIGHUP')
    await program.said(/listeners\[0\]\.tls\.key: the key [^ ]*site\.key is no PEM private key.*generation 1 goes on/)
    expect((await ask(url, '/')).body).toBe('first')
    install(two)
    await until('two.example to be shown', async () => (await shown(url)) === 'two.example')
  })

  test('a reload under load loses no request, by HTTP/1.1 and by HTTP/2', async () => {
    put('viaduct.config.json', config('first'))
    const { program, url } = await serving()
    const clients = new Clients(url, '/', { kept: 2, fresh: 2 })
    const modern = [new Http2Clients(url, '/', { connections: 2, streams: 1 }), new Http2Clients(url, '/', { connections: 1, streams: 4 })]
    await until('load', () => clients.answered > 50 && modern.every((each) => each.answered > 50))
    for (const [generation, body] of [
      [2, 'second'],
      [3, 'third'],
    ] as const) {
      put(
        'viaduct.config.json',
        config(body, generation === 3 ? { listeners: [{ listen: '127.0.0.1:0', tls: { ...tls, sni: [two] } }] } : {}),
      )
      program.kill('SIGHUP')
      await program.said(new RegExp(`generation ${generation} is ready`))
      await until('the new answer', () => clients.bodies.has(body) && modern.every((each) => each.bodies.has(body)))
    }
    await Promise.all([clients.stop(), ...modern.map((each) => each.stop())])
    expect([...clients.failures, ...modern.flatMap((each) => each.failures)]).toEqual([])
    expect(await shown(url, 'two.example')).toBe('two.example')
  })

  describe('with a JavaScript application', () => {
    // The picture holds back the end of loading, and with it the browser's, until everything else is done.
    const page = `<p id=p></p><img src=/hold><script type=module>
      const [entry] = performance.getEntriesByType('navigation')
      const text = await (await fetch('/said', { method: 'POST', body: 'by fetch' })).text()
      const socket = new WebSocket('wss://' + location.host + '/socket')
      socket.onopen = () => socket.send('by socket')
      socket.onmessage = ({ data }) => {
        p.textContent = [entry.nextHopProtocol, isSecureContext, text, data].join(', ')
        socket.send('done')
      }
    </script>`
    beforeEach(() => {
      put(
        'app.mjs',
        `import { createServer } from 'node:http'
         import { WebSocketServer } from '${import.meta.resolve('ws').replace(/[^/]*$/, 'wrapper.mjs')}'
         let held
         const server = createServer((request, response) => {
           if (request.url === '/hold') held = response
           else if (request.method === 'POST') request.pipe(response)
           else response.setHeader('Content-Type', 'text/html').end(${JSON.stringify(page)})
         })
         new WebSocketServer({ server, path: '/socket' }).on('connection', (socket, request) => {
           socket.on('message', (data) => {
             if (String(data) === 'done') held.end()
             else socket.send(data + ' ' + request.socket.encrypted)
           })
         })
         export default server`,
      )
      const applications = { app: { kind: 'node', file: 'app.mjs' } }
      put('viaduct.config.json', config('', { applications, sites: [{ routes: [{ application: 'app' }] }] }))
    })

    test('WebSockets go through TLS, and on through a reload until they end', async () => {
      const { program, url } = await serving()
      const socket = new WebSocket(`${url.replace('https', 'wss')}/socket`, { rejectUnauthorized: false })
      await once(socket, 'open')
      const say = async (text: string): Promise<string> => {
        socket.send(text)
        return String(((await once(socket, 'message')) as [Buffer])[0])
      }
      expect(await say('one')).toBe('one true')
      program.kill('SIGHUP')
      await program.said(/generation 2 is ready/)
      expect(await say('two')).toBe('two true')
      socket.close()
      await once(socket, 'close')
    })

    test.skipIf(!has('chromium'))(
      'a browser loads a page by HTTP/2, and speaks to a WebSocket',
      async () => {
        const { url } = await serving()
        const profile = join(folder, 'profile')
        const options = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${profile}`]
        const { stdout } = await run('chromium', [...options, '--ignore-certificate-errors', '--dump-dom', `${url}/`], {
          timeout: 60_000,
        })
        expect(stdout).toContain('<p id="p">h2, true, by fetch, by socket true</p>')
      },
      70_000,
    )
  })
})
