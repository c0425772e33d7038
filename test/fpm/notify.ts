// A service manager's end of NOTIFY_SOCKET (sd_notify(3)), for which Node has no sockets.

import { spawn } from 'node:child_process'
import { until } from '../cli/program.ts'

const LISTEN =
  'use Socket; $|=1; socket(my $s, AF_UNIX, SOCK_DGRAM, 0); bind($s, pack_sockaddr_un($ARGV[0])); print "bound\n"; while (recv($s, my $m, 4096, 0) || 1) { print "$m\n--\n" }'

export interface Notified {
  /** Everything that was said, `--` between two messages. */
  text(): string
  /** Waits for a line. */
  heard(line: string | RegExp): Promise<true>
  [Symbol.dispose](): void
}

export async function listenForNotices(path: string): Promise<Notified> {
  const perl = spawn('perl', ['-e', LISTEN, path], { stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  perl.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await until('the socket', () => text.includes('bound\n'))
  return {
    text: () => text,
    heard: (line) => until(String(line), () => (typeof line === 'string' ? text.includes(`${line}\n`) : line.test(text))) as Promise<true>,
    [Symbol.dispose]: () => perl.kill('SIGKILL'),
  }
}
