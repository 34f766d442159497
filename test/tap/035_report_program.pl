# biometric-report counts what the server says once more from the ledger's
# entries, says so when anything differs, and writes a report that no text out of
# a database can break out of.

use strict;
use warnings;

use File::Path qw(mkpath rmtree);
use IO::Select ();
use IO::Socket::UNIX ();
use IPC::Run ();
use JSON::PP ();
use POSIX ();
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
# a row that is named only behind a release is none of it, unless there is no other
stored($first + DAY, $commit, 5, 1, '{"id": 9}', 102, '{"subject":{"name":"later"}}');
put(6, $first + DAY, $freight, 2 => "\4", 3 => "\1", 5 => "\x9");
my $rival = session($first, 'rival', '198.51.100.0/24', 'r');
disclosed($first, put(2, $first, $rival, 13 => 'SELECT', 15 => 'public.lane'), 1, permit => 6);
policy($first + DAY, $agency, action => 'quarantine', party => 'hauler', reason => EVIL);
disclosed($begin + 9 * DAY, $freight, 2, permit => 5);    # behind it
policy($begin + 9 * DAY, $agency, action => 'register_party', party => 'idle', title => 'Idle');
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
	ends(3, qr/symbolic link/, 'a link with a slash behind it', @offline, @about, '--output', "$place/link/");
	mkdir "$place/project";
	write_file("$place/project/README.txt", "My project, which has nothing to do with reports.\n");
	write_file("$place/project/report.json", 'mine');
	ends(3, qr/has no README\.txt of an earlier report/, 'a project', @offline, @about, '--output', "$place/project");
	is(read_file("$place/project/report.json"), 'mine', 'is as it was');
	write_file("$out/mine.txt", 'mine');
	ends(3, qr/mine\.txt/, 'a report with something else in it', @offline, @about, '--output', $out);
	unlink "$out/mine.txt", "$out/report.json";
	write_file("$out/proofs/mine.txt", 'mine');
	ends(3, qr{proofs/mine\.txt is not of an earlier report}, 'something among its proofs', @offline, @about, '--output', $out);
	unlink "$out/proofs/mine.txt";
	symlink "$place/other/notes.txt", "$out/report.json";
	ends(3, qr/report\.json/, 'a report with a link in it', @offline, @about, '--output', $out);
	is(read_file("$place/other/notes.txt"), 'mine', 'nothing was written through it');
	unlink "$out/report.json";
	ends(0, qr/earlier report in .* was replaced/, 'an earlier report', @offline, @about, '--output', $out, '--proofs', 2);
	is(scalar(my @proofs = glob "$out/proofs/*"), 2, 'is replaced with its proofs');
	my %before = map { $_ => read_file($_) } grep { -f } glob "$out/* $out/proofs/*";
	my $copy = copy_of($archive, 'broken');
	unlink "$copy/tile/entries/001";
	ends(1, qr/is missing/, 'a report that comes to nothing', '--offline', '--archive', $copy, @key, @about, '--output', $out);
	is_deeply({ map { $_ => read_file($_) } grep { -f } glob "$out/* $out/proofs/*" }, \%before, 'leaves the earlier one whole');
	ok(!-e "$out/unfinished", 'and nothing of its own');
};

subtest 'which rows, and who' => sub {
	my @before = splice @entries;
	my $owner = put(2, $begin, session($begin, 'agency', 'local', 'owner'), 13 => 'COMMIT',
		15 => "public.lane\npublic.lane_1\npublic.lane_2\npublic.old\npublic.copy");
	my $root = q("of":"public.lane\"s");
	stored($begin, $owner, 1, 1, '{"id": 1}', 100);
	stored($begin, $owner, 2, 1, '{"id": 2, "lane": 5}', 100, '{"subject":{"first":"a","name":"b"},"place":{"port":"x","lane":1}}');
	stored($begin, $owner, 3, 1, '{"id": 3}', 100, '{"subject":{"name":"old"},"place":{"port":"y"}}');
	# one person in two partitions
	stored($begin, $owner, 4, 2, '{"id": 4}', 100, "{$root,\"subject\":{\"name\":\"part\"}}");
	stored($begin, $owner, 5, 3, '{"id": 4}', 100, "{$root,\"subject\":{\"name\":\"part\"}}");
	# a copy that tells nothing, and one that has a key
	stored($begin, $owner, 6, 1, '{"id": 6}', 100, '{"subject":{"name":"six"}}');
	stored($begin, $owner, 7, 1, '{"id": 7}', 100);
	put(7, $begin, $owner, 1 => image($_), 2 => "\1", 3 => "\4", 21 => "\5", 25 => number(100)) foreach 6, 7;
	stored($begin, $owner, 7, 5, '{"id": 70}', 100);
	# rows that have it no more: 80 by one that came to nothing
	stored($begin, $owner, 8, 1, "{\"id\": $_}", 100, "{\"subject\":{\"name\":\"n$_\"}}") foreach 80 .. 82;
	put(9, $begin, $owner, 1 => image(8), 2 => "\1", 3 => "\1", 21 => "\3", 24 => '{"id": 80}', 25 => number(102));
	put(9, $begin, $owner, 1 => image(8), 2 => "\1", 3 => "\1", 21 => "\3", 24 => '{"id": 81}', 25 => number(101));
	put(8, $begin, $owner, 1 => image(80), 2 => "\1", 3 => "\1", 21 => "\2", 22 => image(8), 24 => '{"id": 82}', 25 => number(101));
	my $taker = put(2, $first, session($first, 'hauler', '192.0.2.0/24', 'driver'), 13 => 'SELECT',
		15 => "public.lane\npublic.lane_1\npublic.lane_2\npublic.old\npublic.copy");
	# what goes while the statement runs may have been read
	stored($begin, $owner, 9, 1, '{"id": 9}', 100);
	stored($begin, $owner, 9, 1, '{"id": 90}', 100);
	put(9, $begin, $owner, 1 => image(9), 2 => "\1", 3 => "\1", 21 => "\3", 24 => '{"id": 9}', 25 => number(100));
	disclosed($first + $_, $taker, $_) foreach 1 .. 3;
	disclosed($first + 4, $taker, 4, relation => 2);
	disclosed($first + 5, $taker, 5, relation => 3);
	disclosed($first + $_, $taker, $_, relation => 4) foreach 6, 7;
	disclosed($first + $_, $taker, $_) foreach 8, 9;
	disclosed($first + 10, $taker, 10);
	stored($first + DAY, $owner, 1, 1, '{"id": 1}', 101, '{"subject":{"name":"b","first":"a"},"place":{"lane":1,"port":"x"},"time":"2019-04-01T00:00:00Z"}');
	stored($first + DAY, $owner, 2, 1, '{"lane": 5, "id": 2}', 101);
	stored($first + DAY, $owner, 3, 1, '{"id": 3}', 101, '{"subject":{"name":"new"}}');
	stored($first + DAY, $owner, 3, 1, '{"id": 3}', 102, '{"subject":{"name":"never"}}');
	stored($first + DAY, $owner, 10, 1, '{"id": 10}', 102, '{"subject":{"name":"never"}}');
	stored($first + DAY, $owner, 10, 1, '{"id": 10}', 101, '{"subject":{"name":"ten"}}');
	stored($first + DAY, $owner, 10, 1, '{"id": 11}', 101, '{"subject":{"name":"later"}}');
	put(12, $first + DAY, -1, 25 => number(102));
	$log->write_archive("$place/late", \@entries);
	ends(0, qr/figures +counted from the ledger's entries; no server was asked\nreport +\Q$place\E\/late.report\nresult +verified\n$/,
		'its last lines say so', '--offline', '--archive', "$place/late", @key, @about, '--output', "$place/late.report");
	my $told = report_of("$place/late.report");
	is(figure($told, 'place', '{"lane": 1, "port": "x"}'), '2 2 2 1', 'people and places are the same in whatever order their columns were named');
	is(figure($told, 'collected_on', '2019-04-01'), '1 1 1 1', 'of a row that was described only afterwards, too');
	is(figure($told, 'place', '{"port": "y"}'), '1 1 1 1', 'what was said before a release stays');
	is(figure($told, 'relation', 'public.old'), '2 2 4 1', 'a copy that tells nothing hides nobody');
	is(figure($told, 'total'), '10 10 13 6', 'all of it');
	my $csv = read_file("$place/late.report/notification.csv");
	is_deeply([ sort $csv =~ /""name"": ""(\w+)""/g ], [qw(b n80 old part six ten)], 'who is to be notified');
	like($csv, qr/^"public\.lane""s","\{""name"": ""part""\}",person,"\[\{""id"": 4\}\]",face,2,/m, 'once, under the name of the table that was described');
	@entries = @before;
};

subtest 'the command line' => sub {
	ends(2, qr/output/, 'no directory', @offline, @about);
	ends(2, qr/either a party/, 'neither party nor incident', @offline, '--output', $out);
	ends(2, qr/period/, 'a party without a period', @offline, '--party', 'hauler', '--output', $out);
	ends(2, qr/not before/, 'a period that is empty', @offline, '--party', 'x', '--from', '2019-05-02', '--to', '2019-05-02', '--output', $out);
	ends(2, qr/value of option --from/, 'a date that is none', @offline, '--party', 'x', '--from', '2019-02-30', '--to', '2019-05-02', '--output', $out);
	ends(2, qr/whose signatures/, 'no key', '--offline', '--archive', $archive, @about, '--output', $out);
	ends(0, qr/Usage/, 'help', '--help');
	my @may = ('--from', '2019-05-01', '--to', '2019-06-01');
	ends(0, qr/disclosures +0\n/, 'a party that received nothing', @offline, '--party', 'idle', @may, '--output', "$place/nothing");
	like(read_file("$place/nothing/report.html"), qr/received <strong>no image/, 'is said to');
	ends(2, qr/no entry of this ledger names a party "haulre"/, 'a party that there is not', @offline, '--party', 'haulre', @may, '--output', "$place/unnamed");
	ok(!-e "$place/unnamed/report.html", 'has no report that says nothing was released to it');
	ends(0, qr/disclosures +0\n/, 'those who belong to no party', @offline, '--party', '', @may, '--output', "$place/strangers");
	like(read_file("$place/strangers/report.html"), qr/Clients that belong to no party received <strong>no image/, 'are called that');
};

# ---------------------------------------------------------------- with a server

my $node = BiometricAudit::Node->create('agency',
	conf => "biometric_audit.signing_key = '$log->{directory}/key'\nbiometric_audit.segment_size = 1024\n");
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
ends(0, qr/different +0\n.*figures +([1-9]\d+) of \1 recounted from the ledger's entries are equal\nreport +\Q$place\E\/online\nresult +verified\n$/s,
	'a report from a server', @online, '--output', "$place/online");
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

subtest 'a table that is described when it has come to that' => sub {
	$node->sql($db, $_) foreach (
		'CREATE TABLE late (id int PRIMARY KEY, given text, family text, face biometric.face_image)',
		q{INSERT INTO late SELECT n, 'given', 'family ' || n / 2, numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(41, 44) n},
		'GRANT SELECT ON late TO officer');
	my $taker = $node->connect_from('127.0.0.2', $db, 'officer');
	$taker->query("SET biometric_audit.purpose = 'freight'");
	$taker->query('SELECT face FROM late');
	$taker->close;
	$node->sql($db, $_) foreach (
		'DELETE FROM late WHERE id = 44',
		q{SELECT biometric.describe_collection('late', '{given,family}')},
		'DELETE FROM late WHERE id = 42',
		q{SELECT biometric.describe_collection('late', '{family,given}')});
	my $incident = $node->policy($db, q{SELECT biometric.open_incident('hauler', tstzrange('2026-01-01', NULL), 'late')});
	ends(0, qr/different +0\n/, 'the program agrees with the server', $server, @live, '--incident', $incident,
		'--archive', "$place/online/ledger", '--output', "$place/lately");
	is(figure(report_of("$place/lately"), 'relation', 'public.late'), '4 4 4 2', 'and both count people');
};

# ---------------------------------------------------------------- with a server that lies

# lying(change): the conninfo of a server that asks other questions than it was asked: change is
# given the text of each, and returns that of another.
my @proxies;

sub take_bytes
{
	my ($from, $length) = @_;
	my $bytes = '';
	while (length $bytes < $length)
	{
		sysread $from, $bytes, $length - length $bytes, length $bytes or return;
	}
	return $bytes;
}

# relay(client, server, change): until either ends.
sub relay
{
	my ($client, $upstream, $change) = @_;
	my $startup = take_bytes($client, 4) // return;
	syswrite $upstream, $startup . take_bytes($client, unpack('N', $startup) - 4);
	my $both = IO::Select->new($client, $upstream);
	while (my @ready = $both->can_read)
	{
		foreach my $from (@ready)
		{
			if ($from == $upstream)
			{
				sysread $upstream, my $bytes, 65_536 or return;
				syswrite $client, $bytes;
				next;
			}
			my $head = take_bytes($client, 5) // return;
			my ($type, $length) = unpack 'aN', $head;
			my $body = take_bytes($client, $length - 4) // return;
			$body = $change->($body) if $type =~ /[QP]/;
			syswrite $upstream, pack('aN', $type, 4 + length $body) . $body;
		}
	}
	return;
}

sub lying
{
	my ($node, $change) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir_short();
	my $listen = IO::Socket::UNIX->new(Local => "$directory/.s.PGSQL.5432", Listen => 9) or die "no socket: $!";
	my $pid = fork() // die 'fork failed';
	if ($pid == 0)
	{
		$SIG{CHLD} = 'IGNORE';
		while (my $client = $listen->accept)
		{
			next if fork();
			my $upstream = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port);
			relay($client, $upstream, $change) if $upstream;
			POSIX::_exit(0);
		}
		POSIX::_exit(0);
	}
	push @proxies, $pid;
	return "host=$directory port=5432 dbname=$db user=auditor sslmode=disable gssencmode=disable";
}

END { local $? = $?; kill 'KILL', @proxies if @proxies; }

my $report_source = 'FROM biometric\.breach_report\([^()]*\([^()]*\)\)';
my $affected_source = 'FROM biometric\.affected\([^()]*\([^()]*\)\)';

subtest 'a server that lies is found' => sub {
	my @rest = (@online[ 1 .. $#online ], '--archive', "$place/online/ledger", '--output', "$place/lied");
	ends(0, qr/different +0\n/, 'one that does not', lying($node, sub { $_[0] }), @rest);
	my $total = figure(report_of("$place/lied"), 'total');
	ends(1, qr/figures differ/, 'one that has nothing, and says that its ledger has no entries',
		lying($node, sub { $_[0] =~ s/SELECT size FROM/SELECT 0::pg_catalog.int8 FROM/r =~ s/($report_source|$affected_source)/$1 WHERE false/r }), @rest);
	is(figure(report_of("$place/lied"), 'total'), $total, 'the report has all that the ledger has');
	like(read_file("$place/lied/report.html"), qr/<div class="verdict bad" role="alert">/, 'and says it in a red box');
	ends(1, qr/figures differ/, 'one that repeats a row of its list',
		lying($node, sub { $_[0] =~ s/($affected_source)/FROM (SELECT a.* FROM (SELECT * $1 LIMIT 1) a, pg_catalog.generate_series(1, (SELECT pg_catalog.count(*) $1))) b/r }), @rest);
	ends(1, qr/entries that were detached: the server says some, the ledger's entries say none/, 'one that says that it has lost entries',
		lying($node, sub { $_[0] =~ s{($report_source)}{$1 UNION ALL SELECT 'detached', 'lost', 0, 9, 0, 0, 0, NULL, NULL}r =~ s{taken::pg_catalog.int4, disclosures,}{taken::pg_catalog.int4, disclosures / 2,}r }), @rest);
	unlike(read_file("$place/lied/report.html"), qr/agrees/, 'is not believed');
};

subtest 'an incident is what its entries say' => sub {
	my $incident = $node->policy($db, q{SELECT biometric.open_incident('hauler', tstzrange('2026-01-01', '2101-01-01', '(]'), 'steps')});
	$node->policy($db, "SELECT biometric.set_incident_due($incident, '2100-05-01 12:00+02', 'more time')");
	$node->policy($db, "SELECT biometric.mark_notified($incident, ARRAY(SELECT subject FROM biometric.notify_list($incident) ORDER BY subject LIMIT 1), 'by letter')");
	$node->policy($db, q{SELECT biometric.register_party('rival', 'Rival', tstzrange('2020-01-01', NULL))});
	my @rest = (@live, '--incident', $incident, '--archive', "$place/online/ledger", '--output', "$place/steps");
	ends(0, qr/different +0\n/, 'as the server says', $server, @rest);
	my $told = report_of("$place/steps");
	is($told->{incident}{due_at}, '2100-05-01T10:00:00.000000Z', 'its deadline');
	is($told->{incident}{notified}, 1, 'who was told');
	is($told->{period}{from}, '2026-01-01T00:00:00.000001Z', 'its period');
	my %lies = (
		"its party" => [ qr/incident's party: the server says rival, the ledger's entries say hauler/, sub { $_[0] =~ s/recorded_text\(party\), title/recorded_text('rival'), title/r } ],
		'its period' => [ qr/incident's period, begin/, sub { $_[0] =~ s/closed_at, during/closed_at, pg_catalog.tstzrange('2090-01-01', NULL)/r } ],
		'its deadline' => [ qr/incident's deadline/, sub { $_[0] =~ s/opened_at, due_at/opened_at, due_at + interval '1 day'/r } ],
		'that it is closed' => [ qr/incident, closed/, sub { $_[0] =~ s/due_at, closed_at/due_at, opened_at/r } ],
		'that everybody was told' => [ qr/notification of/, sub { $_[0] =~ s/notified_at, means/pg_catalog.now(), 'by phone'/r } ],
		'that nobody was told' => [ qr/notification of/, sub { $_[0] =~ s/notified_at, means/NULL, NULL/r } ],
		'by what means' => [ qr/means of notification/, sub { $_[0] =~ s/notified_at, means/notified_at, upper(means)/r } ]);
	foreach my $lie (sort keys %lies)
	{
		ends(1, $lies{$lie}[0], "a lie about $lie", lying($node, $lies{$lie}[1]), @rest);
		my $now = report_of("$place/steps");
		is_deeply([ $now->@{qw(party period figures)}, $now->{incident} ], [ $told->@{qw(party period figures)}, $told->{incident} ],
			"the report has what the entries say");
	}
	$node->policy($db, "SELECT biometric.close_incident($incident, 'done')");
	ends(0, qr/different +0\n/, 'once it is closed', $server, @rest);
	is(report_of("$place/steps")->{incident}{state}, 'closed', 'that, too');
};

subtest 'what a server has detached is counted from the archive' => sub {
	my $archived = "$place/online/ledger";
	# the first segment gets full, and then something is released again
	$node->sql($db, 'INSERT INTO never SELECT n, numbered_jpeg(n, 300)::biometric.plate_image FROM generate_series(1001, 2100) n');
	my $taker = $node->connect_from('127.0.0.2', $db, 'officer');
	$taker->query("SET biometric_audit.purpose = 'freight'");
	$taker->query('SELECT face FROM lane WHERE id <= 2');
	$taker->close;
	ends(0, qr/different +0\n/, 'before', @online, '--archive', $archived, '--output', "$place/before");
	my $all = figure(report_of("$place/before"), 'total');
	my ($ended, $said) = program('biometric-verify', 'segment', $archived, 0, '--segment-size', 1024, '--json', @live);
	my $root = $json->decode($said)->{root};
	$node->policy($db, "SELECT biometric.detach_segment(0, '\\x$root', 'kept elsewhere')");
	ends(0, qr/are equal; the server has less, since entries were detached/, 'afterwards', @online, '--archive', $archived, '--output', "$place/after");
	my $after = report_of("$place/after");
	is(figure($after, 'total'), $all, 'the report has everything');
	ok($after->{check}{compared} > 50, 'all that the server still has was compared');
	unlike(read_file("$place/after/report.html"), qr/Every figure was counted twice/, 'it does not say that all was counted twice');
	ends(1, qr/figures differ/, 'a server that has lost more than that', lying($node,
		sub { $_[0] =~ s{taken::pg_catalog.int4, disclosures,}{taken::pg_catalog.int4, disclosures / 2,}r }),
		@online[ 1 .. $#online ], '--archive', $archived, '--output', "$place/after");
};

subtest 'a ledger that has an earlier log' => sub {
	my $name = 'forked';
	my $other = BiometricAudit::Node->create($name, conf => "biometric_audit.signing_key = '$log->{directory}/key'\n");
	$other->prepare($db);
	$other->register($db, 'hauler', '127.0.0.2/32', '{face}', 'open', '{freight}');
	$other->sql($db, $_) foreach (
		'CREATE TABLE lane (id int PRIMARY KEY, name text, face biometric.face_image)',
		q{SELECT biometric.describe_collection('lane', '{name}')},
		q{INSERT INTO lane SELECT n, 'name ' || n, numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(1, 5) n},
		'GRANT SELECT ON lane TO officer');
	my $take = sub {
		my ($query) = @_;
		my $taker = $other->connect_from('127.0.0.2', $db, 'officer', 'freight');
		is($taker->query($query)->error, undef, $query);
		$taker->close;
		return;
	};
	$take->('SELECT face FROM lane WHERE id <= 2');
	$other->policy($db, q{SELECT biometric.fork_ledger('a new beginning')});
	poll_until(sub { $other->sql($db, 'SELECT state FROM biometric.ledger_status()') eq 'ready' });
	$take->('SELECT face FROM lane WHERE id >= 2');
	my @forked = ($other->connstr($db) . ' user=auditor', '--key', $other->sql($db, 'SELECT biometric.verifier_key()'),
		'--party', 'hauler', '--from', '2026-01-01', '--to', '2100-01-01');
	ends(0, qr/different +0\n.*equal; the others go by earlier logs, too, and were not recounted\n/s,
		'what can be recounted agrees', @forked, '--output', "$place/forked");
	my $both = report_of("$place/forked");
	cmp_ok($both->{check}{not_recounted}, '>', 0, 'and it says how many cannot');
	is(figure($both, 'total'), '6 5 5 5', 'the figures are the server\'s, which knows both');
	is($both->{check}{figures_from}, 'server', 'which is said');
	ends(0, qr/has earlier logs/, 'so it is without a server', '--offline', '--archive', "$place/forked/ledger",
		@forked[ 1 .. $#forked ], '--output', "$place/forked.alone");
	is(figure(report_of("$place/forked.alone"), 'total'), '4 4 0 0', 'which has the newest log only');
	is($other->admin($db)->query(q{SELECT disclosures || ' ' || rows || ' ' || subjects FROM biometric.breach_report('hauler', '(,)') WHERE dimension = 'total'})->value,
		'6 5 5', 'the server has those of both');
	like(read_file("$place/forked/report.html"), qr/<div class="verdict fair".*earlier logs/s, 'in a yellow box');
	# releases that are in the newest log are no matter of opinion
	$other->sql($db, 'INSERT INTO lane SELECT n, $$ $$, numbered_jpeg(n, 300)::biometric.face_image FROM generate_series(11, 300) n');
	poll_until(sub { $other->sql($db, 'SELECT pending FROM biometric.ledger_status()') eq '0' });
	$other->unguarded($db, q{ALTER TABLE biometric.activity DISABLE TRIGGER ALL; DELETE FROM biometric.activity WHERE party = 'hauler'});
	poll_until(sub { $other->sql($db, 'SELECT state FROM biometric.ledger_status()') eq 'ready' });
	ends(1, qr/figures differ/, 'a server that has less is found', @forked, '--output', "$place/forked");
	$other->stop;
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
	is(figure($lies, 'total'), '25 19 18 9', 'and has those of the entries');
	like(read_file("$place/liar/report.html"), qr/<div class="verdict bad" role="alert">/, 'in a red box');
};

ends(4, qr/error: [^\n]*[^ \n]\n\z/, 'no server', "host=$place", @key, @about, '--output', "$place/nobody");
ends(4, qr/permission denied/, 'somebody who is no auditor', $node->connstr($db) . ' user=officer',
	@online[ 1 .. $#online ], '--output', "$place/nobody");

$node->stop;
done_testing();
