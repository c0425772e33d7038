// The face of `viaduct/http`: HTTP/1.1 in front of any application, and bridges to and from what Node programs are made of.

export { serveHttp } from './server.ts'
export type { HttpOptions } from './server.ts'
export type { Listen } from '../core/index.ts'
export { defaultLimits } from './limits.ts'
export type { HttpLimits } from './limits.ts'
export { fromNode } from './from-node.ts'
export type { FromNodeOptions } from './from-node.ts'
export { isNodeApplication } from './node-target.ts'
export type { FastifyLike, KoaLike, NodeApplication } from './node-target.ts'
