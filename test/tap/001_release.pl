# What an authorised client receives: the pictures that were enrolled, byte for
# byte, on every way that a result can take to a client, each with its entry in
# the ledger; and sealed values on every way that does not pass the gate.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened has_ipv6);
use BiometricAudit::Picture qw(numbered_jpeg png fingerprint);

use constant OFFICE => '127.0.0.2';
use constant TEXT => 0;
use constant BINARY => 1;

my $node = BiometricAudit::Node->create('agency');
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face,plate}', 'open', '{border_control}');

my $rows = 60;
my $size = 3000;

$node->sql($db, <<"END");
CREATE DOMAIN selfie AS biometric.face_image CHECK (biometric.width(VALUE) > 0);
CREATE TABLE traveller (id int PRIMARY KEY, name text, img biometric.face_image,
	other biometric.face_image, own selfie, plate biometric.plate_image);
CREATE TABLE visit (id int PRIMARY KEY, traveller int REFERENCES traveller, place text);
GRANT SELECT, INSERT, UPDATE, DELETE ON traveller, visit TO officer;
INSERT INTO traveller
	SELECT n, 'name ' || n, numbered_jpeg(n, $size)::biometric.face_image,
		CASE WHEN n % 3 > 0 THEN numbered_jpeg(n + 1000, $size)::biometric.face_image END,
		numbered_jpeg(n + 2000, $size)::biometric.face_image,
		numbered_jpeg(n + 3000, $size)::biometric.plate_image
	FROM generate_series(1, $rows) AS n;
INSERT INTO visit SELECT n, 1 + n % $rows, 'gate ' || n FROM generate_series(1, 2 * $rows) AS n;
ANALYZE traveller, visit;
END

# Image ids by what they are of: "img 1", "other 2", ...
my %id_of;
foreach my $column (qw(img other own plate))
{
	$id_of{"$column $_->{id}"} = $_->{image_id}
	  foreach $node->records($db,
		"SELECT id, biometric.image_id($column) FROM traveller WHERE $column IS NOT NULL");
}

sub officer
{
	my (%options) = @_;
	return $node->connect_from(OFFICE, $db, 'officer', 'border_control', %options);
}

# The picture with a number, as it was enrolled.
sub enrolled { return fingerprint(numbered_jpeg($_[0], $size)); }

# A field of a result, whatever its format, as a fingerprint; "sealed" for a sealed one.
sub received
{
	my ($value, $format) = @_;
	return 'NULL' if !defined $value;
	return 'sealed' if is_sealed($value);
	return fingerprint($format == TEXT ? opened($value) : $value);
}

# Reads pictures by a query whose first column is a number and whose second is
# the picture of that number, and checks bytes and ledger. how: { sql, session
# (statements before), params, max_rows, format, count, column (of %id_of) }.
sub reads
{
	my ($wire, %how) = @_;
	my $format = $how{format} // BINARY;
	my $mark = $node->mark($db);
	my $result =
		$how{simple}
	  ? $wire->query($how{sql})
	  : $wire->extended(
		$how{sql},
		params => $how{params},
		results => [ TEXT, $format ],
		max_rows => $how{max_rows});
	is($result->message, undef, 'no error');
	my @rows = $result->rows;
	is(scalar @rows, $how{count} // $rows, 'as many rows as asked for');
	my @wrong = grep { received($_->[1], $format) ne enrolled($_->[0]) } @rows;
	is(scalar @wrong, 0, 'every picture is what was enrolled')
	  || diag 'first wrong: ' . $wrong[0][0] . ' is ' . received($wrong[0][1], $format);
	my %released = $node->released($db, $mark);
	my $column = $how{column} // 'img';
	my $offset = { img => 0, other => 1000, own => 2000, plate => 3000 }->{$column};
	my @missing =
	  grep { !$released{ $id_of{ "$column " . ($_->[0] - $offset) } } } @rows;
	is(scalar @missing, 0, 'every picture received is in the ledger');
	return $result;
}

subtest 'an authorised client reads pictures byte for byte in every protocol and format' => sub {
	my $wire = officer();
	my $sql = 'SELECT id, img FROM traveller ORDER BY id';
	reads($wire, sql => $sql, simple => 1, format => TEXT);
	reads($wire, sql => $sql, format => TEXT);
	reads($wire, sql => $sql, format => BINARY);
	reads($wire, sql => 'SELECT id, img FROM traveller WHERE id = $1', params => [17], count => 1);
	reads(officer(params => { 'client_encoding' => 'LATIN1' }), sql => $sql);
};

subtest 'each picture is entered once, over IPv4 and over IPv6' => sub {
	my $mark = $node->mark($db);
	my $wire = officer();
	$wire->query('SELECT img FROM traveller');
	my %released = $node->released($db, $mark);
	is(scalar(keys %released), $rows, 'one image id a picture');
	is(scalar(grep { $_ != 1 } values %released), 0, 'each once');

  SKIP:
	{
		skip 'this machine has no IPv6', 1 unless has_ipv6();
		$node->register($db, 'bureau', '::1/128', '{face}', 'open', '{border_control}');
		my $value = $node->connect_from('::1', $db, 'officer', 'border_control')
		  ->query('SELECT img FROM traveller WHERE id = 5')->value;
		is(received($value, TEXT), enrolled(5), 'over IPv6');
	}
};

subtest 'the ledger says who received which picture, when, why and through which network' => sub {
	my $mark = $node->mark($db);
	my $wire = officer(params => { application_name => 'lane 4' });
	$wire->query('SELECT img FROM traveller WHERE id = 9');
	my ($entry) = $node->records($db, "SELECT * FROM biometric.disclosure WHERE seq >= $mark");
	is($entry->{image_id}, $id_of{'img 9'}, 'image');
	is($entry->{party}, 'agency', 'party');
	is($entry->{client_addr}, OFFICE, 'address');
	is($entry->{session_user_name}, 'officer', 'user');
	is($entry->{application}, 'lane 4', 'application');
	is($entry->{purpose}, 'border_control', 'purpose');
	is($entry->{kind}, 'face', 'kind');
	is($entry->{relation}, 'public.traveller', 'relation');
};

subtest 'the result keeps the type of the image, and image::bytea is of type bytea' => sub {
	my $face = $node->sql($db, q{SELECT 'biometric.face_image'::regtype::oid});
	my $wire = officer();
	my $result = $wire->extended('SELECT img, own, img::bytea AS b FROM traveller WHERE id = 1',
		results => [BINARY]);
	is_deeply([ map { $_->{type} } $result->columns ], [ $face, $face, 17 ], 'type oids');
	is_deeply([ map { $_->{format} } $result->columns ], [ 1, 1, 1 ], 'formats');
};

subtest 'a row-limited Execute resumes without losing or repeating a picture' => sub {
	my $wire = officer();
	foreach my $max_rows (1, 7, 16, 17, 59, 60, 61)
	{
		my $result = reads(
			$wire,
			sql => 'SELECT id, img FROM traveller ORDER BY id',
			max_rows => $max_rows);
		is($result->count('s'), int($rows / $max_rows), "suspended after each $max_rows rows");
		my %seen;
		$seen{$_}++ foreach $result->column(0);
		is(scalar(grep { $_ != 1 } values %seen), 0, 'no row twice');
	}
};

subtest 'a suspended portal gives the right pictures while others run in between' => sub {
	my $wire = officer();
	$wire->query('BEGIN');
	foreach my $portal (qw(a b))
	{
		my $from = $portal eq 'a' ? 1 : 31;
		$wire->send_parse('', "SELECT id, img FROM traveller WHERE id >= $from ORDER BY id");
		$wire->send_bind($portal, '', results => [ TEXT, BINARY ]);
	}
	my @rows;
	foreach my $turn (1 .. 5)
	{
		foreach my $portal (qw(a b))
		{
			$wire->send_execute($portal, 6);
			$wire->send_flush;
			push @rows, $wire->collect(until => 'sCE')->rows;
		}
	}
	$wire->send_sync;
	$wire->drain;
	$wire->query('COMMIT');
	is(scalar @rows, 60, 'all rows');
	is(scalar(grep { received($_->[1], BINARY) ne enrolled($_->[0]) } @rows), 0, 'all right');
};

subtest 'prepared statements that are reused release every time, whatever the plan' => sub {
	my $wire = officer();
	foreach my $mode (qw(auto force_generic_plan force_custom_plan))
	{
		$wire->query("SET plan_cache_mode = $mode");
		$wire->send_parse("s_$mode", 'SELECT id, img FROM traveller WHERE id = $1');
		my $wrong = 0;
		foreach my $n (1 .. 8)
		{
			$wire->send_bind('', "s_$mode", params => [$n], results => [ TEXT, BINARY ]);
			$wire->send_execute('');
			$wire->send_sync;
			my ($row) = $wire->drain->rows;
			$wrong++ unless $row && received($row->[1], BINARY) eq enrolled($n);
		}
		is($wrong, 0, $mode);
	}
	# One Sync for many executions.
	foreach my $n (1 .. 20)
	{
		$wire->send_bind('', 's_auto', params => [$n], results => [ TEXT, BINARY ]);
		$wire->send_execute('');
	}
	$wire->send_sync;
	my @rows = $wire->drain->rows;
	is(scalar(grep { received($_->[1], BINARY) eq enrolled($_->[0]) } @rows), 20, 'in a pipeline');
};

subtest 'several statements in one simple query each release their pictures' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	my @values = $wire->query(
		'SELECT img FROM traveller WHERE id = 1; SELECT 1; SELECT img FROM traveller WHERE id = 2')
	  ->column(0);
	is_deeply(
		[ received($values[0], TEXT), $values[1], received($values[2], TEXT) ],
		[ enrolled(1), 1, enrolled(2) ],
		'each result');
	my %released = $node->released($db, $mark);
	is_deeply([ sort keys %released ], [ sort @id_of{ 'img 1', 'img 2' } ], 'each entered');
};

subtest 'several image columns, NULLs, domains and other kinds come out right' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	foreach my $format (TEXT, BINARY)
	{
		my @rows = $wire->extended('SELECT id, img, other, own, plate FROM traveller ORDER BY id',
			results => [ TEXT, ($format) x 4 ])->rows;
		is(scalar @rows, $rows, 'all rows');
		my $wrong = 0;
		foreach my $row (@rows)
		{
			my $n = $row->[0];
			my @expected = (
				enrolled($n),
				$n % 3 ? enrolled($n + 1000) : 'NULL',
				enrolled($n + 2000),
				enrolled($n + 3000));
			$wrong += received($row->[ $_ + 1 ], $format) ne $expected[$_] foreach 0 .. 3;
		}
		is($wrong, 0, 'all values');
	}
	my %released = $node->released($db, $mark);
	is_deeply([ sort keys %released ], [ sort values %id_of ], 'all entered');
	my $kinds = $node->sql($db,
		"SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark AND kind = 'plate'");
	is($kinds, 2 * $rows, 'plates are entered as plates');
};

$node->sql($db, <<"END");
CREATE VIEW face_view AS SELECT id, img FROM traveller;
CREATE VIEW face_bytes AS SELECT id, img::bytea AS bytes FROM traveller;
CREATE FUNCTION face_sql(n int) RETURNS biometric.face_image LANGUAGE sql STABLE
	RETURN (SELECT img FROM traveller WHERE id = n);
CREATE FUNCTION face_plpgsql(n int) RETURNS biometric.face_image LANGUAGE plpgsql STABLE AS
	'DECLARE face biometric.face_image;
	BEGIN SELECT img INTO face FROM public.traveller WHERE id = n; RETURN face; END';
CREATE FUNCTION face_set(n int) RETURNS TABLE (id int, img biometric.face_image)
	LANGUAGE plpgsql STABLE AS
	'BEGIN RETURN QUERY SELECT t.id, t.img FROM public.traveller t WHERE t.id <= n; END';
CREATE FUNCTION face_definer(n int) RETURNS biometric.face_image
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
	AS 'SELECT img FROM public.traveller WHERE id = n';
CREATE FUNCTION bytes_plpgsql(n int) RETURNS bytea LANGUAGE plpgsql STABLE AS
	'BEGIN RETURN (SELECT img::bytea FROM public.traveller WHERE id = n); END';
CREATE FUNCTION bytes_sql(n int) RETURNS bytea LANGUAGE sql STABLE AS
	'SELECT img::bytea FROM public.traveller WHERE id = n';
CREATE ROLE clerk LOGIN;
GRANT SELECT ON face_view, face_bytes TO clerk, officer;
REVOKE EXECUTE ON FUNCTION face_definer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION face_definer TO clerk;
END

my %ways = (
	'a view' => 'SELECT id, img FROM face_view',
	'a join' => 'SELECT t.id, t.img FROM traveller t '
	  . 'WHERE EXISTS (SELECT FROM visit v WHERE v.traveller = t.id)',
	'a hash join with duplicates removed' =>
	  'SELECT t.id, img FROM visit v JOIN traveller t ON t.id = v.traveller WHERE v.id <= 60',
	'a sort' => 'SELECT id, img FROM traveller ORDER BY name DESC',
	'a subquery' => 'SELECT id, (SELECT i.img FROM traveller i WHERE i.id = o.id) FROM traveller o',
	'a CTE' => 'WITH c AS MATERIALIZED (SELECT id, img FROM traveller) SELECT id, img FROM c',
	'UNION ALL' => 'SELECT id, img FROM traveller WHERE id > 30 '
	  . 'UNION ALL SELECT id, img FROM traveller WHERE id <= 30',
	'LATERAL' => 'SELECT t.id, l.img FROM traveller t, '
	  . 'LATERAL (SELECT img FROM traveller i WHERE i.id = t.id OFFSET 0) l',
	'CASE' => 'SELECT id, CASE WHEN id > 0 THEN img ELSE other END FROM traveller',
	'coalesce' => 'SELECT id, coalesce(img, other) FROM traveller',
	'a window' => 'SELECT id, first_value(img) OVER (PARTITION BY id) FROM traveller',
	'a SQL function' => 'SELECT id, face_sql(id) FROM traveller',
	'a PL function' => 'SELECT id, face_plpgsql(id) FROM traveller',
	'a set of rows from a PL function' => 'SELECT id, img FROM face_set(60)',
	'a row lock' => 'SELECT id, img FROM traveller FOR UPDATE',
	'a partial sort' => 'SELECT id, img FROM traveller ORDER BY id LIMIT 1000',
	'an array element' => 'SELECT id, (ARRAY[img, other])[1] FROM traveller',
	'a field of a row' => 'SELECT id, (t).img FROM traveller t',
	'unnest' => 'SELECT id, u FROM traveller, unnest(ARRAY[img]) AS u',
	'a recursive CTE' => 'WITH RECURSIVE r AS (SELECT id, img FROM traveller WHERE id = 1 '
	  . 'UNION ALL SELECT t.id, t.img FROM traveller t JOIN r ON t.id = r.id + 1) '
	  . 'SELECT id, img FROM r');

foreach my $way (sort keys %ways)
{
	subtest "pictures read through $way are released byte for byte and entered" => sub {
		reads(officer(), sql => $ways{$way});
	};
}

my %byte_ways = (
	'a plain cast' => 'SELECT id, img::bytea FROM traveller',
	'a view' => 'SELECT id, bytes FROM face_bytes',
	'a CTE' =>
	  'WITH c AS MATERIALIZED (SELECT id, img::bytea AS b FROM traveller) SELECT id, b FROM c',
	'UNION ALL' => 'SELECT id, img::bytea FROM traveller WHERE id > 30 '
	  . 'UNION ALL SELECT id, bytes FROM face_bytes WHERE id <= 30',
	'a sort' => 'SELECT id, img::bytea FROM traveller ORDER BY name',
	'a PL function' => 'SELECT id, bytes_plpgsql(id) FROM traveller',
	'a SQL function' => 'SELECT id, bytes_sql(id) FROM traveller',
	'a cast of a domain' => 'SELECT id + 2000, own::bytea FROM traveller');

foreach my $way (sort keys %byte_ways)
{
	subtest "image::bytea through $way is opened at the wire and entered" => sub {
		my @domain = $byte_ways{$way} =~ /own/ ? (column => 'own') : ();
		reads(officer(), sql => $byte_ways{$way}, format => TEXT, @domain);
		reads(officer(), sql => $byte_ways{$way}, format => BINARY, @domain);
		reads(officer(), sql => $byte_ways{$way}, max_rows => 7, @domain);
	};
}

subtest 'bytea that is no cast of an image passes unchanged beside one that is' => sub {
	my $wire = officer();
	my $magic = unpack('H*', "\x89SEAL\r\n\x1a");
	my ($row) = $wire->query(
			"SELECT img::bytea, '\\x0102'::bytea, ''::bytea, NULL::bytea, '\\x$magic'::bytea "
		  . 'FROM traveller WHERE id = 3')->rows;
	is(received($row->[0], TEXT), enrolled(3), 'the picture is opened');
	is_deeply(
		[ @$row[ 1 .. 4 ] ],
		[ '\x0102', '\x', undef, "\\x$magic" ],
		'the others are untouched');
};

subtest 'sealed bytes that were kept from another statement are not opened' => sub {
	my $wire = officer();
	my $unsealed = 0;
	$wire->query('CREATE TEMP TABLE kept AS SELECT id, img::bytea AS b FROM traveller');
	$unsealed += !is_sealed($_) foreach $wire->query('SELECT b FROM kept')->column(0);
	is($unsealed, 0, 'out of a table');
	my $bytes = $wire->query('SELECT b FROM kept WHERE id = 1')->value;
	ok(is_sealed($wire->query("SELECT '$bytes'::bytea, img FROM traveller WHERE id = 2")->value),
		'as a literal');
	ok(is_sealed($wire->extended('SELECT $1::bytea', params => [$bytes])->value), 'as a parameter');
	my ($plain) =
	  $wire->query("SELECT set_config('a.b', img::bytea::text, false) FROM traveller WHERE id = 1")
	  ->rows;
	ok(is_sealed($plain->[0]), 'as text of the same statement');
	ok(is_sealed($wire->query("SELECT current_setting('a.b')::bytea")->value),
		'as text of another');
};

subtest 'without rights on a table its pictures come by views and SECURITY DEFINER only' => sub {
	my $wire = $node->connect_from(OFFICE, $db, 'clerk', 'border_control');
	is($wire->query('SELECT img FROM traveller')->sqlstate, '42501', 'not from the table');
	reads($wire, sql => 'SELECT id, img FROM face_view');
	reads($wire, sql => 'SELECT id, bytes FROM face_bytes');
	reads($wire, sql => 'SELECT 7, face_definer(7)', count => 1);
};

subtest 'parallel plans release the same pictures' => sub {
	my $wire = officer();
	$wire->query("SET $_")
	  foreach (
		'parallel_setup_cost = 0',
		'parallel_tuple_cost = 0',
		'min_parallel_table_scan_size = 0',
		'max_parallel_workers_per_gather = 2');
	my @plan = $wire->query('EXPLAIN SELECT id, img FROM traveller')->column(0);
	like("@plan", qr/Gather/, 'the plan is parallel');
	reads($wire, sql => 'SELECT id, img FROM traveller');
	reads($wire, sql => 'SELECT id, img FROM traveller ORDER BY name');
	reads($wire, sql => 'SELECT id, img::bytea FROM traveller');
	$wire->query('SET parallel_leader_participation = off');
	reads($wire, sql => 'SELECT id, img FROM traveller');
	reads($wire, sql => 'SELECT id, img::bytea FROM traveller');
	$wire->query('SET force_parallel_mode = on');
	reads($wire, sql => 'SELECT id, img FROM traveller WHERE biometric.width(img) > 0');
	reads($wire, sql => 'SELECT id, face_plpgsql(id) FROM traveller');
};

subtest 'batches of any size release the same pictures' => sub {
	foreach my $batch (1, 16, 1000)
	{
		$node->set('biometric_audit.release_batch_rows', $batch);
		my $wire = officer();
		is($wire->query('SHOW biometric_audit.release_batch_rows')->value,
			$batch, "batches of $batch");
		reads($wire, sql => 'SELECT id, img FROM traveller ORDER BY id');
		reads($wire, sql => 'SELECT id, img FROM traveller ORDER BY id', max_rows => 17);
	}
	$node->set('biometric_audit.release_batch_rows', undef);
};

subtest 'a result without rows, and without pictures, is an ordinary empty result' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	my $result = $wire->query('SELECT id, img FROM traveller WHERE id < 0');
	is($result->types, 'TCZ', 'messages');
	is_deeply([ $result->tags ], ['SELECT 0'], 'tag');
	is($wire->extended('SELECT img FROM traveller WHERE id < 0', max_rows => 5)->types,
		'12TCZ', 'in the extended protocol');
	$result = $wire->query('SELECT id, other FROM traveller WHERE other IS NULL');
	is($result->row_count, 20, 'rows of NULL pictures');
	is(scalar(grep { defined } $result->column(1)), 0, 'are NULL');
	is_deeply({ $node->released($db, $mark) }, {}, 'nothing is entered as released');
};

$node->sql($db, <<'END');
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE mixed (id int PRIMARY KEY, img biometric.face_image, c1 int2, c2 int4, c3 int8,
	c4 float4, c5 float8, c6 numeric, c7 text, c8 varchar(20), c9 char(5), c10 bool, c11 date,
	c12 time, c13 timetz, c14 timestamp, c15 timestamptz, c16 interval, c17 uuid, c18 json,
	c19 jsonb, c20 bytea, c21 inet, c22 cidr, c23 macaddr, c24 int[], c25 text[], c26 point,
	c27 int4range, c28 tsvector, c29 bit(5), c30 money, c31 pair, c32 mood, c33 positive, c34 oid,
	c35 name, c36 "char", c37 int4multirange);
INSERT INTO mixed
	SELECT n, numbered_jpeg(n, 500)::biometric.face_image, n, -n, n * 10000000000,
	n / 3.0, n / 7.0, n / 9.0, 'grün ' || repeat('x', n * 500), 'Straße', 'ab', n % 2 = 0,
	'2026-01-01'::date + n, '12:00'::time + n * '1s'::interval, '12:00+02', '2026-01-01 12:00',
	'2026-01-01 12:00+02', '1 day 2 hours', gen_random_uuid(), '{"a": 1}', '{"b": [1, 2]}',
	decode('00ff', 'hex'), '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', ARRAY[1, NULL, 3],
	ARRAY['a', NULL, 'c"d'], '(1,2)', '[1,5)', 'a fat cat', B'10101', '12.34',
	ROW(n, 'x,y')::pair, 'bad', n, n, 'name', 'c',
	'{[1,3),[5,7)}'
	FROM generate_series(1, 40) AS n;
INSERT INTO mixed (id) VALUES (41);
GRANT SELECT ON mixed TO officer;
END

subtest 'columns beside a picture are those of an ordinary SELECT, in text and binary' => sub {
	my $columns = join ', ', 'id', map { "c$_" } 1 .. 37;
	foreach my $setting (
		[],
		[ client_encoding => 'LATIN1' ],
		[ DateStyle => 'German' ],
		[ bytea_output => 'escape' ])
	{
		foreach my $format (TEXT, BINARY)
		{
			my $wire = officer(params => {@$setting});
			my $plain =
			  $wire->extended("SELECT $columns FROM mixed ORDER BY id", results => [$format]);
			my $gated =
			  $wire->extended("SELECT $columns, img FROM mixed ORDER BY id", results => [$format]);
			is($plain->error, undef, 'the ordinary SELECT works');
			my @expected = $plain->rows;
			my @got = $gated->rows;
			pop @$_ foreach @got;
			is_deeply(\@got, \@expected,
				"rows in format $format" . (@$setting ? " with $setting->[0] $setting->[1]" : ''));
			my @described = $gated->columns;
			pop @described;
			is_deeply(\@described, [ $plain->columns ], 'row description');
		}
	}
	my $wire = officer();
	my @formats = map { $_ % 2 } 0 .. 38;
	is_deeply(
		[
			map { [ @$_[ 0 .. 37 ] ] }
			  $wire->extended("SELECT $columns, img FROM mixed ORDER BY id", results => \@formats)
			  ->rows
		],
		[
			$wire->extended("SELECT $columns FROM mixed ORDER BY id",
				results => [ @formats[ 0 .. 37 ] ])->rows
		],
		'text and binary mixed');
	$wire->query(q{SET bytea_output = 'escape'});
	is( received($wire->query('SELECT img FROM mixed WHERE id = 1')->value, TEXT),
		fingerprint(numbered_jpeg(1, 500)),
		'a picture in text is hex whatever bytea_output says');
};

subtest 'a row that the client cannot encode ends the result between two rows' => sub {
	$node->sql($db, q{UPDATE mixed SET c7 = '12 €' WHERE id = 21});
	foreach my $results ([], [BINARY])
	{
		my $wire = officer(params => { client_encoding => 'LATIN1' });
		my $mark = $node->mark($db);
		my $result =
		  $wire->extended('SELECT id, img, c7 FROM mixed ORDER BY id', results => $results);
		is($result->sqlstate, '22P05', 'an error');
		is($result->row_count, 20, 'after the rows before');
		my %released = $node->released($db, $mark);
		cmp_ok(scalar(keys %released), '>=', 20, 'which are in the ledger');
		is($wire->query('SELECT 1')->value, 1, 'the session goes on');
	}
};

subtest 'pictures of 100 bytes to 5 MB, given as parameters, come out as they went in' => sub {
	my $wire = officer();
	my $face = $node->sql($db, q{SELECT 'biometric.face_image'::regtype::oid});
	$node->sql($db,
		'CREATE TABLE sizes (n int, img biometric.face_image); GRANT ALL ON sizes TO officer');
	my %wanted;
	foreach my $bytes (100, 1900, 1996, 2000, 2040, 8192, 100_000, 5_000_000)
	{
		my $picture = numbered_jpeg($bytes, $bytes);
		foreach my $parameter ([$picture], '\x' . unpack('H*', $picture))
		{
			my $result = $wire->extended(
				'INSERT INTO sizes VALUES ($1, $2)',
				types => [ 23, $face ],
				params => [ $bytes, $parameter ]);
			is($result->message, undef, "$bytes bytes go in");
		}
		$wanted{$bytes} = fingerprint($picture);
	}
	my $noise = png(200, 100, 1, 'a comment');
	$wire->extended('INSERT INTO sizes VALUES (0, $1)', types => [$face], params => [ [$noise] ]);
	$wanted{0} = fingerprint($noise);
	foreach my $format (TEXT, BINARY)
	{
		my $wrong = 0;
		my @rows = $wire->extended('SELECT n, img FROM sizes', results => [ TEXT, $format ])->rows;
		$wrong += received($_->[1], $format) ne $wanted{ $_->[0] } foreach @rows;
		is($wrong, 0, "all come out in format $format");
		is(scalar @rows, 17, 'and none is missing');
	}
};

subtest 'COPY gives sealed values' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	my $copied = $wire->query('COPY (SELECT img FROM traveller WHERE id = 4) TO STDOUT')->copied;
	ok(is_sealed($copied), 'COPY TO STDOUT is sealed');
	$copied = $wire->query('COPY (SELECT img::bytea FROM traveller WHERE id = 4) TO STDOUT')->copied;
	ok(index($copied, unpack('H*', "\xff\xd8\xff")) < 0, 'COPY of a cast is sealed');
	is_deeply({ $node->released($db, $mark) }, {}, 'nothing is entered as released');
};

subtest 'arrays, whole rows, records, json and text hold sealed values' => sub {
	my $wire = officer();
	my $mark = $node->mark($db);
	my $jpeg = qr/ffd8ffe0|\xff\xd8\xff\xe0/;
	foreach my $expression (
		'ARRAY[img]', 't',
		'ROW(img, id)', 'to_json(t)',
		'to_jsonb(t)', 'img::text',
		q{format('%s', img)}, q{img || ''},
		'json_agg(img)', 'array_agg(img)',
		q{string_agg(img::text, ',')}, 'quote_literal(img)',
		'xmlelement(name a, img::text)::text', q{encode(img::bytea, 'hex')},
		q{encode(img::bytea, 'base64')}, 'img::bytea::text',
		q{substr(img::bytea, 2)}, q{img::bytea || 'x'::bytea},
		q{substr(img::bytea, 217)}, 'ARRAY[img::bytea]',
		'hstore(t)', 'max(img)',
		'img = img', 'biometric.face_image_out(img)',
		'biometric.face_image_send(img)')
	{
		foreach my $format (TEXT, BINARY)
		{
			my $result =
			  $wire->extended("SELECT $expression FROM traveller t WHERE id = 1 GROUP BY t.id",
				results => [$format]);
			$result = $wire->extended("SELECT $expression FROM traveller t WHERE id = 1",
				results => [$format])
			  if $result->error;
			my @open = grep { defined && $_ =~ $jpeg } $result->column(0);
			is(scalar @open, 0, "$expression in format $format");
		}
	}
	is_deeply({ $node->released($db, $mark) }, {}, 'nothing is entered as released');
};

subtest 'a cast whose bytes were altered on the way is an error, not a picture' => sub {
	my $wire = officer();
	foreach my $altered (
		'set_byte(img::bytea, 400, 1)',
		q{overlay(img::bytea PLACING '\x00' FROM 3000)},
		q{substr(img::bytea, 1, 2000)})
	{
		my $result = $wire->query("SELECT $altered FROM traveller WHERE id = 1");
		ok($result->error ? $result->row_count == 0 : is_sealed($result->value),
			"$altered: " . ($result->message // 'sealed'));
	}
	is($wire->query('SELECT 1')->value, 1, 'and the session goes on');
};

subtest 'output and send functions called by fastpath give sealed values' => sub {
	my $wire = officer();
	$wire->query('SET biometric_audit.purpose = DEFAULT');
	my $sealed =
	  $wire->query("SET biometric_audit.purpose = ''; SELECT img FROM traveller WHERE id = 1")
	  ->value;
	ok(is_sealed($sealed), 'a sealed value to begin with');
	$wire->query(q{SET biometric_audit.purpose = 'border_control'});
	foreach my $function (qw(face_image_out face_image_send face_sql))
	{
		my $oid = $node->sql($db, "SELECT oid FROM pg_proc WHERE proname = '$function'");
		next unless defined $oid;
		foreach my $format (TEXT, BINARY)
		{
			my ($reply) =
			  $wire->function_call($oid, $format, $function eq 'face_sql' ? 1 : $sealed)->of('V');
			ok(!$reply || is_sealed($reply->{value}) || $reply->{value} !~ /ffd8|\xff\xd8/,
				"$function in format $format");
		}
	}
	is($wire->query('SELECT 1')->value, 1, 'and the session goes on');
};

subtest 'a superuser, too, gets nothing from a network that is not registered' => sub {
	my $super = $node->superuser;
	foreach my $sql (
		'SELECT img FROM traveller',
		'SELECT img::bytea FROM traveller',
		'TABLE face_view',
		'COPY traveller TO STDOUT',
		'SELECT to_json(t) FROM traveller t',
		'SELECT face_sql(1)')
	{
		my $result = $node->connect_from('127.0.0.77', $db, $super, 'border_control')->query($sql);
		is($result->sqlstate, '42501', "$sql is refused");
		is($result->row_count + $result->count('d'), 0, 'and gives nothing');
	}
	my $value = $node->connect_from(OFFICE, $db, $super, 'border_control')
	  ->query('SELECT img FROM traveller WHERE id = 1')->value;
	is(received($value, TEXT), enrolled(1),
		'and is served like anybody else from a registered one');
	ok( is_sealed(
			$node->connect_from(OFFICE, $db, $super)->query('SELECT img FROM traveller')->value),
		'sealed without a purpose');
};

ok($node->verifies($db), 'the ledger verifies');

done_testing();
