// What an interpreter in WebAssembly sees of the files of this machine: the folders that it is given, at the places where they really
// are, and nothing else. Runs in the interpreter's thread.
//
// Inside, a link is followed in the virtual file system, where nothing lies outside; so one that leads out leads nowhere. What is left
// is that the real file system follows links too, in paths that were looked up before somebody put a link in their middle. So each
// path is looked at again when it is used, and no links can be made.

import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Errno } from './emscripten.ts'
import type { FileSystem, FileSystemType, Node, Operations, Stream } from './emscripten.ts'

/** A folder that is shown. */
export interface Mount {
  /** Its real path, where it will be found too unless `at` says otherwise. */
  readonly path: string
  readonly at?: string
  readonly writable: boolean
}

const LINK = 0o120000
const DEVICE = 0o020000
const TYPE = 0o170000
/** O_WRONLY, O_RDWR, O_CREAT, O_TRUNC and O_APPEND in Emscripten. */
const WRITES = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000

/** Shows the folders. */
export function mountFolders(fs: FileSystem, mounts: readonly Mount[]): void {
  const { NODEFS } = fs.filesystems
  guardPaths(fs, NODEFS)
  guardWrites(fs, NODEFS)
  nameAll(NODEFS)
  for (const { path, at = path, writable } of mounts) {
    fs.mkdirTree(at)
    fs.mount(NODEFS, { root: path, writable }, at)
  }
}

/**
 * From now on the memory that stands in for the other folders does not change: what one request left there another would find.
 * Devices may come and go, for an interpreter makes some for itself.
 */
export function freezeMemory(fs: FileSystem): void {
  const refuse = (): never => {
    throw new fs.ErrnoError(Errno.EROFS)
  }
  for (const { node, stream } of Object.values(fs.filesystems.MEMFS.ops_table ?? {})) {
    for (const name of ['rename', 'rmdir', 'symlink', 'setattr']) if (name in node) node[name] = refuse
    for (const name of ['write', 'allocate']) if (name in stream) stream[name] = refuse
    if ('mknod' in node) before(node, 'mknod', (_: Node, __: string, mode: number) => ((mode & TYPE) === DEVICE ? undefined : refuse()))
    if ('unlink' in node) before(node, 'unlink', (parent: Node) => (parent.name === 'dev' ? undefined : refuse()))
  }
}

function guardPaths(fs: FileSystem, type: FileSystemType): void {
  const realPath = type.realPath!.bind(type)
  type.realPath = (node) => {
    const path = realPath(node)
    const isLink = (node.mode & TYPE) === LINK
    const real = (isLink ? undefined : resolved(path)) ?? joined(resolved(dirname(path)), basename(path))
    if (real === undefined) throw new fs.ErrnoError(Errno.ENOENT)
    if (real !== path) throw new fs.ErrnoError(Errno.EACCES)
    return path
  }
}

/** undefined where nothing is, as with a file that is about to be made. */
function resolved(path: string): string | undefined {
  try {
    return realpathSync.native(path)
  } catch {
    return undefined
  }
}

function joined(folder: string | undefined, name: string): string | undefined {
  return folder === undefined ? undefined : join(folder, name)
}

function guardWrites(fs: FileSystem, type: FileSystemType): void {
  const node = type.node_ops!
  const stream = type.stream_ops!
  const check = ({ mount }: Node): void => {
    if (mount.opts.writable !== true) throw new fs.ErrnoError(Errno.EROFS)
  }
  for (const name of ['mknod', 'rename', 'unlink', 'rmdir', 'setattr'] as const) before(node, name, check)
  node['symlink'] = () => {
    throw new fs.ErrnoError(Errno.EPERM)
  }
  before(stream, 'open', (opened: Stream) => {
    if ((opened.flags & WRITES) !== 0) check(opened.node)
  })
}

/** A folder names itself and the one above it, as everywhere: there are programs that take the first two names away. */
function nameAll({ node_ops }: FileSystemType): void {
  const readdir = node_ops!['readdir'] as (this: unknown, node: Node) => string[]
  node_ops!['readdir'] = function all(this: unknown, node: Node): string[] {
    const names = readdir.call(this, node)
    return names.includes('.') ? names : ['.', '..', ...names]
  } as Operations[string]
}

function before<Args extends unknown[]>(operations: Operations, name: string, check: (...args: Args) => void): void {
  const original = operations[name] as (this: unknown, ...args: unknown[]) => unknown
  operations[name] = function guarded(this: unknown, ...args: Args): unknown {
    check(...args)
    return original.apply(this, args)
  } as Operations[string]
}
