// Finding PHP: which program speaks FastCGI here, and which version it is.

import { execFile } from 'node:child_process'
import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { GatewayError } from '../core/index.ts'

/** A php-cgi that was found. */
export interface PhpInterpreter {
  /** Absolute path of a php-cgi. */
  readonly file: string
  /** For instance `8.2.36`. */
  readonly version: string
}

/** What to tell somebody who has no php-cgi. */
export const PHP_INSTALL = 'apt install php-cgi'

/** `php-cgi` on PATH, else the newest `php-cgi8.2`-like name on it; undefined when there is none. */
export function findPhpCgi(path: string = process.env['PATH'] ?? ''): string | undefined {
  const versioned: { file: string; version: number }[] = []
  for (const folder of path.split(delimiter)) {
    if (folder === '') continue
    const plain = join(folder, 'php-cgi')
    if (isExecutable(plain)) return plain
    for (const name of namesIn(folder)) {
      const match = /^php-cgi(\d+)(?:\.(\d+))?$/.exec(name)
      if (match === null || !isExecutable(join(folder, name))) continue
      versioned.push({ file: join(folder, name), version: Number(match[1]) * 1000 + Number(match[2] ?? 0) })
    }
  }
  return versioned.sort((a, b) => b.version - a.version)[0]?.file
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    // PATH may name folders that are not there.
    return []
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Asks the program what it is: `-v` prints "PHP 8.2.36 (cgi-fcgi) ...". Rejects with CONFIG when it is not a FastCGI PHP. */
export function phpVersion(file: string): Promise<PhpInterpreter> {
  return new Promise((resolve, reject) => {
    // Nothing of our own environment: GATEWAY_INTERFACE or the like would make it believe in a CGI request.
    execFile(file, ['-v'], { timeout: 10_000, env: { PATH: process.env['PATH'] ?? '' } }, (error, stdout) => {
      const match = /^PHP (\S+) \((\S+)\)/m.exec(stdout)
      if (error === null && match !== null && match[2] === 'cgi-fcgi') {
        resolve({ file, version: match[1]! })
        return
      }
      const found = match === null ? (error?.message ?? 'it says nothing of PHP') : `it is PHP ${match[1]} (${match[2]})`
      reject(
        new GatewayError('CONFIG', {
          status: 500,
          message: `php: ${file} is not a php-cgi: ${found}; name one with --php-cgi, or: ${PHP_INSTALL}`,
        }),
      )
    })
  })
}
