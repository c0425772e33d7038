// The door without a socket: any application, called as a client would call it.

import { GatewayError, empty, getHeader, isHost, isToken, parseTarget, type Address, type Application, type Server } from '../core/index.ts'
import { Exchange, type MemoryExchange, type MemoryParts, type MemoryResponse } from './exchange.ts'

/** A door without a socket. */
export interface MemoryServer extends Server {
  /** Sends a request. Rejects when the server is closed; what the application does wrong is in the response and its `outcome`. */
  request(parts?: MemoryParts): MemoryExchange
}

/**
 * Serves an application in this process, without a socket.
 * `close(grace)` waits for requests and for `waitUntil` work; default 5000 ms.
 */
export function serveMemory(application: Application): MemoryServer {
  return new Memory(application)
}

class Memory implements MemoryServer {
  readonly address: Address = { host: 'memory.invalid', port: 0 }
  #application: Application
  #running = new Map<Exchange, Promise<unknown>>()
  #work = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  constructor(application: Application) {
    this.#application = application
  }

  swap(application: Application): void {
    this.#application = application
  }

  request(parts: MemoryParts = {}): MemoryExchange {
    let headSent!: (status: number) => void
    const head = new Promise<number>((resolve) => (headSent = resolve))
    let exchange: Exchange | undefined
    const response = new Promise<MemoryResponse>((resolve) => {
      if (this.#closing !== undefined) throw new GatewayError('CLOSED', { status: 503, message: 'testing: the server is closed' })
      const refusal = refusalOf(parts)
      const track = (work: Promise<unknown>): void => this.#wait(work)
      exchange = new Exchange(refusal === undefined ? { waitUntil: track, ...parts } : { method: parts.method ?? 'GET' }, resolve, headSent)
      // OPTIONS * is about the server as a whole, and no resource (RFC 9110, 9.3.7).
      const application: Application = parts.target === '*' ? () => empty(204) : this.#application
      void exchange.run(refusal === undefined ? application : () => Promise.reject(refusal))
    })
    if (exchange !== undefined) {
      const running = exchange
      this.#running.set(running, response)
      void response.then(() => this.#running.delete(running))
    }
    return Object.assign(response, {
      head,
      received: () => exchange?.received ?? 0,
      abort: (reason?: unknown) => exchange?.abort(reason),
      release: () => exchange?.release(),
    })
  }

  close(grace: number = 5000): Promise<void> {
    return (this.#closing ??= this.#close(grace))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #wait(work: Promise<unknown>): void {
    const forget = (): void => void this.#work.delete(work)
    this.#work.add(work)
    work.then(forget, forget)
  }

  async #close(grace: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, grace)))
    await Promise.race([late, this.#settled()])
    clearTimeout(timer)
    const error = new GatewayError('CLOSED', { status: 503, message: `testing: the server closed after ${grace} ms of grace` })
    for (const exchange of this.#running.keys()) exchange.abort(error)
  }

  async #settled(): Promise<void> {
    await Promise.allSettled(this.#running.values())
    await Promise.allSettled(this.#work)
  }
}

const refuse = (message: string): GatewayError => new GatewayError('BAD_REQUEST', { status: 400, message: `testing: ${message}` })

/** What no door lets through to an application. */
function refusalOf(parts: MemoryParts): GatewayError | undefined {
  const target = parseTarget(parts.target ?? '/')
  if (typeof target === 'string') return refuse(`the target is refused: ${target}`)
  if (parts.method !== undefined && !isToken(parts.method)) return refuse('the method is not a token')
  const given = parts.headers ?? []
  const list = Array.isArray(given) ? (given as readonly string[]) : Object.entries(given).flat()
  if (!isHost(getHeader(list, 'host') ?? '')) return refuse('the Host header cannot be one')
  return undefined
}
