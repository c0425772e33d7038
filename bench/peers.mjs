// The servers that Viaduct is held against, each started in the foreground with a configuration of its own in a temporary folder.
//
// Used by the benchmarks and, through test/interop/peers, by tests. Nothing here touches /etc, the default ports or a service that
// already runs: every peer listens on loopback or on a socket in its folder, and is stopped by the pid that was started.

import { spawn } from 'node:child_process'
import { accessSync, chmodSync, constants, mkdirSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'

const root = process.getuid?.() === 0
const running = new Set()

// A run that dies of an exception must not leave servers behind. SIGKILL, because nothing can be awaited in an exit handler.
process.on('exit', () => {
  for (const peer of running) signalGroup(peer.pid, 'SIGKILL')
})

/** The path of a program on PATH or in sbin, or undefined. */
export function findProgram(...names) {
  for (const name of names) {
    for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/lib/git-core']) {
      const file = join(folder, name)
      try {
        accessSync(file, constants.X_OK)
        return file
      } catch {
        // Not here; the next folder may have it.
      }
    }
  }
  return undefined
}

/** Like findProgram, but a missing program is an error that names the script which installs them all. */
export function requireProgram(...names) {
  const file = findProgram(...names)
  if (file === undefined) throw new Error(`bench: ${names.join(' or ')} not found; scripts/install-peers.sh installs every peer`)
  return file
}

/** php-fpm, whose name carries its version on Debian. Undefined when it is not installed. */
export const findPhpFpm = () => findProgram('php-fpm', 'php-fpm8.4', 'php-fpm8.3', 'php-fpm8.2', 'php-fpm8.1', 'php-fpm8.0', 'php-fpm7.4')

/** A new folder that servers running as another user may enter, and how to remove it. */
export function temporaryFolder(name = 'viaduct-peer-') {
  const path = mkdtempSync(join(tmpdir(), name))
  chmodSync(path, 0o755)
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }) }
}

/** A port of `host` that was free a moment ago. For programs that cannot listen on port 0 and say which one they got. */
export function freePort(host = '127.0.0.1') {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, host, () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

/** Whether something accepts connections there: `{ port }` on 127.0.0.1 or `{ path }`. */
function accepts(address) {
  return new Promise((resolve) => {
    const socket = connect(address.path === undefined ? { host: '127.0.0.1', port: address.port } : { path: address.path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/**
 * Starts a program in a process group of its own and waits until it accepts connections.
 * Rejects with the end of its output when it exits first or takes more than `deadline` milliseconds.
 */
export async function startPeer(name, command, args, { address, env = {}, cwd, log, deadline = 15_000 }) {
  const output = openSync(log, 'a')
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, detached: true, stdio: ['ignore', output, output] })
  closeSync(output)
  const peer = { name, pid: child.pid ?? 0, address, log, stop: () => stopPeer(peer, child) }
  const failed = new Promise((_, reject) => child.once('error', reject))
  failed.catch(() => undefined)
  if (child.pid === undefined) await failed
  running.add(peer)
  const end = Date.now() + deadline
  while (!(await accepts(address))) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > end) {
      await peer.stop()
      throw new Error(`${name}: did not come up (${command} ${args.join(' ')})\n${readFileSync(log, 'utf8').slice(-2000)}`)
    }
    await sleep(20)
  }
  return peer
}

async function stopPeer(peer, child) {
  running.delete(peer)
  const gone = () => child.exitCode !== null || child.signalCode !== null
  for (const [signal, patience] of [
    ['SIGTERM', 5000],
    ['SIGKILL', 2000],
  ]) {
    if (!gone()) signalGroup(peer.pid, signal)
    for (const end = Date.now() + patience; !gone() && Date.now() < end;) await sleep(10)
  }
  // Workers that outlived their master (fcgiwrap's children do) are still in its group.
  signalGroup(peer.pid, 'SIGKILL')
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal)
  } catch {
    // Everything in that group has already ended.
  }
}

/** php-fpm with `workers` static children on a socket in `folder`, or with `tcp` on a free port; its address is `{ path }` or `{ port }`. */
export async function startPhpFpm({ folder, workers = 4, name = 'php-fpm', pool = '', tcp = false }) {
  const address = tcp ? { port: await freePort() } : { path: join(folder, `${name}.sock`) }
  const config = join(folder, `${name}.conf`)
  const user = root ? 'user = root\ngroup = root\nlisten.mode = 0666\n' : ''
  writeFileSync(
    config,
    `[global]
error_log = ${join(folder, `${name}.log`)}
daemonize = no
[www]
listen = ${tcp ? `127.0.0.1:${address.port}` : address.path}
listen.backlog = 4096
${user}pm = static
pm.max_children = ${workers}
${pool}
`,
  )
  const program = findPhpFpm() ?? requireProgram('php-fpm')
  return await startPeer(name, program, ['-F', ...(root ? ['-R'] : []), '-y', config], {
    address,
    log: join(folder, `${name}.out`),
  })
}

/** Viaduct as users start it, with one application: the one that `application` says in the words of a configuration. */
export async function startViaduct({ folder, application, name = 'viaduct' }) {
  const port = await freePort()
  const config = join(folder, `${name}.config.json`)
  const logs = { access: 'off' }
  const sites = [{ routes: [{ application: 'one' }] }]
  writeFileSync(config, JSON.stringify({ listeners: [`127.0.0.1:${port}`], applications: { one: application }, sites, logs }))
  const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
  return await startPeer(name, process.execPath, [main, 'serve', '-c', config], { address: { port }, log: join(folder, `${name}.log`) })
}

/** nginx on a free port. `server` is the inside of its server block, `http` of its http block. */
export async function startNginx({ folder, server, http = '', name = 'nginx', processes = 2 }) {
  const port = await freePort()
  const own = (file) => join(folder, `${name}-${file}`)
  const config = own('nginx.conf')
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    config,
    `${root ? 'user root;' : ''}
worker_processes ${processes};
worker_rlimit_nofile 16384;
daemon off;
pid ${own('nginx.pid')};
error_log ${own('error.log')} warn;
events { worker_connections 8192; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  ${kinds.map((kind) => `${kind}_temp_path ${own(kind)};`).join('\n  ')}
  ${http}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    ${server}
  }
}
`,
  )
  return await startPeer(name, requireProgram('nginx'), ['-p', folder, '-c', config, '-e', own('error.log')], {
    address: { port },
    log: own('out.log'),
  })
}

/** lighttpd on a free port. `modules` are loaded in that order, `config` is the rest of its configuration. */
export async function startLighttpd({ folder, documentRoot, modules = [], config = '', name = 'lighttpd' }) {
  const port = await freePort()
  const file = join(folder, `${name}.conf`)
  writeFileSync(
    file,
    `server.modules = (${modules.map((module) => `"${module}"`).join(', ')})
server.bind = "127.0.0.1"
server.port = ${port}
server.document-root = "${documentRoot}"
server.errorlog = "${join(folder, `${name}.log`)}"
server.upload-dirs = ("${folder}")
server.listen-backlog = 4096
server.max-fds = 16384
server.max-connections = 8192
server.max-keep-alive-requests = 65535
mimetype.assign = (".html" => "text/html", ".txt" => "text/plain", ".php" => "text/html", "" => "application/octet-stream")
${config}
`,
  )
  return await startPeer(name, requireProgram('lighttpd'), ['-D', '-f', file], { address: { port }, log: join(folder, `${name}.out`) })
}

/** lighttpd's setting for PHP run by lighttpd itself: one php-cgi leader with `workers` children, as Debian ships it. */
export function lighttpdPhp(folder, workers) {
  return `fastcgi.server = (".php" => ((
  "bin-path" => "${requireProgram('php-cgi')}",
  "socket" => "${join(folder, 'lighttpd-php')}",
  "max-procs" => 1,
  "bin-environment" => ("PHP_FCGI_CHILDREN" => "${workers}", "PHP_FCGI_MAX_REQUESTS" => "1000000000"),
  "broken-scriptfilename" => "enable"
)))`
}

/** Apache with the event MPM on a free port. `modules` are names without mod_ and .so, `config` the rest of its configuration. */
export async function startApache({ folder, documentRoot, modules = [], config = '', name = 'apache' }) {
  const port = await freePort()
  const file = join(folder, `${name}.conf`)
  // A fixed number of processes: one that is retired for being spare closes the connections it holds, and requests fail.
  const needed = ['mpm_event', 'authz_core', ...modules]
  const state = join(folder, `${name}-state`)
  mkdirSync(state, { recursive: true })
  writeFileSync(
    file,
    `ServerRoot "${state}"
ServerName localhost
Listen 127.0.0.1:${port}
ListenBacklog 4096
PidFile ${join(state, 'apache.pid')}
DefaultRuntimeDir ${state}
ErrorLog ${join(folder, `${name}.log`)}
LogLevel warn
${needed.map((module) => `LoadModule ${module}_module /usr/lib/apache2/modules/mod_${module}.so`).join('\n')}
${root ? 'User www-data\nGroup www-data' : ''}
MaxKeepAliveRequests 0
StartServers 2
ServerLimit 2
ThreadsPerChild 64
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
DocumentRoot "${documentRoot}"
<Directory "${documentRoot}">
  Require all granted
</Directory>
${config}
`,
  )
  return await startPeer(name, requireProgram('apache2', 'httpd'), ['-DFOREGROUND', '-f', file], {
    address: { port },
    log: join(folder, `${name}.out`),
  })
}

/** fcgiwrap, which runs a CGI program for each FastCGI request, with `children` of them at once; its address is `{ path }`. */
export async function startFcgiwrap({ folder, children = 4, name = 'fcgiwrap' }) {
  const path = join(folder, `${name}.sock`)
  // It does not remove its socket at the end, nor take over one that is there.
  rmSync(path, { force: true })
  return await startPeer(name, requireProgram('fcgiwrap'), ['-c', String(children), '-s', `unix:${path}`], {
    address: { path },
    log: join(folder, `${name}.out`),
  })
}

/** HAProxy on a free port; `config` is everything behind its global and defaults sections but the listening address. */
export async function startHaproxy({ folder, frontend, global = '', config = '', name = 'haproxy' }) {
  const port = await freePort()
  const file = join(folder, `${name}.cfg`)
  writeFileSync(
    file,
    `global
  maxconn 8192
  log stderr format raw local0
  ${global}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend ${name}
  bind 127.0.0.1:${port}
  ${frontend}
${config}
`,
  )
  return await startPeer(name, requireProgram('haproxy'), ['-db', '-f', file], { address: { port }, log: join(folder, `${name}.out`) })
}

/** Caddy on a free port, without its admin endpoint and certificates. `site` is the inside of its site block, `config` what follows it. */
export async function startCaddy({ folder, site, config = '', name = 'caddy' }) {
  const port = await freePort()
  const file = join(folder, `${name}.Caddyfile`)
  const state = join(folder, `${name}-state`)
  mkdirSync(state, { recursive: true })
  writeFileSync(
    file,
    `{
  admin off
  auto_https off
}
http://127.0.0.1:${port}, http://test.example:${port} {
  ${site}
}
${config}
`,
  )
  return await startPeer(name, requireProgram('caddy'), ['run', '--config', file, '--adapter', 'caddyfile'], {
    address: { port },
    env: { XDG_DATA_HOME: state, XDG_CONFIG_HOME: state, HOME: state },
    log: join(folder, `${name}.out`),
  })
}
