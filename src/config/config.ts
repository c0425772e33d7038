// What a configuration file may say. Written by `node scripts/config-docs.mjs` from the schema (schema.ts and kinds/); not by hand.

/** What a configuration file holds. */
export interface Config {
  /** For editors. */
  readonly $schema?: string
  /** Where to listen: addresses as text, or objects. Sockets are opened at the start and held over reloads. Default: ["127.0.0.1:8080"]. */
  readonly listeners?: readonly (string | Listener)[]
  /** What answers, by a name of your choice. */
  readonly applications: Readonly<
    Record<
      string,
      | FolderApplication
      | StaticApplication
      | PhpApplication
      | WsgiApplication
      | NodeApplication
      | CgiApplication
      | FcgiProgramApplication
      | FastcgiApplication
      | StatusApplication
    >
  >
  /** Which application answers what: sites by host, and in them routes by path and method. */
  readonly sites: readonly Site[]
  /** Who may say what a client's address and scheme are. Default: nobody. */
  readonly trustedProxies?: {
    /** Addresses and networks of the proxies, IPv4 and IPv6; `unix`: whoever connects by a unix socket. */
    readonly from: readonly string[]
    /** Which fields they set: X-Forwarded-For and X-Forwarded-Proto, or Forwarded (RFC 7239). Only these are believed: the other kind comes from clients. Default: "x-forwarded". */
    readonly headers?: 'x-forwarded' | 'forwarded'
  }
  /** What one client may take. */
  readonly limits?: {
    /** Request line and header fields together; 431 beyond. Default: 32768. */
    readonly headerBytes?: Size
    /** Header fields; 431 beyond. Default: 100. */
    readonly headers?: number
    /** Length of the request target; 414 beyond. Default: 8192. */
    readonly targetBytes?: Size
    /** Largest request body, for every application; 413 beyond. 0: each kind has its own limit. Default: 0. */
    readonly body?: Size
    /** Until the head of a request is whole; 408 beyond. Default: "30s". */
    readonly headersTimeout?: Duration
    /** Between two pieces of a body that somebody reads; 408 beyond. Default: "30s". */
    readonly bodyTimeout?: Duration
    /** A kept connection without a request is closed after this. Default: "65s". */
    readonly idleTimeout?: Duration
    /** A client that takes nothing of its answer is cut after this. Default: "60s". */
    readonly writeTimeout?: Duration
    /** Connections at a time; 0 is no limit. Default: 16384. */
    readonly connections?: number
    /** Requests on one connection; 0 is no limit. Default: 0. */
    readonly requestsPerConnection?: number
    /** How much of a body nobody wants is taken off the wire, so that its client reads the answer. Default: "256K". */
    readonly drainBytes?: Size
    /** For how long. Default: "1s". */
    readonly drainTimeout?: Duration
    /** HTTP/2: requests at a time on one connection. Default: 128. */
    readonly streams?: number
    /** HTTP/2: requests that a client may take back beyond those that were answered. Default: 100. */
    readonly streamResets?: number
  }
  /** The log and the access log. */
  readonly logs?: {
    /** What the log holds, from this level on. Default: "info". */
    readonly level?: 'debug' | 'info' | 'warn' | 'error'
    /** Default: pretty on a terminal, json elsewhere. */
    readonly format?: 'pretty' | 'json'
    /** The access log: a file, `-` (standard output) or `off`. Default: "-". */
    readonly access?: string
    /** Of the access log; `combined` is Apache's. Default: `format`, and json in a file. */
    readonly accessFormat?: 'pretty' | 'json' | 'combined'
  }
  /** What requests get to finish at the end and on a reload. Default: "30s". */
  readonly grace?: Duration
  /** Write the pid there while it runs. */
  readonly pidFile?: string
}

/** What a name under `applications` stands for. */
export type Application =
  | FolderApplication
  | StaticApplication
  | PhpApplication
  | WsgiApplication
  | NodeApplication
  | CgiApplication
  | FcgiProgramApplication
  | FastcgiApplication
  | StatusApplication

/** Where the server listens, and what is spoken there. */
export interface Listener {
  /** `HOST:PORT`, `PORT` (on 127.0.0.1), `:PORT` (every address) or `unix:/path`. */
  readonly listen: string
  /** What is spoken there: `fastcgi` makes Viaduct the application of another web server. Default: "http". */
  readonly protocol?: 'http' | 'fastcgi'
  /** Serves https there, with this certificate. */
  readonly tls?: Tls
  /** Sends clients of plain HTTP to the same place under https: `https`, at the port of the listener with `tls`, or `https:443`. Below `/.well-known/acme-challenge/` (RFC 8555) it serves, so that a certificate can be had. */
  readonly redirect?: string
  /** Of a unix socket: who may connect. Default: "0660". */
  readonly mode?: string
  /** Connections that may wait until they are accepted, as far as the system lets them. Default: 1024. */
  readonly backlog?: number
  /** With `fastcgi`: addresses of web servers that may connect by TCP. Whoever may says who the client is. Default: everybody who can reach it. */
  readonly allow?: readonly string[]
}

/** The certificates of a listener, and what it speaks with them. */
export interface Tls {
  /** A PEM file: the certificate, then those that lead to its root. */
  readonly cert: string
  /** A PEM file: the private key of the certificate. */
  readonly key: string
  /** Of an encrypted key. */
  readonly passphrase?: Secret
  /** Which names it is shown for. Default: those that the certificate says. */
  readonly names?: readonly string[]
  /** More certificates, for other names. A client that asks for none of them, or for no name, gets the first. */
  readonly sni?: readonly Certificate[]
  /** The oldest version that is spoken. Default: "TLSv1.2". */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** For TLS 1.2, in OpenSSL's notation. Default: Node's. */
  readonly ciphers?: string
  /** HTTP/2 for clients that offer it (ALPN). The others get HTTP/1.1. Default: true. */
  readonly http2?: boolean
  /** How often is looked whether a file has changed: then new connections get the new certificate, and those that are open go on. 0: never. Default: "5s". */
  readonly watchInterval?: Duration
}

/** Text; or `{ file }`, what that file holds without the line break at its end; or `{ env }`, a variable of Viaduct's own environment. */
export type Secret =
  | string
  | {
      readonly file: string
    }
  | {
      readonly env: string
    }

/** A certificate for some names. */
export interface Certificate {
  /** A PEM file: the certificate, then those that lead to its root. */
  readonly cert: string
  /** A PEM file: the private key of the certificate. */
  readonly key: string
  /** Of an encrypted key. */
  readonly passphrase?: Secret
  /** Which names it is shown for. Default: those that the certificate says. */
  readonly names?: readonly string[]
}

/** A number of seconds, or text with a unit: `30`, `"500ms"`, `"30s"`, `"5m"`, `"1h"`. */
export type Duration = number | string

/** A folder as `viaduct serve FOLDER` serves it: files, `*.php`, `cgi-bin/` and `*.cgi`, `*.fcgi`, with `index.php` as front controller, and the Python and JavaScript applications in it. */
export interface FolderApplication {
  readonly kind: 'folder'
  /** The folder. */
  readonly root: string
  /** What shows a folder, the first that exists. Default: ["index.html","index.php"]. */
  readonly index?: readonly string[]
  /** Symbolic links may lead out of the folder. Default: false. */
  readonly symlinks?: boolean
  /** The pool that runs its PHP. */
  readonly php?: {
    /** The php-cgi to use. Default: the one on PATH. */
    readonly program?: string
    /** `native`: the php-cgi of this machine. `embedded`: the one from npm, as WebAssembly in threads of the server. `auto`: the native one where there is one, else the embedded one. Default: "auto". */
    readonly interpreter?: 'auto' | 'native' | 'embedded'
    /** Of an embedded interpreter, which sees the files of this folder and no others: whether it may change them. Default: "read-write". */
    readonly files?: 'read-write' | 'read-only'
    /** Requests that run at a time. Default: two a core, at least four; two of an embedded PHP. */
    readonly workers?: number
    /** Requests after which a process is replaced, against slow leaks: so many, or up to a tenth fewer, so that not all go at once; 0 is never. With it there is one process more, which waits to take the next place. Not of an embedded PHP. Default: 0. */
    readonly maxRequests?: number
    /** php.ini settings for the pool, as text; scripts may change them. */
    readonly ini?: Readonly<Record<string, string>>
    /** Environment of the workers. Nothing but PATH is inherited. */
    readonly env?: Readonly<Record<string, Secret>>
    /** `batch` keeps a worker that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used. Default: "batch". */
    readonly scheduling?: 'batch' | 'normal'
    /** Limits of the pool. */
    readonly limits?: {
      /** Requests that may wait for a worker; the next one gets 503. Default: 512. */
      readonly queue?: number
      /** How long a request may wait for a worker before it gets 503. Default: "30s". */
      readonly queueTimeout?: Duration
      /** How long a script may say nothing: then its client gets 504, and its worker is replaced. Default: "60s". */
      readonly silence?: Duration
      /** Largest request body. PHP's own `post_max_size` is usually far lower. Of an embedded PHP: 128M. Default: "1G". */
      readonly body?: Size
      /** Bytes of a request body that are kept in memory; beyond, it goes to a file. Default: "2M". */
      readonly bodyMemory?: Size
      /** How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once. Default: "64K". */
      readonly holdBytes?: Size
      /** How long it is held back. Default: "5ms". */
      readonly holdTime?: Duration
      /** Within what time the workers must be up. Of an embedded PHP: 30s. Default: "10s". */
      readonly start?: Duration
      /** A script that runs longer is told of in the log, once, while it runs. 0: none is. Default: 0. */
      readonly slow?: Duration
      /** Memory of each embedded interpreter. A native one has what `memory_limit` says. Default: "512M". */
      readonly memory?: Size
    }
  }
  /** How its CGI programs are run. */
  readonly cgi?: {
    /** Environment of the programs. Nothing is inherited; PATH is Viaduct's own unless set here. */
    readonly env?: Readonly<Record<string, Secret>>
    /** Pass the Authorization header on (RFC 3875, 4.1.18 advises against it). Default: false. */
    readonly authorization?: boolean
    /** Hand a query without `=` to the program as arguments (RFC 3875, 4.4). Default: false. */
    readonly queryArguments?: boolean
    /** Run programs whose name begins with `nph-`. Default: false. */
    readonly nph?: boolean
    /** Limits of the programs. */
    readonly limits?: {
      /** Programs that run at a time. Default: two a core, at least four. */
      readonly concurrency?: number
      /** Requests that may wait for a place; the next one gets 503. Default: 256. */
      readonly queue?: number
      /** How long a request may wait for a place before it gets 503. Default: "30s". */
      readonly queueTimeout?: Duration
      /** How long a program may run, not counting the time it waits for its client. Default: "5m". */
      readonly time?: Duration
      /** How long it may say nothing before its head is whole; then 504. Default: "60s". */
      readonly firstByte?: Duration
      /** How long it may say nothing in the middle of its answer. Default: "60s". */
      readonly idle?: Duration
      /** What is left to its output after its end, or to its end after its output. Default: "2s". */
      readonly linger?: Duration
      /** Time between SIGTERM and SIGKILL. Default: "1s". */
      readonly kill?: Duration
      /** Largest header block of an answer. Default: "64K". */
      readonly head?: Size
      /** Largest answer. Default: "16G". */
      readonly output?: Size
      /** Largest request body. Default: "2G". */
      readonly body?: Size
      /** How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once. Default: "64K". */
      readonly holdBytes?: Size
      /** How long it is held back. Default: "5ms". */
      readonly holdTime?: Duration
      /** How much of standard error goes to the log for each request. Default: "64K". */
      readonly stderr?: Size
      /** A program that runs longer is told of in the log, once, while it runs. 0: none is. Default: 0. */
      readonly slow?: Duration
    }
  }
  /** The pools of its Python applications, each the same. */
  readonly wsgi?: {
    /** The interpreter of all. Default: of each, that of a `venv` or `.venv` in its folder, else `python3` on PATH. */
    readonly python?: string
    /** `native`: a Python of this machine. `embedded`: the one from npm, as WebAssembly in threads of the server. `auto`: the native one where there is one, else the embedded one. Default: "auto". */
    readonly interpreter?: 'auto' | 'native' | 'embedded'
    /** Of an embedded interpreter, which sees the files of this folder and no others: whether it may change them. Default: "read-write". */
    readonly files?: 'read-write' | 'read-only'
    /** Processes: a number, or a policy. One is idle that has no request, on any thread; a request waits when no process can take it. An embedded Python has threads, each with an interpreter, and `max` of them, always. Default: 2. */
    readonly workers?:
      | number
      | {
          /** `static`: `max` processes, always. `dynamic`: between `minSpare` and `maxSpare` idle ones, at most `max`. `ondemand`: none without requests. */
          readonly policy: 'static' | 'dynamic' | 'ondemand'
          /** Processes at most. */
          readonly max: number
          /** With `dynamic`: idle ones at least. Default: 1. */
          readonly minSpare?: number
          /** With `dynamic`: idle ones at most. Default: two more than `minSpare`. */
          readonly maxSpare?: number
          /** With `dynamic`: processes at the start. Default: half-way between the spares. */
          readonly start?: number
          /** With `ondemand`: how long one may have nothing to do. Default: "10s". */
          readonly idleTimeout?: Duration
        }
    /** Requests after which a process is replaced, against slow leaks: so many, or up to a tenth fewer, so that not all go at once; 0 is never. It goes when its successor is ready, one at a time. Not of an embedded Python. Default: 0. */
    readonly maxRequests?: number
    /** Threads of each: for applications that wait for others. Default: 1. */
    readonly threads?: number
    /** Requests that may be with one worker, the one that runs included; those it has not begun are taken back when it is slow. With several threads it is 1. Default: 8. */
    readonly depth?: number
    /** Environment of the workers. They inherit PATH, HOME, LANG, LC_ALL, TZ and TMPDIR, and nothing else. */
    readonly env?: Readonly<Record<string, Secret>>
    /** `batch` keeps a worker that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used. Default: "batch". */
    readonly scheduling?: 'batch' | 'normal'
    /** Limits of the pool. */
    readonly limits?: {
      /** Requests that may wait for a worker; the next one gets 503. Default: 512. */
      readonly queue?: number
      /** How long a request may wait for a worker before it gets 503. Default: "30s". */
      readonly queueTimeout?: Duration
      /** How long an application may say nothing: then its client gets 504, and its worker is replaced. Default: "60s". */
      readonly silence?: Duration
      /** Largest request body. Default: "1G". */
      readonly body?: Size
      /** Bytes of a request body that are kept in memory; beyond, it goes to a file. Default: "2M". */
      readonly bodyMemory?: Size
      /** Within what time a worker must have loaded the application. Of an embedded Python: 60s. Default: "30s". */
      readonly start?: Duration
      /** A request that runs longer is told of in the log, once, while it runs. 0: none is. Default: 0. */
      readonly slow?: Duration
      /** Memory of each embedded interpreter. Default: "512M". */
      readonly memory?: Size
    }
  }
  /** The pools of its FastCGI programs, each the same. */
  readonly fcgi?: {
    /** Processes, each with one request at a time: a number, or a policy. Default: one, and more with the requests, two a core and four at most. */
    readonly workers?:
      | number
      | {
          /** `static`: `max` processes, always. `dynamic`: between `minSpare` and `maxSpare` idle ones, at most `max`. `ondemand`: none without requests. */
          readonly policy: 'static' | 'dynamic' | 'ondemand'
          /** Processes at most. */
          readonly max: number
          /** With `dynamic`: idle ones at least. Default: 1. */
          readonly minSpare?: number
          /** With `dynamic`: idle ones at most. Default: two more than `minSpare`. */
          readonly maxSpare?: number
          /** With `dynamic`: processes at the start. Default: half-way between the spares. */
          readonly start?: number
          /** With `ondemand`: how long one may have nothing to do. Default: "10s". */
          readonly idleTimeout?: Duration
        }
    /** Requests after which a process is replaced, against slow leaks: so many, or up to a tenth fewer, so that not all go at once; 0 is never. Default: 0. */
    readonly maxRequests?: number
    /** Environment of the processes. Nothing but PATH is inherited. */
    readonly env?: Readonly<Record<string, Secret>>
    /** `batch` keeps a process that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used. Default: "batch". */
    readonly scheduling?: 'batch' | 'normal'
    /** How far the processes stand back behind others (nice). Default: 0. */
    readonly nice?: number
    /** Limits of the pool. */
    readonly limits?: {
      /** Requests that may wait for a process; the next one gets 503. Default: 512. */
      readonly queue?: number
      /** How long a request may wait for a process before it gets 503. Default: "30s". */
      readonly queueTimeout?: Duration
      /** How long a program may say nothing: then its client gets 504, and its process is replaced. Default: "60s". */
      readonly silence?: Duration
      /** Largest request body. Default: "1G". */
      readonly body?: Size
      /** Bytes of a request body that are kept in memory; beyond, it goes to a file. Default: "2M". */
      readonly bodyMemory?: Size
      /** How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once. Default: "64K". */
      readonly holdBytes?: Size
      /** How long it is held back. Default: "5ms". */
      readonly holdTime?: Duration
      /** Within what time a process must have taken its first connection. Default: "10s". */
      readonly start?: Duration
      /** Time between SIGTERM and SIGKILL. Default: "2s". */
      readonly stop?: Duration
      /** A request that runs longer is told of in the log, once, while it runs. 0: none is. Default: 0. */
      readonly slow?: Duration
    }
  }
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** A number of bytes, or text with a unit, in powers of 1024: `4096`, `"64K"`, `"8M"`, `"1G"`. */
export type Size = number | string

/** Files: types, ETag, ranges, precompressed forms (`.br`, `.gz`). Dotfiles and sources of programs are never sent. */
export interface StaticApplication {
  readonly kind: 'static'
  /** The folder. */
  readonly root: string
  /** What shows a folder, the first that exists. Default: ["index.html"]. */
  readonly index?: readonly string[]
  /** Symbolic links may lead out of the folder. Default: false. */
  readonly symlinks?: boolean
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** PHP scripts of a folder, run by a pool of php-cgi workers, or by an embedded PHP. Other files of the folder are not sent: a `static` application beside it does that. */
export interface PhpApplication {
  readonly kind: 'php'
  /** The folder of the scripts: DOCUMENT_ROOT. */
  readonly root: string
  /** What shows a folder, the first that exists. Default: ["index.php"]. */
  readonly index?: readonly string[]
  /** Suffixes of files that are run. Default: [".php"]. */
  readonly extensions?: readonly string[]
  /** Symbolic links may lead out of the folder. Default: false. */
  readonly symlinks?: boolean
  /** The php-cgi to use. Default: the one on PATH. */
  readonly program?: string
  /** `native`: the php-cgi of this machine. `embedded`: the one from npm, as WebAssembly in threads of the server. `auto`: the native one where there is one, else the embedded one. Default: "auto". */
  readonly interpreter?: 'auto' | 'native' | 'embedded'
  /** Of an embedded interpreter, which sees the files of this folder and no others: whether it may change them. Default: "read-write". */
  readonly files?: 'read-write' | 'read-only'
  /** Requests that run at a time. Default: two a core, at least four; two of an embedded PHP. */
  readonly workers?: number
  /** Requests after which a process is replaced, against slow leaks: so many, or up to a tenth fewer, so that not all go at once; 0 is never. With it there is one process more, which waits to take the next place. Not of an embedded PHP. Default: 0. */
  readonly maxRequests?: number
  /** php.ini settings for the pool, as text; scripts may change them. */
  readonly ini?: Readonly<Record<string, string>>
  /** Environment of the workers. Nothing but PATH is inherited. */
  readonly env?: Readonly<Record<string, Secret>>
  /** `batch` keeps a worker that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used. Default: "batch". */
  readonly scheduling?: 'batch' | 'normal'
  /** Limits of the pool. */
  readonly limits?: {
    /** Requests that may wait for a worker; the next one gets 503. Default: 512. */
    readonly queue?: number
    /** How long a request may wait for a worker before it gets 503. Default: "30s". */
    readonly queueTimeout?: Duration
    /** How long a script may say nothing: then its client gets 504, and its worker is replaced. Default: "60s". */
    readonly silence?: Duration
    /** Largest request body. PHP's own `post_max_size` is usually far lower. Of an embedded PHP: 128M. Default: "1G". */
    readonly body?: Size
    /** Bytes of a request body that are kept in memory; beyond, it goes to a file. Default: "2M". */
    readonly bodyMemory?: Size
    /** How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once. Default: "64K". */
    readonly holdBytes?: Size
    /** How long it is held back. Default: "5ms". */
    readonly holdTime?: Duration
    /** Within what time the workers must be up. Of an embedded PHP: 30s. Default: "10s". */
    readonly start?: Duration
    /** A script that runs longer is told of in the log, once, while it runs. 0: none is. Default: 0. */
    readonly slow?: Duration
    /** Memory of each embedded interpreter. A native one has what `memory_limit` says. Default: "512M". */
    readonly memory?: Size
  }
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** A Python application, run by a pool of workers (PEP 3333): Flask, Django's manage.py, or any callable. It answers every path that comes to it, and no file of its folder is sent. */
export interface WsgiApplication {
  readonly kind: 'wsgi'
  /** The folder of the application: working folder of the workers, and first on `sys.path`. */
  readonly root: string
  /** The application: a file of the folder, `module:callable`, `module:factory()`, or a module that has `application`, `app`, `create_app` or `make_app`. Default: `wsgi.py`, `passenger_wsgi.py`, `application.py`, `app.py` or `manage.py` of the folder, the first that is one. */
  readonly app?: string
  /** The interpreter. Default: that of the virtual environment, else `python3` on PATH. */
  readonly python?: string
  /** The virtual environment. Default: `venv` or `.venv` in the folder, if there is one. */
  readonly venv?: string
  /** `native`: a Python of this machine. `embedded`: the one from npm, as WebAssembly in threads of the server. `auto`: the native one where there is one, else the embedded one. Default: "auto". */
  readonly interpreter?: 'auto' | 'native' | 'embedded'
  /** Of an embedded interpreter, which sees the files of this folder and no others: whether it may change them. Default: "read-write". */
  readonly files?: 'read-write' | 'read-only'
  /** Processes: a number, or a policy. One is idle that has no request, on any thread; a request waits when no process can take it. An embedded Python has threads, each with an interpreter, and `max` of them, always. Default: 2. */
  readonly workers?:
    | number
    | {
        /** `static`: `max` processes, always. `dynamic`: between `minSpare` and `maxSpare` idle ones, at most `max`. `ondemand`: none without requests. */
        readonly policy: 'static' | 'dynamic' | 'ondemand'
        /** Processes at most. */
        readonly max: number
        /** With `dynamic`: idle ones at least. Default: 1. */
        readonly minSpare?: number
        /** With `dynamic`: idle ones at most. Default: two more than `minSpare`. */
        readonly maxSpare?: number
        /** With `dynamic`: processes at the start. Default: half-way between the spares. */
        readonly start?: number
        /** With `ondemand`: how long one may have nothing to do. Default: "10s". */
        readonly idleTimeout?: Duration
      }
  /** Requests after which a process is replaced, against slow leaks: so many, or up to a tenth fewer, so that not all go at once; 0 is never. It goes when its successor is ready, one at a time. Not of an embedded Python. Default: 0. */
  readonly maxRequests?: number
  /** Threads of each: for applications that wait for others. Default: 1. */
  readonly threads?: number
  /** Requests that may be with one worker, the one that runs included; those it has not begun are taken back when it is slow. With several threads it is 1. Default: 8. */
  readonly depth?: number
  /** Environment of the workers. They inherit PATH, HOME, LANG, LC_ALL, TZ and TMPDIR, and nothing else. */
  readonly env?: Readonly<Record<string, Secret>>
  /** `batch` keeps a worker that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used. Default: "batch". */
  readonly scheduling?: 'batch' | 'normal'
  /** Limits of the pool. */
  readonly limits?: {
    /** Requests that may wait for a worker; the next one gets 503. Default: 512. */
    readonly queue?: number
    /** How long a request may wait for a worker before it gets 503. Default: "30s". */
    readonly queueTimeout?: Duration
    /** How long an application may say nothing: then its client gets 504, and its worker is replaced. Default: "60s". */
    readonly silence?: Duration
    /** Largest request body. Default: "1G". */
    readonly body?: Size
    /** Bytes of a request body that are kept in memory; beyond, it goes to a file. Default: "2M". */
    readonly bodyMemory?: Size
    /** Within what time a worker must have loaded the application. Of an embedded Python: 60s. Default: "30s". */
    readonly start?: Duration
    /** A request that runs longer is told of in the log, once, while it runs. 0: none is. Default: 0. */
    readonly slow?: Duration
    /** Memory of each embedded interpreter. Default: "512M". */
    readonly memory?: Size
  }
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** A JavaScript file whose default export is an express, koa, fastify or hono app, a Node listener, a fetch handler or an Application, run in the process that serves. WebSockets reach it. */
export interface NodeApplication {
  readonly kind: 'node'
  /** The file. It must not listen itself. */
  readonly file: string
  /** The export that is the application. Default: "default". */
  readonly export?: string
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** CGI programs: one (`script`), or every one of a folder (`root`). What follows a program in the path is PATH_INFO. */
export interface CgiApplication {
  readonly kind: 'cgi'
  /** A folder of programs: every file of it with the execute bit is one. */
  readonly root?: string
  /** One program that answers everything; instead of `root`. */
  readonly script?: string
  /** A program that is given each script as its last argument: for scripts without an execute bit. With `root` it needs `extensions`. */
  readonly interpreter?: readonly string[]
  /** Suffixes of files that are programs. Default: every file. */
  readonly extensions?: readonly string[]
  /** Programs that show a folder, the first that exists. Default: none. Default: []. */
  readonly index?: readonly string[]
  /** Symbolic links may lead out of the folder. Default: false. */
  readonly symlinks?: boolean
  /** Environment of the programs. Nothing is inherited; PATH is Viaduct's own unless set here. */
  readonly env?: Readonly<Record<string, Secret>>
  /** Pass the Authorization header on (RFC 3875, 4.1.18 advises against it). Default: false. */
  readonly authorization?: boolean
  /** Hand a query without `=` to the program as arguments (RFC 3875, 4.4). Default: false. */
  readonly queryArguments?: boolean
  /** Run programs whose name begins with `nph-`. Default: false. */
  readonly nph?: boolean
  /** Limits of the programs. */
  readonly limits?: {
    /** Programs that run at a time. Default: two a core, at least four. */
    readonly concurrency?: number
    /** Requests that may wait for a place; the next one gets 503. Default: 256. */
    readonly queue?: number
    /** How long a request may wait for a place before it gets 503. Default: "30s". */
    readonly queueTimeout?: Duration
    /** How long a program may run, not counting the time it waits for its client. Default: "5m". */
    readonly time?: Duration
    /** How long it may say nothing before its head is whole; then 504. Default: "60s". */
    readonly firstByte?: Duration
    /** How long it may say nothing in the middle of its answer. Default: "60s". */
    readonly idle?: Duration
    /** What is left to its output after its end, or to its end after its output. Default: "2s". */
    readonly linger?: Duration
    /** Time between SIGTERM and SIGKILL. Default: "1s". */
    readonly kill?: Duration
    /** Largest header block of an answer. Default: "64K". */
    readonly head?: Size
    /** Largest answer. Default: "16G". */
    readonly output?: Size
    /** Largest request body. Default: "2G". */
    readonly body?: Size
    /** How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once. Default: "64K". */
    readonly holdBytes?: Size
    /** How long it is held back. Default: "5ms". */
    readonly holdTime?: Duration
    /** How much of standard error goes to the log for each request. Default: "64K". */
    readonly stderr?: Size
    /** A program that runs longer is told of in the log, once, while it runs. 0: none is. Default: 0. */
    readonly slow?: Duration
  }
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** A FastCGI program (C on libfcgi, Perl, Python, TypeScript) in processes that Viaduct starts and looks after. It answers every path that comes to it. */
export interface FcgiProgramApplication {
  readonly kind: 'fcgi-program'
  /** The program: a path, or a name on PATH. */
  readonly command: string
  /** Its arguments. Default: []. */
  readonly args?: readonly string[]
  /** Its working folder. Default: the program's own; of one found on PATH, that of the configuration. */
  readonly cwd?: string
  /** Processes, each with one request at a time: a number, or a policy. Default: 2. */
  readonly workers?:
    | number
    | {
        /** `static`: `max` processes, always. `dynamic`: between `minSpare` and `maxSpare` idle ones, at most `max`. `ondemand`: none without requests. */
        readonly policy: 'static' | 'dynamic' | 'ondemand'
        /** Processes at most. */
        readonly max: number
        /** With `dynamic`: idle ones at least. Default: 1. */
        readonly minSpare?: number
        /** With `dynamic`: idle ones at most. Default: two more than `minSpare`. */
        readonly maxSpare?: number
        /** With `dynamic`: processes at the start. Default: half-way between the spares. */
        readonly start?: number
        /** With `ondemand`: how long one may have nothing to do. Default: "10s". */
        readonly idleTimeout?: Duration
      }
  /** Requests after which a process is replaced, against slow leaks: so many, or up to a tenth fewer, so that not all go at once; 0 is never. Default: 0. */
  readonly maxRequests?: number
  /** Environment of the processes. Nothing but PATH is inherited. */
  readonly env?: Readonly<Record<string, Secret>>
  /** `batch` keeps a process that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used. Default: "batch". */
  readonly scheduling?: 'batch' | 'normal'
  /** How far the processes stand back behind others (nice). Default: 0. */
  readonly nice?: number
  /** Limits of the pool. */
  readonly limits?: {
    /** Requests that may wait for a process; the next one gets 503. Default: 512. */
    readonly queue?: number
    /** How long a request may wait for a process before it gets 503. Default: "30s". */
    readonly queueTimeout?: Duration
    /** How long a program may say nothing: then its client gets 504, and its process is replaced. Default: "60s". */
    readonly silence?: Duration
    /** Largest request body. Default: "1G". */
    readonly body?: Size
    /** Bytes of a request body that are kept in memory; beyond, it goes to a file. Default: "2M". */
    readonly bodyMemory?: Size
    /** How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once. Default: "64K". */
    readonly holdBytes?: Size
    /** How long it is held back. Default: "5ms". */
    readonly holdTime?: Duration
    /** Within what time a process must have taken its first connection. Default: "10s". */
    readonly start?: Duration
    /** Time between SIGTERM and SIGKILL. Default: "2s". */
    readonly stop?: Duration
    /** A request that runs longer is told of in the log, once, while it runs. 0: none is. Default: 0. */
    readonly slow?: Duration
  }
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** A FastCGI application that runs already: php-fpm, or any other. Connections are kept, bounded and reused. */
export interface FastcgiApplication {
  readonly kind: 'fastcgi'
  /** Where it listens: an address such as "127.0.0.1:9000", "unix:/run/app.sock", "fastcgis://php:9001" or "fastcgi+srv://_fcgi._tcp.example.org". */
  readonly address?: string
  /** Several hosts of the same application, in place of `address`. */
  readonly upstreams?: readonly (
    | string
    | {
        /** an address such as "127.0.0.1:9000", "unix:/run/app.sock", "fastcgis://php:9001" or "fastcgi+srv://_fcgi._tcp.example.org". */
        readonly address: string
        /** Its share beside the others. Default: 1. */
        readonly weight?: number
        /** Asked only while none of the others is up. Default: false. */
        readonly backup?: boolean
        /** In place of the application's. */
        readonly connections?: number
      }
  )[]
  /** Which of several hosts gets the next request. By a cookie or a variable: requests with the same value go to the same host. Default: "round-robin". */
  readonly balance?:
    | 'round-robin'
    | 'least-connections'
    | 'two-choices'
    | 'first'
    | {
        /** Its name. */
        readonly cookie: string
      }
    | {
        /** Its name. */
        readonly variable: string
      }
  /** When one of several hosts is left alone, and when it is tried again. */
  readonly health?: {
    /** So many failures within `window` eject a host; 0: failures never do. Default: 3. */
    readonly failures?: number
    /** See `failures`. Default: "10s". */
    readonly window?: Duration
    /** How long it is left alone the first time; twice as long each time after. Default: "5s". */
    readonly ejection?: Duration
    /** At most. Default: "60s". */
    readonly longest?: Duration
    /** How long a host that is back, or new, takes to come to its whole share. Default: 0. */
    readonly slowStart?: Duration
    /** Ask each host again and again; then only this brings one back. Default: requests alone tell. */
    readonly check?: {
      /** SCRIPT_NAME and REQUEST_URI of the request: php-fpm answers its `ping.path`. Default: "/ping". */
      readonly path?: string
      /** The status of a host that is well, or the first and the last of a range. Default: [200,399]. */
      readonly status?: number | readonly undefined[]
      /** Between two checks of a host. Default: "5s". */
      readonly interval?: Duration
      /** For one. That all workers are busy is no illness: give it time. Default: "2s". */
      readonly timeout?: Duration
      /** Checks in a row that bring a host back. Default: 2. */
      readonly rise?: number
      /** Checks in a row that eject it. Default: 3. */
      readonly fall?: number
    }
  }
  /** Ask DNS again and again for the hosts behind names: each address is a host of its own. `fastcgi+srv://` names are always asked for. */
  readonly resolve?: {
    /** Between two times. Default: "30s". */
    readonly interval?: Duration
    /** Name servers. Default: the system's. */
    readonly servers?: readonly string[]
  }
  /** For `fastcgis://` addresses. Its certificate is always verified. */
  readonly tls?: {
    /** PEM of the authorities that may have signed its certificate. Default: those that Node trusts. */
    readonly ca?: string | readonly string[]
    /** PEM of the certificate that we show, if it asks for one. */
    readonly cert?: string
    /** PEM of its key. */
    readonly key?: string
    /** Of the key. */
    readonly passphrase?: Secret
    /** The name that its certificate must have. Default: the host of the address. */
    readonly serverName?: string
  }
  /** Several requests at a time on a connection. Default: false. */
  readonly multiplex?:
    | boolean
    | {
        /** Only where the application says that it can (FCGI_MPXS_CONNS). Default: false. */
        readonly ask?: boolean
        /** Requests at a time on one connection. Default: 100. */
        readonly requests?: number
        /** How much of an answer may wait in memory for its reader. Default: "256K". */
        readonly memory?: Size
        /** And how much more in a file; then it is cut. Default: "64M". */
        readonly file?: Size
        /** Where such files go. */
        readonly directory?: string
      }
  /** How often a request that failed is tried again. Only what cannot happen twice by it. Default: 1; 2 with several hosts. */
  readonly retries?: number
  /** `authorizer`, `filter`: not an answer of its own, but what routes name as `authorizer` or `filter`. Default: "responder". */
  readonly role?: 'responder' | 'authorizer' | 'filter'
  /** A folder of scripts that both sides see: files are looked up here, and the application is told which one it is. */
  readonly root?: string
  /** The same, for an application that sees other files than we do: nothing is looked up, SCRIPT_FILENAME is this and the path. */
  readonly documentRoot?: string
  /** SCRIPT_FILENAME of every request: a front controller. Nothing is looked up. */
  readonly script?: string
  /** With `root`: what shows a folder. Default: ["index.php"]. */
  readonly index?: readonly string[]
  /** With `root`: suffixes of scripts. Default: [".php"]. */
  readonly extensions?: readonly string[]
  /** With `root`: symbolic links may lead out of it. Default: false. */
  readonly symlinks?: boolean
  /** Connections at a time: no more than the application has workers. Default: 8. */
  readonly connections?: number
  /** Use connections for more than one request. Default: true. */
  readonly keep?: boolean
  /** Requests that may wait for a connection; the next one gets 503. Default: 512. */
  readonly queue?: number
  /** How long a request may wait for a connection before it gets 503. Default: "30s". */
  readonly queueTimeout?: Duration
  /** How long to wait for a connection to be made. Default: "5s". */
  readonly connectTimeout?: Duration
  /** How long an unused connection is kept. Default: "15s". */
  readonly idleTimeout?: Duration
  /** `spool`: a request body is whole before a connection is taken. `stream`: it is sent as it comes. Default: "spool". */
  readonly body?: 'spool' | 'stream'
  /** Only for php-fpm on this machine under our own user: a large body is not sent but read by PHP from its file (REQUEST_BODY_FILE). Default: false. */
  readonly requestBodyFile?: boolean
  /** When a client leaves: close the connection, or read the answer to its end to keep it. Default: "close". */
  readonly onCut?: 'close' | 'drain'
  /** A `Location: /path` alone is answered by the site itself, not sent to the client. Default: false. */
  readonly localRedirects?: boolean
  /** More variables (FastCGI parameters) for every request. */
  readonly variables?: Readonly<Record<string, Secret>>
  /** Limits of the application. */
  readonly limits?: {
    /** Largest header block of an answer. Default: "64K". */
    readonly head?: Size
    /** Largest body of an answer; 0 is no limit. Default: 0. */
    readonly response?: Size
    /** Largest request body. Default: "1G". */
    readonly body?: Size
    /** Bytes of a request body that are kept in memory; beyond, it goes to a file. Default: "1M". */
    readonly bodyMemory?: Size
    /** How long the application may say nothing before its head is whole; then 504. Default: "60s". */
    readonly firstByte?: Duration
    /** How long it may say nothing in the middle of its answer. Default: "60s". */
    readonly between?: Duration
    /** How long all of it may take, tries and the reading of the client included; 0 is no limit. Default: 0. */
    readonly total?: Duration
    /** How much is read on of an answer that nobody wants, to keep its connection. Default: "1M". */
    readonly drainBytes?: Size
    /** For how long. Default: "5s". */
    readonly drainTime?: Duration
    /** A request that takes longer is told of in the log, once, while it runs; the time that it waits for a connection counts, too. 0: none is. Default: 0. */
    readonly slow?: Duration
  }
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** How all pools of the server are doing, as text, HTML, JSON or metrics (docs/status.md). Only requests from this machine get it, and those from addresses that are listed. */
export interface StatusApplication {
  readonly kind: 'status'
  /** Addresses and networks that may see it beside this machine, IPv4 and IPv6; `unix`: whoever connects by a unix socket. Behind a trusted proxy the address of the client counts. Default: []. */
  readonly allow?: readonly string[]
  /** Folders whose files the application may have sent by answering with `X-Sendfile: /absolute/path`. Default: none. */
  readonly sendfile?: readonly string[]
}

/** Some hosts and what answers there. */
export interface Site {
  /** Names, without port; `*.example.org` is every name below it. Without it: every host that no other site has. */
  readonly hosts?: readonly string[]
  /** Tried from the top; the first that fits answers. What none fits is a 404. */
  readonly routes: readonly Route[]
}

/** Which requests, and what becomes of them. Without an answer of its own it changes them for the routes after it. */
export interface Route {
  /** Which paths; one or several. `/about`: this one. `/blog/*`: that folder and all below it. `:name`: one segment. `*` in a segment: any letters. `*.php`: names that end so, in every folder. Default: every path. */
  readonly path?: string | readonly string[]
  /** Which methods; one or several. `GET` includes `HEAD`. Default: every method. */
  readonly method?: string | readonly string[]
  /** The route is taken only if one of these is a file of its application; the first that is becomes the path. A candidate that ends in `/` is a folder. Else the next route has its turn. */
  readonly tryFiles?: readonly string[]
  /** The path that the application sees. `{path}` (the one it would have seen), `{rest}` (what `/*` stood for), `{query}` and the names of the pattern stand for their values. With a `?` it has its own query. Without an answer in the same route, the routes after it see the new path. */
  readonly rewrite?: string
  /** Answer: this application. */
  readonly application?: string
  /** With an application and a path `/blog/*`: the folder moves from the path to SCRIPT_NAME, and the application sees what is below it. false: it sees the whole path. Default: true. */
  readonly mount?: boolean
  /** With an application: this one, of kind `fastcgi` with `"role": "authorizer"`, is asked first; only its 200 lets a request through. */
  readonly authorizer?: string
  /** With an application: this one, of kind `fastcgi` with `"role": "filter"`, answers with what it makes of the files. */
  readonly filter?: string
  /** Answer: send the client elsewhere. A query is kept unless `to` has one. */
  readonly redirect?:
    | string
    | {
        /** Where to. `{path}`, `{rest}`, `{query}`, `{host}`, `{scheme}` and the names of the pattern stand for their values. */
        readonly to: string
        /** The status. Default: 302. */
        readonly status?: 301 | 302 | 303 | 307 | 308
      }
  /** Answer: this, as it is. */
  readonly respond?:
    | number
    | {
        /** The status. Default: 200. */
        readonly status?: number
        /** Header fields. Content-Type is `text/plain; charset=utf-8` unless given. */
        readonly headers?: Readonly<Record<string, string>>
        /** The text to send. Default: "". */
        readonly body?: string
      }
}
