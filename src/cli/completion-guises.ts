// The options of commands that stand in for other programs, for completion: by the tables by which they are read.

import { OPTIONS } from '../fpm/index.ts'
import type { CompletedOption } from './completion.ts'
import { SPAWN_LETTERS } from './spawn-options.ts'

/** php-fpm's, and our own. */
export function fpmOptions(): readonly CompletedOption[] {
  const theirs = OPTIONS.filter(({ letter }) => letter !== '?').map(({ letter, name, value }) => ({
    names: [`-${letter}`, `--${name}`],
    help: name.replaceAll('-', ' '),
    // All but one are files or folders.
    ...(value === true && { value: letter === 'd' ? 'NAME=VALUE' : 'FILE' }),
  }))
  return [...theirs, { names: ['--php-cgi'], help: 'php-cgi to use', value: 'FILE' }]
}

const FILES = 'dsPcf'

/** spawn-fcgi's; with `-y`, php-fpm's. */
export function spawnOptions(): readonly CompletedOption[] {
  const { valued, switches } = SPAWN_LETTERS
  const letters = [...valued].map((letter) => ({ names: [`-${letter}`], help: '', value: FILES.includes(letter) ? 'FILE' : 'VALUE' }))
  const known = new Set([...valued, ...switches].map((letter) => `-${letter}`))
  const managed = fpmOptions().filter(({ names }) => !names.some((name) => known.has(name)))
  return [...letters, ...[...switches].map((letter) => ({ names: [`-${letter}`], help: '' })), ...managed]
}
