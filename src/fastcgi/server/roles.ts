// The roles that an application can play, from its own side, each as a function of a request (FastCGI 1.0, 6).
//
// A Responder is any Application. An Authorizer answers with a verdict, so that what lets somebody in cannot come about by a status
// that was meant otherwise. A Filter is an Application whose request has the file that it filters.

import { GatewayError, isFieldValue, isToken } from '../../core/index.ts'
import type { Application, ByteString, FilterData, GatewayRequest, GatewayResponse } from '../../core/index.ts'
import { Role } from '../record.ts'

/** What an Authorizer says: `allow()` or `deny()`. */
export type Verdict =
  | { readonly allowed: true; readonly variables: Readonly<Record<string, ByteString>> }
  | { readonly allowed: false; readonly response: GatewayResponse }

/**
 * Decides whether the request may go on to whatever will answer it (FastCGI 1.0, 6.3). Its request is the client's, but for its body,
 * which is for others, and its place: web servers do not say SCRIPT_NAME and PATH_INFO, so `scriptName` is empty and `pathInfo` the
 * whole path. What it throws is a denial too: 500, or the status of the error.
 */
export type Authorizer = (request: GatewayRequest) => Verdict | Promise<Verdict>

/** A request that carries the file to be filtered. */
export interface FilterRequest extends GatewayRequest {
  /** The file: its bytes, its length and when it was changed. */
  readonly filterData: FilterData
}

/**
 * Answers with what it makes of a file (FastCGI 1.0, 6.4). The request's body comes before the file, so it has to be read first: what
 * is unread when the reading of `filterData.body` begins, or when the answer is given, is dropped. Whoever answers from a cache, by
 * `filterData.lastModified` and `length`, leaves the file unread. A file of another length than it was said to have is an error to
 * its reader (BODY_LENGTH_MISMATCH).
 */
export type Filter = (request: FilterRequest) => GatewayResponse | Promise<GatewayResponse>

/** At least one of them; a request for another role is answered with UNKNOWN_ROLE. */
export interface FastCgiRoles {
  /** Answers requests (FastCGI 1.0, 6.2). */
  readonly responder?: Application
  /** Decides about them (6.3). */
  readonly authorizer?: Authorizer
  /** Answers with what it makes of a file (6.4). */
  readonly filter?: Filter
}

/**
 * Lets the request through. `variables` reach whatever answers it, as variables of these names (`{ REMOTE_USER: 'ada' }`); a client
 * cannot forge them. Values are byte strings: text that is not ASCII goes through `toByteString`.
 */
export function allow(variables: Readonly<Record<string, ByteString>> = {}): Verdict {
  return { allowed: true, variables }
}

/** Refuses it: the client gets this response as it is. Throws CONTRACT for a status of 2xx, by which some web servers would let it through. */
export function deny(response: GatewayResponse): Verdict {
  checkDenial(response)
  return { allowed: false, response }
}

function checkDenial({ status }: GatewayResponse): void {
  if (!(status >= 300)) throw contract(`a denial with status ${status}; give it one of 300 or more, 401 or 403`)
}

/** The applications by role, none for a role that is not played. Throws CONFIG for no role at all. */
export class Cast {
  readonly #responder: Application | undefined
  readonly #authorizer: Application | undefined
  readonly #filter: Application | undefined

  constructor(roles: Application | FastCgiRoles) {
    const { responder, authorizer, filter } = typeof roles === 'function' ? { responder: roles } : roles
    this.#responder = responder
    this.#authorizer = authorizer && authorizing(authorizer)
    // Requests for the role come with the file, which the exchange sees to.
    this.#filter = filter as Application | undefined
    if ((responder ?? authorizer ?? filter) !== undefined) return
    throw new GatewayError('CONFIG', { status: 500, message: 'fastcgi: serveFastCgi: no responder, authorizer or filter was given' })
  }

  for(role: number): Application | undefined {
    if (role === Role.Responder) return this.#responder
    if (role === Role.Authorizer) return this.#authorizer
    return role === Role.Filter ? this.#filter : undefined
  }
}

function authorizing(authorizer: Authorizer): Application {
  return (request) => {
    const verdict = authorizer(request)
    return 'then' in verdict ? verdict.then(responseOf) : responseOf(verdict)
  }
}

/** Whatever is not clearly an `allow` is none. */
function responseOf(verdict: Verdict): GatewayResponse {
  if (verdict.allowed !== true) {
    checkDenial(verdict.response)
    return verdict.response
  }
  const headers: ByteString[] = []
  for (const [name, value] of Object.entries(verdict.variables)) {
    // A space at either end would not arrive.
    if (!isToken(name) || !isFieldValue(value) || value.trim() !== value)
      throw contract(`the variable ${JSON.stringify(name)} cannot be told to a web server`)
    headers.push(`Variable-${name}`, value)
  }
  return { status: 200, headers, body: null }
}

function contract(fact: string): GatewayError {
  return new GatewayError('CONTRACT', { status: 500, message: `fastcgi: an authorizer's answer cannot be sent: ${fact}` })
}
