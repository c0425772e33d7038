<?php
// One form, sent in two ways: in the address (GET) and in the body (POST).

require __DIR__ . '/lib/page.php';

/** A field that may be missing, or an array where somebody wrote name[]=. */
function field(array $from, string $name): string
{
    return isset($from[$name]) && is_string($from[$name]) ? $from[$name] : '';
}

$method = $_SERVER['REQUEST_METHOD'];
$sent = $method === 'POST' ? $_POST : $_GET;
$name = field($sent, 'name');
$message = field($sent, 'message');

page_start('A form in PHP');
if ($sent !== []) {
    echo '<p class="note">Received by <b>', h($method), '</b>: hello, <b>', h($name === '' ? 'whoever you are' : $name), "</b>!</p>\n";
    table(['name' => $name, 'message' => $message, 'QUERY_STRING' => $_SERVER['QUERY_STRING'], 'CONTENT_LENGTH' => $_SERVER['CONTENT_LENGTH'] ?? 'none']);
}
?>
<div class="forms">
<?php foreach (['get' => 'Send by GET', 'post' => 'Send by POST'] as $how => $label): ?>
<form method="<?= $how ?>" action="/php/form.php">
<label>Your name <input name="name" value="<?= h($name) ?>" autocomplete="off"></label>
<label>A message <textarea name="message" rows="3"><?= h($message) ?></textarea></label>
<button><?= h($label) ?></button>
</form>
<?php endforeach ?>
</div>
<?php
page_end(__FILE__);
