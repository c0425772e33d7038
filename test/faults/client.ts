// Clients that behave well, badly or slowly.

import { Agent, request } from 'node:http'
import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** GET on a connection of its own. Rejects when the answer is cut short. */
export async function get(port: number, path: string): Promise<Answer> {
  const { response } = await open(port, path)
  return await read(response)
}

/** A request whose head was answered; the body waits to be read. */
export function open(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<{ sent: ClientRequest; response: IncomingMessage }> {
  const sent = start(port, path, options)
  return new Promise((resolve, reject) => {
    sent.once('response', (response) => resolve({ sent, response }))
    sent.once('error', reject)
    sent.end()
  })
}

/** A request on a connection of its own whose head is on its way and whose body is the caller's. */
export function start(port: number, path: string, options: { method?: string; headers?: Record<string, string> } = {}): ClientRequest {
  return request({
    host: '127.0.0.1',
    port,
    path,
    method: options.method ?? 'GET',
    headers: options.headers ?? {},
    agent: new Agent({ keepAlive: false }),
  })
}

export async function read(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  if (!response.complete) throw new Error('the answer was cut short')
  return { status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString('latin1') }
}

/** Users who ask for one path after the other, each on its kept connection, until they are told to stop. */
export class Load {
  /** How often each status came. */
  readonly statuses: Map<number, number> = new Map()
  /** Why requests got no whole answer, one line for each. */
  readonly broken: string[] = []
  readonly #agent = new Agent({ keepAlive: true })
  readonly #users: Promise<void>[]
  #stopped = false

  constructor(port: number, paths: readonly string[], users: number) {
    this.#users = Array.from({ length: users }, (_, index) => this.#user(port, paths, index))
  }

  get answered(): number {
    return [...this.statuses.values()].reduce((sum, count) => sum + count, 0)
  }

  /** Each user finishes its request first. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#users)
    this.#agent.destroy()
  }

  async #user(port: number, paths: readonly string[], index: number): Promise<void> {
    for (let turn = index; !this.#stopped; turn++) {
      try {
        const status = await this.#ask(port, paths[turn % paths.length]!)
        this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
      } catch (error) {
        this.broken.push(String(error))
        // Nobody listens while a server is replaced; a user tries again, but does not spin.
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
  }

  #ask(port: number, path: string, again: boolean = false): Promise<number> {
    return new Promise((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, agent: this.#agent }, (response) => {
        response.resume()
        response.once('error', reject)
        response.once('end', () => (response.complete ? resolve(response.statusCode ?? 0) : reject(new Error('cut short'))))
      })
      sent.once('error', (error: NodeJS.ErrnoException) => {
        // RFC 9112, 9.3.1: a server may close a kept connection at any time, so a client asks again on another one, once, when it
        // got nothing on a used one. Browsers and proxies do.
        if (sent.reusedSocket && error.code === 'ECONNRESET' && !again) this.#ask(port, path, true).then(resolve, reject)
        else reject(error)
      })
      sent.end()
    })
  }
}
