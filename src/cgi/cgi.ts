// The server's side of CGI/1.1 (RFC 3875): an application that runs a program for each request.
//
// A body is put by before a program is started, so that a slow client holds no place and CONTENT_LENGTH is always true.
// Programs are started by the spawner, never by this process, which must not be blocked.

import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { GatewayError, backend, fromByteString, silent, spool, toByteString } from '../core/index.ts'
import type { Backend, ByteString, GatewayRequest, GatewayResponse, Log, PoolStatus } from '../core/index.ts'
import { Dispatcher, Scoreboard, openSpawner } from '../process/index.ts'
import type { Counts, Program, ProgramSpec, Seat, Spawner } from '../process/index.ts'
import { hasControl, queryArguments } from './arguments.ts'
import { NO_BODY, whole } from './body.ts'
import type { Body } from './body.ts'
import { configured, environment } from './environment.ts'
import { feed } from './input.ts'
import { cgiLimits } from './limits.ts'
import type { CgiLimits } from './limits.ts'
import { isNph } from './nph.ts'
import { Run } from './run.ts'

/** Which program runs, and how. */
export interface CgiOptions {
  /** The one program that answers everything. Left out: each request brings its own as the variable SCRIPT_FILENAME, set by the site. */
  readonly script?: string
  /** DOCUMENT_ROOT, and what PATH_TRANSLATED begins with. Default: the request's own DOCUMENT_ROOT. */
  readonly documentRoot?: string
  /** A program that is given the script as its last argument, for scripts without an execute bit: `['/usr/bin/php-cgi']`. */
  readonly interpreter?: readonly [string, ...string[]]
  /** Variables for every program. Names that the server computes are refused. PATH is `/usr/local/bin:/usr/bin:/bin` unless given here. */
  readonly env?: Readonly<Record<string, string>>
  /** Pass Authorization on as HTTP_AUTHORIZATION. Default false (RFC 3875, 4.1.18). */
  readonly authorization?: boolean
  /** Hand a query without `=` to the program as arguments (RFC 3875, 4.4). Default false. Not with an interpreter. */
  readonly queryArguments?: boolean
  /** Run programs whose name begins with `nph-`; their answers are read and said again, never passed through. Default false. */
  readonly nph?: boolean
  /** Give a body of known length to the program as it arrives, at the client's pace. Default false: it is put by until it is whole. */
  readonly stream?: boolean
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<CgiLimits>
  /** Starts the programs; shared by many. Left out: one of its own, closed with it. */
  readonly spawner?: Spawner
  /** For messages. Default: the script, or `cgi`. */
  readonly name?: string
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
}

/** An application that runs programs. */
export interface CgiBackend extends Backend {
  /** Places idle and busy, requests waiting. */
  counts(): Counts
}

/**
 * Runs a CGI program for each request. Answers with errors: FILE_REFUSED 404 for ambiguous paths, BAD_REQUEST 400, QUEUE_FULL,
 * QUEUE_TIMEOUT and CLOSED 503, PROGRAM_FAILED 500 when it cannot be started or fails unanswered, UPSTREAM_HEAD and
 * UPSTREAM_TRUNCATED 502, TIMEOUT 504. Throws CONFIG for options that contradict each other.
 */
export function cgi(options: CgiOptions): CgiBackend {
  const host = new Host(options)
  const application = backend((request) => host.serve(request), {
    ready: () => host.ready(),
    close: (grace) => host.close(grace),
    pools: () => [host.status()],
  })
  return Object.assign(application, { counts: () => host.counts() })
}

/** Milliseconds that `close` waits for running programs. */
const GRACE = 10_000
/** What SIGKILL needs; a process in uninterruptible sleep needs longer, and is not waited for. */
const KILL_GRACE = 2000

/** One program may run for each of these. */
type Place = Seat

/** What runs at a place that is free. */
const NOTHING = { pid: undefined }

class Host {
  readonly #options: CgiOptions
  readonly #name: string
  readonly #limits: CgiLimits
  readonly #env: ReadonlyMap<ByteString, ByteString>
  readonly #spawner: Spawner
  readonly #places: Dispatcher<Place>
  readonly #board: Scoreboard
  readonly #runs = new Set<Run>()
  /** Programs that have ended, of whose group somebody is left. */
  readonly #remains = new Set<Program>()

  constructor(options: CgiOptions) {
    this.#options = options
    this.#name = options.name ?? options.script ?? 'cgi'
    this.#limits = cgiLimits(availableParallelism(), options.limits)
    this.#env = configured(options.env ?? {}, this.#name)
    if (options.interpreter !== undefined && options.queryArguments === true) {
      throw this.#config('queryArguments cannot be used with an interpreter, which would take them for its own (CVE-2012-1823)')
    }
    for (const path of [options.script, options.documentRoot, options.interpreter?.[0]]) {
      if (path !== undefined && !path.startsWith('/')) throw this.#config(`"${path}" is not an absolute path`)
    }
    const { concurrency, queue, queueTimeout, slow } = this.#limits
    if (!Number.isSafeInteger(concurrency) || concurrency < 1)
      throw this.#config(`concurrency: expected a whole number from 1, got ${concurrency}`)
    this.#places = new Dispatcher({ name: this.#name, maxQueue: queue, queueTimeout })
    const { interpreter: words, script = 'programs', log = silent } = options
    const interpreter = { mode: 'native', name: words?.[0] ?? script } as const
    this.#board = new Scoreboard({ name: this.#name, kind: 'cgi', interpreter, slow, log })
    for (let i = 0; i < concurrency; i++) {
      const place = this.#board.seat(NOTHING)
      place.ready = true
      this.#places.add(place)
    }
    this.#spawner = options.spawner ?? openSpawner(options.log === undefined ? {} : { log: options.log })
  }

  counts(): Counts {
    return this.#places.counts()
  }

  /** Only where a program runs there is a worker. */
  status(): PoolStatus {
    return this.#board.status(this.#places.queue(), (place) => place.request !== undefined)
  }

  async ready(): Promise<void> {
    const program = this.#options.interpreter?.[0] ?? this.#options.script
    if (program !== undefined) {
      await access(program, constants.X_OK).catch((error: unknown) => {
        throw new GatewayError('PROGRAM_FAILED', {
          status: 500,
          cause: error,
          message: `cgi: ${this.#name}: ${program} cannot be executed`,
        })
      })
    }
    await this.#spawner.ready()
  }

  async serve(request: GatewayRequest): Promise<GatewayResponse> {
    const script = this.#script(request)
    this.#check(request, script)
    let gone = false
    request.onFinish(() => {
      gone = true
    })
    // Who is going to be refused is not read first.
    const { idle, waiting } = this.counts()
    if (idle === 0 && waiting >= this.#limits.queue) this.#release(await this.#places.acquire(request))
    const body = await this.#take(request)
    try {
      if (!this.#spawner.up) await this.#spawner.ready()
      const place = await this.#places.acquire(request)
      let run: Run
      try {
        if (gone) throw new GatewayError('CLIENT_GONE', { status: 499, message: 'cgi: the client left while it waited' })
        run = this.#start(request, script, body)
        place.worker = run.program
        place.started = Date.now()
        place.begin(request)
      } catch (error) {
        this.#release(place)
        throw error
      }
      void run.exited.then(() => this.#release(place))
      return await run.response
    } catch (error) {
      body.close()
      throw error
    }
  }

  async close(grace: number = GRACE): Promise<void> {
    await this.#places.drained(grace)
    this.#places.close()
    const closed = new GatewayError('CLOSED', { status: 503, message: `cgi: ${this.#name} is closing` })
    const runs = [...this.#runs]
    for (const run of runs) run.abort(closed)
    for (const program of this.#remains) program.kill('SIGKILL')
    const { kill } = this.#limits
    await within(kill + KILL_GRACE, Promise.all(runs.map((run) => run.exited)))
    // What ignored SIGTERM, or was left by those that did not.
    for (const run of runs) run.terminate(0)
    await within(KILL_GRACE, Promise.all([...this.#remains].map(ended)))
    if (this.#options.spawner === undefined) await this.#spawner.close()
  }

  // -- a request -------------------------------------------------------------------------------------------------------

  #script(request: GatewayRequest): ByteString {
    const { script } = this.#options
    if (script !== undefined) return toByteString(script)
    const own = request.variables.get('SCRIPT_FILENAME')
    if (own !== undefined && own.startsWith('/')) return own
    throw new GatewayError('CONFIG', {
      status: 500,
      message: `cgi: ${this.#name}: no program: give the option script, or let the site set SCRIPT_FILENAME to an absolute path`,
    })
  }

  #check(request: GatewayRequest, script: ByteString): void {
    const { pathInfo, rawPathInfo } = request
    // The program would see a path that is not the one that was routed by (CVE-2024-38473).
    if (/%2f|%5c/i.test(rawPathInfo) || pathInfo.includes('\\')) {
      throw new GatewayError('FILE_REFUSED', { status: 404, message: `cgi: ${this.#name}: an encoded slash or a backslash in the path` })
    }
    if (hasControl(pathInfo) || hasControl(request.scriptName) || hasControl(request.queryString)) {
      throw new GatewayError('BAD_REQUEST', { status: 400, message: `cgi: ${this.#name}: a control character in the path or the query` })
    }
    if (this.#options.nph !== true && isNph(script)) {
      throw new GatewayError('PROGRAM_FAILED', {
        status: 500,
        message: `cgi: ${fromByteString(script)} wants to write the whole HTTP response (nph-); set the option nph to allow that, or rename it`,
      })
    }
  }

  /** The body: none, whole in memory or in a file, or as it comes. */
  async #take(request: GatewayRequest): Promise<Body> {
    const { contentLength } = request
    if (contentLength === 0) return NO_BODY
    if (contentLength !== undefined && this.#options.stream === true) {
      if (contentLength > this.#limits.body) {
        throw new GatewayError('BODY_TOO_LARGE', {
          status: 413,
          message: `cgi: ${this.#name}: a body of ${contentLength} bytes, over the limit of ${this.#limits.body}`,
        })
      }
      return { length: contentLength, small: undefined, open: () => request.body, close: () => request.body.cancel() }
    }
    return whole(await spool(request.body, { limit: this.#limits.body, expected: contentLength }))
  }

  #start(request: GatewayRequest, script: ByteString, body: Body): Run {
    const input = body.length === 0 ? 'none' : (body.small ?? 'stream')
    const program = this.#spawner.run(this.#spec(request, script, body.length, input))
    const path = fromByteString(script)
    const run = new Run(program, request, {
      name: this.#name,
      script: path,
      nph: isNph(script),
      limits: this.#limits,
      log: this.#options.log,
      aborted: (error) => this.#count(error),
    })
    this.#runs.add(run)
    program.onGone = () => this.#remains.delete(program)
    void run.exited.then((exit) => {
      this.#runs.delete(run)
      if (exit.left && !program.gone) this.#remains.add(program)
    })
    if (program.stdin === undefined) body.close()
    else
      feed(body.open(), program.stdin, {
        length: body.length,
        active: () => run.touch(),
        failed: (error) => run.abort(error),
        over: body.close,
      })
    return run
  }

  #spec(request: GatewayRequest, script: ByteString, contentLength: number, input: ProgramSpec['input'] & {}): ProgramSpec {
    const { documentRoot, interpreter, authorization } = this.#options
    const root = documentRoot === undefined ? request.variables.get('DOCUMENT_ROOT') : toByteString(documentRoot)
    const words = this.#options.queryArguments === true ? queryArguments(request.method, request.queryString) : []
    const env = environment(request, {
      script,
      documentRoot: root?.replace(/\/+$/, ''),
      env: this.#env,
      authorization: authorization === true,
      contentLength,
    })
    // RFC 3875, 7.2: the working directory is the program's own, argv[0] its path.
    const cwd = script.slice(0, Math.max(1, script.lastIndexOf('/')))
    if (interpreter === undefined) return { file: script, argv: [script, ...words], env, cwd, input }
    const [file, ...rest] = interpreter.map(toByteString) as [ByteString, ...ByteString[]]
    return { file, argv: [file, ...rest, script], env, cwd, input }
  }

  #count(error: unknown): void {
    const code = error instanceof GatewayError ? error.code : undefined
    if (code === 'TIMEOUT') this.#board.timeouts++
    else if (code === 'PROGRAM_FAILED' || code === 'UPSTREAM_TRUNCATED') this.#board.crashes++
  }

  #release(place: Place): void {
    place.end()
    place.worker = NOTHING
    this.#places.release(place)
  }

  #config(what: string): GatewayError {
    return new GatewayError('CONFIG', { status: 500, message: `cgi: ${this.#name}: ${what}` })
  }
}

function ended(program: Program): Promise<void> {
  if (program.gone) return Promise.resolve()
  return new Promise((resolve) => {
    const before = program.onGone
    program.onGone = () => {
      before?.()
      resolve()
    }
  })
}

/** Waits for `work`, but not longer. */
async function within(milliseconds: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  await Promise.race([work, late])
  clearTimeout(timer)
}
