// A fastify app as a FastCGI program, and as a CGI program where it is started for each request.

import Fastify from 'fastify'
import { serveCgi } from 'viaduct/cgi'
import { serveFastCgi } from 'viaduct/fastcgi'
import { fromNode } from 'viaduct/http'

const app = Fastify()
app.get('/', () => 'fastify says hello\n')
app.post('/sum', (request) => ({ sum: request.body.reduce((sum, each) => sum + each, 0) }))

const backend = fromNode(app)
await backend.ready()
const server = await serveFastCgi(backend, { mount: '/', cgi: serveCgi })
process.once('SIGTERM', async () => {
  await server.close()
  await backend.close()
})
