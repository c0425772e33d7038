// The command line of `viaduct values`.

import type { CommandHelp } from './help.ts'
import { TLS_OPTIONS } from './request-tls.ts'

export const VALUES: CommandHelp = {
  name: 'values',
  usage: 'ADDRESS [NAME ...] [options]',
  summary: 'Ask a FastCGI application what it can do (GET_VALUES)',
  about: [
    'Asks for FCGI_MAX_CONNS, FCGI_MAX_REQS and FCGI_MPXS_CONNS, or for the values that are named.',
    'Many applications never answer, and work all the same.',
    '',
    'Exit code 0: it answered. 1: it did not.',
  ].join('\n'),
  options: {
    timeout: { value: 'SECONDS', help: 'How long to wait for the answer (default 1)' },
    ...TLS_OPTIONS,
    json: { help: 'Print JSON' },
    help: { short: 'h', help: 'This help' },
  },
  examples: [
    ['viaduct values /run/php/php8.2-fpm.sock', 'by unix socket'],
    ['viaduct values 127.0.0.1:9000 --json', 'for programs'],
  ],
}
