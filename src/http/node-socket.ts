// The socket that a Node application sees behind `fromNode`: no descriptor, but whatever an application asks of one.

import { Duplex } from 'node:stream'
import type { AddressInfo } from 'node:net'
import type { GatewayRequest } from '../core/index.ts'

/** What is on the other side of it. */
export interface SocketOwner {
  written(pieces: readonly Piece[], done: (error?: Error) => void): void
  wanted(): void
  ended(done: (error?: Error) => void): void
  destroyed(error: Error | null): void
  timedOut(): void
}

export interface Piece {
  readonly chunk: Uint8Array | string
  readonly encoding: BufferEncoding
}

export class NodeSocket extends Duplex {
  readonly remoteAddress: string | undefined
  readonly remotePort: number | undefined
  readonly remoteFamily: string | undefined
  readonly localAddress: string | undefined
  readonly localPort: number | undefined
  readonly localFamily: string | undefined
  readonly connecting = false
  readonly pending = false
  bytesRead = 0
  bytesWritten = 0
  timeout = 0
  readonly #owner: SocketOwner
  #timer: NodeJS.Timeout | undefined

  constructor(request: GatewayRequest, owner: SocketOwner) {
    super({ decodeStrings: false, highWaterMark: 65_536 })
    this.#owner = owner
    const { remote, local, scheme } = request
    // A unix socket's ends have no address, here as there.
    this.remoteAddress = remote.address === '' ? undefined : remote.address
    this.remotePort = remote.address === '' ? undefined : remote.port
    this.remoteFamily = family(remote.address)
    this.localAddress = local.address === '' ? undefined : local.address
    this.localPort = local.address === '' ? undefined : local.port
    this.localFamily = family(local.address)
    // Absent on a plain socket: applications ask `'encrypted' in socket` as well as its value.
    if (scheme === 'https') Object.assign(this, { encrypted: true, authorized: false })
  }

  get readyState(): string {
    if (this.readable && this.writable) return 'open'
    return this.readable ? 'readOnly' : this.writable ? 'writeOnly' : 'closed'
  }

  address(): AddressInfo | Record<string, never> {
    const { localAddress: address, localPort: port, localFamily } = this
    return address === undefined || port === undefined ? {} : { address, port, family: localFamily ?? 'IPv4' }
  }

  /** As on a connection: `timeout` is emitted when nothing was read or written for so long. */
  setTimeout(milliseconds: number, callback?: () => void): this {
    this.timeout = milliseconds
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (callback !== undefined && milliseconds > 0) this.once('timeout', callback)
    if (milliseconds > 0 && !this.destroyed) this.#timer = setTimeout(() => this.#owner.timedOut(), milliseconds).unref()
    return this
  }

  active(): void {
    this.#timer?.refresh()
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', this.destroy)
  }

  resetAndDestroy(): this {
    return this.destroy()
  }

  override _read(): void {
    this.#owner.wanted()
  }

  override _write(chunk: Uint8Array | string, encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.active()
    this.#owner.written([{ chunk, encoding }], done)
  }

  override _writev(pieces: Piece[], done: (error?: Error) => void): void {
    this.active()
    this.#owner.written(pieces, done)
  }

  override _final(done: (error?: Error) => void): void {
    this.#owner.ended(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.#owner.destroyed(error)
    done(error)
  }
}

function family(address: string): string | undefined {
  if (address === '') return undefined
  return address.includes(':') ? 'IPv6' : 'IPv4'
}
