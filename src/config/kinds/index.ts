// The kinds of applications: the one table that turns a name in a configuration into what is built.

import { fcgiProgram } from './fcgi-program.ts'
import { files } from './static.ts'
import { folder } from './folder.ts'
import { kindOf } from './kind.ts'
import { nodeApp } from './node.ts'
import { php } from './php.ts'
import { programs } from './cgi.ts'
import { python } from './wsgi.ts'
import { status } from './status.ts'
import { upstream } from './fastcgi.ts'
import type { AnyKind } from './kind.ts'

/** In the order in which the documentation tells them. */
export const KINDS: readonly AnyKind[] = [
  kindOf(folder),
  kindOf(files),
  kindOf(php),
  kindOf(python),
  kindOf(nodeApp),
  kindOf(programs),
  kindOf(fcgiProgram),
  kindOf(upstream),
  kindOf(status),
]

const byName = new Map(KINDS.map((kind) => [kind.kind, kind]))

/** Undefined for a name that no kind has. */
export function kindNamed(name: string): AnyKind | undefined {
  return byName.get(name)
}
