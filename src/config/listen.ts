// Addresses to listen on, as a configuration writes them.

import { resolve } from 'node:path'
import type { ListenSpec } from '../runtime/index.ts'

/** `HOST:PORT`, `PORT` (on 127.0.0.1), `:PORT` and `*:PORT` (every address), `[IPV6]:PORT`, `unix:/path` (from `folder`); undefined for anything else. */
export function readListen(text: string, folder: string, mode?: string): ListenSpec | undefined {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    if (path === '' || path.includes('\0')) return undefined
    return { path: resolve(folder, path), ...(mode !== undefined && { mode: Number.parseInt(mode, 8) }) }
  }
  const match = /^(?:(\[[0-9A-Fa-f:.]+\]|[^:[\]/\s]*):)?(\d{1,5})$/.exec(text)
  const port = Number(match?.[2])
  if (match === null || port > 65_535) return undefined
  const host = match[1]
  if (host === undefined) return { host: '127.0.0.1', port }
  return { host: host === '' ? '*' : host.replace(/^\[(.*)\]$/, '$1'), port }
}
