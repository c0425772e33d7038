// A listener of node:http and nothing else: what the platform itself can do, as a ceiling for everything built on it.
// node bare-node.mjs PORT [FILE]: every request is answered with the file's content, or with a short text.

import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const [port, file] = process.argv.slice(2)
const body = file === undefined ? Buffer.from('Hello, World!\n') : readFileSync(file)
const headers = ['Content-Type', 'application/octet-stream', 'Content-Length', String(body.length)]
const server = createServer((_request, response) => {
  response.writeHead(200, headers)
  response.end(body)
})
// The idle benchmark holds its connections for longer than node's five seconds.
server.keepAliveTimeout = 300_000
server.listen(Number(port), '127.0.0.1', 4096)
