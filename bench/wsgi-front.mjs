// What bench/wsgi.mjs measures: one application behind the HTTP door, in a process of its own.
//
//   node bench/wsgi-front.mjs PORT APP PYTHON WORKERS

import { serveHttp } from '../dist/http/index.js'
import { wsgiPool } from '../dist/wsgi/index.js'

const [port, app, python, workers] = process.argv.slice(2)
const pool = wsgiPool({ app, python, workers: Number(workers) })
await pool.ready()
const server = await serveHttp(pool, { listen: { host: '127.0.0.1', port: Number(port) } })
process.once('SIGTERM', async () => {
  await server.close(100)
  await pool.close(100)
  process.exit(0)
})
