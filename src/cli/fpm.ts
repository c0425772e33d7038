// `viaduct fpm`: php-fpm's command line, in the foreground or as a daemon.

import { spawn } from 'node:child_process'
import { openSync, writeSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe } from '../core/index.ts'
import { EXIT_CONFIG, EXIT_OK, EXIT_SOFTWARE, MainLog, face, iniArguments, runMaster, systemHost, usesErrorLog } from '../fpm/index.ts'
import type { FpmConfig } from '../fpm/index.ts'
import { PHP_INSTALL, findPhpCgi, phpVersion } from '../php/interpreter.ts'
import { installSignals } from '../process/index.ts'

/** Set for the copy of itself that a daemon is. */
const DAEMON = 'VIADUCT_FPM_DAEMON'
/** Where that copy says what whoever started it should see, until it serves. */
const CALLER = 3

/**
 * Runs `viaduct fpm` with these words; resolves with the exit code, which is php-fpm's.
 * @param program what is run in place of php-cgi: a FastCGI program and its arguments.
 */
export async function fpm(
  args: readonly string[],
  earlySignals: () => NodeJS.Signals[],
  program?: readonly [string, ...string[]],
): Promise<number> {
  const signals = installSignals(earlySignals)
  const daemon = process.env[DAEMON] !== undefined
  // With clear_env = no scripts would see it.
  delete process.env[DAEMON]
  const complain = daemon ? tellCaller : (text: string | Uint8Array): void => void process.stderr.write(text)
  try {
    const { words, phpCgi } = ownOptions(args)
    const log = daemon ? new MainLog(tellCaller) : new MainLog()
    const find = (): string => {
      const file = phpCgi ?? findPhpCgi()
      if (file === undefined) throw new Error(`fpm: no php-cgi was found; name one with --php-cgi, or: ${PHP_INSTALL}`)
      return file
    }
    const terminal = process.stderr.isTTY === true
    const read = async (to: MainLog, silent = false): ReturnType<typeof face> => {
      const php = findPhpCgi()
      return face({
        words,
        program: program === undefined ? 'viaduct fpm' : 'viaduct spawn',
        system: systemHost(),
        log: to,
        phpCgi: find,
        defaultFile: php === undefined ? '/etc/php-fpm.conf' : await defaultFile(find()),
        terminal,
        silent,
        print: (text) => void process.stdout.write(text),
        printError: complain,
      })
    }
    const faced = await read(log, daemon)
    if ('exit' in faced) return faced.exit
    const { config, invocation } = faced
    if (config.global.daemonize && !daemon) return await daemonize(config)
    const php = program === undefined ? await phpVersion(find()) : undefined
    const logUsed = usesErrorLog({ daemonize: config.global.daemonize, terminal, forceStderr: invocation.forceStderr })
    return await runMaster({
      config,
      log,
      logUsed,
      php: php && { file: php.file, version: php.version.split('.').slice(0, 2).join('.'), iniArguments: iniArguments(invocation) },
      ...(program !== undefined && { program }),
      frontEntry: frontEntry(),
      signals,
      reread: async (): Promise<FpmConfig | undefined> => {
        // Its complaints go to the log of now; what it is to be logged to is the next front's business.
        const again = await read(log)
        return 'exit' in again ? undefined : again.config
      },
      onReady: () => {
        log.launched()
        if (daemon) process.send?.('ready', undefined, undefined, () => process.disconnect?.())
      },
    })
  } catch (error) {
    complain(`viaduct: ${describe(error)}\n`)
    return EXIT_CONFIG
  } finally {
    signals.close()
  }
}

/** `--php-cgi FILE` is ours, everything else php-fpm's. */
function ownOptions(args: readonly string[]): { words: string[]; phpCgi: string | undefined } {
  const words: string[] = []
  let phpCgi: string | undefined
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!
    if (word === '--php-cgi') phpCgi = args[++i]
    else if (word.startsWith('--php-cgi=')) phpCgi = word.slice('--php-cgi='.length)
    else words.push(word)
  }
  return { words, phpCgi }
}

async function defaultFile(phpCgi: string): Promise<string> {
  const { version } = await phpVersion(phpCgi)
  return `/etc/php/${version.split('.').slice(0, 2).join('.')}/fpm/php-fpm.conf`
}

function frontEntry(): string {
  // The same extension as this file: sources run as they are, too.
  const self = fileURLToPath(import.meta.url)
  return self.replace(/fpm(\.[jt]s)$/, 'fpm-front$1')
}

/** It may have gone. */
function tellCaller(text: string | Uint8Array): void {
  try {
    writeSync(CALLER, typeof text === 'string' ? Buffer.from(text) : text)
  } catch {
    // Nobody waits for it any more.
  }
}

/**
 * Node cannot fork: a daemon is a copy of this program in a session of its own, and we wait until it serves. It keeps nothing of ours open,
 * or whoever reads what we print would wait for ever; what goes to its standard error by mistake is in the log.
 */
function daemonize({ global }: FpmConfig): Promise<number> {
  const nowhere = openSync('/dev/null', 'r+')
  const stderr = global.errorLog.toLowerCase() === 'syslog' ? nowhere : openSync(global.errorLog, 'a', 0o600)
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    cwd: process.cwd(),
    env: { ...process.env, [DAEMON]: '1' },
    detached: true,
    stdio: [nowhere, nowhere, stderr, 'pipe', 'ipc'],
  })
  child.stdio[CALLER]!.on('data', (said: Buffer) => process.stderr.write(said))
  return new Promise((resolve) => {
    child.once('message', () => {
      child.disconnect()
      child.unref()
      resolve(EXIT_OK)
    })
    child.once('error', () => resolve(EXIT_SOFTWARE))
    // What it said last may still be on its way; a front that goes later keeps that way open, and is not waited for.
    child.once('exit', () => {
      child.once('close', () => resolve(EXIT_SOFTWARE))
      setTimeout(() => resolve(EXIT_SOFTWARE), 1000)
    })
  })
}
