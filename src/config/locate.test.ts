import { describe, expect, test } from 'vitest'
import { locate } from './locate.ts'
import type { Look, Probe } from './locate.ts'

const settings = { php: ['.php'], index: ['index.html', 'index.php'] }

/** A folder as text: `name` a file, `name*` an executable one, `name/` a folder, `name>/real` a link; `!outside` and `?denied`. */
function folder(...names: string[]): Probe & { looks: string[] } {
  const all = new Map<string, Look>([['/', { kind: 'directory' }]])
  const add = (path: string, look: Look): void => {
    for (let end = path.indexOf('/', 1); end !== -1; end = path.indexOf('/', end + 1)) all.set(path.slice(0, end), { kind: 'directory' })
    all.set(path, look)
  }
  for (const name of names) {
    const [path = '', inner] = name.replace(/[*!?]$/, '').split('>')
    if (name.endsWith('!')) add(path, { kind: 'outside' })
    else if (name.endsWith('?')) add(path, { kind: 'denied' })
    else if (name.endsWith('/')) add(path.slice(0, -1), { kind: 'directory' })
    else add(path, { kind: 'file', executable: name.endsWith('*'), inner: inner ?? path })
  }
  const looks: string[] = []
  return {
    looks,
    look(path) {
      looks.push(path)
      const found = all.get(path.endsWith('/') && path !== '/' ? path.slice(0, -1) : path) ?? { kind: 'nothing' }
      return Promise.resolve(found.kind === 'file' && path.endsWith('/') ? { kind: 'nothing' } : found)
    },
  }
}

const php = (script: string, pathInfo = ''): object => ({ kind: 'php', script, pathInfo })
const cgi = (script: string, pathInfo = ''): object => ({ kind: 'cgi', script, pathInfo })
const file = (path: string): object => ({ kind: 'static', path })
const nothing = { kind: 'nothing' }
const refused = (status: number): object => expect.objectContaining({ kind: 'refused', status }) as object

describe('a path in a folder without a front controller', () => {
  const site = folder(
    '/a.php',
    '/a.txt',
    '/A.PHP',
    '/sub/b.php',
    '/sub/index.html',
    '/blog/index.php',
    '/both/index.html',
    '/both/index.php',
    '/empty/',
    '/dir.php/c.php',
    '/dir.php/c.txt',
    '/upload.jpg',
    '/.php',
    '/sub/.php',
    '/x.phar',
    '/secret.py',
    '/site.conf',
    '/wp-config.php.bak',
    '/.env',
    '/.git/config',
    '/.well-known/acme-challenge/token',
    '/.well-known/.hidden',
    '/cgi-bin/echo*',
    '/cgi-bin/data.json',
    '/cgi-bin/index.html',
    '/cgi-bin/deep/tool*',
    '/cgi-bin/page.php',
    '/tool.cgi*',
    '/plain.cgi',
    '/secret!',
    '/locked?',
    '/out/deep!',
    '/link.php>/lib/real.php',
    '/evil.php>/uploads/evil.txt',
    '/notes.txt>/a.php',
    '/git.txt>/.git/config',
    '/sp ace.php',
    '/caf\xc3\xa9.php',
  )

  test.each<[string, object]>([
    ['/a.php', php('/a.php')],
    ['/a.php/', php('/a.php', '/')],
    ['/a.php/rest/of.php/it', php('/a.php', '/rest/of.php/it')],
    ['/sub/b.php/x', php('/sub/b.php', '/x')],
    ['/blog/', php('/blog/index.php')],
    ['/blog', { kind: 'folder' }],
    ['/blog/index.php/2026/post', php('/blog/index.php', '/2026/post')],
    ['/blog/2026/post', php('/blog/index.php')],
    ['/both/', file('/both/index.html')],
    ['/both/nothing', php('/both/index.php')],
    ['/sub/', file('/sub/index.html')],
    ['/empty/', nothing],
    ['/', nothing],
    ['/a.txt', file('/a.txt')],
    ['/a.txt/', nothing],
    ['/a.txt/more', nothing],
    // A folder whose name looks like a script is a folder.
    ['/dir.php/c.php', php('/dir.php/c.php')],
    ['/dir.php/c.php/i', php('/dir.php/c.php', '/i')],
    ['/dir.php/c.txt', file('/dir.php/c.txt')],
    ['/dir.php', { kind: 'folder' }],
    // cgi.fix_pathinfo's famous mistake.
    ['/upload.jpg/x.php', nothing],
    ['/upload.jpg', file('/upload.jpg')],
    // An extension alone is a hidden file.
    ['/.php', refused(404)],
    ['/sub/.php', refused(404)],
    ['/missing.php', nothing],
    ['/missing.php/x', nothing],
    // Case counts, and what only looks like a script is still not shown.
    ['/A.PHP', refused(404)],
    ['/x.phar', refused(404)],
    ['/secret.py', refused(404)],
    ['/site.conf', refused(404)],
    ['/wp-config.php.bak', refused(404)],
    ['/.env', refused(404)],
    ['/.git/config', refused(404)],
    ['/.git/nothing', refused(404)],
    ['/.well-known/acme-challenge/token', file('/.well-known/acme-challenge/token')],
    ['/.well-known/.hidden', refused(404)],
    ['/cgi-bin/echo', cgi('/cgi-bin/echo')],
    ['/cgi-bin/echo/', cgi('/cgi-bin/echo', '/')],
    ['/cgi-bin/echo/a/b', cgi('/cgi-bin/echo', '/a/b')],
    ['/cgi-bin/deep/tool/x.php', cgi('/cgi-bin/deep/tool', '/x.php')],
    ['/cgi-bin/data.json', refused(403)],
    ['/cgi-bin/data.json/x', refused(403)],
    ['/cgi-bin/missing', nothing],
    ['/cgi-bin/', nothing],
    ['/cgi-bin/page.php', php('/cgi-bin/page.php')],
    ['/tool.cgi', cgi('/tool.cgi')],
    ['/tool.cgi/x/y', cgi('/tool.cgi', '/x/y')],
    ['/plain.cgi', refused(403)],
    ['/secret', refused(404)],
    ['/secret/x', refused(404)],
    ['/out/deep/er/x.php', refused(404)],
    ['/locked', refused(403)],
    ['/locked/x', refused(403)],
    // Links: to another script, to a text that would be run, to sources that would be shown.
    ['/link.php', php('/link.php')],
    ['/evil.php', refused(404)],
    ['/notes.txt', refused(404)],
    ['/git.txt', refused(404)],
    ['/sp ace.php', php('/sp ace.php')],
    ['/caf\xc3\xa9.php/x', php('/caf\xc3\xa9.php', '/x')],
    ['/a.php\0.txt', nothing],
    ['/a.txt\0.php', nothing],
    ['*', nothing],
    ['', nothing],
  ])('%j', async (path, expected) => {
    expect(await locate(site, settings, path)).toEqual(expected)
  })
})

describe('a front controller', () => {
  const site = folder('/index.php', '/wp-admin/index.php', '/wp-content/style.css', '/wp-content/uploads/a.jpg', '/cgi-bin/echo*')

  test.each<[string, object]>([
    ['/', php('/index.php')],
    ['/2026/09/hello-world/', php('/index.php')],
    ['/index.php/2026', php('/index.php', '/2026')],
    ['/wp-admin/nothing/here', php('/wp-admin/index.php')],
    ['/wp-admin/', php('/wp-admin/index.php')],
    ['/wp-content/style.css', file('/wp-content/style.css')],
    ['/wp-content/missing.css', php('/index.php')],
    ['/wp-content/', php('/index.php')],
    ['/wp-content/uploads/a.jpg/x.php', php('/index.php')],
    ['/cgi-bin/missing', nothing],
    ['/.env', refused(404)],
  ])('%j', async (path, expected) => {
    expect(await locate(site, settings, path)).toEqual(expected)
  })

  test('a long path costs no more looks than there are folders', async () => {
    site.looks.length = 0
    expect(await locate(site, settings, '/x'.repeat(4000))).toEqual(php('/index.php'))
    expect(site.looks.length).toBeLessThan(6)
  })
})

const asBytes = (text: string): string => Buffer.from(text).toString('latin1')

describe('whatever bytes a path has', () => {
  // A name whose case folds to other lengths moved the end of the script elsewhere (CVE-2026-27590, CVE-2026-45062).
  const odd = ['\u0130', '\u212a', '\u017f', '\ufb03', '\u1e9e', 'ǅ', 'Ⱥ', 'ß', '\u{1f600}', '\u00ad', '\u2010']

  test('nothing but the letters .php makes a script, and script and path info are the path', async () => {
    for (const a of odd) {
      for (const b of odd) {
        const names = [`/${a}.php${b}`, `/${a}.p${b}hp`, `/x${b}.txt`, `/${a}.\uff50hp`, `/${a}.PHP${b}`, `/${a}.Php`].map(asBytes)
        const site = folder(...names, asBytes(`/${a}.php`))
        for (const name of names) {
          const rest = asBytes(`/${b}.php/${a}`)
          expect(await locate(site, settings, name), name).not.toMatchObject({ kind: 'php' })
          expect(await locate(site, settings, name + rest), name).toEqual(nothing)
        }
        const script = asBytes(`/${a}.php`)
        const rest = asBytes(`/${b}.php/${a}`)
        expect(await locate(site, settings, script + rest)).toEqual(php(script, rest))
      }
    }
  })

  test('no byte beside those of the suffix ends a name in it', async () => {
    for (let byte = 1; byte < 256; byte++) {
      const char = String.fromCharCode(byte)
      if (char === '/') continue
      const name = `/x.php${char}`
      const site = folder(`${name}`)
      // `?` and the like are marks of folder() above, so the probe is asked for what it made of them.
      expect(
        await locate(
          { look: (path) => (path === name ? Promise.resolve({ kind: 'file', inner: name }) : site.look(`${path}-`)) },
          settings,
          name,
        ),
      ).not.toMatchObject({ kind: 'php' })
    }
  })
})
