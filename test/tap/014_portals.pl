# Rows that reach the client from a tuplestore (RETURNING, FETCH, EXECUTE, CALL)
# pass the one door like any SELECT's: opened for those who may have them, each
# with its entry in the ledger, sealed or refused for everybody else.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened);
use BiometricAudit::Picture qw(numbered_jpeg fingerprint);

use constant {
	OFFICE => '127.0.0.2',
	STRANGER => '127.0.0.3',
	LOOPBACK => '127.0.0.1',
	TEXT => 0,
	BINARY => 1
};

my $rows = 40;
my $size = 3000;

# Extensions that look at every query, stand-ins too, where the server has them:
# one whose hooks run outside of ours, one whose hooks run inside.
my ($libraries) = `pg_config --pkglibdir` =~ /(.*)/;
my ($outside, $inside) =
  map { -e "$libraries/$_.so" ? $_ : () } qw(pg_stat_statements auto_explain);
my $preloaded = join ',', grep { defined } $inside, 'biometric_audit', $outside;

my $node = BiometricAudit::Node->create(
	'counter',
	conf => <<"END");
shared_preload_libraries = '$preloaded'
biometric_audit.release_batch_rows = 4
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_nested_statements = on
pg_stat_statements.track = all
END
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face,plate}', 'open', '{border_control}');
$node->register($db, 'archive', LOOPBACK . '/32', '{face,plate}', 'sealed');

$node->sql($db, <<"END");
CREATE TABLE traveller (id int PRIMARY KEY, name text, img biometric.face_image);
CREATE TABLE arrival (id int PRIMARY KEY, img biometric.face_image);
CREATE TABLE witness (id int PRIMARY KEY, img biometric.face_image);
CREATE TABLE lane (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO traveller SELECT n, 'name ' || n, numbered_jpeg(n, $size)::biometric.face_image
	FROM generate_series(1, $rows) AS n;
INSERT INTO arrival SELECT n, numbered_jpeg(n, $size)::biometric.face_image
	FROM generate_series(1, 3) AS n;
INSERT INTO witness SELECT n, numbered_jpeg(n, $size)::biometric.face_image
	FROM generate_series(1, 3) AS n;
GRANT ALL ON traveller, arrival, witness, lane TO officer;
CREATE PROCEDURE give(n int, INOUT id int, INOUT face biometric.face_image) LANGUAGE plpgsql AS
	'BEGIN SELECT n, t.img INTO id, face FROM public.traveller t WHERE t.id = n; END';
CREATE PROCEDURE give_bytes(n int, INOUT id int, INOUT bytes bytea) LANGUAGE plpgsql AS
	'BEGIN SELECT n, t.img::bytea INTO id, bytes FROM public.traveller t WHERE t.id = n; END';
CREATE PROCEDURE give_late(n int, INOUT id int, INOUT face biometric.face_image)
	LANGUAGE plpgsql AS
	'BEGIN COMMIT; SELECT n, t.img INTO id, face FROM public.traveller t WHERE t.id = n; END';
CREATE PROCEDURE give_back(n int, INOUT id int, INOUT face biometric.face_image)
	LANGUAGE plpgsql AS
	'BEGIN ROLLBACK; SELECT n, t.img INTO id, face FROM public.traveller t WHERE t.id = n; END';
CREATE FUNCTION declare_purpose() RETURNS int LANGUAGE plpgsql VOLATILE AS
	'BEGIN PERFORM set_config(''biometric_audit.purpose'', ''border_control'', false); RETURN 1; END';
CREATE FUNCTION picture_sql(n int) RETURNS biometric.face_image LANGUAGE sql VOLATILE
	AS 'SELECT public.numbered_jpeg(n, $size)::biometric.face_image';
END
$node->policy($db, <<'END');
SELECT biometric.authorize('agency', '{face}', 'sealed', NULL, 'witness')
END

sub officer
{
	my (%options) = (address => OFFICE, purpose => 'border_control', @_);
	return $node->connect_from($options{address}, $db, 'officer', $options{purpose});
}

# A field as the number of its picture, "sealed", "NULL" or "bytes".
my %number_of = map { numbered_jpeg($_, $size) => $_ } 1 .. 2 * $rows;

sub seen
{
	my ($value) = @_;
	return 'NULL' unless defined $value;
	return 'sealed' if is_sealed($value);
	return $number_of{ $value =~ /^\\x/ ? opened($value) : $value } // 'bytes';
}

# What came in a column: the last unless another is named.
sub shows
{
	my ($result, $column) = @_;
	return join ' ', map { seen($_->[ $column // -1 ]) } $result->rows;
}

# Checks what a result shows, and that each picture shown has just one entry
# made since a mark, under a command.
sub gives
{
	my ($name, $result, $expected, %how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($result->message, undef, "$name: no error");
	is(shows($result), $expected, "$name: $expected");
	return unless defined $how{mark};
	my @entries = $node->records($db,
			"SELECT s.detail ->> 'command' AS command, d.relation FROM biometric.disclosure d "
		  . "LEFT JOIN biometric.ledger s ON s.seq = d.statement WHERE d.seq >= $how{mark}");
	my $opened = grep { /^\d+$/ } map { seen($_->[-1]) } $result->rows;
	is(scalar @entries, $opened, "$name: as many entries as pictures");
	my %commands = map { ($_->{command} // 'none') => 1 } @entries;
	is(join(', ', sort keys %commands), $opened ? $how{command} : '', "$name: the command")
	  if $how{command};
	my %relations = map { ($_->{relation} // 'none') => 1 } @entries;
	is(join(', ', sort keys %relations), $opened ? $how{relation} : '', "$name: the relation")
	  if $how{relation};
	return;
}

# The ways, each a list of statements of which the last gives rows: [name,
# command tag, relation, session before, statement, what it shows].
my $fetch = 'SELECT id, img FROM traveller WHERE id <= 6 ORDER BY id';
my @ways = (
	[ 'INSERT', 'public.arrival', [],
		'INSERT INTO arrival SELECT 100 + id, img FROM traveller WHERE id <= 2 RETURNING id, img',
		'1 2' ],
	[ 'INSERT', 'public.arrival', [],
		'INSERT INTO arrival VALUES (200, picture_sql(7)) RETURNING id, img', '7' ],
	[ 'INSERT', 'public.arrival', [],
		'INSERT INTO arrival VALUES (1, picture_sql(9)) ON CONFLICT (id) DO UPDATE '
		  . 'SET img = excluded.img RETURNING id, img', '9' ],
	[ 'UPDATE', 'public.traveller', [],
		"UPDATE traveller SET name = name || '!' WHERE id IN (2, 3) RETURNING id, img", '2 3' ],
	[ 'DELETE', 'public.arrival', [], 'DELETE FROM arrival WHERE id = 2 RETURNING id, img', '2' ],
	[ 'SELECT', undef, [],
		'WITH u AS (UPDATE traveller SET name = name WHERE id = 4 RETURNING id, img) '
		  . 'SELECT id, img FROM u', '4' ],
	[ 'SELECT', 'public.traveller', [],
		'WITH u AS (UPDATE arrival SET id = id WHERE id = 1) '
		  . 'SELECT id, img FROM traveller WHERE id = 5', '5' ],
	(map {
		[ 'FETCH', 'public.traveller', [ 'BEGIN', "DECLARE c $_ CURSOR FOR $fetch" ],
			'FETCH 3 FROM c', '1 2 3' ]
	} '', 'SCROLL', 'NO SCROLL', 'INSENSITIVE'),
	[ 'FETCH', 'public.traveller', [ 'BEGIN', "DECLARE c SCROLL CURSOR FOR $fetch" ],
		'FETCH ALL FROM c', '1 2 3 4 5 6' ],
	[ 'FETCH', 'public.traveller',
		[ 'BEGIN', "DECLARE c SCROLL CURSOR FOR $fetch", 'MOVE ALL FROM c' ],
		'FETCH BACKWARD 2 FROM c', '6 5' ],
	[ 'FETCH', 'public.traveller', [ 'BEGIN', "DECLARE c SCROLL CURSOR FOR $fetch" ],
		'FETCH ABSOLUTE 4 FROM c', '4' ],
	[ 'FETCH', 'public.traveller', [ 'BEGIN', "DECLARE c SCROLL CURSOR FOR $fetch" ],
		'FETCH LAST FROM c', '6' ],
	[ 'FETCH', 'public.traveller',
		[ 'BEGIN', "DECLARE c SCROLL CURSOR FOR $fetch", 'MOVE 2 FROM c' ],
		'FETCH RELATIVE 0 FROM c', '2' ],
	[ 'FETCH', 'public.traveller', ["BEGIN; DECLARE h CURSOR WITH HOLD FOR $fetch; COMMIT"],
		'FETCH 2 FROM h', '1 2' ],
	[ 'EXECUTE', 'public.traveller',
		['PREPARE p (int) AS SELECT id, img FROM traveller WHERE id = $1'], 'EXECUTE p(3)', '3' ],
	[ 'EXECUTE', 'public.traveller',
		[ "PREPARE p (int) AS UPDATE traveller SET name = name WHERE id = \$1 RETURNING id, img" ],
		'EXECUTE p(8)', '8' ],
	[ 'CALL', 'public.traveller', [], 'CALL give(6, NULL, NULL)', '6' ],
	[ 'CALL', 'public.traveller', [], 'CALL give_bytes(6, NULL, NULL)', '6' ]);

subtest 'every way by a tuplestore opens for a permitted party, one entry a picture' => sub {
	foreach my $way (@ways)
	{
		my ($command, $relation, $before, $sql, $expected) = @$way;
		foreach my $protocol ('simple', 'text', 'binary')
		{
			my $wire = officer();
			$wire->query($_) foreach @$before;
			$wire->query('BEGIN') if $wire->status eq 'I';
			my $mark = $node->mark($db);
			my $result =
				$protocol eq 'simple'
			  ? $wire->query($sql)
			  : $wire->extended($sql, results => [ TEXT, $protocol eq 'text' ? TEXT : BINARY ]);
			gives("$sql, $protocol", $result, $expected,
				mark => $mark, command => $command, relation => $relation);
			is($wire->query('ROLLBACK')->message, undef, 'the session goes on');
		}
	}
};

subtest 'a BINARY cursor gives raw bytes by the simple protocol' => sub {
	my $wire = officer();
	$wire->query("BEGIN; DECLARE c BINARY CURSOR FOR $fetch");
	my $result = $wire->query('FETCH 2 FROM c');
	is_deeply([ map { $_->[1] } $result->rows ], [ map { numbered_jpeg($_, $size) } 1, 2 ], 'bytes');
};

subtest 'none of them opens where only sealed values are permitted, or without a purpose' => sub {
	foreach my $who ([ LOOPBACK, 'border_control' ], [ OFFICE, undef ])
	{
		foreach my $way (@ways)
		{
			my ($command, $relation, $before, $sql, $expected) = @$way;
			my $wire = officer(address => $who->[0], purpose => $who->[1]);
			$wire->query($_) foreach @$before;
			$wire->query('BEGIN') if $wire->status eq 'I';
			my $mark = $node->mark($db);
			my $result = $wire->query($sql);
			is(shows($result), $expected =~ s/\d+/sealed/gr, "$sql: sealed");
			is($node->sql($db,
					"SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark"),
				0, 'no entry');
		}
	}
};

subtest 'an unregistered network is refused all of them, and so is a wrong purpose' => sub {
	foreach my $who ([ STRANGER, 'border_control' ], [ OFFICE, 'curiosity' ])
	{
		foreach my $way (@ways)
		{
			my ($command, $relation, $before, $sql, $expected) = @$way;
			my $wire = officer(address => $who->[0], purpose => $who->[1]);
			my @results = map { $wire->query($_) } @$before, $sql;
			my ($refused) = grep { $_->sqlstate } @results;
			is($refused && $refused->sqlstate, '42501', "refused: $sql");
			is(scalar(map { $_->rows } @results), 0, 'no row');
		}
	}
};

subtest 'a permit for one table holds for what cursors, RETURNING and EXECUTE show' => sub {
	my $wire = officer();
	$wire->query('BEGIN');
	gives('UPDATE', $wire->query('UPDATE witness SET id = id WHERE id = 1 RETURNING id, img'),
		'sealed');
	$wire->query('DECLARE c CURSOR FOR SELECT t.id, t.img, w.img FROM traveller t '
		  . 'JOIN witness w USING (id) ORDER BY id');
	my $result = $wire->query('FETCH 2 FROM c');
	is(shows($result, 1), '1 2', 'the permitted column');
	is(shows($result, 2), 'sealed sealed', 'the sealed one');
	$wire->query('PREPARE p AS SELECT t.img, w.img FROM traveller t JOIN witness w USING (id) '
		  . 'ORDER BY id');
	$result = $wire->query('EXECUTE p');
	is(shows($result, 0), '1 2 3', 'EXECUTE: the permitted column');
	is(shows($result, 1), 'sealed sealed sealed', 'EXECUTE: the sealed one');
};

# ---------------------------------------------------------------- suspended portals

subtest 'a row-limited Execute of RETURNING resumes without losing or repeating a picture' => sub {
	my @statements = (
		'UPDATE traveller SET name = name WHERE id <= 11 RETURNING id, img',
		'WITH u AS (UPDATE traveller SET name = name WHERE id <= 11 RETURNING id, img) '
		  . 'SELECT id, img FROM u',
		'FETCH 11 FROM c');
	foreach my $sql (@statements)
	{
		foreach my $max_rows (1, 4, 5, 11, 12)
		{
			my $wire = officer();
			$wire->query('BEGIN; DECLARE c CURSOR FOR SELECT id, img FROM traveller ORDER BY id');
			my $mark = $node->mark($db);
			my $result =
			  $wire->extended($sql, results => [ TEXT, BINARY ], max_rows => $max_rows);
			is($result->message, undef, 'no error');
			is(join(' ', sort { $a <=> $b } map { seen($_->[1]) } $result->rows),
				join(' ', 1 .. 11), "$sql by $max_rows");
			my %released = $node->released($db, $mark);
			is(join(' ', values %released), join(' ', (1) x 11), 'each entered once');
		}
	}
};

subtest 'suspended portals that fill stores do not disturb one another' => sub {
	my $wire = officer();
	$wire->query('BEGIN');
	foreach my $portal (qw(a b))
	{
		my $from = $portal eq 'a' ? 1 : 21;
		$wire->send_parse('',
			"UPDATE traveller SET name = name WHERE id BETWEEN $from AND $from + 9 RETURNING id, img");
		$wire->send_bind($portal, '', results => [ TEXT, BINARY ]);
	}
	my @rows;
	foreach (1 .. 4)
	{
		foreach my $portal (qw(a b))
		{
			$wire->send_execute($portal, 3)->send_flush;
			push @rows, $wire->collect(until => 'sCE')->rows;
		}
	}
	$wire->send_sync->drain;
	is(scalar @rows, 20, 'all rows');
	is(scalar(grep { seen($_->[1]) ne $_->[0] } @rows), 0, 'all right');
	is($wire->query('COMMIT')->message, undef, 'and a COMMIT');
};

# Parses, binds and executes a portal in an open transaction; its first rows.
sub suspended
{
	my ($wire, $portal, $sql, $max_rows) = @_;
	$wire->send_parse('', $sql)->send_bind($portal, '', results => [ TEXT, BINARY ]);
	$wire->send_execute($portal, $max_rows)->send_flush;
	return $wire->collect(until => 'sCE');
}

sub resumed
{
	my ($wire, $portal, $max_rows) = @_;
	return $wire->send_execute($portal, $max_rows)->send_sync->drain;
}

my $update = 'UPDATE traveller SET name = name WHERE id <= 6 RETURNING id, img';

subtest 'a suspended portal can be fetched from by SQL, forward only, and be closed' => sub {
	my $wire = officer();
	$wire->query('BEGIN');
	gives('Execute', suspended($wire, 'a', $update, 2), '1 2');
	$wire->send_sync->drain;
	gives('FETCH', $wire->query('FETCH 2 FROM a'), '3 4');
	is($wire->query('UPDATE traveller SET name = name WHERE CURRENT OF a')->sqlstate,
		'24000', 'it is no position for an update');
	$wire->query('ROLLBACK; BEGIN');
	foreach my $backward ('FETCH BACKWARD 1 FROM a', 'FETCH ABSOLUTE 1 FROM a', 'FETCH 0 FROM a',
		'MOVE BACKWARD ALL FROM a', 'FETCH PRIOR FROM a')
	{
		suspended($wire, 'a', $update, 2);
		$wire->send_sync->drain;
		is($wire->query($backward)->sqlstate, '55000', "$backward is an error");
		$wire->query('ROLLBACK; BEGIN');
	}
	suspended($wire, 'a', $update, 2);
	$wire->send_sync->drain;
	is($wire->query('MOVE 2 FROM a')->message, undef, 'MOVE');
	gives('the rest', resumed($wire, 'a', 0), '5 6');
	is($wire->query('CLOSE a')->message, undef, 'CLOSE');
	suspended($wire, 'b', $update, 2);
	$wire->send_close('P', 'b')->send_sync->drain;
	is($wire->query('CLOSE ALL; COMMIT')->message, undef, 'Close and COMMIT');
};

subtest 'a savepoint that is rolled back ends its portals and leaves others' => sub {
	my $wire = officer();
	$wire->query('BEGIN');
	suspended($wire, 'outer', $update, 1);
	$wire->send_sync->drain;
	$wire->query('SAVEPOINT s');
	gives('inside', suspended($wire, 'inner', $update, 2), '1 2');
	gives('outside', resumed($wire, 'outer', 2), '2 3');
	$wire->query('ROLLBACK TO s');
	is(resumed($wire, 'inner', 1)->sqlstate, '34000', 'the inner portal is gone');
	$wire->query('ROLLBACK TO s');
	gives('the outer goes on', resumed($wire, 'outer', 0), '4 5 6');
	$wire->query('RELEASE s; COMMIT');
	$wire->query('BEGIN; SAVEPOINT s');
	suspended($wire, 'kept', $update, 1);
	$wire->send_sync->drain;
	$wire->query('RELEASE s');
	gives('a portal of a released savepoint', resumed($wire, 'kept', 2), '2 3');
	is($wire->query('COMMIT')->message, undef, 'ends with its transaction');
};

subtest 'an error in the middle of a replay ends the transaction and nothing else' => sub {
	my $wire = officer();
	$wire->query('BEGIN');
	suspended($wire, 'a', $update, 2);
	$wire->send_sync->drain;
	$wire->query('SELECT 1/0');
	is($wire->status, 'E', 'failed');
	is(resumed($wire, 'a', 1)->sqlstate, '25P02', 'the portal is not run');
	$wire->query('ROLLBACK');
	gives('the session goes on', $wire->query("BEGIN; $update"), '1 2 3 4 5 6');
	$wire->query('ROLLBACK');
};

subtest 'an error while a store is filled leaves no statement behind' => sub {
	foreach my $sql (
		'FETCH ALL FROM c',
		'EXECUTE p',
		'UPDATE traveller SET name = name RETURNING 1 / (id - 3), img')
	{
		my $wire = officer();
		my $query = 'SELECT 1 / (id - 3), img FROM traveller ORDER BY id';
		$wire->query("PREPARE p AS $query");
		$wire->query("BEGIN; DECLARE c CURSOR FOR $query; SAVEPOINT s");
		my $result = $wire->query($sql);
		is($result->sqlstate, '22012', $sql);
		is($result->row_count, 0, 'no row');
		$wire->query('ROLLBACK TO s');
		gives('the transaction goes on', $wire->query("$update"), '1 2 3 4 5 6');
	}
};

subtest 'a portal that is suspended when its transaction ends is gone with it' => sub {
	my $wire = officer();
	gives('some rows', suspended($wire, 'a', $update, 2), '1 2');
	$wire->send_sync->drain;
	is(resumed($wire, 'a', 1)->sqlstate, '34000', 'no such portal');
	gives('the session goes on', $wire->query($update), '1 2 3 4 5 6');
};

subtest 'spilled stores are replayed, and their files are removed also after an error' => sub {
	my $files = sub {
		return $node->sql($db, 'SELECT count(*) FROM pg_ls_tmpdir()');
	};
	my $wire = officer();
	$wire->query("SET work_mem = '64kB'");
	$node->sql($db, 'ALTER TABLE traveller ALTER img SET STORAGE EXTERNAL');
	my $sql = "INSERT INTO arrival SELECT 1000 + n, picture_sql(n) FROM generate_series(1, $rows) n "
	  . 'RETURNING id, img';
	foreach my $end ('SELECT 1/0', 'ROLLBACK TO s', 'CLOSE a', 'COMMIT')
	{
		$wire->query('BEGIN; SAVEPOINT s');
		gives("before $end", suspended($wire, 'a', $sql, 3), '1 2 3');
		$wire->send_sync->drain;
		cmp_ok($files->(), '>', 0, 'a file');
		gives('goes on', resumed($wire, 'a', 3), '4 5 6');
		$wire->query($end);
		$wire->query('ROLLBACK');
		is($files->(), 0, "no file after $end");
		$node->sql($db, 'DELETE FROM arrival WHERE id > 1000');
	}
};

# ---------------------------------------------------------------- policy that changes

subtest 'neither a cursor nor a suspended portal left open outlives a permit' => sub {
	$node->policy($db, <<'END');
SELECT biometric.register_party('guest', 'guest', tstzrange('2020-01-01', NULL));
SELECT biometric.register_network('127.0.0.3/32', 'guest');
END
	my $permit;
	my $allow = sub {
		$permit = $node->policy($db, q{SELECT biometric.authorize('guest', '{face}', 'open')});
	};
	$allow->();
	my $wire = officer(address => STRANGER);
	$wire->query("BEGIN; DECLARE c CURSOR FOR $fetch");
	gives('FETCH', $wire->query('FETCH 2 FROM c'), '1 2');
	$node->policy($db, "SELECT biometric.revoke($permit, 'enough')");
	my $mark = $node->mark($db);
	my $result = $wire->query('FETCH 2 FROM c');
	is($result->sqlstate, '42501', 'FETCH is refused');
	is($result->row_count, 0, 'no row');
	like($node->events($db, $mark), qr/refused/, 'entered');
	$wire->query('ROLLBACK');

	$allow->();
	$wire->query("BEGIN; DECLARE h CURSOR WITH HOLD FOR $fetch; COMMIT");
	gives('held', $wire->query('FETCH 1 FROM h'), '1');
	$node->policy($db, "SELECT biometric.revoke($permit, 'enough')");
	is($wire->query('FETCH 1 FROM h')->sqlstate, '42501', 'a held cursor');

	$allow->();
	$wire->query('BEGIN');
	my $insert = 'INSERT INTO arrival SELECT 300 + id, img FROM traveller WHERE id <= 3 '
	  . 'RETURNING id, img';
	gives('INSERT', suspended($wire, 'a', $insert, 1), '1');
	$node->policy($db, "SELECT biometric.revoke($permit, 'enough')");
	$result = resumed($wire, 'a', 1);
	is($result->sqlstate, '42501', 'a suspended portal');
	is($wire->status, 'E', 'the transaction has failed');
	$wire->query('COMMIT');
	is($node->sql($db, 'SELECT count(*) FROM arrival WHERE id > 300'), 0, 'no row is stored');
};

subtest 'a row that is refused at the gate is not stored either' => sub {
	$node->policy($db, q{SELECT biometric.authorize('agency', '{face}', 'open', NULL, 'lane')});
	my $wire = officer();
	gives('permitted', $wire->query('INSERT INTO lane VALUES (1, picture_sql(1)) RETURNING id, img'),
		'1');
	$node->policy($db, q{SELECT biometric.authorize('agency', '{face}', 'refuse', NULL, 'lane')});
	my $mark = $node->mark($db);
	my $result = $wire->query('INSERT INTO lane VALUES (2, picture_sql(2)) RETURNING id, img');
	is($result->sqlstate, '42501', 'refused');
	is($node->sql($db, 'SELECT count(*) FROM lane'), 1, 'not stored');
	my ($refusal) = $node->refusals($db, $mark);
	is($refusal && $refusal->{relation}, 'public.lane', 'the refusal names the table');
	is($wire->query('INSERT INTO lane VALUES (3, picture_sql(3)) RETURNING id')->message,
		undef, 'what shows no picture works');
};

subtest 'a purpose that is declared inside of a statement does not count for it' => sub {
	foreach my $way (
		'INSERT INTO arrival SELECT 400 + id * declare_purpose(), img FROM traveller '
		  . 'WHERE id = 1 RETURNING id, img',
		'INSERT INTO arrival VALUES (500, picture_sql(1)) RETURNING declare_purpose(), img',
		'FETCH 1 FROM c',
		'EXECUTE p(declare_purpose())',
		'CALL give(declare_purpose(), NULL, NULL)')
	{
		my $wire = officer(purpose => undef);
		$wire->query('PREPARE p (int) AS SELECT id, img FROM traveller WHERE id = $1');
		$wire->query('BEGIN; DECLARE c CURSOR FOR SELECT id * declare_purpose(), img '
			  . 'FROM traveller ORDER BY traveller.id');
		my $result = $wire->query($way);
		is(shows($result) || $result->sqlstate, 'sealed', "$way: sealed");
		gives('the next statement has it', $wire->query('SELECT img FROM traveller WHERE id = 1'), '1');
	}
};

# ---------------------------------------------------------------- bytea

my $cast = 'SELECT id, img::bytea FROM traveller WHERE id <= 6';

subtest 'image::bytea is opened by the statement that casts it, whatever its portal' => sub {
	my @bytes = (
		[ [], 'UPDATE traveller SET name = name WHERE id IN (1, 2) RETURNING id, img::bytea', '1 2' ],
		[ [], 'WITH u AS (UPDATE traveller SET name = name WHERE id = 2 RETURNING id, img) '
			  . 'SELECT id, img::bytea FROM u', '2' ],
		[ ["PREPARE p AS $cast ORDER BY id"], 'EXECUTE p', '1 2 3 4 5 6' ],
		[ ["DECLARE c CURSOR FOR $cast"], 'FETCH 3 FROM c', '1 2 3' ],
		[ ["DECLARE c SCROLL CURSOR FOR $cast ORDER BY name"], 'FETCH ABSOLUTE 3 FROM c', '3' ],
		[ [], 'CALL give_bytes(6, NULL, NULL)', '6' ]);
	foreach my $way (@bytes)
	{
		my ($before, $sql, $expected) = @$way;
		foreach my $format (TEXT, BINARY)
		{
			my $wire = officer();
			$wire->query('BEGIN');
			$wire->query($_) foreach @$before;
			my $mark = $node->mark($db);
			gives($sql, $wire->extended($sql, results => [ TEXT, $format ]), $expected,
				mark => $mark);
		}
	}
};

subtest 'a cursor over casts gives bytes at every FETCH, also when its plan casts ahead' => sub {
	foreach my $order ('', 'ORDER BY name')
	{
		my $wire = officer();
		$wire->query("BEGIN; DECLARE c CURSOR FOR $cast $order");
		gives("FETCH $_, $order", $wire->query('FETCH 2 FROM c'), (2 * $_ - 1) . ' ' . 2 * $_)
		  foreach 1 .. 2;
		gives('Execute goes on', resumed($wire, 'c', 0), '5 6');
	}
};

subtest 'bytes that another statement stamped stay sealed' => sub {
	my $wire = officer();
	$wire->query("BEGIN; DECLARE h CURSOR WITH HOLD FOR $cast; COMMIT");
	gives('a held cursor', $wire->query('FETCH 1 FROM h'), 'sealed');
	$wire->query("CREATE TEMP TABLE kept AS $cast");
	foreach my $sql (
		'SELECT img FROM kept LIMIT 1',
		'UPDATE kept SET id = id WHERE id = 1 RETURNING img')
	{
		gives($sql, $wire->query($sql), 'sealed');
		$wire->query("BEGIN; DECLARE c CURSOR FOR SELECT img FROM kept LIMIT 1");
		gives('FETCH', $wire->query('FETCH 1 FROM c'), 'sealed');
		$wire->query("ROLLBACK; PREPARE q AS $sql");
		gives('EXECUTE', $wire->query('EXECUTE q'), 'sealed');
		$wire->query('DEALLOCATE q');
	}
	$wire->query('BEGIN');
	suspended($wire, 'a',
		'UPDATE traveller SET name = name WHERE id <= 2 RETURNING id, img::bytea', 1);
	$wire->send_sync->drain;
	gives('a cast, while another portal is suspended', $wire->query("$cast AND id = 3"), '3');
	gives('the portal goes on', resumed($wire, 'a', 1), '2');
};

# ---------------------------------------------------------------- cursors that others open

$node->sql($db, <<'END');
CREATE FUNCTION open_select(c refcursor) RETURNS refcursor LANGUAGE plpgsql AS
	'BEGIN OPEN c FOR SELECT id, img FROM public.traveller WHERE id <= 4 ORDER BY id; RETURN c; END';
CREATE FUNCTION open_update(c refcursor) RETURNS refcursor LANGUAGE plpgsql AS
	'BEGIN OPEN c FOR EXECUTE ''UPDATE public.traveller SET name = name WHERE id <= 4
		RETURNING id, img''; RETURN c; END';
CREATE FUNCTION open_scroll(c refcursor) RETURNS refcursor LANGUAGE plpgsql AS
	'BEGIN OPEN c SCROLL FOR EXECUTE ''EXECUTE four''; RETURN c; END';
END

subtest 'a cursor that a function opened gives pictures, or sealed values if it scrolls' => sub {
	foreach my $how (qw(select update scroll))
	{
		my $wire = officer();
		$wire->query('PREPARE four AS SELECT id, img FROM traveller WHERE id <= 4 ORDER BY id');
		my $open = sub {
			$wire->query("ROLLBACK; BEGIN; SELECT open_$how('c')");
		};
		$open->();
		gives("$how, FETCH", $wire->query('FETCH 2 FROM c'), '1 2');
		my $rest = $how eq 'select' ? '3 4' : 'sealed sealed';
		gives("$how, Execute after it", resumed($wire, 'c', 0), $rest);
		$open->();
		my $expected = $how eq 'scroll' ? 'sealed sealed' : '1 2';
		gives("$how, Execute", resumed($wire, 'c', 2), $expected);
		gives("$how, FETCH after it", $wire->query('FETCH 2 FROM c'), '3 4');
		next unless $how eq 'scroll';
		gives('and backward', $wire->query('FETCH BACKWARD 2 FROM c'), '3 2');
	}
};

subtest 'the cursor of pg_dump --inserts gives sealed values, purpose or not' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	$wire->query("BEGIN; DECLARE _pg_dump_cursor CURSOR FOR $fetch");
	gives('FETCH', $wire->query('FETCH 2 FROM _pg_dump_cursor'), 'sealed sealed', mark => $mark);
	gives('extended', $wire->extended('FETCH 2 FROM _pg_dump_cursor', max_rows => 1),
		'sealed sealed', mark => $mark);
};

# ---------------------------------------------------------------- procedures and rules

subtest 'a procedure that ended its transaction gives sealed values' => sub {
	my $wire = officer();
	foreach (1 .. 3)
	{
		foreach my $procedure (qw(give_late give_back))
		{
			my $mark = $node->mark($db);
			gives($procedure, $wire->query("CALL $procedure(3, NULL, NULL)"), 'sealed',
				mark => $mark);
		}
		gives('an orderly one', $wire->query('CALL give(3, NULL, NULL)'), '3');
	}
};

subtest 'rules add queries to RETURNING, and views pass it on' => sub {
	$node->sql($db, <<'END');
CREATE TABLE trail (id int);
CREATE TABLE ruled (id int, img biometric.face_image);
CREATE VIEW ruled_view AS SELECT id, img FROM ruled;
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO trail VALUES (1);
CREATE RULE before AS ON UPDATE TO ruled DO ALSO INSERT INTO trail SELECT declare_purpose();
CREATE RULE tell AS ON DELETE TO ruled DO ALSO NOTIFY ruled;
GRANT ALL ON trail, ruled, ruled_view TO officer;
END
	my $wire = officer();
	my $insert = 'INSERT INTO ruled VALUES (1, picture_sql(1)) RETURNING id, img';
	gives('DO ALSO after', $wire->query($insert), '1');
	gives('extended', $wire->extended($insert, results => [ TEXT, BINARY ]), '1');
	gives('DO ALSO before', $wire->query('UPDATE ruled SET id = 2 RETURNING id, img'), '1 1');
	gives('NOTIFY', $wire->query('DELETE FROM ruled WHERE id = 2 RETURNING id, img'), '1 1');
	gives('a view', $wire->query('INSERT INTO ruled_view VALUES (3, picture_sql(3)) RETURNING id, img'),
		'3');
	is($node->sql($db, 'SELECT count(*) FROM trail'), 4, 'the rules ran');
	gives('a purpose declared by a rule',
		officer(purpose => undef)->query('UPDATE ruled SET id = 2 RETURNING id, img'), 'sealed');
};

subtest 'a held cursor outlives its table' => sub {
	$node->sql($db, 'CREATE TABLE passing (id int, img biometric.face_image)');
	$node->sql($db, 'GRANT ALL ON passing TO officer');
	$node->sql($db, "INSERT INTO passing SELECT n, picture_sql(n) FROM generate_series(1, 4) AS n");
	my $wire = officer();
	$wire->query('BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id, img FROM passing; COMMIT');
	gives('before', $wire->query('FETCH 2 FROM h'), '1 2');
	$node->sql($db, 'DROP TABLE passing');
	gives('after', $wire->query('FETCH 2 FROM h'), '3 4');
};

subtest 'commands without pictures and unknown cursors are as they were' => sub {
	my $wire = officer();
	is($wire->query('EXPLAIN (COSTS OFF) SELECT 1')->value, 'Result', 'EXPLAIN');
	is($wire->query('SHOW work_mem')->row_count, 1, 'SHOW');
	is($wire->query('UPDATE traveller SET name = name WHERE id = 1 RETURNING id')->value, 1,
		'RETURNING without pictures');
	is($wire->query('FETCH 1 FROM nowhere')->sqlstate, '34000', 'no such cursor');
	is($wire->query('EXECUTE nothing')->sqlstate, '26000', 'no such statement');
	$node->sql($db, 'CREATE TABLE changing (img biometric.face_image)');
	$node->sql($db, 'GRANT ALL ON changing TO officer');
	$wire->query('PREPARE changed AS SELECT * FROM changing');
	$node->sql($db, 'ALTER TABLE changing ADD COLUMN more int');
	is($wire->query('EXECUTE changed')->sqlstate, '0A000', 'a statement that has become invalid');
	like(join("\n", $wire->query("EXPLAIN ANALYZE $update")->column(0)), qr/Update on traveller/,
		'EXPLAIN ANALYZE');
};

# ---------------------------------------------------------------- endurance

subtest 'a session of many such statements neither crashes nor grows' => sub {
	my $wire = officer();
	my $pid = $wire->pid;
	my $resident = sub {
		my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m;
		return $kilobytes;
	};
	$wire->query('PREPARE p (int) AS SELECT id, img FROM traveller WHERE id = $1');
	my @mixed = (
		'UPDATE traveller SET name = name WHERE id = 1 RETURNING id, img',
		'EXECUTE p(2)',
		'CALL give(3, NULL, NULL)',
		'CALL give_late(3, NULL, NULL)',
		"BEGIN; DECLARE c CURSOR FOR $fetch; FETCH 4 FROM c; FETCH ALL FROM c; COMMIT",
		"BEGIN; DECLARE c CURSOR FOR $cast; FETCH 4 FROM c; ROLLBACK",
		"BEGIN; DECLARE h CURSOR WITH HOLD FOR $fetch; COMMIT; FETCH 2 FROM h; CLOSE h",
		'BEGIN; UPDATE traveller SET name = name WHERE id = 1 RETURNING 1/(id - 1), img; ROLLBACK',
		'SELECT img FROM traveller WHERE id = 4',
		'suspend');
	my $round = sub {
		foreach my $n (1 .. 500)
		{
			my $sql = $mixed[ $n % @mixed ];
			if ($sql ne 'suspend')
			{
				$wire->query($sql);
				next;
			}
			$wire->query('BEGIN');
			suspended($wire, 'a', $update, 2);
			$wire->send_sync->drain;
			$wire->query($n % 20 ? 'ROLLBACK' : 'COMMIT');
		}
	};
	$round->();
	my $before = $resident->();
	$round->() foreach 1 .. 2;
	cmp_ok($resident->() - $before, '<', 2048, 'memory (kB) after 1500 statements');
	gives('it still releases', $wire->query('EXECUTE p(2)'), '2');
	is($wire->pid, $pid, 'the same session');
	ok($node->verifies($db), 'the ledger verifies');
	my @loud = grep { /was terminated by signal|PANIC|TRAP|leak:/ }
	  split /\n/, slurp_file($node->logfile);
	is(join("\n", @loud), '', 'the log is quiet');
};

done_testing();
