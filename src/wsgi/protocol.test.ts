import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { has, which } from '../../test/peers.ts'
import { AnswerDecoder, Kind, abortFrame, bodyHead, creditFrame, requestFrame, shapeFrame } from './protocol.ts'
import type { AnswerSink } from './protocol.ts'

interface ToWorker {
  readonly name: string
  readonly hex: string
  readonly frame: {
    readonly kind: string
    readonly shape: number
    readonly names: string[]
    readonly values: string[]
    readonly body: string
    readonly bytes: string | number
    readonly request: number
  }
}
interface Vectors {
  readonly toWorker: readonly ToWorker[]
  readonly toFront: readonly { readonly name: string; readonly hex: string; readonly frame: readonly unknown[] }[]
}

const fixture = (name: string): string => fileURLToPath(new URL(`../../test/fixtures/wsgi/${name}`, import.meta.url))
const vectors = JSON.parse(readFileSync(fixture('vectors.json'), 'utf8')) as Vectors

const terminated = (texts: readonly string[]): string => texts.map((text) => `${text}\0`).join('')
const hex = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('hex')

function encode({ kind, shape, names, values, body, bytes, request }: ToWorker['frame']): string {
  switch (kind) {
    case 'shape':
      return shapeFrame(shape, terminated(names))
    case 'request':
      return requestFrame(Kind.Request, shape, terminated(values), body)
    case 'streamed':
      return requestFrame(Kind.Streamed, shape, terminated(values), '')
    case 'body':
      return bodyHead(String(bytes).length) + bytes
    case 'credit':
      return creditFrame(request, Number(bytes))
    default:
      return abortFrame(request)
  }
}

/** Writes down what it hears; the pieces of a block are joined. */
class Notes implements AnswerSink {
  readonly heard: unknown[][] = []

  ready(version: string, loaded: string): void {
    this.heard.push(['ready', version, loaded])
  }
  unfit(reason: string): void {
    this.heard.push(['unfit', reason])
  }
  answer(head: string, body: Buffer, over: boolean): void {
    this.heard.push(['answer', head, body.toString('latin1'), over])
  }
  head(head: string, first: Buffer): void {
    this.heard.push(['head', head, first.toString('latin1')])
  }
  block(piece: Buffer): void {
    const last = this.heard.at(-1)
    if (last?.[0] === 'block') last[1] += piece.toString('latin1')
    else this.heard.push(['block', piece.toString('latin1')])
  }
  last(): void {
    this.heard.push(['last'])
  }
  end(): void {
    this.heard.push(['end'])
  }
  failed(status: number, text: string): void {
    this.heard.push(['failed', status, text])
  }
  returned(count: number): void {
    this.heard.push(['returned', count])
  }
  want(bytes: number): void {
    this.heard.push(['want', bytes])
  }
  errors(text: string): void {
    this.heard.push(['errors', text])
  }
}

function decode(...pieces: readonly Buffer[]): unknown[][] {
  const notes = new Notes()
  const decoder = new AnswerDecoder(notes)
  for (const piece of pieces) decoder.push(piece)
  return notes.heard
}

describe('a frame to a worker', () => {
  test.each(vectors.toWorker)('$name', ({ frame, hex: expected }) => {
    expect(hex(encode(frame))).toBe(expected)
  })

  test.each([0, 255, 256, 65_535, 16_777_216, 0xffffffff])('says the number %i in four bytes', (number) => {
    expect(Buffer.from(abortFrame(number), 'latin1').readUInt32BE(5)).toBe(number)
  })
})

describe('a frame from a worker', () => {
  test.each(vectors.toFront)('$name', ({ frame, hex: wire }) => {
    expect(decode(Buffer.from(wire, 'hex'))).toEqual([frame])
  })

  test('the same frames come out however the bytes are cut', () => {
    const wire = Buffer.concat(vectors.toFront.map((vector) => Buffer.from(vector.hex, 'hex')))
    const whole = decode(wire)
    expect(whole).toEqual(vectors.toFront.map((vector) => vector.frame))
    for (let cut = 0; cut <= wire.length; cut++) {
      expect(decode(wire.subarray(0, cut), wire.subarray(cut)), `cut at ${cut}`).toEqual(whole)
    }
    expect(decode(...Array.from(wire, (_, i) => wire.subarray(i, i + 1)))).toEqual(whole)
  })

  test.each([
    ['no length at all', '00000000 12'],
    ['more than any worker sends', '7fffffff 12'],
    ['an unknown kind', '00000001 63'],
    ['a kind of the other direction', '00000001 01'],
    ['a head that is longer than its frame', '00000004 12 0005 61'],
    ['no room for the length of a head', '00000002 12 00'],
    ['a count of three bytes', '00000004 19 000000'],
    ['a failure without a status', '00000001 18'],
  ])('is refused with %s', (_, wire) => {
    expect(() => decode(Buffer.from(wire.replaceAll(' ', ''), 'hex'))).toThrow(/wsgi: a worker sent/)
  })

  test('that came in one piece is not copied, and one that did not is its own', () => {
    const wire = Buffer.from(vectors.toFront.find((vector) => vector.name === 'a whole answer')!.hex, 'hex')
    const owned: boolean[] = []
    const sink = new Notes()
    sink.answer = (_head: string, body: Buffer, _over: boolean, own?: boolean): void => {
      owned.push(own === true)
      expect(body.buffer === wire.buffer).toBe(own !== true)
    }
    const decoder = new AnswerDecoder(sink)
    decoder.push(wire)
    decoder.push(wire.subarray(0, 9))
    decoder.push(wire.subarray(9))
    expect(owned).toEqual([false, true])
  })
})

describe.skipIf(!has('python3'))('the worker', () => {
  test('holds to the same vectors, and answers whole conversations', () => {
    const worker = fileURLToPath(new URL('./worker.py', import.meta.url))
    const said = execFileSync(which('python3')!, ['-B', fixture('vectors.py'), worker, fixture('vectors.json')], {
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect(said).toMatch(/^\d{2} checks\n$/)
  })
})
