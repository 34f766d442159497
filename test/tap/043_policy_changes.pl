# The policy changes while pictures are under way: what was put on record and is still
# allowed goes out as it was put on record, once; what is not, does not go out.

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(is_sealed poll_until);

use constant { OFFICE => '127.0.0.2', ROWS => 150, BATCHES => 32, BINARY => 1 };

my $db = 'postgres';
my $node = BiometricAudit::Node->create('changing',
	conf => "biometric_audit.release_batch_rows = 1\nbiometric_audit.release_batch_size = '8MB'\n");
$node->prepare($db);
my $permit = $node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border}');
$node->sql($db, 'CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image)');
$node->sql($db, 'INSERT INTO traveller SELECT n, numbered_jpeg(n, 40000)::biometric.face_image '
	  . 'FROM generate_series(1, ' . ROWS . ') AS n');
$node->sql($db, 'GRANT SELECT ON traveller TO officer');

# The network of a party that nobody connects from: a change that concerns none of what is read.
sub unrelated
{
	my ($number) = @_;
	return $node->policy($db,
		"SELECT biometric.register_party('other$number', 'another', NULL);"
		  . "SELECT biometric.register_network('10.0.0.$number/32', 'other$number')");
}

sub officer { return $node->connect_from(OFFICE, $db, 'officer', 'border', timeout => 120); }

# Entries that say that a picture was released, since a mark.
sub recorded
{
	my ($mark, $more) = @_;
	return $node->sql($db, "SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark " . ($more // ''));
}

sub pictures { return scalar grep { defined && !is_sealed($_) } map { $_->[0] } $_[0]->rows; }

sub left
{
	my $wire = officer();
	my $left = $wire->query(
		"SELECT quota_left FROM biometric.explain_access('traveller') WHERE kind = 'face'")->value;
	$wire->close;
	return $left;
}

# Reads the table; while as many batches as there can be are promised, and none is sent, does
# something. Returns what the client received, and the mark before it.
sub read_while
{
	my ($work) = @_;
	my $wire = officer();
	my $worker = $node->worker($db);
	is($wire->query('SELECT 1')->value, 1, 'a session');
	my $mark = $node->mark($db);
	$node->halt($worker);
	$wire->send_query('SELECT img FROM traveller ORDER BY id');
	ok( poll_until(
			sub {
				return ($node->sql($db, 'SELECT wait_event_type FROM pg_stat_activity WHERE '
						  . "state = 'active' AND pid = " . $wire->pid) // '') eq 'Extension';
			}),
		'batches are promised, and wait for the ledger');
	$node->halt($wire->pid);
	kill 'CONT', $worker;
	$work->();
	is(recorded($mark), BATCHES, 'they are on record');
	kill 'CONT', $wire->pid;
	my $result = $wire->drain;
	$wire->close;
	return ($result, $mark);
}

subtest 'a change that concerns nothing that is under way puts nothing on record again' => sub {
	my ($result, $mark) = read_while(sub { unrelated($_) foreach 1 .. 3; });
	is($result->error, undef, 'the read goes on');
	is(pictures($result), ROWS, 'all pictures arrive');
	is(recorded($mark), ROWS, 'and the ledger has as many disclosures');
};

subtest 'nor do twenty changes while many pictures are read' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	my $changer = fork // die "fork: $!";
	if (!$changer)
	{
		eval { unrelated($_) foreach 10 .. 29; };
		POSIX::_exit($@ ? 1 : 0);
	}
	my ($received, $reads) = (0, 0);
	while (waitpid($changer, POSIX::WNOHANG()) == 0)
	{
		$received += pictures($wire->query('SELECT img FROM traveller'));
		$reads++;
	}
	is($?, 0, 'the policy was changed twenty times');
	is($received, $reads * ROWS, "in $reads reads all pictures arrive");
	is(recorded($mark), $received, 'and the ledger has as many disclosures');
};

subtest 'nor is a quota charged twice' => sub {
	$node->policy($db, "SELECT biometric.set_quota($permit, 1000000, '1 day', 'a test')");
	my $before = left();
	my ($result, $mark) = read_while(sub { unrelated(40); });
	is(pictures($result), ROWS, 'all pictures arrive');
	is(recorded($mark), ROWS, 'the ledger has as many disclosures');
	is(left(), $before - ROWS, 'and so many are charged');
	$node->restart;
	is(left(), $before - ROWS, 'as they are when the ledger is counted');
};

subtest 'a smaller quota holds for what is under way' => sub {
	my $used = 1000000 - left();
	my $quota = $used + BATCHES + 5;
	my ($result, $mark) = read_while(
		sub {
			$node->policy($db, "SELECT biometric.set_quota($permit, $quota, '1 day', 'less')");
		});
	is($result->sqlstate, '42501', 'the read is refused');
	cmp_ok(pictures($result), '<=', 5, 'no more arrive than are left beyond what was on record');
	cmp_ok(recorded($mark), '<=', BATCHES + 5, 'and no more than the quota is on record');
	$node->policy($db, "SELECT biometric.set_quota($permit, NULL, NULL, 'none')");
};

subtest 'so does a quota where there was none' => sub {
	my $used = recorded(0);
	my ($result, $mark) = read_while(
		sub {
			$node->policy($db, "SELECT biometric.set_quota($permit, "
				  . ($used + BATCHES + 3) . ", '1 day', 'one')");
		});
	is($result->sqlstate, '42501', 'the read is refused');
	is(pictures($result), 3, 'after what is left beyond what was on record');
	is(recorded($mark), BATCHES + 3, 'which is charged');
	is(left(), 0, 'and nothing more is left');
	$node->policy($db, "SELECT biometric.set_quota($permit, NULL, NULL, 'none')");
};

subtest 'another permit is another answer' => sub {
	my $new;
	my ($result, $mark) = read_while(
		sub {
			$new = $node->policy($db, "SELECT biometric.revoke($permit, 'marked from now on');"
				  . q{SELECT biometric.authorize('agency', '{face}', 'open', '{border}', mark => true)});
		});
	($new) = reverse split /\s+/, $new;
	is(pictures($result), ROWS, 'all pictures arrive');
	is(scalar(grep { $_->[0] =~ /42494f4d41524b01/i || $_->[0] =~ /BIOMARK\x01/ } $result->rows),
		ROWS, 'with a mark, as the permit that holds wants them');
	is(recorded($mark, "AND (detail ->> 'permit')::int8 = $new"), ROWS, 'which they are on record by');
	is(recorded($mark), ROWS + BATCHES, 'what was promised by the other one stays on record');
	$permit = $new;
};

subtest 'marks name what was put on record before the policy changed' => sub {
	my ($result, $mark) = read_while(sub { unrelated(41); });
	is(recorded($mark), ROWS, 'the ledger has each picture once');
	my @files = map { $_->[0] } $result->rows;
	my $auditor = $node->connect_from('local', $db, 'auditor');
	my ($first, $last) = split /\|/, $node->sql($db,
		"SELECT min(seq) || '|' || max(seq) FROM biometric.disclosure WHERE seq >= $mark");
	my @named = map {
		$auditor->query("SELECT seq FROM biometric.trace('$_') WHERE match = 'mark'")->value
	} @files[ 0, BATCHES - 1, ROWS - 1 ];
	is_deeply([ @named[ 0, 2 ] ], [ $first, $last ], 'the first and the last disclosure');
	cmp_ok($named[1], '>', $first, 'and one between');
	cmp_ok($named[1], '<', $last, 'them');
};

subtest 'a quarantine stops what was put on record' => sub {
	my ($result) = read_while(
		sub { unrelated(42); $node->policy($db, q{SELECT biometric.quarantine('agency', 'a leak')}); });
	is($result->sqlstate, '42501', 'the read is refused');
	is($result->row_count, 0, 'and nothing arrives');
};

ok($node->verifies($db), 'the ledger verifies');
done_testing();
