// The face of `viaduct/process`: starting programs, knowing who is idle, and deciding when to start, drain and kill.

export { Dispatcher } from './dispatcher.ts'
export type { Counts, DispatcherOptions } from './dispatcher.ts'
export { openGuard } from './guard.ts'
export type { Guard } from './guard.ts'
export { launch } from './launch.ts'
export type { Exit, LaunchOptions, Launched, Limits } from './launch.ts'
export { lines, visible } from './lines.ts'
export type { LineLimits } from './lines.ts'
export { RESTART, WELL, emergency, restart, restartDelay } from './restart.ts'
export type { EmergencyLimits, RestartLimits, RestartMemory } from './restart.ts'
export { findProgram } from './tools.ts'
