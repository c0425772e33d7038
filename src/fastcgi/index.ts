// The face of `viaduct/fastcgi`: the protocol's bytes, the web server's side of it, and the application's.

export { fastcgi } from './client/client.ts'
export type {
  Balance,
  FastCgiBackend,
  FastCgiLimits,
  FastCgiOptions,
  HealthOptions,
  MultiplexOptions,
  UpstreamOptions,
  UpstreamStatus,
} from './client/options.ts'
export { authorizer, filter } from './client/roles.ts'
export type { FilterOptions } from './client/roles.ts'
export type { CheckOptions } from './client/upstream-check.ts'
export type { ResolveOptions } from './client/upstream-names.ts'
export type { TlsOptions } from './client/connect.ts'
export { connect, formatAddress, parseAddress, parseTarget } from './client/connect.ts'
export { serveFastCgi } from './server/server.ts'
export type { FastCgiServer, FastCgiServerOptions } from './server/server.ts'
export { allow, deny } from './server/roles.ts'
export type { Authorizer, FastCgiRoles, Filter, FilterRequest, Verdict } from './server/roles.ts'
export type { FastCgiServerLimits } from './server/limits.ts'
export { isFastCgi } from './server/inherited.ts'
export { getValues } from './client/get-values.ts'
export { Connection } from './client/connection.ts'
export { openSocket } from './client/socket.ts'
export type { ConnectionOptions } from './client/connection.ts'
export type { Call, CallEnd, Reply } from './client/call.ts'
export { RecordDecoder } from './decoder.ts'
export type { RecordSink } from './decoder.ts'
export { PairDecoder, decodePairs, encodePair, encodeRequest } from './params.ts'
export type { ParamsLimits } from './params.ts'
export {
  ProtocolStatus,
  Role,
  SKIPPED,
  Type,
  abortRequest,
  beginRequest,
  endRequest,
  isStream,
  readBeginRequest,
  readEndRequest,
  record,
} from './record.ts'
export type { BeginRequest, EndRequest } from './record.ts'
export {
  VALUE_NAMES,
  decodeGetValues,
  decodeGetValuesResult,
  decodeUnknownType,
  encodeGetValues,
  encodeGetValuesResult,
  encodeUnknownType,
} from './management.ts'
