// php-fpm's command line, as PHP's own getopt takes it apart: letters may stand together, values follow with `=`, a space or nothing.

import type { Invocation } from './config/invocation.ts'

export const EXIT_OK = 0
/** A mistake in the command line, and something in a configuration that cannot be: sysexits(3). */
export const EXIT_USAGE = 64
export const EXIT_SOFTWARE = 70
export const EXIT_CONFIG = 78

interface Option {
  readonly letter: string
  readonly name: string
  readonly value?: true
}

/** All that there are; what they are for is told by `usage`. */
export const OPTIONS: readonly Option[] = [
  { letter: 'c', name: 'php-ini', value: true },
  { letter: 'd', name: 'define', value: true },
  { letter: 'e', name: 'profile-info' },
  { letter: 'h', name: 'help' },
  { letter: 'i', name: 'info' },
  { letter: 'm', name: 'modules' },
  { letter: 'n', name: 'no-php-ini' },
  { letter: '?', name: 'usage' },
  { letter: 'v', name: 'version' },
  { letter: 't', name: 'test' },
  { letter: 'p', name: 'prefix', value: true },
  { letter: 'g', name: 'pid', value: true },
  { letter: 'y', name: 'fpm-config', value: true },
  { letter: 'R', name: 'allow-to-run-as-root' },
  { letter: 'D', name: 'daemonize' },
  { letter: 'F', name: 'nodaemonize' },
  { letter: 'O', name: 'force-stderr' },
]

/** What the words after the program's name ask for. The options that only show something count where they stand: what follows is not looked at. */
export function parseCommandLine(words: readonly string[]): Invocation {
  const invocation: { -readonly [K in keyof Invocation]: Invocation[K] } & { defines: string[] } = {
    action: 'run',
    config: undefined,
    prefix: undefined,
    pid: undefined,
    phpIni: undefined,
    noPhpIni: false,
    defines: [],
    extendedInfo: false,
    test: 0,
    daemonize: undefined,
    forceStderr: false,
    allowRoot: false,
  }
  const mistake = (): Invocation => ({ ...invocation, action: 'mistake' })
  let at = 0
  while (at < words.length) {
    const taken = take(words, at)
    if (taken === 'mistake') return mistake()
    if (taken === 'rest') break
    at = taken.next
    for (const { letter, value } of taken.options) {
      const shown = SHOWS[letter]
      if (shown !== undefined) return { ...invocation, action: shown }
      switch (letter) {
        case 'c':
          invocation.phpIni = value
          break
        case 'd':
          invocation.defines.push(value)
          break
        case 'e':
          invocation.extendedInfo = true
          break
        case 'i':
          // Everything after it is still read.
          invocation.action = 'information'
          break
        case 'n':
          invocation.noPhpIni = true
          break
        case 't':
          invocation.test++
          break
        case 'p':
          invocation.prefix = value
          break
        case 'g':
          invocation.pid = value
          break
        case 'y':
          invocation.config = value
          break
        case 'R':
          invocation.allowRoot = true
          break
        case 'D':
          invocation.daemonize = true
          break
        case 'F':
          invocation.daemonize = false
          break
        case 'O':
          invocation.forceStderr = true
          break
      }
    }
    if (taken.mistake) return mistake()
  }
  if (invocation.action === 'information') return invocation
  return at < words.length && words[at] !== '--' ? mistake() : words[at] === '--' && at + 1 < words.length ? mistake() : invocation
}

const SHOWS: Readonly<Record<string, Invocation['action']>> = { h: 'help', '?': 'help', m: 'modules', v: 'version' }

interface Taken {
  readonly options: readonly { readonly letter: string; readonly value: string }[]
  /** After those, there is one that is none. */
  readonly mistake: boolean
  /** The next word. */
  readonly next: number
}

/** The options of one word, with the word after it when that is a value; `rest` when it is none. */
function take(words: readonly string[], at: number): Taken | 'mistake' | 'rest' {
  const word = words[at]!
  if (!word.startsWith('-') || word === '-' || word === '--') return 'rest'
  if (word.startsWith('--')) {
    const equals = word.indexOf('=', 2)
    const name = word.slice(2, equals < 0 ? undefined : equals)
    const option = OPTIONS.find((each) => each.name === name)
    if (option === undefined) return 'mistake'
    return valued(option, equals < 0 ? '' : word.slice(equals), words, at, [])
  }
  const options: { letter: string; value: string }[] = []
  for (let i = 1; i < word.length; i++) {
    const option = OPTIONS.find((each) => each.letter === word[i])
    if (option === undefined) return { options, mistake: true, next: at }
    if (option.value === true) return valued(option, word.slice(i + 1), words, at, options)
    options.push({ letter: option.letter, value: '' })
  }
  return { options, mistake: false, next: at + 1 }
}

function valued(option: Option, attached: string, words: readonly string[], at: number, before: Taken['options']): Taken {
  const taken = (value: string, next: number): Taken => ({ options: [...before, { letter: option.letter, value }], mistake: false, next })
  if (option.value !== true) return taken('', at + 1)
  if (attached !== '') return taken(attached.startsWith('=') ? attached.slice(1) : attached, at + 1)
  const value = words[at + 1]
  return value === undefined ? { options: before, mistake: true, next: at } : taken(value, at + 2)
}

/** `-h`, and what is shown after a mistake. `program` is the name it was started by. */
export function usage(program: string, prefix: string): string {
  return `Usage: ${program} [-n] [-e] [-h] [-i] [-m] [-v] [-t] [-p <prefix>] [-g <pid>] [-c <file>] [-d foo[=bar]] [-y <file>] [-D] [-F [-O]]
  -c <path>|<file> Look for php.ini file in this directory
  -n               No php.ini file will be used
  -d foo[=bar]     Define INI entry foo with value 'bar'
  -e               Generate extended information for debugger/profiler
  -h               This help
  -i               PHP information
  -m               Show compiled in modules
  -v               Version number
  -p, --prefix <dir>
                   Specify alternative prefix path to FastCGI process manager (default: ${prefix}).
  -g, --pid <file>
                   Specify the PID file location.
  -y, --fpm-config <file>
                   Specify alternative path to FastCGI process manager config file.
  -t, --test       Test FPM configuration and exit
  -D, --daemonize  force to run in background, and ignore daemonize option from config file
  -F, --nodaemonize
                   force to stay in foreground, and ignore daemonize option from config file
  -O, --force-stderr
                   force output to stderr in nodaemonize even if stderr is not a TTY
  -R, --allow-to-run-as-root
                   Allow pool to run as root (disabled by default)
`
}
