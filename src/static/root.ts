// The folder that is served, and the fence around it: what a path means on the disk, after every symbolic link is followed.
//
// Paths are bytes, as the file system has them: a name that is no UTF-8 is found too. One whose real path lies outside the
// root is as good as absent, unless the operator said that links may lead out.

import { realpath, realpathSync, stat, statSync } from 'node:fs'
import { GatewayError, toByteString } from '../core/index.ts'
import type { Stats } from 'node:fs'
import type { ByteString } from '../core/index.ts'

/** A regular file. */
export interface FileFact extends Identity {
  /** Told from the other facts by it. */
  readonly kind: 'file'
  /** Where it really is, links followed: absolute. */
  readonly real: ByteString
  /** Somebody has the execute bit. */
  readonly executable: boolean
}

/** What tells one content of a file from another. */
export interface Identity {
  /** In bytes. */
  readonly size: number
  /** Last change, in milliseconds since 1970. */
  readonly mtimeMs: number
  /** Inode number. */
  readonly ino: number
  /** Number of its device. */
  readonly dev: number
}

/** What a path under the root is. `outside`: a link leads out of the root. `denied`: the file system does not let us look. */
export type Fact = FileFact | { readonly kind: 'directory' | 'nothing' | 'outside' | 'denied' }

const nothing: Fact = { kind: 'nothing' }
const directory: Fact = { kind: 'directory' }
const outside: Fact = { kind: 'outside' }
const denied: Fact = { kind: 'denied' }

/** A path as node:fs takes it: text would be encoded as UTF-8, bytes above 0x7f must go as a Buffer. */
export function nativePath(path: ByteString): string | Buffer {
  for (let i = 0; i < path.length; i++) if (path.charCodeAt(i) > 0x7f) return Buffer.from(path, 'latin1')
  return path
}

/** A folder, and the fence around it: what a path means on the disk, after every link is followed. */
export class Root {
  /** Absolute and real, without a slash at the end (empty for `/`). A link given as the root is followed once, here. */
  readonly path: ByteString
  readonly #prefix: ByteString
  readonly #symlinks: boolean

  /** @param symlinks links may lead out of the root. Throws CONFIG when there is no such folder. */
  constructor(folder: string, symlinks: boolean = false) {
    this.path = realFolder(folder)
    this.#prefix = this.path + '/'
    this.#symlinks = symlinks
  }

  /** What `path` (decoded, beginning with `/`, without dot segments) is. Rejects only for what is no answer: EIO, EMFILE. */
  async look(path: ByteString): Promise<Fact> {
    if (path.charCodeAt(0) !== 0x2f || path.includes('\0')) return nothing
    try {
      const real = await realPath(this.path + path)
      if (!this.#symlinks && !this.contains(real)) return outside
      const stats = await status(real)
      if (stats.isDirectory()) return directory
      // "/file/" is not the file: relative links in it would mean something else.
      if (!stats.isFile() || path.endsWith('/')) return nothing
      return { kind: 'file', real, executable: (stats.mode & 0o111) !== 0, ...identity(stats) }
    } catch (error) {
      return absent(error)
    }
  }

  /** Whether a real path is the root or lies in it. */
  contains(real: ByteString): boolean {
    return real === this.path || real.startsWith(this.#prefix)
  }

  /** A real path as one from the root, to judge its names; of one outside only the last name. */
  inner(real: ByteString): ByteString {
    return this.contains(real) ? real.slice(this.path.length) : real.slice(real.lastIndexOf('/'))
  }

  /** Whether the file at `path` still is the one it was; undefined: whether there still is none. */
  async unchanged(path: ByteString, was: Identity | undefined): Promise<boolean> {
    try {
      const stats = await status(this.path + path)
      return was !== undefined && same(identity(stats), was)
    } catch {
      return was === undefined
    }
  }
}

export function identity(stats: Stats): Identity {
  return { size: stats.size, mtimeMs: stats.mtimeMs, ino: stats.ino, dev: stats.dev }
}

export function same(a: Identity, b: Identity): boolean {
  return a.size === b.size && a.mtimeMs === b.mtimeMs && a.ino === b.ino && a.dev === b.dev
}

function realFolder(folder: string): ByteString {
  try {
    const real = realpathSync.native(nativePath(toByteString(folder)), { encoding: 'latin1' })
    if (statSync(nativePath(real)).isDirectory()) return real === '/' ? '' : real
  } catch (cause) {
    throw new GatewayError('CONFIG', { status: 500, message: `static: the root "${folder}" cannot be opened`, cause })
  }
  throw new GatewayError('CONFIG', { status: 500, message: `static: the root "${folder}" is not a folder` })
}

/** What an error of looking means; thrown again when it says nothing about the path. */
function absent(error: unknown): Fact {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ENAMETOOLONG':
    case 'ELOOP':
      return nothing
    case 'EACCES':
    case 'EPERM':
      return denied
    default:
      throw error
  }
}

function realPath(path: ByteString): Promise<ByteString> {
  return new Promise((resolve, reject) => {
    realpath.native(nativePath(path), { encoding: 'latin1' }, (error, real) => (error === null ? resolve(real) : reject(error)))
  })
}

function status(path: ByteString): Promise<Stats> {
  return new Promise((resolve, reject) => {
    stat(nativePath(path), (error, stats) => (error === null ? resolve(stats) : reject(error)))
  })
}
