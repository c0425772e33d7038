// The request that a CGI program finds in its environment (RFC 3875, 4.1), from the program's side. Pure.

import { GatewayError, Headers, Scope, Variables, isComputed, percentEncode } from '../core/index.ts'
import type {
  ByteString,
  ByteStream,
  Endpoint,
  ErrorStream,
  GatewayRequest,
  HeaderList,
  HeaderView,
  Outcome,
  VariableView,
} from '../core/index.ts'

export type Environment = ReadonlyMap<ByteString, ByteString>

/** Reads an environment block as the kernel keeps it: `NAME=value`, NUL after each. */
export function parseEnvironment(block: ByteString): Environment {
  const out = new Map<ByteString, ByteString>()
  for (const entry of block.split('\0')) {
    const at = entry.indexOf('=')
    // Of repeated names getenv(3) gives the first.
    if (at > 0 && !out.has(entry.slice(0, at))) out.set(entry.slice(0, at), entry.slice(at + 1))
  }
  return out
}

/** Throws BAD_REQUEST, 400, for a CONTENT_LENGTH that is no number. */
export function contentLengthOf(env: Environment): number {
  const text = env.get('CONTENT_LENGTH') ?? ''
  if (text === '') return 0
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new GatewayError('BAD_REQUEST', { status: 400, message: `cgi: CONTENT_LENGTH is not a number: ${JSON.stringify(text)}` })
}

function headersOf(env: Environment): HeaderList {
  const list: ByteString[] = []
  const type = env.get('CONTENT_TYPE') ?? ''
  if (type !== '') list.push('content-type', type)
  const length = env.get('CONTENT_LENGTH') ?? ''
  if (length !== '') list.push('content-length', length)
  for (const [name, value] of env) {
    if (name.startsWith('HTTP_') && name.length > 5) list.push(name.slice(5).toLowerCase().replaceAll('_', '-'), value)
  }
  return list
}

/** The path as it was sent, as far as it can be known: REQUEST_URI is no part of the specification. */
function rawPath(target: ByteString, scriptName: ByteString, pathInfo: ByteString): ByteString {
  const path = target.split('?', 1)[0]!
  return path.startsWith(scriptName) && scriptName !== '' ? path.slice(scriptName.length) : percentEncode(pathInfo)
}

export class ChildRequest implements GatewayRequest {
  readonly method: ByteString
  readonly target: ByteString
  readonly scriptName: ByteString
  readonly pathInfo: ByteString
  readonly rawPathInfo: ByteString
  readonly queryString: ByteString
  readonly protocol: ByteString
  readonly scheme: 'http' | 'https'
  readonly headers: HeaderView
  readonly variables: VariableView
  readonly body: ByteStream
  readonly contentLength: number
  readonly remote: Endpoint
  readonly local: Endpoint
  readonly errors: ErrorStream
  readonly scope: Scope

  constructor(env: Environment, body: ByteStream, errors: ErrorStream, scope: Scope) {
    const get = (name: string): ByteString => env.get(name) ?? ''
    this.method = get('REQUEST_METHOD') || 'GET'
    this.scriptName = get('SCRIPT_NAME')
    this.pathInfo = get('PATH_INFO')
    this.queryString = get('QUERY_STRING')
    const path = percentEncode(this.scriptName + this.pathInfo) || '/'
    this.target = env.get('REQUEST_URI') ?? (this.queryString === '' ? path : `${path}?${this.queryString}`)
    this.rawPathInfo = rawPath(this.target, this.scriptName, this.pathInfo)
    this.protocol = get('SERVER_PROTOCOL') || 'HTTP/1.0'
    this.scheme = /^(?:on|1)$/i.test(get('HTTPS')) || get('REQUEST_SCHEME') === 'https' ? 'https' : 'http'
    this.headers = new Headers(headersOf(env))
    this.variables = new Environs(this, env)
    this.body = body
    this.contentLength = contentLengthOf(env)
    this.remote = { address: get('REMOTE_ADDR'), port: Number(get('REMOTE_PORT')) || 0 }
    this.local = { address: get('SERVER_ADDR'), port: Number(get('SERVER_PORT')) || 0 }
    this.errors = errors
    this.scope = scope
  }

  get signal(): AbortSignal {
    return this.scope.signal
  }

  onFinish(callback: (outcome: Outcome) => void): void {
    this.scope.onFinish(callback)
  }

  waitUntil(work: Promise<unknown>): void {
    this.scope.waitUntil(work)
  }
}

/** What the server said, word for word; what it did not say is computed as for every other door. */
class Environs extends Variables {
  readonly #env: Environment

  constructor(request: GatewayRequest, env: Environment) {
    super(request, [...env].filter(([name]) => !isComputed(name)).flat())
    this.#env = env
  }

  override get(name: ByteString): ByteString | undefined {
    return this.#env.get(name) ?? super.get(name)
  }
}
