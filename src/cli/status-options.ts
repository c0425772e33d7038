// The command line of `viaduct status`. Apart from what it does, which loads far more.

import type { CommandHelp } from './help.ts'

/** Where `viaduct status` looks when nothing is said. */
export const STATUS_PATH = '/status'

export const STATUS: CommandHelp = {
  name: 'status',
  usage: '[URL | -c FILE] [options]',
  summary: 'Ask a running server how its pools are doing',
  about: [
    'Prints workers, queues, failures and what is running now, of every pool of a server that runs.',
    '',
    'The server must have a status page: an application of kind "status" in its configuration, or',
    '"viaduct serve ./site --status /status". With a configuration it is found there, by its listeners',
    `and routes; without one and without a URL, http://127.0.0.1:8080${STATUS_PATH} is asked.`,
    '',
    'Exit code 0: it answered. 1: it did not.',
  ].join('\n'),
  options: {
    config: { value: 'FILE', short: 'c', help: "The configuration of the server (default: this folder's viaduct.config.*, if it has one)" },
    full: { help: 'List every worker, not only those that are busy' },
    json: { help: 'Print JSON, with every worker' },
    help: { short: 'h', help: 'This help' },
  },
  examples: [
    ['viaduct status', 'the server of the configuration in this folder'],
    ['viaduct status --full', 'with every worker'],
    ['viaduct status http://127.0.0.1:3000/status', 'another one'],
    ['viaduct status unix:/run/site.sock:/status', 'by a unix socket'],
    ['viaduct status --json', 'for programs'],
  ],
}
