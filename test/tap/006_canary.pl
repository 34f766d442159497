# A text hidden in the pictures is nowhere to be found on disk - not raw, not
# as hex, not as base64 - whatever was done with the pictures.

use strict;
use warnings;

use File::Find   ();
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened);
use BiometricAudit::Picture qw(jpeg png fingerprint);

use constant OFFICE => '127.0.0.2';

my $canary = 'Canary+/Vogel-im-Bergwerk/7f3A9c';
my $node = BiometricAudit::Node->create(
	'agency',
	allows_streaming => 1,
	conf =>
	  "max_connections = 40\nshared_buffers = 16MB\nlog_temp_files = 0\nlog_min_messages = debug1\n"
	  . "log_error_verbosity = verbose\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face,plate,document,fingerprint,iris}',
	'open', '{border_control}');

# The n-th picture: the canary several times, at places that differ.
sub picture
{
	my ($n, $length) = @_;
	return jpeg(64, 48,
		substr(('x' x ($n % 7)) . "$canary $n " . ("$canary. " x (1 + $length / 34)), 0, $length));
}

sub officer { return $node->connect_from(OFFICE, $db, 'officer', 'border_control', @_); }

# ---------------------------------------------------------------- the search

# Base64 of a text that stands anywhere in a longer one depends on its offset modulo 3.
sub base64_forms
{
	my ($text) = @_;
	return map {
		my $first = int(($_ * 8 + 5) / 6);
		my $end = int(($_ + length $text) * 8 / 6);
		substr(encode_base64(('-' x $_) . $text, ''), $first, $end - $first);
	} 0 .. 2;
}

my @forms = (
	[ 'raw', quotemeta $canary ],
	[ 'lower hex', unpack('H*', $canary) ],
	[ 'upper hex', uc unpack('H*', $canary) ],
	map { [ 'base64', quotemeta $_ ] } base64_forms($canary));
my $any_form = do
{
	my $all = join '|', map { $_->[1] } @forms;
	qr/$all/;
};

# found(directories): the files that hold the canary, with its form.
sub found
{
	my @found;
	my ($files, $bytes) = (0, 0);
	my $look = sub {
		my $path = $File::Find::name;
		return unless -f $path;
		open my $file, '<:raw', $path or return;
		$files++;
		my ($block, $overlap) = ('', '');
		while (my $n = read($file, $block, 4_194_304))
		{
			$bytes += $n;
			$block = $overlap . $block;
			if ($block =~ $any_form)
			{
				push @found, map { "$path: $_->[0]" } grep { $block =~ /$_->[1]/ } @forms;
				last;
			}
			$overlap = substr($block, -100);
		}
		close $file;
	};
	File::Find::find({ wanted => $look, no_chdir => 1 }, @_);
	note "searched $files files, $bytes bytes";
	return @found;
}

subtest 'the search finds what it looks for in each form' => sub {
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my @texts = (
		$canary,
		unpack('H*', $canary),
		uc unpack('H*', $canary),
		map { encode_base64(('?' x $_) . $canary . 'tail', '') } 0 .. 2);
	foreach my $text (@texts)
	{
		open my $file, '>:raw', "$dir/control";
		print $file 'y' x 4_194_290, $text, 'more';
		close $file;
		my @found = found($dir);
		is(scalar @found, 1, $found[0] // 'not found');
	}
};

# ---------------------------------------------------------------- a life of pictures

my $face = $node->sql($db, q{SELECT 'biometric.face_image'::regtype::oid});
$node->sql($db, <<'END');
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image, note text);
CREATE TABLE document (id serial, img biometric.document_image CHECK (biometric.width(img) > 0));
GRANT ALL ON ALL TABLES IN SCHEMA public TO officer;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO officer;
END

my %enrolled;
subtest 'pictures go in by every way in' => sub {
	my $wire = officer();
	my $n = 0;
	my $insert = 'INSERT INTO traveller VALUES ($1, $2)';
	foreach my $length ((1500) x 400, (30_000) x 20)
	{
		my $picture = picture(++$n, $length);
		$enrolled{$n} = fingerprint($picture);
		my $hex = '\x' . unpack('H*', $picture);
		my $result =
			$n % 4 == 0
		  ? $wire->extended($insert, types => [ 23, $face ], params => [ $n, [$picture] ])
		  : $n % 4 == 1 ? $wire->extended($insert, types => [ 23, $face ], params => [ $n, $hex ])
		  : $n % 4 == 2
		  ? $wire->extended($insert, types => [ 23, 17 ], params => [ $n, [$picture] ])
		  : $wire->query("INSERT INTO traveller VALUES ($n, '$hex')");
		$result->error && die $n . $result->message;
	}
	my ($copy) = (
		join '',
		map {
			$n++;
			$enrolled{$n} = fingerprint(picture($n, 900));
			"$n\t\\\\x" . unpack('H*', picture($n, 900)) . "\t\\N\n"
		} 1 .. 20);
	$wire->send_query('COPY traveller FROM STDIN');
	$wire->collect(until => 'GZ');
	$wire->send_message('d', $copy)->send_message('c');
	is($wire->drain->message, undef, 'COPY in text');
	my $binary = "PGCOPY\n\xff\r\n\0" . pack('N N', 0, 0);
	foreach (1 .. 20)
	{
		my $picture = picture(++$n, 900);
		$enrolled{$n} = fingerprint($picture);
		$binary .= pack('n N N N', 3, 4, $n, length $picture) . $picture . pack('l>', -1);
	}
	$wire->send_query('COPY traveller FROM STDIN (FORMAT binary)');
	$wire->collect(until => 'GZ');
	$wire->send_message('d', $binary . pack('s>', -1))->send_message('c');
	is($wire->drain->message, undef, 'COPY in binary');
	is( $wire->query('SELECT count(*) FROM traveller')->value,
		scalar keys %enrolled,
		'all are there');
};

subtest 'errors with pictures in their parameters and rows' => sub {
	my $wire = officer();
	my $picture = picture(1, 1500);
	my $hex = '\x' . unpack('H*', $picture);
	foreach my $parameter ([$picture], $hex)
	{
		my $result = $wire->extended(
			'INSERT INTO traveller VALUES (1, $1)',
			types => [$face],
			params => [$parameter]);
		is($result->sqlstate, '23505', 'a duplicate key');
		$result = $wire->extended('SELECT $1, 1 / 0', types => [$face], params => [$parameter]);
		is($result->sqlstate, '22012', 'a division by zero');
		$result = $wire->extended(
			'INSERT INTO traveller VALUES (NULL, $1)',
			types => [$face],
			params => [$parameter]);
		is($result->sqlstate, '23502', 'a failing row');
		unlike($result->detail, $any_form, 'whose detail is sealed');
		$result = $wire->extended('SELECT $1::text::int', types => [$face], params => [$parameter]);
		is($result->sqlstate, '22P02', 'invalid syntax');
		unlike($result->message, $any_form, 'whose message is sealed');
	}
	my $result = $wire->query(
		q{DO $$ BEGIN RAISE EXCEPTION '%', (SELECT img FROM public.traveller LIMIT 1); END $$});
	unlike($result->message, $any_form, 'RAISE is sealed');
	$result = $wire->query(
		q{SELECT pg_notify('c', left(img::text, 7000)) FROM traveller LIMIT 5; LISTEN c});
	ok(!$result->error, 'NOTIFY');
};

subtest 'pictures are copied, changed, indexed, sorted and deleted' => sub {
	my $wire = officer();
	foreach my $sql (
		'CREATE TABLE copied AS SELECT * FROM traveller',
		'SELECT * INTO again FROM traveller',
		'CREATE MATERIALIZED VIEW seen AS SELECT id, img FROM traveller',
		'REFRESH MATERIALIZED VIEW seen',
		'UPDATE copied SET img = t.img FROM traveller t WHERE t.id = copied.id + 1',
		'DELETE FROM again WHERE id % 2 = 0',
		'INSERT INTO again SELECT * FROM traveller',
		'CREATE INDEX ON copied (id) WHERE img IS NOT NULL',
		'ALTER TABLE copied ADD COLUMN extra biometric.face_image',
		'UPDATE copied SET extra = img',
		'CREATE TEMP TABLE temporary AS
			SELECT id, img::bytea AS bytes, img::text AS sealed FROM traveller',
		'CREATE UNLOGGED TABLE unlogged AS SELECT * FROM traveller',
		q{SELECT lo_from_bytea(0, img::bytea) FROM traveller WHERE id < 5},
		q{BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT img FROM traveller; COMMIT; FETCH 10 FROM held},
		q{DO $$ DECLARE i biometric.face_image;
			BEGIN FOR i IN SELECT img FROM public.traveller LOOP NULL; END LOOP; END $$},
		'EXPLAIN (ANALYZE, VERBOSE) SELECT img FROM traveller ORDER BY note')
	{
		is($wire->query($sql)->message, undef, $sql);
	}
	$node->sql($db, $_) foreach qw(ANALYZE VACUUM CHECKPOINT);
};

sub all_right
{
	my (@rows) = @_;
	my @wrong = grep { fingerprint($_->[1]) ne $enrolled{ $_->[0] } } @rows;
	is(scalar @rows, scalar keys %enrolled, 'all pictures');
	return is(scalar @wrong, 0, 'byte for byte');
}

my $sorting = officer();
subtest 'pictures are released while a sort of them is spilled to disk' => sub {
	$sorting->query("SET work_mem = '64kB'");
	$sorting->query('SET enable_indexscan = off');
	$sorting->query('BEGIN');
	$sorting->send_parse('', 'SELECT id, img FROM traveller ORDER BY biometric.digest(img)');
	$sorting->send_bind('', '', results => [ 0, 1 ]);
	$sorting->send_execute('', 100);
	$sorting->send_flush;
	my @rows = $sorting->collect(until => 's')->rows;
	is(scalar @rows, 100, 'some rows');
	my @spilled = glob $node->data_dir . '/base/pgsql_tmp/*';
	cmp_ok(scalar @spilled, '>', 0, 'there are temporary files');
	is_deeply([ found($node->data_dir . '/base') ], [], 'the canary is not in them, nor in tables');
	$sorting->send_execute('');
	$sorting->send_sync;
	all_right(@rows, $sorting->drain->rows);
	$sorting->query('COMMIT');
};

subtest 'pictures are released by parallel workers, joins and materialised plans' => sub {
	my $wire = officer();
	$wire->query("SET $_")
	  foreach (
		"work_mem = '64kB'",
		'parallel_setup_cost = 0',
		'parallel_tuple_cost = 0',
		'min_parallel_table_scan_size = 0');
	my $value = sub {
		map { [ $_->[0], opened($_->[1]) ] } $wire->query($_[0])->rows;
	};
	all_right($value->('SELECT id, img FROM traveller'));
	all_right($value->('SELECT id, img::bytea FROM traveller'));
	all_right(
		$value->(
				'SELECT t.id, t.img FROM traveller t JOIN copied c '
			  . 'ON biometric.digest(t.img) = biometric.digest(c.extra) GROUP BY t.id '
			  . 'UNION ALL SELECT id, img FROM traveller '
			  . 'WHERE biometric.digest(img) NOT IN (SELECT biometric.digest(extra) FROM copied)'));
	all_right(
		$value->(
				'WITH m AS MATERIALIZED (SELECT id, img::bytea AS b FROM traveller) '
			  . 'SELECT id, b FROM m ORDER BY id DESC'));
};

subtest 'a replication connection gets sealed values, or is refused' => sub {
	my %replication = (params => { replication => 'database' });
	foreach my $sql ('SELECT img FROM traveller', 'SELECT img::bytea FROM traveller')
	{
		my @values =
		  $node->connect_from(OFFICE, $db, $node->superuser, 'border_control', %replication)
		  ->query($sql)->column(0);
		is(scalar @values, scalar keys %enrolled, $sql);
		is(scalar(grep { !is_sealed($_) } @values), 0, 'is answered with sealed values');
	}
	my $stranger = $node->connect_from('127.0.0.77', $db, $node->superuser, 'border_control',
		%replication, fail_ok => 1);
	is($stranger->startup->sqlstate, '42501', 'an unregistered network does not even get in');
};

# ---------------------------------------------------------------- dumps and backups

my $out = $node->basedir . '/out';
mkdir $out;
subtest 'dumps and backups are taken, and a dump restores to the same sealed values' => sub {
	my @connection = ('-h', $node->host, '-p', $node->port, '-d', $db);
	system_or_bail('pg_dump', @connection, '-f', "$out/plain.sql");
	system_or_bail('pg_dump', @connection, '--inserts', '-t', 'traveller', '-f',
		"$out/inserts.sql");
	system_or_bail('pg_dump', @connection, '-Fc', '-Z0', '-f', "$out/custom.dump");
	system_or_bail('pg_dumpall', '-h', $node->host, '-p', $node->port, '-f', "$out/all.sql");
	$node->backup('base', backup_options => [ '-X', 'stream' ]);
	ok(-s "$out/plain.sql" > 400 * 1500 * 2, 'the dump holds the pictures');
	my $hashes = 'SELECT md5(string_agg(img::text, chr(10) ORDER BY id)) FROM traveller';
	my $before = $node->sql($db, $hashes);
	$node->sql($db, 'CREATE DATABASE restored');
	$node->sql('restored', 'CREATE EXTENSION biometric_audit');
	$node->policy(
		'restored', q{SELECT biometric.register_party('house', 'h', tstzrange(NULL, NULL));
		SELECT biometric.register_local('house'); SELECT biometric.authorize('house', '{face}', 'sealed')}
	);
	system_or_bail('pg_dump', @connection, '-t', 'traveller', '-f', "$out/table.sql");
	system_or_bail(
		'psql', '-X', '-q', '-h', $node->host, '-p',
		$node->port, '-d', 'restored', '-f', "$out/table.sql");
	my $sealed =
	  q{SELECT md5(string_agg(biometric.digest(img)::text, chr(10) ORDER BY id)) FROM traveller};
	is( $node->sql('restored', $sealed),
		$node->sql($db, $sealed),
		'the same pictures, by their digests');
};

# ---------------------------------------------------------------- and now

$node->sql($db, 'CHECKPOINT');
is_deeply([ found($node->basedir, $PostgreSQL::Test::Utils::log_path) ],
	[], 'while the server runs the canary is neither in data, WAL, logs, backups nor dumps');

$node->stop;
is_deeply([ found($node->basedir, $PostgreSQL::Test::Utils::log_path) ],
	[], 'nor when it has been shut down');

$node->start;
all_right(map { [ $_->[0], opened($_->[1]) ] }
	  officer()->query('SELECT id, img FROM traveller')->rows);
ok($node->verifies($db), 'and the ledger verifies');

done_testing();
