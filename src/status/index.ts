// The face of `viaduct/status`: how pools are doing, as a page, a table, JSON and metrics.

export { statusPage } from './page.ts'
export type { StatusPageOptions } from './page.ts'
export { FORMATS, render } from './formats.ts'
export type { StatusFormat } from './formats.ts'
export { reportOf } from './report.ts'
export type { StatusReport } from './report.ts'
export { PLAIN, statusText } from './text.ts'
export type { Paint } from './text.ts'
