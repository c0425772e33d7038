// The media type of a file by its name.

import mime from 'mime'
import { baseName } from './names.ts'
import type { ByteString } from '../core/index.ts'

/** Text is said to be UTF-8: without that, browsers guess. What is unknown is `application/octet-stream`. */
export function contentType(path: ByteString): string {
  const type = mime.getType(baseName(path)) ?? 'application/octet-stream'
  return type.startsWith('text/') ? `${type}; charset=utf-8` : type
}
