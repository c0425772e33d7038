// The page in the place of one whose interpreter is not there: what is missing, and the command that brings it.

import { escapeHtml, fromByteString, html } from '../core/index.ts'
import type { GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { Missing } from './interpreter.ts'

/** Status 200: nothing failed, and whoever looks at a demo should see a page that says what to do. Never cached. */
export function missingPage(request: GatewayRequest, lack: Missing, after: string): GatewayResponse {
  const response = html(200, document(fromByteString(request.scriptName + request.pathInfo), lack, after), ['Cache-Control', 'no-store'])
  return request.method === 'HEAD' ? { ...response, body: null } : response
}

function document(path: string, { what, command }: Missing, after: string): string {
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
h1 { margin: 0 0 .5rem; font-size: 1.6rem }
code, pre { font: .95em ui-monospace, monospace }
pre { padding: .8rem 1rem; border-radius: .5rem; background: light-dark(#e8ecf1, #1d252e); overflow-x: auto }
p { margin: .6rem 0 }
</style>
<main>
<h1>${escapeHtml(what)} is not installed here</h1>
<p><code>${escapeHtml(path)}</code> is a program that needs it. Everything else works.</p>
${how}<p>${escapeHtml(after)}</p>
</main>
</html>
`
}
