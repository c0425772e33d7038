// The face of `viaduct/http`: HTTP/1.1 in front of any application.

export { serveHttp } from './server.ts'
export type { HttpOptions } from './server.ts'
export type { Listen } from './listen.ts'
export { defaultLimits } from './limits.ts'
export type { HttpLimits } from './limits.ts'
