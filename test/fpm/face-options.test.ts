// Command lines, to Debian's php-fpm and to ours: what they show and exit with.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseCommandLine } from '../../src/fpm/index.ts'
import { has } from '../peers.ts'
import { PHP_FPM, askOurs, askReal, differences } from './face.ts'

const first = (text: string): string => text.split(' (built')[0]!
const modules = (text: string): Set<string> => new Set(text.split('\n'))

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'face-'))
  const config = `[global]\nerror_log = ${folder}/err.log\n[www]\nuser = nobody\nlisten = ${folder}/a.sock\npm = static\npm.max_children = 1\n`
  writeFileSync(join(folder, 'a'), config)
  writeFileSync(join(folder, '=a'), config)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.skipIf(!has(PHP_FPM))('php-fpm and this answer alike to', () => {
  test.each([
    ['-h'],
    ['--help'],
    ['-?'],
    ['--usage'],
    ['-x'],
    ['--nonsense'],
    ['--tes'],
    ['--TEST'],
    ['-th'],
    ['-tx'],
    ['-hx'],
    ['-xh'],
    ['-'],
    ['--', '-t'],
    ['-t', 'word'],
    ['word', '-t'],
    ['-t', '-'],
    ['-y'],
    ['-ty'],
    ['--fpm-config'],
    ['-t', '-y', 'DIR/a'],
    ['-tyDIR/a'],
    ['-ty=DIR/a'],
    ['-ty', 'DIR/a'],
    ['-ttyDIR/a'],
    ['-t', '-y==a'],
    ['-t', '-y=='],
    ['--test', '--fpm-config=DIR/a'],
    ['--test', '--fpm-config', 'DIR/a'],
    ['--test=3', '-yDIR/a'],
    ['-t', '-yDIR/nope'],
    ['-t', '-y', 'DIR'],
    ['-t', '-p', 'DIR'],
    ['-t', '-p', '', '-yDIR/a'],
    ['-t', '-g', '', '-yDIR/a'],
    ['-t', '-yDIR/a', '--'],
    ['-t', '-yDIR/a', '--', 'x'],
    ['-n', '-c', '/tmp', '-d', 'a=b', '-e', '-D', '-F', '-O', '-R', '-t', '-y', 'DIR/a'],
    ['--no-php-ini', '--php-ini', '/tmp', '--define', 'a=b', '--profile-info', '--daemonize', '--nodaemonize', '-tyDIR/a'],
    ['--force-stderr', '--allow-to-run-as-root', '--prefix', 'DIR', '--pid', 'x', '-tyDIR/a'],
    ['-c', '-t', '-yDIR/a', '-h'],
    ['-t:'],
    ['-t', '-d'],
    [''],
    ['-t', ''],
    ['-t', '-y', ''],
  ])('%j', async (...words: string[]) => {
    const args = words.map((word) => word.replace('DIR', folder))
    expect(differences(await askOurs(args, folder), await askReal(args, folder))).toEqual([])
  })

  test.each([['-v'], ['--version'], ['-v', '-x'], ['-tv']])('%j, but for the lines that say who speaks', async (...words: string[]) => {
    const [ours, real] = [await askOurs(words, folder), await askReal(words, folder)]
    expect(ours.exit).toBe(real.exit)
    expect(first(ours.stdout)).toBe(first(real.stdout))
    expect(ours.stdout).toContain('Viaduct')
  })

  test('-m, but for extensions that only the other program was built with', async () => {
    const [ours, real] = [await askOurs(['-m'], folder), await askReal(['-m'], folder)]
    expect(ours.exit).toBe(0)
    expect([...modules(real.stdout)].filter((name) => !modules(ours.stdout).has(name))).toEqual([])
    expect(ours.stdout.split('\n').slice(0, 2)).toEqual(real.stdout.split('\n').slice(0, 2))
  })

  test('-i, in the same form', async () => {
    const [ours, real] = [await askOurs(['-i'], folder), await askReal(['-i'], folder)]
    expect(ours.exit).toBe(real.exit)
    expect(ours.stdout.split('\n').slice(0, 4)).toEqual(real.stdout.split('\n').slice(0, 4))
    for (const line of ['Directive => Local Value => Master Value', 'memory_limit => 128M => 128M', 'date']) {
      expect(real.stdout.split('\n')).toContain(line)
      expect(ours.stdout.split('\n')).toContain(line)
    }
    expect(ours.stdout).not.toMatch(/<t[dr]/)
  })
})

describe('a command line', () => {
  test.each<[string[], object]>([
    [[], { action: 'run', daemonize: undefined, test: 0 }],
    [['-D', '-F'], { daemonize: false }],
    [['-F', '-D'], { daemonize: true }],
    [['-FOR'], { daemonize: false, forceStderr: true, allowRoot: true }],
    [['-d', 'a=b', '-dc', '--define=e=f'], { defines: ['a=b', 'c', 'e=f'] }],
    [['-nec', '/x'], { noPhpIni: true, extendedInfo: true, phpIni: '/x' }],
    [['-i', '-y', 'x'], { action: 'information', config: 'x' }],
    [['-i', '-x'], { action: 'mistake' }],
    [['-p/p', '-g/g', '-y/y'], { prefix: '/p', pid: '/g', config: '/y' }],
  ])('%j is %j', (words, expected) => {
    expect(parseCommandLine(words)).toMatchObject(expected)
  })
})
