// `viaduct fpm` in the list of commands. Its options are php-fpm's: it reads and explains them itself.

import type { CommandHelp } from './help.ts'

export const FPM: CommandHelp = {
  name: 'fpm',
  usage: '[options]',
  summary: "Be php-fpm: its options, configuration files, signals and logs, with php-cgi's workers",
  about: [
    'Serves PHP over FastCGI to nginx, Apache, lighttpd and Caddy from the pools of a php-fpm configuration.',
    'The options are those of php-fpm: viaduct fpm -h lists them. One is our own: --php-cgi FILE.',
  ].join('\n'),
  options: {},
  examples: [
    ['viaduct fpm -F -y /etc/php/8.2/fpm/php-fpm.conf', 'In the foreground, as a unit file has it'],
    ['viaduct fpm -t', 'Test the configuration'],
  ],
  signals: [
    ['TERM, INT', 'Stop at once'],
    ['QUIT', 'Finish what runs, then stop'],
    ['USR1', 'Open the log files anew'],
    ['USR2', 'Read the configuration anew and replace the workers, losing no request'],
  ],
}
