// Figures as text: medians, ratios of rounds, and tables.

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * The medians of one server's rounds, and its range of rates. `ratio` is the median of (first server's rate / this one's) round by
 * round: neighbours in time share the machine's mood, medians of different rounds do not.
 */
export function summarize(rounds, first) {
  const of = (pick) => median(rounds.map(pick))
  return {
    rate: of((round) => round.rate),
    lowest: Math.min(...rounds.map((round) => round.rate)),
    highest: Math.max(...rounds.map((round) => round.rate)),
    megabytes: of((round) => round.megabytes),
    p50: of((round) => round.p50),
    p99: of((round) => round.p99),
    front: of((round) => round.cpu.front),
    workers: of((round) => round.cpu.workers),
    load: of((round) => round.cpu.load),
    ratio: median(rounds.map((round, index) => first[index].rate / round.rate)),
  }
}

/** Columns as wide as their widest cell: the first to the left, the others to the right. */
export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const line = (row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join('  ')
  return [line(rows[0]), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.slice(1).map(line)].join('\n')
}

const rate = (value) => (value >= 10_000 ? `${(value / 1000).toFixed(1)} k` : value >= 100 ? value.toFixed(0) : value.toFixed(1))
const time = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2))
const spent = (value) => (Number.isNaN(value) ? '-' : value.toFixed(0))

/** The table of a case: `results` are { label, rounds }, the first of which the others are compared with. */
export function caseTable(results) {
  const first = results[0]
  return table([
    ['', 'requests/s', 'lowest', 'highest', 'MB/s', 'p50 ms', 'p99 ms', `${first.label} is`, 'front us', 'workers us', 'load us'],
    ...results.map(({ label, rounds }) => {
      const m = summarize(rounds, first.rounds)
      const ratio = rounds === first.rounds ? '' : `${m.ratio.toFixed(2)} x`
      return [
        label,
        rate(m.rate),
        rate(m.lowest),
        rate(m.highest),
        rate(m.megabytes),
        time(m.p50),
        time(m.p99),
        ratio,
        spent(m.front),
        spent(m.workers),
        spent(m.load),
      ]
    }),
  ])
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1)

/** The table of the idle workload: `results` are { label, before, with, alive, cpu }, memory as { sum, largest }. */
export function idleTable(results, count) {
  return table([
    ['', 'PSS before MB', `with ${count} MB`, 'largest process MB', 'KB each', 'still open', 'CPU ms'],
    ...results.map((result) => [
      result.label,
      megabytes(result.before.sum),
      megabytes(result.with.sum),
      megabytes(result.with.largest),
      ((result.with.sum - result.before.sum) / count / 1000).toFixed(1),
      String(result.alive),
      result.cpu.toFixed(0),
    ]),
  ])
}
