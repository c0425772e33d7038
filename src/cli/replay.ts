// `viaduct replay`: a capture sent again, and how the answers differ.

import { GatewayError, fromByteString, toByteString } from '../core/index.ts'
import type { ByteString } from '../core/index.ts'
import { DEFAULT_IGNORED, replay as send } from '../trace/index.ts'
import type { Difference, ReplayResult, ReplaySummary } from '../trace/index.ts'
import { UsageError, parseSeconds } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { titleOf } from './capture-line.ts'
import { coloursOf } from './colours.ts'
import type { Colours } from './colours.ts'
import { humanBytes } from './pretty.ts'
import { readApplication } from './request-address.ts'
import { print } from './tool.ts'
import { milliseconds, preview, problemOf, shown } from './request-text.ts'

/** Exit code 0: all answers are the same; 1: they are not, or nothing could be compared. */
export async function replay(parsed: Parsed): Promise<number> {
  const [file, extra] = parsed.rest
  if (file === undefined) throw new UsageError('a file is missing: viaduct replay site.fcgicap --to ADDRESS')
  if (extra !== undefined) throw new UsageError(`one file at a time, got "${file}" and "${extra}"`)
  const { address: to, tls } = readApplication(parsed.values.get('to')?.[0], '--to', parsed)
  const names = (parsed.values.get('ignore') ?? []).flatMap((each) => each.split(',')).map((each) => each.trim())
  const numbers = readNumbers(parsed.values.get('only')?.[0])
  const variables = new Map((parsed.values.get('set') ?? []).map(readSet))
  const timeout = parseSeconds(parsed.values.get('timeout')?.[0] ?? '60', '--timeout')
  const [json, quiet] = [parsed.values.has('json'), parsed.values.has('quiet')]
  const c = coloursOf(process.stdout)
  const masked = new Map<ByteString, number>()
  try {
    const summary = await send(file, {
      to,
      tls,
      variables,
      timeout,
      ignore: [...(parsed.values.has('strict') ? [] : DEFAULT_IGNORED), ...names],
      bodies: !parsed.values.has('no-body'),
      keep: parsed.values.has('keep'),
      ...(numbers !== undefined && { numbers }),
      onResult: (result) => {
        for (const name of result.masked) masked.set(name, (masked.get(name) ?? 0) + 1)
        if (json) return print(`${JSON.stringify(asJson(result))}\n`)
        return quiet && result.differences.length === 0 && result.skipped === undefined ? undefined : print(`${resultText(result, c)}\n`)
      },
    })
    if (!json) await print(`${sum(summary, c)}\n`)
    return finish(summary, masked)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    process.stderr.write(`viaduct: replay: ${problemOf(error)}\n`)
    return 1
  }
}

function finish({ same, different, skipped, problem }: ReplaySummary, masked: ReadonlyMap<ByteString, number>): number {
  if (masked.size > 0) {
    const names = [...masked]
      .toSorted()
      .map(([name, count]) => `${shown(name)} (${count} request${count === 1 ? '' : 's'})`)
      .join(', ')
    process.stderr.write(`viaduct: replay: masked in the capture and not sent: ${names}; --set NAME=VALUE gives a value\n`)
  }
  if (problem !== undefined) process.stderr.write(`viaduct: replay: ${problem}; what is before that was sent\n`)
  if (same + different === 0)
    process.stderr.write(`viaduct: replay: nothing could be compared${skipped > 0 ? '' : ': there is no such request'}\n`)
  return different === 0 && same > 0 && problem === undefined ? 0 : 1
}

/** `3,7,10-20`. */
export function readNumbers(text: string | undefined): Set<number> | undefined {
  if (text === undefined) return undefined
  const found = new Set<number>()
  for (const part of text.split(',')) {
    const match = /^ *(\d{1,7})(?:-(\d{1,7}))? *$/.exec(part)
    const [from, to] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
    if (match === null || from < 1 || to < from) throw new UsageError(`--only: expected numbers such as 3,7 or 10-20, got "${text}"`)
    for (let number = from; number <= to; number++) found.add(number)
  }
  return found
}

function readSet(text: string): [ByteString, ByteString] {
  const equals = text.indexOf('=')
  if (equals < 1) throw new UsageError(`--set: expected NAME=VALUE, got "${text}"`)
  return [toByteString(text.slice(0, equals)), toByteString(text.slice(equals + 1))]
}

function resultText(result: ReplayResult, c: Colours): string {
  const { exchange, skipped, reply, differences } = result
  const number = c.dim(String(exchange.number).padStart(4))
  const title = titleOf(exchange)
  if (skipped !== undefined) return `${c.yellow('-')} ${number}  ${title}  ${c.yellow(`not sent: ${skipped}`)}`
  const times = c.dim(`${milliseconds(exchange.ended - exchange.started)} -> ${milliseconds(reply?.time ?? 0)}`)
  const mark = differences.length === 0 ? c.green('=') : c.red('!')
  const status = reply?.head?.status ?? '---'
  return [`${mark} ${number}  ${status}  ${title}  ${times}`, ...differences.flatMap((each) => differenceLines(each, c))].join('\n')
}

function differenceLines(difference: Difference, c: Colours): string[] {
  const [gone, come] = [(text: string): string => c.red(`- ${text}`), (text: string): string => c.green(`+ ${text}`)]
  const pad = ' '.repeat(8)
  if (difference.what === 'body') {
    const { at, from, to } = difference
    return [
      `${pad}body, from byte ${at} (${humanBytes(from.length)} -> ${humanBytes(to.length)})`,
      ...preview(from.excerpt).map((line) => `${pad}  ${gone(line)}`),
      ...preview(to.excerpt).map((line) => `${pad}  ${come(line)}`),
    ]
  }
  const what = difference.what === 'header' ? shown(difference.name) : difference.what
  const { from, to } = difference
  return [
    `${pad}${what}`,
    ...(from === undefined ? [] : [`${pad}  ${gone(shown(from))}`]),
    ...(to === undefined ? [] : [`${pad}  ${come(shown(to))}`]),
  ]
}

function asJson({ exchange, skipped, reply, differences, masked }: ReplayResult): object {
  return {
    number: exchange.number,
    title: titleOf(exchange),
    same: skipped === undefined && differences.length === 0,
    ...(skipped !== undefined && { skipped }),
    recorded: { status: exchange.head?.status, bytes: exchange.bodyLength, time: exchange.ended - exchange.started },
    ...(reply !== undefined && { replayed: { status: reply.head?.status, bytes: reply.bodyLength, time: reply.time } }),
    differences: differences.map((each) =>
      each.what === 'body'
        ? { what: 'body', at: each.at, from: excerpt(each.from.excerpt), to: excerpt(each.to.excerpt) }
        : {
            ...each,
            from: each.from === undefined ? undefined : fromByteString(each.from),
            to: each.to === undefined ? undefined : fromByteString(each.to),
          },
    ),
    ...(masked.length > 0 && { masked }),
  }
}

function excerpt(bytes: Buffer): string {
  return bytes.toString('utf8')
}

function sum({ same, different, skipped }: ReplaySummary, c: Colours): string {
  const parts = [`${same} the same`]
  if (different > 0) parts.push(c.red(`${different} different`))
  if (skipped > 0) parts.push(c.yellow(`${skipped} not sent`))
  return parts.join(', ')
}
