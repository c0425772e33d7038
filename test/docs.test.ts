// The documentation is run: `sh` blocks of a page one after the other in one folder, `ts` blocks each by itself.
// A line `#> text` (in ts `//> text`) is what the commands before it must have printed.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { PYTHON } from './fixtures/wsgi/open.ts'
import { has, hasModules } from './peers.ts'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const pages = [
  'README.md',
  'docs/serve.md',
  'docs/library.md',
  'docs/fastcgi.md',
  'docs/fastcgi-client.md',
  'docs/fastcgi-server.md',
  'docs/node-apps.md',
  'docs/python.md',
  'docs/embedded.md',
  'docs/fastcgi-programs.md',
  'docs/fastcgi-tools.md',
  'docs/fpm.md',
  'docs/tls.md',
  'docs/status.md',
  'docs/configuration.md',
  ...readdirSync(join(root, 'docs/recipes')).map((name) => `docs/recipes/${name}`),
]

interface Block {
  readonly language: string
  readonly code: string
  readonly line: number
}

function blocks(page: string): Block[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```(\S+)(?: (\S+))?\n([\s\S]*?)^```$/gm)].map((match) => ({
    language: [match[1], match[2]].filter((each) => each !== undefined).join(' '),
    code: match[3] ?? '',
    line: text.slice(0, match.index).split('\n').length,
  }))
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

/** Output must hold the expected lines in their order. */
function expectLines(output: string, expected: readonly string[]): void {
  let rest = output
  for (const line of expected) {
    expect(rest).toContain(line)
    rest = rest.slice(rest.indexOf(line) + line.length)
  }
}

const scratch = mkdtempSync(join(root, 'test', '.docs-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

describe.skipIf(!has('php-cgi', 'curl', 'openssl'))('what the documentation shows', () => {
  test.for(pages)('the commands of %s do what it says', async (page, context) => {
    const sh = blocks(page).filter((each) => each.language === 'sh')
    if (sh.length === 0) return
    if (page.includes('django') && !hasModules(PYTHON, 'django')) context.skip()
    const folder = mkdtempSync(join(tmpdir(), 'viaduct-docs-'))
    mkdirSync(join(folder, 'bin'))
    writeFileSync(join(folder, 'bin', 'viaduct'), `#!/bin/sh\nexec ${process.execPath} ${join(root, 'dist/cli/main.js')} "$@"\n`)
    chmodSync(join(folder, 'bin', 'viaduct'), 0o755)
    // As after `npm install` and `pip install` of what the page names.
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
    symlinkSync(PYTHON, join(folder, 'bin', 'python3'))
    const [port, securePort] = await Promise.all([freePort(), freePort()])
    const script = sh
      .map(({ code }) => code)
      .join('\n')
      .replaceAll('8080', String(port))
      .replaceAll('8443', String(securePort))
      // A server in the background is waited for, and stopped at the end.
      .replace(/^(viaduct .*) &$/gm, '$1 >log 2>&1 & server=$!\nuntil grep -q "viaduct serves" log; do kill -0 $server; sleep 0.1; done')
    writeFileSync(
      join(folder, 'script.sh'),
      `set -e\nserver=\ntrap 'test -z "$server" || { kill -INT $server; wait $server; }' EXIT\n${script}`,
    )
    try {
      const output = execFileSync('bash', ['script.sh'], {
        cwd: folder,
        env: { PATH: `${join(folder, 'bin')}:${process.env['PATH']}` },
        encoding: 'utf8',
        timeout: 60_000,
      })
      expectLines(
        output,
        [...script.matchAll(/^#> (.*)$/gm)].map((match) => match[1] ?? ''),
      )
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  const programs = pages.flatMap((page) =>
    blocks(page)
      .filter((each) => each.language === 'ts')
      .map((block) => ({ name: `${page}:${block.line}`, block })),
  )
  test.each(programs)('the program at $name runs', async ({ name, block }) => {
    // Inside the package, so that `viaduct` means this one.
    const file = join(scratch, `${name.replace(/\W/g, '-')}.mjs`)
    writeFileSync(file, block.code)
    const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000 })
    let output = ''
    child.stdout.on('data', (chunk) => (output += String(chunk)))
    child.stderr.on('data', (chunk) => (output += String(chunk)))
    const code = await new Promise((resolve) => child.once('close', resolve))
    expect(code, output).toBe(0)
    expectLines(
      output,
      [...block.code.matchAll(/^\/\/> (.*)$/gm)].map((match) => match[1] ?? ''),
    )
  })

  test.skipIf(!has('systemd-analyze'))('the units for systemd are units', () => {
    const units = blocks('docs/recipes/systemd.md').filter((each) => each.language === 'ini')
    expect(units).toHaveLength(1)
    const file = join(scratch, 'viaduct.service')
    // The program has to be there, and the user.
    writeFileSync(file, units[0]!.code.replaceAll('/usr/local/bin/viaduct', process.execPath).replaceAll('=viaduct\n', '=www-data\n'))
    const { stdout, stderr, status } = spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' })
    expect({ stdout, stderr, status }).toEqual({ stdout: '', stderr: '', status: 0 })
  })

  test('the CGI program of the guide is one', () => {
    const block = blocks('docs/library.md').find((each) => each.language === 'ts program')
    const file = join(scratch, 'program.mjs')
    writeFileSync(file, block?.code ?? '')
    const output = execFileSync(process.execPath, [file], {
      encoding: 'utf8',
      env: {
        GATEWAY_INTERFACE: 'CGI/1.1',
        REQUEST_METHOD: 'GET',
        SCRIPT_NAME: '/program',
        PATH_INFO: '/x',
        QUERY_STRING: '',
        SERVER_PROTOCOL: 'HTTP/1.1',
        SERVER_NAME: 'localhost',
        SERVER_PORT: '80',
        REMOTE_ADDR: '127.0.0.1',
      },
    })
    expect(output).toMatch(/^Status: 200/)
    expect(output).toContain('I was asked for /x')
  })
})
