// Records for people: one line each with what it is, and what it says below.

import { describe } from '../core/index.ts'
import { PairDecoder, Type, decodePairs, isStream, readBeginRequest, readEndRequest } from '../fastcgi/index.ts'
import { roleName, statusName, typeName } from '../trace/index.ts'
import type { Direction, TraceRecord } from '../trace/index.ts'
import type { Colours } from './colours.ts'
import { milliseconds, preview, shown } from './request-text.ts'

/** Requests whose variables are put together at once. */
const OPEN_LIMIT = 1024

/** Beside the name of a record, and below it. */
interface Said {
  readonly note: string
  readonly lines: readonly string[]
}

/** Prints records in the order they are given. One for all connections. */
export class RecordPrinter {
  readonly #c: Colours
  readonly #write: (text: string) => void
  /** Variables may be cut at the borders of records; by connection and id. */
  readonly #params = new Map<string, PairDecoder>()

  constructor(c: Colours, write: (text: string) => void) {
    this.#c = c
    this.#write = write
  }

  /** `connection` is shown where there are several. */
  print(direction: Direction, record: TraceRecord, time: number, connection?: number): void {
    const c = this.#c
    const { type, id, content, length } = record
    const arrow = direction === 'to' ? c.cyan('>') : c.green('<')
    const place = connection === undefined ? '' : `${c.dim(String(connection).padStart(3))} `
    const size = `${length}`.padStart(6)
    const said = this.#said(record, connection ?? 0)
    const note = said.note === '' ? '' : `  ${said.note}`
    const cut = content.length < length ? c.yellow(`  cut off after ${content.length} bytes`) : ''
    const head = `${place}${arrow} ${c.dim(milliseconds(time).padStart(8))}  ${c.bold(typeName(type).padEnd(17))} ${`id ${id}`.padEnd(5)} ${size}${note}${cut}`
    this.#write(`${[head, ...said.lines.map((line) => `${place === '' ? '' : '    '}             ${line}`)].join('\n')}\n`)
  }

  #said(record: TraceRecord, connection: number): Said {
    const { type, id, content, length } = record
    try {
      if (isStream(type) && length === 0) {
        this.#params.delete(`${connection}/${id}`)
        return plain(this.#c.dim('end of the stream'))
      }
      if (type === Type.Params) return plain('', this.#pairs(`${connection}/${id}`, content))
      if (type === Type.BeginRequest) {
        const { role, keep } = readBeginRequest(content, 0, content.length)
        return plain(`${roleName(role)}${keep ? ', keep the connection' : ''}`)
      }
      if (type === Type.EndRequest) {
        const { appStatus, protocolStatus } = readEndRequest(content, 0, content.length)
        return plain(`${statusName(protocolStatus)}, application status ${appStatus}`)
      }
      if (type === Type.GetValues || type === Type.GetValuesResult) return plain('', this.#lines(decodePairs(content, 0, content.length)))
      if (type === Type.UnknownType && content.length > 0) return plain(typeName(content[0]!))
      return plain('', preview(content))
    } catch (error) {
      return plain(this.#c.yellow(describe(error).replace(/^fastcgi: /, '')), preview(content))
    }
  }

  /** The pairs that this content completes. */
  #pairs(key: string, content: Buffer): string[] {
    let decoder = this.#params.get(key)
    if (decoder === undefined) {
      if (this.#params.size >= OPEN_LIMIT) this.#params.clear()
      this.#params.set(key, (decoder = new PairDecoder()))
    }
    const before = decoder.pairs.length
    decoder.push(content)
    return this.#lines(decoder.pairs.slice(before))
  }

  #lines(pairs: readonly string[]): string[] {
    const lines: string[] = []
    for (let i = 0; i < pairs.length; i += 2) lines.push(`${shown(pairs[i]!)}=${this.#c.cyan(shown(pairs[i + 1]!))}`)
    return lines
  }
}

function plain(note: string, lines: readonly string[] = []): Said {
  return { note, lines }
}
