# What a quota counts when it is counted anew, after a start of the server: what
# was released in segments that were detached since, too, but nothing of the
# logs of other databases, whose permits are others.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(is_sealed poll_until);

use constant { OFFICE => '127.0.0.2', SEGMENT => 1024, QUOTA => 5000 };

my $keys = PostgreSQL::Test::Utils::tempdir();
system_or_bail('sh', '-c', "umask 077; openssl genpkey -algorithm ed25519 -out '$keys/signing.pem'");
my $node = BiometricAudit::Node->create('limited',
	conf => "biometric_audit.signing_key = '$keys/signing.pem'\n"
	  . 'biometric_audit.segment_size = ' . SEGMENT . "\n");
my $db = 'postgres';

# furnish(database, tables): two tables with pictures, each with a permit that has a quota; their ids.
sub furnish
{
	my ($database) = @_;
	$node->prepare($database);
	return map { limited($database, $_) } qw(lane hall) if register($database);
}

sub register
{
	my ($database) = @_;
	$node->policy($database, <<"END");
SELECT biometric.register_party('agency', 'The agency', NULL);
SELECT biometric.register_network('@{[OFFICE]}/32', 'agency');
END
	return 1;
}

sub limited
{
	my ($database, $table) = @_;
	$node->sql($database, <<"END");
CREATE TABLE IF NOT EXISTS $table (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO $table SELECT n, numbered_jpeg(n, 300)::biometric.face_image
	FROM generate_series(1, 10) AS n ON CONFLICT DO NOTHING;
GRANT ALL ON $table TO officer;
END
	return $node->policy($database, <<"END");
SELECT biometric.authorize('agency', '{face}', 'open', '{border}', '$table',
	quota => @{[QUOTA]}, quota_window => '10 days')
END
}

# release(database, table, count): so many pictures to the office; how many arrive.
sub release
{
	my ($database, $table, $count) = @_;
	my $wire = $node->connect_from(OFFICE, $database, 'officer', 'border', timeout => 120);
	my $result = $wire->query("SELECT img FROM $table, generate_series(1, $count) LIMIT $count");
	$wire->close;
	return scalar grep { !is_sealed($_) } $result->column(0);
}

# How many pictures of a table are left to the office.
sub left
{
	my ($database, $table) = @_;
	my $wire = $node->connect_from(OFFICE, $database, 'officer', 'border', timeout => 120);
	my $answer = $wire->query(
		"SELECT quota_left FROM biometric.explain_access('$table') WHERE kind = 'face'")->value;
	$wire->close;
	return $answer;
}

my ($lane, $hall) = furnish($db);

subtest 'a segment that is detached gives nothing of a quota back' => sub {
	is(release($db, 'lane', 1200), 1200, 'pictures are released, more than a segment has entries');
	is(release($db, 'hall', 30), 30, 'and a few by another permit');
	my ($before_lane, $before_hall) = map { left($db, $_) } qw(lane hall);
	is("$before_lane $before_hall", (QUOTA - 1200) . ' ' . (QUOTA - 30), 'which count');
	poll_until(
		sub {
			my ($status) = $node->records($db, 'SELECT s.size, s.pending, h.settled '
				  . 'FROM biometric.ledger_status() AS s JOIN biometric.head AS h USING (log_id)');
			return $status->{pending} == 0 && $status->{settled} == $status->{size};
		});
	$node->run('auditor', $db, 'SELECT biometric.checkpoint()');
	my $root = $node->sql($db, "SELECT biometric.root(@{[SEGMENT]})");
	$node->policy($db, "SELECT biometric.detach_segment(0, '$root', 'archived')");
	my $gone = $node->sql($db, 'SELECT sum(disclosures) FROM biometric.activity '
		  . "WHERE party = 'agency' AND block < @{[SEGMENT]} / 256");
	cmp_ok($gone, '>', 900, 'most of that is in the archive now');
	is(left($db, 'lane'), $before_lane, 'a server that runs goes on counting');
	$node->restart;
	is(left($db, 'lane'), $before_lane, 'and one that starts counts what is in the archive');
	is(left($db, 'hall'), $before_hall - $gone,
		'for all permits of the party, since nothing tells for which it was released');
	is(release($db, 'lane', 5), 5, 'what is left is released');
	$node->crash;
	$node->start;
	is(left($db, 'lane'), $before_lane - 5, 'and counted, once');
};

subtest 'logs of other databases, whose permits are others, count nothing' => sub {
	$node->sql($db, 'CREATE DATABASE branch');
	$node->sql($db, 'CREATE DATABASE merged');
	my ($theirs) = furnish('branch');
	is(release('branch', 'lane', 70), 70, 'another database releases by a permit of its own');
	my $dump = $node->basedir . '/branch.sql';
	my @at = ('-h', $node->host, '-p', $node->port, '-U', $node->superuser);
	system_or_bail('pg_dump', @at, '-f', $dump, 'branch');
	system_or_bail('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', @at, '-d', 'merged', '-f', $dump);
	$node->policy('merged', <<'END');
SELECT biometric.register_party('house', 'the server itself', tstzrange('2020-01-01', NULL));
SELECT biometric.register_local('house');
SELECT biometric.authorize('house', '{face,plate}', 'sealed');
END
	register('merged');
	my @ours = map { limited('merged', $_) } qw(lane hall);
	ok(scalar(grep { $_ == $theirs } @ours), 'one that takes its ledger over has a permit of that number');
	$node->policy('merged', q{SELECT biometric.fork_ledger('branch is closed')});
	is( $node->sql('merged', 'SELECT count(*) FROM biometric.log WHERE adopted_at IS NOT NULL'),
		1, 'and the log counts as its history');
	$node->restart;
	is(left('merged', $_), QUOTA, "nothing of the quota for $_ is used up") foreach qw(lane hall);
};

done_testing();
