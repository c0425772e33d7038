// Text that is not written in the configuration: read when it is needed, and never shown.

import { readFileSync } from 'node:fs'
import { GatewayError } from '../core/index.ts'
import type { Secret } from './values.ts'

/** What a secret says; the line break at the end of a file does not belong to it. Throws CONFIG where it cannot be had. */
export function readSecret(secret: Secret, name: string): string {
  if (typeof secret === 'string') return secret
  if ('env' in secret) {
    const value = process.env[secret.env]
    if (value === undefined) throw unreadable(name, `${secret.env} is not set in the environment of Viaduct`)
    return value
  }
  try {
    return readFileSync(secret.file, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw unreadable(name, `${secret.file} cannot be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
}

export function readSecrets(secrets: Readonly<Record<string, Secret>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(secrets).map(([name, secret]) => [name, readSecret(secret, name)]))
}

/** For people: a reference as it is, a text that was written in the configuration as dots. */
export function maskSecret(secret: Secret): string {
  if (typeof secret === 'string') return '***'
  return 'env' in secret ? `*** (variable ${secret.env})` : `*** (file ${secret.file})`
}

function unreadable(name: string, why: string): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: `config: the value of ${name}: ${why}` })
}
