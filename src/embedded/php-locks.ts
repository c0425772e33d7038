// flock(2) and fcntl(2) for an interpreter in WebAssembly: asks the pool, and waits for its answer. Runs in the interpreter's thread.

import { fstatSync } from 'node:fs'
import { Errno } from './emscripten.ts'
import type { FileSystem, Stream } from './emscripten.ts'
import type { LockMessage } from './php-messages.ts'

/** What the interpreter says about itself, of which this is used. */
export interface UserSpaceContext {
  readonly FS: FileSystem
  readonly memory: { readonly HEAP16: Cell; readonly HEAP32: Cell; readonly HEAP64: Cell<bigint> }
  readonly wasmImports: { builtin_fd_close(fd: number): number; builtin_fcntl64(fd: number, command: number, args: number): number }
}
interface Cell<Value = number> {
  get(offset: number): Value
  set(offset: number, value: Value): void
}

const GETLK = 12
const SETLK = 13
const SETLKW = 14
// Of struct flock: type 0, whence 2 (16 bits), start 8, length 16 (64 bits), pid 24.
const UNLOCK = 2
const WRITE_LOCK = 1
const LOCK_SH = 1
const LOCK_EX = 2
const LOCK_NB = 4
const LOCK_UN = 8

export interface UserSpace {
  flock(fd: number, operation: number): number
  fcntl64(fd: number, command: number, args: number): number
  fd_close(fd: number): number
  js_release_file_locks(): void
}

/** @param ask sends a question and waits; true: it is granted. */
export function lockingUserSpace(context: UserSpaceContext, ask: (question: LockMessage) => boolean): UserSpace {
  const { FS, memory, wasmImports } = context
  const holders = new WeakMap<object, string>()
  const locked = new Set<object>()
  /** Files of which ranges were locked: all of those are gone with the first descriptor of the file that is closed (POSIX). */
  const ranged = new Set<string>()
  let made = 0

  const real = (fd: number): (Stream & { nfd: number }) | undefined => {
    const stream = FS.getStream(fd)
    return stream?.nfd === undefined ? undefined : (stream as Stream & { nfd: number })
  }
  const holderOf = (stream: Stream): string => {
    const known = holders.get(stream.shared) ?? String(++made)
    holders.set(stream.shared, known)
    return known
  }
  const whole = { type: 'lock', start: 0, end: Infinity } as const

  return {
    flock(fd, operation) {
      const stream = real(fd)
      if (stream === undefined) return 0
      const of = { ...whole, key: `flock:${identity(stream.nfd)}`, holder: holderOf(stream), exclusive: (operation & LOCK_EX) !== 0 }
      if ((operation & LOCK_UN) !== 0) {
        ask({ ...of, how: 'release' })
        return 0
      }
      if ((operation & (LOCK_SH | LOCK_EX)) === 0) return -Errno.EINVAL
      locked.add(stream.shared)
      return ask({ ...of, how: (operation & LOCK_NB) === 0 ? 'wait' : 'try' }) ? 0 : -Errno.EAGAIN
    },

    fcntl64(fd, command, args) {
      const stream = command === GETLK || command === SETLK || command === SETLKW ? real(fd) : undefined
      if (stream === undefined) return wasmImports.builtin_fcntl64(fd, command, args)
      const at = memory.HEAP32.get(args >> 2)
      const type = memory.HEAP16.get(at >> 1)
      const whence = memory.HEAP16.get((at + 2) >> 1)
      const length = Number(memory.HEAP64.get((at + 16) >> 3))
      const base = whence === 0 ? 0 : whence === 1 ? stream.position : fstatSync(stream.nfd).size
      const start = base + Number(memory.HEAP64.get((at + 8) >> 3))
      const range = {
        type: 'lock',
        key: identity(stream.nfd),
        holder: 'process',
        exclusive: type === WRITE_LOCK,
        start,
        end: length === 0 ? Infinity : start + length,
      } as const
      if (command === GETLK) {
        if (ask({ ...range, how: 'test' })) memory.HEAP16.set(at >> 1, UNLOCK)
        else memory.HEAP32.set((at + 24) >> 2, 1)
        return 0
      }
      if (type === UNLOCK) {
        ask({ ...range, how: 'release' })
        return 0
      }
      ranged.add(range.key)
      return ask({ ...range, how: command === SETLKW ? 'wait' : 'try' }) ? 0 : -Errno.EAGAIN
    },

    fd_close(fd) {
      const stream = real(fd)
      if (stream !== undefined) {
        const key = identity(stream.nfd)
        if (locked.delete(stream.shared)) ask({ ...whole, how: 'release', key: `flock:${key}`, holder: holderOf(stream), exclusive: true })
        if (ranged.delete(key)) ask({ ...whole, how: 'release', key, holder: 'process', exclusive: true })
      }
      return wasmImports.builtin_fd_close(fd)
    },

    // The pool does that at the end of each request.
    js_release_file_locks() {},
  }
}

function identity(fd: number): string {
  const { dev, ino } = fstatSync(fd)
  return `${dev}:${ino}`
}
