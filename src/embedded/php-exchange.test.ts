import { expect, test } from 'vitest'
import { GatewayError } from '../core/index.ts'
import { makeRequest } from '../testing/index.ts'
import { Exchange } from './php-exchange.ts'
import { Pipe } from './pipe.ts'

test('an interpreter that is gone is not waited for', async () => {
  const request = makeRequest({ target: '/x.php' })
  let hung = 0
  let cut = 0
  const owner = { cut: () => cut++, hung: () => hung++ }
  const exchange = new Exchange('php', request, new Pipe(Pipe.memory(1024)), { silence: 20, holdBytes: 1024, holdTime: 5 }, owner)
  exchange.lost(new GatewayError('UPSTREAM_TRUNCATED', { status: 502, message: 'gone' }))
  await expect(exchange.response).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
  // The client hears of it, and so its request has ended.
  request.finish({ kind: 'failed', status: 502, bytes: 0, error: undefined })
  await new Promise((resolve) => setTimeout(resolve, 60))
  expect([cut, hung]).toEqual([0, 0])
})
