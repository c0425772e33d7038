// A pool of one FastCGI program behind the HTTP door: node program.mjs PORT PROGRAM WORKERS.

import { serveHttp } from '../dist/http/index.js'
import { programPool } from '../dist/programs/index.js'

const [port, command, workers] = process.argv.slice(2)
const pool = programPool({ command, workers: Number(workers) })
await pool.ready()
const server = await serveHttp(pool, { listen: { port: Number(port) } })
process.once('SIGTERM', async () => {
  await server.close(1000)
  await pool.close(1000)
})
