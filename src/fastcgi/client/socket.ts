// A socket to an application, read without a buffer, a view and a tick of Node's streams for each of its small answers.

import { connect } from 'node:net'
import type { Socket, TcpNetConnectOpts, IpcNetConnectOpts } from 'node:net'

const READ = 65_536
/** From here what was read is handed on where it is, and the next read gets another buffer; below, it is copied, mostly into Node's pool. */
const LARGE = READ / 2

/**
 * Connects. What comes is told by `data` events as it comes, and by nothing else of a stream's: to be listened to before anything is asked.
 * Nobody else holds the chunks, nor the buffers of those from 8 KiB.
 */
export function openSocket(where: IpcNetConnectOpts | TcpNetConnectOpts): Socket {
  // Its memory is the kernel's to give when it is first touched, which an answer of a few bytes hardly does.
  let buffer = Buffer.allocUnsafeSlow(READ)
  const socket: Socket = connect({
    ...where,
    onread: {
      buffer: () => buffer,
      callback(length) {
        if (length >= LARGE) {
          const chunk = buffer.subarray(0, length)
          buffer = Buffer.allocUnsafeSlow(READ)
          socket.emit('data', chunk)
        } else socket.emit('data', Buffer.from(buffer.subarray(0, length)))
        return true
      },
    },
  })
  return socket
}
