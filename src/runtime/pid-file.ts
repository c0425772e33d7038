// The file that tells others which process to signal.

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { GatewayError } from '../core/index.ts'

/** Writes this process's pid, in one step for whoever reads it. Returns what removes the file again, if it is still ours. */
export function writePidFile(path: string): () => void {
  const temporary = `${path}.${process.pid}`
  const content = `${process.pid}\n`
  try {
    writeFileSync(temporary, content, { mode: 0o644 })
    renameSync(temporary, path)
  } catch (cause) {
    rmSync(temporary, { force: true })
    throw new GatewayError('CONFIG', { status: 500, message: `runtime: the pid file ${path} cannot be written`, cause })
  }
  return () => {
    try {
      if (readFileSync(path, 'utf8') === content) rmSync(path)
    } catch {
      // Somebody has removed it already, or made it unreadable: not ours any more.
    }
  }
}
