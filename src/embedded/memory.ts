// How much memory an interpreter in WebAssembly may have. The limits of a thread know nothing of it (`resourceLimits` are about
// JavaScript's own heap), so growing is refused here: the interpreter then finds that there is no more, as it would on a small machine.

import { wasm } from './wasm.ts'

const PAGE = 65_536

/** For this thread, before an interpreter is made in it. `bytes` is the limit of each memory. */
export function limitMemory(bytes: number): void {
  const { prototype } = wasm.Memory
  const { grow } = prototype
  prototype.grow = function limited(this: typeof prototype, pages: number): number {
    if (this.buffer.byteLength + pages * PAGE > bytes) throw new RangeError(`more than ${bytes} bytes of memory`)
    return grow.call(this, pages)
  }
}
