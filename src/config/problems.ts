// Mistakes in a configuration, as a person wants to read them: where, what was expected, what is there, what was probably meant.

import { nearest } from '../core/index.ts'
import type { z } from 'zod'

/** The way to a value: names and positions. */
export type Path = readonly (string | number)[]

/** A mistake in a configuration. */
export interface Problem {
  /** `applications.blog.workers`, `sites[0].routes[2].path`; empty for the whole file. */
  readonly at: string
  /** What was expected, what is there, and what was probably meant. */
  readonly message: string
  /** Of the file, where that is known. */
  readonly line?: number
}

/** A JSON Schema, as far as it is looked at here. */
export interface SchemaNode {
  readonly $ref?: string
  readonly $defs?: Readonly<Record<string, SchemaNode>>
  readonly properties?: Readonly<Record<string, SchemaNode & { readonly const?: unknown }>>
  readonly additionalProperties?: SchemaNode | boolean
  readonly items?: SchemaNode
  readonly anyOf?: readonly SchemaNode[]
  readonly oneOf?: readonly SchemaNode[]
}

export function pathText(path: Path): string {
  let out = ''
  for (const part of path) {
    if (typeof part === 'number') out += `[${part}]`
    else if (/^[A-Za-z_$][\w$-]*$/.test(part)) out += out === '' ? part : `.${part}`
    else out += `[${JSON.stringify(part)}]`
  }
  return out
}

export function mistake(path: Path | string, expected: string, got: string, hint?: string): Problem {
  const message = `expected ${expected}, got ${got}${hint === undefined ? '' : `; did you mean ${JSON.stringify(hint)}?`}`
  return { at: typeof path === 'string' ? path : pathText(path), message }
}

/** A value as a message shows it: short, and not at all where it may be a secret. */
export function shown(value: unknown, path: Path = []): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'an object'
  if (path.some((part) => part === 'env' || part === 'variables')) return typeof value === 'string' ? 'a text' : `a ${typeof value}`
  if (typeof value !== 'string') return typeof value === 'function' ? 'a function' : String(value)
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value
  for (const part of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return undefined
    at = (at as Record<string | number, unknown>)[part]
  }
  return at
}

type Issue = z.core.$ZodIssue

/** What zod found, one problem for each mistake. */
export function fromIssues(issues: readonly Issue[], value: unknown, schema: SchemaNode): Problem[] {
  return issues.flatMap((issue) => fromIssue(issue, [], value, schema))
}

function fromIssue(issue: Issue, base: Path, value: unknown, schema: SchemaNode): Problem[] {
  const path: Path = [...base, ...(issue.path as (string | number)[])]
  const got = valueAt(value, path)
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, path, value)
    return issue.keys.map((key) => unknownKey([...path, key], key, known))
  }
  if (issue.code === 'invalid_union') {
    const inner = meant(issue.errors, got)
    if (inner !== undefined) return inner.flatMap((each) => fromIssue(each, path, value, schema))
    if ('discriminator' in issue) return wrongKind(issue, path, got)
  }
  const choices = issue.code === 'invalid_value' && typeof got === 'string' ? nearest(got, issue.values.map(String)) : undefined
  return [mistake(path, issue.message, shown(got, path), choices)]
}

/** Of several forms that a value may have, the mistakes in the one that it seems to have: an object was meant as the object. */
function meant(forms: readonly (readonly Issue[])[], got: unknown): readonly Issue[] | undefined {
  if (typeof got !== 'object' || got === null) return undefined
  const fitting = forms.filter((form) => !form.some((issue) => issue.path.length === 0 && issue.code === 'invalid_type'))
  if (fitting.length === 1) return fitting[0]
  // Several objects: none of them is clearly meant.
  return undefined
}

function unknownKey(path: Path, key: string, known: readonly string[]): Problem {
  const hint = nearest(key, known)
  const like = hint === undefined ? (known.length === 0 ? '' : `; there are ${known.join(', ')}`) : `; did you mean "${hint}"?`
  return { at: pathText(path), message: `there is no such setting${like}` }
}

function wrongKind(issue: Issue, path: Path, got: unknown): Problem[] {
  const options = 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : []
  const hint = typeof got === 'string' ? nearest(got, options) : undefined
  return [mistake(path, issue.message, shown(got), hint)]
}

/** The names that an object at this path may have. */
function keysAt(root: SchemaNode, path: Path, value: unknown): string[] {
  let nodes: readonly SchemaNode[] = [root]
  let at: unknown = value
  for (const part of path) {
    nodes = nodes.flatMap((node) => branches(root, node, at)).flatMap((node) => below(node, part))
    at = valueAt(at, [part])
  }
  return [...new Set(nodes.flatMap((node) => branches(root, node, at)).flatMap((node) => Object.keys(node.properties ?? {})))]
}

function below(node: SchemaNode, part: string | number): SchemaNode[] {
  if (typeof part === 'number') return node.items === undefined ? [] : [node.items]
  const member = node.properties?.[part] ?? (typeof node.additionalProperties === 'object' ? node.additionalProperties : undefined)
  return member === undefined ? [] : [member]
}

/** The forms that a value may have here; where the value says its kind, that one. */
function branches(root: SchemaNode, node: SchemaNode, value: unknown): SchemaNode[] {
  if (node.$ref !== undefined) {
    const target = root.$defs?.[node.$ref.slice('#/$defs/'.length)]
    return target === undefined ? [] : branches(root, target, value)
  }
  const forms = node.anyOf ?? node.oneOf
  if (forms === undefined) return [node]
  const kind = valueAt(value, ['kind'])
  const all = forms.flatMap((form) => branches(root, form, value))
  const same = all.filter((form) => kind !== undefined && form.properties?.['kind']?.const === kind)
  return same.length > 0 ? same : all
}

/** The report: one line each, and how many there are. */
export function report(file: string, problems: readonly Problem[]): string {
  const lines = problems.map(({ at, message, line }) => {
    const where = line === undefined ? at : `line ${line}, ${at}`
    return `  ${where === '' ? '' : `${where}: `}${message}`
  })
  return `${file}: ${problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`}\n${lines.join('\n')}`
}
