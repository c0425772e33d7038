// An application behind nginx: our FastCGI server beside a bare node:http listener, in alternating rounds of wrk.
//
//   npm run build && node bench/fcgi-server.mjs [--rounds 6] [--seconds 2] [--connections 32]
//
// One nginx stands before both, over unix sockets with kept connections (fastcgi_pass and proxy_pass), so that what differs is the
// protocol and who speaks it. Only the ratio of rounds next to each other means anything; that of CPU time per request of the
// application's process is the steadier one.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { requireProgram, startNginx, temporaryFolder } from './peers.mjs'

const LIST = ['Content-Type', 'text/plain']
const small = 'x'.repeat(1024)
const large = Buffer.alloc(1024 * 1024, 'x')

const answer = (request) => ({ status: 200, headers: LIST, body: request.pathInfo === '/large' ? large : small })

const servers = {
  async bare(path) {
    const answers = { '/': [small, [...LIST, 'Content-Length', '1024']], '/large': [large, [...LIST, 'Content-Length', '1048576']] }
    const server = createServer((request, response) => {
      const [body, list] = answers[request.url] ?? answers['/']
      // Both have the whole body in their hands before they answer.
      if (request.method === 'POST') {
        const pieces = []
        request.on('data', (piece) => pieces.push(piece))
        request.once('end', () => {
          Buffer.concat(pieces)
          response.writeHead(200, list).end(body)
        })
      } else response.writeHead(200, list).end(body)
    })
    server.keepAliveTimeout = 60_000
    server.listen(path)
    await once(server, 'listening')
  },
  async fastcgi(path) {
    const { collect } = await import(new URL('../dist/core/index.js', import.meta.url))
    const { serveFastCgi } = await import(new URL('../dist/fastcgi/index.js', import.meta.url))
    await serveFastCgi((request) => (request.method === 'POST' ? collect(request.body).then(() => answer(request)) : answer(request)), {
      mount: '/',
      listen: { path, mode: 0o666 },
    })
  },
}

const cases = [
  { name: 'GET, 1 KiB', path: '/' },
  { name: 'POST of 10 KiB', path: '/', script: 'wrk.method = "POST"\nwrk.body = string.rep("x", 10240)\n' },
  { name: 'GET, 1 MiB', path: '/large' },
]

const run = promisify(execFile)
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]

/** User and system time of a process so far, in seconds. */
function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function start(name, path) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), '--serve', name, '--socket', path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => {
      throw new Error(`fcgi-server: ${name} did not come up`)
    }),
  ])
  return { name, child, rates: [], costs: [] }
}

async function round(server, port, { path, script }, seconds, connections) {
  const before = cpu(server.child.pid)
  writeFileSync(join(folder.path, 'wrk.lua'), script ?? '')
  const args = [
    '-t1',
    `-c${connections}`,
    `-d${seconds}`,
    '-s',
    join(folder.path, 'wrk.lua'),
    `http://127.0.0.1:${port}/${server.name}${path}`,
  ]
  const { stdout } = await run(requireProgram('wrk'), args)
  const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1])
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1])
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`${server.name}: ${stdout}`)
  server.rates.push(rate)
  server.costs.push(((cpu(server.child.pid) - before) / requests) * 1e6)
}

function report({ name }, running) {
  const [bare] = running
  for (const { name: who, rates, costs } of running) {
    const ratio = median(rates.map((rate, i) => rate / bare.rates[i]))
    const cost = median(costs.map((each, i) => each / bare.costs[i]))
    const figures = `${median(rates).toFixed(0).padStart(7)} requests/s (ratio ${ratio.toFixed(2)})  ${median(costs).toFixed(1)} us CPU (ratio ${cost.toFixed(2)})`
    console.log(
      `${name.padEnd(15)} ${who.padEnd(8)} ${figures}  rounds: ${rates.map((rate, at) => (rate / bare.rates[at]).toFixed(2)).join(' ')}`,
    )
  }
}

const { values } = parseArgs({
  options: {
    serve: { type: 'string' },
    socket: { type: 'string' },
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '32' },
  },
})

const folder = values.serve === undefined ? temporaryFolder('viaduct-bench-') : undefined

if (values.serve !== undefined) {
  await servers[values.serve](values.socket)
  console.log('ready')
} else {
  const running = []
  let nginx
  try {
    for (const name of Object.keys(servers)) running.push(await start(name, join(folder.path, `${name}.sock`)))
    nginx = await startNginx({
      folder: folder.path,
      http: `upstream bare { server unix:${join(folder.path, 'bare.sock')}; keepalive 32; }
upstream fastcgi { server unix:${join(folder.path, 'fastcgi.sock')}; keepalive 32; }`,
      server: `client_max_body_size 0;
location /bare/ { rewrite ^/bare(/.*) $1 break; proxy_pass http://bare; proxy_http_version 1.1; proxy_set_header Connection ""; }
location /fastcgi/ { rewrite ^/fastcgi(/.*) $1 break; include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_NAME $uri; fastcgi_pass fastcgi; fastcgi_keep_conn on; }`,
    })
    for (const each of cases) {
      // The first round warms up and does not count.
      for (let i = 0; i <= Number(values.rounds); i++) {
        const order = i % 2 === 0 ? running : running.toReversed()
        for (const server of order) await round(server, nginx.address.port, each, values.seconds, values.connections)
        if (i === 0) for (const server of running) server.rates.length = server.costs.length = 0
      }
      report(each, running)
      for (const server of running) server.rates.length = server.costs.length = 0
    }
  } finally {
    await nginx?.stop()
    for (const { child } of running) child.kill()
    folder.remove()
  }
}
