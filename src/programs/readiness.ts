// When a pool is ready: once those that it began with have come up, or the first of them has failed.

export class Readiness {
  readonly promise: Promise<void>
  #settle: { resolve: () => void; reject: (error: unknown) => void } | undefined
  #missing = 0

  constructor() {
    this.promise = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    // Whoever awaits it hears of it; a pool nobody waits for reports through its log and its 503s.
    this.promise.catch(() => {})
  }

  expect(count: number): void {
    this.#missing = count
    if (count === 0) this.#resolve()
  }

  arrived(): void {
    if (this.#missing > 0 && --this.#missing === 0) this.#resolve()
  }

  fail(error: unknown): void {
    this.#settle?.reject(error)
    this.#settle = undefined
  }

  #resolve(): void {
    this.#settle?.resolve()
    this.#settle = undefined
  }
}
