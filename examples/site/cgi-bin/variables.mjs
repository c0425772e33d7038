#!/usr/bin/env node
// A CGI program in JavaScript: it needs nothing but the Node that the server itself runs on.

import { readFileSync } from 'node:fs'

const escape = (text) => text.replace(/[&<>"]/g, (each) => `&#${each.charCodeAt(0)};`)
const rows = Object.entries(process.env)
  .filter(([name]) => /^(?:HTTP_|REQUEST_|SERVER_|REMOTE_|SCRIPT_|PATH_INFO|QUERY_STRING|GATEWAY_INTERFACE)/.test(name))
  .toSorted(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, value]) => `<tr><th>${escape(name)}</th><td>${escape(value)}</td></tr>`)

console.log(`Content-Type: text/html; charset=utf-8

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>JavaScript as CGI - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>Variables, told by JavaScript</h1></header>
<p>Node ${process.versions.node}, process ${process.pid}, started for this request.</p>
<table><tbody>
${rows.join('\n')}
</tbody></table>
<details><summary>Source of this page: <code>cgi-bin/variables.mjs</code></summary><pre><code>${escape(readFileSync(import.meta.filename, 'utf8'))}</code></pre></details>
</body>
</html>`)
