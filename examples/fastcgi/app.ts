// A typed FastCGI program in all three roles: it answers, lets in, and filters. Compiled with tsc it runs as
//
//   spawn-fcgi -s /run/app.sock -M 0660 -n -- /usr/bin/node app.js
//
// In a program of your own the imports are from 'viaduct', 'viaduct/cgi' and 'viaduct/fastcgi'.

import { serveCgi } from '../../src/cgi/index.ts'
import { collect, text } from '../../src/core/index.ts'
import type { Application } from '../../src/core/index.ts'
import { allow, deny, serveFastCgi } from '../../src/fastcgi/index.ts'
import type { Authorizer, FastCgiServer, FastCgiServerOptions, Filter } from '../../src/fastcgi/index.ts'

export const responder: Application = async (request) => {
  if (request.method !== 'POST') return text(200, 'TypeScript says hello\n')
  const numbers = JSON.parse((await collect(request.body, 10_000)).toString()) as number[]
  return { status: 200, headers: ['Content-Type', 'application/json'], body: JSON.stringify({ sum: numbers.reduce((a, b) => a + b, 0) }) }
}

export const authorizer: Authorizer = (request) =>
  request.headers.get('x-ticket') === '4711' ? allow({ REMOTE_USER: 'ada' }) : deny(text(403, 'no ticket\n'))

export const filter: Filter = async ({ filterData }) => text(200, (await collect(filterData.body, 1_000_000)).toString().toUpperCase())

export const main = (options: FastCgiServerOptions = {}): Promise<FastCgiServer> =>
  serveFastCgi({ responder, authorizer, filter }, { mount: '/', cgi: serveCgi, ...options })
