// The head of an answer: which of the application's fields go out, and how the message is framed (RFC 9110, 7.6.1 and 8.6;
// RFC 9112, 6). Framing and the connection are the door's business, whatever the application says about them.

import { GatewayError, getHeader, sameName } from '../core/index.ts'
import type { ByteString, GatewayResponse, HeaderList } from '../core/index.ts'

/** An answer's fields without those that are about a connection, and the length it says it has. */
export class Head {
  list: HeaderList
  /** The application's Content-Length. */
  readonly length: number | undefined = undefined
  #own = false

  constructor(response: GatewayResponse) {
    const list = (this.list = response.headers)
    let length: string | undefined
    let rebuild = false
    for (let i = 0; i < list.length; i += 2) {
      const name = list[i]!
      // By length first, for this runs on every field of every answer.
      switch (name.length) {
        case 14:
          if (!sameName(name, 'content-length')) break
          if (length !== undefined) throw contract('Content-Length is there twice')
          length = list[i + 1]!
          break
        case 19:
          // node:http takes a Content-Disposition behind a Content-Length through UTF-8, and changes its bytes. Before it, not.
          if (length !== undefined && sameName(name, 'content-disposition')) rebuild = true
          break
        case 2:
        case 7:
        case 10:
        case 16:
        case 17:
          if (isHopByHop(name, response.status)) rebuild = true
          break
      }
    }
    if (length !== undefined) {
      this.length = Number(length)
      if (!/^\d+$/.test(length) || !Number.isSafeInteger(this.length)) throw contract(`Content-Length is ${JSON.stringify(length)}`)
    }
    if (rebuild) this.#rebuild(response, length)
  }

  add(name: ByteString, value: ByteString): void {
    if (!this.#own) {
      this.#own = true
      this.list = this.list.slice()
    }
    ;(this.list as ByteString[]).push(name, value)
  }

  /** Without the application's Content-Length, where the message must not or cannot have one. */
  withoutLength(): void {
    if (this.length === undefined) return
    const kept: ByteString[] = []
    const { list } = this
    for (let i = 0; i < list.length; i += 2) if (!sameName(list[i]!, 'content-length')) kept.push(list[i]!, list[i + 1]!)
    this.list = kept
    this.#own = true
  }

  #rebuild(response: GatewayResponse, length: string | undefined): void {
    const all = response.headers
    const named =
      getHeader(all, 'connection')
        ?.toLowerCase()
        .split(/[\s,]+/) ?? []
    const kept: ByteString[] = []
    for (let i = 0; i < all.length; i += 2) {
      const name = all[i]!
      if (isHopByHop(name, response.status) || sameName(name, 'content-length') || named.includes(name.toLowerCase())) continue
      kept.push(name, all[i + 1]!)
    }
    if (length !== undefined) kept.push('Content-Length', length)
    this.list = kept
    this.#own = true
  }
}

function isHopByHop(name: ByteString, status: number): boolean {
  switch (name.length) {
    case 2:
      return sameName(name, 'te')
    case 7:
      // RFC 9110, 15.5.22: a 426 must say to what.
      return status !== 426 && sameName(name, 'upgrade')
    case 10:
      return sameName(name, 'connection') || sameName(name, 'keep-alive')
    case 16:
      return sameName(name, 'proxy-connection')
    case 17:
      return sameName(name, 'transfer-encoding')
    default:
      return false
  }
}

export function contract(fact: string): GatewayError {
  return new GatewayError('CONTRACT', { status: 500, message: `http: the application's answer cannot be sent: ${fact}` })
}
