# The ledger is cut into segments, each of which can be read without the
# others, and which share a fixed number of tables.

use strict;
use warnings;

use Test::More;

use BiometricAudit::Node;
use BiometricAudit::Picture;

use constant {
	OFFICE => '127.0.0.2',
	SEGMENT => 1024,
	SLICES => 16,
	PICTURES => 200,
};

my $node = BiometricAudit::Node->create('agency',
	conf => 'biometric_audit.segment_size = ' . SEGMENT . "\nbiometric_audit.ring_size = '256kB'\n");
my $db = 'postgres';

$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
$node->sql(
	$db, q{CREATE TABLE t (id int, img biometric.face_image); GRANT SELECT ON t TO officer;
	INSERT INTO t
	SELECT n, numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(1, }
	  . PICTURES . q{) AS n});
my $wire = $node->connect_from(OFFICE, $db, 'officer', 'border_control');

sub size { return $node->sql($db, 'SELECT size FROM biometric.ledger_status()') }

# Entries that refer to one of another segment.
my $crossing = 'SELECT count(*) FROM biometric.entry, biometric.decode_entry(entry) AS d '
  . 'WHERE d.reference / ' . SEGMENT . ' <> seq / ' . SEGMENT;

# Entries of a log that are not in the table that their segment is in.
my $misplaced = join ' + ', map {
	my $table = sprintf 'biometric.entry_%02d', $_;
	"(SELECT count(*) FROM $table WHERE seq / " . SEGMENT . ' % ' . SLICES . " <> $_)"
} 0 .. SLICES - 1;

is($wire->query('SELECT img FROM t')->row_count, PICTURES, 'one session discloses pictures')
  while size() < (SLICES + 2) * SEGMENT;
ok($node->verifies($db), 'a ledger of more segments than there are tables verifies');
is($node->sql($db, $crossing), 0, 'no entry refers to one of another segment');
is($node->sql($db, "SELECT $misplaced"), 0, 'each is in the table of its segment');
is( $node->sql($db, 'SELECT count(*) FROM biometric.disclosure WHERE party IS DISTINCT FROM '
		  . q{'agency' OR relation IS DISTINCT FROM 'public.t' OR purpose IS NULL}),
	0, 'who, what for and which table can be told of every picture');
is( $node->sql($db, 'SELECT count(DISTINCT seq / ' . SEGMENT . ') FROM biometric.ledger '
		  . q{WHERE event = 'session' AND party = 'agency'}) >= SLICES + 1,
	1, 'as the session is named in each segment again');

my $size = size();
is( $node->sql($db, "SELECT biometric.root($size) = root FROM biometric.ledger_status()"),
	't', 'the root is that of the edge');
is( $node->sql($db, 'SELECT count(*) FROM biometric.tile WHERE level = 0'),
	0, 'hashes of entries are not stored a second time');

$node->restart;
ok($node->verifies($db), 'after a restart it verifies');
$wire = $node->connect_from(OFFICE, $db, 'officer', 'border_control');
is($wire->query('SELECT img FROM t')->row_count, PICTURES, 'and goes on');
is($node->sql($db, "SELECT $misplaced"), 0, 'in the right tables');

subtest 'a segment size that cannot be is refused' => sub {
	foreach my $bad (1, 1000, 2048, 1_048_577)
	{
		isnt($node->psql($db, "ALTER SYSTEM SET biometric_audit.segment_size = $bad"), 0, "$bad entries");
	}
};

done_testing();
