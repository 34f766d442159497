# A table that was made while the library was not loaded takes no rows until
# it has its triggers; a dump does not carry them, and a restore makes them.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);

use constant PICTURES => 5;

my $node = BiometricAudit::Node->create('agency', conf => 'biometric_audit.max_databases = 8');
$node->sql('postgres', 'CREATE DATABASE source');
$node->prepare('source');
$node->sql('source', $_) foreach (
	'CREATE ROLE owner LOGIN',
	'CREATE ROLE stranger LOGIN',
	'CREATE TABLE face (id int PRIMARY KEY, img biometric.face_image)',
	'INSERT INTO face SELECT n, numbered_jpeg(n, 300)::biometric.face_image '
	  . 'FROM generate_series(1, ' . PICTURES . ') AS n');

# The SQLSTATE with which a statement fails as somebody; an empty text if it does not.
sub sqlstate
{
	my ($role, $text) = @_;
	my $wire = $node->connect_from('local', 'source', $role);
	my $result = $wire->query($text);
	$wire->close;
	return $result->error ? $result->sqlstate : '';
}

sub stored
{
	my ($table) = @_;
	poll_until(sub { $node->sql('source', 'SELECT pending = 0 FROM biometric.ledger_status()') eq 't' });
	return $node->sql('source',
		"SELECT count(*) FROM biometric.change WHERE event = 'stored' AND relation = 'public.$table'");
}

sub triggers
{
	my ($database, $table) = @_;
	return $node->sql($database,
		"SELECT count(*) FROM pg_trigger WHERE tgrelid = '$table'::regclass AND tgisinternal AND tgenabled = 'A'");
}

# ---------------------------------------------------------------- while it is away

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
$node->sql('source', $_) foreach (
	'CREATE TABLE copy AS SELECT * FROM face',
	'ALTER TABLE copy OWNER TO owner',
	'CREATE TABLE list (id int, img biometric.face_image) PARTITION BY RANGE (id)',
	'CREATE TABLE list_low PARTITION OF list FOR VALUES FROM (0) TO (3)',
	'CREATE TABLE list_high PARTITION OF list FOR VALUES FROM (3) TO (100)',
	'INSERT INTO list SELECT * FROM face',
	'CREATE TABLE strip (id int, imgs biometric.face_image[])',
	'CREATE TABLE parent (note int)',
	'CREATE TABLE heir (img biometric.face_image) INHERITS (parent)',
	'INSERT INTO heir SELECT id, img FROM face');
is(triggers('source', 'copy'), 0, 'a table that is made without the library has no triggers');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'biometric_audit'");
$node->restart;

# ---------------------------------------------------------------- when it is back

my $super = $node->superuser;
is(sqlstate($super, $_), '55000', "refused: $_") foreach (
	'INSERT INTO copy VALUES (10, NULL)',
	'UPDATE copy SET id = id',
	'DELETE FROM copy',
	'COPY copy FROM PROGRAM \'true\'',
	'INSERT INTO list VALUES (1, NULL)',
	'DELETE FROM list_high',
	'DELETE FROM parent',
	'UPDATE parent SET note = 0',
	'INSERT INTO strip VALUES (1, NULL)');
is(sqlstate($super, "SELECT biometric.attach_triggers('strip')"), '0A000', 'what cannot be guarded is named');
$node->sql('source', 'DROP TABLE strip');
is(sqlstate($super, 'INSERT INTO parent VALUES (1)'), '', 'what reaches no heir is not');
is(sqlstate($super, 'SELECT id FROM copy FOR UPDATE'), '', 'reading and locking is not refused');
is(sqlstate('stranger', "SELECT biometric.attach_triggers('copy')"), '42501', 'not everybody attaches triggers');
is(sqlstate('owner', 'SELECT biometric.attach_triggers()'), '42501', 'nor does an owner everywhere');
is(sqlstate('owner', "SELECT biometric.attach_triggers('copy')"), '', 'but to his own table');
is(triggers('source', 'copy'), 3, 'which has them then');
is(stored('copy'), PICTURES, 'and its images are on record');
is($node->sql('source', <<'END'), PICTURES, 'and bound to it');
SELECT count(*) FROM copy JOIN biometric.home AS h ON h.relation = 'copy'::regclass
 WHERE uuid_send(h.home) = substr(biometric.face_image_send(img), 137, 16)
END
is(sqlstate($super, 'UPDATE copy SET id = id'), '', 'it can be written to');
is($node->sql('source', 'SELECT biometric.attach_triggers()'), 3, 'a superuser attaches them to all others');
is(stored('list_low'), 2, 'partition by partition');
is(sqlstate($super, 'INSERT INTO list VALUES (1, NULL)'), '', 'and they can be written to');
is($node->sql('source', 'SELECT biometric.attach_triggers()'), 0, 'nothing is left to do');

# ---------------------------------------------------------------- dumps

my $dump = $node->basedir . '/source.sql';
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-f', $dump, 'source' ], 'the database is dumped');
unlike(slurp_file($dump), qr/CREATE TRIGGER.*biometric/, 'without the triggers');
$node->sql('postgres', 'CREATE DATABASE target');
command_ok(
	[ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-d', 'target', '-f', $dump ],
	'the dump is restored');
is(triggers('target', $_), 3, "$_ has its triggers again") foreach qw(face copy list_low list_high);

$node->stop;
done_testing();
