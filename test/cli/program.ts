// Real processes for tests: started, listened to, and gone with everything they started when the test is over.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
export const MAIN: string = `${root}dist/cli/main.js`
export const SUPERVISOR: string = `${root}test/cli/fixtures/supervisor.mjs`

/** Polls until `check` gives something else than undefined and false. */
export async function until<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  deadline = 15_000,
): Promise<T> {
  const end = performance.now() + deadline
  for (;;) {
    const found = await check()
    if (found !== undefined && found !== false) return found
    if (performance.now() > end) throw new Error(`waited ${deadline} ms for: ${what}`)
    await new Promise((done) => setTimeout(done, 10))
  }
}

export class Program {
  readonly child: ChildProcess
  readonly exited: Promise<{ code: number | null; signal: string | null }>
  out = ''
  err = ''
  readonly #seen = new Set<number>()

  constructor(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd: string = root) {
    // What the machine of the tests has set must not decide what they see.
    const { HOST: _host, PORT: _port, ...inherited } = process.env
    this.child = spawn(process.execPath, args, { cwd, env: { ...inherited, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    this.child.stdout!.on('data', (chunk: Buffer) => (this.out += chunk.toString()))
    this.child.stderr!.on('data', (chunk: Buffer) => (this.err += chunk.toString()))
    this.exited = new Promise((done) => this.child.on('close', (code, signal) => done({ code, signal })))
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Waits for a line on either output that matches, and returns the match. */
  said(pattern: RegExp): Promise<RegExpExecArray> {
    return until(`${pattern} in:\n${this.out}\n${this.err}`, () => pattern.exec(this.out) ?? pattern.exec(this.err) ?? undefined).catch(
      () => {
        throw new Error(`never said ${pattern}; it said:\n${this.out}\n${this.err}`)
      },
    )
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal)
  }

  /** Every process below this one that lives; remembered, so that those who leave the tree are still ended. */
  family(): number[] {
    const found = descendants(this.pid)
    for (const pid of found) this.#seen.add(pid)
    return found
  }

  /** The processes of `family` that are not gone. */
  survivors(): number[] {
    return [...this.#seen].filter(alive)
  }

  /** Ends everything, whatever state it is in. */
  async end(): Promise<void> {
    this.family()
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL')
    // Before its end is waited for: they may hold its output open.
    for (const pid of this.survivors()) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It went by itself in the meantime.
      }
    }
    await this.exited
  }
}

/** Alive, and not a zombie that nobody has waited for. */
export function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

function descendants(pid: number): number[] {
  const children: number[] = []
  try {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      children.push(...readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number))
    }
  } catch {
    // Gone while we looked.
  }
  return children.flatMap((child) => [child, ...descendants(child)])
}

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** One request, by https whatever the certificate; rejects when the connection fails before the answer is whole. */
export function ask(where: string | { readonly socketPath: string }, path: string, agent?: http.Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options: https.RequestOptions = { path, agent: agent ?? false, rejectUnauthorized: false }
    const target: http.RequestOptions = typeof where === 'string' ? { host: new URL(where).hostname, port: new URL(where).port } : where
    const { get } = isSecure(where) ? https : http
    const request = get({ ...options, ...target }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }))
      response.on('error', reject)
      response.on('aborted', () => reject(new Error('the answer was cut')))
    })
    request.on('error', (error) => reject(Object.assign(error, { reused: request.reusedSocket })))
  })
}

function isSecure(where: string | { readonly socketPath: string }): boolean {
  return typeof where === 'string' && where.startsWith('https:')
}

/** The answer, asked for once more if a kept connection had been closed meanwhile: every client does so (RFC 9112, 9.3.1). */
async function askAgain(where: string, path: string, agent: http.Agent | undefined): Promise<Answer> {
  try {
    return await ask(where, path, agent)
  } catch (error) {
    if ((error as { reused?: boolean }).reused !== true) throw error
    return ask(where, path, agent)
  }
}

/** Clients that ask one thing after the other: some on a connection they keep, some on a new one each time. */
export class Clients {
  answered = 0
  readonly failures: unknown[] = []
  readonly bodies: Set<string> = new Set()
  #stopped = false
  readonly #agents: http.Agent[] = []
  readonly #running: Promise<void>[]

  constructor(where: string, path: string, count: { kept: number; fresh: number }) {
    const kept = Array.from({ length: count.kept }, () => {
      const agent = new (isSecure(where) ? https : http).Agent({ keepAlive: true, maxSockets: 1 })
      this.#agents.push(agent)
      return this.#run(where, path, agent)
    })
    const fresh = Array.from({ length: count.fresh }, () => this.#run(where, path, undefined))
    this.#running = [...kept, ...fresh]
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
    for (const agent of this.#agents) agent.destroy()
  }

  async #run(where: string, path: string, agent: http.Agent | undefined): Promise<void> {
    while (!this.#stopped) {
      try {
        const answer = await askAgain(where, path, agent)
        if (answer.status === 200) this.answered++
        else this.failures.push(answer)
        this.bodies.add(answer.body)
      } catch (error) {
        this.failures.push(error)
        // A server that is gone must not make this a busy loop.
        await new Promise((done) => setTimeout(done, 20))
      }
    }
  }
}
