// Pieces of text that the FastCGI tools share: times, sizes, the beginning of a content, whatever bytes it is made of.

import { describe, fromByteString } from '../core/index.ts'
import { visible } from '../process/index.ts'

/** `0.42 ms`, `12.3 ms`, `456 ms`, `12.3 s`: three digits. */
export function milliseconds(time: number): string {
  if (time >= 9999.5) return `${(time / 1000).toFixed(1)} s`
  return `${time.toFixed(time < 9.995 ? 2 : time < 99.95 ? 1 : 0)} ms`
}

/** Bytes from outside as text that says nothing to a terminal. */
export function shown(bytes: string): string {
  return visible(fromByteString(bytes))
}

/** What the system says when nobody can be reached, and what that means. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket: is it running?',
  ECONNREFUSED: 'nobody listens there: is it running?',
  EACCES: 'this user may not use the socket',
  EPERM: 'this user may not use the socket',
  ENOTSOCK: 'it is no socket',
  EAGAIN: 'it is too busy to take another connection',
  ENOTFOUND: 'there is no such host',
}

/** What went wrong, for a person: what a message begins with for programs is left out, and a code explained. */
export function problemOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const code = /^fastcgi: cannot connect to .*: (E[A-Z]+)$/.exec(message)?.[1]
  const reason = code === undefined ? undefined : REASONS[code]
  const said = reason === undefined ? describe(error) : `${message} (${reason})`
  return shown(said.replace(/^(?:fastcgi|core|capture): /, ''))
}

const LINES = 8
const LINE_LENGTH = 160
const HEX_BYTES = 64
/** What text has none of: control characters but tab, line break and return. */
const BINARY = /[\0-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f]/

/** The first lines of a content, or its first bytes where it is no text, and how much more there is of it. */
export function preview(content: Buffer, length: number = content.length): string[] {
  if (content.length === 0) return []
  const text = content.toString('latin1', 0, LINES * LINE_LENGTH)
  const [lines, used] = BINARY.test(text) ? hex(content) : firstLines(text)
  const more = length - used
  return more > 0 ? [...lines, `... ${more} more byte${more === 1 ? '' : 's'}`] : lines
}

function firstLines(text: string): [string[], number] {
  const lines: string[] = []
  let at = 0
  while (at < text.length && lines.length < LINES) {
    const newline = text.indexOf('\n', at)
    const end = Math.min(newline === -1 ? text.length : newline, at + LINE_LENGTH)
    lines.push(shown(text.slice(at, end).replace(/\r$/, '')))
    at = end === newline ? end + 1 : end
  }
  return [lines, at]
}

/** `00000010  68 65 6c 6c 6f  |hello|` */
function hex(content: Buffer): [string[], number] {
  const lines: string[] = []
  const end = Math.min(content.length, HEX_BYTES)
  for (let at = 0; at < end; at += 16) {
    const row = content.subarray(at, Math.min(end, at + 16))
    const bytes = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const text = row.toString('latin1').replace(/[^ -~]/g, '.')
    lines.push(`${at.toString(16).padStart(8, '0')}  ${bytes.padEnd(47)}  |${text}|`)
  }
  return [lines, end]
}
