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

note 'what is in its tables';
refused(write => $_)
  foreach (
	'INSERT INTO biometric.party (name) VALUES (\'x\')',
	'UPDATE biometric.permit SET delivery = \'open\'',
	'DELETE FROM biometric.entry_00',
	'TRUNCATE biometric.network CASCADE',
	'COPY biometric.permit (id) FROM \'/dev/null\'');

note 'the objects of the extension';
refused(member => $_)
  foreach (
	'DROP TABLE biometric.entry_00',
	'DROP TABLE biometric.party CASCADE',
	'DROP VIEW biometric.ledger',
	'DROP INDEX biometric.entry_00_pkey',
	'DROP SEQUENCE biometric.permit_id_seq CASCADE',
	'DROP FUNCTION biometric.leaf(bigint) CASCADE',
	'DROP TYPE biometric.face_image CASCADE',
	'DROP CAST (bytea AS biometric.face_image) CASCADE',
	'DROP TRIGGER guard ON biometric.entry_00',
	'ALTER TABLE biometric.entry_00 DISABLE TRIGGER ALL',
	'ALTER TABLE biometric.entry_00 DISABLE TRIGGER guard',
	'ALTER TABLE biometric.permit ENABLE REPLICA TRIGGER guard_row',
	'ALTER TABLE biometric.entry_00 ADD COLUMN x int',
	'ALTER TABLE biometric.entry_00 DROP COLUMN entry',
	'ALTER TABLE biometric.entry_00 OWNER TO officer',
	'ALTER TABLE biometric.entry_00 RENAME TO other',
	'ALTER TABLE biometric.entry_00 RENAME COLUMN seq TO other',
	'ALTER TABLE biometric.entry_00 SET SCHEMA elsewhere',
	'ALTER TABLE biometric.entry_00 SET UNLOGGED',
	'ALTER TABLE biometric.entry_00 INHERIT t',
	'ALTER INDEX biometric.entry_00_pkey RENAME TO other',
	'ALTER TRIGGER guard ON biometric.entry_00 RENAME TO other',
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
	'DO $$BEGIN DROP TABLE biometric.entry_00; END$$');

note 'what would hang on them';
refused(hang => $_)
  foreach (
	'CREATE INDEX ON biometric.entry_00 (seq)',
	'CREATE INDEX CONCURRENTLY ON biometric.entry_00 (seq)',
	'CREATE TRIGGER x BEFORE INSERT ON biometric.entry_00 FOR EACH ROW '
	. 'EXECUTE FUNCTION suppress_redundant_updates_trigger()',
	'CREATE RULE x AS ON INSERT TO biometric.entry_00 DO INSTEAD NOTHING',
	'CREATE POLICY x ON biometric.entry_00',
	'CREATE STATISTICS x ON log_id, seq FROM biometric.entry_00',
	'CREATE TABLE x () INHERITS (biometric.entry_00)',
	'ALTER TABLE t INHERIT biometric.entry_00',
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
allowed('CREATE FUNCTION public.leaf(int) RETURNS bytea LANGUAGE sql RETURN NULL::bytea');
refused(shadow => $_)
  foreach (
	'CREATE FUNCTION biometric.leaf(int) RETURNS bytea LANGUAGE sql RETURN NULL::bytea',
	'ALTER FUNCTION public.leaf(int) SET SCHEMA biometric');
refused(catalog => 'ALTER FUNCTION public.leaf(int) SET SCHEMA pg_catalog');
allowed('DROP FUNCTION public.leaf(int)');
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

note 'tables and columns that a permit restricts';
{
	$node->sql($db, $_) foreach (
		'CREATE SCHEMA archive',
		'GRANT USAGE ON SCHEMA archive TO PUBLIC',
		'CREATE ROLE keeper',
		'CREATE DOMAIN archive.portrait AS biometric.face_image',
		'CREATE TABLE archive.held (id int, note text, img archive.portrait)',
		'ALTER TABLE archive.held OWNER TO keeper');
	my $permit = $node->policy($db,
		q{SELECT biometric.authorize('house', '{face}', 'refuse', relation => 'archive.held')});
	refused(permit => $_)
	  foreach (
		'DROP TABLE archive.held',
		'DROP TABLE IF EXISTS t, archive.held CASCADE',
		'ALTER TABLE archive.held DROP COLUMN img',
		'ALTER TABLE archive.held DROP COLUMN note, DROP COLUMN img CASCADE',
		'DROP SCHEMA archive CASCADE',
		'DROP DOMAIN archive.portrait CASCADE',
		'DROP OWNED BY keeper CASCADE',
		'DO $$BEGIN DROP TABLE archive.held; END$$');
	allowed('ALTER TABLE archive.held DROP COLUMN note');
	$node->policy($db, "SELECT biometric.revoke($permit, 'the table goes')");
	allowed('DROP OWNED BY keeper CASCADE');
	allowed('DROP SCHEMA archive CASCADE');
}

note 'locks and maintenance';
refused(lock => [ 'BEGIN', $_ ])
  foreach (
	'LOCK TABLE biometric.entry_00',
	'LOCK TABLE biometric.entry_00 IN SHARE MODE',
	'LOCK TABLE biometric.ledger IN ACCESS EXCLUSIVE MODE');
refused(
	lock => [
		'CREATE VIEW door AS SELECT 1 FROM (SELECT * FROM biometric.party) AS p',
		'BEGIN', 'LOCK TABLE door IN EXCLUSIVE MODE'
	]);
refused(maintenance => [ 'BEGIN', $_ ])
  foreach (
	'REINDEX TABLE biometric.entry_00',
	'REINDEX INDEX biometric.entry_00_pkey',
	'CLUSTER biometric.entry_00 USING entry_00_pkey');
my $toast = $node->sql($db,
	q{SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'biometric.entry_00'::regclass});
refused(maintenance => [ 'BEGIN', "REINDEX TABLE $toast" ]);
refused(maintenance => [ 'BEGIN', "REINDEX INDEX ${toast}_index" ]);
allowed("REINDEX TABLE $toast");
allowed($_)
  foreach (
	[ 'BEGIN', 'LOCK TABLE biometric.entry_00 IN ROW EXCLUSIVE MODE' ],
	'REINDEX TABLE biometric.entry_00',
	'REINDEX TABLE CONCURRENTLY biometric.entry_00',
	'CLUSTER biometric.entry_00 USING entry_00_pkey',
	'VACUUM FULL biometric.entry_00',
	'VACUUM (FULL, ANALYZE)',
	'CLUSTER',
	'REINDEX SCHEMA biometric',
	"REINDEX DATABASE $db",
	"REINDEX DATABASE CONCURRENTLY $db",
	"REINDEX SYSTEM $db");

note 'behind the back of the server';
$node->sql($db, 'CREATE DATABASE bare');
$node->sql($_, 'CREATE EXTENSION pg_surgery') foreach $db, 'bare';
refused(surgery => $_)
  foreach (
	q{SELECT heap_force_kill('biometric.entry_00', ARRAY['(0,1)']::tid[])},
	q{SELECT heap_force_freeze('t', ARRAY['(0,1)']::tid[])},
	'CREATE OPERATOR === (FUNCTION = heap_force_kill, LEFTARG = regclass, RIGHTARG = tid[])');
allowed([ 'CREATE TABLE x AS SELECT 1 AS a', q{SELECT heap_force_kill('x', ARRAY['(0,1)']::tid[])} ],
	'bare');
allowed('DROP TABLE x', 'bare');

note 'settings are for custodians';
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
	$node->sql($db, 'CREATE ROLE deputy IN ROLE custodian; CREATE ROLE watcher IN ROLE auditor; '
		  . 'CREATE ROLE stranger');
	foreach my $sql (
		'GRANT deputy TO stranger', 'GRANT watcher TO stranger',
		'CREATE ROLE indirect IN ROLE deputy', 'ALTER GROUP deputy ADD USER officer',
		'ALTER ROLE deputy PASSWORD $$known$$', 'ALTER ROLE deputy LOGIN',
		'GRANT custodian TO indirect')
	{
		$mark = $node->mark($db);
		$node->sql($db, $sql);
		like($node->events($db, $mark), qr/policy_changed/, "$sql is recorded");
	}
	$mark = $node->mark($db);
	$node->sql($db, 'CREATE ROLE plain; CREATE ROLE nobody IN ROLE plain; '
		  . 'ALTER ROLE nobody PASSWORD $$x$$; GRANT nobody TO stranger; DROP ROLE nobody, plain');
	is($node->events($db, $mark), '', 'other roles are not');
	$node->sql($db, 'REVOKE deputy FROM officer; DROP ROLE deputy, watcher, indirect, stranger');
}

note 'what concerns the whole server, from a database without the extension';
foreach my $sql (
	'DELETE FROM pg_auth_members WHERE false',
	'UPDATE pg_authid SET rolsuper = rolsuper WHERE false',
	'UPDATE pg_database SET datname = datname WHERE false',
	'INSERT INTO pg_db_role_setting SELECT * FROM pg_db_role_setting WHERE false')
{
	my $mark = $node->mark($db);
	is(attempt($sql, 'bare')->sqlstate, '42501', $sql);
	is($node->events($db, $mark) =~ /ddl_refused/ ? 1 : 0, 1, 'is refused, and recorded');
}
{
	$node->sql($db, 'CREATE DATABASE second');
	$node->sql('second', 'CREATE EXTENSION biometric_audit');
	is(attempt('DROP TABLE biometric.entry_00', 'second')->sqlstate, '42501', 'a second ledger');
	$node->sql($db,
		'GRANT SET, ALTER SYSTEM ON PARAMETER biometric_audit.ledger_timeout TO custodian');
	my %mark = map { $_ => $node->mark($_) } $db, 'second';
	allowed('GRANT biometric_custodian TO officer', 'bare');
	allowed('REVOKE biometric_custodian FROM officer', 'bare');
	$node->policy('bare', 'ALTER SYSTEM SET biometric_audit.ledger_timeout = 6000');
	$node->policy('bare', 'ALTER SYSTEM RESET biometric_audit.ledger_timeout');
	foreach my $ledger ($db, 'second')
	{
		like($node->events($ledger, $mark{$ledger}),
			qr/(?:policy_changed.*){4}/, "is recorded in the ledger of $ledger");
	}
}

note 'everything else is as it was';
allowed($_)
  foreach (
	'CREATE TABLE copy (LIKE biometric.entry_00 INCLUDING ALL)',
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

note 'event triggers do not run inside the scripts of the extension';
$node->sql($db, 'CREATE DATABASE brief');
{
	my $hook = q{CREATE FUNCTION hook() RETURNS event_trigger LANGUAGE plpgsql AS
		$$BEGIN IF tg_tag = 'CREATE TABLE' THEN TRUNCATE biometric.entry_00; END IF; END$$};
	my $on = 'CREATE EVENT TRIGGER hook ON ddl_command_end EXECUTE FUNCTION hook()';
	my $result = attempt([ $hook, $on, 'CREATE EXTENSION biometric_audit' ], 'brief');
	is($result->sqlstate, '55000', 'CREATE EXTENSION with one enabled');
	like($result->hint // '', qr/ALTER EVENT TRIGGER hook DISABLE/, 'is told what to do');
	is( attempt(
			[
				'ALTER EVENT TRIGGER hook DISABLE',
				'CREATE EXTENSION biometric_audit',
				'DROP EXTENSION biometric_audit'
			],
			'brief')->sqlstate,
		undef,
		'it is done with the trigger disabled');
	is( attempt('CREATE EXTENSION biometric_audit', 'brief')->sqlstate, undef, 'and again');
	is( attempt([ 'ALTER EVENT TRIGGER hook ENABLE ALWAYS', 'TRUNCATE biometric.entry_00' ], 'brief')
		  ->sqlstate,
		'42501',
		'a ledger is not truncated');
	$node->sql($db, 'DROP DATABASE brief');
}

note 'the end of the extension';
ok($node->verifies($db), 'the ledger verifies');
$node->sql($db, 'CREATE DATABASE brief');
is( attempt([ 'CREATE EXTENSION biometric_audit', 'DROP EXTENSION biometric_audit' ], 'brief')
	  ->sqlstate,
	undef,
	'an extension without entries can be dropped');
is( attempt([ 'BEGIN', 'CREATE EXTENSION biometric_audit', 'DROP TABLE biometric.entry_00' ], 'brief')
	  ->sqlstate,
	'42501',
	'where no entry can be written yet, a refusal is a refusal all the same');
is( attempt([ 'BEGIN', 'CREATE EXTENSION biometric_audit', 'DROP EXTENSION biometric_audit' ],
		'brief')->sqlstate,
	undef,
	'who has just created the extension can drop it');
$node->sql($db, 'DROP TABLE t; DROP TYPE pair; CREATE TABLE kept (img biometric.face_image)');
$node->policy($db, q{SELECT biometric.authorize('house', '{face}', 'refuse', relation => 'kept')});
$node->policy($db, q{SELECT biometric.retire_ledger('the system is given up')});
is(attempt('DROP TABLE biometric.entry_00')->sqlstate,
	'42501', 'a retired ledger is not dropped piece by piece');
{
	my $forker = $node->connect_from('local', $db, 'custodian');
	$forker->query('BEGIN');
	$forker->query(q{SELECT biometric.fork_ledger('it is used after all')});
	my $dropper = $node->connect_from('local', $db, 'dba');
	$dropper->send_query('DROP EXTENSION biometric_audit CASCADE');
	my $waits = 'SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND pid = ' . $dropper->pid;
	ok(poll_until(sub { $node->sql('bare', $waits) eq 't' }), 'DROP EXTENSION waits for a fork');
	is($forker->query('COMMIT')->sqlstate, undef, 'which is committed');
	is($dropper->drain->sqlstate, '42501', 'and is refused: the ledger is not retired any more');
	$_->close foreach $forker, $dropper;
	my $mark = $node->mark($db);
	my $takes_entries = sub {
		attempt('DROP TABLE biometric.entry_00');
		return $node->events($db, $mark) =~ /ddl_refused/;
	};
	ok(poll_until($takes_entries), 'the ledger goes on');
	$node->policy($db, q{SELECT biometric.retire_ledger('the system is given up again')});
}
is(attempt('DROP EXTENSION biometric_audit CASCADE')->sqlstate,
	undef, 'but as a whole, with columns that a permit restricts');
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
my $family = 'CREATE OPERATOR FAMILY fam USING gin';
my $add = 'ALTER OPERATOR FAMILY fam USING gin ADD FUNCTION 1 (oid, oid) lo_export(oid, text)';
allowed($_) foreach ($family, 'CREATE TABLE own (id int PRIMARY KEY)');
$node->set('biometric_audit.lockdown', 'on');
refused(
	lockdown => 'CREATE OPERATOR CLASS cls FOR TYPE oid USING gin AS '
	  . 'FUNCTION 1 lo_export(oid, text), STORAGE oid');
refused(lockdown => $add);
refused(lockdown => 'CREATE OPERATOR ~~~ (FUNCTION = lo_import, LEFTARG = text, RIGHTARG = oid)');
allowed($_)
  foreach (
	q{CREATE OPERATOR CLASS cls FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 3 =, }
	. 'FUNCTION 1 btint4cmp(int, int)',
	'CREATE INDEX ON own (id cls)',
	'REINDEX TABLE own');
$node->set('biometric_audit.lockdown', undef);
allowed($add);
$node->set('biometric_audit.lockdown', 'on');
foreach my $sql (
	'CREATE INDEX ON own (id)',
	'REINDEX TABLE own',
	'ALTER TABLE own ADD UNIQUE (id)',
	'SELECT * FROM own')
{
	my $result = attempt($sql);
	is($result->sqlstate, '42501', "$sql, while an older family has such a function");
	like($result->message // '', qr/function lo_export/, 'names it');
}
is(attempt('DROP OPERATOR FAMILY fam USING gin')->sqlstate, undef, 'the family can be dropped');
allowed($_) foreach ('SELECT * FROM own', 'REINDEX TABLE own');
refused(lockdown => "ALTER SYSTEM SET $_ = 'x'")
  foreach qw(log_directory log_filename ident_file hba_file ssl_key_file ssl_cert_file
  dynamic_library_path);
allowed('GRANT biometric_custodian TO CURRENT_USER');
refused(lockdown => "ALTER SYSTEM SET $_ = 'x'")
  foreach qw(biometric_audit.keyring_command biometric_audit.checkpoint_command);
allowed('REVOKE biometric_custodian FROM CURRENT_USER');
refused(lockdown => q{CREATE TABLESPACE x LOCATION '/tmp'});
is(attempt('UPDATE pg_language SET lanpltrusted = true WHERE false', 'bare')->sqlstate,
	'42501', 'nor are system catalogs changed anywhere');
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
$node->stop;

note 'no worker is left for the ledger';
{
	my $full = BiometricAudit::Node->create('full',
		conf => "max_worker_processes = 2\nmax_parallel_workers = 0\n"
		  . 'biometric_audit.ledger_timeout = 500');
	$full->sql('postgres', 'CREATE EXTENSION biometric_audit; CREATE ROLE officer LOGIN;'
		  . 'CREATE ROLE custodian LOGIN SUPERUSER');
	$full->sql('postgres', 'CREATE DATABASE bare');
	# both of the places for workers are taken by launchers, the server's and ours
	foreach my $database ('postgres', 'bare')
	{
		my $wire = $full->connect_from('local', $database, $full->superuser);
		is($wire->query('GRANT biometric_custodian TO officer')->sqlstate,
			'55000', "in $database nobody is made a custodian");
		my $result = $wire->query('REVOKE biometric_custodian FROM officer');
		is($result->sqlstate, undef, 'but one can cease to be');
		like(join(' ', map { $_->{M} } $result->notices),
			qr/is not in the ledger/, 'with a warning');
		$wire->close;
	}
}

done_testing();
