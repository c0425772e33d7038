// The slow log of an application that runs elsewhere: nothing of it is ours but the requests, so they are watched from outside.
//
// When a request leaves for the application is known to the client alone, so the time that it waits for a connection counts, too. Until
// its body is here, where that is waited for, it is the client of the request that is slow.

import { backend, derive } from '../core/index.ts'
import type { Backend, ByteSink, ByteStream, GatewayRequest, GatewayResponse, PoolStatus } from '../core/index.ts'
import { Scoreboard } from '../process/index.ts'
import type { ScoreboardOptions, Seat } from '../process/index.ts'

/**
 * The same backend, with a line in the log for each request that takes longer than `slow` milliseconds, while it runs, and their number
 * in its status. `spools`: it reads a body to its end before it sends anything.
 */
export function watched(inner: Backend, options: ScoreboardOptions & { readonly spools: boolean }): Backend {
  const board = new Scoreboard(options)
  const free: Seat[] = []
  const watch = (request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> => {
    const seat = free.pop() ?? board.seat({ pid: undefined })
    let over = false
    const begin = (): void => {
      if (!over) seat.begin(request)
    }
    const end = (): void => {
      if (over) return
      over = true
      seat.end()
      free.push(seat)
    }
    const answered = (response: GatewayResponse): GatewayResponse => {
      // What is whole is over for the application, however long its client takes.
      if (response.body === null || typeof response.body === 'string' || response.body instanceof Uint8Array) end()
      return response
    }
    const failed = (error: unknown): never => {
      end()
      throw error
    }
    request.onFinish(end)
    const waits = options.spools && request.contentLength !== 0
    if (!waits) begin()
    const asked = waits ? derive(request, { body: noting(request.body, begin), contentLength: request.contentLength }) : request
    try {
      const response = inner(asked)
      return response instanceof Promise ? response.then(answered, failed) : answered(response)
    } catch (error) {
      return failed(error)
    }
  }
  return backend(watch, {
    ready: () => inner.ready(),
    close: (grace) => inner.close(grace),
    pools: (): PoolStatus[] => inner.pools?.().map((each) => ({ ...each, slow: board.slow })) ?? [],
  })
}

/** The same body; `whole` hears that it has been read to its end. */
function noting(body: ByteStream, whole: () => void): ByteStream {
  return {
    cancel: (reason) => body.cancel(reason),
    ...(body.exclusive !== undefined && { exclusive: body.exclusive }),
    ...(body.pushTo !== undefined && { pushTo: (sink) => body.pushTo!(notingSink(sink, whole)) }),
    async *[Symbol.asyncIterator]() {
      yield* body
      whole()
    },
  }
}

function notingSink(sink: ByteSink, whole: () => void): ByteSink {
  return {
    write: (chunk) => sink.write(chunk),
    writeAll: (chunks) => sink.writeAll(chunks),
    end: () => {
      whole()
      sink.end()
    },
    fail: (error) => sink.fail(error),
    ...(sink.cancelled !== undefined && { cancelled: (reason: unknown) => sink.cancelled!(reason) }),
  }
}
