// Bodies that a command line names: text, a file, standard input. Each can be read several times, and its length is known before.

import { createReadStream, statSync } from 'node:fs'
import { spool, streamOf, toByteString } from '../core/index.ts'
import { UsageError } from './arguments.ts'

export interface Body {
  /** Bytes. */
  readonly length: number
  /** Unix time in seconds: of a file its own, else now. */
  readonly lastModified: number
  /** From the first byte, each time. */
  read(): AsyncIterable<Uint8Array>
  close(): void
}

const now = (): number => Math.floor(Date.now() / 1000)

/** `-` and `@-` are standard input, `@FILE` a file, everything else itself. Throws UsageError for a file that cannot be read. */
export function openBody(text: string, where: string): Promise<Body> | Body {
  if (text === '-' || text === '@-') return fromStream(process.stdin)
  if (text.startsWith('@')) return openFile(text.slice(1), where)
  const bytes = Buffer.from(toByteString(text), 'latin1')
  return { length: bytes.length, lastModified: now(), read: () => streamOf([bytes]), close() {} }
}

/** A pipe is read to its end first, for its length is sent before it. */
export function openFile(path: string, where: string): Promise<Body> | Body {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) throw new UsageError(`${where}: there is no file ${path}`)
  if (found.isDirectory()) throw new UsageError(`${where}: ${path} is a folder`)
  if (!found.isFile()) return fromStream(createReadStream(path))
  const { size, mtimeMs } = found
  // Not a byte more than was announced, should it grow meanwhile.
  const read = (): AsyncIterable<Uint8Array> => (size === 0 ? streamOf([]) : createReadStream(path, { end: size - 1 }))
  return { length: size, lastModified: Math.floor(mtimeMs / 1000), read, close() {} }
}

async function fromStream(stream: AsyncIterable<Uint8Array>): Promise<Body> {
  const spooled = await spool(streamOf(stream), {})
  return { length: spooled.length, lastModified: now(), read: () => spooled.stream(), close: () => spooled.close() }
}
