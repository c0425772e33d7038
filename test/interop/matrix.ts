// What was proved with which peer. The interop tests tell it while they run; docs/fastcgi-interop.md shows it.
//
// Plain runs compare: a cell whose test has just said something else than the page is an error, cells of programs that are not
// installed (or of tests that were not chosen) are left alone. VIADUCT_WRITE_MATRIX=1 writes the page instead, and only a whole one:
// a cell about which no test said anything is an error. Write it without file parallelism, for all sections share the page:
//
//   VIADUCT_WRITE_MATRIX=1 npx vitest run test/interop/fastcgi- --no-file-parallelism

import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const PAGE = new URL('../../docs/fastcgi-interop.md', import.meta.url)
const WRITE = process.env['VIADUCT_WRITE_MATRIX'] === '1'

type Verdict = 'passed' | 'failed' | { readonly reason: string }
/** As they stand in the page: `passed`, `failed`, `not offered (1)`. */
type Cells = Map<string, string>

export interface MatrixOptions<Peer extends string, Behaviour extends string> {
  /** The name of its section of the page. One test file, one section. */
  readonly section: string
  /** The columns. */
  readonly peers: readonly Peer[]
  /** The rows. */
  readonly behaviours: readonly Behaviour[]
}

export interface Matrix<Peer extends string, Behaviour extends string> {
  /** The body of a test that proves this: `test('title', matrix.proves('nginx', 'HEAD', async () => { ... }))`. All tests of a cell must pass. */
  proves<Arguments extends readonly unknown[]>(
    peer: Peer,
    behaviour: Behaviour,
    run: (...args: Arguments) => unknown,
  ): (...args: Arguments) => Promise<void>
  /** The peer has no such thing, and this is why: a clause without a full stop. It may still pass with another configuration of it. */
  lacks(peer: Peer, behaviour: Behaviour, reason: string): void
  /** The test that compares with the page, or writes it. To be called at the end of the file, on its top level. */
  hold(): void
}

export function openMatrix<const Peer extends string, const Behaviour extends string>(
  options: MatrixOptions<Peer, Behaviour>,
): Matrix<Peer, Behaviour> {
  const { section, peers, behaviours } = options
  const verdicts = new Map<string, Verdict>()
  return {
    proves: (peer, behaviour, run) => {
      const key = keyOf(peer, behaviour)
      return async (...args) => {
        try {
          await run(...args)
          if (verdicts.get(key) !== 'failed') verdicts.set(key, 'passed')
        } catch (error) {
          verdicts.set(key, 'failed')
          throw error
        }
      }
    },
    lacks: (peer, behaviour, reason) => {
      const key = keyOf(peer, behaviour)
      if (!verdicts.has(key)) verdicts.set(key, { reason })
    },
    hold: () =>
      void test(`docs/fastcgi-interop.md, ${section}: ${WRITE ? 'is written' : 'says what the tests say'}`, () => {
        const page = readFileSync(PAGE, 'utf8')
        const made = render(peers, behaviours, verdicts)
        if (WRITE) {
          const empty = [...made.cells].filter(([, cell]) => cell === '').map(([key]) => key)
          expect(empty, 'cells about which no test said anything').toEqual([])
          writeFileSync(PAGE, withSection(page, section, made.text))
          return
        }
        const written = cellsOf(sectionOf(page, section) ?? '')
        expect([...written.keys()], 'rows and columns; VIADUCT_WRITE_MATRIX=1 writes them').toEqual([...made.cells.keys()])
        expect([...written].filter(([, cell]) => !/^passed$|^not offered/.test(cell))).toEqual([])
        for (const [key, cell] of made.cells) if (cell !== '') expect(`${key}: ${word(written.get(key)!)}`).toBe(`${key}: ${word(cell)}`)
      }),
  }
}

const keyOf = (peer: string, behaviour: string): string => `${peer} | ${behaviour}`

/** The numbers of the notes depend on the whole table, so only the word counts in a comparison. */
const word = (cell: string): string => cell.replace(/ \(\d+\)$/, '')

/** The table as Markdown, behaviours down, peers across, and the reasons as notes below it. */
function render(
  peers: readonly string[],
  behaviours: readonly string[],
  verdicts: ReadonlyMap<string, Verdict>,
): { text: string; cells: Cells } {
  const notes: string[] = []
  const cells: Cells = new Map()
  const lines = [`| behaviour | ${peers.join(' | ')} |`, `|${' --- |'.repeat(peers.length + 1)}`]
  for (const behaviour of behaviours) {
    const row = peers.map((peer) => {
      const verdict = verdicts.get(keyOf(peer, behaviour)) ?? ''
      if (typeof verdict === 'string') return verdict
      if (!notes.includes(verdict.reason)) notes.push(verdict.reason)
      return `not offered (${notes.indexOf(verdict.reason) + 1})`
    })
    for (const [i, peer] of peers.entries()) cells.set(keyOf(peer, behaviour), row[i]!)
    lines.push(`| ${behaviour} | ${row.join(' | ')} |`)
  }
  return { text: [...lines, '', ...notes.map((note, i) => `${i + 1}. ${note}`)].join('\n'), cells }
}

/** The cells of a table that `render` made. */
function cellsOf(text: string): Cells {
  const cells: Cells = new Map()
  const rows = text.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
  const [first = [], ...others] = rows.map((line) => line.slice(2, -2).split(' | '))
  for (const [behaviour = '', ...row] of others)
    for (const [i, cell] of row.entries()) cells.set(keyOf(first[i + 1] ?? '', behaviour), cell)
  return cells
}

const open = (section: string): string => `<!-- section: ${section} -->`
const close = (section: string): string => `<!-- end: ${section} -->`

function sectionOf(page: string, section: string): string | undefined {
  const start = page.indexOf(open(section))
  const end = page.indexOf(close(section))
  return start === -1 || end === -1 ? undefined : page.slice(start + open(section).length, end)
}

function withSection(page: string, section: string, text: string): string {
  const block = `${open(section)}\n\n## ${section}\n\n${text}\n\n${close(section)}`
  const old = sectionOf(page, section)
  return old === undefined ? `${page.trimEnd()}\n\n${block}\n` : page.replace(`${open(section)}${old}${close(section)}`, () => block)
}
