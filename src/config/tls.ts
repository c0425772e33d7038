// TLS of a listener: how it is written, and what its certificates are on this machine.

import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { examineCertificate } from '../http/index.ts'
import { mistake, pathText } from './problems.ts'
import { readSecret } from './secrets.ts'
import { choice, duration, list, may, milliseconds, must, namedGroup, secret, text, yes } from './values.ts'
import type { z } from 'zod'
import type { CertificateFiles, ContextSettings, TlsOptions } from '../http/index.ts'
import type { Certificate, Tls } from './config.ts'
import type { CertificatePlan, TlsPlan } from './plan.ts'
import type { Path, Problem } from './problems.ts'

const certificateMembers = (): Record<string, z.ZodType> => ({
  cert: must(text('the path of a PEM file'), 'A PEM file: the certificate, then those that lead to its root.'),
  key: must(text('the path of a PEM file'), 'A PEM file: the private key of the certificate.'),
  passphrase: may(secret(), 'Of an encrypted key.'),
  names: may(
    list(text('a host name such as "example.org" or "*.example.org"'), 'a list of host names'),
    'Which names it is shown for. Default: those that the certificate says.',
  ),
})

let certificate: z.ZodObject | undefined

export const tlsSchema = (): z.ZodType =>
  namedGroup('Tls', {
    ...certificateMembers(),
    sni: may(
      list((certificate ??= namedGroup('Certificate', certificateMembers())), 'a list of certificates: { "cert", "key" }'),
      'More certificates, for other names. A client that asks for none of them, or for no name, gets the first.',
    ),
    minVersion: may(choice('TLSv1.2', 'TLSv1.3'), 'The oldest version that is spoken.', 'TLSv1.2'),
    ciphers: may(text("a list of ciphers in OpenSSL's notation"), "For TLS 1.2, in OpenSSL's notation. Default: Node's."),
    http2: may(yes(), 'HTTP/2 for clients that offer it (ALPN). The others get HTTP/1.1.', true),
    watchInterval: may(
      duration(),
      'How often is looked whether a file has changed: then new connections get the new certificate, and those that are open go on. 0: never.',
      '5s',
    ),
  })

/** Reads every certificate, and tells what is wrong with it. `folder`: what relative paths begin at. */
export function checkTls(given: Tls, at: Path, folder: string, tell: (problem: Problem) => void): TlsPlan {
  const { minVersion, ciphers, http2, watchInterval, sni = [] } = given
  const settings = { ...(minVersion !== undefined && { minVersion }), ...(ciphers !== undefined && { ciphers }) }
  const certificates = [
    checkCertificate(given, at, folder, tell, settings),
    // What is wrong with the ciphers is said once.
    ...sni.map((each, i) => checkCertificate(each, [...at, 'sni', i], folder, tell, {})),
  ]
  return {
    certificates,
    ...settings,
    ...(http2 !== undefined && { http2 }),
    ...(watchInterval !== undefined && { watchInterval: milliseconds(watchInterval) }),
  }
}

function checkCertificate(
  given: Certificate,
  at: Path,
  folder: string,
  tell: (problem: Problem) => void,
  settings: ContextSettings,
): CertificatePlan {
  const { names, passphrase } = given
  for (const [i, name] of (names ?? []).entries()) {
    if (!/^(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(name) || isIP(name) !== 0)
      tell(mistake([...at, 'names', i], 'a host name such as "example.org" or "*.example.org"', JSON.stringify(name)))
  }
  const files: CertificateSource = {
    cert: resolve(folder, given.cert),
    key: resolve(folder, given.key),
    ...(names !== undefined && { names }),
    ...(passphrase !== undefined && {
      passphrase: typeof passphrase === 'object' && 'file' in passphrase ? { file: resolve(folder, passphrase.file) } : passphrase,
    }),
  }
  let readable: CertificateFiles
  try {
    readable = filesOf(files)
  } catch (error) {
    tell({ at: pathText([...at, 'passphrase']), message: (error as Error).message.replace(/^config: /, '') })
    return { ...files, facts: { names: [], from: 0, until: 0 } }
  }
  const found = examineCertificate(readable, settings)
  if ('until' in found) return { ...files, facts: found }
  for (const { member, fact } of found) tell({ at: pathText([...at, member]), message: fact })
  return { ...files, facts: { names: [], from: 0, until: 0 } }
}

type CertificateSource = Omit<CertificatePlan, 'facts'>

function filesOf({ cert, key, passphrase, names }: CertificateSource): CertificateFiles {
  return {
    cert,
    key,
    ...(passphrase !== undefined && { passphrase: readSecret(passphrase, 'passphrase') }),
    ...(names !== undefined && { names }),
  }
}

/** What the door takes. Throws CONFIG where a passphrase cannot be had any more. */
export function tlsOptions({ certificates, ...settings }: TlsPlan): TlsOptions {
  const [first, ...more] = certificates.map(filesOf)
  return { ...first!, ...(more.length > 0 && { sni: more }), ...settings }
}

const DAY = 86_400_000
/** Days before its end from which on a certificate is warned of: renewals come at 30, so they have failed for two weeks. */
const SOON = 14

/** What works, and will not for long, or not for everybody: a sentence each. `now` in milliseconds. */
export function certificateWarnings({ certificates }: TlsPlan, now: number): string[] {
  return certificates.flatMap(({ cert, names, facts }) => {
    const left = Math.floor((facts.until - now) / DAY)
    const other = (names ?? []).filter((name) => !facts.names.some((each) => covers(each.toLowerCase(), name.toLowerCase())))
    return [
      ...(facts.until < now ? [`the certificate ${cert} has expired on ${dateOf(facts.until)}; clients refuse it`] : []),
      ...(facts.from > now ? [`the certificate ${cert} is valid from ${dateOf(facts.from)} only; clients refuse it until then`] : []),
      ...(facts.until >= now && left < SOON
        ? [`the certificate ${cert} expires in ${left === 1 ? 'a day' : `${left} days`}, on ${dateOf(facts.until)}`]
        : []),
      ...(other.length > 0 ? [`the certificate ${cert} is not for ${other.join(', ')}; clients refuse it there`] : []),
    ]
  })
}

function covers(pattern: string, name: string): boolean {
  return pattern === name || (pattern.startsWith('*.') && name.slice(name.indexOf('.') + 1) === pattern.slice(2))
}

/** The day, in UTC. */
export function dateOf(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}
