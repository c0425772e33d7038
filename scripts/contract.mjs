// Writes docs/contract.md out of the `///` lines of lint: the rules in prose stand beside their checks, and nowhere else.
// With --print it only prints: a test compares that with the file.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = new URL('..', import.meta.url).pathname
const sources = ['lint-rules.ts', 'lint-body.ts', 'lint.ts'].map((name) => readFileSync(join(root, 'src/core', name), 'utf8'))

const opening = `# The contract

What a Viaduct server and an application promise each other. \`lint(application)\` holds both sides to every line of it, and the
conformance suite runs each server over each backend under it.

This file is written by \`node scripts/contract.mjs\` from the checks themselves, in src/core/lint*.ts.
`

const lines = sources.flatMap((source) => source.split('\n').flatMap((line) => /^\s*\/\/\/ ?(.*)$/.exec(line)?.[1] ?? []))
const text = [opening]
for (const line of lines) {
  if (line.startsWith('#')) text.push(`\n${line}\n\n`)
  else if (line !== '') text.push(line.startsWith('- ') ? `${line}\n` : `${line}\n\n`)
}
const contract = text.join('').replace(/\n{3,}/g, '\n\n')

if (process.argv.includes('--print')) process.stdout.write(contract)
else {
  mkdirSync(join(root, 'docs'), { recursive: true })
  writeFileSync(join(root, 'docs/contract.md'), contract)
}
