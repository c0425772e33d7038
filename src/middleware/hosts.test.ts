import { describe, expect, test } from 'vitest'
import { text } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { hostName, hosts } from './hosts.ts'

test.each([
  ['example.org', 'example.org'],
  ['EXAMPLE.org:8080', 'example.org'],
  ['example.org.', 'example.org'],
  ['example.org.:80', 'example.org'],
  ['[::1]:80', '[::1]'],
  ['[2001:DB8::1]', '[2001:db8::1]'],
  ['', ''],
  // No letters but A to Z are folded: the Kelvin sign is no k (its bytes are above 127).
  ['\u00e2\u0084\u00aa.example', '\u00e2\u0084\u00aa.example'],
])('%s is compared as %s', (given, name) => {
  expect(hostName(given)).toBe(name)
})

const site = (name: string, ...names: string[]): { hosts?: string[]; application: () => ReturnType<typeof text> } => ({
  ...(names.length > 0 && { hosts: names }),
  application: () => text(200, name),
})

describe('sites by host', () => {
  const ask = async (sites: ReturnType<typeof site>[], host: string): Promise<string> => {
    const { status, body } = await serveMemory(hosts(sites)).request({ headers: ['Host', host] })
    return status === 200 ? body.toString() : String(status)
  }
  const all = [site('a', 'example.org', 'www.example.org'), site('wild', '*.example.org'), site('deep', '*.x.example.org'), site('rest')]

  test.each([
    ['example.org', 'a'],
    ['WWW.Example.Org.:8080', 'a'],
    ['b.example.org', 'wild'],
    ['b.c.example.org', 'wild'],
    ['b.x.example.org', 'deep'],
    ['x.example.org', 'wild'],
    ['xexample.org', 'rest'],
    ['.example.org', 'rest'],
    ['example.org.evil.test', 'rest'],
    ['', 'rest'],
  ])('%s goes to %s', async (host, name) => {
    expect(await ask(all, host)).toBe(name)
  })

  test('answer 421 for a host that none of them has', async () => {
    expect(await ask(all.slice(0, 3), 'other.test')).toBe('421')
    expect(await ask(all.slice(0, 3), 'b.example.org')).toBe('wild')
  })
})
