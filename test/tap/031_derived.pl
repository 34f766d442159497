# What the ledger's worker derives from the entries, a row or a few a block of
# 256: each row of biometric.activity and biometric.traced is the one that the
# raw entries make, whoever wrote them and whatever became of the server in
# between, and verify_ledger() would say so if it were not.

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);
use BiometricAudit::Picture qw(numbered_jpeg_sql);

use constant { BLOCK => 256, SEGMENT => 1024, LONG_SEGMENT => 32768 };

my $keys = PostgreSQL::Test::Utils::tempdir();
system_or_bail('sh', '-c', "umask 077; openssl genpkey -algorithm ed25519 -out '$keys/signing.pem'");
my $node = BiometricAudit::Node->create(
	'agency',
	conf => join "\n",
	"biometric_audit.signing_key = '$keys/signing.pem'",
	'biometric_audit.segment_size = ' . SEGMENT,
	'biometric_audit.release_batch_rows = 7',
	'restart_after_crash = on',
	'');
my $db = 'postgres';

# ---------------------------------------------------------------- what the entries make

# Everything that the raw entries say, each with its session's, as biometric.decode_entry()
# decodes them: no code that the worker uses but that.
my $raw = <<'END';
CREATE TEMP TABLE raw AS
SELECT e.log_id, e.seq, e.seq / 256 AS block, e.seq % 256 AS place, l.segment_size,
	max(e.seq) OVER (PARTITION BY e.log_id) + 1 AS size, d.*
FROM biometric.entry AS e JOIN biometric.log AS l USING (log_id), biometric.decode_entry(e.entry) AS d;
CREATE INDEX ON raw (log_id, seq);
ANALYZE raw;
END

my $activity = <<'END';
SELECT r.log_id, coalesce(s.party, '') AS party, r.block,
	coalesce(s.session_user_name, '') AS session_user_name, count(*)::int AS entries,
	count(*) FILTER (WHERE r.event IN ('disclosed', 'observed'))::int AS disclosures,
	min(r.at) AS first_at, max(r.at) AS last_at
FROM raw AS r JOIN raw AS q ON q.log_id = r.log_id AND q.seq = r.reference
	JOIN raw AS s ON s.log_id = r.log_id AND s.event = 'session'
		AND s.seq = CASE q.event WHEN 'statement' THEN q.reference ELSE q.seq END
WHERE r.event NOT IN ('session', 'statement') AND r.block < r.size / 256
GROUP BY 1, 2, 3, 4
END

my $traced = <<'END';
SELECT * FROM (
	SELECT log_id, block,
		coalesce(string_agg(set_byte('\x00', 0, place::int)
			|| CASE WHEN picture_hash IS NULL THEN '\x00'::bytea ELSE '\x01' END
			|| int4send(coalesce(key, 0)::int) || uuid_send(image_id) || substr(digest, 1, 16)
			|| coalesce(picture_hash, decode(repeat('00', 32), 'hex')), '' ORDER BY seq)
			FILTER (WHERE event IN ('stored', 'replaced') AND digest IS NOT NULL), '') AS stored,
		coalesce(string_agg(set_byte('\x00', 0, place::int) || substr(uuid_send(image_id), 13), ''
			ORDER BY seq) FILTER (WHERE event IN ('disclosed', 'observed')), '') AS disclosed
	FROM raw WHERE image_id IS NOT NULL AND block < size / 256 GROUP BY 1, 2) AS t
WHERE length(stored) + length(disclosed) > 0
END

# How many rows a table has that the entries do not make, and the other way round.
sub differences
{
	my ($database, $table, $expected, $where) = @_;
	my $there = "SELECT * FROM biometric.$table WHERE $where";
	$expected = "SELECT * FROM ($expected) AS x WHERE $where";
	return $node->sql($database, "SELECT count(*) FROM (($there EXCEPT ALL $expected)
		UNION ALL ($expected EXCEPT ALL $there)) AS d");
}

# Everything that was appended is in the tables; returns how many full blocks there are.
sub settle
{
	my ($database) = @_;
	poll_until(
		sub {
			($node->sql($database, 'SELECT pending = 0 AND state = \'ready\' FROM biometric.ledger_status()') // '') eq 't';
		}) || diag 'the ledger does not settle';
	return int($node->sql($database, 'SELECT size FROM biometric.ledger_status()') / BLOCK);
}

# is_derived(name, database): all rows are what the entries make, those before
# "first" left aside.
sub is_derived
{
	my ($name, $database, $first) = @_;
	my $where = 'block >= ' . ($first // 0);
	my $full = settle($database);
	$node->sql($database, 'DROP TABLE IF EXISTS raw');
	$node->sql($database, $raw);
	return subtest "$name: $full full blocks" => sub {
		is( $node->sql($database, <<'END'), 0, 'no entry refers to one of another segment');
SELECT count(*) FROM raw WHERE reference / segment_size <> seq / segment_size
END
		is(differences($database, 'activity', $activity, $where), 0, 'activity is what they make');
		is(differences($database, 'traced', $traced, $where), 0, 'traced is what they make');
		cmp_ok($node->sql($database, "SELECT count(*) FROM biometric.activity WHERE $where"),
			'>', 0, 'which is something');
		ok($node->verifies($database), 'and verify_ledger() agrees');
	};
}

# ---------------------------------------------------------------- one database after another

sub pictures
{
	my ($first, $last) = @_;
	return 'INSERT INTO face SELECT n, numbered_jpeg(n, 300)::biometric.face_image '
	  . "FROM generate_series($first, $last) AS n";
}

sub furnish
{
	my ($database) = @_;
	$node->prepare($database);
	$node->register($database, 'police', '127.0.0.2/32', '{face}', 'open');
	$node->register($database, 'registry', '127.0.0.3/32', '{face}', 'observe');
	$node->sql($database, 'CREATE TABLE face (id int PRIMARY KEY, img biometric.face_image); '
		  . 'GRANT SELECT ON face TO officer, clerk');
	$node->sql($database, pictures(1, 60));
	return;
}

$node->sql($db, 'CREATE ROLE clerk LOGIN');
furnish($db);

subtest 'parties and logins that take turns share blocks' => sub {
	my @wires = map {
		my $address = $_;
		map { $node->connect_from($address, $db, $_) } qw(officer clerk)
	} qw(127.0.0.2 127.0.0.3 127.0.0.1 local);
	foreach my $round (1 .. 60)
	{
		my $from = $round % 40;
		$_->query("SELECT img FROM face WHERE id BETWEEN $from AND $from + " . $round % 9) foreach @wires;
	}
	$_->close foreach @wires;
	settle($db);
	cmp_ok($node->sql($db, q{SELECT count(*) FROM biometric.activity WHERE party = ''}),
		'>', 0, 'clients of no party are there');
	cmp_ok(
		$node->sql($db, <<'END'), '>=', 6, 'and several parties and logins in one block');
SELECT max(n) FROM (SELECT count(*) AS n FROM biometric.activity GROUP BY block) AS b
END
	is( $node->sql($db, <<'END'), 't', 'every disclosure in a full block is counted once');
SELECT (SELECT sum(disclosures) FROM biometric.activity) = (SELECT count(*) FROM biometric.ledger
	WHERE event IN ('disclosed', 'observed') AND seq < (SELECT size / 256 * 256 FROM biometric.ledger_status()))
END
	cmp_ok($node->sql($db, 'SELECT sum(length(stored)) FROM biometric.traced'),
		'>=', 60 * 70, 'and so is every stored image');
	is_derived('after that', $db);
};

# So that the next worker begins within a block that has entries of sessions before it.
sub begin_block
{
	my ($wire, $database) = @_;
	my $size;
	do
	{
		$wire->query('SELECT img FROM face WHERE id <= 30');
		settle($database);
		$size = $node->sql($database, 'SELECT size FROM biometric.ledger_status()');
	} while ($size % BLOCK < 20 || $size % BLOCK > 200);
	return $size;
}

sub finish_block
{
	my ($database, $size) = @_;
	my $end = ($size / BLOCK + 1) * BLOCK;
	my $wire = $node->connect_from('127.0.0.3', $database, 'clerk');
	do { $wire->query('SELECT img FROM face') } while ($node->sql($database,
			'SELECT size FROM biometric.ledger_status()') <= $end);
	$wire->close;
	return settle($database);
}

subtest 'a worker that begins within a block goes on with it' => sub {
	my $wire = $node->connect_from('127.0.0.2', $db, 'officer');
	my $size = begin_block($wire, $db);
	my $pid = $node->worker($db);
	$node->sql($db, "SELECT pg_terminate_backend($pid)");
	poll_until(sub { !BiometricAudit::Node::process_alive($pid) });
	$wire->query('SELECT img FROM face WHERE id <= 9');
	finish_block($db, $size);
	ok($node->worker($db, $pid), 'it is another one');
	is_derived('after that', $db);
	$wire->close;
};

subtest 'a worker that is killed within a block has left nothing half done' => sub {
	my $wire = $node->connect_from('127.0.0.2', $db, 'officer');
	my $size = begin_block($wire, $db);
	# all others are ended with it, and recovery follows
	$node->kill_one(sub { return $node->worker($db); });
	poll_until(sub { $node->sql($db, 'SELECT state FROM biometric.ledger_status()') eq 'ready' });
	finish_block($db, $size);
	is_derived('after that', $db);
};

subtest 'a server that crashes within a block recovers with it' => sub {
	foreach my $round (1 .. 2)
	{
		my $wire = $node->connect_from('127.0.0.2', $db, 'officer');
		my $size = begin_block($wire, $db);
		# changes are deferred: what is acknowledged need not be durable by itself
		$node->sql($db, pictures(1000 * $round, 1000 * $round + 150));
		$node->crash;
		$node->start;
		finish_block($db, $size);
		is_derived("after crash $round", $db);
	}
};

subtest 'the transaction that creates the extension fills blocks itself' => sub {
	$node->sql($db, 'CREATE DATABASE begun');
	$node->sql('begun', numbered_jpeg_sql());
	$node->sql('begun',
		'BEGIN; CREATE EXTENSION biometric_audit; '
		  . 'CREATE TABLE face (id int PRIMARY KEY, img biometric.face_image); '
		  . pictures(1, 1500) . '; UPDATE face SET id = id + 10000, img = NULL WHERE id <= 300; COMMIT');
	cmp_ok(settle('begun'), '>=', 6, 'more than a segment of them');
	is_derived('they have their rows', 'begun');
	$node->sql('begun', 'GRANT biometric_auditor TO auditor');
	$node->sql('begun', pictures(2000, 2300));
	is_derived('and so have those that follow', 'begun');
};

subtest 'a segment of many statements: who refers far back is found all the same' => sub {
	$node->sql($db, 'CREATE DATABASE busy');
	$node->set('biometric_audit.segment_size', LONG_SEGMENT);
	furnish('busy');
	$node->set('biometric_audit.segment_size', SEGMENT);
	is($node->sql('busy', 'SELECT segment_size FROM biometric.log'), LONG_SEGMENT, 'of 32768 entries');
	my $idle = $node->connect_from('127.0.0.2', 'busy', 'clerk');
	$idle->query('BEGIN; DECLARE c CURSOR FOR SELECT img FROM face');
	$idle->query('FETCH 1 FROM c');
	my $wire = $node->connect_from('127.0.0.3', 'busy', 'officer');
	# several thousand statements, in several messages
	$wire->query(join ';', map { 'SELECT img FROM face WHERE id = ' . ($_ % 60 + 1) } 1 .. 500) foreach 1 .. 5;
	$idle->query('FETCH 30 FROM c');
	$wire->query('SELECT img FROM face') foreach 1 .. 5;
	$_->close foreach $idle, $wire;
	cmp_ok($node->sql('busy', q{SELECT count(*) FROM biometric.ledger WHERE event = 'statement'}),
		'>', 2500, 'more statements than are kept in memory');
	is_derived('after that', 'busy');
};

subtest 'detached segments leave their rows' => sub {
	my $exports = PostgreSQL::Test::Utils::tempdir();
	my $rows = 'SELECT md5(string_agg(a::text, \'\' ORDER BY a::text)) FROM biometric.%s AS a WHERE block < '
	  . SEGMENT / BLOCK;
	my %before = map { $_ => $node->sql($db, sprintf $rows, $_) } qw(activity traced);
	poll_until(sub { $node->sql($db, 'SELECT h.settled = s.size FROM biometric.ledger_status() AS s, biometric.head AS h
			WHERE h.log_id = s.log_id') eq 't' });
	$node->run('auditor', $db, 'SELECT biometric.checkpoint()');
	$node->sql($db, "SELECT biometric.export_ledger('$exports/archive')");
	my ($out) = run_command([ 'biometric-verify', 'segment', "$exports/archive", 0,
			'--segment-size', SEGMENT, '--json', '--key-file', "$exports/archive/verifier" ]);
	my $root = JSON::PP->new->utf8->decode($out)->{root};
	$node->policy($db, "SELECT biometric.detach_segment(0, '\\x$root', 'it is in the archive')");
	is($node->sql($db, 'SELECT count(*) FROM biometric.ledger WHERE seq < ' . SEGMENT), 0, 'the entries are gone');
	is($node->sql($db, sprintf $rows, $_), $before{$_}, "the rows of $_ are not") foreach qw(activity traced);
	is_derived('the others', $db, SEGMENT / BLOCK);
	ok(!$node->connect_from('local', $db, BiometricAudit::Node::superuser())
		  ->query("SELECT biometric.export_ledger('$exports/later')")->error, 'what is left can be exported');
};

subtest 'dropping and creating the extension anew begins with nothing' => sub {
	my $old = $node->sql('begun', 'SELECT log_id FROM biometric.log');
	$node->sql('begun', 'GRANT biometric_custodian TO custodian');
	$node->policy('begun', q{SELECT biometric.retire_ledger('it is over')});
	$node->drop_extension('begun');
	$node->sql('begun', 'DROP TABLE face; CREATE EXTENSION biometric_audit');
	$node->sql('begun', 'CREATE TABLE face (id int PRIMARY KEY, img biometric.face_image)');
	$node->sql('begun', pictures(1, 300));
	is_derived('in the new log', 'begun');
	is($node->sql('begun', "SELECT count(*) FROM biometric.activity WHERE log_id = '$old'"), 0, 'of the old one there is nothing');
};

done_testing();
