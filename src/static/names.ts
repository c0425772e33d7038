// Which names are never served as a file, whatever the web server's user may read.
//
// Names are bytes. Letters are compared by folding A to Z only: folding more of them changes lengths, and an index found
// in a folded copy then points elsewhere in the original (CVE-2026-27590).

import type { ByteString } from '../core/index.ts'

/** Extensions of programs, without the dot: their text is source, and often holds passwords. */
const SOURCES: readonly string[] = (
  'php php3 php4 php5 php7 php8 phps pht phtml phar inc py pyc pyo pyw pl pm rb erb lua tcl awk ' +
  'cgi fcgi scgi wsgi sh bash zsh ksh csh fish'
).split(' ')
const SETTINGS = new Set(['ini', 'conf', 'env', 'htaccess', 'htpasswd'])
const COPIES = new Set(['bak', 'old', 'orig', 'save', 'swp', 'swo', 'tmp', 'dist', 'rej'])
const sources = new Set(SOURCES)

/** The same bytes with A to Z made lower-case and nothing else changed, so that the length stays. */
export function asciiLower(text: ByteString): ByteString {
  let out = ''
  let from = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x41 || code > 0x5a) continue
    out += text.slice(from, i) + String.fromCharCode(code | 0x20)
    from = i + 1
  }
  return from === 0 ? text : out + text.slice(from)
}

/** The last segment of a path. */
export function baseName(path: ByteString): ByteString {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** What follows the last dot of a name, lower-case; empty where there is none, or only one in front. */
export function extension(name: ByteString): ByteString {
  const dot = name.lastIndexOf('.')
  return dot <= 0 ? '' : asciiLower(name.slice(dot + 1))
}

/** Whether a segment begins with a dot. `/.well-known/` is the one folder with such a name that is for the public (RFC 8615). */
export function hasDotSegment(path: ByteString): boolean {
  for (let at = path.indexOf('/.'); at !== -1; at = path.indexOf('/.', at + 1)) {
    if (at === 0 && (path === '/.well-known' || path.startsWith('/.well-known/'))) continue
    return true
  }
  return false
}

/** Whether the text of the file of this name is a program or its configuration, or an editor's copy of one (`x.php~`, `x.php.bak`). */
export function isSource(name: ByteString): boolean {
  let rest = name.endsWith('~') ? name.slice(0, -1) : name
  let last = extension(rest)
  while (COPIES.has(last)) {
    rest = rest.slice(0, -(last.length + 1))
    last = extension(rest)
  }
  return sources.has(last) || SETTINGS.has(last) || asciiLower(rest).startsWith('viaduct.config.')
}

/** Whether a path (from the root, beginning with `/`) names something that is never served as a file. */
export function isHidden(path: ByteString): boolean {
  return hasDotSegment(path) || isSource(baseName(path))
}
