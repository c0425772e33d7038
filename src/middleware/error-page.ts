// What a person sees when something is wrong: a small page that says so and nothing of the reason, which is for the log.

import { STATUS_CODES } from 'node:http'
import { GatewayError, describe, escapeHtml, getHeader, hasHeader, html, statusOf, text } from '../core/index.ts'
import type { GatewayRequest, GatewayResponse, HeaderList, Log, Middleware } from '../core/index.ts'

/** Who hears of errors. */
export interface ErrorPageOptions {
  /** Hears of every error that was thrown: 5xx as an error (as a warning where it is only busy), the rest as debug. */
  readonly log?: Log
}

/** Gives responses of 400 and above that have neither a body nor a type a page, and turns thrown errors into such responses. */
export const errorPage =
  (options: ErrorPageOptions = {}): Middleware =>
  (next) =>
  (request) => {
    let response
    try {
      response = next(request)
    } catch (error) {
      return failed(request, error, options.log)
    }
    if (!(response instanceof Promise)) return finished(request, response)
    return response.then(
      (settled) => finished(request, settled),
      (error: unknown) => failed(request, error, options.log),
    )
  }

function finished(request: GatewayRequest, response: GatewayResponse): GatewayResponse {
  // An application that says what type its empty page has meant it to be empty.
  if (response.status < 400 || response.body !== null || response.internal !== undefined) return response
  return hasHeader(response.headers, 'content-type') ? response : page(request, response.status, response.headers)
}

const BUSY: ReadonlySet<string> = new Set(['QUEUE_FULL', 'QUEUE_TIMEOUT', 'CLOSED'])

function failed(request: GatewayRequest, error: unknown, log: Log | undefined): GatewayResponse {
  const status = statusOf(error)
  const fields = { method: request.method, target: request.target, status, ...(error instanceof GatewayError && { code: error.code }) }
  // An error that is not ours is a mistake in a program: where it happened is the first thing somebody will ask.
  const message = error instanceof Error && !(error instanceof GatewayError) ? (error.stack ?? describe(error)) : describe(error)
  if (status < 500) log?.debug(fields, message)
  else if (error instanceof GatewayError && BUSY.has(error.code)) log?.warn(fields, message)
  else log?.error(fields, message)
  const again = error instanceof GatewayError ? error.retryAfter : undefined
  return page(request, status, again === undefined ? [] : ['Retry-After', String(again)], wordsFor(error))
}

/** Who is told that a server is busy tries again soon, and finds nothing else where the application is what does not work. */
function wordsFor(error: unknown): string | undefined {
  if (!(error instanceof GatewayError)) return undefined
  if (error.code === 'NOT_STARTED') return 'The application behind this page does not start. The log of the server knows why.'
  return error.status === 503 && !BUSY.has(error.code)
    ? 'The application behind this page cannot be reached. The log of the server knows why.'
    : undefined
}

const WORDS: Readonly<Record<number, string>> = {
  400: 'The server could not understand this request.',
  401: 'This page asks for a name and a password.',
  403: 'This page is there, but not for everybody.',
  404: 'There is nothing at this address.',
  405: 'This page cannot be asked for in this way.',
  413: 'What was sent is larger than this server takes.',
  416: 'The page does not have the part that was asked for.',
  429: 'Too many requests. Please try again in a while.',
  500: 'Something went wrong on the server. Its log knows more.',
  502: 'The program behind this page failed. The log of the server knows more.',
  503: 'The server is busy. Please try again in a moment.',
  504: 'The program behind this page took too long.',
}

function page(request: GatewayRequest, status: number, headers: HeaderList, told?: string): GatewayResponse {
  const title = STATUS_CODES[status] ?? (status < 500 ? 'Client Error' : 'Server Error')
  const words = told ?? WORDS[status] ?? (status < 500 ? 'This request cannot be answered.' : WORDS[500]!)
  const kept = hasHeader(headers, 'content-length') ? withoutLength(headers) : headers
  const made = prefersHtml(request)
    ? html(status, document(status, title, words), kept)
    : text(status, `${status} ${title}\n${words}\n`, kept)
  return request.method === 'HEAD' ? { ...made, body: null } : made
}

function withoutLength(headers: HeaderList): HeaderList {
  const out: string[] = []
  for (let i = 0; i < headers.length; i += 2) if (headers[i]!.toLowerCase() !== 'content-length') out.push(headers[i]!, headers[i + 1]!)
  return out
}

/** Browsers name text/html first; programs say nothing, or a type of their own. */
function prefersHtml(request: GatewayRequest): boolean {
  return getHeader(request.headers.list, 'accept')?.toLowerCase().includes('text/html') === true
}

function document(status: number, title: string, words: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${status} ${escapeHtml(title)}</title>
<style>
:root { color-scheme: light dark }
body { margin: 0; min-height: 100vh; display: grid; place-content: center; padding: 2rem; box-sizing: border-box;
  font: 1.125rem/1.6 system-ui, sans-serif; color: light-dark(#1d2733, #dfe6ee); background: light-dark(#f7f8fa, #12171d) }
b { display: block; font-size: 4.5rem; line-height: 1; letter-spacing: -.04em; color: light-dark(#b8c2cf, #3d4a59) }
h1 { margin: .5rem 0 .25rem; font-size: 1.5rem }
p { margin: 0; max-width: 28rem; color: light-dark(#55606e, #9aa7b6) }
</style>
<main><b>${status}</b><h1>${escapeHtml(title)}</h1><p>${escapeHtml(words)}</p></main>
</html>
`
}
