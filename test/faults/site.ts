// A folder of programs that behave badly when asked to, each telling in `.state/NAME` which process it is.

import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../interop/peers/index.ts'
import { Watched, eventually } from './observe.ts'

// The name is written whole or not at all: a reader never sees an empty file.
const TELL = `<?php
$state = $_SERVER['DOCUMENT_ROOT'] . '/.state/';
function tell(string $name): void {
  global $state;
  file_put_contents("$state$name.part", getmypid());
  rename("$state$name.part", $state . $name);
}
set_time_limit(0);
`

const scripts: Readonly<Record<string, string>> = {
  'hello.php': '<?php echo "hello\n";',

  // Says who it is, sleeps, answers.
  'wait.php': `${TELL}tell($_GET['name']); usleep($_GET['ms'] * 1000); echo "done\\n";`,

  // Says who it is, waits until the test allows it to go on, answers.
  'hold.php': `${TELL}tell($_GET['name']); while (!file_exists("{$state}go")) { usleep(10000); clearstatcache(); } echo "done\\n";`,

  // Answers only when as many requests are here at once as it is told: proof of that many workers.
  'meet.php': `${TELL}
tell("meet-{$_GET['id']}-" . getmypid());
for ($end = microtime(true) + 8; count(glob("{$state}meet-{$_GET['id']}-*[0-9]")) < $_GET['count']; usleep(10000)) {
  if (microtime(true) > $end) { http_response_code(500); exit("alone\\n"); }
}
echo getmypid();`,

  // A head and a part of the body, then nothing.
  'half.php': `${TELL}header('Content-Type: text/plain'); echo str_repeat('x', 200000); flush(); tell($_GET['name']); sleep(60);`,

  // Never ends; PHP's own rule ends it at the first output after its client has gone.
  'talk.php': `${TELL}tell($_GET['name']); while (true) { echo str_repeat("talk\\n", 20000); flush(); }`,

  'head-flood.php': `<?php for ($i = 0; $i < 2000; $i++) { header("X-Flood-$i: " . str_repeat('x', 1000)); } echo "head\n";`,

  'up.php': `<?php
$in = fopen('php://input', 'rb');
for ($length = 0; !feof($in); ) { $length += strlen(fread($in, 1 << 20)); }
echo $length;`,

  'down.php': `<?php
set_time_limit(0);
header('Content-Type: application/octet-stream');
$block = str_repeat('x', 1 << 20);
for ($i = 0; $i < $_GET['mib']; $i++) { echo $block; }`,
}

const tell = (name: string, pid: string): string => `echo ${pid} > .part-$$ && mv .part-$$ "$DOCUMENT_ROOT/.state/${name}"`

const programs: Readonly<Record<string, string>> = {
  hello: `printf 'Content-Type: text/plain\\n\\nhello\\n'`,

  // Never answers, and has a child that would stay behind.
  silent: `sleep 1000 & ${tell('$QUERY_STRING-child', '$!')}; ${tell('$QUERY_STRING', '$$')}; wait`,

  // The same, but nobody's request to end is heard.
  deaf: `trap '' TERM INT HUP; sleep 1000 & ${tell('$QUERY_STRING-child', '$!')}; ${tell('$QUERY_STRING', '$$')}; while :; do sleep 1; done`,

  flood: `${tell('$QUERY_STRING', '$$')}; printf 'Content-Type: text/plain\\n\\n'; exec yes`,

  'head-flood': `${tell('$QUERY_STRING', '$$')}; printf 'X-Flood: '; exec tr '\\0' x < /dev/zero`,

  up: `printf 'Content-Type: text/plain\\n\\n'; exec wc -c`,

  // Three lines of which the second waits until the test allows it.
  slow: `printf 'Content-Type: text/plain\\n\\nbegun\\n'; ${tell('$QUERY_STRING', '$$')}; while [ ! -e "$DOCUMENT_ROOT/.state/go" ]; do sleep 0.05; done; echo ended`,

  down: `printf 'Content-Type: application/octet-stream\\n\\n'; exec head -c "$QUERY_STRING" /dev/zero`,
}

export interface FaultSite {
  readonly folder: string
  /** The process that told its name, once it has. */
  told(name: string): Promise<Watched>
  /** Lets those that hold end. */
  go(): void
  /** Those that come now hold again. */
  hold(): void
  remove(): void
}

export function faultSite(): FaultSite {
  const temporary = temporaryFolder('viaduct-faults-')
  const folder = temporary.path
  mkdirSync(join(folder, '.state'), { mode: 0o777 })
  chmodSync(join(folder, '.state'), 0o777)
  mkdirSync(join(folder, 'cgi-bin'))
  for (const [name, text] of Object.entries(scripts)) writeFileSync(join(folder, name), text)
  for (const [name, text] of Object.entries(programs)) {
    const file = join(folder, 'cgi-bin', name)
    writeFileSync(file, `#!/bin/sh\ncd "$DOCUMENT_ROOT/.state" || exit 1\n${text}\n`)
    chmodSync(file, 0o755)
  }
  return {
    folder,
    told: (name) =>
      eventually(`${name} is running`, () => {
        const file = join(folder, '.state', name)
        return existsSync(file) && new Watched(Number(readFileSync(file, 'utf8')))
      }),
    go: () => writeFileSync(join(folder, '.state/go'), ''),
    hold: () => rmSync(join(folder, '.state/go'), { force: true }),
    remove: temporary.remove,
  }
}
