// What the FastCGI codec costs by itself: a request encoded, and answers decoded, without any socket.
//
//   npm run build && node --expose-gc bench/codec.mjs [--rounds 5] [--seconds 0.5]
//
// Medians of rounds: time, operations and bytes a second, and bytes of V8's heap for each operation (with --expose-gc only). They say where time cannot be lost; what a request costs is told by the workloads of main.mjs.

import { parseArgs } from 'node:util'
import { PairDecoder, RecordDecoder, Role, Type, encodeRequest, endRequest, record } from '../dist/fastcgi/index.js'
import { enumerate } from '../dist/core/index.js'
import { makeRequest } from '../dist/testing/index.js'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '0.5' } } })
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)

/** Runs `work` for a while, a hundred times between two looks at the clock; seconds for one. */
function time(work) {
  const times = []
  for (let round = 0; round <= rounds; round++) {
    const start = performance.now()
    let count = 0
    let now = start
    while (now - start < seconds * 1000) {
      for (let i = 0; i < 100; i++) work()
      count += 100
      now = performance.now()
    }
    // The first round is for the compiler.
    if (round > 0) times.push((now - start) / 1000 / count)
  }
  return times.sort((a, b) => a - b)[times.length >> 1]
}

/** Bytes of heap for one, between two collections: few enough that none comes in between. */
function allocated(work) {
  if (globalThis.gc === undefined) return undefined
  const sizes = []
  for (let round = 0; round < 21; round++) {
    globalThis.gc()
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < 200; i++) work()
    sizes.push((process.memoryUsage().heapUsed - before) / 200)
  }
  return sizes.sort((a, b) => a - b)[10]
}

function report(name, work, bytes) {
  const each = time(work)
  const heap = allocated(work)
  const columns = [
    `${(each * 1e6).toFixed(2)} us`,
    `${Math.round(1 / each / 1000)} k/s`,
    bytes === undefined ? '' : `${(bytes / each / 1e6).toFixed(0)} MB/s`,
    heap === undefined ? '' : `${Math.max(0, Math.round(heap))} bytes`,
  ]
  console.log(`${name.padEnd(46)}${columns.map((column) => column.padStart(13)).join('')}`)
}

const request = makeRequest({
  target: '/blog/index.php?page=7',
  headers: {
    'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
    'Accept-Language': 'en-US,en;q=0.5',
    'Accept-Encoding': 'gzip, deflate, br, zstd',
    Cookie: 'session=0123456789abcdef0123456789abcdef; theme=dark',
    Connection: 'keep-alive',
  },
  variables: ['SCRIPT_FILENAME', '/srv/www/blog/index.php', 'DOCUMENT_ROOT', '/srv/www'],
})

const buffer = Buffer.alloc(65_536)
const encoded = encodeRequest(1, Role.Responder, true, (emit) => enumerate(request, emit))
const pairs = Array.from({ length: 25 }, (_, i) => [`HTTP_X_HEADER_${i}`, `value of header ${i}`])
// Copied out of the string, for it is flattened only when somebody reads it: the socket would.
report('encode 25 pairs, flattened', () =>
  buffer.latin1Write(
    encodeRequest(1, Role.Responder, true, (emit) => pairs.forEach(([name, value]) => emit(name, value))),
    0,
  ),
)
report(
  `encode a browser's request (${encoded.length} bytes)`,
  () =>
    buffer.latin1Write(
      encodeRequest(1, Role.Responder, true, (emit) => enumerate(request, emit)),
      0,
    ),
  encoded.length,
)

let seen = 0
const sink = {
  data: (_type, _id, _bytes, start, end) => void (seen += end - start),
  end() {},
  record() {},
}
const decoder = new RecordDecoder(sink)
const hello = Buffer.from(record(Type.Stdout, 1, 'Content-Type: text/html\r\n\r\nhello') + endRequest(1, 0, 0), 'latin1')
report('decode a small answer', () => decoder.push(hello), hello.length)

const full = Buffer.from(record(Type.Stdout, 1, 'x'.repeat(65_528)), 'latin1')
report('decode a full record', () => decoder.push(full), full.length)
const small = Buffer.from(record(Type.Stdout, 1, 'x'.repeat(1000)).repeat(64), 'latin1')
report('decode 64 records of 1000 bytes', () => decoder.push(small), small.length)

const params = Buffer.from(encoded, 'latin1')
report(
  "decode a browser's request, pairs and all",
  () => {
    const own = new PairDecoder()
    new RecordDecoder({ data: (_type, _id, bytes, start, end) => own.push(bytes, start, end), end() {}, record() {} }).push(params)
    seen += own.end().length
  },
  params.length,
)
if (seen === 0) throw new Error('nothing was decoded')
