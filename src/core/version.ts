/** The version of the package; a test holds it against package.json. */
export const VERSION = '0.1.0'
/** SERVER_SOFTWARE (RFC 3875, 4.1.17). */
export const SOFTWARE: string = `Viaduct/${VERSION}`
