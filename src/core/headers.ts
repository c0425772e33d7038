// Header lists: flat [name, value, ...] arrays, so that what node:http, FastCGI and CGI hold needs no conversion.

import type { ByteString, HeaderList, HeaderView } from './types.ts'

/** Compares an ASCII name with a lower-case one, without making a string. Never folds anything but A to Z. */
export function sameName(name: string, lowerCaseName: string): boolean {
  if (name.length !== lowerCaseName.length) return false
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    if ((code >= 0x41 && code <= 0x5a ? code | 0x20 : code) !== lowerCaseName.charCodeAt(i)) return false
  }
  return true
}

/** The field's value; repeats joined with `, `, those of Cookie with `; ` (RFC 9110, 5.3; RFC 6265bis, 5.7.3). */
export function getHeader(list: HeaderList, lowerCaseName: string): ByteString | undefined {
  let found: ByteString | undefined
  for (let i = 0; i < list.length; i += 2) {
    if (!sameName(list[i]!, lowerCaseName)) continue
    found = found === undefined ? list[i + 1]! : `${found}${lowerCaseName === 'cookie' ? '; ' : ', '}${list[i + 1]!}`
  }
  return found
}

/** Every value of a field, in order: for Set-Cookie, which cannot be joined. */
export function getHeaders(list: HeaderList, lowerCaseName: string): ByteString[] {
  const found: ByteString[] = []
  for (let i = 0; i < list.length; i += 2) if (sameName(list[i]!, lowerCaseName)) found.push(list[i + 1]!)
  return found
}

/** Whether the list has a field of this lower-case name, in whatever case it is written there. */
export function hasHeader(list: HeaderList, lowerCaseName: string): boolean {
  for (let i = 0; i < list.length; i += 2) if (sameName(list[i]!, lowerCaseName)) return true
  return false
}

/** The list without the fields of these lower-case names. The same list when there is none of them. */
export function withoutHeaders(list: HeaderList, ...lowerCaseNames: string[]): HeaderList {
  if (!lowerCaseNames.some((name) => hasHeader(list, name))) return list
  const kept: ByteString[] = []
  for (let i = 0; i < list.length; i += 2) {
    if (!lowerCaseNames.some((name) => sameName(list[i]!, name))) kept.push(list[i]!, list[i + 1]!)
  }
  return kept
}

/** The list with this field set once, in place of any it had. */
export function withHeader(list: HeaderList, name: ByteString, value: ByteString): HeaderList {
  return [...withoutHeaders(list, name.toLowerCase()), name, value]
}

/** A header view over a list, for requests made by hand. */
export class Headers implements HeaderView {
  readonly list: HeaderList

  constructor(list: HeaderList) {
    this.list = list
  }

  get(lowerCaseName: string): ByteString | undefined {
    return getHeader(this.list, lowerCaseName)
  }
}

// RFC 9110, 5.6.2: token. The table costs one look-up a character where a regular expression costs a call.
const TOKEN = new Uint8Array(256)
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") TOKEN[char.charCodeAt(0)] = 1

/** Whether it can be a header's name or a method (RFC 9110, 5.6.2). */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (TOKEN[text.charCodeAt(i)] !== 1) return false
  return text.length > 0
}

/** Whether it can be a header's value: bytes, no control character but tab (RFC 9110, 5.5). CR, LF and NUL split responses. */
export function isFieldValue(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) return false
  }
  return true
}

/** Whether every char is one byte. */
export function isByteString(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false
  return true
}

/** The UTF-8 bytes of a text as a ByteString: what a path, a header or a variable is made of. */
export function toByteString(text: string): ByteString {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return Buffer.from(text, 'utf8').toString('latin1')
  return text
}

/** The text whose UTF-8 bytes these are (wrong sequences become U+FFFD): for the log, for the file system, for people. */
export function fromByteString(bytes: ByteString): string {
  for (let i = 0; i < bytes.length; i++) if (bytes.charCodeAt(i) > 0x7f) return Buffer.from(bytes, 'latin1').toString('utf8')
  return bytes
}
