// The page in the place of one whose interpreter is not there: what is missing, and the command that brings it.

import { escapeHtml, fromByteString, html } from '../core/index.ts'
import type { GatewayRequest, GatewayResponse, Log } from '../core/index.ts'
import { fromHere } from '../middleware/index.ts'
import { tellMissing } from './interpreter.ts'
import type { Missing } from './interpreter.ts'

const isHere = fromHere()

/**
 * Status 500 (RFC 9110, 15.6.1): the server cannot do what was asked, and neither the client nor time changes that, as 503 would say
 * (15.6.4). Never cached: it is gone once somebody has installed what is missing. Folders of the machine are named in the log, and on the page to who is at it.
 */
export function missingPage(request: GatewayRequest, lack: Missing, after: string, log: Log): GatewayResponse {
  const path = fromByteString(request.scriptName + request.pathInfo)
  log.error({ method: request.method, target: request.target, status: 500 }, `config: ${path} cannot be run: ${tellMissing(lack)}`)
  const response = html(500, document(path, lack, isHere(request), after), ['Cache-Control', 'no-store'])
  return request.method === 'HEAD' ? { ...response, body: null } : response
}

function document(path: string, { what, why, command }: Missing, isToldAll: boolean, after: string): string {
  const where = why === undefined || !isToldAll ? '' : `<p>${escapeHtml(`${why[0]!.toUpperCase()}${why.slice(1)}`)}.</p>\n`
  const how = command === undefined ? '' : `<p>This brings it:</p>\n<pre>${escapeHtml(command)}</pre>\n`
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(what)} is not installed</title>
<style>
:root { color-scheme: light dark }
body { margin: 0; min-height: 100vh; display: grid; place-content: center; padding: 2rem; box-sizing: border-box;
  font: 1.0625rem/1.6 system-ui, sans-serif; color: light-dark(#1d2733, #dfe6ee); background: light-dark(#f7f8fa, #12171d) }
main { max-width: 34rem }
h1 { margin: 0 0 .5rem; font-size: 1.6rem; overflow-wrap: anywhere }
code, pre { font: .95em ui-monospace, monospace }
pre { padding: .8rem 1rem; border-radius: .5rem; background: light-dark(#e8ecf1, #1d252e); overflow-x: auto }
p { margin: .6rem 0; overflow-wrap: anywhere }
</style>
<main>
<h1>${escapeHtml(what)} is not installed here</h1>
<p><code>${escapeHtml(path)}</code> is a program that needs it. Everything else works.</p>
${where}${how}<p>${escapeHtml(after)}</p>
</main>
</html>
`
}
