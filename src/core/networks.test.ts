import { describe, expect, test } from 'vitest'
import { Networks, isNetwork, parseIp } from './networks.ts'

const hex = (text: string): string | undefined => {
  const bytes = parseIp(text)
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('hex')
}

describe('an address', () => {
  test.each([
    ['0.0.0.0', '00000000000000000000ffff00000000'],
    ['192.0.2.255', '00000000000000000000ffffc00002ff'],
    ['::ffff:192.0.2.255', '00000000000000000000ffffc00002ff'],
    ['::FFFF:c000:2ff', '00000000000000000000ffffc00002ff'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['2001:db8::', '20010db8000000000000000000000000'],
    ['2001:db8:1:2:3:4:5:6', '20010db8000100020003000400050006'],
    ['fe80::1%eth0', 'fe800000000000000000000000000001'],
    ['64:ff9b::192.0.2.1', '0064ff9b0000000000000000c0000201'],
  ])('%s is %s', (text, bytes) => {
    expect(hex(text)).toBe(bytes)
  })

  test.each(['', 'localhost', '1.2.3', '1.2.3.4.5', '256.1.1.1', '01.2.3.4', '1:2:3', ':::', '[::1]', ' ::1', '1.2.3.4 '])(
    '"%s" is none',
    (text) => {
      expect(parseIp(text)).toBeUndefined()
    },
  )
})

describe('a set of networks', () => {
  test.each<[string, string, boolean]>([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['::ffff:10.0.0.0/104', '10.9.9.9', true],
    ['192.0.2.128/25', '192.0.2.127', false],
    ['192.0.2.128/25', '192.0.2.128', true],
    ['192.0.2.1', '192.0.2.1', true],
    ['192.0.2.1', '192.0.2.2', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '203.0.113.9', true],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    // Addresses that differ in their last bytes only (CVE-2026-91768).
    ['2001:db8::1', '2001:db8::2', false],
    ['2001:db8::1', '2001:db8:0:0:0:0:1:1', false],
    ['2001:db8::/127', '2001:db8::1', true],
    ['2001:db8::/127', '2001:db8::2', false],
    ['::1', '127.0.0.1', false],
    ['10.0.0.0/8', '', false],
    ['10.0.0.0/8', 'unknown', false],
  ])('%s, %s: %s', (network, address, is) => {
    const set = new Networks(['198.51.100.0/24', network])
    expect(set.has(address)).toBe(is)
    expect(set.has(address)).toBe(is)
  })

  test.each([
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.0/ 8',
    'fe80::1%eth0',
    'example.org',
    'unix',
    '',
  ])('takes no "%s"', (text) => {
    expect(isNetwork(text)).toBe(false)
    expect(new Networks([text]).has('10.0.0.1')).toBe(false)
  })

  test('remembers answers, and not without end', () => {
    const set = new Networks(['10.0.0.0/8'])
    for (let i = 0; i < 5000; i++) expect(set.has(`11.0.${i >> 8}.${i & 255}`)).toBe(false)
    expect(set.has('10.0.0.1')).toBe(true)
  })
})
