# Long transactions, locks on the ledger's tables, and whatever maintenance
# does with them while clients are at work: harmless, refused, or an error in
# bounded time; nothing that was acknowledged is missing.

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
	conf => "biometric_audit.ledger_timeout = '20s'\nmax_prepared_transactions = 4\n"
	  . "deadlock_timeout = '100ms'\n");
furnish($node, $db);

my $read = 'SELECT img FROM traveller LIMIT 5';

# A session of the superuser's own.
sub session { return $node->connect_from('local', $db, $node->superuser); }
sub officer { return $node->connect_from(OFFICE, $db, 'officer', 'border_control'); }

my @tables = split / /, $node->sql($db, <<'END');
SELECT string_agg(oid::regclass::text, ' ' ORDER BY relname) FROM pg_class
WHERE relnamespace = 'biometric'::regnamespace AND relkind = 'r'
END
my @locks =
  ('SHARE UPDATE EXCLUSIVE', 'SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE');

subtest 'strong locks are refused, by whomever they are asked for' => sub {
	foreach my $table (@tables)
	{
		foreach my $lock (@locks)
		{
			my $wire = session();
			$wire->query('BEGIN');
			is($wire->query("LOCK TABLE $table IN $lock MODE NOWAIT")->sqlstate,
				'42501', "$lock of $table");
		}
	}
	is(officer()->query($read)->row_count, 5, 'readers are served');
};

subtest 'rows of the ledger cannot be locked' => sub {
	foreach my $table (@tables)
	{
		foreach my $lock ('UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE')
		{
			my $wire = session();
			$wire->query('BEGIN');
			my $result = $wire->query("SELECT 1 FROM $table LIMIT 1 FOR $lock NOWAIT");
			is($result->sqlstate, '42501', "FOR $lock: $table");
		}
	}
};

subtest 'whoever holds what may be held keeps nobody from being served' => sub {
	my @sessions = map { session() } 0 .. 2;
	$sessions[0]->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$sessions[0]->query("SELECT count(*) FROM $_") foreach @tables;
	$sessions[1]->query('BEGIN');
	$sessions[1]->query("LOCK TABLE $_ IN ROW EXCLUSIVE MODE") foreach @tables;
	$sessions[2]->query('BEGIN ISOLATION LEVEL SERIALIZABLE');
	$sessions[2]->query("SELECT count(*) FROM $_") foreach @tables;
	is($sessions[2]->query(q{PREPARE TRANSACTION 'reader'})->error, undef, 'a prepared one, too');
	my $load = BiometricAudit::Load->begin($node, $db);
	ok($load->acknowledged(10), 'clients are at work');
	$node->crash;
	$node->start;
	ok($load->acknowledged(10), 'beside a prepared transaction after a crash, too');
	$node->sql($db, q{ROLLBACK PREPARED 'reader'});
	$load->end;
	$load->is_kept($node, 'nothing is missing');
};

my @maintenance = (
	(   map { ("VACUUM $_", "VACUUM (FREEZE, ANALYZE) $_", "VACUUM FULL $_", "REINDEX TABLE $_",
				"REINDEX TABLE CONCURRENTLY $_") }
		  grep { /entry(_0[01])?$|tile|head|\.log$/ } @tables),
	'VACUUM FULL',
	'VACUUM (FREEZE)',
	'ANALYZE',
	'CHECKPOINT',
	'REINDEX SCHEMA biometric',
	"REINDEX DATABASE $db",
	(map { "CLUSTER $_ USING " . ($_ =~ /\.(\w+)$/)[0] . '_pkey' } grep { /tile|head/ } @tables));

subtest 'maintenance under load' => sub {
	my $load = BiometricAudit::Load->begin($node, $db);
	my $wire = session();
	foreach my $sql (@maintenance)
	{
		my $result = $wire->query($sql);
		is($result->sqlstate // '', '', $sql) || diag $result->message;
	}
	ok($load->acknowledged(5), 'clients are at work');
	$load->end;
	my @failures = $load->failures;
	is(scalar @failures, 0, 'and received no error') || diag "@failures[0 .. 3]";
	$load->is_kept($node, 'nothing is missing');
};

subtest 'autovacuum under load' => sub {
	$node->append_conf('postgresql.conf', <<'END');
autovacuum_naptime = 1s
autovacuum_vacuum_threshold = 0
autovacuum_vacuum_scale_factor = 0
autovacuum_vacuum_insert_threshold = 0
autovacuum_vacuum_insert_scale_factor = 0
autovacuum_analyze_threshold = 0
autovacuum_analyze_scale_factor = 0
END
	$node->settle;
	my $load = BiometricAudit::Load->begin($node, $db);
	ok( poll_until(
			sub {
				$node->sql($db, <<'END') >= 3;
SELECT sum(autovacuum_count) FROM pg_stat_all_tables
WHERE schemaname = 'biometric' AND relname ~ 'entry|tile|head'
END
			}),
		'the ledger\'s tables are vacuumed');
	ok($load->acknowledged(5), 'clients are at work');
	$load->end;
	is_deeply([ $load->failures ], [], 'and received no error');
	$load->is_kept($node, 'nothing is missing');
};

subtest 'a VACUUM FULL that waits for a long transaction: an error in bounded time' => sub {
	my ($entry) = grep { /entry/ } @tables;
	$node->set('biometric_audit.ledger_timeout', '2s');
	my ($long, $vacuum) = (session(), session());
	my $load = BiometricAudit::Load->begin($node, $db, strangers => 0);
	$long->query('BEGIN');
	foreach my $table (grep { /entry/ } @tables)
	{
		$long->query("SELECT count(*) FROM $table");
	}
	ok($load->acknowledged(5), 'clients are at work beside a long transaction');
	$vacuum->send_query("VACUUM FULL $entry");
	ok($load->failed(1), 'and not beside what wants to be alone and has to wait for it');
	my $result = officer()->query($read);
	is($result->sqlstate,  '55000', 'an error: ' . ($result->message // 'none'));
	is($result->row_count, 0,       'nothing is released');
	like($result->detail, qr/lock timeout/, 'and why: ' . $result->detail);
	$long->query('COMMIT');
	is($vacuum->drain->error, undef, 'when the transaction has ended it is done');
	ok($load->acknowledged(5), 'clients go on');
	$load->end;
	$load->is_kept($node, 'nothing is missing');
	$node->set('biometric_audit.ledger_timeout', '20s');
};

subtest 'what would stand in the way for long is refused' => sub {
	$node->sql($db, $_)
	  foreach ('SET allow_in_place_tablespaces = on', q{CREATE TABLESPACE elsewhere LOCATION ''});
	my $entry = (grep { /entry/ } @tables)[0];
	foreach my $sql (
		"CREATE INDEX CONCURRENTLY ON $entry (seq)",
		"CREATE INDEX ON $entry (seq)",
		"ALTER TABLE $entry SET TABLESPACE pg_default",
		"ALTER TABLE $entry SET (autovacuum_enabled = off)",
		"ALTER TABLE $entry SET LOGGED",
		"ALTER TABLE $entry CLUSTER ON " . ($entry =~ /\.(\w+)$/)[0] . '_pkey',
		'ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE elsewhere',
		"TRUNCATE $entry",
		"CREATE STATISTICS s ON log_id, seq FROM $entry")
	{
		my $result = session()->query($sql);
		is($result->sqlstate, '42501', $sql) || diag $result->message // 'no error';
	}
	foreach my $sql ("VACUUM FULL $entry", "REINDEX TABLE $entry", "REINDEX INDEX ${entry}_pkey")
	{
		my $wire = session();
		$wire->query('BEGIN');
		my $result = $wire->query($sql);
		like($result->sqlstate // '', qr/^(42501|25001)$/, "in a transaction: $sql");
	}
};

$node->stop;
done_testing();
