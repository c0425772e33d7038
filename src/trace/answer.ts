// STDOUT of one request divided into its head and its body, for looking at: what is wrong is noted and not thrown.

import { GatewayError, HEAD_LIMIT, describe, headEnd, parseHead } from '../core/index.ts'
import type { CgiHead } from '../core/index.ts'
import { GrowingBuffer } from './growing.ts'

export class AnswerReader {
  /** Once the blank line has come, and the block is one that a web server would take. */
  head: CgiHead | undefined
  /** Why a web server would not take it. */
  problem: string | undefined
  /** Bytes of STDOUT that are not body. */
  headLength = 0
  #block: GrowingBuffer | undefined = new GrowingBuffer()

  /** Takes the next bytes of STDOUT; returns how many of them, from the first, still belong to the head. */
  push(content: Buffer): number {
    const block = this.#block
    if (block === undefined) return 0
    const before = block.length
    block.append(content)
    const end = headEnd(block.view, before)
    if (Math.max(end, end === -1 ? block.length : 0) > HEAD_LIMIT) {
      this.problem = `the answer's head is over ${HEAD_LIMIT} bytes`
      this.#block = undefined
    } else if (end !== -1) this.#read(block.view.toString('latin1', 0, end))
    const length = this.#block === undefined && end !== -1 ? end - before : content.length
    this.headLength += length
    return length
  }

  #read(text: string): void {
    this.#block = undefined
    try {
      this.head = parseHead(text)
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      this.problem = describe(error).replace(/^core: response head: /, '')
    }
  }
}
