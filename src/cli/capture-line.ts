// One line for one recorded request: live, in a list, and before its differences.

import { ProtocolStatus } from '../fastcgi/index.ts'
import { roleName, statusName, targetOf, variableOf } from '../trace/index.ts'
import type { Exchange } from '../trace/index.ts'
import type { Colours } from './colours.ts'
import { humanBytes } from './pretty.ts'
import { milliseconds, shown } from './request-text.ts'

/** `  12  200 GET /index.php  1.2 kB  3.4 ms` and what is not as usual. */
export function exchangeLine(exchange: Exchange, c: Colours): string {
  const { number, head, bodyLength, started, ended } = exchange
  const status = head?.status ?? 0
  const colour = status === 0 || status >= 500 ? c.red : status >= 400 ? c.yellow : status >= 300 ? c.cyan : c.green
  const facts = [humanBytes(bodyLength), milliseconds(ended - started)]
  const odd = oddities(exchange)
  return [
    c.dim(String(number).padStart(4)),
    colour(String(head?.status ?? '---')),
    titleOf(exchange),
    c.dim(facts.join('  ')),
    ...(odd.length > 0 ? [c.yellow(odd.join('; '))] : []),
  ].join('  ')
}

/** `GET /index.php?a=b`. */
export function titleOf(exchange: Exchange): string {
  return `${shown(variableOf(exchange, 'REQUEST_METHOD') ?? '-')} ${shown(targetOf(exchange))}`
}

function oddities({ role, end, aborted, stderrLength, problems }: Exchange): string[] {
  const found: string[] = []
  if (role !== 1) found.push(roleName(role))
  if (aborted) found.push('aborted')
  if (end === undefined) found.push('no end')
  else if (end.protocolStatus !== ProtocolStatus.RequestComplete) found.push(statusName(end.protocolStatus))
  else if (end.appStatus !== 0) found.push(`application status ${end.appStatus}`)
  if (stderrLength > 0) found.push(`${humanBytes(stderrLength)} of STDERR`)
  return [...found, ...problems.map(shown)]
}

/** What programs get of it. */
export function exchangeJson(exchange: Exchange): Record<string, unknown> {
  const { number, connection, id, role, keep, head, started, answered, ended, end } = exchange
  return {
    number,
    connection,
    id,
    role: roleName(role),
    keep,
    method: variableOf(exchange, 'REQUEST_METHOD'),
    target: targetOf(exchange),
    status: head?.status,
    started,
    answered,
    time: ended - started,
    requestBytes: exchange.stdinLength,
    bodyBytes: exchange.bodyLength,
    ...(exchange.dataLength > 0 && { dataBytes: exchange.dataLength }),
    ...(exchange.stderrLength > 0 && { stderr: exchange.stderr }),
    appStatus: end?.appStatus,
    protocolStatus: end === undefined ? undefined : statusName(end.protocolStatus),
    ...(exchange.aborted && { aborted: true }),
    ...(exchange.problems.length > 0 && { problems: exchange.problems }),
    variables: Object.fromEntries(pairs(exchange.variables)),
    headers: head === undefined ? undefined : pairs(head.headers),
  }
}

function pairs(list: readonly string[]): [string, string][] {
  return list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1]!]] : []))
}
