// The programs that our FastCGI client is tested against, each started as its manual says, and what all of them must do.

import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Address } from '../../src/core/index.ts'
import { which } from '../peers.ts'

export const FPM: string =
  ['php-fpm', 'php-fpm8.5', 'php-fpm8.4', 'php-fpm8.3', 'php-fpm8.2', 'php-fpm8.1'].find((each) => which(each)) ?? 'php-fpm'

export const BEHAVIOURS = [
  'GET',
  'HEAD',
  'POST, up to 10 MiB',
  'POST, chunked',
  'body that nobody reads',
  'large download',
  'slow reader',
  'client that leaves',
  'standard error',
  '304',
  'redirect',
  '50 cookies',
  '64 KB of variables',
  'half an answer is an error',
  'death in the middle is an error',
  'kept connections',
  'too slow is 504',
  'GET_VALUES',
  'REQUEST_BODY_FILE',
  'Authorizer',
  'Filter',
] as const
export type Behaviour = (typeof BEHAVIOURS)[number]

const scripts: Readonly<Record<string, string>> = {
  hello: `<?php echo 'hello';`,
  echo: `<?php $in = file_get_contents('php://input'); header('X-Md5: ' . md5($in)); echo $_SERVER['REQUEST_METHOD'], ' ', strlen($in);`,
  ignore: `<?php http_response_code(413); echo 'not read';`,
  big: `<?php
    header('Content-Type: application/octet-stream');
    $block = str_repeat('x', 65536);
    for ($left = (int) $_GET['bytes']; $left > 0; $left -= 65536) echo $left < 65536 ? substr($block, 0, $left) : $block;`,
  stderr: `<?php error_log('first line'); echo 'ok';`,
  'not-modified': `<?php http_response_code(304); header('ETag: "a"'); echo 'a body that must not be';`,
  redirect: `<?php header('Location: /elsewhere?a=b');`,
  cookies: `<?php for ($i = 0; $i < 50; $i++) setcookie("name$i", "value $i"); echo 'ok';`,
  headers: `<?php $n = 0; foreach ($_SERVER as $k => $v) if (str_starts_with($k, 'HTTP_X_')) $n += strlen($v); echo $n;`,
  die: `<?php echo str_repeat('x', 1000); ob_flush(); flush(); posix_kill(getmypid(), 9);`,
  short: `<?php header('Content-Length: 1000'); echo 'short';`,
  sleep: `<?php usleep((int) $_GET['ms'] * 1000); echo 'slept';`,
  loop: `<?php ignore_user_abort(false); for ($i = 0; $i < 1000; $i++) { echo str_repeat('y', 1000); @ob_flush(); flush(); usleep(10000); }`,
  pid: `<?php echo getmypid();`,
  'body-file': `<?php echo isset($_SERVER['REQUEST_BODY_FILE']) ? 'file ' : 'stdin ', md5(file_get_contents('php://input'));`,
}

/** A folder, and the programs that run in it until `close`. */
export class Peers {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'viaduct-interop-'))
  readonly www: string = join(this.folder, 'www')
  readonly #children: ChildProcess[] = []
  #names = 0

  constructor() {
    mkdirSync(this.www)
    for (const [name, text] of Object.entries(scripts)) writeFileSync(join(this.www, `${name}.php`), text)
  }

  async close(): Promise<void> {
    await Promise.all(this.#children.map(stop))
    rmSync(this.folder, { recursive: true, force: true })
  }

  path(suffix: string): string {
    return join(this.folder, `${this.#names++}-${suffix}`)
  }

  start(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ...env },
    })
    child.stderr?.resume()
    this.#children.push(child)
    return child
  }

  /** A php-fpm with this many workers. `more`: lines of its pool. */
  async fpm(address: Address, workers: number = 4, more: string = ''): Promise<ChildProcess> {
    const file = this.path('fpm.conf')
    const root = process.getuid?.() === 0
    const user = root ? 'user = root\ngroup = root\n' : ''
    const listen = 'path' in address ? address.path : `${address.host}:${address.port}`
    writeFileSync(
      file,
      `[global]\nerror_log = ${this.path('fpm.log')}\ndaemonize = no\nprocess_control_timeout = 5s\n[www]\nlisten = ${listen}\n${user}` +
        `pm = static\npm.max_children = ${workers}\n${more}`,
    )
    const master = this.start(FPM, ['-F', ...(root ? ['-R'] : []), '-y', file, '-d', 'post_max_size=64M'])
    await listening(address)
    return master
  }

  async phpCgi(path: string): Promise<ChildProcess> {
    const child = this.start('php-cgi', ['-d', 'post_max_size=64M', '-b', path], { PHP_FCGI_CHILDREN: '4', PHP_FCGI_MAX_REQUESTS: '0' })
    await listening({ path })
    return child
  }

  #responder: string | undefined

  /** The C program on libfcgi. */
  responder(): string {
    if (this.#responder === undefined) {
      this.#responder = join(this.folder, 'responder')
      execFileSync('gcc', ['-O1', '-o', this.#responder, new URL('../fixtures/fastcgi/responder.c', import.meta.url).pathname, '-lfcgi'])
    }
    return this.#responder
  }

  async libfcgi(path: string): Promise<ChildProcess> {
    const child = this.start(this.responder(), [path])
    await listening({ path })
    return child
  }

  async perl(path: string): Promise<ChildProcess> {
    const child = this.start('perl', [new URL('../fixtures/fastcgi/responder.pl', import.meta.url).pathname, path])
    await listening({ path })
    return child
  }

  /** `-n`: it becomes the program, which has its socket as descriptor 0. */
  async spawnFcgi(path: string): Promise<ChildProcess> {
    const child = this.start('spawn-fcgi', ['-n', '-s', path, '--', this.responder()])
    await listening({ path })
    return child
  }
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000)
  await exited
  clearTimeout(timer)
}

/** Resolves when somebody listens there. */
export async function listening(address: Address): Promise<void> {
  for (const deadline = performance.now() + 10_000; ;) {
    const there = await new Promise((resolve) => {
      const socket = connect(address)
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (there === true) return
    if (performance.now() > deadline) throw new Error(`nobody listens at ${JSON.stringify(address)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

export function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 255
  return bytes
}
