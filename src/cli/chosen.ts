// What `check` and `explain` look at: a configuration file, the one of this folder, or a folder as it is.

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { ConfigError, findConfig, loadConfig } from '../config/index.ts'
import type { Loaded } from '../config/index.ts'
import { DEFAULT_HOST, DEFAULT_PORT, UsageError } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { folderConfig } from './source.ts'

/** A file that is named or found, else a folder. Rejects with ConfigError for mistakes in it. */
export async function choose(parsed: Parsed, folders: readonly string[]): Promise<Loaded> {
  const given = parsed.values.get('config')?.[0]
  const [folder, extra] = folders
  if (extra !== undefined) throw new UsageError(`one folder at a time, got "${folder}" and "${extra}"`)
  if (given !== undefined && folder !== undefined) throw new UsageError(`a configuration or a folder, got ${given} and ${folder}`)
  const file = given ?? (folder === undefined ? findConfig(process.cwd()) : undefined)
  if (file !== undefined) return loadConfig(file)
  const root = resolve(folder ?? '.')
  const found = statSync(root, { throwIfNoEntry: false })
  if (found === undefined) throw new ConfigError(root, [{ at: '', message: 'there is no such folder' }])
  if (!found.isDirectory()) throw new ConfigError(root, [{ at: '', message: 'it is not a folder; name a configuration with -c' }])
  const listen = [{ host: DEFAULT_HOST, port: DEFAULT_PORT }]
  return loadConfig(resolve(root, 'the folder'), folderConfig({ folder: root, listen, grace: 30_000, log: { level: 'info', access: '-' } }))
}
