import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { request as httpsRequest } from 'node:https'
import { connect as netConnect } from 'node:net'
import { join } from 'node:path'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CertificateFolder } from '../../test/certificates.ts'
import type { MadeCertificate } from '../../test/certificates.ts'
import { has } from '../../test/peers.ts'
import { Channel, text, type Log, type Server } from '../core/index.ts'
import { redirectToHttps, serveHttp } from './index.ts'
import type { TlsOptions } from './index.ts'

const run = promisify(execFile)
const silent = { debug() {}, info() {}, warn() {}, error() {} }
const describes = (request: { protocol: string; scheme: string; headers: { get(name: string): string | undefined } }): string =>
  `${request.protocol} ${request.scheme} ${request.headers.get('host')}`

const serve = (tls: TlsOptions, log: Log = silent): Promise<Server> =>
  serveHttp((request) => text(200, describes(request)), { tls, log, limits: { headersTimeout: 2000 } })
const portOf = (server: Server): number => ('port' in server.address ? server.address.port : 0)

/** The name in the certificate that the server shows for this one. */
async function shown(server: Server, servername: string): Promise<string> {
  const socket: TLSSocket = connect({ port: portOf(server), ...(servername !== '' && { servername }), rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const name = socket.getPeerCertificate().subject.CN
  socket.destroy()
  return String(name)
}

describe.skipIf(!has('openssl', 'curl'))('TLS', () => {
  let folder: CertificateFolder
  let one: MadeCertificate
  let two: MadeCertificate
  let wild: MadeCertificate

  beforeAll(() => {
    folder = new CertificateFolder()
    one = folder.make('one', ['one.example'])
    two = folder.make('two', ['two.example', 'zwei.example'])
    wild = folder.make('wild', ['*.wild.example'])
  })
  afterAll(() => folder.remove())

  test('serves HTTP/2 and HTTP/1.1 on one port, as the client asks', async () => {
    await using server = await serve(one)
    const url = `https://one.example:${portOf(server)}/`
    const curl = async (...args: string[]): Promise<string> =>
      (await run('curl', ['-s', '--cacert', one.cert, '--resolve', `one.example:${portOf(server)}:127.0.0.1`, ...args, url])).stdout
    expect(await curl('--http2')).toBe(`HTTP/2.0 https one.example:${portOf(server)}`)
    expect(await curl('--http1.1')).toBe(`HTTP/1.1 https one.example:${portOf(server)}`)
    expect(await curl('--http1.0')).toBe(`HTTP/1.0 https one.example:${portOf(server)}`)
  })

  test('speaks HTTP/1.1 alone where HTTP/2 is off', async () => {
    await using server = await serve({ ...one, http2: false })
    const { stdout } = await run('curl', ['-sk', '--http2', `https://127.0.0.1:${portOf(server)}/`])
    expect(stdout).toMatch(/^HTTP\/1\.1 /)
  })

  test('speaks nothing older than TLS 1.2, or 1.3 where that is asked', async () => {
    await using server = await serve({ ...one, minVersion: 'TLSv1.3' })
    const old = run('curl', ['-sk', '--tls-max', '1.2', `https://127.0.0.1:${portOf(server)}/`])
    await expect(old).rejects.toThrow()
    await using usual = await serve(one)
    const older = run('curl', ['-sk', '--tls-max', '1.1', '--ciphers', 'DEFAULT:@SECLEVEL=0', `https://127.0.0.1:${portOf(usual)}/`])
    await expect(older).rejects.toThrow()
    const { stdout } = await run('curl', ['-sk', '--tls-max', '1.2', `https://127.0.0.1:${portOf(usual)}/`])
    expect(stdout).toMatch(/^HTTP\/2\.0 /)
  })

  test('takes PEM text for files, and shows the certificate of the name that is asked for', async () => {
    const texts = { cert: readFileSync(two.cert, 'latin1'), key: readFileSync(two.key, 'latin1') }
    await using server = await serve({ ...one, sni: [texts, wild, { ...one, names: ['named.example', '*.more.example'] }] })
    for (const [asked, got] of [
      ['one.example', 'one.example'],
      ['two.example', 'two.example'],
      ['ZWEI.example', 'two.example'],
      ['a.wild.example', '*.wild.example'],
      ['a.b.wild.example', 'one.example'],
      ['x.more.example', 'one.example'],
      ['other.example', 'one.example'],
      ['', 'one.example'],
    ] as const) {
      expect([asked, await shown(server, asked)]).toEqual([asked, got])
    }
  })

  test('shows a new certificate once its files have changed, and cuts nobody', async () => {
    const cert = join(folder.path, 'live.crt')
    const key = join(folder.path, 'live.key')
    copyFileSync(one.cert, cert)
    copyFileSync(one.key, key)
    const said: string[] = []
    const say = (_: object, message: string): void => void said.push(message)
    const body = new Channel()
    const log = { ...silent, info: say, error: say }
    const tls = { cert, key, watchInterval: 10 }
    await using server = await serveHttp(() => ({ status: 200, headers: [], body }), { tls, log })
    const outgoing = httpsRequest({ port: portOf(server), rejectUnauthorized: false, agent: false }).end()
    const [incoming] = (await once(outgoing, 'response')) as [NodeJS.ReadableStream]
    incoming.setEncoding('utf8')
    let got = ''
    incoming.on('data', (chunk: string) => (got += chunk))
    body.write(Buffer.from('before '))
    // Half of a pair is no pair: the old one stays.
    copyFileSync(two.cert, cert)
    await expect.poll(() => said.join()).toContain('does not belong to the certificate')
    expect(await shown(server, 'x')).toBe('one.example')
    copyFileSync(two.key, key)
    await expect.poll(() => said.join()).toContain('certificates were read again')
    expect([await shown(server, 'x'), await shown(server, '')]).toEqual(['two.example', 'two.example'])
    body.write(Buffer.from('and after'))
    body.end()
    await once(incoming, 'end')
    expect(got).toBe('before and after')
  })

  test('says what is wrong with a certificate', async () => {
    const missing = join(folder.path, 'missing.crt')
    await expect(serve({ ...one, cert: missing })).rejects.toThrow(`http: tls: the certificate ${missing} does not exist`)
    await expect(serve({ ...one, key: two.key })).rejects.toThrow(`the key ${two.key} does not belong to the certificate ${one.cert}`)
    const junk = join(folder.path, 'junk')
    writeFileSync(junk, 'junk')
    await expect(serve({ ...one, cert: junk })).rejects.toThrow(`the certificate ${junk} is no PEM certificate`)
    await expect(serve({ ...one, key: junk })).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('is no PEM private key'),
    })
    await expect(serve({ ...one, sni: [{ ...two, key: junk }] })).rejects.toThrow('is no PEM private key')
    await expect(serve({ ...one, ciphers: 'NONSENSE' })).rejects.toMatchObject({ code: 'CONFIG' })
  })

  test('warns of a certificate that has expired, and serves', async () => {
    const said: string[] = []
    const old = folder.make('old', ['old.example'], -1)
    await using server = await serve(old, { ...silent, warn: (_: object, message: string) => void said.push(message) })
    expect(said.join()).toMatch(/has expired on/)
    expect(await shown(server, 'old.example')).toBe('old.example')
  })

  test('closes at once over connections that never said anything', async () => {
    const server = await serve(one)
    const socket = netConnect(portOf(server))
    await once(socket, 'connect')
    socket.on('error', () => {})
    const gone = once(socket, 'close')
    await new Promise((resolve) => setTimeout(resolve, 50))
    const begin = Date.now()
    await server.close(5000)
    await gone
    expect(Date.now() - begin).toBeLessThan(2000)
  })

  test('is not stopped by what is no TLS', async () => {
    await using server = await serve(one)
    const socket = netConnect(portOf(server), '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))
    socket.on('error', () => {})
    socket.resume()
    await once(socket, 'close')
    expect(await shown(server, 'one.example')).toBe('one.example')
  })

  test('drains: an answer under way is whole, and a kept connection ends', async () => {
    const body = new Channel()
    const server = await serveHttp(() => ({ status: 200, headers: [], body }), { tls: one, log: silent })
    const outgoing = httpsRequest({
      port: portOf(server),
      rejectUnauthorized: false,
      agent: false,
      headers: { Connection: 'keep-alive' },
    }).end()
    const [incoming] = (await once(outgoing, 'response')) as [NodeJS.ReadableStream]
    const closed = server.close(5000)
    body.write(Buffer.from('whole'))
    body.end()
    let got = ''
    for await (const chunk of incoming) got += String(chunk)
    expect(got).toBe('whole')
    await closed
  })
})

describe.skipIf(!has('curl'))('redirectToHttps', () => {
  test.each([
    ['a.example', '/x?y', undefined, 'https://a.example/x?y'],
    ['a.example:8080', '/', undefined, 'https://a.example/'],
    ['a.example:8080', '/a%20b', 8443, 'https://a.example:8443/a%20b'],
    ['[::1]:80', '/', undefined, 'https://[::1]/'],
  ])('%s %s with port %s goes to %s', async (host, target, port, location) => {
    await using server = await serveHttp(redirectToHttps(port === undefined ? {} : { port }), { log: silent })
    const url = `http://127.0.0.1:${'port' in server.address ? server.address.port : 0}${target}`
    const { stdout } = await run('curl', ['-s', '-o', '/dev/null', '-H', `Host: ${host}`, '-w', '%{http_code} %header{location}', url])
    expect(stdout).toBe(`308 ${location}`)
  })
})
