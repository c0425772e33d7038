// What a php-fpm command line comes to: something to show, a configuration that was tested, or one to start.

import type { FpmConfig, GlobalConfig } from './config/types.ts'
import type { Invocation } from './config/invocation.ts'
import type { ConfigHost, SystemHost } from './config/host.ts'
import { initializationFailed, loadConfig, testConfig } from './config/load.ts'
import { checkStart } from './config/start.ts'
import { PREFIX } from './config/paths.ts'
import { phpInformation } from './information.ts'
import type { MainLog } from './log/main-log.ts'
import { usesErrorLog } from './log/main-log.ts'
import { EXIT_CONFIG, EXIT_OK, EXIT_SOFTWARE, EXIT_USAGE, parseCommandLine, usage } from './options.ts'

export interface FaceOptions {
  /** How it was called, for the usage: `viaduct fpm`. */
  readonly program: string
  /** The words after that. */
  readonly words: readonly string[]
  readonly system: SystemHost
  /** Where everything about the configuration is said; set up by it on the way. */
  readonly log: MainLog
  /** The php-cgi to ask for `-v`, `-m` and `-i`. */
  readonly phpCgi: () => string | Promise<string>
  /** The file without `-y` and `-p`. */
  readonly defaultFile: string
  /** Whether standard error is a terminal. */
  readonly terminal: boolean
  /** Whoever started this process has said what is to be said of the configuration: only what refuses it is said again. */
  readonly silent?: boolean
  readonly print: (text: string) => void
  readonly printError: (text: string) => void
}

export type Faced =
  | { readonly exit: number }
  | { readonly invocation: Invocation; readonly config: FpmConfig; /** For what is said about it later. */ readonly host: ConfigHost }

/** Reads the command line and the configuration. With `exit` everything has been said and done. Rejects when php-cgi cannot be asked. */
export async function face(options: FaceOptions): Promise<Faced> {
  const { log, print } = options
  const invocation = parseCommandLine(options.words)
  switch (invocation.action) {
    case 'help':
    case 'mistake':
      print(usage(options.program, PREFIX))
      return { exit: invocation.action === 'help' ? EXIT_OK : EXIT_USAGE }
    case 'version':
    case 'modules':
    case 'information':
      print(await phpInformation(await options.phpCgi(), invocation.action, invocation))
      return { exit: EXIT_OK }
    case 'run':
  }
  const host: ConfigHost = {
    ...options.system,
    say: (message) => {
      if (options.silent !== true || message.level === 'error' || message.level === 'alert') log.say(message)
    },
    print: options.printError,
    openErrorLog: (global: GlobalConfig) => {
      const { daemonize } = global
      log.configure(global, usesErrorLog({ daemonize, terminal: options.terminal, forceStderr: invocation.forceStderr }))
    },
  }
  const config = loadConfig(invocation, { host, defaultFile: options.defaultFile })
  if (config !== undefined && invocation.test === 0 && checkStart(config, host, invocation.allowRoot)) return { invocation, config, host }
  if (config !== undefined && invocation.test > 0 && testConfig(config, invocation.test, host)) return { exit: EXIT_OK }
  initializationFailed(host)
  // php-fpm has gone to the background by then, and who waits for it knows only that it has failed.
  return { exit: config?.global.daemonize === true && invocation.test === 0 ? EXIT_SOFTWARE : EXIT_CONFIG }
}
