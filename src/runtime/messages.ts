// What the supervisor and a front say to each other, over Node's IPC channel.

import type { Address } from '../core/index.ts'

/** Where the first inherited listener is in a front: after the standard three and the IPC channel. */
export const FIRST_LISTENER = 4

export type ToFront =
  | {
      readonly type: 'start'
      readonly generation: number
      /** No other front serves: if this one does not come up, nobody does. */
      readonly alone: boolean
      /** Plain data: what the front's builder gets. */
      readonly spec: unknown
      /** The addresses of the descriptors from FIRST_LISTENER on. */
      readonly addresses: readonly Address[]
    }
  /** Accept nothing more, give what runs `grace` milliseconds, then go. */
  | { readonly type: 'drain'; readonly grace: number }
  /** Log files were renamed: open them anew. */
  | { readonly type: 'reopen' }

export type FromFront =
  /** It listens. `report` is plain data for whoever started it. */
  | { readonly type: 'ready'; readonly report: unknown }
  /** What it said then is otherwise now. */
  | { readonly type: 'report'; readonly report: unknown }
  /** It cannot serve, and exits. */
  | { readonly type: 'failed'; readonly message: string }
