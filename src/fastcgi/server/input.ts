// An input stream of a request (FCGI_STDIN, FCGI_DATA) from the application's side, handed to its reader as it comes, and no end that
// is none.

import { Channel, GatewayError } from '../../core/index.ts'
import { Spill } from '../spill.ts'

/** Who minds the pace of the connection. */
export interface InputOwner {
  readonly door: { readonly tick: number; readonly limits: { readonly bodyMemory: number; readonly bodyFile: number } }
  pace(): void
  /** The disk is slower than the web server: the one case in which all have to wait, until `goOn`. */
  readonly wait: () => void
  readonly goOn: () => void
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
  /** What its reader is behind by goes here, on a connection that others share. */
  #spill: Spill | undefined
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
      onDrain: () => {
        free()
        this.#spill?.drained()
      },
      onCancel: () => {
        this.#deaf = true
        this.#spill?.close()
        free()
      },
    })
  }

  /** Whether it still holds something, or waits for it. */
  get open(): boolean {
    return !this.ended || this.#spill !== undefined
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
    else if (this.#spill !== undefined) this.#spill.writeAll(pieces)
    else if (!this.channel.writeAll(pieces)) this.full = true
  }

  end(): void {
    this.flush()
    this.ended = true
    if (this.#deaf) return
    const { expected } = this.#facts
    if (expected === undefined || this.#received === expected) (this.#spill ?? this.channel).end()
    else this.fail(this.#mismatch('in all'))
  }

  /** Whether the connection must wait for its reader. Where others share it, memory and then a file take what the reader does not. */
  holdsUp(shared: boolean): boolean {
    if (!shared || !this.full) return this.full
    const { bodyMemory, bodyFile } = this.#owner.door.limits
    if (this.channel.buffered < bodyMemory) return false
    if (bodyFile === 0) return true
    this.full = false
    const limits = { memory: bodyMemory, file: bodyFile, tooFar: () => farBehind(bodyFile) }
    this.#spill = new Spill(limits, { pause: this.#owner.wait, resume: this.#owner.goOn, giveUp: () => (this.#deaf = true) }, this.channel)
    return false
  }

  /** Fails if somebody waits, and the web server was free to give but has not since before `tick`. */
  expire(tick: number, error: () => GatewayError): void {
    if (this.tick >= tick || this.ended || this.#deaf || this.full) return
    if (this.channel.used && this.channel.buffered === 0) this.fail(error())
  }

  /** Ends the reading with an error. Half a body is never a clean end. */
  fail(error: unknown): void {
    this.#deaf = true
    this.full = false
    this.#spill?.close()
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

function farBehind(limit: number): GatewayError {
  return new GatewayError('TIMEOUT', {
    status: 503,
    message: `fastcgi: the reader of a request body is more than limits.bodyFile = ${limit} bytes behind, on a connection that others share`,
  })
}
