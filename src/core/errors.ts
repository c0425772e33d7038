// The one error class of Viaduct: a stable code for programs, a status for the client, a sentence for the operator.

/** Codes are an interface and stay; the wording of messages may change. */
export type GatewayErrorCode =
  | 'BAD_REQUEST' // the client's request cannot be understood or must not be
  | 'BODY_TOO_LARGE'
  | 'BODY_USED' // a body was read a second time
  | 'BODY_LENGTH_MISMATCH' // more or fewer bytes than Content-Length says
  | 'CLIENT_GONE'
  | 'TIMEOUT' // a deadline of ours passed
  | 'QUEUE_FULL'
  | 'QUEUE_TIMEOUT'
  | 'CLOSED' // the backend is closing or closed
  | 'UNAVAILABLE' // an upstream or worker cannot be reached
  | 'UPSTREAM_PROTOCOL' // the other side broke its protocol
  | 'UPSTREAM_TRUNCATED' // the other side stopped before its answer was whole
  | 'UPSTREAM_HEAD' // the answer's header block is missing, too long or malformed
  | 'PROGRAM_FAILED' // a program could not be started, or died
  | 'NOT_STARTED' // an application does not start: nobody is there who could answer
  | 'REDIRECT_LOOP'
  | 'FILE_REFUSED' // a path leads outside its root or to something that must not be served
  | 'CONTRACT' // a rule of the contract was broken: lint
  | 'CONFIG' // the operator's settings cannot be carried out

/** An error that says what the client is told: `status`, and nothing else of it. */
export class GatewayError extends Error {
  override readonly name: string = 'GatewayError'
  /** For programs: stays what it is. */
  readonly code: GatewayErrorCode
  /** HTTP status for the client when no head was sent yet. */
  readonly status: number
  /** Seconds, for Retry-After. */
  readonly retryAfter: number | undefined

  constructor(code: GatewayErrorCode, options: { status: number; message: string; cause?: unknown; retryAfter?: number }) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.status = options.status
    this.retryAfter = options.retryAfter
  }
}

/** The status that an error of any kind means to the client. */
export function statusOf(error: unknown): number {
  return error instanceof GatewayError ? error.status : 500
}

/**
 * What a request for an application that does not start is told, with the reason for the log. It is tried again in `wait` milliseconds:
 * 503 with Retry-After (RFC 9110, 10.2.3). Infinity: nothing tries it again, and 503 would promise too much: 500.
 */
export function notStarted(reason: unknown, wait: number): GatewayError {
  const message = describe(reason)
  if (!Number.isFinite(wait)) return new GatewayError('NOT_STARTED', { status: 500, message, cause: reason })
  const retryAfter = Math.max(1, Math.ceil(wait / 1000))
  return new GatewayError('NOT_STARTED', { status: 503, message, cause: reason, retryAfter })
}

/** One line about an error of any kind, for the log. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error && !error.message.includes(error.cause.message)
    ? `${error.message}: ${error.cause.message}`
    : error.message
}
