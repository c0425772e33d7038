// A worker with the connection it is reached by, and what is sent to it.

import { enumerate } from '../core/index.ts'
import type { ByteString, GatewayRequest, Log, Spooled } from '../core/index.ts'
import { Role, encodeRequest } from '../fastcgi/index.ts'
import type { Connection } from '../fastcgi/index.ts'
import { Scoreboard } from '../process/index.ts'
import type { Worker } from './worker.ts'

export interface Seat {
  readonly worker: Worker
  connection: Connection
}

/** Up to the end of the parameters (FastCGI 1.0, 6.1). */
export function headOf(request: GatewayRequest, body: Spooled | undefined): ByteString {
  const given = body === undefined ? {} : { contentLength: body.length }
  return encodeRequest(1, Role.Responder, true, (emit) => enumerate(request, emit, given))
}

export function boardOf(name: string, command: string, slow: number, log: Log): Scoreboard {
  return new Scoreboard({ name, kind: 'fcgi-program', interpreter: { mode: 'native', name: command }, slow, log })
}
