// The thread of one embedded PHP: takes requests from the pool one at a time, and gives output as it comes.

import { parentPort, workerData } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { reasonOf } from './emscripten.ts'
import { limitMemory } from './memory.ts'
import { PhpEngine } from './php-engine.ts'
import { lockingUserSpace } from './php-locks.ts'
import type { FromPhp, LockMessage, PhpCall, PhpThreadData, ToPhp } from './php-messages.ts'
import { Pipe } from './pipe.ts'

const port = parentPort as MessagePort
const data = workerData as PhpThreadData
const output = new Pipe(data.output)
const errors = new Pipe(data.errors)
const lock = new Int32Array(data.lock)

function tell(message: FromPhp): void {
  port.postMessage(message)
}

function pour(pipe: Pipe, chunk: Uint8Array, message: FromPhp): boolean {
  return pipe.pour(chunk, () => tell(message))
}

function ask(question: LockMessage): boolean {
  Atomics.store(lock, 0, 0)
  tell(question)
  Atomics.wait(lock, 0, 0)
  return Atomics.load(lock, 0) === 1
}

/** A request whose body is not all here yet. */
interface Arriving {
  readonly call: PhpCall
  readonly pointer: number
  write(bytes: Uint8Array, at: number): void
  received: number
}

limitMemory(data.memory)
PhpEngine.open({
  ...data,
  userSpace: (context) => lockingUserSpace(context, ask),
  head: (block) => tell({ type: 'head', block }),
  output: (chunk) => pour(output, chunk, { type: 'output' }),
  errors: (chunk) => void pour(errors, chunk, { type: 'errors' }),
}).then(serve, (error: unknown) => tell({ type: 'crashed', reason: reasonOf(error) }))

function serve(engine: PhpEngine): void {
  let arriving: Arriving | undefined

  const run = (call: PhpCall, body?: { pointer: number; length: number }): void => {
    engine.run(call.variables, body).then(
      () => tell({ type: 'end', memory: engine.memory }),
      (error: unknown) => tell({ type: 'crashed', reason: reasonOf(error) }),
    )
  }
  const take = (bytes: Uint8Array): void => {
    if (arriving === undefined) return
    arriving.write(bytes, arriving.received)
    arriving.received += bytes.length
    const { call, pointer, received } = arriving
    if (received < call.length) return
    arriving = undefined
    run(call, { pointer, length: call.length })
  }

  port.on('message', (message: ToPhp) => {
    try {
      if (message.type === 'chunk') take(message.bytes)
      else if (message.length === 0) run(message)
      else {
        arriving = { call: message, received: 0, ...engine.allocate(message.length) }
        for (const chunk of message.chunks ?? []) take(chunk)
      }
    } catch (error) {
      tell({ type: 'crashed', reason: reasonOf(error) })
    }
  })
  tell({ type: 'ready' })
}
