// The contents of larger files while they are asked for often: a file that goes out of memory is copied once, by the kernel, where one
// that is read for each request is copied twice and passes through another thread 256 KiB at a time (1.7 times as many of 10 MiB).

import { close, fstat } from 'node:fs'
import { MemoryBudget } from '../core/index.ts'
import { openFile } from './open-file.ts'
import { identity, same } from './root.ts'
import { readAt } from './respond.ts'
import type { ByteString } from '../core/index.ts'
import type { Identity } from './root.ts'

/** What all folders of a process may hold this way: 64 MiB. */
export const heldMemory: MemoryBudget = new MemoryBudget(64 * 1024 * 1024)

/** A file asked for twice within this time is read; one not asked for so long is let go. Milliseconds. */
const WARM = 30_000
/** Nothing that was asked for so lately makes room for another: a set larger than the memory would be read over and over. */
const HOT = 1000
/** Files of which it is remembered that they were asked for. */
const WATCHED = 1024
const STEP = 1_048_576

export interface HeldOptions {
  /** Bytes of the largest file. Default 16 MiB. */
  readonly largest?: number
  /** Default `heldMemory`. */
  readonly budget?: MemoryBudget
  /** Milliseconds. */
  readonly clock: () => number
}

interface File {
  readonly real: ByteString
  readonly identity: Identity
}

interface Kept {
  content: Uint8Array | undefined
  reading: boolean
  asked: number
}

export class Held<Form extends File> {
  /** In the order in which they were last asked for. */
  readonly #kept = new Map<Form, Kept>()
  readonly #largest: number
  readonly #budget: MemoryBudget
  readonly #clock: () => number
  #sweep: NodeJS.Timeout | undefined

  constructor(options: HeldOptions) {
    this.#largest = options.largest ?? 16 * 1024 * 1024
    this.#budget = options.budget ?? heldMemory
    this.#clock = options.clock
  }

  get(form: Form): Uint8Array | undefined {
    const kept = this.#kept.get(form)
    if (kept?.content === undefined) return undefined
    this.#touch(form, kept)
    return kept.content
  }

  /** It had to be read from the disk: the second time within a while, its content is read to stay. */
  asked(form: Form): void {
    if (form.identity.size > this.#largest) return
    const kept = this.#kept.get(form)
    if (kept === undefined) {
      if (this.#kept.size >= WATCHED && !this.#forgetOldest()) return
      this.#kept.set(form, { content: undefined, reading: false, asked: this.#clock() })
      this.#watch()
    } else {
      this.#touch(form, kept)
      if (!kept.reading && kept.content === undefined && this.#room(form.identity.size)) void this.#read(form, kept)
    }
  }

  forget(form: Form): void {
    const kept = this.#kept.get(form)
    if (kept === undefined) return
    this.#kept.delete(form)
    if (kept.content !== undefined) this.#budget.give(kept.content.length)
  }

  #touch(form: Form, kept: Kept): void {
    kept.asked = this.#clock()
    this.#kept.delete(form)
    this.#kept.set(form, kept)
  }

  /** Takes `bytes` of the budget, from what was not asked for lately if need be. */
  #room(bytes: number): boolean {
    while (!this.#budget.take(bytes)) if (!this.#forgetOldest((kept) => kept.content !== undefined)) return false
    return true
  }

  #forgetOldest(where: (kept: Kept) => boolean = () => true): boolean {
    const now = this.#clock()
    for (const [form, kept] of this.#kept) {
      if (now - kept.asked < HOT) return false
      if (kept.reading || !where(kept)) continue
      this.forget(form)
      return true
    }
    return false
  }

  /** Its bytes of the budget are taken already. */
  async #read(form: Form, kept: Kept): Promise<void> {
    const { size } = form.identity
    kept.reading = true
    const content = await contentOf(form).catch(() => undefined)
    kept.reading = false
    // Who could not be read is asked for again, and hears of it then; who was forgotten meanwhile has changed.
    if (content === undefined || this.#kept.get(form) !== kept) this.#budget.give(size)
    else kept.content = content
  }

  #watch(): void {
    if (this.#sweep !== undefined) return
    this.#sweep = setTimeout(() => {
      this.#sweep = undefined
      const now = this.#clock()
      for (const [form, kept] of this.#kept) if (!kept.reading && now - kept.asked >= WARM) this.forget(form)
      if (this.#kept.size > 0) this.#watch()
    }, WARM)
    this.#sweep.unref()
  }
}

/** Undefined when the file is another one by now, or was written meanwhile. */
async function contentOf(file: File): Promise<Uint8Array | undefined> {
  const { fd, identity: opened } = await openFile(file.real)
  try {
    if (!same(opened, file.identity)) return undefined
    const content = Buffer.allocUnsafeSlow(opened.size)
    for (let at = 0; at < opened.size;) {
      const part = await readAt(fd, at, Math.min(STEP, opened.size - at))
      content.set(part, at)
      at += part.length
    }
    return same(await identityOf(fd), file.identity) ? content : undefined
  } finally {
    close(fd, () => {})
  }
}

function identityOf(fd: number): Promise<Identity> {
  return new Promise((resolve, reject) => fstat(fd, (error, stats) => (error === null ? resolve(identity(stats)) : reject(error))))
}
