// The command lines of `viaduct check` and `viaduct explain`. Apart from what they do, which loads far more.

import type { OptionTable } from './arguments.ts'
import type { CommandHelp } from './help.ts'

const CHOICE: OptionTable = {
  config: { value: 'FILE', short: 'c', help: "The configuration (default: this folder's viaduct.config.*, if it has one)" },
  json: { help: 'Print JSON' },
  help: { short: 'h', help: 'This help' },
}

export const CHECK: CommandHelp = {
  name: 'check',
  usage: '[folder | -c FILE] [options]',
  summary: 'Look for mistakes in a configuration or a folder',
  about: [
    'Reads a configuration, looks up every file, folder, secret and interpreter that it names, and starts nothing.',
    'All mistakes are reported together, each with its place, what was expected and what is there.',
    '',
    'Exit code 0: it can be served. 1: it cannot, or something is missing. 2: a mistake on the command line.',
  ].join('\n'),
  options: CHOICE,
  examples: [
    ['viaduct check', 'the configuration of this folder; without one, the folder'],
    ['viaduct check -c /etc/viaduct.config.json', 'before a reload'],
    ['viaduct check ./site', 'a folder: what is served, what is missing'],
    ['viaduct check --json', 'for programs'],
  ],
}

export const EXPLAIN: CommandHelp = {
  name: 'explain',
  usage: 'URL [folder | -c FILE] [options]',
  summary: 'Tell what would answer a URL, and why, without running it',
  about: [
    'Shows which listener, site, route and application a request would come to, the rules that did not',
    'apply, the script and every variable that it would get: SCRIPT_FILENAME, SCRIPT_NAME, PATH_INFO ...',
    '',
    'Files are looked at; nothing is run, and nothing listens. Secrets are not shown.',
  ].join('\n'),
  options: {
    method: { value: 'METHOD', short: 'X', help: 'The method (default GET)' },
    header: { value: "'NAME: VALUE'", short: 'H', many: true, help: 'A header field; may be given several times' },
    from: { value: 'ADDRESS', help: 'The address of the client (default 127.0.0.1)' },
    ...CHOICE,
  },
  examples: [
    ['viaduct explain /blog/2026/post', 'in this folder, or by its configuration'],
    ['viaduct explain http://example.org/ -c site.json', 'the site of a host'],
    ["viaduct explain / -X POST -H 'Host: example.org'", 'another method, a header field'],
    ['viaduct explain /index.php/a ./site', 'in a folder'],
  ],
}
