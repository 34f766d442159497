# Row triggers where one session is not enough: two-phase commit, crashes, a
# ledger that does not answer, large transactions, logical replication, and
# what becomes of images that were given sealed.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant OFFICE => '127.0.0.2';
use constant MB => 1024;

my $node = BiometricAudit::Node->create(
	'agency',
	allows_streaming => 'logical',
	conf => "max_prepared_transactions = 5\nbiometric_audit.ring_size = '256kB'\n"
	  . "biometric_audit.replication_database = 'postgres'\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
$node->sql(
	$db, q{CREATE TABLE visit (id int PRIMARY KEY, img biometric.face_image);
	GRANT SELECT ON visit TO officer});

# Changes since a mark: "event id state, ...", ids from the rows' keys; waits until they are durable.
sub changes
{
	my ($database, $mark) = @_;
	poll_until(sub { $node->sql($database, 'SELECT pending FROM biometric.ledger_status()') eq '0' });
	return $node->sql($database, <<"END");
SELECT coalesce(string_agg(concat_ws(' ', event, row_key ->> 'id', state), ', ' ORDER BY seq), '')
FROM biometric.change WHERE seq >= $mark
END
}

sub image { my ($number, $size) = @_; return "numbered_jpeg($number, " . ($size // 400) . ')::biometric.face_image'; }

subtest 'a prepared transaction is on record before it is committed' => sub {
	my $mark = $node->mark($db);
	$node->sql($db, 'BEGIN; INSERT INTO visit VALUES (1, ' . image(1) . "); PREPARE TRANSACTION 'one'");
	is(changes($db, $mark), 'stored 1 in progress', 'as being in progress');
	is( $node->sql(
			$db, "SELECT command FROM biometric.change WHERE seq >= $mark AND event = 'stored'"),
		'PREPARE TRANSACTION', 'with its command');
	$node->restart;
	$node->sql($db, "COMMIT PREPARED 'one'");
	is(changes($db, $mark), 'stored 1 committed', 'and as committed once it is, after a restart');

	$mark = $node->mark($db);
	$node->sql($db, 'BEGIN; DELETE FROM visit WHERE id = 1; SAVEPOINT a; INSERT INTO visit VALUES (2, '
		  . image(2) . "); ROLLBACK TO a; PREPARE TRANSACTION 'two'");
	$node->sql($db, "ROLLBACK PREPARED 'two'");
	like(changes($db, $mark), qr/^erased 1 aborted/, 'one that is rolled back is aborted');
	ok( poll_until(
			sub {
				$node->sql($db,
					"SELECT count(*) FROM biometric.ledger WHERE seq >= $mark AND event = 'aborted'");
			}),
		'and an entry says so');
};

subtest 'what was acknowledged before a crash is on record after it' => sub {
	my $mark = $node->mark($db);
	my @writers = map { $node->connect_from('local', $db, $node->superuser) } 1 .. 3;
	my $id = 100;
	foreach my $round (1 .. 10)
	{
		foreach my $writer (@writers)
		{
			is($writer->query("INSERT INTO visit VALUES ($id, " . image($id) . ')')->error,
				undef, "row $id is acknowledged");
			$id++;
		}
	}
	$_->send_query('INSERT INTO visit VALUES (' . $id++ . ', ' . image(1) . ')') foreach @writers;
	$node->crash;
	$node->start;
	$node->sql($db, 'SELECT 1');
	is( $node->sql(
			$db, <<"END"), 0, 'no row is without its entry');
SELECT count(*) FROM visit AS v WHERE id >= 100 AND NOT EXISTS (
	SELECT FROM biometric.change AS c WHERE c.seq >= $mark AND c.event = 'stored'
	AND c.image_id = biometric.image_id(v.img) AND (c.row_key ->> 'id')::int = v.id)
END
	cmp_ok($node->sql($db, 'SELECT count(*) FROM visit WHERE id >= 100'), '>=', 30, 'no row is lost');
	is( $node->sql(
			$db, <<"END"), 0, 'no entry passes for a commit that was not');
SELECT count(*) FROM biometric.change AS c WHERE c.seq >= $mark AND c.event = 'stored'
	AND c.state = 'committed'
	AND NOT EXISTS (SELECT FROM visit AS v WHERE v.id = (c.row_key ->> 'id')::int)
END
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'a change that the ledger does not take is not committed' => sub {
	my $mark = $node->mark($db);
	$node->set('biometric_audit.ledger_timeout', '500ms');
	my $writer = $node->connect_from('local', $db, $node->superuser);
	my $worker = $node->worker($db);
	$node->halt($worker);
	$writer->query('BEGIN; INSERT INTO visit VALUES (200, ' . image(200) . ')');
	my $commit = $writer->query('COMMIT');
	is($commit->sqlstate, '55000', 'COMMIT fails');
	my $after = $writer->query('SELECT count(*) FROM visit WHERE id = 200');
	is($after->value, 0, 'the row is not there, the session is');
	kill 'CONT', $worker;
	$node->set('biometric_audit.ledger_timeout', undef);
	is($writer->query('INSERT INTO visit VALUES (201, ' . image(201) . ')')->error, undef, 'it goes on');
	like(changes($db, $mark), qr/stored 201 committed/, 'and is on record');
	unlike(changes($db, $mark), qr/stored 200 committed/, 'what failed is not taken for committed');
};

subtest 'the first rows of a new table hold nobody up' => sub {
	$node->sql($db, "CREATE TABLE fresh_$_ (id int PRIMARY KEY, img biometric.face_image)") foreach qw(a b);
	my ($one, $two) = map { $node->connect_from('local', $db, $node->superuser) } 1 .. 2;
	$_->query("SET lock_timeout = '${PostgreSQL::Test::Utils::timeout_default}s'") foreach ($one, $two);
	my $insert = sub {
		my ($writer, $table, $id) = @_;
		return $writer->query("INSERT INTO fresh_$table VALUES ($id, " . image($id) . ')')->message;
	};
	$_->query('BEGIN') foreach ($one, $two);
	is($insert->($one, 'a', 1), undef, 'one writes to a');
	is($insert->($two, 'b', 1), undef, 'two to b');
	is($insert->($two, 'a', 2), undef, 'two to a, without waiting');
	is($insert->($one, 'b', 2), undef, 'one to b, without a deadlock');
	is($one->query("PREPARE TRANSACTION 'fresh'")->message, undef, 'one prepares');
	is($two->query('COMMIT')->message, undef, 'two commits');
	is($insert->($two, 'a', 3), undef, 'and goes on, whatever becomes of one');
	$two->query("COMMIT PREPARED 'fresh'");
	is($node->sql($db, 'SELECT count(*) FROM fresh_a'), 3, 'all of it is there');
	$_->close foreach ($one, $two);
};

subtest 'a temporary table of another session is dropped without a look into it' => sub {
	my $owner = $node->connect_from('local', $db, $node->superuser);
	$owner->query('CREATE TEMP TABLE loose (id int PRIMARY KEY, img biometric.face_image)');
	$owner->query('INSERT INTO loose VALUES (1, ' . image(1) . ')');
	my $mark = $node->mark($db);
	my $name = $owner->query(q{SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'loose'::regclass})->value;
	my $dropper = $node->connect_from('local', $db, $node->superuser);
	is($dropper->query("DROP TABLE $name.loose")->message, undef, 'by a superuser');
	$_->close foreach ($owner, $dropper);
	like(changes($db, $mark), qr/^dropped committed/, 'it is on record');
	is( $node->sql($db, "SELECT detail ->> 'images' IS NULL FROM biometric.change WHERE seq >= $mark AND event = 'dropped'"),
		't', 'but not how many images there were');
};

# Private memory of a process in kB.
sub anonymous
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/status" or return undef;
	while (my $line = <$file>)
	{
		return $1 if $line =~ /^RssAnon:\s+(\d+) kB/;
	}
	return undef;
}

subtest '100,000 rows in one transaction take bounded memory' => sub {
	plan skip_all => 'no RssAnon in /proc' unless defined anonymous($$);
	$node->sql(
		$db, q{CREATE TABLE bulk (id int PRIMARY KEY, img biometric.face_image);
		CREATE TABLE one AS SELECT numbered_jpeg(1, 300) AS bytes});
	my $mark = $node->mark($db);
	my $writer = $node->connect_from('local', $db, $node->superuser);
	my $insert = sub {
		my ($from, $to) = @_;
		my $result = $writer->query(
			"INSERT INTO bulk SELECT i, bytes::biometric.face_image FROM one, generate_series($from, $to) AS i"
		);
		is($result->message, undef, "rows $from to $to");
	};
	$insert->(1, 1000);
	my $before = anonymous($writer->pid);
	$writer->query('BEGIN');
	$insert->(10000 * $_ + 1001, 10000 * $_ + 11000) foreach 0 .. 8;
	$insert->(91001, 101000);
	my $during = anonymous($writer->pid);
	is($writer->query('COMMIT')->message, undef, 'COMMIT');
	my $after = anonymous($writer->pid);
	note "before $before kB, in the transaction $during kB, after it $after kB";
	cmp_ok($during - $before, '<', 6 * MB, 'in the transaction');
	cmp_ok($after - $before, '<', 6 * MB, 'and when it was written to the ledger');
	$writer->close;
	poll_until(sub { $node->sql($db, 'SELECT pending FROM biometric.ledger_status()') eq '0' });
	is( $node->sql(
			$db, <<"END"), 101000, 'each row has its entry');
SELECT count(DISTINCT image_id) FROM biometric.ledger WHERE seq >= $mark AND event = 'stored'
END
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'a transaction that creates the extension and stores images writes both' => sub {
	$node->sql('postgres', 'CREATE DATABASE migrated');
	my $wire = $node->connect_from('local', 'migrated', $node->superuser);
	my $jpeg = unpack 'H*', numbered_jpeg(1, 300);
	foreach my $statement (
		'BEGIN',
		'CREATE EXTENSION biometric_audit',
		'CREATE TABLE t (id int PRIMARY KEY, img biometric.face_image)',
		"INSERT INTO t VALUES (1, '\\x$jpeg'), (2, '\\x$jpeg')",
		'DELETE FROM t WHERE id = 2',
		'COMMIT')
	{
		is($wire->query($statement)->message, undef, substr($statement, 0, 30));
	}
	$wire->query("INSERT INTO t VALUES (3, '\\x$jpeg')");
	$wire->close;
	is( changes('migrated', 0),
		'stored 1 committed, stored 2 committed, erased 2 committed, stored 3 committed',
		'all of it is on record');
	ok($node->verifies('migrated'), 'the ledger verifies');
};

# Whether an image in a table of the officer's own comes out open.
sub opens
{
	my ($relation, $id) = @_;
	my $officer = $node->connect_from(OFFICE, $db, 'officer', 'border_control');
	my $result = $officer->query("SELECT img FROM $relation WHERE id = $id");
	return $result->sqlstate if $result->error;
	return is_sealed($result->value) ? 'sealed' : opened($result->value) eq numbered_jpeg($id, 400) ? 'open' : '?';
}

subtest 'sealed text does not open for who may not read where it comes from' => sub {
	$node->sql(
		$db, 'CREATE TABLE secret (id int PRIMARY KEY, img biometric.face_image); INSERT INTO secret SELECT i, numbered_jpeg(i, 400)::biometric.face_image FROM generate_series(1, 3) AS i;
		CREATE TABLE loot AS SELECT id, img::text AS sealed FROM secret; GRANT SELECT ON loot TO officer;
		INSERT INTO visit SELECT 900 + id, img FROM secret WHERE false');
	$node->run('officer', $db,
		'CREATE TABLE own (id int PRIMARY KEY, img biometric.face_image); INSERT INTO own SELECT id, sealed::biometric.face_image FROM loot');
	is(opens('own', 1), 'sealed', 'in a table of his own it stays sealed');
	is(opens('(SELECT id, sealed::biometric.face_image AS img FROM loot) AS s', 1),
		'sealed', 'cast back, too');
	is( opens(
			"(SELECT id, sealed::biometric.face_image AS img, 'public.visit'::regclass::oid FROM loot) AS s",
			1),
		'sealed',
		'the OID of a readable table beside it does not help');
	$node->sql($db, 'GRANT SELECT (id) ON secret TO officer');
	is(opens('own', 1), 'sealed', 'nor does SELECT on another column');
	$node->sql($db, 'GRANT SELECT (img) ON secret TO officer');
	is(opens('own', 1), 'open', 'SELECT on its column does');
	$node->sql($db,
		'ALTER TABLE secret ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON secret TO officer USING (true)');
	is(opens('own', 1), 'sealed', 'until row-level security is enabled there');
	$node->sql($db, 'ALTER TABLE secret DISABLE ROW LEVEL SECURITY');
	$node->run('officer', $db,
		'INSERT INTO own SELECT id + 10, sealed::biometric.face_image FROM loot WHERE id = 2; UPDATE own SET id = id + 20 WHERE id = 12'
	);
	$node->sql($db, 'REVOKE SELECT ON secret FROM officer; REVOKE SELECT (id, img) ON secret FROM officer');
	is(opens('own', 1), 'sealed', 'or the privilege is revoked');
};

subtest 'logical replication binds and records what it applies' => sub {
	$node->sql('postgres', 'CREATE DATABASE branch');
	$node->prepare('branch');
	my $table = 'CREATE TABLE visit_log (id int PRIMARY KEY, note text, img biometric.face_image)';
	$node->sql($_, $table) foreach ($db, 'branch');
	$node->sql($db, 'CREATE PUBLICATION p FOR TABLE visit_log');
	$node->sql($db, "SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
	my $mark = $node->mark('branch');
	my $publisher = $node->connstr($db) =~ s/'/''/gr;
	$node->sql('branch',
		"CREATE SUBSCRIPTION s CONNECTION '$publisher' PUBLICATION p WITH (create_slot = false, slot_name = 's', copy_data = false)");
	$node->sql($db, 'INSERT INTO visit_log VALUES (1, NULL, ' . image(1) . '), (2, NULL, ' . image(2, 9000) . ')');
	$node->sql($db, q{UPDATE visit_log SET note = 'n'; UPDATE visit_log SET img = } . image(3) . ' WHERE id = 1');
	$node->sql($db, 'DELETE FROM visit_log WHERE id = 2');
	ok( poll_until(sub { $node->sql('branch', 'SELECT count(*) FROM visit_log WHERE note IS NOT NULL') eq '1' }),
		'the branch has the rows');
	is( changes('branch', $mark),
		'stored 1 committed, stored 2 committed, replaced 1 committed, erased 2 committed',
		'each change is on record there');
	is( $node->sql(
			'branch', <<'END'), 1, 'its image is bound to the branch, not imported: a superuser subscribed');
SELECT count(*) FROM visit_log AS v JOIN biometric.home AS h ON h.relation = 'visit_log'::regclass
WHERE substr(v.img::bytea, 137, 16) = uuid_send(h.home) AND get_byte(v.img::bytea, 208) = 0
END
	$node->sql('branch', 'DROP SUBSCRIPTION s');
};

$node->stop;
done_testing();
