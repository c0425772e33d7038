"""Runs the worker of viaduct/wsgi in an interpreter in WebAssembly: what it has as a socket there is a pair of pipes here.

The thread calls `run` once. It does not come back before the front ends the connection.
"""

import glob
import importlib.util
import json
import os
import sys
import types


class Channel:
    """As much of a socket as the worker uses."""

    def __init__(self, receive, send, nowait):
        self._receive = receive
        self._send = send
        self._nowait = nowait

    def recv(self, size, flags=0):
        data = self._receive(size, not flags & self._nowait)
        if data is None:
            raise BlockingIOError
        return data.to_bytes()

    def sendall(self, data):
        if not self._send(data):
            raise BrokenPipeError

    def shutdown(self, how):
        pass

    def close(self):
        pass


class Poll:
    def __init__(self, wait):
        self.poll = wait

    def register(self, sock, events):
        pass


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def packages(folder):
    """Where an application's own packages are, if they are in its folder."""
    yield from (os.path.join(folder, name) for name in ("vendor", "site-packages"))
    for venv in ("venv", ".venv"):
        yield from sorted(glob.glob(os.path.join(glob.escape(folder), venv, "lib", "python3*", "site-packages")))


def reason_without(error, folder, places):
    """Why a module is not there, which is another reason than on a machine with a Python of its own."""
    name = error.name.partition(".")[0]
    if name in sys.stdlib_module_names:
        return "ModuleNotFoundError: No module named %r: this Python is without that part of its library" % error.name
    found = [path for path in [folder, *places] if os.path.isdir(os.path.join(path, name)) or glob.glob(os.path.join(path, name + ".*.so"))]
    if found:
        where = os.path.join(found[0], name)
        return "ModuleNotFoundError: No module named %r: what of %s was compiled for a machine does not run here" % (error.name, where)
    listed = os.path.join(folder, "requirements.txt")
    return "ModuleNotFoundError: No module named %r: no package of that name is in %s%s, where this Python looks; as files it can lie in %s" % (
        error.name,
        ", ".join([folder, *places]),
        " (%s lists what is needed)" % listed if os.path.isfile(listed) else "",
        os.path.join(folder, "vendor"),
    )


def run(program, settings, receive, send, wait):
    settings = json.loads(settings)
    worker = load("viaduct_worker", program)
    worker.select = types.SimpleNamespace(poll=lambda: Poll(wait), POLLIN=1)

    connection = worker.Connection(Channel(receive, send, worker.socket.MSG_DONTWAIT), settings)
    worker.prepare_paths(settings)
    places = [path for path in packages(settings["folder"]) if os.path.isdir(path)]
    sys.path += places
    told = worker.last_line
    worker.last_line = lambda error: (
        reason_without(error, settings["folder"], places) if isinstance(error, ModuleNotFoundError) and error.name else told(error)
    )
    found = worker.load_or_tell(connection, settings)
    if found is not None:
        connection.serve(*found)
