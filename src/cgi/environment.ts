// The environment of a CGI program (RFC 3875, 4.1), from the server's side. Pure.
//
// Precedence is fixed: what the server computes, then the configuration, then what the request carries beside its headers
// (CVE-2025-65082). Nothing of our own environment is inherited, and a client can only ever make HTTP_* variables
// (CVE-2024-8927): no name a program, its interpreter or the loader acts upon can come from outside.

import { GatewayError, enumerate, isComputed, toByteString } from '../core/index.ts'
import type { ByteString, GatewayRequest } from '../core/index.ts'

export interface EnvironmentOptions {
  /** Path of the program: SCRIPT_FILENAME. */
  readonly script: ByteString
  /** DOCUMENT_ROOT, and what PATH_TRANSLATED begins with. Without one neither is set. */
  readonly documentRoot: ByteString | undefined
  /** From `configured`. */
  readonly env: ReadonlyMap<ByteString, ByteString>
  /** Pass Authorization on: RFC 3875, 4.1.18 advises against it, since other users may see a program's environment. */
  readonly authorization: boolean
  /** Bytes on standard input. */
  readonly contentLength: number
}

/** PATH for programs whose configuration gives none. */
export const SAFE_PATH = '/usr/local/bin:/usr/bin:/bin'

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

// What is set below, whatever else says something about it.
const RESERVED = new Set(['SCRIPT_FILENAME', 'DOCUMENT_ROOT', 'PATH_TRANSLATED', 'REDIRECT_STATUS'])

// A door in front of us or an authorizer may add variables, but not these: they decide what code is run, and with what settings.
const LOADED = new RegExp(
  '^(?:PATH|IFS|ENV|CDPATH|PS4|SHELLOPTS|BASHOPTS|PHPRC|PHP_(?:INI_SCAN_DIR|VALUE|ADMIN_VALUE)|GCONV_PATH|LOCPATH|NLSPATH' +
    '|HOSTALIASES|TMPDIR|(?:LD|DYLD|BASH|NODE|GIT|MALLOC|GLIBC|JAVA|JDK)_.*|(?:PERL|PYTHON|RUBY).*)$',
)

/** Checks the variables of a configuration once. Throws CONFIG for a name that is none or that the server computes. */
export function configured(env: Readonly<Record<string, string>>, name: string): ReadonlyMap<ByteString, ByteString> {
  const out = new Map<ByteString, ByteString>([['PATH', SAFE_PATH]])
  for (const [key, value] of Object.entries(env)) {
    if (!NAME.test(key)) throw refuse(name, `"${key}" cannot be the name of a variable`)
    if (isComputed(key) || RESERVED.has(key)) throw refuse(name, `${key} is computed for each request and cannot be set`)
    if (value.includes('\0')) throw refuse(name, `the value of ${key} holds a NUL byte`)
    out.set(key, toByteString(value))
  }
  return out
}

function refuse(name: string, what: string): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: `cgi: ${name}: env: ${what}` })
}

/** The whole environment: `[name, value, ...]`, each name once. */
export function environment(request: GatewayRequest, options: EnvironmentOptions): ByteString[] {
  const { env, documentRoot, contentLength } = options
  const out: ByteString[] = []
  for (const [name, value] of env) out.push(name, value)
  enumerate(
    request,
    (name, value) => {
      if (isComputed(name) || passes(name, env)) out.push(name, value)
    },
    { authorization: options.authorization, contentLength },
  )
  out.push('SCRIPT_FILENAME', options.script)
  if (documentRoot !== undefined) {
    out.push('DOCUMENT_ROOT', documentRoot)
    // The path that PATH_INFO would have if it were a URL of its own (RFC 3875, 4.1.6).
    if (request.pathInfo !== '') out.push('PATH_TRANSLATED', documentRoot + request.pathInfo)
  }
  // php-cgi runs only what a server has sent to it, and this is how it knows (cgi.force_redirect).
  out.push('REDIRECT_STATUS', '200')
  return out
}

/** Whether a variable that the request carries beside its headers may be one of the program's. */
function passes(name: ByteString, env: ReadonlyMap<ByteString, ByteString>): boolean {
  return NAME.test(name) && !RESERVED.has(name) && !env.has(name) && !LOADED.test(name)
}
