// A FastCGI program: a process that stays, answers one request after the other, and remembers.

import { readFileSync } from 'node:fs'
import { enumerate, escapeHtml, fromByteString, html } from 'viaduct'
import { serveFastCgi } from 'viaduct/fastcgi'

const started = new Date().toLocaleTimeString('en-GB')
const source = readFileSync(new URL(import.meta.url), 'utf8')
let answered = 0

const row = ([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(fromByteString(value))}</td></tr>\n`

const server = await serveFastCgi((request) => {
  answered++
  const rows = [
    ['Process', String(process.pid)],
    ['Started at', started],
    ['Requests it has answered', String(answered)],
  ]
  enumerate(request, (name, value) => rows.push([name, value]))
  return html(
    200,
    `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A FastCGI program - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>A FastCGI program</h1></header>
<p>It was started once. Load the page again and count; another process of it comes when this one is busy.</p>
<table><tbody>
${rows.map(row).join('')}</tbody></table>
<details><summary>Source of this page: <code>counter.fcgi</code> runs this</summary><pre><code>${escapeHtml(source)}</code></pre></details>
</body>
</html>
`,
  )
})

process.once('SIGTERM', () => void server.close(2000))
