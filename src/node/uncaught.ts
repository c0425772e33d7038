// What an app throws where nobody catches it. It lives in the process that serves everybody else, so its mistakes must end no more than
// the request that they belong to, and must be heard of.

import { AsyncLocalStorage } from 'node:async_hooks'
import { describe } from '../core/index.ts'
import type { Log } from '../core/index.ts'

/** Whose code runs. */
export interface Owner {
  readonly file: string
  readonly log: Log
  /** Ends the request that it runs for, if it does. */
  readonly fail?: (error: unknown) => void
}

const owners = new AsyncLocalStorage<Owner>()
let guards = 0

/** Runs it, and what comes of it later, as this owner's. */
export function runAs<Result>(owner: Owner, run: () => Result): Result {
  return owners.run(owner, run)
}

/** Whether what runs now is an app's: an error that is thrown here is logged and ends its request. */
export function isAppRunning(): boolean {
  return guards > 0 && owners.getStore() !== undefined
}

/** From here until the function that it returns is called, what an owner's code throws is logged and ends its request alone. */
export function guardUncaught(): () => void {
  if (guards++ === 0) process.on('uncaughtException', onUncaught)
  let open = true
  return () => {
    if (!open) return
    open = false
    if (--guards === 0) process.off('uncaughtException', onUncaught)
  }
}

/** Also for rejections without a handler: node throws them here. */
function onUncaught(error: unknown): void {
  const owner = owners.getStore()
  if (owner !== undefined) {
    const stack = error instanceof Error ? error.stack : undefined
    owner.log.error({ file: owner.file, stack }, `node: ${owner.file} let an error go uncaught: ${describe(error)}`)
    owner.fail?.(error)
    return
  }
  // Not an app's: as deadly as it would be without this listener.
  if (process.listenerCount('uncaughtException') === 1) throw error
}
