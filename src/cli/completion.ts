// `viaduct completion`: what a shell has to know of all commands, from the tables that make the help, as a script for that shell.
//
// Scripts are made of texts of our own, but these hold quotes, brackets and colons, each of which means something to some shell.

import { UsageError } from './arguments.ts'
import type { OptionTable, Parsed } from './arguments.ts'
import { SHELLS } from './completion-options.ts'
import type { CommandHelp } from './help.ts'

/** An option as a shell sees it. */
export interface CompletedOption {
  /** Each with its dashes. */
  readonly names: readonly string[]
  readonly help: string
  /** What follows it. Default: nothing. */
  readonly value?: string | undefined
  /** It is one of these. */
  readonly choices?: readonly string[] | undefined
}

/** A command as a shell sees it. */
export interface CompletedCommand {
  readonly name: string
  readonly summary: string
  /** What may follow in place of files. */
  readonly words?: readonly string[] | undefined
  readonly options: readonly CompletedOption[]
}

/** `options`: of a command whose words mean what they mean to the program that it stands in for. */
export type Completable = CommandHelp & { readonly completed?: () => Promise<readonly CompletedOption[]> }

/** Prints the script. Exit code 0. */
export async function completion({ rest }: Parsed, commands: readonly Completable[]): Promise<number> {
  const [given, extra] = rest
  const shell = SHELLS.find((each) => each === given)
  if (shell === undefined || extra !== undefined) throw new UsageError(`expected ${SHELLS.join(', ')}, got "${rest.join(' ')}"`)
  const all = await Promise.all(
    commands.map(async ({ name, summary, words, options, completed }): Promise<CompletedCommand> => {
      return { name, summary, words, options: (await completed?.()) ?? optionsOf(options) }
    }),
  )
  const names = commands.map(({ name }) => name)
  process.stdout.write({ bash, zsh, fish }[shell]([...all, { name: 'help', summary: 'The help of a command', words: names, options: [] }]))
  return 0
}

function optionsOf(table: OptionTable): CompletedOption[] {
  return Object.entries(table).map(([name, { short, help, value, choices }]) => {
    return { names: [...(short === undefined ? [] : [`-${short}`]), `--${name}`], help, value, choices }
  })
}

const GENERAL: readonly CompletedOption[] = [
  { names: ['-h', '--help'], help: 'The help' },
  { names: ['-v', '--version'], help: 'The version' },
]

/** What stands for a file in the help. */
const FILES: ReadonlySet<string> = new Set(['FILE', 'FOLDER'])

function takesFile({ value, choices }: CompletedOption): boolean {
  return choices === undefined && value !== undefined && FILES.has(value)
}

/** In single quotes, as sh and zsh have them. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}

// ---- bash: an empty answer means files (`-o default`), but for a value that is none.

function bash(commands: readonly CompletedCommand[]): string {
  const cases = commands.map(({ name, words, options }) => {
    const valued = options.filter(({ value }) => value !== undefined)
    const free = valued.filter((each) => each.choices === undefined && !takesFile(each)).flatMap((each) => each.names)
    const lines = [`    ${name})`]
    lines.push(`      options=${quoted(options.flatMap((each) => each.names).join(' '))}`)
    if (words !== undefined) lines.push(`      words=${quoted(words.join(' '))}`)
    if (valued.length > 0) lines.push('      case $previous in')
    for (const { names, choices } of valued)
      if (choices !== undefined) lines.push(`        ${names.join(' | ')}) words=${quoted(choices.join(' '))} value=1 ;;`)
    const files = valued.filter(takesFile).flatMap((each) => each.names)
    if (files.length > 0) lines.push(`        ${files.join(' | ')}) return ;;`)
    if (free.length > 0) lines.push(`        ${free.join(' | ')}) value=1 ;;`)
    if (valued.length > 0) lines.push('      esac')
    return [...lines, '      ;;'].join('\n')
  })
  return `# Completion of viaduct for bash. Made by: viaduct completion bash
_viaduct() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous= options= words= value= word
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W ${quoted([...commands, { name: '-h --help -v --version' }].map(({ name }) => name).join(' '))} -- "$current"))
    return
  fi
  for word in "\${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
    # What follows is another program's.
    [[ $word == -- ]] && return
  done
  ((COMP_CWORD > 2)) && previous=\${COMP_WORDS[COMP_CWORD - 1]}
  # --option=value comes as three words.
  if [[ $current == = ]]; then current=
  elif [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
    *) return ;;
  esac
  [[ -z $value && $current == -* ]] && words=$options
  if [[ -n $words ]]; then COMPREPLY=($(compgen -W "$words" -- "$current"))
  elif [[ -n $value ]]; then compopt +o default 2>/dev/null
  fi
}
complete -o default -F _viaduct viaduct
`
}

// ---- zsh

/** In brackets of an option of _arguments. */
function inBrackets(text: string): string {
  return oneLine(text).replace(/[[\]\\:]/g, (char) => `\\${char}`)
}

function oneLine(text: string): string {
  return text.replace(/;?\n.*/s, '')
}

function zsh(commands: readonly CompletedCommand[]): string {
  const list = commands.map(({ name, summary }) => quoted(`${name}:${summary.replaceAll(':', '\\:')}`))
  const cases = commands.map(({ name, words, options }) => {
    const specs = options.map((option) => {
      const { names, help, value, choices } = option
      const what =
        value === undefined
          ? ''
          : `:${value.replaceAll(/[:\\]/g, (char) => `\\${char}`)}:${choices === undefined ? (takesFile(option) ? '_files' : ' ') : `(${choices.join(' ')})`}`
      // A long one takes its value behind = too.
      const each = names.map((one) => `${one}${value !== undefined && one.startsWith('--') ? '=' : ''}`)
      return each.map((one) => quoted(`*${one}[${inBrackets(help)}]${what}`)).join(' ')
    })
    const after = words === undefined ? "'*:file:_files'" : quoted(`*:what:(${words.join(' ')})`)
    return `    ${name}) _arguments -s ${[...specs, after].join(' \\\n      ')} ;;`
  })
  const general = GENERAL.flatMap(({ names, help }) => names.map((name) => quoted(`${name}:${help}`)))
  return `#compdef viaduct
# Completion of viaduct for zsh. Made by: viaduct completion zsh
_viaduct() {
  if ((CURRENT == 2)); then
    local -a commands=(
      ${list.join('\n      ')}
    )
    local -a options=(${general.join(' ')})
    _describe -t commands command commands
    [[ $PREFIX == -* ]] && _describe -o option options
    return
  fi
  local command=$words[2]
  shift words
  ((CURRENT--))
  case $command in
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _viaduct ]]; then _viaduct "$@"; else compdef _viaduct viaduct; fi
`
}

// ---- fish

/** In single quotes, where a backslash means itself but before another and a quote. */
function fished(text: string): string {
  return `'${oneLine(text).replace(/[\\']/g, (char) => `\\${char}`)}'`
}

function fish(commands: readonly CompletedCommand[]): string {
  const lines = ['# Completion of viaduct for fish. Made by: viaduct completion fish', 'complete -c viaduct -e']
  const first = "-n 'test (count (commandline -opc)) -eq 1'"
  for (const { name, summary } of commands) lines.push(`complete -c viaduct ${first} -f -a ${name} -d ${fished(summary)}`)
  for (const option of GENERAL) lines.push(`complete -c viaduct ${first} -f ${fishOption(option)}`)
  for (const { name, words, options } of commands) {
    const here = `-n 'set -l words (commandline -opc); test "$words[2]" = ${name}; and not contains -- -- $words'`
    if (words !== undefined) lines.push(`complete -c viaduct ${here} -f -a ${fished(words.join(' '))}`)
    for (const option of options) lines.push(`complete -c viaduct ${here} ${fishOption(option)}`)
  }
  return `${lines.join('\n')}\n`
}

function fishOption(option: CompletedOption): string {
  const { names, help, value, choices } = option
  const parts = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
  if (choices !== undefined) parts.push(`-x -a ${fished(choices.join(' '))}`)
  else if (value !== undefined) parts.push(takesFile(option) ? '-r -F' : '-x')
  return [...parts, `-d ${fished(help)}`].join(' ')
}
