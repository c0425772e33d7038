// Starts programs for a front where there is no Python: the same frames and reports as spawner.py, which see. Node's own
// spawn forks, so this is half as fast; but this process stays small, and the front is not blocked.
//
// What differs: CPU times and memory of a program are not known (0), its standard error is a socket (/dev/stderr cannot be
// opened by name), and only its group is killed at the end, not its session.

import { spawn } from 'node:child_process'
import { closeSync, existsSync, readFileSync, readSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { Socket, createServer } from 'node:net'
import { constants } from 'node:os'
import { dirname } from 'node:path'

const READY = 1
const STARTED = 2
const FAILED = 3
const EXITED = 4
const STDERR = 5
const GONE = 6
const AT_FRAME = 0
const AT_INPUT = 1
const AT_CWD = 2
const AT_EXEC = 3

const FRAME_LIMIT = 4 << 20
const FRAME_TIMEOUT = 5000
const STDERR_LIMIT = 1 << 20
const STDERR_CHUNK = 65_536
const OUT_LIMIT = 4 << 20
const LINGER_TICK = 250

const path = process.argv[2]
const programs = new Map()
const lingering = new Map()
const joined = new Map()
const waiting = new Map()

process.umask(0o022)
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1']) process.on(name, () => {})

// Programs must not inherit what this process did. Node's own descriptors are close-on-exec (octal 02000000 in fdinfo).
for (const fd of existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').map(Number) : []) {
  try {
    const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))
    if (fd > 3 && flags !== null && (Number.parseInt(flags[1], 8) & 0o2000000) === 0) closeSync(fd)
  } catch {
    // The descriptor of the listing itself, which is closed by now.
  }
}

const control = new Socket({ fd: 3 })
control.on('error', leave)
control.on('end', leave)
let commands = Buffer.alloc(0)
control.on('data', (chunk) => {
  commands = Buffer.concat([commands, chunk])
  for (; commands.length >= 5; commands = commands.subarray(5)) {
    const token = commands.readUInt32BE(0)
    const pid = programs.get(token) ?? lingering.get(token)
    if (pid !== undefined) killGroup(pid, commands[4])
  }
})

function report(kind, token, fields) {
  const head = Buffer.alloc(9)
  head.writeUInt32BE(5 + fields.length, 0)
  head[4] = kind
  head.writeUInt32BE(token, 5)
  control.write(Buffer.concat([head, fields]))
}

function refuse(token, stage, errno) {
  const fields = Buffer.alloc(5)
  fields[0] = stage
  fields.writeUInt32BE(errno, 1)
  report(FAILED, token, fields)
}

// Never read by Node: it would take more than the frame, and what follows is the program's.
const server = createServer({ pauseOnConnect: true }, (connection) => {
  connection.on('error', () => {})
  readFrame(connection, connection._handle.fd, Date.now() + FRAME_TIMEOUT)
})

function readFrame(connection, fd, deadline) {
  let block = Buffer.alloc(8)
  let filled = 0
  let head
  const step = () => {
    try {
      for (;;) {
        const count = readSync(fd, block, filled, block.length - filled)
        if (count === 0) return connection.destroy()
        filled += count
        if (filled < block.length) continue
        if (head !== undefined) return take(connection, fd, head, block)
        head = [block.readUInt32BE(0), block.readUInt32BE(4)]
        if (head[0] + head[1] > FRAME_LIMIT) return connection.destroy()
        block = Buffer.alloc(head[0] + head[1])
        filled = 0
      }
    } catch (error) {
      if (error.code !== 'EAGAIN' || Date.now() > deadline) return connection.destroy()
      setTimeout(step, 1)
    }
  }
  step()
}

function take(connection, fd, [textLength], block) {
  const parts = block.toString('latin1', 0, textLength).split('\0')
  const token = Number(parts[1])
  if (parts[0] === 'join') {
    const program = waiting.get(token)
    waiting.delete(token)
    if (program === undefined) joined.set(token, connection)
    else program(connection)
    return
  }
  const go = (other) => {
    clearTimeout(late)
    begin(token, connection, fd, parts, block.subarray(textLength), other)
  }
  // Frames are read side by side here: a program's may be whole before that of its input.
  const wait = parts[2] === 'joined' && !joined.has(token)
  const late = wait ? setTimeout(() => waiting.delete(token) && go(undefined), FRAME_TIMEOUT) : undefined
  if (wait) waiting.set(token, go)
  else go(joined.get(token))
  joined.delete(token)
}

function begin(token, connection, fd, parts, data, other) {
  try {
    start(token, fd, parts, data, other)
  } catch (error) {
    refuse(token, AT_FRAME, Math.abs(error.errno ?? constants.errno.EINVAL))
  } finally {
    connection.destroy()
    other?.destroy()
  }
}

/** Node gives programs its strings as UTF-8: bytes that are none cannot be passed on. */
function utf8(bytes) {
  const text = Buffer.from(bytes, 'latin1').toString('utf8')
  if (Buffer.from(text, 'utf8').toString('latin1') !== bytes) throw Object.assign(new Error(), { errno: constants.errno.EILSEQ })
  return text
}

function start(token, fd, parts, data, other) {
  const [, , source, cwd, file, count, ...rest] = parts
  const argv = rest.slice(0, Number(count)).map(utf8)
  const env = {}
  for (let i = Number(count); i < rest.length; i += 2) env[utf8(rest[i])] = utf8(rest[i + 1])
  if (!existsSync(utf8(cwd))) return refuse(token, AT_CWD, constants.errno.ENOENT)
  if (source === 'joined' && other === undefined) return refuse(token, AT_INPUT, constants.errno.ENOTCONN)
  const stdin = source === 'none' ? 'ignore' : source === 'joined' ? other._handle.fd : 'pipe'
  const child = spawn(utf8(file), argv.slice(1), { argv0: argv[0], cwd: utf8(cwd), env, stdio: [stdin, fd, 'pipe'], detached: true })
  child.on('error', (error) => {
    if (child.pid === undefined) refuse(token, AT_EXEC, Math.abs(error.errno))
  })
  if (child.pid === undefined) return
  child.stdin?.on('error', () => {})
  child.stdin?.end(data)
  programs.set(token, child.pid)
  const pid = Buffer.alloc(4)
  pid.writeUInt32BE(child.pid)
  report(STARTED, token, pid)
  relay(token, child)
}

function relay(token, child) {
  let left = STDERR_LIMIT
  child.stderr.on('data', (chunk) => {
    for (let at = 0; at < chunk.length && left > 0 && control.writableLength < OUT_LIMIT; at += STDERR_CHUNK) {
      const piece = chunk.subarray(at, Math.min(at + STDERR_CHUNK, at + left))
      left -= piece.length
      report(STDERR, token, piece)
    }
  })
  child.stderr.on('error', () => {})
  child.once('exit', (code, signal) => {
    // What it had written is already in the pipe: one turn of the loop reads it.
    setImmediate(() => setImmediate(() => exited(token, child.pid, code, signal)))
  })
}

function exited(token, pid, code, signal) {
  const left = groupExists(pid)
  programs.delete(token)
  if (left) lingering.set(token, pid)
  const fields = Buffer.alloc(30)
  fields.writeInt32BE(code ?? -1, 0)
  fields[4] = signal === null ? 0 : constants.signals[signal]
  fields[5] = left ? 1 : 0
  report(EXITED, token, fields)
}

setInterval(() => {
  for (const [token, pid] of lingering) {
    if (groupExists(pid)) continue
    lingering.delete(token)
    report(GONE, token, Buffer.alloc(0))
  }
}, LINGER_TICK).unref()

function groupExists(pid) {
  return killGroup(pid, 0)
}

function killGroup(pid, signal) {
  try {
    return process.kill(-pid, signal)
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function leave() {
  for (const pid of [...programs.values(), ...lingering.values()]) killGroup(pid, 'SIGKILL')
  for (const remove of [() => unlinkSync(path), () => rmdirSync(dirname(path))]) {
    try {
      remove()
    } catch {
      // The front was faster.
    }
  }
  process.exit(0)
}

server.listen(path, () => report(READY, 0, Buffer.alloc(0)))
