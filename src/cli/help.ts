// The help texts: what a command is for, its options, and examples to start from.

import { VERSION } from '../core/index.ts'
import type { OptionTable } from './arguments.ts'
import type { Colours } from './colours.ts'

export interface CommandHelp {
  readonly name: string
  /** After the name: `[folder] [options]`. */
  readonly usage: string
  /** One line, for the list of commands. */
  readonly summary: string
  /** Paragraphs. */
  readonly about: string
  readonly options: OptionTable
  /** What its first word is one of, where it is no file, folder or address. */
  readonly words?: readonly string[]
  /** Command line and what it does. */
  readonly examples: readonly (readonly [string, string])[]
  /** Name and meaning. */
  readonly environment?: readonly (readonly [string, string])[]
  readonly signals?: readonly (readonly [string, string])[]
}

/** `viaduct --help`. */
export function generalHelp(commands: readonly CommandHelp[], c: Colours): string {
  return [
    `${c.bold('Viaduct')} ${VERSION}: every bridge between the web and a program`,
    section('Usage', [['viaduct <command> [options]', '']], c),
    section(
      'Commands',
      commands.map((each) => [each.name, each.summary]),
      c,
    ),
    section(
      'Options',
      [
        ['-h, --help', 'This help; after a command, the help of that command'],
        ['-v, --version', 'The version'],
      ],
      c,
    ),
    section(
      'Examples',
      [
        ['viaduct serve', 'Serve this folder at http://127.0.0.1:8080/'],
        ['viaduct serve ./site --listen 3000', 'Another folder, another port'],
        ['viaduct serve --help', 'Everything that serve can do'],
      ],
      c,
    ),
  ].join('\n\n')
}

/** `viaduct <command> --help`. */
export function commandHelp(command: CommandHelp, c: Colours): string {
  const sections = [
    `${c.bold(`viaduct ${command.name}`)} ${command.usage}`,
    command.about,
    section('Options', Object.entries(command.options).map(optionRow), c),
    section('Examples', command.examples, c),
  ]
  if (command.environment !== undefined) sections.push(section('Environment', command.environment, c))
  if (command.signals !== undefined) sections.push(section('Signals', command.signals, c))
  return sections.join('\n\n')
}

function optionRow([name, spec]: readonly [string, OptionTable[string]]): readonly [string, string] {
  const short = spec.short === undefined ? '    ' : `-${spec.short}, `
  return [`${short}--${name}${spec.value === undefined ? '' : ` ${spec.value}`}`, spec.help]
}

function section(title: string, rows: readonly (readonly [string, string])[], c: Colours): string {
  const width = Math.max(...rows.map(([left]) => left.length))
  const lines = rows.flatMap(([left, right]) =>
    right.split('\n').map((line, i) => `  ${(i === 0 ? left : '').padEnd(width)}  ${line}`.trimEnd()),
  )
  return `${c.bold(title)}\n${lines.join('\n')}`
}
