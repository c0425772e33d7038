// The face of `viaduct/cgi`: running CGI programs, and being one.

export { cgi } from './cgi.ts'
export type { CgiBackend, CgiOptions } from './cgi.ts'
export { configured, environment } from './environment.ts'
export type { CgiLimits } from './limits.ts'
export { serveCgi } from './child.ts'
