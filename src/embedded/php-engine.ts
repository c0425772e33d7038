// PHP in WebAssembly, from the side of the thread it runs in: made once, then one request after the other. It is a SAPI of PHP's own
// kind (start and end of request, superglobals, output), so nothing of a request is left for the next.
//
// The functions called here are those that the package's own TypeScript calls. That part of it is not used: it hands over output
// when a script is done, and this has to stream.

import { dirname } from 'node:path'
import { Errno } from './emscripten.ts'
import type { FileSystem } from './emscripten.ts'
import { loadNothingMore, withoutSystem } from './fence.ts'
import { freezeMemory, mountFolders } from './files.ts'
import type { Mount } from './files.ts'
import type { UserSpace, UserSpaceContext } from './php-locks.ts'
import { wasm } from './wasm.ts'
import type { WasmInstance, WasmModule } from './wasm.ts'

/** The Emscripten module. */
interface Runtime {
  readonly FS: FileSystem
  readonly HEAPU8: Uint8Array
  ccall(name: string, returns: 'number' | null, types: string[], args: unknown[], options?: { async: true }): unknown
  malloc(size: number): number
  free(pointer: number): void
  _wasm_add_SERVER_entry(name: number, value: number): void
  _wasm_add_ENV_entry(name: number, value: number): void
  onHeaders(chunk: Uint8Array): void
  onStdout(chunk: Uint8Array): void
  onStderr(chunk: Uint8Array): void
}

interface Loader {
  init(environment: 'NODE', options: object): Runtime
}

export interface EngineOptions {
  /** Of the package. */
  readonly url: string
  readonly module: WasmModule
  readonly ini: string
  readonly env: Readonly<Record<string, string>>
  readonly mounts: readonly Mount[]
  userSpace(context: UserSpaceContext): UserSpace
  /** A header block, all at once. */
  head(block: string): void
  /** Valid during the call. false: nobody wants it, and the script should hear of that. */
  output(chunk: Uint8Array): boolean
  errors(chunk: Uint8Array): void
}

const INI = '/internal/shared/php.ini'

export class PhpEngine {
  readonly #runtime: Runtime
  readonly #options: EngineOptions
  #headers = ''

  private constructor(runtime: Runtime, options: EngineOptions) {
    this.#runtime = runtime
    this.#options = options
    runtime.onHeaders = (chunk) => this.#header(chunk)
    runtime.onStdout = (chunk) => {
      if (!options.output(chunk)) throw new runtime.FS.ErrnoError(Errno.EPIPE)
    }
    runtime.onStderr = (chunk) => options.errors(chunk)
  }

  static async open(options: EngineOptions): Promise<PhpEngine> {
    const runtime = await load(options)
    const engine = new PhpEngine(runtime, options)
    mountFolders(runtime.FS, options.mounts)
    runtime.FS.writeFile(INI, options.ini)
    runtime.ccall('wasm_set_phpini_path', null, ['string'], [INI])
    // Applications ask for it: what is not `cli` is a web server.
    runtime.ccall('wasm_set_sapi_name', 'number', ['string'], ['cgi-fcgi'])
    if ((await runtime.ccall('php_wasm_init', 'number', [], [], { async: true })) !== 0) throw new Error('PHP did not start')
    freezeMemory(runtime.FS)
    loadNothingMore()
    return engine
  }

  /** Bytes of its memory, which never becomes smaller. */
  get memory(): number {
    return this.#runtime.HEAPU8.length
  }

  /** Room for a request body in the interpreter's memory. */
  allocate(length: number): { readonly pointer: number; write(bytes: Uint8Array, at: number): void } {
    const runtime = this.#runtime
    const pointer = runtime.malloc(length)
    if (pointer === 0) throw new Error(`no memory for a request body of ${length} bytes`)
    // The view is another one after the memory has grown.
    return { pointer, write: (bytes, at) => runtime.HEAPU8.set(bytes, pointer + at) }
  }

  /**
   * Runs the script that SCRIPT_FILENAME names; resolves when all of its output was handed over.
   * Rejects when the interpreter broke: it cannot be used any more.
   */
  async run(variables: readonly string[], body: { readonly pointer: number; readonly length: number } | undefined): Promise<void> {
    const runtime = this.#runtime
    const get = (name: string): string | undefined => valueOf(variables, name)
    const script = get('SCRIPT_FILENAME') ?? ''
    this.#headers = ''
    this.#chdir(script)
    this.#text('wasm_set_path_translated', script)
    this.#text('wasm_set_request_method', get('REQUEST_METHOD') ?? 'GET')
    this.#text('wasm_set_request_uri', get('REQUEST_URI') ?? '')
    this.#text('wasm_set_query_string', get('QUERY_STRING') ?? '')
    const cookies = get('HTTP_COOKIE')
    if (cookies !== undefined) this.#text('wasm_set_cookies', cookies)
    const type = get('CONTENT_TYPE')
    if (type !== undefined) this.#text('wasm_set_content_type', type)
    if (body !== undefined) runtime.ccall('wasm_set_request_body', null, ['number'], [body.pointer])
    runtime.ccall('wasm_set_content_length', null, ['number'], [body?.length ?? 0])
    this.#entries(variables)
    try {
      if ((await runtime.ccall('wasm_sapi_handle_request', 'number', [], [], { async: true })) === -1) {
        throw new Error('PHP could not begin a request')
      }
    } finally {
      if (body !== undefined) runtime.free(body.pointer)
    }
    this.#closeLeft()
  }

  /** The package opens its places for output anew with each request, and forgets two of them: there would be none left in the end. */
  #closeLeft(): void {
    const { FS } = this.#runtime
    for (const stream of FS.streams) {
      if (stream !== null && stream !== undefined && stream.fd > 2 && stream.path?.startsWith('/request/') === true) FS.close(stream)
    }
  }

  /** `include 'x.php'` is about the script's folder. PHP itself does not go there in this SAPI. */
  #chdir(script: string): void {
    try {
      this.#runtime.FS.chdir(Buffer.from(dirname(script), 'latin1').toString())
    } catch {
      // A folder that is not there has no script either, and PHP says so.
      this.#runtime.FS.chdir('/')
    }
  }

  /** A byte string, byte for byte: the package's own way would read it as text. */
  #text(name: string, value: string): void {
    this.#withBytes(`${value}\0`, (pointer) => this.#runtime.ccall(name, null, ['number'], [pointer]))
  }

  #entries(variables: readonly string[]): void {
    const runtime = this.#runtime
    // getenv() finds the first name that begins like the one asked for, and looks from the last: the short ones go there.
    const pairs: [string, string][] = []
    for (let i = 0; i < variables.length; i += 2) pairs.push([variables[i]!, variables[i + 1]!])
    pairs.sort(([a], [b]) => b.length - a.length)
    this.#withBytes(pairs.map(([name, value]) => `${name}\0${value}\0`).join(''), (pointer) => {
      let at = pointer
      for (const [name, value] of pairs) {
        const end = at + name.length + 1
        runtime._wasm_add_SERVER_entry(at, end)
        runtime._wasm_add_ENV_entry(at, end)
        at = end + value.length + 1
      }
    })
  }

  #withBytes(text: string, use: (pointer: number) => void): void {
    const bytes = Buffer.from(text, 'latin1')
    const { pointer, write } = this.allocate(bytes.length)
    write(bytes, 0)
    use(pointer)
    this.#runtime.free(pointer)
  }

  /** `{ "status": 200, "headers": ["Name: value",\n"..."]}`, in pieces, with only `"` and `\` escaped. */
  #header(chunk: Uint8Array): void {
    this.#headers += Buffer.from(chunk).toString('latin1')
    if (!this.#headers.endsWith(']}')) return
    const block = headBlock(this.#headers)
    if (block === undefined) return
    this.#headers = ''
    this.#options.head(block)
  }
}

function valueOf(variables: readonly string[], name: string): string | undefined {
  for (let i = 0; i < variables.length; i += 2) if (variables[i] === name) return variables[i + 1]
  return undefined
}

/** The header block that a CGI program would have made; undefined while it is not whole. */
export function headBlock(text: string): string | undefined {
  const status = /^\{ "status": (\d+), "headers": \[/.exec(text)
  if (status === null) return undefined
  let lines = ''
  let at = status[0].length
  for (const match of text.slice(at).matchAll(/\s*(?:"((?:[^"\\]|\\["\\])*)"\s*,?)/gy)) {
    at += match[0].length
    const line = match[1]!.replace(/\\(["\\])/g, '$1')
    // There is nothing that it would be the type of, and php-cgi does not tell it either.
    if (status[1] === '304' && /^content-type:/i.test(line)) continue
    if (line !== '__terminator__') lines += `${line}\r\n`
  }
  if (!/^\s*\]\}$/.test(text.slice(at))) return undefined
  // What a script says itself stands, as with php-cgi.
  return `${/^status:/im.test(lines) ? '' : `Status: ${status[1]}\r\n`}${lines}\r\n`
}

async function load(options: EngineOptions): Promise<Runtime> {
  const { getPHPLoaderModule } = (await import(options.url)) as { getPHPLoaderModule(): Promise<Loader> }
  const loader = await getPHPLoaderModule()
  return new Promise((resolve, reject) => {
    const runtime: Runtime = loader.init('NODE', {
      noInitialRun: true,
      debug: false,
      // What Emscripten makes up, so that the environment is that of a server's program.
      ENV: { USER: undefined, LOGNAME: undefined, PWD: undefined, HOME: undefined, _: undefined, ...options.env },
      locateFile: (path: string) => path,
      onAbort: reject,
      // In another turn: it is called before `init` has returned.
      onRuntimeInitialized: () => setImmediate(() => resolve(runtime)),
      instantiateWasm: (imports: object, done: (instance: WasmInstance, module: WasmModule) => void) => {
        withoutSystem(imports)
        wasm.instantiate(options.module, imports).then((instance) => done(instance as WasmInstance, options.module), reject)
        return {}
      },
      processId: 1,
      bindUserSpace: (context: UserSpaceContext) => options.userSpace(context),
      // mail() asks for a program; it is told in a way that it understands, and is false.
      spawnProcess: () => {
        throw Object.assign(new Error('no programs can be started'), { code: 'SPAWN_UNSUPPORTED' })
      },
    })
  })
}
