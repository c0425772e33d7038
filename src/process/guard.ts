// What remains when this process is gone: a tiny shell that then kills the process groups this one has started.
//
// No handler runs on SIGKILL, on a crash of the runtime or when memory runs out. But the kernel closes our end of a pipe, and
// whoever reads the other end learns of it. PR_SET_PDEATHSIG is no way: it is not inherited over fork, it depends on the
// thread that spawned, and a stopped process does not act on a signal that it handles.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { GatewayError } from '../core/index.ts'

/** Kills what it watches, and removes it, when this process ends, however it ends. */
export interface Guard {
  /** The shell's pid; undefined while it is being replaced, and after `close`. */
  readonly pid: number | undefined
  /**
   * Kills this process group (SIGKILL) when this process is gone, and removes `folder`, where its sockets are. Call it in the
   * same turn of the event loop as the spawn.
   */
  watch(pgid: number, folder?: string): void
  /** Removes this folder, with what is in it, when this process is gone. */
  watchFolder(folder: string): void
  /** Its owner has removed it, or wants it kept. */
  forgetFolder(folder: string): void
  /** The group has ended. Not telling is dangerous: its number may be given to others. */
  forget(pgid: number): void
  /** Ends the guard, which kills the groups that are still watched. Idempotent. */
  close(): void
}

// Signals of the terminal and of a service manager that ends everything at once must not end the guard before its time.
// A line that was cut by our death makes `read` fail and is not acted upon: half a number is somebody else's.
const SCRIPT = `trap '' HUP INT QUIT TERM USR1 USR2 PIPE
groups=' '
folders=' '
while read -r what group folder; do
  case $what in
    watch) groups="$groups$group "; eval "folder_$group=\\$folder" ;;
    forget) case $groups in *" $group "*) groups="\${groups%%" $group "*} \${groups#*" $group "}" ;; esac ;;
    keep) folders="$folders$group "; eval "kept_$group=\\$folder" ;;
    leave) eval "kept_$group=" ;;
  esac
done
for group in $groups; do
  kill -s KILL -- "-$group"
  eval "folder=\\$folder_$group"
  case $folder in /*) rm -rf -- "$folder" ;; esac
done
for number in $folders; do
  eval "folder=\\$kept_$number"
  case $folder in /*) rm -rf -- "$folder" ;; esac
done`

// A guard that dies is replaced, but one that dies at once is not replaced in a loop.
const PAUSE = 1000

/** Starts the guard: one `sh` in a session of its own. It does not keep this process alive. */
export function openGuard(): Guard {
  return new ShellGuard()
}

class ShellGuard implements Guard {
  #shell: ChildProcess | undefined
  #groups = new Map<number, string>()
  /** By numbers, which the shell can make names of. */
  #folders = new Map<string, number>()
  #numbered = 0
  #closed = false
  #started = 0

  constructor() {
    this.#start()
  }

  get pid(): number | undefined {
    return this.#shell?.pid
  }

  watch(pgid: number, folder: string = ''): void {
    // Group 0 is our own, 1 and -1 are everybody's.
    if (!Number.isSafeInteger(pgid) || pgid <= 1) {
      throw new GatewayError('CONTRACT', { status: 500, message: `process: guard: ${pgid} is not a process group that can be watched` })
    }
    if (this.#closed) {
      throw new GatewayError('CLOSED', { status: 503, message: `process: guard: closed, and cannot watch group ${pgid}` })
    }
    if (this.#groups.has(pgid)) return
    checkFolder(folder)
    this.#groups.set(pgid, folder)
    this.#tell(`watch ${pgid} ${folder}\n`)
  }

  forget(pgid: number): void {
    if (this.#groups.delete(pgid)) this.#tell(`forget ${pgid}\n`)
  }

  watchFolder(folder: string): void {
    checkFolder(folder)
    if (this.#closed || this.#folders.has(folder)) return
    const number = ++this.#numbered
    this.#folders.set(folder, number)
    this.#tell(`keep ${number} ${folder}\n`)
  }

  forgetFolder(folder: string): void {
    const number = this.#folders.get(folder)
    if (!this.#folders.delete(folder)) return
    this.#tell(`leave ${number}\n`)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#shell?.stdin?.end()
    this.#shell = undefined
  }

  /** Node tries a write to a pipe at once: the line is in the kernel when this returns, and our death cannot lose it. */
  #tell(line: string): void {
    this.#shell?.stdin?.write(line)
  }

  #start(): void {
    if (this.#closed) return
    this.#started = performance.now()
    const shell = spawn('/bin/sh', ['-c', SCRIPT, 'viaduct-guard'], {
      cwd: '/',
      env: {},
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    shell.on('error', () => {})
    shell.stdin.on('error', () => {})
    shell.once('exit', () => this.#lost(shell))
    shell.unref()
    // What spawn calls a Writable is a socket.
    if ('unref' in shell.stdin && typeof shell.stdin.unref === 'function') shell.stdin.unref()
    if (shell.pid === undefined) {
      throw new GatewayError('PROGRAM_FAILED', {
        status: 503,
        message: 'process: guard: /bin/sh could not be started; is the limit of processes reached?',
      })
    }
    this.#shell = shell
    let lines = ''
    for (const [pgid, folder] of this.#groups) lines += `watch ${pgid} ${folder}\n`
    for (const [folder, number] of this.#folders) lines += `keep ${number} ${folder}\n`
    if (lines !== '') this.#tell(lines)
  }

  #lost(shell: ChildProcess): void {
    if (this.#shell !== shell) return
    this.#shell = undefined
    const again = (): void => {
      try {
        this.#start()
      } catch {
        setTimeout(again, PAUSE).unref()
      }
    }
    if (performance.now() - this.#started > PAUSE) again()
    else setTimeout(again, PAUSE).unref()
  }
}

/** It is sent as a line, and read by a shell. */
function checkFolder(folder: string): void {
  if (/[\n\0]/.test(folder)) throw new GatewayError('CONTRACT', { status: 500, message: 'process: guard: a folder with a line break' })
}
