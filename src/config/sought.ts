// What a folder's decision about a path means, in words.

import { fromByteString } from '../core/index.ts'
import type { ByteString, GatewayRequest } from '../core/index.ts'
import { tellMissing } from './interpreter.ts'
import type { Explained } from './kinds/kind.ts'
import type { Sought } from './site.ts'

type Runner = 'php' | 'cgi' | 'fcgi'

/** `variables`: what a script (`php`) or a program (`cgi`, `fcgi`) would get. */
export function tellSought(
  { found, path: asked, request, root }: Sought,
  runner: Readonly<Partial<Record<Runner, string>>>,
  variables: (kind: Runner, request: GatewayRequest) => [ByteString, ByteString][],
): Explained {
  if (found === undefined) {
    if (asked === '') return { what: 'a redirect to the same path with a slash at the end', why: ['it is mounted at exactly this path'] }
    return { what: 'status 404', why: ['the path holds %2F, %5C or a backslash, which could be read in two ways: it names no file'] }
  }
  const { located, lacks } = found
  const path = fromByteString(asked)
  switch (located.kind) {
    case 'static':
      return { what: 'a file', program: fromByteString(root + located.path), why: [`${path} is a file of the folder`] }
    case 'folder':
      return { what: 'a redirect to the same path with a slash at the end', why: [`${path} is a folder`] }
    case 'refused':
      return { what: `status ${located.status}`, why: [located.reason] }
    case 'nothing':
      return { what: 'status 404', why: [`nothing in ${fromByteString(root)} has this path, and nothing stands in for what is missing`] }
    default: {
      const script = fromByteString(located.script)
      const noun = located.kind === 'php' ? 'script' : 'program'
      return {
        what: runner[located.kind] ?? 'nothing that this application runs',
        program: fromByteString(root + located.script),
        why: [whyScript(path, script, fromByteString(located.pathInfo), noun)],
        variables: variables(located.kind, request),
        ...(lacks !== undefined && { problem: tellMissing(lacks) }),
      }
    }
  }
}

function whyScript(path: string, script: string, rest: string, noun: string): string {
  if (rest !== '') return `${script} is a ${noun}, and ${rest} follows it in the path`
  if (path === script) return `${script} is a ${noun}`
  const folder = script.slice(0, script.lastIndexOf('/') + 1)
  return path === folder ? `${script} shows the folder ${folder}` : `${path} does not exist, and ${script} is the nearest front controller`
}
