# Nobody writes to the ledger or the policy by SQL, the superuser included; and
# when somebody does it behind the extension's back, verify_ledger() says so
# and names the first bad entry.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(is_sealed opened poll_until);
use BiometricAudit::Picture;

use constant OFFICE => '127.0.0.2';

# So many times 60 entries make a full tile of level 1.
use constant FULL_TILE => 18;

my $node = BiometricAudit::Node->create('agency',
	conf => "biometric_audit.max_databases = 24\nbiometric_audit.ring_size = '256kB'\n"
	  . "max_worker_processes = 40\n");
my $db = 'postgres';

sub furnish
{
	my ($name, $times) = @_;
	$node->prepare($name);
	$node->register($name, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
	$node->sql(
		$name, q{CREATE TABLE t (id int, img biometric.face_image); GRANT SELECT ON t TO officer;
		INSERT INTO t
		SELECT n, numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(1, 60) AS n});
	reads($name) foreach 2 .. $times // 1;
	return reads($name);
}

sub reads
{
	my ($name) = @_;
	return $node->connect_from(OFFICE, $name, 'officer', 'border_control')
	  ->query('SELECT img FROM t');
}

sub verification
{
	my ($name) = @_;
	my ($answer) = $node->records($name, 'SELECT * FROM biometric.verify_ledger()');
	return $answer;
}

is(furnish($db)->row_count, 60, 'a ledger with entries');
ok($node->verifies($db), 'that verifies');

my @tables = split / /, $node->sql($db, <<'END');
SELECT string_agg(oid::regclass::text, ' ' ORDER BY relname) FROM pg_class
WHERE relnamespace = 'biometric'::regnamespace AND relkind IN ('r', 'p')
END
cmp_ok(scalar @tables, '>=', 7, "tables: @tables");

foreach my $table (@tables)
{
	subtest "nobody writes to $table by SQL" => sub {
		my $column = $node->sql($db, <<"END");
SELECT attname FROM pg_attribute
WHERE attrelid = '$table'::regclass AND attnum > 0 AND attidentity = '' ORDER BY attnum DESC LIMIT 1
END
		my $count = $node->sql($db, "SELECT count(*) FROM $table");
		# A dump may bring rows of other databases' logs: it is each row that is refused.
		my $receives = $table =~ /^biometric\.(log|entry_\d+|tile|segment|head|home|image_entry|checkpoint|verifier|cosignature|activity|traced|collection(?:_limit)?|hold|held|key_pin|key_binding|retention(?:_past)?)$/;
		my @attempts = (
			$receives && $count == 0
			? ()
			: "INSERT INTO $table OVERRIDING SYSTEM VALUE SELECT * FROM $table LIMIT 1",
			"INSERT INTO $table DEFAULT VALUES ON CONFLICT DO NOTHING",
			"UPDATE $table SET $column = $column",
			"UPDATE ONLY $table SET $column = $column WHERE false",
			"DELETE FROM $table",
			"DELETE FROM $table WHERE false",
			"TRUNCATE $table",
			"TRUNCATE $table CASCADE",
			$receives
			? ()
			: ( "INSERT INTO $table OVERRIDING SYSTEM VALUE SELECT * FROM $table WHERE false",
				"COPY $table FROM '/dev/null'",
				"COPY $table FROM PROGRAM 'true'"),
			"MERGE INTO $table USING (SELECT 1) AS s ON false WHEN MATCHED THEN DELETE",
			"MERGE INTO $table AS m USING $table AS s ON m.$column = s.$column "
			  . "WHEN MATCHED THEN UPDATE SET $column = s.$column",
			"WITH d AS (DELETE FROM $table RETURNING 1) SELECT count(*) FROM d",
			"DO 'BEGIN DELETE FROM $table; END'",
			"PREPARE p AS DELETE FROM $table; EXECUTE p",
			"EXPLAIN ANALYZE DELETE FROM $table");
		foreach my $before ('', 'SET session_replication_role = replica; ')
		{
			foreach my $sql (@attempts)
			{
				my $wire = $node->connect_from('local', $db, $node->superuser);
				my $result = $wire->query("$before$sql");
				is($result->sqlstate, '42501', "$before$sql") || diag $result->message
				  // 'no error';
			}
		}
		foreach my $role (qw(officer custodian auditor biometric_custodian))
		{
			my $wire = $node->connect_from('local', $db, $node->superuser);
			$wire->query("SET ROLE $role");
			is($wire->query("DELETE FROM $table")->sqlstate, '42501', "as $role");
		}
		my $wire = $node->connect_from('local', $db, $node->superuser);
		$wire->query("CREATE VIEW public.door AS SELECT * FROM $table");
		is($wire->query('DELETE FROM public.door')->sqlstate, '42501', 'through a view');
		$wire->query('DROP VIEW public.door');
		my $now = $node->sql($db, "SELECT count(*) FROM $table");
		$table =~ /entry|tile|head/
		  ? cmp_ok($now, '>=', $count, 'nothing is lost')
		  : is($now, $count, 'nothing changed');
	};
}

ok($node->verifies($db), 'after all the attempts the ledger verifies');
is(reads($db)->row_count, 60, 'and is at work');

# What is done to the ledger, and the entry that verification must name:
# a number, last (the last entry) or any.
my $flip = sub { "set_byte($_[0], $_[1], get_byte($_[0], $_[1]) # 1)" };
my @tamperings = (
	[ 'nothing', 'SELECT 1', undef ],
	[
		'a byte of the first entry',
		'UPDATE biometric.entry_00 SET entry = ' . $flip->('entry', 0) . ' WHERE seq = 0', 0
	],
	[
		'the time of an entry',
		'UPDATE biometric.entry_00 SET entry = ' . $flip->('entry', 9) . ' WHERE seq = 5', 5
	],
	[
		'the last byte of an entry',
		'UPDATE biometric.entry_00 SET entry = '
		  . $flip->('entry', 'length(entry) - 1')
		  . ' WHERE seq = 40',
		40
	],
	[
		'a byte of the last entry',
		'UPDATE biometric.entry_00 SET entry = ' . $flip->('entry', 20) . ' WHERE seq = {last}',
		'last'
	],
	[
		'an entry made longer',
		q{UPDATE biometric.entry_00 SET entry = entry || '\x00' WHERE seq = 12}, 12
	],
	[ 'an entry made empty', q{UPDATE biometric.entry_00 SET entry = '' WHERE seq = 12}, 12 ],
	[
		'two entries swapped',
		'UPDATE biometric.entry_00 SET seq = CASE seq WHEN 7 THEN 1000008 ELSE 1000007 END
		WHERE seq IN (7, 8);
		UPDATE biometric.entry_00 SET seq = seq - 1000000 WHERE seq > 1000000', 7
	],
	[ 'an entry removed', 'DELETE FROM biometric.entry_00 WHERE seq = 10', 10 ],
	[ 'the first entry removed', 'DELETE FROM biometric.entry_00 WHERE seq = 0', 0 ],
	[ 'the last entry removed', 'DELETE FROM biometric.entry_00 WHERE seq = {last}', 'last' ],
	[ 'all but the first removed', 'DELETE FROM biometric.entry_00 WHERE seq > 0', 1 ],
	[
		'an entry inserted', 'UPDATE biometric.entry_00 SET seq = -1 - seq WHERE seq >= 20;
		UPDATE biometric.entry_00 SET seq = -seq WHERE seq < 0;
		INSERT INTO biometric.entry_00 SELECT log_id, 20, leaf_hint, entry FROM biometric.entry_00 WHERE seq = 3', 20
	],
	[
		'an entry in place of another',
		'UPDATE biometric.entry_00 SET entry = (SELECT entry FROM biometric.entry_00 WHERE seq = 3)
		WHERE seq = 4', 4
	],
	[
		'an entry given to another log',
		'UPDATE biometric.entry_00 SET log_id = gen_random_uuid() WHERE seq = 6', 6
	],
	[
		'an entry moved to another table',
		'INSERT INTO biometric.entry_01 SELECT * FROM biometric.entry_00 WHERE seq = 11;
		DELETE FROM biometric.entry_00 WHERE seq = 11', 11
	],
	[
		'the hint of an entry',
		'UPDATE biometric.entry_00 SET leaf_hint = leaf_hint # 1 WHERE seq = 33', 33
	],
	[
		'an entry and its hint',
		'UPDATE biometric.entry_00 SET (entry, leaf_hint) = (SELECT entry, leaf_hint # 3 # 4
			FROM biometric.entry_00 WHERE seq = 3)
		WHERE seq = 4', 'any'
	],
	[
		'a byte of a tile',
		'UPDATE biometric.tile SET hashes = '
		  . $flip->('hashes', 32 * 6)
		  . ' WHERE level = 1 AND index = 0',
		'any', FULL_TILE
	],
	[ 'a tile removed', 'DELETE FROM biometric.tile', 'any', FULL_TILE ],
	[ 'the size in the head', 'UPDATE biometric.head SET size = size - 1', 'any' ],
	[ 'the root in the head', 'UPDATE biometric.head SET root = ' . $flip->('root', 0), 'any' ],
	[ 'the tail in the head', 'UPDATE biometric.head SET tail = ' . $flip->('tail', 0), 'any' ]);

my %last;
foreach my $n (0 .. $#tamperings)
{
	$node->sql($db, "CREATE DATABASE t$n");
	furnish("t$n", $tamperings[$n][3]);
	ok($node->verifies("t$n"), "t$n verifies") if $n == 0;
	$last{"t$n"} = $node->sql("t$n", 'SELECT max(seq) FROM biometric.ledger');
}
cmp_ok($last{t0}, '>', 64, 'two tiles and more');

$node->stop;
my $settings = slurp_file($node->data_dir . '/postgresql.conf');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
foreach my $n (0 .. $#tamperings)
{
	my $sql = $tamperings[$n][1];
	$sql =~ s/\{last\}/$last{"t$n"}/g;
	$node->sql(
		"t$n",
		join '; ',
		(map { "ALTER TABLE biometric.$_ DISABLE TRIGGER ALL" } qw(entry_00 entry_01 tile head)),
		$sql,
		(map { "ALTER TABLE biometric.$_ ENABLE ALWAYS TRIGGER guard" } qw(entry_00 entry_01 tile head)));
}
$node->stop;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'biometric_audit'");
$node->start;

foreach my $n (0 .. $#tamperings)
{
	my ($what, undef, $bad) = @{ $tamperings[$n] };
	my $name = "t$n";
	if (!defined $bad)
	{
		ok($node->verifies($name), 'a ledger that nobody touched verifies');
		is(reads($name)->row_count, 60, 'and is at work');
		next;
	}
	subtest "verification finds $what changed behind the extension's back" => sub {
		my $answer = verification($name);
		ok(!$answer->{ok}, 'the ledger does not verify');
		my $problem = $answer->{problem} // '';
		my $entry = $bad eq 'last' ? $last{$name} : $bad;
		$bad eq 'any'
		  ? like($problem, qr/\w/, "it says: $problem")
		  : like($problem, qr/\b$entry\b/, "it names entry $entry: $problem");
		my $result = reads($name);
		ok( $result->error ? $result->row_count == 0 : $result->row_count == 60,
			'the ledger either refuses or goes on: ' . ($result->message // 'goes on'));
		ok(!verification($name)->{ok}, 'and does not heal by itself');
	};
}

ok($node->verifies($db), 'the other databases are not affected');
is(reads($db)->row_count, 60, 'and at work');

done_testing();
