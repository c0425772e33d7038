// What a program says on its standard error, on its way to the log of the request.

import type { GatewayRequest } from '../core/index.ts'
import type { Program } from '../process/index.ts'

/** Passes each line on with the program's name and pid, up to `limit` bytes of them. */
export function relayErrors(program: Program, request: GatewayRequest, limit: number, label: () => string): void {
  let bytes = 0
  program.onStderr = (line) => {
    if (bytes > limit) return
    bytes += Buffer.byteLength(line) + 1
    const text = bytes > limit ? `[more than ${limit} bytes on standard error: the rest is dropped]` : line
    request.errors.write(`${label()}: ${text}\n`)
  }
}
