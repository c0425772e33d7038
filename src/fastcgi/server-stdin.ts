// FCGI_STDIN from the application's side: a request's body, handed to its reader as it comes, and no end that is none.

import { Channel, GatewayError } from '../core/index.ts'

/** Who minds the pace of the connection. */
export interface StdinOwner {
  readonly door: { readonly tick: number; readonly limits: { readonly body: number } }
  pace(): void
}

export class StdinBody {
  readonly channel: Channel
  /** Its reader has enough for now. */
  full = false
  /** The sweep's tick at which the web server last gave something, or was last free to. */
  tick: number
  readonly #owner: StdinOwner
  /** What CONTENT_LENGTH said; undefined when it said nothing. */
  readonly #expected: number | undefined
  #received = 0
  #ended = false
  /** Whatever still comes, nobody gets it. */
  #deaf = false

  constructor(owner: StdinOwner, expected: number | undefined) {
    this.#owner = owner
    this.#expected = expected
    this.tick = owner.door.tick
    const free = (): void => {
      this.full = false
      this.tick = owner.door.tick
      owner.pace()
    }
    this.channel = new Channel({
      onStart: () => {
        this.tick = owner.door.tick
      },
      onDrain: free,
      onCancel: () => {
        this.#deaf = true
        free()
      },
    })
  }

  /** Somebody waits for more, and it is not us who keep it from coming. */
  get starving(): boolean {
    return this.channel.used && !this.#ended && !this.#deaf && !this.full
  }

  /** Everything that one socket read brought. */
  take(pieces: readonly Uint8Array[]): void {
    if (this.#deaf) return
    for (const piece of pieces) this.#received += piece.length
    this.tick = this.#owner.door.tick
    const { body } = this.#owner.door.limits
    if (this.#expected !== undefined && this.#received > this.#expected) this.fail(this.#mismatch('or more'))
    else if (body > 0 && this.#received > body) this.fail(tooLarge(this.#received, body))
    else if (!this.channel.writeAll(pieces)) this.full = true
  }

  end(): void {
    this.#ended = true
    if (this.#deaf) return
    if (this.#expected === undefined || this.#received === this.#expected) this.channel.end()
    else this.fail(this.#mismatch('in all'))
  }

  /** Ends the reading with an error. Half a body is never a clean end. */
  fail(error: unknown): void {
    this.#deaf = true
    this.full = false
    this.channel.fail(error)
  }

  #mismatch(how: string): GatewayError {
    return new GatewayError('BODY_LENGTH_MISMATCH', {
      status: 400,
      message: `fastcgi: CONTENT_LENGTH is ${this.#expected}, STDIN has ${this.#received} bytes ${how}`,
    })
  }
}

export function tooLarge(length: number, limit: number): GatewayError {
  return new GatewayError('BODY_TOO_LARGE', { status: 413, message: `fastcgi: a request body of ${length} bytes, the limit is ${limit}` })
}
