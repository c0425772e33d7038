import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { collectLog, until } from '../../test/fixtures/cgi/tools.ts'
import { Channel, collect, discard } from '../core/index.ts'
import type { ByteStream } from '../core/index.ts'
import { openSpawner } from '../process/index.ts'
import type { Spawner } from '../process/index.ts'
import { makeRequest, serveMemory } from '../testing/index.ts'
import type { MemoryExchange, MemoryParts, MemoryResponse } from '../testing/index.ts'
import { cgi } from './index.ts'
import type { CgiBackend, CgiOptions } from './index.ts'

let folder: string
let spawner: Spawner
const open: CgiBackend[] = []
const { log, messages } = collectLog()

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'cgi-test-'))
  spawner = openSpawner({ helpers: 2 })
  await spawner.ready()
})
afterAll(async () => {
  await spawner.close()
  rmSync(folder, { recursive: true })
})
beforeEach(() => {
  messages.length = 0
})
afterEach(async () => {
  for (const backend of open.splice(0)) await backend.close(0)
})

let made = 0
/** A shell script as a file. */
function script(text: string, name: string = `s${made++}.cgi`): string {
  const path = join(folder, name)
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  return path
}

/** Passes on what a program writes as it comes, unless told otherwise: what is held cannot be half an answer. */
function host(text: string, options: Partial<CgiOptions> = {}): CgiBackend {
  const limits = { holdTime: 0, ...options.limits }
  const backend = cgi({ script: script(text), documentRoot: '/srv/www', spawner, log, ...options, limits })
  open.push(backend)
  return backend
}

function ask(backend: CgiBackend, parts: MemoryParts = {}): MemoryExchange {
  return serveMemory(backend).request(parts)
}

/** Runs a script for one request. */
function run(text: string, parts: MemoryParts = {}, options: Partial<CgiOptions> = {}): Promise<MemoryResponse> {
  return ask(host(text, options), parts)
}

const HEAD = "printf 'Content-Type: text/plain\\n\\n'"

/** Alive, and not a zombie that only waits for its parent. */
function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** The pids that a script wrote to a file, one a line. */
async function pidsIn(name: string, count: number): Promise<number[]> {
  const read = (): number[] => {
    try {
      return readFileSync(join(folder, name), 'utf8').split('\n').filter(Boolean).map(Number)
    } catch {
      return []
    }
  }
  await until(() => read().length >= count)
  return read()
}

describe('a program', () => {
  test('has its own directory as working directory, its path as argv[0], and no arguments', async () => {
    const answer = await run(`${HEAD}; pwd; echo "$0" $#; echo "$SCRIPT_FILENAME|$PATH_INFO|$PATH_TRANSLATED"`, {
      target: '/x/more?a',
      scriptName: '/x',
    })
    const [cwd, words, variables] = answer.body.toString().split('\n')
    expect(answer).toMatchObject({ status: 200, outcome: { kind: 'sent' } })
    expect(cwd).toBe(folder)
    expect(words).toMatch(/^\/.*\.cgi 0$/)
    expect(variables).toMatch(/\.cgi\|\/more\|\/srv\/www\/more$/)
  })

  test('is the one that the site chose when the option does not say', async () => {
    const path = script(`${HEAD}; echo "$DOCUMENT_ROOT"`)
    const backend = cgi({ spawner, log })
    open.push(backend)
    const answer = await ask(backend, { variables: ['SCRIPT_FILENAME', path, 'DOCUMENT_ROOT', '/srv/site/'] })
    expect(answer.body.toString()).toBe('/srv/site\n')
    expect(await ask(backend)).toMatchObject({ status: 500, errors: expect.stringContaining('SCRIPT_FILENAME') })
  })

  test('is given to an interpreter as its last argument', async () => {
    const backend = cgi({ script: script(`${HEAD}; echo "$0 $*"`), interpreter: ['/bin/sh', '-e'], spawner })
    open.push(backend)
    expect((await ask(backend, { target: '/?-s+x' })).body.toString()).toMatch(/^\/.*\.cgi \n$/)
  })

  test('gets the words of the query only when that is enabled', async () => {
    const text = `${HEAD}; for word; do echo "[$word]"; done`
    expect((await run(text, { target: '/?red+ca%20r' })).body.toString()).toBe('')
    expect((await run(text, { target: '/?red+ca%20r' }, { queryArguments: true })).body.toString()).toBe('[red]\n[ca r]\n')
    expect((await run(text, { target: '/?-d+x' }, { queryArguments: true })).body.toString()).toBe('')
    expect((await run(text, { target: '/?;reboot+$(id)+`id`' }, { queryArguments: true })).body.toString()).toBe(
      '[;reboot]\n[$(id)]\n[`id`]\n',
    )
  })
})

describe('a body', () => {
  const echo = `${HEAD}; echo "$CONTENT_LENGTH"; exec cat`

  test('of known length arrives whole, and ends', async () => {
    expect((await run(echo, { method: 'POST', body: 'hello' })).body.toString()).toBe('5\nhello')
  })

  test('of unknown length has a CONTENT_LENGTH all the same (RFC 3875, 4.1.2)', async () => {
    const body = ['one ', 'two ', 'three'].map((text) => Buffer.from(text))
    expect((await run(echo, { method: 'POST', body })).body.toString()).toBe('13\none two three')
  })

  test('that is absent is the end of file at once', async () => {
    expect((await run(`${HEAD}; echo "\${CONTENT_LENGTH-none}"; exec cat`)).body.toString()).toBe('none\n')
  })

  test.each([false, true])('of 5 MB arrives byte for byte (streamed: %s)', async (stream) => {
    const body = Buffer.alloc(5_000_000, 'abcdefghijk')
    const answer = await run(`${HEAD}; exec cat`, { method: 'POST', body }, { stream })
    expect(answer.outcome.kind).toBe('sent')
    expect(Buffer.compare(answer.body, body)).toBe(0)
  })

  test.each([false, true])('need not be read (streamed: %s)', async (stream) => {
    const answer = await run(`${HEAD}; echo no thanks`, { method: 'POST', body: Buffer.alloc(5_000_000) }, { stream })
    expect(answer).toMatchObject({ status: 200, outcome: { kind: 'sent' } })
    expect(answer.body.toString()).toBe('no thanks\n')
  })

  test('can be opened by name when it is small', async () => {
    expect((await run(`${HEAD}; exec cat /dev/stdin`, { method: 'POST', body: 'by name' })).body.toString()).toBe('by name')
  })

  test('over the limit is 413, and nothing is started', async () => {
    const limits = { body: 10 }
    expect(await run('echo', { method: 'POST', body: 'x'.repeat(11) }, { limits })).toMatchObject({ status: 413 })
    expect(await run('echo', { method: 'POST', body: [Buffer.alloc(6), Buffer.alloc(6)] }, { limits })).toMatchObject({ status: 413 })
    expect(await run('echo', { method: 'POST', body: 'x'.repeat(11) }, { limits, stream: true })).toMatchObject({ status: 413 })
    expect(messages).toEqual([])
  })

  test('that comes slowly holds no place', async () => {
    const backend = host(`${HEAD}; exec cat`, { limits: { concurrency: 1, queue: 0 } })
    const channel = new Channel()
    const slow = ask(backend, { method: 'POST', body: channel as ByteStream })
    channel.write(Buffer.from('slow'))
    expect((await ask(backend)).status).toBe(200)
    await until(() => backend.counts().busy === 0)
    channel.end()
    expect((await slow).body.toString()).toBe('slow')
  })

  test('that is streamed is answered while it still arrives', async () => {
    const channel = new Channel()
    const answer = ask(host(`${HEAD}; while read line; do echo "got $line"; done`, { stream: true }), {
      method: 'POST',
      body: channel as ByteStream,
      contentLength: 8,
    })
    channel.write(Buffer.from('one\n'))
    await until(() => answer.received() === 'got one\n'.length)
    channel.write(Buffer.from('two\n'))
    channel.end()
    expect((await answer).body.toString()).toBe('got one\ngot two\n')
  })

  test('that breaks off ends a program that reads it', async () => {
    const channel = new Channel()
    const answer = ask(host(`echo $$ > broken.pid; ${HEAD}; exec cat`, { stream: true }), {
      method: 'POST',
      body: channel as ByteStream,
      contentLength: 100,
    })
    channel.write(Buffer.from('half'))
    const [pid] = await pidsIn('broken.pid', 1)
    channel.fail(new Error('connection reset'))
    expect((await answer).outcome.kind).not.toBe('sent')
    await until(() => !alive(pid!))
  })
})

describe('an answer', () => {
  test('has the status, the reason and the fields of its head', async () => {
    const answer = await run("printf 'Status: 418 Short And Stout\\r\\nX-A: 1\\r\\nSet-Cookie: a\\r\\nSet-Cookie: b\\r\\n\\r\\nbody'")
    expect(answer).toMatchObject({ status: 418, reason: 'Short And Stout', headers: ['X-A', '1', 'Set-Cookie', 'a', 'Set-Cookie', 'b'] })
    expect(answer.body.toString()).toBe('body')
  })

  test('to HEAD has no body, and the program may write one', async () => {
    const answer = await run("printf 'Content-Type: a/b\\nContent-Length: 3000000\\n\\n'; head -c 3000000 /dev/zero", { method: 'HEAD' })
    expect(answer).toMatchObject({ status: 200, headers: ['Content-Type', 'a/b', 'Content-Length', '3000000'], outcome: { kind: 'sent' } })
    await until(() => messages.some((message) => message.endsWith('ended')))
    expect(messages.filter((message) => message.includes('SIG'))).toEqual([])
  })

  test('that ends in time is a whole value with its length; one that takes longer is a stream', async () => {
    const quick = await run(`${HEAD}; printf a; printf b`, {}, { limits: { holdTime: 5000 } })
    expect(quick.headers).toEqual(['Content-Type', 'text/plain', 'Content-Length', '2'])
    const slow = await run(`${HEAD}; printf a; sleep 0.3; printf b`, {}, { limits: { holdTime: 5 } })
    expect([slow.headers, slow.body.toString()]).toEqual([['Content-Type', 'text/plain'], 'ab'])
  })

  test('that is a local redirect is left to the site (RFC 3875, 6.2.2)', async () => {
    const response = await host("printf 'Location: /other?x=1\\n\\n'")(makeRequest())
    expect(response).toMatchObject({ internal: { redirect: '/other?x=1' }, headers: [], body: null })
  })

  test('that redirects the client is passed on', async () => {
    expect(await run("printf 'Location: https://example.org/\\n\\n'")).toMatchObject({
      status: 302,
      headers: ['Location', 'https://example.org/'],
    })
    expect(await run("printf 'Location: /x\\nStatus: 301\\n\\n'")).toMatchObject({ status: 301, headers: ['Location', '/x'] })
  })

  test('never frames the message on our own connection (CVE-2024-24795, CVE-2023-38709)', async () => {
    const answer = await run(
      "printf 'Content-Type: a/b\\nTransfer-Encoding: chunked\\nConnection: keep-alive\\nTrailer: x\\n\\n5\\r\\nhello'",
    )
    expect(answer.headers).toEqual(['Content-Type', 'a/b'])
  })

  test.each([
    ['a NUL', "printf 'Content-Type: a\\000b\\n\\n'"],
    ['a bare CR', "printf 'X: a\\rSet-Cookie: b\\n\\n'"],
    ['a contradiction of lengths', "printf 'Content-Length: 1\\nContent-Length: 2\\n\\nab'"],
    ['no field', 'echo; echo hello'],
    ['a message of the shell', 'echo "sh: 1: oops"; exit 0'],
    ['nothing at all', 'exit 0'],
  ])('with %s is 502', async (_, text) => {
    const answer = await run(text)
    expect(answer).toMatchObject({ status: 502, headers: [] })
    expect(answer.errors).toMatch(/cgi: \S+ \(pid \d+\):/)
  })

  test('of a program named nph- is refused unless enabled, then read and said again', async () => {
    const path = script("printf 'HTTP/1.1 202 Fine\\r\\nX: y\\r\\nConnection: close\\r\\n\\r\\nbody'", 'nph-a.cgi')
    const refusing = cgi({ script: path, spawner })
    const allowing = cgi({ script: path, spawner, nph: true, limits: { holdTime: 0 } })
    open.push(refusing, allowing)
    expect(await ask(refusing)).toMatchObject({ status: 500, errors: expect.stringContaining('nph') })
    const answer = await ask(allowing)
    expect(answer).toMatchObject({ status: 202, reason: 'Fine', headers: ['X', 'y'] })
    expect(answer.body.toString()).toBe('body')
  })
})

describe('a program that fails', () => {
  test.each([
    ['exits with a status', 'exit 3', /\(pid \d+\) exited with status 3 before/],
    ['exits with a status in the middle of its head', "printf 'Content-Type: a'; exit 3", /exited with status 3/],
    ['dies of a signal', 'kill -SEGV $$', /was ended by SIGSEGV/],
  ])('and %s before it answers is 500, with the facts in the log', async (_, text, facts) => {
    const answer = await run(text)
    expect(answer).toMatchObject({ status: 500, headers: [] })
    expect(answer.body.length).toBe(0)
    expect(answer.errors).toMatch(facts)
  })

  test.each([
    ['is killed in the middle', `${HEAD}; echo half; kill -KILL $$`],
    ['stops short of its Content-Length', "printf 'Content-Type: a/b\\nContent-Length: 10\\n\\nhalf'"],
    ['stops short of its Content-Length and fails', "printf 'Content-Type: a/b\\nContent-Length: 10\\n\\nhalf'; exit 1"],
  ])('and %s of its body never makes a clean end', async (_, text) => {
    const answer = await run(text)
    expect(answer).toMatchObject({ status: 200, outcome: { kind: 'failed' } })
    expect(answer.body.toString().trim()).toBe('half')
  })

  test.each([
    ['is killed', `${HEAD}; echo half; kill -KILL $$`],
    ['stops short of its Content-Length', "printf 'Content-Type: a/b\\nContent-Length: 10\\n\\nhalf'"],
  ])('and %s while its answer is held is 502, and nothing of it is sent', async (_, text) => {
    const answer = await run(text, {}, { limits: { holdTime: 5000 } })
    expect([answer.status, answer.headers, answer.body.length]).toEqual([502, [], 0])
  })

  test('after a whole answer is a matter of the log', async () => {
    const answer = await run(`${HEAD}; echo whole; exit 4`)
    expect(answer).toMatchObject({ status: 200, outcome: { kind: 'sent' } })
    expect(messages.join('\n')).toMatch(/\[\d+\] answered, and exited with status 4/)
  })

  test.each([
    ['is not there', '/nonexistent.cgi', /does not exist/],
    ['is not executable', '/etc/passwd', /not executable/],
  ])('since it %s is 500, and says why', async (_, path, why) => {
    const backend = cgi({ script: path, spawner })
    open.push(backend)
    expect(await ask(backend)).toMatchObject({ status: 500, errors: expect.stringMatching(why) })
    await expect(backend.ready()).rejects.toMatchObject({ code: 'PROGRAM_FAILED' })
    expect(backend.counts().busy).toBe(0)
  })

  test('since its arguments are too long is 431', async () => {
    expect(await run('echo', { headers: { 'x-long': 'x'.repeat(140_000) } })).toMatchObject({ status: 431 })
  })
})

describe('standard error', () => {
  test('goes to the log of the request, each line with program and pid, and harmless', async () => {
    const answer = await run(`echo "first" >&2; printf 'two\\033[2Jx\\nthree' >&2; ${HEAD}; echo $$`)
    const pid = answer.body.toString().trim()
    await until(() => messages.some((message) => message.endsWith('ended')))
    const lines = answer.errors.trimEnd().split('\n')
    expect(lines).toEqual([
      expect.stringMatching(new RegExp(`^s\\d+\\.cgi\\[${pid}\\]: first$`)),
      expect.stringMatching(/: two\\x1b\[2Jx$/),
      expect.stringMatching(/: three$/),
    ])
  })

  test('is passed on up to its limit', async () => {
    const answer = await run(`for i in 1 2 3 4 5 6 7 8 9; do echo "line $i" >&2; done; ${HEAD}`, {}, { limits: { stderr: 20 } })
    expect(answer.errors).toContain('line 2')
    expect(answer.errors).toContain('[more than 20 bytes on standard error')
    expect(answer.errors).not.toContain('line 5')
  })
})

describe('a path', () => {
  test.each([
    ['an encoded slash (CVE-2024-38474)', '/x/a%2Fb', 404],
    ['an encoded slash in small letters', '/x/a%2fb', 404],
    ['an encoded backslash', '/x/a%5cb', 404],
  ])('with %s is refused, and nothing is started', async (_, target, status) => {
    expect(await run(HEAD, { target, scriptName: '/x' })).toMatchObject({ status })
    expect(messages).toEqual([])
  })

  test.each([
    ['a line break (CVE-2019-11043)', { pathInfo: '/a\nb' }],
    ['a NUL (caddy#4614)', { pathInfo: '/a\0b' }],
    ['a DEL in the script', { scriptName: '/\x7f' }],
  ])('with %s is 400', async (_, parts) => {
    expect(await run(HEAD, parts)).toMatchObject({ status: 400 })
  })
})

// A child of the shell that would hold everything if only the shell were ended.
const stuck = (name: string): string => `sleep 600 & echo $$ > ${name}; echo $! >> ${name}`

describe('a deadline', () => {
  test('for the head is 504, and the whole group is gone', async () => {
    const answer = await run(`${stuck('head.pid')}; wait`, {}, { limits: { firstByte: 150 } })
    expect(answer).toMatchObject({ status: 504, errors: expect.stringMatching(/\(pid \d+\) did not answer within 150 ms/) })
    for (const pid of await pidsIn('head.pid', 2)) await until(() => !alive(pid))
  })

  test('is kept though SIGTERM is ignored', async () => {
    const answer = await run(`trap '' TERM; ${stuck('term.pid')}; while :; do sleep 1; done`, {}, { limits: { firstByte: 150, kill: 100 } })
    expect(answer.status).toBe(504)
    for (const pid of await pidsIn('term.pid', 2)) await until(() => !alive(pid))
  })

  test('does not pass for a program that answered in time while this process was held up', async () => {
    const answer = ask(host(`echo $$ > stalled.pid; sleep 0.05; ${HEAD}; echo whole`, { limits: { firstByte: 150, linger: 20 } }))
    await pidsIn('stalled.pid', 1)
    const end = performance.now() + 400
    while (performance.now() < end);
    expect((await answer).body.toString()).toBe('whole\n')
  })

  test('for the next piece of body cuts the answer', async () => {
    const answer = await run(`${HEAD}; echo half; ${stuck('idle.pid')}; wait`, {}, { limits: { idle: 150 } })
    expect(answer).toMatchObject({ status: 200, outcome: { kind: 'failed', error: { code: 'TIMEOUT' } } })
    for (const pid of await pidsIn('idle.pid', 2)) await until(() => !alive(pid))
  })

  test('for the whole run holds though something comes all the time', async () => {
    const answer = await run(`${HEAD}; while :; do echo x; sleep 0.02; done`, {}, { limits: { time: 300 } })
    expect(answer).toMatchObject({
      status: 200,
      outcome: { kind: 'failed', error: { code: 'TIMEOUT', message: expect.stringContaining('ran longer than 300 ms') } },
    })
  })

  test('ends what a program left that holds its output', async () => {
    const answer = await run(`${HEAD}; echo whole; ${stuck('orphan.pid')}`, {}, { limits: { linger: 150 } })
    expect(answer).toMatchObject({ status: 200, outcome: { kind: 'sent' } })
    expect(answer.body.toString()).toBe('whole\n')
    expect(messages.join('\n')).toContain('processes it left kept its output open')
    const pids = await pidsIn('orphan.pid', 2)
    for (const pid of pids) await until(() => !alive(pid))
  })

  test('lets alone what a program left that has closed its output', async () => {
    const backend = host(`${HEAD}; (exec sleep 600 >/dev/null 2>&1 </dev/null & echo $! > daemon.pid); echo whole`, {
      limits: { linger: 50 },
    })
    expect((await ask(backend)).outcome.kind).toBe('sent')
    const [pid] = await pidsIn('daemon.pid', 1)
    expect(alive(pid!)).toBe(true)
    expect(backend.counts().busy).toBe(0)
    await backend.close(0)
    await until(() => !alive(pid!))
  })

  test('is not needed for a program that closes its output and goes on', async () => {
    const backend = host(`${HEAD}; echo whole; exec >&- <&-; sleep 0.5; echo done > later`, { limits: { linger: 50 } })
    const answer = await ask(backend)
    expect(answer.outcome.kind).toBe('sent')
    expect(backend.counts().busy).toBe(1)
    await until(() => backend.counts().busy === 0)
    expect(readFileSync(join(folder, 'later'), 'utf8')).toBe('done\n')
  })
})

describe('a flood', () => {
  test('in the head is 502, and the program is ended', async () => {
    const answer = await run('echo $$ > flood.pid; exec cat /dev/zero')
    expect(answer).toMatchObject({ status: 502, errors: expect.stringContaining('65536') })
    const [pid] = await pidsIn('flood.pid', 1)
    await until(() => !alive(pid!))
  })

  test('in the body is cut at the limit of output', async () => {
    const answer = await run(`${HEAD}; exec cat /dev/zero`, {}, { limits: { output: 1_000_000 } })
    expect(answer.outcome).toMatchObject({ kind: 'failed', error: { status: 502, message: expect.stringContaining('1000000 bytes') } })
    expect(answer.body.length).toBeLessThan(1_100_000)
  })

  test('waits for a client that takes nothing: the program is held back, and nothing piles up', async () => {
    const answer = ask(host(`echo $$ > held.pid; ${HEAD}; exec head -c 20000000 /dev/zero`), { reader: 'held' })
    const [pid] = await pidsIn('held.pid', 1)
    const written = (): number => Number(/^wchar: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))![1])
    let before = -1
    // It stands still when it has written no more for a while.
    await until(async () => {
      const last = before
      before = written()
      await new Promise((resolve) => {
        setTimeout(resolve, 100)
      })
      return before === last && before > 0
    })
    expect(before).toBeLessThan(2_000_000)
    answer.release()
    const whole = await answer
    expect(whole.outcome.kind).toBe('sent')
    expect(whole.body.length).toBe(20_000_000)
  })

  test('for a client that takes nothing for too long is cut', async () => {
    const answer = ask(host(`echo $$ > never.pid; ${HEAD}; exec cat /dev/zero`, { limits: { idle: 150 } }), { reader: 'held' })
    const [pid] = await pidsIn('never.pid', 1)
    await until(() => !alive(pid!))
    answer.release()
    expect((await answer).outcome).toMatchObject({ kind: 'failed', error: { message: expect.stringContaining('its client took nothing') } })
  })
})

describe('a client that leaves', () => {
  test('before the head ends the program', async () => {
    const answer = ask(host('sleep 600 & echo $$ > gone.pid; echo $! >> gone.pid; wait'))
    const pids = await pidsIn('gone.pid', 2)
    answer.abort()
    for (const pid of pids) await until(() => !alive(pid))
  })

  test('in the middle of the body ends the program', async () => {
    const answer = ask(host(`echo $$ > middle.pid; ${HEAD}; echo x; exec sleep 600`))
    await until(() => answer.received() > 0)
    answer.abort()
    const [pid] = await pidsIn('middle.pid', 1)
    await until(() => !alive(pid!))
  })

  test('while it waits for a place leaves no trace', async () => {
    const backend = host(`echo $$ >> wait.pid; ${HEAD}; exec sleep 600`, { limits: { concurrency: 1 } })
    const first = ask(backend)
    await pidsIn('wait.pid', 1)
    const second = ask(backend)
    await until(() => backend.counts().waiting === 1)
    second.abort()
    await until(() => backend.counts().waiting === 0)
    first.abort()
    await until(() => backend.counts().busy === 0)
    expect((await pidsIn('wait.pid', 1)).length).toBe(1)
  })

  test('is one who discards the response, too', async () => {
    const response = await host(`echo $$ > discard.pid; ${HEAD}; exec sleep 600`)(makeRequest())
    discard(response)
    const [pid] = await pidsIn('discard.pid', 1)
    await until(() => !alive(pid!))
  })
})

const descriptors = (): number => readdirSync('/proc/self/fd').length

describe('places', () => {
  test('are never more than the cap, the queue is bounded, and who finds it full is told so at once', async () => {
    const text = `echo x >> running.$$; ls running.* | wc -l > seen.$$; ${HEAD}; sleep 0.05; rm running.$$; echo ok`
    const backend = host(text, { limits: { concurrency: 4, queue: 10 } })
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask(backend)))
    const refused = answers.filter(({ status }) => status === 503)
    expect(answers.filter(({ status }) => status === 200).length).toBe(14)
    expect(refused.length).toBe(86)
    for (const { headers, errors } of refused) {
      expect(headers).toEqual(['Retry-After', expect.stringMatching(/^\d+$/)])
      expect(errors).toContain('10 requests waiting')
    }
    const seen = readdirSync(folder).filter((name) => name.startsWith('seen.'))
    expect(seen.length).toBe(14)
    expect(Math.max(...seen.map((name) => Number(readFileSync(join(folder, name), 'utf8'))))).toBeLessThanOrEqual(4)
    await until(() => backend.counts().idle === 4)
    expect(backend.counts()).toEqual({ idle: 4, busy: 0, waiting: 0 })
  })

  test('that do not come free in time are a 503', async () => {
    const backend = host(`${HEAD}; exec sleep 600`, { limits: { concurrency: 1, queueTimeout: 100 } })
    const first = ask(backend)
    await until(() => backend.counts().busy === 1)
    expect(await ask(backend)).toMatchObject({ status: 503, errors: expect.stringContaining('100 ms') })
    first.abort()
  })

  test('are all free again after every kind of end, and no descriptor is left', async () => {
    const texts = [`${HEAD}; echo ok`, 'exit 1', 'kill -KILL $$', 'echo; echo', `${HEAD}; echo half; kill -KILL $$`, 'cat /dev/zero']
    const backends = texts.map((text) => host(text))
    await Promise.all(backends.map((backend) => ask(backend)))
    await until(() => backends.every((backend) => backend.counts().busy === 0))
    const before = descriptors()
    for (let round = 0; round < 5; round++) {
      await Promise.all(backends.map((backend, i) => ask(backend, i % 2 === 0 ? {} : { method: 'POST', body: Buffer.alloc(1_500_000) })))
    }
    await until(() => backends.every((backend) => backend.counts().busy === 0))
    await until(() => descriptors() <= before)
  })
})

describe('a helper that is killed', () => {
  test('takes its programs with it, and later ones run', async () => {
    const backend = host(`echo $$ >> helper.pid; ${HEAD}; echo half; exec sleep 600`)
    const unanswered = host('echo $$ >> helper.pid; exec sleep 600')
    const answers = [ask(backend), ask(backend), ask(unanswered), ask(unanswered)]
    const pids = await pidsIn('helper.pid', 4)
    for (const pid of spawner.pids) process.kill(pid, 'SIGKILL')
    const [first, second, third, fourth] = await Promise.all(answers)
    for (const answer of [first, second]) expect(answer).toMatchObject({ status: 200, outcome: { kind: 'failed' } })
    for (const answer of [third, fourth]) expect(answer).toMatchObject({ status: 503, errors: expect.stringContaining('SIGKILL') })
    for (const pid of pids) await until(() => !alive(pid))
    // Waits for the helper that takes their place.
    expect((await run(`${HEAD}; echo again`)).body.toString()).toBe('again\n')
    expect(backend.counts().busy).toBe(0)
  })
})

describe('closing', () => {
  test('lets what runs end, and takes nothing new', async () => {
    const backend = host(`echo $$ > closing.pid; ${HEAD}; sleep 0.3; echo whole`)
    const answer = ask(backend)
    await pidsIn('closing.pid', 1)
    const closed = backend.close(10_000)
    expect(await ask(backend)).toMatchObject({ status: 503 })
    expect((await answer).body.toString()).toBe('whole\n')
    await closed
  })

  test('ends after its grace what still runs, and nothing is left', async () => {
    const backend = host(`trap '' TERM; sleep 600 & echo $$ > grace.pid; echo $! >> grace.pid; ${HEAD}; echo half; wait; sleep 600`, {
      limits: { kill: 100 },
    })
    const answer = ask(backend)
    const pids = await pidsIn('grace.pid', 2)
    await backend.close(50)
    expect((await answer).outcome).toMatchObject({ kind: 'failed', error: { code: 'CLOSED' } })
    for (const pid of pids) await until(() => !alive(pid))
    await backend.close()
  })

  test('ends a spawner of its own', async () => {
    const backend = cgi({ script: script(`${HEAD}; echo $PPID`) })
    await backend.ready()
    const helper = Number((await ask(backend)).body.toString())
    expect(alive(helper)).toBe(true)
    await backend.close()
    await until(() => !alive(helper))
  })
})

describe('options', () => {
  test.each<[string, CgiOptions]>([
    ['a relative script', { script: 'x.cgi' }],
    ['a relative root', { script: '/x', documentRoot: 'www' }],
    ['arguments for an interpreter (CVE-2012-1823)', { script: '/x', interpreter: ['/usr/bin/php-cgi'], queryArguments: true }],
    ['no places', { script: '/x', limits: { concurrency: 0 } }],
    ['a variable that is computed', { script: '/x', env: { REMOTE_ADDR: '127.0.0.1' } }],
  ])('with %s are refused', (_, options) => {
    expect(() => cgi({ spawner, ...options })).toThrow(expect.objectContaining({ code: 'CONFIG' }))
  })
})

test('a response whose body is not read keeps its program waiting, not this process', async () => {
  const response = await host(`${HEAD}; head -c 300000 /dev/zero`)(makeRequest())
  expect((await collect(response.body as ByteStream)).length).toBe(300_000)
})
