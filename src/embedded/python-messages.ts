// What the host and the thread of an embedded Python say to each other. The protocol of `viaduct/wsgi` goes through two pipes.

import type { Mount } from './files.ts'
import type { WasmModule } from './wasm.ts'

/** What a thread is made with. */
export interface PythonThreadData {
  /** Of the package that has the interpreter. */
  readonly url: string
  readonly module: WasmModule
  /** Bytes of the file that `module` was made of: by that it is known when the package asks for it. */
  readonly moduleSize: number
  /** The worker's program, and ours that runs it here. */
  readonly program: string
  readonly starter: string
  /** For the worker: JSON. */
  readonly settings: string
  readonly env: Readonly<Record<string, string>>
  readonly mounts: readonly Mount[]
  /** Where temporary files go. */
  readonly temporary: string
  readonly folder: string
  /** Bytes. */
  readonly memory: number
  readonly input: SharedArrayBuffer
  readonly output: SharedArrayBuffer
  readonly errors: SharedArrayBuffer
  /** One Int32: 1 when its memory has grown, which does not become smaller. Set before the answer that comes next. */
  readonly full: SharedArrayBuffer
}

export type FromPython =
  /** The interpreter is there; the application is loaded next. */
  | 'listening'
  /** There is something in a pipe. */
  | 'output'
  | 'errors'
  /** There is room for input again. */
  | 'room'
