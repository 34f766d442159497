# What breach_report() and affected() say is what the ledger's entries say: each
# figure is counted a second time, in Perl, from the entries' bytes.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Entries;
use BiometricAudit::Node qw(poll_until);

use constant { YARD => '127.0.0.2', DEPOT => '127.0.0.3', DESK => '127.0.0.4', SIZE => 700, SEGMENT => 1024 };

my $keys = PostgreSQL::Test::Utils::tempdir();
system_or_bail('sh', '-c', "umask 077; openssl genpkey -algorithm ed25519 -out '$keys/signing.pem'");
my $node = BiometricAudit::Node->create('agency',
	allows_streaming => 1,
	conf => "biometric_audit.signing_key = '$keys/signing.pem'\nbiometric_audit.segment_size = ${\SEGMENT}\n"
	  . "max_prepared_transactions = 2\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'hauler', YARD . '/32', '{face}', 'open', '{freight,audit}');
$node->policy($db, "SELECT biometric.register_network('${\DEPOT}/32', 'hauler')");
$node->policy($db, "SELECT biometric.register_network('192.0.2.0/24', 'hauler')");
$node->policy($db, "SELECT biometric.authorize('hauler', '{plate}', 'open', '{freight,audit}')");
$node->policy($db, "SELECT biometric.authorize('hauler', '{document}', 'observe')");
$node->policy($db, "SELECT biometric.authorize('hauler', '{iris}', 'refuse')");
$node->register($db, 'control', DESK . '/32', '{face,plate,document}', 'open');

my %known = (
	relation => [qw(public.crossing public.crossing_early public.crossing_late public.loose public.never public.traveller)],
	authorization => [ map { $_->{id} }
		  $node->records($db, q{SELECT id FROM biometric.permit WHERE party = 'hauler'}) ],
	network => [ YARD . '/32', DEPOT . '/32', '192.0.2.0/24' ]);

# A picture as an SQL value.
my $pictures = 0;
sub picture { my ($kind) = @_; $pictures++; return "numbered_jpeg($pictures, ${\SIZE})::biometric.${kind}_image"; }

sub settled
{
	poll_until(sub { $node->sql($db, q{SELECT pending = 0 AND state = 'ready' FROM biometric.ledger_status()}) eq 't' });
	return;
}

# What the functions say, in the words of BiometricAudit::Entries. during: as SQL.
sub microseconds { return "coalesce((extract(epoch FROM $_[0]) * 1000000)::bigint::text, '-')"; }

sub said
{
	my ($database, $party, $during) = @_;
	return map { $_->[0] } $node->admin($database)->query(<<"END")->rows;
SELECT concat_ws(' ', dimension, coalesce(value, '-'), taken, disclosures, images, rows, subjects,
	${\microseconds('first_released')}, ${\microseconds('last_released')})
FROM biometric.breach_report('$party', $during)
END
}

sub said_of_rows
{
	my ($database, $party, $during) = @_;
	return sort map { $_->[0] } $node->admin($database)->query(<<"END")->rows;
SELECT concat_ws(' ', replace(image_id::text, '-', ''), kind, relation, coalesce(row_key::text, '-'),
	${\microseconds('first_released')}, ${\microseconds('last_released')}, times)
FROM biometric.affected('$party', $during)
END
}

# agrees(database, party, from, until, name): all rows of both functions are those counted here.
sub agrees
{
	my ($database, $party, $from, $until, $name) = @_;
	my @bounds = map { defined $_ ? "timestamptz 'epoch' + $_ * interval '1 microsecond'" : 'NULL' } $from, $until;
	my $during = "tstzrange($bounds[0], $bounds[1])";
	my $entries = BiometricAudit::Entries->read($node, $database);
	my @report = said($database, $party, $during);
	is_deeply(\@report, [ $entries->report($party, $from, $until, %known) ], "$name: every figure of breach_report()");
	my @rows = said_of_rows($database, $party, $during);
	is_deeply(\@rows, [ $entries->affected($party, $from, $until) ], "$name: every row of affected()");
	return (\@report, \@rows);
}

sub figure { my ($report, $start) = @_; return map { substr $_, 1 + length $start } grep { index($_, "$start ") == 0 } @$report; }

# ---------------------------------------------------------------- six weeks

$node->sql($db, $_) foreach (
	'CREATE TABLE traveller (id int PRIMARY KEY, name text, port text, lane int, taken timestamptz,
		face biometric.face_image, plate biometric.plate_image)',
	'CREATE TABLE crossing (id int, day date, port text, plate biometric.plate_image, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)',
	q{CREATE TABLE crossing_early PARTITION OF crossing FOR VALUES FROM (MINVALUE) TO ('2026-05-10')},
	q{CREATE TABLE crossing_late PARTITION OF crossing FOR VALUES FROM ('2026-05-10') TO (MAXVALUE)},
	'CREATE TABLE loose (scan biometric.document_image)',
	'CREATE TABLE never (id int PRIMARY KEY, face biometric.face_image)',
	'GRANT SELECT ON ALL TABLES IN SCHEMA public TO officer',
	"INSERT INTO traveller VALUES (100, 'early bird', 'old', 9, now(), ${\picture('face')}, NULL)",
	q{SELECT biometric.describe_collection('traveller', '{name}', '{port,lane}', 'taken')},
	q{SELECT biometric.describe_collection('crossing', place_columns => '{port}', time_column => 'day')});

foreach my $id (1 .. 24)
{
	my ($name, $lane) = ('name ' . int($id / 3), $id % 4);
	my $plate = $id % 2 ? picture('plate') : 'NULL';
	$node->sql($db, "INSERT INTO traveller VALUES ($id, '$name', 'El \"Paso\"', $lane, "
		  . "timestamptz '2026-05-01 20:00-05' + $id * interval '9 hours', ${\picture('face')}, $plate)");
	$node->sql($db, "INSERT INTO crossing VALUES ($id, date '2026-05-01' + $id, "
		  . ($id % 5 ? "'Laredo'" : 'NULL') . ", ${\picture('plate')})");
	$node->sql($db, "INSERT INTO loose VALUES (${\picture('document')})") if $id <= 3;
	$node->sql($db, "INSERT INTO never VALUES ($id, ${\picture('face')})") if $id <= 3;
}
# one image in two rows of a table, and in another table
$node->sql($db, q{INSERT INTO traveller SELECT 50, 'double', 'Nogales', 1, '2026-05-03', face, NULL FROM traveller WHERE id = 2});
$node->sql($db, 'CREATE TABLE copy AS SELECT id, face FROM traveller WHERE id IN (3, 4)');
$node->sql($db, 'GRANT SELECT ON copy TO officer');
push @{ $known{relation} }, 'public.copy';
# an image that a transaction put into a row which never came to be
$node->sql($db, 'BEGIN');
$node->sql($db, q{INSERT INTO traveller SELECT 99, 'nobody', 'nowhere', 1, '1999-01-01', face, NULL FROM traveller WHERE id = 5});
$node->sql($db, q{PREPARE TRANSACTION 'ghost'});
$node->sql($db, q{ROLLBACK PREPARED 'ghost'});
poll_until(sub { $node->sql($db, q{SELECT count(*) FROM biometric.change WHERE event = 'aborted'}) == 1 });

sub takes
{
	my ($address, $login, $purpose, @queries) = @_;
	my $wire = $node->connect_from($address, $db, $login, $purpose);
	foreach my $query (@queries)
	{
		my $result = $wire->query($query);
		is($result->error, undef, "$address takes: $query") || diag $result->message;
	}
	$wire->close;
	return;
}

$node->sql($db, 'CREATE ROLE driver LOGIN');
$node->sql($db, 'GRANT SELECT ON traveller, crossing, crossing_late, loose, copy TO driver; GRANT INSERT, DELETE ON traveller TO officer');

takes(YARD, 'officer', 'freight', 'SELECT face FROM traveller WHERE id <= 8 OR id = 100', 'SELECT plate FROM crossing WHERE id <= 12');
takes(YARD, 'driver', 'audit', 'SELECT face, plate FROM traveller WHERE id BETWEEN 5 AND 10', 'SELECT id, face FROM copy');
takes(DESK, 'officer', 'control', 'SELECT face FROM traveller WHERE id < 20', 'SELECT scan FROM loose');
settled();
my $middle = $node->sql($db, 'SELECT (extract(epoch FROM max(at)) * 1000000)::bigint + 1 FROM biometric.disclosure');

# what they took is changed and deleted; it stays taken, as it was
$node->sql($db, $_) foreach (
	q{UPDATE traveller SET name = 'somebody else', port = 'moved' WHERE id = 5},
	'DELETE FROM traveller WHERE id IN (1, 7)',
	'ALTER TABLE traveller RENAME COLUMN port TO harbour',
	"UPDATE traveller SET face = ${\picture('face')}, harbour = 'Nogales' WHERE id = 6",
	'DELETE FROM crossing WHERE id = 3',
	# a row that has an image which was released from another before
	q{INSERT INTO traveller SELECT 60, 'too late', 'Nogales', 1, '2026-05-03', face, NULL FROM traveller WHERE id = 3});
takes(DEPOT, 'driver', undef, 'SELECT scan FROM loose', 'SELECT scan FROM loose LIMIT 1');
takes(DEPOT, 'driver', 'freight', 'SELECT face FROM traveller WHERE id IN (2, 5, 6, 50)',
	'SELECT plate FROM crossing_late WHERE id > 10', 'SELECT plate FROM traveller ORDER BY id DESC LIMIT 4');
# released by a transaction that is rolled back: taken all the same, from a row that never was
takes(YARD, 'officer', 'freight', 'BEGIN',
	"INSERT INTO traveller VALUES (200, 'rolled back', 'x', 1, now(), (SELECT face FROM traveller WHERE id = 9), NULL)",
	'SELECT face FROM traveller WHERE id IN (200, 10)', 'DELETE FROM traveller WHERE id = 11', 'ROLLBACK');
settled();

subtest 'what was released is counted exactly' => sub {
	my ($report) = agrees($db, 'hauler', undef, undef, 'always');
	my ($total) = figure($report, 'total -');
	like($total, qr/^t [1-9]\d+ [1-9]\d+ [1-9]\d+ [1-9]/, 'and is not nothing');
	like((figure($report, 'kind iris'))[0], qr/^f 0 0 0 0 - -$/, 'a kind that was not taken is there, with zeroes');
	like((figure($report, 'relation public.never'))[0], qr/^f 0 /, 'so is a table');
	like((figure($report, 'network 192.0.2.0/24'))[0], qr/^f 0 /, 'and a network');
	is(scalar(grep { /^authorization \d+ f/ } @$report), 1, 'and a permit');
};

subtest 'a period ends before its upper bound' => sub {
	my ($early) = agrees($db, 'hauler', undef, $middle, 'before');
	my ($late) = agrees($db, 'hauler', $middle, undef, 'from then on');
	my ($whole) = map { (split)[1] } figure([ said($db, 'hauler', "'(,)'") ], 'total -');
	is((map { (split)[1] } figure($early, 'total -'))[0] + (map { (split)[1] } figure($late, 'total -'))[0], $whole,
		'each release is in one of two periods that meet');
	my ($at) = (figure($early, 'total -'))[0] =~ /(\d+)$/;
	foreach my $case ([ "[$at,$at]", 1 ], [ "[$at,$at)", 0 ], [ "($at," . ($at + 1) . ')', 0 ], [ "[$at," . ($at + 1) . ')', 1 ])
	{
		my ($bounds, $is_in) = @$case;
		my ($open, $from, $until, $close) = $bounds =~ /^(.)(\d+),(\d+)(.)$/;
		my $wire = $node->admin($db)->query("SELECT disclosures > 0 FROM biometric.breach_report('hauler', tstzrange("
			  . "timestamptz 'epoch' + $from * interval '1 microsecond', timestamptz 'epoch' + $until * interval '1 microsecond', "
			  . "'$open$close')) WHERE dimension = 'total'");
		is(($wire->error ? 'f' : $wire->value), $is_in ? 't' : 'f', 'bounds ' . $open . $close . ' of ' . ($until - $from) . ' us');
	}
};

subtest 'each party has its own' => sub {
	local $known{authorization} = [ map { $_->{id} } $node->records($db, q{SELECT id FROM biometric.permit WHERE party = 'control'}) ];
	local $known{network} = [ DESK . '/32' ];
	my ($report) = agrees($db, 'control', undef, undef, 'the other party');
	like((figure($report, 'network ' . DESK . '/32'))[0], qr/^t /, 'from its network');
	is(scalar(grep { /^network 127\.0\.0\.[23]/ } @$report), 0, 'and from no other');
};

subtest 'rows are counted as they were when they were taken' => sub {
	my (undef, $rows) = agrees($db, 'hauler', undef, $middle, 'before the changes');
	is(scalar(grep { /traveller \{"id": 7\} / } @$rows), 2, 'a deleted row, with both of its images');
	is(scalar(grep { /traveller \{"id": 99\} / } @$rows), 0, 'no row of a transaction that was rolled back');
	is(scalar(grep { /traveller \{"id": 50\} / } @$rows), 1, 'both rows that held an image: the second');
	my @report = said($db, 'hauler', "'(,)'");
	is(scalar(grep { /traveller \{"id": 60\} / } said_of_rows($db, 'hauler', "'(,)'")), 0, 'no row that got an image only after its release');
	is(scalar(grep { /^place .*moved/ } @report), 0, 'no place that was written over them without a new image');
	is(scalar(grep { /^place .*harbour.*Nogales/ } @report), 1, 'a column that was renamed has its new name from then on');
};

subtest 'a table that is described when it has come to that counts people and places' => sub {
	$node->sql($db, $_) foreach (
		'CREATE TABLE late (id int PRIMARY KEY, given text, family text, site text, taken date, face biometric.face_image)',
		'GRANT SELECT ON late TO officer');
	foreach my $id (1 .. 8)
	{
		my $family = int($id / 2);
		$node->sql($db, "INSERT INTO late VALUES ($id, 'given', 'family $family', 'site ${\($id % 3)}', date '2026-04-01' + $id, ${\picture('face')})");
	}
	push @{ $known{relation} }, 'public.late';
	takes(YARD, 'officer', 'freight', 'SELECT face FROM late');
	settled();
	my ($report) = agrees($db, 'hauler', undef, undef, 'not described');
	is((split ' ', (figure($report, 'relation public.late'))[0])[4], 0, 'then it has no people');

	# row 1 and row 8 show somebody whom no other row shows
	$node->sql($db, 'DELETE FROM late WHERE id = 8');
	$node->sql($db, q{SELECT biometric.describe_collection('late', '{given,family}', '{site,id}', 'taken')});
	settled();
	($report) = agrees($db, 'hauler', undef, undef, 'described afterwards');
	like((figure($report, 'relation public.late'))[0], qr/^t 8 8 8 4 /, 'all have their people but the row that was deleted');
	like((figure($report, 'collected_on 2026-04-08'))[0] // '', qr/^t 1 1 1 1 /, 'and their day');
	is(scalar(grep { /^collected_on 2026-04-09/ } @$report), 0, 'which has none');
	like((figure($report, 'place {"id": 7, "site": "site 1"}'))[0] // '', qr/^t 1 1 1 1 /, 'and their place');
	is(scalar(grep { /^place .*"id": 8/ } @$report), 0, 'which has none either');

	# rows 6 and 7 show one person; 7 is gone before the columns are named the other way round
	$node->sql($db, 'DELETE FROM late WHERE id = 7');
	$node->sql($db, q{UPDATE late SET site = 'corrected' WHERE id = 2});
	$node->sql($db, q{SELECT biometric.describe_collection('late', '{family,given}', '{id,site}', 'taken')});
	settled();
	($report) = agrees($db, 'hauler', undef, undef, 'described once more');
	like((figure($report, 'relation public.late'))[0], qr/^t 8 8 8 4 /, 'in whatever order the columns are named, people are the same');
	like((figure($report, 'place {"id": 2, "site": "site 2"}'))[0] // '', qr/^t 1 1 1 1 /, 'what was said first behind a release stays');
	is(scalar(grep { /^place .*"id": 2, "site": "corrected/ } @$report), 0, 'whatever is said later');

	my $incident = $node->policy($db, q{SELECT biometric.open_incident('hauler', '(,)', 'all of it')});
	my ($total) = figure($report, 'total -');
	is($node->sql($db, "SELECT count(*) FROM biometric.notify_list($incident) AS l WHERE NOT coalesce(l.row_keys \@> jsonb_build_array(l.subject), true)"),
		(split ' ', $total)[4], 'there are as many people to be told as subjects');
};

subtest 'a log that was restored and adopted counts as it did' => sub {
	my $plain = $node->basedir . '/agency.sql';
	my @at = ('-h', $node->host, '-p', $node->port, '-U', $node->superuser);
	$node->leave($db);
	command_ok([ 'pg_dump', @at, '-d', $db, '-f', $plain ], 'the database is dumped');
	$node->sql($db, 'CREATE DATABASE restored');
	command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', @at, '-d', 'restored', '-o', '/dev/null', '-f', $plain ], 'and restored');
	is($node->admin('restored')->query("SELECT * FROM biometric.breach_report('hauler', '(,)')")->sqlstate, '42704',
		'a party of a log that is not adopted is not known');
	$node->policy('restored', "SELECT biometric.fork_ledger('moved')");
	# the policy is not dumped: what is known of the party is what the ledger says
	local @known{qw(authorization network)} = ([], []);
	my ($report) = agrees('restored', 'hauler', undef, undef, 'adopted');
	my ($own) = figure([ said($db, 'hauler', "'(,)'") ], 'total -');
	is((figure($report, 'total -'))[0], $own, 'the same as where it was');
	is($node->sql('restored', q{SELECT string_agg(relation::text, ' ' ORDER BY relation::text) FROM biometric.collection}),
		'crossing late traveller', 'the descriptions came along');
	$node->sql('restored', "INSERT INTO traveller VALUES (300, 'later', 'here', 1, '2026-06-01', ${\picture('face')}, NULL)");
	poll_until(sub { $node->sql('restored', 'SELECT pending = 0 FROM biometric.ledger_status()') eq 't' });
	my ($stored) = grep { ($_->{row_key} // '') eq '{"id": 300}' } BiometricAudit::Entries->read($node, 'restored')->of('stored');
	is($stored->{collected}, '{"of":"public.traveller","subject":{"name":"later"},"place":{"harbour":"here","lane":1},"time":"2026-06-01T00:00:00Z"}',
		'and count from then on');
};

subtest 'a standby says the same' => sub {
	my $standby = BiometricAudit::Node->new('standby');
	$node->backup('standby');
	$standby->init_from_backup($node, 'standby', has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby);
	my @here = map { join ' ', map { $_ // '-' } @$_ } $node->admin($db)->query("SELECT * FROM biometric.breach_report('hauler', '(,)')")->rows;
	my @there = map { join ' ', map { $_ // '-' } @$_ } $standby->admin($db)->query("SELECT * FROM biometric.breach_report('hauler', '(,)')")->rows;
	is_deeply(\@there, \@here, 'breach_report()');
	is($standby->sql($db, "SELECT count(*) FROM biometric.affected('hauler', '(,)')"),
		$node->sql($db, "SELECT count(*) FROM biometric.affected('hauler', '(,)')"), 'affected()');
	is($standby->admin($db)->query(q{SELECT biometric.describe_collection('traveller', '{name}')})->sqlstate, '25006',
		'but takes no description');
	$standby->stop;
};

subtest 'a release keeps its rows and people, whatever becomes of them' => sub {
	my $known = sub { push @{ $known{relation} }, map { "public.$_" } @_; return; };
	$known->('guest');
	$node->sql($db, $_) foreach (
		'CREATE TABLE guest (id int PRIMARY KEY, who text, face biometric.face_image)',
		q{SELECT biometric.describe_collection('guest', '{who}')},
		"INSERT INTO guest VALUES (1, 'ann', ${\picture('face')})",
		'GRANT SELECT, INSERT, UPDATE ON guest TO officer');
	takes(YARD, 'officer', 'freight', 'SELECT face FROM guest');
	$node->sql($db, $_) foreach (
		q{UPDATE guest SET who = 'nobody'},
		q{SELECT biometric.describe_collection('guest', '{who}')});
	settled();
	my $people = sub {
		my ($relation) = @_;
		my $incident = $node->policy($db, q{SELECT biometric.open_incident('hauler', '(,)', 'who is it')});
		return $node->sql($db, "SELECT string_agg(subject ->> 'who', ' ' ORDER BY subject) FROM biometric.notify_list($incident) WHERE relation = '$relation'");
	};
	is($people->('public.guest'), 'ann', 'who was released is not written over');
	takes(YARD, 'officer', 'freight', 'SELECT face FROM guest');
	settled();
	my ($report) = agrees($db, 'hauler', undef, undef, 'changed and described again');
	like((figure($report, 'relation public.guest'))[0], qr/^t 2 1 1 2 /, 'a later release has who it is then');

	$node->sql($db, $_) foreach (
		'CREATE MATERIALIZED VIEW guests AS SELECT face FROM guest',
		'CREATE TABLE guest_copy AS SELECT face FROM guest',
		'GRANT SELECT ON guests, guest_copy TO officer');
	$known->(qw(guests guest_copy));
	takes(YARD, 'officer', 'freight', 'SELECT face FROM guests', 'SELECT face FROM guest_copy');
	settled();
	($report) = agrees($db, 'hauler', undef, undef, 'through copies');
	like((figure($report, "relation public.$_"))[0], qr/^t 1 1 [23] 1 /, "nobody hides behind $_") foreach qw(guests guest_copy);

	my @bound = map { picture('face') } 2 .. 4;
	takes(YARD, 'officer', 'freight', "INSERT INTO guest VALUES (2, 'bob', $bound[0]) RETURNING face",
		'BEGIN', "INSERT INTO guest VALUES (3, 'eve', $bound[1])", 'SELECT face FROM guest WHERE id = 3', 'COMMIT',
		"UPDATE guest SET who = 'dan', face = $bound[2] WHERE id = 2 RETURNING face");
	settled();
	agrees($db, 'hauler', undef, undef, 'released before it was on record');
	is($people->('public.guest'), 'ann bob dan eve nobody', 'what leaves with the statement that stores it has its row');

	$node->sql($db, $_) foreach (
		'CREATE TABLE moved (id int PRIMARY KEY, who text, face biometric.face_image)',
		q{SELECT biometric.describe_collection('moved', '{who}')},
		"INSERT INTO moved VALUES (1, 'first', ${\picture('face')})",
		q{INSERT INTO moved SELECT 2, 'second', face FROM moved},
		q{INSERT INTO moved SELECT 3, 'third', face FROM moved WHERE id = 1},
		'CREATE MATERIALIZED VIEW old AS SELECT DISTINCT ON (biometric.image_id(face)) face FROM moved',
		'GRANT SELECT ON moved, old TO officer',
		'DELETE FROM moved WHERE id = 1',
		"UPDATE moved SET face = ${\picture('face')} WHERE id = 3");
	$known->(qw(moved old));
	takes(YARD, 'officer', 'freight', 'SELECT face FROM moved WHERE id = 2');
	settled();
	($report) = agrees($db, 'hauler', undef, undef, 'rows that have it no more');
	is($people->('public.moved'), 'second', 'rows that had an image count no more');
	$node->sql($db, 'DELETE FROM moved');
	takes(YARD, 'officer', 'freight', 'SELECT face FROM old');
	settled();
	($report) = agrees($db, 'hauler', undef, undef, 'no row is left');
	is($people->('public.moved'), 'first second third', 'unless nobody else is left');

	$node->sql($db, $_) foreach (
		'CREATE TABLE passage (id int, day date, who text, face biometric.face_image, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)',
		q{CREATE TABLE passage_early PARTITION OF passage FOR VALUES FROM (MINVALUE) TO ('2026-05-10')},
		q{CREATE TABLE passage_late PARTITION OF passage FOR VALUES FROM ('2026-05-10') TO (MAXVALUE)},
		q{SELECT biometric.describe_collection('passage', '{who}')},
		'GRANT SELECT ON passage, passage_late TO officer');
	$node->sql($db, "INSERT INTO passage VALUES (1, '2026-05-0$_', 'zoe', ${\picture('face')}), (1, '2026-05-1$_', 'zoe', ${\picture('face')})") foreach 1, 2;
	$known->(qw(passage passage_early passage_late));
	my ($before) = map { (split)[4] } figure($report, 'total -');
	takes(YARD, 'officer', 'freight', 'SELECT face FROM passage', 'SELECT face FROM passage_late');
	settled();
	($report) = agrees($db, 'hauler', undef, undef, 'one person in two partitions');
	like((figure($report, "relation public.passage_$_"))[0], qr/^t [24] 2 2 1 /, "is one in passage_$_") foreach qw(early late);
	is((map { (split)[4] } figure($report, 'total -'))[0], $before + 1, 'and one in all');
	is($people->('public.passage'), 'zoe', 'to be told once');
	is($people->('public.passage_late'), undef, 'under the name of the table that was described');
	my $incident = $node->policy($db, q{SELECT biometric.open_incident('hauler', '(,)', 'told')});
	is($node->policy($db, qq{SELECT biometric.mark_notified($incident, ARRAY['{"who": "zoe"}']::jsonb[], 'letter', 'public.passage')}), 1,
		'who is marked under it, too');
};

subtest 'what was detached is said to be missing, and the rest is counted exactly' => sub {
	takes(YARD, 'officer', 'freight', 'SELECT t.face FROM traveller AS t, generate_series(1, 60) WHERE t.id <= 20');
	takes(DEPOT, 'driver', 'audit', 'SELECT face FROM traveller WHERE id <= 5');
	my ($own) = $node->records($db, 'SELECT log_id FROM biometric.ledger_status()');
	my $before = BiometricAudit::Entries->read($node, $db);
	my $missing = $before->releases_of('hauler', $own->{log_id}, 0, SEGMENT - 1);
	my %gone = map { $_ => 1 } $before->stored_in($own->{log_id}, 0, SEGMENT - 1);
	poll_until(sub { $node->sql($db, 'SELECT s.pending = 0 AND h.settled = s.size FROM biometric.ledger_status() AS s JOIN biometric.head AS h USING (log_id)') eq 't' });
	$node->run('auditor', $db, 'SELECT biometric.checkpoint()');
	my $root = $node->sql($db, "SELECT biometric.root(${\SEGMENT})");
	poll_until(sub { !$node->connect_from('local', $db, 'custodian')->query("SELECT biometric.detach_segment(0, '$root', 'archived')")->error })
	  || fail('segment 0 cannot be detached');
	my @report = said($db, 'hauler', "'(,)'");
	my ($detached) = grep { /^detached / } @report;
	my $entries = BiometricAudit::Entries->read($node, $db);
	my %released = map { $_->{image} => 1 } $entries->released('hauler');
	my $lost = grep { $gone{$_} } keys %released;
	cmp_ok($lost, '>', 0, 'images were released that were put on record in it');
	like($detached, qr/ t $missing $lost 0 0 - -$/, "breach_report() says that $missing entries are missing, and rows of $lost images") || diag $report[-1];
	my $result = $node->admin($db)->query("SELECT * FROM biometric.affected('hauler', '(,)')");
	is(scalar(grep { $_->{M} =~ /^$missing entries of this party may be missing/ } $result->notices), 1, 'so does a WARNING of affected()');
	is(scalar(grep { $_->{M} =~ /^rows of $lost images may be missing/ } $result->notices), 1, 'and another of the rows');
	is_deeply([ grep { !/^detached / } @report ], [ $entries->report('hauler', undef, undef, %known) ], 'the rest is counted exactly');
	is_deeply([ said_of_rows($db, 'hauler', "'(,)'") ], [ $entries->affected('hauler') ], 'and listed');
};

$node->stop;

# ---------------------------------------------------------------- three days, two logs

SKIP: {
	skip 'libfaketime is not installed', 1 unless BiometricAudit::Node::faketime();
	subtest 'days end at midnight, UTC, also within a statement; all logs of a database count' => sub {
		$node = BiometricAudit::Node->create('days', start => 0, conf => "timezone = 'America/Chicago'\n");
		$node->start_at('2027-03-01 13:10:00');
		$node->prepare($db);
		$node->register($db, 'hauler', YARD . '/32', '{face}', 'open', '{freight}');
		$node->sql($db, $_) foreach (
			'CREATE TABLE lane (id int PRIMARY KEY, who text, face biometric.face_image)',
			'GRANT SELECT ON lane TO officer');
		$node->sql($db, "INSERT INTO lane VALUES ($_, 'who ${\int($_ / 2)}', ${\picture('face')})") foreach 1 .. 9;
		%known = (relation => ['public.lane'], network => [ YARD . '/32' ],
			authorization => [ map { $_->{id} } $node->records($db, q{SELECT id FROM biometric.permit WHERE party = 'hauler'}) ]);
		takes(YARD, 'officer', 'freight', 'SELECT face FROM lane WHERE id <= 3');
		settled();

		$node->set_clock('2027-03-02 23:55:00');
		my $wire = $node->connect_from(YARD, $db, 'officer', 'freight');
		is($wire->query($_)->error, undef, $_) foreach 'BEGIN',
		  'DECLARE batch NO SCROLL CURSOR FOR SELECT face FROM lane WHERE id >= 4 ORDER BY id', 'FETCH 2 FROM batch';
		$node->set_clock('2027-03-03 00:00:00');
		is($wire->query($_)->error, undef, "behind midnight: $_") foreach 'FETCH 3 FROM batch', 'COMMIT';
		$wire->close;
		settled();
		my ($report) = agrees($db, 'hauler', undef, undef, 'three days');
		is_deeply([ map { (split)[1, 3] } grep { /^day / } @$report ],
			[ '2027-03-01', 3, '2027-03-02', 2, '2027-03-03', 3 ], 'each day has its own, of a statement that went on over midnight, too');
		my $midnight = $node->sql($db, q{SELECT (extract(epoch FROM timestamptz '2027-03-03 00:00+00') * 1000000)::bigint});
		($report) = agrees($db, 'hauler', undef, $midnight, 'until midnight');
		like((figure($report, 'total -'))[0], qr/^t 5 /, 'what was before');
		($report) = agrees($db, 'hauler', $midnight, undef, 'from midnight');
		like((figure($report, 'total -'))[0], qr/^t 3 /, 'and what was behind');

		my ($before) = $node->records($db, 'SELECT log_id FROM biometric.ledger_status()');
		$node->policy($db, q{SELECT biometric.fork_ledger('a new beginning')});
		poll_until(sub { $node->sql($db, 'SELECT state FROM biometric.ledger_status()') eq 'ready' });
		my ($after) = $node->records($db, 'SELECT log_id FROM biometric.ledger_status()');
		isnt($after->{log_id}, $before->{log_id}, 'a new log has begun');
		takes(YARD, 'officer', 'freight', 'SELECT face FROM lane WHERE id IN (1, 9)');
		settled();
		($report) = agrees($db, 'hauler', undef, undef, 'two logs');
		like((figure($report, 'total -'))[0], qr/^t 10 9 9 0 /, 'releases and rows of both count');
		$node->sql($db, q{SELECT biometric.describe_collection('lane', '{who}')});
		takes(YARD, 'officer', 'freight', 'SELECT face FROM lane WHERE id = 1');
		settled();
		($report) = agrees($db, 'hauler', undef, undef, 'two logs, the second described');
		like((figure($report, 'total -'))[0], qr/^t 11 9 9 5 /, 'which tells whom the releases of the first show');
	};
}

done_testing();
