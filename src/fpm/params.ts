// A request's FastCGI parameters, as php-fpm reads them: which script is meant, whether it may be run, what the log and the status
// page call it. The parameters themselves go on to PHP as they came.
//
// FastCGI 1.0, 6.2; RFC 3875, 4.1.

import { statSync } from 'node:fs'
import type { ByteString, HeaderList } from '../core/index.ts'

/** What is looked at of a request. */
export interface Facts {
  readonly method: ByteString
  readonly scriptName: ByteString
  readonly queryString: ByteString
  readonly requestUri: ByteString
  /** As it will be sent on. */
  readonly scriptFilename: ByteString
  /** The file that PHP runs for it; '' while that is not known, and when there is none. */
  script: ByteString
  readonly contentLength: number
  readonly user: ByteString
  readonly bodyFile: ByteString
  /** Settings of this request; '' when there are none. */
  readonly phpValue: ByteString
  readonly phpAdminValue: ByteString
}

/** Of a name that comes twice the last one counts. */
export function readFacts(pairs: HeaderList): Facts {
  let method = ''
  let scriptName = ''
  let queryString = ''
  let requestUri = ''
  let scriptFilename = ''
  let length = ''
  let user = ''
  let bodyFile = ''
  let phpValue = ''
  let phpAdminValue = ''
  for (let i = 0; i < pairs.length; i += 2) {
    const value = pairs[i + 1]!
    switch (pairs[i]) {
      case 'REQUEST_METHOD':
        method = value
        break
      case 'SCRIPT_NAME':
        scriptName = value
        break
      case 'QUERY_STRING':
        queryString = value
        break
      case 'REQUEST_URI':
        requestUri = value
        break
      case 'SCRIPT_FILENAME':
        scriptFilename = value
        break
      case 'CONTENT_LENGTH':
        length = value
        break
      case 'REMOTE_USER':
        user = value
        break
      case 'REQUEST_BODY_FILE':
        bodyFile = value
        break
      case 'PHP_VALUE':
        phpValue = value
        break
      case 'PHP_ADMIN_VALUE':
        phpAdminValue = value
        break
    }
  }
  return {
    method,
    scriptName,
    queryString,
    requestUri,
    scriptFilename: plainPath(scriptFilename),
    script: '',
    contentLength: lengthOf(length),
    user,
    bodyFile,
    phpValue,
    phpAdminValue,
  }
}

// What readFacts looks for, by the length of its name.
const KNOWN: ByteString[][] = []
for (const name of [
  'REQUEST_METHOD',
  'SCRIPT_NAME',
  'QUERY_STRING',
  'REQUEST_URI',
  'SCRIPT_FILENAME',
  'CONTENT_LENGTH',
  'REMOTE_USER',
  'REQUEST_BODY_FILE',
  'PHP_VALUE',
  'PHP_ADMIN_VALUE',
]) {
  KNOWN[name.length] = [...(KNOWN[name.length] ?? []), name]
}
/** As many as a decoder takes. */
const MOST_PAIRS = 2048

/** Of the pairs in these bytes those that readFacts looks for; undefined when they are not whole, or too many. */
export function knownPairs(bytes: Buffer, start: number, end: number): HeaderList | undefined {
  const text = bytes.toString('latin1', start, end)
  const found: ByteString[] = []
  let count = 0
  for (let at = start; at < end; count++) {
    let nameLength = bytes[at++]!
    if (nameLength > 127) {
      if (at + 3 > end) return undefined
      nameLength = ((nameLength & 0x7f) << 24) | bytes.readUIntBE(at, 3)
      at += 3
    }
    if (at >= end) return undefined
    let valueLength = bytes[at++]!
    if (valueLength > 127) {
      if (at + 3 > end) return undefined
      valueLength = ((valueLength & 0x7f) << 24) | bytes.readUIntBE(at, 3)
      at += 3
    }
    const valueAt = at + nameLength
    const next = valueAt + valueLength
    if (next > end) return undefined
    const names = KNOWN[nameLength]
    if (names !== undefined) {
      for (const name of names) if (text.startsWith(name, at - start)) found.push(name, text.slice(valueAt - start, next - start))
    }
    at = next
  }
  return count > MOST_PAIRS ? undefined : found
}

/** atol(3): what is no number is 0. */
function lengthOf(text: string): number {
  if (text === '') return 0
  const value = /^\s*\+?(\d{1,15})/.exec(text)?.[1]
  return value === undefined ? 0 : Number(value)
}

/** One parameter, for who asks rarely. */
export function param(pairs: HeaderList, name: string): ByteString | undefined {
  let found: ByteString | undefined
  for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === name) found = pairs[i + 1]
  return found
}

const PROXIES = ['proxy:fcgi://', 'proxy:balancer://']

/** Apache's mod_proxy_fcgi says `proxy:fcgi://localhost:9000/path/to/script.php?query`: php-fpm takes the path out of it, and so do we. */
export function plainPath(scriptFilename: ByteString): ByteString {
  const proxy = scriptFilename.startsWith('proxy:')
    ? PROXIES.find((each) => scriptFilename.slice(0, each.length).toLowerCase() === each)
    : undefined
  if (proxy === undefined) return scriptFilename
  const slash = scriptFilename.indexOf('/', proxy.length)
  if (slash === -1) return scriptFilename
  const query = scriptFilename.indexOf('?', slash)
  return scriptFilename.slice(slash, query === -1 ? undefined : query)
}

export interface Resolved {
  /** '' where there is none. */
  readonly file: ByteString
  /** It may not be run. */
  readonly refused: boolean
}

/** What a path leads to is remembered for so long, in milliseconds. */
const FRESH = 1000
const KNOWN_LIMIT = 1024
/** Bytes of a path that the system looks at (PATH_MAX); what is behind them belongs to no file's name. */
const LONGEST = 4096

/**
 * security.limit_extensions: php-fpm looks at the file that PHP would run, which is not always the end of SCRIPT_FILENAME: of
 * `/photo.jpg/x.php` it is the photograph, when there is no such folder.
 */
export class Extensions {
  readonly #allowed: readonly string[]
  readonly #root: string
  readonly #known = new Map<ByteString, { readonly until: number; readonly resolved: Resolved }>()

  /** @param root the pool's chroot, or ''. */
  constructor(limit: string, root: string) {
    this.#allowed = limit.split(/\s+/).filter((each) => each !== '')
    this.#root = Buffer.from(root).toString('latin1')
  }

  resolve(path: ByteString, now: number): Resolved {
    const known = this.#known.get(path)
    if (known !== undefined && known.until > now) return known.resolved
    const resolved = this.#look(path)
    // Clients choose what is behind a script: that much of it is not kept.
    if (path.length > LONGEST) return resolved
    if (this.#known.size >= KNOWN_LIMIT) this.#known.clear()
    this.#known.set(path, { until: now + FRESH, resolved })
    return resolved
  }

  #look(path: ByteString): Resolved {
    const file = path === '' ? path : this.#file(path)
    // There is none: PHP will say so.
    if (file === undefined) return { file: '', refused: false }
    const allowed = this.#allowed.length === 0 || this.#allowed.some((each) => file.endsWith(each) && file.length > each.length)
    return { file, refused: !allowed }
  }

  /** The longest beginning of the path that is a file; the whole of it where we may not look. */
  #file(path: ByteString): ByteString | undefined {
    const longest = path.length > LONGEST ? path.lastIndexOf('/', LONGEST) : path.length
    for (let end = longest; end > 0; end = path.lastIndexOf('/', end - 1)) {
      const each = path.slice(0, end)
      const found = isFile(this.#root + each)
      if (found === undefined) return path
      if (found) return each
    }
    return undefined
  }
}

/** undefined: we may not know, as root may not on some network file systems. */
function isFile(path: ByteString): boolean | undefined {
  if (path.includes('\0')) return false
  try {
    return statSync(Buffer.from(path, 'latin1')).isFile()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG' || code === 'ELOOP' ? false : undefined
  }
}
