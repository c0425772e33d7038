import { describe, expect, test } from 'vitest'
import { headBlock } from './php-engine.ts'

describe('a head as PHP in WebAssembly tells it', () => {
  const whole = String.raw`{ "status": 404, "headers": ["X-Q: \"a\\b\"",` + '\n' + String.raw`"Set-Cookie: a=]}",` + '\n"__terminator__"]}'

  test('becomes a header block', () => {
    expect(headBlock(whole)).toBe('Status: 404\r\nX-Q: "a\\b"\r\nSet-Cookie: a=]}\r\n\r\n')
  })

  test('is one only when it is whole', () => {
    for (let cut = 0; cut < whole.length; cut++) expect(headBlock(whole.slice(0, cut)), `cut at ${cut}`).toBeUndefined()
  })

  test('has the status that the script set as a header', () => {
    expect(headBlock('{ "status": 200, "headers": ["Status: 403 No",\n"__terminator__"]}')).toBe('Status: 403 No\r\n\r\n')
  })

  test('has no type where there is nothing that has one', () => {
    const told = '{ "status": 304, "headers": ["ETag: x",\n"Content-type: text/html",\n"__terminator__"]}'
    expect(headBlock(told)).toBe('Status: 304\r\nETag: x\r\n\r\n')
  })

  test('may have a header that looks like its end, and none at all', () => {
    expect(headBlock('{ "status": 200, "headers": ["__terminator__"]}')).toBe('Status: 200\r\n\r\n')
  })
})
