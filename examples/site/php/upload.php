<?php
// What arrived with a file upload. Nothing is kept: PHP removes the file when this script ends.

require __DIR__ . '/lib/page.php';

const WORDS = [
    UPLOAD_ERR_INI_SIZE => 'It is larger than upload_max_filesize of php.ini.',
    UPLOAD_ERR_FORM_SIZE => 'It is larger than the form allows.',
    UPLOAD_ERR_PARTIAL => 'Only a part of it arrived.',
    UPLOAD_ERR_NO_FILE => 'No file was chosen.',
];

page_start('A file upload in PHP');
$file = $_FILES['file'] ?? null;
if ($_SERVER['REQUEST_METHOD'] === 'POST' && ($file === null || is_array($file['error']))) {
    // More than post_max_size: PHP then gives neither fields nor files.
    echo '<p class="note">Nothing usable arrived. PHP takes bodies of up to ', h((string) ini_get('post_max_size')), ".</p>\n";
} elseif ($file !== null && $file['error'] !== UPLOAD_ERR_OK) {
    echo '<p class="note">', h(WORDS[$file['error']] ?? 'PHP could not take the file.'), "</p>\n";
} elseif ($file !== null) {
    echo "<p class=\"note\">It arrived.</p>\n";
    table([
        'Name' => $file['name'],
        'Type, says the browser' => $file['type'],
        'Bytes' => $file['size'],
        'SHA-256' => hash_file('sha256', $file['tmp_name']),
        'First bytes' => substr((string) file_get_contents($file['tmp_name'], false, null, 0, 60), 0, 60),
    ]);
}
?>
<form method="post" enctype="multipart/form-data" action="/php/upload.php">
<label>A file <input type="file" name="file"></label>
<button>Send it</button>
</form>
<p>The whole body is received before a PHP worker is asked for: a slow connection keeps none of them waiting.
Files up to <?= h((string) ini_get('upload_max_filesize')) ?> pass, by PHP's own settings.</p>
<?php
page_end(__FILE__);
