// The documentation as a whole: what it links to is there (the file, and in it the heading, by the anchors that GitHub makes of
// headings), and the pages of the API are what the docstrings say.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
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

test('the pages of the API are what the docstrings say, and no export lacks one; if not, run npm run docs:api', () => {
  let told = ''
  try {
    execFileSync(process.execPath, ['scripts/api-docs.mjs', '--check'], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    told = String((error as { stderr?: string }).stderr)
  }
  expect(told).toBe('')
})
