import { describe, expect, test } from 'vitest'
import { makeRequest } from '../testing/index.ts'
import { SHAPES, SentShapes, ShapeTable, pairsOf, variablesOf } from './shapes.ts'

const split = (text: string): string[] => text.split('\0').slice(0, -1)

describe('the variables of a request', () => {
  test('are names and values, each followed by a NUL', () => {
    const request = makeRequest({ target: '/a%20b?c=d', headers: ['Host', 'example.org', 'X-Empty', ''] })
    const { names, values } = variablesOf(request, undefined)
    const all = Object.fromEntries(split(names).map((name, i) => [name, split(values)[i]]))
    expect(split(names)).toHaveLength(split(values).length)
    expect(all).toMatchObject({ PATH_INFO: '/a b', QUERY_STRING: 'c=d', HTTP_HOST: 'example.org', HTTP_X_EMPTY: '' })
    expect(all).not.toHaveProperty('CONTENT_LENGTH')
    expect(pairsOf({ names, values })).toBe(
      split(names)
        .map((name, i) => `${name}\0${split(values)[i]}\0`)
        .join(''),
    )
  })

  test('say the length of a body that was spooled, and the scheme when it is not http', () => {
    const request = makeRequest({ method: 'POST', scheme: 'https', body: [Buffer.from('abc')] })
    const { names, values } = variablesOf(request, 3)
    const all = Object.fromEntries(split(names).map((name, i) => [name, split(values)[i]]))
    expect(all).toMatchObject({ CONTENT_LENGTH: '3', 'wsgi.url_scheme': 'https', HTTPS: 'on' })
  })

  test('hold nothing that a client or a setting could pass for a key of the worker', () => {
    const request = makeRequest({ headers: ['Proxy', 'evil', 'X_A', '1'], variables: ['wsgi.input', 'evil', 'REMOTE_USER', 'agnes'] })
    const names = split(variablesOf(request, undefined).names)
    expect(names).toContain('REMOTE_USER')
    for (const name of ['wsgi.input', 'HTTP_PROXY', 'HTTP_X_A']) expect(names).not.toContain(name)
  })
})

describe('the table of shapes', () => {
  test('gives a list of names the same number again', () => {
    const table = new ShapeTable()
    expect([table.numberOf('A\0'), table.numberOf('B\0'), table.numberOf('A\0')]).toEqual([1, 2, 1])
  })

  test('gives none to names that are too long to be kept', () => {
    const table = new ShapeTable()
    expect([table.numberOf('N'.repeat(4096)), table.numberOf('N'.repeat(4097))]).toEqual([1, 0])
  })

  test('begins anew when it is full, and every connection with it', () => {
    const table = new ShapeTable()
    const sent = new SentShapes()
    for (let i = 1; i <= SHAPES; i++) expect(table.numberOf(`N${i}\0`)).toBe(i)
    expect([sent.first(table, 1), sent.first(table, 1), sent.first(table, SHAPES)]).toEqual([true, false, true])
    expect(table.numberOf('another\0')).toBe(1)
    expect([sent.first(table, 1), sent.first(table, 1)]).toEqual([true, false])
    expect(table.numberOf('N1\0')).toBe(2)
  })
})
