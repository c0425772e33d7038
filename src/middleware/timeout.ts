// A deadline for the head of the response.

import { GatewayError, attempt, discard } from '../core/index.ts'
import type { Middleware } from '../core/index.ts'

/**
 * Rejects with TIMEOUT, 504, when the application has not answered within `ms`; its signal aborts then, and what it answers
 * later is discarded. A body that has begun may take as long as it likes: its source has deadlines of its own.
 */
export const timeout =
  (ms: number): Middleware =>
  (next) =>
  (request) => {
    const tried = attempt(request)
    let response
    try {
      response = next(tried.request)
    } catch (error) {
      tried.drop()
      throw error
    }
    if (!(response instanceof Promise)) return tried.keep(response)
    return new Promise((resolve, reject) => {
      let late = false
      const timer = setTimeout(() => {
        late = true
        tried.drop()
        reject(
          new GatewayError('TIMEOUT', {
            status: 504,
            message: `timeout: no response within ${ms} ms (${request.method} ${request.target})`,
          }),
        )
      }, ms)
      response.then(
        (settled) => {
          clearTimeout(timer)
          if (late) discard(settled)
          else resolve(tried.keep(settled))
        },
        (error: unknown) => {
          clearTimeout(timer)
          tried.drop()
          reject(error)
        },
      )
    })
  }
