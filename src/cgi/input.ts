// A request's body on its way to a program's standard input: at the program's pace, and no byte more than announced.

import type { Socket } from 'node:net'
import { GatewayError, pump } from '../core/index.ts'
import type { ByteSink, ByteStream } from '../core/index.ts'

export interface InputOptions {
  /** Exactly so many bytes: the program was told CONTENT_LENGTH. */
  readonly length: number
  /** Something moved. */
  readonly active: () => void
  /** The body broke before it was whole: the program must not take what it got for all. */
  readonly failed: (error: unknown) => void
  /** Nothing more will be read from the body. */
  readonly over: () => void
}

/** Feeds `stdin` until the body ends or the program wants no more, which is its right (EPIPE is no error). */
export function feed(body: ByteStream, stdin: Socket, options: InputOptions): void {
  let left = options.length
  let over = false
  const finish = (): void => {
    if (over) return
    over = true
    options.over()
  }
  const fail = (error: unknown): void => {
    if (over) return
    finish()
    stdin.destroy()
    options.failed(error)
  }
  const sink: ByteSink = {
    write(chunk) {
      if (over) return true
      const part = chunk.length > left ? chunk.subarray(0, left) : chunk
      left -= part.length
      options.active()
      return stdin.write(part)
    },
    writeAll(chunks) {
      stdin.cork()
      let more = true
      for (const chunk of chunks) more = sink.write(chunk)
      stdin.uncork()
      return more
    },
    end() {
      if (over) return
      if (left > 0) {
        fail(new GatewayError('BODY_LENGTH_MISMATCH', { status: 400, message: `cgi: a request body ended ${left} bytes early` }))
        return
      }
      finish()
      stdin.end()
    },
    fail,
    cancelled: (reason) => fail(reason ?? new GatewayError('CLIENT_GONE', { status: 499, message: 'cgi: the request body was cancelled' })),
  }
  const source = pump(body, sink)
  stdin.on('drain', () => {
    options.active()
    source.resume()
  })
  // Read, though nothing comes: else nobody would notice that the program closed it.
  stdin.resume()
  stdin.once('close', () => {
    if (over) return
    finish()
    body.cancel()
  })
}
