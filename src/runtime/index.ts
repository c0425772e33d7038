// The face of `viaduct/runtime`: a supervisor that holds the sockets, and the fronts that serve.

export { ListenError, describeListen } from './listeners.ts'
export type { ListenSpec } from './listeners.ts'
export { supervise } from './supervise.ts'
export type { ReadyNews, SuperviseOptions } from './supervise.ts'
export { runFront } from './front.ts'
export type { FrontContext, FrontOptions, FrontParts, InheritedSocket } from './front.ts'
