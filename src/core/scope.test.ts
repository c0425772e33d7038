import { describe, expect, test } from 'vitest'
import { Scope, type Outcome } from './index.ts'

const sent: Outcome = { kind: 'sent', status: 200, bytes: 1 }
const cut: Outcome = { kind: 'cut', status: 0, bytes: 0 }

describe('a scope', () => {
  test('tells everybody of the end, in order and once; who asks later is told at once', () => {
    const scope = new Scope()
    const heard: string[] = []
    for (const name of ['a', 'b', 'c']) scope.onFinish((outcome) => heard.push(`${name} ${outcome.kind}`))
    scope.finish(sent)
    scope.finish(cut)
    scope.onFinish((outcome) => heard.push(`late ${outcome.kind}`))
    expect(heard).toEqual(['a sent', 'b sent', 'c sent', 'late sent'])
    expect(scope.outcome).toBe(sent)
  })

  test('tells the next when one throws, and does not hide the mistake', async () => {
    const mistakes: unknown[] = []
    const listeners = process.rawListeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => mistakes.push(error))
    try {
      const scope = new Scope()
      const heard: string[] = []
      scope.onFinish(() => {
        throw new Error('mistake')
      })
      scope.onFinish(() => heard.push('b'))
      scope.finish(sent)
      expect(heard).toEqual(['b'])
      await expect.poll(() => mistakes).toMatchObject([{ message: 'mistake' }])
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of listeners) process.on('uncaughtException', listener as () => void)
    }
  })

  test.each<[Outcome, boolean]>([
    [sent, false],
    [cut, true],
    [{ kind: 'failed', status: 500, bytes: 0, error: new Error('why') }, true],
    [{ kind: 'discarded', status: 404, bytes: 0 }, true],
  ])('that ends with %j aborts its signal: %s, made before or after', (outcome, aborted) => {
    const before = new Scope()
    const { signal } = before
    expect(signal.aborted).toBe(false)
    before.finish(outcome)
    expect(signal.aborted).toBe(aborted)
    expect(before.signal).toBe(signal)
    const after = new Scope()
    after.finish(outcome)
    expect(after.signal.aborted).toBe(aborted)
    if (aborted) expect(after.signal.reason).toBe(outcome.error ?? after.signal.reason)
  })

  test('aborts once, and says that the client has gone unless told why', () => {
    const scope = new Scope()
    scope.abort()
    scope.abort(new Error('again'))
    expect(scope.signal.reason).toMatchObject({ code: 'CLIENT_GONE', status: 499 })
  })

  test('hands on work; without anybody to wait for it, a failure of it harms nobody', async () => {
    const tracked: Promise<unknown>[] = []
    const work = Promise.resolve()
    new Scope((each) => tracked.push(each)).waitUntil(work)
    expect(tracked).toEqual([work])
    new Scope().waitUntil(Promise.reject(new Error('nobody')))
    await new Promise((resolve) => setImmediate(resolve))
  })
})
