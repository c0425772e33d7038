import { expect, test } from 'vitest'
import { GatewayError, describe as sentence, escapeHtml, html, redirect, statusOf, text, empty } from './index.ts'

test('an error tells the client a status and the log a sentence with its cause', () => {
  const cause = new Error('ECONNREFUSED')
  const error = new GatewayError('UNAVAILABLE', { status: 502, message: 'fastcgi: no connection', cause, retryAfter: 3 })
  expect(error).toMatchObject({ name: 'GatewayError', code: 'UNAVAILABLE', status: 502, retryAfter: 3, cause })
  expect([statusOf(error), statusOf(new Error('x')), statusOf('x')]).toEqual([502, 500, 500])
  expect(sentence(error)).toBe('fastcgi: no connection: ECONNREFUSED')
  expect(sentence(new GatewayError('UNAVAILABLE', { status: 502, message: 'no: ECONNREFUSED', cause }))).toBe('no: ECONNREFUSED')
  expect(sentence('text')).toBe('text')
  expect('cause' in new GatewayError('CLOSED', { status: 503, message: 'x' })).toBe(false)
})

test('small responses are what they say', () => {
  expect(text(200, 'é', ['X', 'y'])).toEqual({ status: 200, headers: ['Content-Type', 'text/plain; charset=utf-8', 'X', 'y'], body: 'é' })
  expect(html(200, '<p>')).toMatchObject({ headers: ['Content-Type', 'text/html; charset=utf-8'] })
  expect(empty(204)).toEqual({ status: 204, headers: [], body: null })
  expect(redirect(303, '/é')).toEqual({ status: 303, headers: ['Location', '/\xc3\xa9'], body: null })
  expect(escapeHtml(`<a href="x" title='&'>`)).toBe('&#60;a href=&#34;x&#34; title=&#39;&#38;&#39;&#62;')
})
