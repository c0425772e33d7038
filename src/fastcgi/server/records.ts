// Records from the application's side: what an answer, or a part of one, is as bytes, in as few writes as the socket allows.

import type { Socket } from 'node:net'
import type { ByteString } from '../../core/index.ts'
import { FULL_CONTENT, ProtocolStatus, Type, ZEROS, endRequest, header, paddingFor } from '../record.ts'

/** Bodies up to here leave in one string with their head; larger ones as pieces beside it. */
const JOIN_LIMIT = 8192

/** A text as records of a stream; nothing for no bytes, since an empty record is the end. */
export function textRecords(type: number, id: number, text: ByteString): ByteString {
  let out = ''
  for (let at = 0; at < text.length; at += FULL_CONTENT) {
    const content = text.length <= FULL_CONTENT ? text : text.slice(at, at + FULL_CONTENT)
    out += header(type, id, content.length) + content + ZEROS[paddingFor(content.length)]!
  }
  return out
}

const ends: ByteString[] = []

/** The end of STDOUT and of the request. */
export function answerEnd(id: number, appStatus: number): ByteString {
  if (appStatus !== 0 || id > 255) return header(Type.Stdout, id, 0) + endRequest(id, appStatus, ProtocolStatus.RequestComplete)
  return (ends[id] ??= header(Type.Stdout, id, 0) + endRequest(id, 0, ProtocolStatus.RequestComplete))
}

/** Writes `head`, then the chunks (`total` bytes), as STDOUT, and `tail` (whole records) behind it. One write of the operating system. */
export function writeStdout(
  socket: Socket,
  id: number,
  head: ByteString,
  chunks: readonly Uint8Array[],
  total: number,
  tail: ByteString,
): void {
  if (total <= JOIN_LIMIT) {
    let text = head
    for (const chunk of chunks) text += latin1(chunk)
    const wire = textRecords(Type.Stdout, id, text) + tail
    if (wire !== '') socket.write(wire, 'latin1')
    return
  }
  socket.cork()
  if (head !== '') socket.write(textRecords(Type.Stdout, id, head), 'latin1')
  writeChunks(socket, id, chunks, total)
  if (tail !== '') socket.write(tail, 'latin1')
  socket.uncork()
}

/** Full records, across the borders of chunks. */
function writeChunks(socket: Socket, id: number, chunks: readonly Uint8Array[], total: number): void {
  let left = total
  let room = 0
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      if (room === 0) {
        room = Math.min(left, FULL_CONTENT)
        socket.write(header(Type.Stdout, id, room), 'latin1')
      }
      const size = Math.min(room, chunk.length - at)
      socket.write(size === chunk.length ? chunk : chunk.subarray(at, at + size))
      at += size
      room -= size
      left -= size
    }
  }
  // Full records need none.
  const padding = paddingFor(total % FULL_CONTENT)
  if (padding > 0) socket.write(ZEROS[padding]!, 'latin1')
}

function latin1(bytes: Uint8Array): ByteString {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}
