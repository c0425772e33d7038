// The schema of a configuration file. Everything about its shape is here and in the kinds: the checks, the JSON Schema for
// editors, docs/configuration.md and the type `Config` are made from it (scripts/config-docs.mjs).

import { defaultLimits } from '../http/index.ts'
import { KINDS } from './kinds/index.ts'
import { tlsSchema } from './tls.ts'
import {
  anyText,
  namedGroup,
  choice,
  duration,
  group,
  limits,
  list,
  many,
  may,
  must,
  oneOf,
  record,
  text,
  whole,
  yes,
  zod,
} from './values.ts'
import type { z } from 'zod'
import type { HttpLimits } from '../http/index.ts'
import type { AnyKind } from './kinds/kind.ts'
import type { LimitsGroup } from './values.ts'

const PROTOCOLS = ['http', 'fastcgi'] as const
const LEVELS = ['debug', 'info', 'warn', 'error'] as const

const ADDRESS = 'an address: HOST:PORT, PORT, :PORT (every address) or unix:/path'

const REDIRECT = '"https", or with a port "https:443"'

const listener = (): z.ZodType =>
  namedGroup('Listener', {
    listen: must(text(ADDRESS), '`HOST:PORT`, `PORT` (on 127.0.0.1), `:PORT` (every address) or `unix:/path`.'),
    protocol: may(choice(...PROTOCOLS), 'What is spoken there: `fastcgi` makes Viaduct the application of another web server.', 'http'),
    tls: may(tlsSchema(), 'Serves https there, with this certificate.'),
    redirect: may(
      zod()
        .string({ error: REDIRECT })
        .regex(/^https(?::\d{1,5})?$/, { error: REDIRECT }),
      'Sends clients of plain HTTP to the same place under https: `https`, at the port of the listener with `tls`, or `https:443`. ' +
        'Below `/.well-known/acme-challenge/` (RFC 8555) it serves, so that a certificate can be had.',
    ),
    mode: may(
      zod()
        .string({ error: 'a file mode in octal, such as "0660"' })
        .regex(/^0?[0-7]{3}$/, { error: 'a file mode in octal, such as "0660"' }),
      'Of a unix socket: who may connect.',
      '0660',
    ),
    backlog: may(whole(1, 65_535), 'Connections that may wait until they are accepted, as far as the system lets them.', 1024),
    allow: may(
      list(text('an IP address'), 'a list of IP addresses'),
      'With `fastcgi`: addresses of web servers that may connect by TCP. Whoever may says who the client is. Default: everybody who can reach it.',
    ),
  })

const respond = (): z.ZodType =>
  zod().union(
    [
      whole(200, 599),
      group({
        status: may(whole(200, 599), 'The status.', 200),
        headers: may(
          record(anyText('text'), 'fields: names and texts'),
          'Header fields. Content-Type is `text/plain; charset=utf-8` unless given.',
        ),
        body: may(anyText('text'), 'The text to send.', ''),
      }),
    ],
    { error: 'a status, or { "status", "headers", "body" }' },
  )

const redirect = (): z.ZodType =>
  zod().union(
    [
      text('a path or a URL'),
      group({
        to: must(
          text('a path or a URL'),
          'Where to. `{path}`, `{rest}`, `{query}`, `{host}`, `{scheme}` and the names of the pattern stand for their values.',
        ),
        status: may(
          zod().union([zod().literal(301), zod().literal(302), zod().literal(303), zod().literal(307), zod().literal(308)], {
            error: '301, 302, 303, 307 or 308',
          }),
          'The status.',
          302,
        ),
      }),
    ],
    { error: 'a path or a URL, or { "to", "status" }' },
  )

const PATH = 'a path such as "/about", "/blog/*", "/post/:id" or "*.php"'

const route = (): z.ZodType =>
  namedGroup('Route', {
    path: may(
      many(text(PATH), `${PATH}, or a list of them`),
      'Which paths; one or several. `/about`: this one. `/blog/*`: that folder and all below it. `:name`: one segment. `*` in a segment: any letters. ' +
        '`*.php`: names that end so, in every folder. Default: every path.',
    ),
    method: may(
      many(text('a method such as "GET"'), 'a method or a list of them'),
      'Which methods; one or several. `GET` includes `HEAD`. Default: every method.',
    ),
    tryFiles: may(
      list(text('a path such as "{path}" or "{path}/index.html"'), 'a list of paths').min(1, { error: 'a list of at least one path' }),
      'The route is taken only if one of these is a file of its application; the first that is becomes the path. A candidate that ends in `/` is a folder. ' +
        'Else the next route has its turn.',
    ),
    rewrite: may(
      text('a path such as "/index.php" or "/new/{rest}"'),
      'The path that the application sees. `{path}` (the one it would have seen), `{rest}` (what `/*` stood for), `{query}` and the names of the pattern stand for their values. ' +
        'With a `?` it has its own query. Without an answer in the same route, the routes after it see the new path.',
    ),
    application: may(text('the name of an application'), 'Answer: this application.'),
    mount: may(
      yes(),
      'With an application and a path `/blog/*`: the folder moves from the path to SCRIPT_NAME, and the application sees what is below it. ' +
        'false: it sees the whole path.',
      true,
    ),
    authorizer: may(
      text('the name of an application'),
      'With an application: this one, of kind `fastcgi` with `"role": "authorizer"`, is asked first; only its 200 lets a request through.',
    ),
    filter: may(
      text('the name of an application'),
      'With an application: this one, of kind `fastcgi` with `"role": "filter"`, answers with what it makes of the files.',
    ),
    redirect: may(redirect(), 'Answer: send the client elsewhere. A query is kept unless `to` has one.'),
    respond: may(respond(), 'Answer: this, as it is.'),
  })

const site = (): z.ZodType =>
  namedGroup('Site', {
    hosts: may(
      list(text('a host name such as "example.org" or "*.example.org"'), 'a list of host names'),
      'Names, without port; `*.example.org` is every name below it. Without it: every host that no other site has.',
    ),
    routes: must(list(route(), 'a list of routes'), 'Tried from the top; the first that fits answers. What none fits is a 404.'),
  })

const application = (): z.ZodType =>
  zod().discriminatedUnion('kind', KINDS.map(schemaOf) as unknown as [z.ZodObject, ...z.ZodObject[]], {
    error: `an application of kind ${oneOf(KINDS.map((kind) => kind.kind))}`,
  })

/** With what every kind has. */
function schemaOf(kind: AnyKind): z.ZodObject {
  const shape = {
    sendfile: may(
      list(text('the path of a folder'), 'a list of folders'),
      'Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none.',
    ),
  }
  return kind
    .schema()
    .extend(shape)
    .meta({ id: definitionOf(kind.kind) })
}

function definitionOf(kind: string): string {
  return `${kind.replace(/(?:^|-)[a-z]/g, (letters) => letters.at(-1)!.toUpperCase())}Application`
}

export const HTTP_LIMITS: LimitsGroup<keyof HttpLimits> = limits<keyof HttpLimits>({
  headerBytes: ['size', 'Request line and header fields together; 431 beyond.', defaultLimits.headerBytes],
  headers: ['count', 'Header fields; 431 beyond.', defaultLimits.headers],
  targetBytes: ['size', 'Length of the request target; 414 beyond.', defaultLimits.targetBytes],
  body: ['size', 'Largest request body, for every application; 413 beyond. 0: each kind has its own limit.', 0],
  headersTimeout: ['duration', 'Until the head of a request is whole; 408 beyond.', '30s'],
  bodyTimeout: ['duration', 'Between two pieces of a body that somebody reads; 408 beyond.', '30s'],
  idleTimeout: ['duration', 'A kept connection without a request is closed after this.', '65s'],
  writeTimeout: ['duration', 'A client that takes nothing of its answer is cut after this.', '60s'],
  connections: ['count', 'Connections at a time; 0 is no limit.', defaultLimits.connections],
  requestsPerConnection: ['count', 'Requests on one connection; 0 is no limit.', 0],
  drainBytes: ['size', 'How much of a body nobody wants is taken off the wire, so that its client reads the answer.', '256K'],
  drainTimeout: ['duration', 'For how long.', '1s'],
  streams: ['count', 'HTTP/2: requests at a time on one connection.', defaultLimits.streams],
  streamResets: ['count', 'HTTP/2: requests that a client may take back beyond those that were answered.', defaultLimits.streamResets],
})

const trusted = (): z.ZodType =>
  group({
    from: must(
      list(text('an address, a network such as "10.0.0.0/8", or "unix"'), 'a list of networks'),
      'Addresses and networks of the proxies, IPv4 and IPv6; `unix`: whoever connects by a unix socket.',
    ),
    headers: may(
      choice('x-forwarded', 'forwarded'),
      'Which fields they set: X-Forwarded-For and X-Forwarded-Proto, or Forwarded (RFC 7239). Only these are believed: the other kind comes from clients.',
      'x-forwarded',
    ),
  })

const logs = (): z.ZodType =>
  group({
    level: may(choice(...LEVELS), 'What the log holds, from this level on.', 'info'),
    format: may(choice('pretty', 'json'), 'Default: pretty on a terminal, json elsewhere.'),
    access: may(text('a file, "-" or "off"'), 'The access log: a file, `-` (standard output) or `off`.', '-'),
    accessFormat: may(
      choice('pretty', 'json', 'combined'),
      "Of the access log; `combined` is Apache's. Default: `format`, and json in a file.",
    ),
  })

let made: z.ZodObject | undefined

/** Of the whole file. */
export function schema(): z.ZodObject {
  return (made ??= file())
}

const file = (): z.ZodObject =>
  group(
    {
      $schema: may(anyText('the address of a JSON Schema'), 'For editors.'),
      listeners: may(
        list(zod().union([text(ADDRESS), listener()], { error: `${ADDRESS}; or { "listen", ... }` }), 'a list of addresses'),
        'Where to listen: addresses as text, or objects. Sockets are opened at the start and held over reloads.',
        ['127.0.0.1:8080'],
      ),
      applications: must(record(application(), 'applications: names and what they are'), 'What answers, by a name of your choice.'),
      sites: must(
        list(site(), 'a list of sites').min(1, { error: 'a list of at least one site' }),
        'Which application answers what: sites by host, and in them routes by path and method.',
      ),
      trustedProxies: may(trusted(), "Who may say what a client's address and scheme are. Default: nobody."),
      limits: may(HTTP_LIMITS.schema(), 'What one client may take.'),
      logs: may(logs(), 'The log and the access log.'),
      grace: may(duration(), 'What requests get to finish at the end and on a reload.', '30s'),
      pidFile: may(text('the path of a file'), 'Write the pid there while it runs.'),
    },
    'an object: the configuration',
  )

/** For editors. */
export function jsonSchema(): object {
  return zod().toJSONSchema(schema(), { io: 'input' })
}

/** What the documentation says of each kind: its name in the JSON Schema, and one line. */
export const kinds: readonly { readonly kind: string; readonly id: string; readonly summary: string }[] = KINDS.map(
  ({ kind, summary }) => ({
    kind,
    id: definitionOf(kind),
    summary,
  }),
)
