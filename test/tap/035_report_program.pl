# biometric-report counts what the server says once more from the ledger's
# entries, says so when anything differs, and writes a report that no text out of
# a database can break out of.

use strict;
use warnings;

use File::Path qw(mkpath rmtree);
use IPC::Run   ();
use JSON::PP   ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Archive qw(entry write_file read_file);
use BiometricAudit::Node    qw(poll_until);

use constant { EVIL => q{</svg><script>alert(1)</script>"'&}, DAY => 86_400_000_000 };

my $place = PostgreSQL::Test::Utils::tempdir();
my $log = BiometricAudit::Archive->key('agency.example/ledger');
my @key = ('--key', $log->vkey);
my $json = JSON::PP->new->utf8;

# ---------------------------------------------------------------- the program

# program(name, arguments): exit code, and all that it said.
sub program
{
	my ($name, @arguments) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $name, @arguments ], '<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout(180));
	my $signal = $? & 127;
	return ($signal ? "signal $signal" : $? >> 8, "$out$err");
}

# ends(code, pattern, name, arguments): how biometric-report ends, and what it says of it.
sub ends
{
	my ($code, $pattern, $name, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($ended, $said) = program('biometric-report', @arguments);
	my $ok = is($ended, $code, "$name: exit code $code");
	$ok = like($said, $pattern, "$name: says why") && $ok;
	diag $said unless $ok;
	return;
}

sub report_of { return $json->decode(read_file("$_[0]/report.json")); }

# figure(report, dimension, value): one figure, as "disclosures images rows subjects".
sub figure
{
	my ($report, $dimension, $value) = @_;
	my ($found) = grep {
		$_->{dimension} eq $dimension
		  && (defined $value ? ($_->{value} // "\0") eq $value : !defined $_->{value})
	} $report->{figures}->@*;
	return 'none' unless $found;
	return join ' ', $found->@{qw(disclosures images rows subjects)};
}

# ---------------------------------------------------------------- an archive made by hand

my $begin = 1_556_668_800_000_000;    # 2019-05-01
my @entries;
sub number { my ($n) = @_; my $bytes = ''; do { $bytes = chr($n & 255) . $bytes; $n >>= 8 } while $n; return $bytes; }
sub put { push @entries, entry(@_); return $#entries; }
sub image { return pack('N4', $_[0], 7, 8, 9); }
sub text { return substr $json->allow_nonref->encode($_[0]), 0; }

sub session
{
	my ($at, $party, $network, $login) = @_;
	return put(1, $at, -1, ($party ne '' ? (6 => $party) : ()), 7 => $network, 8 => '192.0.2.7',
		9 => $login, 18 => 'lanes');
}

# stored(at, commit, image, relation index, row key, transaction, collected)
sub stored
{
	my ($at, $commit, $n, $relation, $key, $transaction, $collected) = @_;
	return put(7, $at, $commit, 1 => image($n), 2 => "\1", 3 => chr $relation, 21 => "\1",
		24 => $key, 25 => number($transaction), (defined $collected ? (27 => $collected) : ()));
}

sub disclosed
{
	my ($at, $statement, $n, %more) = @_;
	return put($more{event} // 3, $at, $statement, 1 => image($n), 2 => chr($more{kind} // 1),
		3 => chr($more{relation} // 1), ($more{permit} ? (4 => number($more{permit})) : ()), 5 => "\1");
}

sub policy { my ($at, $agency, %detail) = @_; return put(13, $at, $agency, 16 => $json->canonical->encode(\%detail)); }

my $at = $begin;
my $agency = session($at, 'agency', 'local', 'registrar');
policy($at, $agency, action => 'register_party', party => 'hauler', title => EVIL);
policy($at, $agency, action => 'authorize', permit => 5, party => 'hauler', kinds => ['face'],
	delivery => 'open', purposes => [EVIL]);
policy($at, $agency, action => 'register_party', party => 'rival', title => 'not to be told');
my $commit = put(2, $at, $agency, 13 => 'COMMIT', 15 => "public.lane\npublic.copy");
my $evil = text(EVIL);
# 1 and 2 show one person; 3 is in two tables; 4 came to nothing; 5 is in two rows
stored($at, $commit, 1, 1, '{"id": 1}', 100, qq({"subject":{"name":"=SUM(A1)"},"place":{"site":$evil},"time":"2019-04-01T23:30:00-02:00"}));
stored($at, $commit, 2, 1, qq({"id": $evil}), 100, '{"subject":{"name":"=SUM(A1)"},"place":{"site":"B"},"time":"2019-04-03T00:00:00Z"}');
stored($at, $commit, 3, 1, '{"id": 3}', 100, '{"place":{"site":"B"}}');
stored($at, $commit, 3, 2, '{"id": 3}', 100);
stored($at, $commit, 4, 1, '{"id": 4}', 101, '{"subject":{"name":"nobody"}}');
put(12, $at, -1, 25 => number(101));
stored($at, $commit, 5, 1, '{"id": 5}', 100, '{"subject":{"name":"five"},"place":{"site":"B"}}');
stored($at, $commit, 5, 1, '{"id": 6}', 100, '{"subject":{"name":"six"},"place":{"site":"C"}}');

my $first = $begin + 2 * DAY;
my $hauler = session($first, 'hauler', '192.0.2.0/24', "\xff\xfe" . EVIL);
my $freight = put(2, $first, $hauler, 12 => EVIL, 13 => 'SELECT', 15 => "public.lane\npublic.copy");
disclosed($begin + DAY, $freight, 1, permit => 5);    # before the period
disclosed($first, $freight, 1, permit => 5);
disclosed($first + 1, $freight, 1, permit => 5);
disclosed($first + 2, $freight, 2, permit => 5);
disclosed($first + 3, $freight, 3, permit => 5, relation => 2);
disclosed($first + 4, $freight, 4, permit => 5);
disclosed($first + 5, $freight, 5, permit => 5);
disclosed($first + DAY, $freight, 9, event => 4, kind => 2);    # of no row that is known
# what comes behind a release says nothing of it
stored($first + DAY, $commit, 9, 1, '{"id": 9}', 102, '{"subject":{"name":"later"}}');
put(6, $first + DAY, $freight, 2 => "\4", 3 => "\1", 5 => "\x9");
my $rival = session($first, 'rival', '198.51.100.0/24', 'r');
disclosed($first, put(2, $first, $rival, 13 => 'SELECT', 15 => 'public.lane'), 1, permit => 6);
policy($first + DAY, $agency, action => 'quarantine', party => 'hauler', reason => EVIL);
disclosed($begin + 9 * DAY, $freight, 2, permit => 5);    # behind it
put(1, $begin + 9 * DAY, -1, 9 => "filler $_") for 1 .. 600;
my $archive = "$place/archive";
$log->write_archive($archive, \@entries);

my @offline = ('--offline', '--archive', $archive, @key);
my @about = ('--party', 'hauler', '--from', '2019-05-03', '--to', '2019-05-09T00:00:00Z');
my $out = "$place/report";
ends(0, qr/result +verified/, 'a report from an archive', @offline, @about, '--output', $out, '--title', EVIL);
my $report = report_of($out);

subtest 'what counts' => sub {
	is(figure($report, 'total'), '7 6 5 3', 'releases in the period, and the rows held then');
	is(figure($report, 'kind', 'face'), '6 5 5 3', 'by kind');
	is(figure($report, 'kind', 'plate'), '1 1 0 0', 'of an image of no known row only the image');
	is(figure($report, 'relation', 'public.lane'), '6 5 4 3', 'by table that it was read from');
	is(figure($report, 'relation', 'public.copy'), '1 1 1 0', 'an image in two tables counts in its own');
	is(figure($report, 'authorization', '5'), '6 5 5 3', 'by authorization');
	is(figure($report, 'authorization'), '1 1 0 0', 'what was only observed has none');
	is(figure($report, 'purpose', EVIL), '7 6 5 3', 'by purpose');
	is(figure($report, 'network', '192.0.2.0/24'), '7 6 5 3', 'by network');
	is(figure($report, 'day', '2019-05-03'), '6 5 5 3', 'by day');
	is(figure($report, 'day', '2019-05-04'), '1 1 0 0', 'and the next');
	is(figure($report, 'place', '{"site": "B"}'), '2 2 2 2', 'by place, of the rows there');
	is(figure($report, 'place', '{"site": "C"}'), '1 1 1 1', 'an image in two rows counts in both places');
	is(figure($report, 'place'), '3 3 1 0', 'what nobody recorded');
	is(figure($report, 'collected_on', '2019-04-02'), '2 1 1 1', 'days of collection are UTC');
	is($report->{refused}, 1, 'refusals are not disclosures');
	is_deeply([ map { $_->{detail}{action} } $report->{notes}->@* ],
		[qw(register_party authorize quarantine)], 'what changed about this party, of no other');
};

subtest 'every file is the owner\'s, and what it says is well formed' => sub {
	is_deeply([ grep { (stat "$out/$_")[2] & 077 } '.', 'proofs', 'report.html', 'report.json',
			'notification.csv', 'events.ocsf.json', 'checkpoint', 'verifier' ], [], 'nobody else reads them');
	is(read_file("$out/checkpoint"), read_file("$archive/checkpoint"), 'the checkpoint is the archive\'s');
	is(read_file("$out/verifier"), $log->vkey . "\n", 'so is the key');
	is_deeply([ glob "$out/*.new" ], [], 'nothing temporary is left');
	my @proofs = glob "$out/proofs/*.tlog-proof";
	is(scalar @proofs, 7, 'a proof for each disclosure');
	foreach my $proof (@proofs)
	{
		my ($code, $said) = program('biometric-verify', 'proof', $proof, @key);
		is($code, 0, 'it verifies') or diag $said;
	}
};

# Each tag of HTML is one of ours.
subtest 'no text breaks out of the report' => sub {
	my $html = read_file("$out/report.html");
	my %tags = map { $_ => 1 } $html =~ m{<([a-zA-Z!/?][^\s>]*)}g;
	my %ours = map { $_ => 1, "/$_" => 1 }
	  qw(html head meta title style body header main section footer figure figcaption div p span h1 h2 h3
	  dl dt dd ul li table caption colgroup col thead tbody tr th td svg desc defs pattern rect line
	  circle text a b i strong code pre time), '!DOCTYPE', 'rect', 'col';
	is_deeply([ grep { !$ours{ s{/$}{}r } } sort keys %tags ], [], 'all tags are the report\'s own');
	unlike($html, qr/<script/i, 'no script');
	like($html, qr{&lt;/svg&gt;&lt;script&gt;}, 'it is shown as text');
	unlike($html, qr{(?:src|href)\s*=\s*"(?!#)}, 'nothing comes from elsewhere');
	unlike($html, qr{url\((?!#)|\@import|javascript:}, 'nor by the style');
	ok(utf8::decode(my $copy = $html), 'it is UTF-8, whatever a name was');
	like($html, qr/<html lang="en">/, 'it has a language');
	is(scalar(() = $html =~ /<table>/g), scalar(() = $html =~ /<table>\n<caption>/g), 'each table has a caption');
	unlike($html, qr/<th(?! scope=|ead)/, 'each heading of a table a scope');
	like($html, qr{<svg class="chart"[^>]*aria-labelledby="chart-title chart-desc">\n<title}, 'the chart a title');
};

subtest 'no text is a formula to a spreadsheet' => sub {
	my $csv = read_file("$out/notification.csv");
	my @lines = split /\r\n/, $csv;
	is(scalar @lines, 6, 'a heading, three people, a row without one, and what is of no row');
	ok(!(grep { /^"?[=+\-@\t\r]|,"?[=+\-@\t\r]/ } @lines), 'no field begins like one');
	my $quoted = qr/"(?:[^"]|"")*"|[^",]*/;
	ok(!(grep { !/^$quoted(?:,$quoted){9}$/ } @lines), 'each line has ten fields');
	foreach my $begin ('=', '+', '-', '@', "\t", "\r")
	{
		$log->write_archive("$place/formula", [ map { s/public\.lane/${begin}cmd|'!A1=1/gr } @entries ]);
		my ($code) = program('biometric-report', '--offline', '--archive', "$place/formula", @key, @about,
			'--output', "$place/formula.report");
		is($code, 0, sprintf 'a table whose name begins with %02x', ord $begin);
		like(read_file("$place/formula.report/notification.csv"), qr/^"'[^c]+cmd\|'!A1=1"/m, 'is text');
		rmtree("$place/formula");
	}
};

subtest 'events follow OCSF 1.5.0, class Datastore Activity' => sub {
	my @events = map { $json->decode($_) } split /\n/, read_file("$out/events.ocsf.json");
	is(scalar @events, 8, 'one for each disclosure and refusal');
	my @missing;
	foreach my $event (@events)
	{
		push @missing, grep { !defined $event->{$_} }
		  qw(activity_id category_uid class_uid metadata severity_id time type_uid actor src_endpoint);
		push @missing, 'product' unless $event->{metadata}{product}{vendor_name};
		push @missing, 'actor' unless $event->{actor}{user}{name};
		push @missing, 'endpoint' unless grep { defined $event->{src_endpoint}{$_} } qw(ip name);
		push @missing, 'one of' unless grep { $event->{$_} } qw(database databucket table);
		push @missing, 'type' unless $event->{type_uid} == $event->{class_uid} * 100 + $event->{activity_id};
	}
	is_deeply(\@missing, [], 'with all attributes that are required');
	is_deeply([ map { $_->{class_uid} . ' ' . $_->{metadata}{version} } $events[0] ], ['6005 1.5.0'], 'of its class');
	is($events[0]{time}, $first / 1000, 'times are milliseconds');
	is(join(' ', map { $_->{status} } @events), join(' ', ('Success') x 7, 'Failure'), 'refusals failed');
};

# ---------------------------------------------------------------- what does not verify

sub copy_of
{
	my ($from, $name) = @_;
	rmtree("$place/$name");
	system('cp', '-r', $from, "$place/$name") == 0 or die 'cp failed';
	return "$place/$name";
}

subtest 'an archive that was changed gives no report' => sub {
	my $copy = copy_of($archive, 'changed');
	my $file = "$copy/tile/entries/000";
	my $bytes = read_file($file);
	$bytes =~ s/hauler/rival!/;
	write_file($file, $bytes);
	ends(1, qr/not what was logged/, 'an entry', '--offline', '--archive', $copy, @key, @about, '--output', "$place/none");
	ok(!-e "$place/none/report.html", 'there is none');
	$copy = copy_of($archive, 'changed');
	unlink "$copy/tile/entries/001";
	ends(1, qr{tile/entries/001 is missing}, 'a bundle', '--offline', '--archive', $copy, @key, @about, '--output', "$place/none");
	ends(1, qr/not signed by a key/, 'another key', '--offline', '--archive', $archive, '--key',
		BiometricAudit::Archive->key('agency.example/ledger')->vkey, @about, '--output', "$place/none");
	ends(0, qr/but only by the key that is in the archive/, 'a key that nobody vouches for is said',
		'--offline', '--archive', $archive, '--trust-archive-key', @about, '--output', "$place/untrusted");
	like(read_file("$place/untrusted/report.html"), qr/Nobody has vouched/, 'in the report, too');
};

subtest 'a directory of something else is left alone' => sub {
	mkdir "$place/other";
	write_file("$place/other/notes.txt", 'mine');
	ends(3, qr/notes\.txt in it is not of an earlier report/, 'notes', @offline, @about, '--output', "$place/other");
	is_deeply([ map { s{.*/}{}r } glob "$place/other/*" ], ['notes.txt'], 'it is as it was');
	symlink "$place/other", "$place/link";
	ends(3, qr/symbolic link/, 'a link', @offline, @about, '--output', "$place/link");
	write_file("$out/mine.txt", 'mine');
	ends(3, qr/mine\.txt/, 'a report with something else in it', @offline, @about, '--output', $out);
	unlink "$out/mine.txt", "$out/report.json";
	symlink "$place/other/notes.txt", "$out/report.json";
	ends(3, qr/report\.json/, 'a report with a link in it', @offline, @about, '--output', $out);
	is(read_file("$place/other/notes.txt"), 'mine', 'nothing was written through it');
	unlink "$out/report.json";
	ends(0, qr/earlier report in .* was replaced/, 'an earlier report', @offline, @about, '--output', $out, '--proofs', 2);
	is(scalar(my @proofs = glob "$out/proofs/*"), 2, 'is replaced with its proofs');
};

subtest 'the command line' => sub {
	ends(2, qr/output/, 'no directory', @offline, @about);
	ends(2, qr/either a party/, 'neither party nor incident', @offline, '--output', $out);
	ends(2, qr/period/, 'a party without a period', @offline, '--party', 'hauler', '--output', $out);
	ends(2, qr/not before/, 'a period that is empty', @offline, '--party', 'x', '--from', '2019-05-02', '--to', '2019-05-02', '--output', $out);
	ends(2, qr/value of option --from/, 'a date that is none', @offline, '--party', 'x', '--from', '2019-02-30', '--to', '2019-05-02', '--output', $out);
	ends(2, qr/whose signatures/, 'no key', '--offline', '--archive', $archive, @about, '--output', $out);
	ends(0, qr/Usage/, 'help', '--help');
	ends(0, qr/disclosures +0\n/, 'a party that received nothing', @offline, '--party', 'nobody', '--from', '2019-05-01', '--to', '2019-06-01', '--output', "$place/nothing");
	like(read_file("$place/nothing/report.html"), qr/received <strong>no image/, 'is said to');
};

# ---------------------------------------------------------------- with a server

my $node = BiometricAudit::Node->create('agency',
	conf => "biometric_audit.signing_key = '$log->{directory}/key'\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'hauler', '127.0.0.2/32', '{face,plate}', 'open', '{freight}');
$node->policy($db, q{SELECT biometric.register_party('hauler', $$} . EVIL . q{$$, tstzrange('2020-01-01', NULL))});
$node->sql($db, $_) foreach (
	'CREATE TABLE lane (id int PRIMARY KEY, name text, site text, taken timestamptz, face biometric.face_image)',
	q{SELECT biometric.describe_collection('lane', '{name}', '{site}', 'taken')},
	q{INSERT INTO lane SELECT n, 'name ' || n / 2, $$} . EVIL . q{$$ || n % 3, timestamptz '2026-05-01' + n * interval '7 hours',
		numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(1, 20) n},
	'INSERT INTO lane SELECT 21, name, site, taken, face FROM lane WHERE id = 3',
	# rows that have no key, and nothing recorded
	'CREATE TABLE loose (face biometric.face_image)',
	'INSERT INTO loose SELECT numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(31, 33) n',
	'CREATE TABLE never (id int PRIMARY KEY, plate biometric.plate_image)',
	'GRANT SELECT ON ALL TABLES IN SCHEMA public TO officer');

my $wire = $node->connect_from('127.0.0.2', $db, 'officer');
$wire->query("SET biometric_audit.purpose = 'freight'");
$wire->query('SELECT face FROM lane WHERE id <= 12');
$wire->query('SELECT face FROM lane WHERE id BETWEEN 3 AND 5');
$wire->query('SELECT face FROM loose');
$node->sql($db, 'DELETE FROM lane WHERE id = 5');
$wire->query('SELECT face FROM lane WHERE id = 6');
$wire->close;

my $server = $node->connstr($db) . ' user=auditor';
# origins have the log's id in them
my @live = ('--key', $node->sql($db, 'SELECT biometric.verifier_key()'));
my @online = ($server, @live, '--party', 'hauler', '--from', '2026-01-01', '--to', '2100-01-01');
ends(0, qr/different +0\n.*result +verified/s, 'a report from a server', @online, '--output', "$place/online");
my $told = report_of("$place/online");
ok($told->{check}{compared} > 100, "every figure was compared: $told->{check}{compared} numbers");
is(figure($told, 'total'), '19 15 14 7', 'releases, images, rows and people');
is(figure($told, 'relation', 'public.never'), '0 0 0 0', 'what was not taken is listed');
ok(read_file("$place/online/report.html") =~ /agrees\.<.*What was not taken.*public\.never/s, 'and shown');
ok(-e "$place/online/ledger/checkpoint", 'the ledger is beside it');

subtest 'without the server it says the same' => sub {
	ends(0, qr/verified/, 'offline', '--offline', '--archive', "$place/online/ledger", @online[ 1 .. $#online ],
		'--output', "$place/offline");
	my $alone = report_of("$place/offline");
	is_deeply([ grep { $_->{taken} } $told->{figures}->@* ], $alone->{figures}, 'every figure of what was taken');
	is(read_file("$place/online/events.ocsf.json"), read_file("$place/offline/events.ocsf.json"), 'every event');
	is(read_file("$place/online/notification.csv"), read_file("$place/offline/notification.csv"), 'everybody to notify');
};

subtest 'an incident' => sub {
	my $incident = $node->policy($db,
		q{SELECT biometric.open_incident('hauler', tstzrange('2026-01-01', NULL), $$} . EVIL . q{$$)});
	my @incident = ($server, @live, '--incident', $incident, '--archive', "$place/online/ledger");
	$node->policy($db, "SELECT biometric.mark_notified($incident, ARRAY(SELECT subject FROM biometric.notify_list($incident)
		WHERE subject IS NOT NULL ORDER BY subject LIMIT 2), '=by letter')");
	ends(0, qr/different +0\n/, 'its list is compared, too', @incident, '--output', "$place/incident");
	my $about = report_of("$place/incident");
	is($about->{incident}{notified}, 2, 'it says how many know');
	is($about->{title}, EVIL, 'its title is the report\'s');
	like(read_file("$place/incident/notification.csv"), qr/"'=by letter"/, 'means are no formulas either');
	is_deeply([ sort map { $_->{detail}{action} } grep { $_->{event} eq 'incident' } $about->{notes}->@* ],
		[ sort 'open_incident', 'mark_notified' ], 'its steps are in the report');
};

subtest 'a server that says something else is found' => sub {
	# a block of entries that the server takes for one in which the party did nothing
	$node->sql($db, 'INSERT INTO never SELECT n, numbered_jpeg(n, 300)::biometric.plate_image FROM generate_series(1, 300) n');
	poll_until(sub { $node->sql($db, 'SELECT pending FROM biometric.ledger_status()') eq '0' });
	$node->unguarded($db, q{ALTER TABLE biometric.activity DISABLE TRIGGER ALL;
		DELETE FROM biometric.activity WHERE party = 'hauler'});
	poll_until(sub { $node->sql($db, 'SELECT state FROM biometric.ledger_status()') eq 'ready' });
	ends(1, qr/figures differ/, 'figures that lack a part of the ledger', @online, '--output', "$place/liar",
		'--archive', "$place/online/ledger");
	my $lies = report_of("$place/liar");
	ok($lies->{check}{different} > 0, 'the report says how many');
	is(figure($lies, 'total'), '19 15 14 7', 'and has those of the entries');
	like(read_file("$place/liar/report.html"), qr/<div class="verdict bad" role="alert">/, 'in a red box');
};

ends(4, qr/error/, 'no server', "host=$place", @key, @about, '--output', "$place/nobody");
ends(4, qr/permission denied/, 'somebody who is no auditor', $node->connstr($db) . ' user=officer',
	@online[ 1 .. $#online ], '--output', "$place/nobody");

$node->stop;
done_testing();
