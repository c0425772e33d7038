// Bytes from one thread to another, through memory that both see. One side lives in an interpreter's thread and may wait; the other
// one lives in an event loop and must not: it is rung for, by a message of the thread's port.
//
// A message for each piece of output would cost more than making the piece, and would have no limit: a script that writes faster than
// its client reads has to stop. Here it waits while the pipe is full.

// Counts of bytes ever written and ever read (they wrap; their difference does not), a bell that was rung, whether one side has gone,
// a count of all that happens, for who waits, and whether somebody wants to hear of room.
const WRITTEN = 0
const READ = 1
const RUNG = 2
const CUT = 3
const EVENTS = 4
const WANTED = 5
const HEADER = 32

/** One direction. Both ends make one of these over the same memory. */
export class Pipe {
  readonly memory: SharedArrayBuffer
  readonly #state: Int32Array
  readonly #bytes: Uint8Array
  readonly #mask: number

  /** @param memory what `Pipe.memory` gave. */
  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
    this.#state = new Int32Array(memory, 0, HEADER / 4)
    this.#bytes = new Uint8Array(memory, HEADER)
    this.#mask = this.#bytes.length - 1
  }

  /** Memory for a pipe that holds so many bytes, a power of two. */
  static memory(size: number): SharedArrayBuffer {
    return new SharedArrayBuffer(HEADER + size)
  }

  /** Bytes that can be read now. */
  get length(): number {
    return (Atomics.load(this.#state, WRITTEN) - Atomics.load(this.#state, READ)) | 0
  }

  /** One side has gone: nobody reads what is written, or nothing more is written. */
  get cut(): boolean {
    return Atomics.load(this.#state, CUT) === 1
  }

  set cut(value: boolean) {
    Atomics.store(this.#state, CUT, value ? 1 : 0)
    this.#happened()
  }

  /** Takes what there is room for, from `from` on. @returns how many bytes that were. */
  write(bytes: Uint8Array, from: number = 0): number {
    const written = Atomics.load(this.#state, WRITTEN)
    const room = this.#bytes.length - this.length
    const count = Math.min(room, bytes.length - from)
    if (count === 0) return 0
    const start = written & this.#mask
    const first = Math.min(count, this.#bytes.length - start)
    this.#bytes.set(bytes.subarray(from, from + first), start)
    if (count > first) this.#bytes.set(bytes.subarray(from + first, from + count), 0)
    Atomics.store(this.#state, WRITTEN, (written + count) | 0)
    this.#happened()
    return count
  }

  /** A copy of what there is, at most `limit` bytes of it. */
  read(limit: number = this.#bytes.length): Buffer {
    const read = Atomics.load(this.#state, READ)
    const count = Math.min(this.length, limit)
    const out = Buffer.allocUnsafe(count)
    const start = read & this.#mask
    const first = Math.min(count, this.#bytes.length - start)
    out.set(this.#bytes.subarray(start, start + first), 0)
    if (count > first) out.set(this.#bytes.subarray(0, count - first), first)
    Atomics.store(this.#state, READ, (read + count) | 0)
    this.#happened()
    return out
  }

  #happened(): void {
    Atomics.add(this.#state, EVENTS, 1)
    Atomics.notify(this.#state, EVENTS)
  }

  /** Waits until there is something to read, or nothing will come. For a thread that may wait. */
  waitForBytes(): void {
    for (;;) {
      const events = Atomics.load(this.#state, EVENTS)
      if (this.length > 0 || this.cut) return
      Atomics.wait(this.#state, EVENTS, events)
    }
  }

  /** All of a chunk, waiting for room; `bell` tells the reader. False when nobody reads any more. */
  pour(chunk: Uint8Array, bell: () => void): boolean {
    for (let at = 0; at < chunk.length;) {
      if (this.cut) return false
      at += this.write(chunk, at)
      if (this.ring()) bell()
      if (at < chunk.length) this.waitForRoom()
    }
    return true
  }

  /** Waits until there is room, or the pipe is cut. For a thread that may wait. */
  waitForRoom(): void {
    for (;;) {
      const events = Atomics.load(this.#state, EVENTS)
      if (this.cut || this.length < this.#bytes.length) return
      Atomics.wait(this.#state, EVENTS, events)
    }
  }

  /** The writer, which must not wait, wants to hear of room. It has to try again after this, for some may have come meanwhile. */
  wantRoom(): void {
    Atomics.store(this.#state, WANTED, 1)
  }

  /** The reader has read: whether the writer is to be told. */
  roomWanted(): boolean {
    return Atomics.exchange(this.#state, WANTED, 0) === 1
  }

  /** Whether the other side is to be told: false when it was, and has not looked since. */
  ring(): boolean {
    return Atomics.exchange(this.#state, RUNG, 1) === 0
  }

  /** The other side looks: from now on it wants to be told again. Before it reads, or what comes in between would be missed. */
  heard(): void {
    Atomics.store(this.#state, RUNG, 0)
  }

  /** As it was made: before the next request, when nobody is at the other end. */
  reset(): void {
    Atomics.store(this.#state, READ, Atomics.load(this.#state, WRITTEN))
    Atomics.store(this.#state, RUNG, 0)
    Atomics.store(this.#state, CUT, 0)
    Atomics.store(this.#state, WANTED, 0)
  }
}
