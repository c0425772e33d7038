// Whether a path is a file of an application, remembered for a moment: `tryFiles` asks it for every request.

import { coarseNow, hasDotSegment } from '../static/index.ts'
import type { ByteString } from '../core/index.ts'
import type { Exists } from '../middleware/index.ts'
import type { Look } from './locate.ts'
import type { Root } from '../static/index.ts'

/** Milliseconds for which an answer is believed. */
const AGE = 1000
/** Paths remembered; they come from outside. */
const ENTRIES = 8192

/** Names that begin with a dot are never there, nor is what a link leads to outside. */
export function fileProbe(root: Root, accepts: (path: ByteString, look: Look) => boolean): Exists {
  const known = new Map<ByteString, { readonly there: boolean; readonly checked: number }>()
  return async (path, folder) => {
    if (path.endsWith('/') !== folder) return false
    const remembered = known.get(path)
    const now = coarseNow()
    if (remembered !== undefined && now - remembered.checked < AGE) return remembered.there
    const there = await look(path)
    if (known.size >= ENTRIES) known.clear()
    known.set(path, { there, checked: now })
    return there
  }
  async function look(path: ByteString): Promise<boolean> {
    if (hasDotSegment(path)) return false
    if (path.endsWith('/')) return (await root.look(path)).kind === 'directory'
    const fact = await root.look(path)
    return fact.kind === 'file' && !hasDotSegment(root.inner(fact.real)) && accepts(path, fact)
  }
}
