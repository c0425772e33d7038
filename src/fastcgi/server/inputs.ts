// The inputs of one request, from the application's side: PARAMS, then STDIN, then for a Filter DATA, each to its end before the next
// one begins (FastCGI 1.0, 6).

import { GatewayError } from '../../core/index.ts'
import type { HeaderList } from '../../core/index.ts'
import { PairDecoder } from '../params.ts'
import { protocolError } from '../record.ts'
import type { DataInput } from './filter.ts'
import type { InputBody } from './input.ts'

export class Inputs {
  /** The request's body; undefined where there is none, and before its variables are there. */
  stdin: InputBody | undefined = undefined
  /** The file that a Filter gets. */
  data: DataInput | undefined = undefined
  stdinEnded = false
  readonly #id: number
  #params: PairDecoder | undefined

  constructor(id: number, limits: { readonly params: number; readonly pairs: number }) {
    this.#id = id
    this.#params = new PairDecoder({ bytes: limits.params, pairs: limits.pairs })
  }

  takeParams(bytes: Buffer, start: number, end: number): void {
    if (this.#params === undefined) throw this.#disorder('PARAMS go on after their end')
    this.#params.push(bytes, start, end)
  }

  endParams(): HeaderList {
    if (this.#params === undefined) throw this.#disorder('PARAMS end twice')
    const pairs = this.#params.end()
    this.#params = undefined
    return pairs
  }

  /** Keeps what came until the socket read is over. @returns whether it is the first of it. */
  takeStdin(bytes: Buffer, start: number, end: number): boolean {
    if (this.#params !== undefined) throw this.#disorder('STDIN before the end of PARAMS')
    if (this.stdinEnded) throw this.#disorder('STDIN goes on after its end')
    return this.stdin?.add(bytes.subarray(start, end)) === true
  }

  endStdin(): void {
    if (this.#params !== undefined) throw this.#disorder('STDIN before the end of PARAMS')
    this.stdinEnded = true
  }

  /** Like STDIN, and of interest to Filters only. */
  takeData(bytes: Buffer, start: number, end: number): boolean {
    const { data } = this
    if (data === undefined) return false
    if (!this.stdinEnded) throw this.#disorder('DATA before the end of STDIN')
    if (data.input.ended) throw this.#disorder('DATA goes on after its end')
    return data.input.add(bytes.subarray(start, end))
  }

  endData(): void {
    if (this.data !== undefined && !this.stdinEnded) throw this.#disorder('DATA before the end of STDIN')
    this.data?.input.end()
  }

  /** Whether the connection must wait for a reader. */
  holdsUp(shared: boolean): boolean {
    return this.stdin?.holdsUp(shared) === true || this.data?.input.holdsUp(shared) === true
  }

  /** Fails what somebody waits for, if nothing of it has come since before `tick`. */
  expire(tick: number, error: () => GatewayError): void {
    this.stdin?.expire(tick, error)
    this.data?.input.expire(tick, error)
  }

  /** Whoever still reads must not wait for what is ignored from now on. Most have read everything, and an error is dear. */
  fail(error: () => unknown): void {
    const { stdin, data } = this
    if (stdin?.open === true) stdin.fail(error())
    if (data?.input.open === true) data.input.fail(error())
  }

  #disorder(fact: string): GatewayError {
    return protocolError(`${fact} (request ${this.#id})`)
  }
}
