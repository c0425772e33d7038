// One pool: what its requests are answered with, by a worker or by the manager itself; and what is told of it.
//
// Status and ping are the manager's own answers, so they come when every worker is busy, too, and the queue they tell of is the true one.

import { FileSlice, GatewayError, describe, isNetwork, Networks } from '../core/index.ts'
import type { ByteStream, HeaderList } from '../core/index.ts'
import { encodeRequest } from '../fastcgi/index.ts'
import type { Role } from '../fastcgi/index.ts'
import { openBodyFile } from './body-file.ts'
import type { Identity } from './user.ts'
import { parseAllowedClients } from './config/listen.ts'
import type { PoolConfig } from './config/types.ts'
import type { Exchange } from './exchange.ts'
import type { Journal } from './journal.ts'
import { Extensions } from './params.ts'
import type { Facts } from './params.ts'
import type { Records } from './records.ts'
import type { Speech } from './log/speech.ts'
import { SettingsStaffs } from './settings-staffs.ts'
import { Staff } from './staff.ts'
import type { CrewSource, StaffOptions } from './staff-options.ts'
import { statusModel } from './status-model.ts'
import { pingPage, statusPage } from './status/render.ts'
import { watchTime } from './heartbeat.ts'
import { Door } from './door.ts'
import type { House } from './web.ts'
import type { Worker } from './worker.ts'
import { TICKS_PER_SECOND, processStat } from './proc.ts'

const HTML = 'Content-type: text/html; charset=UTF-8\r\n'

export interface PoolOptions extends Omit<StaffOptions, 'crashed' | 'answered'> {
  readonly identity: Identity | undefined
  readonly records: Records
  readonly speech: Speech
  crashed(pool: Pool): void
  readonly folders: ReadonlySet<string> | undefined
  /** For settings of a request; throws CONFIG for those that cannot be had. */
  crewWith(config: PoolConfig): CrewSource
  /** Its workers are php-cgi's: answers and complaints are put into php-fpm's words, and not every file may be run. */
  readonly php: boolean
  /** Of a pool that only tells of another one. */
  readonly subject: Pool | undefined
}

export class Pool implements House {
  readonly config: PoolConfig
  readonly php: boolean
  readonly staff: Staff
  readonly startTime: number = Date.now()
  accepted = 0
  slow = 0
  maxActive = 0
  maxWaiting = 0
  readonly #options: PoolOptions
  readonly #journal: Journal
  readonly #door: Door
  readonly #extensions: Extensions
  readonly #subject: Pool
  readonly #settings: SettingsStaffs
  /** Who connects is known: by the rights of a socket's file, or by its address. */
  readonly #trusted: boolean
  #warnedOfSettings = false
  readonly #measured: boolean
  readonly #heart: NodeJS.Timeout | undefined

  constructor(options: PoolOptions) {
    const { config } = (this.#options = options)
    this.config = config
    this.php = options.php
    this.#journal = options.journal
    this.#subject = options.subject ?? this
    const told = { crashed: () => options.crashed(this), answered: (exchange: Exchange) => this.#finished(exchange) }
    this.staff = new Staff({ ...options, ...told })
    this.#settings = new SettingsStaffs(config, (changed) => {
      const { startCrew, folders, remove } = options.crewWith(changed)
      return { staff: new Staff({ ...options, ...told, config: changed, startCrew }), folders, remove }
    })
    const allowed = allowList(config, options.journal)
    this.#trusted = allowed !== undefined || config.listen.startsWith('/')
    this.#door = new Door(this, allowed)
    this.#extensions = new Extensions(config.securityLimitExtensions, config.chroot ?? '')
    this.#measured = config.pmStatusPath !== undefined || /%(?:\{[^}]*\})?C/.test(config.accessFormat ?? '')
    this.#heart = watchTime(
      config,
      options.journal,
      () => this.workers,
      (worker, exchange) => {
        this.slow++
        options.records.slow(worker.pid, exchange)
      },
    )
  }

  /** Its own and those with settings of requests. */
  get staffs(): Staff[] {
    return [this.staff, ...this.#settings.staffs()]
  }

  get workers(): Worker[] {
    return this.staffs.flatMap((staff) => [...staff.workers])
  }

  /** Of all of them. `total`: those at work for nobody included. */
  counts(): { readonly idle: number; readonly waiting: number; readonly total: number } {
    let { idle, waiting } = this.staff.dispatcher.counts()
    let total = this.staff.workers.size
    for (const { dispatcher, workers } of this.#settings.staffs()) {
      const counts = dispatcher.counts()
      idle += counts.idle
      waiting += counts.waiting
      total += workers.size
    }
    return { idle, waiting, total }
  }

  /** Everything that workers share is made anew. */
  restart(): void {
    for (const staff of this.staffs) staff.restart()
  }

  /** Its workers are there, as many as at the start. */
  async ready(): Promise<void> {
    if (this.config.statusOf === undefined) await this.staff.start()
  }

  listen(fd: number): Promise<void> {
    const { listenBacklog } = this.config
    return this.#door.listen(fd, listenBacklog > 0 ? listenBacklog : 65_535)
  }

  logged(exchange: Exchange, messages: readonly string[]): void {
    if (exchange.worker !== undefined) this.#options.speech.logged(exchange.worker.pid, messages)
  }

  warn(text: string): void {
    this.#journal.write('warning', text.startsWith('Connection') ? text : `[pool ${this.config.name}] ${text}`)
  }

  // ---- requests

  greet(exchange: Exchange): boolean {
    this.accepted++
    const { config } = this
    const facts = exchange.facts!
    const path = facts.scriptName
    const page =
      path === ''
        ? undefined
        : path === config.pingPath
          ? pingPage(config.pingResponse ?? 'pong', facts.method)
          : path === config.pmStatusPath
            ? statusPage(statusModel(this.#subject), facts.method, facts.queryString)
            : undefined
    if (page !== undefined) exchange.answer(200, headerText(page.headers), Buffer.from(page.body).toString('latin1'))
    else if (!this.#refused(exchange, facts)) return false
    this.#note(exchange)
    return true
  }

  /** What PHP is not asked at all. */
  #refused(exchange: Exchange, facts: Facts): boolean {
    const script = facts.scriptFilename
    if (!this.php && this.config.statusOf === undefined) {
      facts.script = script
      return false
    }
    const resolved = this.#extensions.resolve(script, performance.now())
    facts.script = resolved.file
    // A pool that only tells runs nothing.
    if (resolved.refused || this.config.statusOf !== undefined) {
      const denied = `Access to the script '${resolved.file}' has been denied (see security.limit_extensions)`
      exchange.answer(403, HTML, 'Access denied.\n', denied)
      return true
    }
    let { folders } = this.#options
    if (this.php && (facts.phpValue !== '' || facts.phpAdminValue !== '')) {
      const found = this.#withSettings(exchange, facts)
      if (found === undefined) return true
      folders = found.folders
    }
    if (folders === undefined || folders.has(topFolder(script))) return false
    this.warn(
      `the script '${script}' is in a folder that was not there when the pool was started, and php_admin_value would not hold for it`,
    )
    exchange.answer(403, HTML, 'Access denied.\n', `Access to the script '${script}' has been denied`)
    return true
  }

  /** undefined: it is answered, for it must not run without them. */
  #withSettings(exchange: Exchange, facts: Facts): { readonly folders: ReadonlySet<string> | undefined } | undefined {
    if (!this.#trusted) {
      const denied = 'PHP_VALUE and PHP_ADMIN_VALUE are taken from known peers only: set listen.allowed_clients'
      // Whoever connects could fill the log.
      if (!this.#warnedOfSettings) this.warn(denied)
      this.#warnedOfSettings = true
      exchange.answer(403, HTML, 'Access denied.\n', denied)
      return undefined
    }
    try {
      const found = this.#settings.find(facts)
      exchange.staff = found.staff
      for (const each of found.complaints) exchange.complain(each)
      return found
    } catch (error) {
      this.warn(describe(error))
      const status = error instanceof GatewayError ? error.status : 500
      exchange.answer(status, HTML, 'The settings of this request cannot be had.\n', describe(error))
      return undefined
    }
  }

  serve(exchange: Exchange, body: readonly Uint8Array[] | ByteStream | null, close: () => void): void {
    const { bodyFile, contentLength } = exchange.facts!
    if (bodyFile === '') return this.#assign(exchange, body, close, true)
    const file = openBodyFile(bodyFile, this.#options.identity, this.config.chroot)
    if (typeof file === 'string') {
      this.warn(`REQUEST_BODY_FILE: ${file}`)
      exchange.answer(500, HTML, 'Internal server error.\n', `REQUEST_BODY_FILE: ${file}`)
      return
    }
    const slice = new FileSlice(file.fd, 0, Math.min(file.size, contentLength || file.size))
    this.#assign(exchange, slice.length === 0 ? null : slice.stream(), () => slice.close(), false)
  }

  /** To a worker, now or when there is one. */
  #assign(exchange: Exchange, body: readonly Uint8Array[] | ByteStream | null, close: () => void, again: boolean): void {
    const staff = exchange.staff ?? this.staff
    const served = staff.dispatcher.claim(exchange, {
      take: (worker) => this.#send(worker, exchange, body, close, again),
      refuse: (error) => {
        close()
        if (exchange.over) return
        // A full backlog refuses connections: to the web server it looks the same.
        this.warn(describe(error))
        exchange.breakOff()
      },
    })
    if (served) return
    this.maxWaiting = Math.max(this.maxWaiting, this.counts().waiting)
    staff.demand()
  }

  #send(worker: Worker, exchange: Exchange, body: readonly Uint8Array[] | ByteStream | null, close: () => void, again: boolean): void {
    const { dispatcher } = exchange.staff ?? this.staff
    if (exchange.over) {
      dispatcher.release(worker)
      return close()
    }
    exchange.worker = worker
    exchange.takenAt = performance.now()
    exchange.takenTime = Date.now()
    exchange.closeBody = close
    if (!worker.send(exchange, (body === null ? exchange.whole() : undefined) ?? this.#head(exchange), body)) {
      // It went while it was idle, and has seen nothing of this.
      dispatcher.remove(worker)
      worker.close()
      if (again && (body === null || Array.isArray(body))) this.#assign(exchange, body, close, false)
      else {
        close()
        exchange.breakOff()
      }
      return
    }
    const { total, idle } = this.counts()
    this.maxActive = Math.max(this.maxActive, total - idle)
  }

  #head(exchange: Exchange): string {
    const { pairs } = exchange
    const { scriptFilename } = exchange.facts!
    return encodeRequest(exchange.id, exchange.role as Role, true, (emit) => {
      for (let i = 0; i < pairs.length; i += 2) {
        const name = pairs[i]!
        emit(name, name === 'SCRIPT_FILENAME' ? scriptFilename : pairs[i + 1]!)
      }
    })
  }

  #finished(exchange: Exchange): void {
    exchange.closeBody?.()
    if (exchange.worker !== undefined) this.#options.speech.over(exchange.worker.pid, exchange.worker.hand.crew.pid)
    if (this.#measured) this.#measure(exchange)
    this.#note(exchange)
  }

  #measure(exchange: Exchange): void {
    const { worker } = exchange
    const stat = worker === undefined ? undefined : processStat(worker.pid)
    if (worker === undefined || stat === undefined) return
    // Whoever is idle uses no processor: what was used since the last look was used by this request.
    exchange.cpuUser = (stat.userTicks - worker.userTicks) / TICKS_PER_SECOND
    exchange.cpuSystem = (stat.systemTicks - worker.systemTicks) / TICKS_PER_SECOND
    worker.userTicks = stat.userTicks
    worker.systemTicks = stat.systemTicks
  }

  #note(exchange: Exchange): void {
    this.#options.records.access(exchange)
  }

  left(exchange: Exchange): void {
    // A worker that is at it hears of it by its own connection, at its next output.
    if (exchange.worker === undefined) exchange.closeBody?.()
  }

  // ---- the end

  /** Takes nothing new and lets what runs go on, for so many milliseconds. */
  async close(grace: number): Promise<void> {
    const until = performance.now() + grace
    if (grace > 0) await this.#door.stop()
    const { staffs } = this
    for (const staff of staffs) staff.stop()
    if (grace > 0) await Promise.all(staffs.map(({ dispatcher }) => dispatcher.drained(Math.max(0, until - performance.now()))))
    clearInterval(this.#heart)
    this.#door.close()
    await Promise.all(staffs.map((staff) => staff.close()))
    this.#settings.close()
  }
}

function allowList(config: PoolConfig, journal: Journal): Networks | undefined {
  if (config.listenAllowedClients === undefined || config.listenAllowedClients === '' || config.listen.startsWith('/')) return undefined
  const { addresses, wrong } = parseAllowedClients(config.listenAllowedClients)
  for (const each of wrong) journal.write('error', `Wrong IP address '${each}' in listen.allowed_clients`)
  if (addresses.length === 0) journal.write('error', 'There are no allowed addresses')
  return new Networks(addresses.filter(isNetwork))
}

function topFolder(path: string): string {
  return path.slice(0, path.indexOf('/', 1) + 1)
}

function headerText(headers: HeaderList): string {
  let text = ''
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`
  return text
}
