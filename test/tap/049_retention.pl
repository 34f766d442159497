# An image that has been kept as long as retain() says does not open any more: not by any permit, way
# or copy, and from the very commit on.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant { OFFICE => '127.0.0.2', SIZE => 1200 };

# what has expired is to stay, so that it can be asked for
my $node = BiometricAudit::Node->create('registry',
	conf => "biometric_audit.purge_interval = 0\nbiometric_audit.max_databases = 10\nmax_prepared_transactions = 2\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{control}');

my %number_of = map { numbered_jpeg($_, SIZE) => $_ } 1 .. 60;

sub picture { my ($number) = @_; return "numbered_jpeg($number, ${\SIZE})::biometric.face_image"; }

sub officer { return $node->connect_from(OFFICE, $db, 'officer', 'control'); }

# retain(arguments): as a custodian; returns once that is committed.
sub retain { my ($arguments) = @_; return $node->policy($db, "SELECT biometric.retain($arguments)"); }

# A column in words: numbers of pictures, "sealed", "NULL".
sub seen
{
	my ($result) = @_;
	return join ' ', $result->sqlstate, $result->message, $result->detail // '' if $result->sqlstate;
	return join ' ', map {
		!defined $_ ? 'NULL' : is_sealed($_) ? 'sealed' : $number_of{ opened($_) } // 'bytes'
	} $result->column(0);
}

# look(sql): what a session that is new sees.
sub look
{
	my ($sql) = @_;
	my $wire = officer();
	my $seen = seen($wire->query($sql));
	$wire->close;
	return $seen;
}

# table(name, first, days ago of each): pictures numbered from first on, in a table of the officer's.
sub table
{
	my ($name, $first, @days) = @_;
	$node->run('officer', $db, "CREATE TABLE $name (id int PRIMARY KEY, img biometric.face_image, "
		  . 'at timestamptz)');
	return fill($name, $first, @days);
}

sub fill
{
	my ($name, $first, @days) = @_;
	foreach my $i (0 .. $#days)
	{
		my $number = $first + $i;
		$node->run('officer', $db,
			"INSERT INTO $name VALUES ($number, ${\picture($number)}, now() - interval '$days[$i] days')");
	}
	return;
}

sub status
{
	my ($columns, $relation) = @_;
	return $node->run('auditor', $db, "SELECT concat_ws(' ', $columns) FROM biometric.retention_status "
		  . "WHERE relation = '$relation'::regclass");
}

subtest 'a period is in force when the commit returns, for sessions that are there already' => sub {
	table('visit', 1, 0, 0, 0);
	my $wire = officer();
	my $still = officer();
	$still->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	is(seen($wire->query('SELECT img FROM visit ORDER BY id')), '1 2 3', 'kept as long as nobody says');
	my $mark = $node->mark($db);
	retain(q{'visit', 'img', '1 year', 'erase'});
	is(seen($wire->query('SELECT img FROM visit ORDER BY id')), '1 2 3', 'within its period an image opens');
	retain(q{'visit', 'img', '1 microsecond', 'erase', NULL, 'not needed'});
	my $result = $wire->query('SELECT img FROM visit ORDER BY id');
	is(seen($result), 'sealed sealed sealed', 'shortened, it counts at once');
	is(seen($still->query('SELECT img FROM visit ORDER BY id')), 'sealed sealed sealed',
		'also for who sees the tables as they were before');
	my @told = map { $_->{M} } $result->notices;
	is(scalar @told, 1, 'one notice');
	like($told[0], qr/retention period is over/, 'says why');
	is(scalar(() = $wire->query('SELECT img FROM visit')->notices), 0, 'once a session');
	my ($export) = $node->records($db, 'SELECT detail FROM biometric.ledger '
		  . "WHERE seq >= $mark AND event = 'exported_sealed' ORDER BY seq LIMIT 1");
	is($export->{detail}{retention_expired}, 3, 'the entry of the export says so, too');
	is($node->sql($db, "SELECT string_agg(concat_ws(' ', detail ->> 'action', detail ->> 'period', "
			  . "detail ->> 'on_expiry', detail ->> 'reason'), ', ' ORDER BY seq) FROM biometric.ledger "
			  . "WHERE seq >= $mark AND event = 'policy_changed'"),
		'retain 1 year erase, retain 00:00:00.000001 erase not needed', 'each change is an entry');
	is(status('state, images, due, held, purged, unstamped', 'visit'), 'in_force 3 3 0 0 0',
		'retention_status counts');
	retain(q{'visit', 'img', '1 year', 'erase'});
	is(seen($wire->query('SELECT img FROM visit ORDER BY id')), '1 2 3', 'extended, they open again');
	retain(q{'visit', 'img', '1 microsecond', 'delete'});
	is(look('SELECT img FROM visit'), 'sealed sealed sealed', 'however they are to be purged');
	retain(q{'visit', 'img', NULL});
	is(seen($wire->query('SELECT img FROM visit ORDER BY id')), '1 2 3', 'and when retention is ended');
	is(status('state', 'visit') // 'none', 'none', 'which takes it out of the view');
};

subtest 'an expired image opens in no way' => sub {
	my $wire = officer();
	retain(q{'visit', 'img', '1 microsecond', 'erase'});
	is(seen($wire->query($_)), 'sealed', $_)
	  foreach (
		'SELECT img FROM visit WHERE id = 1',
		'SELECT img::bytea FROM visit WHERE id = 1',
		'SELECT coalesce(img, img) FROM visit WHERE id = 1',
		'UPDATE visit SET at = at WHERE id = 1 RETURNING img',
		'WITH v AS MATERIALIZED (SELECT img FROM visit WHERE id = 1) SELECT img FROM v',
		"SELECT (SELECT img FROM visit WHERE id = 1)");
	is(seen($wire->extended('SELECT img FROM visit WHERE id = $1', params => ['1'])),
		'sealed', 'by the extended protocol');
	$wire->query('BEGIN; DECLARE c CURSOR FOR SELECT img FROM visit WHERE id = 1');
	is(seen($wire->query('FETCH c')), 'sealed', 'FETCH');
	$wire->query('COMMIT; PREPARE p AS SELECT img FROM visit WHERE id = 1');
	is(seen($wire->query('EXECUTE p')), 'sealed', 'EXECUTE');
	$wire->query('CREATE FUNCTION one() RETURNS biometric.face_image LANGUAGE sql AS '
		  . "'SELECT img FROM visit WHERE id = 1'");
	is(seen($wire->query('SELECT one()')), 'sealed', 'a function');
	$wire->query('CREATE VIEW sights AS SELECT img FROM visit');
	is(seen($wire->query('SELECT img FROM sights LIMIT 1')), 'sealed', 'a view');

	$node->set('biometric_audit.enforcement', 'observe');
	is(look('SELECT img FROM visit WHERE id = 1'), 'sealed', 'enforcement = observe');
	$node->set('biometric_audit.enforcement', undef);
	my $permit = $node->policy($db,
		q{SELECT biometric.authorize('agency', '{face}', 'observe', NULL, 'visit')});
	is(look('SELECT img FROM visit WHERE id = 1'), 'sealed', 'delivery observe');
	$node->policy($db, "SELECT biometric.revoke($permit, 'done')");
	$node->restart;
	is(look('SELECT img FROM visit WHERE id = 1'), 'sealed', 'nor right after the server was started');
	retain(q{'visit', 'img', NULL});
};

subtest 'what is being sent stops opening' => sub {
	my $wire = officer();
	$wire->query('BEGIN; DECLARE c CURSOR FOR SELECT img FROM visit ORDER BY id');
	is(seen($wire->query('FETCH c')), '1', 'a cursor is open');
	retain(q{'visit', 'img', '1 microsecond', 'erase'});
	is(seen($wire->query('FETCH c')), 'sealed', 'the next row comes sealed');
	retain(q{'visit', 'img', NULL});
	is(seen($wire->query('FETCH c')), '3', 'and opens when the period is ended');
};

subtest 'a time column: images count from what their row says' => sub {
	table('trip', 10);
	retain(q{'trip', 'img', '5 days', 'erase', 'at'});
	is(status('state', 'trip'), 'in_force', 'in an empty table it is in force at once');
	my $wire = officer();
	fill('trip', 10, 10, 1);
	is(seen($wire->query('SELECT img FROM trip ORDER BY id')), 'sealed 11', 'INSERT');
	$wire->query("UPDATE trip SET at = now() - interval '1 day' WHERE id = 10");
	is(seen($wire->query('SELECT img FROM trip WHERE id = 10')), '10', 'another time opens it');
	my $mark = $node->mark($db);
	$wire->query("UPDATE trip SET at = now() - interval '6 days' WHERE id = 10");
	is(seen($wire->query('SELECT img FROM trip WHERE id = 10')), 'sealed', 'or closes it');
	my ($entry) = $node->records($db, 'SELECT image_id, detail FROM biometric.ledger '
		  . "WHERE seq >= $mark AND event = 'replaced'");
	is($entry->{image_id}, $node->sql($db, 'SELECT biometric.image_id(img) FROM trip WHERE id = 10'),
		'an entry says that the image is kept by another time');
	like("$entry->{detail}{counted_from} $entry->{detail}{counts_from}",
		qr/^\d{4}-\d\d-\d\dT\S+ \d{4}-\d\d-\d\dT\S+$/, 'by which before, and by which now');
	$wire->query("UPDATE trip SET id = id WHERE id = 10; UPDATE trip SET at = at WHERE id = 10");
	is($node->sql($db, "SELECT count(*) FROM biometric.ledger WHERE seq >= $mark AND event = 'replaced'"),
		1, 'the same time is no entry');

	$wire->query(qq{INSERT INTO trip VALUES (12, ${\picture(12)}, NULL), (13, ${\picture(13)}, 'infinity'),
		(14, ${\picture(14)}, '-infinity'), (15, ${\picture(15)}, '1960-02-29'),
		(16, ${\picture(16)}, '1970-01-01 00:00+00'), (17, ${\picture(17)}, '294276-12-31'),
		(18, ${\picture(18)}, '4713-01-01 BC')});
	is(seen($wire->query('SELECT img FROM trip WHERE id BETWEEN 12 AND 18 ORDER BY id')),
		'12 13 14 sealed sealed 17 sealed',
		'NULL and infinite: from the sealing time; times before 1970 are long ago');
	is(status("oldest AT TIME ZONE 'UTC'", 'trip'), '4713-01-01 00:00:00 BC', 'oldest is exact');
	$wire->query('UPDATE trip SET at = NULL WHERE id = 15');
	is(seen($wire->query('SELECT img FROM trip WHERE id = 15')), '15', 'NULL takes a time back');

	my $text = $node->sql($db, 'SELECT img::text FROM trip WHERE id = 11');
	$node->sql($db, "COPY (SELECT 20, '$text', now() - interval '9 days') TO '${\$node->basedir}/rows'");
	$node->policy($db, 'RESET ROLE');
	$node->sql($db, "GRANT biometric_custodian TO \"${\$node->superuser}\"");
	$node->sql($db, "COPY trip FROM '${\$node->basedir}/rows'");
	is(seen($wire->query('SELECT img FROM trip WHERE id = 20')), 'sealed', 'COPY');
	is(status('unstamped', 'trip'), 0, 'all have the time of their row');

	table('moved', 30);
	retain(q{'moved', 'img', '1 month', 'erase', 'at'});
	$wire->query(qq{INSERT INTO moved VALUES
		(30, ${\picture(30)}, ((now() AT TIME ZONE 'UTC') - interval '1 month' - interval '1 minute') AT TIME ZONE 'UTC'),
		(31, ${\picture(31)}, ((now() AT TIME ZONE 'UTC') - interval '1 month' + interval '4 days') AT TIME ZONE 'UTC')});
	is(seen($wire->query('SELECT img FROM moved ORDER BY id')), 'sealed 31', 'a month is a month in UTC');
};

subtest 'months that end on the same day end by the time of the day' => sub {
	table('month_end', 1);
	# noon of the day that a month from the end of January ends on, and then as long as it is ago
	my $ago = $node->sql($db, q{SELECT (now() AT TIME ZONE 'UTC') - timestamp '2015-02-28 12:00'});
	retain("'month_end', 'img', interval '1 month' + interval '$ago', 'erase', 'at'");
	my $wire = officer();
	$wire->query(qq{INSERT INTO month_end VALUES (1, ${\picture(1)}, '2015-01-30 23:00+00'), (2, ${\picture(2)}, '2015-01-31 01:00+00')});
	is(look('SELECT img FROM month_end WHERE id = 2'), 'sealed', 'a month from the 31st, in the night, is over');
	is(look('SELECT img FROM month_end WHERE id = 1'), '1', 'one from the 30th, in the evening, is not');
	is(look('SELECT img FROM month_end ORDER BY id'), '1 sealed', 'whichever is asked for first');
	is(look('SELECT img FROM month_end ORDER BY id DESC'), 'sealed 1', 'or last');
};

subtest 'images that ALTER TABLE makes get the times of their rows' => sub {
	my $wire = officer();
	table('rewritten', 10);
	retain(q{'rewritten', 'img', '5 days', 'erase', 'at'});
	fill('rewritten', 10, 10, 1);
	$wire->query("ALTER TABLE rewritten ALTER img TYPE biometric.face_image USING numbered_jpeg(id + 10, ${\SIZE})::biometric.face_image");
	is(seen($wire->query('SELECT img FROM rewritten ORDER BY id')), 'sealed 21', 'by a rewrite');
	is(status('unstamped', 'rewritten'), 0, 'none is left without');
};

subtest 'a time that a trigger sets behind ours is refused' => sub {
	my $wire = officer();
	$wire->query('CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS '
		  . q{$$ BEGIN NEW.at := now() + interval '9 years'; RETURN NEW; END $$});
	$wire->query('CREATE TRIGGER "~zz" BEFORE INSERT OR UPDATE ON trip FOR EACH ROW EXECUTE FUNCTION later()');
	is($wire->query("INSERT INTO trip VALUES (21, ${\picture(21)}, now())")->sqlstate, '55000', 'INSERT');
	is($wire->query("UPDATE trip SET at = now() WHERE id = 11")->sqlstate, '55000', 'UPDATE');
	$wire->query('DROP TRIGGER "~zz" ON trip; '
		  . 'CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON trip FOR EACH ROW EXECUTE FUNCTION later()');
	is($wire->query("INSERT INTO trip VALUES (21, ${\picture(21)}, now() - interval '9 days')")->sqlstate,
		undef, 'one that fires before it is not');
	is(seen($wire->query('SELECT img FROM trip WHERE id = 21')), '21', 'and what it set counts');
	$wire->query('DROP TRIGGER aa ON trip');
};

subtest 'a time column for images that are there is prepared first' => sub {
	table('old', 40, 10, 1);
	my $wire = $node->connect_from('local', $db, 'custodian');
	my $result = $wire->query(q{SELECT biometric.retain('old', 'img', '5 days', 'erase', 'at')});
	like(($result->notices)[0]{M}, qr/comes into force when its images have been stamped/, 'a notice says so');
	is(status('state, images, due, unstamped', 'old'), 'preparing 2 0 2', 'the view, too');
	is(look('SELECT img FROM old ORDER BY id'), '40 41', 'nothing is closed meanwhile');
	table('young', 45, -400);
	retain(q{'young', 'img', '1 microsecond', 'erase', 'at'});
	is(look('SELECT img FROM young'), '45', 'nor by the time of sealing');
	fill('old', 42, 10);
	is(status('due, unstamped', 'old'), '1 2', 'what is stored meanwhile is stamped');
	retain(q{'old', 'img', '1 microsecond', 'erase'});
	is(look('SELECT img FROM old ORDER BY id'), 'sealed sealed sealed', 'without a column nothing is to be prepared');
	retain(q{'old', 'img', '5 days', 'erase', 'at'});
	is(status('state', 'old'), 'in_force', 'what was in force stays so when it gets a column');
};

subtest 'partitions and heirs' => sub {
	my $wire = officer();
	$wire->query('CREATE TABLE root (id int, img biometric.face_image, at timestamptz) PARTITION BY RANGE (id); '
		  . 'CREATE TABLE part_1 PARTITION OF root FOR VALUES FROM (0) TO (10)');
	retain(q{'root', 'img', '5 days', 'erase', 'at'});
	is(status('state', 'root'), 'in_force', 'a root without rows is in force at once');
	$wire->query('CREATE TABLE part_2 PARTITION OF root FOR VALUES FROM (10) TO (20); '
		  . 'CREATE TABLE part_3 (at timestamptz, junk int, img biometric.face_image, id int); '
		  . 'ALTER TABLE part_3 DROP COLUMN junk; '
		  . "INSERT INTO part_3 VALUES (now() - interval '9 days', ${\picture(23)}, 23)");
	$wire->query(qq{INSERT INTO root VALUES (1, ${\picture(1)}, now() - interval '9 days'),
		(2, ${\picture(2)}, now()), (11, ${\picture(11)}, now() - interval '9 days'), (12, ${\picture(12)}, now())});
	is(seen($wire->query('SELECT img FROM root ORDER BY id')), 'sealed 2 sealed 12',
		'a partition that is made later goes by the period, too');
	is(seen($wire->query('SELECT img FROM part_2 ORDER BY id')), 'sealed 12', 'also by its own name');
	is(seen($wire->query('SELECT img FROM part_3')), '23', 'what is no partition yet does not');
	$wire->query('ALTER TABLE root ATTACH PARTITION part_3 FOR VALUES FROM (20) TO (30)');
	$wire->query("INSERT INTO root VALUES (24, ${\picture(24)}, now() - interval '9 days')");
	is(seen($wire->query('SELECT img FROM root WHERE id = 24')), 'sealed', 'one that is attached, then');
	is(status('images, due, unstamped', 'root'), '6 3 1', 'its images are unstamped until purging has seen them');
	is(status('state', 'root'), 'in_force', 'the period stays in force meanwhile');
	is($node->sql($db, q{SELECT concat_ws(' ', stamped_at IS NULL, purge_block, purge_next IS NULL)
		FROM biometric.retention WHERE relation = 'root'::regclass}), 't 0 t', 'and purging is to see them, from the beginning');
	is($wire->query('ALTER TABLE root DETACH PARTITION part_1')->sqlstate, '42501',
		'its owner does not take one out of the period');
	$wire->query("INSERT INTO root VALUES (3, ${\picture(3)}, now()); UPDATE root SET id = 13 WHERE id = 3");
	foreach my $time (q{now() - interval '9 days'}, 'now()')
	{
		$wire->query("UPDATE root SET at = $time WHERE id = 13");
		is(seen($wire->query('SELECT img FROM root WHERE id = 13')), $time eq 'now()' ? '3' : 'sealed',
			"an image that has moved to another partition goes by the time of its row: $time");
	}
	$wire->query('DELETE FROM root WHERE id = 13');
	retain(q{'part_2', 'img', '20 years', 'erase', 'at'});
	is(seen($wire->query('SELECT img FROM root ORDER BY id')), 'sealed 2 11 12 23 sealed',
		'a partition with a period of its own goes by that');
	is(status('images', 'root') . ' ' . status('images', 'part_2'), '4 2', 'and is counted there');
	is($wire->query('ALTER TABLE root DETACH PARTITION part_2')->sqlstate, undef, 'and may leave with it');
	is(seen($wire->query('SELECT img FROM part_2 ORDER BY id')), '11 12', 'to go by it still');
	retain(q{'part_2', 'img', NULL});
	$wire->query('CREATE TABLE mother (img biometric.face_image); CREATE TABLE father (img biometric.face_image); '
		  . "CREATE TABLE child () INHERITS (mother, father); INSERT INTO child VALUES (${\picture(5)})");
	retain(q{'mother', 'img', '10 years', 'erase'});
	retain(q{'father', 'img', '1 microsecond', 'erase'});
	is(seen($wire->query('SELECT img FROM mother')), 'sealed', 'of two parents the shorter period counts');
};

subtest 'a copy does not outlive what it is a copy of' => sub {
	table('source', 50, 10, 1);
	retain(q{'source', 'img', '1 microsecond', 'erase'});
	my $wire = officer();
	$wire->query($_)
	  foreach (
		'CREATE TABLE ctas AS SELECT img FROM source',
		'CREATE TABLE inserted (img biometric.face_image, at timestamptz)',
		"INSERT INTO inserted SELECT img, now() + interval '1 year' FROM source",
		'CREATE TEMP TABLE hidden AS SELECT img FROM ctas',
		'CREATE MATERIALIZED VIEW snapshot AS SELECT img FROM source');
	is(seen($wire->query("SELECT img FROM $_")), 'sealed sealed', $_)
	  foreach qw(ctas inserted hidden snapshot);
	retain(q{'source', 'img', '5 days', 'erase', 'at'});
	$node->sql($db, 'UPDATE source SET at = at + interval \'1 second\'');
	is(look('SELECT img FROM source ORDER BY id'), 'sealed 51', 'the original by its row');
	$wire->query('CREATE TABLE shelf (id int, img biometric.face_image, at timestamptz)');
	retain(q{'shelf', 'img', '30 days', 'erase', 'at'});
	$wire->query("INSERT INTO shelf SELECT id, img, now() + interval '1 year' FROM source");
	is(seen($wire->query('SELECT img FROM shelf ORDER BY id')), 'sealed 51',
		'a copy that its row says is younger: by the time of the original');
	$wire->query("UPDATE shelf SET at = now() + interval '2 years'");
	is(seen($wire->query('SELECT img FROM shelf ORDER BY id')), 'sealed 51', 'nor does an update help');
	$wire->query("UPDATE shelf SET at = now() - interval '1 year' WHERE id = 51");
	is(seen($wire->query('SELECT img FROM shelf ORDER BY id')), 'sealed sealed', 'an older one counts');

	$wire->query('CREATE TABLE staging (id int, img biometric.face_image); '
		  . "INSERT INTO staging VALUES (1, ${\picture(55)}); "
		  . 'CREATE TABLE main (id int, img biometric.face_image)');
	retain(q{'main', 'img', '1 microsecond', 'erase'});
	$wire->query('INSERT INTO main TABLE staging; CREATE TABLE loot AS TABLE main');
	is(seen($wire->query('SELECT img FROM loot')), 'sealed', 'a copy of what came by way of another table');
	is(seen($wire->query('SELECT img FROM staging')), '55', 'which itself has no period');

	$wire->query('CREATE TABLE last AS SELECT img FROM source WHERE id = 50');
	$wire->query('DROP TABLE source, main CASCADE');
	is(seen($wire->query("SELECT img FROM $_")), 'sealed', "$_, when the original is dropped")
	  foreach ('last', 'loot');
	$node->restart;
	is(look('SELECT img FROM loot'), 'sealed', 'and after a restart');
	my $ends = q{SELECT biometric.end_past_retention((SELECT home FROM biometric.retention_past
		WHERE relation = 'public.main'), 'moved to loot')};
	my $refused = officer()->query($ends);
	is($refused->sqlstate, '42501', 'its owner does not end that');
	$node->policy($db, $ends);
	is(look('SELECT img FROM loot'), '55', 'a custodian does');
};

subtest 'no way of copying leads out of a period' => sub {
	my $wire = officer();
	my $admin = $node->connect_from(OFFICE, $db, $node->superuser, 'control');
	my $expires = sub { retain(qq{'$_[0]', 'img', '1 microsecond', 'erase'}) };
	my $names = sub { $node->policy($db, "SELECT biometric.authorize('agency', '{face}', 'open', NULL, '$_[0]')") };

	table('gone', 1, 0);
	$expires->('gone');
	my $text = $node->sql($db, 'SELECT img::text FROM gone');
	$admin->query('DROP TABLE gone; CREATE TABLE gone (img biometric.face_image)');
	$admin->query("INSERT INTO gone VALUES ('$text')");
	is(seen($admin->query('SELECT img FROM gone')), 'sealed', 'a superuser who drops the table, and restores it');

	table('first', 2, 0);
	$expires->('first');
	$wire->query('CREATE TABLE second AS SELECT img FROM first');
	$names->('second');
	$wire->query('DROP TABLE first; CREATE TABLE third AS SELECT img FROM second');
	is(seen($wire->query('SELECT img FROM third')), 'sealed', 'by way of a table that a permit names, the original dropped');

	table('slim', 3, 0);
	$expires->('slim');
	$wire->query('CREATE TABLE slim_2 AS SELECT img FROM slim');
	$names->('slim_2');
	$wire->query('ALTER TABLE slim DROP COLUMN img; CREATE TABLE slim_3 AS SELECT img FROM slim_2');
	is(seen($wire->query('SELECT img FROM slim_3')), 'sealed', 'or its column');

	table('inbox', 4, 0);
	$wire->query('CREATE TABLE archive (img biometric.face_image)');
	$expires->('archive');
	$wire->query('INSERT INTO archive SELECT img FROM inbox; '
		  . q{CREATE FUNCTION archived() RETURNS biometric.face_image LANGUAGE sql AS 'SELECT img FROM archive'});
	$wire->query("CREATE TABLE typed (img text); INSERT INTO typed VALUES (''); "
		  . 'ALTER TABLE typed ALTER img TYPE biometric.face_image USING archived(), '
		  . 'ADD COLUMN added biometric.face_image DEFAULT archived()');
	is(seen($wire->query('SELECT img FROM typed')), 'sealed', 'ALTER COLUMN TYPE');
	is(seen($wire->query('SELECT added FROM typed')), 'sealed', 'ADD COLUMN');

	table('early', 5, 0);
	$wire->query('CREATE TABLE dated (img biometric.face_image, at timestamptz)');
	retain(q{'dated', 'img', '30 days', 'erase', 'at'});
	$wire->query("INSERT INTO dated SELECT img, now() + interval '1 year' FROM early");
	$expires->('early');
	is(seen($wire->query('SELECT img FROM dated')), 'sealed', 'a time ahead, given before the original had a period');
	$wire->query('DROP TABLE early');
	is(seen($wire->query('SELECT img FROM dated')), 'sealed', 'also when the original is dropped');

	table('diary', 6);
	retain(q{'diary', 'img', '5 days', 'erase', 'at'});
	fill('diary', 6, -4000);
	$wire->query('CREATE TABLE desk (id int, img biometric.face_image)');
	$expires->('desk');
	$wire->query('INSERT INTO desk SELECT id, img FROM diary');
	is(seen($wire->query('SELECT img FROM diary')), '6', 'what its row keeps for long');
	is(seen($wire->query('SELECT img FROM desk')), 'sealed', 'is not kept as long where images count from their sealing');
	$wire->query('CREATE FUNCTION noted() RETURNS biometric.face_image LANGUAGE sql AS '
		  . q{'SELECT img FROM diary'; ALTER TABLE desk ALTER img TYPE biometric.face_image USING noted()});
	is(seen($wire->query('SELECT img FROM desk')), 'sealed', 'ALTER COLUMN TYPE, from there');

	table('parted', 7, 0);
	$expires->('parted');
	is($wire->query(q{BEGIN; DROP TABLE parted; PREPARE TRANSACTION 'p'})->sqlstate, '0A000',
		'a table is not dropped in two phases, as nobody would look for copies when a crash parts them');
	$wire->query('ROLLBACK');
};

subtest 'tables do not change what period they are under without a custodian' => sub {
	my $wire = officer();
	my $admin = $node->connect_from(OFFICE, $db, $node->superuser, 'control');
	$wire->query('CREATE TABLE pair (id int, img biometric.face_image, other biometric.face_image) PARTITION BY RANGE (id); '
		  . 'CREATE TABLE pair_1 PARTITION OF pair FOR VALUES FROM (0) TO (10)');
	retain(q{'pair', 'img', '1 microsecond', 'erase'});
	retain(q{'pair_1', 'other', '10 years', 'erase'});
	is($wire->query('ALTER TABLE pair DETACH PARTITION pair_1')->sqlstate, '42501',
		'a period of another column does not let a partition leave');
	$admin->query('INSERT INTO biometric.retention (log_id, relation, attnum, column_name, period, on_expiry, '
		  . "declared_at, declared_by) VALUES (gen_random_uuid(), 'pair_1', 2, 'img', '9 years', 'erase', now(), 'x')");
	is($wire->query('ALTER TABLE pair DETACH PARTITION pair_1')->sqlstate, '42501',
		'nor a row that says it was declared in another database');
	retain(q{'pair_1', 'img', '10 years', 'erase'});
	is($wire->query('ALTER TABLE pair DETACH PARTITION pair_1')->sqlstate, undef, 'one of each column does');

	$wire->query('CREATE TABLE elder (img biometric.face_image); CREATE TABLE middle () INHERITS (elder); '
		  . 'CREATE TABLE younger () INHERITS (middle); CREATE TABLE aunt (img biometric.face_image)');
	retain(q{'elder', 'img', '1 microsecond', 'erase'});
	retain(q{'aunt', 'img', '10 years', 'erase'});
	is($wire->query('ALTER TABLE younger INHERIT aunt')->sqlstate, '42501', 'a nearer period is not inherited');
	is($wire->query('ALTER TABLE aunt INHERIT elder')->sqlstate, undef, 'whoever has one keeps it');

	is($wire->query('ALTER TABLE ONLY elder DROP COLUMN img')->sqlstate, '42501', 'a column is not dropped from under its heirs');
	is($wire->query('ALTER TABLE father DROP COLUMN img')->sqlstate, '42501', 'nor when another parent has it, too');
	is($wire->query('ALTER TABLE elder DROP COLUMN img')->sqlstate, undef, 'with all heirs it may go');
	is(seen($wire->query('SELECT img FROM child')), 'sealed', 'nothing has opened');
};

subtest 'columns are renamed, changed and dropped' => sub {
	table('fickle', 1, 10, 1);
	retain(q{'fickle', 'img', '1 microsecond', 'erase'});
	retain(q{'fickle', 'img', '5 days', 'erase', 'at'});
	my $wire = officer();
	$wire->query("UPDATE fickle SET at = at - interval '1 second'");
	is(seen($wire->query('SELECT img FROM fickle ORDER BY id')), 'sealed 2', 'before');
	$wire->query('ALTER TABLE fickle RENAME img TO face; ALTER TABLE fickle RENAME at TO seen_at; '
		  . 'ALTER TABLE fickle RENAME TO changed');
	is(seen($wire->query('SELECT face FROM changed ORDER BY id')), 'sealed 2', 'renamed');
	is(status('column_name, time_column', 'changed'), 'face seen_at', 'and so it is shown');
	$wire->query("INSERT INTO changed VALUES (3, ${\picture(3)}, now() - interval '9 days')");
	is(seen($wire->query('SELECT face FROM changed WHERE id = 3')), 'sealed', 'images are stamped on');
	$wire->query('ALTER TABLE changed ALTER seen_at TYPE date');
	$wire->query("INSERT INTO changed VALUES (4, ${\picture(4)}, current_date - 9), (5, ${\picture(5)}, current_date - 1)");
	is(seen($wire->query('SELECT face FROM changed WHERE id > 3 ORDER BY id')), 'sealed 5', 'of another type');
	$wire->query('ALTER TABLE changed ALTER seen_at TYPE text');
	is(status('coalesce(time_column, $$none$$), problem', 'changed') =~ s/:.*//r,
		'none time column "seen_at" is gone, or holds no time any more',
		'a column that is no time is taken out, and the view says so');
	$wire->query("INSERT INTO changed VALUES (6, ${\picture(6)}, 'x')");
	is(seen($wire->query('SELECT face FROM changed ORDER BY id')), 'sealed 2 sealed sealed 5 6',
		'what is stamped stays so, others count from their sealing');
	$wire->query('CREATE TABLE beside AS SELECT face FROM changed WHERE id = 1');
	$wire->query('ALTER TABLE changed DROP COLUMN face');
	is($node->sql($db, q{SELECT count(*) FROM biometric.retention WHERE relation = 'changed'::regclass}), 0,
		'a period goes with its column');
	is(seen($wire->query('SELECT face FROM beside')), 'sealed', 'but not for copies');
};

subtest 'a time column that is computed anew' => sub {
	my $wire = officer();
	my $seen_to = sub { $node->sql($db, 'SELECT stamped_at IS NOT NULL FROM biometric.retention '
		  . "WHERE relation = '$_[0]'::regclass") };
	foreach my $table (qw(computed textual))
	{
		table($table, 1);
		retain("'$table', 'img', '5 days', 'erase', 'at'");
		fill($table, 1, 1);
		is($seen_to->($table), 't', "$table: all images have the times of their rows");
	}
	my $alter = q{ALTER TABLE computed ALTER at TYPE date USING '2001-01-01'};
	is($wire->query($alter)->sqlstate, '42501', 'takes more than the owner, since no entry says what images count from then');
	is($node->admin($db)->query($alter)->sqlstate, undef, 'a custodian may');
	is($seen_to->('computed'), 'f', 'and purging stamps them anew');
	is(status('unstamped', 'computed'), 1, 'what has another time');
	$wire->query('ALTER TABLE textual ALTER at TYPE text');
	is($seen_to->('textual'), 't', 'one that holds no time any more is none');
};

subtest 'two persons' => sub {
	$node->sql($db, 'CREATE ROLE alice LOGIN IN ROLE biometric_custodian; '
		  . 'CREATE ROLE bob LOGIN IN ROLE biometric_custodian');
	retain(q{'visit', 'img', '1 microsecond', 'erase'});
	$node->set('biometric_audit.two_person', 'on');
	$node->run('alice', $db, q{SET intervalstyle = 'iso_8601'; SELECT biometric.retain('visit', 'img', '1 year 2 days', 'erase', reason => 'longer')});
	is(look('SELECT img FROM visit LIMIT 1'), 'sealed', 'another period is proposed first');
	$node->run('bob', $db, 'SELECT biometric.approve((SELECT max(id) FROM biometric.proposal))');
	is(look('SELECT img FROM visit ORDER BY id LIMIT 1'), '1', 'and in force when it is approved');
	is($node->sql($db, q{SELECT period FROM biometric.retention WHERE relation = 'visit'::regclass}),
		'1 year 2 days', 'as it was proposed');

	$node->run('officer', $db, 'CREATE TABLE swapped (img biometric.face_image, draft biometric.face_image)');
	$node->run('alice', $db, q{SELECT biometric.retain('swapped', 'draft', '100 years', 'erase')});
	$node->run('officer', $db, 'ALTER TABLE swapped RENAME draft TO was; ALTER TABLE swapped RENAME img TO draft');
	my $bob = $node->connect_from('local', $db, 'bob');
	is($bob->query('SELECT biometric.approve((SELECT max(id) FROM biometric.proposal))')->sqlstate, '55000',
		'not for another column that has its name by then');
	$bob->close;
	$node->set('biometric_audit.two_person', undef);
};

# outcome(command): what a program complains of.
sub outcome { my (undef, $errors) = run_command([@_]); return $errors; }

subtest 'a dump brings periods back as what was declared once' => sub {
	retain(q{'visit', 'img', '1 microsecond', 'erase'});
	retain(q{'trip', 'img', '1 microsecond', 'erase', 'at'});
	my $dump = $node->basedir . '/dump.sql';
	my @at = ('-X', '-q', '-h', $node->host, '-p', $node->port);
	is(outcome('pg_dump', @at[ 2 .. 5 ], '-f', $dump, $db), '', 'pg_dump');
	$node->sql($db, 'CREATE DATABASE restored');
	is(outcome('psql', @at, '-v', 'ON_ERROR_STOP=1', '-d', 'restored', '-f', $dump), '', 'restored');
	is($node->sql('restored', q{SELECT count(*) > 3 FROM biometric.retention}), 't', 'the rows are there');
	is($node->sql('restored', 'SELECT count(*) FROM biometric.retention_status'), 0, 'but count for nothing');
	$node->register('restored', 'branch', '127.0.0.3/32', '{face}', 'open', '{control}');
	my $wire = $node->connect_from('127.0.0.3', 'restored', $node->superuser, 'control');
	is(seen($wire->query('SELECT img FROM visit ORDER BY id')), '1 2 3', 'images open');
	$node->policy('restored', q{SELECT biometric.retain('visit', 'img', '1 microsecond', 'erase')});
	is(seen($wire->query('SELECT img FROM visit ORDER BY id')), 'sealed sealed sealed', 'until it is declared again');
	$node->policy('restored', q{SELECT biometric.retain('trip', 'img', '5 days', 'erase')});
	is(seen($wire->query('SELECT img FROM trip WHERE id IN (10, 11) ORDER BY id')), 'sealed 11',
		'what images count from has come with them');
};

subtest 'more periods than there is room for' => sub {
	my $count = $node->sql($db, 'SELECT count(*) FROM biometric.retention_status');
	$node->append_conf('postgresql.conf', "biometric_audit.max_retention_rules = $count");
	$node->restart;
	is(look('SELECT img FROM staging'), '55', 'as many as fit are in force');
	my $wire = $node->connect_from('local', $db, 'custodian');
	is($wire->query(q{SELECT biometric.retain('staging', 'img', '1 day', 'erase')})->sqlstate, '54000',
		'one more is refused');
	$node->append_conf('postgresql.conf', 'biometric_audit.max_retention_rules = ' . ($count - 1));
	$node->restart;
	is(look('SELECT img FROM staging'), 'sealed', 'a server that cannot hold them opens nothing');
	$node->append_conf('postgresql.conf', 'biometric_audit.max_retention_rules = 256');
	$node->restart;
	is(look('SELECT img FROM staging'), '55', 'until it can');
};

ok($node->verifies($db), 'the ledger verifies');

done_testing();
