// The face of `viaduct/wsgi`: Python applications as a pool, and the shape of PEP 3333 for TypeScript.

export { wsgiPool } from './pool.ts'
export type { WsgiPool } from './pool.ts'
export { WORKER_PROGRAM } from './host.ts'
export type { HostEvents, HostOptions, OpenHost, WorkerHost } from './host.ts'
export type { WsgiCounts, WsgiLimits, WsgiPoolOptions } from './options.ts'
export { WSGI_FILES, brokenVenv, describeWsgi, findPython, locate as locateWsgi, pythonVersion } from './find.ts'
export type { WsgiDescription } from './find.ts'
export { wsgi } from './application.ts'
export type { StartResponse, Write, WsgiApplication, WsgiBody } from './application.ts'
export { environOf } from './environ.ts'
export type { Environ, WsgiErrors, WsgiInput } from './environ.ts'
