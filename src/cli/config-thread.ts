// Reads one configuration in a thread of its own, and ends: `readConfig` starts it. The schema and all that looks at a
// configuration are many times as large as the plan that comes of it, and go with the thread.

import { parentPort, workerData } from 'node:worker_threads'
import { ConfigError, loadConfig } from '../config/index.ts'
import type { ThreadAnswer } from './read-config.ts'

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port is no window
const say = (answer: ThreadAnswer): void => parentPort!.postMessage(answer)

try {
  say({ loaded: await loadConfig(workerData as string) })
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  say({ message: error.message })
}
