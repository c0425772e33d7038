// One connection through a capture: a web server on one side, the application on the other, and every byte passed on before it is
// looked at. Half closes stay half closes and resets stay resets.

import type { Socket } from 'node:net'
import { describe } from '../core/index.ts'
import type { Address } from '../core/index.ts'
import { connect } from '../fastcgi/index.ts'
import type { TlsOptions } from '../fastcgi/index.ts'
import type { Tracker } from './exchange.ts'
import type { Frame } from './format.ts'
import { Masker } from './mask.ts'
import type { NameMask } from './mask.ts'
import { RecordScanner } from './record.ts'
import type { Direction } from './record.ts'

/** What the connections of one capture share. */
export interface LinkOwner {
  readonly mask: NameMask
  readonly tracker: Tracker
  readonly links: Set<Link>
  /** Milliseconds since the capture began. */
  readonly now: number
  /** A connection is over. */
  readonly lull: (() => void) | undefined
  /** A connection's number, from 1. */
  next(): number
  /** @returns false: the disk needs time. */
  write(frame: Frame): boolean
  note(text: string): void
}

/** One connection of a web server and its own one to the application. */
export class Link {
  readonly #owner: LinkOwner
  readonly #number: number
  readonly #masker: Masker
  readonly #scanners: Readonly<Record<Direction, RecordScanner>> = { to: new RecordScanner(), from: new RecordScanner() }
  readonly #told = new Set<Direction>()
  readonly #client: Socket
  #application: Socket | undefined
  /** Directions that wait for the disk. */
  readonly #waiting = new Set<Direction>()
  #closed = false

  constructor(client: Socket, owner: LinkOwner) {
    this.#client = client
    this.#owner = owner
    this.#number = owner.next()
    this.#masker = new Masker(owner.mask)
    owner.links.add(this)
    client.on('error', () => {})
  }

  /** A request runs on it. */
  get busy(): boolean {
    return this.#owner.tracker.running(this.#number) > 0
  }

  async open(to: Address, timeout: number, tls?: TlsOptions): Promise<void> {
    const { remoteAddress, remotePort } = this.#client
    this.#write({ kind: 'open', peer: remoteAddress === undefined ? 'a unix socket' : `${remoteAddress}:${remotePort ?? 0}` })
    this.#client.once('close', () => this.#lost(this.#client))
    try {
      const application = await connect(to, timeout, tls)
      application.on('error', () => {})
      application.allowHalfOpen = true
      if (this.#closed) {
        application.destroy()
        return
      }
      this.#application = application
      application.once('close', () => this.#lost(application))
      this.#pass('to', this.#client, application)
      this.#pass('from', application, this.#client)
    } catch (error) {
      this.#owner.note(`connection ${this.#number}: ${describe(error).replace(/^fastcgi: /, '')}`)
      this.cut(describe(error))
    }
  }

  /** Ends both sides at once. */
  cut(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    const { tracker, now, links } = this.#owner
    for (const direction of ['to', 'from'] as const) this.#rest(direction)
    this.#write({ kind: 'close', reason })
    abort(this.#client)
    if (this.#application !== undefined) abort(this.#application)
    links.delete(this)
    tracker.close(this.#number, now)
    this.#owner.lull?.()
  }

  /** Ends both sides in order: what was written before still arrives. */
  finish(): void {
    this.#client.end()
    this.#application?.end()
  }

  diskDrained(): void {
    for (const direction of this.#waiting) {
      const [source, target] = direction === 'to' ? [this.#client, this.#application] : [this.#application, this.#client]
      if (target?.writableNeedDrain !== true) source?.resume()
    }
    this.#waiting.clear()
  }

  #pass(direction: Direction, from: Socket, to: Socket): void {
    from.on('data', (bytes: Buffer) => {
      if (to.writable && !to.write(bytes)) from.pause()
      if (!this.#look(direction, bytes)) {
        this.#waiting.add(direction)
        from.pause()
      }
    })
    to.on('drain', () => {
      if (!this.#waiting.has(direction)) from.resume()
    })
    from.on('end', () => {
      this.#rest(direction)
      this.#write({ kind: 'half-close', direction })
      to.end()
    })
    from.resume()
  }

  /** One of the two is gone: in order when both have ended, else the other one is to hear of it in the same way. */
  #lost(socket: Socket): void {
    if (this.#closed) return
    const other = socket === this.#client ? this.#application : this.#client
    const who = socket === this.#client ? 'the web server' : 'the application'
    if (socket.errored === null && socket.readableEnded) {
      // The other one has heard of it: what is still to be written to it is written, and it ends in its own time.
      if (other === undefined || other.destroyed) this.cut('')
    } else this.cut(`${who} broke the connection${socket.errored === null ? '' : ` (${codeOf(socket.errored)})`}`)
  }

  /** @returns false: the disk needs time. */
  #look(direction: Direction, bytes: Buffer): boolean {
    const { tracker, now } = this.#owner
    const scanner = this.#scanners[direction]
    let more = true
    for (const record of scanner.push(bytes)) {
      const content = this.#masker.apply(direction, record)
      more = this.#write({ kind: 'record', direction, record: { ...record, content }, masked: content !== record.content, contentAt: 0 })
      tracker.record(this.#number, direction, record, now)
    }
    this.#foreign(direction)
    return more
  }

  #foreign(direction: Direction): void {
    const bytes = this.#scanners[direction].foreign
    if (bytes === undefined || this.#told.has(direction)) return
    this.#told.add(direction)
    this.#write({ kind: 'foreign', direction, bytes })
    const who = direction === 'to' ? 'the web server' : 'the application'
    this.#owner.note(
      `connection ${this.#number}: what ${who} says is no FastCGI (it begins with ${JSON.stringify(bytes.toString('latin1'))}); it passes unrecorded`,
    )
  }

  /** This direction has ended; perhaps within a record. */
  #rest(direction: Direction): void {
    const cut = this.#scanners[direction].end()
    if (cut !== undefined) {
      const content = this.#masker.apply(direction, cut)
      this.#write({ kind: 'record', direction, record: { ...cut, content }, masked: content !== cut.content, contentAt: 0 })
      this.#owner.tracker.record(this.#number, direction, cut, this.#owner.now)
    }
    this.#foreign(direction)
  }

  #write(frame: Part<Frame>): boolean {
    return this.#owner.write({ ...frame, time: this.#owner.now, connection: this.#number } as Frame)
  }
}

/** A frame without what is the same for all of this connection. */
type Part<T> = T extends unknown ? Omit<T, 'time' | 'connection'> : never

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message
}

/** A reset where the transport has one: an orderly end would look like half a page that is whole. */
function abort(socket: Socket): void {
  if (socket.destroyed) return
  if (socket.remoteAddress === undefined) socket.destroy()
  else socket.resetAndDestroy()
}
