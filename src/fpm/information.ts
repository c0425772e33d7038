// `-v`, `-m` and `-i`: what the php-cgi that runs the scripts says of itself.

import { execFile } from 'node:child_process'
import { GatewayError, VERSION, describe } from '../core/index.ts'
import type { Invocation } from './config/invocation.ts'

const ASK = { version: ['-v'], modules: ['-m'], information: ['-q', '-i'] } as const

/** The text to print. Rejects with CONFIG when there is no php-cgi to ask. */
export async function phpInformation(phpCgi: string, action: keyof typeof ASK, invocation: Invocation): Promise<string> {
  const told = await ask(phpCgi, [...iniArguments(invocation), ...ASK[action]])
  if (action === 'modules') return told
  if (action === 'information') return informationText(told)
  // Scripts look for this word to know what they talk to.
  return `${told.replace('(cgi-fcgi)', '(fpm-fcgi)').trimEnd()}\n    with Viaduct v${VERSION}, process manager\n`
}

/** `-c`, `-n` and `-d` as php-cgi takes them. */
export function iniArguments({ phpIni, noPhpIni, defines }: Invocation): string[] {
  const args = defines.flatMap((define) => ['-d', define])
  if (noPhpIni) args.unshift('-n')
  if (phpIni !== undefined) args.unshift('-c', phpIni)
  return args
}

function ask(phpCgi: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    // Nothing of our own environment: GATEWAY_INTERFACE or the like would make it believe in a request.
    const env = { PATH: process.env['PATH'] ?? '' }
    execFile(phpCgi, args, { timeout: 10_000, maxBuffer: 16 * 1024 ** 2, env }, (error, stdout) => {
      if (error === null) resolve(stdout)
      else
        reject(new GatewayError('CONFIG', { status: 500, message: `fpm: ${phpCgi} ${args.join(' ')}: ${describe(error)}`, cause: error }))
    })
  })
}

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', amp: '&', nbsp: ' ', '#039': `'`, '#39': `'` }

/** php-cgi tells phpinfo() as a page; php-fpm tells it as text. */
export function informationText(page: string): string {
  const text = page
    .replace(/<(style|script|title)[^]*?<\/\1>/g, '')
    .replace(/\n/g, ' ')
    .replace(/<h1[^>]*>\s*PHP Version /g, '\nPHP Version => ')
    .replace(/<\/h[12]>|<br\s*\/?>|<\/tr>|<\/table>|<\/p>/g, '\n')
    .replace(/<h[12][^>]*>/g, '\n')
    .replace(/\s*<\/t[dh]>\s*<t[dh][^>]*>/g, ' => ')
    .replace(/<[^>]*>/g, '')
    .replace(/&(#?\w+);/g, (whole, name: string) => ENTITIES[name] ?? whole)
  const lines = text.split('\n').map((line) => line.trim())
  return `phpinfo()\n${lines
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()}\n`
}
