// Bytes from one thread to another, through memory that both see. One side lives in an interpreter's thread and may wait; the other
// one lives in an event loop and must not: it is rung for, by a message of the thread's port.
//
// A message for each piece of output would cost more than making the piece, and would have no limit: a script that writes faster than
// its client reads has to stop. Here it waits while the pipe is full.

// Counts of bytes ever written and ever read (they wrap; their difference does not), a bell that was rung, and whether nobody reads any more.
const WRITTEN = 0
const READ = 1
const RUNG = 2
const CUT = 3
const HEADER = 16

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

  get size(): number {
    return this.#bytes.length
  }

  /** Nobody reads what is written: the writer should stop. */
  get cut(): boolean {
    return Atomics.load(this.#state, CUT) === 1
  }

  set cut(value: boolean) {
    Atomics.store(this.#state, CUT, value ? 1 : 0)
    Atomics.notify(this.#state, READ)
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
    Atomics.notify(this.#state, WRITTEN)
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
    Atomics.notify(this.#state, READ)
    return out
  }

  /** Waits until there is something to read. For a thread that may wait. */
  waitForBytes(): void {
    while (this.length === 0) Atomics.wait(this.#state, WRITTEN, Atomics.load(this.#state, READ))
  }

  /** Waits until there is room, or the pipe is cut. For a thread that may wait. */
  waitForRoom(): void {
    for (;;) {
      const read = Atomics.load(this.#state, READ)
      if (this.cut || ((Atomics.load(this.#state, WRITTEN) - read) | 0) < this.#bytes.length) return
      // With an end: a cut changes nothing that is waited for, and may come just before the wait.
      Atomics.wait(this.#state, READ, read, 50)
    }
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
  }
}
