// The formats of a report, and which one a request wants.

import type { ByteString, GatewayRequest } from '../core/index.ts'
import { POLICY, statusHtml } from './html.ts'
import { statusMetrics } from './metrics.ts'
import type { StatusReport } from './report.ts'
import { statusText } from './text.ts'

/** `prometheus` is the text format 0.0.4, the one before OpenMetrics. */
export type StatusFormat = 'text' | 'html' | 'json' | 'openmetrics' | 'prometheus'

/** The formats, by the names that a query and `viaduct status` give them. */
export const FORMATS: readonly StatusFormat[] = ['text', 'html', 'json', 'openmetrics', 'prometheus']

interface Format {
  readonly type: string
  /** As a client names it in Accept, with the parameter that tells it from others. */
  readonly accept: readonly [type: string, parameter?: string]
  readonly headers?: readonly string[]
  write(report: StatusReport): string
}

const TABLE: Readonly<Record<StatusFormat, Format>> = {
  text: { type: 'text/plain; charset=utf-8', accept: ['text/plain'], write: (report) => statusText(report) },
  html: {
    type: 'text/html; charset=utf-8',
    accept: ['text/html'],
    headers: ['Content-Security-Policy', POLICY],
    write: statusHtml,
  },
  json: { type: 'application/json', accept: ['application/json'], write: (report) => `${JSON.stringify(report)}\n` },
  openmetrics: {
    type: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
    accept: ['application/openmetrics-text'],
    write: (report) => statusMetrics(report, true),
  },
  prometheus: {
    type: 'text/plain; version=0.0.4; charset=utf-8',
    accept: ['text/plain', 'version=0.0.4'],
    write: (report) => statusMetrics(report, false),
  },
}

/** A report in a format: its header fields and its text. */
export function render(report: StatusReport, format: StatusFormat): { readonly headers: readonly string[]; readonly body: string } {
  const { type, headers = [], write } = TABLE[format]
  return { headers: ['Content-Type', type, ...headers], body: write(report) }
}

/** By the query (`?json`, `?html&full`), else by Accept, else text. */
export function wanted({ queryString, headers }: GatewayRequest): { readonly format: StatusFormat; readonly full: boolean } {
  const keys = queryString.split('&').map((pair) => pair.split('=', 1)[0])
  const full = keys.includes('full')
  return { format: FORMATS.find((each) => keys.includes(each)) ?? accepted(headers.get('accept') ?? ''), full }
}

/** The one with the highest weight (RFC 9110, 12.5.1); of equals, the one that is named first. */
function accepted(accept: ByteString): StatusFormat {
  let best: StatusFormat = 'text'
  let most = 0
  for (const range of accept.toLowerCase().split(',')) {
    const [type, ...parameters] = range.split(';').map((part) => part.trim())
    const weight = parameters.find((each) => each.startsWith('q='))
    const q = weight === undefined ? 1 : Number.parseFloat(weight.slice(2))
    // The format that asks for a parameter comes after the one of the same type that does not.
    const format = FORMATS.findLast((each) => {
      const [own, parameter] = TABLE[each].accept
      return own === type && (parameter === undefined || parameters.includes(parameter))
    })
    if (format !== undefined && q > most) {
      best = format
      most = q
    }
  }
  return best
}
