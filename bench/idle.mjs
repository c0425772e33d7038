// Memory with thousands of idle connections. Each has had one answer, as a browser's kept connection has.

import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuOf, pssOf } from './cpu.mjs'

const ask = 'GET /small.txt HTTP/1.1\r\nHost: localhost\r\n\r\n'

/**
 * Opens `count` connections to `port`, `batch` at a time, and measures the tree under `pids` before and with them.
 * Returns { before, with, alive, cpu }: bytes as pssOf gives them, connections still open at the end, milliseconds of CPU spent on all of it.
 */
export async function idle({ port, pids, count, batch = 100 }) {
  const sockets = []
  const start = cpuOf(pids)
  const before = pssOf(pids)
  try {
    while (sockets.length < count) {
      const opened = Array.from({ length: Math.min(batch, count - sockets.length) }, () => open(port))
      sockets.push(...(await Promise.all(opened)))
    }
    // Long enough for buffers of the answers to be given back, short of any server's idle timeout.
    await sleep(1500)
    const end = cpuOf(pids)
    const alive = sockets.filter((socket) => !socket.destroyed && !socket.readableEnded).length
    return { before, with: pssOf(pids), alive, cpu: (end.front + end.workers - start.front - start.workers) * 1000 }
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

/** One connection that has been answered. */
function open(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port })
    let received = ''
    socket.setEncoding('latin1')
    socket.once('connect', () => socket.write(ask))
    socket.on('data', (text) => {
      received += text
      const head = received.indexOf('\r\n\r\n')
      if (head === -1) return
      const length = Number(/^content-length: *(\d+)/im.exec(received.slice(0, head))?.[1] ?? 0)
      if (received.length < head + 4 + length) return
      if (!received.startsWith('HTTP/1.1 200')) reject(new Error(`idle: ${received.slice(0, 60)}`))
      else resolve(socket)
    })
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('idle: connection closed before its answer')))
  })
}
