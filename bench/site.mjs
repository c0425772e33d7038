// The folder that every server serves: the same PHP scripts, CGI programs and files for all of them.

import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram, requireProgram } from './peers.mjs'

export const MiB = 1024 * 1024
export const greeting = 'Hello, World!\n'

const pages = {
  'hello.php': `<?php echo "Hello, World!\\n";`,

  // About 1 ms of PHP and 20 KB of markup: a loop like that of a template, with escaping and a digest a row.
  'page.php': `<?php
$rows = [];
$state = 'page';
for ($i = 0; $i < 170; $i++) {
  $state = md5($state . $i);
  for ($j = 0; $j < 14; $j++) { $state = sha1($state . $j); }
  $rows[] = ['id' => $i, 'name' => 'row <' . substr($state, 0, 12) . '>', 'tags' => str_split(substr($state, 12, 24), 6)];
}
usort($rows, fn ($a, $b) => strcmp($a['name'], $b['name']));
header('Content-Type: text/html; charset=utf-8');
echo "<!doctype html><title>page</title><table>\\n";
foreach ($rows as $row) {
  echo '<tr><td>', $row['id'], '</td><td>', htmlspecialchars($row['name']), '</td><td>', implode(', ', array_map('strtoupper', $row['tags'])), "</td></tr>\\n";
}
echo '</table>', str_repeat("<p>The quick brown fox jumps over the lazy dog.</p>\\n", 100);
`,

  'upload.php': `<?php
$in = fopen('php://input', 'rb');
for ($length = 0; !feof($in); ) { $length += strlen(fread($in, 65536)); }
echo $length, "\\n";
`,

  'download.php': `<?php
header('Content-Type: application/octet-stream');
$block = str_repeat("0123456789abcde\\n", 4096);
for ($i = 0; $i < 160; $i++) { echo $block; }
`,
}

const cProgram = `#include <stdio.h>
int main(void) {
  fputs("Content-Type: text/plain\\r\\n\\r\\nHello, World!\\n", stdout);
  return 0;
}
`

const fcgiProgram = `#include <fcgiapp.h>
int main(void) {
  FCGX_Request request;
  FCGX_Init();
  FCGX_InitRequest(&request, 0, 0);
  while (FCGX_Accept_r(&request) == 0) FCGX_FPrintF(request.out, "Content-Type: text/plain\\r\\n\\r\\nHello, World!\\n");
  return 0;
}
`

/** The CGI programs that are scripts, by name. Those whose interpreter is not installed are left out. */
function scripts() {
  const programs = { 'hello-sh': `#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nHello, World!\\n'\n` }
  // The system's Python by its full path: one found through PATH may be a shell script that looks for the real one at each start.
  if (existsSync('/usr/bin/python3')) {
    programs['hello-python'] = `#!/usr/bin/python3\nimport sys\nsys.stdout.write("Content-Type: text/plain\\r\\n\\r\\nHello, World!\\n")\n`
  }
  // PHP as plain CGI. php-cgi is its own interpreter here, so no shell is started in between; force_redirect is Apache's safeguard
  // for an interpreter that can be reached by its own address, which this one cannot.
  const php = findProgram('php-cgi')
  if (php !== undefined) programs['hello-php'] = `#!${php} -dcgi.force_redirect=0\n<?php echo "Hello, World!\\n";`
  return programs
}

/** Lays out the site in `folder`: PHP scripts, files of 1 KiB and 10 MiB, cgi-bin/ when `cgi` is set, a FastCGI program when `fcgi` is. */
export function layOut(folder, { cgi = false, fcgi = false } = {}) {
  for (const [name, text] of Object.entries(pages)) writeFileSync(join(folder, name), text)
  writeFileSync(join(folder, 'small.txt'), 'x'.repeat(1023) + '\n')
  writeFileSync(join(folder, 'large.bin'), Buffer.alloc(10 * MiB, '0123456789abcde\n'))
  // The idle workload serves this one: no interpreter belongs to it, so no pool stands beside the server that is weighed.
  mkdirSync(join(folder, 'static'))
  writeFileSync(join(folder, 'static', 'small.txt'), 'x'.repeat(1023) + '\n')
  if (fcgi) {
    const program = join(folder, '..', 'hello-fcgi.c')
    writeFileSync(program, fcgiProgram)
    execFileSync(requireProgram('gcc', 'cc'), ['-O2', '-o', join(folder, 'hello-fcgi'), program, '-lfcgi'])
  }
  if (!cgi) return
  const bin = join(folder, 'cgi-bin')
  mkdirSync(bin, { recursive: true })
  const source = join(bin, '..', '..', 'hello.c')
  writeFileSync(source, cProgram)
  execFileSync(requireProgram('gcc', 'cc'), ['-O2', '-o', join(bin, 'hello-c'), source])
  for (const [name, text] of Object.entries(scripts())) {
    writeFileSync(join(bin, name), text)
    chmodSync(join(bin, name), 0o755)
  }
}
