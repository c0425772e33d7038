// The interpreters that come from npm: whether they are there, which they are, and what brings them.
//
// They are optional parts: nobody who has a php-cgi or a python3 needs them, and one of them has another licence than ours
// (@php-wasm: GPL-2.0-or-later). So they are looked for when they are wanted, and loaded when they are used.

import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { GatewayError } from '../core/index.ts'

/** A language with an interpreter on npm. */
export type Language = 'php' | 'python'

/** An interpreter that is there. */
export interface EmbeddedInterpreter {
  /** Of the language: `8.3`, `3.13`. */
  readonly version: string
  /** Of the package. */
  readonly release: string
  /** For `import`. */
  readonly url: string
}

interface Package {
  readonly name: string
  /** What is installed when nothing else is said: the newest that runs on every Node that Viaduct runs on. */
  readonly release: string
  version(release: string): string
}

const PACKAGES: Readonly<Record<Language, Package>> = {
  php: { name: '@php-wasm/node-8-3', release: '3.1.54', version: () => '8.3' },
  python: {
    name: 'pyodide',
    release: '0.29.5',
    // From 314 on the first number is Python's own; 0.28 and 0.29 have 3.13.
    version: (release) => (/^3\d\d\./.test(release) ? `3.${release.slice(1, 3)}` : '3.13'),
  },
}

// It has to be found from here.
const INSTALL = /\/lib\/node_modules\/[^/]+\/dist\//.test(import.meta.url) ? 'npm install --global' : 'npm install'

/** The one command for somebody who lacks it. */
export const EMBEDDED_INSTALL: Readonly<Record<Language, string>> = {
  php: `${INSTALL} ${PACKAGES.php.name}@${PACKAGES.php.release}`,
  python: `${INSTALL} ${PACKAGES.python.name}@${PACKAGES.python.release}`,
}

/** What is read of a package's own file. */
interface Manifest {
  readonly version: string
  readonly exports: { readonly '.': { readonly import: string } }
}

const require = createRequire(import.meta.url)

/** The interpreter that can be loaded; undefined when its package is not installed. Loads nothing. */
export function findEmbedded(language: Language): EmbeddedInterpreter | undefined {
  const { name, version } = PACKAGES[language]
  try {
    const file = require.resolve(`${name}/package.json`)
    const { version: release, exports } = require(file) as Manifest
    return { version: version(release), release, url: new URL(exports['.'].import, pathToFileURL(file)).href }
  } catch {
    return undefined
  }
}

/** The same, for who cannot do without it. Throws CONFIG. */
export function requireEmbedded(language: Language): EmbeddedInterpreter {
  const found = findEmbedded(language)
  if (found !== undefined) return found
  throw new GatewayError('CONFIG', {
    status: 500,
    message: `embedded: the package ${PACKAGES[language].name} is not installed, which has ${language === 'php' ? 'PHP' : 'Python'}; install it: ${EMBEDDED_INSTALL[language]}`,
  })
}
