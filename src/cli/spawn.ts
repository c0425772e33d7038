// `viaduct spawn`: spawn-fcgi. Binds a socket, starts a FastCGI program with it as standard input (FastCGI 1.0, 2.2), and is gone.

import { spawn as start } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { UsageError } from './arguments.ts'
import { fpm } from './fpm.ts'
import { describe } from '../core/index.ts'
import { bindListening, identify } from '../fpm/index.ts'
import { findProgram } from '../process/index.ts'
import { parseSpawn } from './spawn-options.ts'
import type { SpawnOptions } from './spawn-options.ts'

/** Milliseconds in which a program that cannot start has ended: spawn-fcgi waits as long. */
const PATIENCE = 100

/** With `-y` the words before `--` are those of `viaduct fpm`. */
export async function spawn(words: readonly string[], earlySignals: () => NodeJS.Signals[]): Promise<number> {
  const end = words.indexOf('--')
  const own = end === -1 ? words : words.slice(0, end)
  if (own.some((word) => word.startsWith('-y') || word.startsWith('--fpm-config'))) {
    const program = end === -1 ? [] : words.slice(end + 1)
    if (program.length > 0) return fpm(own, earlySignals, program as unknown as [string, ...string[]])
    process.stderr.write('viaduct: spawn: no FastCGI application given; name one after --\n')
    return 2
  }
  earlySignals()
  try {
    return await spawnOnce(parseSpawn(words))
  } catch (error) {
    process.stderr.write(error instanceof UsageError ? `spawn-fcgi: ${error.message}\n` : `spawn-fcgi: ${describe(error)}\n`)
    return error instanceof UsageError ? 2 : 1
  }
}

async function spawnOnce(options: SpawnOptions): Promise<number> {
  const [file, ...args] = command(options)
  const socket = bindListening(options)
  const env = { ...process.env, ...(options.children !== undefined && { PHP_FCGI_CHILDREN: options.children }) }
  const children: ChildProcess[] = []
  try {
    for (let i = 0; i < (options.stay ? 1 : options.forks); i++) {
      // Without -n nobody hears what it says, as of a daemon's.
      const stdio = options.stay ? ([socket.fd, 'inherit', 'inherit'] as const) : ([socket.fd, 'ignore', 'ignore'] as const)
      children.push(start(file, args, { cwd: options.folder, env, stdio: [...stdio], detached: !options.stay }))
    }
  } finally {
    socket.close()
  }
  return options.stay ? remain(children[0]!) : leave(children, options.pidFile)
}

/** What Node cannot set is set by small tools that replace themselves with the next one. */
function command({ program, shell, root, user, group }: SpawnOptions): [string, ...string[]] {
  const words = shell ? ['/bin/sh', '-c', `exec ${program[0]}`] : [...program]
  const chain: string[] = []
  if (user !== undefined || group !== undefined || root !== undefined) {
    if (process.geteuid?.() !== 0) throw new Error('-u, -g and -c are for root')
    const who = user === undefined ? undefined : identify('spawn', user, group)
    const uid = who?.uid ?? 0
    const gid = who?.gid ?? (group === undefined ? 0 : identify('spawn', '0', group).gid)
    if (root !== undefined) chain.push('chroot', `--userspec=${uid}:${gid}`, `--groups=${(who?.groups ?? []).join(',')}`, root)
    else chain.push('setpriv', `--reuid=${uid}`, `--regid=${gid}`, who?.name === undefined ? '--clear-groups' : '--init-groups')
  }
  const all = [...chain, ...words] as [string, ...string[]]
  const path = findProgram(all[0], { path: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` })
  if (path === undefined) throw new Error(`there is no program ${all[0]} that we may execute`)
  if (chain.length === 0) all[0] = path
  return all
}

/** Each has shown that it starts, or it was for nothing. */
async function leave(children: readonly ChildProcess[], pidFile: string | undefined): Promise<number> {
  const fates = await Promise.all(
    children.map(
      (child) =>
        new Promise<string | number>((resolve) => {
          child.once('error', (error) => resolve(describe(error)))
          child.once('exit', (code, signal) => resolve(signal === null ? `child exited with: ${code}` : `child signaled: ${signal}`))
          setTimeout(() => resolve(child.pid!), PATIENCE)
        }),
    ),
  )
  const pids = fates.filter((fate) => typeof fate === 'number')
  for (const fate of fates) {
    if (typeof fate === 'number') process.stdout.write(`spawn-fcgi: child spawned successfully: PID: ${fate}\n`)
    else process.stderr.write(`spawn-fcgi: ${fate}\n`)
  }
  if (pidFile !== undefined && pids.length > 0) writeFileSync(pidFile, pids.join('\n'), { mode: 0o644 })
  for (const child of children) child.unref()
  return pids.length === fates.length ? 0 : 1
}

/** -n: Node cannot become the program, so it stands beside it: signals go on to it, and its end is ours. */
function remain(child: ChildProcess): Promise<number> {
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) process.on(signal, pass)
  return new Promise((resolve) => {
    child.once('error', (error) => {
      process.stderr.write(`spawn-fcgi: ${describe(error)}\n`)
      resolve(1)
    })
    child.once('exit', (code, signal) => resolve(signal === null ? (code ?? 1) : 1))
  })
}
