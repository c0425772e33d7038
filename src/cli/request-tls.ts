// The options for TLS with an application, which all FastCGI tools share.

import type { OptionTable } from './arguments.ts'

export const TLS_OPTIONS: OptionTable = {
  ca: { value: 'FILE', help: 'TLS: who may have signed its certificate, in place of the usual authorities' },
  cert: { value: 'FILE', help: 'TLS: the certificate that is shown to it' },
  key: { value: 'FILE', help: 'TLS: the key of --cert' },
}
