// Python applications: Viaduct's pool beside nginx + uWSGI, uWSGI's own HTTP, and gunicorn, in alternating rounds of one run.
//
//   npm run build && node bench/wsgi.mjs [--rounds 5] [--seconds 2] [--connections 32] [--workers 2] [--only viaduct,nginx-uwsgi]
//
// Three cases: hello (the least an application can do), Flask, and hello while one more client always asks for a page that sleeps
// 100 ms. All have the same number of worker processes, keep connections where they can, and write no access log. Read the ratios.

import { mkdirSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { freePort, requireProgram, startNginx, startPeer, startViaduct, temporaryFolder } from './peers.mjs'
import { caseTable } from './report.mjs'
import { stopLoad, wrk, wrkScript } from './wrk.mjs'

// Where Debian's packages put Flask, uWSGI's plugin and gunicorn.
const PYTHON = '/usr/bin/python3'
const GREETING = 'Hello, World!\n'

const apps = {
  hello: `import time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/sleep":
        time.sleep(0.1)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"Hello, World!\\n"]
`,
  flask: `from flask import Flask, Response

application = Flask(__name__)

@application.route("/")
def hello():
    return Response("Hello, World!\\n", mimetype="text/plain")
`,
}

const cases = [
  { title: 'wsgi-hello', app: 'hello' },
  { title: 'flask', app: 'flask' },
  { title: 'wsgi-hello beside one client that sleeps', app: 'hello', sleeper: true },
]

async function viaduct({ folder, app, workers }) {
  return [await startViaduct({ folder, application: { kind: 'wsgi', root: join(folder, app), python: PYTHON, workers } })]
}

const uwsgiArgs = ({ folder, app, workers }) => {
  const shape = ['--master', '--processes', String(workers), '--listen', '1024', '--disable-logging', '--need-app', '--die-on-term']
  return ['--chdir', join(folder, app), '--wsgi-file', 'wsgi.py', ...shape]
}

async function nginxUwsgi({ folder, app, workers }) {
  const path = join(folder, 'uwsgi.sock')
  const uwsgi = await startPeer(
    'uwsgi',
    requireProgram('uwsgi', 'uwsgi-core'),
    ['--plugins', 'python3', '--socket', path, ...uwsgiArgs({ folder, app, workers })],
    {
      address: { path },
      log: join(folder, 'uwsgi.log'),
    },
  )
  const server = `location / { include /etc/nginx/uwsgi_params; uwsgi_pass unix:${path}; }`
  return [await startNginx({ folder, server }), uwsgi]
}

async function uwsgiHttp({ folder, app, workers }) {
  const port = await freePort()
  const args = ['--plugins', 'http,python3', '--http', `127.0.0.1:${port}`, '--http-keepalive=1', ...uwsgiArgs({ folder, app, workers })]
  return [
    await startPeer('uwsgi-http', requireProgram('uwsgi', 'uwsgi-core'), args, { address: { port }, log: join(folder, 'uwsgi-http.log') }),
  ]
}

const gunicorn =
  (...kind) =>
  async ({ folder, app, workers }) => {
    const port = await freePort()
    const args = ['-w', String(workers), '-b', `127.0.0.1:${port}`, '--log-level', 'error', '--chdir', join(folder, app), ...kind, 'wsgi']
    return [await startPeer('gunicorn', requireProgram('gunicorn'), args, { address: { port }, log: join(folder, 'gunicorn.log') })]
  }

const servers = {
  viaduct: { label: 'Viaduct', start: viaduct },
  'nginx-uwsgi': { label: 'nginx + uWSGI', start: nginxUwsgi },
  'uwsgi-http': { label: 'uWSGI http', start: uwsgiHttp },
  'gunicorn-gthread': { label: 'gunicorn gthread', start: gunicorn('-k', 'gthread', '--threads', '8', '--keep-alive', '60') },
  'gunicorn-sync': { label: 'gunicorn sync', start: gunicorn('-k', 'sync') },
}

let running = []
async function stopAll() {
  for (const peer of running.splice(0)) await peer.stop()
}

async function runCase(each, { folder, settings }) {
  process.stdout.write(`\n${each.title}\n`)
  const contenders = []
  for (const [key, { label, start }] of Object.entries(servers)) {
    if (settings.only !== undefined && !settings.only.includes(key)) continue
    const own = join(folder, `${key}-${each.app}`)
    mkdirSync(own, { recursive: true })
    mkdirSync(join(own, each.app), { recursive: true })
    writeFileSync(join(own, each.app, 'wsgi.py'), apps[each.app])
    const peers = await start({ folder: own, app: each.app, workers: settings.workers })
    running.push(...peers)
    const port = peers[0].address.port
    await check(label, port)
    contenders.push({ label, port, pids: peers.map((peer) => peer.pid), rounds: [] })
  }
  const script = wrkScript(folder)
  const measure = async (contender, seconds) => {
    const sleeper = each.sleeper ? sleep(contender.port) : undefined
    const url = `http://127.0.0.1:${contender.port}/`
    const round = await wrk({ url, script, seconds, connections: settings.connections, threads: settings.threads, pids: contender.pids })
    await sleeper?.stop()
    return round
  }
  for (const contender of contenders) await measure(contender, 1)
  for (let round = 0; round < settings.rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(turn + round) % contenders.length]
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
  await stopAll()
}

function ask(port, path, agent) {
  return new Promise((resolve, reject) => {
    const sent = request({ port, host: '127.0.0.1', path, agent }, (response) => {
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
  const { status, body } = await ask(port, '/', undefined)
  if (status !== 200 || body !== GREETING) throw new Error(`bench: ${label} answers ${status} and ${JSON.stringify(body.slice(0, 200))}`)
}

/** One client that always waits for a page that sleeps. */
function sleep(port) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const over = new AbortController()
  const work = (async () => {
    while (!over.signal.aborted) await ask(port, '/sleep', agent)
  })()
  return {
    stop: async () => {
      over.abort()
      await work
      agent.destroy()
    },
  }
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '32' },
    threads: { type: 'string', default: '2' },
    workers: { type: 'string', default: '2' },
    only: { type: 'string' },
  },
})
const settings = {
  ...Object.fromEntries(['rounds', 'seconds', 'connections', 'threads', 'workers'].map((key) => [key, Number(values[key])])),
  only: values.only?.split(','),
}
const temporary = temporaryFolder('viaduct-bench-')
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    stopLoad()
    void stopAll().finally(() => process.exit(1))
  })
}
try {
  for (const each of cases) await runCase(each, { folder: temporary.path, settings })
} finally {
  await stopAll()
  temporary.remove()
}
