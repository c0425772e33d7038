// PHP_VALUE and PHP_ADMIN_VALUE: settings that a web server sends with a request, in php.ini's words. Pure.
//
// What they become is a list of names and values, and each is written anew for php-cgi: nothing of a value can be another line.

import type { ByteString } from '../core/index.ts'
import type { Pair, PoolConfig } from './config/types.ts'
import { readLine } from './config/statements.ts'

export interface RequestSettings {
  readonly values: readonly Pair[]
  readonly adminValues: readonly Pair[]
  /** php-fpm's words for what is none, for STDERR. */
  readonly complaints: readonly string[]
}

/** Bytes of both together. More would not fit where php-cgi reads it. */
export const SETTINGS_LIMIT = 65_536

/** @param value of PHP_VALUE. @param admin of PHP_ADMIN_VALUE. */
export function readSettings(value: ByteString, admin: ByteString): RequestSettings {
  const complaints: string[] = []
  return { values: readPairs(value, complaints), adminValues: readPairs(admin, complaints), complaints }
}

const SAID = 'Passing INI directive through FastCGI:'

function readPairs(text: ByteString, complaints: string[]): Pair[] {
  const pairs: Pair[] = []
  if (text === '') return pairs
  // What follows a mistake is not read, as PHP does not read it.
  for (const statement of readLine(Buffer.from(text, 'latin1').toString(), () => '').statements) {
    if (statement.kind !== 'entry') complaints.push(`${SAID} only classic entries are allowed`)
    else if (statement.value === undefined) complaints.push(`${SAID} empty value for key '${statement.name}'`)
    else pairs.push([statement.name, statement.value])
  }
  return pairs
}

/**
 * The pool as it is with them. Of a name given twice the last one counts; one that the pool's scripts cannot change stays so. Workers come
 * as requests do, for how many will ask for it is not known.
 */
export function withSettings(config: PoolConfig, { values, adminValues }: RequestSettings): PoolConfig {
  const locked = new Set([...config.phpAdminValues, ...adminValues].map(([name]) => name))
  const free = values.filter(([name]) => !locked.has(name)).toReversed()
  const fixed = [...values.filter(([name]) => locked.has(name)), ...adminValues].toReversed()
  return {
    ...config,
    pm: 'ondemand',
    pmProcessIdleTimeout: config.pmProcessIdleTimeout || IDLE_TIMEOUT,
    phpValues: [...free, ...config.phpValues],
    phpAdminValues: [...fixed, ...config.phpAdminValues],
  }
}

/** php-fpm's default, in seconds. */
const IDLE_TIMEOUT = 10
