# A server's memory does not depend on how much a client reads.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node;
use BiometricAudit::Picture qw(numbered_jpeg);

use constant OFFICE => '127.0.0.2';
use constant BINARY => 1;
use constant MB => 1024;

my $node = BiometricAudit::Node->create('agency');
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
$node->sql(
	$db, q{CREATE TABLE large (id int, img biometric.face_image); CREATE TABLE small (LIKE large);
	INSERT INTO large
	SELECT n, numbered_jpeg(n, 1048576)::biometric.face_image FROM generate_series(1, 20) AS n;
	INSERT INTO small
	SELECT n, numbered_jpeg(n, 300)::biometric.face_image FROM generate_series(1, 2000) AS n;
	GRANT SELECT ON large, small TO officer});

plan skip_all => 'no RssAnon in /proc' unless defined anonymous($$);

# Private memory of a process in kB: without shared buffers.
sub anonymous
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/status" or return undef;
	while (my $line = <$file>)
	{
		return $1 if $line =~ /^RssAnon:\s+(\d+) kB/;
	}
	return undef;
}

sub officer { return $node->connect_from(OFFICE, $db, 'officer', 'border_control'); }

# The most private memory that a backend has while a query's result is read,
# and the bytes and rows read.
sub peak
{
	my ($wire, $sql, %how) = @_;
	my ($peak, $bytes, $rows) = (0, 0, 0);
	my $result = $wire->extended(
		$sql,
		results => [BINARY],
		%how,
		on_row => sub {
			my ($values) = @_;
			$bytes += length $values->[0];
			return if $rows++ % ($how{every} // 1);
			my $now = anonymous($wire->pid);
			$peak = $now if $now > $peak;
		});
	is($result->message, undef, 'no error');
	return ($peak, $bytes, $rows);
}

# Batch size, of which two halves are under way, one row as stored and as sent, and some slack.
my $batch = 4 * MB;
my $allowance = 4 * MB;

subtest 'releasing 500 MB takes no more memory than a batch and a row' => sub {
	my $wire = officer();
	$wire->query('SELECT id FROM large');
	my $before = anonymous($wire->pid);
	my ($few) = peak($wire, 'SELECT img FROM large WHERE id <= 5');
	my ($many, $bytes, $rows) = peak($wire, 'SELECT img FROM large, generate_series(1, 25)');
	is($rows, 500, 'rows');
	is($bytes, 500 * 1048576, 'bytes');
	my $row = 3 * MB;
	note "before $before kB, few rows $few kB, many rows $many kB";
	cmp_ok($many - $before, '<', $batch + $row + $allowance, 'growth over an idle backend');
	cmp_ok($many - $few, '<', $batch + $allowance, 'growth over a small result');
	my $after = anonymous($wire->pid);
	cmp_ok($after - $before, '<', $batch + $row + $allowance, 'and afterwards');
};

subtest 'text and image::bytea take no more' => sub {
	my $wire = officer();
	$wire->query('SELECT id FROM large');
	my $before = anonymous($wire->pid);
	my ($text) = peak($wire, 'SELECT img FROM large, generate_series(1, 3)', results => [0]);
	cmp_ok($text - $before, '<', $batch + 6 * MB + $allowance, 'text');
	my ($cast) = peak($wire, 'SELECT img::bytea FROM large, generate_series(1, 5)');
	cmp_ok($cast - $before, '<', $batch + 8 * MB + $allowance, 'image::bytea');
	my ($suspended) = peak($wire, 'SELECT img FROM large, generate_series(1, 5)', max_rows => 7);
	cmp_ok(
		$suspended - $before,
		'<',
		$batch + 8 * MB + $allowance,
		'a portal that is suspended again and again');
};

subtest 'releasing very many small pictures takes no more memory than releasing some' => sub {
	my $wire = officer();
	# The plan must not keep the rows itself.
	$wire->query('SET enable_material = off');
	my ($some) = peak($wire, 'SELECT img FROM small', every => 50);
	my ($many, undef, $rows) =
	  peak($wire, 'SELECT img FROM small, generate_series(1, 40)', every => 500);
	is($rows, 80_000, 'rows');
	cmp_ok($many - $some, '<', 1 * MB, 'growth');
};

subtest 'a session and its worker keep nothing of the statements that they have served' => sub {
	my $wire = officer();
	my $worker = $node->worker($db);
	$wire->send_parse('s', 'SELECT img FROM small LIMIT 2');
	my $serve = sub {
		my ($times) = @_;
		for (1 .. $times)
		{
			$wire->send_bind('', 's', results => [BINARY]);
			$wire->send_execute('', $_ % 2);
			$wire->send_sync;
			die 'wrong number of rows' if $wire->drain->row_count != ($_ % 2 || 2);
		}
		return (anonymous($wire->pid), anonymous($worker));
	};
	my ($session_before, $worker_before) = $serve->(300);
	my ($session_after, $worker_after) = $serve->(1500);
	cmp_ok($session_after - $session_before,
		'<', 512, "session: $session_before kB, then $session_after kB");
	cmp_ok($worker_after - $worker_before,
		'<', 1 * MB, "worker: $worker_before kB, then $worker_after kB");
};

subtest 'errors and refusals leave nothing behind' => sub {
	my $wire = officer();
	my $fail = sub {
		my ($times) = @_;
		for (1 .. $times)
		{
			$wire->query('SELECT img, 1 / (id - 40) FROM small', on_row => sub { });
			$wire->query("SET biometric_audit.purpose = 'border_control'");
		}
		return anonymous($wire->pid);
	};
	my $before = $fail->(100);
	my $after = $fail->(500);
	cmp_ok($after - $before, '<', 512, "$before kB, then $after kB");
};

ok($node->verifies($db), 'the ledger verifies');

done_testing();
