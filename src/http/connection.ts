// What the door keeps of a connection: a few fields, for there may be thousands that do nothing. Deadlines are not timers but
// ticks of one sweep, and the hot path never looks at a clock.

import type { Socket } from 'node:net'
import type { Endpoint } from '../core/index.ts'
import type { Door } from './door.ts'
import type { Exchange } from './exchange.ts'
import type { Incoming } from './incoming.ts'

const CONNECTION = Symbol('viaduct connection')
type Marked = Socket & { [CONNECTION]?: Connection }

/** A unix socket's ends have no address. */
export const nowhere: Endpoint = { address: '', port: 0 }

export class Connection {
  readonly door: Door
  readonly socket: Socket
  /** Requests that came by it. */
  requests = 0
  /** Requests that wait for their answer, in order: one is worked on, the others are pipelined behind it (RFC 9112, 9.3.2). */
  first: Exchange | undefined = undefined
  last: Exchange | undefined = undefined
  queued = 0
  /** A body that nobody reads and that is being taken off the wire. */
  draining: Incoming | undefined = undefined
  /** We have said all we had to say; what the client still sends is thrown away until it closes, or for a moment. */
  lingering = false
  /** No parser reads from it any more. */
  upgraded = false
  /** The tick at which draining, lingering or being idle began. */
  since = 0
  /** What the sweep saw when it last came by: the same request count and bytes mean that nothing happened since. */
  seenRequests = -1
  seenBytes = 0
  /** Whether the socket's own timer runs: only for a client that does not take its answer as fast as we could give it. */
  armed = false
  remote: Endpoint = nowhere
  local: Endpoint = nowhere

  constructor(door: Door, socket: Socket) {
    this.door = door
    this.socket = socket
    ;(socket as Marked)[CONNECTION] = this
  }

  static of(socket: Socket): Connection | undefined {
    return (socket as Marked)[CONNECTION]
  }

  /** Asks the system who is at both ends, once there is a request to tell: after the connection is gone, nobody knows any more. */
  locate(): void {
    const { socket } = this
    this.remote = endpoint(socket.remoteAddress, socket.remotePort)
    this.local = this.door.local ?? endpoint(socket.localAddress, socket.localPort)
  }

  /** @returns whether it is the only one, so that it can be worked on now. */
  push(exchange: Exchange): boolean {
    this.queued++
    if (this.last === undefined) {
      this.first = this.last = exchange
      return true
    }
    this.last.next = exchange
    this.last = exchange
    return false
  }

  /** Takes the first one off. @returns the one whose turn it is now. */
  shift(): Exchange | undefined {
    const { first } = this
    const next = first?.next
    if (first !== undefined) first.next = undefined
    this.queued--
    this.first = next
    if (next === undefined) this.last = undefined
    return next
  }

  /** Cuts a client that takes nothing for the whole of `writeTimeout`; the socket's timer knows when a part of a write went out. */
  arm(): void {
    const { writeTimeout } = this.door.limits
    if (this.armed || writeTimeout === 0) return
    this.armed = true
    this.socket.setTimeout(writeTimeout)
  }

  disarm(): void {
    if (!this.armed) return
    this.armed = false
    this.socket.setTimeout(0)
  }

  /**
   * Ends our side and goes on reading for a moment: closing a socket with unread bytes sends a reset, and the client
   * may see that instead of our answer (RFC 9112, 9.6).
   */
  linger(): void {
    if (this.lingering || this.socket.destroyed) return
    this.lingering = true
    this.since = this.door.tick
    this.socket.end()
  }
}

export function endpoint(address: string | undefined, port: number | undefined): Endpoint {
  if (address === undefined || port === undefined) return nowhere
  // A v4 client of a v6 listener is still a v4 client: its address must compare equal in lists and logs.
  return { address: address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address, port }
}
