<?php
// Counts visits twice: in a cookie that the browser keeps, and in a session that PHP keeps.

require __DIR__ . '/lib/page.php';

if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    setcookie('visits', '', ['expires' => 1, 'path' => '/php/']);
    session_start(['cookie_path' => '/php/', 'cookie_httponly' => true, 'cookie_samesite' => 'Lax']);
    session_destroy();
    setcookie((string) session_name(), '', ['expires' => 1, 'path' => '/php/']);
    header('Location: /php/session.php', true, 303);
    exit;
}

$cookie = isset($_COOKIE['visits']) && is_string($_COOKIE['visits']) ? (int) $_COOKIE['visits'] + 1 : 1;
setcookie('visits', (string) $cookie, ['path' => '/php/', 'httponly' => true, 'samesite' => 'Lax']);
session_start(['cookie_path' => '/php/', 'cookie_httponly' => true, 'cookie_samesite' => 'Lax', 'use_strict_mode' => true]);
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;

page_start('A cookie and a session');
table(['Visits by the cookie' => $cookie, 'Visits by the session' => $_SESSION['visits'], 'Answered by process' => getmypid()]);
?>
<p>Load the page again: both count on, whichever worker of the pool answers.</p>
<form method="post" action="/php/session.php"><button>Forget me</button></form>
<?php
page_end(__FILE__);
