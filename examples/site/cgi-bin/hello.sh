#!/bin/sh
# A CGI program in the shell: the request is in the environment, the answer goes to standard output.
# A server that was started with little on its PATH gives little: what every system has is in these two.
PATH=$PATH:/usr/bin:/bin

escape() {
  sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g'
}

cat <<HEAD
Content-Type: text/html; charset=utf-8

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shell - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>Hello from the shell</h1></header>
<p>Process $$ was started for this request, and will be gone when you have read this. Its whole environment:</p>
HEAD

printf '<pre>'
env | sort | escape
printf '</pre>\n<details><summary>Source of this page: <code>cgi-bin/hello.sh</code></summary><pre><code>'
escape < "$0"
printf '</code></pre></details>\n</body>\n</html>\n'
