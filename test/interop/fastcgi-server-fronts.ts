// Web servers in front of a FastCGI application of ours: how each is told where it is, what it cannot do, and a client to ask it.

import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Address } from '../../src/core/index.ts'
import { startApache, startCaddy, startHaproxy, startLighttpd, startNginx } from './peers/index.ts'

export type WebServerPeer = Awaited<ReturnType<typeof startNginx>>

/** What a web server in front of an application can do, or not: the rows of the table. */
export const BEHAVIOURS = [
  'GET',
  'HEAD',
  'facts of the request',
  'POST, up to 10 MiB',
  'POST, chunked',
  'body that nobody reads',
  'large download',
  'slow reader',
  '304 and 204',
  'redirect',
  '50 cookies',
  '64 KB of variables',
  'standard error',
  'failure before the head',
  'half an answer is never whole',
  'client that leaves',
  'many at once',
  'kept connections',
  'many requests on a connection',
  'GET_VALUES',
  'starts the program',
  'Authorizer',
  'Filter',
] as const
export type Behaviour = (typeof BEHAVIOURS)[number]

export interface Front {
  readonly name: string
  /** `address` is the application's; undefined where the web server starts it. */
  start(folder: string, address: Address | undefined): Promise<WebServerPeer>
  readonly lacks?: Partial<Record<Behaviour, string>>
  /** It sends no Content-Length of an answer that has one. */
  readonly noLength?: boolean
  /** It closes the connection as soon as it has what Content-Length promised. */
  readonly hurries?: boolean
  /** Requests at a time, where it is slow to have many. */
  readonly together?: number
  /** Bytes of the large download. */
  readonly download?: number
}

export const MiB: number = 1024 ** 2

export const at = (address: Address | undefined, scheme = 'unix:'): string => {
  if (address === undefined) throw new Error('this web server does not start the application')
  return 'path' in address ? scheme + address.path : `${address.host}:${address.port}`
}

export const nginx = (name: string, location: string, upstream = '', more: Partial<Front> = {}): Front => ({
  name,
  start: (folder, address) =>
    startNginx({
      folder,
      name,
      http: `large_client_header_buffers 8 32k; upstream app { server ${at(address)}; ${upstream} }`,
      server: `client_max_body_size 64m; location / { include /etc/nginx/fastcgi_params; fastcgi_pass app; ${location} }`,
    }),
  ...more,
})

export const apache = (name: string, options: string, more: Partial<Front> = {}): Front => ({
  name,
  noLength: true,
  start: (folder, address) =>
    startApache({
      folder,
      documentRoot: folder,
      name,
      modules: ['proxy', 'proxy_fcgi'],
      config: `ProxyPass "/" "${address !== undefined && 'path' in address ? `unix:${address.path}|fcgi://app/` : `fcgi://${at(address)}/`}" ${options}`,
    }),
  ...more,
})

/** It starts the program itself: what it hears of its requests goes to the file `heard`. */
export const fcgid = (name: string, program: string, heard: string, config = '', more: Partial<Front> = {}): Front => ({
  name,
  noLength: true,
  start: (folder) => {
    const state = join(folder, `${name}-fcgid`)
    mkdirSync(state, { recursive: true })
    writeFileSync(heard, '')
    // Apache and its programs are another user where the tests are root.
    for (const path of [state, heard]) chmodSync(path, 0o777)
    return startApache({
      folder,
      documentRoot: folder,
      name,
      modules: ['fcgid'],
      config: `FcgidIPCDir "${state}"
FcgidProcessTableFile "${join(state, 'table')}"
FcgidMaxProcesses 4
FcgidMaxRequestLen 67108864
FcgidOutputBufferSize 0
FcgidInitialEnv HEARD "${heard}"
<Location "/">
  SetHandler fcgid-script
  FcgidWrapper "${process.execPath} ${program}" virtual
  Options +ExecCGI
</Location>
${config}`,
    })
  },
  ...more,
})

export const fcgidAuthorizer = (name: string, program: string, heard: string): Front =>
  fcgid(name, program, heard, `<Location "/private/">\n  FcgidAccessChecker "${process.execPath} ${program}"\n</Location>`)

const lighttpdApp = (address: Address | undefined): string =>
  address !== undefined && 'host' in address ? `"host" => "${address.host}", "port" => ${address.port}` : `"socket" => "${at(address, '')}"`

export const lighttpd = (name: string, stream: number, lacks: NonNullable<Front['lacks']> = {}, more: Partial<Front> = {}): Front => ({
  name,
  lacks,
  // Where END_REQUEST came in another read than the last byte.
  hurries: true,
  start: (folder, address) =>
    startLighttpd({
      folder,
      documentRoot: folder,
      name,
      modules: ['mod_fastcgi'],
      config: `fastcgi.server = ("/" => ((${lighttpdApp(address)}, "check-local" => "disable", "fix-root-scriptname" => "enable")))
server.max-request-field-size = 131072
server.stream-request-body = ${stream}
server.stream-response-body = ${stream}`,
    }),
  ...more,
})

/** The same application as Authorizer of a part, and as Responder of the whole. */
export const lighttpdAuthorizer = (name: string): Front => ({
  name,
  start: (folder, address) =>
    startLighttpd({
      folder,
      documentRoot: folder,
      name,
      modules: ['mod_fastcgi'],
      config: `fastcgi.server = (
  "/private/" => ((${lighttpdApp(address)}, "mode" => "authorizer", "check-local" => "disable")),
  "/" => ((${lighttpdApp(address)}, "check-local" => "disable", "fix-root-scriptname" => "enable"))
)`,
    }),
})

export const apacheAuthorizer = (name: string): Front => ({
  name,
  start: (folder, address) =>
    startApache({
      folder,
      documentRoot: folder,
      name,
      modules: ['proxy', 'proxy_fcgi', 'authn_core', 'authz_user', 'auth_basic', 'authnz_fcgi'],
      config: `AuthnzFcgiDefineProvider authnz viaduct fcgi://${at(address)}/
<Location "/private/">
  AuthType Basic
  AuthName test
  AuthBasicProvider viaduct
  Require viaduct
</Location>
ProxyPass "/" "fcgi://${at(address)}/"`,
    }),
})

export const caddy = (name: string, more: Partial<Front> = {}): Front => ({
  name,
  start: (folder, address) =>
    startCaddy({
      folder,
      name,
      site: `reverse_proxy ${at(address, 'unix/')} {\n    transport fastcgi {\n      root /\n      capture_stderr\n    }\n  }`,
    }),
  ...more,
})

export const haproxy = (name: string, app: string, more: Partial<Front> = {}, bufsize?: number, frontend = ''): Front => ({
  name,
  hurries: true,
  start: (folder, address) =>
    startHaproxy({
      folder,
      name,
      global: bufsize === undefined ? '' : `tune.bufsize ${bufsize}`,
      frontend: `${frontend}\n  default_backend app`,
      config: `fcgi-app app
  docroot /
  log-stderr global
  ${app}
backend app
  http-reuse always
  use-fcgi-app app
  server app ${at(address, 'unix@')} proto fcgi`,
    }),
  ...more,
})

export const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/fastcgi/${name}`, import.meta.url))

/** The application that does one of everything, as a program. */
export const BEHIND: string = fileURLToPath(new URL('../fixtures/fastcgi/behind.mjs', import.meta.url))

// ---- a client

export interface Got {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  readonly received: number
  readonly whole: boolean
}

export interface Asked {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: Buffer
  readonly chunked?: boolean
  /** Milliseconds that it reads nothing after the first piece. */
  readonly pause?: number
  readonly leaveAfter?: number
  /** Only counts what comes. */
  readonly count?: boolean
}

export function ask(port: number, path: string, asked: Asked = {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body, chunked = false } = asked
    const length = body === undefined || chunked ? {} : { 'Content-Length': String(body.length) }
    const outgoing = httpRequest({ host: '127.0.0.1', port, path, method, headers: { ...headers, ...length }, agent: false })
    outgoing.once('error', reject)
    outgoing.once('response', (incoming) => {
      const pieces: Buffer[] = []
      let received = 0
      incoming.on('data', (chunk: Buffer) => {
        if (asked.pause !== undefined && received === 0) {
          incoming.pause()
          setTimeout(() => incoming.resume(), asked.pause)
        }
        if (asked.count !== true) pieces.push(chunk)
        received += chunk.length
        if (asked.leaveAfter !== undefined && received >= asked.leaveAfter) outgoing.destroy()
      })
      incoming.on('error', () => {})
      incoming.on('close', () =>
        resolve({
          status: incoming.statusCode!,
          headers: incoming.headers,
          body: Buffer.concat(pieces),
          received,
          whole: incoming.complete,
        }),
      )
    })
    if (chunked && body !== undefined)
      for (let from = 0; from < body.length; from += 10_000) outgoing.write(body.subarray(from, from + 10_000))
    outgoing.end(chunked ? undefined : body)
  })
}

/** Waits until somebody listens there: the file of a unix socket is there a moment before. */
export async function listens(address: Address): Promise<void> {
  for (const deadline = performance.now() + 5000; ;) {
    const answered = await new Promise<boolean>((resolve) => {
      const socket = connect(address)
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
    if (answered) return
    if (performance.now() > deadline) throw new Error(`nobody listens on ${JSON.stringify(address)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Everything that a web server of this name has written to its logs. */
export function logsOf(folder: string, name: string): string {
  const read = (end: string): string => {
    try {
      return readFileSync(join(folder, name + end), 'utf8')
    } catch {
      // Not every server has each of them.
      return ''
    }
  }
  return ['.log', '-error.log', '.out', '-out.log'].map(read).join('')
}
