// A hono app, or anything else with a fetch function, as a FastCGI program, and as a CGI program where it is started for each request.

import { Hono } from 'hono'
import { serveCgi } from 'viaduct/cgi'
import { serveFastCgi } from 'viaduct/fastcgi'
import { fromFetch } from 'viaduct/http'

const app = new Hono()
app.get('/', (c) => c.text('hono says hello\n'))
app.post('/sum', async (c) => c.json({ sum: (await c.req.json()).reduce((sum, each) => sum + each, 0) }))

const server = await serveFastCgi(fromFetch(app), { mount: '/', cgi: serveCgi })
process.once('SIGTERM', () => void server.close())
