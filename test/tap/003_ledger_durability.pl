# Whatever goes wrong while pictures are being released - errors, cancels,
# broken connections, a stopped or dead worker, a crash -, every picture that a
# client received is in the ledger, and without a ledger nothing is released.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg fingerprint);

use constant OFFICE => '127.0.0.2';
use constant BINARY => 1;
use constant ROWS => 5000;

my $db = 'postgres';
my $rows = ROWS;

# A server with enough pictures that no socket buffer holds them all.
sub enrolled_node
{
	my ($name, %options) = @_;
	my $count = delete $options{rows} // $rows;
	my $node = BiometricAudit::Node->create($name, %options);
	$node->prepare($db);
	$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
	$node->sql($db, <<"END");
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
GRANT SELECT ON traveller TO officer;
INSERT INTO traveller
	SELECT n, numbered_jpeg(n, 4000)::biometric.face_image FROM generate_series(1, $count) AS n;
ANALYZE traveller;
END
	return $node;
}

my $node = enrolled_node('agency', conf => "restart_after_crash = on\n");

sub image_ids
{
	my ($from) = @_;
	return
	  map { $_->{id} => $_->{image_id} }
	  $from->records($db, 'SELECT id, biometric.image_id(img) FROM traveller');
}
my %id_of = image_ids($node);

sub officer
{
	my (%options) = @_;
	my $from = delete $options{node} // $node;
	return $from->connect_from(OFFICE, $db, 'officer', 'border_control', %options);
}

# A session whose client soon makes the server wait, as it takes little at a time.
sub slow_officer { return officer(receive_buffer => 4096, @_); }

# Waits until the server waits for this client to read.
sub wait_until_stuck
{
	my ($wire) = @_;
	my $pid = $wire->pid;
	my $from = $wire->{node} // $node;
	return poll_until(
		sub {
			$from->sql($db,
				"SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND wait_event = 'ClientWrite'"
			);
		});
}

# Every row (number, picture) was enrolled so and is in the ledger since mark.
sub all_recorded
{
	my ($mark, $name, @rows) = @_;
	my %released = $node->released($db, $mark);
	my @missing = grep { !$released{ $id_of{ $_->[0] } } } @rows;
	my @wrong =
	  grep { fingerprint($_->[1]) ne fingerprint(numbered_jpeg($_->[0], 4000)) } @rows;
	is(scalar @wrong, 0, "$name: every picture is what was enrolled");
	return is(scalar @missing, 0, "$name: each of the " . @rows . ' received is in the ledger');
}

sub usable
{
	my ($wire) = @_;
	my $mark = $node->mark($db);
	$wire->query('ROLLBACK') if $wire->status ne 'I';
	my @rows =
	  $wire->extended('SELECT id, img FROM traveller WHERE id = 11', results => [ 0, BINARY ])
	  ->rows;
	is(scalar @rows, 1, 'the session goes on');
	return all_recorded($mark, 'afterwards', @rows);
}

my $all = 'SELECT id, img FROM traveller ORDER BY id';

subtest 'what was released stays in the ledger after ROLLBACK' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	$wire->query('BEGIN');
	my @rows = $wire->extended("$all LIMIT 100", results => [ 0, BINARY ])->rows;
	$wire->query('SAVEPOINT s');
	push @rows, $wire->extended("$all LIMIT 50 OFFSET 100", results => [ 0, BINARY ])->rows;
	$wire->query('ROLLBACK TO s');
	$wire->query('ROLLBACK');
	is(scalar @rows, 150, 'all rows');
	all_recorded($mark, 'rolled back', @rows);
	usable($wire);
};

subtest 'pictures are released and recorded in READ ONLY transactions' => sub {
	foreach my $begin (
		'BEGIN READ ONLY',
		'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE',
		'SET default_transaction_read_only = on; BEGIN ISOLATION LEVEL REPEATABLE READ')
	{
		my $wire = officer();
		my $mark = $node->mark($db);
		$wire->query($begin);
		my @rows = $wire->extended("$all LIMIT 40", results => [ 0, BINARY ])->rows;
		$wire->query('COMMIT');
		is(scalar @rows, 40, $begin);
		all_recorded($mark, $begin, @rows);
	}
};

subtest 'a read takes no transaction id' => sub {
	my $wire = officer();
	$wire->query('BEGIN');
	$wire->query("$all LIMIT 10");
	is($wire->query('SELECT pg_current_xact_id_if_assigned()')->value, undef, 'none assigned');
	$wire->query('COMMIT');
};

subtest 'a read that fails on its last row leaves all that it delivered in the ledger' => sub {
	foreach my $max_rows (0, 100, 4999)
	{
		my $wire = officer();
		my $mark = $node->mark($db);
		my $result = $wire->extended(
			"SELECT id, img, 1 / (id - $rows) FROM traveller ORDER BY id",
			results => [ 0, BINARY, 0 ],
			max_rows => $max_rows);
		is($result->sqlstate, '22012', 'division by zero');
		cmp_ok($result->row_count, '>', 0, 'some rows arrived');
		cmp_ok($result->row_count, '<', $rows, 'but not all');
		all_recorded($mark, "rows limited to $max_rows", $result->rows);
		usable($wire);
	}
	my $wire = officer();
	my $mark = $node->mark($db);
	my $result = $wire->query("SELECT id, img, 1 / (id - $rows) FROM traveller ORDER BY id");
	is($result->sqlstate, '22012', 'in the simple protocol');
	all_recorded($mark, 'simple', map { [ $_->[0], opened($_->[1]) ] } $result->rows);
	usable($wire);
};

subtest 'a suspended portal that is rolled back leaves its pictures in the ledger' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	$wire->query('BEGIN');
	$wire->send_parse('', $all);
	$wire->send_bind('c', '', results => [ 0, BINARY ]);
	$wire->send_execute('c', 33);
	$wire->send_flush;
	my @rows = $wire->collect(until => 's')->rows;
	$wire->send_execute('c', 2);
	$wire->send_flush;
	push @rows, $wire->collect(until => 's')->rows;
	$wire->send_sync;
	$wire->drain;
	$wire->query('ROLLBACK');
	is(scalar @rows, 35, 'rows of two turns');
	all_recorded($mark, 'rolled back', @rows);
	usable($wire);
};

subtest 'a cancel in mid-release leaves every picture that arrived in the ledger' => sub {
	my $wire = slow_officer();
	my $mark = $node->mark($db);
	$wire->send_parse('', $all);
	$wire->send_bind('', '', results => [ 0, BINARY ]);
	$wire->send_execute('');
	$wire->send_sync;
	my $result = $wire->collect(rows => 50);
	ok(wait_until_stuck($wire), 'the server waits for the client');
	$wire->cancel;
	$result->add($wire->drain);
	is($result->sqlstate, '57014', 'cancelled');
	cmp_ok($result->row_count, '<', $rows, 'in the middle');
	all_recorded($mark, 'cancelled', $result->rows);
	usable($wire);
};

subtest 'a client that vanishes in mid-release leaves what it received in the ledger' => sub {
	foreach my $goodbye (qw(drop close))
	{
		my $wire = slow_officer();
		my $pid = $wire->pid;
		my $mark = $node->mark($db);
		$wire->send_query($all);
		my @rows = map { [ $_->[0], opened($_->[1]) ] } $wire->collect(rows => 50)->rows;
		ok(wait_until_stuck($wire), 'the server waits for the client');
		$wire->$goodbye;
		ok(poll_until(sub { !BiometricAudit::Node::process_alive($pid) }), 'the backend ends');
		all_recorded($mark, $goodbye, @rows);
	}
	usable(officer());
};

subtest 'a terminated backend leaves what it sent in the ledger' => sub {
	my $wire = slow_officer();
	my $mark = $node->mark($db);
	$wire->send_query($all);
	my $result = $wire->collect(rows => 50);
	ok(wait_until_stuck($wire), 'the server waits for the client');
	$node->sql($db, 'SELECT pg_terminate_backend(' . $wire->pid . ')');
	$result->add($wire->drain);
	ok($result->eof, 'the connection ends');
	cmp_ok($result->row_count, '<', $rows, 'in the middle');
	all_recorded($mark, 'terminated', map { [ $_->[0], opened($_->[1]) ] } $result->rows);
	usable(officer());
};

subtest 'statement_timeout in mid-release leaves what was sent in the ledger' => sub {
	my $wire = slow_officer();
	my $pid = $wire->pid;
	$wire->query("SET statement_timeout = '300ms'");
	my $mark = $node->mark($db);
	$wire->send_query($all);
	# The statement cannot end before its time is over, as nobody reads.
	poll_until(
		sub {
			$node->sql($db, <<"END") eq 't';
SELECT state <> 'active' OR clock_timestamp() - query_start > '500 ms'
FROM pg_stat_activity WHERE pid = $pid
END
		});
	my $result = $wire->drain;
	is($result->sqlstate, '57014', 'timed out');
	all_recorded($mark, 'timed out', map { [ $_->[0], opened($_->[1]) ] } $result->rows);
	$wire->query('SET statement_timeout = 0');
	usable($wire);
};

$node->set('biometric_audit.ledger_timeout', '1s');

subtest 'while the worker is stopped nothing is released, and then it all goes on' => sub {
	my $wire = officer();
	my $paused = officer();
	$paused->query('BEGIN');
	$paused->send_parse('', $all);
	$paused->send_bind('c', '', results => [ 0, BINARY ]);
	$paused->send_execute('c', 20);
	$paused->send_flush;
	is($paused->collect(until => 's')->row_count, 20, 'a portal is suspended');
	my $worker = $node->worker($db);
	$node->halt($worker);

	foreach my $options ([], [ results => [ 0, BINARY ] ], [ max_rows => 3 ])
	{
		my $result = $wire->extended("$all LIMIT 100", @$options);
		is($result->sqlstate, '55000', 'an error');
		is($result->row_count, 0, 'no row');
		ok(defined $result->hint, 'a hint: ' . ($result->hint // ''));
	}
	my $result = $wire->query('SELECT img::bytea FROM traveller');
	is($result->sqlstate, '55000', 'image::bytea, too');
	is($result->row_count, 0, 'gives no row');
	$paused->send_execute('c', 20);
	$paused->send_sync;
	$result = $paused->drain;
	is($result->sqlstate, '55000', 'the suspended portal ends with an error');
	is($result->row_count, 0, 'and without a row');
	is($wire->query('SELECT 1')->value, 1, 'other statements work');
	$result = $node->connect_from('127.0.0.3', $db, 'officer', 'border_control')->query($all);
	is($result->sqlstate, '42501', 'a refusal stays a refusal');
	kill 'CONT', $worker;
	$node->set('biometric_audit.ledger_timeout', undef);
	usable($wire);
	usable($paused);
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'a client that waits for a stopped worker can be cancelled' => sub {
	$node->set('biometric_audit.ledger_timeout', '100s');
	my $wire = officer();
	my $worker = $node->worker($db);
	$node->halt($worker);
	$wire->send_query("$all LIMIT 100");
	my $pid = $wire->pid;
	poll_until(
		sub {
			$node->sql($db, <<"END");
SELECT count(*) FROM pg_stat_activity
WHERE pid = $pid AND state = 'active' AND wait_event IS NOT NULL AND wait_event_type <> 'Client'
END
		});
	$wire->cancel;
	my $result = $wire->drain;
	is($result->sqlstate, '57014', 'cancelled');
	is($result->row_count, 0, 'no row');
	kill 'CONT', $worker;
	usable($wire);
	$node->set('biometric_audit.ledger_timeout', undef);
};

subtest 'a worker that is terminated is replaced, and nothing is lost or repeated' => sub {
	my $wire = officer();
	foreach my $round (1 .. 3)
	{
		my $worker = $node->worker($db);
		my $mark = $node->mark($db);
		$node->sql($db, "SELECT pg_terminate_backend($worker)");
		my @rows = $wire->extended("$all LIMIT 500", results => [ 0, BINARY ])->rows;
		is(scalar @rows, 500, "round $round: released");
		all_recorded($mark, "round $round", @rows);
		ok($node->worker($db, $worker), 'another worker follows');
	}
	my $wire2 = slow_officer();
	my $mark = $node->mark($db);
	$wire2->send_query($all);
	my $result = $wire2->collect(rows => 50);
	wait_until_stuck($wire2);
	$node->sql($db, 'SELECT pg_terminate_backend(' . $node->worker($db) . ')');
	$result->add($wire2->drain);
	is($result->error, undef, 'in mid-release, without an error');
	is($result->row_count, $rows, 'all rows');
	all_recorded($mark, 'in mid-release', map { [ $_->[0], opened($_->[1]) ] } $result->rows);
	ok($node->verifies($db), 'the ledger verifies');
};

# Several sessions read at different speeds; then something kills the server.
sub reads_until
{
	my ($round, $kill) = @_;
	my $mark = $node->mark($db);
	my @sessions = map { slow_officer() } 1 .. 4;
	my @rows;
	foreach my $n (0 .. 3)
	{
		$sessions[$n]->send_query($all . ($n % 2 ? ' DESC' : ''));
	}
	foreach my $n (0 .. 3)
	{
		push @rows, $sessions[$n]->collect(rows => 100 + ($round * 531 + $n * 977) % 3000)->rows;
	}
	$kill->();
	push @rows, $_->drain->rows foreach @sessions;
	return ($mark, map { [ $_->[0], opened($_->[1]) ] } @rows);
}

subtest 'kill -9 of everything in mid-release loses no entry of a picture that arrived' => sub {
	foreach my $round (1 .. 4)
	{
		my ($mark, @rows) = reads_until($round, sub { $node->crash });
		$node->start;
		all_recorded($mark, "round $round", @rows);
		ok($node->verifies($db), "round $round: the ledger verifies");
		usable(officer());
	}
};

subtest 'an immediate shutdown in mid-release loses no entry' => sub {
	my ($mark, @rows) = reads_until(2, sub { $node->stop('immediate') });
	$node->start;
	all_recorded($mark, 'shut down', @rows);
	ok($node->verifies($db), 'the ledger verifies');
	usable(officer());
};

subtest 'a fast shutdown in mid-release loses no entry' => sub {
	my ($mark, @rows) = reads_until(3, sub { $node->stop('fast') });
	$node->start;
	all_recorded($mark, 'shut down', @rows);
	ok($node->verifies($db), 'the ledger verifies');
	usable(officer());
};

foreach my $victim (qw(worker backend))
{
	subtest "kill -9 of a $victim loses no entry, and the server comes back" => sub {
		my ($mark, @rows) = reads_until(
			1,
			sub {
				my $idle = officer();
				ok($node->kill_one(sub { return $victim eq 'worker' ? $node->worker($db) : $idle->pid; }),
					'the server comes back');
			});
		all_recorded($mark, $victim, @rows);
		ok($node->verifies($db), 'the ledger verifies');
		usable(officer());
	};
}

subtest 'without a free slot for its worker the ledger releases nothing' => sub {
	$node->append_conf('postgresql.conf', "biometric_audit.ledger_timeout = '500ms'");
	foreach my $slots (1, 0)
	{
		$node->append_conf('postgresql.conf', "max_worker_processes = $slots");
		$node->restart;
		my $wire = officer();
		my $result = $wire->query($all);
		ok(defined $result->sqlstate && $result->sqlstate =~ /^(55000|42501)$/,
			'an error: ' . ($result->message // 'none'));
		is($result->row_count, 0, 'no row');
		is($wire->query('SELECT 1')->value, 1, 'other statements work');
	}
	$node->append_conf('postgresql.conf', "max_worker_processes = 8");
	$node->append_conf('postgresql.conf', "biometric_audit.ledger_timeout = '30s'");
	$node->restart;
	usable(officer());
};

$node->stop;

subtest 'with a full disk nothing is released, and with room again it all goes on' => sub {
	my $small = enrolled_node(
		'small',
		rows => 2000,
		initdb => ['--wal-segsize=1'],
		conf => "biometric_audit.release_batch_rows = 500\n"
		  . "biometric_audit.ring_size = '256kB'\n");
	my $wire = officer(node => $small);
	my $size = 0;
	my $entry = q{SELECT pg_relation_size('biometric.entry_00')};
	# The limit stands above the size of a WAL segment: only the ledger's table can reach it.
	while (($size = $small->sql($db, $entry)) <= 1_100_000)
	{
		my $result = $wire->query('SELECT img FROM traveller', on_row => sub { });
		last if $result->error;
	}
	cmp_ok($size, '>', 1_100_000, 'the ledger is larger than a WAL segment');
	my @pids = ($small->{_pid}, BiometricAudit::Node::children_of($small->{_pid}));
	my $limit = sub {
		my ($bytes) = @_;
		system_log('prlimit', '--pid', $_, "--fsize=$bytes:unlimited") foreach @pids;
	};
	$small->set('biometric_audit.ledger_timeout', '2s');
	$limit->($size);
	my ($received, $failed) = (0, undef);
	my $mark = $small->mark($db);
	for (1 .. 20)
	{
		my $result = $wire->query('SELECT img FROM traveller', on_row => sub { });
		$received += $result->row_count;
		$failed = $result;
		last if $result->error;
	}
	is($failed->sqlstate, '55000', 'an error: ' . ($failed->message // 'none'));
	@pids = ($small->{_pid}, BiometricAudit::Node::children_of($small->{_pid}));
	$limit->('unlimited');
	ok(poll_until(sub { !$wire->query('SELECT img FROM traveller LIMIT 1')->error }),
		'releases go on');
	my $entered = $small->sql($db, "SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark");
	cmp_ok($entered, '>=', $received, 'all that was received is in the ledger');
	ok($small->verifies($db), 'the ledger verifies');
	$small->stop;
};

subtest 'a standby releases nothing' => sub {
	my $primary = enrolled_node('primary', allows_streaming => 1, rows => 20);
	$primary->backup('b');
	my $standby = BiometricAudit::Node->new('standby');
	$standby->init_from_backup($primary, 'b', has_streaming => 1);
	$standby->start;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
	foreach my $sql ($all, 'SELECT img::bytea FROM traveller', 'COPY traveller TO STDOUT')
	{
		my $wire = $standby->connect_from(OFFICE, $db, 'officer', 'border_control');
		my $result = $wire->query($sql);
		is($result->sqlstate, '42501', "refused: $sql");
		like($result->detail . $result->hint, qr/standby|recovery/i, 'because it is a standby');
		is($result->row_count + $result->count('d'), 0, 'nothing is released');
		is($wire->query('SELECT count(*) FROM traveller')->value, 20, 'the session goes on');
	}
	is($primary->connect_from(OFFICE, $db, 'officer', 'border_control')->query($all)->row_count,
		20, 'the primary releases');
	$primary->stop('immediate');
	$standby->promote;
	my $promoted = $standby->connect_from(OFFICE, $db, 'officer', 'border_control');
	ok(poll_until(sub { $promoted->query($all)->row_count == 20 }),
		'and the standby, once promoted');
	ok($standby->verifies($db), 'whose ledger verifies');
};

done_testing();
