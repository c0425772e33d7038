// From a file and what is asked of it to a response.

import { randomBytes } from 'node:crypto'
import { read } from 'node:fs'
import { FileSlice, READ_SIZE, streamOf } from '../core/index.ts'
import type { ByteRange, Validators, Verdict } from './conditions.ts'
import type { GatewayResponse, HeaderList } from '../core/index.ts'

/** One form of a file (plain, or precompressed) with the head that every answer about it has. */
export interface Representation extends Validators {
  readonly type: string
  /** Content-Type, Content-Encoding, ETag, Last-Modified, Accept-Ranges, Vary: all but what depends on the part that is sent. */
  readonly headers: HeaderList
}

/** The bytes: in memory, or an open descriptor that the response takes over. */
export type Content = Uint8Array | number

export function represent(
  type: string,
  identity: { readonly size: number; readonly mtimeMs: number },
  options: { coding?: string; vary?: boolean } = {},
): Representation {
  // Size and time only: an inode number would differ between machines that serve the same release. Microseconds, for
  // milliseconds are long enough to write a file twice.
  const etag = `"${identity.size.toString(36)}-${Math.round(identity.mtimeMs * 1000).toString(36)}${options.coding === undefined ? '' : `-${options.coding}`}"`
  const lastModified = new Date(identity.mtimeMs).toUTCString()
  const headers = ['Content-Type', type, 'Last-Modified', lastModified, 'ETag', etag, 'Accept-Ranges', 'bytes']
  if (options.coding !== undefined) headers.push('Content-Encoding', options.coding)
  if (options.vary === true) headers.push('Vary', 'Accept-Encoding')
  return { type, size: identity.size, mtimeMs: identity.mtimeMs, etag, lastModified, headers }
}

/** The answer, where it needs no byte of the file: 304, 412, 416, and everything to HEAD. */
export function withoutContent(method: string, file: Representation, verdict: Verdict): GatewayResponse | undefined {
  if (verdict === 'not modified') {
    // What a 304 has to repeat (RFC 9110, 15.4.5), and nothing that describes a body.
    const headers = ['Last-Modified', file.lastModified, 'ETag', file.etag]
    return { status: 304, headers: file.headers.includes('Vary') ? [...headers, 'Vary', 'Accept-Encoding'] : headers, body: null }
  }
  if (verdict === 'precondition failed') return { status: 412, headers: [], body: null }
  if (verdict === 'unsatisfiable') return { status: 416, headers: ['Content-Range', `bytes */${file.size}`], body: null }
  if (method === 'HEAD') return { status: 200, headers: whole(file), body: null }
  return undefined
}

/** The answer with its bytes. Takes over a descriptor. */
export function withContent(file: Representation, verdict: Verdict, content: Content): GatewayResponse {
  if (typeof verdict === 'string') return { status: 200, headers: whole(file), body: slice(content, 0, file.size) }
  const [first] = verdict
  if (verdict.length > 1 || first === undefined) return several(file, verdict, content)
  const length = first.end - first.start + 1
  return {
    status: 206,
    headers: [...file.headers, 'Content-Length', String(length), 'Content-Range', contentRange(first, file.size)],
    body: slice(content, first.start, length),
  }
}

function whole(file: Representation): HeaderList {
  return [...file.headers, 'Content-Length', String(file.size)]
}

function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end}/${size}`
}

function slice(content: Content, start: number, length: number): Uint8Array | FileSlice {
  return typeof content === 'number' ? new FileSlice(content, start, length) : content.subarray(start, start + length)
}

/** RFC 9110, 14.6. The boundary is random, so that no file can hold it on purpose. */
function several(file: Representation, ranges: readonly ByteRange[], content: Content): GatewayResponse {
  const boundary = randomBytes(12).toString('hex')
  const heads = ranges.map(
    (range, i) =>
      `${i === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${file.type}\r\nContent-Range: ${contentRange(range, file.size)}\r\n\r\n`,
  )
  const last = `\r\n--${boundary}--\r\n`
  const length = ranges.reduce((sum, range, i) => sum + heads[i]!.length + range.end - range.start + 1, last.length)
  const kept: string[] = []
  for (let i = 0; i < file.headers.length; i += 2) {
    if (file.headers[i] !== 'Content-Type') kept.push(file.headers[i]!, file.headers[i + 1]!)
  }
  return {
    status: 206,
    headers: ['Content-Type', `multipart/byteranges; boundary=${boundary}`, ...kept, 'Content-Length', String(length)],
    body:
      typeof content === 'number'
        ? parts(content, ranges, heads, last)
        : Buffer.concat([
            ...ranges.flatMap(({ start, end }, i) => [Buffer.from(heads[i]!), content.subarray(start, end + 1)]),
            Buffer.from(last),
          ]),
  }
}

function parts(fd: number, ranges: readonly ByteRange[], heads: readonly string[], last: string): ReturnType<typeof streamOf> {
  const owner = new FileSlice(fd, 0, 0)
  let started = false
  async function* pieces(): AsyncGenerator<Uint8Array> {
    started = true
    try {
      for (const [i, { start, end }] of ranges.entries()) {
        yield Buffer.from(heads[i]!)
        for (let at = start; at <= end;) {
          const chunk = await readAt(fd, at, Math.min(READ_SIZE, end + 1 - at))
          at += chunk.length
          yield chunk
        }
      }
      yield Buffer.from(last)
    } finally {
      owner.close()
    }
  }
  // A generator that runs closes the file itself, when no read is under way any more; one that never ran cannot.
  return streamOf(pieces(), () => {
    if (!started) owner.close()
  })
}

/** Rejects at the end of the file: its head has promised more. */
export function readAt(fd: number, position: number, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const buffer = Buffer.allocUnsafeSlow(length)
    read(fd, buffer, 0, length, position, (error, count) => {
      if (error !== null) reject(error)
      else if (count === 0 && length > 0) reject(new Error(`static: the file ended ${length} bytes early`))
      else resolve(count === length ? buffer : buffer.subarray(0, count))
    })
  })
}
