// What a folder's decision about a path means, in words.

import { fromByteString } from '../core/index.ts'
import type { ByteString, GatewayRequest } from '../core/index.ts'
import type { Explained } from './kinds/kind.ts'
import type { Sought } from './site.ts'

/** `variables`: what a script (`php`) or a program (`cgi`) would get. */
export function tellSought(
  { found, request, root }: Sought,
  runner: Readonly<Record<'php' | 'cgi', string>>,
  variables: (kind: 'php' | 'cgi', request: GatewayRequest) => [ByteString, ByteString][],
): Explained {
  if (found === undefined) {
    if (request.pathInfo === '')
      return { what: 'a redirect to the same path with a slash at the end', why: ['it is mounted at exactly this path'] }
    return { what: 'status 404', why: ['the path holds %2F, %5C or a backslash, which could be read in two ways: it names no file'] }
  }
  const { located, lacks } = found
  const path = fromByteString(request.pathInfo)
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
      const rest = located.pathInfo === '' ? '' : `, and ${fromByteString(located.pathInfo)} follows it in the path`
      const asked = fromByteString(request.scriptName + request.pathInfo)
      const stands = asked === script || asked.startsWith(`${script}/`) || rest !== ''
      return {
        what: runner[located.kind],
        program: fromByteString(root + located.script),
        why: [
          stands ? `${script} is a ${located.kind === 'php' ? 'script' : 'program'}${rest}` : `${script} stands in for what does not exist`,
        ],
        variables: variables(located.kind, request),
        ...(lacks !== undefined && { problem: `${lacks.what} is missing${lacks.command === undefined ? '' : `: ${lacks.command}`}` }),
      }
    }
  }
}
