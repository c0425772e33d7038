// Every server in front of every backend: the same behaviours, under lint on both sides of whatever stands between.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { compose, derive, lint, type Backend, type Log, type Middleware, type Outcome } from '../../src/core/index.ts'
import { behaviours, type Behaviour, type Bench } from './behaviours.ts'
import { doors, type OpenDoor } from './doors.ts'
import { rooms } from './rooms.ts'

const TARGETS: Partial<Record<Behaviour, string>> = { head: '/echo', 'slow reader': '/large' }

describe.each(doors)('$name', (door) => {
  describe.each(rooms)('in front of $name', (room) => {
    describe.skipIf(!room.available())('', () => {
      let open: OpenDoor
      let application: Backend
      let outcomes: Outcome[]
      let asked: number
      let said = ''

      /** Writes down what the application's side hears of each request. */
      const watch: Middleware = (next) => (request) => {
        asked++
        request.onFinish((outcome) => void outcomes.push(outcome))
        return next(derive(request, { errors: { write: (text) => void (said += text) } }))
      }

      const say = (_: object, message: string): void => void (said += message)
      const log: Log = { debug: say, info: say, warn: say, error: say }

      beforeAll(async () => {
        application = lint(compose(lint(await room.open(log)), watch))
        open = await door.open(application)
      })
      beforeEach(() => {
        outcomes = []
        asked = 0
        said = ''
      })
      afterAll(async () => {
        await open.close(5000)
        // Rejects with the first rule that was broken, or with what was left open.
        await application.close(5000)
      })

      for (const name of Object.keys(behaviours) as Behaviour[]) {
        const lacking = door.lacks?.[name] ?? room.lacks[name]
        if (lacking !== undefined) {
          test(`has no ${name}: ${lacking}`, () => expect(lacking).not.toBe(''))
          continue
        }
        test(name, async () => {
          const own = room.asks?.[name]
          const bench: Bench = {
            ask: (parts) =>
              open.ask({ target: own?.target ?? TARGETS[name] ?? `/${name}`, ...(own?.headers && { headers: own.headers }), ...parts }),
            get outcomes() {
              return outcomes
            },
            errors: () => said,
          }
          await behaviours[name](bench).catch((error: unknown) => {
            // What the other side said tells more than what the client saw.
            if (error instanceof Error) error.message += `\nsaid: ${said || 'nothing'}\noutcomes: ${JSON.stringify(outcomes)}`
            throw error
          })
          await expect.poll(() => outcomes.length, { message: 'every request hears of its end, once' }).toBe(asked)
          expect(asked).toBeGreaterThan(0)
        })
      }
    })
  })
})
