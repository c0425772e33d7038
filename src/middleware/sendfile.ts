// "Send this file": an application names a file and the server sends it, at its own pace and with ranges.
//
// Which folders files may come from is the operator's to say, for each application by itself; what an application names may
// have come from outside (CVE-2024-38475).

import { derive, describe, discard, empty, getHeader, hasHeader, withoutHeaders } from '../core/index.ts'
import type { ByteString, GatewayRequest, GatewayResponse, HeaderList, Middleware } from '../core/index.ts'

/** The files that applications may have sent. */
export interface InternalFiles {
  /** Absolute folders, real and without a slash at the end, in which a named file must lie. */
  readonly roots: readonly ByteString[]
  /** Sends `file`, which lies in `root` by its name; whether it does after following links is for `send` to see. */
  send(request: GatewayRequest, root: ByteString, file: ByteString): GatewayResponse | Promise<GatewayResponse>
}

/** A response with `X-Sendfile: /absolute/path` becomes that file. The field itself never reaches a client. */
export const xSendfile =
  (files: InternalFiles): Middleware =>
  (next) =>
  (request) => {
    const response = next(request)
    return response instanceof Promise ? response.then((settled) => replaced(request, settled, files)) : replaced(request, response, files)
  }

function replaced(request: GatewayRequest, response: GatewayResponse, files: InternalFiles): GatewayResponse | Promise<GatewayResponse> {
  const file = getHeader(response.headers, 'x-sendfile')
  if (file === undefined) return response
  return sendFile(request, { ...response, headers: withoutHeaders(response.headers, 'x-sendfile') }, file, files)
}

/** Answers `asking` with the file that it names, if that lies in one of the folders; 500 else. */
export async function sendFile(
  request: GatewayRequest,
  asking: GatewayResponse,
  file: ByteString,
  files: InternalFiles | undefined,
): Promise<GatewayResponse> {
  discard(asking)
  const root = files?.roots.find((each) => file.startsWith(`${each}/`))
  if (files === undefined || root === undefined || /\0|(?:^|\/)\.\.?(?:\/|$)/.test(file)) {
    request.errors.write(`internal: ${request.target}: the file ${JSON.stringify(file)} lies in no folder that may be sent from\n`)
    return empty(500)
  }
  try {
    // The file answers whatever the method was: a form may lead to a download.
    const get = request.method === 'GET' || request.method === 'HEAD'
    const sent = await files.send(get ? request : derive(request, { method: 'GET', body: null }), root, file)
    return { ...sent, headers: merged(asking.headers, sent.headers) }
  } catch (error) {
    request.errors.write(`internal: ${request.target}: ${describe(error)}\n`)
    return empty(500)
  }
}

/** The application says what the content is and what else the client should know (cookies); the file says its own length and age. */
function merged(asking: HeaderList, file: HeaderList): HeaderList {
  const type = getHeader(asking, 'content-type')
  const out = [...(type === undefined ? file : withoutHeaders(file, 'content-type'))]
  for (let i = 0; i < asking.length; i += 2) {
    const name = asking[i]!.toLowerCase()
    if (name === 'content-length' || (name !== 'set-cookie' && hasHeader(out, name))) continue
    out.push(asking[i]!, asking[i + 1]!)
  }
  return out
}
