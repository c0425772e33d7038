// Embedded interpreters beside native ones: how long from the command to the first page, and pages a second.
//
//   npm run build && node bench/embedded.mjs [--rounds 3] [--seconds 2] [--warm 3] [--connections 8] [--workers 2] [--starts 3]
//       [--only php,page,python]
//
// Takes less than two minutes on a quiet machine; the table at the end is the whole of it.
//
// Both have the same number of workers behind the same front, in alternating rounds of one run; starts alternate too, each of a
// server that was not there before. Read the ratios: they are of neighbours in time.

import { mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { requireProgram, startViaduct, temporaryFolder } from './peers.mjs'
import { caseTable, median, summarize, table } from './report.mjs'
import { stopLoad, wrk, wrkScript } from './wrk.mjs'

const GREETING = 'Hello, World!\n'

const cases = {
  php: {
    title: 'PHP, hello',
    kind: 'php',
    file: 'index.php',
    source: `<?php header('Content-Type: text/plain'); echo "Hello, World!\\n";`,
  },
  page: {
    title: 'PHP, a page of some milliseconds (sorts, matches, escapes)',
    kind: 'php',
    file: 'index.php',
    source: `<?php
header('Content-Type: text/plain');
$words = [];
for ($i = 0; $i < 2000; $i++) $words[md5((string) $i)] = strrev((string) $i);
ksort($words);
$text = '';
foreach ($words as $key => $word) if (preg_match('/^[0-9]+$/', $word)) $text .= htmlspecialchars("<$key>$word");
echo strlen($text) > 0 ? "Hello, World!\\n" : '';`,
  },
  python: {
    title: 'Python, hello',
    kind: 'wsgi',
    file: 'wsgi.py',
    source: `def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, World!\\n"]
`,
  },
}

const running = new Set()

async function start(folder, each, interpreter, workers) {
  const peer = await startViaduct({ folder, application: { kind: each.kind, root: folder, interpreter, workers } })
  running.add(peer)
  return peer
}

async function stop(peer) {
  running.delete(peer)
  await peer.stop()
}

function ask(port) {
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path: '/' }, (response) => {
      let body = ''
      response.setEncoding('latin1').on('data', (text) => (body += text))
      response.once('end', () => resolve({ status: response.statusCode, body }))
      response.once('error', reject)
    })
    sent.once('error', reject)
    sent.end()
  })
}

async function check(label, port) {
  const { status, body } = await ask(port)
  if (status !== 200 || body !== GREETING) throw new Error(`bench: ${label} answers ${status} and ${JSON.stringify(body.slice(0, 200))}`)
}

/** Microseconds for a page: of the front, where an embedded interpreter is too, and of workers. */
function cpu({ front, workers }) {
  return front + (Number.isNaN(workers) ? 0 : workers)
}

async function runCase(each, { folder, settings }) {
  process.stdout.write(`\n## ${each.title}, ${settings.workers} workers, ${settings.connections} connections\n\n`)
  const labels = ['native', 'embedded']
  const starts = { native: [], embedded: [] }
  for (let round = 0; round < settings.starts; round++) {
    for (const label of labels) {
      const began = performance.now()
      const peer = await start(folder, each, label, settings.workers)
      await check(label, peer.address.port)
      starts[label].push(performance.now() - began)
      await stop(peer)
    }
  }
  const [native, embedded] = labels.map((label) => median(starts[label]))
  process.stdout.write(`from the command to the first page: native ${Math.round(native)} ms, embedded ${Math.round(embedded)} ms`)
  process.stdout.write(`, ratio ${(embedded / native).toFixed(2)} (median of ${settings.starts})\n\n`)

  const contenders = []
  for (const label of labels) {
    const peer = await start(folder, each, label, settings.workers)
    contenders.push({ label, peer, rounds: [] })
  }
  const script = wrkScript(folder)
  const measure = ({ peer }, seconds) =>
    wrk({
      url: `http://127.0.0.1:${peer.address.port}/`,
      script,
      seconds,
      connections: settings.connections,
      threads: settings.threads,
      pids: [peer.pid],
    })
  // As long as WebAssembly is compiled anew while it runs, the processor belongs to its compiler.
  for (const contender of contenders) await measure(contender, settings.warm)
  for (let round = 0; round < settings.rounds; round++) {
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      contender.rounds.push(await measure(contender, settings.seconds))
    }
  }
  process.stdout.write(`${caseTable(contenders)}\n`)
  for (const { label, rounds } of contenders) {
    const failures = rounds.reduce((sum, round) => sum + round.failures, 0)
    if (failures === 0) continue
    process.stdout.write(`FAILED: ${label}: ${failures} requests\n`)
    process.exitCode = 1
  }
  for (const { peer } of contenders) await stop(peer)
  const [plain, wasm] = contenders.map(({ rounds }) => summarize(rounds, contenders[0].rounds))
  return [
    each.title,
    `${(native / 1000).toFixed(2)} s`,
    `${(embedded / 1000).toFixed(2)} s`,
    plain.rate.toFixed(0),
    wasm.rate.toFixed(0),
    `1 : ${wasm.ratio.toFixed(1)}`,
    cpu(plain).toFixed(0),
    cpu(wasm).toFixed(0),
  ]
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    warm: { type: 'string', default: '3' },
    connections: { type: 'string', default: '8' },
    threads: { type: 'string', default: '2' },
    workers: { type: 'string', default: '2' },
    starts: { type: 'string', default: '3' },
    only: { type: 'string' },
  },
})
const settings = Object.fromEntries(Object.entries(values).map(([key, value]) => [key, key === 'only' ? value.split(',') : Number(value)]))
const temporary = temporaryFolder('viaduct-bench-')
const stopAll = () => Promise.all([...running].map(stop))
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    stopLoad()
    void stopAll().finally(() => process.exit(1))
  })
}
const lines = [['', 'cold, native', 'cold, embedded', 'pages/s, native', 'pages/s, embedded', 'speed', 'us, native', 'us, embedded']]
requireProgram('php-cgi', 'php-cgi')
requireProgram('python3', 'python3')
try {
  for (const [name, each] of Object.entries(cases)) {
    if (settings.only !== undefined && !settings.only.includes(name)) continue
    const folder = join(temporary.path, name)
    mkdirSync(folder)
    writeFileSync(join(folder, each.file), each.source)
    lines.push(await runCase(each, { folder, settings }))
  }
  process.stdout.write(`\n## Embedded beside native\n\n${table(lines)}\n\n`)
  process.stdout.write('cold: from the command to the first page; us: of the processor for a page, all processes of the server\n')
} finally {
  await stopAll()
  temporary.remove()
}
