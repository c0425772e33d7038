import { createHash } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { PYTHON, closeAll, fixture, open } from '../../test/fixtures/wsgi/open.ts'
import { has } from '../../test/peers.ts'
import { until } from '../../test/processes.ts'
import { getHeader, getHeaders } from '../core/index.ts'

afterEach(closeAll)

interface Facts {
  readonly texts: Record<string, string>
  readonly kinds: Record<string, string>
  readonly env: Record<string, string>
  readonly [name: string]: unknown
}

describe.skipIf(!has('python3'))('environ (PEP 3333)', () => {
  test('is a real dict with everything the PEP asks for', async () => {
    const { server } = await open()
    const response = await server.request({
      method: 'PUT',
      target: '/environ/caf%C3%A9?a=%20b',
      headers: ['Host', 'example.org:8080', 'X-Thing', 'y', 'Cookie', 'a=1', 'Cookie', 'b=2', 'Proxy', 'evil', 'Content-Type', 'a/b'],
      body: 'abc',
    })
    const facts = JSON.parse(response.body.toString()) as Facts
    expect(facts).toMatchObject({ dict: true, version: [1, 0], thread: false, process: false, once: false, terminated: true, stdin: '' })
    expect(facts.texts).toMatchObject({
      REQUEST_METHOD: 'PUT',
      SCRIPT_NAME: '',
      // Bytes as latin-1, whatever they mean.
      PATH_INFO: '/environ/caf\xc3\xa9',
      QUERY_STRING: 'a=%20b',
      REQUEST_URI: '/environ/caf%C3%A9?a=%20b',
      SERVER_NAME: 'example.org',
      SERVER_PORT: '80',
      SERVER_PROTOCOL: 'HTTP/1.1',
      CONTENT_TYPE: 'a/b',
      CONTENT_LENGTH: '3',
      HTTP_X_THING: 'y',
      HTTP_COOKIE: 'a=1; b=2',
      REMOTE_ADDR: '192.0.2.1',
      'wsgi.url_scheme': 'http',
    })
    for (const name of ['HTTP_PROXY', 'HTTP_CONTENT_TYPE', 'HTTP_CONTENT_LENGTH']) expect(facts.texts).not.toHaveProperty(name)
    expect(facts.kinds).toMatchObject({ 'wsgi.input': 'BytesIO', 'wsgi.errors': 'Errors', 'wsgi.file_wrapper': 'type' })
  })

  test('says where it is mounted, and gives the same URL again', async () => {
    const { server } = await open()
    const response = await server.request({ scriptName: '/app', target: '/app/environ', scheme: 'https' })
    const { texts } = JSON.parse(response.body.toString()) as Facts
    expect(texts).toMatchObject({ SCRIPT_NAME: '/app', PATH_INFO: '/environ', HTTPS: 'on', 'wsgi.url_scheme': 'https' })
    expect(texts['SCRIPT_NAME']! + texts['PATH_INFO']!).toBe(texts['REQUEST_URI'])
  })

  test('tells threads and processes when there are several', async () => {
    const { server } = await open({ workers: 2, threads: 2 })
    const facts = JSON.parse((await server.request({ target: '/environ' })).body.toString()) as Facts
    expect(facts).toMatchObject({ thread: true, process: true })
  })

  test('the process has the folder, its own arguments and nothing secret of our environment', async () => {
    process.env['VIADUCT_TEST_SECRET'] = 'secret'
    try {
      const { server } = await open({ env: { SETTING: 'value' } })
      const facts = JSON.parse((await server.request({ target: '/environ' })).body.toString()) as Facts
      expect(facts).toMatchObject({ cwd: fixture('.').replace(/\/$/, ''), path: facts['cwd'], argv: [fixture('pep.py')] })
      expect(facts.env).toMatchObject({ SETTING: 'value', PATH: process.env['PATH'] })
      expect(facts.env).not.toHaveProperty('VIADUCT_TEST_SECRET')
    } finally {
      delete process.env['VIADUCT_TEST_SECRET']
    }
  })

  test('many shapes of requests, and names too long for a shape, are all told rightly', async () => {
    const { server } = await open()
    for (let i = 0; i < 300; i++) {
      const response = await server.request({ target: '/environ', headers: [`X-Shape-${i}`, `v${i}`] })
      expect((JSON.parse(response.body.toString()) as Facts).texts[`HTTP_X_SHAPE_${i}`]).toBe(`v${i}`)
    }
    const long = `X-${'a'.repeat(5000)}`
    const response = await server.request({ target: '/environ', headers: [long, 'long', 'X-Last', ''] })
    const { texts } = JSON.parse(response.body.toString()) as Facts
    expect([texts[`HTTP_${long.toUpperCase().replace('-', '_')}`], texts['HTTP_X_LAST']]).toEqual(['long', ''])
  })

  test('a NUL in a variable is refused, and moves nothing', async () => {
    const { server } = await open()
    const response = await server.request({ target: '/environ', variables: ['REMOTE_USER', 'agnes\0evil'] }).catch(() => undefined)
    // The contract forbids it, and a door that does not check meets the worker.
    expect(response === undefined || response.status >= 400).toBe(true)
    expect((await server.request({ target: '/hello' })).status).toBe(200)
  })
})

const LINES = 'one\ntwo\n\nlast'

describe.skipIf(!has('python3'))('wsgi.input', () => {
  test.each([
    ['read', `${LINES}|13`],
    ['pieces', 'one\ntwo|\n\nlast|13'],
    ['lines', 'one\n|two\n|\n|last|13'],
    ['short', 'one|\n|two|\n|\n|las|t|13'],
    ['hint', 'one\n|13'],
    ['readlines', 'one\n|two\n|\n|last|13'],
    ['iterate', 'one\n|two\n|\n|last|13'],
  ])('%s', async (how, expected) => {
    const { server } = await open()
    const sized = await server.request({ method: 'POST', target: `/input?${how}`, body: LINES })
    expect(sized.body.toString()).toBe(expected)
    const chunks = [Buffer.from(LINES.slice(0, 5)), Buffer.from(LINES.slice(5))]
    const chunked = await server.request({ method: 'POST', target: `/input?${how}`, body: chunks })
    expect(chunked.body.toString()).toBe(expected)
  })

  test('is at its end at once when there is no body', async () => {
    const { server } = await open()
    expect((await server.request({ target: '/input?read' })).body.toString()).toBe('|none')
  })

  test.each([65_535, 65_536, 65_537, 262_144, 1_000_000, 5_000_000])('gives %i bytes whole', async (length) => {
    const { server } = await open()
    const body = Buffer.alloc(length, 'abcdefghijklmnopqrstuvwxyz\n')
    const digest = createHash('md5').update(body).digest('hex')
    for (let time = 0; time < 2; time++) {
      expect((await server.request({ method: 'POST', target: '/input?md5', body })).body.toString()).toBe(`${digest}|${length}`)
    }
    expect((await server.request({ target: '/hello' })).body.toString()).toBe('hello')
  })

  test('has lines also where it is streamed', async () => {
    const { server } = await open()
    const body = `${'x'.repeat(99_999)}\n`.repeat(5)
    const response = await server.request({ method: 'POST', target: '/input?hint', body })
    expect(response.body.toString()).toBe(`${'x'.repeat(99_999)}\n|500000`)
    const lines = await server.request({ method: 'POST', target: '/input?iterate', body })
    expect(lines.body.toString().split('|')).toHaveLength(6)
  })

  test.each([1000, 100_000, 3_000_000])('%i bytes that nobody reads do no harm', async (length) => {
    const { server } = await open()
    const body = Buffer.alloc(length, 'n')
    const all = await Promise.all(
      Array.from({ length: 5 }, () => server.request({ method: 'POST', target: '/input?nothing', body })).concat(
        Array.from({ length: 5 }, () => server.request({ target: '/hello' })),
      ),
    )
    expect(all.map((each) => each.body.toString())).toEqual([...Array(5).fill(`|${length}`), ...Array(5).fill('hello')])
  })

  test('a body beyond the limit is refused', async () => {
    const { server } = await open({ limits: { body: 1000 } })
    expect((await server.request({ method: 'POST', target: '/input?read', body: 'x'.repeat(1001) })).status).toBe(413)
    expect((await server.request({ method: 'POST', target: '/input?read', body: 'x'.repeat(1000) })).status).toBe(200)
  })
})

describe.skipIf(!has('python3'))('an answer', () => {
  test('has its status, its reason and repeated fields', async () => {
    const { server } = await open()
    const response = await server.request({ target: '/fields' })
    expect([response.status, response.reason]).toEqual([418, 'A Custom Reason'])
    expect(getHeaders(response.headers, 'set-cookie')).toEqual(['a=1; Path=/', 'b=2'])
    expect(getHeader(response.headers, 'x-bytes')).toBe('\xc3\xa9')
  })

  test.each([
    ['/slow', ['first\n', 'second\n']],
    ['/write', ['one ', 'two ', 'three']],
  ])('%s: each block goes out before the next is made', async (target, blocks) => {
    const { server } = await open()
    const started = performance.now()
    const running = server.request({ target })
    await running.head
    expect(performance.now() - started).toBeLessThan(140)
    const response = await running
    expect(response.chunks.map((chunk) => Buffer.from(chunk).toString()).join('')).toBe(blocks.join(''))
    expect(Buffer.from(response.chunks[0]!).toString()).toBe(blocks[0])
  })

  test.each([
    ['/replaced', 503, 'sorry'],
    ['/replaced_late', 500, 'replaced'],
    ['/late_start', 200, 'late'],
    ['/head_only', 200, ''],
  ])('%s: the head leaves with the first block, and can be replaced until then', async (target, status, body) => {
    const { server } = await open()
    const response = await server.request({ target })
    expect([response.status, response.body.toString(), response.outcome.kind]).toEqual([status, body, 'sent'])
  })

  test('a head that has left is not replaced: the error is raised, and the answer breaks off', async () => {
    const { server, file, noted } = await open()
    const response = await server.request({ target: `/too_late?note=${file}` })
    expect([response.status, response.outcome.kind]).toEqual([200, 'failed'])
    expect(noted()).toEqual(['raised too late'])
  })

  test.each(['/twice', '/none', '/text', '/raising', '/exiting', '/under_whole'])(
    '%s is an error page, and the log says why',
    async (target) => {
      const { server } = await open()
      const response = await server.request({ target })
      expect([response.status, response.body.length]).toEqual([500, 0])
      expect(response.errors).toContain('Traceback')
      expect(JSON.stringify(response.headers)).not.toContain('secret')
      expect((await server.request({ target: '/hello' })).status).toBe(200)
    },
  )

  test.each([
    'status',
    'bytes',
    'newline',
    'interim',
    'high',
    'tuple',
    'list',
    'name',
    'value',
    'nul',
    'unicode',
    'number',
    'bytesvalue',
    'hop',
    'chunked',
    'length',
    'lengths',
  ])('start_response refuses a wrong head where it is called: %s', async (which) => {
    const { server } = await open()
    const response = await server.request({ target: `/bad?${which}` })
    expect(response.status).toBe(500)
    expect(response.errors).toMatch(/in bad\n.*start_response\([^]*\n(Type|Value)Error: /)
  })

  test('longer than its Content-Length is cut off, and the log says so', async () => {
    const { server } = await open()
    const response = await server.request({ target: '/over' })
    expect([response.body.toString(), response.outcome.kind]).toEqual(['1234', 'sent'])
    expect((await server.request({ target: '/hello' })).body.toString()).toBe('hello')
  })

  test('shorter than its Content-Length is no clean end', async () => {
    const { server } = await open()
    expect((await server.request({ target: '/under' })).outcome.kind).toBe('failed')
  })

  test.each([
    ['HEAD', '200+OK', 200],
    ['GET', '204+No+Content', 204],
    ['GET', '304+Not+Modified', 304],
  ])('to %s with %s has no body, and the iterable is closed', async (method, status, code) => {
    const { server, file, noted } = await open()
    const response = await server.request({ method, target: `/status?note=${file}&${status}` })
    expect([response.status, response.body.length, response.outcome.kind]).toEqual([code, 0, 'sent'])
    await until(() => noted().length > 0)
    expect(noted()).toEqual(['closed'])
  })

  test('to HEAD has the length of GET where that is known', async () => {
    const { server } = await open()
    expect(getHeader((await server.request({ method: 'HEAD', target: '/big?1234' })).headers, 'content-length')).toBe('1234')
    const list = await server.request({ method: 'HEAD', target: '/hello' })
    expect([list.body.length, getHeader(list.headers, 'content-length')]).toEqual([0, '5'])
  })

  test.each([
    ['/closing', 'ab', 'sent'],
    ['/closing_broken', 'a', 'failed'],
  ])('%s: close is called exactly once', async (target, body, kind) => {
    const { server, file, noted } = await open()
    const response = await server.request({ target: `${target}?note=${file}` })
    expect([response.body.toString(), response.outcome.kind]).toEqual([body, kind])
    await until(() => noted().length > 0)
    await server.request({ target: '/hello' })
    expect(noted()).toEqual(['closed'])
  })

  test.each([1, 262_143, 262_144, 262_145, 3_000_000])('of %i bytes arrives whole, as a list and as blocks', async (size) => {
    const { server } = await open()
    for (const target of [`/big?${size}`, `/big_list?${size}`]) {
      const response = await server.request({ target, reader: 'slow' })
      expect([response.status, response.body.length, response.outcome.kind]).toEqual([200, size, 'sent'])
      expect(response.body.equals(Buffer.alloc(size, 'b'))).toBe(true)
    }
  })

  const CONTENT = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 256))
  test.each([
    ['buffered', 'from its current place', CONTENT.subarray(100)],
    ['named', 'up to its Content-Length', CONTENT.subarray(0, 1000)],
    ['memory', 'that is none', CONTENT],
    ['gzip', 'whose descriptor has other bytes', CONTENT],
  ])('of wsgi.file_wrapper: a %s file, %s', async (how, _, expected) => {
    const { server } = await open()
    const response = await server.request({ target: `/file?${how}` })
    expect(response.outcome.kind).toBe('sent')
    expect(response.body.equals(expected)).toBe(true)
  })

  test('what an application keeps of one request reaches no other', async () => {
    const { server, file, noted } = await open()
    const target = `/stale?note=${file}`
    expect((await server.request({ target })).body.toString()).toBe('fresh')
    expect((await server.request({ target })).body.toString()).toBe('fresh')
    expect(noted()).toEqual(['refused AssertionError'])
  })
})

describe.skipIf(!has('python3'))('what an application says', () => {
  test('on wsgi.errors is in the log of its request, everything else in that of the pool', async () => {
    const { server, logged, lines } = await open({ name: 'blog' })
    const response = await server.request({ target: '/errors' })
    expect([response.body.toString(), response.errors]).toEqual(['logged', 'a line for the log\ntwo parts €\nno end\n'])
    await until(() => logged().includes('from a child'))
    for (const line of ['a print', 'to stderr', 'to descriptor 1', 'from a child', 'printed while it is imported'])
      expect(logged()).toContain(line)
    const line = lines.find((each) => each.message === 'a print')
    expect(line?.fields).toMatchObject({ app: 'blog', pid: expect.any(Number) })
  })
})

describe.skipIf(!has('python3'))('a pool', () => {
  test('keeps its workers, and gives each one several requests', async () => {
    const { server, pool } = await open({ workers: 2 })
    const pids = new Set<string>()
    for (let i = 0; i < 20; i++) pids.add((await server.request({ target: '/pid' })).body.toString())
    expect(pids.size).toBeLessThanOrEqual(2)
    expect(pool.counts()).toEqual({ workers: 2, running: 0, prefetched: 0, waiting: 0, returned: 0 })
    const many = await Promise.all(Array.from({ length: 100 }, (_, i) => server.request({ target: `/environ?${i}` })))
    expect(many.map((each) => (JSON.parse(each.body.toString()) as Facts).texts['QUERY_STRING'])).toEqual(
      Array.from({ length: 100 }, (_, i) => String(i)),
    )
  })

  test('takes back what waits behind a slow request, and others serve it', async () => {
    const { server, pool, file, noted } = await open({ workers: 2 })
    const slow = server.request({ target: `/wait?note=${file}&1` })
    await until(() => noted().length === 1)
    const started = performance.now()
    const quick = await Promise.all(Array.from({ length: 20 }, () => server.request({ target: '/hello' })))
    expect(quick.every((each) => each.status === 200)).toBe(true)
    expect(performance.now() - started).toBeLessThan(900)
    expect(pool.counts().returned).toBeGreaterThan(0)
    expect((await slow).body.toString()).toBe('waited')
    expect(pool.counts()).toMatchObject({ running: 0, prefetched: 0, waiting: 0 })
  })

  test('answers everybody while one client is always slow', async () => {
    const { server, pool } = await open({ workers: 2 })
    const over = new AbortController()
    const sleeper = (async () => {
      let count = 0
      for (; !over.signal.aborted; count++) expect((await server.request({ target: '/wait?0.1' })).status).toBe(200)
      return count
    })()
    const others = await Promise.all(
      Array.from({ length: 16 }, async () => {
        const times: number[] = []
        for (let i = 0; i < 60; i++) {
          const started = performance.now()
          const response = await server.request({ target: '/hello' })
          times.push(performance.now() - started)
          expect(response.body.toString()).toBe('hello')
        }
        return times
      }),
    )
    over.abort()
    expect(await sleeper).toBeGreaterThan(0)
    expect(pool.counts()).toMatchObject({ running: 0, prefetched: 0, waiting: 0 })
    const times = others.flat().sort((a, b) => a - b)
    // Behind a sleeper each would take up to 100 ms.
    expect(times[Math.floor(times.length * 0.9)]).toBeLessThan(90)
  })

  test('with threads, serves as many at once as it has', async () => {
    const { server } = await open({ workers: 1, threads: 4 })
    const started = performance.now()
    const all = await Promise.all(Array.from({ length: 4 }, () => server.request({ target: '/wait?0.4' })))
    expect(all.map((each) => each.status)).toEqual([200, 200, 200, 200])
    expect(performance.now() - started).toBeLessThan(1500)
    const kinds = await Promise.all(Array.from({ length: 8 }, () => server.request({ target: '/threads' })))
    expect(kinds.every((each) => each.body.toString().startsWith('4 '))).toBe(true)
  })

  test('a request whose application works on after the answer is over when that is done', async () => {
    const { server, pool, file, noted } = await open()
    const started = performance.now()
    expect((await server.request({ target: `/after?note=${file}` })).body.toString()).toBe('done')
    expect(performance.now() - started).toBeLessThan(280)
    expect(noted()).toEqual([])
    expect(pool.counts().running).toBe(1)
    expect((await server.request({ target: '/hello' })).status).toBe(200)
    expect(noted()).toEqual(['closed'])
  })

  test.each([
    ['a module', { app: 'pep', folder: fixture('.') }],
    ['a module and a callable', { app: 'pep:hello', folder: fixture('.') }],
    ['a factory', { app: 'loading:create_app()', folder: fixture('.') }],
    ['an attribute of an attribute', { app: 'loading:holder.application', folder: fixture('.') }],
    ['a file with a factory', { app: fixture('loading.py') }],
    ['a file in a package', { app: fixture('package/wsgi.py') }],
    ['a file below a folder', { app: 'package/wsgi.py', folder: fixture('.') }],
  ])('loads %s', async (_, options) => {
    const { server } = await open(options)
    expect((await server.request({ target: '/hello' })).body.toString()).toBe('hello')
  })

  test.each([
    ['a mistake in the file', 'broken_import.py', /ModuleNotFoundError: No module named 'no_such_module'.*broken_import\.py:3\)/],
    ['a syntax error', 'broken_syntax.py', /SyntaxError: .*broken_syntax\.py:2\)/],
    ['a mistake in what it imports', 'broken_deep.py', /ModuleNotFoundError: .*broken_import\.py:3\)/],
    ['nothing callable', 'broken_none.py', /broken_none\.py has no callable application, app, create_app or make_app/],
    ['an exit', 'broken_exit.py', /SystemExit: 7/],
    ['an application of another kind', 'broken_asgi.py', /broken_asgi\.py:app is an ASGI application, and this is WSGI/],
  ])('says clearly what is wrong with %s', async (_, file, message) => {
    const { wsgiPool } = await import('./index.ts')
    const lines: string[] = []
    const line = (_fields: object, text: string): void => void lines.push(text)
    const pool = wsgiPool({ app: fixture(file), python: PYTHON, workers: 2, log: { debug: line, info: line, warn: line, error: line } })
    await expect(pool.ready()).rejects.toThrow(message)
    await pool.close(0)
    const said = (): string => lines.join('\n')
    // Both workers found the same; it is told once, and that they end for it is no news, until there is a pause before the next ones.
    const told = lines.filter((each) => each.startsWith('wsgi: ') && !/another one is started in \d+ ms$/.test(each))
    const traced = /import|deep|exit/.test(file)
    const spoke = traced || file.includes('syntax')
    await until(() => !spoke || said().includes('the same 1 more time, by other workers'))
    expect(told.filter((each) => !each.includes('1 more time'))).toEqual([expect.stringMatching(message)])
    expect(said().split('Traceback')).toHaveLength(traced ? 2 : 1)
    if (file.includes('syntax')) expect(said()).toMatch(/File ".*broken_syntax\.py", line 2\n/)
    // What led to the application's own lines is no news.
    expect(said()).not.toMatch(/worker\.py|importlib/)
  })

  test.each([
    ['a file that is not there', '/nowhere/app.py', /there is no file \/nowhere\/app\.py/],
    ['no file and no module', 'my app!', /expected a file, a module, or module:callable/],
  ])('refuses %s at once', async (_, app, message) => {
    const { wsgiPool } = await import('./index.ts')
    expect(() => wsgiPool({ app, python: PYTHON })).toThrow(message)
  })

  test('gives up an import that does not end', async () => {
    await expect(open({ app: fixture('broken_slow.py'), limits: { start: 500 } })).rejects.toThrow(/was not loaded within 500 ms/)
  })

  test('says that there is no such Python', async () => {
    await expect(open({ python: '/nowhere/python3' })).rejects.toThrow(/\/nowhere\/python3 could not be started/)
  })
})
