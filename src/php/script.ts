// Which part of a path is the script, and what is left for PATH_INFO. By bytes, never by a regular expression over the
// whole path (CVE-2019-11043), and never on a case-folded copy, whose length may differ (CVE-2026-27590).

import type { ByteString } from '../core/index.ts'

/** Suffixes of files that PHP may run: php-fpm's `security.limit_extensions`. */
export const PHP_EXTENSIONS: readonly string[] = ['.php', '.phar']

/** One way to divide a path. */
export interface ScriptSplit {
  /** Up to and with the suffix: `/blog/index.php`. */
  readonly script: ByteString
  /** The rest: empty, or begins with `/`. */
  readonly pathInfo: ByteString
}

/**
 * Every place where a segment ends in one of the suffixes, shortest first: `/a.php/b.php/c` could be a script `/a.php` with
 * path info `/b.php/c`, or, where `a.php` is a folder, `/a.php/b.php` with `/c`. Which one it is, the files decide.
 */
export function splitScript(path: ByteString, extensions: readonly string[] = PHP_EXTENSIONS): ScriptSplit[] {
  const found: ScriptSplit[] = []
  for (let end = path.indexOf('/', 1); ; end = path.indexOf('/', end + 1)) {
    const script = end === -1 ? path : path.slice(0, end)
    if (hasExtension(script, extensions)) found.push({ script, pathInfo: path.slice(script.length) })
    if (end === -1) return found
  }
}

/** Whether the last segment is more than a suffix and ends in one. Case counts: on Linux `X.PHP` is another file, and no script. */
export function hasExtension(path: ByteString, extensions: readonly string[] = PHP_EXTENSIONS): boolean {
  return extensions.some(
    (extension) =>
      path.endsWith(extension) && path.charCodeAt(path.length - extension.length - 1) !== 0x2f && path.length > extension.length,
  )
}
