# Cutting a party off: what is under way stops within one batch, nothing that was
# left open releases anything, connections end when that is asked for and do
# not come back, and reinstate() brings all of it back.

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);
use BiometricAudit::Wire;

use constant { OFFICE => '127.0.0.2', OTHER => '127.0.0.3', LOOPBACK => '127.0.0.1' };
use constant { ROWS => 200, BINARY => 1 };

my $db = 'postgres';
my $node = BiometricAudit::Node->create(
	'agency',
	allows_streaming => 1,
	conf => "wal_level = logical\nbiometric_audit.release_batch_rows = 1\n"
	  . "biometric_audit.release_batch_size = '8MB'\n");
my $super = $node->superuser;
$node->append_conf('pg_hba.conf',
	"host replication all 127.0.0.0/8 trust\nlocal replication all trust");
$node->settle;
$node->prepare($db);
my $all = '{face,plate,document,fingerprint,iris}';
$node->register($db, 'relay', OFFICE . '/32', $all, 'open');
$node->register($db, 'bureau', OTHER . '/32', $all, 'open');
$node->sql($db, 'CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image)');
$node->sql($db, 'INSERT INTO traveller SELECT n, numbered_jpeg(n, 40000)::biometric.face_image '
	  . 'FROM generate_series(1, ' . ROWS . ') AS n');
$node->sql($db, 'GRANT SELECT, UPDATE ON traveller TO officer');
my $read = 'SELECT id, img FROM traveller ORDER BY id';

sub officer
{
	my ($address, %options) = @_;
	return $node->connect_from($address // OFFICE, $db, 'officer', 'border_control', %options);
}

# quarantine(further arguments): the result of cutting the relay off.
sub quarantine
{
	my ($more) = @_;
	my $wire = $node->connect_from('local', $db, 'custodian');
	my $result =
	  $wire->query("SELECT biometric.quarantine('relay', 'a leak'" . ($more // '') . ')');
	$wire->close;
	return $result;
}

sub reinstate { return $node->policy($db, q{SELECT biometric.reinstate('relay', 'closed')}); }

# event_of(pid): what a backend waits for while it runs a statement.
sub event_of
{
	my ($pid) = @_;
	return $node->sql($db,
		"SELECT coalesce(wait_event_type || ' ' || wait_event, '') FROM pg_stat_activity "
		  . "WHERE pid = $pid AND state = 'active'") // '';
}

# replication(address, %params): a replication connection, which may have failed.
sub replication
{
	my ($address, %params) = @_;
	return BiometricAudit::Wire->connect(
		host => LOOPBACK,
		local => $address,
		port => $node->port,
		user => $super,
		database => $db,
		params => { replication => 'true', %params },
		fail_ok => 1);
}

# gone(wire): true when the server has ended the connection.
sub gone
{
	my ($wire) = @_;
	return poll_until(sub { !BiometricAudit::Node::process_alive($wire->pid) });
}

# ---------------------------------------------------------------- what is under way

subtest 'a client that has received some rows of a large read gets no batch after the quarantine' =>
  sub {
	my $wire = officer(OFFICE, receive_buffer => 4096);
	$wire->send_query($read);
	my $first = $wire->collect(rows => 5);
	is($first->row_count, 5, 'five rows');
	ok(poll_until(sub { event_of($wire->pid) eq 'Client ClientWrite' }),
		'the server waits for the client to read');
	my $result = quarantine();
	is($result->message, undef, 'quarantined');
	my $mark = $node->mark($db);
	my $rest = $wire->drain;
	is($rest->sqlstate, '42501', 'the statement is refused');
	like($rest->message . $rest->detail, qr/quarantine/, 'for the quarantine');
	cmp_ok($rest->row_count + 5, '<', ROWS, 'long before its end');
	my $late =
	  $node->sql($db, "SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark");
	is($late, 0, 'nothing was put on record as released any more');
	reinstate();
	is($wire->query($read)->row_count, ROWS, 'reinstate() gives it all');
  };

subtest 'none of 32 batches under way is sent after the quarantine has returned' => sub {
	my $wire = officer();
	my $worker = $node->worker($db);
	is($wire->query('SELECT 1')->value, 1, 'a session');
	my $mark = $node->mark($db);
	$node->halt($worker);
	$wire->send_query($read);
	ok(poll_until(sub { event_of($wire->pid) eq 'Extension Extension' }),
		'all batches are promised, and wait for the ledger');
	$node->halt($wire->pid);
	kill 'CONT', $worker;
	my $result = quarantine();
	is($result->message, undef, 'quarantined');
	is($node->sql($db, "SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark"),
		32, 'the ledger says that 32 were about to be released');
	kill 'CONT', $wire->pid;
	my $rest = $wire->drain;
	is($rest->sqlstate, '42501', 'refused');
	is($rest->row_count, 0, 'not one of them was sent');
	reinstate();
};

subtest 'what was left open releases nothing' => sub {
	my %open = (
		'FETCH' => [ "BEGIN; DECLARE c CURSOR FOR $read; FETCH 2 FROM c", 'FETCH 2 FROM c' ],
		'FETCH from a held cursor' =>
		  [ "BEGIN; DECLARE h CURSOR WITH HOLD FOR $read; COMMIT; FETCH 2 FROM h", 'FETCH 2 FROM h' ],
		'MOVE and FETCH' => [
			"BEGIN; DECLARE s SCROLL CURSOR FOR $read; FETCH 2 FROM s",
			'MOVE FIRST FROM s; FETCH 1 FROM s' ],
		'EXECUTE' => [
			"SET plan_cache_mode = force_generic_plan; PREPARE p AS $read; EXECUTE p", 'EXECUTE p' ],
		'an open transaction' =>
		  [ 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT img FROM traveller WHERE id = 1',
			'SELECT img FROM traveller WHERE id = 1' ],
		'RETURNING' => [
			'BEGIN; UPDATE traveller SET id = id WHERE id = 1 RETURNING id, img',
			'UPDATE traveller SET id = id WHERE id = 1 RETURNING id, img' ]);
	my %wire;
	foreach my $how (sort keys %open)
	{
		$wire{$how} = officer();
		my $result = $wire{$how}->query($open{$how}[0]);
		cmp_ok($result->row_count, '>', 0, "$how: rows before");
	}
	my $portal = officer();
	$portal->query('BEGIN');
	$portal->send_parse('s', $read);
	$portal->send_bind('a', 's', results => [ 0, BINARY ]);
	$portal->send_execute('a', 3);
	$portal->send_flush;
	is($portal->collect(until => 'sCE')->row_count, 3, 'a portal with a row limit: rows before');
	my $prepared = officer();
	$prepared->send_parse('s', 'SELECT id, img FROM traveller WHERE id = $1');
	my $execute = sub {
		$prepared->send_bind('', 's', params => [1], results => [ 0, BINARY ]);
		$prepared->send_execute('');
		$prepared->send_sync;
		return $prepared->drain;
	};
	is($execute->()->row_count, 1, 'a prepared statement of the protocol: a row before') foreach 1 .. 6;

	my $result = quarantine();
	my ($notice) = map { $_->{M} } $result->notices;
	like($notice, qr/^\d+ sessions and 0 replication connections of party "relay" remain/,
		'a NOTICE says who is still connected');
	foreach my $how (sort keys %open)
	{
		my $after = $wire{$how}->query($open{$how}[1]);
		is($after->sqlstate, '42501', "$how is refused");
		is($after->row_count, 0, "$how: no row");
	}
	$portal->send_execute('a', 3);
	$portal->send_sync;
	my $after = $portal->drain;
	is($after->sqlstate, '42501', 'the portal is refused');
	is($after->row_count, 0, 'and gives no row');
	is($execute->()->sqlstate, '42501', 'so is the prepared statement');
	is(officer(OTHER)->query($read)->row_count, ROWS, 'another party is not concerned');
	reinstate();
	is($execute->()->row_count, 1, 'reinstate() brings it back');
	is($wire{EXECUTE}->query('EXECUTE p')->row_count, ROWS, 'and cached plans');
};

# ---------------------------------------------------------------- connections

subtest 'end_sessions ends the sessions of the party, and only those, and says so' => sub {
	ok(poll_until(sub { !$node->sql($db, q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'officer'}) }),
		'whoever was there before has left');
	$node->sql($db, 'CREATE DATABASE desk');
	my @idle = map { officer() } 1 .. 3;
	my $busy = officer();
	$busy->query('BEGIN');
	$busy->query('LOCK TABLE traveller IN ACCESS SHARE MODE');
	$busy->send_query('SELECT pg_sleep(1000)');
	my $blocked = officer(OFFICE, receive_buffer => 4096);
	$blocked->send_query($read);
	$blocked->collect(rows => 1);
	ok(poll_until(sub { event_of($blocked->pid) eq 'Client ClientWrite' }), 'one does not read');
	my $elsewhere = $node->connect_from(OFFICE, 'desk', 'officer');
	my $bureau = officer(OTHER);
	my $mark = $node->mark($db);
	my $result = quarantine(', end_sessions => true');
	is($result->message, undef, 'quarantined');
	is(scalar(grep { $_->{S} eq 'WARNING' } $result->notices), 0, 'without a warning');
	foreach my $wire (@idle, $busy, $blocked)
	{
		ok(gone($wire), 'gone');
	}
	is($idle[0]->drain->sqlstate, '57P01', 'its client hears what pg_terminate_backend says');
	is($elsewhere->query('SELECT 1')->value, 1, 'a session of another database stays');
	is($bureau->query($read)->row_count, ROWS, 'one of another party as well');
	my ($entry) = $node->records($db, "SELECT detail FROM biometric.ledger "
		  . "WHERE seq >= $mark AND event = 'policy_changed'");
	is_deeply(
		$entry->{detail},
		{   action => 'quarantine',
			party => 'relay',
			reason => 'a leak',
			end_sessions => JSON::PP::true(),
			sessions => 5,
			replication => 0 },
		'the entry says how many');

	my $again = officer();
	is($again->query($read)->sqlstate, '42501', 'who comes back gets nothing');
	$result = quarantine(', end_sessions => true');
	like(join(' ', map { $_->{M} } $result->notices), qr/already/, 'quarantined already');
	ok(gone($again), 'and ended all the same');
	$again = officer();
	$result = quarantine();
	ok(BiometricAudit::Node::process_alive($again->pid), 'without end_sessions it is not');
	reinstate();
	is($again->query($read)->row_count, ROWS, 'reinstated');
};

subtest 'whoever asks is not ended, though of that party' => sub {
	my $asks = $node->connect_from(OFFICE, $db, 'custodian');
	my $other = officer();
	my $result =
	  $asks->query("SELECT biometric.quarantine('relay', 'all of us', end_sessions => true)");
	is($result->message, undef, 'quarantined');
	ok(gone($other), 'the other has gone');
	is($asks->query('SELECT 1')->value, 1, 'the asking session has not');
	$asks->query(q{SELECT biometric.reinstate('relay', 'closed')});
};

subtest 'nothing ends when the quarantine is rolled back' => sub {
	my $other = officer();
	my $wire = $node->connect_from('local', $db, 'custodian');
	my $cut = q{SELECT biometric.quarantine('relay', 'no', end_sessions => true)};
	$wire->query("BEGIN; $cut; ROLLBACK");
	$wire->query("BEGIN; SAVEPOINT s; $cut; ROLLBACK TO s; COMMIT");
	is($other->query($read)->row_count, ROWS, 'the session goes on');
	$wire->query("BEGIN; SAVEPOINT s; $cut; RELEASE s");
	is($other->query($read)->row_count, ROWS, 'also before the commit');
	$wire->query('COMMIT');
	ok(gone($other), 'and ends with it');
	reinstate();
};

subtest 'the server as its own client belongs to no wider network' => sub {
	my $own = officer(LOOPBACK);
	$node->policy($db, q{SELECT biometric.register_network('127.0.0.0/8', 'relay')});
	my $result = quarantine(', end_sessions => true');
	is($own->query('SELECT 1')->value, 1, 'a session by loopback stays');
	reinstate();
	$node->policy($db, q{SELECT biometric.unregister_network('127.0.0.0/8', 'no more')});
	$node->policy($db, q{SELECT biometric.unregister_network('127.0.0.2/32', 'local for once')});
	$node->policy($db, q{SELECT biometric.unregister_local('for once')});
	$node->policy($db, q{SELECT biometric.register_local('relay')});
	my $local = officer('local');
	quarantine(', end_sessions => true');
	ok(gone($local),
		'one by the unix socket ends when it is theirs');
	$node->forget;
	reinstate();
	$node->policy($db, <<'END');
SELECT biometric.unregister_local('as it was');
SELECT biometric.register_local('house');
SELECT biometric.register_network('127.0.0.2/32', 'relay');
END
};

subtest 'replication connections end and do not come back' => sub {
	$node->sql($db, 'CREATE TABLE lane (id int PRIMARY KEY); CREATE PUBLICATION lanes FOR TABLE lane');
	$node->sql($db, q{SELECT pg_create_logical_replication_slot('slot', 'pgoutput')});
	my $physical = replication(OFFICE);
	is($physical->startup->sqlstate, undef, 'a physical one is let in');
	my $lsn = $node->sql($db, 'SELECT pg_current_wal_lsn()');
	$physical->send_query("START_REPLICATION PHYSICAL $lsn");
	is($physical->collect(until => 'WE')->sqlstate, undef, 'and streams');
	my $logical = replication(OFFICE, replication => 'database');
	$logical->send_query(
		"START_REPLICATION SLOT slot LOGICAL 0/0 (proto_version '1', publication_names 'lanes')");
	is($logical->collect(until => 'WE')->sqlstate, undef, 'a logical one as well');
	my $elsewhere = replication(OFFICE, replication => 'database', database => 'desk');
	my $other = replication(OTHER);
	is($other->startup->sqlstate, undef, 'another party, too');
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my ($in, $out, $err) = ('', '', '');
	my $receiver = IPC::Run::start(
		[   'pg_receivewal', '--no-loop', '-D', $directory, '-h', $node->host, '-p',
			$node->port, '-U', $super ],
		'<', \$in, '>', \$out, '2>', \$err);
	ok( poll_until(sub { $node->sql($db, 'SELECT count(*) FROM pg_stat_replication') >= 4 }),
		'all of them replicate');
	my $mark = $node->mark($db);
	my $result = quarantine(', end_sessions => true');
	is(scalar(grep { $_->{S} eq 'WARNING' } $result->notices), 0, 'no warning');
	ok(gone($_), 'gone') foreach $physical, $logical, $elsewhere;
	ok(BiometricAudit::Node::process_alive($other->pid), 'the other party stays');
	my ($entry) = $node->records($db, "SELECT detail FROM biometric.ledger "
		  . "WHERE seq >= $mark AND event = 'policy_changed'");
	is($entry->{detail}{replication}, 3, 'the entry counts them');
	is(replication(OFFICE)->startup->sqlstate, '42501', 'a physical one does not come back');
	is(replication(OFFICE, replication => 'database')->startup->sqlstate,
		'42501', 'nor a logical one');

	$node->policy($db, q{SELECT biometric.quarantine('house', 'too', end_sessions => true)});
	ok(!$receiver->finish, 'pg_receivewal fails');
	command_fails_like(
		[   'pg_basebackup', '-D', "$directory/base", '-h', $node->host, '-p', $node->port, '-U',
			$super ],
		qr/refused to party "house"/,
		'pg_basebackup is refused');
	$node->forget;
	$node->policy($db, q{SELECT biometric.reinstate('house', 'over')});
	reinstate();
	is(replication(OFFICE)->startup->sqlstate, undef, 'reinstate() brings them back');
};

subtest 'a session that has authenticated and is not in its database yet ends as well' => sub {
	my $barred = BiometricAudit::Node->create('barred');
	$barred->prepare($db);
	$barred->register($db, 'relay', OFFICE . '/32', $all, 'open');
	my $custodian = $barred->connect_from('local', $db, 'custodian');
	my $holder = $barred->connect_from('local', $db, $super);
	my $mark = $barred->mark($db);
	is($holder->query('BEGIN; LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE')->error,
		undef, 'nobody gets into a database');
	my $child = fork // die "fork: $!";
	if ($child == 0)
	{
		BiometricAudit::Wire->connect(
			host => LOOPBACK,
			local => OFFICE,
			port => $barred->port,
			user => 'officer',
			database => $db,
			fail_ok => 1);
		POSIX::_exit(0);
	}
	# before it is in its database a session has no statistics, or is starting, from 18 on
	my $waits = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'pg_database'::regclass "
	  . 'AND pid NOT IN (SELECT pid FROM pg_stat_get_activity(NULL) '
	  . "WHERE state IS DISTINCT FROM 'starting')";
	my $pid = poll_until(sub { $holder->query($waits)->value });
	ok($pid, 'a session is on its way into one');
	my $result =
	  $custodian->query(q{SELECT biometric.quarantine('relay', 'a leak', end_sessions => true)});
	is($result->message, undef, 'quarantined');
	is(scalar(grep { $_->{S} eq 'WARNING' } $result->notices), 0, 'without a warning');
	$holder->query('ROLLBACK');
	my ($entry) = $barred->records($db, "SELECT detail FROM biometric.ledger "
		  . "WHERE seq >= $mark AND event = 'policy_changed'");
	is($entry->{detail}{sessions}, 1, 'the entry counts it');
	ok(poll_until(sub { !BiometricAudit::Node::process_alive($pid) }), 'gone');
	waitpid $child, 0;
	$barred->stop;
};

subtest 'a party whose networks are registered no more is found by what it was let in as' => sub {
	my $physical = replication(OFFICE);
	is($physical->startup->sqlstate, undef, 'a replication connection is let in');
	$node->policy($db, q{SELECT biometric.unregister_network('127.0.0.2/32', 'first of all')});
	my $result = quarantine(', end_sessions => true');
	is($result->message, undef, 'quarantined');
	ok(gone($physical), 'gone');
	reinstate();
	$node->policy($db, q{SELECT biometric.register_network('127.0.0.2/32', 'relay')});
};

subtest 'a database ends no replication that another one serves' => sub {
	$node->sql($db, 'CREATE DATABASE trial');
	$node->prepare('trial');
	$node->register('trial', 'relay', OFFICE . '/32', $all, 'open');
	my $physical = replication(OFFICE);
	my $logical = replication(OFFICE, replication => 'database');
	my $here = replication(OFFICE, replication => 'database', database => 'trial');
	is($_->startup->sqlstate, undef, 'let in') foreach $physical, $logical, $here;
	my $custodian = $node->connect_from('local', 'trial', 'custodian');
	my $mark = $node->mark('trial');
	my $result =
	  $custodian->query(q{SELECT biometric.quarantine('relay', 'a test', end_sessions => true)});
	is($result->message, undef, 'quarantined in a database that serves no replication');
	ok(gone($here), 'logical decoding of that database ends');
	my ($entry) = $node->records('trial', "SELECT detail FROM biometric.ledger "
		  . "WHERE seq >= $mark AND event = 'policy_changed'");
	is($entry->{detail}{replication}, 1, 'and nothing else is counted');
	ok(BiometricAudit::Node::process_alive($_->pid), 'what the other one serves goes on')
	  foreach $physical, $logical;
};

subtest 'replication connections that are being made do not slip past' => sub {
	my $count = "SELECT count(*) FROM pg_stat_replication WHERE client_addr = '127.0.0.2'";
	foreach my $round (1 .. 5)
	{
		my $child = fork // die "fork: $!";
		if ($child == 0)
		{
			my (@kept, $wire);
			while (@kept < 1000)
			{
				$wire = replication(OFFICE);
				last if ($wire->startup->sqlstate // '') eq '42501';
				push @kept, $wire;
				shift(@kept)->close if @kept > 5;
			}
			alarm 300;
			POSIX::pause();
			POSIX::_exit(0);
		}
		ok(poll_until(sub { $node->sql($db, $count) >= 3 }), "round $round: they come and go");
		my $result = quarantine(', end_sessions => true');
		is($result->message, undef, 'quarantined');
		ok(poll_until(sub { $node->sql($db, $count) == 0 }), 'none is left');
		kill 'KILL', $child;
		waitpid $child, 0;
		reinstate();
	}
};

ok($node->verifies($db), 'the ledger verifies');
done_testing();
