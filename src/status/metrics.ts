// A report as metrics. OpenMetrics 1.0 and the older text format of Prometheus differ in one thing here: how a counter's family is called.

import type { ReportedPool, StatusReport } from './report.ts'

type Labels = readonly (readonly [name: string, value: string])[]
type Sample = readonly [labels: Labels, value: number]

interface Family {
  /** A counter's without `_total`. */
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly unit?: string
  readonly help: string
  samples(pool: ReportedPool): readonly Sample[]
}

const one =
  (read: (pool: ReportedPool) => number): Family['samples'] =>
  (pool) => [[[], read(pool)]]
const by =
  (label: string, read: (pool: ReportedPool) => Readonly<Record<string, number>>): Family['samples'] =>
  (pool) =>
    Object.entries(read(pool)).map(([value, count]) => [[[label, value]], count])

const FAMILIES: readonly Family[] = [
  {
    name: 'viaduct_pool_up',
    type: 'gauge',
    help: 'Whether the pool has come up: 0 where no worker starts.',
    samples: one((pool) => (pool.error === undefined ? 1 : 0)),
  },
  {
    name: 'viaduct_workers',
    type: 'gauge',
    help: 'Workers of the pool by state.',
    samples: by('state', ({ workers: { total, idle, busy } }) => ({ idle, busy, starting: total - idle - busy })),
  },
  {
    name: 'viaduct_workers_busy_max',
    type: 'gauge',
    help: 'The most workers that were busy at a time.',
    samples: one((pool) => pool.workers.maxBusy),
  },
  { name: 'viaduct_queue_requests', type: 'gauge', help: 'Requests that wait for a worker.', samples: one((pool) => pool.queue.waiting) },
  {
    name: 'viaduct_queue_requests_max',
    type: 'gauge',
    help: 'The most requests that waited at a time.',
    samples: one((pool) => pool.queue.maxWaiting),
  },
  { name: 'viaduct_queue_limit', type: 'gauge', help: 'Requests that may wait.', samples: one((pool) => pool.queue.limit) },
  {
    name: 'viaduct_requests',
    type: 'counter',
    help: 'Requests that a worker had and that are over.',
    samples: one((pool) => pool.requests),
  },
  {
    name: 'viaduct_failures',
    type: 'counter',
    help: 'Requests that timed out or were refused by the queue, and workers that crashed, by cause.',
    samples: by('cause', ({ failures: { timeouts, crashes, refused } }) => ({ timeout: timeouts, crash: crashes, refused })),
  },
  {
    name: 'viaduct_worker_restarts',
    type: 'counter',
    help: 'Workers whose place another one took.',
    samples: one((pool) => pool.restarts),
  },
  {
    name: 'viaduct_slow_requests',
    type: 'counter',
    help: 'Requests that ran longer than the limit slow.',
    samples: one((pool) => pool.slow),
  },
  {
    name: 'viaduct_pool_start_time_seconds',
    type: 'gauge',
    unit: 'seconds',
    help: 'When the pool was started, in Unix time.',
    samples: one((pool) => pool.started / 1000),
  },
]

/** `openmetrics`: OpenMetrics 1.0. Else the text format 0.0.4, which promtool reads. */
export function statusMetrics({ version, started, pools }: StatusReport, openmetrics: boolean): string {
  let text = ''
  const family = (name: string, type: string, unit: string | undefined, help: string): void => {
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
    if (openmetrics && unit !== undefined) text += `# UNIT ${name} ${unit}\n`
  }
  family(openmetrics ? 'viaduct_build' : 'viaduct_build_info', openmetrics ? 'info' : 'gauge', undefined, 'The version of Viaduct.')
  text += `viaduct_build_info${shown([['version', version]])} 1\n`
  family('viaduct_start_time_seconds', 'gauge', 'seconds', 'When the process that serves was started, in Unix time.')
  text += `viaduct_start_time_seconds ${started / 1000}\n`
  for (const { name, type, unit, help, samples } of FAMILIES) {
    const sample = type === 'counter' ? `${name}_total` : name
    family(openmetrics ? name : sample, type, unit, help)
    for (const pool of pools) {
      const own: Labels = [
        ['app', pool.application ?? pool.name],
        ['pool', pool.name],
        ['kind', pool.kind],
      ]
      for (const [labels, value] of samples(pool)) text += `${sample}${shown([...own, ...labels])} ${value}\n`
    }
  }
  return openmetrics ? `${text}# EOF\n` : text
}

function shown(labels: Labels): string {
  return `{${labels.map(([name, value]) => `${name}="${escaped(value)}"`).join(',')}}`
}

/** OpenMetrics 1.0, "ABNF": these three, and nothing else. */
function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`))
}
