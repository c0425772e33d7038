// php-fpm and `viaduct fpm` behind the same nginx, with the same configuration: throughput of two pages, and the memory of eight workers.
//
// usage: node bench/fpm.mjs [--rounds 6] [--seconds 2] [--warm 8] [--connections 32] [--workers 4] [--log] [--only throughput|memory]
//                           [--dist ../dist] [--beside another/dist]
//
// Rounds alternate; ratios to php-fpm are medians of those of each round, with the quarters between which half of them are. Before, each one
// is loaded for `--warm` seconds: until V8 has compiled all of the manager a request costs it up to twice as much. "kept": nginx keeps its connections, which pins
// php-fpm's workers; `--log` has both write an access log. Beside each rate: microseconds of processor
// time a request, of the manager and of the interpreters. `--beside` takes another build into the same rounds: on a busy machine only those microseconds can be compared.
// Memory is the proportional set size of everything that belongs to each, after a script of 200 classes has warmed all workers; and of
// each Node process what is its own, because what it shares depends on how many others run.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { findPhpFpm, requireProgram, startNginx, startPeer, temporaryFolder } from './peers.mjs'
import { layOut } from './site.mjs'
import { wrk, wrkScript } from './wrk.mjs'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '2' },
    warm: { type: 'string', default: '8' },
    connections: { type: 'string', default: '32' },
    workers: { type: 'string', default: '4' },
    log: { type: 'boolean', default: false },
    only: { type: 'string' },
    dist: { type: 'string', default: fileURLToPath(new URL('../dist', import.meta.url)) },
    beside: { type: 'string' },
  },
})
const rounds = Number(values.rounds)
const root = process.getuid?.() === 0
const temporary = temporaryFolder('viaduct-bench-')
const site = join(temporary.path, 'site')
mkdirSync(site)
layOut(site)

// About 2.4 MB of source, as a large application has it.
const classes = Array.from({ length: 200 }, (_class, i) => {
  const methods = Array.from(
    { length: 40 },
    (_method, j) => `  public function m${j}($a, $b = ${j}) { $x = [$a, $b, '${'text '.repeat(20)}']; return implode(',', $x) . ${i}; }`,
  )
  return `class C${i} {\n${methods.join('\n')}\n}`
})
for (const [i, text] of classes.entries()) writeFileSync(join(site, `class${i}.php`), `<?php\n${text}\n`)
writeFileSync(
  join(site, 'classes.php'),
  `<?php for ($i = 0; $i < 200; $i++) require_once __DIR__ . "/class$i.php"; usleep(20000); echo (new C7)->m3(1);`,
)

/** One of the two, with its own nginx. */
async function start(name, workers) {
  const path = join(temporary.path, `${name.replace(' ', '-')}-${workers}.sock`)
  const config = path.replace(/sock$/, 'conf')
  writeFileSync(
    config,
    `[global]
error_log = ${join(temporary.path, `${name}-${workers}.log`)}
daemonize = no
[www]
listen = ${path}
listen.backlog = 4096
${root ? 'user = www-data\ngroup = www-data\nlisten.mode = 0666\n' : ''}pm = static
pm.max_children = ${workers}
${values.log ? `access.log = ${join(temporary.path, `${name}-${workers}.access`)}` : ''}
`,
  )
  const words = ['-F', '-y', config]
  const fpm = name.startsWith('php-fpm')
  // nginx has two processes, and each kept connection holds a worker of php-fpm's.
  const kept = !name.endsWith('kept') ? undefined : fpm ? Math.max(1, workers >> 1) : 32
  const [file, ...args] = fpm
    ? [findPhpFpm() ?? requireProgram('php-fpm'), ...words]
    : [process.execPath, join(resolve(name === 'beside' ? values.beside : values.dist), 'cli/main.js'), 'fpm', ...words]
  const peer = await startPeer(name, file, args, { address: { path }, log: join(temporary.path, `${name}.out`) })
  const nginx = await startNginx({
    folder: temporary.path,
    name: `nginx-${name.replace(' ', '-')}-${workers}`,
    http: `upstream app { server unix:${path}; ${kept === undefined ? '' : `keepalive ${kept};`} }`,
    server: `root ${site}; location ~ [.]php$ { include /etc/nginx/fastcgi.conf; fastcgi_pass app; ${kept === undefined ? '' : 'fastcgi_keep_conn on;'} }`,
  })
  return { name, peer, nginx, url: `http://127.0.0.1:${nginx.address.port}` }
}

/** What that part of them is below. */
const quantile = (numbers, part) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length * part)]
const median = (numbers) => quantile(numbers, 0.5)
const names = ['php-fpm', 'viaduct', 'php-fpm kept', 'viaduct kept', ...(values.beside === undefined ? [] : ['beside'])]

async function throughput() {
  const all = await Promise.all(names.map((name) => start(name, Number(values.workers))))
  const script = wrkScript(temporary.path)
  const shape = { connections: Number(values.connections), threads: 1 }
  for (const { url, peer } of all) await wrk({ url: `${url}/hello.php`, script, pids: [peer.pid], ...shape, seconds: Number(values.warm) })
  for (const page of ['hello.php', 'page.php']) {
    const results = Object.fromEntries(names.map((name) => [name, []]))
    for (let round = -1; round < rounds; round++) {
      for (const { name, url, peer } of round % 2 === 0 ? all : all.toReversed()) {
        const seconds = round < 0 ? 1 : Number(values.seconds)
        const result = await wrk({ url: `${url}/${page}`, script, pids: [peer.pid], ...shape, seconds })
        if (round >= 0) results[name].push(result)
      }
    }
    for (const name of names) {
      const of = (pick) => median(results[name].map(pick))
      const ratios = results[name].map(({ rate }, i) => rate / results['php-fpm'][i].rate)
      const [low, ratio, high] = [0.25, 0.5, 0.75].map((part) => quantile(ratios, part).toFixed(2))
      // php-fpm's own processes are all called that: its manager does next to nothing.
      const cpu = `us of CPU: ${of((each) => each.cpu.front).toFixed(1)} manager, ${of((each) => each.cpu.workers).toFixed(1)} PHP`
      const rate = `${Math.round(of((each) => each.rate))}/s (p99 ${of((each) => each.p99).toFixed(1)} ms)`
      const failures = results[name].reduce((sum, each) => sum + each.failures, 0)
      console.log(
        `${page.padEnd(10)} ${name.padEnd(12)} ${rate.padEnd(24)} ratio ${ratio} (${low} to ${high})   ${cpu}   failures ${failures}`,
      )
    }
  }
  for (const { peer, nginx } of all) await Promise.all([peer.stop(), nginx.stop()])
}

const megabytes = (bytes) => (bytes / 1024 ** 2).toFixed(1)

/** This process and all below it. */
function tree(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean)
  return [pid, ...children.flatMap((child) => tree(Number(child)))]
}

/** What a line of /proc/PID/smaps_rollup says, in bytes. */
function memoryOf(pid, line) {
  return Number(new RegExp(`^${line}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))[1]) * 1024
}

async function memory() {
  for (const name of names.filter((each) => !each.endsWith('kept'))) {
    const one = await start(name, 8)
    // Two at once for each worker: all of them get their share.
    for (let i = 0; i < 10; i++)
      await Promise.all(Array.from({ length: 16 }, () => fetch(`${one.url}/classes.php`).then((answer) => answer.text())))
    const pids = tree(one.peer.pid)
    const named = (pattern) => pids.filter((pid) => pattern.test(readFileSync(`/proc/${pid}/comm`, 'latin1')))
    const sum = (some) => megabytes(some.reduce((all, pid) => all + memoryOf(pid, 'Pss'), 0))
    // What was never in a file is a process's own; the rest is the program, divided among all that run it.
    const node = named(/node|MainThread/).map((pid) => `${sum([pid])} (${megabytes(memoryOf(pid, 'Anonymous'))} of its own)`)
    console.log(`8 workers, 200 classes: ${name}: ${sum(pids)} MB PSS in all; PHP ${sum(named(/php/))}; Node ${node.join(', ') || 'none'}`)
    await Promise.all([one.peer.stop(), one.nginx.stop()])
  }
}

try {
  if (values.only !== 'memory') await throughput()
  if (values.only !== 'throughput') await memory()
} finally {
  temporary.remove()
}
