# A dump brings back the pictures, bit for bit, and the ledger as history that
# can be verified and adopted, but never passed off as the present ledger.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant {
	OFFICE => '127.0.0.2',
	PICTURES => 40,
	MANY => 5000,
};

my $conf = "biometric_audit.max_databases = 40\nbiometric_audit.ring_size = '256kB'\n"
  . "max_worker_processes = 60\nmax_prepared_transactions = 2\n";
my $node = BiometricAudit::Node->create('agency', conf => $conf);
my $key = slurp_file($node->keyring_path);
my %cluster = (
	'the same cluster' => $node,
	'another cluster' => BiometricAudit::Node->create('branch', conf => $conf, keyring => $key),
	'a cluster without keys' => BiometricAudit::Node->create('vault', conf => $conf, keyring => 0));
my $super = $node->superuser;

# ---------------------------------------------------------------- a database to dump

sub roles
{
	my ($cluster) = @_;
	foreach my $role (qw(custodian auditor officer))
	{
		$cluster->sql('postgres', "CREATE ROLE $role LOGIN")
		  unless $cluster->sql('postgres', "SELECT count(*) FROM pg_roles WHERE rolname = '$role'");
	}
	$cluster->sql('postgres', 'CREATE EXTENSION biometric_audit');
	$cluster->drop_extension('postgres');
	$cluster->sql('postgres', "GRANT biometric_$_ TO $_") foreach qw(custodian auditor);
	return;
}

# Who receives faces: the office, opened, and the server's own socket, sealed.
sub policy
{
	my ($cluster, $db) = @_;
	$cluster->policy($db, <<'END');
SELECT biometric.register_party('house', 'the server itself', tstzrange('2020-01-01', NULL));
SELECT biometric.register_local('house');
SELECT biometric.authorize('house', '{face,plate}', 'sealed');
END
	$cluster->register($db, 'agency', OFFICE . '/32', '{face,plate}', 'open', '{border_control}');
	return;
}

roles($_) foreach values %cluster;
$node->sql('postgres', 'CREATE DATABASE source');
$node->sql('source', 'CREATE EXTENSION biometric_audit');
policy($node, 'source');
$node->sql('source', BiometricAudit::Picture::numbered_jpeg_sql());
$node->sql('source', $_) foreach (
	'CREATE TABLE face (id int PRIMARY KEY, img biometric.face_image)',
	'CREATE TABLE lane (id int, img biometric.plate_image) PARTITION BY RANGE (id)',
	'CREATE TABLE lane_low PARTITION OF lane FOR VALUES FROM (0) TO (20)',
	'CREATE TABLE lane_high PARTITION OF lane FOR VALUES FROM (20) TO (1000)',
	'GRANT SELECT ON face, lane TO officer',
	'INSERT INTO face SELECT n, numbered_jpeg(n, 500)::biometric.face_image '
	  . 'FROM generate_series(1, ' . PICTURES . ') AS n',
	'CREATE MATERIALIZED VIEW gallery AS SELECT id, img FROM face WHERE id < 4',
	'INSERT INTO lane SELECT n, numbered_jpeg(n, 3000)::biometric.plate_image '
	  . 'FROM generate_series(1, ' . PICTURES . ') AS n');

sub officer
{
	my ($cluster, $db) = @_;
	return $cluster->connect_from(OFFICE, $db, 'officer', 'border_control');
}

# How many pictures of a table arrive as they were enrolled; the error, if there is one.
sub arriving
{
	my ($cluster, $db, $table, $size) = @_;
	my $result = officer($cluster, $db)->query("SELECT id, img FROM $table");
	return $result->message if $result->error;
	my @right =
	  grep { !is_sealed($_->[1]) && opened($_->[1]) eq numbered_jpeg($_->[0], $size) } $result->rows;
	return scalar @right;
}

sub all_arrive
{
	my ($cluster, $db, $what) = @_;
	is(arriving($cluster, $db, 'face', 500), PICTURES, "$what: every face opens, bit for bit");
	is(arriving($cluster, $db, 'lane', 3000), PICTURES, "$what: every plate of the partitions, too");
	return;
}

# What a picture is, whoever holds it: the same before and after.
my %contents = map {
	$_ => "SELECT md5(string_agg(concat_ws(' ', id, biometric.image_id(img), "
	  . "biometric.digest(img), biometric.byte_length(img)), ',' ORDER BY id)) FROM $_"
} qw(face lane gallery);

all_arrive($node, 'source', 'the source');
$node->sql('source', 'BEGIN; DELETE FROM face WHERE id = 7; ROLLBACK');
ok($node->verifies('source'), 'the source verifies');

my %source = (
	log_id => $node->sql('source', 'SELECT log_id FROM biometric.log'),
	map { $_ => $node->sql('source', $contents{$_}) } keys %contents);
my $plain = $node->basedir . '/source.sql';
my $custom = $node->basedir . '/source.dump';

sub at { my ($cluster) = @_; return ('-h', $cluster->host, '-p', $cluster->port, '-U', $super); }

sub dump_to
{
	my ($cluster, $db, $path, @how) = @_;
	$cluster->leave($db);
	my (undef, $errors) = run_command([ 'pg_dump', at($cluster), '-d', $db, '-f', $path, @how ]);
	is($errors, '', "$db is dumped (@how)");
	return;
}

# A dump is an export, so the ledger grows by each; what a dump holds is a beginning of it.
$source{size} = $node->mark('source');
cmp_ok($source{size}, '>', 2 * PICTURES, 'its ledger has tiles and more');
dump_to($node, 'source', $plain);
dump_to($node, 'source', $custom, '-Fc');

sub source_root
{
	my ($size) = @_;
	return $node->sql('source', "SELECT encode(biometric.root($size), 'hex')");
}

my %ways = (
	'psql' => sub { return ('psql', '-X', '-q', at($_[0]), '-d', $_[1], '-o', '/dev/null', '-f', $plain); },
	'psql -1' =>
	  sub { return ('psql', '-X', '-q', '-1', at($_[0]), '-d', $_[1], '-o', '/dev/null', '-f', $plain); },
	'pg_restore' => sub { return ('pg_restore', at($_[0]), '-d', $_[1], $custom); },
	'pg_restore -1' => sub { return ('pg_restore', '-1', at($_[0]), '-d', $_[1], $custom); },
	'pg_restore -j2' => sub { return ('pg_restore', '-j2', at($_[0]), '-d', $_[1], $custom); });

sub restore
{
	my ($cluster, $db, $how) = @_;
	$cluster->sql('postgres', "CREATE DATABASE $db");
	my ($output, $errors) = run_command([ $how->($cluster, $db) ]);
	is($errors, '', 'not a word of complaint');
	is($output, '', 'nor any other');
	return;
}

# The history of the source's log, as far as another database has it.
sub history
{
	my ($cluster, $db) = @_;
	my ($answer) = $cluster->records($db, <<"END");
SELECT ok, size, encode(root, 'hex') AS root, problem,
	(SELECT count(*) FROM biometric.ledger_history WHERE log_id = '$source{log_id}') AS entries,
	(SELECT count(*) FROM biometric.ledger_history WHERE event = 'disclosed') AS disclosed
FROM biometric.verify_ledger('$source{log_id}'::uuid)
END
	return $answer;
}

# ---------------------------------------------------------------- five ways, three places

sub same_pictures
{
	my ($cluster, $db, $what) = @_;
	policy($cluster, $db);
	is($cluster->sql($db, $contents{$_}), $source{$_}, "$what: $_ is what it was")
	  foreach sort keys %contents;
	all_arrive($cluster, $db, $what);
	return;
}

my %restored;
my $number = 0;
foreach my $place (sort keys %cluster)
{
	foreach my $way (sort keys %ways)
	{
		my $cluster = $cluster{$place};
		my $db = 'restored_' . $number++;
		subtest "$way restores a dump in $place" => sub {
			restore($cluster, $db, $ways{$way});
			ok($cluster->verifies($db), 'the database has a ledger of its own, which verifies');
			my $history = history($cluster, $db);
			ok($history->{ok}, 'the restored one verifies as history')
			  || diag $history->{problem};
			cmp_ok($history->{size}, '>=', $source{size}, 'to its full size');
			is($history->{root}, source_root($history->{size}), 'with the root it had');
			is($history->{entries}, $history->{size}, 'every entry can be read');
			is($history->{disclosed}, 2 * PICTURES, 'what was disclosed, too');
			isnt(
				$cluster->sql($db, 'SELECT log_id FROM biometric.ledger_status()'),
				$source{log_id}, 'and the present ledger is another');
			same_pictures($cluster, $db, $way) unless $place =~ /without/;
			ok($cluster->verifies($db), 'the ledger goes on');
			$cluster->leave($db);
			push @{ $restored{$place} }, $db;
		};
	}
}

subtest 'what was restored without keys opens when the keys and an adoption follow' => sub {
	my $place = 'a cluster without keys';
	my $cluster = $cluster{$place};
	$cluster->write_keyring($key);
	$cluster->set('biometric_audit.keyring', $cluster->keyring_path);
	foreach my $db (@{ $restored{$place} })
	{
		$cluster->policy($db, q{SELECT biometric.fork_ledger('the keys have arrived')});
		same_pictures($cluster, $db, $db);
		ok($cluster->verifies($db), 'the ledger goes on');
		$cluster->leave($db);
	}
};

# ---------------------------------------------------------------- what a superuser may not

$node->sql('postgres', 'CREATE DATABASE workshop');
run_command([ $ways{psql}->($node, 'workshop') ]);
my $own = $node->sql('workshop', 'SELECT log_id FROM biometric.log WHERE ordinal IS NOT NULL');

subtest 'a superuser cannot insert rows for the log that is written' => sub {
	my @rows = (
		"entry_00 SELECT '$own', 100000, leaf_hint, entry FROM biometric.entry_00 LIMIT 1",
		"segment VALUES ('$own', 0, '', now(), 'none')",
		"tile VALUES ('$own', 1, 1000, '')",
		"head VALUES ('$own', 0, '', '')",
		"home (log_id, home, relation, attnum, column_name) "
		  . "VALUES ('$own', gen_random_uuid(), 'face', 1, 'id')",
		"image_entry SELECT '$own', gen_random_uuid(), 0",
		"activity VALUES ('$own', '', 100000, '', 1, 0, now(), now())",
		"traced VALUES ('$own', 100000, '', '')",
		"log (log_id, ordinal, database_oid, system_identifier, timeline, created_at, "
		  . "segment_size) SELECT '$own', NULL, database_oid, system_identifier, timeline, created_at, "
		  . 'segment_size FROM biometric.log LIMIT 1');
	foreach my $row (@rows)
	{
		my $result = $node->admin('workshop')->query("INSERT INTO biometric.$row");
		is($result->sqlstate, '42501', "INSERT INTO biometric.$row");
	}
	my $result = $node->admin('workshop')->query(
		"MERGE INTO biometric.entry_00 AS e USING (SELECT 1) AS s ON false WHEN NOT MATCHED THEN "
		  . "INSERT VALUES ('$own', 100000, 0, '')");
	is($result->sqlstate, '42501', 'nor by MERGE');
	$result = $node->admin('workshop')->query(
		"INSERT INTO biometric.entry_00 VALUES ('$source{log_id}', 0, 0, '') "
		  . "ON CONFLICT (log_id, seq) DO UPDATE SET log_id = '$own', seq = 100000");
	is($result->sqlstate, '42501', 'nor by ON CONFLICT');
};

subtest 'a log that is inserted is history, whatever it says' => sub {
	$node->sql('workshop', <<'END');
INSERT INTO biometric.log (log_id, ordinal, database_oid, system_identifier, timeline, created_at,
	adopted_at, adopted_size, adopted_root, segment_size)
SELECT '00000000-0000-4000-8000-000000000001', 1000, database_oid, system_identifier, timeline,
	created_at, now(), 1, '', segment_size
FROM biometric.log WHERE ordinal IS NOT NULL
END
	my ($row) = $node->records('workshop', <<'END');
SELECT ordinal, adopted_at, adopted_size, adopted_root FROM biometric.log
WHERE log_id = '00000000-0000-4000-8000-000000000001'
END
	is_deeply([ grep { defined } values %$row ], [], 'it counts for nothing');
	ok($node->verifies('workshop'), 'the present ledger verifies');
	is($node->sql('workshop', 'SELECT log_id FROM biometric.ledger_status()'),
		$own, 'and is the one it was');
};

subtest 'a trigger cannot turn a restored row into one of the present log' => sub {
	my $wire = $node->connect_from('local', 'workshop', $super);
	$wire->query('BEGIN');
	$wire->query(<<"END");
CREATE FUNCTION public.turn() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN NEW.log_id := ''$own''; NEW.seq := 100000; RETURN NEW; END';
CREATE TRIGGER zz_turn BEFORE INSERT ON biometric.entry_00 FOR EACH ROW EXECUTE FUNCTION public.turn()
END
	my $result = $wire->query(
		q{INSERT INTO biometric.entry_00 VALUES (gen_random_uuid(), 0, 0, '')});
	ok($result->error, 'refused: ' . ($result->message // 'nothing'));
	$wire->query('ROLLBACK');
	ok($node->verifies('workshop'), 'the ledger verifies');
};

subtest 'restored rows cannot be changed or removed' => sub {
	foreach my $table (qw(log entry_00 tile segment head))
	{
		foreach my $sql (
			"UPDATE biometric.$table SET log_id = '$own' WHERE log_id = '$source{log_id}'",
			"DELETE FROM biometric.$table WHERE log_id = '$source{log_id}'",
			"TRUNCATE biometric.$table")
		{
			is($node->admin('workshop')->query($sql)->sqlstate, '42501', $sql);
		}
	}
};

# ---------------------------------------------------------------- adoption

subtest 'history that was changed is found out, and cannot be adopted' => sub {
	my $text = slurp_file($plain);
	my $path = $node->basedir . '/forged.sql';
	# the time of entry 5, in the dump's text
	$text =~ s/^(\Q$source{log_id}\E\t5\t-?\d+\t\\\\x\w{18})(\w)/$1 . ($2 eq '0' ? '1' : '0')/em
	  || die 'no such entry in the dump';
	append_to_file($path, $text);
	$node->sql('postgres', 'CREATE DATABASE forged');
	my (undef, $errors) =
	  run_command([ 'psql', '-X', '-q', at($node), '-d', 'forged', '-o', '/dev/null', '-f', $path ]);
	is($errors, '', 'it is restored');
	my $history = history($node, 'forged');
	ok(!$history->{ok}, 'it does not verify');
	like($history->{problem}, qr/\b5\b/, "and says where: $history->{problem}");
	my $result = $node->connect_from('local', 'forged', 'custodian')
	  ->query(q{SELECT biometric.fork_ledger('adopt it')});
	is($result->sqlstate, '55000', 'fork_ledger refuses it');
	like($result->detail, qr/\b5\b/, 'and says where: ' . $result->detail);
	is($node->sql('forged', 'SELECT count(*) FROM biometric.log WHERE adopted_at IS NOT NULL'),
		0, 'nothing is adopted');
	ok($node->verifies('forged'), 'the present ledger verifies all the same');
};

subtest 'fork_ledger adopts what was restored, with an entry that names size and root' => sub {
	my $cluster = $node;
	my $db = $restored{'the same cluster'}[0];
	is( $cluster->connect_from('local', $db, 'officer')
		  ->query(q{SELECT biometric.fork_ledger('x')})->sqlstate,
		'42501',
		'not everybody may');
	my $present = $cluster->sql($db, 'SELECT log_id FROM biometric.ledger_status()');
	my $mark = $cluster->mark($db);
	my $size = history($cluster, $db)->{size};
	is($cluster->policy($db, q{SELECT biometric.fork_ledger('after the fire')}),
		$present, 'the present log goes on');
	my @entries = $cluster->records($db,
		"SELECT detail FROM biometric.ledger WHERE seq >= $mark AND event = 'forked'");
	is(scalar @entries, 1, 'one entry');
	my $detail = $entries[0]{detail};
	is($detail->{$_->[0]}, $_->[1], "it has the $_->[0]") foreach (
		[ parent => $source{log_id} ],
		[ size => $size ],
		[ root => source_root($size) ],
		[ reason => 'after the fire' ]);
	ok($detail->{adopted}, 'and that it was adopted');
	ok(history($cluster, $db)->{ok}, 'the history verifies');
	ok($cluster->verifies($db), 'the present ledger, too');
	my $result = $cluster->admin($db)->query(
		"INSERT INTO biometric.entry_00 VALUES ('$source{log_id}', $size, 0, '')");
	is($result->sqlstate, '42501', 'nothing can be added to what was adopted');
	is($cluster->policy($db, q{SELECT biometric.fork_ledger('once more') IS NULL}),
		'f', 'a second fork');
	ok( poll_until(
			sub { $cluster->sql($db, 'SELECT log_id FROM biometric.ledger_status()') ne $present }),
		'finds nothing to adopt and begins a new log');
	ok($cluster->verifies($db), 'which verifies');
};

subtest 'an adoption that is rolled back has not happened' => sub {
	my $wire = $node->connect_from('local', 'workshop', 'custodian');
	my $mark = $node->mark('workshop');
	$wire->query('BEGIN; SAVEPOINT s');
	$wire->query(q{SELECT biometric.retire_ledger('a mistake')});
	$wire->query('ROLLBACK TO s; COMMIT');
	$wire->query(q{BEGIN; SELECT biometric.retire_ledger('a mistake'); ROLLBACK});
	is($node->mark('workshop'), $mark, 'nothing is in the ledger');
	is($node->sql('workshop', 'SELECT state FROM biometric.ledger_status()'), 'ready', 'it is at work');
};

subtest 'what was restored and adopted is history once more in the next database' => sub {
	my $path = $node->basedir . '/second.sql';
	$node->sql('postgres', 'CREATE DATABASE second');
	run_command([ $ways{psql}->($node, 'second') ]);
	policy($node, 'second');
	$node->policy('second', q{SELECT biometric.fork_ledger('moved')});
	dump_to($node, 'second', $path);
	$node->sql('postgres', 'CREATE DATABASE third');
	my (undef, $errors) =
	  run_command([ 'psql', '-X', '-q', '-1', at($node), '-d', 'third', '-o', '/dev/null', '-f', $path ]);
	is($errors, '', 'restored');
	is($node->sql('third', 'SELECT count(*) FROM biometric.log WHERE ordinal IS NULL'), 2, 'two logs');
	is($node->sql('third', 'SELECT count(*) FROM biometric.log WHERE adopted_at IS NOT NULL'),
		0, 'neither of them adopted here');
	is( $node->sql('third', <<'END'), 't', 'both verify');
SELECT bool_and(v.ok) FROM biometric.log AS l, biometric.verify_ledger(l.log_id) AS v
WHERE l.ordinal IS NULL
END
	$node->policy('third', q{SELECT biometric.fork_ledger('moved again')});
	is($node->sql('third', q{SELECT count(*) FROM biometric.ledger WHERE event = 'forked'}),
		2, 'both are adopted, with an entry each');
	policy($node, 'third');
	all_arrive($node, 'third', 'the third database');
	ok($node->verifies('third'), 'which verifies');
};

subtest 'a restored log that does not verify keeps no other from being adopted' => sub {
	my $text = slurp_file($node->basedir . '/second.sql');
	my $path = $node->basedir . '/partly.sql';
	$text =~ s/^(\Q$source{log_id}\E\t5\t-?\d+\t\\\\x\w{18})(\w)/$1 . ($2 eq '0' ? '1' : '0')/em
	  || die 'no such entry in the dump';
	append_to_file($path, $text);
	$node->sql('postgres', 'CREATE DATABASE partly');
	run_command([ 'psql', '-X', '-q', '-1', at($node), '-d', 'partly', '-o', '/dev/null', '-f', $path ]);
	my ($made_up, $size) = ('00000000-0000-4000-8000-000000000000', '9000000000000000000');
	$node->sql('partly', $_) foreach (
		'INSERT INTO biometric.log (log_id, database_oid, system_identifier, timeline, created_at, segment_size) '
		  . "VALUES ('$made_up', 1, 1, 1, now(), 32768)",
		'INSERT INTO biometric.head (log_id, size, root, tail) '
		  . "VALUES ('$made_up', $size, decode(repeat('00', 32), 'hex'), '')");
	my $present = $node->sql('partly', 'SELECT log_id FROM biometric.log WHERE ordinal IS NOT NULL');
	my $wire = $node->connect_from('local', 'partly', 'custodian');
	my $result = $wire->query(q{SELECT biometric.fork_ledger('what is left')});
	is($result->error, undef, 'fork_ledger adopts');
	is(($result->column(0))[0], $present, 'into the present log');
	my @warnings = grep { $_->{S} eq 'WARNING' } $result->notices;
	is(scalar @warnings, 2, 'and warns of two');
	foreach my $case ([ $source{log_id}, qr/\bentry 5\b/ ], [ $made_up, qr/./ ])
	{
		my ($warning) = grep { $_->{M} =~ /\Q$case->[0]\E/ } @warnings;
		like($warning->{D}, $case->[1], "naming $case->[0], and its problem");
	}
	is( $node->sql('partly', <<'END'), 't', 'the one that verifies is adopted, and it alone');
SELECT array_agg(detail ->> 'parent') = (SELECT array_agg(log_id::text) FROM biometric.log
	WHERE adopted_at IS NOT NULL)
FROM biometric.ledger WHERE event = 'forked'
END
	is($wire->query(q{SELECT biometric.fork_ledger('the rest')})->sqlstate,
		'55000', 'where none verifies that is an error');
	$wire->close;
	ok($node->verifies('partly'), 'the present ledger verifies');
};

# ---------------------------------------------------------------- one transaction, many pictures

subtest 'the transaction that creates the extension enters what it stores by itself' => sub {
	$node->sql('postgres', 'CREATE DATABASE migrated');
	$node->sql('migrated', BiometricAudit::Picture::numbered_jpeg_sql());
	my $many = MANY;
	$node->sql('migrated', <<"END");
BEGIN;
CREATE EXTENSION biometric_audit;
CREATE TABLE face (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO face SELECT n, numbered_jpeg(n, 300)::biometric.face_image FROM generate_series(1, $many) AS n;
COMMIT;
END
	ok($node->verifies('migrated'), 'the ledger verifies');
	is($node->sql('migrated', q{SELECT count(*) FROM biometric.ledger WHERE event = 'stored'}),
		MANY, 'and has an entry each');
	is($node->sql('migrated', 'SELECT max(seq) + 1 = count(*) FROM biometric.ledger'),
		't', 'without a gap');
	policy($node, 'migrated');
	$node->sql('migrated', 'GRANT SELECT ON face TO officer');
	is(arriving($node, 'migrated', 'face', 300), MANY, 'the pictures open');
	ok($node->verifies('migrated'), 'and the worker goes on');
	my $size = $node->mark('migrated');
	$node->crash;
	$node->start;
	is($node->mark('migrated'), $size, 'a crash loses none');
	ok($node->verifies('migrated'), 'nor its tree');
};

# ---------------------------------------------------------------- the end of a ledger

subtest 'a ledger that was retired releases nothing, and its extension may go' => sub {
	my $size = $node->mark('migrated');
	is($node->admin('migrated')->query(q{SELECT biometric.retire_ledger('x')})->sqlstate,
		'42501', 'a superuser alone does not retire it');
	$node->policy('migrated', q{SELECT biometric.retire_ledger('moved to the new system')});
	my ($last) = $node->records('migrated', 'SELECT * FROM biometric.ledger ORDER BY seq DESC LIMIT 1');
	is($last->{event}, 'policy_changed', 'a last entry');
	is_deeply(
		$last->{detail},
		{ action => 'retire', reason => 'moved to the new system',
			map { $_ => $last->{detail}{$_} } grep { !/action|reason/ } keys %{ $last->{detail} } },
		'gives the reason');
	ok(poll_until(sub { $node->sql('migrated', 'SELECT state FROM biometric.ledger_status()') eq 'retired' }),
		'it is retired');
	like(arriving($node, 'migrated', 'face', 300), qr/[a-z]/, 'nothing is released');
	$node->restart;
	like(arriving($node, 'migrated', 'face', 300), qr/[a-z]/, 'nor after a restart');
	ok($node->verifies('migrated'), 'it verifies');

	$node->policy('migrated', q{SELECT biometric.fork_ledger('taken up again')});
	ok(poll_until(sub { arriving($node, 'migrated', 'face', 300) eq MANY }), 'a fork undoes it');
	my ($first) = $node->records('migrated', 'SELECT * FROM biometric.ledger ORDER BY seq LIMIT 1');
	is($first->{event}, 'forked', 'by a new log');
	cmp_ok($first->{detail}{size}, '>', $size, 'that names the old one\'s size');
	$node->policy('migrated', q{SELECT biometric.retire_ledger('now really')});
	is($node->admin('migrated')->query('DROP EXTENSION biometric_audit CASCADE')->message,
		undef, 'and a retired one can be dropped');
};

done_testing();
