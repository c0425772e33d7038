// What is looked at only when a configuration is started: who the workers will be, and what an ordinary user's php-fpm leaves out.

import { describe } from '../../core/index.ts'
import { identify } from '../user.ts'
import type { ConfigHost } from './host.ts'
import type { FpmConfig, PoolConfig } from './types.ts'

const FROM = 'fpm_unix_conf_wp'

/** Says what is ignored, and refuses root as a pool's user or group unless `-R` allows it. False: it has been said why not. */
export function checkStart({ global, pools }: FpmConfig, host: ConfigHost, allowRoot: boolean): boolean {
  if (!host.root) {
    if (global.processPriority !== undefined) say(host, `'process.priority' directive is ignored when FPM is not running as root`)
    for (const pool of pools) sayIgnored(pool, host)
    return true
  }
  for (const pool of pools) {
    const text = refusal(pool, allowRoot)
    if (text === undefined) continue
    host.say({ level: 'error', from: FROM, text })
    return false
  }
  return true
}

function refusal({ name, user, group }: PoolConfig, allowRoot: boolean): string | undefined {
  const root = allowRoot ? undefined : `[pool ${name}] please specify user and group other than root`
  if (!isSet(user)) return root
  try {
    const { uid, gid, name: known } = identify(name, user, group)
    // A number that nobody has brings no group with it, which is root's to php-fpm.
    return uid === 0 || gid === 0 || (known === undefined && !isSet(group)) ? root : undefined
  } catch (error) {
    return describe(error)
  }
}

function sayIgnored(pool: PoolConfig, host: ConfigHost): void {
  const ignored = [
    isSet(pool.user) && 'user',
    isSet(pool.group) && 'group',
    isSet(pool.chroot) && 'chroot',
    pool.processPriority !== undefined && 'process.priority',
  ]
  for (const directive of ignored) {
    if (directive !== false) say(host, `[pool ${pool.name}] '${directive}' directive is ignored when FPM is not running as root`)
  }
}

function say(host: ConfigHost, text: string): void {
  host.say({ level: 'notice', from: FROM, text })
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== ''
}
