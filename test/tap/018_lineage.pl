# The gate judges an image by what its column shows, by the column that it is
# stored in, and by the one that it was first stored in: restrictions follow
# images into copies, and ordinary work with copies goes on.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant { OFFICE => '127.0.0.2', SIZE => 3000 };

my $node = BiometricAudit::Node->create('registry');
my $db = 'postgres';
my $super = $node->superuser;
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{control}');

my %number_of = map { numbered_jpeg($_, SIZE) => $_ } 1 .. 40;

# table(name, first, delivery): three pictures, numbered from first on.
sub table
{
	my ($name, $first, $delivery) = @_;
	my $last = $first + 2;
	$node->sql($db, <<"END");
CREATE TABLE $name (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO $name SELECT n, numbered_jpeg(n, ${\SIZE})::biometric.face_image
FROM generate_series($first, $last) AS n;
GRANT ALL ON $name TO officer;
END
	return $delivery ? permit($name, $delivery) : undef;
}

sub permit
{
	my ($relation, $delivery) = @_;
	return $node->policy($db,
		"SELECT biometric.authorize('agency', '{face}', '$delivery', NULL, '$relation')");
}

sub officer { return $node->connect_from(OFFICE, $db, $_[0] // 'officer', 'control'); }

# A column in words: numbers of pictures, "sealed", "NULL".
sub seen
{
	my ($result) = @_;
	return $result->sqlstate if $result->sqlstate;
	return join ' ', map {
		!defined $_ ? 'NULL' : is_sealed($_) ? 'sealed' : $number_of{ opened($_) } // 'bytes'
	} $result->column(0);
}

# What was entered as released since a mark: "relation, relation", each once.
sub relations
{
	my ($mark) = @_;
	return join ', ',
	  map { $_->{relation} // 'none' } $node->records($db,
		"SELECT DISTINCT relation FROM biometric.disclosure WHERE seq >= $mark ORDER BY relation");
}

table('traveller', 1);
table('witness', 11, 'sealed');
table('asylum', 21, 'refuse');
my $wire = officer();

subtest 'a copy of permitted images opens, as what it is' => sub {
	$wire->query('CREATE TEMP TABLE staging AS TABLE traveller');
	my $mark = $node->mark($db);
	is(seen($wire->query('SELECT img FROM staging ORDER BY id')), '1 2 3', 'CREATE TABLE AS');
	like(relations($mark), qr/^pg_temp_\d+\.staging$/, 'entered under the name of the copy');
	$wire->query('CREATE TABLE shelf (LIKE traveller); INSERT INTO shelf TABLE traveller');
	is(seen($wire->query('SELECT img::bytea FROM shelf ORDER BY id')), '1 2 3', 'INSERT SELECT');
};

subtest 'a restriction that names a table follows its images into copies' => sub {
	$wire->query('CREATE TEMP TABLE hidden AS TABLE witness');
	is(seen($wire->query('SELECT img FROM hidden')), 'sealed sealed sealed', 'CREATE TABLE AS');
	$wire->query('CREATE TABLE hideout (id int, img biometric.face_image)');
	$wire->query('INSERT INTO hideout TABLE witness');
	is(seen($wire->query("SELECT $_ FROM hideout")), 'sealed sealed sealed', "INSERT SELECT: $_")
	  foreach ('img', 'img::bytea', 'coalesce(img, img)');
	$wire->query('CREATE TEMP TABLE twice AS TABLE hideout');
	is(seen($wire->query('SELECT img FROM twice')), 'sealed sealed sealed', 'a copy of a copy');
	$node->sql($db, 'CREATE TABLE loot AS TABLE asylum; GRANT SELECT ON loot TO officer');
	is(seen(officer()->query('SELECT img FROM loot')), '42501', 'a refusal does, too');
	my ($refusal) = $node->records($db,
		'SELECT relation FROM biometric.refusal ORDER BY seq DESC LIMIT 1');
	is($refusal->{relation}, 'public.asylum', 'and is entered with the table that it goes by');
};

subtest 'a restriction follows images that had been loaded by way of another table' => sub {
	$node->sql($db, $_) foreach (
		'CREATE TABLE inbox (LIKE witness)',
		'INSERT INTO inbox SELECT n, numbered_jpeg(n, ' . SIZE . ')::biometric.face_image FROM generate_series(31, 33) n',
		'INSERT INTO witness TABLE inbox',
		'DELETE FROM inbox');
	$wire->query('CREATE TEMP TABLE apart AS SELECT * FROM witness WHERE id > 30');
	is(seen($wire->query('SELECT img FROM apart')), 'sealed sealed sealed', 'a copy');
	$wire->query('CREATE TEMP TABLE further AS TABLE apart');
	is(seen($wire->query('SELECT img FROM further')), 'sealed sealed sealed', 'a copy of the copy');
	$node->sql($db, 'DELETE FROM witness WHERE id > 30');
};

subtest 'nobody moves tables to where his permits give him more' => sub {
	my $clerk = sub { $node->connect_from('127.0.0.3', $db, 'officer', 'control') };
	$node->register($db, 'archive', '127.0.0.3/32', '{face}', 'sealed');
	$node->sql($db, $_) foreach (
		'CREATE TABLE trunk (LIKE traveller) PARTITION BY LIST (id)', 'CREATE TABLE twig (LIKE traveller)',
		'ALTER TABLE trunk OWNER TO officer', 'ALTER TABLE twig OWNER TO officer', 'INSERT INTO twig TABLE traveller');
	$node->policy($db, "SELECT biometric.authorize('archive', '{face}', 'open', relation => 'trunk')");
	is($clerk->()->query('ALTER TABLE trunk ATTACH PARTITION twig DEFAULT')->sqlstate, '42501', 'as a partition');
	is($wire->query('ALTER TABLE trunk ATTACH PARTITION twig DEFAULT')->sqlstate, '42501', 'nor for somebody else');
	$node->sql($db, $_) foreach ('CREATE TABLE stem (LIKE traveller)', 'ALTER TABLE stem OWNER TO officer');
	is($wire->query('ALTER TABLE twig INHERIT stem')->error, undef, 'where no permit names a table nothing is asked');
	is($wire->query('ALTER TABLE twig NO INHERIT stem')->error, undef, 'nor on the way back');
	$node->policy($db, "SELECT biometric.quarantine('archive', 'done')");
};

subtest 'what is restricted as a part stays restricted when it is taken out' => sub {
	$node->sql($db, $_) foreach (
		'CREATE TABLE estate (id int, img biometric.face_image) PARTITION BY LIST (id)',
		'CREATE TABLE plot PARTITION OF estate DEFAULT',
		'CREATE TABLE heir () INHERITS (traveller)',
		map { "ALTER TABLE $_ OWNER TO officer" } qw(estate plot heir));
	permit('estate', 'sealed');
	is($wire->query('ALTER TABLE estate DETACH PARTITION plot')->sqlstate, '42501', 'by its owner');
	$node->sql($db, 'GRANT biometric_custodian TO CURRENT_USER');
	$node->sql($db, 'ALTER TABLE estate DETACH PARTITION plot');
	$node->sql($db, 'REVOKE biometric_custodian FROM CURRENT_USER');
	is($wire->query('ALTER TABLE heir NO INHERIT traveller')->error, undef, 'of an open table it may go');
	$node->sql($db, 'DROP TABLE heir');
};

subtest 'what a permit restricts is not dropped while copies remain' => sub {
	my $custodian = sub {
		$node->sql($db, 'GRANT biometric_custodian TO CURRENT_USER');
		my $result = $node->connect_from('local', $db, $super)->query($_[0]);
		$node->sql($db, 'REVOKE biometric_custodian FROM CURRENT_USER');
		return $result;
	};
	foreach my $sql (
		'DROP TABLE asylum', 'ALTER TABLE asylum DROP COLUMN img', 'DROP TABLE traveller, asylum CASCADE')
	{
		is($node->admin($db)->query($sql)->sqlstate, '42501', "a superuser does not $sql");
		is($custodian->($sql)->sqlstate, '42501', 'nor does a custodian');
	}
	is(seen(officer()->query('SELECT img FROM loot')), '42501', 'a copy is refused still');

	my %restrictions = (
		quota => "'open', relation => 'held', quota => 5, quota_window => '1 day'",
		mark => "'open', relation => 'held', mark => true");
	foreach my $name (sort keys %restrictions)
	{
		table('held', 1);
		my $permit = $node->policy($db, "SELECT biometric.authorize('agency', '{face}', $restrictions{$name})");
		is($node->admin($db)->query('DROP TABLE held')->sqlstate, '42501', "a $name restricts");
		is($node->admin($db)->query('ALTER TABLE held ADD COLUMN n int')->error, undef, 'other columns come');
		is($node->admin($db)->query('ALTER TABLE held DROP COLUMN n')->error, undef, 'and go');
		$node->policy($db, "SELECT biometric.revoke($permit, 'to drop it')");
		is($node->admin($db)->query('DROP TABLE held')->error, undef, 'without the permit it is dropped');
	}
	table('held', 1, 'open');
	is($node->admin($db)->query('DROP TABLE held')->error, undef, 'a permit that only opens is in nobody\'s way');

	$node->sql($db, $_) foreach (
		'CREATE TABLE year PARTITION OF estate FOR VALUES IN (2020)',
		'ALTER TABLE year OWNER TO officer');
	is($wire->query('DROP TABLE year')->sqlstate, '42501', 'a partition of what is restricted its owner does not drop');
	is($custodian->('DROP TABLE year')->error, undef, 'a custodian does');
};

subtest 'while two persons are asked for, no custodian does it alone' => sub {
	$node->sql($db, "CREATE TABLE $_ (id int, img biometric.face_image)") foreach ('road', 'lot');
	$node->sql($db, 'CREATE TABLE year PARTITION OF estate FOR VALUES IN (2021)');
	$node->sql($db, 'GRANT biometric_custodian TO CURRENT_USER');
	my $mark = $node->mark($db);
	$node->set('biometric_audit.two_person', 'on');
	foreach my $sql ('ALTER TABLE estate DETACH PARTITION year', 'DROP TABLE year')
	{
		my $result = $node->connect_from('local', $db, $super)->query($sql);
		is($result->sqlstate, '42501', $sql);
		like($result->hint // '', qr/two custodians/, 'who is told what to do');
	}
	is($node->connect_from('local', $db, $super)->query('ALTER TABLE lot INHERIT road')->error, undef,
		'what changes nobody\'s rights is done');
	$node->set('biometric_audit.two_person', undef);
	is(join(' ', map { $_->{rule} } $node->records($db, 'SELECT detail ->> \'rule\' AS rule '
		. "FROM biometric.ledger WHERE seq >= $mark AND event = 'ddl_refused'")), 'lineage_two lineage_two',
		'each refusal is an entry');
	$node->sql($db, 'ALTER TABLE estate DETACH PARTITION year; DROP TABLE year, road, lot');
	$node->sql($db, 'REVOKE biometric_custodian FROM CURRENT_USER');
};

subtest 'images of several tables in one statement are judged one by one' => sub {
	my $mark = $node->mark($db);
	my $result = $wire->query(<<'END');
SELECT img FROM (SELECT id, img FROM traveller UNION ALL SELECT id, img FROM witness) AS u ORDER BY id
END
	is(seen($result), '1 2 3 sealed sealed sealed', 'in a union');
	is(relations($mark), 'public.traveller', 'each under its own name');
	$result = $wire->query(<<'END');
SELECT CASE WHEN t.id < 3 THEN t.img ELSE w.img END FROM traveller AS t JOIN witness AS w
ON w.id = t.id + 10 ORDER BY t.id
END
	is(seen($result), '1 2 sealed', 'in an expression over a join');
};

subtest 'a session that has read a sealed table goes on with open ones' => sub {
	my $mixed = officer();
	$mixed->query('BEGIN; DECLARE c CURSOR FOR SELECT img FROM witness');
	$mixed->query('FETCH c');
	is(seen($mixed->query('SELECT img::bytea FROM traveller ORDER BY id')), '1 2 3', 'by cast');
	is(seen($mixed->query('SELECT coalesce(img, img) FROM traveller ORDER BY id')),
		'1 2 3', 'by an expression');
};

subtest 'a function is judged by what it returns, not by what it reads besides' => sub {
	$node->sql($db, <<'END');
CREATE FUNCTION pick(n int) RETURNS biometric.face_image LANGUAGE plpgsql AS $$
DECLARE unused biometric.face_image;
BEGIN
	SELECT img INTO unused FROM public.witness WHERE id = n + 10;
	RETURN (SELECT img FROM public.traveller WHERE id = n);
END $$;
CREATE FUNCTION peek(n int) RETURNS biometric.face_image LANGUAGE sql AS
	'SELECT img FROM public.witness WHERE id = n + 10';
END
	is(seen($wire->query('SELECT pick(2)')), '2', 'a picture that is permitted');
	is(seen($wire->query('SELECT peek(2)')), 'sealed', 'one that is not');
	is(seen($wire->query('SELECT peek(id) FROM traveller')), 'sealed sealed sealed', 'beside one');
};

subtest 'a partition and its permits count, whatever the parent is called' => sub {
	$node->sql($db, <<'END');
CREATE TABLE lane (id int, img biometric.face_image) PARTITION BY RANGE (id);
CREATE TABLE lane_a PARTITION OF lane FOR VALUES FROM (31) TO (33);
CREATE TABLE lane_b PARTITION OF lane FOR VALUES FROM (33) TO (40);
INSERT INTO lane SELECT n, numbered_jpeg(n, 3000)::biometric.face_image FROM generate_series(31, 34) AS n;
GRANT ALL ON lane, lane_a, lane_b TO officer;
END
	my $mark = $node->mark($db);
	is(seen($wire->query('SELECT img FROM lane ORDER BY id')), '31 32 33 34', 'all open');
	is(relations($mark), 'public.lane_a, public.lane_b', 'entered as of their partitions');
	my $permit = permit('lane', 'sealed');
	$node->policy($db, "SELECT biometric.revoke($permit, 'for the copy')");
	$wire->query('CREATE TEMP TABLE copied AS TABLE lane');
	is(seen($wire->query('SELECT img FROM copied ORDER BY id')), '31 32 33 34', 'a copy opens');
	$permit = permit('lane', 'sealed');
	is(seen($wire->query('SELECT img FROM copied')), join(' ', ('sealed') x 4),
		'until a permit names an ancestor of what it was copied from');
	$node->policy($db, "SELECT biometric.revoke($permit, 'end of test')");
};

subtest 'more homes than a statement entry names are named by the entries themselves' => sub {
	$node->sql($db, 'CREATE TABLE crowd (id int, img biometric.face_image) PARTITION BY LIST (id)');
	$node->sql($db, join ';', map { "CREATE TABLE crowd_$_ PARTITION OF crowd FOR VALUES IN ($_)" } 1 .. 40);
	$node->sql($db, <<'END');
INSERT INTO crowd SELECT n, numbered_jpeg(n, 3000)::biometric.face_image FROM generate_series(1, 40) AS n;
GRANT SELECT ON crowd TO officer;
END
	my $mark = $node->mark($db);
	is(seen($wire->query('SELECT img FROM crowd ORDER BY id')), join(' ', 1 .. 40), 'all open');
	is(scalar(split /, /, relations($mark)), 40, 'each is entered as of its own table');
};

subtest 'a sealed value that is given back opens for who may read where it comes from' => sub {
	my $sealed = sub {
		return $node->sql($db, "SELECT img::text FROM $_[0] ORDER BY id LIMIT 1");
	};
	my ($mine, $theirs) = ($sealed->('traveller'), $sealed->('witness'));
	is(seen($wire->query("SELECT '$mine'::biometric.face_image")), '1', 'of a readable table');
	is(seen($wire->query("SELECT '$theirs'::biometric.face_image")), 'sealed', 'of a sealed one');
	my $fresh_session = officer();
	my $mark = $node->mark($db);
	my @told = map { $fresh_session->query("SELECT '$theirs'::biometric.face_image")->notices } 1 .. 2;
	is(scalar @told, 0, 'which nobody is told of when a permit seals it anyway');
	$node->sql($db, 'REVOKE ALL ON traveller FROM officer');
	@told = map { $fresh_session->query("SELECT '$mine'::biometric.face_image")->notices } 1 .. 2;
	is(scalar @told, 1, 'one notice a session says why an image stays sealed');
	like($told[0]{M}, qr/came in sealed from outside/, 'namely because it came in sealed');
	like($told[0]{H}, qr/adopt/, 'and who can do what about it');
	my ($export) = $node->records($db, "SELECT detail FROM biometric.ledger "
		  . "WHERE seq >= $mark AND event = 'exported_sealed' ORDER BY seq DESC LIMIT 1");
	is($export->{detail}{sealed_outside}, 1, 'which the entry of the export says, too');
	is(seen($wire->query("SELECT '$mine'::biometric.face_image")), 'sealed',
		'not after the right to read was revoked');
	is(seen($wire->query("SELECT '$mine'::biometric.face_image, 'traveller'::regclass")),
		'sealed', 'nor beside the table\'s name');
	$node->sql($db, 'GRANT ALL ON traveller TO officer; ALTER TABLE traveller ENABLE ROW LEVEL SECURITY');
	is(seen($wire->query("SELECT '$mine'::biometric.face_image")), 'sealed',
		'nor under row-level security');
	$node->sql($db, 'ALTER TABLE traveller DISABLE ROW LEVEL SECURITY');
	my $header = $mine;
	is(seen($wire->query("SELECT '$mine'::biometric.face_image")), '1', 'and again afterwards');
	my $fresh = unpack('H*', numbered_jpeg(7, SIZE));
	is(seen($wire->query("SELECT '\\x$fresh'::biometric.face_image")), '7',
		'an image sealed by the statement itself has no home, and opens');
};

ok($node->verifies($db), 'the ledger verifies');
$node->stop;
done_testing();
