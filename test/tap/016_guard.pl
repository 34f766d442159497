# No command undoes the protection, the superuser's neither: each refusal says
# why and what to do instead, and is in the ledger.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);

my $node = BiometricAudit::Node->create('agency');
my $db = 'postgres';

$node->prepare($db);
$node->sql(
	$db, q{CREATE ROLE dba SUPERUSER LOGIN;
	CREATE TABLE t (id int PRIMARY KEY, img biometric.face_image);
	CREATE TYPE pair AS (n int, img biometric.iris_image);
	CREATE SCHEMA elsewhere;
	INSERT INTO t SELECT n, numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(1, 3) AS n}
);

# attempt(sql, database): the result of statements, the last of which is of
# interest, on a session of its own of a superuser who is no custodian.
sub attempt
{
	my ($sql, $database) = @_;
	my $wire = $node->connect_from('local', $database // $db, 'dba');
	my @statements = ref $sql ? @$sql : ($sql);
	my $last = pop @statements;
	$wire->query($_) foreach @statements;
	my $result = $wire->query($last);
	$wire->close;
	return $result;
}

sub text { return ref $_[0] ? join('; ', @{ $_[0] }) : $_[0]; }

# refused(rule, sql): that it is refused by a rule, with reason and advice, and recorded.
sub refused
{
	my ($rule, $sql) = @_;
	subtest text($sql) => sub {
		my $mark = $node->mark($db);
		my $result = attempt($sql);
		is($result->sqlstate, '42501', 'is refused') || diag $result->message // 'no error';
		like($result->message // '', qr/is refused for/, 'says what: ' . ($result->message // ''));
		like($result->detail  // '', qr/\w.*\.$/s, 'why');
		like($result->hint    // '', qr/\w.*\.$/s, 'and what to do');
		my @entries = $node->records($db,
			"SELECT detail FROM biometric.ledger WHERE seq >= $mark AND event = 'ddl_refused'");
		is(scalar @entries, 1, 'and is one entry of the ledger');
		is($entries[0]{detail}{rule}, $rule, "by the rule \"$rule\"");
		ok($entries[0]{detail}{command} && $entries[0]{detail}{object},
			'naming command and object');
	};
	return;
}

# allowed(sql): that it works, and no refusal is recorded.
sub allowed
{
	my ($sql, $database) = @_;
	my $mark = $node->mark($db);
	my $result = attempt($sql, $database);
	is($result->sqlstate, undef, text($sql)) || diag $result->message;
	unlike($node->events($db, $mark), qr/ddl_refused/, 'nothing was refused');
	return;
}

note 'the objects of the extension';
refused(member => $_)
  foreach (
	'DROP TABLE biometric.entry',
	'DROP TABLE biometric.party CASCADE',
	'DROP VIEW biometric.ledger',
	'DROP INDEX biometric.entry_pkey',
	'DROP SEQUENCE biometric.permit_id_seq CASCADE',
	'DROP FUNCTION biometric.leaf(bigint) CASCADE',
	'DROP TYPE biometric.face_image CASCADE',
	'DROP CAST (bytea AS biometric.face_image) CASCADE',
	'DROP TRIGGER guard ON biometric.entry',
	'ALTER TABLE biometric.entry DISABLE TRIGGER ALL',
	'ALTER TABLE biometric.entry DISABLE TRIGGER guard',
	'ALTER TABLE biometric.permit ENABLE REPLICA TRIGGER guard_row',
	'ALTER TABLE biometric.entry ADD COLUMN x int',
	'ALTER TABLE biometric.entry DROP COLUMN entry',
	'ALTER TABLE biometric.entry OWNER TO officer',
	'ALTER TABLE biometric.entry RENAME TO other',
	'ALTER TABLE biometric.entry RENAME COLUMN seq TO other',
	'ALTER TABLE biometric.entry SET SCHEMA elsewhere',
	'ALTER TABLE biometric.entry SET UNLOGGED',
	'ALTER TABLE biometric.entry INHERIT t',
	'ALTER INDEX biometric.entry_pkey RENAME TO other',
	'ALTER TRIGGER guard ON biometric.entry RENAME TO other',
	'ALTER VIEW biometric.ledger RENAME TO other',
	'ALTER SEQUENCE biometric.permit_id_seq RESTART',
	'ALTER TYPE biometric.face_image OWNER TO officer',
	'ALTER TYPE biometric.face_image RENAME TO other',
	'ALTER TYPE biometric.face_image SET SCHEMA elsewhere',
	'ALTER TYPE biometric.face_image SET (STORAGE = extended)',
	'ALTER TYPE biometric.face_image SET (SEND = NONE)',
	'ALTER FUNCTION biometric.leaf(bigint) RENAME TO other',
	'ALTER FUNCTION biometric.leaf(bigint) SECURITY DEFINER',
	'ALTER FUNCTION biometric.leaf(bigint) SET search_path = public',
	'ALTER FUNCTION biometric.leaf(bigint) DEPENDS ON EXTENSION plpgsql',
	'ALTER SCHEMA biometric RENAME TO other',
	'ALTER SCHEMA biometric OWNER TO officer',
	'ALTER EXTENSION biometric_audit SET SCHEMA elsewhere',
	'ALTER EXTENSION biometric_audit DROP FUNCTION biometric.leaf(bigint)',
	'ALTER EXTENSION biometric_audit ADD TABLE t',
	'CREATE OR REPLACE VIEW biometric.ledger AS SELECT * FROM biometric.ledger',
	q{CREATE OR REPLACE FUNCTION biometric.leaf(seq bigint) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'},
	'DO $$BEGIN DROP TABLE biometric.entry; END$$');

note 'what would hang on them';
refused(hang => $_)
  foreach (
	'CREATE INDEX ON biometric.entry (seq)',
	'CREATE INDEX CONCURRENTLY ON biometric.entry (seq)',
	'CREATE TRIGGER x BEFORE INSERT ON biometric.entry FOR EACH ROW '
	. 'EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'CREATE RULE x AS ON INSERT TO biometric.entry DO INSTEAD NOTHING',
	'CREATE POLICY x ON biometric.entry',
	'CREATE STATISTICS x ON log_id, seq FROM biometric.entry',
	'CREATE TABLE x () INHERITS (biometric.entry)',
	'ALTER TABLE t INHERIT biometric.entry',
	'CREATE TABLE x (party text REFERENCES biometric.party)');

note 'all of it';
refused(extension => $_)
  foreach (
	'DROP EXTENSION biometric_audit',
	'DROP EXTENSION biometric_audit CASCADE',
	'DROP EXTENSION IF EXISTS pgtap, biometric_audit',
	'DROP SCHEMA biometric CASCADE');
my $owner = $node->superuser;
refused(owner => "DROP OWNED BY $owner CASCADE");
refused(owner => "REASSIGN OWNED BY $owner TO dba");
refused(role => $_)
  foreach (
	'DROP OWNED BY biometric_auditor',
	'DROP ROLE biometric_auditor',
	'ALTER ROLE biometric_custodian RENAME TO other');

note 'tables with images';
my @triggers = $node->records(
	$db, q{SELECT tgname FROM pg_trigger AS t
	JOIN pg_proc AS p ON p.oid = t.tgfoid
	WHERE t.tgrelid = 't'::regclass AND p.pronamespace = 'biometric'::regnamespace});
is(scalar @triggers, 3, 'have three triggers');
foreach my $name (map { $_->{tgname} } @triggers)
{
	refused(trigger => $_)
	  foreach (
		qq{DROP TRIGGER "$name" ON t},
		qq{ALTER TABLE t DISABLE TRIGGER "$name"},
		qq{ALTER TABLE t ENABLE TRIGGER "$name"},
		qq{ALTER TRIGGER "$name" ON t RENAME TO other},
		qq{ALTER TRIGGER "$name" ON t DEPENDS ON EXTENSION plpgsql});
}
refused(trigger => 'ALTER TABLE t DISABLE TRIGGER ALL');
refused(trigger => 'CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW '
	  . 'EXECUTE FUNCTION biometric.guard_trigger()');
refused(image_column => $_)
  foreach (
	'ALTER TABLE t ALTER COLUMN img TYPE bytea',
	'ALTER TABLE t ALTER COLUMN img TYPE text USING NULL',
	'ALTER TABLE t ALTER COLUMN img TYPE biometric.iris_image USING NULL',
	'ALTER TYPE pair ALTER ATTRIBUTE img TYPE bytea');
refused(cast => 'CREATE CAST (text AS biometric.face_image) WITHOUT FUNCTION');
refused(cast => 'CREATE CAST (biometric.face_image AS text) WITHOUT FUNCTION');
refused(symbol =>
	  q{CREATE FUNCTION x(bigint) RETURNS bytea LANGUAGE c AS 'biometric_audit', 'ledger_leaf'});

note 'system catalogs';
refused(catalog => $_)
  foreach (
	'UPDATE pg_proc SET prosrc = prosrc WHERE false',
	'DELETE FROM pg_trigger WHERE false',
	'INSERT INTO pg_cast SELECT * FROM pg_cast WHERE false',
	'UPDATE pg_db_role_setting SET setconfig = NULL WHERE false',
	'WITH x AS (DELETE FROM pg_depend WHERE false RETURNING 1) SELECT count(*) FROM x',
	'DO $$BEGIN UPDATE pg_type SET typsend = 0 WHERE false; END$$',
	[ 'SET allow_system_table_mods = on', 'DELETE FROM pg_class WHERE false' ],
	[ 'SET allow_system_table_mods = on', 'ALTER TABLE pg_proc ADD COLUMN x int' ],
	[ 'SET allow_system_table_mods = on', 'TRUNCATE pg_statistic' ],
	[ 'SET allow_system_table_mods = on', 'CREATE INDEX ON pg_proc (pronargs)' ],
	[
		'SET allow_system_table_mods = on',
		'CREATE TRIGGER x BEFORE INSERT ON pg_proc FOR EACH ROW '
		  . 'EXECUTE FUNCTION suppress_redundant_updates_trigger()'
	]);

note 'locks and maintenance';
refused(lock => [ 'BEGIN', $_ ])
  foreach (
	'LOCK TABLE biometric.entry',
	'LOCK TABLE biometric.entry IN SHARE MODE',
	'LOCK TABLE biometric.ledger IN ACCESS EXCLUSIVE MODE');
refused(
	lock => [
		'CREATE VIEW door AS SELECT 1 FROM (SELECT * FROM biometric.party) AS p',
		'BEGIN', 'LOCK TABLE door IN EXCLUSIVE MODE'
	]);
refused(maintenance => [ 'BEGIN', $_ ])
  foreach (
	'REINDEX TABLE biometric.entry',
	'REINDEX INDEX biometric.entry_pkey',
	'CLUSTER biometric.entry USING entry_pkey');
allowed($_)
  foreach (
	[ 'BEGIN', 'LOCK TABLE biometric.entry IN ROW EXCLUSIVE MODE' ],
	'REINDEX TABLE biometric.entry',
	'REINDEX TABLE CONCURRENTLY biometric.entry',
	'CLUSTER biometric.entry USING entry_pkey',
	'VACUUM FULL biometric.entry',
	'VACUUM (FULL, ANALYZE)',
	'CLUSTER',
	'REINDEX SCHEMA biometric',
	"REINDEX DATABASE $db",
	"REINDEX DATABASE CONCURRENTLY $db",
	"REINDEX SYSTEM $db");

note 'settings are for custodians';
$node->sql($db, 'CREATE DATABASE bare');
refused(setting => $_)
  foreach (
	'ALTER SYSTEM SET biometric_audit.enforcement = observe',
	'ALTER SYSTEM RESET biometric_audit.keyring',
	q{ALTER SYSTEM SET shared_preload_libraries = ''},
	'ALTER SYSTEM RESET ALL',
	q{ALTER ROLE officer SET biometric_audit.purpose = 'border_control'},
	q{ALTER ROLE ALL IN DATABASE postgres SET biometric_audit.purpose = 'border_control'},
	q{ALTER DATABASE postgres SET biometric_audit.purpose = 'border_control'});
is(attempt('ALTER SYSTEM SET biometric_audit.enforcement = observe', 'bare')->sqlstate,
	'42501', 'also from a database without the extension');
allowed($_)
  foreach (
	q{ALTER SYSTEM SET work_mem = '5MB'},
	'ALTER SYSTEM RESET work_mem',
	q{ALTER ROLE officer SET work_mem = '5MB'},
	'ALTER ROLE officer RESET ALL',
	'ALTER DATABASE postgres RESET ALL');
{
	$node->sql($db,
		'GRANT SET, ALTER SYSTEM ON PARAMETER biometric_audit.ledger_timeout TO custodian');
	my $mark = $node->mark($db);
	$node->policy($db, 'ALTER SYSTEM SET biometric_audit.ledger_timeout = 6000');
	$node->policy($db, 'ALTER SYSTEM RESET biometric_audit.ledger_timeout');
	$node->policy($db, q{ALTER ROLE custodian SET biometric_audit.purpose = 'maintenance'});
	like($node->events($db, $mark),
		qr/(?:policy_changed.*){3}/, 'a custodian changes settings, and that is recorded');
	is( attempt([ 'SET ROLE custodian', q{ALTER ROLE custodian RESET biometric_audit.purpose} ])
		  ->sqlstate,
		'42501',
		'who only takes on the role does not');
	refused(setting => 'ALTER ROLE custodian RESET ALL');
	$mark = $node->mark($db);
	$node->sql($db,
		'GRANT biometric_custodian TO officer; REVOKE biometric_custodian FROM officer');
	like($node->events($db, $mark), qr/(?:policy_changed.*){2}/, 'who becomes one is recorded');
}

note 'everything else is as it was';
allowed($_)
  foreach (
	'CREATE TABLE copy (LIKE biometric.entry INCLUDING ALL)',
	'DROP TABLE copy',
	'CREATE TABLE parts (id int, img biometric.face_image) PARTITION BY LIST (id)',
	'CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1)',
	'CREATE TABLE part2 (LIKE parts INCLUDING ALL)',
	'ALTER TABLE parts ATTACH PARTITION part2 FOR VALUES IN (2)',
	'ALTER TABLE parts DETACH PARTITION part2',
	'ALTER TABLE part2 DISABLE TRIGGER USER',
	'ALTER TABLE part2 ADD COLUMN other biometric.iris_image',
	'ALTER TABLE part2 DROP COLUMN img',
	'ALTER TABLE part2 DROP COLUMN other',
	'DROP TABLE parts, part2',
	'CREATE DOMAIN portrait AS biometric.face_image',
	'ALTER TABLE t ALTER COLUMN img TYPE portrait',
	'ALTER TABLE t ALTER COLUMN img TYPE biometric.face_image',
	'DROP DOMAIN portrait',
	'ALTER TABLE t ADD COLUMN note text',
	'ALTER TABLE t ALTER COLUMN note TYPE varchar(9)',
	'ALTER TABLE t RENAME TO u',
	'ALTER TABLE u RENAME TO t',
	'CREATE FUNCTION size(biometric.face_image) RETURNS bigint LANGUAGE sql AS '
	. q{'SELECT biometric.byte_length($1)'},
	'CREATE CAST (biometric.face_image AS bigint) WITH FUNCTION size(biometric.face_image)',
	'DROP CAST (biometric.face_image AS bigint)',
	'DROP FUNCTION size',
	'ALTER EXTENSION biometric_audit UPDATE',
	q{COMMENT ON EXTENSION biometric_audit IS 'guards'},
	'GRANT SELECT ON biometric.ledger TO officer',
	'REVOKE SELECT ON biometric.ledger FROM officer',
	'CREATE EXTENSION citext',
	'DROP EXTENSION citext',
	'SELECT lo_from_bytea(4711, NULL)',
	'SELECT lo_put(4711, 0, NULL)',
	[ 'BEGIN', 'SELECT 1 FROM pg_class FOR SHARE' ],
	q{UPDATE pg_settings SET setting = 'on' WHERE name = 'allow_system_table_mods'},
	'ANALYZE',
	'CREATE DATABASE copied',
	'DROP DATABASE copied',
	'DROP VIEW door');
allowed($_, 'bare')
  foreach (
	'CREATE TABLE x (id int)',
	'UPDATE pg_class SET relname = relname WHERE false',
	'DROP TABLE x');

note 'a dump, put back over what is there';
{
	my $dump = $node->basedir . '/dump';
	my @connection = ('--host', $node->host, '--port', $node->port, '--username', $owner);
	my $count = $node->sql($db, 'SELECT count(*) FROM t');
	command_ok(
		[
			'pg_dump', @connection, '--format', 'custom', '--table', 'public.t',
			'--file', $dump, $db
		],
		'pg_dump');
	my $mark = $node->mark($db);
	command_ok([ 'pg_restore', @connection, '--clean', '--if-exists', '--dbname', $db, $dump ],
		'pg_restore --clean');
	unlike($node->events($db, $mark), qr/ddl_refused/, 'nothing was refused');
	is($node->sql($db, 'SELECT count(*) FROM t'), $count, 'the rows are there');
}

note 'the end of the extension';
ok($node->verifies($db), 'the ledger verifies');
$node->sql($db, 'CREATE DATABASE brief');
is( attempt([ 'CREATE EXTENSION biometric_audit', 'DROP EXTENSION biometric_audit' ], 'brief')
	  ->sqlstate,
	undef,
	'an extension without entries can be dropped');
is( attempt([ 'BEGIN', 'CREATE EXTENSION biometric_audit', 'DROP TABLE biometric.entry' ], 'brief')
	  ->sqlstate,
	'42501',
	'where no entry can be written yet, a refusal is a refusal all the same');
is( attempt([ 'BEGIN', 'CREATE EXTENSION biometric_audit', 'DROP EXTENSION biometric_audit' ],
		'brief')->sqlstate,
	undef,
	'who has just created the extension can drop it');
$node->sql($db, 'DROP TABLE t; DROP TYPE pair');
$node->policy($db, q{SELECT biometric.retire_ledger('the system is given up')});
is(attempt('DROP TABLE biometric.entry')->sqlstate,
	'42501', 'a retired ledger is not dropped piece by piece');
is(attempt('DROP EXTENSION biometric_audit')->sqlstate, undef, 'but as a whole');
is( $node->sql(
		$db, q{SELECT count(*) FROM pg_namespace AS n JOIN pg_class AS c
		ON c.relnamespace = n.oid WHERE n.nspname = 'biometric'}),
	0,
	'and nothing of it is left');

note 'lockdown';
$node->sql('postgres', 'CREATE DATABASE guarded');
$db = 'guarded';
$node->prepare($db);
my $secret = $node->basedir . '/secret';
append_to_file($secret, "secret\n");
is( attempt(
		[
			'CREATE EXTENSION file_fdw',
			'CREATE SERVER files FOREIGN DATA WRAPPER file_fdw',
			"CREATE FOREIGN TABLE secret (line text) SERVER files OPTIONS (filename '$secret')",
			q{CREATE FUNCTION reader(text) RETURNS text LANGUAGE internal STRICT AS 'pg_read_file_all'},
			"SELECT reader('$secret') || (SELECT line FROM secret)"
		])->value,
	"secret\nsecret",
	'without it a superuser reads files');
$node->set('biometric_audit.lockdown', 'on');
refused(lockdown => $_)
  foreach (
	"COPY (SELECT 1) TO '$secret'",
	"COPY secret FROM '$secret'",
	q{COPY (SELECT 1) TO PROGRAM 'cat'},
	q{COPY secret FROM PROGRAM 'echo'},
	"SELECT pg_read_file('$secret')",
	"SELECT pg_read_binary_file('$secret', 0, 1)",
	"SELECT pg_read_file(path) FROM (VALUES ('$secret')) AS v (path)",
	q{SELECT pg_ls_dir('.')},
	q{SELECT * FROM pg_ls_logdir()},
	q{SELECT * FROM pg_stat_file('PG_VERSION')},
	"SELECT lo_import('$secret')",
	"SELECT lo_export(4711, '$secret')",
	"SELECT reader('$secret')",
	'SELECT * FROM secret',
	'ANALYZE secret',
	[ 'CREATE TABLE above (line text)', 'ALTER TABLE secret INHERIT above', 'SELECT * FROM above' ],
	'ANALYZE above',
	q{LOAD 'auto_explain'},
	q{CREATE FUNCTION x() RETURNS int LANGUAGE c AS 'citext', 'citextin'},
	q{CREATE FUNCTION x(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'},
	q{DO LANGUAGE c 'x'},
	'CREATE TRUSTED LANGUAGE x HANDLER plpgsql_call_handler',
	'CREATE EXTENSION citext',
	q{ALTER SYSTEM SET archive_command = 'true'},
	q{ALTER ROLE officer SET session_preload_libraries = 'x'});
is(attempt("COPY (SELECT 1) TO '$secret'", 'bare')->sqlstate,
	'42501', 'it holds in databases without the extension, too');
allowed($_)
  foreach (
	'COPY (SELECT 1) TO STDOUT',
	'CREATE FUNCTION y() RETURNS int LANGUAGE sql AS $$SELECT 1$$',
	'CREATE FUNCTION z() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN y(); END$$',
	'SELECT z()',
	'DO $$BEGIN PERFORM z(); END$$');
$node->sql($db, 'CREATE DATABASE locked');
is(attempt('CREATE EXTENSION biometric_audit', 'locked')->sqlstate,
	undef, 'the extension itself can be created under lockdown');
$node->set('biometric_audit.lockdown', undef);
is(attempt("SELECT pg_read_file('$secret')")->value, "secret\n", 'until it is lifted');

ok($node->verifies($db), 'the ledger verifies');

done_testing();
