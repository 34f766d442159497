# Legal holds where more than one session, server or person is needed: a hold and what would lose
# an image at the same moment, two persons, dumps, replication, prepared transactions, crashes.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(poll_until);
use BiometricAudit::Picture qw(numbered_jpeg_sql);

my $db = 'postgres';
my $node = BiometricAudit::Node->create('archive',
	conf => "wal_level = logical\nmax_prepared_transactions = 2\nmax_worker_processes = 40\n");
my $super = $node->superuser;
$node->prepare($db);
$node->sql($db, <<'END');
CREATE ROLE alice LOGIN IN ROLE biometric_custodian;
CREATE ROLE bob LOGIN IN ROLE biometric_custodian;
CREATE TABLE face (id int PRIMARY KEY, img biometric.face_image);
CREATE TABLE plate (id int PRIMARY KEY, img biometric.plate_image);
CREATE TABLE single (id int PRIMARY KEY, img biometric.face_image);
GRANT SELECT ON face, plate, single TO alice, bob, custodian;
INSERT INTO face SELECT n, numbered_jpeg(n, 3000)::biometric.face_image FROM generate_series(1, 60) AS n;
INSERT INTO plate SELECT n, numbered_jpeg(n + 100, 500)::biometric.plate_image FROM generate_series(1, 9) AS n;
INSERT INTO single SELECT n, numbered_jpeg(n + 200, 500)::biometric.face_image FROM generate_series(1, 9) AS n;
END

sub login { return $node->connect_from('local', $db, $_[0]); }

# as(who, sql): the result of a query of somebody's.
sub as
{
	my ($who, $sql) = @_;
	my $wire = login($who);
	my $result = $wire->query($sql);
	$wire->close;
	return $result;
}

# waits(wire): whether a session comes to wait for a lock.
sub waits
{
	my $pid = $_[0]->pid;
	return poll_until(
		sub { $node->sql($db, "SELECT count(*) FROM pg_locks WHERE pid = $pid AND NOT granted"); });
}

sub hold { return "SELECT biometric.legal_hold('face', 'img', '$_[0]', 'case')"; }

# held(ids): which rows of face are held, of some.
sub held
{
	return $node->sql($db, 'SELECT string_agg(DISTINCT f.id::text, $$ $$ ORDER BY f.id::text) FROM face AS f '
		  . "JOIN biometric.held AS h ON h.image_id = biometric.image_id(f.img) WHERE f.id IN ($_[0])");
}

# ---------------------------------------------------------------- at the same moment

my $id = 0;
my %losing = (
	'DELETE' => sub { "DELETE FROM face WHERE id = $_[0]" },
	'UPDATE to NULL' => sub { "UPDATE face SET img = NULL WHERE id = $_[0]" },
	'UPDATE to another image' => sub {
		"UPDATE face SET img = numbered_jpeg(1000, 500)::biometric.face_image WHERE id = $_[0]";
	});
my %commands = (
	'TRUNCATE' => sub { "TRUNCATE $_[0]" },
	'DROP TABLE' => sub { "DROP TABLE $_[0]" },
	'DROP COLUMN' => sub { "ALTER TABLE $_[0] DROP COLUMN img" },
	'ALTER COLUMN TYPE' =>
	  sub { "ALTER TABLE $_[0] ALTER COLUMN img TYPE biometric.face_image USING NULL" });

foreach my $what (sort keys %losing)
{
	subtest "$what and a hold at the same moment" => sub {
		my ($loser, $holder) = (login($super), login('alice'));
		my ($first, $second) = ($id + 1, $id + 2);
		$id += 2;

		$loser->query('BEGIN; ' . $losing{$what}->($first));
		$holder->send_query(hold("id IN ($first, $second)"));
		ok(waits($holder), 'a hold waits for what is about to lose an image');
		$loser->query('COMMIT');
		is($holder->drain->message, undef, 'and is placed then');
		my $left = $what eq 'UPDATE to another image' ? "$first $second" : $second;
		is(held("$first, $second"), $left, 'on what was left');

		$first = $id += 1;
		$holder->query('BEGIN');
		is($holder->query(hold("id = $first"))->message, undef, 'a hold is being placed');
		$loser->send_query($losing{$what}->($first));
		ok(waits($loser), 'what would lose an image waits for it');
		$holder->query('COMMIT');
		is($loser->drain->sqlstate, '55006', 'and is refused');

		$first = $id += 1;
		$holder->query('BEGIN; ' . hold("id = $first"));
		$loser->send_query($losing{$what}->($first));
		ok(waits($loser), 'it waits for one');
		$holder->query('ROLLBACK');
		is($loser->drain->sqlstate, undef, 'that is undone, and goes on');

		$first = $id += 1;
		$loser->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM face');
		$holder->query(hold("id = $first"));
		is($loser->query($losing{$what}->($first))->sqlstate,
			'55006', 'an old snapshot does not help');
		$loser->query('ROLLBACK');
	};
}

foreach my $what (sort keys %commands)
{
	subtest "$what and a hold at the same moment" => sub {
		my ($loser, $holder) = (login($super), login('alice'));
		$node->sql($db, 'CREATE TABLE victim AS SELECT * FROM single; GRANT SELECT ON victim TO alice');
		my $hold = "SELECT biometric.legal_hold('victim', 'img', NULL, 'case')";

		$holder->query("BEGIN; $hold");
		$loser->send_query($commands{$what}->('victim'));
		ok(waits($loser), 'it waits for a hold');
		$holder->query('COMMIT');
		is($loser->drain->sqlstate, '55006', 'and is refused');
		$holder->query(q{SELECT biometric.release_hold('victim', 'img', NULL, 'done')});

		$loser->query('BEGIN; ' . $commands{$what}->('victim'));
		$holder->send_query($hold);
		ok(waits($holder), 'a hold waits for it');
		$loser->query('COMMIT');
		like($holder->drain->sqlstate, qr/^(?:42704|42P01|42703)$/, 'and finds nothing to hold');
		$node->sql($db, 'DROP TABLE IF EXISTS victim');
	};
}

subtest 'a transaction that is prepared keeps a hold waiting' => sub {
	my ($loser, $holder) = (login($super), login('alice'));

	$loser->query("BEGIN; DELETE FROM face WHERE id = 50; PREPARE TRANSACTION 'lost'");
	$holder->query(q{SET lock_timeout = '10ms'});
	is($holder->query(hold('id = 50'))->sqlstate, '55P03', 'as long as lock_timeout says');
	$loser->query("ROLLBACK PREPARED 'lost'");
	is($holder->query(hold('id = 50'))->sqlstate, undef, 'it is placed afterwards');
};

subtest 'a hold sees what is committed, not an old snapshot' => sub {
	my $holder = login('alice');

	$holder->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	is($holder->query(hold('id = 51'))->sqlstate, '25001', 'so it needs READ COMMITTED');
	foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
	{
		$holder->query("ROLLBACK; BEGIN ISOLATION LEVEL $level");
		is($holder->query('SELECT biometric.purge_expired()')->sqlstate, '25001', "as purging does, which would not see younger holds in $level");
	}
};

subtest 'image ids that vanish meanwhile are not held' => sub {
	my ($loser, $holder) = (login($super), login('alice'));
	my $image = $node->sql($db, 'SELECT biometric.image_id(img) FROM face WHERE id = 52');

	$loser->query('BEGIN; DELETE FROM face WHERE id = 52');
	$holder->send_query("SELECT biometric.legal_hold('{$image}'::uuid[], 'case')");
	ok(waits($holder), 'a hold by ids waits, too');
	$loser->query('COMMIT');
	is($holder->drain->sqlstate, '42704', 'and says that the image is not there');
};

# ---------------------------------------------------------------- after a crash, on a standby

subtest 'a hold survives a crash' => sub {
	as('alice', hold('id = 53'));
	$node->crash;
	$node->forget;
	$node->start;
	is(as($super, 'DELETE FROM face WHERE id = 53')->sqlstate, '55006', 'from the first statement on');
};

# ---------------------------------------------------------------- replication

subtest 'what is replicated loses no held image' => sub {
	$node->sql($db, 'CREATE DATABASE far');
	$node->sql('far', 'CREATE EXTENSION biometric_audit');
	$node->sql('far', 'CREATE TABLE plate (id int PRIMARY KEY, img biometric.plate_image)');
	$node->sql('far', numbered_jpeg_sql());
	$node->sql('far', 'INSERT INTO plate SELECT n, numbered_jpeg(n + 100, 500)::biometric.plate_image '
		  . 'FROM generate_series(1, 9) AS n');
	$node->sql('far', q{GRANT SELECT ON plate TO custodian});
	$node->policy('far', q{SELECT biometric.legal_hold('plate', 'img', 'id = 1', 'case')});
	my $loser = $node->connect_from('local', 'far', $super);
	$loser->query('SET session_replication_role = replica');
	is($loser->query('DELETE FROM plate WHERE id = 1')->sqlstate,
		'55006', 'triggers fire for what is replicated');
	is($loser->query('DELETE FROM plate WHERE id = 2')->sqlstate, undef, 'other rows go');
	$loser->close;
};

# ---------------------------------------------------------------- a dump

subtest 'a restored database holds what was held, before its log is adopted' => sub {
	my $dump = $node->basedir . '/held.dump';
	my $host = $node->host;
	my $port = $node->port;

	as('alice', hold('id = 54'));
	my $count = $node->sql($db, 'SELECT count(*) FROM biometric.held');
	my (undef, $errors) =
	  run_command([ 'pg_dump', '-h', $host, '-p', $port, '-Fc', '-d', $db, '-f', $dump ]);
	is($errors, '', 'dumped');
	$node->sql($db, 'CREATE DATABASE again');
	(undef, $errors) = run_command([ 'pg_restore', '-h', $host, '-p', $port, '-d', 'again', $dump ]);
	is($errors, '', 'restored');
	is($node->sql('again', 'SELECT count(*) FROM biometric.held'), $count, 'with its holds');
	my $loser = $node->connect_from('local', 'again', $super);
	is($loser->query('DELETE FROM face WHERE id = 54')->sqlstate, '55006', 'which count at once');
	is($loser->query('DELETE FROM face WHERE id = 55')->sqlstate, undef, 'for held images alone');
	is( $node->policy('again', q{SELECT biometric.legal_hold('face', 'img', 'id = 56', 'new')}),
		$node->sql($db, 'SELECT max(hold_id) + 1 FROM biometric.hold'),
		'a new hold gets a number of its own');
	is( $node->policy('again',
			q{SELECT biometric.release_hold('face', 'img', 'id = 54', 'released here')}),
		1, 'and is released here');
	is($loser->query('DELETE FROM face WHERE id = 54')->sqlstate, undef, 'then it goes');
	$loser->close;
	is(as($super, 'DELETE FROM face WHERE id = 54')->sqlstate, '55006', 'it stays held where it came from');
};

# ---------------------------------------------------------------- keys

subtest 'a held image may be sealed anew, and its key is not shredded' => sub {
	my $key = q{SELECT string_agg(DISTINCT h.key_id::text, ' ') FROM biometric.held AS h
		JOIN single AS s ON h.image_id = biometric.image_id(s.img)};

	as('alice', q{SELECT biometric.legal_hold('single', 'img', NULL, 'case')});
	is($node->sql($db, $key), '1', 'a hold notes the key');
	is($node->policy($db, 'SELECT biometric.rotate_key()'), '2', 'there is another one');
	is(as('alice', q{SELECT biometric.shred_key(1, 'old')})->sqlstate, '55006', 'the first one is kept');
	is($node->policy($db, q{SELECT biometric.reseal('single', 'img')}), '9', 'images are sealed anew');
	is($node->sql($db, $key), '2', 'the hold notes the new key');
	is(as($super, 'DELETE FROM single')->sqlstate, '55006', 'and holds them');

	$node->sql($db, 'CREATE TABLE kept AS SELECT * FROM plate; GRANT SELECT ON kept TO alice');
	as('alice', q{SELECT biometric.legal_hold('kept', 'img', NULL, 'case')});
	$node->policy($db, q{SELECT biometric.reseal('plate', 'img')});
	is($node->sql($db, q{SELECT string_agg(DISTINCT h.key_id::text, ' ') FROM biometric.held AS h
			JOIN kept AS k ON h.image_id = biometric.image_id(k.img)}), '1 2',
		'a copy that is sealed anew takes no key from the one that the hold found');
};

subtest 'what is in place of a held image opens as before' => sub {
	$node->sql($db, 'CREATE TABLE apart AS SELECT * FROM face WHERE id = 59; CREATE ROLE clerk LOGIN; '
		  . 'GRANT UPDATE, SELECT ON face TO clerk; GRANT SELECT ON apart TO custodian');
	my $copy = $node->sql($db, 'SELECT img::text FROM apart');
	as('alice', hold('id = 59'));
	is(as('clerk', "UPDATE face SET img = '$copy' WHERE id = 59")->sqlstate, '55006',
		'somebody who may not read where it comes from does not put its sealed copy there');
	my $same = $node->sql($db, 'SELECT img::text FROM face WHERE id = 59');
	is(as('clerk', "UPDATE face SET img = '$same' WHERE id = 59")->message, undef, 'its own is one');
	$node->sql($db, 'CREATE ROLE porter LOGIN; GRANT UPDATE, SELECT (id) ON face TO porter');
	is(as('porter', "UPDATE face SET img = '$same' WHERE id = 59")->sqlstate, '55006',
		'but not of somebody who may not read the column');
	$node->policy($db, q{SELECT biometric.release_hold(ARRAY(SELECT biometric.image_id(img) FROM apart), 'done')});
	my $mark = $node->mark($db);
	is(as('porter', "UPDATE face SET img = '$same' WHERE id = 59")->message, undef, 'when it is not held, he may');
	like($node->events($db, $mark), qr/\breplaced$/, 'and that is on record');
};

# ---------------------------------------------------------------- two persons

subtest 'two persons release a hold' => sub {
	my $number = $node->sql($db,
		'SELECT max(hold_id) FROM biometric.hold WHERE released_at IS NULL AND images = 1');

	$node->set('biometric_audit.two_person', 'on');
	is(as('alice', hold('id = 57'))->message, undef, 'one places a hold');
	foreach my $release (
		"biometric.release_hold($number, 'done')",
		q{biometric.release_hold('face', 'img', 'id = 57', 'done')},
		q{biometric.release_hold((SELECT array_agg(biometric.image_id(img)) FROM face WHERE id = 50), 'done')}
	  )
	{
		my $before = $node->sql($db, 'SELECT count(*) FROM biometric.held');
		my $result = as('alice', "SELECT $release");
		my ($proposal) = map { $_->{M} =~ /^proposal (\d+) waits/ ? $1 : () } $result->notices;
		ok($proposal, "$release is proposed") or diag $result->message;
		is($node->sql($db, 'SELECT count(*) FROM biometric.held'), $before, 'and releases nothing');
		is(as('alice', "SELECT biometric.approve($proposal)")->sqlstate, '42501', 'nor alone');
		is(as('bob', "SELECT biometric.approve($proposal)")->message, undef, 'another approves');
		is($node->sql($db, 'SELECT count(*) FROM biometric.held'), $before - 1, 'and it is released');
	}
	$node->sql($db, 'GRANT CREATE ON SCHEMA public TO alice');
	as('alice', q{CREATE FUNCTION public.curious(int) RETURNS bool LANGUAGE plpgsql AS
		'BEGIN RAISE WARNING $$run by %$$, current_user; RETURN $1 = 58; END'});
	as('alice', hold('id = 58'));
	as('alice', q{SELECT biometric.release_hold('face', 'img', 'public.curious(id)', 'done')});
	my $approved = as('bob', 'SELECT biometric.approve((SELECT max(id) FROM biometric.proposal))');
	is($approved->message, undef, 'a predicate with a function of its author is approved');
	is(join(' ', sort keys %{ { map { $_->{M} => 1 } grep { $_->{M} =~ /^run by/ } $approved->notices } }),
		'run by alice', 'and has no rights but his');
	$node->set('biometric_audit.two_person', 'off');
};

ok($node->verifies($db), 'the ledger verifies');
$node->stop;
done_testing();
