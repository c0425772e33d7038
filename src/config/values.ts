// The small values of a configuration: what they look like in the file, and what they mean.
//
// The error text of each schema is the "expected" half of a message; what was got, and where, is added by problems.ts. No
// schema changes what it reads: a configuration that has been checked is still the data that was written.

import { createRequire } from 'node:module'
import type { z } from 'zod'

let loaded: typeof z | undefined

/** Loaded when the first schema is made: it is large, and who only serves makes none. */
export function zod(): typeof z {
  return (loaded ??= (createRequire(import.meta.url)('zod') as { z: typeof z }).z)
}

/** Milliseconds: a number of seconds, or text with a unit: `30`, `"500ms"`, `"2m"`. */
export type Duration = number | string
/** Bytes: a number, or text with a unit (powers of 1024): `4096`, `"64K"`, `"8M"`. */
export type Size = number | string
/** Text that is written here, or somewhere safer: in a file, or in the environment of Viaduct itself. */
export type Secret = string | { readonly file: string } | { readonly env: string }

const DURATION = /^\d+(?:\.\d+)?(?:ms|s|m|h)?$/
const SIZE = /^\d+(?:\.\d+)?(?:[KMG]i?)?B?$/i

export function text(expected: string): z.ZodType<string> {
  return zod().string({ error: expected }).min(1, { error: expected })
}

export function anyText(expected: string): z.ZodType<string> {
  return zod().string({ error: expected })
}

export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER): z.ZodType<number> {
  const error = most === Number.MAX_SAFE_INTEGER ? `a whole number from ${least}` : `a whole number from ${least} to ${most}`
  return zod().int({ error }).min(least, { error }).max(most, { error })
}

export function yes(): z.ZodType<boolean> {
  return zod().boolean({ error: 'true or false' })
}

export function choice<T extends string>(...choices: readonly [T, ...T[]]): z.ZodType<T> {
  return zod().enum(choices as unknown as [T, ...T[]], { error: oneOf(choices) })
}

/** `a`, `a or b`, `a, b or c`, quoted. */
export function oneOf(choices: readonly string[]): string {
  const quoted = choices.map((each) => JSON.stringify(each))
  return quoted.length === 1 ? quoted[0]! : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`
}

/** Of these there is one each: they have a name in the JSON Schema, and in the types made from it. */
function named<T>(id: string, make: () => z.ZodType<T>): () => z.ZodType<T> {
  let schema: z.ZodType<T> | undefined
  return () => (schema ??= make().meta({ id }))
}

export const duration: () => z.ZodType<Duration> = named('Duration', () => {
  const error = 'a duration: seconds, or text such as "500ms", "30s" or "5m"'
  // setTimeout takes no more than 31 bits of milliseconds.
  return zod().union(
    [zod().number({ error }).min(0, { error }).max(2_000_000, { error }), zod().string({ error }).regex(DURATION, { error })],
    {
      error,
    },
  )
})

export const size: () => z.ZodType<Size> = named('Size', () => {
  const error = 'a size: bytes, or text such as "64K", "8M" or "1G"'
  return zod().union([zod().int({ error }).min(0, { error }), zod().string({ error }).regex(SIZE, { error })], { error })
})

export const secret: () => z.ZodType<Secret> = named('Secret', () => {
  const error = 'text, { "file": "/path" } or { "env": "NAME" }'
  return zod().union(
    [
      zod().string({ error }),
      zod().strictObject({ file: text('the path of a file') }, { error }),
      zod().strictObject({ env: text('the name of a variable') }, { error }),
    ],
    { error },
  )
})

/** One or a list of at least one. */
export function many<T>(item: z.ZodType<T>, expected: string): z.ZodType<T | T[]> {
  return zod().union([item, list(item, expected).min(1, { error: expected })], { error: expected })
}

export function list<T>(item: z.ZodType<T>, expected: string): z.ZodArray<z.ZodType<T>> {
  return zod().array(item, { error: expected })
}

export function record<T>(value: z.ZodType<T>, expected: string): z.ZodType<Record<string, T>> {
  return zod().record(zod().string(), value, { error: expected })
}

/** A group with a name, as `named`. */
export function namedGroup(id: string, shape: Readonly<Record<string, z.ZodType>>, expected?: string): z.ZodObject {
  return group(shape, expected).meta({ id })
}

export function group(shape: Readonly<Record<string, z.ZodType>>, expected = 'an object'): z.ZodObject {
  return zod().strictObject(shape, { error: expected }) as unknown as z.ZodObject
}

/** A member that may be left out: what it is for, and what it is then. */
export function may<T>(schema: z.ZodType<T>, description: string, fallback?: unknown): z.ZodType<T | undefined> {
  return schema.optional().meta({ description, ...(fallback !== undefined && { default: fallback }) })
}

/** A member that must be there. */
export function must<T>(schema: z.ZodType<T>, description: string): z.ZodType<T> {
  return schema.meta({ description })
}

const TIMES: Readonly<Record<string, number>> = { '': 1000, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }

/** Of a duration that was checked. */
export function milliseconds(value: Duration): number {
  if (typeof value === 'number') return Math.round(value * 1000)
  const unit = /[a-z]*$/.exec(value)![0]
  return Math.round(Number.parseFloat(value) * TIMES[unit]!)
}

/** Of a size that was checked. */
export function bytes(value: Size): number {
  if (typeof value === 'number') return value
  const unit = /([KMG]?)i?B?$/i.exec(value)![1]!.toLowerCase()
  return Math.floor(Number.parseFloat(value) * UNITS[unit]!)
}

/** How a limit of a library's options is written in a configuration. */
export type Measure = 'duration' | 'size' | 'count'

/** The schema of a group of limits, and how it is read. */
export interface LimitsGroup<Name extends string> {
  schema(): z.ZodObject
  /** As the library has them: bytes, milliseconds, counts. */
  read(given: Readonly<Record<string, number | string | undefined>> | undefined): Partial<Record<Name, number>>
}

/** Limits by the names that the library has for them: each with its measure, what it is for, its default. */
export function limits<Name extends string>(
  table: Readonly<Record<Name, readonly [measure: Measure, description: string, fallback: number | string | undefined]>>,
): LimitsGroup<Name> {
  const measures: Readonly<Record<Measure, () => z.ZodType>> = { duration, size, count: () => whole(0) }
  return {
    schema() {
      const shape: Record<string, z.ZodType> = {}
      for (const [name, [measure, description, fallback]] of entries(table)) shape[name] = may(measures[measure](), description, fallback)
      return group(shape)
    },
    read(given = {}) {
      const out: Partial<Record<Name, number>> = {}
      for (const [name, [measure]] of entries(table)) {
        const value = given[name]
        if (value === undefined) continue
        out[name] = measure === 'duration' ? milliseconds(value) : measure === 'size' ? bytes(value) : Number(value)
      }
      return out
    },
  }
}

function entries<Name extends string, T>(table: Readonly<Record<Name, T>>): [Name, T][] {
  return Object.entries(table) as [Name, T][]
}
