// Reads what the entries of package.json export out of the sources: every declaration with its docstring and its signature.
// No type is worked out: exports say their types themselves (isolatedDeclarations), so a parser is enough.
import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseSync } from 'oxc-parser'

/** @typedef {{ name: string, kind: string, signature: string, doc: string | undefined, members: Member[], names: string[], parents: string[], file: string, line: number }} Declaration */
/** @typedef {{ signature: string, doc: string | undefined, members: Member[], line: number }} Member */

/** A reader of the sources below `root`. */
export function openSources(root) {
  const files = new Map()

  function read(file) {
    const known = files.get(file)
    if (known !== undefined) return known
    const source = readFileSync(file, 'utf8')
    const { program, comments, errors } = parseSync(file, source)
    if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`)
    const made = { file, source, program, comments, declared: new Map(), imported: new Map(), exported: new Map(), stars: [] }
    files.set(file, made)
    for (const statement of program.body) enter(made, statement)
    return made
  }

  /** Where a name of a file comes from: the file and name of its declaration, undefined for what is not ours. */
  function origin(file, name) {
    const { declared, imported } = read(file)
    if (declared.has(name)) return { file, name }
    const from = imported.get(name)
    return from === undefined ? undefined : exportOf(from.file, from.name)
  }

  function exportOf(file, name) {
    const { exported, stars } = read(file)
    const known = exported.get(name)
    if (known !== undefined) return known.file === undefined ? origin(file, known.name) : exportOf(known.file, known.name)
    for (const star of stars) {
      const found = exportOf(star, name)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** The names that a file exports, in its order, and where each is declared. */
  function exportsOf(file) {
    const { exported, stars } = read(file)
    const all = new Map()
    for (const star of stars) for (const [name, place] of exportsOf(star)) all.set(name, place)
    for (const name of exported.keys()) {
      const place = exportOf(file, name)
      if (place === undefined) throw new Error(`${relative(root, file)} exports ${name}, which is not ours`)
      all.set(name, place)
    }
    return all
  }

  /** What is declared there under this name: more than one for a value and a type of the same name. @returns {Declaration[]} */
  function declarations({ file, name }) {
    const made = read(file)
    const nodes = made.declared.get(name)
    const signatures = nodes.filter(({ node }) => node.type === 'TSDeclareFunction')
    const functions = signatures.length > 0 ? signatures : nodes.filter(({ node }) => node.type === 'FunctionDeclaration')
    const others = nodes.filter(({ node }) => !/Function/.test(node.type))
    const described = others.map((each) => inherited(describe(made, name, [each])))
    const all = functions.length > 0 ? [describe(made, name, functions), ...described] : described
    return all.length < 2 ? all : [merged(all)]
  }

  /** A member that says nothing of itself is what the class or interface says that it comes from. */
  function inherited(declaration) {
    const parents = declaration.parents.flatMap((name) => {
      const place = origin(declaration.file, name)
      return place === undefined ? [] : declarations(place)
    })
    const members = declaration.members.map((each) => {
      const doc = each.doc ?? parents.flatMap((parent) => parent.members).find((other) => nameOf(other) === nameOf(each))?.doc
      return { ...each, doc }
    })
    return { ...declaration, members }
  }

  const opening = (file) => {
    const { source } = read(file)
    return (
      /^(?:\/\/.*\n)+/
        .exec(source)?.[0]
        .replace(/^\/\/ ?/gm, '')
        .trim() ?? ''
    )
  }

  return { exportsOf, declarations, origin, opening }
}

// -- statements ----------------------------------------------------------------------------------------------------------

function enter(made, statement) {
  const { file, declared, imported, exported, stars } = made
  const from = statement.source?.value
  const target = from?.startsWith('.') ? join(dirname(file), from) : undefined
  if (statement.type === 'ImportDeclaration') {
    if (target === undefined) return
    for (const { imported: what, local } of statement.specifiers)
      if (what !== undefined) imported.set(local.name, { file: target, name: what.name })
  } else if (statement.type === 'ExportAllDeclaration') stars.push(target)
  else if (statement.type === 'ExportNamedDeclaration' && statement.declaration === null)
    for (const { local, exported: as } of statement.specifiers) exported.set(as.name, { file: target, name: local.name })
  else {
    const isExported = statement.type === 'ExportNamedDeclaration'
    const node = isExported ? statement.declaration : statement
    for (const [name, declarator] of declaredIn(node)) {
      declared.set(name, [...(declared.get(name) ?? []), { node, declarator, start: statement.start }])
      if (isExported) exported.set(name, { name })
    }
  }
}

function declaredIn(node) {
  if (node.type === 'VariableDeclaration')
    return node.declarations.flatMap((each) => (each.id.name === undefined ? [] : [[each.id.name, each]]))
  return node.id?.name === undefined ? [] : [[node.id.name]]
}

const nameOf = ({ signature }) => /^(?:get |static )?([\w$]+|\[[^\]]+\])/.exec(signature)?.[1]

// -- docstrings and signatures -------------------------------------------------------------------------------------------

/** The docstring that ends right before this place. */
function docBefore({ source, comments }, start) {
  const comment = comments.findLast((each) => each.end <= start && each.type === 'Block' && each.value.startsWith('*'))
  if (comment === undefined || source.slice(comment.end, start).trim() !== '') return undefined
  return comment.value
    .slice(1)
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
    .join('\n')
    .trim()
}

const lineOf = ({ source }, at) => source.slice(0, at).split('\n').length

/** Source without comments and without what stands at the place of `left`, which is told of elsewhere. */
function text({ source, comments }, start, end, left = []) {
  const gaps = comments.map((each) => ({ start: each.start, end: each.end, instead: '' }))
  const within = [...left.map((each) => ({ start: each.start, end: each.end, instead: '{ ... }' })), ...gaps]
    .filter((each) => each.start >= start && each.end <= end)
    .toSorted((x, y) => x.start - y.start)
  let out = ''
  let at = start
  for (const gap of within) {
    if (gap.start < at) continue
    out += source.slice(at, gap.start) + gap.instead
    at = gap.end
  }
  return (out + source.slice(at, end))
    .replace(/[ \t]+$/gm, '')
    .replace(/\n{2,}/g, '\n')
    .trim()
}

/** A declaration as one line: what the formatter broke is put together again. */
const flat = (code) =>
  code
    .replace(/\{\n([^{}]*)\n\s*\}/g, (_, members) => `{ ${members.trim().replace(/\s*\n\s*/g, '; ')} }`)
    .replace(/\s*\n\s*/g, ' ')
    .replace(/([,:<(]) \| /g, '$1 ')
    .replace(/([([<]) /g, '$1')
    .replace(/,? ([)\]])/g, '$1')
    .replace(/([^=]) >/g, '$1>')

function describe(made, name, nodes) {
  const [{ node, declarator, start }] = nodes
  const names = new Set()
  const shown = { name, doc: undefined, members: [], parents: [], file: made.file, line: lineOf(made, node.start) }
  shown.doc = nodes.map((each) => docBefore(made, each.start)).find((doc) => doc !== undefined)
  if (node.type === 'VariableDeclaration') {
    shown.doc = docBefore(made, start)
    if (declarator.init?.type === 'ArrowFunctionExpression')
      return { ...shown, kind: 'function', signature: arrowSignature(made, declarator, names), names: [...names] }
    return { ...shown, kind: 'value', signature: valueSignature(made, declarator, names), names: [...names] }
  }
  if (node.type === 'TSInterfaceDeclaration') {
    shown.members = node.body.body.map((each) => member(made, each, names))
    for (const each of [node.typeParameters, ...(node.extends ?? [])]) typesIn(each, names)
    shown.parents = parentsIn(node.extends)
    return { ...shown, kind: 'interface', signature: text(made, node.start, node.body.start), names: [...names] }
  }
  if (node.type === 'ClassDeclaration') {
    shown.members = node.body.body.filter(isPublic).map((each) => member(made, each, names))
    for (const each of [node.typeParameters, node.superTypeArguments, ...(node.implements ?? [])]) typesIn(each, names)
    shown.parents = [...parentsIn(node.implements), ...(node.superClass?.type === 'Identifier' ? [node.superClass.name] : [])]
    if (node.superClass?.type === 'Identifier') names.add(node.superClass.name)
    return { ...shown, kind: 'class', signature: text(made, node.start, node.body.start), names: [...names] }
  }
  if (node.type === 'TSTypeAliasDeclaration') {
    typesIn(node, names)
    names.delete(name)
    const literal = node.typeAnnotation.type === 'TSTypeLiteral'
    if (literal) shown.members = node.typeAnnotation.members.map((each) => member(made, each, names))
    return { ...shown, kind: 'type', signature: made.source.slice(node.start, node.end), names: [...names] }
  }
  const signature = nodes.map((each) => functionSignature(made, each.node, names)).join('\n')
  return { ...shown, kind: 'function', signature, names: [...names] }
}

/** A value and the type of its name are one thing to whoever imports it. */
function merged(all) {
  return {
    ...all[0],
    doc: all.map(({ doc }) => doc).find((doc) => doc !== undefined),
    members: all.flatMap(({ members }) => members),
    signature: all.map(({ signature }) => signature).join('\n'),
    names: [...new Set(all.flatMap(({ names }) => names))],
  }
}

function functionSignature(made, node, names) {
  for (const each of [node.typeParameters, ...node.params, node.returnType]) typesIn(each, names)
  return text(made, node.start, node.body?.start ?? node.end).replace(/^async /, '')
}

/** A function is one however it is written. */
function arrowSignature(made, { id, init }, names) {
  for (const each of [init.typeParameters, ...init.params, init.returnType]) typesIn(each, names)
  const types = init.typeParameters === null ? '' : text(made, init.typeParameters.start, init.typeParameters.end)
  const params = init.params.map((each) => text(made, each.start, each.end)).join(', ')
  return `function ${id.name}${types}(${params})${init.returnType === null ? '' : text(made, init.returnType.start, init.returnType.end)}`
}

function valueSignature(made, declarator, names) {
  const { id, init } = declarator
  typesIn(id.typeAnnotation, names)
  const value = made.source.slice(init.start, init.end)
  // A value that is said in a few lines is the best description of itself.
  const short = value.length <= 400 && !value.includes('=>') && !/^(?:new|await|\w+\()/.test(value)
  if (id.typeAnnotation === null || id.typeAnnotation === undefined) return `const ${id.name} = ${value}`
  const type = `const ${id.name}${text(made, id.typeAnnotation.start, id.typeAnnotation.end)}`
  return short ? `${type} = ${value}` : type
}

const isPublic = (node) =>
  !node.override && node.accessibility !== 'private' && node.key?.type !== 'PrivateIdentifier' && node.type !== 'StaticBlock'

/** @returns {Member} */
function member(made, node, names) {
  const value = node.value
  typesIn(node.typeAnnotation, names)
  for (const each of [node.typeParameters, ...(node.params ?? []), node.returnType]) typesIn(each, names)
  if (value?.params !== undefined && node.type === 'MethodDefinition')
    for (const each of [value.typeParameters, ...value.params, value.returnType]) typesIn(each, names)
  const left = literalsIn(node.typeAnnotation?.typeAnnotation).filter((each) =>
    each.members.some((one) => docBefore(made, one.start) !== undefined),
  )
  const end =
    node.type === 'MethodDefinition'
      ? (value.body?.start ?? node.end)
      : node.type === 'PropertyDefinition'
        ? (node.typeAnnotation?.end ?? node.value?.end ?? node.end)
        : node.end
  const signature = flat(text(made, node.start, end, left))
    .replace(/^(static )?(?:(?:public|readonly|abstract|async) )+/, '$1')
    .replace(/[;,]$/, '')
  return {
    signature,
    doc: docBefore(made, node.start),
    members: left.flatMap((each) => each.members.map((one) => member(made, one, names))),
    line: lineOf(made, node.start),
  }
}

/** The object types that a type is made of, but for those inside one of them. */
function literalsIn(node) {
  if (node === null || typeof node !== 'object') return []
  if (node.type === 'TSTypeLiteral') return [node]
  return Object.values(node).flatMap((each) => (typeof each === 'object' ? literalsIn(each) : []))
}

const parentsIn = (clauses) => (clauses ?? []).flatMap(({ expression }) => (expression.type === 'Identifier' ? [expression.name] : []))

/** Every name of a type that stands below a node. */
function typesIn(node, names) {
  if (node === null || typeof node !== 'object') return
  if (Array.isArray(node)) return node.forEach((each) => typesIn(each, names))
  if (node.type === 'TSTypeReference') add(node.typeName, names)
  else if (node.type === 'TSTypeQuery') add(node.exprName, names)
  else if (node.type === 'TSInterfaceHeritage' || node.type === 'TSClassImplements') add(node.expression, names)
  for (const [key, value] of Object.entries(node)) if (key !== 'body' && typeof value === 'object') typesIn(value, names)
}

function add(name, names) {
  if (name.type === 'Identifier') names.add(name.name)
  else if (name.left !== undefined) add(name.left, names)
  else if (name.object !== undefined) add(name.object, names)
}
