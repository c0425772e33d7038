// DokuWiki, a PHP application as people run it: its installer, log-in, pages and media, with the tables of contents in PATH_INFO.
//
// Once with the php-cgi of this machine, once with the embedded PHP: the same pages. The files are those of Debian's package, laid out
// as the project itself ships them. scripts/install-peers.sh unpacks the package.

import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  lstatSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { has } from '../peers.ts'
import { Browser, hiddenFields } from './peers/browser.ts'
import { temporaryFolder } from './peers/index.ts'
import { serveConfig } from './peers/viaduct.ts'
import type { Viaduct } from './peers/viaduct.ts'

const PACKAGE = process.env['VIADUCT_DOKUWIKI'] ?? '/var/cache/viaduct/dokuwiki'

function available(): boolean {
  if (existsSync(join(PACKAGE, 'usr/share/dokuwiki/doku.php'))) return true
  if (process.env['CI'] === 'true') throw new Error(`missing in CI: DokuWiki in ${PACKAGE}`)
  console.warn(`SKIPPED: DokuWiki is not in ${PACKAGE}; scripts/install-peers.sh brings it`)
  return false
}

const LIBRARIES = ['php/phpseclib', 'php/simplepie', 'php-geshi', 'javascript/jquery', 'javascript/jquery-ui', 'javascript/jquery-cookie']
/** Files that name libraries by the places where Debian has them. */
const NAMES_LIBRARIES = [
  'lib/exe/jquery.php',
  'lib/exe/js.php',
  ...['files', 'psr4', 'namespaces', 'static', 'classmap'].map((name) => `vendor/composer/autoload_${name}.php`),
]

/** Undoes what Debian moves to /etc, /var and /usr/share, so that the wiki is what is in `folder`: nothing else is read or written. */
function layOut(folder: string): void {
  cpSync(join(PACKAGE, 'usr/share/dokuwiki'), folder, { recursive: true, filter: (file) => !lstatSync(file).isSymbolicLink() })
  rmSync(join(folder, 'inc/preload.php'))
  cpSync(join(PACKAGE, 'var/lib/dokuwiki/lib'), join(folder, 'lib'), { recursive: true })
  cpSync(join(PACKAGE, 'etc/dokuwiki'), join(folder, 'conf'), { recursive: true, filter: (file) => !lstatSync(file).isSymbolicLink() })
  for (const name of LIBRARIES) cpSync(join('/usr/share', name), join(folder, 'vendor', name), { recursive: true, dereference: true })
  for (const name of NAMES_LIBRARIES) {
    const file = join(folder, name)
    writeFileSync(file, readFileSync(file, 'utf8').replaceAll('/usr/share/', `${folder}/vendor/`))
  }
  mkdirSync(join(folder, 'data'))
  for (const entry of readdirSync(join(PACKAGE, 'var/lib/dokuwiki/data'))) {
    if (statSync(join(PACKAGE, 'var/lib/dokuwiki/data', entry)).isDirectory()) mkdirSync(join(folder, 'data', entry))
  }
  const defaults = join(folder, 'conf/dokuwiki.php')
  writeFileSync(defaults, readFileSync(defaults, 'utf8').replace('/var/lib/dokuwiki/data', './data'))
  // Pages as /doku.php/name: the page is in PATH_INFO, and every link of the site then is of that form.
  appendFileSync(defaults, `\n$conf['userewrite'] = 2;\n`)
}

/** What `viaduct serve` would make of the folder, with the interpreter that is asked for. */
function configured(folder: string, interpreter: string): string {
  const file = join(folder, 'viaduct.config.json')
  writeFileSync(
    file,
    JSON.stringify({
      applications: { wiki: { kind: 'folder', root: '.', php: { interpreter, workers: 2 } } },
      sites: [{ routes: [{ application: 'wiki' }] }],
    }),
  )
  return file
}

/** The pages that each interpreter made in the end, by what they were asked for. */
const made = new Map<string, Map<string, string>>()

/** Without what is another with each visit: ports, tokens, times, and the numbers that are made of them. */
function lasting(text: string, port: number): string {
  return text
    .replaceAll(String(port), 'PORT')
    .replace(/(name="sectok" value=")[^"]*/g, '$1')
    .replace(/((?:tseed|sectok|rev|amp;t|tok)=)[0-9a-f]+/g, '$1')
    .replace(/(taskrunner\.php\?id=[^"&]*&amp;)\d+/g, '$1')
    .replace(/("(?:date|sectok)":)(?:"[^"]*"|\d+)/g, '$1')
    .replace(/\d{4}\\?\/\d\d\\?\/\d\d \d\d:\d\d/g, 'TIME')
    .replace(/(<(?:lastBuildDate|pubDate|dc:date)>)[^<]*/g, '$1')
    .replace(/\d{4}-\d\d-\d\dT[\d:+]*/g, 'TIME')
}

const interpreters = [...(has('php-cgi') ? ['native'] : []), 'embedded']

// One story, in order: each chapter needs the state that the one before left.
describe.skipIf(!available()).each(interpreters)('DokuWiki, with the %s PHP', (interpreter) => {
  const temporary = temporaryFolder('viaduct-dokuwiki-')
  let server: Viaduct
  let browser: Browser

  beforeAll(async () => {
    layOut(temporary.path)
    server = await serveConfig(configured(temporary.path, interpreter))
    browser = new Browser(server.port)
  })

  afterAll(async () => {
    browser?.close()
    await server?.stop()
    temporary.remove()
  })

  test('is installed by its installer', async () => {
    const form = await browser.get('/install.php')
    expect(form.status, form.text.slice(0, 500)).toBe(200)

    const done = await browser.post('/install.php', {
      ...hiddenFields(form.text, 'd[title]'),
      'd[title]': 'Aqueducts & bridges',
      'd[acl]': 'on',
      'd[superuser]': 'agnes',
      'd[fullname]': 'Agnès Pont',
      'd[email]': 'agnes@example.org',
      'd[password]': 'pont du gard',
      'd[confirm]': 'pont du gard',
      'd[policy]': '1',
      'd[license]': 'cc-by-sa',
      submit: '',
    })

    expect(done.text).toContain('configuration was finished successfully')
    expect(readFileSync(join(temporary.path, 'conf/users.auth.php'), 'utf8')).toContain('agnes:')
  })

  test('shows its start page in place of the folder, with styles and scripts', async () => {
    const start = await browser.get('/')

    expect(start.status).toBe(200)
    expect(start.text).toContain('Aqueducts &amp; bridges')
    const assets = [...start.text.matchAll(/(?:href|src)="(\/lib\/exe\/(?:css|js|jquery)\.php[^"]*)"/g)].map((match) =>
      match[1]!.replaceAll('&amp;', '&'),
    )
    expect(assets.length).toBeGreaterThanOrEqual(3)
    for (const asset of assets) {
      const answer = await browser.get(asset)
      expect([answer.status, answer.body.length > 5000], asset).toEqual([200, true])
    }
    expect((await browser.get('/lib/tpl/dokuwiki/images/logo.png')).headers['content-type']).toBe('image/png')
  })

  test('refuses to edit for a visitor, and knows the administrator after log-in', async () => {
    expect((await browser.get('/doku.php/wiki:bridges?do=edit')).text).not.toContain('name="wikitext"')
    const form = await browser.get('/doku.php/start?do=login')

    const wrong = await browser.post('/doku.php/start', { ...hiddenFields(form.text, 'name="u"'), u: 'agnes', p: 'aqueduct' })
    expect(wrong.text).toContain('Sorry, username or password was wrong.')
    const right = await browser.post('/doku.php/start', { ...hiddenFields(form.text, 'name="u"'), u: 'agnes', p: 'pont du gard' })

    expect(right.text).toContain('Agnès Pont')
  })

  test('saves a page that was edited, and reads it back as page and as text', async () => {
    const text = '====== Bridges ======\n\nThe //Pont du Gard// has **three** rows of arches: ünïcödé & <angles>.\n'
    const form = await browser.get('/doku.php/wiki:bridges?do=edit')
    expect(form.text).toContain('name="wikitext"')

    const saved = await browser.post('/doku.php/wiki:bridges', {
      ...hiddenFields(form.text, 'name="wikitext"'),
      wikitext: text.replaceAll('\n', '\r\n'),
      summary: 'first words',
      'do[save]': '1',
    })

    expect(saved.text).toContain('<em>Pont du Gard</em> has <strong>three</strong> rows of arches: ünïcödé &amp; &lt;angles&gt;.')
    expect((await browser.get('/doku.php/wiki:bridges?do=export_raw')).text.trim()).toBe(text.trim())
    const visitor = new Browser(server.port)
    expect((await visitor.get('/doku.php/wiki:bridges')).text).toContain('<em>Pont du Gard</em>')
    visitor.close()
  })

  test('takes a file that is uploaded, and gives it back byte for byte', async () => {
    // DokuWiki looks at the content of what is called a picture, so it has to be one.
    const content = readFileSync(join(temporary.path, 'lib/tpl/dokuwiki/images/logo.png'))
    const form = await browser.get('/lib/exe/mediamanager.php?ns=wiki')

    const answer = await browser.upload(
      '/lib/exe/mediamanager.php?ns=wiki',
      { ...hiddenFields(form.text, 'name="upload"'), mediaid: 'arch.png' },
      { upload: { filename: 'arch.png', type: 'image/png', content } },
    )

    expect(answer.text).toContain('Upload successful')
    const file = await browser.get('/lib/exe/fetch.php/wiki:arch.png')
    expect([file.status, file.headers['content-type']]).toEqual([200, 'image/png'])
    expect(file.body.equals(content)).toBe(true)
  })

  test('has pages that can be compared', async () => {
    const visitor = new Browser(server.port)
    const pages = new Map<string, string>()
    const paths = [
      '/doku.php/wiki:bridges',
      '/doku.php/wiki:syntax',
      '/doku.php/start?do=index',
      '/doku.php/start?do=login',
      '/doku.php/none',
      '/feed.php',
    ]
    for (const path of paths) {
      // A second visit: the first has parsed it, and what it found out is on the page.
      for (const who of [visitor, browser]) await who.get(path)
      for (const [name, who] of [
        ['visitor', visitor],
        ['agnes', browser],
      ] as const) {
        const { status, text } = await who.get(path)
        pages.set(`${name} ${path}`, `${status}\n${lasting(text, server.port)}`)
      }
    }
    visitor.close()
    made.set(interpreter, pages)
    expect(pages.get('agnes /doku.php/wiki:bridges')).toContain('Pont du Gard')
  })
})

test.skipIf(!available() || interpreters.length < 2)('DokuWiki makes the same pages with both', () => {
  const [native, embedded] = ['native', 'embedded'].map((each) => made.get(each)!)
  expect([...native!.keys()].length).toBeGreaterThan(10)
  for (const [path, page] of native!) expect(embedded!.get(path)?.split('\n'), path).toEqual(page.split('\n'))
})
