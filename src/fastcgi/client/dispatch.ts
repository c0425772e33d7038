// A request that several hosts can answer: one of them for each try, another one where the rule of repeating allows it.

import type { ByteStream, GatewayRequest, GatewayResponse } from '../../core/index.ts'
import { ClientCall } from './client-call.ts'
import type { Source } from './client-call.ts'
import type { Client } from './client.ts'
import type { Lane } from './lanes.ts'
import type { Upstream } from './upstream.ts'
import type { Place, Upstreams } from './upstreams.ts'

/** A request with its body, however often it is sent. */
export interface Job {
  readonly request: GatewayRequest
  readonly stream: ByteStream | null
  readonly source: Source
  readonly until: number
}

const NOBODY: ReadonlySet<Upstream> = new Set()

export async function dispatch(client: Client, set: Upstreams, job: Job): Promise<GatewayResponse> {
  let tried: Set<Upstream> | undefined
  let failure: unknown
  for (let left = client.retries; ;) {
    let place: Place
    try {
      place = await set.place(job.request, tried ?? NOBODY)
    } catch (error) {
      // What went wrong with the last host says more than that there is no other.
      throw failure ?? error
    }
    const { host } = place
    const again = tried?.has(host) === true
    tried ??= new Set()
    tried.add(host)
    let lane
    try {
      lane = await place.lane
    } catch (error) {
      host.ended('failure')
      client.tally.failed(error)
      failure = error
      // Nobody was asked: this costs no try, but no host is connected to twice for one request.
      if (again) throw error
      continue
    }
    const answer = await ask(client, place, lane, job)
    if (!(answer instanceof Failure)) return answer
    failure = answer.error
    if (!answer.elsewhere || left-- === 0) throw failure
  }
}

/** One host: perhaps twice, when a kept connection turns out to be closed. */
async function ask(
  client: Client,
  { host, lanes }: Place,
  first: Lane,
  { request, stream, source, until }: Job,
): Promise<GatewayResponse | Failure> {
  for (let lane = first; ;) {
    const call = new ClientCall(client, lanes, lane, request, stream, source, until, host)
    try {
      return await call.answer()
    } catch (error) {
      if (!call.retrying) return new Failure(error, call.elsewhere)
    }
    try {
      lane = await lanes.claimed()
    } catch (error) {
      host.ended('failure')
      client.tally.failed(error)
      return new Failure(error, true)
    }
  }
}

/** A host that gave no answer, and whether another one may be asked. */
class Failure {
  readonly error: unknown
  readonly elsewhere: boolean

  constructor(error: unknown, elsewhere: boolean) {
    this.error = error
    this.elsewhere = elsewhere
  }
}
