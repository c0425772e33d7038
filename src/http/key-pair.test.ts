import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CertificateFolder } from '../../test/certificates.ts'
import type { MadeCertificate } from '../../test/certificates.ts'
import { has } from '../../test/peers.ts'
import { examineCertificate } from './index.ts'
import type { CertificateFiles, ContextSettings } from './index.ts'

describe.skipIf(!has('openssl'))('a certificate and its key', () => {
  let folder: CertificateFolder
  let one: MadeCertificate
  let two: MadeCertificate

  beforeAll(() => {
    folder = new CertificateFolder()
    one = folder.make('one', ['one.example', '*.one.example'])
    two = folder.make('two', ['two.example'])
    writeFileSync(join(folder.path, 'junk'), 'junk')
    const locked = (file: string, ...args: string[]): unknown =>
      execFileSync('openssl', [...args, '-in', one.key, '-out', join(folder.path, file), '-passout', 'pass:secret'], { stdio: 'pipe' })
    locked('pkcs8.key', 'pkcs8', '-topk8')
    locked('old.key', 'ec', '-aes128')
  })
  afterAll(() => folder.remove())

  const said = (files: Partial<CertificateFiles>, settings: ContextSettings = {}): unknown => {
    const found = examineCertificate({ ...one, ...files }, settings)
    return Array.isArray(found) ? found.map(({ member, fact }) => `${member}: ${String(fact).replaceAll(`${folder.path}/`, '')}`) : found
  }

  test('say their names and their time', () => {
    const now = Date.now()
    expect(said({})).toEqual({ names: ['one.example', '*.one.example'], from: expect.any(Number), until: expect.any(Number) })
    const { from, until } = examineCertificate(one) as { from: number; until: number }
    expect(from).toBeLessThanOrEqual(now)
    expect(until - now).toBeGreaterThan(86_400_000)
    expect(until - now).toBeLessThan(3 * 86_400_000)
  })

  test('may be text instead of files', () => {
    expect(said({ cert: readFileSync(one.cert, 'latin1'), key: readFileSync(one.key, 'latin1') })).toMatchObject({
      names: ['one.example', '*.one.example'],
    })
  })

  test.each<[string, (path: (file: string) => string) => Partial<CertificateFiles>, ContextSettings, string[]]>([
    [
      'neither is there',
      (at) => ({ cert: at('a'), key: at('b') }),
      {},
      ['cert: the certificate a does not exist', 'key: the key b does not exist'],
    ],
    ['a folder', (at) => ({ key: at('.') }), {}, [' cannot be read (EISDIR)']],
    [
      'both are something else',
      (at) => ({ cert: at('junk'), key: at('junk') }),
      {},
      ['cert: the certificate junk is no PEM certificate', 'key: the key junk is no PEM private key'],
    ],
    [
      'they are swapped',
      () => ({ cert: one.key, key: one.cert }),
      {},
      ['cert: the certificate one.key is no PEM certificate', 'key: the key one.crt is no PEM private key'],
    ],
    [
      'they are of different pairs',
      () => ({ key: two.key }),
      {},
      ['key: the key two.key does not belong to the certificate one.crt; a pair is made together'],
    ],
    [
      'a key without its passphrase',
      (at) => ({ key: at('pkcs8.key') }),
      {},
      ['passphrase: the key pkcs8.key is encrypted, and its passphrase is missing'],
    ],
    [
      'a key with another passphrase',
      (at) => ({ key: at('pkcs8.key'), passphrase: 'x' }),
      {},
      ['passphrase: the key pkcs8.key cannot be decrypted with this passphrase'],
    ],
    [
      'a key of the old form with another passphrase',
      (at) => ({ key: at('old.key'), passphrase: 'x' }),
      {},
      ['passphrase: the key old.key cannot be decrypted with this passphrase'],
    ],
    ['ciphers that nobody has', () => ({}), { ciphers: 'NONE' }, ['ciphers: the ciphers "NONE" cannot be used (']],
  ])('%s: that is told', (_, files, settings, faults) => {
    const found = said(
      files((file) => join(folder.path, file)),
      settings,
    )
    expect(found).toEqual(faults.map((each) => expect.stringContaining(each) as string))
  })

  test.each(['pkcs8.key', 'old.key'])('%s is opened by its passphrase', (file) => {
    expect(said({ key: join(folder.path, file), passphrase: 'secret' })).toMatchObject({ names: ['one.example', '*.one.example'] })
  })
})
