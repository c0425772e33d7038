"""Runs one WSGI application for a front: the worker's side of docs/wsgi-protocol.md. Standard library only, Python 3.8 or later.

Usage: python3 worker.py SETTINGS    (JSON: socket, application, folder, threads, multiprocess)

It listens on a socket of its own, says so on standard output, and takes one connection a thread; standard output then is
standard error, so that nothing the application prints can get among the frames. Each connection is served in order, one request
at a time. Every answer is sent before the next request is begun: should this process die, the front knows which one ran.

Specification: PEP 3333.
"""

import collections
import contextlib
import faulthandler
import importlib
import importlib.util
import io
import json
import os
import re
import select
import signal
import socket
import stat
import struct
import sys
import threading
import traceback

# Frames: u32 length of the rest, u8 kind, fields. Big-endian.
REQUEST, STREAMED, SHAPE, BODY, CREDIT, ABORT = 1, 2, 3, 4, 5, 6
READY, UNFIT, ANSWER, EARLY, HEAD, BLOCK, LAST, END = 16, 17, 18, 19, 20, 21, 22, 23
FAILED, RETURNED, WANT, ERRORS = 24, 25, 26, 27

WINDOW = 262144  # bytes of a body that may be under way without a credit
GRANT = 65536  # bytes read of a request body before more is asked for
PIECE = 65536  # bytes of one block
RECEIVE = 65536  # beyond 128 KiB malloc maps and unmaps memory for each read
HEAD_LIMIT = 65535
CO_COROUTINE = 0x80  # inspect's; importing that takes longer than all else here
GIVE_BACK = 40  # a real-time signal that no library uses

# What the thread is doing when the signal comes: only in the first two may the handler use the connection.
APP, WAIT, BUSY = 1, 2, 3

frame_head = struct.Struct(">IB").pack
answer_head = struct.Struct(">IBH").pack
number_frame = struct.Struct(">IBI").pack
request_fields = struct.Struct(">HI").unpack_from


class Gone(ConnectionError):
    """The client has left: nobody wants the rest of the answer."""


class Wake(BaseException):
    """Ends a wait from the handler of a signal."""


class Refused(Exception):
    """The front sent what the protocol does not allow."""


# ---- what an application may say

STATUS = re.compile(r"[2-5][0-9][0-9] [\t\x20-\x7e\x80-\xff]*")
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
}
# Names that were looked at: True for Content-Length. Bounded, for an application may make them up.
names = {}
NAMES_LIMIT = 1024


def known_name(name):
    if type(name) is not str:
        raise TypeError("a header's name must be a str, not %r" % (name,))
    if not TOKEN.fullmatch(name):
        raise ValueError("%r is not the name of a header" % (name,))
    if name.lower() in HOP_BY_HOP:
        raise ValueError("the header %s is about a connection, which is the server's (PEP 3333, hop-by-hop)" % name)
    if len(names) >= NAMES_LIMIT:
        names.clear()
    is_length = names[name] = name.lower() == "content-length"
    return is_length


def encode_head(status, headers):
    """The head as it is sent, and its Content-Length; raises for what cannot be one, so that the mistake is found where it was made."""
    if not isinstance(status, str):
        raise TypeError("the status must be a str, not %r" % (status,))
    if not STATUS.fullmatch(status):
        raise ValueError("the status must be three digits from 200 to 599, a space and a reason, not %r" % (status,))
    if not isinstance(headers, list):
        raise TypeError("the headers must be a list, not %r" % (headers,))
    parts = [status]
    length = None
    for pair in headers:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError("a header must be a tuple of name and value, not %r" % (pair,))
        name, value = pair
        is_length = names.get(name) if type(name) is str else None
        if is_length is None:
            is_length = known_name(name)
        if not isinstance(value, str):
            raise TypeError("the value of %s must be a str, not %r" % (name, value))
        if CONTROL.search(value):
            raise ValueError("the value of %s holds a control character, or one that is not latin-1: %r" % (name, value))
        if is_length:
            if length is not None:
                raise ValueError("Content-Length is there twice")
            if not (value.isascii() and value.isdigit()) or len(value) > 15:
                raise ValueError("Content-Length is not a number of bytes: %r" % (value,))
            length = int(value)
        parts += pair
    head = "\0".join(parts).encode("latin-1")
    if len(head) > HEAD_LIMIT:
        raise ValueError("the head has %d bytes, more than %d" % (len(head), HEAD_LIMIT))
    return head, length


# ---- one request


class Exchange:
    """One request's answer. Made anew for each, so that what an application keeps of one can never reach another."""

    __slots__ = ("_body_over", "_connection", "_head", "_left", "_over", "_sent", "_sizes", "_without_body")

    def __init__(self, connection, method):
        self._connection = connection
        self._head = None
        # Bytes of body still to come; None: as many as do.
        self._left = None
        self._sent = False
        self._body_over = False
        self._over = False
        # HEAD: no body is sent, whatever the application makes. Its length then is that of GET.
        self._without_body = self._sizes = method == "HEAD"

    def start_response(self, status, headers, exc_info=None):
        if exc_info is not None:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                # A traceback holds its frames, and those would hold it.
                exc_info = None
        elif self._head is not None:
            raise AssertionError("start_response was called a second time, without exc_info")
        if self._over:
            raise AssertionError("start_response was called after the request was over")
        self._head, self._left = encode_head(status, headers)
        self._without_body = self._sizes or status.startswith(("204", "304"))
        return self.write

    def write(self, data):
        if self._over:
            raise AssertionError("write was called after the request was over")
        connection = self._connection
        connection.state = BUSY
        try:
            self._block(data)
        finally:
            connection.enter(APP)

    def _send_whole(self, result):
        """The common case: all there is, in one frame, and no code of the application left to run. Tells whether it was that."""
        if self._head is None or self._sent:
            return False
        block = result[0] if len(result) == 1 else join(result)
        if type(block) is not bytes or len(block) > WINDOW:
            return False
        if self._without_body:
            if not self._sizes or self._left is not None:
                block = b""
        elif self._left is not None and self._left != len(block):
            return False
        self._send_answer(ANSWER, block)
        self._body_over = self._over = True
        return True

    def _send_answer(self, kind, block):
        head = self._head
        self._sent = True
        if self._connection.words:
            self._connection.last_words()
        self._connection.send(answer_head(3 + len(head) + len(block), kind, len(head)) + head + block)

    def _respond(self, result):
        """Any iterable: each block is handed on before the next is asked for."""
        connection = self._connection
        try:
            if type(result) is not FileWrapper or not self._send_file(result):
                connection.enter(APP)
                blocks = iter(result)
                for block in blocks:
                    connection.state = BUSY
                    if not self._block(block):
                        break
                    connection.enter(APP)
                connection.state = BUSY
            self._finish()
        finally:
            connection.state = BUSY
            close = getattr(result, "close", None)
            if close is not None:
                connection.enter(APP)
                try:
                    close()
                finally:
                    connection.state = BUSY
        self._over = True
        connection.send(frame_head(1, END))

    def _block(self, data):
        """Sends a block of the body. False: no more are wanted."""
        if not isinstance(data, bytes):
            raise TypeError("a block of the body must be bytes, not %r" % (type(data).__name__,))
        if not data:
            return True
        if self._head is None:
            raise AssertionError("a block of the body came before start_response was called")
        if self._without_body:
            self._finish()
            return False
        if self._body_over or (self._left is not None and len(data) > self._left):
            return self._excess(data)
        if self._left is None:
            self._stream(data)
            return True
        self._left -= len(data)
        if not self._sent and self._left == 0 and len(data) <= WINDOW:
            # All that was promised is here: what the application does from now on is not the client's business.
            self._send_answer(EARLY, data)
            self._body_over = True
            return True
        self._stream(data)
        if self._left == 0:
            self._end_body()
        return True

    def _end_body(self):
        connection = self._connection
        if connection.words:
            connection.last_words()
        connection.send(frame_head(1, LAST))
        self._body_over = True

    def _excess(self, data):
        """More than Content-Length says: the client gets what was promised, the log the mistake."""
        left = self._left if not self._body_over else 0
        if not self._body_over:
            if left:
                self._block(data[:left])
            else:
                self._finish()
        self._connection.complain("the body is longer than its Content-Length; the rest was cut off")
        return False

    def _stream(self, data):
        connection = self._connection
        if self._sent:
            # An abort may be waiting; an application that makes small blocks slowly would not come by it otherwise.
            connection.look()
        else:
            connection.credit = WINDOW
        view = memoryview(data)
        while view:
            piece = view[: connection.room()]
            view = view[len(piece) :]
            connection.credit -= len(piece)
            if self._sent:
                connection.send_block(piece)
            else:
                self._sent = True
                head = self._head
                connection.send(answer_head(3 + len(head) + len(piece), HEAD, len(head)) + head + piece)

    def _send_file(self, wrapper):
        """A real file is read here, in large pieces and without the application. False: it is not one, iterate."""
        place = wrapper.place()
        if place is None or self._head is None or self._without_body:
            return False
        fd, offset, size = place
        while not self._body_over:
            wanted = PIECE if self._left is None else min(PIECE, self._left)
            data = os.pread(fd, min(wanted, max(0, size - offset)), offset)
            if not data:
                break
            offset += len(data)
            self._block(data)
        return True

    def _finish(self):
        if self._head is None:
            raise AssertionError("the application did not call start_response")
        if self._body_over:
            return
        if self._left and not self._without_body:
            raise AssertionError("the body ended %d bytes before its Content-Length" % self._left)
        if self._sent:
            self._end_body()
        else:
            self._send_answer(EARLY, b"")
            self._body_over = True

    def _fail(self, error):
        """The application raised, or broke a rule."""
        connection = self._connection
        if not isinstance(error, Gone):
            connection.complain_of(error)
        if self._body_over and not self._over:
            connection.send(frame_head(1, END))
        elif not self._over:
            if connection.words:
                connection.last_words()
            if isinstance(error, Gone):
                connection.send_failure(499, str(error))
            else:
                connection.send_failure(500, last_line(error))
        self._over = True


def join(blocks):
    # Where one is of a wrong type, the general way says which.
    return b"".join(blocks) if all(type(block) is bytes for block in blocks) else None


class FileWrapper:
    """wsgi.file_wrapper."""

    def __init__(self, filelike, blksize=65536):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self.blksize)
        if data:
            return data
        raise StopIteration

    def place(self):
        """Descriptor, offset and size, if what is read from the object are the bytes of a regular file."""
        filelike = self.filelike
        # A temporary file is a wrapper around one. A GzipFile has a fileno too, but of other bytes.
        filelike = getattr(filelike, "file", filelike)
        if type(filelike) not in (io.FileIO, io.BufferedReader, io.BufferedRandom):
            return None
        if type(filelike) is not io.FileIO and type(filelike.raw) is not io.FileIO:
            return None
        try:
            fd = filelike.fileno()
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                return None
            if filelike.writable():
                filelike.flush()
                facts = os.fstat(fd)
            return fd, filelike.tell(), facts.st_size
        except (OSError, ValueError):
            return None


class StreamedBody(io.RawIOBase):
    """The body of a request that was too large for its frame, as it comes. io.BufferedReader makes wsgi.input of it."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection
        self.chunks = collections.deque()
        self.ended = False
        self.unread = memoryview(b"")
        self.taken = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        if not self.unread and not self._next():
            return 0
        size = min(len(buffer), len(self.unread))
        buffer[:size] = self.unread[:size]
        self.unread = self.unread[size:]
        self._took(size)
        return size

    def _next(self):
        connection = self.connection
        while not self.chunks:
            if self.ended or connection.body is not self:
                return False
            before, connection.state = connection.state, BUSY
            connection.receive()
            connection.enter(before)
        self.unread = memoryview(self.chunks.popleft())
        return True

    def _took(self, size):
        self.taken += size
        if self.taken < GRANT or self.ended:
            return
        connection = self.connection
        before, connection.state = connection.state, BUSY
        connection.send(number_frame(5, WANT, self.taken))
        connection.enter(before)
        self.taken = 0


class Errors:
    """wsgi.errors: goes to the log of the request that runs, and where there is none, to standard error."""

    def __init__(self, connection):
        self.connection = connection

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("wsgi.errors takes str, not %s" % type(text).__name__)
        connection = self.connection
        if connection.serving and threading.get_ident() == connection.thread:
            connection.say(text)
        else:
            sys.stderr.write(text)
        return len(text)

    def writelines(self, texts):
        for text in texts:
            self.write(text)

    def flush(self):
        sys.stderr.flush()


# ---- one connection


class Connection:
    def __init__(self, sock, settings):
        self.socket = sock
        self.poll = select.poll()
        self.poll.register(sock, select.POLLIN)
        self.thread = None
        self.state = BUSY
        # The front has asked for what was not started, and has not been answered.
        self.asked = False
        self.leaving = False
        self.ended = False
        self.rest = b""
        self.shapes = {}
        self.received = 0
        # (number, names, values, body): not started.
        self.pending = collections.deque()
        self.number = 0
        self.exchange = None
        self.credit = 0
        self.aborted = False
        self.body = None
        self.words = ""
        self.template = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": None,
            "wsgi.input_terminated": True,
            "wsgi.errors": Errors(self),
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.multithread": settings["threads"] > 1,
            "wsgi.multiprocess": settings["multiprocess"],
            "wsgi.run_once": False,
        }

    @property
    def serving(self):
        return self.exchange is not None and not self.exchange._body_over and not self.exchange._over

    def serve(self, application, loaded):
        """Until the front closes the connection."""
        self.thread = threading.get_ident()
        self.send_text(READY, "%s\0%s" % (".".join(map(str, sys.version_info[:3])), loaded))
        try:
            while not self.leaving:
                if self.pending:
                    self.run(application, *self.pending.popleft())
                elif self.ended:
                    return
                else:
                    self.wait()
            self.shut()
            self.give_back()
        except Gone:
            pass

    def shut(self):
        """Nothing more comes in: what the front writes from now on it gets back as not taken."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RD)

    def run(self, application, number, keys, block, body):
        # Each value is followed by a NUL, so there is an empty one behind the last.
        values = block.decode("latin-1").split("\0")
        environ = self.template.copy()
        if keys is None:
            environ.update(zip(values[::2], values[1::2]))
            fits = len(values) % 2 == 1
        else:
            environ.update(zip(keys, values))
            fits = len(values) == len(keys) + 1
        self.number = number
        self.aborted = False
        if not fits:
            # A NUL in a value: every variable after it would be another's.
            self.send_failure(400, "a NUL in a variable")
            return
        if type(body) is bytes:
            environ["wsgi.input"] = io.BytesIO(body)
        else:
            environ["wsgi.input"] = io.BufferedReader(body, RECEIVE)
        exchange = self.exchange = Exchange(self, environ["REQUEST_METHOD"])
        try:
            self.enter(APP)
            result = application(environ, exchange.start_response)
            self.state = BUSY
            if (type(result) is not list and type(result) is not tuple) or not exchange._send_whole(result):
                exchange._respond(result)
        except BaseException as error:
            self.state = BUSY
            exchange._fail(error)
        self.exchange = None
        if self.body is not None:
            self.read_off()

    def read_off(self):
        """The front ends every body that it began, as soon as it knows that the request is over."""
        body = self.body
        while not body.ended and not self.ended:
            self.receive()
            body.chunks.clear()
        # The next request may have come in the same read, with a body of its own.
        if self.body is body:
            self.body = None

    # ---- in

    def enter(self, state):
        """Into APP, or back to what it was: a signal that came before could only leave a note."""
        self.state = state
        if self.asked and state != BUSY:
            self.give_back()

    def wait(self):
        """Until something has come. What comes may be read for a signal's sake, so this returns after a signal too."""
        try:
            self.state = WAIT
            if self.asked:
                self.give_back()
            else:
                self.poll.poll()
            self.state = BUSY
        except Wake:
            self.state = BUSY
        self.receive(socket.MSG_DONTWAIT)

    def receive(self, flags=0):
        """Reads what there is, or notes the end; state is BUSY."""
        try:
            data = self.socket.recv(RECEIVE, flags)
        except BlockingIOError:
            return
        except OSError as error:
            data = b""
            if self.exchange is not None:
                raise Gone("the front has gone") from error
        if data:
            self.take(data)
            return
        self.ended = True
        if self.exchange is not None:
            raise Gone("the front has gone")

    def look(self):
        """What is there already; raises when the request was aborted."""
        while True:
            try:
                data = self.socket.recv(RECEIVE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if not data:
                self.ended = True
                raise Gone("the front has gone")
            self.take(data)
        if self.aborted:
            raise Gone("the client has gone")

    def room(self):
        """How much of the body may be sent now, at least one byte."""
        while self.credit <= 0:
            self.wait()
            if self.aborted:
                raise Gone("the client has gone")
        return min(self.credit, PIECE)

    def take(self, data):
        """Cuts frames; requests wait for their turn, everything else acts at once."""
        if self.rest:
            data = self.rest + data
        at = 0
        size = len(data)
        while size - at >= 5:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > size:
                break
            kind = data[at + 4]
            if kind == REQUEST or kind == STREAMED:
                shape, length = request_fields(data, at + 5)
                keys = self.shapes[shape] if shape else None
                self.received = (self.received + 1) & 0xFFFFFFFF
                if kind == REQUEST:
                    body = data[end - length : end]
                else:
                    body = self.body = StreamedBody(self)
                self.pending.append((self.received, keys, data[at + 11 : end - length], body))
            else:
                self.control(kind, data[at + 5 : end])
            at = end
        self.rest = data[at:]

    def control(self, kind, payload):
        if kind == SHAPE:
            self.shapes[int.from_bytes(payload[:2], "big")] = payload[2:].decode("latin-1").split("\0")[:-1]
        elif kind == BODY:
            if self.body is None:
                raise Refused("a body without a request")
            if payload:
                self.body.chunks.append(payload)
            else:
                self.body.ended = True
        elif kind == CREDIT:
            if int.from_bytes(payload[:4], "big") == self.number:
                self.credit += int.from_bytes(payload[4:8], "big")
        elif kind == ABORT:
            if int.from_bytes(payload[:4], "big") == self.number:
                self.aborted = True
        else:
            raise Refused("a frame of kind %d" % kind)

    # ---- out

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            self.ended = True
            raise Gone("the front has gone") from error

    def send_block(self, piece):
        head = frame_head(1 + len(piece), BLOCK)
        if len(piece) < 16384:
            self.send(head + piece)
        else:
            self.send(head)
            self.send(piece)

    def send_text(self, kind, text):
        data = text.encode("utf-8", "backslashreplace")
        self.send(frame_head(1 + len(data), kind) + data)

    def send_failure(self, status, text):
        data = text.encode("utf-8", "backslashreplace")[:4096]
        self.send(answer_head(3 + len(data), FAILED, status) + data)

    def say(self, text):
        """Whole lines, so that one is never cut between two frames."""
        words = self.words + text
        end = words.rfind("\n") + 1 or (len(words) if len(words) >= 16384 else 0)
        self.words = words[end:]
        if end == 0:
            return
        before, self.state = self.state, BUSY
        try:
            for start in range(0, end, 16384):
                self.send_text(ERRORS, words[start : min(end, start + 16384)])
        finally:
            self.enter(before)

    def last_words(self):
        """Before the frame that ends the answer: after it they would be the next request's."""
        words, self.words = self.words, ""
        self.send_text(ERRORS, words)

    def complain(self, sentence):
        Errors(self).write("viaduct: %s\n" % sentence)

    def complain_of(self, error):
        trace = error.__traceback__
        # Our own frame is no news.
        inner = trace.tb_next if trace is not None and trace.tb_next is not None else trace
        Errors(self).write("".join(traceback.format_exception(type(error), error, inner)))

    # ---- what was not started goes back

    def on_signal(self, number, frame):
        state = self.state
        if state == BUSY:
            self.asked = True
            return
        self.give_back()
        if state == WAIT:
            # Python would go on to wait for what has just been read.
            raise Wake

    def give_back(self):
        """Answers one signal with one frame. The front sends nothing between the two, so what is in the socket now is all there is."""
        before, self.state = self.state, BUSY
        self.asked = False
        try:
            while True:
                try:
                    data = self.socket.recv(RECEIVE, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                if not data:
                    self.ended = True
                    break
                self.take(data)
            count = len(self.pending)
            self.pending.clear()
            self.socket.sendall(number_frame(5, RETURNED, count))
        except Exception:
            # This runs amid the application, which must not hear of it; the next use of the connection will.
            self.ended = True
        finally:
            self.state = before


# ---- loading


class Unfit(Exception):
    """The application cannot be had, and why: one line for whoever started it."""


def last_line(error):
    return traceback.format_exception_only(type(error), error)[-1].strip()


def place_of(error, folder):
    """Where it went wrong: the innermost place that is the application's own."""
    if isinstance(error, SyntaxError) and error.filename:
        return "%s:%s" % (error.filename, error.lineno)
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    places = [place for place in places if not is_outside(place[0])]
    own = [place for place in places if place[0].startswith(folder + os.sep)]
    for path, line in (own or places)[-1:]:
        return "%s:%s" % (path, line)
    return folder


def own_part(trace):
    """Without what led to it: our own frames and those of import."""
    while trace is not None and is_outside(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def is_outside(path):
    return path in (os.path.abspath(__file__), importlib.__file__) or path.startswith("<frozen ")


def package_of(path):
    """The folder that must be on sys.path for this file, and the name of its module there."""
    folder, name = os.path.split(os.path.splitext(path)[0])
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        name = package + "." + name
    return folder, name


def import_file(path):
    folder, name = package_of(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if "." in name:
        return importlib.import_module(name)
    # By its path, for the name may be that of a module which is loaded already.
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Unfit("%s is not a Python file" % path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def find(module, where):
    """`application`, `app`, or what a factory of the usual names makes."""
    for name in ("application", "app"):
        found = getattr(module, name, None)
        if callable(found):
            return found, name
    for name in ("create_app", "make_app"):
        factory = getattr(module, name, None)
        if callable(factory):
            return made(factory(), where, name), name + "()"
    raise Unfit("%s has no callable application, app, create_app or make_app; name another as module:callable" % where)


def is_asgi(application):
    """A coroutine function, or an object that is called as one: FastAPI, Starlette, Quart."""
    codes = [getattr(each, "__code__", None) for each in (application, getattr(type(application), "__call__", None))]
    return any(code is not None and code.co_flags & CO_COROUTINE for code in codes)


def made(application, where, name):
    if not callable(application):
        raise Unfit("%s: %s() returned %r, which is not callable" % (where, name, application))
    return application


def load_django(path):
    """manage.py names the settings; those may name the application."""
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        with open(path, encoding="utf-8", errors="replace") as file:
            match = re.search(r"DJANGO_SETTINGS_MODULE['\"]\s*,\s*['\"]([\w.]+)['\"]", file.read())
        if match is None:
            raise Unfit("%s does not set DJANGO_SETTINGS_MODULE; set it in the environment of the pool" % path)
        os.environ["DJANGO_SETTINGS_MODULE"] = match.group(1)
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.utils.module_loading import import_string

    application = get_wsgi_application()
    named = getattr(settings, "WSGI_APPLICATION", None)
    if named:
        application = import_string(named)
    return application, "django %s" % os.environ["DJANGO_SETTINGS_MODULE"]


def load(settings):
    """The application and what it is called."""
    spec = settings["application"]
    if os.path.isabs(spec):
        if os.path.basename(spec) == "manage.py":
            return load_django(spec)
        application, name = find(import_file(spec), spec)
        return application, "%s:%s" % (os.path.basename(spec), name)
    name, _, path = spec.partition(":")
    module = importlib.import_module(name)
    if not path:
        application, found = find(module, name)
        return application, "%s:%s" % (name, found)
    is_factory = path.endswith("()")
    application = module
    for attribute in (path[:-2] if is_factory else path).split("."):
        if not hasattr(application, attribute):
            raise Unfit("module %s has no %s" % (name, path))
        application = getattr(application, attribute)
    if is_factory:
        application = made(application(), name, path[:-2])
    if not callable(application):
        raise Unfit("%s is %r, which is not callable" % (spec, application))
    return application, spec


def load_or_tell(connection, settings):
    """The application and what it is called; None when the front was told why there is none."""
    try:
        application, loaded = load(settings)
        if is_asgi(application):
            raise Unfit("%s is an ASGI application, and this is WSGI (PEP 3333); wrap it (a2wsgi.ASGIMiddleware does)" % loaded)
        return application, loaded
    except BaseException as error:
        if isinstance(error, Unfit):
            reason = str(error)
        else:
            traceback.print_exception(type(error), error, own_part(error.__traceback__))
            reason = "%s (%s)" % (last_line(error), place_of(error, settings["folder"]))
        connection.send_text(UNFIT, reason)
        return None


def prepare_paths(settings):
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [settings["folder"]] + [path for path in sys.path if path and os.path.abspath(path) != own]
    sys.argv = [settings["application"]]


def prepare(settings):
    """Descriptors, paths and signals as an application may expect them."""
    # Standard output becomes standard error: a print is a line of the log.
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    prepare_paths(settings)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2, all_threads=True)


def accept(settings):
    """One connection for each thread, and none after them: the front makes them all as soon as it hears of us."""
    path = settings["socket"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(settings["threads"])
        os.write(1, b"listening\n")
        connections = [Connection(listener.accept()[0], settings) for _ in range(settings["threads"])]
    os.unlink(path)
    return connections


def install_signals(connections):
    first = connections[0]

    def terminate(number, frame):
        for connection in connections:
            connection.leaving = True
            if connection.exchange is None:
                # A wait ends. One that has a request needs its input until that is over.
                connection.shut()

    def forked():
        # A child that comes back from the application must not answer in our name.
        for connection in connections:
            connection.exchange = None
            connection.ended = True
            connection.socket.close()

    # Before we say that we are ready: the default action of either ends the process.
    signal.signal(GIVE_BACK, first.on_signal)
    signal.signal(signal.SIGTERM, terminate)
    os.register_at_fork(after_in_child=forked)


def main():
    if sys.version_info < (3, 8):
        sys.exit("viaduct needs Python 3.8 or later for WSGI, this is %s" % sys.version.split()[0])
    settings = json.loads(sys.argv[1])
    connections = accept(settings)
    prepare(settings)
    found = load_or_tell(connections[0], settings)
    if found is None:
        return 1
    application, loaded = found
    install_signals(connections)
    threads = [threading.Thread(target=each.serve, args=(application, loaded), daemon=True) for each in connections[1:]]
    for thread in threads:
        thread.start()
    connections[0].serve(application, loaded)
    for thread in threads:
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
