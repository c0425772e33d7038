// An application whose program may not come up: a mistake in it costs its own requests, and nobody else's.
//
// What does not come up is answered with the reason as an error, and tried again by a later request: whoever mends a program sees it
// work when the page is loaded again, without a word to the server.

import { GatewayError, backend, describe, downPool, notStarted } from '../core/index.ts'
import type { Backend, PoolStatus } from '../core/index.ts'
import type { BuildScope } from './kinds/kind.ts'

export interface MendingOptions {
  /** For messages. */
  readonly name: string
  /** Start at once, and let `ready` wait for it; else the first request does. */
  readonly now: boolean
  /** `ready` rejects for what does not come up: there is something before it that goes on. Default: it resolves, and everything else is served. */
  readonly strict?: boolean
  /** How its pool is called in a status while it is down. Default: it is in none. */
  readonly pool?: Pick<PoolStatus, 'kind' | 'interpreter'>
  /** A second try may end otherwise than the first. Default true. */
  readonly again?: boolean
  /** Hears whether the last try has failed. */
  readonly down?: (isDown: boolean) => void
}

/** The applications of a server that did not come up, by name. */
export class Down {
  readonly #names = new Set<string>()
  readonly #changed: () => void

  /** `changed` is called after each change. */
  constructor(changed: () => void) {
    this.#changed = changed
  }

  names(): string[] {
    return [...this.#names].sort()
  }

  set(name: string, isDown: boolean): void {
    if (this.#names.has(name) === isDown) return
    if (isDown) this.#names.add(name)
    else this.#names.delete(name)
    this.#changed()
  }
}

/** What an application that may not come up is told of its place: where it was down before, nothing better goes on for it. */
export function startOf(scope: BuildScope, name: string): Pick<MendingOptions, 'name' | 'strict' | 'down'> {
  const { strict, excused, down } = scope
  // Two folders may have the same file at the same place.
  const key = name === scope.name ? name : `${scope.name}: ${name}`
  return {
    name,
    strict: strict === true && excused?.has(key) !== true,
    ...(down !== undefined && { down: (isDown: boolean) => down.set(key, isDown) }),
  }
}

/** Between two tries: so many milliseconds, and so many times as long as the last one took. */
const PAUSE = 1000
const SHARE = 4

/** `make` may reject, and so may `ready` of what it makes; that is closed then. */
export function mending(make: () => Backend | Promise<Backend>, options: MendingOptions): Backend {
  const mended = new Mending(make, options)
  return backend((request) => mended.up?.(request) ?? mended.start().then((each) => each(request)), {
    ready: () => mended.ready(),
    close: (grace) => mended.close(grace),
    pools: () => mended.pools(),
  })
}

class Mending {
  /** It can answer. */
  up: Backend | undefined
  /** It is there, and cannot answer yet. */
  coming: Backend | undefined
  readonly #make: () => Backend | Promise<Backend>
  readonly #options: MendingOptions
  #starting: Promise<Backend> | undefined
  #failed: { readonly error: GatewayError; readonly at: number; readonly until: number } | undefined
  #closed = false

  constructor(make: () => Backend | Promise<Backend>, options: MendingOptions) {
    this.#make = make
    this.#options = options
    // Who waits for `ready` hears of it.
    if (options.now) this.start().catch(() => {})
  }

  /** Rejects with what a request is told; at once while it is too early for another try. */
  start(): Promise<Backend> {
    if (this.#closed) return Promise.reject(this.#closedError())
    if (this.#failed !== undefined && performance.now() < this.#failed.until) return Promise.reject(this.#refusal(this.#failed.error))
    return (this.#starting ??= this.#start())
  }

  #refusal(error: GatewayError): GatewayError {
    return error.code === 'CLOSED' ? error : notStarted(error, (this.#failed?.until ?? 0) - performance.now())
  }

  pools(): readonly PoolStatus[] {
    const made = this.up ?? this.coming
    const { pool, name } = this.#options
    if (made !== undefined) return made.pools?.() ?? []
    if (pool === undefined || this.#failed === undefined) return []
    return [downPool({ ...pool, name, started: this.#failed.at }, describe(this.#failed.error))]
  }

  async #start(): Promise<Backend> {
    const began = performance.now()
    const at = Date.now()
    let made: Backend | undefined
    try {
      made = this.coming = await this.#make()
      await made.ready()
      if (this.#closed) throw this.#closedError()
      this.up = made
      this.#failed = undefined
      this.#options.down?.(false)
      return made
    } catch (error) {
      const took = performance.now() - began
      const until = this.#options.again === false ? Infinity : performance.now() + Math.max(PAUSE, SHARE * took)
      this.#failed = { error: asGatewayError(error), at, until }
      if (!this.#closed) this.#options.down?.(true)
      await made?.close(0)
      throw this.#refusal(this.#failed.error)
    } finally {
      this.#starting = this.coming = undefined
    }
  }

  async ready(): Promise<void> {
    if (!this.#options.now) return
    try {
      await this.#starting?.catch(() => {})
      if (this.#failed !== undefined) throw this.#failed.error
    } catch (error) {
      if (this.#options.strict === true) throw error
    }
  }

  async close(grace: number | undefined): Promise<void> {
    this.#closed = true
    // What is on its way up closes itself.
    await this.#starting?.catch(() => {})
    await this.up?.close(grace)
  }

  #closedError(): GatewayError {
    return new GatewayError('CLOSED', { status: 503, message: `config: "${this.#options.name}" is closed`, retryAfter: 1 })
  }
}

/** A program that cannot be started is nobody's bad request, whatever code says so. */
function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  return new GatewayError('PROGRAM_FAILED', { status: 500, message: describe(error), cause: error })
}
