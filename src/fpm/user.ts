// Who a pool is: the numbers behind its names, as the system knows them (passwd, or a directory that it asks).

import { execFileSync } from 'node:child_process'
import { GatewayError } from '../core/index.ts'

/** Of an owner that nobody is php-fpm says the last error of the system, which there is none. */
const OWNER = ': Success (0)'

export interface Identity {
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  /** undefined for a number that nobody has. */
  readonly name: string | undefined
  readonly home: string | undefined
}

/** Of a pool's `user` and `group`, names or numbers. Throws CONFIG for a name that nobody has. */
export function identify(pool: string, user: string, group: string | undefined): Identity {
  const entry = passwd(user)
  if (entry === undefined && !/^\d+$/.test(user)) throw unknown(pool, 'uid for user', user)
  const uid = entry?.uid ?? Number(user)
  const gid = group === undefined || group === '' ? (entry?.gid ?? uid) : groupId(pool, group, '')
  return { uid, gid, groups: entry === undefined ? [] : groupsOf(entry.name), name: entry?.name, home: entry?.home }
}

/** A user's number; for a name that nobody has CONFIG, in the words of what looks for owners of sockets. */
export function userId(pool: string, user: string): number {
  if (/^\d+$/.test(user)) return Number(user)
  const entry = passwd(user)
  if (entry === undefined) throw unknown(pool, 'uid for user', user, OWNER)
  return entry.uid
}

/** A group's number, as userId. */
export function groupId(pool: string, group: string, suffix: string = OWNER): number {
  if (/^\d+$/.test(group)) return Number(group)
  const gid = lookUp('group', group)?.[2]
  if (gid === undefined) throw unknown(pool, 'gid for group', group, suffix)
  return Number(gid)
}

function passwd(user: string): { name: string; uid: number; gid: number; home: string } | undefined {
  const fields = lookUp('passwd', user)
  if (fields === undefined) return undefined
  return { name: fields[0]!, uid: Number(fields[2]), gid: Number(fields[3]), home: fields[5]! }
}

/** The fields of an entry. getent asks whatever the system asks. */
function lookUp(database: 'passwd' | 'group', name: string): readonly string[] | undefined {
  if (name === '' || name.startsWith('-')) return undefined
  try {
    const text = execFileSync('getent', [database, name], { encoding: 'latin1', timeout: 10_000, stdio: ['ignore', 'pipe', 'ignore'] })
    return text.split('\n')[0]!.split(':')
  } catch {
    return undefined
  }
}

function groupsOf(user: string): number[] {
  try {
    const text = execFileSync('id', ['-G', '--', user], { encoding: 'latin1', timeout: 10_000, stdio: ['ignore', 'pipe', 'ignore'] })
    return text.trim().split(' ').map(Number)
  } catch {
    return []
  }
}

function unknown(pool: string, what: string, name: string, suffix = ''): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: `[pool ${pool}] cannot get ${what} '${name}'${suffix}` })
}
