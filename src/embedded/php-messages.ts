// What the pool and the thread of an embedded PHP say to each other. Output and standard error go through pipes.

import type { Mount } from './files.ts'
import type { WasmModule } from './wasm.ts'

/** What a thread is made with. */
export interface PhpThreadData {
  /** Of the package that has the interpreter. */
  readonly url: string
  readonly module: WasmModule
  readonly ini: string
  readonly env: Readonly<Record<string, string>>
  readonly mounts: readonly Mount[]
  /** Bytes. */
  readonly memory: number
  readonly output: SharedArrayBuffer
  readonly errors: SharedArrayBuffer
  /** One Int32: 0 while a lock is waited for, then 1 (it is there) or 2 (it is not). */
  readonly lock: SharedArrayBuffer
}

/** A request. Its body, if it has one, follows in chunks. */
export interface PhpCall {
  readonly type: 'call'
  /** `[name, value, ...]` of byte strings: `$_SERVER`. */
  readonly variables: readonly string[]
  /** Bytes that follow. */
  readonly length: number
  readonly chunks?: readonly Uint8Array[]
}
export interface PhpChunk {
  readonly type: 'chunk'
  readonly bytes: Uint8Array
}
export type ToPhp = PhpCall | PhpChunk

export interface LockMessage {
  readonly type: 'lock'
  readonly how: 'wait' | 'try' | 'test' | 'release'
  readonly key: string
  readonly holder: string
  readonly exclusive: boolean
  readonly start: number
  readonly end: number
}

export type FromPhp =
  | { readonly type: 'ready' }
  /** A header block as CGI programs make it. */
  | { readonly type: 'head'; readonly block: string }
  /** There is something in a pipe. */
  | { readonly type: 'output' }
  | { readonly type: 'errors' }
  /** All output is in the pipe. With the bytes of memory that the interpreter has by now. */
  | { readonly type: 'end'; readonly memory: number }
  /** The interpreter cannot be used any more. */
  | { readonly type: 'crashed'; readonly reason: string }
  | LockMessage
