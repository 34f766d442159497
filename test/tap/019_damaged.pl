# Values that no input made, as a disk would give them back that changes bytes:
# they are told as damaged, and never printed, sent, stored or opened.
#
# With the library loaded there is no way to make such a value; the cast that
# does it here was created while it was not.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed);
use BiometricAudit::Picture qw(png);

use constant OFFICE => '127.0.0.2';

my $node = BiometricAudit::Node->create('disk');
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
my $bytes = unpack('H*', png(32, 24, 'visitor'));
my $picture = qq{'\\x$bytes'};
$node->sql($db, 'CREATE TABLE visit (id int PRIMARY KEY, face biometric.face_image); GRANT ALL ON visit TO officer');
$node->sql($db, "INSERT INTO visit VALUES (1, $picture)");

$node->set('shared_preload_libraries', '');
$node->restart;
$node->sql($db, $_) foreach (
	'CREATE CAST (bytea AS text) WITHOUT FUNCTION',
	'CREATE CAST (text AS biometric.face_image) WITHOUT FUNCTION',
	'CREATE CAST (biometric.face_image AS text) WITHOUT FUNCTION',
	'CREATE CAST (text AS bytea) WITHOUT FUNCTION',
	q{CREATE FUNCTION smuggled(bytea) RETURNS biometric.face_image LANGUAGE sql
		AS 'SELECT CAST(CAST($1 AS text) AS biometric.face_image)'},
	q{CREATE FUNCTION flipped(bytea, int) RETURNS bytea LANGUAGE sql
		AS 'SELECT set_byte($1, $2, get_byte($1, $2) # 1)'});
$node->set('shared_preload_libraries', 'biometric_audit');
$node->restart;

my $officer = $node->connect_from(OFFICE, $db, 'officer', 'border_control');
my $first = $officer->query('SELECT face FROM visit')->value;
is($first, "\\x$bytes", 'an intact value opens');

my %damaged = (
	'a changed width' => 'flipped(face::bytea, 18)',
	'a changed picture hash' => 'flipped(face::bytea, 110)',
	'a changed image id' => 'flipped(face::bytea, 40)',
	'a changed home' => 'flipped(face::bytea, 140)',
	'a changed origin' => 'flipped(face::bytea, 160)',
	'a changed time that it counts from' => 'flipped(face::bytea, 170)',
	'a changed ciphertext' => 'flipped(face::bytea, 238)',
	'an end cut off' => 'substr(face::bytea, 1, 238)',
	'less than a header' => q{'\x89'::bytea},
	'an image that was never sealed' => "$picture\::bytea");

foreach my $name (sort keys %damaged)
{
	my $value = "smuggled($damaged{$name})";
	my $result = $officer->query("SELECT $value FROM visit");
	like($result->sqlstate // 'no error', qr/^(XX001|22P03)$/, "$name: it is not opened");
	unlike(join(' ', map { @$_ } $result->rows), qr/$bytes/, "$name: nor sent");
	next if $name =~ /ciphertext/;
	$result = $officer->query("INSERT INTO visit SELECT 2, $value FROM visit");
	like($result->sqlstate // 'no error', qr/^(XX001|22P03)$/, "$name: it is not stored");
}
foreach my $value ('smuggled(substr(face::bytea, 1, 238))', q{smuggled('\x89')}, "smuggled($picture\::bytea)")
{
	foreach my $use ("biometric.width($value)", "concat($value)", "$value\::bytea")
	{
		my $result = $node->admin($db)->query("SELECT $use FROM visit WHERE id = 1");
		is($result->sqlstate, '22P03', substr($use, 0, 60) . ': told as damaged');
		is($result->message, 'stored face image is damaged', 'and named so');
	}
}
# The casts without functions show a value as it lies in the row.
my $transient = sub {
	my ($table) = @_;
	return $node->sql($db, "SELECT encode(substr(CAST(CAST(face AS text) AS bytea), 209, 24), 'hex') FROM $table");
};
is($transient->('visit'), '00' x 24, 'an image that was sealed here carries neither mark nor stamp');
$node->sql($db, 'CREATE TABLE kept AS SELECT (face::bytea)::biometric.face_image AS face FROM visit');
is($transient->('kept'), '00' x 24, 'nor does one that came back from a cast, to somebody who may have it');

is($officer->query('SELECT face FROM visit')->value, $first, 'the session goes on, and what is intact opens');

done_testing();
