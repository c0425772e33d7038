// What doors have in common, whatever is spoken at them: connections that are too many, what the log is told of failures, and an end that
// loses no request.

import type { Server as NetServer } from 'node:net'
import { GatewayError, describe } from './errors.ts'
import type { Log } from './types.ts'

/** Milliseconds between two looks at the connections of a door that closes. */
const LOOK = 25

/** One for each door. */
export class Doorkeeper {
  readonly #door: string
  readonly #limit: number
  readonly #log: Log
  #dropped = 0
  #running = 0
  #settled: (() => void) | undefined

  /**
   * @param door begins its messages.
   * @param connections how many there may be at a time; 0 is no limit.
   */
  constructor(door: string, connections: number, log: Log) {
    this.#door = door
    this.#limit = connections
    this.#log = log
  }

  /** Whoever comes to this server when there are too many is closed on at once. */
  limit(server: NetServer): void {
    if (this.#limit > 0) server.maxConnections = this.#limit
    server.on('drop', () => this.#dropped++)
  }

  /** It listens. Without somebody to hear of what befalls the listening socket from now on, that would end the process. */
  opened(server: NetServer): void {
    server.on('error', (error) => this.#log.error({}, `${this.#door}: the listening socket: ${describe(error)}`))
  }

  /** Says how many were closed on: once a sweep, for a flood of connections must not become a flood of lines. */
  sweep(): void {
    if (this.#dropped === 0) return
    const fact = `limits.connections = ${this.#limit} is reached, ${this.#dropped} were refused`
    this.#log.warn({ refused: this.#dropped }, `${this.#door}: ${fact}`)
    this.#dropped = 0
  }

  /** Work that goes on after a response: `drain` waits for it. */
  readonly track: (work: Promise<unknown>) => void = (work) => {
    this.#running++
    const failed = (error: unknown): void => this.#log.error({}, `${this.#door}: work after a response failed: ${describe(error)}`)
    void work
      .then(() => {}, failed)
      .then(() => {
        if (--this.#running === 0) this.#settled?.()
      })
  }

  /**
   * Resolves when all connections are gone (`stopped`) and all work is done, or after `grace` milliseconds. Requests may have arrived that
   * nobody has read yet, so `reap` first looks at the connections a moment later: it ends those that have no request and whose time to
   * ask is over, by `performance.now()`; that of all is over without a grace.
   */
  async drain(grace: number, stopped: Promise<void>, reap: (now: number) => void): Promise<void> {
    const look = (): void => reap(grace === 0 ? Number.POSITIVE_INFINITY : performance.now())
    // One round to read what has arrived, one to be sure.
    await turn()
    await turn()
    look()
    const looker = setInterval(look, LOOK)
    let timer: NodeJS.Timeout | undefined
    const deadline = new Promise<void>((resolve) => (timer = setTimeout(resolve, grace)))
    await Promise.race([deadline, stopped.then(() => this.#done())])
    clearTimeout(timer)
    clearInterval(looker)
    if (this.#running > 0) this.#log.warn({ count: this.#running }, `${this.#door}: closed while work after responses still ran`)
  }

  #done(): Promise<void> | undefined {
    if (this.#running === 0) return undefined
    return new Promise((resolve) => (this.#settled = resolve))
  }
}

/** Tells the log what the client is not told, with `request` to say of whom. `status` is 0 when the answer had begun. */
export function logFailure(log: Log, door: string, request: object, error: unknown, status: number): void {
  const fact = describe(error)
  const fields = { ...request, status, error: fact }
  if (status === 0) log.error(fields, `${door}: an answer broke off: ${fact}`)
  else if (status < 500) log.debug(fields, fact)
  else if (error instanceof GatewayError) log.error(fields, fact)
  else log.error({ ...fields, stack: error instanceof Error ? error.stack : undefined }, `${door}: the application failed: ${fact}`)
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
