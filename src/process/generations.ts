// What a supervisor decides: when to start the next generation of the serving process, when to let the old one go, when to
// give up. No process and no timer here: events and the clock go in, a new state and actions come out.
//
// Start, reload, new code and a crash are one mechanism: start the next, wait until it is ready, then drain the old. The
// listening sockets stay with the supervisor, so a connection that arrives between two generations waits in the kernel.

import { RESTART, WELL, restart } from './restart.ts'
import type { RestartLimits, RestartMemory } from './restart.ts'

/** All in milliseconds but `together`. */
export interface GenerationLimits {
  /** How long one may take until it is ready. */
  readonly start: number
  /** How long requests may run on in a generation that was replaced, and when a drain was asked for. */
  readonly drain: number
  /** How long they may when a stop was asked for. */
  readonly stop: number
  /** What a generation may take to go beyond the time its requests had; then it is killed. */
  readonly margin: number
  /** Stops that come this close together are one. */
  readonly once: number
  /** How many may drain at a time before a reload has to wait for one of them. */
  readonly together: number
  /** When one is started again that died. */
  readonly restart: RestartLimits
}

/** The limits where nothing else is said. */
export const GENERATIONS: GenerationLimits = {
  start: 60_000,
  drain: 300_000,
  stop: 30_000,
  margin: 5000,
  once: 500,
  together: 3,
  restart: RESTART,
}

/** What a supervisor hears. */
export type GenerationEvent =
  /** Once, first of all. */
  | { readonly type: 'begin' }
  | { readonly type: 'ready'; readonly generation: number }
  /** Its process has gone, whatever the reason. `why`: its own words. */
  | {
      readonly type: 'exited'
      readonly generation: number
      readonly code: number | null
      readonly signal: string | null
      readonly why?: string | undefined
    }
  /** Times that actions had set. Those that matter no more are ignored: nothing needs to be cancelled. */
  | { readonly type: 'start-timeout' | 'drain-timeout' | 'pause-over'; readonly generation: number }
  /** SIGHUP, SIGUSR2. */
  | { readonly type: 'reload' }
  /** SIGQUIT: finish everything, then go. */
  | { readonly type: 'drain' }
  /** SIGINT, SIGTERM: the same, in less time; the second one hurries, the third kills. */
  | { readonly type: 'stop' }

/** What a supervisor is to do. */
export type GenerationAction =
  /** Start it; after `deadline` ms tell `start-timeout`. */
  | { readonly type: 'start'; readonly generation: number; readonly deadline: number }
  /** Tell it to accept nothing more and give what runs `grace` ms (the least counts if told again); after `deadline` ms tell `drain-timeout`. */
  | { readonly type: 'drain'; readonly generation: number; readonly grace: number; readonly deadline: number }
  /** SIGKILL. */
  | { readonly type: 'kill'; readonly generation: number }
  /** After `delay` ms tell `pause-over`. */
  | { readonly type: 'pause'; readonly generation: number; readonly delay: number }
  | { readonly type: 'report'; readonly level: 'info' | 'warn' | 'error'; readonly generation: number; readonly text: string }
  /** All is over: the supervisor exits with this code. */
  | { readonly type: 'exit'; readonly code: number }

/** What a supervisor knows of its generations: plain data. */
export interface Generations {
  /** `draining`, `stopping` and `hurrying` lead to the end: the last without patience. */
  readonly phase: 'running' | 'draining' | 'stopping' | 'hurrying' | 'over'
  /** The number of the newest. */
  readonly last: number
  /** The one that accepts. */
  readonly serving: number | undefined
  /** The one that is not ready yet. */
  readonly starting: number | undefined
  /** The one that is to be started when a pause is over. */
  readonly pausing: number | undefined
  /** Told to go, not yet gone; oldest first. */
  readonly draining: readonly number[]
  /** A reload was asked for when there could be none. */
  readonly reload: boolean
  /** One of them has been ready: from then on the supervisor does not give up. */
  readonly proven: boolean
  /** Of the failures so far. */
  readonly memory: RestartMemory
  /** When a stop was last asked for. */
  readonly stoppedAt: number
}

/** Where it begins. */
export const NO_GENERATIONS: Generations = {
  phase: 'running',
  last: 0,
  serving: undefined,
  starting: undefined,
  pausing: undefined,
  draining: [],
  reload: false,
  proven: false,
  memory: WELL,
  stoppedAt: Number.NEGATIVE_INFINITY,
}

/** What one event comes to. */
export interface GenerationDecision {
  /** For the next event. */
  readonly state: Generations
  /** To be carried out in this order. */
  readonly actions: readonly GenerationAction[]
}

/** What an event comes to. @param now milliseconds of any clock that does not go back. */
export function decideGenerations(
  state: Generations,
  event: GenerationEvent,
  now: number,
  limits: GenerationLimits = GENERATIONS,
): GenerationDecision {
  if (state.phase === 'over') return nothing(state)
  switch (event.type) {
    case 'begin':
      return state.last === 0 ? start(state, limits) : nothing(state)
    case 'ready':
      return ready(state, event.generation, now, limits)
    case 'exited':
      return exited(state, event, now, limits)
    case 'start-timeout':
      return state.starting === event.generation
        ? kill(
            state,
            event.generation,
            `was not ready within ${limits.start} ms and is killed; raise the start limit or see what it waits for`,
          )
        : nothing(state)
    case 'drain-timeout':
      return state.draining.includes(event.generation)
        ? kill(state, event.generation, 'did not end in the time it had and is killed; requests that were still running are cut')
        : nothing(state)
    case 'pause-over':
      return state.pausing === event.generation ? start(state, limits) : nothing(state)
    case 'reload':
      return reload(state, limits)
    case 'drain':
    case 'stop':
      return stop(state, event.type, now, limits)
  }
}

const nothing = (state: Generations): GenerationDecision => ({ state, actions: [] })

function report(level: 'info' | 'warn' | 'error', generation: number, text: string): GenerationAction {
  return { type: 'report', level, generation, text: `process: generation ${generation} ${text}` }
}

function start(state: Generations, limits: GenerationLimits, ...before: readonly GenerationAction[]): GenerationDecision {
  const generation = state.last + 1
  return {
    state: { ...state, last: generation, starting: generation, pausing: undefined, reload: false },
    actions: [...before, { type: 'start', generation, deadline: limits.start }],
  }
}

function kill(state: Generations, generation: number, why: string): GenerationDecision {
  return { state, actions: [report('error', generation, why), { type: 'kill', generation }] }
}

function drain(generation: number, grace: number, limits: GenerationLimits): GenerationAction {
  return { type: 'drain', generation, grace, deadline: grace + limits.margin }
}

/** The new one serves. Only now may the old one go. */
function ready(state: Generations, generation: number, now: number, limits: GenerationLimits): GenerationDecision {
  if (state.starting !== generation) return nothing(state)
  const old = state.serving
  const next: Generations = {
    ...state,
    serving: generation,
    starting: undefined,
    proven: true,
    draining: old === undefined ? state.draining : [...state.draining, old],
    // Calm begins here: a slow start is not yet a good one.
    memory: { ...state.memory, startedAt: now },
  }
  const actions = [report('info', generation, 'is ready'), ...(old === undefined ? [] : [drain(old, limits.drain, limits)])]
  return next.reload ? remembered(next, limits, actions) : { state: next, actions }
}

type Exited = Extract<GenerationEvent, { type: 'exited' }>

function exited(state: Generations, event: Exited, now: number, limits: GenerationLimits): GenerationDecision {
  if (event.generation === state.starting) return notReady(state, event, now, limits)
  if (event.generation === state.serving) return died(state, event, now, limits)
  if (state.draining.includes(event.generation)) return gone(state, event, limits)
  return nothing(state)
}

const how = ({ code, signal, why }: Exited): string => `${signal ?? `status ${code}`}${why === undefined ? '' : `: ${why}`}`

/** It never came up. */
function notReady(state: Generations, event: Exited, now: number, limits: GenerationLimits): GenerationDecision {
  const left: Generations = { ...state, starting: undefined }
  const { generation } = event
  const failed = `ended before it was ready (${how(event)})`
  if (state.serving !== undefined) {
    const back = report('error', generation, `${failed}; generation ${state.serving} goes on`)
    return left.reload ? remembered(left, limits, [back]) : { state: left, actions: [back] }
  }
  const said = report('error', generation, failed)
  // Somebody asked for another try while this one was still at it.
  if (state.reload) return start(left, limits, said)
  if (state.proven) return again(left, said, now, limits)
  // At the very first start a person or a service manager is waiting for the answer.
  return {
    state: { ...left, phase: 'over' },
    actions: [said, { type: 'exit', code: event.code !== null && event.code > 0 ? event.code : 1 }],
  }
}

/** The serving one is dead, of whatever: it was not asked to go. */
function died(state: Generations, event: Exited, now: number, limits: GenerationLimits): GenerationDecision {
  const left: Generations = { ...state, serving: undefined }
  const said = report('error', event.generation, `died (${how(event)})`)
  // The one that is starting takes over.
  return left.starting === undefined ? again(left, said, now, limits) : { state: left, actions: [said] }
}

function again(state: Generations, said: GenerationAction, now: number, limits: GenerationLimits): GenerationDecision {
  const { delay, memory } = restart(state.memory, now, limits.restart)
  const next = { ...state, memory }
  if (delay === 0) return start(next, limits, said)
  const generation = state.last + 1
  const wait = report('warn', generation, `starts in ${delay} ms, after ${memory.failures} failures in a row`)
  return { state: { ...next, pausing: generation }, actions: [said, wait, { type: 'pause', generation, delay }] }
}

/** One that was told to go has gone. */
function gone(state: Generations, event: Exited, limits: GenerationLimits): GenerationDecision {
  const left: Generations = { ...state, draining: state.draining.filter((each) => each !== event.generation) }
  const said =
    event.code === 0 ? report('info', event.generation, 'has ended') : report('warn', event.generation, `ended badly (${how(event)})`)
  if (left.phase !== 'running') {
    return left.draining.length > 0
      ? { state: left, actions: [said] }
      : { state: { ...left, phase: 'over' }, actions: [said, { type: 'exit', code: 0 }] }
  }
  return left.reload && left.starting === undefined ? remembered(left, limits, [said]) : { state: left, actions: [said] }
}

function reload(state: Generations, limits: GenerationLimits): GenerationDecision {
  if (state.phase !== 'running') return { state, actions: [report('info', state.last, 'is ending: nothing is reloaded')] }
  if (state.reload) return nothing(state)
  if (state.starting === undefined) return remembered(state, limits, [])
  return {
    state: { ...state, reload: true },
    actions: [report('info', state.starting, 'is still starting: the reload comes after it')],
  }
}

/** A reload, as soon as there is room: each generation that drains still has all its workers. */
function remembered(state: Generations, limits: GenerationLimits, before: readonly GenerationAction[]): GenerationDecision {
  if (state.draining.length < limits.together || state.serving === undefined) return start(state, limits, ...before)
  if (state.reload) return { state, actions: before }
  const waits = report('warn', state.last, `is reloaded later: ${state.draining.length} older ones are still draining`)
  return { state: { ...state, reload: true }, actions: [...before, waits] }
}

function stop(state: Generations, asked: 'drain' | 'stop', now: number, limits: GenerationLimits): GenerationDecision {
  // Whoever runs under `npm start` gets a terminal's Ctrl-C twice: from the terminal and passed on by npm.
  if (asked === 'stop' && now - state.stoppedAt < limits.once) return nothing(state)
  const stoppedAt = asked === 'stop' ? now : state.stoppedAt
  switch (state.phase) {
    case 'running':
      return leave({ ...state, phase: asked === 'stop' ? 'stopping' : 'draining', stoppedAt }, limits[asked], limits)
    case 'draining':
      return asked === 'stop' ? leave({ ...state, phase: 'stopping', stoppedAt }, limits.stop, limits) : nothing(state)
    case 'stopping':
      return asked === 'stop' ? leave({ ...state, phase: 'hurrying', stoppedAt }, 0, limits) : nothing(state)
    default:
      if (asked === 'drain') return nothing(state)
      return { state: { ...state, stoppedAt }, actions: state.draining.map((generation) => ({ type: 'kill', generation })) }
  }
}

/** Everybody is told to go. */
function leave(state: Generations, grace: number, limits: GenerationLimits): GenerationDecision {
  const all = [...state.draining, state.serving, state.starting].filter((each) => each !== undefined)
  const left: Generations = { ...state, serving: undefined, starting: undefined, pausing: undefined, draining: all, reload: false }
  if (all.length === 0) return { state: { ...left, phase: 'over' }, actions: [{ type: 'exit', code: 0 }] }
  return { state: left, actions: all.map((generation) => drain(generation, grace, limits)) }
}
