// The certificates of one door: chosen by the name that the client asks for (RFC 6066, 3), and read again when their files change.
// Connections that are open keep what they were opened with.

import { statSync } from 'node:fs'
import type { SecureContext, SecureContextOptions } from 'node:tls'
import { describe } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { factsOf, isPem, nameOf, readKeyPair } from './key-pair.ts'
import type { CertificateFiles, ContextSettings, KeyPair } from './key-pair.ts'

/** The certificates of a door, and what it speaks with them. */
export interface TlsOptions extends CertificateFiles, ContextSettings {
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

interface Loaded extends KeyPair {
  readonly names: readonly string[] | undefined
}

const WATCH_INTERVAL = 5000
/** Milliseconds before its end from which on a certificate is worth a warning: renewals come at 30 days, so it has failed for two weeks. */
const SOON = 14 * 86_400_000

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

  /** For clients that ask for no name. */
  get first(): SecureContextOptions {
    return this.#loaded[0]!.settings
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
      this.#refused = ''
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

  get #files(): readonly CertificateFiles[] {
    return [this.#options, ...(this.#options.sni ?? [])]
  }

  #load(): Loaded[] {
    return this.#files.map((files) => {
      const pair = readKeyPair(files, this.#options)
      warn(pair, files, this.#log)
      return { ...pair, names: files.names?.map((each) => each.toLowerCase()) }
    })
  }

  #stamp(): string {
    const files = this.#files.flatMap(({ cert, key }) => [cert, key]).filter((each) => !isPem(each))
    return files.map(stampOf).join('\n')
  }
}

/** Of a file that cannot be looked at, why: reading it says that to a person. */
function stampOf(file: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(file)
    return `${ino} ${size} ${mtimeMs}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}

function warn({ certificate }: KeyPair, files: CertificateFiles, log: Log): void {
  const { from, until } = factsOf(certificate)
  const name = nameOf('certificate', files.cert)
  const now = Date.now()
  if (until < now) log.warn({}, `http: tls: ${name} has expired on ${certificate.validTo}; clients will refuse it`)
  else if (from > now) log.warn({}, `http: tls: ${name} is valid from ${certificate.validFrom} only`)
  else if (until - now < SOON) log.warn({}, `http: tls: ${name} expires on ${certificate.validTo}`)
}

function matches({ names, certificate }: Loaded, asked: string): boolean {
  const name = asked.toLowerCase()
  if (names === undefined) return certificate.checkHost(name) !== undefined
  return names.some((each) => each === name || (each.startsWith('*.') && name.slice(name.indexOf('.') + 1) === each.slice(2)))
}
