<?php
// The frame of every PHP page here: head, way back, and the page's own source at its end.

declare(strict_types=1);

/** Text for HTML, in elements and in quoted attributes. Bytes that are no UTF-8 are shown as U+FFFD. */
function h(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5, 'UTF-8');
}

function page_start(string $title): void
{
    header('Content-Type: text/html; charset=utf-8'); ?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><?= h($title) ?> - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1><?= h($title) ?></h1></header>
<?php }

/** @param array<string, scalar|null> $rows */
function table(array $rows): void
{
    echo "<table><tbody>\n";
    foreach ($rows as $name => $value) {
        echo '<tr><th>', h((string) $name), '</th><td>', h((string) $value), "</td></tr>\n";
    }
    echo "</tbody></table>\n";
}

function page_end(string $file): void
{
    $source = (string) file_get_contents($file);
    echo '<details><summary>Source of this page: <code>', h(basename($file)), '</code></summary><pre><code>', h($source),
        "</code></pre></details>\n</body>\n</html>\n";
}
