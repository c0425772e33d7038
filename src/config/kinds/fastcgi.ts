// `fastcgi`: an application that somebody else started, at the other end of a socket: php-fpm, or any FastCGI program.

import { derive, enumerate, toByteString, silent } from '../../core/index.ts'
import { fastcgi } from '../../fastcgi/index.ts'
import { hasExtension } from '../../php/index.ts'
import { EXTENSIONS } from '../describe.ts'
import { maskSecret, readSecrets } from '../secrets.ts'
import { watched } from '../slow.ts'
import { seek, siteOf } from '../site.ts'
import { tellSought } from '../sought.ts'
import { choice, duration, group, limits, list, may, milliseconds, record, secret, text, whole, yes, zod } from '../values.ts'
import { describeHosts, hostMembers, hostOptions, hostsText } from './fastcgi-hosts.ts'
import type { Backend, ByteString, GatewayRequest, Log } from '../../core/index.ts'
import type { FastCgiLimits } from '../../fastcgi/index.ts'
import type { SiteParts } from '../site.ts'
import type { Duration, LimitsGroup, Secret } from '../values.ts'
import type { HostsSettings } from './fastcgi-hosts.ts'
import type { BuildScope, Kind } from './kind.ts'

interface UpstreamSettings extends HostsSettings {
  readonly kind: 'fastcgi'
  readonly root?: string
  readonly documentRoot?: string
  readonly script?: string
  readonly index?: readonly string[]
  readonly extensions?: readonly string[]
  readonly symlinks?: boolean
  readonly connections?: number
  readonly keep?: boolean
  readonly queue?: number
  readonly queueTimeout?: Duration
  readonly connectTimeout?: Duration
  readonly idleTimeout?: Duration
  readonly body?: 'spool' | 'stream'
  readonly requestBodyFile?: boolean
  readonly onCut?: 'close' | 'drain'
  readonly localRedirects?: boolean
  readonly variables?: Readonly<Record<string, Secret>>
  readonly limits?: Readonly<Record<string, number | string>>
}

type UpstreamPlan = Omit<UpstreamSettings, 'kind'> & { readonly path: string }

const LIMITS: LimitsGroup<keyof FastCgiLimits | 'slow'> = limits<keyof FastCgiLimits | 'slow'>({
  head: ['size', 'Largest header block of an answer.', '64K'],
  response: ['size', 'Largest body of an answer; 0 is no limit.', 0],
  body: ['size', 'Largest request body.', '1G'],
  bodyMemory: ['size', 'Bytes of a request body that are kept in memory; beyond, it goes to a file.', '1M'],
  firstByte: ['duration', 'How long the application may say nothing before its head is whole; then 504.', '60s'],
  between: ['duration', 'How long it may say nothing in the middle of its answer.', '60s'],
  total: ['duration', 'How long all of it may take, tries and the reading of the client included; 0 is no limit.', 0],
  drainBytes: ['size', 'How much is read on of an answer that nobody wants, to keep its connection.', '1M'],
  drainTime: ['duration', 'For how long.', '5s'],
  slow: [
    'duration',
    'A request that takes longer is told of in the log, once, while it runs; the time that it waits for a connection counts, too. 0: none is.',
    0,
  ],
})

export const upstream: Kind<UpstreamSettings, UpstreamPlan> = {
  kind: 'fastcgi',
  summary: 'A FastCGI application that runs already: php-fpm, or any other. Connections are kept, bounded and reused.',
  schema: () =>
    group({
      kind: zod().literal('fastcgi'),
      ...hostMembers(),
      root: may(
        text('the path of a folder'),
        'A folder of scripts that both sides see: files are looked up here, and the application is told which one it is.',
      ),
      documentRoot: may(
        text('a path'),
        'The same, for an application that sees other files than we do: nothing is looked up, SCRIPT_FILENAME is this and the path.',
      ),
      script: may(text('a path'), 'SCRIPT_FILENAME of every request: a front controller. Nothing is looked up.'),
      index: may(list(text('the name of a script'), 'a list of names'), 'With `root`: what shows a folder.', ['index.php']),
      extensions: may(list(text('a suffix such as ".php"'), 'a list of suffixes'), 'With `root`: suffixes of scripts.', EXTENSIONS),
      symlinks: may(yes(), 'With `root`: symbolic links may lead out of it.', false),
      connections: may(whole(1), 'Connections at a time: no more than the application has workers.', 8),
      keep: may(yes(), 'Use connections for more than one request.', true),
      queue: may(whole(0), 'Requests that may wait for a connection; the next one gets 503.', 512),
      queueTimeout: may(duration(), 'How long a request may wait for a connection before it gets 503.', '30s'),
      connectTimeout: may(duration(), 'How long to wait for a connection to be made.', '5s'),
      idleTimeout: may(duration(), 'How long an unused connection is kept.', '15s'),
      body: may(
        choice('spool', 'stream'),
        '`spool`: a request body is whole before a connection is taken. `stream`: it is sent as it comes.',
        'spool',
      ),
      requestBodyFile: may(
        yes(),
        'Only for php-fpm on this machine under our own user: a large body is not sent but read by PHP from its file (REQUEST_BODY_FILE).',
        false,
      ),
      onCut: may(
        choice('close', 'drain'),
        'When a client leaves: close the connection, or read the answer to its end to keep it.',
        'close',
      ),
      localRedirects: may(yes(), 'A `Location: /path` alone is answered by the site itself, not sent to the client.', false),
      variables: may(record(secret(), 'variables: names and values'), 'More variables (FastCGI parameters) for every request.'),
      limits: may(LIMITS.schema(), 'Limits of the application.'),
    }),

  describe(settings, scope) {
    const { kind: _, ...given } = settings
    const plan = describeHosts(given, scope)
    const ways = (['root', 'documentRoot', 'script'] as const).filter((each) => settings[each] !== undefined)
    if (ways.length > 1 && ways.includes('root')) scope.problem('', 'one of "root", "documentRoot" and "script"', ways.join(' and '))
    const described = {
      ...plan,
      path: scope.path,
      ...(plan.root !== undefined && { root: scope.folder('root', plan.root) }),
      ...(plan.variables !== undefined && { variables: scope.secrets('variables', plan.variables) }),
    }
    return Promise.resolve({ plan: described, entries: [{ path: plan.root ?? '/', kind: 'fastcgi', interpreter: hostsText(plan) }] })
  },

  build(plan, scope) {
    const client = named(connected(plan, scope), scope.name)
    return plan.root === undefined ? client : siteOf({ ...partsOf(plan, plan.root, scope.log), php: client })
  },

  async explain(plan, request) {
    const what = `the FastCGI application at ${hostsText(plan)}`
    if (plan.root === undefined) {
      const asked = mapped(plan, request)
      return { what, program: hostsText(plan), why: ['everything that comes here goes to it'], variables: variablesOf(plan, asked) }
    }
    const sought = await seek(partsOf(plan, plan.root, silent), request)
    return tellSought(sought, { php: what, cgi: '' }, (_, each) => variablesOf(plan, each))
  },

  files: (plan) => ({
    root: plan.root ?? '/nonexistent',
    symlinks: plan.symlinks ?? false,
    accepts: (path) => plan.root !== undefined && hasExtension(path, plan.extensions ?? EXTENSIONS),
  }),
}

function connected(plan: UpstreamPlan, { log, name }: BuildScope): Backend {
  const { slow = 0, ...own } = LIMITS.read(plan.limits)
  const client = clientOf(plan, own, log)
  if (slow === 0) return client
  const interpreter = { mode: 'remote', name: hostsText(plan) } as const
  return watched(client, { name, kind: 'fastcgi', interpreter, slow, log, spools: plan.body !== 'stream' })
}

function clientOf(plan: UpstreamPlan, own: Partial<FastCgiLimits>, log: Log): Backend {
  const { queueTimeout, connectTimeout, idleTimeout, variables } = plan
  return fastcgi({
    ...hostOptions(plan),
    log,
    limits: own,
    variables: Object.fromEntries(Object.entries(readSecrets(variables)).map(([name, value]) => [name, toByteString(value)])),
    ...(plan.documentRoot !== undefined && { documentRoot: plan.documentRoot }),
    ...(plan.script !== undefined && { scriptFilename: plan.script }),
    ...(plan.connections !== undefined && { connections: plan.connections }),
    ...(plan.keep !== undefined && { keep: plan.keep }),
    ...(plan.queue !== undefined && { queue: plan.queue }),
    ...(queueTimeout !== undefined && { queueTimeout: milliseconds(queueTimeout) }),
    ...(connectTimeout !== undefined && { connectTimeout: milliseconds(connectTimeout) }),
    ...(idleTimeout !== undefined && { idleTimeout: milliseconds(idleTimeout) }),
    ...(plan.body !== undefined && { body: plan.body }),
    ...(plan.requestBodyFile !== undefined && { requestBodyFile: plan.requestBodyFile }),
    ...(plan.onCut !== undefined && { onCut: plan.onCut }),
    ...(plan.localRedirects !== undefined && { localRedirects: plan.localRedirects }),
  })
}

/** In the status it has the name of the application; its hosts are where other pools have their interpreter. */
function named(client: Backend, name: string): Backend {
  const { pools } = client
  return Object.assign(client, { pools: () => pools?.().map((each) => ({ ...each, name })) ?? [] })
}

/** What the client does with a request whose script nobody looked up. */
function mapped({ documentRoot, script }: UpstreamPlan, request: GatewayRequest): GatewayRequest {
  if (script !== undefined) return derive(request, { variables: { SCRIPT_FILENAME: script } })
  if (documentRoot === undefined) return request
  const scriptName = request.scriptName + request.pathInfo
  return derive(request, { scriptName, pathInfo: '', rawPathInfo: '', variables: { SCRIPT_FILENAME: documentRoot + scriptName } })
}

function variablesOf(plan: UpstreamPlan, request: GatewayRequest): [ByteString, ByteString][] {
  const out: [ByteString, ByteString][] = []
  enumerate(request, (name, value) => out.push([name, value]))
  if (plan.documentRoot !== undefined && plan.root === undefined) out.push(['DOCUMENT_ROOT', plan.documentRoot])
  for (const [name, value] of Object.entries(plan.variables ?? {})) out.push([name, maskSecret(value)])
  return out
}

function partsOf(plan: UpstreamPlan, root: string, log: Log): SiteParts {
  const { extensions = EXTENSIONS, index = ['index.php'], symlinks = false, path } = plan
  return { root, symlinks, path, log, locate: { php: extensions, index, programs: 'none', files: false, controller: false } }
}
