# Whatever is killed while clients are at work - the whole server, one of its
# processes -, nothing that was acknowledged is missing from the ledger
# afterwards, and the tree verifies.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Load qw(furnish);
use BiometricAudit::Node;

use constant ROUNDS => 20;

my $db = 'postgres';
my $node = BiometricAudit::Node->create(
	'agency',
	conf => "restart_after_crash = on\nbiometric_audit.ledger_timeout = '60s'\n"
	  . "checkpoint_timeout = '30s'\nwal_writer_delay = '10ms'\n");
furnish($node, $db);

# The process of a kind; of the ledger's worker that of the database.
sub process
{
	my ($kind) = @_;
	return $node->sql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = '$kind' ORDER BY pid LIMIT 1");
}

my $rounds = ROUNDS;
subtest "kill -9 of everything: $rounds rounds under load" => sub {
	foreach my $round (1 .. ROUNDS)
	{
		my $load = BiometricAudit::Load->begin($node, $db);
		ok($load->acknowledged(1 + ($round * 7) % 23), 'clients are at work');
		$node->crash;
		$load->end;
		$node->start;
		$load->is_kept($node, "round $round");
	}
};

subtest 'immediate shutdown under load' => sub {
	foreach my $round (1 .. 3)
	{
		my $load = BiometricAudit::Load->begin($node, $db);
		ok($load->acknowledged(10 * $round), 'clients are at work');
		$node->stop('immediate');
		$load->end;
		$node->start;
		$load->is_kept($node, "round $round");
	}
};

# Clients that stay connect again by themselves.
foreach my $victim (
	'biometric_audit ledger',
	'biometric_audit ledger launcher',
	'checkpointer',
	'background writer',
	'walwriter',
	'client backend')
{
	subtest "kill -9 of one process under load: $victim" => sub {
		my $load = BiometricAudit::Load->begin($node, $db);
		ok($load->acknowledged(5), 'clients are at work');
		my $idle = $node->connect_from('local', $db, 'officer');
		ok($node->kill_one(sub { return $victim eq 'client backend' ? $idle->pid : process($victim); }),
			'the server comes back');
		ok($load->acknowledged(10), 'and serves its clients');
		$load->end;
		$load->is_kept($node, "after $victim was killed");
	};
}

subtest 'kill -9 of a client\'s process that waits for the ledger' => sub {
	my $load = BiometricAudit::Load->begin($node, $db);
	ok($load->acknowledged(5), 'clients are at work');
	$node->set('synchronous_standby_names', 'nobody');
	my $waits = q{SELECT pid FROM pg_stat_activity
		WHERE usename = 'officer' AND state = 'active' AND wait_event = 'Extension' LIMIT 1};
	ok($node->kill_one(sub { return $node->sql('postgres', $waits); }), 'a reader waits, is killed, and the server comes back');
	$node->set('synchronous_standby_names', '');
	ok($load->acknowledged(5), 'and serves its clients');
	$load->end;
	$load->is_kept($node, 'nothing was released before it was durable');
};

$node->stop;
done_testing();
