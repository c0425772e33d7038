// The backends of the conformance suite: each answers the same behaviours with a program of its own. A new backend adds one entry.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cgi } from '../../src/cgi/index.ts'
import { backend, compose, derive, type Backend, type Log, type Middleware } from '../../src/core/index.ts'
import { fastcgi } from '../../src/fastcgi/index.ts'
import { fromFetch, fromNode, toFetch, toNode } from '../../src/http/index.ts'
import { phpPool } from '../../src/php/index.ts'
import { staticFiles } from '../../src/static/index.ts'
import { wsgiPool } from '../../src/wsgi/index.ts'
import { has, which } from '../peers.ts'
import { LARGE, answer } from './answer.ts'
import type { Behaviour } from './behaviours.ts'

export interface Room {
  readonly name: string
  /** What it needs is there. Says so when it is not; in CI that is an error. */
  available(): boolean
  /** Why it cannot have a behaviour. Whatever is not named here is tested. */
  readonly lacks: Partial<Record<Behaviour, string>>
  /** Where it has a behaviour under another target, or only to another question. */
  readonly asks?: Partial<Record<Behaviour, { readonly target: string; readonly headers?: Readonly<Record<string, string>> }>>
  /** `log` is for what the backend says itself about its programs. */
  open(log: Log): Promise<Backend>
}

const fixture = (name: string): string => new URL(`../fixtures/conformance/${name}`, import.meta.url).pathname

const typescript: Room = {
  name: 'typescript',
  available: () => true,
  lacks: {},
  open: () => Promise.resolve(backend(answer, {})),
}

/** The TypeScript room as a Node listener, and as a fetch handler. */
const node: Room = {
  name: 'node (fromNode)',
  available: () => true,
  lacks: { internal: 'Node listeners have no internal results' },
  open: (log) => Promise.resolve(fromNode(toNode(answer, { log }))),
}

const fetches: Room = {
  name: 'fetch (fromFetch)',
  available: () => true,
  lacks: {
    internal: 'a Response has no internal results',
    trailers: 'a Response has no trailers',
    interim: 'a Response has no interim ones before it',
    stderr: 'a fetch handler has no log of its own',
  },
  open: (log) => Promise.resolve(backend(fromFetch(toFetch(answer, { log })), {})),
}

const program: Room = {
  name: 'cgi (sh)',
  available: () => true,
  lacks: {
    trailers: 'CGI has no trailers',
    interim: 'CGI has no interim responses',
  },
  open: async () => {
    const application = cgi({ script: fixture('answer.sh') })
    await application.ready()
    return application
  },
}

/** The TypeScript room once more, each request in a process of its own: being a CGI program is a server too. */
const childSide: Room = {
  name: 'cgi (serveCgi)',
  available: () => true,
  lacks: program.lacks,
  open: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viaduct-conformance-'))
    // Node 20 runs no TypeScript. Built here and not taken from dist, which may be built anew under the programs that run.
    const root = new URL('../..', import.meta.url).pathname
    const options = ['--noCheck', '--ignoreConfig', '--rewriteRelativeImportExtensions', '--module', 'nodenext', '--target', 'es2023']
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
    execFileSync(join(root, 'node_modules/.bin/tsc'), [...options, '--rootDir', root, '--outDir', folder, 'test/conformance/child.ts'], {
      cwd: root,
      stdio: 'inherit',
    })
    const application = cgi({ script: join(folder, 'test/conformance/child.js'), interpreter: [process.execPath] })
    await application.ready()
    return backend(application, {
      close: async (grace) => {
        await application.close(grace)
        rmSync(folder, { recursive: true })
      },
    })
  },
}

/** The site's part: which script it is, and what of the path is left. */
const toScript: Middleware = (next) => (request) =>
  next(
    derive(request, {
      scriptName: `${request.scriptName}/answer.php`,
      variables: { SCRIPT_FILENAME: fixture('answer.php'), DOCUMENT_ROOT: fixture('.').replace(/\/\.?$/, '') },
    }),
  )

const FASTCGI_LACKS: Room['lacks'] = {
  trailers: 'FastCGI has no trailers',
  interim: 'FastCGI has no interim responses',
  internal: 'local redirects are off for FastCGI applications',
}

const PHP_INI = ['display_errors=0', 'log_errors=1', 'post_max_size=16M', 'html_errors=0']

const php: Room = {
  name: 'php',
  available: () => has('php-cgi'),
  lacks: FASTCGI_LACKS,
  open: async (log) => {
    const ini = Object.fromEntries(PHP_INI.map((setting) => setting.split('=') as [string, string]))
    const application = compose(phpPool({ workers: 2, ini, log }), toScript)
    await application.ready()
    return application
  },
}

const upstream: Room = {
  name: 'fastcgi (php-cgi)',
  available: () => has('php-cgi'),
  lacks: FASTCGI_LACKS,
  open: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viaduct-conformance-'))
    const path = join(folder, 'socket')
    const settings = PHP_INI.flatMap((setting) => ['-d', setting])
    const child = spawn(which('php-cgi')!, ['-b', path, ...settings], {
      stdio: 'ignore',
      env: { PHP_FCGI_CHILDREN: '0', PHP_FCGI_MAX_REQUESTS: '0' },
    })
    const gone = once(child, 'exit')
    await until(() => isSocket(path))
    const application = compose(fastcgi({ address: { path }, connections: 1 }), toScript)
    return backend(application, {
      ready: () => application.ready(),
      close: async (grace) => {
        await application.close(grace)
        child.kill('SIGKILL')
        await gone
        rmSync(folder, { recursive: true })
      },
    })
  },
}

const python: Room = {
  name: 'wsgi (python)',
  available: () => has('python3'),
  lacks: {
    trailers: 'WSGI has no trailers',
    interim: 'WSGI has no interim responses',
    internal: 'WSGI has no internal results',
  },
  open: async (log) => {
    const application = wsgiPool({ app: fixture('answer.py'), workers: 2, env: { PYTHONDONTWRITEBYTECODE: '1' }, log })
    await application.ready()
    return application
  },
}

const CHANGED = new Date('2026-01-01T00:00:00Z')
const NOT_A_PROGRAM = 'a file is not a program'

const files: Room = {
  name: 'static',
  available: () => true,
  lacks: {
    echo: NOT_A_PROGRAM,
    post: NOT_A_PROGRAM,
    'post, chunked': NOT_A_PROGRAM,
    'large upload': NOT_A_PROGRAM,
    status: NOT_A_PROGRAM,
    fields: NOT_A_PROGRAM,
    redirect: NOT_A_PROGRAM,
    slow: NOT_A_PROGRAM,
    empty: NOT_A_PROGRAM,
    error: NOT_A_PROGRAM,
    broken: NOT_A_PROGRAM,
    stderr: NOT_A_PROGRAM,
    internal: NOT_A_PROGRAM,
    many: NOT_A_PROGRAM,
    silent: NOT_A_PROGRAM,
    trailers: NOT_A_PROGRAM,
    interim: NOT_A_PROGRAM,
  },
  asks: {
    head: { target: '/small' },
    large: { target: '/large' },
    'slow reader': { target: '/large' },
    endless: { target: '/endless' },
    unmodified: { target: '/small', headers: { 'If-Modified-Since': CHANGED.toUTCString() } },
  },
  open: () => {
    const root = mkdtempSync(join(tmpdir(), 'viaduct-conformance-'))
    writeFileSync(join(root, 'small'), 'small')
    utimesSync(join(root, 'small'), CHANGED, CHANGED)
    writeFileSync(join(root, 'large'), LARGE)
    // Sparse: as good as endless for a client that leaves, without taking the disk.
    writeFileSync(join(root, 'endless'), '')
    truncateSync(join(root, 'endless'), 4 * 1024 ** 3)
    const application = staticFiles({ root })
    return Promise.resolve(
      backend(application, {
        close: async (grace) => {
          await application.close(grace)
          rmSync(root, { recursive: true })
        },
      }),
    )
  },
}

function isSocket(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isSocket() === true
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export const rooms: readonly Room[] = [typescript, node, fetches, program, childSide, php, upstream, python, files]
