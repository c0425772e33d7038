// Upgrades (RFC 9110, 7.8): the application may answer 101 and take the connection; a request that it does not take is answered
// like any other.
//
// Node hands the raw connection over before anybody was asked, and its parser is gone by then. So the answer to an upgrade that is
// not taken ends the connection, and a request with a body goes back to the parser without its Upgrade field: nobody here reads bodies.

import { hasHeader, sameName } from '../core/index.ts'
import type { Socket } from 'node:net'
import type { HeaderList } from '../core/index.ts'
import { Connection } from './connection.ts'
import type { Door } from './door.ts'
import { Exchange, Outgoing, interim } from './exchange.ts'
import { contract } from './head.ts'
import { Facts, examine } from './incoming.ts'
import type { Incoming } from './incoming.ts'

/** Makes the door offer `request.upgrade`. */
export function offerUpgrades(door: Door): void {
  door.server.on('upgrade', (incoming, stream, head) => {
    // What this server accepts are sockets.
    const socket = stream as Socket
    const connection = Connection.of(socket)
    if (connection === undefined || connection.lingering || socket.destroyed) {
      socket.destroy()
      return
    }
    const facts = (incoming.facts ??= new Facts(incoming.rawHeaders))
    const bodiless = facts.transferEncoding === undefined && (facts.contentLength === undefined || facts.contentLength === '0')
    // Pipelined behind requests that still wait: node has cut their answers' ties to the connection already.
    if (connection.first !== undefined) socket.destroy()
    else if (bodiless && incoming.httpVersionMinor === 1 && !meansHttp2(incoming)) offer(door, connection, incoming, head)
    else handBack(door, socket, incoming, head)
  })
}

/** No application takes this one (RFC 9113, 3.1), and clients that try it by habit should keep their connection. */
function meansHttp2({ rawHeaders }: Incoming): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (sameName(rawHeaders[i]!, 'upgrade') && rawHeaders[i + 1]!.toLowerCase() === 'h2c') return true
  return false
}

function offer(door: Door, connection: Connection, incoming: Incoming, rest: Buffer): void {
  const { socket } = connection
  if (connection.requests++ === 0) connection.locate()
  connection.upgraded = true
  const outgoing = new Outgoing(incoming)
  // No parser reads from this connection any more, so this answer is its last.
  outgoing.shouldKeepAlive = false
  outgoing.assignSocket(socket)
  outgoing.on('finish', () => {
    outgoing.detachSocket(socket)
    socket.destroySoon()
    outgoing.emit('close')
  })
  const exchange = new Exchange(connection, incoming, outgoing, examine(incoming, door.limits), false)
  const early = rest.length > 0 ? [rest] : []
  let waiting = 0
  // Also after it was taken: an application that forgets to listen must not fall over a client's reset.
  socket.on('error', () => {})
  const listeners = {
    drain: () => void outgoing.emit('drain'),
    // The client has left before it was answered.
    end: () => void socket.end(),
    // Somebody must be reading to hear of that. What comes before the answer is kept, but not without end.
    data: (chunk: Buffer) => {
      early.push(chunk)
      waiting += chunk.length
      if (waiting > EARLY_LIMIT) socket.pause()
    },
  }
  for (const [event, listener] of Object.entries(listeners)) socket.on(event, listener)
  exchange.takeOver = (status, headers) => {
    announce(exchange, socket, status, headers)
    for (const [event, listener] of Object.entries(listeners)) socket.off(event, listener)
    socket.pause()
    if (early.length > 0) socket.unshift(Buffer.concat(early))
    return socket
  }
  incoming.complete = true
  door.enter(exchange)
}

/** Bytes of the new protocol that are kept before the application has agreed to it. */
const EARLY_LIMIT = 65_536

function announce(exchange: Exchange, socket: Socket, status: number, headers: HeaderList): void {
  if (status !== 101) throw contract(`an upgrade with status ${status}`)
  if (exchange.upgraded || exchange.outgoing.headersSent || exchange.outcome !== undefined) throw contract('an upgrade after the answer')
  const wire = interim(101, hasHeader(headers, 'connection') ? headers : [...headers, 'Connection', 'Upgrade'])
  exchange.outgoing.detachSocket(socket)
  socket.write(wire, 'latin1')
  exchange.status = 101
  exchange.upgraded = true
  exchange.upgradedAt = socket.bytesWritten
}

/** Gives the request to a new parser, as the bytes it was but for its Upgrade and what belongs to it. */
function handBack(door: Door, socket: Socket, incoming: Incoming, rest: Buffer): void {
  let head = `${incoming.method} ${incoming.url} HTTP/${incoming.httpVersion}\r\n`
  const list = incoming.rawHeaders
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i]!
    if (!sameName(name, 'upgrade') && !sameName(name, 'connection') && !sameName(name, 'http2-settings'))
      head += `${name}: ${list[i + 1]!}\r\n`
  }
  if (rest.length > 0) socket.unshift(rest)
  socket.unshift(Buffer.from(head + '\r\n', 'latin1'))
  door.server.emit('connection', socket)
}
