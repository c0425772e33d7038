// Control characters made visible in byte strings: php-fpm writes them as they come, and a line break from a client is then a line of the log
// (CVE-2024-9026). Bytes from 0x80 stay, for they are mostly UTF-8.

import type { ByteString } from '../../core/index.ts'

/** Tab stays; every other control character is `\x0a`. */
export function escapeControls(bytes: ByteString): ByteString {
  return bytes.replace(/[\0-\x08\x0a-\x1f\x7f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
