// A FastCGI program in TypeScript's language: one process that stays, remembers its visitors, and answers each of them at once.
// Behind a web server: spawn-fcgi -s /run/guestbook.sock -n -- /usr/bin/node guestbook.mjs

import { collect, escapeHtml, html, redirect } from 'viaduct'
import { serveFastCgi } from 'viaduct/fastcgi'

const entries = []
const started = new Date()

const page = (base) => `<!doctype html>
<meta charset="utf-8">
<title>Guestbook</title>
<h1>Guestbook</h1>
<p>Process ${process.pid} has been here since ${started.toISOString()} and remembers ${entries.length} entries.</p>
<form method="post" action="${escapeHtml(base)}/"><input name="text" maxlength="200" required> <button>Sign</button></form>
<ul>${entries.map((each) => `<li>${escapeHtml(each)}</li>`).join('')}</ul>
`

const server = await serveFastCgi(async (request) => {
  if (request.method === 'POST') {
    const form = new URLSearchParams((await collect(request.body, 10_000)).toString())
    const text = form.get('text')?.trim().slice(0, 200)
    if (text) entries.unshift(text)
    entries.length = Math.min(entries.length, 100)
    return redirect(303, `${request.scriptName}/`)
  }
  return html(200, page(request.scriptName))
})

process.once('SIGTERM', () => void server.close(2000))
