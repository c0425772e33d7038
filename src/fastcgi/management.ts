// Management records, both ways: what an application can do, asked and answered, and "I do not know this type".
//
// Specification: FastCGI 1.0, section 4. All values are text; names that are not understood are left out of the answer.

import type { ByteString } from '../core/index.ts'
import { decodePairs, encodePair } from './params.ts'
import { MAX_CONTENT, Type, header, paddingFor, protocolError, record } from './record.ts'

/** The names that FastCGI 1.0 defines. */
export const VALUE_NAMES: readonly ByteString[] = ['FCGI_MAX_CONNS', 'FCGI_MAX_REQS', 'FCGI_MPXS_CONNS']

/** Asks for values by name. */
export function encodeGetValues(names: readonly ByteString[]): ByteString {
  const content = joined(names.map((name) => encodePair(name, '')))
  // libfcgi waits for more bytes after this record if it has no padding, and the three names of the specification need none.
  const padding = paddingFor(content.length) || 8
  return header(Type.GetValues, 0, content.length, padding) + content + '\0'.repeat(padding)
}

/** Answers with those values that there are. */
export function encodeGetValuesResult(values: Readonly<Record<string, ByteString>>): ByteString {
  return record(Type.GetValuesResult, 0, joined(Object.entries(values).map(([name, value]) => encodePair(name, value))))
}

/** "I do not know management records of this type"; the connection stays. */
export function encodeUnknownType(type: number): ByteString {
  return record(Type.UnknownType, 0, String.fromCharCode(type) + '\0\0\0\0\0\0\0')
}

/** The names that a GET_VALUES record asks for. */
export function decodeGetValues(bytes: Buffer, start: number, end: number): ByteString[] {
  return decodePairs(bytes, start, end).filter((_, index) => index % 2 === 0)
}

/** The values of a GET_VALUES_RESULT record. A missing name is normal: php-fpm answers one of the three. */
export function decodeGetValuesResult(bytes: Buffer, start: number, end: number): Map<ByteString, ByteString> {
  const pairs = decodePairs(bytes, start, end)
  const values = new Map<ByteString, ByteString>()
  for (let i = 0; i < pairs.length; i += 2) values.set(pairs[i]!, pairs[i + 1]!)
  return values
}

/** The type that the other side does not know. */
export function decodeUnknownType(bytes: Buffer, start: number, end: number): number {
  if (end - start < 8) throw protocolError(`UNKNOWN_TYPE with a body of ${end - start} bytes, 8 are needed`)
  return bytes[start]!
}

/** Management records are discrete: what does not fit into one cannot be said. */
function joined(pairs: readonly string[]): ByteString {
  const content = pairs.join('')
  if (content.length > MAX_CONTENT) throw protocolError(`${content.length} bytes of values, a record carries at most ${MAX_CONTENT}`)
  return content
}
