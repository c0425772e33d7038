// A certificate and its key: read, and checked against one another.

import { X509Certificate, createPrivateKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { KeyObject } from 'node:crypto'
import type { SecureContext, SecureContextOptions } from 'node:tls'
import { GatewayError } from '../core/index.ts'

/** A certificate and its key, in files or as text. */
export interface CertificateFiles {
  /** A PEM file, or PEM text: the certificate, then those that lead to its root. */
  readonly cert: string
  /** A PEM file, or PEM text. */
  readonly key: string
  /** Of an encrypted key. */
  readonly passphrase?: string
  /** Which names it is for, `*.example.org` too. Default: those the certificate says. */
  readonly names?: readonly string[]
}

/** What is the same for all certificates of a door. */
export interface ContextSettings {
  /** The oldest version that is spoken. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** In OpenSSL's notation, for TLS 1.2. */
  readonly ciphers?: string
}

/** What a certificate says of itself. */
export interface CertificateFacts {
  /** Names and addresses that it is for. */
  readonly names: readonly string[]
  /** Milliseconds since 1970. */
  readonly from: number
  /** Milliseconds since 1970. */
  readonly until: number
}

/** Something that is wrong with a pair, and in which of its members. */
export interface CertificateFault {
  /** Which member of the pair or of the settings. */
  readonly member: 'cert' | 'key' | 'passphrase' | 'ciphers'
  /** What is there: `the key /etc/site.key does not exist`. */
  readonly fact: string
}

export interface KeyPair {
  readonly settings: SecureContextOptions
  readonly context: SecureContext
  readonly certificate: X509Certificate
}

/** Looks at a pair as a door would that serves with it: what its certificate says, or everything that is wrong. */
export function examineCertificate(
  files: CertificateFiles,
  settings: ContextSettings = {},
): CertificateFacts | readonly CertificateFault[] {
  const found = open(files, settings)
  return 'context' in found ? factsOf(found.certificate) : found
}

/** Throws CONFIG with the first thing that is wrong. */
export function readKeyPair(files: CertificateFiles, settings: ContextSettings): KeyPair {
  const found = open(files, settings)
  if ('context' in found) return found
  throw new GatewayError('CONFIG', { status: 500, message: `http: tls: ${found[0]!.fact}` })
}

export function factsOf(certificate: X509Certificate): CertificateFacts {
  // Names first: a client that speaks to an address says no name.
  const names = (certificate.subjectAltName ?? '').split(', ').flatMap((each) => /^(?:DNS|IP Address):(.+)$/.exec(each)?.[1] ?? [])
  const common = /^CN=(.+)$/m.exec(certificate.subject)?.[1]
  return {
    names: names.length > 0 || common === undefined ? names : [common],
    from: Date.parse(certificate.validFrom),
    until: Date.parse(certificate.validTo),
  }
}

/** How a message calls it. */
export function nameOf(what: 'certificate' | 'key', from: string): string {
  return isPem(from) ? `the ${what}` : `the ${what} ${from}`
}

export function isPem(text: string): boolean {
  return text.includes('-----BEGIN ')
}

function open(files: CertificateFiles, { minVersion = 'TLSv1.2', ciphers }: ContextSettings): KeyPair | CertificateFault[] {
  const faults: CertificateFault[] = []
  const tell = (member: CertificateFault['member'], fact: string): undefined => void faults.push({ member, fact })
  const cert = read(files.cert, 'certificate', (fact) => tell('cert', fact))
  const key = read(files.key, 'key', (fact) => tell('key', fact))
  const certificate =
    cert === undefined ? undefined : certificateOf(cert, () => tell('cert', `${nameOf('certificate', files.cert)} is no PEM certificate`))
  const secret = key === undefined ? undefined : keyOf(key, files, tell)
  if (certificate === undefined || secret === undefined) return faults
  if (!certificate.checkPrivateKey(secret)) {
    tell('key', `${nameOf('key', files.key)} does not belong to ${nameOf('certificate', files.cert)}; a pair is made together`)
    return faults
  }
  const settings: SecureContextOptions = {
    cert: cert!,
    key: key!,
    ...(files.passphrase !== undefined && { passphrase: files.passphrase }),
    ...(ciphers !== undefined && { ciphers }),
    minVersion,
    honorCipherOrder: true,
  }
  try {
    return { settings, context: createSecureContext(settings), certificate }
  } catch (error) {
    const reason = (error as Error).message.replace(/^error:\w+:/, '')
    if (ciphers !== undefined && /cipher/i.test(reason))
      tell('ciphers', `the ciphers ${JSON.stringify(ciphers)} cannot be used (${reason})`)
    else tell('cert', `${nameOf('certificate', files.cert)} cannot be used (${reason})`)
    return faults
  }
}

function read(from: string, what: 'certificate' | 'key', tell: (fact: string) => undefined): string | undefined {
  if (isPem(from)) return from
  try {
    return readFileSync(from, 'latin1')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return tell(`${nameOf(what, from)} ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}`)
  }
}

function certificateOf(text: string, tell: () => undefined): X509Certificate | undefined {
  try {
    return new X509Certificate(text)
  } catch {
    return tell()
  }
}

// PKCS #8, and what OpenSSL wrote before it.
const ENCRYPTED = /-----BEGIN (?:ENCRYPTED |[^-]+-----\s+Proc-Type: 4,ENCRYPTED)/

function keyOf(
  text: string,
  files: CertificateFiles,
  tell: (member: CertificateFault['member'], fact: string) => undefined,
): KeyObject | undefined {
  const { passphrase } = files
  const name = nameOf('key', files.key)
  try {
    return createPrivateKey({ key: text, ...(passphrase !== undefined && { passphrase }) })
  } catch {
    if (!ENCRYPTED.test(text)) return tell('key', `${name} is no PEM private key`)
    return tell(
      'passphrase',
      `${name} ${passphrase === undefined ? 'is encrypted, and its passphrase is missing' : 'cannot be decrypted with this passphrase'}`,
    )
  }
}
