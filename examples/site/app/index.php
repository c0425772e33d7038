<?php
// A front controller: every path below /app/ that names no file comes here, and the script decides by REQUEST_URI.

require dirname(__DIR__) . '/php/lib/page.php';

$path = rawurldecode((string) parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
$parts = array_values(array_filter(explode('/', substr($path, strlen(dirname($_SERVER['SCRIPT_NAME'])))), 'strlen'));

page_start($parts === [] ? 'A front controller' : ucfirst(str_replace('-', ' ', end($parts))));
table([
    'REQUEST_URI' => $_SERVER['REQUEST_URI'],
    'SCRIPT_NAME' => $_SERVER['SCRIPT_NAME'],
    'Parts of the path' => implode(' / ', $parts),
]);
?>
<p>There is no file of that name; <code>app/index.php</code> answers for all of them.
Try <a href="/app/">the folder itself</a> or <a href="/app/articles/2027/another-one">another article</a>.</p>
<?php
page_end(__FILE__);
