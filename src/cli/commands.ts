// Which command it is, and the answers that are the same for all of them: help, version, mistakes.

import { VERSION, nearest } from '../core/index.ts'
import { UsageError, parse } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { CAPTURE, SHOW } from './capture-options.ts'
import { coloursOf } from './colours.ts'
import { COMPLETION } from './completion-options.ts'
import type { Completable } from './completion.ts'
import { FPM } from './fpm-options.ts'
import { commandHelp, generalHelp } from './help.ts'
import type { CommandHelp } from './help.ts'
import { CHECK, EXPLAIN } from './inspect-options.ts'
import { REPLAY } from './replay-options.ts'
import { REQUEST } from './request-options.ts'
import { SERVE } from './serve-options.ts'
import { SPAWN } from './spawn-options.ts'
import { STATUS } from './status-options.ts'
import { runTool } from './tool.ts'
import { VALUES } from './values-options.ts'

interface Command extends CommandHelp {
  run(parsed: Parsed, earlySignals: () => NodeJS.Signals[]): Promise<number>
}

/** Looks at something, prints it and ends. */
interface Tool extends CommandHelp {
  look(parsed: Parsed): Promise<number>
}

/** Commands whose words mean what they mean to the program they stand in for: they read them themselves. */
interface Guise extends CommandHelp {
  read(words: readonly string[], earlySignals: () => NodeJS.Signals[]): Promise<number>
}

// Loaded when they are asked for: what they need would only make the supervisor larger.
const commands: readonly ((Command | Tool | Guise) & Completable)[] = [
  { ...SERVE, run: async (parsed, signals) => (await import('./serve.ts')).serve(parsed, signals) },
  { ...CHECK, look: async (parsed) => (await import('./check.ts')).check(parsed) },
  { ...EXPLAIN, look: async (parsed) => (await import('./explain.ts')).explain(parsed) },
  { ...STATUS, look: async (parsed) => (await import('./status.ts')).status(parsed) },
  { ...REQUEST, look: async (parsed) => (await import('./request.ts')).request(parsed) },
  { ...VALUES, look: async (parsed) => (await import('./values.ts')).values(parsed) },
  { ...CAPTURE, run: async (parsed, signals) => (await import('./capture.ts')).capture(parsed, signals) },
  { ...SHOW, look: async (parsed) => (await import('./capture-show.ts')).show(parsed) },
  { ...REPLAY, look: async (parsed) => (await import('./replay.ts')).replay(parsed) },
  {
    ...FPM,
    completed: async () => (await import('./completion-guises.ts')).fpmOptions(),
    read: async (words, signals) => (await import('./fpm.ts')).fpm(words, signals),
  },
  {
    ...SPAWN,
    completed: async () => (await import('./completion-guises.ts')).spawnOptions(),
    read: async (words, signals) => (await import('./spawn.ts')).spawn(words, signals),
  },
  { ...COMPLETION, look: async (parsed) => (await import('./completion.ts')).completion(parsed, commands) },
]

/** Runs the command line and returns the exit code: 0, 1 for what could not be done, 2 for a mistake in the command line. */
export async function run(args: readonly string[], earlySignals: () => NodeJS.Signals[]): Promise<number> {
  const [first = '', ...rest] = args
  if (first === '-v' || first === '--version') return say(VERSION)
  if (first === '-h' || first === '--help' || first === 'help') return help(first === 'help' ? rest[0] : undefined)
  if (first === '') return complain(`a command is missing; try: viaduct serve`)
  const command = commands.find((each) => each.name === first)
  if (command === undefined) return complain(unknown(first))
  if ('read' in command) return command.read(rest, earlySignals)
  if (rest.includes('--help') || rest.includes('-h')) return say(commandHelp(command, coloursOf(process.stdout)))
  if (rest.includes('--version') || rest.includes('-v')) return say(VERSION)
  try {
    const parsed = parse(rest, command.options)
    return await ('look' in command ? runTool(earlySignals, () => command.look(parsed)) : command.run(parsed, earlySignals))
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return complain(`${command.name}: ${error.message}`, `viaduct ${command.name} --help`)
  }
}

function help(topic: string | undefined): number {
  const c = coloursOf(process.stdout)
  if (topic === undefined) return say(generalHelp(commands, c))
  const command = commands.find((each) => each.name === topic)
  return command === undefined ? complain(unknown(topic)) : say(commandHelp(command, c))
}

function unknown(word: string): string {
  if (word.startsWith('-')) return `unknown option ${word}; options follow the command: viaduct serve ${word}`
  if (/[./]/.test(word)) return `unknown command "${word}"; to serve a folder: viaduct serve ${word}`
  const hint = nearest(
    word,
    commands.map((each) => each.name),
  )
  return `unknown command "${word}"${hint === undefined ? '' : `; did you mean "${hint}"?`}`
}

function say(text: string): number {
  process.stdout.write(`${text}\n`)
  return 0
}

function complain(message: string, more: string = 'viaduct --help'): number {
  process.stderr.write(`viaduct: ${message}\nMore: ${more}\n`)
  return 2
}
