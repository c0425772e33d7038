// Asking a host whether it is well: one request on a connection of its own, and the status that it answers with.

import { GatewayError, SOFTWARE } from '../../core/index.ts'
import type { Address, ByteString } from '../../core/index.ts'
import { configError } from './options.ts'
import { connect, formatAddress } from './connect.ts'
import type { TlsOptions } from './connect.ts'
import { RecordDecoder } from '../decoder.ts'
import { rejection } from './failures.ts'
import { HeadReader } from './head-reader.ts'
import { encodeRequest } from '../params.ts'
import { ProtocolStatus, Type, readEndRequest } from '../record.ts'
import type { Role } from '../record.ts'
import { stdinEnd } from './stdin.ts'

/** How a host is asked whether it is well. */
export interface CheckOptions {
  /** SCRIPT_NAME and REQUEST_URI of the request. Default `/ping`, which php-fpm answers itself with `ping.path = /ping`. */
  readonly path?: ByteString
  /** More variables, or others: SCRIPT_FILENAME is the document root and the path unless given. */
  readonly variables?: Readonly<Record<string, ByteString>>
  /** The status that a host that is well answers with, or the first and the last of a range. Default 200 to 399. */
  readonly status?: number | readonly [from: number, to: number]
  /** Milliseconds between two checks of a host. Default 5,000. */
  readonly interval?: number
  /** Milliseconds for one. Default 2,000. All of its workers being busy is no illness: give it time. */
  readonly timeout?: number
  /** Checks in a row that bring a host back (default 2) and that eject it (default 3). */
  readonly rise?: number
  /** See `rise`. */
  readonly fall?: number
}

/** The head of an answer that a check reads. */
const HEAD_LIMIT = 65_536

/** A check as it is sent. Throws CONFIG. */
export function encodeCheck(
  role: Role,
  options: CheckOptions,
  constants: readonly (readonly [ByteString, ByteString])[],
  documentRoot: string = '',
): ByteString {
  const path = options.path ?? '/ping'
  if (!path.startsWith('/')) throw configError(`health.check.path: expected a path that begins with "/", got ${JSON.stringify(path)}`)
  const all = new Map<ByteString, ByteString>([
    ['GATEWAY_INTERFACE', 'CGI/1.1'],
    ['SERVER_SOFTWARE', SOFTWARE],
    ['SERVER_PROTOCOL', 'HTTP/1.1'],
    ['SERVER_NAME', 'localhost'],
    ['SERVER_PORT', '80'],
    ['REQUEST_METHOD', 'GET'],
    ['REQUEST_URI', path],
    ['SCRIPT_NAME', path],
    ['QUERY_STRING', ''],
    ['REMOTE_ADDR', '127.0.0.1'],
    ['SCRIPT_FILENAME', documentRoot + path],
    ...constants,
    ...Object.entries(options.variables ?? {}),
  ])
  return encodeRequest(1, role, false, (emit) => all.forEach((value, name) => emit(name, value))) + stdinEnd(1)
}

/**
 * Sends a check, and reads its answer to the end. Resolves with its status; rejects with UNAVAILABLE, TIMEOUT (`timeout`
 * milliseconds for all of it), UPSTREAM_HEAD, UPSTREAM_PROTOCOL, UPSTREAM_TRUNCATED.
 */
export async function checkHost(address: Address, wire: ByteString, timeout: number, tls?: TlsOptions): Promise<number> {
  const peer = formatAddress(address, tls !== undefined)
  const start = performance.now()
  const socket = await connect(address, timeout, tls)
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise((resolve, reject) => {
      const fail = (code: 'TIMEOUT' | 'UPSTREAM_TRUNCATED', status: number, fact: string): void =>
        reject(new GatewayError(code, { status, message: `fastcgi: ${peer} ${fact}` }))
      const left = Math.max(1, timeout - (performance.now() - start))
      timer = setTimeout(() => fail('TIMEOUT', 504, `did not answer a check within ${timeout} ms`), left)
      const head = new HeadReader()
      let status: number | undefined
      const decoder = new RecordDecoder({
        data(type, id, bytes, from, to) {
          if (type === Type.Stdout && id === 1 && status === undefined && head.push(bytes, from, to, HEAD_LIMIT) !== -1) {
            status = head.take().status
          }
        },
        end() {},
        record(type, id, bytes, from, to) {
          if (type !== Type.EndRequest || id !== 1) return
          const { protocolStatus } = readEndRequest(bytes, from, to)
          if (protocolStatus !== ProtocolStatus.RequestComplete) reject(rejection(protocolStatus, peer))
          else if (status === undefined) fail('UPSTREAM_TRUNCATED', 502, 'answered a check without a head')
          else resolve(status)
        },
      })
      socket.on('data', (bytes: Buffer) => {
        try {
          decoder.push(bytes)
        } catch (error) {
          reject(error)
        }
      })
      socket.on('error', () => fail('UPSTREAM_TRUNCATED', 502, 'lost the connection of a check'))
      socket.on('end', () => fail('UPSTREAM_TRUNCATED', 502, 'closed the connection without an answer to a check'))
      socket.write(wire, 'latin1')
    })
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

/** Whether this is the status of a host that is well. */
export function isWell(status: number, expected: CheckOptions['status'] = [200, 399]): boolean {
  return typeof expected === 'number' ? status === expected : status >= expected[0] && status <= expected[1]
}
