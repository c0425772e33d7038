// What one line of a php-fpm configuration file says: php.ini's grammar over the words of scan.ts.
//
// PHP's parser acts on each statement as soon as it is complete, and complains of what follows it afterwards; so does this.

import { scan } from './scan.ts'
import type { Token, TokenType } from './scan.ts'

export type Statement =
  | { readonly kind: 'section'; readonly name: string }
  /** Without a value there was no `=`. */
  | { readonly kind: 'entry'; readonly name: string; readonly value: string | undefined }
  | { readonly kind: 'array'; readonly name: string; readonly key: string; readonly value: string }

export interface Line {
  readonly statements: readonly Statement[]
  /** What PHP says of the first thing that has no place, after the statements before it. */
  readonly mistake: string | undefined
}

/** `${NAME}` in a value: its value, '' when there is none. */
export type Lookup = (name: string) => string

/** Reads one line, without its line break. */
export function readLine(text: string, lookup: Lookup): Line {
  const reader = new Reader(scan(`${text}\n`), lookup)
  const statements: Statement[] = []
  let mistake: string | undefined
  try {
    for (let next = reader.statement(); next !== 'end'; next = reader.statement()) if (next !== 'nothing') statements.push(next)
  } catch (error) {
    if (!(error instanceof Mistake)) throw error
    mistake = error.message
  }
  return { statements, mistake }
}

class Mistake extends Error {}

const WORDS: readonly TokenType[] = ['TC_CONSTANT', 'TC_RAW', 'TC_NUMBER', 'TC_STRING', 'TC_WHITESPACE']

/** PHP's precedence: its three binary operators bind alike, from the left; `~` and `!` before them. */
const OPERATORS: Readonly<Record<string, (a: number, b: number) => number>> = {
  '|': (a, b) => a | b,
  '&': (a, b) => a & b,
  '^': (a, b) => a ^ b,
}

class Reader {
  readonly #tokens: readonly Token[]
  readonly #lookup: Lookup
  #at = 0

  constructor(tokens: readonly Token[], lookup: Lookup) {
    this.#tokens = tokens
    this.#lookup = lookup
  }

  statement(): Statement | 'nothing' | 'end' {
    const token = this.#next()
    switch (token.type) {
      case 'end of file':
        return 'end'
      case 'END_OF_LINE':
        return 'nothing'
      case 'TC_SECTION': {
        const name = this.#list(false) ?? ''
        this.#expect(']')
        return { kind: 'section', name }
      }
      case 'TC_LABEL':
        if (!this.#is('=')) return { kind: 'entry', name: token.text, value: undefined }
        this.#at++
        return { kind: 'entry', name: token.text, value: this.#value() }
      case 'TC_OFFSET': {
        const key = this.#list(true) ?? ''
        this.#expect(']')
        this.#expect('=')
        return { kind: 'array', name: token.text, key, value: this.#value() }
      }
      default:
        throw unexpected(token)
    }
  }

  #value(): string {
    const { type } = this.#peek()
    if (type === 'BOOL_TRUE' || type === 'BOOL_FALSE' || type === 'NULL_NULL' || type === 'END_OF_LINE') return this.#next().text
    return this.#expression()
  }

  #expression(): string {
    let left = this.#operand()
    for (;;) {
      const token = this.#peek()
      const operator = token.type === 'char' ? OPERATORS[token.text] : undefined
      if (operator === undefined) return left
      this.#at++
      left = String(operator(atoi(left), atoi(this.#operand())))
    }
  }

  #operand(): string {
    const token = this.#peek()
    if (token.type === 'char' && (token.text === '~' || token.text === '!')) {
      this.#at++
      const value = atoi(this.#operand())
      return token.text === '~' ? String(~value) : value === 0 ? '1' : '0'
    }
    if (token.type === 'char' && token.text === '(') {
      this.#at++
      const value = this.#expression()
      this.#expect(')', `'^' or '|' or '&' or ')'`)
      return value
    }
    const list = this.#list(true)
    if (list === undefined) throw unexpected(token)
    return list
  }

  /** Words, quoted texts and variables side by side are one text. */
  #list(constants: boolean): string | undefined {
    let text: string | undefined
    for (;;) {
      const token = this.#peek()
      if (token.type === 'TC_DOLLAR_CURLY') text = (text ?? '') + this.#variable()
      else if (token.type === 'char' && token.text === '"') text = (text ?? '') + this.#quoted()
      else if (WORDS.includes(token.type)) {
        this.#at++
        text = (text ?? '') + (constants && token.type === 'TC_CONSTANT' ? (CONSTANTS[token.text] ?? token.text) : token.text)
      } else return text
    }
  }

  #quoted(): string {
    this.#at++
    let text = ''
    for (;;) {
      const token = this.#peek()
      if (token.type === 'TC_DOLLAR_CURLY') text += this.#variable()
      else if (token.type === 'TC_QUOTED_STRING') text += this.#next().text
      else {
        this.#expect('"', `TC_DOLLAR_CURLY or TC_QUOTED_STRING or '"'`)
        return text
      }
    }
  }

  #variable(): string {
    this.#at++
    const name = this.#next()
    if (name.type !== 'TC_VARNAME') throw unexpected(name, 'TC_VARNAME')
    this.#expect('}')
    return this.#lookup(name.text)
  }

  #expect(char: string, expected: string = `'${char}'`): void {
    const token = this.#next()
    if (token.type !== 'char' || token.text !== char) throw unexpected(token, expected)
  }

  #is(char: string): boolean {
    const token = this.#peek()
    return token.type === 'char' && token.text === char
  }

  #peek(): Token {
    return this.#tokens[Math.min(this.#at, this.#tokens.length - 1)]!
  }

  #next(): Token {
    const token = this.#peek()
    this.#at++
    return token
  }
}

function unexpected(token: Token, expected?: string): Mistake {
  const what = token.type === 'char' ? `'${token.text}'` : token.type
  return new Mistake(
    `syntax error, unexpected ${what}${expected === undefined ? '' : `, expecting ${expected}`} in Unknown on line ${token.line}`,
  )
}

/** C's atoi into an int: what is not a number is 0, what is too long is cut to 32 bits. */
export function atoi(text: string): number {
  const match = /^\s*[+-]?\d+/.exec(text)
  if (match === null) return 0
  const limit = 2n ** 63n
  const value = BigInt(match[0].trim().replace(/^\+/, ''))
  return Number(BigInt.asIntN(32, value >= limit ? limit - 1n : value < -limit ? -limit : value))
}

/** Constants of PHP that belong into settings (`php_admin_value[error_reporting] = E_ALL & ~E_NOTICE`). PHP itself knows all of its own. */
const CONSTANTS: Readonly<Record<string, string>> = {
  E_ERROR: '1',
  E_WARNING: '2',
  E_PARSE: '4',
  E_NOTICE: '8',
  E_CORE_ERROR: '16',
  E_CORE_WARNING: '32',
  E_COMPILE_ERROR: '64',
  E_COMPILE_WARNING: '128',
  E_USER_ERROR: '256',
  E_USER_WARNING: '512',
  E_USER_NOTICE: '1024',
  E_STRICT: '2048',
  E_RECOVERABLE_ERROR: '4096',
  E_DEPRECATED: '8192',
  E_USER_DEPRECATED: '16384',
  E_ALL: '32767',
}
