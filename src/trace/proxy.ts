// `viaduct capture`'s heart: stands between a web server and an application, passes every byte on as it comes, and writes down
// the records that it sees go by.
//
// What passes is never changed, delayed or judged: bytes go on before they are looked at, half closes and resets stay what they
// are, and what is no FastCGI passes too. Backpressure is that of the slower side, or of the disk.

import { unlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server as NetServer } from 'node:net'
import { SOFTWARE, openListener } from '../core/index.ts'
import type { Address, Listen } from '../core/index.ts'
import { formatAddress, parseAddress } from '../fastcgi/index.ts'
import type { TlsOptions } from '../fastcgi/index.ts'
import { Tracker } from './exchange.ts'
import type { Exchange } from './exchange.ts'
import { Link } from './link.ts'
import type { LinkOwner } from './link.ts'
import { DEFAULT_MASK, NameMask } from './mask.ts'
import type { Frame } from './format.ts'
import { CaptureWriter } from './writer.ts'

/** Connections at once; more are refused. */
const CONNECTIONS = 1024
const STOPPED = 'the capture was stopped'

/** Between whom it stands, and what it writes. */
export interface CaptureOptions {
  /** Where web servers connect. */
  readonly listen: Listen
  /** Where the application is: `unix:/run/php/fpm.sock`, `127.0.0.1:9000`. */
  readonly to: Address | string
  /** Speak TLS with it. */
  readonly tls?: TlsOptions | undefined
  /** The file; it must not exist. */
  readonly out: string
  /** Names of variables and header fields whose values are masked. Default DEFAULT_MASK. */
  readonly mask?: readonly string[]
  /** Bytes that the file may have; the traffic goes on unrecorded then. Default: no limit. */
  readonly limit?: number
  /** Milliseconds to reach the application. Default 5,000. */
  readonly connectTimeout?: number
  /** A request is over. */
  readonly onExchange?: (exchange: Exchange) => void
  /** Something a person should know. */
  readonly onNote?: (note: string) => void
}

/** What was captured. */
export interface CaptureResult {
  /** Connections that were made. */
  readonly connections: number
  /** Requests that began. */
  readonly requests: number
  /** Bytes of the file. */
  readonly bytes: number
  /** Why the recording ended before the capture did. */
  readonly stopped?: string
  /** It was the disk's fault. */
  readonly failed: boolean
}

/** A capture that runs. */
export interface Capture {
  /** Where it listens, with the real port. */
  readonly address: Address
  /** Takes no connection any more, gives running requests `grace` milliseconds (default 0), and ends the file in order. Called again, the grace is over. */
  close(grace?: number): Promise<CaptureResult>
}

/** Rejects with CONFIG where it cannot listen or write. */
export async function startCapture(options: CaptureOptions): Promise<Capture> {
  const recorder = await Recorder.open(options)
  const server: NetServer = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    void new Link(socket, recorder).open(recorder.to, options.connectTimeout ?? 5000, options.tls)
  })
  server.maxConnections = CONNECTIONS
  try {
    const listener = await openListener(server, options.listen, 'capture')
    let closing: Promise<CaptureResult> | undefined
    const close = async (grace: number): Promise<CaptureResult> => {
      server.close()
      await listener.release()
      await recorder.settled(grace)
      for (const link of recorder.links) link.cut(STOPPED)
      return recorder.finish()
    }
    return {
      address: listener.address,
      close: (grace = 0) => {
        if (closing !== undefined) recorder.hurry()
        return (closing ??= close(grace))
      },
    }
  } catch (error) {
    await recorder.finish()
    // Nothing is in it, and it would be in the way of the next attempt.
    await unlink(options.out)
    throw error
  }
}

/** What all connections share: the file, and the view of what passes. */
class Recorder implements LinkOwner {
  readonly mask: NameMask
  readonly tracker: Tracker
  readonly to: Address
  readonly links = new Set<Link>()
  /** Called when a request or a connection is over. */
  lull: (() => void) | undefined
  #hurried = false
  #settle: (() => void) | undefined
  #writer!: CaptureWriter
  readonly #origin = performance.now()
  #connections = 0
  #requests = 0
  #stopped: string | undefined
  #failed = false

  private constructor(options: CaptureOptions) {
    this.to = typeof options.to === 'string' ? parseAddress(options.to) : options.to
    this.mask = new NameMask(options.mask ?? DEFAULT_MASK)
    this.note = options.onNote ?? (() => {})
    this.tracker = new Tracker({
      onEnd: (exchange) => {
        this.#requests++
        options.onExchange?.(exchange)
        this.lull?.()
      },
      onProblem: (connection, fact) => this.note(`connection ${connection}: ${fact}`),
    })
  }

  readonly note: (text: string) => void

  static async open(options: CaptureOptions): Promise<Recorder> {
    const recorder = new Recorder(options)
    const { listen } = options
    const from =
      'path' in listen ? `unix:${listen.path}` : 'fd' in listen ? `fd ${listen.fd}` : `${listen.host ?? '127.0.0.1'}:${listen.port ?? 0}`
    recorder.#writer = await CaptureWriter.open(options.out, {
      meta: {
        software: SOFTWARE,
        started: new Date().toISOString(),
        listen: from,
        to: formatAddress(recorder.to, options.tls !== undefined),
        mask: options.mask ?? DEFAULT_MASK,
      },
      limit: options.limit,
      onStop: (why, error) => {
        recorder.#stopped = why
        recorder.#failed = error !== undefined
        recorder.note(`${why}; nothing more is recorded, and the traffic goes on`)
        recorder.#resume()
      },
      onDrain: () => recorder.#resume(),
    })
    return recorder
  }

  /** A connection's number, from 1. */
  next(): number {
    return ++this.#connections
  }

  get now(): number {
    return performance.now() - this.#origin
  }

  /** @returns false: the disk needs time. */
  write(frame: Frame): boolean {
    return this.#writer.write(frame)
  }

  /** Resolves when every connection is over, after `grace` milliseconds, or when somebody is in a hurry. */
  settled(grace: number): Promise<void> {
    if (this.#hurried) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, grace)
      this.#settle = () => {
        clearTimeout(timer)
        resolve()
      }
      this.lull = () => {
        // A kept connection without a request waits for one that will not come.
        for (const link of this.links) if (!link.busy) link.finish()
        if (this.links.size === 0) this.#settle?.()
      }
      this.lull()
    })
  }

  /** Ends the time that running requests have got. */
  hurry(): void {
    this.#hurried = true
    this.#settle?.()
  }

  async finish(): Promise<CaptureResult> {
    this.tracker.finish(this.now)
    await this.#writer.end(this.now)
    return {
      connections: this.#connections,
      requests: this.#requests,
      bytes: this.#writer.bytes,
      failed: this.#failed,
      ...(this.#stopped !== undefined && { stopped: this.#stopped }),
    }
  }

  #resume(): void {
    for (const link of this.links) link.diskDrained()
  }
}
