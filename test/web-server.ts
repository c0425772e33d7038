// A web server made of bytes: what one says to a FastCGI application, in the order and the pieces that a test wants, and what comes back.
//
// Written from the specification (FastCGI 1.0); only its reading of answers uses the decoder that is tested elsewhere.

import { connect, type Socket } from 'node:net'
import { expect } from 'vitest'
import type { Address } from '../src/core/index.ts'
import { RecordDecoder, readEndRequest } from '../src/fastcgi/index.ts'
import { BEGIN_REQUEST, END_REQUEST, STDERR, STDIN, STDOUT, pair, record } from './wire.ts'

export const ABORT_REQUEST = 2
export const PARAMS = 4
export const DATA = 8
export const GET_VALUES = 9

/** What came for one request. */
export interface Reply {
  stdout: string
  stderr: string
  stdoutEnded: boolean
  ended: { appStatus: number; protocolStatus: number } | undefined
}

/** One connection of it. */
export class WebServer {
  readonly socket: Socket
  readonly replies: Map<number, Reply> = new Map()
  readonly management: { type: number; content: Buffer }[] = []
  closed: boolean = false
  received: number = 0
  broken: unknown

  constructor({ address }: { readonly address: Address }) {
    this.socket = 'path' in address ? connect(address.path) : connect(address.port, address.host)
    const reply = (id: number): Reply => {
      const known = this.replies.get(id)
      if (known !== undefined) return known
      const made: Reply = { stdout: '', stderr: '', stdoutEnded: false, ended: undefined }
      this.replies.set(id, made)
      return made
    }
    const decoder = new RecordDecoder({
      data: (type, id, buffer, start, end) => {
        if (type === STDOUT) reply(id).stdout += buffer.toString('latin1', start, end)
        else if (type === STDERR) reply(id).stderr += buffer.toString('utf8', start, end)
      },
      end: (type, id) => {
        if (type === STDOUT) reply(id).stdoutEnded = true
      },
      record: (type, id, buffer, start, end) => {
        if (type === END_REQUEST) reply(id).ended = readEndRequest(buffer, start, end)
        else this.management.push({ type, content: Buffer.from(buffer.subarray(start, end)) })
      },
    })
    this.socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length
      try {
        decoder.push(chunk)
      } catch (error) {
        this.broken = error
      }
    })
    for (const event of ['end', 'close', 'error']) {
      this.socket.on(event, () => {
        this.closed = true
      })
    }
  }

  send(...parts: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts))
  }

  /** The answer to a request, once it has ended. Looks often: hostile tests wait for thousands. */
  async ended(id = 1): Promise<Reply> {
    for (const deadline = performance.now() + 5000; performance.now() < deadline;) {
      const reply = this.replies.get(id)
      if (reply?.ended !== undefined) return reply
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    throw new Error(`request ${id} did not end; so far: ${JSON.stringify(this.replies.get(id))?.slice(0, 500)}`)
  }

  closes(): Promise<void> {
    return expect.poll(() => this.closed, { timeout: 5000 }).toBe(true)
  }
}

export const begin = (id: number, keep = true, role = 1): Buffer =>
  record(BEGIN_REQUEST, id, Buffer.from([role >> 8, role & 255, keep ? 1 : 0, 9, 9, 9, 9, 9]))
export const params = (id: number, variables: Record<string, string> = {}): Buffer => {
  const all: Record<string, string> = {
    REQUEST_METHOD: 'GET',
    REQUEST_URI: '/',
    SCRIPT_NAME: '',
    PATH_INFO: '/',
    SERVER_PROTOCOL: 'HTTP/1.1',
    ...variables,
  }
  return Buffer.concat([
    record(PARAMS, id, Buffer.concat(Object.entries(all).map(([name, value]) => pair(name, value)))),
    record(PARAMS, id),
  ])
}
export const stdin = (id: number, content: string | Uint8Array = ''): Buffer => record(STDIN, id, content)
export const get = (id: number, variables?: Record<string, string>, keep = true): Buffer =>
  Buffer.concat([begin(id, keep), params(id, variables), stdin(id)])

export const bodyOf = (reply: Reply): string => reply.stdout.slice(reply.stdout.indexOf('\r\n\r\n') + 4)

/** The file that a Filter gets. */
export const data = (id: number, content: string | Uint8Array = ''): Buffer => record(DATA, id, content)
