#!/bin/sh
# What follows the name of a program in the address is its PATH_INFO.
PATH=$PATH:/usr/bin:/bin

escape() {
  sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g'
}

row() {
  printf '<tr><th>%s</th><td>' "$1"
  printf '%s' "$2" | escape
  printf '</td></tr>\n'
}

cat <<'HEAD'
Content-Type: text/html; charset=utf-8

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Path info - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>Path info</h1></header>
<table><tbody>
HEAD

row REQUEST_URI "$REQUEST_URI"
row SCRIPT_NAME "$SCRIPT_NAME"
row PATH_INFO "${PATH_INFO:-(none)}"
row PATH_TRANSLATED "${PATH_TRANSLATED:-(none)}"

cat <<'TAIL'
</tbody></table>
<p>Try <a href="/cgi-bin/path.sh">without any</a>, <a href="/cgi-bin/path.sh/">with a slash</a>,
<a href="/cgi-bin/path.sh/caf%C3%A9/a%20b">with other letters</a>.</p>
TAIL
printf '<details><summary>Source of this page: <code>cgi-bin/path.sh</code></summary><pre><code>'
escape < "$0"
printf '</code></pre></details>\n</body>\n</html>\n'
