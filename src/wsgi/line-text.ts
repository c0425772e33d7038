// Bodies as text and back, and the order of numbers: what a line works with.

import type { ByteString } from '../core/index.ts'

/** Numbers begin anew after 2^32. */
export function isAfter(number: number, other: number): boolean {
  return ((number - other) | 0) > 0
}

export function latin1(chunks: readonly Uint8Array[] | undefined): ByteString {
  let text = ''
  for (const chunk of chunks ?? []) text += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1')
  return text
}
