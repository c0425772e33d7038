// The request that a CGI program finds in its environment (RFC 3875, 4.1), from the program's side. Pure.

import { GatewayError, Headers, StatedRequest, Variables, isComputed, percentEncode } from '../core/index.ts'
import type { ByteString, GatewayRequest, HeaderList, HeaderView, RequestFacts, RequestLife, VariableView } from '../core/index.ts'

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

/** Throws BAD_REQUEST, 400, for a CONTENT_LENGTH that is no number. */
function factsOf(env: Environment): RequestFacts {
  const get = (name: string): ByteString => env.get(name) ?? ''
  const scriptName = get('SCRIPT_NAME')
  const pathInfo = get('PATH_INFO')
  const queryString = get('QUERY_STRING')
  const path = percentEncode(scriptName + pathInfo) || '/'
  const target = env.get('REQUEST_URI') ?? (queryString === '' ? path : `${path}?${queryString}`)
  return {
    method: get('REQUEST_METHOD') || 'GET',
    target,
    scriptName,
    pathInfo,
    rawPathInfo: rawPath(target, scriptName, pathInfo),
    queryString,
    protocol: get('SERVER_PROTOCOL') || 'HTTP/1.0',
    scheme: /^(?:on|1)$/i.test(get('HTTPS')) || get('REQUEST_SCHEME') === 'https' ? 'https' : 'http',
    contentLength: contentLengthOf(env),
    remote: { address: get('REMOTE_ADDR'), port: Number(get('REMOTE_PORT')) || 0 },
    local: { address: get('SERVER_ADDR'), port: Number(get('SERVER_PORT')) || 0 },
  }
}

export class ChildRequest extends StatedRequest {
  readonly headers: HeaderView
  readonly variables: VariableView

  constructor(env: Environment, life: RequestLife) {
    super(factsOf(env), life)
    this.headers = new Headers(headersOf(env))
    this.variables = new Environs(this, env)
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
