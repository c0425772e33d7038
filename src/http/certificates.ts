// Certificates and keys: read, checked against one another, chosen by the name that the client asks for (RFC 6066, 3), and read again
// when the files change. Connections that are open keep what they were opened with.

import { X509Certificate, createPrivateKey } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { SecureContext, SecureContextOptions } from 'node:tls'
import { GatewayError, describe } from '../core/index.ts'
import type { Log } from '../core/index.ts'

export interface CertificateFiles {
  /** A PEM file, or PEM text: the certificate, then those that lead to its root. */
  readonly cert: string
  /** A PEM file, or PEM text. */
  readonly key: string
  readonly passphrase?: string
  /** Which names it is for, `*.example.org` too. Default: those the certificate says. */
  readonly names?: readonly string[]
}

export interface TlsOptions extends CertificateFiles {
  /** More certificates, for other names. A client that asks for none of them, or for no name, gets the first. */
  readonly sni?: readonly CertificateFiles[]
  /** Default TLSv1.2: the versions before are deprecated (RFC 8996). */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** In OpenSSL's notation, for TLS 1.2. Default: node's. */
  readonly ciphers?: string
  /** Offers HTTP/2 by ALPN, beside HTTP/1.1. Default true. */
  readonly http2?: boolean
  /** Milliseconds between looks whether a file has changed. Default 5000; 0 never looks. */
  readonly watchInterval?: number
}

interface Loaded {
  readonly context: SecureContext
  readonly certificate: X509Certificate
  readonly names: readonly string[] | undefined
}

const WATCH_INTERVAL = 5000

/** All certificates of one door. Throws CONFIG when one cannot be used. */
export class Certificates {
  readonly #options: TlsOptions
  readonly #log: Log
  readonly #changed: (options: SecureContextOptions) => void
  readonly #timer: NodeJS.Timeout | undefined
  #loaded: readonly Loaded[]
  #seen: string
  #refused = ''

  /** @param changed hears of a new first certificate. */
  constructor(options: TlsOptions, log: Log, changed: (options: SecureContextOptions) => void) {
    this.#options = options
    this.#log = log
    this.#changed = changed
    // Before reading: what changes in between is read again.
    this.#seen = this.#stamp()
    this.#loaded = this.#load()
    const interval = options.watchInterval ?? WATCH_INTERVAL
    if (interval > 0) this.#timer = setInterval(() => this.refresh(), interval).unref()
  }

  /** What the server begins with. */
  get first(): SecureContextOptions {
    return contextOptions(this.#options, this.#options)
  }

  /** For `SNICallback`. */
  choose(name: string): SecureContext {
    const found = this.#loaded.find((each) => matches(each, name)) ?? this.#loaded[0]
    return found!.context
  }

  /** Reads the files again if one has changed. A pair that does not fit, for instance because only one is written yet, leaves everything as it was. */
  refresh(): void {
    const stamp = this.#stamp()
    if (stamp === this.#seen || stamp === this.#refused) return
    try {
      this.#loaded = this.#load()
      this.#seen = stamp
      this.#changed(this.first)
      this.#log.info({}, 'http: tls: certificates were read again')
    } catch (error) {
      this.#refused = stamp
      this.#log.error({}, `${describe(error)}; the certificates that were there before stay in use`)
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #load(): Loaded[] {
    return [this.#options, ...(this.#options.sni ?? [])].map((each) => load(each, this.#options, this.#log))
  }

  #stamp(): string {
    const files = [this.#options, ...(this.#options.sni ?? [])].flatMap(({ cert, key }) => [cert, key]).filter((each) => !isPem(each))
    return files
      .map((file) => {
        const stat = statSync(file, { throwIfNoEntry: false })
        return stat === undefined ? '' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`
      })
      .join('\n')
  }
}

function load(files: CertificateFiles, options: TlsOptions, log: Log): Loaded {
  const where = isPem(files.cert) ? 'the certificate' : `the certificate ${files.cert}`
  const settings = contextOptions(files, options)
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(settings.cert as string)
  } catch (error) {
    throw config(`${where} is no PEM certificate`, error)
  }
  const of = isPem(files.key) ? 'the key' : `the key ${files.key}`
  let key
  try {
    key = createPrivateKey({ key: settings.key as string, ...(files.passphrase !== undefined && { passphrase: files.passphrase }) })
  } catch (error) {
    throw config(`${of} is no PEM private key, or its passphrase is wrong or missing`, error)
  }
  if (!certificate.checkPrivateKey(key)) throw config(`${of} does not belong to ${where}; a pair is made together`)
  const now = Date.now()
  if (Date.parse(certificate.validTo) < now)
    log.warn({}, `http: tls: ${where} has expired on ${certificate.validTo}; clients will refuse it`)
  else if (Date.parse(certificate.validFrom) > now) log.warn({}, `http: tls: ${where} is valid from ${certificate.validFrom} only`)
  try {
    return { context: createSecureContext(settings), certificate, names: files.names?.map((each) => each.toLowerCase()) }
  } catch (error) {
    throw config(`${where}, its key or the ciphers cannot be used`, error)
  }
}

function contextOptions(files: CertificateFiles, options: TlsOptions): SecureContextOptions {
  return {
    cert: read(files.cert, 'certificate'),
    key: read(files.key, 'key'),
    ...(files.passphrase !== undefined && { passphrase: files.passphrase }),
    ...(options.ciphers !== undefined && { ciphers: options.ciphers }),
    minVersion: options.minVersion ?? 'TLSv1.2',
    honorCipherOrder: true,
  }
}

function isPem(text: string): boolean {
  return text.includes('-----BEGIN ')
}

function read(from: string, what: string): string {
  if (isPem(from)) return from
  try {
    return readFileSync(from, 'latin1')
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw config(`the ${what} ${from} ${missing ? 'does not exist' : 'cannot be read'}`, error)
  }
}

function matches(loaded: Loaded, asked: string): boolean {
  const name = asked.toLowerCase()
  const { names } = loaded
  if (names === undefined) return loaded.certificate.checkHost(name) !== undefined
  return names.some((each) => each === name || (each.startsWith('*.') && name.slice(name.indexOf('.') + 1) === each.slice(2)))
}

function config(fact: string, cause?: unknown): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: `http: tls: ${fact}`, cause })
}
