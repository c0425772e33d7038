// Python without a Python: what goes wrong in an interpreter, what an application must not reach, and packages that lie beside it.

import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lint } from '../../src/core/index.ts'
import { embeddedWsgi } from '../../src/embedded/index.ts'
import { serveMemory } from '../../src/testing/index.ts'
import type { MemoryServer } from '../../src/testing/index.ts'
import type { WsgiPool } from '../../src/wsgi/index.ts'

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'viaduct-embedded-test-')))
const root = join(folder, 'site')
const lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log = { debug() {}, info: note, warn: note, error: note }

const APP = `
import ctypes, json, os, socket, sys, tempfile, time
import beside, packaged

def tries(*attempts):
    done = []
    for attempt in attempts:
        try:
            attempt()
            done.append(True)
        except BaseException:
            done.append(False)
    return done

def here(name):
    return os.path.join(os.path.dirname(__file__), name)

def javascript():
    import gc
    channel = [each for each in gc.get_objects() if type(each).__name__ == 'Channel'][0]
    channel._receive.constructor('return process')()

def shell():
    assert os.system('touch ' + here('by-a-shell')) == 0

def c_library(name, *args):
    assert getattr(ctypes.CDLL(None), name)(*args) >= 0

# Each frame of a JavaScript stack knows the object that it is about.
def frames():
    from pyodide import ffi
    thing = ffi.to_js({'a': 1})
    try:
        ffi.to_js([1]).at.call(None)
    except ffi.JsException as error:
        thing.constructor.getPrototypeOf(error.js_error.constructor).prepareStackTrace = ffi.create_proxy(lambda error, frames: frames)

def do(environ):
    path = environ['PATH_INFO']
    if path == '/loop':
        while True: pass
    if path == '/hog':
        hog = []
        while True: hog.append(b'x' * 1000000)
    if path == '/crash':
        ctypes.string_at(0xfffffff0, 100)
    if path == '/exit':
        os._exit(3)
    if path == '/raise':
        raise RuntimeError('secret')
    if path == '/files':
        return tries(lambda: open('/etc/hostname'), lambda: open(here('etc/hostname')), lambda: open(here('../outside')),
            lambda: open('/left', 'w'), lambda: os.symlink('/etc', here('made')), lambda: open('written', 'w').close(), lambda: tempfile.TemporaryFile().close())
    if path == '/ways-out':
        return tries(lambda: exec('import js'), lambda: exec('import pyodide_js'), lambda: exec('from pyodide.code import run_js; run_js("1")'), javascript,
            lambda: exec('import subprocess; subprocess.run(["id"])'), lambda: exec('import socket; socket.create_connection(("127.0.0.1", 80), 1)'), lambda: os.fork(),
            shell, lambda: c_library('system', b'touch ' + here('by-a-shell').encode()), lambda: c_library('_emscripten_system', b'touch ' + here('by-a-shell').encode()),
            lambda: c_library('socket', 2, 1, 0), lambda: socket.socketpair(), frames)
    if path == '/stdin':
        return [sys.stdin.read(), open('/dev/stdin').read()]
    return [beside.NAME, packaged.NAME, os.environ.get('SETTING'), 'PATH' in os.environ and os.environ['PATH'], sys.version_info[0], environ['wsgi.multithread'], len(environ['wsgi.input'].read())]

def application(environ, start_response):
    told = json.dumps(do(environ)).encode()
    print('printed')
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [told]
`

let pool: WsgiPool
let server: MemoryServer

beforeAll(async () => {
  mkdirSync(join(root, 'vendor'), { recursive: true })
  mkdirSync(join(root, 'venv/lib/python3.11/site-packages/packaged'), { recursive: true })
  writeFileSync(join(root, 'app.py'), APP)
  writeFileSync(join(root, 'vendor/beside.py'), 'NAME = "vendored"')
  writeFileSync(join(root, 'venv/lib/python3.11/site-packages/packaged/__init__.py'), 'NAME = "packaged"')
  writeFileSync(join(folder, 'outside'), 'outside')
  symlinkSync('/etc', join(root, 'etc'))
  pool = embeddedWsgi({
    app: join(root, 'app.py'),
    log,
    workers: 1,
    env: { SETTING: 'ü' },
    limits: { silence: 5000, memory: 256 * 1024 ** 2 },
  })
  await pool.ready()
  server = serveMemory(lint(pool))
}, 60_000)

afterAll(async () => {
  await pool?.close(1000)
  rmSync(folder, { recursive: true })
})

async function get(target: string, body = ''): Promise<unknown> {
  const response = await server.request({ target, ...(body !== '' && { method: 'POST', body }) })
  return response.status === 200 ? JSON.parse(response.body.toString()) : response.status
}

test('an application has the packages that lie beside it, its environment, and bodies of any size', async () => {
  expect(await get('/', 'x'.repeat(1_000_000))).toEqual(['vendored', 'packaged', 'ü', '/', 3, false, 1_000_000])
  // It comes by a channel of its own.
  await expect.poll(() => lines).toContain('printed')
})

test('it sees the files of its folder and no others', async () => {
  expect(await get('/files')).toEqual([false, false, false, false, false, true, true])
  expect([existsSync(join(root, 'made')), existsSync(join(root, 'written'))]).toEqual([false, true])
})

test('JavaScript, programs and the network are out of its reach', async () => {
  expect(await get('/ways-out')).toEqual(Array.from({ length: 13 }, () => false))
  expect(existsSync(join(root, 'by-a-shell'))).toBe(false)
})

test('its standard input is at its end', async () => {
  expect(await get('/stdin')).toEqual(['', ''])
})

describe('when it goes wrong', () => {
  test.each([
    ['/raise', 500],
    ['/hog', 500],
    ['/loop', 504],
    ['/crash', 502],
    ['/exit', 502],
  ])(
    '%s is answered with %i, and the next request as ever',
    async (target, status) => {
      const started = performance.now()
      expect(await get(target)).toBe(status)
      expect(performance.now() - started).toBeLessThan(15_000)
      expect(await get('/')).toContain('vendored')
    },
    60_000,
  )
})

test('an application that cannot be loaded says why, and where', async () => {
  writeFileSync(join(root, 'broken.py'), 'import nothing_of_that_name\n')
  const broken = embeddedWsgi({ app: join(root, 'broken.py'), log, workers: 1 })
  await expect(broken.ready()).rejects.toThrow(/No module named 'nothing_of_that_name'.*\(.*broken\.py:1\)/)
  await broken.close(0)
}, 60_000)

test.each([
  ['wanted', `no package of that name is in ${root}, ${root}/vendor, .*requirements.txt lists what is needed.* can lie in ${root}/vendor`],
  ['tkinter', 'this Python is without that part of its library'],
  ['compiled._speedups', `what of ${root}/vendor/compiled was compiled for a machine does not run here`],
])(
  'an application that lacks %s is told where that was looked for',
  async (name, told) => {
    mkdirSync(join(root, 'vendor/compiled'), { recursive: true })
    writeFileSync(join(root, 'vendor/compiled/__init__.py'), '')
    writeFileSync(join(root, 'vendor/compiled/_speedups.cpython-311-x86_64-linux-gnu.so'), '')
    writeFileSync(join(root, 'requirements.txt'), 'wanted==1.0\n')
    writeFileSync(join(root, 'lacks.py'), `import ${name}\n`)
    const lacking = embeddedWsgi({ app: join(root, 'lacks.py'), log, workers: 1 })
    await expect(lacking.ready()).rejects.toThrow(new RegExp(`No module named '${name}': ${told}`))
    await lacking.close(0)
  },
  60_000,
)
