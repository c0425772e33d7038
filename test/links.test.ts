// The documentation as a whole: what it links to is there (the file, and in it the heading, by the anchors that GitHub makes of
// headings), and the pages of the API are what the docstrings say.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { expect, test } from 'vitest'

const root = dirname(import.meta.dirname)
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/** A page without its code, where nothing is a link or a heading. */
const prose = (page: string): string =>
  readFileSync(join(root, page), 'utf8')
    .replace(/^```[\s\S]*?^```$/gm, '')
    .replace(/(`+)(?!`)[^\n]*?[^`]\1(?!`)/g, (code) => code.replace(/[[\]()]/g, ''))

const anchorsOf = new Map<string, ReadonlySet<string>>()

function anchors(page: string): ReadonlySet<string> {
  const known = anchorsOf.get(page)
  if (known !== undefined) return known
  const used = new Map<string, number>()
  const found = new Set<string>()
  for (const [, heading = ''] of prose(page).matchAll(/^#{1,6} (.*)$/gm)) {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\-_ ]/gu, '')
      .replaceAll(' ', '-')
    const before = used.get(slug) ?? 0
    used.set(slug, before + 1)
    found.add(before === 0 ? slug : `${slug}-${before}`)
  }
  anchorsOf.set(page, found)
  return found
}

/** What is wrong with the links of a page. */
function broken(page: string, text: string = prose(page)): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    if (/^[a-z]+:/.test(target)) return []
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? page : relative(root, join(root, dirname(page), path))
    if (!existsSync(join(root, file))) return [`${target}: there is no ${file}`]
    if (anchor === undefined || anchors(file).has(anchor)) return []
    return [`${target}: ${file} has no such heading`]
  })
}

test.each(pages)('every link of %s leads somewhere', (page) => {
  expect(broken(page)).toEqual([])
})

test('a link to what is not there is found', () => {
  expect(broken('docs/serve.md', '[a](library.md#the-library) [b](../README.md) [c](https://example.org/)')).toEqual([])
  expect(broken('docs/serve.md', '[a](library.md#nothing) [b](nothing.md)')).toEqual([
    'library.md#nothing: docs/library.md has no such heading',
    'nothing.md: there is no docs/nothing.md',
  ])
})

test('what is exported without a docstring is found, and what has one is told with its members, types and links', () => {
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-api-'))
  try {
    const put = (path: string, text: string): void => {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    put('package.json', JSON.stringify({ exports: { '.': { types: './dist/core/index.d.ts' }, './b': { types: './dist/b/index.d.ts' } } }))
    put('src/core/index.ts', "// The face of `viaduct`: a start.\n\nexport { go } from './go.ts'\nexport type { Way } from './go.ts'\n")
    put(
      'src/core/go.ts',
      `/** Which way. */\nexport interface Way {\n  /** Metres. */\n  readonly length?: number\n  readonly with: {\n    /** Whom. */\n    readonly whom: Far\n  }\n}
type Far = 'a' | 'b'\nexport function go(way: Way): void {\n  console.log(way)\n}\n`,
    )
    put('src/b/index.ts', "// The second one.\n\nexport type { Way } from '../core/index.ts'\nexport { Walker } from './walker.ts'\n")
    put(
      'src/b/walker.ts',
      `import type { Way } from '../core/index.ts'\n/** Takes a \`Way\`. It walks. */\nexport class Walker implements Way {\n  readonly length = 1\n  #at = 0\n
  async walk(way: Way): Promise<void> {\n    this.#at += way.length ?? 0\n  }\n}\n`,
    )
    const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/api-docs.mjs'), '--root', folder], { encoding: 'utf8' })
    expect([status, stderr.trim()]).toEqual([1, 'src/core/go.ts:11: go has no docstring'])
    const first = readFileSync(join(folder, 'docs/api/viaduct.md'), 'utf8')
    expect(first).toContain('- `length?: number` — Metres.\n- `with: { ... }`\n  - `whom: Far` — Whom.\n\nTypes: [Far](#far).\n')
    expect(first).toContain("## Named by these, not exported\n\n### Far\n\n```ts\ntype Far = 'a' | 'b'\n```\n")
    const second = readFileSync(join(folder, 'docs/api/b.md'), 'utf8')
    expect(second).toContain('- [Walker](#walker) — Takes a [`Way`](viaduct.md#way).\n')
    expect(second).toContain('- `length = 1` — Metres.\n- `walk(way: Way): Promise<void>`\n\nTypes: [Way](viaduct.md#way).\n')
    expect(second).toContain('It also exports [Way](viaduct.md#way).')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the pages of the API are what the docstrings say, and no export lacks one; if not, run npm run docs:api', () => {
  let told = ''
  try {
    execFileSync(process.execPath, ['scripts/api-docs.mjs', '--check'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    told = String((error as { stderr?: string }).stderr)
  }
  expect(told).toBe('')
})
