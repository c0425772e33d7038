#!/bin/sh
# A program outside cgi-bin: the name ends in .cgi and the file is executable.
PATH=$PATH:/usr/bin:/bin

cat <<HEAD
Content-Type: text/html; charset=utf-8
Cache-Control: no-store

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A program anywhere - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>It is $(date '+%H:%M:%S')</h1></header>
<p>Said by <code>clock.cgi</code>, which lies beside the index page and not in <code>cgi-bin</code>.</p>
HEAD
printf '<details><summary>Source of this page: <code>clock.cgi</code></summary><pre><code>'
sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g' < "$0"
printf '</code></pre></details>\n</body>\n</html>\n'
