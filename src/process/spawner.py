"""Starts programs for a front: the helper's side of process/spawner.ts. Standard library only, Python 3.8 or later.

Usage: python3 -I -S spawner.py SOCKET   (descriptor 3 is the control channel to the front)

posix_spawn is the reason for this process: it copies no page tables, where the front would be blocked for a millisecond
and more per program. One connection to SOCKET is one program: a frame, then nothing but the program's output.
Everything here is sequential; only posix_spawn blocks, until the exec.

Frame (front -> helper, one connection each):  u32 text length, u32 data length, text, data
  text is NUL-separated: "run", token, input (none | data | joined), cwd, file, argc, argv..., name, value, ...
                     or: "join", token        this connection becomes the standard input of that token's program
Control (front -> helper, descriptor 3):       u32 token, u8 signal: to the program's whole group
Report  (helper -> front, descriptor 3):       u32 length of the rest, u8 type, u32 token, fields
All integers are big-endian. When the control channel ends, every program is killed and this process leaves.
"""

import errno
import os
import select
import signal
import socket
import struct
import sys
import time

CONTROL = 3
READY, STARTED, FAILED, EXITED, STDERR, GONE = 1, 2, 3, 4, 5, 6
AT_FRAME, AT_INPUT, AT_CWD, AT_EXEC = 0, 1, 2, 3

FRAME_LIMIT = 4 << 20
FRAME_TIMEOUT = 5.0
JOIN_LIMIT = 1024
STDERR_LIMIT = 1 << 20
STDERR_CHUNK = 65536
# Reports that the front has not read: beyond this what programs write to standard error is dropped, never waited for.
OUT_LIMIT = 4 << 20
# How often groups whose leader has exited are looked at. A process id can be used again only after the whole range
# of ids went by, so within this time the number cannot have become somebody else's.
LINGER_TICK = 0.25
LINGER_LIMIT = 1024

# How long the word of a program's start may wait for other news to go with: most programs have ended by then, and each
# report by itself wakes the front once.
LATE = 0.002

# Real-time signals 32 and 33 belong to the C library and are not in valid_signals().
DEFAULT_SIGNALS = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]


class Program:
    __slots__ = ("errors", "left", "pid", "token")

    def __init__(self, token, pid, errors):
        self.token = token
        self.pid = pid
        self.errors = errors
        self.left = STDERR_LIMIT


class Refused(Exception):
    """A program that could not be started: at which step, and the error's number."""

    def __init__(self, stage, number):
        super().__init__(stage, number)
        self.stage = stage
        self.number = number


class Spawner:
    def __init__(self, path):
        self.path = path
        self.parent = os.getppid()
        self.out = bytearray()
        self.late = bytearray()  # reports of programs that have started
        self.blocked = False
        self.commands = bytearray()
        self.programs = {}  # token -> Program, leader not yet waited for
        self.by_pid = {}
        self.lingering = {}  # token -> pid: the leader was waited for, others of its group are still there
        self.look = False
        self.next_look = 0.0
        self.streams = {}  # read end of a standard error -> Program
        self.joined = {}  # token -> (connection, time): came before their program
        self.null = os.open("/dev/null", os.O_RDWR)

        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        self.listener.bind(path)
        os.umask(old)
        self.listener.listen(4096)
        self.listener.setblocking(False)

        os.set_blocking(CONTROL, False)
        self.wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

        self.poller = select.epoll()
        for fd in (self.listener.fileno(), CONTROL, self.wake):
            self.poller.register(fd, select.EPOLLIN)

    def run(self):
        self.report(READY, 0, b"")
        self.flush()
        listener = self.listener.fileno()
        while True:
            ready = self.poller.poll(LATE if self.late else LINGER_TICK if self.lingering else -1)
            if not ready:
                self.hurry()
            for fd, events in ready:
                if fd == listener:
                    self.accept()
                elif fd == self.wake:
                    self.drain_wake()
                    self.reap()
                elif fd == CONTROL:
                    if events & ~select.EPOLLOUT and not self.command():
                        return
                else:
                    self.relay(fd)
            if self.lingering and (self.look or time.monotonic() >= self.next_look):
                self.forget()
            if not self.flush():
                return

    # -- one program ------------------------------------------------------------------------------------------------

    def accept(self):
        try:
            connection, _ = self.listener.accept()
        except OSError as error:
            # Out of descriptors or the like: what runs will end and give some back. A tight loop would keep it from that.
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                time.sleep(0.01)
            return
        keep = False
        token = None
        try:
            pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if pid != self.parent or uid != os.geteuid():
                return
            frame = Frame(connection)
            text_length, data_length = struct.unpack(">II", frame.take(8))
            if text_length + data_length > FRAME_LIMIT:
                raise Refused(AT_FRAME, errno.E2BIG)
            block = frame.take(text_length + data_length)
            parts = block[:text_length].split(b"\0")
            token = int(parts[1])
            data = block[text_length:]
            if frame.waits:
                # The program gets this description, and expects a descriptor that blocks.
                connection.setblocking(True)
            if parts[0] == b"join":
                self.join(token, connection)
                keep = True
            else:
                self.start(token, connection, parts, data)
        except Refused as error:
            self.refuse(token, error.stage, error.number)
        except OSError as error:
            self.refuse(token, AT_FRAME, error.errno or errno.ETIMEDOUT)
        except (ValueError, IndexError, struct.error):
            self.refuse(token, AT_FRAME, errno.EINVAL)
        finally:
            if not keep:
                connection.close()

    def refuse(self, token, stage, number):
        if token is not None:
            self.report(FAILED, token, struct.pack(">BI", stage, number))

    def join(self, token, connection):
        now = time.monotonic()
        if len(self.joined) >= JOIN_LIMIT:
            for old in [key for key, (_, since) in self.joined.items() if now - since > FRAME_TIMEOUT]:
                self.joined.pop(old)[0].close()
        self.joined[token] = (connection, now)

    def start(self, token, connection, parts, data):
        source, cwd, file, count = parts[2], parts[3], parts[4], int(parts[5])
        argv = parts[6 : 6 + count]
        rest = parts[6 + count :]
        env = dict(zip(rest[::2], rest[1::2]))
        joined = self.joined.pop(token, (None, 0))[0]
        opened = []
        try:
            try:
                stdin = self.source(source, data, joined, opened)
                errors, stderr = os.pipe2(os.O_CLOEXEC)
                opened.append(stderr)
            except OSError as error:
                raise Refused(AT_INPUT, error.errno) from None
            try:
                pid = self.spawn(cwd, file, argv, env, (stdin, connection.fileno(), stderr))
            except BaseException:
                os.close(errors)
                raise
        finally:
            for fd in opened:
                os.close(fd)
            if joined is not None:
                joined.close()
        os.set_blocking(errors, False)
        program = Program(token, pid, errors)
        self.programs[token] = program
        self.by_pid[pid] = program
        self.streams[errors] = program
        self.poller.register(errors, select.EPOLLIN)
        self.late += struct.pack(">IBII", 9, STARTED, token, pid)

    def source(self, source, data, joined, opened):
        """The descriptor of standard input. Data that is here already becomes a file in memory: nobody has to feed it."""
        if source == b"none":
            return self.null
        if source == b"joined":
            if joined is None:
                raise Refused(AT_INPUT, errno.ENOTCONN)
            return joined.fileno()
        fd = os.memfd_create("stdin")
        opened.append(fd)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def spawn(self, cwd, file, argv, env, descriptors):
        try:
            os.chdir(cwd)
        except OSError as error:
            raise Refused(AT_CWD, error.errno) from None
        try:
            return os.posix_spawn(
                file,
                argv,
                env,
                # Every other descriptor of this process is close-on-exec (PEP 446).
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(descriptors)],
                setpgroup=0,
                setsigmask=(),
                setsigdef=DEFAULT_SIGNALS,
            )
        except OSError as error:
            raise Refused(AT_EXEC, error.errno) from None
        finally:
            # Not to keep a file system busy between requests.
            os.chdir("/")

    # -- what becomes of it -----------------------------------------------------------------------------------------

    def drain_wake(self):
        try:
            while len(os.read(self.wake, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def reap(self):
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            program = self.by_pid.pop(pid, None)
            if program is None:
                # An orphan that came to us: perhaps the last of its group.
                self.look = True
                continue
            if program.errors is not None:
                self.relay(program.errors, everything=True)
            del self.programs[program.token]
            left = group_exists(pid)
            if left:
                self.linger(program.token, pid)
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            fields = struct.pack(">iBBddd", code, number, left, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024.0)
            self.report(EXITED, program.token, fields)

    def linger(self, token, pid):
        if len(self.lingering) >= LINGER_LIMIT:
            # Still found by its session when this process ends.
            oldest = next(iter(self.lingering))
            del self.lingering[oldest]
            self.report(GONE, oldest, b"")
        self.lingering[token] = pid

    def forget(self):
        self.look = False
        self.next_look = time.monotonic() + LINGER_TICK
        for token, pid in list(self.lingering.items()):
            if not group_exists(pid):
                del self.lingering[token]
                self.report(GONE, token, b"")

    def relay(self, fd, everything=False):
        program = self.streams.get(fd)
        if program is None:
            return
        while True:
            try:
                chunk = os.read(fd, STDERR_CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                # Closing it also takes it out of the poller.
                del self.streams[fd]
                program.errors = None
                os.close(fd)
                return
            if program.left > 0 and len(self.out) < OUT_LIMIT:
                self.report(STDERR, program.token, chunk[: program.left])
            program.left -= len(chunk)
            # One that never stops writing has its turn like everybody, and a last one when it has exited.
            if not everything or program.left < 0:
                return

    # -- the front --------------------------------------------------------------------------------------------------

    def command(self):
        try:
            chunk = os.read(CONTROL, 65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not chunk:
            return False
        self.commands += chunk
        whole = len(self.commands) // 5 * 5
        for token, number in struct.iter_unpack(">IB", bytes(self.commands[:whole])):
            program = self.programs.get(token)
            pid = program.pid if program is not None else self.lingering.get(token)
            if pid is not None:
                kill_group(pid, number)
        del self.commands[:whole]
        return True

    def hurry(self):
        self.out += self.late
        self.late.clear()

    def report(self, kind, token, fields):
        if self.late:
            self.hurry()
        self.out += struct.pack(">IBI", 5 + len(fields), kind, token) + fields

    def flush(self):
        while self.out:
            try:
                del self.out[: os.write(CONTROL, self.out)]
            except BlockingIOError:
                break
            except OSError:
                return False
        if bool(self.out) != self.blocked:
            self.blocked = not self.blocked
            self.poller.modify(CONTROL, select.EPOLLIN | (select.EPOLLOUT if self.blocked else 0))
        return True

    def close(self):
        """Nothing is left behind: the groups, then whatever else was started in this session and changed its group."""
        for program in self.programs.values():
            kill_group(program.pid, signal.SIGKILL)
        for pid in self.lingering.values():
            kill_group(pid, signal.SIGKILL)
        for path in (self.path, os.path.dirname(self.path)):
            try:
                os.unlink(path) if path == self.path else os.rmdir(path)
            except OSError:
                pass
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            alive = kill_session()
            try:
                pid = -1
                while pid != 0:
                    pid = os.waitpid(-1, os.WNOHANG)[0]
                    self.by_pid.pop(pid, None)
            except ChildProcessError:
                self.by_pid.clear()
            if not alive and not self.by_pid:
                return
            time.sleep(0.002)


class Frame:
    """What comes on a connection, and not a byte more: what follows the frame may be a program's."""

    __slots__ = ("connection", "waits")

    def __init__(self, connection):
        self.connection = connection
        self.waits = False

    def take(self, length):
        """Exactly so many bytes."""
        block = self.more(length) if length else b""
        while len(block) < length:
            more = self.more(length - len(block))
            if not more:
                raise Refused(AT_FRAME, errno.EPIPE)
            block += more
        return block

    def more(self, length):
        if not self.waits:
            # Nearly always all of it is here: then nothing needs to be set up for waiting.
            try:
                return self.connection.recv(length, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self.waits = True
                self.connection.settimeout(FRAME_TIMEOUT)
        return self.connection.recv(length)


def group_exists(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def kill_group(pid, number):
    try:
        os.killpg(pid, number)
    except OSError:
        pass


def kill_session():
    """Kills every other process of this session; whether there was one."""
    own = os.getpid()
    if os.getsid(0) != own:
        return False
    found = False
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == own:
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # The second field is the program's name in parentheses, which may hold anything.
                state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
            if int(session) == own and state != b"Z":
                found = True
                os.kill(int(name), signal.SIGKILL)
        except (OSError, ValueError):
            pass
    return found


def adopt_orphans():
    """What programs leave behind comes to this process when they end, and is waited for: not every process 1 does so."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    except (ImportError, OSError, AttributeError):
        pass


def main():
    # This process lives as long as its control channel: a signal to everybody must not take it from a front that drains.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > CONTROL:
            try:
                os.close(int(name))
            except OSError:
                pass
    os.set_inheritable(CONTROL, False)
    os.umask(0o022)
    os.chdir("/")
    adopt_orphans()
    spawner = Spawner(sys.argv[1])
    try:
        spawner.run()
    finally:
        spawner.close()
    # Nothing is flushed or torn down: there is nothing that needs it.
    os._exit(0)


main()
