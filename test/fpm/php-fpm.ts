// A running php-fpm of Debian's, and questions to it in bare FastCGI.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { which } from '../peers.ts'
import { BEGIN_REQUEST, END_REQUEST, STDERR, STDIN, STDOUT, pair, record } from '../wire.ts'
import { PHP_FPM } from './face.ts'

export interface Answer {
  /** The head of the CGI response, and its body. */
  readonly head: string
  readonly body: Buffer
  readonly stderr: string
}

const PARAMS = 4

/** One request to an application that closes the connection when it is done. */
export async function ask(path: string, params: Readonly<Record<string, string>>, body = ''): Promise<Answer> {
  const socket = connect(path)
  const pairs = Object.entries({ REQUEST_METHOD: 'GET', ...params }).map(([name, value]) => pair(name, value))
  socket.write(
    Buffer.concat([
      record(BEGIN_REQUEST, 1, Buffer.from([0, 1, 0, 0, 0, 0, 0, 0])),
      record(PARAMS, 1, Buffer.concat(pairs)),
      record(PARAMS, 1),
      ...(body === '' ? [] : [record(STDIN, 1, body)]),
      record(STDIN, 1),
    ]),
  )
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  const wire = Buffer.concat(chunks)
  const streams = new Map<number, Buffer[]>([
    [STDOUT, []],
    [STDERR, []],
  ])
  for (let at = 0; at < wire.length;) {
    const [type, length, padding] = [wire[at + 1]!, wire.readUInt16BE(at + 4), wire[at + 6]!]
    if (type !== END_REQUEST) streams.get(type)?.push(wire.subarray(at + 8, at + 8 + length))
    at += 8 + length + padding
  }
  const out = Buffer.concat(streams.get(STDOUT)!)
  const end = out.indexOf('\r\n\r\n')
  return {
    head: out.subarray(0, end).toString('latin1'),
    body: out.subarray(end + 4),
    stderr: Buffer.concat(streams.get(STDERR)!).toString(),
  }
}

export interface Real extends AsyncDisposable {
  readonly folder: string
  readonly pid: number
  /** The text of a file in its folder. */
  file(name: string): string
}

/** Starts one. DIR in its configuration is its folder, which its workers may read. Its error_log is `err.log`. */
export async function startReal(config: string, files: Readonly<Record<string, string>> = {}): Promise<Real> {
  const folder = mkdtempSync(join(tmpdir(), 'fpm-'))
  chmodSync(folder, 0o755)
  const main = join(folder, 'main.conf')
  writeFileSync(main, config.replaceAll('DIR', folder))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  const child = spawn(which(PHP_FPM)!, ['-n', '-d', 'expose_php=0', '-F', '-y', main], { stdio: ['ignore', 'ignore', 'ignore'] })
  const exited = once(child, 'exit')
  const file = (name: string): string => readFileSync(join(folder, name), 'utf8')
  try {
    await poll(() => file('err.log').includes('ready to handle connections'))
  } catch (error) {
    // Killed, it would leave its children behind.
    child.kill('SIGTERM')
    await exited
    throw error
  }
  return {
    folder,
    pid: child.pid!,
    file,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await exited
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Waits until it is so. */
export async function poll(condition: () => boolean): Promise<void> {
  const until = performance.now() + 10_000
  for (;;) {
    try {
      if (condition()) return
    } catch {
      // A file that is not there yet.
    }
    if (performance.now() > until) throw new Error(`not so after 10 s: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
