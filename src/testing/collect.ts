// Reading a response of any shape to its end.

import { FileSlice, collect, emptyBody, streamOf, type ByteStream, type GatewayResponse, type HeaderList } from '../core/index.ts'

/** A response, read to its end. */
export interface CollectedResponse {
  /** As it was answered. */
  readonly status: number
  /** Undefined for the usual one. */
  readonly reason: string | undefined
  /** `[name, value, ...]`. */
  readonly headers: HeaderList
  /** All of it. */
  readonly body: Buffer
  /** Empty when there are none. */
  readonly trailers: HeaderList
}

/** The whole response. Rejects when the body fails, or with BODY_TOO_LARGE beyond `limit` bytes; closes what it owns. */
export async function collectResponse(
  response: GatewayResponse | Promise<GatewayResponse>,
  limit: number = 64 * 1024 * 1024,
): Promise<CollectedResponse> {
  const { status, reason, headers, body, trailers } = await response
  const bytes = await collect(bodyStream(body), limit)
  return { status, reason, headers, body: bytes, trailers: (await trailers?.()) ?? [] }
}

/** Any body as a stream. */
export function bodyStream(body: GatewayResponse['body']): ByteStream {
  if (body === null) return emptyBody
  if (typeof body === 'string') return streamOf([Buffer.from(body, 'utf8')])
  if (body instanceof Uint8Array) return streamOf([body])
  return body instanceof FileSlice ? body.stream() : body
}
