// What a pool tells of itself, for the status page.

import type { Exchange } from './exchange.ts'
import type { Pool } from './pool.ts'
import type { ProcessStatus, StatusModel } from './status/types.ts'
import type { Worker } from './worker.ts'

export function statusModel(pool: Pool): StatusModel {
  const { config, staffs } = pool
  const { idle, waiting, total } = pool.counts()
  return {
    pool: config.name,
    processManager: config.pm,
    startTime: Math.floor(pool.startTime / 1000),
    now: Math.floor(Date.now() / 1000),
    acceptedConn: pool.accepted,
    listenQueue: waiting,
    maxListenQueue: pool.maxWaiting,
    listenQueueLen: pool.staff.queue,
    idleProcesses: idle,
    activeProcesses: total - idle,
    maxActiveProcesses: pool.maxActive,
    maxChildrenReached: staffs.reduce((sum, { reached }) => sum + reached, 0),
    slowRequests: pool.slow,
    processes: pool.workers.map(processStatus),
  }
}

function processStatus(worker: Worker): ProcessStatus {
  const exchange = worker.last
  const idle = worker.exchange === undefined
  return {
    pid: worker.pid,
    state: idle ? 'Idle' : 'Running',
    startTime: Math.floor(worker.startTime / 1000),
    requests: worker.requests,
    requestDuration: exchange?.duration(performance.now()) ?? 0,
    requestMethod: exchange?.facts?.method ?? '',
    requestUri: exchange?.facts?.scriptName ?? '',
    queryString: exchange?.facts?.queryString ?? '',
    contentLength: exchange?.facts?.contentLength ?? 0,
    user: exchange?.facts?.user ?? '',
    script: exchange?.facts?.script ?? '',
    lastRequestCpu: exchange === undefined ? 0 : load(exchange),
    // Only PHP itself knows the peak of its memory.
    lastRequestMemory: 0,
  }
}

/** Per cent of one processor. */
function load(exchange: Exchange): number {
  const duration = exchange.duration(performance.now()) / 1e6
  return duration > 0 ? ((exchange.cpuUser + exchange.cpuSystem) / duration) * 100 : 0
}
