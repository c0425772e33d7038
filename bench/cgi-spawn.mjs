// What starting a program per request costs, and whom: the spawner's helpers beside child_process.spawn in the serving process.
//
// usage: node bench/cgi-spawn.mjs [--rounds 5] [--seconds 2] [--at-once 8] [--program /path] [--ballast 0]
//
// No HTTP: only the starting of programs, so that the difference is not hidden in what is the same. `delay` is how late a timer of
// 1 ms is in the serving process, in milliseconds: what every other request waits. `--ballast` is memory that process holds, in MiB.

import { spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import { openSpawner } from '../dist/process/index.js'
import { temporaryFolder } from './peers.mjs'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    'at-once': { type: 'string', default: '8' },
    ballast: { type: 'string', default: '0' },
    program: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const atOnce = Number(values['at-once'])

const temporary = temporaryFolder('viaduct-bench-')
const file = values.program ?? join(temporary.path, 'hello.cgi')
if (values.program === undefined) {
  writeFileSync(file, "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello\\n'\n")
  chmodSync(file, 0o755)
}
// Written to, or it would not be there; small objects, as a heap has them.
const ballast = Array.from({ length: Number(values.ballast) * 8192 }, (_, i) => Array.from({ length: 13 }, () => i))

const env = [
  'PATH',
  '/usr/bin:/bin',
  'GATEWAY_INTERFACE',
  'CGI/1.1',
  'REQUEST_METHOD',
  'GET',
  'SCRIPT_NAME',
  '/hello.cgi',
  'QUERY_STRING',
  '',
]
const envObject = Object.fromEntries(env.flatMap((name, i) => (i % 2 === 0 ? [[name, env[i + 1]]] : [])))

const spec = { file, argv: [file], env, cwd: '/' }
const ways = {
  'helpers, Python': { open: () => openSpawner({ kind: 'python' }), run: viaSpawner },
  'helpers, Node': { open: () => openSpawner({ kind: 'node' }), run: viaSpawner },
  child_process: { open: async () => undefined, run: viaChildProcess },
}

function viaSpawner(spawner) {
  return new Promise((resolve, reject) => {
    const program = spawner.run(spec)
    let bytes = 0
    program.stdout.on('data', (chunk) => {
      bytes += chunk.length
    })
    program.stdout.once('close', () => {
      program.exited.then(
        ({ code, error }) => (code === 0 && bytes > 0 ? resolve() : reject(error ?? new Error(`status ${code}, ${bytes} bytes`))),
        reject,
      )
    })
  })
}

function viaChildProcess() {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [], { cwd: '/', env: envObject, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    let bytes = 0
    child.stdout.on('data', (chunk) => {
      bytes += chunk.length
    })
    child.stderr.resume()
    child.once('error', reject)
    child.once('close', (code) => (code === 0 && bytes > 0 ? resolve() : reject(new Error(`status ${code}, ${bytes} bytes`))))
  })
}

async function round(way, owner) {
  const end = performance.now() + seconds * 1000
  const times = []
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const lane = async () => {
    while (performance.now() < end) {
      const begin = performance.now()
      await way.run(owner)
      times.push(performance.now() - begin)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
  delay.disable()
  times.sort((a, b) => a - b)
  const at = (share) => times[Math.floor(times.length * share)] ?? 0
  return {
    rate: times.length / seconds,
    p50: at(0.5),
    p99: at(0.99),
    delay50: delay.percentile(50) / 1e6,
    delay99: delay.percentile(99) / 1e6,
  }
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]

const results = Object.fromEntries(Object.keys(ways).map((name) => [name, []]))
try {
  for (let i = 0; i < rounds; i++) {
    for (const [name, way] of Object.entries(ways)) {
      // Opened for its round only: idle helpers of another kind would not disturb, but they would be there.
      const owner = await way.open()
      await owner?.ready()
      results[name].push(await round(way, owner))
      await owner?.close()
    }
  }
  console.log(
    `${file}, ${atOnce} at once, ${rounds} rounds of ${seconds} s, ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB RSS (ballast ${ballast.length})`,
  )
  for (const [name, list] of Object.entries(results)) {
    const of = (key) => median(list.map((each) => each[key])).toFixed(key === 'rate' ? 0 : 2)
    console.log(
      `${name.padEnd(18)} ${of('rate').padStart(6)}/s   p50 ${of('p50')} ms  p99 ${of('p99')} ms   loop delay p50 ${of('delay50')} ms  p99 ${of('delay99')} ms`,
    )
  }
} finally {
  temporary.remove()
}
