<?php
// What a script is told of its request.

require __DIR__ . '/lib/page.php';

page_start('Request variables');
echo '<p>PHP ', h(PHP_VERSION), ' as <code>', h(PHP_SAPI), '</code>, in process ', getmypid(), '. Load the page again: ',
    "one of the pool's workers answers, and it stays after it has.</p>\n";

$groups = [
    'The address' => ['REQUEST_METHOD', 'REQUEST_URI', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REQUEST_SCHEME', 'SERVER_PROTOCOL'],
    'The files' => ['DOCUMENT_ROOT', 'SCRIPT_FILENAME', 'PATH_TRANSLATED'],
    'Both ends' => ['SERVER_NAME', 'SERVER_PORT', 'SERVER_ADDR', 'REMOTE_ADDR', 'REMOTE_PORT', 'SERVER_SOFTWARE', 'GATEWAY_INTERFACE'],
];
foreach ($groups as $title => $names) {
    echo '<h2>', h($title), "</h2>\n";
    table(array_filter(array_map(fn ($name) => $_SERVER[$name] ?? null, array_combine($names, $names)), 'is_string'));
}

echo "<h2>The headers</h2>\n";
table(array_filter($_SERVER, fn ($name) => str_starts_with($name, 'HTTP_'), ARRAY_FILTER_USE_KEY));

if ($_GET !== []) {
    echo "<h2>The query, taken apart</h2>\n";
    table(array_map(fn ($value) => is_array($value) ? json_encode($value) : $value, $_GET));
}
page_end(__FILE__);
