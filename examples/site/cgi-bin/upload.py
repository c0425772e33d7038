#!/usr/bin/env python3
"""What arrived with a file upload: a multipart body (RFC 7578), taken apart with Python's own mail parser."""

import hashlib
import os
import sys
from email.parser import BytesParser
from email.policy import HTTP
from html import escape

LIMIT = 64 * 1024 * 1024


def parts(kind, body):
    """Each part with a name: (name, file name or None, type, bytes)."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    if not message.is_multipart():
        return
    for part in message.iter_parts():
        yield part.get_param("name", "", "Content-Disposition"), part.get_filename(), part.get_content_type(), part.get_payload(decode=True)


def told(length):
    if length > LIMIT:
        return f'<p class="note">That is more than {LIMIT // 1024 // 1024} MiB, which is all this program reads.</p>\n'
    body = sys.stdin.buffer.read(length)
    html = ""
    for name, file, kind, content in parts(os.environ.get("CONTENT_TYPE", ""), body):
        if not file:
            continue
        rows = {
            "Field": name,
            "Name": file,
            "Type, says the browser": kind,
            "Bytes": str(len(content)),
            "SHA-256": hashlib.sha256(content).hexdigest(),
            "First bytes": content[:60].decode("utf-8", "replace"),
        }
        html += '<p class="note">It arrived.</p>\n<table><tbody>\n'
        html += "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>\n" for key, value in rows.items())
        html += "</tbody></table>\n"
    return html or '<p class="note">No file was chosen.</p>\n'


received = told(int(os.environ.get("CONTENT_LENGTH") or 0)) if os.environ["REQUEST_METHOD"] == "POST" else ""
with open(__file__, encoding="utf-8") as own:
    source = own.read()

page = f"""Content-Type: text/html; charset=utf-8

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A file upload in Python - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>A file upload in Python</h1></header>
{received}<form method="post" enctype="multipart/form-data" action="/cgi-bin/upload.py">
<label>A file <input type="file" name="file"></label>
<button>Send it</button>
</form>
<details><summary>Source of this page: <code>cgi-bin/upload.py</code></summary><pre><code>{escape(source)}</code></pre></details>
</body>
</html>
"""
sys.stdout.buffer.write(page.encode("utf-8", "replace"))
