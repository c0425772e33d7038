// Builds dist once before the tests: the command line, the supervisor and its fronts run as real processes from there.
import { execFileSync } from 'node:child_process'

export default function setup(): void {
  if (process.env['VIADUCT_NO_BUILD'] === '1') return
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit' })
}
