# The ledger's worker is stopped, ended, cancelled, or cannot be started while
# clients are at work: they get an error after ledger_timeout at most, and
# nothing that was acknowledged is missing afterwards.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Load qw(furnish);
use BiometricAudit::Node qw(poll_until);

use constant OFFICE => '127.0.0.2';

my $db = 'postgres';
my $node = BiometricAudit::Node->create(
	'agency',
	conf => join "\n",
	'max_worker_processes = 6',
	'max_logical_replication_workers = 0',
	'max_parallel_workers = 6',
	'biometric_audit.max_databases = 2');
furnish($node, $db);
$node->sql($db, 'CREATE TABLE crowd AS SELECT n FROM generate_series(1, 200000) AS n');

sub officer { return $node->connect_from(OFFICE, $_[0] // $db, 'officer', 'border_control'); }

my $read = 'SELECT img FROM traveller LIMIT 5';

# A statement that fails as everything does that waits for the ledger in vain.
sub gets_an_error
{
	my ($wire, $name, $detail) = @_;
	my $result = $wire->query($read);
	is($result->sqlstate, '55000', "$name: " . ($result->message // 'no error'));
	like($result->message, qr/did not make entries durable within \d+ ms/, 'which says why');
	like($result->detail, $detail, 'and what is wrong: ' . $result->detail) if $detail;
	return is($result->row_count, 0, 'nothing is released');
}

sub serves
{
	my ($wire, $name) = @_;
	return ok(poll_until(sub { $wire->query($read)->row_count == 5 }), $name);
}

# The launcher's process.
sub launcher
{
	return $node->sql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'biometric_audit ledger launcher'});
}

foreach my $how (qw(pg_terminate_backend pg_cancel_backend))
{
	subtest "$how of the worker under load" => sub {
		my $load = BiometricAudit::Load->begin($node, $db);
		foreach my $round (1 .. 10)
		{
			ok($load->acknowledged($round), 'clients are at work');
			my $worker = $node->worker($db);
			$node->sql($db, "SELECT $how($worker)");
			ok(poll_until(sub { !BiometricAudit::Node::process_alive($worker) }),
				"worker $round ends")
			  if $how =~ /terminate/;
		}
		ok($load->acknowledged(10), 'clients go on');
		$load->end;
		is_deeply([ $load->failures ], [], 'without an error');
		$load->is_kept($node, 'nothing is missing');
	};
}

subtest 'the worker is stopped under load' => sub {
	$node->set('biometric_audit.ledger_timeout', '400ms');
	my $load = BiometricAudit::Load->begin($node, $db, writers => 0, hasty => 0, strangers => 0);
	foreach my $round (1 .. 5)
	{
		ok($load->acknowledged($round), 'readers are at work');
		my $worker = $node->worker($db);
		$node->halt($worker);
		ok($load->failed(2), 'they get errors');
		gets_an_error(officer(), 'so does who comes anew', qr/process \d+, has not answered/);
		kill 'CONT', $worker;
		is($node->worker($db), $worker, 'the worker goes on');
	}
	ok($load->acknowledged(10), 'so do readers');
	$load->end;
	my @others = grep { !/^55000 .* within \d+ ms/ } $load->failures;
	is_deeply(\@others, [], 'they got no other errors');
	$load->is_kept($node, 'nothing is missing');
};

subtest 'a refusal that the stopped worker does not take is one all the same, and says so' => sub {
	my $wire = $node->connect_from('127.0.0.3', $db, 'officer', 'border_control');
	my $worker = $node->worker($db);
	my $remark = qr/\. The refusal could not be recorded in the ledger\.$/;
	$node->halt($worker);
	my $result = $wire->query('SELECT img FROM traveller');
	is($result->sqlstate, '42501', 'a refusal');
	like($result->detail, $remark, 'that is not on record');
	kill 'CONT', $worker;
	$result = $wire->query('SELECT img FROM traveller');
	is($result->sqlstate, '42501', 'and once more');
	unlike($result->detail, $remark, 'which is');
};

subtest 'a transaction whose entries the stopped worker does not take is not committed' => sub {
	my $wire = $node->connect_from('local', $db, $node->superuser);
	my $worker = $node->worker($db);
	my $mark = $node->mark($db);
	$node->halt($worker);
	my $result = $wire->query(
		q{INSERT INTO enrolled VALUES ('late', numbered_jpeg(1, 400)::biometric.face_image)});
	is($result->sqlstate, '55000', 'an error');
	kill 'CONT', $worker;
	is($node->sql($db, q{SELECT count(*) FROM enrolled WHERE id = 'late'}), 0, 'no row');
	ok( poll_until(
			sub {
				$node->sql($db, <<"END") eq 'stored aborted, aborted aborted';
SELECT coalesce(string_agg(concat_ws(' ', event, state), ', ' ORDER BY seq), '')
FROM biometric.change WHERE seq >= $mark
END
			}),
		'and its entry says so');
	ok($node->verifies($db), 'the ledger verifies');
	$node->set('biometric_audit.ledger_timeout', undef);
};

# Takes every place for background workers that is left; returns the sessions that do.
sub occupy
{
	my @sessions;
	while (1)
	{
		my $wire =
		  $node->connect_from(OFFICE, $db, 'officer', 'border_control', receive_buffer => 4096);
		my $setting = $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';
		$wire->query("SET $setting = on");
		my $pid = $wire->pid;
		$wire->send_query(q{SELECT repeat('x', 1000) FROM crowd});

		# Nobody reads: the leader cannot go on, and so its worker cannot.
		my $alone = '';
		poll_until(
			sub {
				$alone = $node->sql('postgres', <<"END");
SELECT (SELECT count(*) FROM pg_stat_activity WHERE leader_pid = $pid)
FROM pg_stat_activity WHERE pid = $pid AND wait_event = 'ClientWrite'
END
				defined $alone;
			});
		if (!$alone)
		{
			$wire->drop;
			last;
		}
		push @sessions, $wire;
	}
	return @sessions;
}

subtest 'all places for background workers are taken by others' => sub {
	$node->sql($db, 'GRANT SELECT ON crowd TO officer');
	my $load = BiometricAudit::Load->begin($node, $db, strangers => 0);
	ok($load->acknowledged(5), 'clients are at work');
	$node->set('biometric_audit.ledger_timeout', '3s');
	my ($worker, $launcher) = ($node->worker($db), launcher());

	# The launcher would be first otherwise.
	$node->halt($launcher);
	$node->sql($db, "SELECT pg_terminate_backend($worker)");
	ok(poll_until(sub { !BiometricAudit::Node::process_alive($worker) }), 'the worker ends');
	my @sessions = occupy();
	cmp_ok(scalar @sessions, '>', 0, 'others take its place');
	kill 'CONT', $launcher;
	gets_an_error(officer(), 'readers get an error', qr/raise max_worker_processes/);
	is(officer()->query('SELECT 1')->value, 1, 'other statements work');
	$_->drop foreach @sessions;
	ok($load->acknowledged(5), 'clients go on when there is a place again');
	$load->end;
	$load->is_kept($node, 'nothing is missing');
	$node->set('biometric_audit.ledger_timeout', undef);
};

subtest 'the launcher is stopped' => sub {
	$node->set('biometric_audit.ledger_timeout', '400ms');
	my $load = BiometricAudit::Load->begin($node, $db, strangers => 0);
	my $launcher = launcher();
	$node->halt($launcher);
	ok($load->acknowledged(5), 'which matters to nobody');
	$node->sql($db, 'SELECT pg_terminate_backend(' . $node->worker($db) . ')');
	ok($load->failed(2), 'until there is no worker');
	kill 'CONT', $launcher;
	ok($load->acknowledged(5), 'and it starts one as soon as it goes on');
	$node->sql($db, "SELECT pg_terminate_backend($launcher)");
	ok(poll_until(sub { (launcher() // $launcher) != $launcher }), 'another launcher comes');
	ok($load->acknowledged(5), 'clients go on meanwhile');
	$load->end;
	$load->is_kept($node, 'nothing is missing');
	$node->set('biometric_audit.ledger_timeout', undef);
};

subtest 'all places for databases with a ledger are taken' => sub {
	foreach my $name (qw(second third))
	{
		$node->sql('postgres', "CREATE DATABASE $name");
	}
	furnish($node, 'second');
	my $result = $node->admin('third')->query('CREATE EXTENSION biometric_audit');
	my $message = $result->message // '';
	is($result->error, undef, "the extension is created $message");
	$result = $node->connect_from('local', 'third', $node->superuser)
	  ->query(q{SELECT biometric.register_party('p', 'p', tstzrange(NULL, NULL))});
	is($result->sqlstate, '42501', 'by nobody who is not a custodian');
	$result = $node->connect_from('local', 'third', 'custodian')
	  ->query(q{SELECT biometric.register_party('p', 'p', tstzrange(NULL, NULL))});
	is($result->sqlstate, '55000', 'an error: ' . ($result->message // 'none'));
	like($result->hint, qr/max_databases/, 'that says what to do: ' . $result->hint);
	serves(officer('second'), 'the others are served');
	my $worker = $node->worker('second');
	$node->leave('second');
	is($node->admin('postgres')->query('DROP DATABASE second')->error, undef, 'one goes');
	ok( poll_until(
			sub {
				!$node->connect_from('local', 'third', 'custodian')
				  ->query(q{SELECT biometric.register_party('p', 'p', tstzrange(NULL, NULL))})
				  ->error;
			}),
		'and the next takes its place');
	ok($node->verifies('third'), 'the ledger verifies');
};

$node->stop;
done_testing();
