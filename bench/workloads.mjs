// What is measured: a path or two, the body that is sent, the answer that must come, and the servers that take part.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { greeting, MiB } from './site.mjs'

const phpPeers = ['viaduct', 'nginx-fpm', 'lighttpd']
const fpmPeers = ['viaduct-fpm', 'nginx-fpm', 'nginx-fpm-kept', 'lighttpd-fpm']
const cgiPeers = ['viaduct', 'apache-cgid', 'lighttpd-cgi', 'nginx-fcgiwrap']

/** True for the exact text, which every server must answer. */
const exactly = (text) => (body) => body.toString('latin1') === text

/** True for the content of a file of the site. */
const fileOf = (site, name) => {
  const expected = digest(readFileSync(join(site, name)))
  return (body) => digest(body) === expected
}

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex')
const download = (body) => body.length === 10 * MiB && body.subarray(0, 16).toString('latin1') === '0123456789abcde\n'
const page = (body) => body.length > 18_000 && body.length < 24_000 && body.includes('</table>')

/**
 * name -> { about, cgi?, fcgi?, cases: (site) => [{ title, path, body?, correct, servers, file?, programs?, tcp? }] }. A case is one
 * table. `file` is what bare node:http answers with; `programs` says that each request starts a program, `tcp` that php-fpm listens on
 * a port; `compare` in place of `servers` names paths of one Viaduct that are held against each other.
 */
export const workloads = {
  'php-hello': {
    about: 'a PHP script that prints one line',
    cases: () => [{ title: 'php-hello', path: '/hello.php', correct: exactly(greeting), servers: phpPeers }],
  },
  'php-page': {
    about: 'a PHP page of about 1 ms of CPU and 20 KB',
    cases: () => [{ title: 'php-page', path: '/page.php', correct: page, servers: phpPeers }],
  },
  upload: {
    about: 'POST of 1 MiB that PHP reads to its end',
    cases: () => [{ title: 'upload', path: '/upload.php', body: MiB, correct: exactly(`${MiB}\n`), servers: phpPeers }],
  },
  download: {
    about: '10 MiB printed by PHP',
    cases: () => [{ title: 'download', path: '/download.php', correct: download, servers: phpPeers }],
  },
  'cgi-hello': {
    about: 'a CGI program for each request: C, sh and Python',
    cgi: true,
    cases: () =>
      ['c', 'sh', 'python'].map((kind) => ({
        title: `cgi-hello, ${kind}`,
        path: `/cgi-bin/hello-${kind}`,
        correct: exactly(greeting),
        servers: cgiPeers,
        programs: true,
      })),
  },
  'fcgi-c': {
    about: 'a FastCGI program in C on libfcgi',
    fcgi: true,
    cases: () => [{ title: 'fcgi-c', path: '/', correct: exactly(greeting), servers: ['viaduct-program', 'lighttpd-program'] }],
  },
  'fastcgi-client': {
    about: 'FastCGI clients, each in front of a php-fpm of the same settings: a line, a page, an upload, a download',
    cases: () => [
      { title: 'fastcgi-client, hello', path: '/hello.php', correct: exactly(greeting), servers: fpmPeers },
      { title: 'fastcgi-client, hello over TCP', path: '/hello.php', correct: exactly(greeting), servers: fpmPeers, tcp: true },
      { title: 'fastcgi-client, page', path: '/page.php', correct: page, servers: fpmPeers },
      { title: 'fastcgi-client, page over TCP', path: '/page.php', correct: page, servers: fpmPeers, tcp: true },
      { title: 'fastcgi-client, upload', path: '/upload.php', body: MiB, correct: exactly(`${MiB}\n`), servers: fpmPeers },
      { title: 'fastcgi-client, download', path: '/download.php', correct: download, servers: fpmPeers },
    ],
  },
  'static-small': {
    about: 'a file of 1 KiB, beside node:http with a constant answer',
    cases: (site) => [
      {
        title: 'static-small',
        path: '/small.txt',
        correct: fileOf(site, 'small.txt'),
        servers: ['viaduct', 'bare-node', 'nginx-static', 'lighttpd-static'],
        file: 'small.txt',
      },
    ],
  },
  'static-large': {
    about: 'a file of 10 MiB, beside sendfile',
    cases: (site) => [
      {
        title: 'static-large',
        path: '/large.bin',
        correct: fileOf(site, 'large.bin'),
        servers: ['viaduct', 'nginx-static', 'lighttpd-static', 'bare-node'],
        file: 'large.bin',
      },
    ],
  },
  seed: {
    about: 'one PHP script as plain CGI and pooled, both through Viaduct',
    cgi: true,
    cases: () => [
      {
        title: 'seed',
        correct: exactly(greeting),
        programs: true,
        compare: [
          { label: 'pooled', path: '/hello.php' },
          { label: 'plain CGI', path: '/cgi-bin/hello-php' },
        ],
      },
    ],
  },
  idle: { about: '5000 idle connections: memory beside bare node:http and nginx' },
}
