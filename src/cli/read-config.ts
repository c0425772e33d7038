// A configuration file as plain data, for processes that live long: supervisors and fronts.

import { Worker } from 'node:worker_threads'
import { GatewayError } from '../core/index.ts'
import type { Loaded } from '../config/index.ts'

/** What the thread says: the plan, or the report of all mistakes. */
export type ThreadAnswer = { readonly loaded: Loaded } | { readonly message: string }

/** Reads and checks a file. Rejects with CONFIG, whose message is the report. */
export function readConfig(file: string): Promise<Loaded> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./config-thread.js', import.meta.url), { workerData: file })
    let answer: ThreadAnswer | undefined
    worker.on('message', (said: ThreadAnswer) => {
      answer = said
      // A configuration that is a program may have left something running.
      void worker.terminate()
    })
    worker.on('error', reject)
    worker.on('exit', () => {
      if (answer === undefined) reject(broken(`${file}: reading it ended without a result`))
      else if ('loaded' in answer) resolve(answer.loaded)
      else reject(broken(answer.message))
    })
  })
}

function broken(message: string): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message })
}
