// What a configuration means on this machine: plain data, which can be shown, compared and sent to another process.

import type { CertificateFacts, HttpLimits } from '../http/index.ts'
import type { ListenSpec } from '../runtime/index.ts'
import type { Route } from './config.ts'
import type { PlanEntry } from './describe.ts'
import type { Secret } from './values.ts'

/** A certificate that was looked at. */
export interface CertificatePlan {
  /** Absolute paths. */
  readonly cert: string
  /** See `cert`. */
  readonly key: string
  /** Of an encrypted key, as it is written. */
  readonly passphrase?: Secret
  /** Default: those that the certificate says. */
  readonly names?: readonly string[]
  /** What it says of itself. */
  readonly facts: CertificateFacts
}

/** What a listener speaks TLS with. */
export interface TlsPlan {
  /** The first is for whoever asks for no name that another has. */
  readonly certificates: readonly CertificatePlan[]
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  readonly ciphers?: string
  readonly http2?: boolean
  /** Milliseconds. */
  readonly watchInterval?: number
}

/** A socket, and what is spoken on it. */
export interface ListenerPlan {
  /** Where. */
  readonly listen: ListenSpec
  /** Connections that may wait there. */
  readonly backlog?: number
  /** `fastcgi`: it is the application of another web server. */
  readonly protocol: 'http' | 'fastcgi'
  /** For FastCGI: addresses of web servers that may connect. */
  readonly allow?: readonly string[]
  /** Without it there is no TLS. */
  readonly tls?: TlsPlan
  /** Plain HTTP that sends clients to https: at this port, or at that of another listener, by its place. */
  readonly redirect?: { readonly port: number } | { readonly listener: number }
}

/** An application, as its kind has described it. */
export interface ApplicationPlan {
  /** `php`, `wsgi` and the like. */
  readonly kind: string
  /** Of the kind's own making. */
  readonly plan: unknown
  /** Lines for the table that is shown at the start. */
  readonly entries: readonly PlanEntry[]
  /** Folders that X-Sendfile may name files in: absolute. */
  readonly sendfile: readonly string[]
}

/** A route, and where it stands. */
export interface RoutePlan extends Route {
  /** Where it is written. */
  readonly at: string
}

/** A site: some hosts and their routes. */
export interface HostPlan {
  /** Where it is written. */
  readonly at: string
  /** Without it: every host that no other has. */
  readonly hosts?: readonly string[]
  /** Tried from the top. */
  readonly routes: readonly RoutePlan[]
}

/** What is logged, and how. */
export interface LogPlan {
  /** From which level on. */
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** Default: pretty on a terminal, json elsewhere. */
  readonly format?: 'pretty' | 'json'
  /** `-`, `off` or an absolute path. */
  readonly access: string
  /** Default: `format`, and json in a file. */
  readonly accessFormat?: 'pretty' | 'json' | 'combined'
}

/** A whole server. */
export interface ServerPlan {
  /** In the order of the file. */
  readonly listeners: readonly ListenerPlan[]
  /** By their names. */
  readonly applications: Readonly<Record<string, ApplicationPlan>>
  /** By host. */
  readonly sites: readonly HostPlan[]
  /** Whose word about the client is believed; without it nobody's. */
  readonly trustedProxies?: { readonly from: readonly string[]; readonly headers?: 'x-forwarded' | 'forwarded' }
  /** Of the HTTP door, where they are not the defaults. */
  readonly limits: Partial<HttpLimits>
  /** Bytes of a request body, for every application; 0: each kind has its own limit. */
  readonly maxBody: number
  /** The log and the access log. */
  readonly logs: LogPlan
  /** Milliseconds. */
  readonly grace: number
  /** Absolute path. */
  readonly pidFile?: string
}
