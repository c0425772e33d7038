// Makes out of the configuration's schema what must agree with it: config.schema.json for editors, the type in
// src/config/config.ts, and the tables of docs/configuration.md, below its mark. Needs a build (npm run build).
// With --check it writes nothing, names what is not as it should be and exits 1: a test does that. --dist PATH: another build.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const root = new URL('..', import.meta.url).pathname
const at = process.argv.indexOf('--dist')
const dist = at === -1 ? join(root, 'dist') : resolve(process.argv[at + 1])
const { jsonSchema, kinds } = await import(pathToFileURL(join(dist, 'config/index.js')).href)

const schema = jsonSchema()
const definitions = schema.$defs
const nameOf = (node) => node.$ref?.slice('#/$defs/'.length)

// -- types ---------------------------------------------------------------------------------------------------------------

const comment = (text, indent) => (text === undefined ? '' : `${indent}/** ${text.replaceAll('*/', '*\\/')} */\n`)

function told(node) {
  if (node.description === undefined) return undefined
  return node.default === undefined ? node.description : `${node.description} Default: ${JSON.stringify(node.default)}.`
}

function type(node, indent = '') {
  const name = nameOf(node)
  if (name !== undefined) return name
  if (node.const !== undefined) return JSON.stringify(node.const).replaceAll('"', "'")
  if (node.enum !== undefined) return node.enum.map((each) => `'${each}'`).join(' | ')
  const branches = node.anyOf ?? node.oneOf
  if (branches !== undefined) return [...new Set(branches.map((each) => type(each, indent)))].join(' | ')
  if (node.type === 'array') {
    const item = type(node.items, indent)
    return `readonly ${/[ |]/.test(item) ? `(${item})` : item}[]`
  }
  if (node.type === 'object') {
    if (node.properties === undefined) return `Readonly<Record<string, ${type(node.additionalProperties, indent)}>>`
    return `{\n${members(node, `${indent}  `)}${indent}}`
  }
  return node.type === 'integer' ? 'number' : node.type
}

function members(node, indent) {
  const required = new Set(node.required)
  return Object.entries(node.properties)
    .map(
      ([name, member]) =>
        `${comment(told(member), indent)}${indent}readonly ${name}${required.has(name) ? '' : '?'}: ${type(member, indent)}\n`,
    )
    .join('')
}

/** What the types are that a member's description does not tell of. */
const about = {
  Config: 'What a configuration file holds.',
  Listener: 'Where the server listens, and what is spoken there.',
  Tls: 'The certificates of a listener, and what it speaks with them.',
  Certificate: 'A certificate for some names.',
  Secret:
    "Text; or `{ file }`, what that file holds without the line break at its end; or `{ env }`, a variable of Viaduct's own environment.",
  Duration: 'A number of seconds, or text with a unit: `30`, `"500ms"`, `"30s"`, `"5m"`, `"1h"`.',
  Size: 'A number of bytes, or text with a unit, in powers of 1024: `4096`, `"64K"`, `"8M"`, `"1G"`.',
  Site: 'Some hosts and what answers there.',
  Route: 'Which requests, and what becomes of them. Without an answer of its own it changes them for the routes after it.',
  ...Object.fromEntries(kinds.map(({ id, summary }) => [id, summary])),
}

function declaration(name, node) {
  if (about[name] === undefined) throw new Error(`scripts/config-docs.mjs does not say what ${name} is`)
  const doc = comment(about[name], '')
  if (node.type === 'object') return `${doc}export interface ${name} {\n${members(node, '  ')}}\n`
  return `${doc}export type ${name} = ${type(node)}\n`
}

const types = [
  '// What a configuration file may say. Written by `node scripts/config-docs.mjs` from the schema (schema.ts and kinds/); not by hand.\n',
  declaration('Config', schema),
  `${comment('What a name under `applications` stands for.', '')}export type Application = ${kinds.map(({ id }) => id).join(' | ')}\n`,
  ...Object.entries(definitions).map(([name, node]) => declaration(name, node)),
].join('\n')

// -- tables --------------------------------------------------------------------------------------------------------------

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

function shown(node) {
  const name = nameOf(node)
  if (name !== undefined)
    return ['Duration', 'Size', 'Secret', 'Route', 'Site', 'Listener', 'Tls', 'Certificate'].includes(name)
      ? `[${name.toLowerCase()}](#${name.toLowerCase()})`
      : name
  if (node.const !== undefined) return `\`${JSON.stringify(node.const)}\``
  if (node.enum !== undefined) return node.enum.map((each) => `\`"${each}"\``).join(', ')
  const branches = node.anyOf ?? node.oneOf
  if (branches !== undefined) return [...new Set(branches.map(shown))].join(' or ')
  if (node.type === 'array') return `list of ${shown(node.items)}`
  if (node.type === 'object') return node.properties === undefined ? `names and ${shown(node.additionalProperties)}` : 'object'
  return { string: 'text', integer: 'whole number', number: 'number', boolean: 'true, false' }[node.type]
}

const objectIn = (node) =>
  [node, ...(node.anyOf ?? []), ...(node.items === undefined ? [] : [node.items])].find((each) => each.properties !== undefined)

function rows(node, prefix = '') {
  const required = new Set(node.required)
  return Object.entries(node.properties).flatMap(([name, member]) => {
    if (name === 'kind') return []
    const fallback =
      member.default === undefined ? (required.has(name) && prefix === '' ? '**required**' : '') : `\`${JSON.stringify(member.default)}\``
    const row = `| \`${prefix}${name}\` | ${cell(shown(member))} | ${cell(fallback)} | ${cell(member.description ?? '')} |`
    const inner = nameOf(member) === undefined ? objectIn(member) : undefined
    return inner === undefined || member.type === 'array' ? [row] : [row, ...rows(inner, `${prefix}${name}.`)]
  })
}

const table = (node) => ['| setting | is | default | |', '|---|---|---|---|', ...rows(node)].join('\n')

const reference = [
  '## The file\n',
  table({ ...schema, properties: without(schema.properties, '$schema') }),
  '\n## Listener\n',
  table(definitions.Listener),
  '\n## TLS\n',
  table(definitions.Tls),
  '\n## Certificate\n',
  table(definitions.Certificate),
  '\n## Site\n',
  table(definitions.Site),
  '\n## Route\n',
  table(definitions.Route),
  '\n## Applications\n',
  ...kinds.flatMap(({ kind, id, summary }) => [`### ${kind}\n`, `${summary}\n`, `${table(definitions[id])}\n`]),
  '## Values\n',
  '### duration\n\nA number of seconds, or text with a unit: `30`, `"500ms"`, `"30s"`, `"5m"`, `"1h"`.\n',
  '### size\n\nA number of bytes, or text with a unit, in powers of 1024: `4096`, `"64K"`, `"8M"`, `"1G"`.\n',
  '### secret\n\nText; or `{ "file": "/run/secrets/x" }`, what that file holds without the line break at its end; or `{ "env": "NAME" }`, a variable of',
  "Viaduct's own environment. It is read when the application is built, so a reload reads it again, and it is never printed.\n",
].join('\n')

// The formatter looks at every file of src: what is written here must be as it would have it.
function formatted(path, text) {
  return execFileSync('npx', ['oxfmt', `--stdin-filepath=${path}`], {
    cwd: root,
    input: text,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
  })
}

function without(object, key) {
  const { [key]: _, ...rest } = object
  return rest
}

// -- files ---------------------------------------------------------------------------------------------------------------

const MARK = '<!-- From here on written by scripts/config-docs.mjs from the schema. -->\n'
const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8')
if (!page.includes(MARK)) throw new Error('docs/configuration.md has lost its mark')

const outputs = {
  'config.schema.json': `${JSON.stringify({ $schema: schema.$schema, title: 'Configuration of Viaduct', ...schema }, null, 2)}\n`,
  'src/config/config.ts': formatted('src/config/config.ts', types),
  'docs/configuration.md': `${page.slice(0, page.indexOf(MARK))}${MARK}\n${reference}`,
}

for (const [path, content] of Object.entries(outputs)) {
  const file = join(root, path)
  if (!process.argv.includes('--check')) writeFileSync(file, content)
  else if (readOr(file) !== content) {
    console.log(`${path} is not what the schema says: npm run build && node scripts/config-docs.mjs`)
    process.exitCode = 1
  }
}

function readOr(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
