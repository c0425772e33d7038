// `viaduct explain`: what would answer a URL, and why, without running anything.

import { ConfigError, explainRequest } from '../config/index.ts'
import type { Explanation } from '../config/index.ts'
import { fromByteString, isToken } from '../core/index.ts'
import { UsageError } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { choose } from './chosen.ts'
import { coloursOf } from './colours.ts'
import type { Colours } from './colours.ts'

/** Exit code 0: something was explained, be it an error page; 1: the configuration cannot be used. */
export async function explain(parsed: Parsed): Promise<number> {
  const [url, ...folders] = parsed.rest
  if (url === undefined) throw new UsageError('a URL is missing: viaduct explain /index.php')
  const method = parsed.values.get('method')?.[0] ?? 'GET'
  if (!isToken(method)) throw new UsageError(`--method: "${method}" is no method`)
  const headers = (parsed.values.get('header') ?? []).flatMap(readHeader)
  const from = parsed.values.get('from')?.[0]
  try {
    const { plan } = await choose(parsed, folders)
    const told = await explainRequest(plan, { url, method, headers, ...(from !== undefined && { from }) })
    process.stdout.write(
      parsed.values.has('json') ? `${JSON.stringify(told, undefined, 2)}\n` : `${explanation(told, coloursOf(process.stdout))}\n`,
    )
    return 0
  } catch (error) {
    if (error instanceof TypeError && 'code' in error && error.code === 'ERR_INVALID_URL')
      throw new UsageError(`"${url}" is no URL and no path`)
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`viaduct: ${error.message}\n`)
    return 1
  }
}

function readHeader(text: string): [string, string] {
  const colon = text.indexOf(':')
  const name = text.slice(0, colon)
  if (colon < 1 || !isToken(name)) throw new UsageError(`--header: expected "Name: value", got "${text}"`)
  return [name, text.slice(colon + 1).trim()]
}

function explanation({ method, target, steps, application, answer }: Explanation, c: Colours): string {
  const lines = [c.bold(`${method} ${target}`), '']
  const width = Math.max(...steps.map(({ at }) => at.length), 0)
  for (const { at, taken, why } of steps)
    lines.push(`  ${taken ? c.green('+') : c.dim('-')} ${at.padEnd(width)}  ${taken ? why : c.dim(why)}`)
  lines.push('', `  ${c.bold('answer')}       ${answer.what}`)
  if (application !== undefined) lines.push(`  ${c.bold('application')}  ${application.name} (${application.kind})`)
  if (answer.program !== undefined) lines.push(`  ${c.bold('program')}      ${answer.program}`)
  for (const why of answer.why) lines.push(`  ${c.bold('why')}          ${why}`)
  if (answer.problem !== undefined) lines.push(`  ${c.yellow('missing')}      ${answer.problem}`)
  if (answer.variables !== undefined) {
    lines.push('', c.bold('Variables'))
    for (const [name, value] of answer.variables) lines.push(`  ${name}=${c.cyan(printable(value))}`)
  }
  return lines.join('\n')
}

/** A header may hold what would speak to a terminal. */
function printable(value: string): string {
  return fromByteString(value).replace(/[\x00-\x1f\x7f-\x9f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
