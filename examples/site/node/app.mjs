// A fetch handler, in the process that serves: a Request comes in, a Response goes out. hono's default export has the same shape.

import { readFile } from 'node:fs/promises'

const started = Date.now()

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escape = (text) => text.replace(/[&<>"']/g, (char) => ENTITIES[char])
const table = (rows) => rows.map(([name, value]) => `<tr><th>${escape(name)}</th><td>${escape(value)}</td></tr>\n`).join('')

/** Five events, a fifth of a second apart: what is made is sent at once, and nothing is made for a reader who has left. */
function ticks() {
  let count = 0
  let timer
  return new ReadableStream({
    start(controller) {
      const tick = () => {
        controller.enqueue(new TextEncoder().encode(`data: tick ${++count} of 5, after ${Date.now() - started} ms\n\n`))
        if (count === 5) controller.close()
        else timer = setTimeout(tick, 200)
      }
      tick()
    },
    cancel: () => clearTimeout(timer),
  })
}

async function page(request, url) {
  const source = await readFile(new URL(import.meta.url), 'utf8')
  const facts = [
    ['Process', String(process.pid)],
    ['Node', process.version],
    ['Method', request.method],
    ['URL', url.href],
  ]
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>JavaScript - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>A JavaScript application</h1></header>
<p>The folder <code>node</code> has an <b>app.mjs</b> with a default export, so all of it is this application, in the process that serves
this site. express, fastify, koa and hono apps are served in the same way. It can <a href="/node/ticks">stream</a>, too.</p>
<table><tbody>
${table(facts)}</tbody></table>
<h2>The fields of the request</h2>
<table><tbody>
${table([...request.headers])}</tbody></table>
<details><summary>Source of this page: <code>node/app.mjs</code></summary><pre><code>${escape(source)}</code></pre></details>
</body>
</html>
`
}

export default {
  async fetch(request) {
    const url = new URL(request.url)
    if (url.pathname.endsWith('/ticks')) return new Response(ticks(), { headers: { 'Content-Type': 'text/event-stream' } })
    if (!url.pathname.endsWith('/')) return new Response('There is nothing here.\n', { status: 404 })
    return new Response(await page(request, url), { headers: { 'Content-Type': 'text/html; charset=utf-8' } })
  },
}
