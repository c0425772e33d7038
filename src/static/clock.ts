// A clock that is read without a call into the system: for questions like "is this older than a second".

const STEP = 100

let now = 0
let used = false
let timer: NodeJS.Timeout | undefined

/** Milliseconds since 1970, up to 100 ms late. Ticks only while somebody asks. */
export function coarseNow(): number {
  used = true
  if (timer === undefined) {
    now = Date.now()
    timer = setInterval(tick, STEP)
    timer.unref()
  }
  return now
}

function tick(): void {
  if (used) {
    used = false
    now = Date.now()
  } else {
    clearInterval(timer)
    timer = undefined
  }
}
