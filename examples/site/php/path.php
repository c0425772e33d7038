<?php
// What follows the name of a script in the address.

require __DIR__ . '/lib/page.php';

$info = $_SERVER['PATH_INFO'] ?? '';
page_start('Path info');
table([
    'REQUEST_URI' => $_SERVER['REQUEST_URI'],
    'SCRIPT_NAME' => $_SERVER['SCRIPT_NAME'],
    'PATH_INFO' => $info === '' ? '(none)' : $info,
    'PATH_TRANSLATED' => $_SERVER['PATH_TRANSLATED'] ?? '(none)',
]);
?>
<p>Try <a href="/php/path.php">without any</a>, <a href="/php/path.php/">with a slash</a>,
<a href="/php/path.php/caf%C3%A9/a%20b">with other letters</a>.</p>
<?php
page_end(__FILE__);
