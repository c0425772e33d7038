// Finding and reading a configuration file: JSON, a JavaScript module, or a TypeScript one.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { GatewayError, describe } from '../core/index.ts'
import { placeOf } from '../node/index.ts'
import { checkConfig } from './check.ts'
import { parseJson } from './json.ts'
import { report } from './problems.ts'
import type { Config } from './config.ts'
import type { ServerPlan } from './plan.ts'
import type { Problem } from './problems.ts'

/** The names that are looked for in a folder, in this order. */
export const CONFIG_NAMES: readonly string[] = ['viaduct.config.json', 'viaduct.config.mjs', 'viaduct.config.js', 'viaduct.config.ts']

/** For editors and type checkers: gives back what it gets. */
export function defineConfig(config: Config): Config {
  return config
}

/** The configuration file of a folder, as an absolute path; undefined where there is none. Throws CONFIG where there are two. */
export function findConfig(folder: string): string | undefined {
  const found = CONFIG_NAMES.map((name) => join(folder, name)).filter((file) => existsSync(file))
  if (found.length > 1)
    throw broken(folder, `there are ${found.length} configurations (${found.join(', ')}); name one with -c, or remove the others`)
  return found[0]
}

/** A configuration file that cannot be used: every mistake in it. */
export class ConfigError extends GatewayError {
  override readonly name = 'ConfigError'
  /** Absolute path. */
  readonly file: string
  /** In the order of the file. */
  readonly problems: readonly Problem[]

  constructor(file: string, problems: readonly Problem[]) {
    super('CONFIG', { status: 500, message: report(file, problems) })
    this.file = file
    this.problems = problems
  }
}

/** A configuration file that was read. */
export interface Loaded {
  /** Absolute. */
  readonly file: string
  /** As it was written: plain data, secrets as references where they are. */
  readonly config: Config
  /** What it means on this machine. */
  readonly plan: ServerPlan
}

/** Reads a file, or takes `config` as what stood in it when it was read before. Rejects with ConfigError for mistakes. */
export async function loadConfig(file: string, config?: Config): Promise<Loaded> {
  const absolute = resolve(file)
  const { value, lines, problems = [] }: Written = config === undefined ? await readConfig(absolute) : { value: config }
  const checked = await checkConfig(value, { folder: dirname(absolute), known: config !== undefined })
  const all = [...problems, ...('problems' in checked ? checked.problems : [])]
  if ('problems' in checked || all.length > 0)
    throw new ConfigError(absolute, lines === undefined ? all : all.map((each) => withLine(each, lines)))
  return { file: absolute, config: value as Config, plan: checked.plan }
}

interface Written {
  readonly value: unknown
  /** Of JSON. */
  readonly lines?: ReadonlyMap<string, number>
  readonly problems?: readonly Problem[]
}

/** The line of the value, or of the nearest around it that is there. */
function withLine(problem: Problem, lines: ReadonlyMap<string, number>): Problem {
  for (let at = problem.at; at !== ''; at = at.slice(0, Math.max(at.lastIndexOf('.'), at.lastIndexOf('['), 0))) {
    const line = lines.get(at)
    if (line !== undefined) return { ...problem, line }
  }
  return problem
}

/** What a file holds. Rejects with ConfigError where it cannot be read. */
async function readConfig(file: string): Promise<Written> {
  if (!existsSync(file)) throw broken(file, 'there is no such file')
  switch (extname(file)) {
    case '.json':
      return readJson(file)
    case '.mjs':
    case '.js':
      return { value: await exported(file, await imported(file, () => import(pathToFileURL(file).href))) }
    case '.ts':
    case '.mts':
      return { value: await exported(file, await imported(file, () => importTypeScript(file))) }
    default:
      throw broken(file, `expected a file that ends in .json, .mjs, .js or .ts`)
  }
}

function readJson(file: string): Written {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw broken(file, `it cannot be read: ${(error as NodeJS.ErrnoException).code ?? describe(error)}`)
  }
  try {
    return parseJson(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    throw broken(file, `it is no JSON: ${describe(error)}`)
  }
}

async function imported(file: string, load: () => Promise<unknown>): Promise<unknown> {
  try {
    return await load()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const missing = /Cannot find (?:package|module) 'viaduct/.test(describe(error))
    const remedy = missing ? '; install viaduct in that folder (npm install viaduct), or export the object without defineConfig' : ''
    const place = missing ? undefined : await placeOf(error, file)
    throw broken(file, `it cannot be loaded: ${describe(error)}${place === undefined ? '' : ` (${place})`}${remedy}`)
  }
}

/** Node reads TypeScript by itself from 22.18 on; before that jiti does, if it is installed. */
async function importTypeScript(file: string): Promise<unknown> {
  if ('typescript' in process.features && process.features.typescript) return import(pathToFileURL(file).href)
  let jiti: typeof import('jiti')
  try {
    jiti = await import('jiti')
  } catch {
    throw broken(
      file,
      `Node ${process.versions.node} does not read TypeScript; install jiti (npm install jiti), use Node 22.18 or newer, or write an .mjs`,
    )
  }
  return jiti.createJiti(file, { moduleCache: false, fsCache: false }).import(file)
}

async function exported(file: string, module: unknown): Promise<unknown> {
  const value = typeof module === 'object' && module !== null && 'default' in module ? module.default : undefined
  if (value === undefined) throw broken(file, 'it exports nothing: export default defineConfig({ ... })')
  return typeof value === 'function' ? imported(file, () => Promise.resolve((value as () => unknown)())) : value
}

function broken(file: string, message: string): ConfigError {
  return new ConfigError(file, [{ at: '', message }])
}
