// What a shell offers once it has sourced what `viaduct completion` prints: asked of the shells themselves.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { has } from '../peers.ts'
import { MAIN } from './program.ts'

let folder = ''
const viaduct = (...args: string[]): string => execFileSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', env: { NO_COLOR: '1' } })
const SHELLS = ['bash', 'zsh', 'fish']

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-completion-'))
  for (const shell of SHELLS) writeFileSync(join(folder, shell), viaduct('completion', shell))
  writeFileSync(join(folder, 'ask'), ASK)
})
afterAll(() => rmSync(folder, { recursive: true }))

// A word of readline's ends at `=`, too. Each line of answers begins with what `compopt` was told.
const ASK = `source "$1/bash"; shift
compopt() { printf 'not '; }
while read -r line; do
  COMP_WORDS=(); for word in $line; do COMP_WORDS+=("\${word//_/}"); done
  COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
  _viaduct
  echo "\${COMPREPLY[*]}"
done
`

/** In place of a space at the end: `_`, an empty word. */
function bash(...lines: string[]): string[] {
  const input = lines.map((line) => line.replaceAll('=', ' = ').trim()).join('\n') + '\n'
  return execFileSync('bash', ['--norc', join(folder, 'ask'), folder], { encoding: 'utf8', input })
    .trimEnd()
    .split('\n')
}

const commands = (): string[] =>
  [...viaduct('--help').matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name!).filter((name) => name !== 'viaduct')

describe.skipIf(!has('bash'))('bash', () => {
  test('offers all commands of the help, and all options of theirs', () => {
    expect(bash('viaduct _')[0]!.split(' ')).toEqual(expect.arrayContaining([...commands(), 'help', '--help', '--version']))
    expect(commands().length).toBeGreaterThan(10)
    for (const command of commands()) {
      const told = [...viaduct('help', command).matchAll(/^ {2}(?:-(\w), | {4})--([a-z-]+)/gm)]
      const names = told.flatMap(([, short, long]) => [...(short === undefined ? [] : [`-${short}`]), `--${long}`])
      expect(bash(`viaduct ${command} -`)[0]!.split(' '), command).toEqual(expect.arrayContaining(names))
    }
  })

  test.each<[string, string]>([
    ['viaduct ser', 'serve'],
    ['viaduct serve --tls-', '--tls-cert --tls-key'],
    ['viaduct serve site --listen 8080 --log-f', '--log-format'],
    ['viaduct serve --log-level _', 'debug info warn error'],
    ['viaduct serve --log-level w', 'warn'],
    ['viaduct serve --log-format=', 'pretty json'],
    ['viaduct serve --log-format=j', 'json'],
    ['viaduct show x.fcgicap --body _', 'request answer'],
    ['viaduct completion _', 'bash zsh fish'],
    ['viaduct help repl', 'replay'],
    ['viaduct fpm --fpm', '--fpm-config'],
    ['viaduct fpm --php-', '--php-ini --php-cgi'],
    // Files: readline's own answer, where this one is empty.
    ['viaduct serve _', ''],
    ['viaduct serve -c _', ''],
    ['viaduct serve --config=x', ''],
    ['viaduct spawn -s /run/app -- ls -', ''],
    ['viaduct none _', ''],
    // Neither: what it is cannot be known.
    ['viaduct serve --listen _', 'not'],
    ['viaduct serve -w=', 'not'],
    ['viaduct spawn -p _', 'not'],
  ])('%s is completed by %j', (line, answer) => {
    expect(bash(line, 'viaduct ser').map((each) => each.trimEnd())).toEqual([answer, 'serve'])
  })
})

const fish = (line: string): string[] =>
  execFileSync('fish', ['--no-config', '-c', `source ${folder}/fish; complete -C "${line}"`], { encoding: 'utf8', cwd: folder })
    .trim()
    .split('\n')
    .map((each) => each.replace(/\t.*/, ''))

describe.skipIf(!has('fish'))('fish', () => {
  test('offers commands, options, what they may be, and files', () => {
    expect(fish('viaduct ')).toEqual(expect.arrayContaining(commands()))
    expect(fish('viaduct serve --tls-')).toEqual(['--tls-cert', '--tls-key'])
    expect(fish('viaduct serve --log-level ')).toEqual(['debug', 'error', 'info', 'warn'])
    expect(fish('viaduct serve -c as')).toEqual(['ask'])
    expect(fish('viaduct completion ')).toEqual(['bash', 'fish', 'zsh'])
  })
})

test.skipIf(!has('zsh'))('zsh can read its own', () => {
  execFileSync('zsh', ['-n', join(folder, 'zsh')])
})

test('for zsh and fish all commands and options are there, too', () => {
  const scripts = SHELLS.slice(1).map((shell) => viaduct('completion', shell))
  for (const script of scripts) for (const name of [...commands(), 'log-format', 'fpm-config', 'no-mask']) expect(script).toContain(name)
})

test.each([[[]], [['tcsh']], [['bash', 'zsh']]])('viaduct completion %j says what there is', (words) => {
  expect(() => execFileSync(process.execPath, [MAIN, 'completion', ...words], { encoding: 'utf8', stdio: 'pipe' })).toThrow(
    /expected bash, zsh, fish/,
  )
})
