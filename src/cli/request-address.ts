// Where a FastCGI application is, as a person types it, and what TLS with it needs.

import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { GatewayError } from '../core/index.ts'
import type { Address } from '../core/index.ts'
import { parseTarget } from '../fastcgi/index.ts'
import type { TlsOptions } from '../fastcgi/index.ts'
import { UsageError } from './arguments.ts'
import type { Parsed } from './arguments.ts'

const FORMS = '127.0.0.1:9000, 9000, unix:/run/app.sock, /run/app.sock or fastcgis://php.example.org:9001'

export interface Application {
  readonly address: Address
  /** Speak TLS with it. */
  readonly tls: TlsOptions | undefined
}

/**
 * `HOST:PORT`, `PORT` of this machine, `unix:PATH`, a path that has a slash or exists, `fastcgi://` and `fastcgis://` (TLS, with what
 * `--ca`, `--cert` and `--key` say). Throws UsageError; `what` begins the message.
 */
export function readApplication(text: string | undefined, what: string, parsed: Parsed): Application {
  if (text === undefined || text === '') throw new UsageError(`${what} is missing: ${FORMS}`)
  const { address, tls } = readTarget(text, what)
  const files = (['ca', 'cert', 'key'] as const).filter((name) => parsed.values.has(name))
  if (!tls) {
    if (files.length > 0) throw new UsageError(`--${files[0]} is for TLS: fastcgis://HOST:PORT`)
    return { address, tls: undefined }
  }
  const pem = Object.fromEntries(files.map((name) => [name, readPem(parsed.values.get(name)![0]!, name)]))
  if (files.includes('cert') !== files.includes('key')) throw new UsageError('--cert and --key belong together')
  return { address, tls: pem }
}

function readTarget(text: string, what: string): { address: Address; tls: boolean } {
  if (/^:?\d+$/.test(text)) return read(`127.0.0.1:${text.replace(':', '')}`, text, what)
  if (text.startsWith('unix:') && text !== 'unix:') return { address: { path: resolve(text.slice(5)) }, tls: false }
  if (/^\.{0,2}\//.test(text) || existsSync(text)) return { address: { path: resolve(text) }, tls: false }
  return read(text, text, what)
}

function read(text: string, given: string, what: string): { address: Address; tls: boolean } {
  try {
    const target = parseTarget(text)
    if ('address' in target) return target
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
  }
  throw new UsageError(`${what}: expected ${FORMS}, got "${given}"`)
}

function readPem(path: string, name: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new UsageError(`--${name}: ${(error as Error).message}`)
  }
}
