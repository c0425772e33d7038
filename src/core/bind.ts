// Sockets that are bound and that nobody polls: for another process, which calls listen(2) on them. And what the file of a unix socket
// needs to be bound, found and removed.

import { lstatSync, unlinkSync } from 'node:fs'
import net from 'node:net'

/** sun_path of unix(7) holds 108 bytes with the final NUL. libuv 1.46 cuts a longer path short without a word. */
export const SOCKET_PATH_LIMIT = 107

// What net.Server makes inside: binds, does not listen, and is not polled until somebody asks for it. A polled copy would take
// connections away from those whom it is for.
interface Handle {
  readonly fd: number
  getsockname(out: { address?: string; port?: number }): number
  listen(backlog: number): number
  close(): void
}
type CreateHandle = (address: string, port: number, addressType: 4 | 6 | -1) => Handle | number
const createHandle = (net as unknown as { _createServerHandle: CreateHandle })._createServerHandle

const EADDRINUSE = -98

/** A socket that was bound. */
export interface BoundSocket {
  /** For the stdio of a child. */
  readonly fd: number
  /** Calls listen(2): 0, or the system's error, which is negative. In the turn of the event loop that ends with `close`: Node polls it from the next one on. */
  listen(backlog: number): number
  /** Gives it back. Idempotent. */
  close(): void
}

/** Binds a port at an IP address; port 0 is a free one. The system's error where it cannot. */
export function bindPort(host: string, port: number): (BoundSocket & { readonly address: { host: string; port: number } }) | number {
  const handle = createHandle(host, port, net.isIP(host) === 6 ? 6 : 4)
  if (typeof handle === 'number') return handle
  const name: { address?: string; port?: number } = {}
  // libuv keeps EADDRINUSE back until listen(); asking for the name tells it now.
  const status = handle.getsockname(name)
  if (status === 0 && (port === 0 || name.port === port)) {
    return { ...bound(handle, () => {}), address: { host: name.address!, port: name.port! } }
  }
  handle.close()
  return status < 0 ? status : EADDRINUSE
}

/**
 * Binds a unix socket to `name`. Whoever renames that file says where to: `close` removes it at `path` if nobody has put another in its
 * place. The system's error where it cannot.
 */
export function bindPath(name: string, path: string = name): BoundSocket | number {
  const handle = createHandle(name, -1, -1)
  return typeof handle === 'number' ? handle : bound(handle, ownFile(path, name))
}

function bound(handle: Handle, remove: () => void): BoundSocket {
  let open = true
  return {
    fd: handle.fd,
    listen: (backlog) => handle.listen(backlog),
    close: () => {
      if (!open) return
      open = false
      remove()
      handle.close()
    },
  }
}

/** Who is at a unix socket: `alive`, with a full backlog (EAGAIN) too, else the system's word, ECONNREFUSED for that of a dead server. */
export function probeSocket(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve('alive')
    })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'EAGAIN' ? 'alive' : (code ?? 'EIO')))
  })
}

/**
 * Remembers which file is at `made`, and will be at `path`. What it gives removes that one if it may, and none that an heir has put in its
 * place.
 */
export function ownFile(path: string, made: string = path): () => void {
  const { dev, ino } = lstatSync(made, { bigint: true })
  return () => {
    try {
      const now = lstatSync(path, { bigint: true })
      if (now.dev === dev && now.ino === ino) unlinkSync(path)
    } catch {
      // It is gone, or its folder was closed to us.
    }
  }
}
