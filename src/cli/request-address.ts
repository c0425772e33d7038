// Where a FastCGI application is, as a person types it.

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { GatewayError } from '../core/index.ts'
import type { Address } from '../core/index.ts'
import { parseAddress } from '../fastcgi/index.ts'
import { UsageError } from './arguments.ts'

const FORMS = '127.0.0.1:9000, 9000, unix:/run/app.sock or /run/app.sock'

/** `HOST:PORT`, `PORT` of this machine, `unix:PATH`, and a path that has a slash or exists. Throws UsageError; `what` begins the message. */
export function readAddress(text: string | undefined, what: string): Address {
  if (text === undefined || text === '') throw new UsageError(`${what} is missing: ${FORMS}`)
  if (/^:?\d+$/.test(text)) return read(`127.0.0.1:${text.replace(':', '')}`, text, what)
  if (text.startsWith('unix:') && text !== 'unix:') return { path: resolve(text.slice(5)) }
  if (/^\.{0,2}\//.test(text) || existsSync(text)) return { path: resolve(text) }
  return read(text, text, what)
}

function read(text: string, given: string, what: string): Address {
  try {
    return parseAddress(text)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    throw new UsageError(`${what}: expected ${FORMS}, got "${given}"`)
  }
}
