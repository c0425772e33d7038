// What the workers of a pool say, on its way into the main log (`catch_workers_output`): what they print, which comes by the pipes of their
// leader, and what PHP logs, which comes with the answer of its request.

import type { ByteString } from '../../core/index.ts'
import type { PoolConfig } from '../config/types.ts'
import { isLogged } from './lines.ts'
import type { MainLog } from './main-log.ts'
import { WorkerOutput } from './worker-output.ts'
import type { WorkerStream } from './worker-output.ts'

/** So long after its answer a worker's last words may be on their way, in milliseconds. */
const LATE = 20
/** Workers whose lines are known; they come and go. */
const SPEAKERS = 64

export class Speech {
  readonly #config: PoolConfig
  readonly #buffering: boolean
  readonly #log: MainLog
  readonly #outputs = new Map<number, WorkerOutput>()
  /** Who was answered and has begun a line. */
  readonly #silent = new Set<number>()
  #timer: NodeJS.Timeout | undefined

  constructor(config: PoolConfig, buffering: boolean, log: MainLog) {
    this.#config = config
    this.#buffering = buffering
    this.#log = log
  }

  /** Bytes that `pid` has written. */
  printed(pid: number, stream: WorkerStream, bytes: Uint8Array): void {
    if (this.#config.catchWorkersOutput) this.#of(pid).push(stream, bytes)
  }

  /** Messages of PHP's error log, which php-fpm's workers print as well as send: lines of a log of their own. */
  logged(pid: number, messages: readonly ByteString[]): void {
    if (!this.#config.catchWorkersOutput) return
    const { level } = this.#log
    const head = !isLogged('notice', level) ? '' : level === 'debug' ? 'NOTICE: sapi_cgi_log_message(), line 0: ' : 'NOTICE: '
    const text = messages.map((each) => `${head}PHP message: ${each}\n`).join('')
    this.#of(pid).push('stderr', Buffer.from(text, 'latin1'))
  }

  /** A request of `pid` is over: a line that it has begun ends. `leader` may have been named in its place. */
  over(pid: number, leader: number): void {
    if (this.#outputs.size === 0) return
    this.#silent.add(pid).add(leader)
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      for (const each of this.#silent) this.#outputs.get(each)?.endLine()
      this.#silent.clear()
    }, LATE).unref()
  }

  #of(pid: number): WorkerOutput {
    const known = this.#outputs.get(pid)
    if (known !== undefined) return known
    if (this.#outputs.size >= SPEAKERS) {
      for (const each of this.#outputs.values()) each.endLine()
      this.#outputs.clear()
    }
    const log = this.#log
    const { name: pool, decorateWorkersOutput: decorate } = this.#config
    const output = new WorkerOutput({
      pool,
      pid,
      decorate,
      buffering: this.#buffering,
      limit: log.limit,
      head: () => log.head('warning', 'fpm_stdio_child_said'),
      write: (line) => log.write(line),
    })
    this.#outputs.set(pid, output)
    return output
  }
}
