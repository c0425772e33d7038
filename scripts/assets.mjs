// Copies what tsc does not know (helpers in other languages) from src to dist, at the same place.
import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const root = new URL('..', import.meta.url).pathname
for (const entry of readdirSync(join(root, 'src'), { recursive: true })) {
  const name = String(entry)
  if (/\.(py|sh|php|mjs)$/.test(name)) cpSync(join(root, 'src', name), join(root, 'dist', name))
}
