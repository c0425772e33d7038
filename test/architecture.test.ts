// Who may import whom. This test is the authority; DESIGN.md explains it.

import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'

const CORE = ['core']
const ALL = [
  'admin',
  'cgi',
  'core',
  'dev',
  'embedded',
  'fastcgi',
  'fpm',
  'http',
  'middleware',
  'node',
  'php',
  'process',
  'programs',
  'runtime',
  'scgi',
  'static',
  'status',
  'testing',
  'trace',
  'wsgi',
]

/** The folders of src and those they may import from. A folder that is not here is a mistake, or a decision to be written down here. */
const MATRIX: Record<string, readonly string[]> = {
  core: [],
  fastcgi: CORE,
  scgi: CORE,
  http: CORE,
  middleware: CORE,
  static: CORE,
  testing: CORE,
  process: ['core'],
  cgi: ['core', 'process'],
  node: ['core', 'http'],
  wsgi: ['core', 'process'],
  php: ['core', 'fastcgi', 'process'],
  programs: ['core', 'fastcgi', 'process'],
  embedded: ['core', 'process', 'php', 'wsgi'],
  trace: ['core', 'fastcgi'],
  runtime: ['core', 'process'],
  status: ['core', 'middleware'],
  fpm: ['core', 'fastcgi', 'process', 'php', 'runtime'],
  admin: ['core', 'runtime'],
  dev: ['core', 'runtime'],
  config: ALL,
  cli: [...ALL, 'config'],
}

/**
 * Beside the index.ts of their folders: what a process needs that needs nothing else of them. A supervisor of `viaduct fpm` asks what
 * php-cgi there is, and its front is the only one that runs the engine: the rest would only be in memory.
 */
const SIDE_DOORS = ['php/interpreter.ts', 'fpm/front.ts']

/** These stand alone: no package from npm. */
const BARE = ['node', 'core', 'fastcgi', 'scgi', 'http', 'cgi', 'wsgi', 'process', 'php', 'programs', 'testing', 'trace']

/** Above this, ask why: near 300 is the aim. */
const LINES = 340

/** What a source imports, types too. */
function importsOf(source: string): string[] {
  const pattern = /\bfrom\s+['"]([^'"\n]+)['"]|^\s*import\s+['"]([^'"\n]+)['"]|\bimport\(\s*['"]([^'"\n]+)['"]/gm
  return [...source.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? match[3]!)
}

/** What is wrong with the file at this path below src. */
function faultsOf(path: string, source: string): string[] {
  const [folder] = path.split('/') as [string]
  const isTest = path.endsWith('.test.ts')
  const faults: string[] = []
  const allowed = MATRIX[folder]
  if (allowed === undefined) return [`${path}: the folder ${folder} is not in the matrix`]
  const lines = source.split('\n').length - 1
  // What a script writes from something else is read there.
  const written = /^\/\/ .* Written by `node scripts\//.test(source)
  if (!isTest && !written && lines > LINES) faults.push(`${path}: ${lines} lines, more than ${LINES}`)
  for (const specifier of importsOf(source)) {
    if (specifier.startsWith('.')) {
      const target = join(dirname(path), specifier)
      const [other] = target.split('/') as [string]
      if (other === folder) continue
      if (other === '..') {
        if (!isTest) faults.push(`${path}: imports ${specifier}, outside src`)
      } else if (other === 'cli') faults.push(`${path}: imports cli, which nobody may`)
      else if (!isTest && !allowed.includes(other)) faults.push(`${path}: ${folder} may not import ${other}`)
      else if (target !== `${other}/index.ts` && !SIDE_DOORS.includes(target))
        faults.push(`${path}: imports ${target}, not through ${other}/index.ts`)
    } else if (!specifier.startsWith('node:') && !isTest && BARE.includes(folder)) {
      faults.push(`${path}: ${folder} has no packages, imports ${specifier}`)
    }
  }
  return faults
}

describe('the import matrix', () => {
  const root = new URL('../src', import.meta.url).pathname
  const files = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .toSorted()

  test('is kept by every file', () => {
    expect(files.length).toBeGreaterThan(20)
    expect(files.flatMap((path) => faultsOf(path, readFileSync(join(root, path), 'utf8')))).toEqual([])
  })

  test('has every folder reached by its index.ts alone', () => {
    const folders = new Set(files.map((path) => path.split('/')[0]))
    for (const folder of folders) if (folder !== 'cli') expect(files, folder).toContain(`${folder}/index.ts`)
  })

  test.each<[string, string, string | undefined]>([
    ['core/a.ts', `import { b } from './b.ts'`, undefined],
    ['core/a.ts', `import { read } from 'node:fs'`, undefined],
    ['core/a.ts', `import { b } from '../http/index.ts'`, 'core may not import http'],
    ['core/a.ts', `import pino from 'pino'`, 'core has no packages'],
    ['core/a.test.ts', `import { b } from '../testing/index.ts'`, undefined],
    ['core/a.test.ts', `import { b } from '../../test/peers.ts'`, undefined],
    ['core/a.ts', `import { b } from '../../test/peers.ts'`, 'outside src'],
    ['http/a.ts', `import { b } from '../core/index.ts'`, undefined],
    ['http/a.ts', `import { b } from '../core/scope.ts'`, 'not through core/index.ts'],
    ['cli/a.ts', `import { b } from '../php/interpreter.ts'`, undefined],
    ['cli/a.ts', `import { b } from '../php/pool.ts'`, 'not through php/index.ts'],
    ['http/a.test.ts', `import { b } from '../core/scope.ts'`, 'not through core/index.ts'],
    ['http/a.ts', `import type {\n  B,\n} from '../fastcgi/index.ts'`, 'http may not import fastcgi'],
    ['http/a.ts', `export * from '../fastcgi/index.ts'`, 'http may not import fastcgi'],
    ['http/a.ts', `const b = await import('../fastcgi/index.ts')`, 'http may not import fastcgi'],
    ['http/a.ts', `import '../fastcgi/index.ts'`, 'http may not import fastcgi'],
    ['php/a.ts', `import { b } from '../fastcgi/index.ts'`, undefined],
    ['config/a.ts', `import { b } from '../cli/main.ts'`, 'cli, which nobody may'],
    ['config/a.ts', `import { b } from '../php/index.ts'\nimport pino from 'pino'`, undefined],
    ['new/a.ts', '', 'not in the matrix'],
    ['http/a.ts', '\n'.repeat(LINES), undefined],
    ['http/a.ts', '\n'.repeat(LINES + 1), 'more than'],
  ])('%s with %j: %s', (path, source, fault) => {
    const faults = faultsOf(path, source)
    if (fault === undefined) expect(faults).toEqual([])
    else expect(faults).toEqual([expect.stringContaining(fault)])
  })
})
