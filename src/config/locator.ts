// The memory of `locate`: what a path meant a moment ago it still means, so that a PHP page asks nothing of the disk.

import { coarseNow } from '../static/index.ts'
import { locate } from './locate.ts'
import { percentEncode } from '../core/index.ts'
import type { ByteString, Changes } from '../core/index.ts'
import type { Root } from '../static/index.ts'
import type { Missing } from './interpreter.ts'
import type { LocateSettings, Located, Probe } from './locate.ts'

export interface LocatorOptions extends LocateSettings {
  /** Milliseconds for which an answer is believed. Default 1000. */
  readonly age?: number
  /** Paths remembered; they come from outside. Default 8192. */
  readonly entries?: number
  /** Why a file that would be sent is no such file after all. */
  readonly hides?: (path: ByteString) => Promise<Refusal | undefined>
  /** What is missing for a script that was found, remembered with it. */
  readonly inspect?: (located: Located) => Promise<Missing | undefined>
  /** For tests: milliseconds. */
  readonly clock?: () => number
}

export type Refusal = Pick<Extract<Located, { readonly kind: 'refused' }>, 'status' | 'reason'>

/** What a path means, and for a script what changes in a request that goes to it (where the site is mounted at the root). */
export interface Found {
  readonly located: Located
  readonly changes: Changes | undefined
  /** What has to be installed before the script can run. */
  readonly lacks: Missing | undefined
  readonly checked: number
}

export class Locator {
  readonly #root: Root
  readonly #options: LocatorOptions
  readonly #probe: Probe
  readonly #age: number
  readonly #limit: number
  readonly #clock: () => number
  readonly #known = new Map<ByteString, Found>()
  readonly #pending = new Map<ByteString, Promise<Found>>()

  constructor(root: Root, options: LocatorOptions) {
    this.#root = root
    this.#options = options
    this.#age = options.age ?? 1000
    this.#limit = options.entries ?? 8192
    this.#clock = options.clock ?? coarseNow
    this.#probe = {
      async look(path) {
        const fact = await root.look(path)
        return fact.kind === 'file' ? { kind: 'file', executable: fact.executable, inner: root.inner(fact.real) } : fact
      },
    }
  }

  /** What is known, unless it is too old. */
  known(path: ByteString): Found | undefined {
    const found = this.#known.get(path)
    return found === undefined || this.#clock() - found.checked >= this.#age ? undefined : found
  }

  /** What the disk says; those who ask at the same time share one answer. */
  find(path: ByteString): Promise<Found> {
    let pending = this.#pending.get(path)
    if (pending === undefined) {
      pending = this.#find(path).finally(() => this.#pending.delete(path))
      this.#pending.set(path, pending)
    }
    return pending
  }

  async #find(path: ByteString): Promise<Found> {
    const checked = this.#clock()
    const located = await this.#judge(await locate(this.#probe, this.#options, path))
    const changes = 'script' in located ? this.changes('', located.script, located.pathInfo) : undefined
    const found = { located, changes, lacks: await this.#options.inspect?.(located), checked }
    // Taken out first: an entry that is renewed goes to the end of the line, and the oldest is the first to go.
    this.#known.delete(path)
    this.#known.set(path, found)
    for (const [oldest] of this.#known) {
      if (this.#known.size <= this.#limit) break
      this.#known.delete(oldest)
    }
    return found
  }

  async #judge(located: Located): Promise<Located> {
    const refusal = located.kind === 'static' ? await this.#options.hides?.(located.path) : undefined
    return refusal === undefined ? located : { kind: 'refused', ...refusal }
  }

  /** RFC 3875, 4.1: the script, what follows it, and where both are on the disk. `mount` is where the site itself stands. */
  changes(mount: ByteString, script: ByteString, pathInfo: ByteString): Changes {
    const root = this.#root.path
    return {
      scriptName: mount + script,
      pathInfo,
      // Paths that could be read in two ways never come here, so that encoding it again says the same.
      rawPathInfo: percentEncode(pathInfo),
      variables: {
        SCRIPT_FILENAME: root + script,
        DOCUMENT_ROOT: root === '' ? '/' : root,
        PATH_TRANSLATED: pathInfo === '' ? undefined : root + pathInfo,
      },
    }
  }
}
