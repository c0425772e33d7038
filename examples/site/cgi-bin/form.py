#!/usr/bin/env python3
"""One form, sent in two ways: in the address (GET) and in the body (POST)."""

import os
import sys
from html import escape
from urllib.parse import parse_qs

LIMIT = 1024 * 1024

method = os.environ["REQUEST_METHOD"]
query = os.environ.get("QUERY_STRING", "")
length = int(os.environ.get("CONTENT_LENGTH") or 0)
if length > LIMIT:
    sys.stdout.write("Status: 413 Content Too Large\nContent-Type: text/plain\n\nA form is not that long.\n")
    sys.exit()
sent = sys.stdin.buffer.read(length).decode("utf-8", "replace") if method == "POST" else query
fields = parse_qs(sent, keep_blank_values=True, max_num_fields=100)
name = fields.get("name", [""])[0]
message = fields.get("message", [""])[0]

received = ""
if fields:
    rows = {"name": name, "message": message, "QUERY_STRING": query, "CONTENT_LENGTH": str(length) if length else "none"}
    received = (
        f'<p class="note">Received by <b>{escape(method)}</b>: hello, <b>{escape(name or "whoever you are")}</b>!</p>\n<table><tbody>\n'
        + "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>\n" for key, value in rows.items())
        + "</tbody></table>\n"
    )

forms = "".join(
    f"""<form method="{how}" action="/cgi-bin/form.py">
<label>Your name <input name="name" value="{escape(name)}" autocomplete="off"></label>
<label>A message <textarea name="message" rows="3">{escape(message)}</textarea></label>
<button>Send by {how.upper()}</button>
</form>
"""
    for how in ("get", "post")
)

with open(__file__, encoding="utf-8") as own:
    source = own.read()

page = f"""Content-Type: text/html; charset=utf-8

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A form in Python - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>A form in Python</h1></header>
{received}<div class="forms">
{forms}</div>
<details><summary>Source of this page: <code>cgi-bin/form.py</code></summary><pre><code>{escape(source)}</code></pre></details>
</body>
</html>
"""
sys.stdout.buffer.write(page.encode("utf-8"))
