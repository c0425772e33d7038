// A thread with an interpreter in it, from the pool's side: started, spoken to, and ended, if need be in the middle of a loop.

import { PassThrough } from 'node:stream'
import { Worker } from 'node:worker_threads'
import { describe } from '../core/index.ts'
import { lines } from '../process/index.ts'

export interface ThreadOptions<Incoming> {
  /** Of the folder of this file, without its suffix. */
  readonly file: string
  readonly data: object
  message(message: Incoming): void
  /** What is written to the standard output and error of the thread itself; an interpreter's own go other ways. */
  line(line: string): void
}

// Under a TypeScript runner this is a source, and threads run what was built of it.
const FOLDER = import.meta.url.endsWith('.ts') ? '../../dist/embedded/' : './'
/** Megabytes of JavaScript's own heap, beside the interpreter's memory. */
const HEAP = 512

export class Thread<Outgoing, Incoming> {
  /** Of this process. */
  readonly id: number
  /** Resolves with the reason, if there is one, when it has ended. */
  readonly exited: Promise<string | undefined>
  over = false
  readonly #worker: Worker
  #reason: string | undefined

  constructor(options: ThreadOptions<Incoming>) {
    this.#worker = new Worker(new URL(`${FOLDER}${options.file}.js`, import.meta.url), {
      workerData: options.data,
      // Nothing of our environment: an interpreter gets what it is given.
      env: {},
      execArgv: [],
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: HEAP },
    })
    this.id = this.#worker.threadId
    this.#worker.on('message', (message: Incoming) => {
      if (!this.over) options.message(message)
    })
    this.#worker.on('error', (error) => (this.#reason ??= describe(error)))
    for (const stream of [this.#worker.stdout, this.#worker.stderr]) lines(stream, (line) => options.line(line))
    this.exited = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.over = true
        resolve(this.#reason)
      })
    })
  }

  post(message: Outgoing): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
    this.#worker.postMessage(message)
  }

  /** At once, whatever it is doing. Nothing more is heard of it. */
  kill(reason?: string): void {
    this.over = true
    this.#reason ??= reason
    void this.#worker.terminate()
  }

  /** An idle one does not keep the process. */
  hold(): void {
    this.#worker.ref()
  }

  unhold(): void {
    this.#worker.unref()
  }
}

/** A place for bytes that are lines: of a program's standard error. */
export function lineSink(callback: (line: string) => void): { write(bytes: Uint8Array): void; end(): void } {
  const stream = new PassThrough()
  lines(stream, callback)
  return { write: (bytes) => void stream.write(bytes), end: () => void stream.end() }
}
