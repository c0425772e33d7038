// What a configuration means on this machine: plain data, which can be shown, compared and sent to another process.

import type { CertificateFacts, HttpLimits } from '../http/index.ts'
import type { ListenSpec } from '../runtime/index.ts'
import type { Route } from './config.ts'
import type { PlanEntry } from './describe.ts'
import type { Secret } from './values.ts'

export interface CertificatePlan {
  /** Absolute paths. */
  readonly cert: string
  readonly key: string
  readonly passphrase?: Secret
  readonly names?: readonly string[]
  readonly facts: CertificateFacts
}

export interface TlsPlan {
  /** The first is for whoever asks for no name that another has. */
  readonly certificates: readonly CertificatePlan[]
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  readonly ciphers?: string
  readonly http2?: boolean
  /** Milliseconds. */
  readonly watchInterval?: number
}

export interface ListenerPlan {
  readonly listen: ListenSpec
  readonly protocol: 'http' | 'fastcgi'
  /** For FastCGI: addresses of web servers that may connect. */
  readonly allow?: readonly string[]
  readonly tls?: TlsPlan
  /** Plain HTTP that sends clients to https: at this port, or at that of another listener, by its place. */
  readonly redirect?: { readonly port: number } | { readonly listener: number }
}

export interface ApplicationPlan {
  readonly kind: string
  /** Of the kind's own making. */
  readonly plan: unknown
  readonly entries: readonly PlanEntry[]
  /** Folders that X-Sendfile may name files in: absolute. */
  readonly sendfile: readonly string[]
}

export interface RoutePlan extends Route {
  /** Where it is written. */
  readonly at: string
}

export interface HostPlan {
  readonly at: string
  readonly hosts?: readonly string[]
  readonly routes: readonly RoutePlan[]
}

export interface LogPlan {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly format?: 'pretty' | 'json'
  /** `-`, `off` or an absolute path. */
  readonly access: string
  readonly accessFormat?: 'pretty' | 'json' | 'combined'
}

export interface ServerPlan {
  readonly listeners: readonly ListenerPlan[]
  readonly applications: Readonly<Record<string, ApplicationPlan>>
  readonly sites: readonly HostPlan[]
  readonly trustedProxies?: { readonly from: readonly string[]; readonly headers?: 'x-forwarded' | 'forwarded' }
  readonly limits: Partial<HttpLimits>
  /** Bytes of a request body, for every application; 0: each kind has its own limit. */
  readonly maxBody: number
  readonly logs: LogPlan
  /** Milliseconds. */
  readonly grace: number
  readonly pidFile?: string
}
