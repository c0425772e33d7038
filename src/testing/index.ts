// The face of `viaduct/testing`: call any application without a socket.

export { bodyStream, collectResponse } from './collect.ts'
export type { CollectedResponse } from './collect.ts'
export type { MemoryExchange, MemoryParts, MemoryResponse } from './exchange.ts'
export { MadeRequest, makeRequest } from './request.ts'
export type { RequestParts } from './request.ts'
export { serveMemory } from './server.ts'
export type { MemoryServer } from './server.ts'
