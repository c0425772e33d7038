// FCGI_STDERR of one request, from the application's side: as UTF-8, at once, for whoever reads an error log wants to know before the
// answer is over. Bounded: what goes beyond, or comes after the end, goes to our own log.

import type { ErrorStream } from '../../core/index.ts'
import { Type } from '../record.ts'
import type { ServerExchange } from './exchange.ts'
import { textRecords } from './records.ts'

/** Bytes that one request may send. */
const STDERR_LIMIT = 65_536

export class RequestErrors implements ErrorStream {
  readonly #exchange: ServerExchange
  #said = 0

  constructor(exchange: ServerExchange) {
    this.#exchange = exchange
  }

  write(text: string): void {
    const bytes = Buffer.from(text, 'utf8').toString('latin1')
    // An empty record would be the end of the stream.
    if (bytes === '') return
    this.#said += bytes.length
    const { connection, facts, id, outcome } = this.#exchange
    if (outcome === undefined && this.#said <= STDERR_LIMIT) connection.write(textRecords(Type.Stderr, id, bytes))
    else connection.door.log.warn({ method: facts?.method, target: facts?.target }, text.trimEnd())
  }
}
