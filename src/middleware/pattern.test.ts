import { describe, expect, test } from 'vitest'
import { compilePattern, compileTemplate, patternFault, queryEncode } from './pattern.ts'

describe('a pattern', () => {
  test.each<[string, string, object | undefined]>([
    ['/about', '/about', { base: '', rest: '' }],
    ['/about', '/about/', undefined],
    ['/about', '/About', undefined],
    ['/about', '/abou', undefined],
    ['/', '/', {}],
    ['/', '/x', undefined],
    ['/*', '/', { base: '', rest: '' }],
    ['/*', '/a/b', { base: '', rest: 'a/b' }],
    ['/blog/*', '/blog', { base: '/blog', rest: '' }],
    ['/blog/*', '/blog/', { base: '/blog', rest: '' }],
    ['/blog/*', '/blog/a/b', { base: '/blog', rest: 'a/b' }],
    ['/blog/*', '/blogs/a', undefined],
    ['/blog/*', '/x/blog/a', undefined],
    ['/post/:id', '/post/7', { names: { id: '7' } }],
    ['/post/:id', '/post/', undefined],
    ['/post/:id', '/post/7/', undefined],
    ['/post/:id', '/post/7/8', undefined],
    ['/:year/:slug', '/2026/a b', { names: { year: '2026', slug: 'a b' } }],
    ['/u/:name/*', '/u/anna/x/y', { base: '/u/anna', rest: 'x/y', names: { name: 'anna' } }],
    ['/u/:name/*', '/u/anna', { base: '/u/anna', rest: '', names: { name: 'anna' } }],
    ['/u/:name/*', '/u', undefined],
    ['/img/*.png', '/img/a.png', {}],
    ['/img/*.png', '/img/.png', {}],
    ['/img/*.png', '/img/a/b.png', undefined],
    ['/img/a*b*c', '/img/abc', {}],
    ['/img/a*b*c', '/img/axxbyyc', {}],
    ['/img/a*b*c', '/img/acb', undefined],
    ['/img/ab*ba', '/img/aba', undefined],
    ['*.php', '/x.php', {}],
    ['*.php', '/a/b/x.php', {}],
    ['*.php', '/x.php/y', undefined],
    ['*.php', '/x.php5', undefined],
    ['/a.b', '/axb', undefined],
    ['/(a+)+$', '/aaaa', undefined],
    ['/gr\u00fc\u00df', '/gr\u00c3\u00bc\u00c3\u009f', {}],
  ])('%s, %s: %j', (pattern, path, captures) => {
    const found = compilePattern(pattern).match(path)
    if (captures === undefined) expect(found).toBeUndefined()
    else expect(found).toMatchObject(captures)
  })

  test.each(['/a//b', '/a/../b', '/./a', 'a', '*', '*x/y', '/:', '/:1', '/a:b/:c-d', '/:a/:a', '/:path', 'https://x/'])(
    'is not %s',
    (text) => {
      expect(patternFault(text)).toEqual(expect.any(String))
    },
  )

  test.each(['/', '/*', '/a', '/a/', '/:a/:b', '*.php', '/a/*.x', '/a:b'])('is %s', (text) => {
    expect(patternFault(text)).toBeUndefined()
  })

  test('takes no longer for a path that is made to be hard', () => {
    const pattern = compilePattern(`/${'*a'.repeat(20)}b`)
    const start = performance.now()
    expect(pattern.match(`/${'a'.repeat(8000)}`)).toBeUndefined()
    // A pattern with backtracking would need longer than the universe has.
    expect(performance.now() - start).toBeLessThan(1000)
  })
})

describe('a template', () => {
  test('is filled with values, which are encoded and its own text is not', () => {
    const template = compileTemplate('/a b/{x}/{y}{x}')
    expect(template.names).toEqual(['x', 'y', 'x'])
    expect(
      template.fill(
        (name) => `<${name}>`,
        (value) => encodeURIComponent(value),
      ),
    ).toBe('/a b/%3Cx%3E/%3Cy%3E%3Cx%3E')
  })

  test('has nothing in it where nothing is named', () => {
    expect(compileTemplate('/{}/{1}/{a').names).toEqual([])
    expect(compileTemplate('/ü').fill(String, String)).toBe('/\u00c3\u00bc')
  })
})

test('a value in a query can end neither its name nor the query', () => {
  expect(queryEncode('a&b=c+d e#f%;\'"/?')).toBe('a%26b%3Dc%2Bd%20e%23f%25%3B%27%22%2F%3F')
})
