// npm run bench -- WORKLOAD: Viaduct beside the servers it is held against, in alternating rounds of one run.
//
// Rounds alternate and their order rotates, because a machine is slower one minute than the next, and whoever always runs first has a
// cool processor. Read the ratios; figures of different runs cannot be compared.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { findPhpFpm, findProgram, temporaryFolder } from './peers.mjs'
import { idle } from './idle.mjs'
import { caseTable, idleTable, summarize } from './report.mjs'
import { servers } from './servers.mjs'
import { layOut } from './site.mjs'
import { workloads } from './workloads.mjs'
import { stopLoad, wrk, wrkScript } from './wrk.mjs'

const options = {
  rounds: { type: 'string', default: '7' },
  seconds: { type: 'string', default: '2' },
  connections: { type: 'string', default: '32' },
  threads: { type: 'string', default: '2' },
  workers: { type: 'string', default: '4' },
  only: { type: 'string' },
  case: { type: 'string' },
  json: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
}

const help = `npm run bench -- WORKLOAD [options]

${Object.entries(workloads)
  .map(([name, { about }]) => `  ${name.padEnd(16)}${about}`)
  .join('\n')}
  all             every one of them

  --rounds N       rounds of each server (7)
  --seconds S      whole seconds of a round (2); one round before them is not counted
  --connections N  kept by wrk (32)
  --threads N      of wrk (2)
  --workers N      PHP workers of every server, and programs at once of fcgiwrap (4)
  --only A,B       only these servers: ${Object.keys(servers).join(', ')}
  --case TEXT      only the cases with this in their titles
  --json FILE      every round as JSON
`

/** What was started and has to be stopped, in that order, also when the run is interrupted. */
const started = []

async function main() {
  const { values, positionals } = parseArgs({ options, allowPositionals: true })
  const [name] = positionals
  if (name === undefined || values.help) {
    process.stdout.write(help)
    return 0
  }
  const names = name === 'all' ? Object.keys(workloads) : [name]
  if (names.some((each) => workloads[each] === undefined)) {
    process.stderr.write(`bench: no workload "${name}"; npm run bench lists them\n`)
    return 2
  }
  const settings = {
    ...Object.fromEntries(['rounds', 'seconds', 'connections', 'threads', 'workers'].map((key) => [key, wholeNumber(key, values[key])])),
    only: values.only?.split(','),
    title: values.case ?? '',
  }
  const results = { date: new Date().toISOString(), machine: machine(), settings, cases: [] }
  process.stdout.write(preface(results.machine, settings))
  for (const each of names) results.cases.push(...(await runWorkload(each, settings)))
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 2) + '\n')
  return 0
}

function wholeNumber(key, text) {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Error(`bench: --${key}: expected a whole number from 1, got "${text}"`)
  return value
}

async function runWorkload(name, settings) {
  const workload = workloads[name]
  const temporary = temporaryFolder('viaduct-bench-')
  const folder = temporary.path
  started.push({ stop: () => temporary.remove() })
  const site = join(folder, 'site')
  mkdirSync(site)
  layOut(site, { cgi: workload.cgi ?? false, fcgi: workload.fcgi ?? false })
  const done = []
  try {
    if (name === 'idle') return [await runIdle({ folder, site, settings })]
    for (const each of workload.cases(site).filter(({ title }) => title.includes(settings.title)))
      done.push(await runCase(each, { folder, site, settings }))
  } finally {
    await stopAll()
  }
  return done
}

/** Starts the servers of a case, checks that all give the same correct answer, measures, prints. */
async function runCase(each, { folder, site, settings }) {
  const { seconds, connections, threads, workers } = settings
  process.stdout.write(`\n${each.title}\n`)
  const contenders = await bringUp(each, { folder, site, workers, only: settings.only })
  await check(each, contenders)
  const script = wrkScript(folder, each)
  const measure = (contender) =>
    wrk({ url: contender.url, script, body: each.body, seconds, connections, threads, pids: contender.pids, programs: each.programs })
  for (const contender of contenders) await measure(contender)
  for (let round = 0; round < settings.rounds; round++) {
    progress(`round ${round + 1} of ${settings.rounds}`)
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(turn + round) % contenders.length]
      contender.rounds.push(await measure(contender))
    }
  }
  progress('')
  process.stdout.write(`${caseTable(contenders)}\n`)
  if (each.programs)
    process.stdout.write(
      "workers: the machine's CPU time less front's and load's, since not every server waits for its programs' accounts\n",
    )
  for (const { label, rounds } of contenders) complain(label, rounds)
  await stopServers()
  const first = contenders[0].rounds
  return {
    title: each.title,
    results: contenders.map(({ label, rounds }) => ({ label, median: summarize(rounds, first), rounds })),
  }
}

/** A rate with failures in it is no rate: the run fails, but the other figures are shown. */
function complain(label, rounds) {
  const sum = (pick) => rounds.reduce((total, round) => total + pick(round), 0)
  const failures = sum((round) => round.failures)
  if (failures === 0) return
  process.stdout.write(
    `FAILED: ${label}: ${failures} of ${sum((round) => round.requests)} requests (${[...new Set(rounds.flatMap((round) => round.kinds))].join(', ')})\n`,
  )
  process.exitCode = 1
}

async function bringUp(each, { folder, site, workers, only }) {
  const start = async (key) => {
    const server = await servers[key].start({ folder, site, workers, file: each.file, tcp: each.tcp })
    started.push(server)
    return server
  }
  if (each.compare !== undefined) {
    const server = await start('viaduct')
    return each.compare.map(({ label, path }) => contender(label, server, path))
  }
  const contenders = []
  for (const key of each.servers) {
    if (only?.includes(key) ?? true) contenders.push(contender(servers[key].label, await start(key), each.path))
  }
  if (contenders.length === 0)
    throw new Error(`bench: none of ${only.join(', ')} takes part in ${each.title} (${each.servers.join(', ')} do)`)
  return contenders
}

const contender = (label, server, path) => ({ label, pids: server.pids, url: `http://127.0.0.1:${server.port}${path}`, rounds: [] })

/** Every server must answer 200 with the right body, twice on one connection, and all with the same one. */
async function check(each, contenders) {
  const bodies = new Set()
  for (const { label, url } of contenders) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let time = 0; time < 2; time++) {
      const answer = await ask(url, agent, each.body)
      if (answer.status !== 200 || !each.correct(answer.body)) {
        throw new Error(
          `bench: ${label} answers ${url} with ${answer.status} and ${answer.body.length} bytes: ${answer.body.toString('latin1', 0, 300)}`,
        )
      }
      bodies.add(createHash('sha256').update(answer.body).digest('hex'))
    }
    agent.destroy()
  }
  if (bodies.size > 1) throw new Error(`bench: the servers of ${each.title} give different answers`)
}

function ask(url, agent, body) {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'Content-Type': 'application/octet-stream', 'Content-Length': String(body) }
    const sent = request(url, { agent, method: body === undefined ? 'GET' : 'POST', headers }, (response) => {
      const chunks = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.once('end', () => resolve({ status: response.statusCode, body: Buffer.concat(chunks) }))
      response.once('error', reject)
    })
    sent.once('error', reject)
    sent.end(body === undefined ? undefined : Buffer.alloc(body, 'x'))
  })
}

async function runIdle({ folder, site, settings }) {
  const count = 5000
  requireDescriptors(count)
  process.stdout.write(`\nidle: ${count} connections, one answer each\n`)
  const results = []
  for (const key of ['viaduct', 'bare-node', 'nginx-static', 'lighttpd-static']) {
    if (!(settings.only?.includes(key) ?? true)) continue
    // Only static files, no pool: what is compared is the price of a connection.
    const server = await servers[key].start({ folder, site: join(site, 'static'), workers: 1, file: 'small.txt' })
    started.push(server)
    progress(servers[key].label)
    results.push({ label: servers[key].label, ...(await idle({ port: server.port, pids: server.pids, count })) })
    await stopServers()
  }
  progress('')
  process.stdout.write(`${idleTable(results, count)}\n`)
  return { title: 'idle', results }
}

/** A client's end of every connection is a descriptor here: without enough of them the figure would be another. */
function requireDescriptors(count) {
  const limit = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim()
  if (limit !== 'unlimited' && Number(limit) < count + 200) {
    throw new Error(`bench: ${count} connections need more than ulimit -n ${limit}; run "ulimit -n ${count + 1000}" first`)
  }
}

/** What a program says of its version when asked with `args`. */
function version(command, args, pattern) {
  if (command === undefined) return 'not installed'
  try {
    // nginx and Apache print their version on different streams.
    const text = execFileSync('sh', ['-c', '"$0" "$@" 2>&1', command, ...args], { encoding: 'utf8' })
    return pattern.exec(text)?.[1] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

function machine() {
  return {
    processor: `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown'}`,
    node: process.versions.node,
    nginx: version(findProgram('nginx'), ['-v'], /nginx\/([\d.]+)/),
    lighttpd: version(findProgram('lighttpd'), ['-v'], /lighttpd\/([\d.]+)/),
    apache: version(findProgram('apache2'), ['-v'], /Apache\/([\d.]+)/),
    'php-fpm': version(findPhpFpm(), ['-v'], /PHP ([\d.]+)/),
    'php-cgi': version(findProgram('php-cgi'), ['-v'], /PHP ([\d.]+)/),
  }
}

function preface({ processor, ...versions }, { rounds, seconds, connections, threads, workers }) {
  const peers = Object.entries(versions).map(([name, number]) => `${name} ${number}`)
  return `${processor}; ${peers.join(', ')}
${rounds} rounds of ${seconds} s each in turn, wrk on the same machine with ${connections} connections in ${threads} threads, all on loopback
access log off, ${workers} PHP workers and unlimited requests a connection on every server; nginx with 2 worker processes
rates, latencies and CPU time a request are medians of rounds; "x" is the median of the ratios of rates, round by round
`
}

const progress = (text) => {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}`)
}

async function stopServers() {
  for (const each of started.splice(1)) await each.stop()
}

async function stopAll() {
  // The temporary folder came first and goes last.
  for (const each of started.splice(0).toReversed()) await each.stop()
}

let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    interrupted = true
    stopLoad()
    void stopAll().finally(() => process.exit(128 + (signal === 'SIGINT' ? 2 : 15)))
  })
}

try {
  process.exitCode = (await main()) || process.exitCode
} catch (error) {
  // What breaks because everything is being stopped is no news.
  if (!interrupted) process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
