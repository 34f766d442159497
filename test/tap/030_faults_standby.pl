# A primary with a synchronous standby loses its standby, its life, or its
# place, under load: what was acknowledged is on whichever server goes on, and
# a server that nobody backs acknowledges nothing.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Load qw(furnish);
use BiometricAudit::Node qw(poll_until);

use constant OFFICE => '127.0.0.2';

my $db = 'postgres';
my $read = 'SELECT img FROM traveller LIMIT 5';

sub officer { return $_[0]->connect_from(OFFICE, $db, 'officer', 'border_control'); }

# standby_of(primary, name): a standby that the primary waits for.
sub standby_of
{
	my ($primary, $name) = @_;
	my $standby = BiometricAudit::Node->new($name);
	$primary->backup($name);
	$standby->init_from_backup($primary, $name, has_streaming => 1);
	$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$standby->start;
	wait_for($primary, $name);
	return $standby;
}

# Makes a primary wait for a standby from now on; for nobody without a name.
sub wait_for
{
	my ($primary, $name) = @_;
	$primary->set('synchronous_standby_names', $name // '');

	# It is the checkpointer that tells everybody whom to wait for.
	$primary->sql($db, 'CHECKPOINT');
	return unless defined $name;
	return poll_until(
		sub {
			$primary->sql($db,
				"SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'");
		}) || BAIL_OUT("standby $name does not stream");
}

sub gets_an_error
{
	my ($node, $name) = @_;
	my $result = officer($node)->query($read);
	is($result->sqlstate, '55000', "$name: " . ($result->message // 'no error'));
	like($result->message, qr/did not make entries durable within \d+ ms/, 'which says why');
	return is($result->row_count, 0, 'nothing is released');
}

my $primary = BiometricAudit::Node->create('first', allows_streaming => 1);
furnish($primary, $db);
$primary->set('biometric_audit.ledger_timeout', '500ms');

subtest 'the synchronous standby is missing: an error, until it is back or not waited for' => sub {
	my $standby = standby_of($primary, 'absent');
	my $load = BiometricAudit::Load->begin($primary, $db, strangers => 0);
	foreach my $how (qw(back forgotten))
	{
		ok($load->acknowledged(5), 'clients are at work');
		$standby->stop('immediate');
		ok($load->failed(2), 'without the standby they get errors');
		gets_an_error($primary, 'so does who comes anew');
		is(officer($primary)->query('SELECT 1')->value, 1, 'other statements work');
		$how eq 'back' ? $standby->start : wait_for($primary);
		ok($load->acknowledged(5), "clients go on when it is $how");
	}
	$load->end;
	my @others = grep { !/^55000 .* within \d+ ms/ } $load->failures;
	is_deeply(\@others, [], 'they got no other errors');
	$load->is_kept($primary, 'nothing is missing');
};

subtest 'the primary is restarted beside its synchronous standby' => sub {
	my $standby = standby_of($primary, 'present');
	my $load = BiometricAudit::Load->begin($primary, $db, strangers => 0);
	foreach my $how (qw(fast immediate crash))
	{
		ok($load->acknowledged(5), 'clients are at work');
		$how eq 'crash' ? $primary->crash : $primary->stop($how);
		$primary->start;
		ok($load->acknowledged(5), "they go on after it was stopped ($how)");
	}
	$load->end;
	$load->is_kept($primary, 'nothing is missing');
	wait_for($primary);
	$standby->stop;
};

subtest 'the primary is restarted while its standby is missing' => sub {
	$primary->set('synchronous_standby_names', 'nobody');
	$primary->sql($db, 'CHECKPOINT');
	foreach my $how (qw(fast immediate crash))
	{
		$how eq 'crash' ? $primary->crash : $primary->stop($how);
		$primary->start;
		gets_an_error($primary, "after it was stopped ($how)");
	}
	wait_for($primary);
	ok(poll_until(sub { officer($primary)->query($read)->row_count == 5 }), 'it goes on');
	ok($primary->verifies($db), 'and its ledger verifies');
};

subtest 'only a standby that is waited for is let in before its entry is durable' => sub {
	my $mark = $primary->mark($db);
	$primary->set('synchronous_standby_names', 'nobody');
	$primary->sql($db, 'CHECKPOINT');
	my $replicate = sub {
		my ($name) = @_;
		return BiometricAudit::Wire->connect(
			socket => $primary->host,
			port => $primary->port,
			user => $primary->superuser,
			database => $db,
			params => { replication => 'true', application_name => $name },
			fail_ok => 1);
	};
	is($replicate->('somebody')->startup->sqlstate, '42501', 'another is refused');
	my $wire = $replicate->('nobody');
	is($wire->startup->error,                          undef, 'the one of that name is let in');
	is($wire->query('IDENTIFY_SYSTEM')->row_count, 1,     'and served');
	$wire->close;
	wait_for($primary);
	ok( poll_until(
			sub {
				$primary->sql($db, <<"END") == 2;
SELECT count(*) FROM biometric.ledger WHERE seq >= $mark AND event = 'replication'
END
			}),
		'both are in the ledger afterwards');
	ok($primary->verifies($db), 'which verifies');
};

# Each round's standby is the next round's primary.
foreach my $round (1 .. 3)
{
	subtest "the primary is killed under load, its standby promoted: round $round" => sub {
		my $standby = standby_of($primary, "heir$round");
		my $load = BiometricAudit::Load->begin($primary, $db, strangers => 0);
		ok($load->acknowledged(5 * $round), 'clients are at work');
		$primary->crash;
		$load->end;
		$standby->promote;
		$load->is_kept($standby, 'nothing is missing on the standby');
		my $next = BiometricAudit::Load->begin($standby, $db);
		ok($next->acknowledged(5), 'which serves clients');
		$next->end;
		$next->is_kept($standby, 'and keeps what it acknowledges');
		$primary = $standby;
	};
}

subtest 'two primaries: what the old one acknowledged is on the new one, and it goes no further' => sub {
	my $standby = standby_of($primary, 'usurper');
	my $load = BiometricAudit::Load->begin($primary, $db, strangers => 0);
	ok($load->acknowledged(5), 'clients are at work');
	$standby->promote;
	my $next = BiometricAudit::Load->begin($standby, $db);
	ok($load->failed(2), 'clients of the old primary get errors');
	gets_an_error($primary, 'so does who comes anew');
	ok($next->acknowledged(5), 'the new one serves clients');
	my %told = $load->told;
	gets_an_error($primary, 'the old one does not');
	# a commit waits for the standby that is gone, and for good
	$load->end('KILL');
	$next->end;
	my %now = $load->told;
	is_deeply([ @now{qw(sent stored)} ], [ @told{qw(sent stored)} ], 'nor did it meanwhile');
	$load->is_kept($standby, 'nothing is missing on the new primary');
	$next->is_kept($standby, 'neither of its own');
	$primary->stop('fast');
	$standby->stop;
};

done_testing();
