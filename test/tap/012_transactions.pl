# A change of an image is in the ledger before its transaction commits, says
# afterwards what became of it, and never what was not about to be committed:
# whichever way the transaction ends, and whatever dies meanwhile.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant OFFICE => '127.0.0.2';

my $db = 'postgres';
my $node = BiometricAudit::Node->create(
	'agency',
	allows_streaming => 1,
	conf => "max_prepared_transactions = 10\n");
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
$node->sql($db, <<'END');
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image, twin int);
CREATE TABLE seat (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
GRANT SELECT ON traveller TO officer;
END

# A session of the superuser's own.
sub session { return $node->connect_from('local', $db, $node->superuser); }

sub enrol
{
	return
	  "INSERT INTO traveller (id, img) SELECT $_[0], numbered_jpeg($_[0], 500)::biometric.face_image";
}

# The changes since a mark: event, number of the row, state of the transaction.
sub changes
{
	my ($mark) = @_;
	return $node->sql($db, <<"END");
SELECT coalesce(string_agg(concat_ws(' ', event, row_key ->> 'id', state), ', ' ORDER BY seq), '')
FROM biometric.change WHERE seq >= $mark
END
}

# Waits until the changes since a mark are as they should be.
sub changes_become
{
	my ($mark, $expected, $name) = @_;
	poll_until(sub { changes($mark) eq $expected });
	return is(changes($mark), $expected, $name);
}

sub kept
{
	return $node->sql($db, "SELECT count(*) FROM traveller WHERE id = $_[0]");
}

subtest 'a committed change is one entry that says so' => sub {
	my $mark = $node->mark($db);
	my $transaction = $node->sql($db, enrol(1) . ' RETURNING pg_current_xact_id()');
	is(changes($mark), 'stored 1 committed', 'stored');
	my ($entry) = $node->records($db, "SELECT * FROM biometric.change WHERE seq >= $mark");
	is($entry->{transaction}, $transaction, 'by this transaction');
	is($entry->{operation}, 'insert', 'by an INSERT');
	is($entry->{relation}, 'public.traveller', 'into this table');
	is($entry->{relation_oid}, $node->sql($db, q{SELECT 'traveller'::regclass::oid}), 'by its OID');
	is($entry->{column_name}, 'img', 'in this column');
	is($entry->{command}, 'COMMIT', 'at its COMMIT');
	is( $entry->{image_id},
		$node->sql($db, 'SELECT biometric.image_id(img) FROM traveller'),
		'of this image');
};

subtest 'a rolled back change leaves nothing' => sub {
	my $mark = $node->mark($db);
	my $wire = session();
	$wire->query('BEGIN; ' . enrol(90) . '; ROLLBACK');
	is($wire->query('BEGIN; ' . enrol(90) . '; SELECT 1/0; COMMIT')->sqlstate, '22012', 'an error');
	$wire->query('ROLLBACK');
	is($node->mark($db), $mark, 'no entry');
};

subtest 'of a transaction with savepoints the ledger has what was committed, and its own id' =>
  sub {
	my $mark = $node->mark($db);
	my $wire = session();
	$wire->query('BEGIN');
	my $transaction = $wire->query('SELECT pg_current_xact_id()')->value;
	$wire->query(enrol(2));
	$wire->query('SAVEPOINT a');
	$wire->query(enrol(91));
	$wire->query('ROLLBACK TO a');
	$wire->query('SAVEPOINT b');
	$wire->query(enrol(3));
	$wire->query('SAVEPOINT c');
	$wire->query(enrol(4));
	$wire->query('RELEASE b');
	is($wire->query('COMMIT')->error, undef, 'committed');
	is(changes($mark), 'stored 2 committed, stored 3 committed, stored 4 committed', 'three rows');
	is( $node->sql(
			$db,
			"SELECT count(DISTINCT transaction) || ' ' || min(transaction::text)
		FROM biometric.change WHERE seq >= $mark"
		),
		"1 $transaction",
		'of one transaction');
  };

subtest 'a commit that fails before it begins to commit leaves no entry' => sub {
	my $mark = $node->mark($db);
	my $wire = session();
	$wire->query('BEGIN; ' . enrol(92) . '; INSERT INTO seat VALUES (1), (1)');
	is($wire->query('COMMIT')->sqlstate, '23505', 'a deferred constraint');
	is($node->mark($db), $mark, 'no entry');
	is(kept(92), 0, 'no row');
};

subtest 'a commit that fails while it commits leaves an entry that says so' => sub {
	my $mark = $node->mark($db);
	my ($first, $second) = (session(), session());
	foreach my $wire ($first, $second)
	{
		$wire->query('BEGIN ISOLATION LEVEL SERIALIZABLE');
		$wire->query('SELECT sum(twin) FROM traveller');
	}
	$first->query(enrol(5));
	$second->query(enrol(93));
	is($first->query('COMMIT')->error, undef, 'one commits');
	is($second->query('COMMIT')->sqlstate, '40001', 'the other cannot be serialized');
	is(kept(93), 0, 'no row');
	changes_become(
		$mark,
		'stored 5 committed, stored 93 aborted, aborted aborted',
		'stored, and then aborted');
	is( $node->sql(
			$db,
			"SELECT count(DISTINCT transaction) || ' ' || max(detail ->> 'entries')
		FROM biometric.change WHERE seq >= $mark AND state = 'aborted'"
		),
		'1 1',
		'by the same transaction, of one entry');
};

# Prepares the enrolment of a row.
sub prepared
{
	my ($id) = @_;
	my $result = session()->query('BEGIN; ' . enrol($id) . "; PREPARE TRANSACTION 'p$id'");
	is($result->error, undef, 'prepared');
	return;
}

subtest 'a prepared transaction is in progress until it ends' => sub {
	my $mark = $node->mark($db);
	prepared(6);
	prepared(94);
	is(changes($mark), 'stored 6 in progress, stored 94 in progress', 'in progress');
	is( $node->sql(
			$db, "SELECT string_agg(DISTINCT command, ',') FROM biometric.change
		WHERE seq >= $mark"
		),
		'PREPARE TRANSACTION',
		'entered when it was prepared');
	$node->sql($db, "COMMIT PREPARED 'p6'");
	is(changes($mark), 'stored 6 committed, stored 94 in progress', 'one is committed');
	$node->sql($db, "ROLLBACK PREPARED 'p94'");
	changes_become(
		$mark,
		'stored 6 committed, stored 94 aborted, aborted aborted',
		'the other rolled back');
};

subtest 'prepared transactions are followed across restarts and crashes' => sub {
	my $mark = $node->mark($db);
	prepared(7);
	prepared(95);
	prepared(96);
	my $open = 'stored 7 in progress, stored 95 in progress, stored 96 in progress';
	is(changes($mark), $open, 'all are open');
	my $worker = $node->worker($db);
	$node->sql($db, "SELECT pg_terminate_backend($worker)");
	poll_until(sub { $node->worker($db) != $worker });
	$node->sql($db, enrol(8));
	$open .= ', stored 8 committed';
	is(changes($mark), $open, 'after a new worker, too');
	$node->restart;
	is(changes($mark), $open, 'after a restart, too');
	$node->sql($db, "ROLLBACK PREPARED 'p95'");
	$open =~ s/95 in progress/95 aborted/;
	$open .= ', aborted aborted';
	changes_become($mark, $open, 'one is rolled back');
	$node->crash;
	$node->start;
	changes_become($mark, $open, 'nothing else after a crash');
	$node->sql($db, "COMMIT PREPARED 'p7'");
	$node->sql($db, "ROLLBACK PREPARED 'p96'");
	$open =~ s/7 in progress/7 committed/;
	$open =~ s/96 in progress/96 aborted/;
	$open .= ', aborted aborted';
	changes_become($mark, $open, 'all have ended');
	$node->restart;
	$node->sql($db, enrol(9));
	is(changes($mark), "$open, stored 9 committed", 'and nothing is said twice');
	ok($node->verifies($db), 'the ledger verifies');
};

# Returns when nothing is pending.
sub durable
{
	return poll_until(
		sub { $node->sql($db, 'SELECT pending FROM biometric.ledger_status()') == 0 });
}

# A standby that never answers; undef: none is waited for.
sub await_standby
{
	my ($name) = @_;

	# The worker itself must not be caught by it with what came before.
	durable() if defined $name;
	$node->set('synchronous_standby_names', $name);

	# It is the checkpointer that tells everybody whether there is one to wait for.
	return $node->sql($db, 'CHECKPOINT');
}

sub waits_for
{
	my ($wire, $event) = @_;
	my $pid = $wire->pid;
	return poll_until(
		sub {
			$node->sql($db,
				"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND wait_event = '$event'");
		});
}

subtest 'a crash between the entry and the commit leaves an entry that says so' => sub {
	my $mark = $node->mark($db);
	await_standby('nobody');

	# Whoever notifies commits one after the other: the second cannot, behind its entries.
	my $first = session();
	$first->send_query('BEGIN; INSERT INTO seat VALUES (2); NOTIFY n; COMMIT');
	ok(waits_for($first, 'SyncRep'), 'a commit waits for the standby');
	my $second = session();
	$second->query('SET synchronous_commit = local');
	$second->send_query('BEGIN; ' . enrol(97) . '; NOTIFY n; COMMIT');
	ok(waits_for($second, 'object'), 'another waits behind it, in the midst of its commit');
	is(changes($mark), 'stored 97 in progress', 'its entry is there');
	ok( poll_until(
			sub {
				$node->sql(
					$db, q{SELECT wait_event FROM pg_stat_activity
					WHERE backend_type = 'biometric_audit ledger'}
				) eq 'SyncRep';
			}),
		'and was flushed');
	$node->crash;
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$node->start;
	is(kept(97), 0, 'no row');
	changes_become($mark, 'stored 97 aborted, aborted aborted', 'aborted');
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'an entry whose commit is in order, but not durable yet, survives its worker' => sub {
	my $mark = $node->mark($db);
	await_standby('nobody');
	my $wire = session();
	$wire->query('SET synchronous_commit = local');
	is($wire->query(enrol(10))->error, undef, 'committed, as a change waits for order only');
	cmp_ok($node->sql($db, 'SELECT pending FROM biometric.ledger_status()'),
		'>', 0, 'while no standby has answered');
	ok($node->verifies($db), 'what is not durable yet is no stranger to verification');
	my $worker = $node->worker($db);
	$node->sql($db, "SELECT pg_cancel_backend($worker)");
	$node->sql($db, "SELECT pg_terminate_backend($worker)");
	poll_until(sub { $node->worker($db) != $worker });
	is(changes($mark), 'stored 10 committed', 'the entry is there');
	cmp_ok($node->sql($db, 'SELECT pending FROM biometric.ledger_status()'),
		'>', 0, 'and neither a cancel nor the end of the worker made it durable');
	await_standby(undef);
	poll_until(
		sub {
			$node->sql($db, 'SELECT state FROM biometric.ledger_status()') eq 'ready';
		});
	ok(durable(), 'durable now');
	$node->sql($db, enrol(11));
	is(changes($mark), 'stored 10 committed, stored 11 committed', 'neither lost nor repeated');
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'while a standby does not answer nothing is released' => sub {
	my $wire = $node->connect_from(OFFICE, $db, 'officer', 'border_control');
	is( scalar $wire->query('SELECT img FROM traveller')->rows,
		$node->sql($db, 'SELECT count(*) FROM traveller'),
		'released while it is not waited for');
	$node->set('biometric_audit.ledger_timeout', '1s');
	await_standby('nobody');
	my $result = $wire->query('SELECT img FROM traveller');
	is($result->sqlstate, '55000', 'an error');
	is($result->row_count, 0, 'no row');
	await_standby(undef);
	$node->set('biometric_audit.ledger_timeout', undef);
	ok(durable(), 'what was to be released, and was not, is on record all the same');
	is($wire->query('SELECT id FROM traveller WHERE img IS NOT NULL LIMIT 1')->error,
		undef, 'the session goes on');
};

subtest 'a disclosure names the row that the image was stored in' => sub {
	my $mark = $node->mark($db);
	my $wire = $node->connect_from(OFFICE, $db, 'officer', 'border_control');
	my @rows = $wire->query('SELECT id, img FROM traveller WHERE id IN (1, 4) ORDER BY id')->rows;
	is(opened($rows[1][1]), numbered_jpeg(4, 500), 'released');
	is( $node->sql(
			$db, "SELECT string_agg(row_key ->> 'id', ',' ORDER BY seq)
		FROM biometric.disclosure WHERE seq >= $mark"
		),
		'1,4',
		'with the rows\' keys');
	is( $node->sql(
			$db, "SELECT string_agg(row_key ->> 'id', ',' ORDER BY seq)
		FROM biometric.ledger WHERE seq >= $mark"
		),
		'1,4',
		'in every view');
	$node->sql($db, 'UPDATE traveller SET id = 40 WHERE id = 4');
	$node->sql($db, 'DELETE FROM traveller WHERE id = 1');
	is( $node->sql(
			$db, "SELECT string_agg(row_key ->> 'id', ',' ORDER BY seq)
		FROM biometric.disclosure WHERE seq >= $mark"
		),
		'1,4',
		'as they were then');
};

subtest 'the index of images leads to every entry that stored, replaced or erased one' => sub {
	$node->sql(
		$db,
		"UPDATE traveller SET img = numbered_jpeg(70, 500)::biometric.face_image
		WHERE id = 2"
	);
	is($node->sql($db, <<'END'), 0, 'neither more nor less than the entries say');
WITH said AS (
	SELECT seq, image_id FROM biometric.change WHERE event IN ('stored', 'replaced', 'erased')
	UNION
	SELECT seq, old_image_id FROM biometric.change WHERE event = 'replaced'),
led AS (
	SELECT seq, image_id FROM ONLY biometric.image_entry
	WHERE log_id = (SELECT log_id FROM biometric.ledger_status()))
SELECT count(*) FROM said FULL JOIN led USING (seq, image_id)
WHERE said.seq IS NULL OR led.seq IS NULL
END
	cmp_ok($node->sql($db, 'SELECT count(*) FROM biometric.image_entry'),
		'>', 10, 'there are some');
	is($node->sql($db, 'SELECT count(*) FROM biometric.change WHERE old_image_id IS NOT NULL'),
		1, 'one was replaced');
};

$node->stop;
done_testing();
