// The same words and files to Debian's php-fpm and to ours: what both print, log and exit with, made comparable.

import { execFile } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { MainLog, face, systemHost } from '../../src/fpm/index.ts'
import { which } from '../peers.ts'

export const PHP_FPM = 'php-fpm8.2'

export interface Said {
  readonly exit: number
  readonly stdout: string
  readonly stderr: readonly string[]
  /** The file of `error_log`. */
  readonly log: readonly string[]
}

/** Runs the real one. `folder/err.log` is taken for its log, and removed. */
export function askReal(words: readonly string[], folder: string, env: Readonly<Record<string, string>> = {}): Promise<Said> {
  return new Promise((resolve) => {
    execFile(which(PHP_FPM)!, words, { env: { ...process.env, ...env }, timeout: 20_000 }, (error, stdout, stderr) => {
      const exit = error === null ? 0 : Number(error.code)
      resolve({ exit, stdout, stderr: comparable(stderr), log: takeLog(folder) })
    })
  })
}

/** Runs ours, in this process. */
export async function askOurs(words: readonly string[], folder: string, env: Readonly<Record<string, string>> = {}): Promise<Said> {
  let stdout = ''
  let stderr = ''
  const log = new MainLog((text) => (stderr += typeof text === 'string' ? text : Buffer.from(text).toString()))
  const faced = await face({
    program: PHP_FPM,
    words,
    system: { ...systemHost(), variable: (name) => env[name] ?? process.env[name] },
    log,
    phpCgi: () => which('php-cgi8.2') ?? 'php-cgi',
    defaultFile: '/etc/php/8.2/fpm/php-fpm.conf',
    terminal: false,
    print: (text) => (stdout += text),
    printError: (text) => (stderr += text),
  })
  log.close()
  if (!('exit' in faced)) throw new Error('the configuration would have been started')
  return { exit: faced.exit, stdout, stderr: comparable(stderr), log: takeLog(folder) }
}

/** Lines without what differs from run to run: times, processes, and the lines of C sources. */
function comparable(text: string): string[] {
  return text.split('\n').map((line) =>
    line
      .replace(/^\[\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d\]/, '[TIME]')
      .replace(/^\[\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d\.\d{6}\]/, '[MICROTIME]')
      .replace(/pid \d+, (\w+)\(\), line \d+:/, 'pid N, $1(), line N:'),
  )
}

function takeLog(folder: string): string[] {
  const file = join(folder, 'err.log')
  try {
    return comparable(readFileSync(file, 'utf8'))
  } catch {
    return ['(no log)']
  } finally {
    rmSync(file, { force: true })
  }
}

/** What differs, a line each: short enough to be read in a report of a hundred lines that are the same. */
export function differences(ours: Said, real: Said): string[] {
  const found: string[] = []
  if (ours.exit !== real.exit) found.push(`exit: ours ${ours.exit}, real ${real.exit}`)
  if (ours.stdout !== real.stdout) found.push(`stdout: ours ${JSON.stringify(ours.stdout)}, real ${JSON.stringify(real.stdout)}`)
  for (const where of ['stderr', 'log'] as const) {
    const [a, b] = [ours[where], real[where]]
    for (let i = 0; i < Math.max(a.length, b.length); i++) {
      if (a[i] !== b[i]) found.push(`${where} ${i}: ours ${JSON.stringify(a[i])}, real ${JSON.stringify(b[i])}`)
    }
  }
  return found.slice(0, 8)
}
