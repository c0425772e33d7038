// The last line of a CI run, from vitest's JSON report: "N passed, N failed, N skipped".
// node ci-summary.mjs REPORT: exits 1 when a test failed, a file could not be run, or no test was executed.

import { readFileSync } from 'node:fs'

const report = JSON.parse(readFileSync(process.argv[2], 'utf8') || '{}')
const tests = (report.testResults ?? []).flatMap((file) => file.assertionResults)
const count = (...statuses) => tests.filter((test) => statuses.includes(test.status)).length
// A file that breaks before its first test has no test of its own to count.
const broken = (report.testResults ?? []).filter(
  (file) => file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'),
)

for (const file of broken) process.stdout.write(`could not be run: ${file.name}: ${file.message}\n`)
for (const file of report.testResults ?? []) {
  for (const test of file.assertionResults) if (test.status === 'failed') process.stdout.write(`failed: ${file.name}: ${test.fullName}\n`)
}
const passed = count('passed')
const failed = count('failed') + broken.length
const skipped = count('skipped', 'pending', 'todo', 'disabled')
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`)
process.exitCode = failed > 0 || passed === 0 || report.success !== true ? 1 : 0
