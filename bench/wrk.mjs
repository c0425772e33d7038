// One round of load by wrk, its figures taken from a report that its own Lua hook prints.

import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { requireProgram } from './peers.mjs'
import { cpuOf, cpuOfEndedChildren, cpuOfMachine } from './cpu.mjs'

// `done` runs once, after the round: it costs nothing while measuring. Latencies are microseconds.
const report = `
function done(summary, latency, requests)
  io.write(string.format('\\nREPORT {"requests":%d,"bytes":%d,"duration":%d,"p50":%d,"p99":%d,"max":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.status, summary.errors.timeout))
end
`

/** Writes the wrk script for a request into `folder` and returns its path. `body` is a number of bytes to POST. */
export function wrkScript(folder, { body } = {}) {
  const file = join(folder, 'wrk.lua')
  const post = `wrk.method = "POST"\nwrk.body = string.rep("x", ${body})\nwrk.headers["Content-Type"] = "application/octet-stream"\n`
  writeFileSync(file, (body === undefined ? '' : post) + report)
  return file
}

/**
 * Loads `url` for `seconds` and returns the round: rates, latencies in ms, failures, and microseconds of CPU a request.
 * `body` is the length of what each request sends, and counts as the bytes moved; `pids` are the masters of the process trees that
 * serve it. With `programs` the workers' time is what the machine spent beside front and load: a program that nobody waits for is in
 * no account.
 */
export async function wrk({ url, script, body, seconds, connections, threads, pids, programs = false }) {
  const before = { server: cpuOf(pids), load: cpuOfEndedChildren(), machine: cpuOfMachine() }
  const shape = ['-t', String(threads), '-c', String(connections), '-d', `${seconds}s`]
  const output = await run(requireProgram('wrk'), [...shape, '--timeout', '20s', '--latency', '-s', script, url])
  const after = { server: cpuOf(pids), load: cpuOfEndedChildren(), machine: cpuOfMachine() }
  const line = /^REPORT (\{.*\})$/m.exec(output)
  if (line === null) throw new Error(`wrk: no report for ${url}\n${output}`)
  const figures = JSON.parse(line[1])
  const failed = ['connect', 'read', 'write', 'status', 'timeout'].filter((kind) => figures[kind] > 0)
  const front = after.server.front - before.server.front
  const workers = after.server.workers - before.server.workers
  const load = after.load - before.load
  const machine = after.machine - before.machine
  const perRequest = (spent) => (figures.requests === 0 ? Number.NaN : (spent * 1e6) / figures.requests)
  return {
    requests: figures.requests,
    rate: figures.requests / (figures.duration / 1e6),
    megabytes: (body === undefined ? figures.bytes : body * figures.requests) / figures.duration,
    p50: figures.p50 / 1000,
    p99: figures.p99 / 1000,
    max: figures.max / 1000,
    failures: failed.reduce((sum, kind) => sum + figures[kind], 0),
    kinds: failed,
    cpu: {
      front: perRequest(front),
      workers: perRequest(programs ? Math.max(0, machine - front - load) : workers),
      load: perRequest(load),
    },
  }
}

let current

/** Ends the round under way, if there is one: a benchmark that is interrupted leaves no load behind. */
export function stopLoad() {
  current?.kill('SIGKILL')
}

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    current = child
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
    child.once('error', reject)
    child.once('close', (code) => {
      current = undefined
      if (code === 0) resolve(output)
      else reject(new Error(`${command}: exit code ${code}\n${output}`))
    })
  })
}
