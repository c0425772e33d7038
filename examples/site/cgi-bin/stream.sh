#!/bin/sh
# A page that grows: what a program writes is sent at once, so a browser shows each line as it comes.
PATH=$PATH:/usr/bin:/bin

cat <<'HEAD'
Content-Type: text/html; charset=utf-8
Cache-Control: no-store

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A page that grows - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>A page that grows</h1></header>
<p>Five lines, one each half second. Close the page before the last one, and the program is stopped.</p>
<table><tbody>
HEAD

for line in one two three four five; do
  printf '<tr><th>Line %s</th><td>%s</td></tr>\n' "$line" "$(date '+%H:%M:%S')"
  sleep 0.5
done

printf '</tbody></table>\n<details><summary>Source of this page: <code>cgi-bin/stream.sh</code></summary><pre><code>'
sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g' < "$0"
printf '</code></pre></details>\n</body>\n</html>\n'
