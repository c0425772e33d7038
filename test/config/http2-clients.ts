// HTTP/2 clients that ask one thing after the other, several at a time on one connection: as browsers do it, they open another
// connection when theirs is told to end, and ask again what the server says it has not seen (RFC 9113, 6.8 and 8.7).

import { connect, constants } from 'node:http2'
import type { ClientHttp2Session } from 'node:http2'

/** The server has not acted upon it. */
class Unseen extends Error {}

export class Http2Clients {
  answered = 0
  /** Requests that were asked again. */
  repeated = 0
  readonly failures: unknown[] = []
  readonly bodies: Set<string> = new Set()
  #stopped = false
  readonly #running: Promise<void>[]

  /** @param count connections, and requests at a time on each. */
  constructor(url: string, path: string, count: { readonly connections: number; readonly streams: number }) {
    this.#running = Array.from({ length: count.connections }, () => {
      const connection = new Connection(url)
      return Promise.all(Array.from({ length: count.streams }, () => this.#run(connection, path))).then(() => connection.close())
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
  }

  async #run(connection: Connection, path: string): Promise<void> {
    while (!this.#stopped) {
      try {
        const { status, body } = await connection.ask(path)
        if (status === 200) this.answered++
        else this.failures.push(status)
        this.bodies.add(body)
      } catch (error) {
        if (error instanceof Unseen) this.repeated++
        else this.failures.push(error)
        // A server that is gone must not make this a busy loop.
        await new Promise((done) => setTimeout(done, 5))
      }
    }
  }
}

class Connection {
  readonly #url: string
  #session: ClientHttp2Session | undefined
  /** Of sessions that were told to end: the last stream that the server has seen. */
  readonly #seen: WeakMap<ClientHttp2Session, number> = new WeakMap()

  constructor(url: string) {
    this.#url = url
  }

  close(): void {
    this.#session?.close()
  }

  ask(path: string): Promise<{ status: number; body: string }> {
    const session = this.#open()
    return new Promise((resolve, reject) => {
      let status = 0
      let body = ''
      let failure: unknown
      const stream = session.request({ ':path': path })
      stream.setEncoding('utf8')
      stream.on('response', (headers) => (status = headers[':status']!))
      stream.on('data', (chunk: string) => (body += chunk))
      stream.on('error', (error) => (failure = error))
      stream.on('close', () => {
        const { id, rstCode } = stream
        const unseen =
          rstCode === constants.NGHTTP2_REFUSED_STREAM || id === undefined || id > (this.#seen.get(session) ?? Number.POSITIVE_INFINITY)
        if (unseen) reject(new Unseen())
        else if (failure === undefined && stream.readableEnded && status !== 0) resolve({ status, body })
        else reject(failure ?? new Error(`stream ${id} ended with code ${rstCode}, status ${status}`))
      })
    })
  }

  #open(): ClientHttp2Session {
    if (this.#session !== undefined && !this.#session.closed && !this.#session.destroyed) return this.#session
    const session = (this.#session = connect(this.#url, { rejectUnauthorized: false }))
    session.on('error', () => {})
    session.on('goaway', (_, last) => {
      this.#seen.set(session, last)
      if (this.#session === session) this.#session = undefined
    })
    return session
  }
}
