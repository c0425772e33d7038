// The command line of `viaduct spawn`: spawn-fcgi's, word for word. Pure.

import { UsageError } from './arguments.ts'
import type { CommandHelp } from './help.ts'

export interface SpawnOptions {
  /** The program and its arguments. */
  readonly program: readonly [string, ...string[]]
  /** `-f`: the first of them is a command line for the shell. */
  readonly shell: boolean
  readonly listen: { readonly path: string } | { readonly host: string; readonly port: number }
  readonly folder: string | undefined
  readonly mode: number | undefined
  /** PHP_FCGI_CHILDREN. */
  readonly children: string | undefined
  readonly forks: number
  readonly backlog: number
  readonly pidFile: string | undefined
  readonly stay: boolean
  readonly root: string | undefined
  readonly user: string | undefined
  readonly group: string | undefined
  readonly socketUser: string | undefined
  readonly socketGroup: string | undefined
}

export const SPAWN: CommandHelp = {
  name: 'spawn',
  usage: '[options] -- program [arguments]',
  summary: 'Be spawn-fcgi: bind a socket and start a FastCGI program on it; with -y, manage a pool of it',
  about: [
    'Takes the options of spawn-fcgi (-f -d -a -p -s -M -C -F -b -P -n -c -S -u -g -U -G).',
    'With -y FILE it stays and manages a pool of the program as viaduct fpm does of PHP: FILE is a configuration of php-fpm, whose',
    'modes, limits, logs and status page hold for any FastCGI program; the options are then those of viaduct fpm.',
  ].join('\n'),
  options: {},
  examples: [
    ['viaduct spawn -s /run/app.sock -u www-data -P /run/app.pid -- /usr/bin/app', 'One process on a unix socket'],
    ['viaduct spawn -a 127.0.0.1 -p 9000 -F 4 -- app --fast', 'Four processes on one port'],
    ['viaduct spawn -F -y app.conf -- app', 'A managed pool, in the foreground'],
  ],
}

const VALUED = 'fdapsMCFbPcugUG'
const SWITCHES = 'nS'

/** By letter: those that take a value, and those that take none. */
export const SPAWN_LETTERS: { readonly valued: string; readonly switches: string } = { valued: VALUED, switches: SWITCHES }

/** Throws UsageError. */
export function parseSpawn(words: readonly string[]): SpawnOptions {
  const values = new Map<string, string>()
  let rest: readonly string[] = []
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    if (word === '--' || !word.startsWith('-') || word === '-') {
      rest = words.slice(word === '--' ? i + 1 : i)
      break
    }
    for (let at = 1; at < word.length; at++) {
      const letter = word[at]!
      if (SWITCHES.includes(letter)) values.set(letter, '')
      else if (!VALUED.includes(letter)) throw new UsageError(`unknown option -${letter}`)
      else {
        const value = at + 1 < word.length ? word.slice(at + 1) : words[++i]
        if (value === undefined) throw new UsageError(`-${letter} needs a value`)
        values.set(letter, value)
        break
      }
    }
  }
  const shell = rest.length === 0 && values.has('f')
  const program = shell ? [values.get('f')!] : rest
  if (program.length === 0) throw new UsageError('no FastCGI application given; name one after --')
  return { program: program as [string, ...string[]], shell, listen: listenOf(values), ...others(values) }
}

function listenOf(values: ReadonlyMap<string, string>): SpawnOptions['listen'] {
  const path = values.get('s')
  const port = values.get('p')
  if (path !== undefined && port !== undefined) throw new UsageError('either a Unix domain socket or a TCP port, but not both')
  if (path === undefined && port === undefined) throw new UsageError('no socket given; use either -p or -s')
  if (path !== undefined) return { path }
  return { host: values.get('a') ?? '0.0.0.0', port: number(port!, '-p', 1, 65_535) }
}

function others(values: ReadonlyMap<string, string>): Omit<SpawnOptions, 'program' | 'shell' | 'listen'> {
  const mode = values.get('M')
  if (mode !== undefined && !/^[0-7]{1,4}$/.test(mode)) throw new UsageError(`-M: expected a mode such as 0660, got "${mode}"`)
  const backlog = values.get('b')
  return {
    folder: values.get('d'),
    mode: mode === undefined ? undefined : Number.parseInt(mode, 8),
    children: values.get('C'),
    forks: number(values.get('F') ?? '1', '-F', 1, 1000),
    backlog: backlog === undefined ? 1024 : number(backlog, '-b', 1, 65_535),
    pidFile: values.get('P'),
    stay: values.has('n'),
    root: values.get('c'),
    user: values.get('u'),
    group: values.get('g'),
    socketUser: values.get('U'),
    socketGroup: values.get('G'),
  }
}

function number(text: string, option: string, least: number, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN
  if (value >= least && value <= most) return value
  throw new UsageError(`${option}: expected a number from ${least} to ${most}, got "${text}"`)
}
