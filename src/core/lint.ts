// The contract between servers and applications, as a wrapper that holds both sides to it. For tests: it costs time.

import { backend, isBackend, poolsOf } from './compose.ts'
import { FileSlice } from './file-slice.ts'
import { LintedBody, LintedFile } from './lint-body.ts'
import { broken, check, checkRequest, checkResponse, checkTrailers, declaredLength, isStream } from './lint-rules.ts'
import { derive, discard, isBodyless } from './request.ts'
import type { GatewayError } from './errors.ts'
import type { Application, Backend, GatewayRequest, GatewayResponse, HeaderList, Outcome } from './types.ts'

/**
 * The same application under supervision. A broken rule is a GatewayError CONTRACT, 500: thrown to the caller, or failing the
 * body, where it can be; all the others are written to `errors`, and `close` rejects with the first of them. `close` also
 * closes the application, and rejects when something is still open by then.
 */
export function lint(application: Application): Backend {
  const watch = new Watch()
  const call: Application = (request) => {
    checkRequest(request)
    return new Call(watch, request).run(application)
  }
  return backend(call, {
    ready: async () => {
      if (isBackend(application)) await application.ready()
    },
    close: async (grace) => {
      if (isBackend(application)) await application.close(grace)
      watch.conclude()
    },
    pools: () => poolsOf([application]),
  })
}

/** What is still open, and what was found too late to be thrown. */
class Watch {
  readonly #open = new Map<string, number>()
  #late: GatewayError | undefined

  add(what: string, count: 1 | -1): void {
    this.#open.set(what, (this.#open.get(what) ?? 0) + count)
  }

  late(sentence: string): void {
    this.#late ??= broken(sentence)
  }

  conclude(): void {
    if (this.#late !== undefined) throw this.#late
    for (const [what, count] of this.#open) check(count === 0, () => `${count} ${what}`)
  }
}

/** One call of the application. */
class Call {
  readonly #watch: Watch
  readonly #request: GatewayRequest
  #answered = false
  #outcome: Outcome | undefined

  constructor(watch: Watch, request: GatewayRequest) {
    this.#watch = watch
    this.#request = request
  }

  /// ## The exchange
  ///
  run(application: Application): GatewayResponse | Promise<GatewayResponse> {
    const request = this.#request
    /// - `onFinish` calls back exactly once for every request, whatever becomes of it.
    this.#watch.add('requests never heard of their end', 1)
    request.onFinish((outcome) => this.#finished(outcome))
    const inner = derive(request, {
      body: new LintedBody(request.body, {
        name: 'the request body',
        length: request.contentLength,
        over: () => {},
        late: (sentence) => this.#late(sentence),
      }),
      ...(request.inform !== undefined && { inform: (status, headers) => this.#inform(status, headers) }),
    })
    const result = application(inner)
    // A synchronous application stays synchronous.
    return result instanceof Promise ? result.then((response) => this.#answer(response)) : this.#answer(result)
  }

  #finished(outcome: Outcome): void {
    if (this.#outcome !== undefined) {
      this.#late('onFinish called back twice')
      return
    }
    this.#outcome = outcome
    this.#watch.add('requests never heard of their end', -1)
    /// - An outcome is `sent`, `cut`, `failed` or `discarded`, with the status that was sent (0: none) and the bytes of body that were.
    if (!['sent', 'cut', 'failed', 'discarded'].includes(outcome.kind)) this.#late(`an outcome of kind ${String(outcome.kind)}`)
    if (!Number.isInteger(outcome.status) || !(outcome.bytes >= 0)) this.#late('an outcome without its status and its number of bytes')
    /// - Nothing is `sent` before the application has answered, nor without a status.
    if (outcome.kind === 'sent' && (!this.#answered || outcome.status < 200)) this.#late('sent, before there was an answer')
  }

  #inform(status: number, headers: HeaderList): void {
    /// - `inform` takes 100 to 199 but not 101, and only until the application has answered.
    check(Number.isInteger(status) && status >= 100 && status < 200 && status !== 101, () => `inform with status ${status}`)
    check(!this.#answered, () => 'inform after the answer')
    this.#request.inform!(status, headers)
  }

  #answer(response: GatewayResponse): GatewayResponse {
    this.#answered = true
    try {
      checkResponse(response, this.#request.method)
    } catch (error) {
      const body: unknown = response?.body
      if (body instanceof FileSlice || isStream(body)) discard(response, error)
      throw error
    }
    return this.#withTrailers(this.#withBody(response))
  }

  #withBody(response: GatewayResponse): GatewayResponse {
    const { body } = response
    if (body === null || typeof body === 'string' || body instanceof Uint8Array) return response
    /// - Who takes a response reads its body to the end or cancels it (`discard`), and closes a `FileSlice`.
    let open = true
    this.#watch.add('response bodies were neither read to their end nor cancelled', 1)
    const over = (): void => {
      if (open) this.#watch.add('response bodies were neither read to their end nor cancelled', -1)
      open = false
    }
    if (body instanceof FileSlice) return { ...response, body: new LintedFile(body, over) }
    const length = isBodyless(this.#request.method, response.status) ? undefined : declaredLength(response)
    return {
      ...response,
      body: new LintedBody(body, { name: 'the response body', length, over, late: (sentence) => this.#late(sentence) }),
    }
  }

  #withTrailers(response: GatewayResponse): GatewayResponse {
    const { body, trailers } = response
    if (trailers === undefined) return response
    let asked = false
    return {
      ...response,
      trailers: () => {
        /// - Trailers are asked for once, after the body has ended.
        check(!asked, () => 'trailers were asked for twice')
        check(!(body instanceof LintedBody) || body.state === 'ended', () => 'trailers were asked for before the body ended')
        asked = true
        const list = trailers()
        if (list instanceof Promise) return list.then(checked)
        return checked(list)
      },
    }
  }

  #late(sentence: string): void {
    this.#watch.late(sentence)
    this.#request.errors.write(`core: lint: ${sentence}\n`)
  }
}

function checked(list: HeaderList): HeaderList {
  checkTrailers(list)
  return list
}
