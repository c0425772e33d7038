import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'

const file = new URL('signals.ts', import.meta.url).pathname.replace('/src/', '/dist/').replace('.ts', '.js')
const ALL = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const

const CODE = `
  import { installSignals } from ${JSON.stringify(file)}
  const signals = installSignals(() => ['SIGHUP', 'SIGCHLD', 'SIGHUP'])
  console.log('installed')
  process.stdin.once('data', () => {
    console.log('consuming')
    signals.consume((signal) => console.log(signal))
  })
  process.stdin.on('end', () => {
    signals.close()
    process.kill(process.pid, 'SIGTERM')
  })`

test('signals wait for their consumer, those caught before first, and meanwhile none ends the process or opens the inspector', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', CODE], { stdio: 'pipe' })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (errors += text))
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async (): Promise<unknown> => (await said.next()).value
  expect(await line()).toBe('installed')

  for (const signal of ALL) child.kill(signal)
  child.stdin.write('now\n')
  expect([await line(), await line(), await line()]).toEqual(['consuming', 'SIGHUP', 'SIGHUP'])
  const caught: unknown[] = []
  // The kernel hands out signals that are pending together in an order of its own.
  for (const _ of ALL) caught.push(await line())
  expect(caught.toSorted()).toEqual(ALL.toSorted())
  child.kill('SIGUSR2')
  expect(await line()).toBe('SIGUSR2')

  // After close they do again what they do by default.
  child.stdin.end()
  expect(await once(child, 'exit')).toEqual([null, 'SIGTERM'])
  expect(errors).toBe('')
})

test('signals that nobody consumes take no memory', async () => {
  const before = process.listenerCount('SIGUSR2')
  const { installSignals } = await import('./signals.ts')
  const signals = installSignals()
  for (let i = 0; i < 1000; i++) process.emit('SIGUSR2', 'SIGUSR2')
  const told: string[] = []
  signals.consume((signal) => told.push(signal))
  expect(told).toEqual(Array.from({ length: 16 }, () => 'SIGUSR2'))
  signals.close()
  expect(process.listenerCount('SIGUSR2')).toBe(before)
})
