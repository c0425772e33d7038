// What is used of WebAssembly, which is the same in browsers and in Node, and of which Node's own types know nothing.

/** Compiled code; may be sent to other threads. */
export interface WasmModule {
  readonly [Symbol.toStringTag]: string
}
/** Code with a memory of its own. */
export interface WasmInstance {
  readonly exports: object
}
export interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}
export interface Wasm {
  compile(bytes: Uint8Array): Promise<WasmModule>
  instantiate(module: WasmModule | Uint8Array, imports: object): Promise<WasmInstance | { instance: WasmInstance; module: WasmModule }>
  readonly Memory: { readonly prototype: WasmMemory }
}

export const wasm: Wasm = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly
