// FCGI_STDIN and FCGI_DATA from the web server's side: bytes laid out in records, with as few writes as the socket allows.

import type { Socket } from 'node:net'
import { GatewayError, pump } from '../../core/index.ts'
import type { ByteSink, ByteStream, ByteString } from '../../core/index.ts'
import type { Call } from './call.ts'
import { FULL_CONTENT, Type, ZEROS, header, paddingFor } from '../record.ts'

/** Bodies up to here leave in one string with the request's head; larger ones as pieces beside it. */
const JOIN_LIMIT = 4096

const ends: ByteString[] = []

/** The empty record that ends STDIN. */
export function stdinEnd(id: number): ByteString {
  return id < 256 ? (ends[id] ??= header(Type.Stdin, id, 0)) : header(Type.Stdin, id, 0)
}

/** Writes the start of a request and all of a body that is in memory, as one write of the operating system. */
export function writeWhole(socket: Socket, id: number, head: ByteString, chunks: readonly Uint8Array[]): void {
  let total = 0
  for (const chunk of chunks) total += chunk.length
  if (total === 0) {
    socket.write(head + stdinEnd(id), 'latin1')
    return
  }
  if (total <= JOIN_LIMIT) {
    let body = ''
    for (const chunk of chunks) body += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1')
    socket.write(head + header(Type.Stdin, id, total) + body + ZEROS[paddingFor(total)]! + stdinEnd(id), 'latin1')
    return
  }
  socket.cork()
  socket.write(head, 'latin1')
  writeRecords(socket, Type.Stdin, id, chunks, total)
  socket.write(stdinEnd(id), 'latin1')
  socket.uncork()
}

/** Lays chunks out in full records, across their borders; nothing for no bytes, since an empty record is the end. @returns what the last write said. */
function writeRecords(socket: Socket, type: number, id: number, chunks: readonly Uint8Array[], total: number): boolean {
  let left = total
  let room = 0
  let more = !socket.writableNeedDrain
  for (const chunk of chunks) {
    let at = 0
    while (at < chunk.length) {
      if (room === 0) {
        room = Math.min(left, FULL_CONTENT)
        socket.write(header(type, id, room), 'latin1')
      }
      const size = Math.min(room, chunk.length - at)
      more = socket.write(size === chunk.length ? chunk : chunk.subarray(at, at + size))
      at += size
      room -= size
      left -= size
    }
  }
  const padding = paddingFor(total % FULL_CONTENT)
  if (padding > 0) more = socket.write(ZEROS[padding]!, 'latin1')
  return more
}

/** Who hears how the upload goes. */
export interface UploadOwner {
  /** The application takes no more for now (true), or it does again and we wait for the client. */
  uploadBlocked(blocked: boolean): void
  uploadDone(): void
  /** The body broke or has another length than was announced: the application cannot be told, its connection is lost. */
  uploadFailed(error: unknown): void
}

/** A body that streams into STDIN or DATA at the application's pace. */
class Upload implements ByteSink {
  readonly type: number
  readonly #socket: Socket
  readonly id: number
  readonly #body: ByteStream
  /** What CONTENT_LENGTH said; undefined when it said nothing. */
  readonly #expected: number | undefined
  readonly #owner: UploadOwner
  #sent = 0
  #blocked = false
  #over = false
  #source: { resume(): void } | undefined

  constructor(socket: Socket, type: number, id: number, body: ByteStream, expected: number | undefined, owner: UploadOwner) {
    this.type = type
    this.#socket = socket
    this.id = id
    this.#body = body
    this.#expected = expected
    this.#owner = owner
  }

  get blocked(): boolean {
    return this.#blocked
  }

  start(): void {
    this.#source = pump(this.#body, this)
  }

  /** The socket has room again. */
  drained(): void {
    if (!this.#blocked || this.#over) return
    this.#blocked = false
    this.#owner.uploadBlocked(false)
    this.#source?.resume()
  }

  /** Nobody wants the rest. */
  stop(reason?: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#body.cancel(reason)
  }

  write(chunk: Uint8Array): boolean {
    return this.writeAll([chunk])
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    if (this.#over) return true
    let total = 0
    for (const chunk of chunks) total += chunk.length
    this.#sent += total
    if (this.#expected !== undefined && this.#sent > this.#expected) {
      const error = this.#mismatch('more')
      this.stop(error)
      this.#owner.uploadFailed(error)
      return true
    }
    this.#socket.cork()
    const more = writeRecords(this.#socket, this.type, this.id, chunks, total)
    this.#socket.uncork()
    if (more || this.#over) return true
    this.#blocked = true
    this.#owner.uploadBlocked(true)
    return false
  }

  end(): void {
    if (this.#over) return
    this.#over = true
    if (this.#expected !== undefined && this.#sent < this.#expected) {
      this.#owner.uploadFailed(this.#mismatch('fewer'))
      return
    }
    this.#socket.write(header(this.type, this.id, 0), 'latin1')
    this.#owner.uploadDone()
  }

  fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#owner.uploadFailed(error)
  }

  cancelled(reason: unknown): void {
    this.fail(
      reason ??
        new GatewayError('CLIENT_GONE', { status: 499, message: 'fastcgi: the request body was cancelled while it was being sent' }),
    )
  }

  #mismatch(how: string): GatewayError {
    return new GatewayError('BODY_LENGTH_MISMATCH', {
      status: 400,
      message: `fastcgi: ${this.type === Type.Stdin ? 'the request body has' : 'the data of a filter have'} ${how} bytes than the ${this.#expected} that were announced (${this.#sent} came)`,
    })
  }
}

/** Everything that goes out for one request after another: head, STDIN, and DATA for a filter (FastCGI 1.0, 6.4: in this order). */
export class Outgoing {
  readonly #socket: Socket
  readonly #owner: UploadOwner
  readonly #uploads: UploadOwner
  #call: Call | undefined
  #upload: Upload | undefined

  constructor(socket: Socket, owner: UploadOwner) {
    this.#socket = socket
    this.#owner = owner
    this.#uploads = {
      uploadBlocked: (blocked) => owner.uploadBlocked(blocked),
      uploadDone: () => this.#next(),
      uploadFailed: (error) => {
        this.#upload = undefined
        owner.uploadFailed(error)
      },
    }
  }

  /** Something is still to be sent. */
  get running(): boolean {
    return this.#upload !== undefined
  }

  /** It is the application that we wait for, not the client. */
  get blocked(): boolean {
    return this.#upload?.blocked === true
  }

  /** Writes what is here already; `start` for the rest, if `running`. */
  write(call: Call, id: number): void {
    const { head, body, data } = call
    if (body === null) this.#socket.write(head + stdinEnd(id), 'latin1')
    else if (Array.isArray(body)) writeWhole(this.#socket, id, head, body)
    else {
      this.#socket.write(head, 'latin1')
      const { contentLength } = call.request
      const stream = body as Exclude<typeof body, readonly Uint8Array[]>
      this.#upload = new Upload(this.#socket, Type.Stdin, id, stream, contentLength, this.#uploads)
    }
    this.#call = call
    if (data !== undefined && this.#upload === undefined) this.#upload = this.#data(id, data)
  }

  start(): void {
    this.#upload?.start()
  }

  /** The socket has room again. */
  drained(): void {
    this.#upload?.drained()
  }

  /** Nobody wants the rest. */
  stop(reason?: unknown): void {
    const upload = this.#upload
    this.#upload = this.#call = undefined
    upload?.stop(reason)
  }

  #data(id: number, data: NonNullable<Call['data']>): Upload {
    return new Upload(this.#socket, Type.Data, id, data.body, data.length, this.#uploads)
  }

  #next(): void {
    const { type, id } = this.#upload!
    const data = this.#call?.data
    this.#upload = type === Type.Stdin && data !== undefined ? this.#data(id, data) : undefined
    if (this.#upload !== undefined) this.#upload.start()
    else this.#owner.uploadDone()
  }
}
