#!/usr/bin/env perl
# The variables of a request, and its query taken apart, by Perl alone.

use strict;
use warnings;

my %ESCAPE = ('&' => '&amp;', '<' => '&lt;', '>' => '&gt;', '"' => '&quot;', "'" => '&#39;');

sub escape {
    my ($text) = @_;
    $text =~ s/([&<>"'])/$ESCAPE{$1}/g;
    return $text;
}

sub decode {
    my ($text) = @_;
    $text =~ tr/+/ /;
    $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
    return $text;
}

sub table {
    my (@rows) = @_;
    my $html = "<table><tbody>\n";
    while (my ($name, $value) = splice @rows, 0, 2) {
        $html .= '<tr><th>' . escape($name) . '</th><td>' . escape($value) . "</td></tr>\n";
    }
    return "$html</tbody></table>\n";
}

print <<'HEAD';
Content-Type: text/html; charset=utf-8

<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Perl - Viaduct</title>
<link rel="icon" href="/viaduct.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body class="page">
<header><a class="back" href="/">&larr; All examples</a><h1>Variables, told by Perl</h1></header>
HEAD

print "<p>Perl $^V, process $$.</p>\n";
my @fields = map { my ($name, $value) = split /=/, $_, 2; (decode($name), decode($value // '')) } grep { $_ ne '' } split /&/, $ENV{QUERY_STRING} // '';
print "<h2>The query</h2>\n", table(@fields) if @fields;
print "<h2>The environment</h2>\n", table(map { $_ => $ENV{$_} } sort keys %ENV);

open my $own, '<', $0 or die "cannot read $0: $!";
my $source = do { local $/; <$own> };
print '<details><summary>Source of this page: <code>cgi-bin/variables.pl</code></summary><pre><code>', escape($source), "</code></pre></details>\n</body>\n</html>\n";
