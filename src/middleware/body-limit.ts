// Refuses a request body that is too large, as soon as that is known.

import { GatewayError, derive, observed } from '../core/index.ts'
import type { Middleware } from '../core/index.ts'

/** 413 for a body that is declared larger than `bytes`; one of unknown length fails with BODY_TOO_LARGE where it grows past it. */
export const bodyLimit =
  (bytes: number): Middleware =>
  (next) =>
  (request) => {
    // A declared length is kept to by every door, so that only bodies without one are watched.
    if (request.contentLength !== undefined) {
      if (request.contentLength > bytes) throw tooLarge(bytes)
      return next(request)
    }
    let seen = 0
    const body = observed(request.body, {
      chunk(length) {
        seen += length
        if (seen > bytes) throw tooLarge(bytes)
      },
    })
    return next(derive(request, { body, contentLength: undefined }))
  }

function tooLarge(bytes: number): GatewayError {
  return new GatewayError('BODY_TOO_LARGE', { status: 413, message: `body-limit: a request body is larger than ${bytes} bytes` })
}
