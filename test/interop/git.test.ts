// git over HTTP through git-http-backend, a CGI program that streams both ways and reads CONTENT_LENGTH, PATH_INFO, REMOTE_USER
// and compressed bodies. The client is git itself, and a repository of 20 MB that cannot be compressed goes up and comes down.

import { execFile, execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { has } from '../peers.ts'
import { Browser } from './peers/browser.ts'
import { temporaryFolder } from './peers/index.ts'
import { serveFolder } from './peers/viaduct.ts'
import type { Viaduct } from './peers/viaduct.ts'

const run = promisify(execFile)
const MB = 1_000_000

function backend(): string {
  return join(execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(), 'git-http-backend')
}

/** SHA-256 of each file of a work tree, by name. */
function contents(folder: string): Record<string, string> {
  const names = readdirSync(folder).filter((name) => name !== '.git')
  return Object.fromEntries(
    names.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  )
}

describe.skipIf(!has('git') || !existsSync(backend()))('git-http-backend', () => {
  const temporary = temporaryFolder('viaduct-git-')
  const at = (name: string): string => join(temporary.path, name)
  let server: Viaduct
  let url = ''

  // No configuration of whoever runs the tests, no question on a terminal.
  const env = {
    ...process.env,
    HOME: temporary.path,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_AUTHOR_NAME: 'Test',
    GIT_AUTHOR_EMAIL: 'test@example.org',
    GIT_COMMITTER_NAME: 'Test',
    GIT_COMMITTER_EMAIL: 'test@example.org',
  }
  const git = async (folder: string, ...args: string[]): Promise<string> => {
    const { stdout } = await run('git', args, { cwd: folder, env, maxBuffer: 64 * MB })
    return stdout
  }

  beforeAll(async () => {
    mkdirSync(at('site/cgi-bin'), { recursive: true })
    mkdirSync(at('repositories'))
    const program = at('site/cgi-bin/git')
    writeFileSync(
      program,
      `#!/bin/sh\nexport GIT_PROJECT_ROOT='${at('repositories')}' GIT_HTTP_EXPORT_ALL=1 HOME='${temporary.path}'\nexec '${backend()}'\n`,
    )
    chmodSync(program, 0o755)
    await git(temporary.path, 'init', '-q', '--bare', '-b', 'main', at('repositories/arches.git'))
    await git(at('repositories/arches.git'), 'config', 'http.receivepack', 'true')
    await git(temporary.path, 'init', '-q', '-b', 'main', at('first'))
    for (let i = 0; i < 20; i++) writeFileSync(at(`first/stone-${i}`), randomBytes(MB))
    await git(at('first'), 'add', '.')
    await git(at('first'), 'commit', '-q', '-m', 'twenty stones')
    server = await serveFolder(at('site'))
    url = `http://127.0.0.1:${server.port}/cgi-bin/git/arches.git`
  })

  afterAll(async () => {
    await server?.stop()
    temporary.remove()
  })

  test('speaks the smart protocol', async () => {
    const browser = new Browser(server.port)
    const page = await browser.get('/cgi-bin/git/arches.git/info/refs?service=git-upload-pack')
    browser.close()

    expect(page.status, page.text).toBe(200)
    expect(page.headers['content-type']).toBe('application/x-git-upload-pack-advertisement')
    expect(page.text).toMatch(/^001e# service=git-upload-pack\n/)
  })

  test('takes a push of 20 MB, which git sends in chunks of unknown number', async () => {
    await git(at('first'), 'push', '-q', url, 'main')

    const pushed = (await git(at('repositories/arches.git'), 'rev-parse', 'main')).trim()
    expect(pushed).toBe((await git(at('first'), 'rev-parse', 'HEAD')).trim())
    await git(at('repositories/arches.git'), 'fsck', '--full', '--strict')
  })

  test('gives back in a clone what was pushed', async () => {
    await git(temporary.path, 'clone', '-q', url, at('second'))

    expect(contents(at('second'))).toEqual(contents(at('first')))
  })

  test('carries a change from one clone to another', async () => {
    writeFileSync(at('second/keystone'), randomBytes(MB))
    await git(at('second'), 'add', '.')
    await git(at('second'), 'commit', '-q', '-m', 'the keystone')
    // A body under http.postBuffer comes with a Content-Length instead of chunked.
    await git(at('second'), '-c', 'http.postBuffer=8000000', 'push', '-q', 'origin', 'main')

    await git(at('first'), 'pull', '-q', '--ff-only', url, 'main')

    expect(contents(at('first'))).toEqual(contents(at('second')))
    expect(contents(at('first'))).toHaveProperty('keystone')
  })

  test('refuses a repository that does not exist with its own status', async () => {
    const browser = new Browser(server.port)
    const page = await browser.get('/cgi-bin/git/viaduct.git/info/refs?service=git-upload-pack')
    browser.close()

    expect(page.status).toBe(404)
  })
})
