// A file on its way to the client: read into a few reused buffers, two at a time at most, so that one is read while the other is
// written. A buffer goes back in the write callback and is never seen outside the door.

import { read } from 'node:fs'
import { READ_SIZE } from '../core/index.ts'
import type { FileSlice, GatewayResponse } from '../core/index.ts'
import type { Exchange, Sender } from './exchange.ts'
import { Head, contract } from './head.ts'
import { mismatch, writeHead } from './send.ts'

/** Buffers of READ_SIZE that may be out at a time, over all connections: 16 MiB. Beyond, reads are small. */
const OUT_LIMIT = 64
/** Of those that came back, how many are kept: 2 MiB. */
const KEPT_LIMIT = 8
const SMALL = 32_768

const kept: Buffer[] = []
let out = 0

function take(wanted: number): Buffer {
  if (wanted <= SMALL || out >= OUT_LIMIT) return Buffer.allocUnsafeSlow(Math.min(wanted, SMALL))
  out++
  return kept.pop() ?? Buffer.allocUnsafeSlow(READ_SIZE)
}

/** @param reusable false when a write of it failed: who knows what still looks at it. */
function give(buffer: Buffer, reusable: boolean): void {
  if (buffer.length !== READ_SIZE) return
  out--
  if (reusable && kept.length < KEPT_LIMIT) kept.push(buffer)
}

export class FileSender implements Sender {
  readonly #exchange: Exchange
  readonly #response: GatewayResponse
  readonly #slice: FileSlice
  readonly #head: Head
  #position: number
  #left: number
  #reading = false
  #writing = 0
  #open = false
  #over = false

  /** Throws CONTRACT for a Content-Length that is not the slice's. */
  constructor(exchange: Exchange, response: GatewayResponse, slice: FileSlice) {
    this.#exchange = exchange
    this.#response = response
    this.#slice = slice
    this.#head = new Head(response)
    this.#position = slice.start
    this.#left = slice.length
    if (this.#head.length === undefined) this.#head.add('Content-Length', String(slice.length))
    else if (this.#head.length !== slice.length)
      throw contract(`Content-Length is ${this.#head.length}, the file has ${slice.length} bytes`)
  }

  start(): void {
    if (this.#left > 0) {
      this.#exchange.sender = this
      this.#next()
      return
    }
    writeHead(this.#exchange, this.#response, this.#head)
    this.#slice.close()
    this.#exchange.end()
  }

  /** The write callbacks tell it already. */
  drained(): void {}

  stopped(): void {
    if (this.#over) return
    this.#over = true
    // A read that is under way still uses the descriptor; its callback closes it.
    if (!this.#reading) this.#slice.close()
  }

  #next(): void {
    if (this.#over || this.#reading || this.#left === 0) return
    if (this.#writing === 2) {
      this.#exchange.connection.arm()
      return
    }
    this.#reading = true
    const buffer = take(this.#left)
    read(this.#slice.fd, buffer, 0, Math.min(buffer.length, this.#left), this.#position, (error, count) => {
      this.#reading = false
      if (error === null && count > 0 && !this.#over) this.#write(buffer, count)
      else {
        give(buffer, true)
        this.#broke(error ?? mismatch(this.#slice.length, `the file ended ${this.#left} bytes early`))
      }
    })
  }

  #write(buffer: Buffer, count: number): void {
    const exchange = this.#exchange
    if (!this.#open && !this.#begin()) {
      give(buffer, true)
      return
    }
    this.#position += count
    this.#left -= count
    exchange.bytes += count
    this.#writing++
    exchange.outgoing.write(buffer.subarray(0, count), (error) => {
      this.#writing--
      give(buffer, error === undefined || error === null)
      this.#next()
    })
    if (this.#left > 0) {
      this.#next()
      return
    }
    this.#over = true
    exchange.sender = undefined
    this.#slice.close()
    exchange.end()
  }

  /** The head waits for the first read: until then the client can still be told of an error. */
  #begin(): boolean {
    try {
      writeHead(this.#exchange, this.#response, this.#head)
      return (this.#open = true)
    } catch (error) {
      this.#broke(error)
      return false
    }
  }

  #broke(error: unknown): void {
    this.#slice.close()
    if (this.#over) return
    this.#over = true
    this.#exchange.sender = undefined
    this.#exchange.fail(error)
  }
}
