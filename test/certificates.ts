// Certificates for tests, made by openssl as they are needed.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface MadeCertificate {
  readonly cert: string
  readonly key: string
}

export class CertificateFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), 'viaduct-tls-'))

  /** A self-signed certificate for these names; `days` below zero has expired. */
  make(file: string, names: readonly string[], days: number = 2): MadeCertificate {
    const cert = join(this.path, `${file}.crt`)
    const key = join(this.path, `${file}.key`)
    const name = ['-subj', `/CN=${names[0]}`, '-addext', `subjectAltName=${names.map((each) => `DNS:${each}`).join(',')}`]
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    execFileSync('openssl', ['req', '-x509', ...curve, ...name, '-days', String(Math.max(days, 1)), '-keyout', key, '-out', cert], {
      stdio: 'pipe',
    })
    if (days < 0) execFileSync('openssl', ['x509', '-in', cert, '-signkey', key, '-days', String(days), '-out', cert], { stdio: 'pipe' })
    return { cert, key }
  }

  remove(): void {
    rmSync(this.path, { recursive: true })
  }
}
