// What a CGI program may use: of time, of places, of output. Every number is a default that an option replaces.

/** What CGI programs may use, in bytes and milliseconds. */
export interface CgiLimits {
  /** Programs at once. Default 2 for each core: fewer leave cores idle, many more only hold memory. */
  readonly concurrency: number
  /** Requests that may wait for a place; the next one is refused at once with 503. Default 256. */
  readonly queue: number
  /** Milliseconds one may wait before it is refused with 503. Default 30 s. */
  readonly queueTimeout: number
  /** Milliseconds a program may run, not counting those it waits for the client. Default 300 s. */
  readonly time: number
  /** Milliseconds until its header block is whole, counted from the last byte of body it took. Default 60 s. */
  readonly firstByte: number
  /** Milliseconds between two pieces of its body; also how long the client may take nothing. Default 60 s. */
  readonly idle: number
  /** Milliseconds for the rest once one of its end and the end of its output has come: processes it left may hold the other. Default 2 s. */
  readonly linger: number
  /** Milliseconds between SIGTERM and SIGKILL. Default 1 s. */
  readonly kill: number
  /** Bytes of header block. Default 64 KiB. */
  readonly head: number
  /**
   * Bytes and milliseconds of body that wait for its end, so that most answers are whole values with a Content-Length, sent as
   * one write. Default 64 KiB and 5 ms; 0: everything is passed on as it comes.
   */
  readonly holdBytes: number
  /** See `holdBytes`, in milliseconds. */
  readonly holdTime: number
  /** Bytes of answer in all. Default 16 GiB. */
  readonly output: number
  /** Bytes of request body that are put by until the program starts. Default 2 GiB. */
  readonly body: number
  /** Bytes of standard error that are passed on per request. Default 64 KiB. */
  readonly stderr: number
  /** Milliseconds after which a program that runs is told of in the log, once. Default 0: never. */
  readonly slow: number
}

const KiB = 1024
const GiB = 1024 ** 3

/** The defaults, with those given in their place. */
export function cgiLimits(cores: number, given: Partial<CgiLimits> = {}): CgiLimits {
  return {
    concurrency: Math.max(4, 2 * cores),
    queue: 256,
    queueTimeout: 30_000,
    time: 300_000,
    firstByte: 60_000,
    idle: 60_000,
    linger: 2000,
    kill: 1000,
    head: 64 * KiB,
    holdBytes: 64 * KiB,
    holdTime: 5,
    output: 16 * GiB,
    body: 2 * GiB,
    stderr: 64 * KiB,
    slow: 0,
    ...given,
  }
}
