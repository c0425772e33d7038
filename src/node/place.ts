// Where in its file a module went wrong: what an error says of it, or node itself for what it cannot even read.

import { execFile } from 'node:child_process'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Milliseconds for reading one file. */
const TIMEOUT = 5000

/** `/path/app.mjs:3` for an error that importing `file`, or calling what it exports, brought; undefined where nothing tells. */
export async function placeOf(error: unknown, file: string): Promise<string | undefined> {
  if (!(error instanceof Error)) return undefined
  const line = lineIn(error.stack ?? '', file)
  if (line !== undefined) return `${file}:${line}`
  // The import of a module that cannot be parsed rejects with V8's words and no place.
  if (!(error instanceof SyntaxError) || !['.js', '.mjs', '.cjs'].includes(extname(file))) return undefined
  const told = lineIn(await checked(file), file)
  return told === undefined ? undefined : `${file}:${told}`
}

/** Of a stack, or of what node says before it: the first line of this very file. */
function lineIn(text: string, file: string): string | undefined {
  for (const [, url, path, line] of text.matchAll(/(?:(file:\/\/[^\s()]+?)|(\/[^\n()]+?)):(\d+)(?::\d+)?(?=[\s)]|$)/g)) {
    if (path === file || (url !== undefined && pathOf(url) === file)) return line
  }
  return undefined
}

function pathOf(url: string): string | undefined {
  try {
    return fileURLToPath(url.replace(/\?.*$/, ''))
  } catch {
    // Only looked like one.
    return undefined
  }
}

/** Nothing of the file is run. */
function checked(file: string): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--check', file], { timeout: TIMEOUT }, (_, __, stderr) => resolve(stderr))
  })
}
