// What a write that took only some of its bytes leaves to be written.

/** What is left of `chunks` after their first `count` bytes. Views, no copies. */
export function chunksAfter<Chunk extends Uint8Array>(chunks: readonly Chunk[], count: number): Chunk[] {
  let skip = count
  const rest: Chunk[] = []
  for (const chunk of chunks) {
    if (skip >= chunk.length) skip -= chunk.length
    else {
      rest.push(skip === 0 ? chunk : (chunk.subarray(skip) as Chunk))
      skip = 0
    }
  }
  return rest
}
