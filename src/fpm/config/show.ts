// `-tt`: a configuration as php-fpm shows it, line by line.

import type { FpmConfig, GlobalConfig, PoolConfig } from './types.ts'
import { GLOBAL, HIDDEN, POOL } from './directives.ts'
import type { Directive } from './directives.ts'

/** Its lines, without their times and levels. */
export function showConfig({ global, pools }: FpmConfig): string[] {
  const lines = ['[global]', ...GLOBAL.flatMap((each) => (each.name === 'systemd_interval' ? [interval(global)] : show(each, global))), ' ']
  for (const pool of pools) if (pool.statusOf === undefined) lines.push(...showPool(pool), ' ')
  return lines
}

function interval({ systemdInterval }: GlobalConfig): string {
  return `\tsystemd_interval = ${Math.trunc(systemdInterval)}s`
}

function showPool(pool: PoolConfig): string[] {
  const lines = [`[${pool.name}]`]
  for (const each of POOL) {
    lines.push(...show(each, pool))
    // php-fpm keeps these in lists to whose head it adds: the last one is shown first.
    if (each.name === 'access.format')
      for (const path of pool.accessSuppressPath.toReversed()) lines.push(`\taccess.suppress_path[] = ${path}`)
  }
  for (const [name, value] of pool.env.toReversed()) lines.push(`\tenv[${name}] = ${value}`)
  for (const [name, value] of pool.phpValues.toReversed()) lines.push(`\tphp_value[${name}] = ${value}`)
  for (const [name, value] of pool.phpAdminValues.toReversed()) lines.push(`\tphp_admin_value[${name}] = ${value}`)
  return lines
}

function show<C>({ name, key, kind }: Directive<C>, section: C): string[] {
  return HIDDEN.has(name) ? [] : [`\t${name} = ${kind.show(section[key])}`]
}
