// What an interpreter in WebAssembly could have from Node beside its files: Emscripten starts programs (`system`) and opens
// connections (as WebSockets) where Node lets it. Runs in the interpreter's thread.

import Module from 'node:module'
import { Errno } from './emscripten.ts'

/** In what an interpreter imports, before it is made: neither programs nor connections. */
export function withoutSystem(imports: object): void {
  const { env } = imports as { readonly env: Record<string, ((...args: number[]) => number) & { readonly sig?: string | undefined }> }
  const replace = (name: string, by: (...args: number[]) => number): void => {
    // Its signature is asked for when code is loaded that imports it too.
    env[name] = Object.assign(by, { sig: env[name]?.sig })
  }
  // Whether there is a shell at all is asked without a command.
  replace('_emscripten_system', (command) => (command === 0 ? 0 : -Errno.ENOSYS))
  for (const name of ['__syscall_socket', '__syscall_socketpair']) replace(name, () => -Errno.EACCES)
}

function refuse(name: string): never {
  throw new Error(`${name} is not to be had in an interpreter's thread`)
}

/** When the interpreter is there, and has loaded what it needs: whatever else would ask for a part of Node gets none. */
export function loadNothingMore(): void {
  Object.assign(Module, { _load: refuse })
  Module.prototype.require = refuse as typeof Module.prototype.require
}
