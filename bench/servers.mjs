// Every server that a workload can be measured on, as recipes: how each is started for one folder, and under which name it is shown.
//
// A recipe returns { port, pids, stop }. All run the same number of PHP workers, keep connections to clients for as long as the client
// likes, and write no access log.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  freePort,
  lighttpdPhp,
  startApache,
  startFcgiwrap,
  startLighttpd,
  startNginx,
  startPeer,
  startPhpFpm,
  startViaduct,
} from './peers.mjs'

const here = (file) => fileURLToPath(new URL(file, import.meta.url))

/** The stop of several peers that serve together: the one in front first, so that it does not log the loss of the others. */
function together(port, ...peers) {
  return {
    port,
    pids: peers.map((peer) => peer.pid),
    stop: async () => {
      for (const peer of peers) await peer.stop()
    },
  }
}

async function viaduct({ folder, site, workers }) {
  const port = await freePort()
  const args = [
    here('../dist/cli/main.js'),
    'serve',
    site,
    '--listen',
    `127.0.0.1:${port}`,
    '--access-log',
    'off',
    '--workers',
    String(workers),
  ]
  const peer = await startPeer('viaduct', process.execPath, args, { address: { port }, log: join(folder, 'viaduct.log') })
  return together(port, peer)
}

async function nginxFpm({ folder, site, workers, tcp }) {
  const fpm = await startPhpFpm({ folder, workers, tcp })
  const nginx = await startNginx({
    folder,
    server: `root ${site}; client_max_body_size 0; location ~ \\.php$ { include /etc/nginx/fastcgi.conf; fastcgi_pass ${written(fpm.address)}; }`,
  })
  return together(nginx.address.port, nginx, fpm)
}

async function lighttpd({ folder, site, workers }) {
  const peer = await startLighttpd({ folder, documentRoot: site, modules: ['mod_fastcgi'], config: lighttpdPhp(folder, workers) })
  return together(peer.address.port, peer)
}

async function apacheCgid({ folder, site }) {
  const peer = await startApache({
    folder,
    documentRoot: site,
    modules: ['cgid'],
    config: `ScriptSock ${join(folder, 'cgid.sock')}\n<Directory "${site}/cgi-bin">\n  Options ExecCGI\n  SetHandler cgi-script\n</Directory>`,
  })
  return together(peer.address.port, peer)
}

async function lighttpdCgi({ folder, site }) {
  const config = '$HTTP["url"] =~ "^/cgi-bin/" { cgi.assign = ("" => "") }'
  const peer = await startLighttpd({ folder, documentRoot: site, modules: ['mod_cgi'], config, name: 'lighttpd-cgi' })
  return together(peer.address.port, peer)
}

async function nginxFcgiwrap({ folder, site, workers }) {
  const wrap = await startFcgiwrap({ folder, children: workers })
  const nginx = await startNginx({
    folder,
    server: `root ${site}; location /cgi-bin/ { include /etc/nginx/fastcgi.conf; fastcgi_pass unix:${wrap.address.path}; }`,
    name: 'nginx-fcgiwrap',
  })
  return together(nginx.address.port, nginx, wrap)
}

/** Static files only: nginx and lighttpd without a PHP pool beside them. */
async function nginxStatic({ folder, site }) {
  const nginx = await startNginx({ folder, server: `root ${site};`, http: 'keepalive_timeout 300s;', name: 'nginx-static' })
  return together(nginx.address.port, nginx)
}

async function lighttpdStatic({ folder, site }) {
  const config = 'server.max-keep-alive-idle = 300'
  const peer = await startLighttpd({ folder, documentRoot: site, config, name: 'lighttpd-static' })
  return together(peer.address.port, peer)
}

async function bareNode({ folder, site, file }) {
  const port = await freePort()
  const args = [here('bare-node.mjs'), String(port), ...(file === undefined ? [] : [join(site, file)])]
  const peer = await startPeer('bare node:http', process.execPath, args, { address: { port }, log: join(folder, 'bare-node.log') })
  return together(port, peer)
}

/** One FastCGI program in C in a pool of Viaduct's, behind its own HTTP door. */
async function viaductProgram({ folder, site, workers }) {
  const application = { kind: 'fcgi-program', command: join(site, 'hello-fcgi'), workers }
  const peer = await startViaduct({ folder, application, name: 'viaduct-program' })
  return together(peer.address.port, peer)
}

/** The same program, started and spoken to by lighttpd itself. */
async function lighttpdProgram({ folder, site, workers }) {
  const config = `fastcgi.server = ("/" => ((
  "bin-path" => "${join(site, 'hello-fcgi')}", "socket" => "${join(folder, 'hello')}", "max-procs" => ${workers}, "check-local" => "disable"
)))`
  const peer = await startLighttpd({ folder, documentRoot: site, modules: ['mod_fastcgi'], config, name: 'lighttpd-program' })
  return together(peer.address.port, peer)
}

// Three FastCGI clients in front of a php-fpm of the same settings: what is compared is who asks it.

/** An address in the words of nginx, which are Viaduct's as well. */
const written = ({ path, port }) => (path === undefined ? `127.0.0.1:${port}` : `unix:${path}`)

async function viaductFpm({ folder, site, workers, tcp }) {
  const fpm = await startPhpFpm({ folder, workers, tcp, name: 'fpm-of-viaduct' })
  const application = { kind: 'fastcgi', address: written(fpm.address), root: site, connections: workers }
  const peer = await startViaduct({ folder, application, name: 'viaduct-fpm' })
  return together(peer.address.port, peer, fpm)
}

/** With connections that are kept, which nginx does when it is told to, and only then. */
async function nginxFpmKept({ folder, site, workers, tcp }) {
  const fpm = await startPhpFpm({ folder, workers, tcp, name: 'fpm-of-nginx' })
  const nginx = await startNginx({
    folder,
    // As many as there are workers, over its two processes: a kept connection holds a worker.
    http: `upstream fpm { server ${written(fpm.address)}; keepalive ${Math.max(1, workers >> 1)}; }`,
    server: `root ${site}; client_max_body_size 0; location ~ \\.php$ { include /etc/nginx/fastcgi.conf; fastcgi_keep_conn on; fastcgi_pass fpm; }`,
    name: 'nginx-fpm-kept',
  })
  return together(nginx.address.port, nginx, fpm)
}

async function lighttpdFpm({ folder, site, workers, tcp }) {
  const fpm = await startPhpFpm({ folder, workers, tcp, name: 'fpm-of-lighttpd' })
  const { path, port } = fpm.address
  const host = path === undefined ? `"host" => "127.0.0.1", "port" => ${port}` : `"socket" => "${path}"`
  const config = `fastcgi.server = (".php" => ((${host}, "broken-scriptfilename" => "enable")))`
  const peer = await startLighttpd({ folder, documentRoot: site, modules: ['mod_fastcgi'], config, name: 'lighttpd-fpm' })
  return together(peer.address.port, peer, fpm)
}

export const servers = {
  viaduct: { label: 'Viaduct', start: viaduct },
  'nginx-fpm': { label: 'nginx + php-fpm', start: nginxFpm },
  lighttpd: { label: 'lighttpd + php-cgi', start: lighttpd },
  'apache-cgid': { label: 'Apache mod_cgid', start: apacheCgid },
  'lighttpd-cgi': { label: 'lighttpd mod_cgi', start: lighttpdCgi },
  'nginx-fcgiwrap': { label: 'nginx + fcgiwrap', start: nginxFcgiwrap },
  'nginx-static': { label: 'nginx', start: nginxStatic },
  'lighttpd-static': { label: 'lighttpd', start: lighttpdStatic },
  'viaduct-fpm': { label: 'Viaduct + php-fpm', start: viaductFpm },
  'nginx-fpm-kept': { label: 'nginx + php-fpm, kept connections', start: nginxFpmKept },
  'lighttpd-fpm': { label: 'lighttpd + php-fpm', start: lighttpdFpm },
  'viaduct-program': { label: 'Viaduct, program pool', start: viaductProgram },
  'lighttpd-program': { label: 'lighttpd mod_fastcgi', start: lighttpdProgram },
  'bare-node': { label: 'bare node:http', start: bareNode },
}
