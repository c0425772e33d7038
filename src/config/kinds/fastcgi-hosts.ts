// The members of `fastcgi` about several hosts: who they are, who gets the next request, how they are reached and watched.

import { readFileSync } from 'node:fs'
import { GatewayError } from '../../core/index.ts'
import { Role, parseTarget } from '../../fastcgi/index.ts'
import { readSecret } from '../secrets.ts'
import { bytes, choice, duration, group, list, many, may, milliseconds, must, secret, size, text, whole, yes, zod } from '../values.ts'
import type { z } from 'zod'
import type { Balance, FastCgiOptions, HealthOptions, MultiplexOptions, TlsOptions, UpstreamOptions } from '../../fastcgi/index.ts'
import type { Duration, Secret, Size } from '../values.ts'
import type { DescribeScope } from './kind.ts'

interface HostSettings {
  readonly address: string
  readonly weight?: number
  readonly backup?: boolean
  readonly connections?: number
}

interface CheckSettings {
  readonly path?: string
  readonly status?: number | readonly [number, number]
  readonly interval?: Duration
  readonly timeout?: Duration
  readonly rise?: number
  readonly fall?: number
}

interface HealthSettings {
  readonly failures?: number
  readonly window?: Duration
  readonly ejection?: Duration
  readonly longest?: Duration
  readonly slowStart?: Duration
  readonly check?: CheckSettings
}

interface MultiplexSettings {
  readonly ask?: boolean
  readonly requests?: number
  readonly memory?: Size
  readonly file?: Size
  readonly directory?: string
}

interface TlsSettings {
  readonly ca?: string | readonly string[]
  readonly cert?: string
  readonly key?: string
  readonly passphrase?: Secret
  readonly serverName?: string
}

export interface HostsSettings {
  readonly address?: string
  readonly upstreams?: readonly (string | HostSettings)[]
  readonly balance?: Balance
  readonly health?: HealthSettings
  readonly resolve?: { readonly interval?: Duration; readonly servers?: readonly string[] }
  readonly tls?: TlsSettings
  readonly multiplex?: boolean | MultiplexSettings
  readonly retries?: number
  readonly role?: 'responder' | 'authorizer' | 'filter'
}

const ADDRESS = 'an address such as "127.0.0.1:9000", "unix:/run/app.sock", "fastcgis://php:9001" or "fastcgi+srv://_fcgi._tcp.example.org"'
const FILE = 'the path of a file'
const BALANCE = '"round-robin", "least-connections", "two-choices", "first", { "cookie": "name" } or { "variable": "NAME" }'

const check = (): z.ZodType =>
  group({
    path: may(text('a path such as "/ping"'), 'SCRIPT_NAME and REQUEST_URI of the request: php-fpm answers its `ping.path`.', '/ping'),
    status: may(
      zod().union([whole(200, 599), zod().tuple([whole(200, 599), whole(200, 599)])], {
        error: 'a status, or the first and the last of a range',
      }),
      'The status of a host that is well, or the first and the last of a range.',
      [200, 399],
    ),
    interval: may(duration(), 'Between two checks of a host.', '5s'),
    timeout: may(duration(), 'For one. That all workers are busy is no illness: give it time.', '2s'),
    rise: may(whole(1), 'Checks in a row that bring a host back.', 2),
    fall: may(whole(1), 'Checks in a row that eject it.', 3),
  })

/** What several hosts add to the schema of the kind. */
export const hostMembers = (): Record<string, z.ZodType> => ({
  address: may(text(ADDRESS), `Where it listens: ${ADDRESS}.`),
  upstreams: may(
    list(
      zod().union(
        [
          text(ADDRESS),
          group({
            address: must(text(ADDRESS), `${ADDRESS}.`),
            weight: may(
              zod().number({ error: 'a number above 0' }).positive({ error: 'a number above 0' }),
              'Its share beside the others.',
              1,
            ),
            backup: may(yes(), 'Asked only while none of the others is up.', false),
            connections: may(whole(1), "In place of the application's."),
          }),
        ],
        { error: `${ADDRESS}; or { "address", ... }` },
      ),
      'a list of hosts',
    ).min(1, { error: 'a list of at least one host' }),
    'Several hosts of the same application, in place of `address`.',
  ),
  balance: may(
    zod().union(
      [
        choice('round-robin', 'least-connections', 'two-choices', 'first'),
        group({ cookie: must(text('the name of a cookie'), 'Its name.') }),
        group({ variable: must(text('the name of a variable'), 'Its name.') }),
      ],
      { error: BALANCE },
    ),
    'Which of several hosts gets the next request. By a cookie or a variable: requests with the same value go to the same host.',
    'round-robin',
  ),
  health: may(
    group({
      failures: may(whole(0), 'So many failures within `window` eject a host; 0: failures never do.', 3),
      window: may(duration(), 'See `failures`.', '10s'),
      ejection: may(duration(), 'How long it is left alone the first time; twice as long each time after.', '5s'),
      longest: may(duration(), 'At most.', '60s'),
      slowStart: may(duration(), 'How long a host that is back, or new, takes to come to its whole share.', 0),
      check: may(check(), 'Ask each host again and again; then only this brings one back. Default: requests alone tell.'),
    }),
    'When one of several hosts is left alone, and when it is tried again.',
  ),
  resolve: may(
    group({
      interval: may(duration(), 'Between two times.', '30s'),
      servers: may(list(text('an address such as "127.0.0.1:53"'), 'a list of name servers'), "Name servers. Default: the system's."),
    }),
    'Ask DNS again and again for the hosts behind names: each address is a host of its own. `fastcgi+srv://` names are always asked for.',
  ),
  tls: may(
    group({
      ca: may(
        many(text(FILE), `${FILE}, or a list of them`),
        'PEM of the authorities that may have signed its certificate. Default: those that Node trusts.',
      ),
      cert: may(text(FILE), 'PEM of the certificate that we show, if it asks for one.'),
      key: may(text(FILE), 'PEM of its key.'),
      passphrase: may(secret(), 'Of the key.'),
      serverName: may(text('a host name'), 'The name that its certificate must have. Default: the host of the address.'),
    }),
    'For `fastcgis://` addresses. Its certificate is always verified.',
  ),
  multiplex: may(
    zod().union(
      [
        yes(),
        group({
          ask: may(yes(), 'Only where the application says that it can (FCGI_MPXS_CONNS).', false),
          requests: may(whole(1, 65_535), 'Requests at a time on one connection.', 100),
          memory: may(size(), 'How much of an answer may wait in memory for its reader.', '256K'),
          file: may(size(), 'And how much more in a file; then it is cut.', '64M'),
          directory: may(text('the path of a folder'), 'Where such files go.'),
        }),
      ],
      { error: 'true, false or { "ask", "requests", ... }' },
    ),
    'Several requests at a time on a connection.',
    false,
  ),
  retries: may(
    whole(0),
    'How often a request that failed is tried again. Only what cannot happen twice by it. Default: 1; 2 with several hosts.',
  ),
  role: may(
    choice('responder', 'authorizer', 'filter'),
    '`authorizer`, `filter`: not an answer of its own, but what routes name as `authorizer` or `filter`.',
    'responder',
  ),
})

/** Mistakes that a schema does not see; the settings with absolute paths. */
export function describeHosts<T extends HostsSettings>(settings: T, scope: DescribeScope): T {
  const { address, upstreams } = settings
  if ((address === undefined) === (upstreams === undefined)) {
    scope.problem('', 'either "address" or "upstreams"', address === undefined ? 'neither' : 'both')
  }
  if (address !== undefined) checkAddress('address', address, scope)
  for (const [i, each] of (upstreams ?? []).entries()) {
    if (typeof each === 'string') checkAddress(`upstreams[${i}]`, each, scope)
    else checkAddress(`upstreams[${i}].address`, each.address, scope)
  }
  for (const each of ['balance', 'health'] as const) {
    if (settings[each] !== undefined && isOneHost(settings)) scope.problem(each, '"upstreams" in place of "address" beside it', 'one host')
  }
  const { tls } = settings
  if (tls === undefined) return settings
  if ((tls.cert === undefined) !== (tls.key === undefined)) scope.problem('tls', '"cert" and "key" together', 'one of them')
  return {
    ...settings,
    tls: {
      ...tls,
      ...(tls.ca !== undefined && { ca: [tls.ca].flat().map((each) => scope.file('tls.ca', each)) }),
      ...(tls.cert !== undefined && { cert: scope.file('tls.cert', tls.cert) }),
      ...(tls.key !== undefined && { key: scope.file('tls.key', tls.key) }),
      ...(tls.passphrase !== undefined && { passphrase: scope.secrets('tls', { passphrase: tls.passphrase })['passphrase']! }),
    },
  }
}

/** Neither a list of hosts nor a name that DNS makes several of. What is no address is told elsewhere. */
function isOneHost({ address, resolve }: HostsSettings): boolean {
  return address !== undefined && resolve === undefined && !/^fastcgis?\+srv:/.test(address)
}

function checkAddress(member: string, address: string, scope: DescribeScope): void {
  try {
    parseTarget(address)
  } catch {
    scope.problem(member, ADDRESS, JSON.stringify(address))
  }
}

/** How the table at the start, and `explain`, name it. */
export function hostsText({ address, upstreams }: HostsSettings): string {
  return address ?? (upstreams ?? []).map((each) => (typeof each === 'string' ? each : each.address)).join(', ')
}

const ROLES = { responder: Role.Responder, authorizer: Role.Authorizer, filter: Role.Filter }

/** As the library has them. Throws CONFIG where a file has gone meanwhile. */
export function hostOptions({
  address,
  upstreams,
  balance,
  health,
  resolve,
  tls,
  multiplex,
  retries,
  role,
}: HostsSettings): FastCgiOptions {
  return {
    ...(address !== undefined && { address }),
    ...(upstreams !== undefined && { upstreams: upstreams satisfies readonly (string | UpstreamOptions)[] }),
    ...(balance !== undefined && { balance }),
    ...(health !== undefined && { health: healthOf(health) }),
    ...(resolve !== undefined && {
      resolve: {
        ...resolve,
        ...(resolve.interval !== undefined && { interval: milliseconds(resolve.interval) }),
      } as FastCgiOptions['resolve'] & object,
    }),
    ...(tls !== undefined && { tls: tlsOf(tls) }),
    ...(multiplex !== undefined && { multiplex: typeof multiplex === 'boolean' ? multiplex : multiplexOf(multiplex) }),
    ...(retries !== undefined && { retries }),
    ...(role !== undefined && { role: ROLES[role] }),
  }
}

function healthOf({ failures, check: asked, ...times }: HealthSettings): HealthOptions {
  return {
    ...(failures !== undefined && { failures }),
    ...inMilliseconds(times),
    ...(asked !== undefined && {
      check: { ...asked, ...inMilliseconds({ interval: asked.interval, timeout: asked.timeout }) } as HealthOptions['check'] & object,
    }),
  }
}

function inMilliseconds(times: Readonly<Record<string, Duration | undefined>>): Record<string, number> {
  const out: Record<string, number> = {}
  for (const [name, value] of Object.entries(times)) if (value !== undefined) out[name] = milliseconds(value)
  return out
}

function multiplexOf({ memory, file, ...rest }: MultiplexSettings): MultiplexOptions {
  return { ...rest, ...(memory !== undefined && { memory: bytes(memory) }), ...(file !== undefined && { file: bytes(file) }) }
}

function tlsOf({ ca, cert, key, passphrase, serverName }: TlsSettings): TlsOptions {
  return {
    ...(ca !== undefined && { ca: [ca].flat().map(readPem) }),
    ...(cert !== undefined && { cert: readPem(cert) }),
    ...(key !== undefined && { key: readPem(key) }),
    ...(passphrase !== undefined && { passphrase: readSecret(passphrase, 'tls.passphrase') }),
    ...(serverName !== undefined && { serverName }),
  }
}

function readPem(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new GatewayError('CONFIG', { status: 500, message: `config: tls: ${file} cannot be read: ${why}`, cause: error })
  }
}
