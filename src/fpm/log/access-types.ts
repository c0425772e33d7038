// A request that is over, as access.format's codes ask for it. What came from the client or the script are byte strings.

export interface AccessRecord {
  readonly pool: string
  /** Of the worker, and of its parent. */
  readonly pid: number
  readonly ppid: number
  /** '' when unknown, as the next four. */
  readonly method: string
  /** Without the query. */
  readonly uri: string
  readonly query: string
  readonly script: string
  readonly user: string
  /** Bytes of the request's body. */
  readonly contentLength: number
  /** The peer's address; undefined over a unix socket. */
  readonly remote: string | undefined
  readonly status: number
  /** Unix milliseconds. */
  readonly acceptedAt: number
  readonly endedAt: number
  /** Microseconds. */
  readonly duration: number
  /** Seconds of processor time, and the seconds during which they were spent. */
  readonly cpuUser: number
  readonly cpuSystem: number
  readonly cpuDuration: number
  /** Peak, in bytes. */
  readonly memory: number
  /** A FastCGI parameter of the request. */
  env(name: string): string | undefined
  /** A header of the response, by its name as the script wrote it. */
  header(name: string): string | undefined
}
