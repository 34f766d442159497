# What images are collected for, and no more of them: with many clients at once, on
# servers that receive them, with two persons, and in reports.

use strict;
use warnings;

use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Archive qw(read_file);
use BiometricAudit::Entries;
use BiometricAudit::Node qw(poll_until);

use constant { YARD => '127.0.0.2', CLIENTS => 16, LIMIT => 5 };

my $keys = PostgreSQL::Test::Utils::tempdir();
system_or_bail('sh', '-c', "umask 077; openssl genpkey -algorithm ed25519 -out '$keys/signing.pem'");
my $node = BiometricAudit::Node->create('agency',
	allows_streaming => 'logical',
	conf => "biometric_audit.signing_key = '$keys/signing.pem'\nbiometric_audit.replication_networks = '127.0.0.0/8'\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'hauler', YARD . '/32', '{face,plate}', 'open', '{freight}');
$node->sql($db, $_) foreach (
	'CREATE TABLE lane (id serial PRIMARY KEY, name text, face biometric.face_image, plate biometric.plate_image)',
	'CREATE TABLE never (face biometric.face_image)',
	q{SELECT biometric.describe_collection('lane', '{name}')},
	'GRANT SELECT ON ALL TABLES IN SCHEMA public TO officer');

my $pictures = 0;
sub picture { $pictures++; return "numbered_jpeg($pictures, 400)::biometric.face_image"; }

# tampered(sql): changes our tables behind the library's back.
sub tampered
{
	my ($sql) = @_;
	my $off = join ' ', map { "ALTER TABLE biometric.$_ DISABLE TRIGGER ALL;" } qw(collection_limit collection_count);
	$node->unguarded($db, "$off $sql;");
	return;
}

# A session's day, UTC: that of its transaction, by which images are counted.
sub day { my ($wire) = @_; return $wire->query(q{SELECT (now() AT TIME ZONE 'UTC')::date})->value; }

# begin_together(clients): a transaction of each, all of one day.
sub begin_together
{
	my (@clients) = @_;
	my %days;
	do
	{
		$_->query('ROLLBACK') foreach @clients;
		$_->query('BEGIN') foreach @clients;
		%days = map { (day($_) => 1) } @clients;
	} until keys %days == 1;
	return;
}

# Before anything is declared.
$node->sql($db, "INSERT INTO lane (name, face) VALUES ('early', ${\picture()})");
$node->policy($db, "SELECT biometric.collect('lane', 'face', max_per_subject_per_day => ${\LIMIT}, "
	  . "purpose => 'border control', legal_basis => '8 USC 1365b')");

# ---------------------------------------------------------------- many at once

subtest 'of many clients that enrol one subject, as many succeed as may' => sub {
	my @clients = map { $node->connect_from('local', $db, $node->superuser) } 1 .. CLIENTS;
	begin_together(@clients);
	$_->send_query("INSERT INTO lane (name, face) VALUES ('wanted', ${\picture()}); COMMIT") foreach @clients;
	my %ended;
	$ended{ $_->drain->sqlstate // 'stored' }++ foreach @clients;
	is_deeply(\%ended, { stored => LIMIT, 23514 => CLIENTS - LIMIT }, 'exactly');
	is($node->sql($db, q{SELECT count(*) FROM lane WHERE name = 'wanted'}), LIMIT, 'and are there');

	# who rolls back gives way to those who wait
	begin_together(@clients[ 0, 1 ]);
	$clients[0]->query("INSERT INTO lane (name, face) SELECT 'other', numbered_jpeg(n, 400)::biometric.face_image "
		  . "FROM generate_series(201, 200 + ${\LIMIT}) n");
	$clients[1]->send_query("INSERT INTO lane (name, face) VALUES ('other', ${\picture()}); COMMIT");
	ok(poll_until(sub { $node->sql($db, "SELECT count(*) FROM pg_stat_activity WHERE pid = ${\$clients[1]->pid} AND wait_event_type = 'Lock'") }),
		'a client waits for the end of a transaction that enrols the same subject');
	is($clients[2]->query("ROLLBACK; INSERT INTO lane (name, face) VALUES ('somebody', ${\picture()})")->sqlstate, undef, 'not of others');
	$clients[0]->query('ROLLBACK');
	is($clients[1]->drain->sqlstate, undef, 'and enrols it when that came to nothing');
	$_->close foreach @clients;
};

subtest 'counts of days that are over go' => sub {
	tampered(q{INSERT INTO biometric.collection_count
		SELECT current_date - n, log_id, relation, attnum, int4send(n), 1 FROM biometric.collection_limit, generate_series(2, 11) n});
	# the day is that of the transaction, so that none begins in the midst of this one
	my $wire = $node->connect_from('local', $db, $node->superuser);
	$wire->query('BEGIN');
	$wire->query("INSERT INTO lane (name, face) VALUES ('sought', ${\picture()})") foreach 1 .. LIMIT;
	$wire->query("INSERT INTO lane (name, face) VALUES ('later $_', ${\picture()})") foreach 1, 2;
	is($wire->query(q{SELECT count(*) FROM biometric.collection_count WHERE day < (now() AT TIME ZONE 'UTC')::date - 1})->value, 0,
		'as new ones come');
	$wire->query('SAVEPOINT s');
	is($wire->query("INSERT INTO lane (name, face) VALUES ('sought', ${\picture()})")->sqlstate, '23514', 'those of today stay');
	is($wire->query('ROLLBACK TO s; COMMIT')->sqlstate, undef, 'for the day');
	$wire->close;
	tampered('UPDATE biometric.collection_count SET day = day - 1');
	is($node->admin($db)->query("INSERT INTO lane (name, face) VALUES ('sought', ${\picture()})")->sqlstate, undef, 'and begin anew the next day');
};

is($node->sql($db, q{SELECT count(*) FROM biometric.ledger WHERE event = 'refused'}), 0, 'what was refused fills no ledger');

# ---------------------------------------------------------------- two persons

subtest 'what loosens a declaration takes two persons' => sub {
	$node->sql($db, 'CREATE ROLE alice LOGIN IN ROLE biometric_custodian; CREATE ROLE bob LOGIN IN ROLE biometric_custodian');
	my ($alice, $bob) = map { $node->connect_from('local', $db, $_) } qw(alice bob);
	$node->set('biometric_audit.two_person', 'on');
	my $declared = sub { return $node->sql($db, q{SELECT concat_ws(' ', max_width, max_height, formats, max_per_subject_per_day, purpose, legal_basis)
		FROM biometric.collection_limit WHERE relation = 'lane'::regclass}); };
	my $base = "purpose => 'border control', legal_basis => '8 USC 1365b'";
	is($alice->query("SELECT biometric.collect('lane', 'face', 1000, 1000, '{jpeg,png}', ${\LIMIT}, $base)")->sqlstate, undef, 'one may tighten it');
	my $tight = $declared->();
	is($tight, "1000 1000 {jpeg,png} ${\LIMIT} border control 8 USC 1365b", 'which counts at once');
	my %looser = (
		'a larger picture' => "1001, 1000, '{jpeg,png}', ${\LIMIT}, $base",
		'one of any height' => "1000, NULL, '{jpeg,png}', ${\LIMIT}, $base",
		'another format' => "1000, 1000, '{jpeg,j2k}', ${\LIMIT}, $base",
		'any format' => "1000, 1000, NULL, ${\LIMIT}, $base",
		'more of them' => "1000, 1000, '{jpeg,png}', ${\(LIMIT + 1)}, $base",
		'another purpose' => "1000, 1000, '{jpeg,png}', ${\LIMIT}, 'more', '8 USC 1365b'",
		'no legal basis' => "1000, 1000, '{jpeg,png}', ${\LIMIT}, 'border control'",
		'nothing' => 'NULL');
	foreach my $what (sort keys %looser)
	{
		my $result = $alice->query("SELECT biometric.collect('lane', 'face', $looser{$what})");
		like(join(' ', map { $_->{M} } $result->notices), qr/^proposal \d+ waits/, "$what: waits");
	}
	is($declared->(), $tight, 'none of which counts yet');
	my ($last) = $alice->query(q{SELECT max(id) FROM biometric.proposal WHERE change->>'max_per_subject_per_day' = '6'})->column(0);
	is($alice->query("SELECT biometric.approve($last)")->sqlstate, '42501', 'nor by the same person');
	is($bob->query("SELECT biometric.approve($last)")->sqlstate, undef, 'another person approves');
	is($declared->(), "1000 1000 {jpeg,png} 6 border control 8 USC 1365b", 'and it counts');
	my ($stale) = $alice->query(q{SELECT max(id) FROM biometric.proposal WHERE change->>'max_width' = '1001'})->column(0);
	is($bob->query("SELECT biometric.approve($stale)")->sqlstate, '55000', 'what was proposed for another declaration does not any more');
	$node->set('biometric_audit.two_person', 'off');
	$_->close foreach $alice, $bob;
};

# ---------------------------------------------------------------- reports

sub settled
{
	poll_until(sub { $node->sql($db, q{SELECT pending = 0 AND state = 'ready' FROM biometric.ledger_status()}) eq 't' });
	return;
}

sub program
{
	my ($name, @arguments) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $name, @arguments ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
	return ($? >> 8, "$out$err");
}

my $place = PostgreSQL::Test::Utils::tempdir();
my @about = ('--key', $node->sql($db, 'SELECT biometric.verifier_key()'), '--party', 'hauler', '--from', '2020-01-01', '--to', '2100-01-01');
my $server = $node->connstr($db) . ' user=auditor';

subtest 'reports say what images were collected for' => sub {
	$node->sql($db, "INSERT INTO lane (name, plate) VALUES ('early', ${\(picture() =~ s/face_image/plate_image/r)})");
	my $wire = $node->connect_from(YARD, $db, 'officer');
	$wire->query("SET biometric_audit.purpose = 'freight'");
	$wire->query('SELECT face, plate FROM lane');
	$wire->close;
	settled();
	my $for = '{"purpose": "border control", "legal_basis": "8 USC 1365b"}';
	my @report = map { $_->[0] } $node->admin($db)->query(<<'END')->rows;
SELECT concat_ws(' ', coalesce(value, '-'), disclosures, images, rows, subjects) FROM biometric.breach_report('hauler', '(,)')
WHERE dimension = 'collected_for'
END
	my $stored = $node->sql($db, 'SELECT count(*) FROM lane WHERE id > 1 AND face IS NOT NULL');
	my $subjects = $node->sql($db, 'SELECT count(DISTINCT name) FROM lane WHERE id > 1 AND face IS NOT NULL');
	is_deeply(\@report, [ "$for $stored $stored $stored $subjects", '- 2 2 2 1' ],
		'as it was declared when they were stored, and what was stored before, or elsewhere, as undeclared');
	my @counted = map { /^collected_for (.*) t (\d+) (\d+) (\d+) (\d+) / ? "$1 $2 $3 $4 $5" : () }
	  BiometricAudit::Entries->read($node, $db)->report('hauler', undef, undef);
	is_deeply(\@report, \@counted, 'which is what the entries say');

	my ($code, $said) = program('biometric-report', $server, @about, '--output', "$place/online");
	is($code, 0, 'biometric-report recounts it') or diag $said;
	my $report = JSON::PP->new->utf8->decode(read_file("$place/online/report.json"));
	my ($figure) = grep { $_->{dimension} eq 'collected_for' && defined $_->{value} } $report->{figures}->@*;
	is_deeply([ $figure->@{qw(value images)} ], [ $for, $stored ], 'figures');
	my %collection = map { ("$_->{relation}.$_->{column}" => $_) } $report->{collections}->@*;
	is_deeply([ sort keys %collection ], [qw(public.lane.face public.lane.plate public.never.face)], 'every column with images is there');
	is_deeply([ $collection{'public.lane.face'}->@{qw(purpose legal_basis max_width formats max_per_subject_per_day kind declared_by)} ],
		[ 'border control', '8 USC 1365b', 1000, [qw(jpeg png)], 6, 'face', 'bob' ], 'what was declared, and by whom');
	ok(!$collection{'public.never.face'}{declared}, 'and what was not');
	like(read_file("$place/online/report.html"), qr{border control</td><td>8 USC 1365b.*public\.never, face</th><td[^>]*><strong>undeclared}s, 'for people, too');
	($code, $said) = program('biometric-report', '--offline', '--archive', "$place/online/ledger", @about, '--output', "$place/offline");
	is($code, 0, 'offline') or diag $said;
	my $alone = JSON::PP->new->utf8->decode(read_file("$place/offline/report.json"));
	is_deeply([ map { $_->{purpose} } $alone->{collections}->@* ], ['border control'], 'it says what the entries do');
};

subtest 'a server that says otherwise than its ledger is found out' => sub {
	my @changes = (
		"UPDATE biometric.collection_limit SET purpose = 'research'",
		'UPDATE biometric.collection_limit SET max_per_subject_per_day = 600',
		'UPDATE biometric.collection_limit SET declaration = gen_random_uuid()',
		'DELETE FROM biometric.collection_limit');
	$node->sql($db, 'CREATE TABLE kept AS SELECT * FROM biometric.collection_limit');
	foreach my $change (@changes)
	{
		tampered($change);
		my ($code, $said) = program('biometric-report', $server, @about, '--output', "$place/tampered");
		is($code, 1, $change);
		like($said, qr/declared/, 'it says what differs');
		tampered('DELETE FROM biometric.collection_limit; INSERT INTO biometric.collection_limit SELECT * FROM kept');
	}
	my ($code) = program('biometric-report', $server, @about, '--output', "$place/online");
	is($code, 0, 'and no other');
};

# ---------------------------------------------------------------- other servers

subtest 'a server that receives images keeps to its own declaration' => sub {
	$node->sql($db, 'CREATE DATABASE branch');
	$node->sql('branch', $_) foreach (
		'CREATE EXTENSION biometric_audit',
		'CREATE TABLE lane (id int PRIMARY KEY, name text, face biometric.face_image, plate biometric.plate_image)',
		q{SELECT biometric.describe_collection('lane', '{name}')});
	$node->policy('branch', q{SELECT biometric.collect('lane', 'face', 401, max_per_subject_per_day => 1)});
	$node->sql($db, 'CREATE PUBLICATION p FOR TABLE lane');
	$node->sql($db, q{SELECT pg_create_logical_replication_slot('s', 'pgoutput')});
	my $publisher = $node->connstr($db) =~ s/'/''/gr;
	$node->sql('branch', "CREATE SUBSCRIPTION s CONNECTION '$publisher' PUBLICATION p WITH (create_slot = false, slot_name = 's', copy_data = false)");
	$node->sql($db, "INSERT INTO lane (name, face) VALUES ('moved', ${\picture()}), ('moved', ${\picture()})");
	ok(poll_until(sub { $node->sql('branch', q{SELECT count(*) FROM lane WHERE name = 'moved'}) == 2 }), 'who was counted where he was enrolled is not again');
	$node->policy('branch', q{SELECT biometric.collect('lane', 'face', 1)});
	$node->sql($db, "INSERT INTO lane (name, face) VALUES ('large', ${\picture()})");
	ok(poll_until(sub { $node->sql('branch', 'SELECT apply_error_count > 0 FROM pg_stat_subscription_stats') eq 't' }), 'what is too large is refused');
	is($node->sql('branch', q{SELECT count(*) FROM lane WHERE name = 'large'}), 0, 'and not there');
	$node->policy('branch', q{SELECT biometric.collect('lane', 'face')});
	ok(poll_until(sub { $node->sql('branch', q{SELECT count(*) FROM lane WHERE name = 'large'}) == 1 }), 'until it is declared');
	$node->sql('branch', 'DROP SUBSCRIPTION s');
};

subtest 'what is taken back can be stored again, and is counted then' => sub {
	my $client = $node->connect_from('local', $db, $node->superuser);
	$node->policy($db, "SELECT biometric.collect('lane', 'face', max_per_subject_per_day => ${\LIMIT})");
	my $fill = 'FOR i IN 1 .. ' . (LIMIT - 1) . " LOOP INSERT INTO lane (name, face) VALUES (who, numbered_jpeg(i, 400)::biometric.face_image); END LOOP;\n";
	my $store = 'INSERT INTO lane (name, face) VALUES (who,';
	my %ways = (
		savepoint => "BEGIN $store ${\picture()}) RETURNING face INTO v; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END;",
		transaction => "$store ${\picture()}) RETURNING face INTO v; ROLLBACK;",
		trigger => "$store ${\picture()}); FETCH caught INTO v;");
	$client->query('CREATE FUNCTION catch() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE held refcursor := \'caught\'; '
		  . 'BEGIN IF (SELECT count(*) FROM pg_cursors WHERE name = held::text) = 0 AND NEW.name = \'trigger\' '
		  . 'THEN OPEN held FOR SELECT NEW.face; RETURN NULL; END IF; RETURN NEW; END $$; '
		  . 'CREATE TRIGGER "~later" BEFORE INSERT ON lane FOR EACH ROW EXECUTE FUNCTION catch()');
	foreach my $way (sort keys %ways)
	{
		my $created = $client->query("CREATE OR REPLACE PROCEDURE again(who text) LANGUAGE plpgsql AS \$\$ DECLARE v biometric.face_image; caught refcursor := 'caught'; BEGIN\n"
			  . "$ways{$way}\n$fill\n$store v);\n$store ${\picture()});\nEND \$\$");
		is($created->message, undef, "$way: a procedure");
		my ($day, $ended);
		do
		{
			$day = day($client);
			$node->sql($db, "DELETE FROM lane WHERE name = '$way'");
			$ended = $client->query("CALL again('$way')")->sqlstate;
		} until day($client) eq $day;
		is($ended, '23514', "$way: one too many");
		is($node->sql($db, "SELECT count(*) FROM lane WHERE name = '$way'"), 0, 'none of them is there');
	}
	$client->query('DROP TRIGGER "~later" ON lane');
	is($client->query("BEGIN; SAVEPOINT s; INSERT INTO lane (name, face) VALUES ('twice', ${\picture()}); RELEASE s; "
			  . "INSERT INTO lane (name, face) SELECT 'copy', face FROM lane WHERE name = 'twice'; COMMIT")->sqlstate,
		undef, 'copies of what is there');
	is($node->sql($db, q{SELECT coalesce(sum(images), 0) FROM biometric.collection_count
			WHERE subject = sha256('["copy"]')}), 0, 'are not counted');
};

done_testing();
