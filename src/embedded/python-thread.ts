// The thread of one embedded Python: it makes the interpreter, and is the worker's program from then on.

import { parentPort, workerData } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import { reasonOf } from './emscripten.ts'
import { limitMemory } from './memory.ts'
import { Pipe } from './pipe.ts'
import { OWN, openPython, shutIn } from './python-engine.ts'
import type { Python, PythonFunction } from './python-engine.ts'
import type { FromPython, PythonThreadData } from './python-messages.ts'

const port = parentPort as MessagePort
const data = workerData as PythonThreadData
const input = new Pipe(data.input)
const output = new Pipe(data.output)
const errors = new Pipe(data.errors)
const full = new Int32Array(data.full)

function tell(message: FromPython): void {
  port.postMessage(message)
}

function pour(pipe: Pipe, chunk: Uint8Array, message: FromPython): boolean {
  return pipe.pour(chunk, () => tell(message))
}

/** Bytes of Python's as they lie in its memory. */
interface Bytes {
  getBuffer(type: 'u8'): { readonly data: Uint8Array; release(): void }
}

const exit = process.exit.bind(process)

limitMemory(data.memory)
try {
  const python = await openPython(data, (bytes) => void pour(errors, bytes, 'errors'))
  const run = starter(python)
  shutIn(python)
  tell('listening')
  run(
    `${OWN}/worker.py`,
    data.settings,
    receive,
    (bytes: Bytes) => {
      if (python._module.HEAPU8.length > data.memory / 2) Atomics.store(full, 0, 1)
      return send(bytes)
    },
    () => input.waitForBytes(),
  )
} catch (error) {
  pour(errors, Buffer.from(`${reasonOf(error)}\n`), 'errors')
}
exit()

function starter(python: Python): PythonFunction {
  python.runPython(`
import importlib.util
spec = importlib.util.spec_from_file_location('viaduct_starter', '${OWN}/starter.py')
starter = importlib.util.module_from_spec(spec)
spec.loader.exec_module(starter)
run = starter.run
`)
  return python.globals.get('run')
}

function receive(size: number, wait: boolean): Uint8Array | undefined {
  if (wait) input.waitForBytes()
  else if (input.length === 0 && !input.cut) return undefined
  const { buffer, byteOffset, length } = input.read(size)
  if (input.roomWanted()) tell('room')
  // The interpreter knows no Buffers.
  return new Uint8Array(buffer, byteOffset, length)
}

function send(bytes: Bytes): boolean {
  const view = bytes.getBuffer('u8')
  try {
    return pour(output, view.data, 'output')
  } finally {
    view.release()
  }
}
