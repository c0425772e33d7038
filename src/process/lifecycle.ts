// The life of one worker: what each event means in each state. An empty cell is "ignored, on purpose".

/** Where a worker is in its life. */
export type WorkerState =
  | 'starting' // its process runs, it has not said that it can serve
  | 'ready'
  | 'busy' // has a request
  | 'draining' // is to go when its request ends
  | 'stopping' // has been asked to go
  | 'killed' // SIGKILL was sent; only its exit can follow
  | 'gone'

/** What can happen to it. */
export type WorkerEvent =
  | 'ready'
  | 'request' // it was given one
  | 'finished' // its request is over and the worker usable
  | 'retire' // the policy, a reload or the end
  | 'timeout' // the deadline of the state it is in
  | 'exited'

/** What an event means to it. */
export interface Move {
  /** Its next state. */
  readonly to: WorkerState
  /** What is to be done to the process: ask it to go (by its ladder's first signal), or kill its group. */
  readonly act?: 'stop' | 'kill'
  /** It went though nobody asked: counts for the back-off, and whoever had it gets an error. */
  readonly fault?: true
}

const gone: Move = { to: 'gone' }
const dead: Move = { to: 'gone', fault: true }
const killed: Move = { to: 'killed', act: 'kill' }
const stopped: Move = { to: 'stopping', act: 'stop' }

/** Every move there is; what is not in it is ignored. */
export const LIFECYCLE: Readonly<Record<WorkerState, Readonly<Partial<Record<WorkerEvent, Move>>>>> = {
  starting: { ready: { to: 'ready' }, retire: stopped, timeout: { ...killed, fault: true }, exited: dead },
  ready: { request: { to: 'busy' }, retire: stopped, exited: dead },
  busy: { finished: { to: 'ready' }, retire: { to: 'draining' }, timeout: killed, exited: dead },
  draining: { finished: stopped, timeout: killed, exited: dead },
  stopping: { timeout: killed, exited: gone },
  killed: { exited: gone },
  gone: {},
}

/** undefined: nothing changes. */
export function move(state: WorkerState, event: WorkerEvent): Move | undefined {
  return LIFECYCLE[state][event]
}
