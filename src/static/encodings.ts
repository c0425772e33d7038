// Which precompressed form of a file a client takes (RFC 9110, 12.5.3).

import type { ByteString } from '../core/index.ts'

/** The codings that can lie beside a file, best first, and what its name then ends in. */
export const CODINGS = [
  { coding: 'br', suffix: '.br' },
  { coding: 'gzip', suffix: '.gz' },
] as const
export type Coding = (typeof CODINGS)[number]['coding']

// Clients repeat themselves; bounded, for it comes from outside.
const known = new Map<ByteString, readonly Coding[]>()
const KNOWN_LIMIT = 64

/** The codings that `Accept-Encoding` takes, in the order of its preference, then ours. */
export function accepted(header: ByteString | undefined): readonly Coding[] {
  if (header === undefined) return []
  let codings = known.get(header)
  if (codings === undefined) {
    codings = parse(header)
    if (known.size < KNOWN_LIMIT && header.length <= 128) known.set(header, codings)
  }
  return codings
}

function parse(header: ByteString): readonly Coding[] {
  const weights = new Map<string, number>()
  for (const item of header.split(',')) {
    const [name = '', ...parameters] = item.split(';')
    const q = parameters.map((parameter) => /^\s*q=([01](?:\.\d{0,3})?)\s*$/i.exec(parameter)).find((match) => match !== null)
    weights.set(
      name
        .trim()
        .toLowerCase()
        .replace(/^x-gzip$/, 'gzip'),
      q === undefined ? 1 : Number(q?.[1]),
    )
  }
  const weight = (coding: string): number => weights.get(coding) ?? weights.get('*') ?? 0
  const identity = weights.get('identity') ?? 0
  return CODINGS.map(({ coding }) => coding)
    .filter((coding) => weight(coding) > 0 && weight(coding) >= identity)
    .sort((a, b) => weight(b) - weight(a))
}
