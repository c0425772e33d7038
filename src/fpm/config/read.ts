// Reading configuration files, with what they include, into sections: syntax and single values. What values mean together is check.ts.

import type { GlobalConfig, Message, Pair, PoolConfig } from './types.ts'
import type { ConfigHost } from './host.ts'
import { systemError } from './host.ts'
import { ARRAYS, GLOBAL, POOL, draft } from './directives.ts'
import type { Directive, Draft } from './directives.ts'
import { readLine } from './statements.ts'
import type { Statement } from './statements.ts'
import { boolean, string } from './values.ts'
import { fullPath } from './paths.ts'

/** Something was refused and has been said: nothing goes on. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

export interface Sections {
  readonly global: Draft<GlobalConfig>
  /** In the order of their first mention. */
  readonly pools: Draft<PoolConfig>[]
}

/** Files that include one another, at most this deep. */
const DEPTH = 5

export class ConfigReader {
  readonly sections: Sections = { global: draft(GLOBAL), pools: [] }
  readonly #host: ConfigHost
  readonly #prefix: string | undefined
  #pool: Draft<PoolConfig> | undefined
  #depth = 0

  /** `prefix` is that of the command line. */
  constructor(host: ConfigHost, prefix: string | undefined) {
    this.#host = host
    this.#prefix = prefix
  }

  /** Reads a file. Throws Refused when something has been said about it. */
  load(file: string): void {
    if (file === '') this.#refuse('fpm_conf_load_ini_file', 'configuration filename is empty')
    let text: string
    try {
      text = this.#host.read(file)
    } catch (error) {
      return this.#refuse('fpm_conf_load_ini_file', `failed to open configuration file '${file}': ${systemError(error)}`)
    }
    if (this.#depth >= DEPTH) this.#refuse('fpm_conf_load_ini_file', `failed to include more than ${DEPTH} files recursively`)
    this.#depth++
    let number = 0
    for (const line of text.split('\n')) {
      number++
      if (line !== '') this.#line(line, file, number)
    }
    this.#depth--
  }

  #line(line: string, file: string, number: number): void {
    const { statements, mistake } = readLine(line, (name) => this.#host.variable(name) ?? '')
    const place = `[${file}:${number}]`
    let include: string | undefined
    let refused = false
    try {
      for (const statement of statements) {
        if (statement.kind !== 'entry' || statement.name !== 'include' || statement.value === undefined) this.#statement(statement, place)
        else if (include === undefined) include = statement.value
        else this.#refuse('fpm_conf_ini_parser_entry', `${place} two includes at the same time !`)
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      refused = true
    }
    // PHP complains of the rest of the line even when the first part of it was refused.
    if (mistake !== undefined) this.#host.print(`PHP:  ${mistake}\n`)
    if (refused || mistake !== undefined) throw new Refused()
    if (include !== undefined) this.#include(fullPath(include, { prefixes: [this.#prefix] }), file, number)
  }

  #include(pattern: string, file: string, number: number): void {
    const found = this.#host.glob(pattern)
    const from = 'fpm_conf_ini_parser_include'
    if (found === 'nothing') {
      return this.#say('warning', from, `Nothing matches the include pattern '${pattern}' from ${file} at line ${number}.`)
    }
    // 2 is glob(3)'s GLOB_ABORTED.
    if (found === 'unreadable') return this.#refuse(from, `Unable to globalize '${pattern}' (ret=2) from ${file} at line ${number}.`)
    for (const path of found) {
      if (path.endsWith('/')) continue
      try {
        this.load(path)
      } catch (error) {
        if (!(error instanceof Refused)) throw error
        this.#refuse(from, `Unable to include ${path} from ${file} at line ${number}`)
      }
    }
  }

  #statement(statement: Statement, place: string): void {
    if (statement.kind === 'section') this.#section(statement.name)
    else if (statement.kind === 'array') this.#array(statement.name, statement.key, statement.value, place)
    else if (statement.value === undefined) {
      this.#refuse('fpm_conf_ini_parser_entry', `${place} value is NULL for a ZEND_INI_PARSER_ENTRY`)
    } else if (this.#pool === undefined) this.#entry(GLOBAL, this.sections.global, statement.name, statement.value, place)
    else this.#entry(POOL, this.#pool, statement.name, statement.value, place)
  }

  #section(name: string): void {
    if (name.toLowerCase() === 'global') {
      this.#pool = undefined
      return
    }
    this.#pool = this.sections.pools.find((pool) => pool.name?.toLowerCase() === name.toLowerCase())
    if (this.#pool !== undefined) return
    this.#pool = { ...draft(POOL), name, statusOf: undefined, accessSuppressPath: [], env: [], phpValues: [], phpAdminValues: [] }
    this.sections.pools.push(this.#pool)
  }

  #entry<C>(directives: readonly Directive<C>[], section: Draft<C>, name: string, text: string, place: string): void {
    const found = directives.find((each) => each.name === name.toLowerCase())
    if (found === undefined) return this.#refuse('fpm_conf_ini_parser_entry', `${place} unknown entry '${name}'`)
    const read = found.kind.read(text)
    const value = 'value' in read && found.kind.read === string.read ? this.#named(text) : read
    if ('refused' in value) {
      return this.#refuse('fpm_conf_ini_parser_entry', `${place} unable to parse value for entry '${found.name}': ${value.refused}`)
    }
    section[found.key] = value.value as Draft<C>[keyof C]
  }

  #array(name: string, key: string, text: string, place: string): void {
    const from = 'fpm_conf_ini_parser_array'
    if (name === 'access.suppress_path') {
      const faults: string[] = []
      if (key !== '') faults.push(`Keys provided to field 'access.suppress_path' are ignored`)
      if (!text.startsWith('/')) faults.push(`Values provided to field 'access.suppress_path' must begin with '/'`)
      for (const fault of faults) this.#say('error', from, `${place} ${fault}`)
      if (faults.length > 0) throw new Refused()
    } else if (key === '') this.#refuse(from, `${place} You must provide a key for field '${name}'`)
    const pool = this.#pool
    if (pool === undefined) return this.#refuse(from, `${place} Array are not allowed in the global section`)
    const found = ARRAYS.find((each) => each.name === name)
    if (found === undefined) return this.#refuse(from, `${place} unknown directive '${name}'`)
    if (name === 'env' && text === '') this.#refuse(from, `${place} empty value`)
    const read = found.flag ? boolean.read(text) : this.#named(text)
    if ('refused' in read) return this.#refuse(from, `${place} error while parsing '${name}[${key}]' : ${read.refused}`)
    const value = typeof read.value === 'boolean' ? (read.value ? '1' : '0') : read.value
    if (found.key === 'accessSuppressPath') pool.accessSuppressPath = [...pool.accessSuppressPath, value]
    else pool[found.key] = [...pool[found.key], [key, value] satisfies Pair]
  }

  /** `$pool` by its name. A pool whose own name has it would go on for ever in php-fpm; here it is replaced once. */
  #named(text: string): { readonly value: string } | { readonly refused: string } {
    if (!text.includes('$pool')) return { value: text }
    if (this.#pool === undefined) return { refused: `Can't use '$pool' when the pool is not defined` }
    return { value: text.replaceAll('$pool', () => this.#pool!.name!) }
  }

  #say(level: Message['level'], from: string, text: string): void {
    this.#host.say({ level, from, text })
  }

  #refuse(from: string, text: string): never {
    this.#say('error', from, text)
    throw new Refused()
  }
}
