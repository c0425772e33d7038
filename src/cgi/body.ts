// A request body as a program gets it: none, small enough to travel with the order to start it, or read while it runs.

import { GatewayError } from '../core/index.ts'
import type { ByteStream, Spooled } from '../core/index.ts'
import { INPUT_LIMIT } from '../process/index.ts'

/** A request body that a program can be given. */
export interface Body {
  readonly length: number
  /** Small enough to travel with the order to start the program. */
  readonly small: readonly Uint8Array[] | undefined
  open(): ByteStream
  /** Idempotent; after the last use. */
  close(): void
}

export const NO_BODY: Body = {
  length: 0,
  small: undefined,
  open: () => {
    throw new GatewayError('BODY_USED', { status: 500, message: 'cgi: there is no body' })
  },
  close() {},
}

export function whole(spooled: Spooled): Body {
  const { length, chunks } = spooled
  return {
    length,
    small: length <= INPUT_LIMIT ? chunks : undefined,
    open: () => spooled.stream(),
    close: () => spooled.close(),
  }
}
