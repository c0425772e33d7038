// How php-fpm completes relative paths.

/** Where PHP was installed, and where it keeps what changes: Debian's, as everybody's who builds it for a system. */
export const PREFIX = '/usr'
export const STATE_FOLDER = '/var'

export interface PathContext {
  /** The pool's and then the command line's; the first that is set counts. */
  readonly prefixes: readonly (string | undefined)[]
  /** Instead of PHP's own prefix. */
  readonly fallback?: string
}

/** A path that begins with `/` stays; any other is put below the prefix. */
export function fullPath(path: string, { prefixes, fallback = PREFIX }: PathContext): string {
  if (path.startsWith('/')) return path
  const [first, ...others] = prefixes.filter((each) => each !== undefined)
  const whole = `${first ?? fallback}/${path}`
  // A pool's prefix may itself be relative to the other one.
  return whole.startsWith('/') || first === undefined ? whole : fullPath(whole, { prefixes: others, fallback })
}
