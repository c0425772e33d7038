// The side that web servers see: where their connections come in, who may, and how it closes without losing a request.

import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { describe } from '../core/index.ts'
import type { Networks } from '../core/index.ts'
import { HIGH_WATER_MARK, WebConnection, plainAddress } from './web.ts'
import type { House } from './web.ts'
import { sendAnswers } from './worker.ts'

/** Milliseconds between two looks at connections that do not go on. */
const SWEEP = 10_000

/** When the door closes, in milliseconds: so long a connection stays whose last answer may be recent, and one that has had none. */
const RECENT_GRACE = 50
const FRESH_GRACE = 500
const STOP_LOOK = 10

export class Door {
  readonly house: House
  readonly #allowed: Networks | undefined
  // Not a set: V8 makes it a new table now and then, of which each holds what was in it and leads to the next; one that has grown old
  // keeps all that ever came afterwards alive through young collections.
  readonly #connections: WebConnection[] = []
  readonly #servers: Server[] = []
  readonly #sweeper: NodeJS.Timeout
  closing = false

  constructor(house: House, allowed: Networks | undefined) {
    this.house = house
    this.#allowed = allowed
    this.#sweeper = setInterval(() => {
      const now = performance.now()
      for (const each of this.#connections) each.sweep(now)
    }, SWEEP).unref()
  }

  /** Listens on an inherited descriptor. */
  async listen(fd: number, backlog: number): Promise<void> {
    const server = createServer({ noDelay: true, highWaterMark: HIGH_WATER_MARK, allowHalfOpen: false }, (socket) =>
      this.#accept(socket, server),
    )
    this.#servers.push(server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      // Beside a descriptor Node reads the backlog only as an argument.
      server.listen({ fd, exclusive: true }, backlog, () => {
        server.off('error', reject)
        server.on('error', (error) => this.house.warn(`the listening socket: ${describe(error)}`))
        resolve()
      })
    })
  }

  #accept(socket: Socket, server: Server): void {
    if (this.#allowed?.admits(socket, server) === false) {
      this.house.warn(`Connection disallowed: IP address '${plainAddress(socket.remoteAddress ?? '')}' has been dropped.`)
      socket.destroy()
      return
    }
    const connection = new WebConnection(this, socket)
    connection.place = this.#connections.push(connection) - 1
  }

  forget(connection: WebConnection): void {
    const last = this.#connections.pop()
    if (last === undefined || last === connection) return
    last.place = connection.place
    this.#connections[last.place] = last
  }

  /**
   * Accepts nothing more; connections end with their requests. A request may be on its way: those that have had one stay for a moment,
   * and those that have had none a little longer. Resolves when all that has come by then is in hand.
   */
  async stop(): Promise<void> {
    this.closing = true
    for (const server of this.#servers) server.close()
    const begun = performance.now()
    for (let elapsed = 0; this.#connections.length > 0 && elapsed < FRESH_GRACE; elapsed = performance.now() - begun) {
      await new Promise((resolve) => setTimeout(resolve, STOP_LOOK))
      if (elapsed >= RECENT_GRACE) for (const each of this.#connections) if (each.requests > 0) each.retire()
    }
    for (const each of this.#connections) each.retire()
  }

  /** Ends everything at once. */
  close(): void {
    this.closing = true
    sendAnswers()
    for (const server of this.#servers) server.close()
    clearInterval(this.#sweeper)
    for (const each of this.#connections) each.close()
  }
}
