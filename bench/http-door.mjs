// What the HTTP door costs over bare node:http: a constant answer from both, in alternating rounds of wrk.
//
//   npm run build && node bench/http-door.mjs [--rounds 6] [--seconds 2] [--connections 32]
//
// Each server runs alone on the first core and wrk on the second. Only the ratio of rounds next to each other means anything; that of
// CPU time per request is the steadier one.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'

const BODY = 'x'.repeat(1024)
const LIST = ['Content-Type', 'text/plain']

const servers = {
  async bare() {
    const list = [...LIST, 'Content-Length', String(BODY.length)]
    const server = createServer((_, response) => {
      response.writeHead(200, list)
      response.end(BODY)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return server.address().port
  },
  async door() {
    const { serveHttp } = await import(new URL('../dist/http/index.js', import.meta.url))
    const server = await serveHttp(() => ({ status: 200, headers: LIST, body: BODY }))
    return server.address.port
  },
  // What an ordinary application does to its request, so that what is made on demand is counted too.
  async reading() {
    const { serveHttp } = await import(new URL('../dist/http/index.js', import.meta.url))
    const server = await serveHttp(async (request) => {
      request.onFinish(() => {})
      return { status: request.headers.get('host') === undefined ? 400 : 200, headers: LIST, body: BODY }
    })
    return server.address.port
  },
}

const run = promisify(execFile)
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]

/** User and system time of a process so far, in seconds. */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function start(name) {
  const child = spawn('taskset', ['-c', '0', process.execPath, fileURLToPath(import.meta.url), '--serve', name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [port] = await once(child.stdout, 'data')
  return { name, child, port: Number(port), rates: [], costs: [] }
}

async function round(server, seconds, connections) {
  const before = cpu(server.child.pid)
  const { stdout } = await run('taskset', ['-c', '1', 'wrk', '-t1', `-c${connections}`, `-d${seconds}`, `http://127.0.0.1:${server.port}/`])
  const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1])
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1])
  if (/Non-2xx/.test(stdout)) throw new Error(`${server.name}: ${stdout}`)
  server.rates.push(rate)
  server.costs.push(((cpu(server.child.pid) - before) / requests) * 1e6)
}

const { values } = parseArgs({
  options: {
    serve: { type: 'string' },
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '32' },
  },
})

if (values.serve !== undefined) {
  console.log(await servers[values.serve]())
} else {
  const running = []
  for (const name of Object.keys(servers)) running.push(await start(name))
  try {
    // The first round warms up and does not count.
    for (let i = 0; i <= Number(values.rounds); i++) {
      for (const server of i % 2 === 0 ? running : running.toReversed()) await round(server, values.seconds, values.connections)
      if (i === 0) for (const server of running) server.rates.length = server.costs.length = 0
    }
    const [bare] = running
    for (const { name, rates, costs } of running) {
      const ratio = median(rates.map((rate, i) => rate / bare.rates[i]))
      const cost = median(costs.map((each, i) => each / bare.costs[i]))
      const line = `${median(rates).toFixed(0).padStart(7)} requests/s (ratio ${ratio.toFixed(2)})  ${median(costs).toFixed(1)} us CPU (ratio ${cost.toFixed(2)})`
      console.log(`${name.padEnd(8)} ${line}  rounds: ${rates.map((rate, at) => (rate / bare.rates[at]).toFixed(2)).join(' ')}`)
    }
  } finally {
    for (const { child } of running) child.kill()
  }
}
