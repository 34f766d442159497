# What leaves sealed is on record: every way out that hands ciphertext to a
# client, a file or a program, and every replication connection. What is
# refused leaves by none of them.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(is_sealed poll_until);

use constant { RELAY => '127.0.0.2', STRANGER => '127.0.0.3', LOOPBACK => '127.0.0.1' };
use constant ROWS => 12;

my $node = BiometricAudit::Node->create(
	'archive',
	allows_streaming => 'logical',
	conf => "max_worker_processes = 16\n");
my $db = 'postgres';
my $super = $node->superuser;
$node->prepare($db);
$node->append_conf('pg_hba.conf',
	"host replication all 127.0.0.0/8 trust\nlocal replication all trust");
$node->settle;
$node->register($db, 'relay', RELAY . '/32', '{face,plate,document,fingerprint,iris}', 'sealed');
$node->sql($db, <<'END');
CREATE TABLE lane (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO lane SELECT n, numbered_jpeg(n, 3000)::biometric.face_image FROM generate_series(1, 12) AS n;
CREATE TABLE held (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO held SELECT * FROM lane;
ALTER TABLE held ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON held USING (true);
CREATE TABLE plain (id int PRIMARY KEY, note text);
INSERT INTO plain SELECT n, 'note ' || n FROM generate_series(1, 5) AS n;
GRANT SELECT ON lane, held, plain TO officer;
END
my $sealed_bytes = $node->sql($db,
	'SELECT sum(length(biometric.sealed_bytes(img))) FROM lane');

# The exported_sealed entries since a mark.
sub exports
{
	my ($mark) = @_;
	return $node->records($db,
		"SELECT party, command, relation, detail, client_addr FROM biometric.ledger "
		  . "CROSS JOIN LATERAL (SELECT detail ->> 'command') AS c (command) "
		  . "WHERE seq >= $mark AND event = 'exported_sealed' ORDER BY seq");
}

# exports_of(name, result, mark, command, how many images, rows): one entry with these counts.
sub exports_of
{
	my ($name, $mark, $command, $images, $rows) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @entries = exports($mark);
	is(scalar @entries, 1, "$name: one entry") || diag explain \@entries;
	my $entry = $entries[0] // { detail => {} };
	is_deeply(
		[ $entry->{command}, $entry->{detail}{images}, $entry->{detail}{rows} ],
		[ $command, $images, $rows ],
		"$name: its counts");
	return $entry;
}

my $relay = $node->connect_from(RELAY, $db, 'officer', undef);
my $server = $node->connect_from(RELAY, $db, $super, undef);
my $stranger = $node->connect_from(STRANGER, $db, 'officer', undef);

# ---------------------------------------------------------------- COPY

my $file = $node->basedir . '/lane.copy';
my @copies = (
	[ 'COPY of a table to the client', 'COPY lane TO STDOUT' ],
	[ 'COPY of a table in binary', 'COPY lane TO STDOUT (FORMAT binary)' ],
	[ 'COPY of a query', 'COPY (SELECT img FROM lane) TO STDOUT' ],
	[ 'COPY of the cast to bytea', 'COPY (SELECT img::bytea FROM lane) TO STDOUT' ],
	[ 'COPY of a table under row-level security', 'COPY held TO STDOUT' ],
	[ 'COPY to a file', "COPY lane TO '$file'", 1 ],
	[ 'COPY to a program', "COPY lane TO PROGRAM 'cat > /dev/null'", 1 ]);

foreach my $copy (@copies)
{
	my ($name, $sql, $super_only) = @$copy;
	my $mark = $node->mark($db);
	my $result = ($super_only ? $server : $relay)->query($sql);
	is($result->sqlstate, undef, "$name succeeds") || diag $result->message;
	my $entry = exports_of($name, $mark, 'COPY', ROWS, ROWS);
	is($entry->{party}, 'relay', "$name: its party");
	is($entry->{detail}{bytes}, $sealed_bytes, "$name: its bytes");
	is($entry->{relation}, $sql =~ /held/ ? 'public.held' : 'public.lane', "$name: its relation");
}

foreach my $copy (@copies)
{
	my ($name, $sql, $super_only) = @$copy;
	my $mark = $node->mark($db);
	my $session =
	  $super_only ? $node->connect_from(STRANGER, $db, $super, undef) : $stranger;
	my $result = $session->query($sql);
	is($result->sqlstate, '42501', "$name fails from a refused network");
	is($result->count('d'), 0, "$name from a refused network: no data");
	my ($refusal) = $node->refusals($db, $mark);
	is($refusal && $refusal->{reason}, 'unregistered_network',
		"$name from a refused network: an entry");
	is(scalar exports($mark), 0, "$name from a refused network: no export");
}

# ---------------------------------------------------------------- other ways out

my @others = (
	[ 'a row sent by the release gate', 'SELECT img FROM lane', ROWS ],
	[ 'the cast to bytea', 'SELECT img::bytea FROM lane', ROWS ],
	[ 'the cast to text', 'SELECT img::text FROM lane', ROWS ],
	[ 'JSON', 'SELECT to_json(img) FROM lane', ROWS ],
	[ 'a whole row', 'SELECT lane FROM lane', ROWS ],
	[ 'an array', 'SELECT array_agg(img) FROM lane', ROWS, 1 ],
	[ 'row_to_json', 'SELECT row_to_json(lane) FROM lane', ROWS ]);

foreach my $other (@others)
{
	my ($name, $sql, $images, $rows) = @$other;
	my $mark = $node->mark($db);
	my $result = $relay->query($sql);
	is($result->sqlstate, undef, "$name succeeds") || diag $result->message;
	my $entry = exports_of($name, $mark, 'SELECT', $images, $rows // ROWS);
	is($entry->{relation}, 'public.lane', "$name: its relation");
	is($entry->{detail}{bytes}, $sealed_bytes, "$name: its bytes");
	is($stranger->query($sql)->sqlstate, '42501', "$name fails from a refused network");
}

# Cursors and FETCH.
{
	my $mark = $node->mark($db);
	$relay->query('BEGIN');
	$relay->query('DECLARE c CURSOR FOR SELECT img::text FROM lane');
	is($relay->query('FETCH 5 FROM c')->row_count, 5, 'rows are fetched from a cursor');
	exports_of('FETCH', $mark, 'FETCH', 5, 5);
	$relay->query('COMMIT');
}

# Nothing handed out, nothing recorded.
{
	my $mark = $node->mark($db);
	$relay->query($_) foreach (
		'COPY plain TO STDOUT', 'SELECT count(img) FROM lane',
		'SELECT biometric.width(img) FROM lane', 'SELECT img FROM lane WHERE false');
	is($node->mark($db), $mark, 'what hands no image out writes nothing');
}

# An image that was opened was not exported sealed.
{
	my $permit = $node->policy($db,
		"SELECT biometric.authorize('relay', '{face}', 'open', '{control}', 'lane')");
	my $open = $node->connect_from(RELAY, $db, 'officer', 'control');
	my $mark = $node->mark($db);
	foreach my $sql ('SELECT img FROM lane', 'SELECT img::bytea FROM lane')
	{
		my $result = $open->query($sql);
		is(scalar(grep { is_sealed($_) } $result->column(0)), 0, "$sql is opened");
	}
	is(scalar exports($mark), 0, 'opened images are no export');
	is($node->sql($db, "SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark"),
		2 * ROWS, 'they are disclosures');
	$node->policy($db, "SELECT biometric.revoke($permit, 'end of test')");
}

# ---------------------------------------------------------------- pg_dump

foreach my $how ([], ['--inserts'], ['--rows-per-insert=5'])
{
	my $mark = $node->mark($db);
	my $name = 'pg_dump' . (@$how ? " @$how" : '');
	my $out = $node->basedir . '/dump.sql';
	system_or_bail('pg_dump', '-h', $node->host, '-p', $node->port, '-U', $super, '-d', $db,
		'-t', 'lane', @$how, '-f', $out);
	my $images = 0;
	$images += $_->{detail}{images} foreach exports($mark);
	is($images, ROWS, "$name is recorded with all its images");
	is((exports($mark))[0]->{party}, 'house', "$name: its party");
	my ($stdout, $stderr) = run_command(
		[   'pg_dump', '-h', LOOPBACK, '-p', $node->port, '-U', $super, '-d', $db, '-t', 'lane',
			@$how ]);
	like($stderr, qr/images of public\.lane are refused/, "$name fails from a refused network");
	unlike($stdout, qr/sealed:/, "$name from a refused network: nothing of an image");
}

# ---------------------------------------------------------------- triggers

# Whatever triggers hand out is part of the statement that fired them; what
# deferred ones do at COMMIT, of the transaction.
{
	$node->sql($db, <<'END');
CREATE FUNCTION show_lane() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE t text;
BEGIN
	SELECT img::text INTO t FROM public.lane WHERE id = NEW.id;
	RETURN NEW;
END $$;
CREATE TABLE gate (id int); CREATE TABLE later (id int); CREATE TABLE both_times (id int);
CREATE TRIGGER after_row AFTER INSERT ON gate FOR EACH ROW EXECUTE FUNCTION show_lane();
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION show_lane();
CREATE TRIGGER before_row BEFORE INSERT ON both_times FOR EACH ROW EXECUTE FUNCTION show_lane();
CREATE TRIGGER after_row AFTER INSERT ON both_times FOR EACH ROW EXECUTE FUNCTION show_lane();
GRANT INSERT ON gate, later, both_times TO officer;
END
	my $insert = sub { return "INSERT INTO $_[0] SELECT generate_series(1, 12)"; };
	my $mark = $node->mark($db);
	is($relay->query($insert->('gate'))->sqlstate, undef, 'AFTER triggers read images');
	my $entry = exports_of('AFTER triggers', $mark, 'INSERT', ROWS, ROWS);
	is($entry->{relation}, 'public.lane', 'AFTER triggers: their relation');

	$mark = $node->mark($db);
	$relay->extended($insert->('both_times'));
	$entry = exports_of('BEFORE and AFTER triggers', $mark, 'INSERT', 2 * ROWS, ROWS);
	is($entry->{relation}, 'public.lane', 'BEFORE and AFTER triggers: their relation');

	$mark = $node->mark($db);
	is($relay->query($insert->('later'))->sqlstate, undef, 'deferred triggers read images');
	$entry = exports_of('deferred triggers', $mark, 'COMMIT', ROWS, 0);
	is($entry->{relation}, 'public.lane', 'deferred triggers: their relation');
	is($entry->{party}, 'relay', 'deferred triggers: their party');

	$mark = $node->mark($db);
	$relay->query('BEGIN');
	$relay->query($insert->('later')) for 1 .. 2;
	$relay->query('COMMIT');
	exports_of('deferred triggers of a block', $mark, 'COMMIT', 2 * ROWS, 0);

	$mark = $node->mark($db);
	is($stranger->query($insert->('later'))->sqlstate, '42501',
		'deferred triggers are refused what their client is refused');
	is(scalar exports($mark), 0, 'and nothing is exported then');
}

# ---------------------------------------------------------------- failures

{
	my $mark = $node->mark($db);
	my $result = $relay->query('SELECT img::text, 1 / (id - 12) FROM lane ORDER BY id');
	is($result->sqlstate, '22012', 'a statement that fails on its last row fails with its own error');
	poll_until(sub { scalar exports($mark) });
	my $entry = (exports($mark))[0];
	ok($entry && $entry->{detail}{images} >= ROWS - 1, 'what it handed out before is recorded');
	is($entry && $entry->{relation}, 'public.lane', 'with its relation');
}
{
	my $mark = $node->mark($db);
	$relay->query('BEGIN; SAVEPOINT a');
	$relay->query('SELECT img::text, 1 / (id - 12) FROM lane ORDER BY id');
	$relay->query('ROLLBACK TO a; SELECT 1');
	$relay->query('ROLLBACK');
	poll_until(sub { scalar exports($mark) });
	is(scalar exports($mark), 1, 'under a savepoint, and a rollback after it, too');
}
{
	# a block that catches an error belongs to a statement that goes on
	my $mark = $node->mark($db);
	my $result = $relay->query(<<'END');
DO $$
DECLARE t text;
BEGIN
	FOR n IN 1 .. 4 LOOP
		BEGIN
			SELECT img::text INTO t FROM lane WHERE id = n;
			PERFORM 1 / (n - 2);
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
END $$
END
	is($result->sqlstate, undef, 'a block that catches errors runs');
	exports_of('a block that catches errors', $mark, 'DO', 4, 0);
}
{
	# a process that is killed in the middle leaves its statement's entry
	my $mark = $node->mark($db);
	my $victim =
	  $node->connect_from(RELAY, $db, 'officer', undef, receive_buffer => 4096);
	$victim->send_query('COPY (SELECT a.img FROM lane a, generate_series(1, 5000)) TO STDOUT');
	$victim->receive for 1 .. 20;
	$node->sql($db, 'SELECT pg_terminate_backend(' . $victim->pid . ')');
	$victim->drop;
	poll_until(sub { scalar exports($mark) });
	my ($entry) = exports($mark);
	is($entry->{relation}, 'public.lane', 'a session that is ended in the middle is on record');
	# the first message was none of them
	cmp_ok($entry->{detail}{images}, '>=', 19, 'with what it handed out');
}

# A ledger that cannot take the entry keeps everything in.
{
	my $worker = $node->worker($db);
	$node->set('biometric_audit.ledger_timeout', '1s');
	$node->halt($worker);
	foreach my $sql ('COPY lane TO STDOUT', 'SELECT img::text FROM lane', 'SELECT img FROM lane')
	{
		my $result = $relay->query($sql);
		is($result->sqlstate, '55000', "$sql fails while the ledger is stopped");
		is($result->count('d') + $result->row_count, 0, "$sql hands nothing out then");
	}
	kill 'CONT', $worker;
	$node->set('biometric_audit.ledger_timeout', undef);
	is($relay->query('COPY lane TO STDOUT')->sqlstate, undef, 'and works again afterwards');
}

# What cannot be recorded when a statement fails does not hold it up, and is
# recorded with the session's next entry.
{
	my $mark = $node->mark($db);
	my $admin = $node->connect_from('local', $db, $super, undef);
	$node->sql($db, 'SELECT pg_advisory_lock(7)');
	$relay->send_query('SELECT img::text, CASE WHEN id = 12 THEN pg_advisory_xact_lock(7) END '
		  . 'FROM lane ORDER BY id');
	my $waiting = $relay->pid;
	poll_until(
		sub {
			$admin->query("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $waiting")
			  ->value eq 't';
		});
	my ($launcher) = $admin->query("SELECT pid FROM pg_stat_activity "
		  . "WHERE backend_type LIKE 'biometric_audit%' AND datname IS NULL")->value;
	my $worker = $node->worker($db);
	$node->halt($launcher);
	kill 'TERM', $worker;
	poll_until(sub { !BiometricAudit::Node::process_alive($worker) });
	$admin->query("SELECT pg_cancel_backend($waiting)");
	is($relay->drain->sqlstate, '57014', 'a statement is cancelled while the ledger is away');
	is($relay->query('SELECT 1')->value, 1, 'the session goes on meanwhile');
	kill 'CONT', $launcher;
	$node->sql($db, 'SELECT pg_advisory_unlock(7)');
	poll_until(sub { $relay->query('SELECT 1'); scalar exports($mark) });
	my ($entry) = exports($mark);
	is($entry->{detail}{images}, ROWS, 'what it handed out is recorded when the ledger is back');
	is($entry->{relation}, 'public.lane', 'with its relation');
	is(scalar exports($mark), 1, 'once');
	$admin->close;
}

# A statement whose entry has gone to the ledger with an image that is opened
# hands no ciphertext out before it is durable.
{
	my $permit = $node->policy($db,
		"SELECT biometric.authorize('relay', '{face}', 'open', '{control}', 'lane')");
	$node->sql($db, <<'END');
CREATE FUNCTION tell(id int, img biometric.face_image) RETURNS int LANGUAGE plpgsql AS
	'BEGIN IF id = 2 THEN RAISE NOTICE ''%'', img; END IF; RETURN id; END';
END
	$node->set('biometric_audit.release_batch_rows', 1);
	my $open = $node->connect_from(RELAY, $db, 'officer', 'control');
	$open->query('SELECT img FROM lane LIMIT 1');
	$node->set('biometric_audit.ledger_timeout', '1s');
	my $worker = $node->worker($db);
	$node->halt($worker);
	my $result = $open->query('SELECT img, tell(id, img) FROM lane ORDER BY id LIMIT 3');
	kill 'CONT', $worker;
	$node->set('biometric_audit.ledger_timeout', undef);
	is($result->sqlstate, '55000', 'a statement fails while the ledger is stopped');
	is(scalar(grep { $_->{M} =~ /sealed:/ } $result->notices), 0, 'and has told nothing before');
	$node->set('biometric_audit.release_batch_rows', undef);
	$node->policy($db, "SELECT biometric.revoke($permit, 'end of test')");
}

# ---------------------------------------------------------------- logical decoding by function

{
	$node->sql($db, "SELECT pg_create_logical_replication_slot('spy', 'pgoutput')");
	$node->sql($db, "CREATE PUBLICATION faces FOR TABLE lane");
	$node->sql($db, "INSERT INTO lane SELECT id + 100, img FROM lane");
	my $options = "'spy', NULL, NULL, 'proto_version', '1', 'publication_names', 'faces'";
	my $peek = "SELECT count(*) FROM pg_logical_slot_peek_binary_changes($options)";
	my $mark = $node->mark($db);
	my $result = $server->query($peek);
	is($result->sqlstate, undef, 'a registered network reads changes by function')
	  || diag $result->message;
	my ($entry) = exports($mark);
	is($entry->{detail}{function}, 'pg_logical_slot_peek_binary_changes',
		'an entry names the function');
	is($entry->{detail}{images}, ROWS, 'and counts the images');
	my $outside = $node->connect_from(STRANGER, $db, $super, undef);
	is($outside->query($peek)->sqlstate, '42501', 'a refused network may not read changes');
	my $prepared = $peek =~ s/_binary//r;
	is($outside->query($prepared)->sqlstate, '42501', 'nor as text');
	$node->sql($db, "SELECT pg_drop_replication_slot('spy')");
	$node->sql($db, 'DELETE FROM lane WHERE id > 100');
}

# ---------------------------------------------------------------- replication connections

# replicate(address, kind): a replication connection; its start-up result.
sub replicate
{
	my ($address, $kind) = @_;
	my $wire = $node->connect_from(
		$address, $db, $super, undef,
		params => { replication => $kind // 'true', application_name => 'mirror' },
		fail_ok => 1);
	my $result = $wire->startup;
	my $answer = $result->error ? undef : $wire->query('IDENTIFY_SYSTEM');
	$wire->close unless $result->error;
	return $result;
}

sub replications
{
	my ($mark) = @_;
	return $node->records($db,
		"SELECT event, party, client_addr, session_user_name, application, detail "
		  . "FROM biometric.ledger WHERE seq >= $mark AND event IN ('replication', 'refused') "
		  . 'ORDER BY seq');
}

{
	my $mark = $node->mark($db);
	is(replicate(RELAY)->sqlstate, undef, 'a registered network may replicate');
	my ($entry) = replications($mark);
	is_deeply(
		[ @{ $entry // {} }{qw(event party client_addr session_user_name application)} ],
		[ 'replication', 'relay', RELAY, $super, 'mirror' ],
		'which is recorded');
	ok($entry->{detail}{physical}, 'as physical');

	$mark = $node->mark($db);
	is(replicate(RELAY, 'database')->sqlstate, undef, 'a logical connection, too');
	($entry) = replications($mark);
	is($entry->{detail}{database}, $db, 'recorded with its database');

	$mark = $node->mark($db);
	my $subscriber = $node->connect_from(RELAY, $db, $super, undef,
		params => { replication => 'database' });
	is($subscriber->query('COPY lane TO STDOUT')->sqlstate, undef, 'which copies a table');
	exports_of('COPY on a replication connection', $mark, 'COPY', ROWS, ROWS);

	$mark = $node->mark($db);
	my $refused = replicate(STRANGER);
	is($refused->sqlstate, '42501', 'an unregistered network is refused');
	like($refused->hint, qr/register/, 'with a hint');
	($entry) = replications($mark);
	is_deeply([ @$entry{qw(event client_addr)} ], [ 'refused', STRANGER ], 'which is recorded');
}
{
	my $mark = $node->mark($db);
	my $backup = $node->basedir . '/backup-stream';
	system_or_bail('pg_basebackup', '-h', $node->host, '-p', $node->port, '-U', $super,
		'-D', $backup, '-X', 'stream', '-c', 'fast');
	my @entries = replications($mark);
	is_deeply([ map { "$_->{event} $_->{party}" } @entries ],
		[ ('replication house') x 2 ], 'pg_basebackup is recorded, with both its connections');
	command_fails_like(
		[   'pg_basebackup', '-h', LOOPBACK, '-p', $node->port, '-U', $super,
			'-D', $node->basedir . '/never', '-c', 'fast' ],
		qr/replication is refused to 127\.0\.0\.1/,
		'pg_basebackup from a refused network fails');
	command_fails_like(
		[   'pg_receivewal', '-h', LOOPBACK, '-p', $node->port, '-U', $super,
			'-D', $node->basedir, '-n', '--no-sync' ],
		qr/replication is refused to 127\.0\.0\.1/,
		'pg_receivewal from a refused network fails');
}

# A permit that refuses one table refuses what would carry it away.
{
	my $permit = $node->policy($db,
		"SELECT biometric.authorize('relay', '{face}', 'refuse', NULL, 'held')");
	is(replicate(RELAY)->sqlstate, '42501', 'who is refused one table may not replicate');
	$node->policy($db, "SELECT biometric.revoke($permit, 'end of test')");
	$permit = $node->policy($db, "SELECT biometric.quarantine('relay', 'a test')");
	my $refused = replicate(RELAY);
	is($refused->sqlstate, '42501', 'quarantine refuses new replication connections');
	like($refused->detail, qr/quarantine/, 'and says so');
	$node->policy($db, "SELECT biometric.reinstate('relay', 'end of test')");
	is(replicate(RELAY)->sqlstate, undef, 'reinstated, it may again');
}

# Right after a restart, before anybody has connected otherwise.
{
	my $mark = $node->mark($db);
	$node->restart;
	is(replicate(RELAY)->sqlstate, undef, 'right after a restart a registered network may');
	is(replicate(STRANGER)->sqlstate, '42501', 'and an unregistered one may not');
	is_deeply([ map { $_->{event} } replications($mark) ],
		[qw(replication refused)], 'both are recorded');
}
{
	my $worker = $node->worker($db);
	$node->set('biometric_audit.ledger_timeout', '1s');
	$node->halt($worker);
	is(replicate(RELAY)->sqlstate, '42501', 'nobody replicates while the ledger is stopped');
	kill 'CONT', $worker;
	$node->set('biometric_audit.ledger_timeout', undef);
	is(replicate(RELAY)->sqlstate, undef, 'and again afterwards');
}
{
	$node->set('biometric_audit.replication_database', '');
	my $refused = replicate(RELAY);
	is($refused->sqlstate, '42501', 'without a database that decides replication is refused');
	like($refused->hint, qr/replication_database/, 'and the hint names the setting');
	$node->set('biometric_audit.replication_database', 'nowhere');
	is(replicate(RELAY)->sqlstate, '42501', 'a database that does not exist decides nothing');
	$node->set('biometric_audit.replication_database', $db);
}

# ---------------------------------------------------------------- a standby

{
	my $standby = BiometricAudit::Node->new('mirror');
	$node->backup('for_standby');
	$standby->init_from_backup($node, 'for_standby', has_streaming => 1);
	$standby->append_conf('postgresql.conf',
		"biometric_audit.replication_networks = '" . RELAY . "/32'");
	$standby->start;
	my $connect = sub {
		my ($address) = @_;
		my $wire = BiometricAudit::Wire->connect(
			host => LOOPBACK,
			port => $standby->port,
			local => $address,
			user => $super,
			database => $db,
			params => { replication => 'true' },
			fail_ok => 1);
		return $wire->startup;
	};
	is($connect->(RELAY)->sqlstate, undef, 'a standby serves the networks that its setting lists');
	my $refused = $connect->(STRANGER);
	is($refused->sqlstate, '42501', 'and no others');
	like($refused->hint, qr/replication_networks/, 'with a hint');
	$standby->append_conf('postgresql.conf', "biometric_audit.replication_networks = '10.0.0.1/8'");
	isnt($standby->psql($db, 'SELECT pg_reload_conf()'), undef, 'a setting that is none is loaded');
	ok( poll_until(sub { slurp_file($standby->logfile) =~ /neither a network in CIDR notation/ }),
		'and refused, with the reason in the log');
	$standby->stop;
}

# Where the extension is not in use replication is nobody's business.
{
	my $other = BiometricAudit::Node->create(
		'plain', allows_streaming => 1, conf => "biometric_audit.replication_database = ''");
	my $wire = $other->connect_from('local', $db, $super, undef,
		params => { replication => 'true' }, fail_ok => 1);
	is($wire->startup->sqlstate, undef, 'without a ledger anywhere replication passes');
	$other->stop;
}

ok($node->verifies($db), 'the ledger verifies');
$node->stop;
done_testing();
