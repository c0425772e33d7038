// php-fpm and `viaduct fpm` behind the same nginx, with the same configuration: throughput of two pages, and the memory of eight workers.
//
// usage: node bench/fpm.mjs [--rounds 6] [--seconds 2] [--connections 32] [--workers 4] [--keep] [--dist ../dist]
//
// Rounds alternate; ratios are medians of those of each round. `--keep` has nginx keep its connections, which pins php-fpm's workers.
// Memory is the proportional set size of everything that belongs to each, after a script of 200 classes has warmed all workers.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { pssOf } from './cpu.mjs'
import { findPhpFpm, requireProgram, startNginx, startPeer, temporaryFolder } from './peers.mjs'
import { layOut } from './site.mjs'
import { wrk, wrkScript } from './wrk.mjs'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '2' },
    connections: { type: 'string', default: '32' },
    workers: { type: 'string', default: '4' },
    keep: { type: 'boolean', default: false },
    dist: { type: 'string', default: fileURLToPath(new URL('../dist', import.meta.url)) },
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
  const path = join(temporary.path, `${name}-${workers}.sock`)
  const config = join(temporary.path, `${name}-${workers}.conf`)
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
`,
  )
  const words = ['-F', '-y', config]
  const [file, ...args] =
    name === 'php-fpm'
      ? [findPhpFpm() ?? requireProgram('php-fpm'), ...words]
      : [process.execPath, join(values.dist, 'cli/main.js'), 'fpm', ...words]
  const peer = await startPeer(name, file, args, { address: { path }, log: join(temporary.path, `${name}.out`) })
  const nginx = await startNginx({
    folder: temporary.path,
    name: `nginx-${name}-${workers}`,
    http: `upstream app { server unix:${path}; ${values.keep ? `keepalive ${Math.max(1, workers - 1)};` : ''} }`,
    server: `root ${site}; location ~ [.]php$ { include /etc/nginx/fastcgi.conf; fastcgi_pass app; ${values.keep ? 'fastcgi_keep_conn on;' : ''} }`,
  })
  return { name, peer, nginx, url: `http://127.0.0.1:${nginx.address.port}` }
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]
const names = ['php-fpm', 'viaduct']

async function throughput() {
  const both = await Promise.all(names.map((name) => start(name, Number(values.workers))))
  const script = wrkScript(temporary.path)
  for (const page of ['hello.php', 'page.php']) {
    const rates = { 'php-fpm': [], viaduct: [] }
    const tails = { 'php-fpm': [], viaduct: [] }
    let failures = 0
    for (let round = -1; round < rounds; round++) {
      for (const { name, url, peer, nginx } of round % 2 === 0 ? both : both.toReversed()) {
        const load = { connections: Number(values.connections), threads: 1, seconds: round < 0 ? 1 : Number(values.seconds) }
        const result = await wrk({ url: `${url}/${page}`, script, pids: [peer.pid, nginx.pid], ...load })
        if (round < 0) continue
        rates[name].push(result.rate)
        tails[name].push(result.p99)
        failures += result.failures
      }
    }
    const ratio = median(rates.viaduct.map((rate, i) => rate / rates['php-fpm'][i]))
    const row = (name) => `${name} ${Math.round(median(rates[name]))}/s (p99 ${median(tails[name]).toFixed(1)} ms)`
    console.log(`${page.padEnd(10)} ${row('php-fpm')}   ${row('viaduct')}   ratio ${ratio.toFixed(2)}   failures ${failures}`)
  }
  for (const { peer, nginx } of both) await Promise.all([peer.stop(), nginx.stop()])
}

const megabytes = (bytes) => (bytes / 1024 ** 2).toFixed(1)

/** The processes at or below this one that are PHP. */
function interpreters(pid) {
  if (/php/.test(readFileSync(`/proc/${pid}/comm`, 'latin1'))) return [pid]
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean)
  return children.flatMap((child) => interpreters(Number(child)))
}

async function memory() {
  for (const name of names) {
    const one = await start(name, 8)
    // Two at once for each worker: all of them get their share.
    for (let i = 0; i < 10; i++)
      await Promise.all(Array.from({ length: 16 }, () => fetch(`${one.url}/classes.php`).then((answer) => answer.text())))
    const { sum } = pssOf([one.peer.pid])
    const php = pssOf(interpreters(one.peer.pid)).sum
    console.log(`8 workers, 200 classes: ${name} ${megabytes(php)} MB PSS of PHP, ${megabytes(sum)} MB in all`)
    await Promise.all([one.peer.stop(), one.nginx.stop()])
  }
}

try {
  await throughput()
  await memory()
} finally {
  temporary.remove()
}
