# The disk is full: of the WAL, of the ledger's tablespace. Nothing is released
# that could not be recorded, and when there is room again everything that was
# acknowledged is there and the clients go on.

use strict;
use warnings;

use BiometricAudit::Disk qw(small_disk fill_disk free_disk remove_disk);

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Load qw(furnish);
use BiometricAudit::Node qw(poll_until);

use constant { OFFICE => '127.0.0.2', FULL => qr/No space left on device/ };

my $read = 'SELECT img FROM traveller LIMIT 5';

subtest 'no room for the WAL: the server stops, and loses nothing' => sub {
	my $disk = small_disk(PostgreSQL::Test::Utils::tempdir() . '/wal', 24);
	my $node = BiometricAudit::Node->create(
		'wal',
		initdb => [ '--wal-segsize=1', "--waldir=$disk" ],
		conf => "max_wal_size = '1GB'\ncheckpoint_timeout = '1h'\n");
	furnish($node, 'postgres');
	foreach my $round (1 .. 2)
	{
		my $load = BiometricAudit::Load->begin($node, 'postgres');
		ok($load->acknowledged(5), 'clients are at work');
		my $end_of_log = -s $node->logfile;
		fill_disk($disk);
		my $postmaster = $node->{_pid};
		ok(poll_until(sub { !BiometricAudit::Node::process_alive($postmaster) }),
			'the server stops when the WAL cannot grow');
		$node->crash;
		$load->end;
		like(substr(slurp_file($node->logfile), $end_of_log), qr/PANIC:.*${\FULL}/, 'and says why');
		free_disk($disk);
		$node->start;
		$load->is_kept($node, "round $round: with room again nothing is missing");
	}
	$node->stop;
	remove_disk($disk);
};

my $disk = small_disk(PostgreSQL::Test::Utils::tempdir() . '/space', 48);
my $db = 'registry';
my $node = BiometricAudit::Node->create('space');
$node->sql('postgres', "CREATE TABLESPACE small LOCATION '$disk'");
$node->sql('postgres', "CREATE DATABASE $db TABLESPACE small");
furnish($node, $db);
$node->set('biometric_audit.ledger_timeout', '1s');

sub officer { return $node->connect_from(OFFICE, $db, 'officer', 'border_control'); }

# Waits until nobody is served, and looks what a reader is told.
sub nothing_is_released
{
	my ($wire, $result);
	ok( poll_until(
			sub {
				$wire =
				  $node->connect_from(OFFICE, $db, 'officer', 'border_control', fail_ok => 1);
				return 1 if $wire->startup->error;
				$result = $wire->query($read);
				# that the worker has not answered yet is one as well
				$result->error && ($result->detail // '') =~ FULL;
			}),
		'readers get an error');

	# Sometimes PostgreSQL lets nobody in, as its own caches find no room.
	my $closed = $wire->startup->message;
	return like($closed, qr/init file|${\FULL}/, "nobody is let in: $closed") if defined $closed;
	is($result->sqlstate, '55000', 'which is the ledger\'s: ' . $result->message);
	is($result->row_count, 0, 'nothing is released');
	like($result->detail, FULL, 'and they are told why: ' . $result->detail);
	return is($wire->query('SELECT 1')->value, 1, 'other statements work');
}

subtest 'no room in the ledger\'s tablespace: an error, until there is room' => sub {
	foreach my $round (1 .. 2)
	{
		my $load = BiometricAudit::Load->begin($node, $db);
		ok($load->acknowledged(5), 'clients are at work');
		my $wire = officer();
		fill_disk($disk);
		nothing_is_released();
		free_disk($disk);
		ok(poll_until(sub { $wire->query($read)->row_count == 5 }), 'the session goes on');
		ok($load->acknowledged(5),                                  'clients go on');
		$load->end;
		$load->is_kept($node, "round $round: nothing is missing");
	}
};

# Starts the server without room: its recovery may need some, and then it does not start.
sub starts_without_room
{
	my $end_of_log = -s $node->logfile;
	if ($node->start(fail_ok => 1))
	{
		nothing_is_released();
		return;
	}
	like(substr(slurp_file($node->logfile), $end_of_log),
		FULL, 'the server does not start, and says why');
	return;
}

foreach my $how (qw(fast crash))
{
	subtest "stopped ($how) and started without room: an error, until there is room" => sub {
		my $load = BiometricAudit::Load->begin($node, $db, strangers => 0);
		ok($load->acknowledged(5), 'clients are at work');
		fill_disk($disk);
		nothing_is_released();
		$how eq 'crash' ? $node->crash : $node->stop('fast', fail_ok => 1);
		starts_without_room();
		free_disk($disk);
		$node->start unless $node->{_pid};
		ok($load->acknowledged(5), 'clients go on');
		$load->end;
		$load->is_kept($node, 'nothing is missing');
	};
}

$node->stop;
remove_disk($disk);
done_testing();
