// `viaduct fpm` behind the web servers that have php-fpm behind them: answers, bodies, and faults under load.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Clients, alive, ask as get, until } from '../cli/program.ts'
import { startApache, startCaddy, startLighttpd, startNginx } from '../interop/peers/index.ts'
import { has } from '../peers.ts'
import { Fpm, REAL, descendants, leaderOf } from './engine.ts'

const SCRIPTS = {
  'hello.php': '<?php header("X-Powered-By: viaduct"); echo "hello ", $_GET["x"] ?? "";',
  'post.php': '<?php echo $_POST["a"] ?? "none", " ", strlen($_POST["b"] ?? "");',
  'crash.php': '<?php posix_kill(getmypid(), 11); sleep(1);',
}
const SITE = {
  'index.php':
    '<?php echo json_encode([$_GET, array_intersect_key($_SERVER, array_flip(["REQUEST_METHOD", "REQUEST_URI", "SCRIPT_NAME", "SCRIPT_FILENAME", "PATH_INFO", "PHP_SELF", "DOCUMENT_URI", "HTTP_X_ODD", "PHP_AUTH_USER", "REMOTE_USER", "CONTENT_LENGTH", "HTTPS", "SERVER_NAME"]))], JSON_UNESCAPED_SLASHES);',
  'session.php':
    '<?php session_save_path("/tmp"); session_start(); $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1; echo $_SESSION["n"]; if (isset($_GET["end"])) session_destroy();',
  'upload.php':
    '<?php foreach ($_FILES as &$f) { $f["is"] = is_uploaded_file($f["tmp_name"]); $f["size"] = @filesize($f["tmp_name"]); unset($f["tmp_name"]); } echo json_encode([$_POST, $_FILES]);',
  'go.php': '<?php header("Location: /index.php", true, 303);',
  'photo.jpg': '<?php echo "executed";',
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

  test.skipIf(!has('nginx', REAL))(
    'a site of every day, by php-fpm and by us: sessions, uploads, paths, what is missing and what is refused',
    async () => {
      const results: { seen: unknown[][]; complaints: string[] }[] = []
      for (const kind of ['php-fpm', 'viaduct'] as const) {
        await using fpm = await Fpm.start(kind, {
          pool: `${POOL}\nphp_value[upload_max_filesize] = 8M\nphp_value[post_max_size] = 9M`,
          scripts: SITE,
        })
        const nginx = await startNginx({
          folder: fpm.folder,
          server: `root ${fpm.folder}; client_max_body_size 64m; error_log ${fpm.folder}/nginx.log info;
          location / { try_files $uri /index.php$is_args$args; }
          location ~ [.](php|jpg)(/|$) { fastcgi_split_path_info ^(.+?[.](?:php|jpg))(/.*)$; include /etc/nginx/fastcgi.conf;
            fastcgi_param PATH_INFO $fastcgi_path_info; fastcgi_param REMOTE_USER $remote_user; fastcgi_pass unix:${fpm.socket}; }`,
        })
        const url = `http://127.0.0.1:${nginx.address.port}`
        const seen: unknown[][] = []
        const visit = async (path: string, init: RequestInit = {}): Promise<Response> => {
          const response = await fetch(url + path, { redirect: 'manual', ...init })
          const body = await response.text()
          seen.push([path, response.status, response.headers.get('content-type'), response.headers.get('location'), body])
          return response
        }
        try {
          const cookie = (await visit('/session.php')).headers.get('set-cookie')!.split(';')[0]!
          await visit('/session.php', { headers: { cookie } })
          await visit('/session.php?end', { headers: { cookie } })
          for (const bytes of [0, 1000, 3_000_000, 8_500_000, 9_500_000]) {
            const form = new FormData()
            form.append('text', 'ä b')
            form.append('file', new Blob([Buffer.alloc(bytes, 'x')], { type: 'text/plain' }), 'ä.txt')
            await visit('/upload.php', { method: 'POST', body: form })
          }
          for (const path of [
            '/',
            '/a/pretty/path?x=1',
            '/index.php/info/%C3%A4?x=y',
            '/none.php',
            '/none.php/info',
            '/photo.jpg',
            '/photo.jpg/x.php',
            '/go.php',
          ])
            await visit(path)
          await visit('/index.php', { method: 'DELETE', headers: { 'X-Odd': 'a, b', Authorization: 'Basic bWU6c2VjcmV0' } })
          await visit('/index.php', { method: 'HEAD' })
          const wanted = /FastCGI sent in stderr: .*?(?= while)/
          await until('its log', () => (fpm.read('nginx.log').match(/FastCGI sent/g) ?? []).length >= 5)
          const complaints = fpm
            .read('nginx.log')
            .split('\n')
            .flatMap((line) => wanted.exec(line)?.[0] ?? [])
          results.push(
            JSON.parse(
              JSON.stringify({ seen, complaints }).replaceAll(fpm.folder, 'FOLDER').replaceAll(String(nginx.address.port), 'PORT'),
            ),
          )
        } finally {
          await nginx.stop()
        }
      }
      expect(results[1]).toEqual(results[0])
      expect(results[1]!.seen.slice(0, 3).map((each) => each.at(-1))).toEqual(['1', '2', '3'])
      expect(JSON.stringify(results[1])).toContain('size\\":3000000')
      expect(results[1]!.complaints.join('\n')).toMatch(/Primary script unknown[^]*has been denied/)
    },
  )

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
