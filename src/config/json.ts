// JSON with the place of everything in it: a person who made a mistake wants its line. JSON.parse says little more than that
// there is one, and takes a name that is there twice without a word.

import { pathText } from './problems.ts'
import type { Path, Problem } from './problems.ts'

export interface ParsedJson {
  readonly value: unknown
  /** The line of each value, by its path as messages write it. */
  readonly lines: ReadonlyMap<string, number>
  /** Names that are there twice. */
  readonly problems: readonly Problem[]
}

/** Where the text stops being JSON (RFC 8259). */
class JsonError extends Error {}

/** Throws JsonError, whose message says what was expected, and in which line and column. */
export function parseJson(text: string): ParsedJson {
  const reader = new Reader(text)
  reader.document()
  return { value: JSON.parse(text) as unknown, lines: reader.lines, problems: reader.problems }
}

/** Objects and lists in one another. */
const DEPTH = 100
const SPACE = /[ \t\n\r]*/y
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"/y
const PLAIN = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y

class Reader {
  readonly lines = new Map<string, number>()
  readonly problems: Problem[] = []
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  document(): void {
    this.#value([])
    this.#skip()
    if (this.#at < this.#text.length) throw this.#wrong('the end of the file')
  }

  #value(path: Path): void {
    this.#skip()
    this.lines.set(pathText(path), this.#line())
    if (path.length > DEPTH) throw this.#wrong('less depth')
    const next = this.#text[this.#at]
    if (next === '{') this.#object(path)
    else if (next === '[') this.#list(path)
    else if (!this.#takes(PLAIN) && !this.#takes(STRING)) throw this.#wrong(next === '"' ? 'a text that ends in the same line' : 'a value')
  }

  #object(path: Path): void {
    const names = new Set<string>()
    this.#members('}', () => {
      const start = this.#at
      if (!this.#takes(STRING)) throw this.#wrong('a name in double quotes')
      const name = JSON.parse(this.#text.slice(start, this.#at)) as string
      if (names.has(name)) this.problems.push({ at: pathText([...path, name]), message: 'it is there twice' })
      names.add(name)
      this.#skip()
      if (this.#text[this.#at] !== ':') throw this.#wrong('":"')
      this.#at++
      this.#value([...path, name])
    })
  }

  #list(path: Path): void {
    let index = 0
    this.#members(']', () => this.#value([...path, index++]))
  }

  #members(end: string, member: () => void): void {
    this.#at++
    this.#skip()
    if (this.#text[this.#at] === end) {
      this.#at++
      return
    }
    for (;;) {
      this.#skip()
      member()
      this.#skip()
      const next = this.#text[this.#at]
      if (next !== ',' && next !== end) throw this.#wrong(`"," or "${end}"`)
      this.#at++
      if (next === end) return
    }
  }

  #skip(): void {
    SPACE.lastIndex = this.#at
    SPACE.exec(this.#text)
    this.#at = SPACE.lastIndex
  }

  #takes(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at
    if (!pattern.test(this.#text)) return false
    this.#at = pattern.lastIndex
    return true
  }

  #line(): number {
    let line = 1
    for (let at = this.#text.indexOf('\n'); at !== -1 && at < this.#at; at = this.#text.indexOf('\n', at + 1)) line++
    return line
  }

  #wrong(expected: string): JsonError {
    const column = this.#at - this.#text.lastIndexOf('\n', this.#at - 1)
    const got =
      this.#at >= this.#text.length ? 'the end of the file' : JSON.stringify(/^(?:[\w.+-]+|[^])/.exec(this.#text.slice(this.#at))![0])
    return new JsonError(`expected ${expected}, got ${got} in line ${this.#line()}, column ${column}`)
  }
}
