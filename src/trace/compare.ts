// Two answers held against each other: the one that was recorded and the one that came now. Bodies of any length, in the memory of
// two chunks.

import type { CgiHead, HeaderList } from '../core/index.ts'

/** Header fields that differ from one moment to the next, and say nothing about the application. */
export const DEFAULT_IGNORED: readonly string[] = ['Date', 'Expires', 'Set-Cookie', 'X-Request-Id']

/** One difference; `from` was recorded, `to` came now, undefined is absence. */
export type Difference =
  | { readonly what: 'outcome' | 'status' | 'application status'; readonly from: string; readonly to: string }
  | { readonly what: 'header'; readonly name: string; readonly from: string | undefined; readonly to: string | undefined }
  | {
      readonly what: 'body'
      /** Where the first byte differs. */
      readonly at: number
      readonly from: BodySide
      readonly to: BodySide
    }

/** One of two bodies that differ. */
export interface BodySide {
  /** In bytes. */
  readonly length: number
  /** Some bytes around the first that differs. */
  readonly excerpt: Buffer
}

/** Status and header fields. Repeats of a field are compared in their order; `ignored` holds lower-case names. */
export function compareHeads(from: CgiHead, to: CgiHead, ignored: (name: string) => boolean): Difference[] {
  const found: Difference[] = []
  if (from.status !== to.status) found.push({ what: 'status', from: String(from.status), to: String(to.status) })
  const [before, now] = [byName(from.headers), byName(to.headers)]
  for (const [key, { name, values }] of before) {
    const other = now.get(key)?.values
    if (!ignored(name) && values.join('\n') !== other?.join('\n'))
      found.push({ what: 'header', name, from: values.join(', '), to: other?.join(', ') })
  }
  for (const [key, { name, values }] of now)
    if (!before.has(key) && !ignored(name)) found.push({ what: 'header', name, from: undefined, to: values.join(', ') })
  return found
}

function byName(headers: HeaderList): Map<string, { name: string; values: string[] }> {
  const found = new Map<string, { name: string; values: string[] }>()
  for (let i = 0; i < headers.length; i += 2) {
    const key = headers[i]!.toLowerCase()
    const known = found.get(key)
    if (known === undefined) found.set(key, { name: headers[i]!, values: [headers[i + 1]!] })
    else known.values.push(headers[i + 1]!)
  }
  return found
}

const EXCERPT_BEFORE = 20
const EXCERPT_AFTER = 44

/** A body that comes, against one that is read beside it. */
export class BodyComparison {
  readonly #recorded: AsyncIterator<Buffer>
  readonly #recordedLength: number
  /** Of the recorded body: what was read and not yet compared. */
  #rest: Buffer = Buffer.alloc(0)
  /** The last bytes that were the same. */
  #same: Buffer = Buffer.alloc(0)
  #length = 0
  #at: number | undefined
  #from: Buffer = Buffer.alloc(0)
  #to: Buffer = Buffer.alloc(0)

  constructor(recorded: AsyncIterable<Buffer>, recordedLength: number) {
    this.#recorded = recorded[Symbol.asyncIterator]()
    this.#recordedLength = recordedLength
  }

  async push(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length && this.#at === undefined;) {
      if (this.#rest.length === 0) {
        const next = await this.#recorded.next()
        if (next.done === true) {
          this.#differ(this.#length + at, Buffer.alloc(0), chunk.subarray(at))
          break
        }
        this.#rest = next.value
      }
      const size = Math.min(this.#rest.length, chunk.length - at)
      const [left, right] = [this.#rest.subarray(0, size), chunk.subarray(at, at + size)]
      if (left.equals(right)) this.#same = Buffer.from(right.subarray(-EXCERPT_BEFORE))
      else {
        let first = 0
        while (left[first] === right[first]) first++
        this.#same = Buffer.concat([this.#same, right.subarray(Math.max(0, first - EXCERPT_BEFORE), first)])
        this.#differ(this.#length + at + first, this.#rest.subarray(first), chunk.subarray(at + first))
      }
      this.#rest = this.#rest.subarray(size)
      at += size
    }
    this.#length += chunk.length
  }

  /** The body has ended. undefined: it is the same. */
  async finish(): Promise<Difference | undefined> {
    if (this.#at === undefined && this.#length < this.#recordedLength) {
      const next = this.#rest.length > 0 ? undefined : await this.#recorded.next()
      this.#differ(this.#length, next === undefined || next.done === true ? this.#rest : next.value, Buffer.alloc(0))
    }
    await this.#recorded.return?.()
    if (this.#at === undefined) return undefined
    return {
      what: 'body',
      at: this.#at,
      from: { length: this.#recordedLength, excerpt: this.#from },
      to: { length: this.#length, excerpt: this.#to },
    }
  }

  #differ(at: number, from: Buffer, to: Buffer): void {
    const before = this.#same.subarray(-EXCERPT_BEFORE)
    this.#at = at
    this.#from = Buffer.concat([before, from.subarray(0, EXCERPT_AFTER)])
    this.#to = Buffer.concat([before, to.subarray(0, EXCERPT_AFTER)])
  }
}
