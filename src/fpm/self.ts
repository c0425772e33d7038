// What the master is to the system: its limits, its priority, its pid file.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { GatewayError, describe } from '../core/index.ts'
import { systemError } from './config/host.ts'
import type { GlobalConfig } from './config/types.ts'

/** Limits and priority of this process, which all it starts inherit. */
export function own({ rlimitFiles, rlimitCore, processPriority }: GlobalConfig, warn: (text: string) => void): void {
  const limits = [
    ...(rlimitFiles > 0 ? [`--nofile=${rlimitFiles}:${rlimitFiles}`] : []),
    ...(rlimitCore === 0 ? [] : [`--core=${rlimitCore}:${rlimitCore}`]),
  ]
  try {
    if (limits.length > 0) execFileSync('prlimit', [`--pid=${process.pid}`, ...limits], { stdio: 'pipe', timeout: 10_000 })
  } catch (error) {
    warn(`failed to set rlimit_files and rlimit_core: ${describe(error)}`)
  }
  if (processPriority === undefined || process.geteuid?.() !== 0) return
  setPriority(processPriority)
}

/** Throws CONFIG in php-fpm's words. @returns its path. */
export function writePid(file: string): string {
  try {
    writeFileSync(file, String(process.pid), { mode: 0o644 })
    return file
  } catch (error) {
    throw new GatewayError('CONFIG', { status: 500, message: `Unable to create the PID file (${file}).: ${systemError(error)}` })
  }
}
