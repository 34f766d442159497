# Copies that are made of a ledger while clients are at work: a dump can be
# restored, verified and adopted; a database made from a template takes no
# entries for its original's; and the original loses nothing by either.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Load qw(furnish);
use BiometricAudit::Node qw(poll_until);

use constant OFFICE => '127.0.0.2';

my $db = 'registry';
my $read = 'SELECT img FROM traveller LIMIT 5';
my $conf = "max_worker_processes = 16\nbiometric_audit.max_databases = 12\n"
  . "biometric_audit.ring_size = '512kB'\n";
my $node = BiometricAudit::Node->create('agency', conf => $conf);
$node->sql('postgres', "CREATE DATABASE $db");
furnish($node, $db);

# Another cluster, with the same roles and keys.
my $other =
  BiometricAudit::Node->create('branch', conf => $conf, keyring => slurp_file($node->keyring_path));
$other->sql('postgres', 'CREATE EXTENSION biometric_audit');
$other->sql('postgres', "CREATE ROLE $_ LOGIN") foreach qw(custodian auditor officer);
$other->sql('postgres', "GRANT biometric_$_ TO $_") foreach qw(custodian auditor);

sub officer { return $_[0]->connect_from(OFFICE, $_[1], 'officer', 'border_control'); }
sub at      { return ('-h', $_[0]->host, '-p', $_[0]->port); }

# Who receives faces there: a dump does not bring the policy.
sub policy
{
	my ($where, $database) = @_;
	$where->policy($database, <<'END');
SELECT biometric.register_party('house', 'the server itself', tstzrange('2020-01-01', NULL));
SELECT biometric.register_local('house');
SELECT biometric.authorize('house', '{face}', 'sealed');
END
	$where->register($database, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
	return;
}

# What was restored, is foreign here, and can be verified.
sub restored_log
{
	my ($where, $database) = @_;
	return $where->sql($database, 'SELECT log_id FROM biometric.log WHERE ordinal IS NULL');
}

foreach my $format (qw(plain custom directory))
{
	subtest "pg_dump in $format format while clients are at work" => sub {
		my $path = $node->basedir . "/dump_$format";
		my $load = BiometricAudit::Load->begin($node, $db);
		ok($load->acknowledged(5), 'clients are at work');
		my $mark = $node->mark($db);
		command_ok([ 'pg_dump', at($node), '-F', $format, '-f', $path, $db ], 'dumped');
		ok($load->acknowledged(5), 'clients go on');
		$load->end;
		is_deeply([ $load->failures ], [], 'without an error');
		$load->is_kept($node, 'nothing is missing from the original');

		my $copy = "copy_$format";
		$other->sql('postgres', "CREATE DATABASE $copy");
		command_ok(
			$format eq 'plain'
			? [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', at($other), '-d', $copy, '-f', $path ]
			: [ 'pg_restore', '--exit-on-error', at($other), '-d', $copy, $path ],
			'restored in another cluster');
		my $log_id = restored_log($other, $copy);
		is($log_id, $node->sql($db, 'SELECT log_id FROM biometric.ledger_status()'),
			'it is the log that was dumped');
		my ($answer) = $other->records($copy,
			"SELECT ok, size, problem FROM biometric.verify_ledger('$log_id'::uuid)");
		ok($answer->{ok}, 'which verifies: ' . ($answer->{problem} // 'no problem'));
		cmp_ok($answer->{size}, '>=', $mark, "with all $mark entries that were there before");
		policy($other, $copy);
		is($other->sql($copy, 'SELECT count(*) FROM enrolled'),
			$other->sql($copy, <<"END"), 'each row that was dumped is on record in it');
SELECT count(*) FROM enrolled AS e WHERE EXISTS (
	SELECT FROM biometric.image_entry AS i
	WHERE i.log_id = '$log_id' AND i.image_id = biometric.image_id(e.img))
END
		my $result = $other->connect_from('local', $copy, 'custodian')
		  ->query(q{SELECT biometric.fork_ledger('a new cluster')});
		is($result->error, undef, 'it is adopted') || diag $result->message;
		ok($other->verifies($copy), 'the present log verifies');
		is(officer($other, $copy)->query($read)->row_count, 5, 'and is at work');
		ok( $other->sql($copy, "SELECT ok FROM biometric.verify_ledger('$log_id'::uuid)") eq 't',
			'the adopted one verifies, too');
	};
}

foreach my $strategy (qw(wal_log file_copy))
{
	subtest "a database from a template with entries, strategy $strategy" => sub {
		my $load = BiometricAudit::Load->begin($node, $db, strangers => 0);
		ok($load->acknowledged(5), 'clients are at work');
		my $copy = "copy_$strategy";
		my $create = "CREATE DATABASE $copy TEMPLATE $db STRATEGY $strategy";
		my $result = $node->admin('postgres')->query($create);
		is($result->sqlstate, '55006', 'it cannot be copied while it is used');
		ok($load->acknowledged(5), 'its clients go on');
		$load->end;
		my @others = grep { !/^55000 .* within \d+ ms/ } $load->failures;
		is_deeply(\@others, [], 'who got no other error than one that waited in vain');
		$node->leave($db);
		ok(poll_until(sub { !$node->admin('postgres')->query($create)->error }), 'then it can');
		$node->crash;
		$node->start;
		$result = officer($node, $copy)->query($read);
		like($result->sqlstate // 'none', qr/^(55000|42501)$/, 'the copy refuses, after a crash, too');
		is($result->row_count, 0, 'it releases nothing');
		like(($result->detail // '') . ($result->hint // ''), qr/fork_ledger/, 'and says what to do');
		$load->is_kept($node, 'the original has lost nothing');
		is($node->policy($copy, q{SELECT biometric.fork_ledger('a copy') IS NOT NULL}), 't', 'forked');
		ok(poll_until(sub { officer($node, $copy)->query($read)->row_count == 5 }), 'it serves');
		ok($node->verifies($copy), 'and verifies');
	};
}

subtest 'databases from a template without entries have a log each' => sub {
	$node->sql('postgres', 'CREATE DATABASE blank');
	$node->sql('blank', 'CREATE EXTENSION biometric_audit');
	my %ids;
	foreach my $strategy (qw(wal_log file_copy))
	{
		$node->leave('blank');
		my $copy = "blank_$strategy";
		my $create = "CREATE DATABASE $copy TEMPLATE blank STRATEGY $strategy";
		ok(poll_until(sub { !$node->admin('postgres')->query($create)->error }), 'copied');
		furnish_copy($copy);
		is(officer($node, $copy)->query($read)->row_count, 5, 'it serves at once');
		ok($node->verifies($copy), 'and verifies');
		$ids{ log_of($copy) }++;
	}
	$ids{ log_of('blank') }++;
	is(scalar keys %ids, 3, 'under three identities');
};

# The log that a database's worker has taken up.
sub log_of
{
	my ($database) = @_;
	my $id;
	poll_until(sub { $id = $node->sql($database, 'SELECT log_id FROM biometric.ledger_status()') });
	return $id;
}

sub furnish_copy
{
	my ($copy) = @_;
	$node->sql($copy, BiometricAudit::Picture::numbered_jpeg_sql());
	$node->register($copy, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
	$node->sql($copy, <<'END');
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
GRANT SELECT ON traveller TO officer;
INSERT INTO traveller
	SELECT n, numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(1, 5) AS n;
END
	return;
}

$_->stop foreach ($node, $other);
done_testing();
