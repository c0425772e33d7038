// The face of `viaduct/static`: files.

export { staticFiles, isAmbiguous, toFolder } from './static.ts'
export type { StaticOptions } from './static.ts'
export { Files } from './files.ts'
export type { FilesOptions } from './files.ts'
export { Root, nativePath } from './root.ts'
export type { Fact, FileFact, Identity } from './root.ts'
export { baseName, hasDotSegment, isHidden } from './names.ts'
export { coarseNow } from './clock.ts'
