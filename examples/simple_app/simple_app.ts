// The first example of PEP 3333, and a middleware around it, in TypeScript. The same as simple_app.py beside it.
//
//   import { serveHttp } from 'viaduct/http'
//   import { wsgi } from 'viaduct/wsgi'
//   await serveHttp(wsgi(application), { listen: { port: 8000 } })

import type { WsgiApplication } from '../../src/wsgi/index.ts'

export const simple_app: WsgiApplication = (environ, start_response) => {
  const status = '200 OK'
  const response_headers: [string, string][] = [['Content-Type', 'text/plain']]
  start_response(status, response_headers)
  return [Buffer.from('Hello world!\n')]
}

const upper = (block: Uint8Array): Uint8Array => Buffer.from(Buffer.from(block).toString('latin1').toUpperCase(), 'latin1')

/** A middleware: an application to the server, a server to the application. */
export const Upper =
  (application: WsgiApplication): WsgiApplication =>
  async (environ, start_response) => {
    const body = await application(environ, (status, headers, exc_info) => {
      // The body is about to be changed: what the application says of its length is its own.
      const kept = headers.filter(([name]) => name.toLowerCase() !== 'content-length')
      const write = start_response(status, kept, exc_info)
      return (data) => write(upper(data))
    })
    // One block for each block, so that nothing waits; and close() is passed on.
    const blocks = (async function* () {
      for await (const block of body) yield upper(block)
    })()
    return Object.assign(blocks, { close: () => body.close?.() })
  }

export const application: WsgiApplication = Upper(simple_app)
