// Writes docs/api/: one page for every entry of package.json, made of the docstrings in the sources, and an index of them.
// An export without a docstring is a mistake. With --check it writes nothing, names what is not as it should be and exits 1:
// a test does that. --root PATH: another package.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'
import { openSources } from './api-read.mjs'

const given = process.argv.indexOf('--root')
const root = given === -1 ? join(import.meta.dirname, '..') : resolve(process.argv[given + 1])
const folder = join(root, 'docs/api')
const sources = openSources(root)
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const problems = []

const GROUPS = [
  ['Functions', ['function']],
  ['Classes', ['class']],
  ['Values', ['value']],
  ['Types', ['interface', 'type']],
]
const HIDDEN = 'Named by these, not exported'

// -- pages and their anchors ---------------------------------------------------------------------------------------------

const keyOf = ({ file, name }) => `${file}#${name}`

/** Where each declaration is told of: its first entry, for what several export. Key -> { page, anchor }. */
const places = new Map()

const pages = Object.entries(manifest.exports)
  .filter(([, target]) => target.types !== undefined)
  .map(([path, target]) => {
    const name = path === '.' ? 'viaduct' : `viaduct/${path.slice(2)}`
    const file = join(root, target.types.replace('./dist/', 'src/').replace(/\.d\.ts$/, '.ts'))
    return { name, file, page: `${basename(name)}.md`, exports: sources.exportsOf(file), told: [], elsewhere: [] }
  })

const exported = new Set(pages.flatMap((page) => [...page.exports.values()].map(keyOf)))

for (const page of pages) {
  const hidden = new Map()
  for (const [name, place] of page.exports) {
    const key = keyOf(place)
    if (places.has(key)) page.elsewhere.push({ name, key })
    else {
      places.set(key, { page: page.page })
      for (const each of sources.declarations(place)) page.told.push({ ...each, name, key, group: groupOf(each) })
    }
  }
  // What a public signature names and no entry exports is told of where it is named first.
  for (const each of page.told) {
    for (const name of each.names) {
      const origin = sources.origin(each.file, name)
      if (origin === undefined || exported.has(keyOf(origin)) || places.has(keyOf(origin))) continue
      places.set(keyOf(origin), { page: page.page })
      for (const found of sources.declarations(origin))
        hidden.set(`${keyOf(origin)} ${found.kind}`, { ...found, key: keyOf(origin), group: HIDDEN })
    }
  }
  page.told.push(...hidden.values())
  anchor(page)
}

function groupOf({ kind }) {
  return GROUPS.find(([, kinds]) => kinds.includes(kind))[0]
}

/** As GitHub makes them of headings: lower case, and a number for what was there before. */
function anchor(page) {
  page.groups = [...GROUPS.map(([title]) => title), HIDDEN]
    .map((title) => ({ title, told: page.told.filter((each) => each.group === title) }))
    .filter(({ told }) => told.length > 0)
  const used = new Map()
  const slug = (heading) => {
    const made = heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-')
    const before = used.get(made) ?? 0
    used.set(made, before + 1)
    return before === 0 ? made : `${made}-${before}`
  }
  slug(page.name)
  for (const { title, told } of page.groups) {
    slug(title)
    for (const each of told) {
      each.anchor = slug(each.name)
      places.get(each.key).anchor ??= each.anchor
    }
  }
}

// -- text ----------------------------------------------------------------------------------------------------------------

/** Names that a docstring in code quotes may link: `HttpOptions`, not `text`. */
const linkable = new Map()
for (const page of pages.toReversed())
  for (const each of page.told) if (/[a-z][A-Z]|^[A-Z]\w*[a-z]/.test(each.name)) linkable.set(each.name, each.key)

function link(key, from) {
  const { page, anchor: at } = places.get(key)
  return page === from.page ? `#${at}` : `${page}#${at}`
}

function prose(doc, from, own) {
  const here = new Map(from.told.map((each) => [each.name, each.key]))
  return doc
    .replace(/(^| )@param (\w+) /gm, '$1`$2`: ')
    .replace(/(^| )@returns /gm, '$1Gives ')
    .replace(/(^| )@throws (?:GatewayError )?/gm, '$1Throws ')
    .split(/(`[^`]+`)/)
    .map((part) => {
      if (!part.startsWith('`')) return part.replaceAll('<', '\\<')
      const name = part.slice(1, -1).replace(/\(\)$/, '')
      const key = linkable.has(name) ? (here.get(name) ?? linkable.get(name)) : undefined
      return key === undefined || name === own ? part : `[${part}](${link(key, from)})`
    })
    .join('')
}

function summary(doc) {
  const [first] = doc.split('\n\n')
  return /^(?:`[^`]*`|[^`])*?\.(?=\s|$)/.exec(first)?.[0].replaceAll('\n', ' ') ?? first.replaceAll('\n', ' ')
}

function listed(members, from, own, indent = '') {
  return members.flatMap(({ signature, doc, members: inner }) => {
    const said = doc === undefined ? '' : ` — ${prose(doc, from, own).replaceAll('\n', `\n${indent}  `)}`
    // Backquotes in a type, such as a template's, need more of them around it.
    const code = signature.includes('`') ? `\`\` ${signature} \`\`` : `\`${signature}\``
    return [`${indent}- ${code}${said}`, ...listed(inner, from, own, `${indent}  `)]
  })
}

function section(each, from) {
  const lines = [`### ${each.name}`, '']
  if (each.doc === undefined && each.group !== HIDDEN)
    problems.push(`${relative(root, each.file)}:${each.line}: ${each.name} has no docstring`)
  if (each.doc !== undefined) lines.push(prose(each.doc, from, each.name), '')
  lines.push('```ts', each.signature, '```', '')
  if (each.members.length > 0) lines.push(...listed(each.members, from, each.name), '')
  const named = each.names
    .map((name) => ({ name, origin: sources.origin(each.file, name) }))
    .filter(({ name, origin }) => origin !== undefined && name !== each.name && places.has(keyOf(origin)))
    .map(({ name, origin }) => `[${name}](${link(keyOf(origin), from)})`)
  if (named.length > 0) lines.push(`Types: ${named.join(', ')}.`, '')
  return lines
}

/** The first comment of an entry, without the words that its heading says. */
function opening({ file, name }) {
  const text = sources
    .opening(file)
    .replaceAll('\n', ' ')
    .replace(new RegExp(`^The face of \`${name}\`: `), '')
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`
}

function rendered(page) {
  const lines = [
    `# ${page.name}`,
    '',
    opening(page),
    '',
    '```ts',
    `import { ... } from '${page.name}'`,
    '```',
    '',
    '[All entries](README.md)',
    '',
  ]
  for (const { title, told } of page.groups) {
    if (title === HIDDEN) continue
    lines.push(
      `**${title}**`,
      '',
      ...told.map(
        (each) => `- [${each.name}](#${each.anchor})${each.doc === undefined ? '' : ` — ${prose(summary(each.doc), page, each.name)}`}`,
      ),
      '',
    )
  }
  if (page.elsewhere.length > 0) {
    const links = page.elsewhere.map(({ name, key }) => `[${name}](${link(key, page)})`)
    lines.push(`It also exports ${links.join(', ')}.`, '')
  }
  for (const { title, told } of page.groups) lines.push(`## ${title}`, '', ...told.flatMap((each) => section(each, page)))
  return `${lines.join('\n').trimEnd()}\n`
}

const index = `# The library

What each entry of the package exports, from the docstrings in its sources. [Library](../library.md) is the way in, with examples
that run; [contract](../contract.md) is what a request and a response must be.

| entry | |
|---|---|
${pages.map((page) => `| [\`${page.name}\`](${page.page}) | ${opening(page).replaceAll('|', '\\|')} |`).join('\n')}

Text that comes from or goes to the network is a \`ByteString\`: every char is one byte. Sizes are bytes and times are milliseconds unless a
docstring says otherwise. What goes wrong is a [\`GatewayError\`](viaduct.md#gatewayerror) with a \`code\` and the \`status\` that a client would get.

These pages are written by \`npm run docs:api\`.
`

// -- files ---------------------------------------------------------------------------------------------------------------

const outputs = new Map([['README.md', index], ...pages.map((page) => [page.page, rendered(page)])])

for (const problem of problems) console.error(problem)
if (process.argv.includes('--check')) {
  const there = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]))
  const stale = [...new Set([...there.keys(), ...outputs.keys()])].filter((name) => there.get(name) !== outputs.get(name))
  for (const name of stale) console.error(`docs/api/${name} is not what the docstrings say: npm run docs:api`)
  process.exitCode = problems.length + stale.length === 0 ? 0 : 1
} else {
  mkdirSync(folder, { recursive: true })
  for (const name of readdirSync(folder)) if (!outputs.has(name)) rmSync(join(folder, name))
  for (const [name, text] of outputs) writeFileSync(join(folder, name), text)
  process.exitCode = problems.length === 0 ? 0 : 1
}
