// `viaduct serve`: a folder, or what a configuration says. This is the supervisor's process: it never serves itself, and
// stays small: what reads configurations is loaded only where there is one.

import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GatewayError, VERSION } from '../core/index.ts'
import type { Address } from '../core/index.ts'
import { ListenError, describeListen, supervise } from '../runtime/index.ts'
import type { ListenSpec } from '../runtime/index.ts'
import { UsageError } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { blame } from './blame.ts'
import { coloursOf } from './colours.ts'
import { checkAccessFile, formatFor, openLogs } from './log.ts'
import type { LogOptions } from './log.ts'
import { readConfig } from './read-config.ts'
import { serveOptions } from './serve-options.ts'
import type { ServeOptions } from './serve-options.ts'
import type { FrontReport, FrontSpec } from './site.ts'
import { folderConfig } from './source.ts'
import { addressText, banner } from './table.ts'
import { flushed } from './tool.ts'

/** A PHP leader with a cold disk takes seconds; a front that takes longer than this will not come. */
const START_TIMEOUT = 60_000

/** What the supervisor does, whatever it is that is served. */
interface Setup {
  /** The folder, or the configuration file. */
  readonly what: string
  readonly listen: readonly ListenSpec[]
  /** Milliseconds. */
  readonly grace: number
  readonly pidFile?: string
  readonly log: LogOptions
  readonly spec: FrontSpec
}

/** Runs until it is told to stop; resolves with the exit code. */
export async function serve(parsed: Parsed, earlySignals: () => NodeJS.Signals[]): Promise<number> {
  const options = serveOptions(parsed, process.env)
  const setup = await setUp(options)
  if (typeof setup === 'string') return fail(setup)
  if (options.printConfig) {
    process.stdout.write(`${JSON.stringify(setup.spec.config, undefined, 2)}\n`)
    await flushed()
    return 0
  }
  const problem = checkAccess(setup.log.access)
  if (problem !== undefined) return fail(problem)
  const logs = openLogs({ ...setup.log, access: 'off' })
  try {
    return await supervise({
      listen: setup.listen,
      frontEntry: fileURLToPath(new URL('./front.js', import.meta.url)),
      spec: setup.spec,
      log: logs.log,
      startTimeout: START_TIMEOUT,
      drainTimeout: setup.grace,
      ...(setup.pidFile !== undefined && { pidFile: setup.pidFile }),
      earlySignals,
      onReady: ({ generation, addresses, report }) => {
        const said = report as FrontReport
        if (setup.spec.config === undefined) setup.spec.good = said.config
        setup.spec.down = said.down
        if (generation === 1) announce(setup, addresses, said, logs.log)
      },
      onReport: (report) => {
        setup.spec.down = (report as FrontReport).down
      },
    })
  } catch (error) {
    if (!(error instanceof ListenError)) throw error
    return fail(`${error.message.replace(/^runtime: /, '')}${blame(error)}`)
  } finally {
    await logs.close()
  }
}

/** A text is the reason why nothing can be served. */
async function setUp(options: ServeOptions): Promise<Setup | string> {
  const file = options.config ?? (options.named ? undefined : configHere())
  return file === undefined ? ofFolder(options) : ofFile(file, options)
}

const CONFIG_NAMES = ['json', 'mjs', 'js', 'ts'].map((extension) => `viaduct.config.${extension}`)

/** Of two nobody knows which is meant. */
function configHere(): string | undefined {
  const found = CONFIG_NAMES.filter((name) => existsSync(name))
  if (found.length > 1)
    throw new UsageError(`there are ${found.length} configurations here (${found.join(', ')}); name one with -c, or the folder`)
  return found[0] === undefined ? undefined : resolve(found[0])
}

function ofFolder({ folder }: ServeOptions): Setup | string {
  const problem = checkFolder(folder.folder)
  if (problem !== undefined) return problem
  const { redirect = [], grace, pidFile, log } = folder
  const listen = [...folder.listen, ...redirect]
  return {
    what: folder.folder,
    listen,
    grace,
    log,
    ...(pidFile !== undefined && { pidFile }),
    spec: {
      file: resolve(folder.folder, 'viaduct.config.json'),
      config: folderConfig(folder),
      listeners: listen.map(describeListen),
      fixed: false,
      log: {},
    },
  }
}

async function ofFile(file: string, { given, config }: ServeOptions): Promise<Setup | string> {
  const [first] = given.folderOnly
  if (first !== undefined) {
    const whence =
      config === undefined ? `${file} is served; to serve its folder as it is: viaduct serve .` : 'with -c the configuration says it'
    throw new UsageError(`--${first} is for a folder; ${whence}`)
  }
  try {
    const { plan } = await readConfig(file)
    const listen = given.listen ?? plan.listeners.map((each) => each.listen)
    const pidFile = given.pidFile ?? plan.pidFile
    return {
      what: file,
      listen,
      grace: given.grace ?? plan.grace,
      log: { ...plan.logs, ...given.log },
      ...(pidFile !== undefined && { pidFile }),
      spec: { file, listeners: listen.map(describeListen), fixed: given.listen !== undefined, log: given.log },
    }
  } catch (error) {
    if (error instanceof GatewayError) return error.message
    throw error
  }
}

type Log = ReturnType<typeof openLogs>['log']

function announce(setup: Setup, addresses: readonly Address[], { entries, protocols, down: names }: FrontReport, log: Log): void {
  // A folder alone needs no name.
  const down = setup.spec.config === undefined ? names : names.map((name) => name.replace(/^site: /, ''))
  if (formatFor(setup.log.format, 2) === 'pretty') {
    const text = banner({ version: VERSION, folder: setup.what, entries, addresses, protocols, down }, coloursOf(process.stderr))
    process.stderr.write(`${text}\n\n`)
    return
  }
  const what = setup.spec.config === undefined ? { config: setup.what } : { folder: setup.what }
  log.info(
    {
      version: VERSION,
      ...what,
      addresses: addresses.map((each, i) => addressText(each, protocols[i])),
      serves: entries,
      ...(down.length > 0 && { down }),
    },
    'viaduct serves',
  )
}

function checkFolder(folder: string): string | undefined {
  const found = statSync(folder, { throwIfNoEntry: false })
  if (found === undefined) return `serve: there is no folder ${folder}`
  return found.isDirectory() ? undefined : `serve: ${folder} is not a folder; name the folder that holds it`
}

function checkAccess(file: string): string | undefined {
  try {
    checkAccessFile(file)
    return undefined
  } catch (error) {
    return `serve: the access log cannot be written: ${(error as Error).message}`
  }
}

function fail(message: string): number {
  process.stderr.write(`viaduct: ${message}\n`)
  return 1
}
