// A request's script below a folder, for whoever uses the pool without a site in front of it.

import { realpath, stat } from 'node:fs/promises'
import { sep } from 'node:path'
import { derive, isAmbiguous, percentEncode } from '../core/index.ts'
import type { ByteString, GatewayRequest } from '../core/index.ts'
import { splitScript } from './script.ts'

/**
 * The request with scriptName, pathInfo and SCRIPT_FILENAME set, so that PHP has nothing left to correct (CVE-2019-11043);
 * undefined when no existing regular file inside `root` is meant.
 */
export async function resolveScript(
  request: GatewayRequest,
  root: string,
  extensions: readonly string[],
): Promise<GatewayRequest | undefined> {
  if (request.pathInfo.includes('\0') || isAmbiguous(request.rawPathInfo)) return undefined
  const path = request.pathInfo.endsWith('/') || request.pathInfo === '' ? `${request.pathInfo}index.php` : request.pathInfo
  const top = await realpath(root)
  for (const { script, pathInfo } of splitScript(path, extensions)) {
    const file = await regularFile(top, script)
    if (file === undefined) continue
    return derive(request, {
      scriptName: request.scriptName + script,
      pathInfo,
      rawPathInfo: percentEncode(pathInfo),
      variables: { SCRIPT_FILENAME: file, DOCUMENT_ROOT: Buffer.from(top).toString('latin1') },
    })
  }
  return undefined
}

async function regularFile(top: string, script: ByteString): Promise<ByteString | undefined> {
  try {
    const file = await realpath(Buffer.concat([Buffer.from(top), Buffer.from(script, 'latin1')]), 'buffer')
    const inside = file.toString('latin1').startsWith(Buffer.from(top).toString('latin1') + sep)
    return inside && (await stat(file)).isFile() ? file.toString('latin1') : undefined
  } catch {
    // Not there, or not to be read: the same to the client.
    return undefined
  }
}
