// The files of one root, and the memory of those that are asked for often.
//
// An entry is what is known of a path: its forms (plain and precompressed), each with its ready head and, when small, its
// bytes and its whole answer. Within its age an entry is believed without asking the disk, so that a hit is a look-up and
// returns at once; after it, one asynchronous stat decides, for everybody who waits.

import { close } from 'node:fs'
import { empty } from '../core/index.ts'
import { coarseNow } from './clock.ts'
import { isConditional, judge } from './conditions.ts'
import { contentType } from './content-type.ts'
import { CODINGS, accepted } from './encodings.ts'
import { Held } from './held.ts'
import { isHidden } from './names.ts'
import { isCode, openFile } from './open-file.ts'
import { Root, same } from './root.ts'
import { readAt, represent, withContent, withoutContent } from './respond.ts'
import type { ByteString, GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { Coding } from './encodings.ts'
import type { OpenFile } from './open-file.ts'
import type { FileFact, Identity } from './root.ts'
import type { Representation } from './respond.ts'

/** Which folder, and how much of it is remembered. */
export interface FilesOptions {
  /** The folder. */
  readonly root: string
  /** Links may lead out of the root. Default false. */
  readonly symlinks?: boolean
  /** Milliseconds for which a file is taken to be what it was. Default 1000; 0 asks the disk for every request. */
  readonly age?: number
  /** Paths remembered. Default 4096. */
  readonly entries?: number
  /** Bytes of contents remembered, over all. Default 32 MiB. */
  readonly bytes?: number
  /** Bytes up to which a file is kept in memory. Default 64 KiB. */
  readonly small?: number
  /** Bytes up to which a larger file is kept in memory while it is asked for often. Default 16 MiB; 0: never. */
  readonly large?: number
  /** For tests: milliseconds. */
  readonly clock?: () => number
}

/** One form of a file. */
interface Form {
  readonly real: ByteString
  readonly coding: Coding | undefined
  readonly identity: Identity
  readonly representation: Representation
  readonly content: Uint8Array | undefined
  /** The answer to a plain GET, the same object each time: responses are values. */
  readonly ready: GatewayResponse | undefined
}

interface Entry {
  readonly plain: Form
  readonly coded: readonly Form[]
  readonly bytes: number
  checked: number
}

const METHODS = ['Allow', 'GET, HEAD, OPTIONS']

/** The files of one root, and the memory of those that are asked for often. What `staticFiles` is made of. */
export class Files {
  /** The folder. */
  readonly root: Root
  readonly #entries = new Map<ByteString, Entry>()
  readonly #pending = new Map<ByteString, Promise<Entry | number>>()
  readonly #age: number
  readonly #limit: number
  readonly #budget: number
  readonly #small: number
  readonly #held: Held<Form>
  readonly #clock: () => number
  #bytes = 0

  /** Throws CONFIG when the root is no folder. */
  constructor(options: FilesOptions) {
    this.root = new Root(options.root, options.symlinks ?? false)
    this.#age = options.age ?? 1000
    this.#limit = options.entries ?? 4096
    this.#budget = options.bytes ?? 32 * 1024 * 1024
    this.#small = options.small ?? 65_536
    this.#clock = options.clock ?? coarseNow
    this.#held = new Held({ clock: this.#clock, ...(options.large !== undefined && { largest: options.large }) })
  }

  /** The answer from memory, or undefined: then `serve` has to look. `path` is under the root. */
  hit(request: GatewayRequest, path: ByteString): GatewayResponse | undefined {
    const entry = this.#entries.get(path)
    if (entry === undefined || this.#clock() - entry.checked >= this.#age) return undefined
    return this.#fromMemory(request, choose(request, entry))
  }

  /** The answer for a path that should be a file: 404 for what is none or must not be seen, 403 where reading is not allowed. */
  async serve(request: GatewayRequest, path: ByteString): Promise<GatewayResponse> {
    const entry = await this.#entry(path)
    if (typeof entry === 'number') return empty(entry)
    const form = choose(request, entry)
    const known = this.#fromMemory(request, form)
    if (known !== undefined) return known
    this.#held.asked(form)
    return fromDisk(request, form, entry.coded.length > 0)
  }

  /** What can be said without the disk. */
  #fromMemory(request: GatewayRequest, form: Form): GatewayResponse | undefined {
    const { method } = request
    if (method === 'GET' && form.ready !== undefined && !isConditional(request.headers.list)) return form.ready
    if (method !== 'GET' && method !== 'HEAD') return empty(method === 'OPTIONS' ? 204 : 405, METHODS)
    const verdict = judge(request, form.representation)
    const answer = withoutContent(method, form.representation, verdict)
    if (answer !== undefined) return answer
    if (form.content !== undefined) return withContent(form.representation, verdict, form.content)
    // Several ranges are joined in memory, which is for small files.
    const content = typeof verdict === 'object' && verdict.length > 1 ? undefined : this.#held.get(form)
    return content === undefined ? undefined : withContent(form.representation, verdict, content)
  }

  #entry(path: ByteString): Promise<Entry | number> {
    // Those who ask beside one another share the answer; age 0 too, for it is as new as their question.
    let pending = this.#pending.get(path)
    if (pending === undefined) {
      pending = this.#refresh(path).finally(() => this.#pending.delete(path))
      this.#pending.set(path, pending)
    }
    return pending
  }

  async #refresh(path: ByteString): Promise<Entry | number> {
    const known = this.#entries.get(path)
    const checked = this.#clock()
    if (known !== undefined) {
      if (checked - known.checked < this.#age) return known
      if (await this.#unchanged(path, known)) {
        known.checked = checked
        return known
      }
      this.#drop(path)
    }
    const loaded = await this.#load(path, checked)
    if (typeof loaded !== 'number') this.#keep(path, loaded)
    return loaded
  }

  async #unchanged(path: ByteString, entry: Entry): Promise<boolean> {
    const checks = [this.root.unchanged(path, entry.plain.identity)]
    for (const { coding, suffix } of CODINGS) {
      checks.push(this.root.unchanged(path + suffix, entry.coded.find((form) => form.coding === coding)?.identity))
    }
    return !(await Promise.all(checks)).includes(false)
  }

  async #load(path: ByteString, checked: number): Promise<Entry | number> {
    const [fact, ...beside] = await Promise.all([this.root.look(path), ...CODINGS.map(({ suffix }) => this.root.look(path + suffix))])
    if (fact.kind === 'denied') return 403
    // The name of what a link leads to counts as much as its own: `notes.txt` may be a link to `config.php`.
    if (fact.kind !== 'file' || isHidden(path) || isHidden(this.root.inner(fact.real))) return 404
    const type = contentType(path)
    const usable = CODINGS.flatMap(({ coding }, i) => {
      const other = beside[i]!
      // An older one is of a text that has since been changed.
      const ok = other.kind === 'file' && other.mtimeMs >= fact.mtimeMs && !isHidden(this.root.inner(other.real))
      return ok ? [{ fact: other, coding }] : []
    })
    const vary = usable.length > 0
    try {
      const plain = await this.#form(fact, type, undefined, vary)
      const coded = await Promise.all(usable.map((form) => this.#form(form.fact, type, form.coding, vary)))
      const bytes = [plain, ...coded].reduce((sum, form) => sum + (form.content?.length ?? 0), 0)
      return { plain, coded, bytes, checked }
    } catch (error) {
      if (isCode(error, 'EACCES', 'EPERM')) return 403
      if (isCode(error, 'ENOENT', 'ELOOP', 'ENOTDIR')) return 404
      throw error
    }
  }

  async #form(fact: FileFact, type: string, coding: Coding | undefined, vary: boolean): Promise<Form> {
    const options = { vary, ...(coding !== undefined && { coding }) }
    const large = (now: Identity): Form => {
      return { real: fact.real, coding, identity: now, representation: represent(type, now, options), content: undefined, ready: undefined }
    }
    if (fact.size > this.#small) return large(fact)
    const opened = await openFile(fact.real)
    try {
      // What the open file says: between the look and now another may have taken its place.
      const now = opened.identity
      if (now.size > this.#small) return large(now)
      const content = now.size === 0 ? new Uint8Array() : await readAt(opened.fd, 0, now.size)
      // It is being written this moment: nothing to remember yet.
      if (content.length < now.size) return large(now)
      const form = large(now)
      return { ...form, content, ready: withContent(form.representation, 'whole', content) }
    } finally {
      close(opened.fd, () => {})
    }
  }

  #keep(path: ByteString, entry: Entry): void {
    if (entry.bytes > this.#budget) return
    this.#drop(path)
    this.#entries.set(path, entry)
    this.#bytes += entry.bytes
    for (const [oldest] of this.#entries) {
      if (this.#bytes <= this.#budget && this.#entries.size <= this.#limit) break
      this.#drop(oldest)
    }
  }

  #drop(path: ByteString): void {
    const entry = this.#entries.get(path)
    if (entry === undefined) return
    this.#entries.delete(path)
    this.#bytes -= entry.bytes
    for (const form of [entry.plain, ...entry.coded]) this.#held.forget(form)
  }
}

function choose(request: GatewayRequest, entry: Entry): Form {
  if (entry.coded.length === 0) return entry.plain
  for (const coding of accepted(request.headers.get('accept-encoding'))) {
    const form = entry.coded.find((each) => each.coding === coding)
    if (form !== undefined) return form
  }
  return entry.plain
}

/** A large file: opened once, and described by what the open descriptor says, not by what the name meant before. */
async function fromDisk(request: GatewayRequest, form: Form, vary: boolean): Promise<GatewayResponse> {
  let opened: OpenFile
  try {
    opened = await openFile(form.real)
  } catch (error) {
    if (isCode(error, 'EACCES', 'EPERM')) return empty(403)
    if (isCode(error, 'ENOENT', 'ELOOP', 'ENOTDIR')) return empty(404)
    throw error
  }
  const representation = same(opened.identity, form.identity)
    ? form.representation
    : represent(form.representation.type, opened.identity, { vary, ...(form.coding !== undefined && { coding: form.coding }) })
  const verdict = judge(request, representation)
  const answer = withoutContent(request.method, representation, verdict)
  if (answer === undefined) return withContent(representation, verdict, opened.fd)
  close(opened.fd, () => {})
  return answer
}
