import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const fixture = new URL('../../test/fixtures/uncaught.mjs', import.meta.url).pathname
const dist = new URL('../../dist', import.meta.url).pathname

// In a process of its own: vitest has listeners for such errors.
test('an error that an app lets go uncaught ends its request alone, and one of nobody ends the process', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-node-'))
  const child = spawn(process.execPath, [fixture, dist, join(folder, 'app.mjs')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit')
  try {
    let said = ''
    child.stderr.on('data', (chunk) => (said += String(chunk)))
    const [port] = (await once(child.stdout, 'data')) as [Buffer]
    const get = (path: string): Promise<string> =>
      fetch(`http://127.0.0.1:${port.toString().trim()}${path}`).then(
        async (got) => `${got.status} ${await got.text().catch(() => 'broken off')}`,
        () => 'no answer',
      )
    const all = await Promise.all(['/fine', '/throw', '/reject', '/half', '/other'].map(get))
    expect(all).toEqual(['200 fine', '500 ', '500 ', '200 broken off', '200 fine'])
    for (const what of ['thrown late', 'rejected late', 'thrown amid']) expect(said).toContain(`let an error go uncaught: ${what}`)
    child.kill('SIGTERM')
    expect((await exited)[0]).not.toBe(0)
    expect(said).toContain('of nobody')
  } finally {
    child.kill('SIGKILL')
    await exited
    rmSync(folder, { recursive: true })
  }
})
