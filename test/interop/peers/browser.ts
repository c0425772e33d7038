// A browser as far as applications notice one: cookies, redirects, forms with the hidden fields they came with, file uploads.

import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'

export interface Page {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly text: string
  /** The path and query that it came from, after redirects. */
  readonly path: string
}

/** A file field of a form. */
export interface FileField {
  readonly filename: string
  readonly type: string
  readonly content: Buffer
}

const REDIRECTS = 5

/** One user's browser on one origin. Close it, or its kept connections stay. */
export class Browser {
  readonly #port: number
  readonly #cookies = new Map<string, string>()
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 2 })

  constructor(port: number) {
    this.#port = port
  }

  /** Follows redirects. */
  get(path: string): Promise<Page> {
    return this.#load('GET', path, {}, undefined)
  }

  /** Sends a form as application/x-www-form-urlencoded and follows redirects. */
  post(path: string, fields: Readonly<Record<string, string>>): Promise<Page> {
    const body = Buffer.from(new URLSearchParams(fields).toString())
    return this.#load('POST', path, { 'Content-Type': 'application/x-www-form-urlencoded' }, body)
  }

  /** Sends a form as multipart/form-data (RFC 7578) and follows redirects. */
  upload(path: string, fields: Readonly<Record<string, string>>, files: Readonly<Record<string, FileField>>): Promise<Page> {
    const boundary = `----${randomUUID()}`
    const parts: Buffer[] = []
    const part = (head: string, content: Buffer): void => {
      parts.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n`), content, Buffer.from('\r\n'))
    }
    for (const [name, value] of Object.entries(fields)) part(`name="${name}"`, Buffer.from(value))
    for (const [name, file] of Object.entries(files)) {
      part(`name="${name}"; filename="${file.filename}"\r\nContent-Type: ${file.type}`, file.content)
    }
    parts.push(Buffer.from(`--${boundary}--\r\n`))
    return this.#load('POST', path, { 'Content-Type': `multipart/form-data; boundary=${boundary}` }, Buffer.concat(parts))
  }

  close(): void {
    this.#agent.destroy()
  }

  async #load(method: string, path: string, headers: OutgoingHttpHeaders, body: Buffer | undefined): Promise<Page> {
    let page = await this.#send(method, path, headers, body)
    for (let hops = 0; hops < REDIRECTS && page.status >= 300 && page.status < 400 && page.headers.location !== undefined; hops++) {
      // Every browser turns the POST into a GET for 302 and 303; nobody here answers a POST with 307.
      const target = new URL(page.headers.location, `http://127.0.0.1:${this.#port}${page.path}`)
      page = await this.#send('GET', target.pathname + target.search, {}, undefined)
    }
    return page
  }

  #send(method: string, path: string, headers: OutgoingHttpHeaders, body: Buffer | undefined): Promise<Page> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    return new Promise((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port: this.#port,
        agent: this.#agent,
        method,
        path,
        headers: { ...headers, ...(cookie !== '' && { Cookie: cookie }), ...(body !== undefined && { 'Content-Length': body.length }) },
      }
      const sent = request(options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () => {
          for (const line of response.headers['set-cookie'] ?? []) this.#keep(line)
          const content = Buffer.concat(chunks)
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: content, text: content.toString('utf8'), path })
        })
      })
      sent.once('error', reject)
      sent.end(body)
    })
  }

  #keep(line: string): void {
    const match = /^([^=;]+)=([^;]*)/.exec(line)
    if (match === null) return
    const expired = /;\s*expires=([^;]+)/i.exec(line)
    const name = match[1]!
    if (match[2] === 'deleted' || (expired !== null && Date.parse(expired[1]!) < Date.now())) this.#cookies.delete(name)
    else this.#cookies.set(name, match[2]!)
  }
}

/** Names and values of the hidden fields of the form in `html` that holds `mark`: what a browser would send along. */
export function hiddenFields(html: string, mark: string): Record<string, string> {
  const form = html.split(/<form\b/).find((text) => text.split('</form>')[0]!.includes(mark))
  if (form === undefined) throw new Error(`no form holds ${mark}`)
  const fields: Record<string, string> = {}
  for (const [tag] of form.split('</form>')[0]!.matchAll(/<input\b[^>]*>/g)) {
    if (!/\btype="hidden"/.test(tag)) continue
    const name = /\bname="([^"]*)"/.exec(tag)?.[1]
    if (name !== undefined) fields[name] = unescapeHtml(/\bvalue="([^"]*)"/.exec(tag)?.[1] ?? '')
  }
  return fields
}

function unescapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', amp: '&', '#039': "'" }
  return text.replace(/&(lt|gt|quot|amp|#039);/g, (_, name: string) => entities[name]!)
}
