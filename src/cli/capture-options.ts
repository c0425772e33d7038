// The command lines of `viaduct capture` and `viaduct show`.

import type { CommandHelp } from './help.ts'
import { TLS_OPTIONS } from './request-tls.ts'

export const CAPTURE: CommandHelp = {
  name: 'capture',
  usage: '--listen ADDRESS --to ADDRESS --out FILE [options]',
  summary: 'Record what a web server and a FastCGI application say to each other',
  about: [
    'Stands between the two: the web server is pointed to --listen instead of the application, --to is the',
    'application. Every byte passes at once and as it is; every record goes to the file with its time, and',
    'every request is a line on standard output.',
    '',
    'Values of variables and header fields that are secrets are written as stars (they pass unchanged):',
    'Authorization, Proxy-Authorization, Cookie, Set-Cookie, PHP_AUTH_PW, PHP_AUTH_DIGEST, and names with',
    'PASSWORD, PASSWD, SECRET, TOKEN, API_KEY or APIKEY in them. What is masked cannot be replayed. Bodies',
    'are not masked. The file is readable by its owner alone.',
    '',
    'When the file has reached --limit, or the disk is full, that is said, and the traffic goes on unrecorded.',
    'A disk that is only slow slows the traffic.',
    '',
    'Exit code 0: stopped by a signal. 1: it could not begin, or the file could not be written to its end.',
  ].join('\n'),
  options: {
    listen: { value: 'ADDRESS', short: 'l', help: 'Where the web server connects: HOST:PORT, PORT or unix:/path' },
    to: { value: 'ADDRESS', short: 't', help: 'The application' },
    out: { value: 'FILE', short: 'o', help: 'The capture; must not exist' },
    mask: { value: 'NAME,...', many: true, help: 'Mask these too: variables or header fields; * stands for anything' },
    'no-mask': { help: 'Mask nothing: the file can be replayed whole, and holds every secret' },
    limit: { value: 'SIZE', help: 'Largest file: 500M, 2G' },
    mode: { value: 'OCTAL', help: 'Permissions of a unix socket (default 660)' },
    quiet: { short: 'q', help: 'No line for each request' },
    ...TLS_OPTIONS,
    read: { value: 'FILE', short: 'r', help: 'The same as: viaduct show FILE' },
    help: { short: 'h', help: 'This help' },
  },
  examples: [
    ['viaduct capture -l unix:/run/capture.sock -t /run/php/php8.2-fpm.sock -o site.fcgicap', 'nginx: fastcgi_pass unix:/run/capture.sock'],
    ['viaduct capture -l 9001 -t 9000 -o site.fcgicap --limit 1G', 'by TCP, at most a gigabyte'],
    ['viaduct capture -l 9001 -t 9000 -o site.fcgicap --mask QUERY_STRING,REQUEST_URI', 'more that nobody may see'],
    ['viaduct show site.fcgicap', 'what was recorded'],
    ['viaduct replay site.fcgicap --to 9002', 'sent again, to another application'],
  ],
  signals: [['INT, TERM, HUP', 'give what runs five seconds, end the file in order; once more: at once']],
}

export const BODIES = ['request', 'answer'] as const

export const SHOW: CommandHelp = {
  name: 'show',
  usage: 'FILE [NUMBER ...] [options]',
  summary: 'Show what was recorded',
  about: [
    'Without a number: one line for each request, in the order in which they ended. With numbers: all about',
    'these requests: variables, times, the head of the answer, STDERR, the beginning of the body.',
    '',
    'A file that was cut off, or damaged, is shown as far as it is good.',
    '',
    'Exit code 0: it was shown. 1: it cannot be read, or not to its end.',
  ].join('\n'),
  options: {
    records: { short: 'r', help: 'Every record, to the application (>) and from it (<)' },
    body: { value: 'WHICH', choices: BODIES, help: 'request or answer: that body of one request to standard output, byte for byte' },
    json: { help: 'Print JSON, one request a line' },
    help: { short: 'h', help: 'This help' },
  },
  examples: [
    ['viaduct show site.fcgicap', 'the requests'],
    ['viaduct show site.fcgicap 3', 'all about the third'],
    ['viaduct show site.fcgicap 3 --records', 'its records'],
    ['viaduct show site.fcgicap 3 --body answer > page.html', 'what the browser got'],
    ["viaduct show site.fcgicap --json | jq 'select(.status >= 500)'", 'for programs'],
  ],
}
