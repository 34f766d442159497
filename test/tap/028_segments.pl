# The ledger lets go of its oldest segments, once somebody has shown that they
# are in an archive: what is left verifies and can be proven as before, and the
# archive together with later exports does, too.

use strict;
use warnings;

use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);
use BiometricAudit::Picture;

use constant {
	SEGMENT => 1024,
	TABLES => 16,
	CANNOT => '55000',
	DENIED => '42501',
	INVALID => '22023',
};

my $keys = PostgreSQL::Test::Utils::tempdir();
my $exports = PostgreSQL::Test::Utils::tempdir();
system_or_bail('sh', '-c', "umask 077; openssl genpkey -algorithm ed25519 -out '$keys/signing.pem'");
my $node = BiometricAudit::Node->create('agency',
	conf => "biometric_audit.signing_key = '$keys/signing.pem'\n"
	  . 'biometric_audit.segment_size = ' . SEGMENT . "\n"
	  . "max_prepared_transactions = 2\nmax_worker_processes = 24\n");
my $db = 'postgres';

# Each picture that is stored is an entry.
sub grow
{
	my ($pictures) = @_;
	$node->sql($db,
		'INSERT INTO face SELECT n, numbered_jpeg(n, 300)::biometric.face_image '
		  . "FROM generate_series(1, $pictures) AS n");
	return settle();
}

# Everything durable, and covered by a stored checkpoint; returns the ledger's size.
sub settle
{
	my $size;
	poll_until(
		sub {
			my ($status) = $node->records($db,
				'SELECT s.size, s.pending, h.settled FROM biometric.ledger_status() AS s, biometric.head AS h '
				  . 'WHERE h.log_id = s.log_id');
			$size = $status->{size};
			return $status->{pending} == 0 && $status->{settled} == $size;
		}) || diag 'the ledger does not settle';
	$node->run('auditor', $db, 'SELECT biometric.checkpoint()');
	return $size;
}

sub export
{
	my ($name) = @_;
	my $result = $node->connect_from('local', $db, 'inspector')
	  ->query("SELECT files_written FROM biometric.export_ledger('$exports/$name')");
	diag $result->message . ' ' . ($result->detail // '') if $result->error;
	return $result;
}

sub tool
{
	my (@arguments) = @_;
	my ($out, $errors) = run_command([ 'biometric-verify', @arguments ]);
	my $status = $? >> 8;
	note "$out\n$errors";
	return ($status, $out);
}

sub archive_verifies
{
	my ($name, @options) = @_;
	my ($status) = tool('verify', "$exports/$name", '--key-file', "$exports/$name/verifier", @options);
	return $status == 0;
}

# The root of an archived segment, by the program.
sub archived_root
{
	my ($name, $segment) = @_;
	my ($status, $out) =
	  tool('segment', "$exports/$name", $segment, '--segment-size', SEGMENT, '--json', '--key-file', "$exports/$name/verifier");
	return $status == 0 ? JSON::PP->new->utf8->decode($out)->{root} : 'none';
}

sub detach_by
{
	my ($wire, $segment, $root, $reason) = @_;
	$reason //= 'it is in the archive';
	$root = $root eq 'NULL' ? 'NULL' : "'\\x$root'";
	return $wire->query("SELECT biometric.detach_segment($segment, $root, '$reason')");
}

sub detach { return detach_by($node->connect_from('local', $db, 'custodian'), @_); }

sub states
{
	return $node->sql($db, 'SELECT string_agg(state, \' \' ORDER BY segment) FROM biometric.segments');
}

$node->prepare($db);
$node->register($db, 'agency', '127.0.0.2/32', '{face}', 'open', '{border_control}');
$node->sql($db, 'CREATE ROLE inspector LOGIN');
$node->sql($db, 'GRANT biometric_auditor, pg_write_server_files TO inspector');
$node->sql($db, 'CREATE TABLE face (id int, img biometric.face_image); GRANT SELECT ON face TO officer');
$node->sql($db, 'CREATE TABLE pass (id int PRIMARY KEY, img biometric.face_image); GRANT SELECT ON pass TO officer');
$node->sql($db, 'INSERT INTO pass VALUES (1, numbered_jpeg(1, 300)::biometric.face_image)');
my $shown = $node->connect_from('127.0.0.2', $db, 'officer', 'border_control');
grow(3 * SEGMENT);

# ---------------------------------------------------------------- what is asked for

is(states(), 'full full full current', 'full segments, and the one that grows');
ok(!export('archive')->error, 'an archive is made');
my $root = archived_root('archive', 0);
like($root, qr/^[0-9a-f]{64}$/, 'the program computes the root of a segment from it');

subtest 'a segment is detached by a custodian, oldest first, full, with its root and a reason' => sub {
	my $mark = $node->mark($db);
	my %refused = (
		'another root' => [ 0, 'ab' x 32, undef, INVALID ],
		'the root of another segment' => [ 0, archived_root('archive', 1), undef, INVALID ],
		'what is no root' => [ 0, 'abcd', undef, INVALID ],
		'no root' => [ 0, 'NULL', undef, '22004' ],
		'no reason' => [ 0, $root, '  ', INVALID ],
		'a younger one' => [ 1, archived_root('archive', 1), undef, CANNOT ],
		'one that grows' => [ 3, $root, undef, CANNOT ],
		'one that there is not' => [ -1, $root, undef, CANNOT ]);
	foreach my $case (sort keys %refused)
	{
		my ($segment, $given, $reason, $state) = @{ $refused{$case} };
		my $result = detach($segment, $given, $reason);
		is($result->sqlstate, $state, "$case is refused: " . ($result->message // ''));
		ok($result->hint, 'with a hint');
	}
	foreach my $user ('auditor', $node->superuser)
	{
		is(detach_by($node->connect_from('local', $db, $user), 0, $root)->sqlstate, DENIED, "$user may not");
	}
	my $wire = $node->connect_from('local', $db, 'custodian');
	$wire->query('BEGIN READ ONLY');
	is(detach_by($wire, 0, $root)->sqlstate, '25006', 'nor may a transaction that only reads');
	unlike($node->events($db, $mark), qr/policy_changed/, 'none of it is an entry');
	is(states(), 'full full full current', 'and nothing has gone');
};

subtest 'a detachment that is rolled back leaves an entry, and all else as it was' => sub {
	my $before = $node->sql($db, 'SELECT count(*) FROM biometric.entry WHERE seq < ' . SEGMENT);
	my $wire = $node->connect_from('local', $db, 'custodian');
	$wire->query('BEGIN');
	ok(!detach_by($wire, 0, $root)->error, 'it is detached');
	$node->sql($db, 'INSERT INTO face SELECT 1, numbered_jpeg(1, 300)::biometric.face_image');
	pass('meanwhile the ledger grows');
	is($shown->query('SELECT img FROM pass')->row_count, 1, 'and pictures are released');
	$wire->query('ROLLBACK');
	is($node->sql($db, 'SELECT count(*) FROM biometric.entry WHERE seq < ' . SEGMENT), $before, 'the entries are there');
	is($node->sql($db, q{SELECT detail ->> 'action' FROM biometric.ledger WHERE event = 'policy_changed' ORDER BY seq DESC LIMIT 1}),
		'detach', 'and an entry, which says too much rather than too little');
	ok($node->verifies($db), 'the ledger verifies');
};

# ---------------------------------------------------------------- a segment goes

subtest 'a detached segment leaves its root' => sub {
	settle();
	my $whole = $node->sql($db, 'SELECT biometric.root(3000)');
	my ($disclosed) = $node->records($db, 'SELECT seq, row_key FROM biometric.disclosure ORDER BY seq DESC LIMIT 1');
	is_deeply($disclosed->{row_key}, { id => 1 }, 'before, a disclosure names the row of its image');
	ok(!detach(0, $root)->error, 'it is detached');
	is(states(), 'detached full full current', 'the view says so');
	my ($kept) = $node->records($db, q{SELECT encode(root, 'hex') AS root, first, last, reason FROM biometric.segments WHERE segment = 0});
	is_deeply($kept, { root => $root, first => 0, last => SEGMENT - 1, reason => 'it is in the archive' }, 'with root and reason');
	my ($entry) = $node->records($db, q{SELECT detail FROM biometric.ledger WHERE event = 'policy_changed' ORDER BY seq DESC LIMIT 1});
	is_deeply(
		$entry->{detail},
		{ action => 'detach', segment => 0, first => 0, size => SEGMENT, root => $root, reason => 'it is in the archive' },
		'and so does an entry');
	is($node->sql($db, 'SELECT count(*) FROM biometric.entry_00'), 0, 'its table is empty');
	ok(
		poll_until(
			sub {
				$node->sql($db, 'VACUUM biometric.entry_00');
				return $node->sql($db, q{SELECT pg_relation_size('biometric.entry_00')}) == 0;
			}),
		'and takes no room when it has been vacuumed');
	is($node->sql($db, 'SELECT count(*) FROM biometric.image_entry WHERE seq < ' . SEGMENT), 0, 'nothing leads there');
	ok($node->verifies($db), 'the ledger verifies');
	is($node->sql($db, 'SELECT biometric.root(3000)'), $whole, 'its roots are what they were');
	is($node->sql($db, q{SELECT encode(biometric.root(} . SEGMENT . q{), 'hex')}), $root, 'that of the segment, too');
	is($node->sql($db, 'SELECT min(seq) FROM biometric.ledger'), SEGMENT, 'the views begin behind it');
	my ($later) = $node->records($db, "SELECT event, party, row_key FROM biometric.disclosure WHERE seq = $disclosed->{seq}");
	is_deeply($later, { event => 'disclosed', party => 'agency', row_key => undef },
		'a later disclosure is there in full, but for the row that only the archive knows');
	my $auditor = $node->connect_from('local', $db, 'auditor');
	is($auditor->query("SELECT $_")->sqlstate, CANNOT, "$_ says that it was detached")
	  foreach 'biometric.leaf(5)', 'biometric.entries(5, 1)', 'biometric.tlog_proof(5)', 'biometric.root(5)';
	ok(!$auditor->query('SELECT biometric.tlog_proof(2000)')->error, 'what is there can be proven');
	is(detach(0, $root)->sqlstate, CANNOT, 'it cannot be detached again');
};

subtest 'archive and later exports go together' => sub {
	mkdir "$exports/lagging";
	ok(!export('archive')->error, 'an export goes on in the archive');
	ok(archive_verifies('archive'), 'which verifies from the first entry on');
	ok(!export('fresh')->error, 'one into a fresh directory begins where the ledger does');
	is(slurp_file("$exports/fresh/minimum-index"), SEGMENT . "\n", 'and says so');
	ok(!archive_verifies('fresh'), 'it does not verify for who expects all of them');
	ok(archive_verifies('fresh', '--pruned'), 'but for who knows that they are elsewhere');
	my ($out, $errors) = run_command([ 'biometric-verify', 'fetch', $node->connstr($db), "$exports/fetched" ]);
	is($? >> 8, 4, 'what was detached cannot be fetched');
	like($errors, qr/go on with the archive that has them.*export_ledger/, 'and the program says what to do');
	is(archived_root('fresh', 1), archived_root('archive', 1), 'both have the same next segment');
	is(archived_root('archive', 0), $root, 'the archive still has the detached one');
};

subtest 'a server that crashed goes on' => sub {
	$node->crash;
	$node->start;
	ok($node->verifies($db), 'the ledger verifies after a crash');
	is(states(), 'detached full full current', 'and the segment is still detached');
};

# ---------------------------------------------------------------- who else is there

my @server = ('-h', $node->host, '-p', $node->port, '-U', $node->superuser);

# Dumps the database, and restores it into another.
sub restore_into
{
	my ($name, @options) = @_;
	my $dump = "$exports/$name.sql";
	my (undef, $errors) = run_command([ 'pg_dump', @server, '-d', $db, '-f', $dump, @options ]);
	is($errors, '', 'a dump');
	$node->sql($db, "CREATE DATABASE $name");
	(undef, $errors) = run_command([ 'psql', '-X', '-q', @server, '-d', $name, '-o', '/dev/null', '-f', $dump ]);
	is($errors, '', 'is restored');
	return;
}

subtest 'what an older snapshot sees stays, for readers and for dumps' => sub {
	grow(10);
	export('archive');
	my $log = $node->sql($db, 'SELECT log_id FROM biometric.ledger_status()');
	my $reader = $node->connect_from('local', $db, $node->superuser);
	$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	my $snapshot = $reader->query('SELECT pg_export_snapshot()')->value;
	my $whole = $node->sql($db, 'SELECT count(*) FROM biometric.ledger');
	ok(!detach(1, archived_root('archive', 1))->error, 'a segment is detached behind the back of a transaction');
	my $count = 'SELECT count(*) FROM biometric.entry WHERE seq < ' . 2 * SEGMENT;
	is($reader->query($count)->value, SEGMENT, 'which has not read it yet, and finds it');
	is($reader->query('SELECT count(*) FROM biometric.ledger')->value, $whole, 'in the ledger, too');
	is($reader->query('SELECT string_agg(state, \' \' ORDER BY segment) FROM biometric.segments')->value,
		'detached full full current', 'where it is not detached');

	restore_into('earlier', "--snapshot=$snapshot");
	my ($answer) = $node->records('earlier', "SELECT ok, problem FROM biometric.verify_ledger('$log'::uuid)");
	ok($answer->{ok}, 'a dump that had begun before verifies') or diag $answer->{problem};
	is($node->sql('earlier', "SELECT count(*) FROM biometric.entry WHERE log_id = '$log' AND seq < " . 2 * SEGMENT),
		SEGMENT, 'with the segment');
	ok($node->policy('earlier', q{SELECT biometric.fork_ledger('restored')}), 'and can be adopted');

	$reader->query('COMMIT');
	is($reader->query($count)->value, 0, 'for the next transaction it has gone');
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'a detachment that is prepared holds up nobody' => sub {
	my $wire = $node->connect_from('local', $db, 'custodian');
	$wire->query('BEGIN');
	ok(!detach_by($wire, 2, archived_root('archive', 2))->error, 'a segment is detached');
	ok(!$wire->query(q{PREPARE TRANSACTION 'detached'})->error, 'and the transaction prepared');
	$node->restart;
	my $before = $node->mark($db);
	cmp_ok(grow(10), '>=', $before + 10, 'after a restart the ledger goes on');
	my $auditor = $node->connect_from('local', $db, 'auditor');
	is($auditor->query('SELECT min(seq) FROM biometric.ledger')->value, 2 * SEGMENT, 'its views can be read');
	ok(!$auditor->query('SELECT * FROM biometric.entries(' . 2 * SEGMENT . ', 5)')->error, 'so can its entries');
	ok($node->verifies($db), 'and it verifies');
	ok(!export('archive')->error, 'is exported');
	$node->sql($db, q{ROLLBACK PREPARED 'detached'});
	is(states(), 'detached detached full current', 'until it is decided the segment is there');
	$shown = $node->connect_from('127.0.0.2', $db, 'officer', 'border_control');
};

subtest 'a prepared transaction is waited for' => sub {
	my $wire = $node->admin($db);
	$wire->query($_) foreach 'BEGIN', 'INSERT INTO pass VALUES (2, numbered_jpeg(2, 300)::biometric.face_image)', q{PREPARE TRANSACTION 'open'};
	grow(2 * SEGMENT);
	export('archive');
	ok(!detach(2, archived_root('archive', 2))->error, 'a segment before it is detached');
	my $result = detach(3, archived_root('archive', 3));
	is($result->sqlstate, CANNOT, 'its own is not: ' . ($result->detail // ''));
	my $third = archived_root('archive', 3);
	$wire->query(q{COMMIT PREPARED 'open'});
	ok(!detach(3, $third)->error, 'once it has ended it is');
};

subtest 'a table that holds two segments loses one' => sub {
	my $size = grow((TABLES + 1) * SEGMENT);
	my $last = int($size / SEGMENT);
	export('archive');
	foreach my $segment (4 .. 6)
	{
		my $table = sprintf 'biometric.entry_%02d', $segment % TABLES;
		my $others = $node->sql($db, "SELECT count(*) FROM $table") - SEGMENT;
		ok(!detach($segment, archived_root('archive', $segment))->error, "segment $segment of $last");
		is($node->sql($db, "SELECT count(*) FROM $table WHERE seq < " . ($segment + 1) * SEGMENT), 0, "leaves $table");
		cmp_ok($node->sql($db, "SELECT count(*) FROM $table"), '>=', $others, "in which there are $others entries of another");
	}
	grow(3 * SEGMENT);
	ok($node->verifies($db), 'the ledger goes round, and verifies');
	export('archive');
	ok(archive_verifies('archive'), 'as does the archive');
	export('fresh2');
	ok(archive_verifies('fresh2', '--pruned'), 'and what is left');
};

# ---------------------------------------------------------------- later

subtest 'a dump has what is left, and verifies' => sub {
	my $log = $node->sql($db, 'SELECT log_id FROM biometric.ledger_status()');
	restore_into('restored');
	my ($answer) = $node->records('restored', "SELECT ok, problem FROM biometric.verify_ledger('$log'::uuid)");
	ok($answer->{ok}, 'the log in it verifies') or diag $answer->{problem};
};

subtest 'a fork of what is left joins up' => sub {
	my $log = $node->sql($db, 'SELECT log_id FROM biometric.ledger_status()');
	$node->policy($db, q{SELECT biometric.fork_ledger('a test')});
	settle();
	ok($node->verifies($db), 'the new log verifies');
	is($node->sql($db, q{SELECT detail ->> 'parent' FROM biometric.ledger WHERE seq = 0}), $log, 'and names the old one');
	my $result = $node->connect_from('local', $db, 'inspector')
	  ->query("SELECT size FROM biometric.export_ledger('$exports/archive', '$log')");
	ok(!$result->error, 'which can still be exported');
	ok(archive_verifies('archive'), 'and verifies');
};

subtest 'nothing is detached that no checkpoint covers' => sub {
	$node->set('biometric_audit.signing_key', undef);
	$node->sql($db, 'CREATE DATABASE plain');
	$node->prepare('plain');
	$node->sql('plain', 'CREATE TABLE face (img biometric.face_image)');
	$node->sql('plain', 'INSERT INTO face SELECT numbered_jpeg(n, 300)::biometric.face_image FROM generate_series(1, 1100) AS n');
	poll_until(sub { $node->sql('plain', 'SELECT pending FROM biometric.ledger_status()') eq '0' });
	my $first = $node->sql('plain', "SELECT encode(biometric.root(1024), 'hex')");
	my $result = detach_by($node->connect_from('local', 'plain', 'custodian'), 0, $first);
	is($result->sqlstate, CANNOT, $result->detail // 'detached');
};

# ---------------------------------------------------------------- rows of nobody's log

subtest 'what a dump may bring of a foreign log does not spoil the views' => sub {
	my $foreign = '5b1f3a52-9f0c-4d5e-8a53-0b7d6f6f0e11';
	my $most = '9223372036854775807';
	my $own = states();
	my $notes = $node->sql($db, 'SELECT count(*) FROM biometric.checkpoints WHERE note IS NOT NULL AND octet_length(root) = 32');
	$node->sql($db, $_)
	  foreach "INSERT INTO biometric.checkpoint VALUES ('$foreign', 1, now(), '\\xff'), ('$foreign', 2, now(), 'a\012b\012c'),"
	  . "('$foreign', 3, now(), 'a\012b\012!\012\012x'), ('$foreign', $most, now(), '')",
	  "INSERT INTO biometric.cosignature VALUES ('$foreign', 1, 'key', '\\xff')",
	  'INSERT INTO biometric.log (log_id, database_oid, system_identifier, timeline, created_at, segment_size) '
	  . "VALUES ('$foreign', 1, 1, 1, now(), 1024)",
	  "INSERT INTO biometric.head VALUES ('$foreign', $most, '', '')",
	  "INSERT INTO biometric.entry_00 VALUES ('$foreign', 5, 0, ''), ('$foreign', $most, 0, ''), ('$foreign', -1, 0, '')",
	  "INSERT INTO biometric.segment VALUES ('$foreign', $most, '', now(), ''), ('$foreign', -1, '', now(), '')";
	my $auditor = $node->connect_from('local', $db, 'auditor');
	$auditor->query("SET statement_timeout = '${PostgreSQL::Test::Utils::timeout_default}s'");
	my $result = $auditor->query("SELECT count(*) FILTER (WHERE log_id <> '$foreign' AND note IS NOT NULL "
		  . 'AND octet_length(root) = 32) FROM (SELECT * FROM biometric.checkpoints OFFSET 0) AS c');
	cmp_ok($result->value // $result->message, '>=', $notes, 'all checkpoints can be read');
	is($auditor->query("SELECT string_agg(size || coalesce(origin, '-') || (root IS NULL) || coalesce(note, '-'), ' ' "
			  . "ORDER BY size) FROM biometric.checkpoints WHERE log_id = '$foreign' AND size < 2")->value,
		'1-true-', 'of what is none there are its numbers');
	$result = $auditor->query(
		"SELECT string_agg(segment || ' ' || state, ' ' ORDER BY segment) FROM biometric.segments WHERE log_id = '$foreign'");
	is($result->value // $result->message, '0 full', 'segments are those of which there is something');
	is($auditor->query("SELECT string_agg(state, ' ' ORDER BY segment) FROM biometric.segments WHERE log_id <> '$foreign'")->value,
		$own, 'and all of the others');
	ok(!$auditor->query('SELECT count(*) FROM (SELECT * FROM biometric.ledger OFFSET 0) AS l')->error, 'the ledger can be read');
};

done_testing();
