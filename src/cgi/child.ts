// Being a CGI program: the one request is in the environment and on standard input, the answer goes to standard output
// (RFC 3875, 6). The other side of cgi.ts; any server may be there.

import { readFileSync } from 'node:fs'
import { STATUS_CODES } from 'node:http'
import {
  Channel,
  FileSlice,
  GatewayError,
  Scope,
  describe,
  discard,
  emptyBody,
  encodeHead as encodeAnswerHead,
  hasHeader,
  isBodyless,
  isFieldValue,
  pump,
  statusOf,
  toByteString,
} from '../core/index.ts'
import type { Application, ByteStream, GatewayResponse } from '../core/index.ts'
import { ChildRequest, contentLengthOf, parseEnvironment } from './child-request.ts'
import type { Environment } from './child-request.ts'

/**
 * Answers the one request that this process was started for. Resolves when the answer is written and the work of `waitUntil` is
 * done. What goes wrong before the header block is a status and a line on standard error; after it, this process ends itself
 * with a signal, so that the server cannot take half an answer for a whole one.
 * Throws CONFIG when this process is no CGI program.
 */
export async function serveCgi(application: Application): Promise<void> {
  const env = readEnvironment()
  if (!env.has('GATEWAY_INTERFACE') && !env.has('REQUEST_METHOD')) {
    throw new GatewayError('CONFIG', {
      status: 500,
      message: 'cgi: serveCgi: no request in the environment; a server must start this program (RFC 3875)',
    })
  }
  const work: Promise<unknown>[] = []
  const scope = new Scope((each) => work.push(each.catch(complain)))
  const stop = (): void => {
    scope.finish({ kind: 'cut', status: 0, bytes: sent.bytes })
    die()
  }
  // The server sends this when the client has gone: listeners of the request hear of it first.
  process.once('SIGTERM', stop)
  const sent = { status: 0, bytes: 0 }
  try {
    await answer(application, env, scope, sent)
    scope.finish({ kind: 'sent', ...sent })
  } catch (error) {
    complain(error)
    scope.finish({ kind: 'failed', ...sent, error })
    // Not flushed is not lost: what was written so far is out.
    if (sent.status !== 0) die()
    else await write(`Status: ${line(statusOf(error))}\r\nContent-Length: 0\r\n\r\n`).catch(() => {})
  } finally {
    process.removeListener('SIGTERM', stop)
    await Promise.all(work)
    // A body that nobody read must not keep this process.
    process.stdin.destroy()
  }
}

async function answer(application: Application, env: Environment, scope: Scope, sent: { status: number; bytes: number }): Promise<void> {
  const length = contentLengthOf(env)
  const errors = { write: (text: string) => void process.stderr.write(text) }
  const request = new ChildRequest(env, { body: length === 0 ? emptyBody : standardInput(length), errors, scope })
  const response = await application(request)
  try {
    const head = encodeHead(response)
    if (isBodyless(request.method, response.status) || response.internal !== undefined) discard(response)
    sent.status = response.status
    await write(Buffer.from(head, 'latin1'))
    if (isBodyless(request.method, response.status) || response.internal !== undefined) return
    await writeBody(response.body, sent)
  } catch (error) {
    discard(response, error)
    throw error
  }
}

/** The header block of an answer. Throws CONTRACT for a field that would not be one, or a length that is not the body's. */
export function encodeHead(response: GatewayResponse): string {
  const { internal, body, headers } = response
  if (internal !== undefined) {
    // A local redirect has no other field (RFC 3875, 6.2.2).
    if ('redirect' in internal && isFieldValue(internal.redirect)) return `Location: ${internal.redirect}\r\n\r\n`
    throw new GatewayError('CONTRACT', {
      status: 500,
      message: 'cgi: serveCgi: an internal result that a CGI program cannot ask its server for',
    })
  }
  // To HEAD, null may stand for a body of any length.
  const length = body === null && hasHeader(headers, 'content-length') ? undefined : lengthOf(response)
  return encodeAnswerHead(response, length).text
}

function line(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? 'Unknown'}`
}

function lengthOf({ body }: GatewayResponse): number | undefined {
  if (body === null) return 0
  if (typeof body === 'string') return Buffer.byteLength(body)
  return body instanceof Uint8Array || body instanceof FileSlice ? body.length : undefined
}

async function writeBody(body: GatewayResponse['body'], sent: { bytes: number }): Promise<void> {
  if (body === null) return
  if (typeof body === 'string' || body instanceof Uint8Array) {
    await write(body)
    sent.bytes += typeof body === 'string' ? Buffer.byteLength(body) : body.length
    return
  }
  await writeStream(body instanceof FileSlice ? body.stream() : body, sent)
}

/** At the pace of whoever reads our output. */
function writeStream(stream: ByteStream, sent: { bytes: number }): Promise<void> {
  const { stdout } = process
  return new Promise((resolve, reject) => {
    const broken = (error: Error): void => {
      stream.cancel(error)
      reject(error)
    }
    const source = pump(stream, {
      write(chunk) {
        sent.bytes += chunk.length
        return stdout.write(chunk)
      },
      writeAll(chunks) {
        let more = true
        stdout.cork()
        for (const chunk of chunks) {
          sent.bytes += chunk.length
          more = stdout.write(chunk)
        }
        stdout.uncork()
        return more
      },
      end() {
        // Called when everything before it is out.
        stdout.write('', () => resolve())
      },
      fail: reject,
      cancelled: reject,
    })
    stdout.on('drain', () => source.resume())
    stdout.once('error', broken)
  })
}

function write(chunk: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.once('error', reject)
    process.stdout.write(chunk, (error) => {
      process.stdout.removeListener('error', reject)
      if (error === null || error === undefined) resolve()
      else reject(error)
    })
  })
}

/** Exactly so many bytes of standard input (RFC 3875, 4.2): some servers do not close it after them. */
function standardInput(length: number): ByteStream {
  const { stdin } = process
  let left = length
  const short = (): void => {
    if (left === 0) return
    channel.fail(
      new GatewayError('BODY_LENGTH_MISMATCH', { status: 400, message: `cgi: standard input ended ${left} bytes before CONTENT_LENGTH` }),
    )
  }
  const channel: Channel = new Channel({
    onStart() {
      stdin.on('data', (chunk: Buffer) => {
        const part = chunk.length > left ? chunk.subarray(0, left) : chunk
        left -= part.length
        const more = channel.write(part)
        if (left === 0) channel.end()
        if (left === 0 || !more) stdin.pause()
      })
      stdin.once('end', short)
      stdin.once('error', short)
    },
    onDrain: () => stdin.resume(),
    onCancel: () => stdin.pause(),
  })
  return channel
}

/** The environment as bytes: what Node makes of it is lossy where it is not UTF-8. */
function readEnvironment(): Environment {
  try {
    return parseEnvironment(readFileSync('/proc/self/environ', 'latin1'))
  } catch {
    return new Map(Object.entries(process.env).map(([name, value]) => [toByteString(name), toByteString(value ?? '')]))
  }
}

function complain(error: unknown): void {
  process.stderr.write(`${describe(error)}\n`)
}

/** Only an end by a signal tells the server that what it has is not all. */
function die(): void {
  process.removeAllListeners('SIGTERM')
  process.kill(process.pid, 'SIGTERM')
}
