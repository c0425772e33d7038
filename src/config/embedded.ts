// Which interpreter an application gets: one of this machine, or the one from npm.

import { EMBEDDED_INSTALL, findEmbedded } from '../embedded/index.ts'
import { choice, may } from './values.ts'
import type { z } from 'zod'
import type { EmbeddedInterpreter, Language } from '../embedded/index.ts'
import type { Missing } from './interpreter.ts'

/** What the settings of PHP and of Python have in common here. */
export interface InterpreterSettings {
  readonly interpreter?: 'auto' | 'native' | 'embedded'
  readonly files?: 'read-write' | 'read-only'
}

export function interpreterMembers(native: string): Record<string, z.ZodType> {
  return {
    interpreter: may(
      choice('auto', 'native', 'embedded'),
      `\`native\`: ${native}. \`embedded\`: the one from npm, as WebAssembly in threads of the server. \`auto\`: the native one where there is one, else the embedded one.`,
      'auto',
    ),
    files: may(
      choice('read-write', 'read-only'),
      'Of an embedded interpreter, which sees the files of this folder and no others: whether it may change them.',
      'read-write',
    ),
  }
}

/** @param native whether there is one; @param lacking what is missing where only that would do. */
export function chooseInterpreter(
  { interpreter = 'auto' }: InterpreterSettings,
  language: Language,
  native: boolean,
  lacking: () => Missing,
): 'native' | { readonly embedded: EmbeddedInterpreter } | { readonly missing: Missing } {
  if (interpreter !== 'embedded' && native) return 'native'
  if (interpreter === 'native') return { missing: lacking() }
  const embedded = findEmbedded(language)
  if (embedded !== undefined) return { embedded }
  return { missing: { what: language === 'php' ? 'PHP' : 'Python', command: EMBEDDED_INSTALL[language] } }
}
