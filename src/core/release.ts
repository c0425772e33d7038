// Giving back the memory of a chunk without waiting for the garbage collector.
//
// A parser makes a buffer of 64 KiB for each read of a large body. The collector hears of them by the size of a few small objects, so
// it runs late, and then over the whole heap: a third of the time of a server that takes uploads went there, and they were half as fast.

// Node 20 has it behind --harmony-rab-gsab-transfer; all later ones have it.
const transfer = (ArrayBuffer.prototype as { transfer?: (length: number) => ArrayBuffer }).transfer

/** Below, the collector is cheaper. */
const SMALL = 4096

/**
 * The chunk has no bytes afterwards. Only for one that nobody else holds (`ByteStream.exclusive`), and that no write or read still
 * uses. Does nothing for a chunk that is a part of something larger, and where the system has no way to.
 */
export function release(chunk: Uint8Array): void {
  const { buffer } = chunk
  if (transfer === undefined || chunk.length < SMALL || chunk.length !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return
  transfer.call(buffer, 0)
}
