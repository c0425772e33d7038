import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { FileSlice, MemoryBudget, discard } from '../core/index.ts'
import { makeRequest } from '../testing/index.ts'
import { Held } from './held.ts'
import { identity } from './root.ts'
import { staticFiles } from './static.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-held-'))
afterAll(() => rmSync(folder, { recursive: true }))

const SIZE = 100_000
let count = 0
function file(size: number = SIZE): { real: string; identity: ReturnType<typeof identity> } {
  const real = join(folder, `${count++}.bin`)
  writeFileSync(real, Buffer.alloc(size, count))
  return { real, identity: identity(statSync(real)) }
}

/** Polls: a read is under way in another thread. */
async function until<Value>(value: () => Value | undefined): Promise<Value> {
  const deadline = Date.now() + 10_000
  for (;;) {
    const found = value()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error('waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('the content of a larger file', () => {
  test('is kept when it is asked for the second time, and given back to the budget when it is forgotten', async () => {
    const budget = new MemoryBudget(SIZE)
    const held = new Held({ clock: () => 0, budget })
    const form = file()
    held.asked(form)
    expect(budget.used, 'once is not often').toBe(0)
    held.asked(form)
    const content = await until(() => held.get(form))
    expect(content.length).toBe(SIZE)
    expect(budget.used).toBe(SIZE)
    held.forget(form)
    expect(held.get(form)).toBeUndefined()
    expect(budget.used).toBe(0)
  })

  test('takes the place of what was not asked for in the last second, and of nothing hotter', async () => {
    const budget = new MemoryBudget(SIZE * 2 - 1)
    let now = 0
    const held = new Held({ clock: () => now, budget })
    const [old, young] = [file(), file()]
    for (let i = 0; i < 2; i++) held.asked(old)
    await until(() => held.get(old))
    now = 900
    for (let i = 0; i < 2; i++) held.asked(young)
    expect(held.get(old), 'still hot').toBeDefined()
    now = 2000
    held.asked(young)
    await until(() => held.get(young))
    expect(held.get(old)).toBeUndefined()
    expect(budget.used).toBe(SIZE)
  })

  test('is not kept when it is too large, has changed since it was described, or is gone', async () => {
    const budget = new MemoryBudget(SIZE * 10)
    const held = new Held({ clock: () => 0, budget, largest: SIZE })
    const large = file(SIZE + 1)
    const changed = file()
    writeFileSync(changed.real, Buffer.alloc(SIZE - 1))
    const gone = file()
    rmSync(gone.real)
    for (const form of [large, changed, gone]) for (let i = 0; i < 2; i++) held.asked(form)
    await until(() => (budget.used === 0 ? true : undefined))
    for (const form of [large, changed, gone]) expect(held.get(form)).toBeUndefined()
  })
})

describe('a folder', () => {
  test('answers from memory what is asked for often, and never an older content than the disk has', async () => {
    const name = file(200_000).real
    const application = staticFiles({ root: folder, age: 0 })
    const get = async (headers: string[] = []) =>
      application(makeRequest({ target: name.slice(folder.length), headers: ['Host', 'a', ...headers] }))
    const fromDisk = async (): Promise<boolean> => {
      const response = await get()
      discard(response)
      return response.body instanceof FileSlice
    }
    expect(await fromDisk()).toBe(true)
    const deadline = Date.now() + 10_000
    while (await fromDisk()) if (Date.now() > deadline) throw new Error('never kept')

    const part = await get(['Range', 'bytes=10-19'])
    expect([part.status, (part.body as Uint8Array).length]).toEqual([206, 10])
    const several = await get(['Range', 'bytes=0-9,100-109'])
    expect(several.body, 'several ranges are not joined in memory').not.toBeInstanceOf(Uint8Array)
    discard(several)

    writeFileSync(name, Buffer.alloc(200_000, 99))
    const fresh = await get()
    expect(fresh.body).toBeInstanceOf(FileSlice)
    discard(fresh)
    await application.close()
  })
})
