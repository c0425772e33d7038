// The face of `viaduct`: what a request is, and what everything else is made of.

export * from './types.ts'
export { downPool } from './status.ts'
export type * from './status.ts'
export { GatewayError, describe, notStarted, statusOf } from './errors.ts'
export type { GatewayErrorCode } from './errors.ts'
export {
  Headers,
  fromByteString,
  getHeader,
  getHeaders,
  hasHeader,
  isByteString,
  isFieldValue,
  isToken,
  sameName,
  toByteString,
  withHeader,
  withoutHeaders,
} from './headers.ts'
export { Variables, enumerate, enumerateHeaders, isComputed, isHost, variable, variableName } from './variables.ts'
export type { Emit, EnumerateOptions } from './variables.ts'
export { isAmbiguous, parseTarget, percentDecode, percentEncode } from './path.ts'
export type { PathRefusal, Target } from './path.ts'
export { Channel } from './channel.ts'
export type { ChannelOptions } from './channel.ts'
export { collect, emptyBody, observed, pump, streamOf } from './streams.ts'
export type { Observer } from './streams.ts'
export { chunksAfter } from './chunks-after.ts'
export { release, releaseBuffers } from './release.ts'
export { FileSlice, READ_SIZE } from './file-slice.ts'
export { MemoryBudget, spool, spoolMemory } from './spool.ts'
export type { SpoolOptions, Spooled } from './spool.ts'
export { Scope } from './scope.ts'
export { silent, standardError } from './silent.ts'
export { Doorkeeper, logFailure } from './doorkeeper.ts'
export { StatedRequest } from './stated-request.ts'
export type { RequestFacts, RequestLife } from './stated-request.ts'
export { attempt, derive, discard, isBodyless } from './request.ts'
export type { Attempt, Changes } from './request.ts'
export { backend, cascade, compose, isBackend, mount, poolsOf, shift } from './compose.ts'
export { asText, empty, escapeHtml, html, redirect, text } from './respond.ts'
export { Line } from './line.ts'
export type { LineCounts, LineOptions, Waiter, Waiting } from './line.ts'
export { lint } from './lint.ts'
export { encodeHead } from './encode-head.ts'
export type { EncodedHead } from './encode-head.ts'
export { SOCKET_PATH_LIMIT, bindPath, bindPort, ownFile, probeSocket } from './bind.ts'
export type { BoundSocket } from './bind.ts'
export { openListener } from './listen.ts'
export type { Listen, Listener } from './listen.ts'
export { HEAD_LIMIT, headEnd, parseHead, toResponse } from './head.ts'
export type { CgiHead } from './head.ts'
export { nearest } from './nearest.ts'
export { Networks, isNetwork, parseIp } from './networks.ts'
export { choose, eligible, mayRepeat } from './balance.ts'
export type { Chance, Choice, HostState, HostView, Policy } from './balance.ts'
export { HEALTH, mayServe, newHealth, observe, onTrial, share } from './balance-health.ts'
export type { Health, HealthEvent, HealthRules } from './balance-health.ts'
export { SOFTWARE, VERSION } from './version.ts'
