// The real programs that tests run against. Missing ones are skipped loudly on a developer's machine and fail in CI.

import { execFileSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const missing = new Set<string>()

/** The path of a program on PATH or in sbin, or undefined. */
export function which(program: string): string | undefined {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/sbin']) {
    const file = join(folder, program)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not in this folder; the next one may have it.
    }
  }
  return undefined
}

/** Whether every one of these programs is there. In CI a missing one is an error: a peer that is skipped there is never tested. */
export function has(...programs: string[]): boolean {
  const lacking = programs.filter((program) => which(program) === undefined)
  if (lacking.length === 0) return true
  if (process.env['CI'] === 'true') throw new Error(`missing in CI: ${lacking.join(', ')}`)
  for (const program of lacking) {
    if (missing.has(program)) continue
    missing.add(program)
    console.warn(`SKIPPED: tests that need ${program}; install it to run them`)
  }
  return false
}

/** Whether this Python has these modules. In CI a missing one is an error. */
export function hasModules(python: string, ...modules: readonly string[]): boolean {
  try {
    execFileSync(python, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' })
    return true
  } catch {
    if (process.env['CI'] === 'true') throw new Error(`missing in CI: ${modules.join(', ')} for ${python}`)
    console.warn(`SKIPPED: ${python} has no ${modules.join(', ')}; scripts/install-peers.sh brings it`)
    return false
  }
}
