// `viaduct fpm` behind the web servers that have php-fpm behind them: answers, bodies, and faults under load.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Clients, alive, ask as get, until } from '../cli/program.ts'
import { startApache, startCaddy, startLighttpd, startNginx } from '../interop/peers/index.ts'
import { has } from '../peers.ts'
import { Fpm, descendants, leaderOf } from './engine.ts'

const SCRIPTS = {
  'hello.php': '<?php header("X-Powered-By: viaduct"); echo "hello ", $_GET["x"] ?? "";',
  'post.php': '<?php echo $_POST["a"] ?? "none", " ", strlen($_POST["b"] ?? "");',
  'crash.php': '<?php posix_kill(getmypid(), 11); sleep(1);',
}
const POOL = 'pm = static\npm.max_children = 4'

interface WebServer {
  readonly name: string
  readonly program: string
  start(fpm: Fpm): Promise<{ readonly address: { readonly port: number }; stop(): Promise<unknown> }>
}

const servers: WebServer[] = [
  {
    name: 'nginx',
    program: 'nginx',
    start: (fpm) =>
      startNginx({
        folder: fpm.folder,
        server: `root ${fpm.folder}; client_max_body_size 64m; location ~ [.]php$ { include /etc/nginx/fastcgi.conf; fastcgi_pass unix:${fpm.socket}; }`,
      }),
  },
  {
    name: 'nginx that keeps connections',
    program: 'nginx',
    start: (fpm) =>
      startNginx({
        folder: fpm.folder,
        http: `upstream php { server unix:${fpm.socket}; keepalive 8; }`,
        server: `root ${fpm.folder}; client_max_body_size 64m; location ~ [.]php$ { include /etc/nginx/fastcgi.conf; fastcgi_pass php; fastcgi_keep_conn on; }`,
      }),
  },
  {
    name: 'Apache',
    program: 'apache2',
    start: (fpm) =>
      startApache({
        folder: fpm.folder,
        documentRoot: fpm.folder,
        modules: ['proxy', 'proxy_fcgi'],
        config: `<FilesMatch "[.]php$">\nSetHandler "proxy:unix:${fpm.socket}|fcgi://localhost/"\n</FilesMatch>`,
      }),
  },
  {
    name: 'lighttpd',
    program: 'lighttpd',
    start: (fpm) =>
      startLighttpd({
        folder: fpm.folder,
        documentRoot: fpm.folder,
        modules: ['mod_fastcgi'],
        config: `fastcgi.server = ( ".php" => (( "socket" => "${fpm.socket}", "broken-scriptfilename" => "enable" )) )`,
      }),
  },
  {
    name: 'Caddy',
    program: 'caddy',
    start: (fpm) => startCaddy({ folder: fpm.folder, site: `root * ${fpm.folder}\nphp_fastcgi unix/${fpm.socket}` }),
  },
]

describe.skipIf(!has('php-cgi'))('behind a web server', () => {
  test.each(servers)('$name: pages, bodies, and what is not there', async ({ program, start }) => {
    if (!has(program)) return
    await using fpm = await Fpm.start('viaduct', { pool: POOL, scripts: SCRIPTS })
    mkdirSync(join(fpm.folder, 'sub'))
    writeFileSync(join(fpm.folder, 'sub', 'in.php'), '<?php echo $_SERVER["SCRIPT_NAME"];')
    const web = await start(fpm)
    const url = `http://127.0.0.1:${web.address.port}`
    try {
      for (let i = 0; i < 5; i++) expect(await (await fetch(`${url}/hello.php?x=${i}`)).text()).toBe(`hello ${i}`)
      expect(await (await fetch(`${url}/sub/in.php`)).text()).toBe('/sub/in.php')
      const body = new URLSearchParams({ a: 'one', b: 'x'.repeat(2_000_000) })
      expect(await (await fetch(`${url}/post.php`, { method: 'POST', body })).text()).toBe('one 2000000')
      expect((await fetch(`${url}/none.php`)).status).toBe(404)
      expect((await fetch(`${url}/crash.php`)).status).toBeGreaterThanOrEqual(500)
      expect(await (await fetch(`${url}/hello.php`)).text()).toBe('hello ')
    } finally {
      await web.stop()
    }
  })

  test.skipIf(!has('nginx'))('faults under load through nginx: only the requests in their hands fail', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: `${POOL}\nrequest_terminate_timeout = 1s`, scripts: SCRIPTS })
    const web = await servers[1]!.start(fpm)
    const url = `http://127.0.0.1:${web.address.port}`
    const clients = new Clients(url, '/hello.php', { kept: 4, fresh: 2 })
    const more = async (): Promise<void> => {
      const from = clients.answered
      await until('more answers', () => clients.answered > from + 50)
    }
    try {
      await more()
      // A worker, by its own script; it has no other request.
      expect((await get(url, '/crash.php')).status).toBe(502)
      await more()
      expect(clients.failures).toEqual([])
      // A worker, by somebody else: at most the request that it has.
      process.kill((await fpm.status()).processes[0]!.pid, 'SIGKILL')
      await more()
      expect(clients.failures.length).toBeLessThanOrEqual(1)
      // Their leader: those at work finish.
      process.kill(leaderOf(fpm.pid), 'SIGKILL')
      await more()
      expect(clients.failures.length).toBeLessThanOrEqual(1)
      // A worker that is stopped: the request that it has ends at its time.
      const stopped = (await fpm.status()).processes[0]!.pid
      process.kill(stopped, 'SIGSTOP')
      await more()
      await fpm.said(`child ${stopped} exited on signal 9 (SIGKILL)`)
      expect(clients.failures.length).toBeLessThanOrEqual(2)
      // A reload.
      fpm.kill('SIGUSR2')
      await fpm.said('ready to handle connections', 2)
      await more()
      expect(clients.failures.length).toBeLessThanOrEqual(2)
    } finally {
      await clients.stop()
      await web.stop()
    }
  })

  test.skipIf(!has('nginx'))(
    'the manager is killed under load: nobody is left, and another one takes over on the same socket',
    async () => {
      await using fpm = await Fpm.start('viaduct', { pool: POOL, scripts: SCRIPTS })
      const web = await servers[1]!.start(fpm)
      const clients = new Clients(`http://127.0.0.1:${web.address.port}`, '/hello.php', { kept: 4, fresh: 2 })
      const more = async (): Promise<void> => {
        const from = clients.answered
        await until('more answers', () => clients.answered > from + 50)
      }
      try {
        await more()
        expect(clients.failures).toEqual([])
        const family = descendants(fpm.pid)
        process.kill(fpm.pid, 'SIGKILL')
        await until('nobody is left', () => !family.some(alive))
        await using again = await Fpm.start('viaduct', { pool: `${POOL}\nlisten = ${fpm.socket}` })
        await more()
        const failed = clients.failures.length
        await more()
        expect(clients.failures.length).toBe(failed)
        expect(again.log).not.toContain('ERROR')
      } finally {
        await clients.stop()
        await web.stop()
      }
    },
  )
})
