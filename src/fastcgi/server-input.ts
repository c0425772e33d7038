// An input stream of a request (FCGI_STDIN, FCGI_DATA) from the application's side, handed to its reader as it comes, and no end that
// is none.

import { Channel, GatewayError } from '../core/index.ts'

/** Who minds the pace of the connection. */
export interface InputOwner {
  readonly door: { readonly tick: number }
  pace(): void
}

export interface InputFacts {
  readonly stream: 'STDIN' | 'DATA'
  /** What the variable says; undefined when it says nothing. */
  readonly expected: number | undefined
  /** Bytes; 0 for no limit. */
  readonly limit: number
  /** Its reading begins. */
  readonly onStart?: () => void
}

export class InputBody {
  readonly channel: Channel
  /** Its reader has enough for now. */
  full = false
  /** Nothing more comes of it. */
  ended = false
  /** The sweep's tick at which the web server last gave something, or was last free to. */
  tick: number
  readonly #owner: InputOwner
  readonly #facts: InputFacts
  /** What this socket read has brought so far. */
  #pieces: Uint8Array[] = []
  #received = 0
  /** While it keeps others waiting: what was left when its reader last took something, and when that was. */
  #held: { readonly buffered: number; readonly tick: number } | undefined
  /** Whatever still comes, nobody gets it. */
  #deaf = false

  constructor(owner: InputOwner, facts: InputFacts) {
    this.#owner = owner
    this.#facts = facts
    this.tick = owner.door.tick
    const free = (): void => {
      this.full = false
      this.tick = owner.door.tick
      owner.pace()
    }
    this.channel = new Channel({
      onStart: () => {
        this.tick = owner.door.tick
        facts.onStart?.()
      },
      onDrain: free,
      onCancel: () => {
        this.#deaf = true
        free()
      },
    })
  }

  /** Pieces wait for `flush`. */
  get pending(): boolean {
    return this.#pieces.length > 0
  }

  /** Keeps a piece until `flush`. @returns whether it is the first one since. */
  add(piece: Uint8Array): boolean {
    return this.#pieces.push(piece) === 1
  }

  /** A socket read is over: what it brought goes to the reader at once. */
  flush(): void {
    if (this.#pieces.length === 0) return
    const pieces = this.#pieces
    this.#pieces = []
    this.tick = this.#owner.door.tick
    if (this.#deaf) return
    for (const piece of pieces) this.#received += piece.length
    const { expected, limit } = this.#facts
    if (expected !== undefined && this.#received > expected) this.fail(this.#mismatch('or more'))
    else if (limit > 0 && this.#received > limit) this.fail(tooLarge(this.#received, limit))
    else if (!this.channel.writeAll(pieces)) this.full = true
  }

  end(): void {
    this.flush()
    this.ended = true
    if (this.#deaf) return
    const { expected } = this.#facts
    if (expected === undefined || this.#received === expected) this.channel.end()
    else this.fail(this.#mismatch('in all'))
  }

  holdsUp(share: number): boolean {
    return this.full && this.channel.buffered >= share
  }

  /** Fails if its reader has taken nothing since before `tick` while others wait for it. To be called at each sweep; `now` is its tick. */
  relieve(share: number, now: number, tick: number, error: () => GatewayError): void {
    const { buffered } = this.channel
    if (!this.holdsUp(share)) this.#held = undefined
    else if (this.#held === undefined || buffered < this.#held.buffered) this.#held = { buffered, tick: now }
    else if (this.#held.tick < tick) {
      this.fail(error())
      this.#owner.pace()
    }
  }

  /** Fails if somebody waits, and the web server was free to give but has not since before `tick`. */
  expire(tick: number, error: () => GatewayError): void {
    if (this.tick < tick && this.channel.used && !this.ended && !this.#deaf && !this.full) this.fail(error())
  }

  /** Ends the reading with an error. Half a body is never a clean end. */
  fail(error: unknown): void {
    this.#deaf = true
    this.full = false
    this.channel.fail(error)
  }

  #mismatch(how: string): GatewayError {
    const { stream, expected } = this.#facts
    const name = stream === 'STDIN' ? 'CONTENT_LENGTH' : 'FCGI_DATA_LENGTH'
    return new GatewayError('BODY_LENGTH_MISMATCH', {
      // It is the client that sends a body, and the web server that reads a file.
      status: stream === 'STDIN' ? 400 : 502,
      message: `fastcgi: ${name} is ${expected}, ${stream} has ${this.#received} bytes ${how}`,
    })
  }
}

export function tooLarge(length: number, limit: number): GatewayError {
  return new GatewayError('BODY_TOO_LARGE', { status: 413, message: `fastcgi: a request body of ${length} bytes, the limit is ${limit}` })
}
