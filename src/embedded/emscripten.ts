// What is used of Emscripten, in which both interpreters were compiled. The packages bring no types of it that fit both.

/** A file or folder of the virtual file system. */
export interface Node {
  readonly name: string
  readonly mode: number
  readonly mount: { readonly opts: { readonly root?: string; readonly writable?: boolean }; readonly mountpoint: string }
  readonly parent: Node
}

export interface Stream {
  readonly fd: number
  readonly path?: string
  readonly node: Node & { readonly isSharedFS?: boolean }
  /** The file of the real system, where it is one. */
  readonly nfd?: number
  /** Equal for those that were made of one another by `dup`. */
  readonly shared: object
  readonly flags: number
  readonly position: number
}

export type Operations = Record<string, (...args: never[]) => unknown>

/** A kind of file system. */
export interface FileSystemType {
  realPath?(node: Node): string
  node_ops?: Operations
  stream_ops?: Operations
  ops_table?: Record<string, { node: Operations; stream: Operations }> | null
}

export interface FileSystem {
  readonly ErrnoError: new (errno: number) => Error
  readonly filesystems: { readonly NODEFS: FileSystemType; readonly MEMFS: FileSystemType }
  mkdirTree(path: string): void
  mount(type: FileSystemType, options: object, path: string): void
  chdir(path: string): void
  writeFile(path: string, data: string): void
  readonly streams: readonly (Stream | null | undefined)[]
  close(stream: Stream): void
  getStream(fd: number): Stream | null
}

/** Errors as WASI numbers them. */
export const Errno = { EACCES: 2, EINVAL: 28, ENOENT: 44, ENOSYS: 52, EPERM: 63, EPIPE: 64, EROFS: 69, EAGAIN: 6, EBADF: 8 } as const

/** One line about what an interpreter threw. Emscripten's own errors are no Errors. */
export function reasonOf(error: unknown): string {
  const { name, message, errno } = error as { name?: string; message?: string; errno?: number }
  return message ?? (errno === undefined ? String(error) : `${name ?? 'error'} ${errno}`)
}
