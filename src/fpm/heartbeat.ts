// Requests that take long: told of (request_slowlog_timeout) and ended (request_terminate_timeout), with php-fpm's rhythm and words.

import type { PoolConfig } from './config/types.ts'
import type { Exchange } from './exchange.ts'
import type { Journal } from './journal.ts'
import { seconds } from './proc.ts'
import type { Worker } from './worker.ts'

/** php-fpm looks at least so often at requests that may be slow, in milliseconds. */
const LEAST_HEARTBEAT = 130

/** `onSlow` hears of each slow request once. @returns what ends it; undefined where there is nothing to look for. */
export function watchTime(
  config: PoolConfig,
  journal: Journal,
  workers: () => Iterable<Worker>,
  onSlow: (worker: Worker, exchange: Exchange) => void,
): NodeJS.Timeout | undefined {
  const { requestSlowlogTimeout: slow, requestTerminateTimeout: limit } = config
  const limits = [limit, slow].filter((each) => each > 0)
  if (limits.length === 0) return undefined
  const warn = (worker: Worker, exchange: Exchange, what: string): void =>
    journal.write('warning', `${subjectOf(config.name, worker, exchange)} ${what}`, 'fpm_request_check_timed_out')
  const beat = (): void => {
    const now = performance.now()
    for (const worker of workers()) {
      const { exchange } = worker
      if (exchange === undefined || exchange.endedAt !== 0) continue
      const age = now - exchange.takenAt
      if (slow > 0 && !exchange.slow && age >= slow * 1000) {
        exchange.slow = true
        warn(worker, exchange, `executing too slow (${seconds(age)} sec), logging`)
        onSlow(worker, exchange)
      } else if (limit > 0 && age >= limit * 1000 && worker.dismissed === undefined) {
        worker.dismissed = 'timeout'
        warn(worker, exchange, `execution timed out (${seconds(age)} sec), terminating`)
        // php-cgi does not end of SIGTERM while a script runs.
        worker.hand.crew.kill(worker.pid, 'SIGKILL')
      }
    }
  }
  return setInterval(beat, Math.max(LEAST_HEARTBEAT, (Math.min(...limits) * 1000) / 3)).unref()
}

function subjectOf(pool: string, worker: Worker, exchange: Exchange): string {
  const { script, method, scriptName, queryString } = exchange.facts!
  const query = queryString === '' ? '' : `?${queryString}`
  return `[pool ${pool}] child ${worker.pid}, script '${script}' (request: "${method} ${scriptName}${query}")`
}
