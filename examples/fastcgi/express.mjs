// An express app as a FastCGI program, and as a CGI program where it is started for each request.
// nginx, with the program started by: spawn-fcgi -s /run/app.sock -M 0660 -n -- /usr/bin/node express.mjs

import express from 'express'
import { serveCgi } from 'viaduct/cgi'
import { serveFastCgi } from 'viaduct/fastcgi'
import { fromNode } from 'viaduct/http'

const app = express()
app.get('/', (req, res) => res.send('express says hello\n'))
app.post('/sum', express.json(), (req, res) => res.json({ sum: req.body.reduce((sum, each) => sum + each, 0) }))

const server = await serveFastCgi(fromNode(app), { mount: '/', cgi: serveCgi })
process.once('SIGTERM', () => void server.close())
