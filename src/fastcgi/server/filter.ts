// The second input of a Filter, from the application's side: the file that it filters (FastCGI 1.0, 6.4).

import { GatewayError } from '../../core/index.ts'
import type { ByteStream, ByteString, FilterData, HeaderList } from '../../core/index.ts'
import { InputBody } from './input.ts'
import type { InputOwner } from './input.ts'

export class DataInput implements FilterData {
  readonly length: number
  readonly lastModified: number
  readonly input: InputBody

  /** @param onStart hears that the reading begins. Throws BAD_REQUEST, 400, where a variable is missing or no number. */
  constructor(owner: InputOwner, pairs: HeaderList, onStart: () => void) {
    this.length = numberOf(pairs, 'FCGI_DATA_LENGTH')
    this.lastModified = numberOf(pairs, 'FCGI_DATA_LAST_MOD')
    this.input = new InputBody(owner, { stream: 'DATA', expected: this.length, limit: 0, onStart })
  }

  get body(): ByteStream {
    return this.input.channel
  }
}

/** Of a name that comes twice the last one counts, as everywhere. */
function numberOf(pairs: HeaderList, name: ByteString): number {
  let text = ''
  for (let i = 0; i < pairs.length; i += 2) if (pairs[i] === name) text = pairs[i + 1]!
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new GatewayError('BAD_REQUEST', {
    status: 400,
    message: `fastcgi: a request for a Filter whose ${name} is ${text === '' ? 'missing' : JSON.stringify(text.slice(0, 80))}`,
  })
}
