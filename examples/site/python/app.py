"""PEP 3333 in one page: an application is a callable, a middleware is one too, and both are plain Python."""

import os
import time
from html import escape

STARTED = time.strftime("%H:%M:%S")
answered = 0


def simple_app(environ, start_response):
    """Simplest possible application object"""
    status = "200 OK"
    response_headers = [("Content-Type", "text/plain")]
    start_response(status, response_headers)
    return [b"Hello world!\n"]


class Upper:
    """A middleware: an application to the server, a server to the application."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        return [block.upper() for block in self.application(environ, start_response)]


def page(environ, start_response):
    """What the server tells an application, and what this process knows of itself."""
    shown = {name: value for name, value in sorted(environ.items()) if isinstance(value, str)}
    rows = {"Process": os.getpid(), "Started at": STARTED, "Pages it has made": answered, **shown}
    table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text(value))}</td></tr>\n" for name, value in rows.items())
    with open(__file__, encoding="utf-8") as own:
        source = escape(own.read())
    body = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Python - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>A Python application</h1></header>
<p>The folder <code>python</code> has an <b>app.py</b>, so all of it is this application, in two processes that stay. Load the page again
and count. The <a href="/python/hello">simplest application</a> of PEP 3333 is in it, and the same <a href="/python/loud">behind a
middleware</a>.</p>
<table><tbody>
{table}</tbody></table>
<details><summary>Source of this page: <code>python/app.py</code></summary><pre><code>{source}</code></pre></details>
</body>
</html>
""".encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


def text(value):
    """An environ's strings are bytes in disguise (PEP 3333, "Unicode Issues")."""
    return value.encode("latin-1").decode("utf-8", "replace") if isinstance(value, str) else str(value)


def nothing(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"There is nothing here.\n"]


ROUTES = {"/": page, "/hello": simple_app, "/loud": Upper(simple_app)}


def application(environ, start_response):
    global answered
    answered += 1
    return ROUTES.get(environ["PATH_INFO"], nothing)(environ, start_response)
