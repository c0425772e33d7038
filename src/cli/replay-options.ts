// The command line of `viaduct replay`.

import type { CommandHelp } from './help.ts'
import { TLS_OPTIONS } from './request-tls.ts'

export const REPLAY: CommandHelp = {
  name: 'replay',
  usage: 'FILE --to ADDRESS [options]',
  summary: 'Send a capture again, and show how the answers differ',
  about: [
    'Sends the requests of a capture to an application, one after the other, and compares status, header',
    'fields and body with what was recorded, byte for byte. Times are shown and not judged.',
    '',
    'The header fields Date, Expires, Set-Cookie and X-Request-Id may differ, and those that are masked in the',
    'capture. Masked variables are not sent, which is said; --set gives them a value. Requests that were not',
    'recorded whole are left out.',
    '',
    'Exit code 0: all answers are the same. 1: some differ, or nothing could be compared. 2: a mistake in the',
    'command line.',
  ].join('\n'),
  options: {
    to: { value: 'ADDRESS', short: 't', help: 'The application' },
    only: { value: 'NUMBER,...', help: 'Only these requests: 3,7 or 10-20 (the numbers of "viaduct show")' },
    ignore: { value: 'NAME,...', many: true, help: 'Header fields that may differ, too; * stands for anything' },
    strict: { help: 'No header field may differ, but those of --ignore and masked ones' },
    'no-body': { help: 'Do not compare bodies' },
    set: { value: 'NAME=VALUE', many: true, help: 'A variable in place of the recorded one, in every request' },
    keep: { short: 'k', help: 'One connection for all, where the application keeps it' },
    timeout: { value: 'SECONDS', help: 'How long the application may be silent (default 60)' },
    ...TLS_OPTIONS,
    json: { help: 'Print JSON, one request a line' },
    quiet: { short: 'q', help: 'Only what differs, and the sum' },
    help: { short: 'h', help: 'This help' },
  },
  examples: [
    ['viaduct replay site.fcgicap --to /run/php/php8.4-fpm.sock', 'another version of PHP'],
    ['viaduct replay site.fcgicap -t 9000 --only 3', 'the slow one, once more'],
    ['viaduct replay site.fcgicap -t 9000 --set HTTP_COOKIE=session=abc', 'with a session, which was masked'],
    ['viaduct replay site.fcgicap -t 9000 --ignore X-Powered-By --no-body', 'status and header fields alone'],
  ],
}
