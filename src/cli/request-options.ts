// The command line of `viaduct request`. Apart from what it does, which loads more.

import type { CommandHelp } from './help.ts'
import { TLS_OPTIONS } from './request-tls.ts'

export const ROLE_NAMES = ['responder', 'authorizer', 'filter'] as const

export const REQUEST: CommandHelp = {
  name: 'request',
  usage: 'ADDRESS SCRIPT [options]',
  summary: 'Ask a FastCGI application for one page, without a web server',
  about: [
    'Sends one FastCGI request and shows the answer: the body goes to standard output, byte for byte;',
    'the head, STDERR and everything else goes to standard error.',
    '',
    '  ADDRESS   127.0.0.1:9000, 9000, unix:/run/php/fpm.sock, /run/php/fpm.sock or fastcgis://HOST:PORT (TLS)',
    '  SCRIPT    a file of the application, /var/www/index.php, or a name that it knows itself, /status;',
    '            with --root a path under that folder. "?query" may follow, and "/path/info" after .php',
    '',
    'A web server would send some twenty variables: they are made up from the script (--records shows them),',
    'and --param changes, adds or takes away any of them.',
    '',
    'Exit code 0: an answer with a status below 400, or "allowed" by an authorizer. 4: a status 4xx. 5: a',
    'status 5xx. 3: denied by an authorizer. 1: no answer, or none that is whole. 2: a mistake in the command line.',
  ].join('\n'),
  options: {
    method: { value: 'METHOD', short: 'X', help: 'The method (default GET; with a body POST)' },
    header: { value: "'NAME: VALUE'", short: 'H', many: true, help: 'A header field, sent as HTTP_NAME; may be given several times' },
    body: { value: 'TEXT', short: 'd', help: 'The request body: text, @FILE, or - for standard input' },
    param: {
      value: 'NAME=VALUE',
      short: 'p',
      many: true,
      help: 'A variable as it is, in place of one that is made up; NAME alone takes it away',
    },
    root: { value: 'FOLDER', help: 'DOCUMENT_ROOT: SCRIPT is a path under it' },
    uri: { value: 'URI', help: 'REQUEST_URI, for a front controller: --uri /blog/some-post?page=2' },
    role: { value: 'ROLE', choices: ROLE_NAMES, help: 'responder (default), authorizer or filter' },
    data: { value: 'FILE', help: 'What a filter is to filter' },
    count: { value: 'N', short: 'n', help: 'Ask N times, and print times in place of bodies' },
    keep: { short: 'k', help: 'Ask the application to keep the connection; with --count all requests use it' },
    records: { short: 'r', help: 'Show every record, sent (>) and received (<)' },
    include: { short: 'i', help: 'The head to standard output too' },
    silent: { short: 's', help: 'Nothing to standard error but what goes wrong' },
    timeout: { value: 'SECONDS', help: 'How long the application may be silent (default 60)' },
    ...TLS_OPTIONS,
    help: { short: 'h', help: 'This help' },
  },
  examples: [
    ['viaduct request /run/php/php8.2-fpm.sock /var/www/index.php', 'one page'],
    ['viaduct request /run/php/php8.2-fpm.sock /status', "php-fpm's own status page"],
    ["viaduct request 9000 '/var/www/search.php?q=a+b' > page.html", 'with a query, into a file'],
    ['viaduct request 9000 /index.php --root /var/www --uri /blog/', 'as a front controller sees it'],
    ['viaduct request 9000 /var/www/form.php -d name=value', 'a form'],
    ['viaduct request 9000 /var/www/upload.php -d @picture.png -H "Content-Type: image/png"', 'a file'],
    ['viaduct request 9000 /var/www/index.php --records', 'everything that is said, like curl -v'],
    ['viaduct request 9000 /var/www/index.php -n 100 --keep', 'how long it takes, on one connection'],
    ['viaduct request 9000 /private --role authorizer -H "Cookie: a=b"', 'who may come in'],
  ],
  environment: [['NO_COLOR', 'no colours']],
}
