// Python in WebAssembly, from the side of the thread it runs in: made, shut in, and given to the worker's program.

import { fileURLToPath } from 'node:url'
import type { FileSystem } from './emscripten.ts'
import { loadNothingMore, withoutSystem } from './fence.ts'
import { freezeMemory, mountFolders } from './files.ts'
import type { PythonThreadData } from './python-messages.ts'
import { wasm } from './wasm.ts'

/** Of what the package gives. */
export interface Python {
  readonly version: string
  readonly FS: FileSystem
  readonly ffi: { toPy?: unknown }
  readonly globals: { get(name: string): PythonFunction }
  readonly _module: { readonly HEAPU8: Uint8Array }
  runPython(code: string, options?: { filename?: string }): unknown
  unregisterJsModule(name: string): void
  setStdin(options: { read(buffer: Uint8Array): number }): void
  setStdout(options: { write(bytes: Uint8Array): number }): void
  setStderr(options: { write(bytes: Uint8Array): number }): void
}
export type PythonFunction = (...args: unknown[]) => unknown

interface Package {
  loadPyodide(options: object): Promise<Python>
}

/** The place of our own files in the virtual file system. */
export const OWN = '/viaduct'

export async function openPython(data: PythonThreadData, write: (bytes: Uint8Array) => void): Promise<Python> {
  reuse(data)
  const { loadPyodide } = (await import(data.url)) as Package
  const python = await loadPyodide({
    indexURL: fileURLToPath(new URL('.', data.url)),
    env: { HOME: '/', TMPDIR: data.temporary, LANG: 'C.UTF-8', ...data.env },
    // A module `js` would be the whole of Node: files, programs, the network.
    jsglobals: Object.freeze({}),
    fullStdLib: false,
  })
  const put = (bytes: Uint8Array): number => {
    write(bytes)
    return bytes.length
  }
  // At its end, as for a program that a server starts. The thread has none, and reading that would end the interpreter.
  python.setStdin({ read: () => 0 })
  python.setStdout({ write: put })
  python.setStderr({ write: put })
  mountFolders(python.FS, data.mounts)
  python.FS.mkdirTree(OWN)
  python.FS.writeFile(`${OWN}/worker.py`, data.program)
  python.FS.writeFile(`${OWN}/starter.py`, data.starter)
  python.FS.chdir(data.folder)
  freezeMemory(python.FS)
  return python
}

/** The package compiles its file anew in each thread; it was compiled before, for all of them. */
function reuse({ module, moduleSize }: PythonThreadData): void {
  const { instantiate } = wasm
  wasm.instantiate = async (source, imports) => {
    const bytes = source as { readonly byteLength?: number }
    if (bytes.byteLength !== moduleSize) return instantiate(source, imports)
    withoutSystem(imports)
    return { instance: (await instantiate(module, imports)) as never, module }
  }
}

// Any function leads to the one that makes functions of its kind out of text.
const KINDS: readonly object[] = [function plain() {}, async function later() {}, function* several() {}, async function* both() {}]

/**
 * Takes from the thread what Python could use to get out of what it was given: JavaScript is one step away in this interpreter.
 * No sandbox, for it knows only the ways that are known.
 */
export function shutIn(python: Python): void {
  for (const name of ['js', 'pyodide_js']) python.unregisterJsModule(name)
  python.runPython(`
import sys
for name in [name for name in sys.modules if name.split('.')[0] in ('js', 'pyodide_js')]:
    del sys.modules[name]
`)
  for (const made of KINDS) Reflect.deleteProperty(Object.getPrototypeOf(made) as object, 'constructor')
  // `instanceof Function` is asked for by the interpreter itself.
  const stub = Object.assign(() => {}, { prototype: Function.prototype })
  Object.defineProperty(globalThis, 'Function', { value: stub })
  // The frames of a stack would be handed to it, with the objects that they are about.
  Object.defineProperty(Error, 'prepareStackTrace', { value: undefined, writable: false, configurable: false })
  loadNothingMore()
  for (const name of ['eval', 'process', 'require', 'fetch', 'WebSocket', 'module', 'Worker']) Reflect.deleteProperty(globalThis, name)
}
