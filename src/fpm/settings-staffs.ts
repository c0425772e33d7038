// Workers for requests with settings of their own (PHP_VALUE, PHP_ADMIN_VALUE): each set has a leader of its own, started with them.
//
// php-cgi takes settings when it starts, and not with a request. What is set this way is what the operator would have set in the pool,
// also where a script cannot (upload_max_filesize, disable_functions), holds for the requests that ask for it, and for no others.

import { GatewayError } from '../core/index.ts'
import type { PoolConfig } from './config/types.ts'
import { SETTINGS_LIMIT, readSettings, withSettings } from './request-settings.ts'
import type { Facts } from './params.ts'
import type { Staff } from './staff.ts'

/** Sets at a time, and milliseconds until one that nobody asks for is ended. */
const SETS = 16
const UNUSED_TIME = 300_000
const LOOK = 30_000

export interface StaffWithSettings {
  readonly staff: Staff
  /** Where its scripts may be; undefined: anywhere. */
  readonly folders: ReadonlySet<string> | undefined
  /** What was written for it. */
  remove(): void
}

interface Entry extends StaffWithSettings {
  readonly complaints: readonly string[]
  usedAt: number
}

export class SettingsStaffs {
  readonly #config: PoolConfig
  readonly #open: (config: PoolConfig) => StaffWithSettings
  readonly #entries = new Map<string, Entry>()
  #ticker: NodeJS.Timeout | undefined

  constructor(config: PoolConfig, open: (config: PoolConfig) => StaffWithSettings) {
    this.#config = config
    this.#open = open
  }

  /** Those that there are. */
  *staffs(): Iterable<Staff> {
    for (const { staff } of this.#entries.values()) yield staff
  }

  /** For a request that has some. Throws what is said to the web server: too many sets, or one that cannot be had. */
  find({ phpValue, phpAdminValue }: Facts): Entry {
    const key = `${phpValue}\0${phpAdminValue}`
    let entry = this.#entries.get(key)
    if (entry === undefined) {
      if (key.length > SETTINGS_LIMIT) {
        throw new GatewayError('CONFIG', { status: 500, message: `PHP_VALUE and PHP_ADMIN_VALUE are longer than ${SETTINGS_LIMIT} bytes` })
      }
      if (this.#entries.size >= SETS) this.#displace()
      const settings = readSettings(phpValue, phpAdminValue)
      entry = { ...this.#open(withSettings(this.#config, settings)), complaints: settings.complaints, usedAt: 0 }
      this.#entries.set(key, entry)
      void entry.staff.start()
      this.#ticker ??= setInterval(() => this.#look(), LOOK).unref()
    }
    entry.usedAt = performance.now()
    return entry
  }

  /** The one that was not asked for the longest makes room, if it has nothing to do. */
  #displace(): void {
    const [oldest] = [...this.#entries].filter(([, entry]) => unused(entry)).toSorted(([, a], [, b]) => a.usedAt - b.usedAt)
    if (oldest === undefined) {
      throw new GatewayError('QUEUE_FULL', {
        status: 503,
        message: `${SETS} sets of PHP_VALUE and PHP_ADMIN_VALUE are at work, and there are no more at a time; put some into pools of their own`,
      })
    }
    this.#end(...oldest)
  }

  #look(): void {
    const now = performance.now()
    for (const [key, entry] of this.#entries) if (now - entry.usedAt > UNUSED_TIME && unused(entry)) this.#end(key, entry)
  }

  #end(key: string, entry: Entry): void {
    this.#entries.delete(key)
    void entry.staff.close().finally(() => entry.remove())
  }

  /** The staffs are closed by who closes the pool's own. */
  close(): void {
    clearInterval(this.#ticker)
    for (const entry of this.#entries.values()) entry.remove()
    this.#entries.clear()
  }
}

function unused({ staff }: Entry): boolean {
  const { idle, waiting } = staff.dispatcher.counts()
  return waiting === 0 && staff.running === idle
}
