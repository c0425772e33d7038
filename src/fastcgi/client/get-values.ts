// Asking an application what it can do (FastCGI 1.0, 4.1). Many never answer, so there is always a deadline.

import { GatewayError } from '../../core/index.ts'
import type { Address, ByteString } from '../../core/index.ts'
import { connect, formatAddress, parseAddress } from './connect.ts'
import type { TlsOptions } from './connect.ts'
import { RecordDecoder } from '../decoder.ts'
import { VALUE_NAMES, decodeGetValuesResult, encodeGetValues } from '../management.ts'
import { Type } from '../record.ts'

/**
 * The values an application gives for these names (default: the three of FastCGI 1.0), on a connection of its own.
 * Missing ones are normal: php-fpm gives one of the three, an application that does not know the record none.
 * Rejects with UNAVAILABLE, TIMEOUT (`timeout` milliseconds for all of it, default 1,000), UPSTREAM_PROTOCOL, UPSTREAM_TRUNCATED.
 */
export async function getValues(
  address: Address | string,
  timeout: number = 1000,
  names: readonly ByteString[] = VALUE_NAMES,
  tls?: TlsOptions,
): Promise<Map<ByteString, ByteString>> {
  const parsed = typeof address === 'string' ? parseAddress(address) : address
  const peer = formatAddress(parsed, tls !== undefined)
  const start = performance.now()
  const socket = await connect(parsed, timeout, tls)
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise((resolve, reject) => {
      const late = (): void =>
        reject(new GatewayError('TIMEOUT', { status: 504, message: `fastcgi: ${peer} did not answer GET_VALUES within ${timeout} ms` }))
      timer = setTimeout(late, Math.max(1, timeout - (performance.now() - start)))
      const decoder = new RecordDecoder({
        data() {},
        end() {},
        record(type, _id, bytes, from, to) {
          if (type === Type.GetValuesResult) resolve(decodeGetValuesResult(bytes, from, to))
          else if (type === Type.UnknownType) resolve(new Map())
        },
      })
      socket.on('data', (bytes: Buffer) => {
        try {
          decoder.push(bytes)
        } catch (error) {
          reject(error)
        }
      })
      const gone = (cause?: Error): void =>
        reject(
          new GatewayError('UPSTREAM_TRUNCATED', {
            status: 502,
            message: `fastcgi: ${peer} closed the connection without an answer to GET_VALUES`,
            cause,
          }),
        )
      socket.on('error', gone)
      socket.on('end', () => gone())
      socket.write(encodeGetValues(names), 'latin1')
    })
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}
