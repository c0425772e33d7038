// The face of `viaduct/fastcgi`: the protocol's bytes, and the web server's side of it.

export { Connection } from './connection.ts'
export type { ConnectionOptions } from './connection.ts'
export type { Call, CallEnd } from './exchange.ts'
export { RecordDecoder } from './decoder.ts'
export type { RecordSink } from './decoder.ts'
export { PairDecoder, decodePairs, encodePair, encodeRequest } from './params.ts'
export type { ParamsLimits } from './params.ts'
export {
  ProtocolStatus,
  Role,
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
