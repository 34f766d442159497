# A leaked file leads back to the image that it is of, and to whom that was
# released: by its mark, by its bytes, by what it shows.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(opened poll_until);

use constant { LAB => '127.0.0.2', PRESS => '127.0.0.3', CLINIC => '127.0.0.4' };
use constant BINARY => 1;
use constant { JPEG_MARK => 88, PNG_MARK => 80 };

my $images = "$FindBin::Bin/../images";
my $scratch = PostgreSQL::Test::Utils::tempdir();
our $node = BiometricAudit::Node->create(
	'agency',
	allows_streaming => 1,
	conf => "max_prepared_transactions = 4\n");
my $db = 'postgres';

sub contents { return PostgreSQL::Test::Utils::slurp_file($_[0]); }

# What netpbm's programs make of a file's bytes.
sub changed
{
	my ($bytes, $commands) = @_;
	open my $file, '>:raw', "$scratch/in" or die $!;
	print $file $bytes;
	close $file or die $!;
	system "cat '$scratch/in' | $commands > '$scratch/out' 2>/dev/null";
	my $made = contents("$scratch/out");
	die "nothing came of $commands" if $made eq '';
	return $made;
}

my %file = (
	portrait => contents("$images/astronaut.jpg"),
	lawn => contents("$images/camera.png"),
	wall => contents("$images/brick.jpg"),
	eye => contents("$images/retina.jpg"));
my %row = (portrait => 1, lawn => 2, wall => 3);

$node->prepare($db);
$node->register($db, 'lab', LAB . '/32', '{plate}', 'open', '{research}');
$node->register($db, 'press', PRESS . '/32', '{plate}', 'open', '{research}');
$node->register($db, 'clinic', CLINIC . '/32', '{face}', 'open', '{care}');
$node->policy(
	$db, qq{SELECT biometric.authorize('$_', '{face,document}', 'open', '{research}', mark => true)})
  foreach qw(lab press);
$node->sql(
	$db, q{CREATE TABLE visit (id int PRIMARY KEY, face biometric.face_image);
	CREATE TABLE record (id int PRIMARY KEY, page biometric.document_image);
	GRANT ALL ON visit, record TO officer});

sub officer { return $node->connect_from($_[0], $db, 'officer', $_[1] // 'research'); }

# Stores a file, as a face unless said otherwise.
sub enrol
{
	my ($id, $bytes, $table, $kind) = @_;
	$table //= 'visit';
	$kind //= 'face';
	my $hex = unpack 'H*', $bytes;
	return $node->sql($db,
		"INSERT INTO $table VALUES ($id, '\\x$hex'::bytea::biometric.${kind}_image)");
}

enrol($row{$_}, $file{$_}) foreach sort keys %row;

# What a party gets of a row, in either format.
sub received
{
	my ($address, $id, $binary) = @_;
	my $wire = officer($address, $address eq CLINIC ? 'care' : 'research');
	my $result = $wire->extended(
		"SELECT face FROM visit WHERE id = $id", results => [ $binary ? BINARY : 0 ]);
	$wire->close;
	die $result->message if $result->error;
	return $binary ? $result->value : opened($result->value);
}

# The number of the newest disclosure.
sub newest { return $node->sql($db, 'SELECT max(seq) FROM biometric.disclosure'); }

our $auditor = $node->connect_from('local', $db, 'auditor');
my @said;

# trace() as an auditor: rows as hashes. What it says besides is in @said.
sub trace
{
	my ($bytes, $more) = @_;
	my $result = $auditor->query(
		'SELECT match, distance, stored_seq, relation, row_key, seq, party, network, purpose, '
		  . "event, kind, log_id FROM biometric.trace('\\x" . unpack('H*', $bytes) . "'" . ($more // '') . ')');
	die $result->sqlstate . ': ' . $result->message if $result->error;
	@said = map { $_->{fields}{M} } $result->of('N');
	my @names = map { $_->{name} } $result->columns;
	return map {
		my %record;
		@record{@names} = @$_;
		\%record
	} $result->rows;
}

# Rows as short texts: "mark 12 lab".
sub short { return map { join ' ', $_->{match}, $_->{seq} // 'none', $_->{party} // 'nobody' } @_; }

# Whether the newest disclosure is on record as marked.
sub marked
{
	return $node->sql($db,
		q{SELECT coalesce(detail ->> 'marked', 'no') FROM biometric.disclosure
		ORDER BY seq DESC LIMIT 1});
}

sub marks_in { return scalar(() = $_[0] =~ /BIOMARK\x01/g); }

# ---------------------------------------------------------------- marked release

my %leak;
my %seq;

subtest 'a permit that asks for marks changes nothing but the mark' => sub {
	foreach my $name (qw(portrait lawn))
	{
		my $size = $name eq 'lawn' ? PNG_MARK : JPEG_MARK;
		foreach my $binary (0, 1)
		{
			my $bytes = received(LAB, $row{$name}, $binary);
			my $format = $binary ? 'in binary' : 'as text';
			is(length $bytes, $size + length $file{$name}, "$name $format is longer by its mark");
			is(marks_in($bytes), 1, 'and has one');
			my $start = index($bytes, 'BIOMARK') - ($name eq 'lawn' ? 8 : 20);
			substr($bytes, $start, $size) = '';
			ok($bytes eq $file{$name}, 'without which it is what was enrolled, byte for byte');
		}
		is(changed(received(LAB, $row{$name}), $name eq 'lawn' ? 'pngtopnm' : 'jpegtopnm'),
			changed($file{$name}, $name eq 'lawn' ? 'pngtopnm' : 'jpegtopnm'),
			'and shows the same pixels');
	}
};

subtest 'a permit that does not ask for marks gives what was enrolled' => sub {
	foreach my $name (qw(portrait lawn))
	{
		ok(received(CLINIC, $row{$name}, $_) eq $file{$name}, "$name, byte for byte") foreach 0, 1;
	}
};

subtest 'a permit that asks for marks is not undone by an older one that does not' => sub {
	my $permit = $node->policy($db,
		q{SELECT biometric.authorize('clinic', '{face}', 'open', '{care}', mark => true)});
	my $wire = officer(CLINIC, 'care');
	is(marks_in($wire->extended('SELECT face FROM visit WHERE id = 1', results => [BINARY])->value),
		1, 'what either releases is marked');
	$wire->close;
	$node->policy($db, "SELECT biometric.revoke($permit, 'a test')");
};

subtest 'what cannot carry a mark goes out as it is, and on record so' => sub {
	enrol(50, my $fac = contents("$images/face01.iso2005"));
	ok(received(LAB, 50, $_) eq $fac, 'a face image record, byte for byte') foreach 0, 1;
	is(marked(), 'no', 'is put on record without a mark');
	received(LAB, $row{portrait});
	is(marked(), 'true', 'a JPEG file with one');
	received(CLINIC, $row{portrait});
	is(marked(), 'no', 'and without one for those who need none');
	$node->sql($db, 'DELETE FROM visit WHERE id = 50');
};

subtest 'many marked pictures come in one result, each with its own mark' => sub {
	my $wire = officer(LAB);
	my $result = $wire->extended(
		'SELECT v.id, v.face FROM visit v, generate_series(1, 50) ORDER BY v.id',
		results => [ 0, BINARY ]);
	$wire->close;
	my %seen;
	foreach my $got ($result->rows)
	{
		my ($number) = $got->[1] =~ /BIOMARK\x01.{20}(.{8})/s;
		$seen{ unpack 'Q>', $number } = $got->[0];
	}
	is(scalar keys %seen, 150, '150 pictures, 150 numbers');
	my %entries = map { $_->{seq} => $_->{row_key}{id} } $node->records($db,
		'SELECT seq, row_key FROM biometric.disclosure ORDER BY seq DESC LIMIT 150');
	is_deeply(\%seen, \%entries, 'each that of its own disclosure');
};

subtest 'a mark names the disclosure among several to several parties' => sub {
	foreach my $party ([ LAB, 'lab' ], [ PRESS, 'press' ], [ LAB, 'again' ], [ CLINIC, 'clinic' ])
	{
		$leak{ $party->[1] } = received($party->[0], $row{portrait});
		$seq{ $party->[1] } = newest();
	}
	my %who = (lab => 'lab', press => 'press', again => 'lab');
	foreach my $name (sort keys %who)
	{
		my @rows = trace($leak{$name});
		is((short(@rows))[0], "mark $seq{$name} $who{$name}", "$name: the first row is the disclosure");
		is($rows[0]{distance}, 0, 'of a picture that looks the same');
		is($rows[0]{network}, ($name eq 'press' ? PRESS : LAB) . '/32', 'with its network');
		is($rows[0]{purpose}, 'research', 'its purpose');
		is($rows[0]{row_key}, '{"id": 1}', 'and the row that it was of');
		is(scalar(grep { $_->{match} eq 'mark' } @rows), 1, 'the mark names no other');
		is(scalar(grep { ($_->{seq} // -1) == $seq{$name} } @rows), 1, 'and it is listed once');
		is(scalar(grep { $_->{match} eq 'exact' && $_->{seq} == $seq{clinic} } @rows),
			1, 'the other disclosures of the picture are listed, too');
		is_deeply(\@said, [], 'and there is nothing else to say');
	}
};

# ---------------------------------------------------------------- exact

subtest 'a file without a mark leads to all who got it' => sub {
	my @rows = trace($leak{clinic});
	is_deeply([ grep { $_->{match} ne 'exact' } @rows ], [], 'all match exactly');
	is_deeply(
		[ map { $_->{seq} } @rows ],
		[
			map { $_->{seq} } $node->records($db,
				q{SELECT seq FROM biometric.disclosure WHERE row_key @> '{"id": 1}' ORDER BY seq})
		],
		'they are the disclosures of that row, in order');
	is_deeply([ sort { $a cmp $b } keys %{ { map { $_->{party} => 1 } @rows } } ],
		[qw(clinic lab press)], 'of three parties');
};

subtest 'a picture that was never released is found, with nobody to name' => sub {
	enrol(7, $file{eye}, 'record', 'document');
	is_deeply([ short(trace($file{eye})) ], ['exact none nobody'], 'one row, without a disclosure');
	my ($found) = trace($file{eye});
	is("$found->{kind} $found->{relation} $found->{row_key}", 'document public.record {"id": 7}',
		'but it is known where it is');
};

subtest 'a picture that was never enrolled leads to nobody' => sub {
	is_deeply([ trace(contents("$images/text.png")) ], [], 'nothing is listed');
	like("@said", qr/nothing in the ledger matches/, 'which is said');
	is_deeply([ trace('a shopping list') ], [], 'no more than for a text');
	like("@said", qr/not compared by what it shows.*nothing in the ledger matches/, 'and why not');
	is_deeply([ trace('') ], [], 'nor for nothing at all');
};

# ---------------------------------------------------------------- similar

my %change = (
	'encoded again' => [ 'portrait', 'jpegtopnm | pnmtojpeg -quality 50' ],
	'made small' => [ 'portrait', 'jpegtopnm | pnmscale 0.4 | pnmtojpeg' ],
	'made large' => [ 'portrait', 'jpegtopnm | pnmscale 1.7 | pnmtojpeg' ],
	'cut at its edges' =>
	  [ 'portrait', 'jpegtopnm | pnmcut -left 12 -right -12 -top 15 -bottom -9 | pnmtojpeg' ],
	'made a PNG' => [ 'portrait', 'jpegtopnm | pnmtopng' ],
	'made grey' => [ 'portrait', 'jpegtopnm | ppmtopgm | pnmtojpeg' ],
	'made a JPEG' => [ 'lawn', 'pngtopnm | pnmtojpeg -quality 60' ],
	'stripped of its chunks' => [ 'lawn', 'pngtopnm | pnmtopng -compression 1' ]);

foreach my $how (sort keys %change)
{
	subtest "a picture $how is found by what it shows" => sub {
		my ($name, $commands) = @{ $change{$how} };
		my @rows = trace(changed($file{$name}, $commands));
		isnt(scalar @rows, 0, 'it leads to disclosures');
		my $key = "{\"id\": $row{$name}}";
		is_deeply([ grep { $_->{match} ne 'similar' || $_->{row_key} ne $key } @rows ],
			[], 'all of them of that picture, none of another');
		cmp_ok($rows[0]{distance}, '<=', 64, 'near enough');
	};
}

subtest 'a mark goes with the file, not with the picture' => sub {
	is((short(trace($leak{lab} . 'appended by a camera')))[0], "mark $seq{lab} lab",
		'bytes behind the end do not matter');
	is((short(trace(substr($leak{lab}, 0, 5000))))[0], "mark $seq{lab} lab",
		'nor does an end that is missing');
	is((short(trace("%PDF-1.4 stream $leak{lab} endstream")))[0], "mark $seq{lab} lab",
		'nor a document around it');
	my @rows = trace(changed($leak{lab}, 'jpegtopnm | pnmtojpeg'));
	is_deeply([ grep { $_->{match} ne 'similar' } @rows ], [], 'encoding again loses the mark');
	is_deeply([ grep { $_ == $seq{lab} } map { $_->{seq} } @rows ], [ $seq{lab} ],
		'but the picture still leads to the disclosure, among others');
};

subtest 'how far is too far can be said' => sub {
	my $small = changed($file{portrait}, 'jpegtopnm | pnmscale 0.4 | pnmtojpeg -quality 40');
	my ($near) = trace($small);
	cmp_ok($near->{distance}, '>', 0, 'a changed picture has a distance');
	is_deeply([ trace($small, ", $near->{distance} - 1") ], [], 'below which it is not found');
	isnt(scalar(my @found = trace($small, ", $near->{distance}")), 0, 'and at which it is');
	like($auditor->query(q{SELECT * FROM biometric.trace('\x', 257)})->sqlstate, qr/^22023$/,
		'there is no more than 256');
	is($auditor->query(q{SELECT * FROM biometric.trace(NULL)})->sqlstate, '22004',
		'a file must be given');
};

# ---------------------------------------------------------------- marks that lie

subtest 'a mark that was moved into another picture is told by its distance' => sub {
	my $segment = substr($leak{lab}, index($leak{lab}, 'BIOMARK') - 20, JPEG_MARK);
	my $other = $file{eye};
	substr($other, 20, 0) = $segment;
	my @rows = trace($other);
	is((short(@rows))[0], "mark $seq{lab} lab", 'the mark is authentic, and says what it says');
	cmp_ok($rows[0]{distance}, '>', 64, 'but of a picture that looks otherwise');
	is_deeply([ short(@rows[ 1 .. $#rows ]) ], ['exact none nobody'],
		'the picture itself is known, and by no disclosure of the other');
};

my %lie = (
	'a MAC that was changed' => [ 40, "\x01", qr/does not authenticate/ ],
	'a number that was changed to a disclosure\'s' => [ 35, undef, qr/does not authenticate/ ],
	'a number that no entry has' => [ 28, "\x01", qr/no such entry/ ],
	'the number of an entry that is no disclosure' => [ 28, "\0" x 8, qr/no disclosure/ ],
	'another log' => [ 12, 'x' x 16, qr/no such log/ ],
	'another key' => [ 8, "\0\0\0\x09", qr/keyring does not have its key, 9/ ]);

foreach my $which (sort keys %lie)
{
	subtest "a mark with $which is not believed" => sub {
		my ($offset, $bytes, $why) = @{ $lie{$which} };
		my $forged = $leak{lab};
		my $at = index($forged, 'BIOMARK') + $offset;
		$bytes //= substr(pack('Q>', $seq{press}), 7);
		$bytes = chr(ord($bytes) ^ ord substr($forged, $at, 1)) if $which =~ /MAC/;
		if ($which =~ /number that was/)
		{
			substr($forged, index($forged, 'BIOMARK') + 28, 8) = pack('Q>', $seq{press});
		}
		else
		{
			substr($forged, $at, length $bytes) = $bytes;
		}
		my @rows = trace($forged);
		is_deeply([ grep { $_->{match} eq 'mark' } @rows ], [], 'it makes no row');
		is(scalar @said, 1, 'but a notice');
		like($said[0], $why, 'which says why');
		is($rows[0]{match}, 'exact', 'and the file is known without it');
	};
}

subtest 'a marked file that is enrolled and released again has two marks' => sub {
	enrol(20, $leak{press});
	my $twice = received(LAB, 20);
	my $last = newest();
	is(marks_in($twice), 2, 'two marks');
	my @rows = trace($twice);
	is_deeply([ sort { $a <=> $b } map { $_->{seq} } grep { $_->{match} eq 'mark' } @rows ],
		[ sort { $a <=> $b } $last, $seq{press} ], 'which name both disclosures');
	my @exact = grep { $_->{match} eq 'exact' } @rows;
	is_deeply([ grep { $_->{row_key} !~ /"id": (1|20)}/ } @exact ], [],
		'with one mark less it is what was enrolled second, with none what was enrolled first');
	is((grep { $_->{match} eq 'exact' && $_->{row_key} eq '{"id": 1}' } @exact) > 0, 1,
		'which is found');
};

subtest 'a forged mark does not hide the authentic one behind it' => sub {
	my $decoy = substr($leak{lab}, index($leak{lab}, 'BIOMARK') - 20, JPEG_MARK);
	substr($decoy, 20 + 40, 4) = 'XXXX';
	my $both = $leak{lab};
	substr($both, 2, 0) = $decoy;
	my @rows = trace($both);
	is((short(@rows))[0], "mark $seq{lab} lab", 'that is found');
	is(scalar @said, 1, 'and one notice is given');
	is(scalar(grep { $_->{match} eq 'exact' } @rows) > 0, 1,
		'without both the file is what was enrolled');
};

# ---------------------------------------------------------------- what became of rows

subtest 'what was deleted or changed since is traced nevertheless' => sub {
	enrol(30, my $small = changed($file{eye}, 'jpegtopnm | pnmscale 0.5 | pnmtojpeg'));
	received(CLINIC, 30);
	my $released = newest();
	$node->sql($db, 'DELETE FROM visit WHERE id = 30');
	my ($found) = grep { $_->{match} eq 'exact' } trace($small);
	is("$found->{row_key} $found->{seq} $found->{party}", "{\"id\": 30} $released clinic",
		'by what was known when it was released');
	is($found->{relation}, 'public.visit', 'and from where');
};

subtest 'what was rolled back does not match, unless it was released before' => sub {
	foreach my $id (40, 41)
	{
		my $scale = ($id - 35) / 10;
		my $bytes = changed($file{wall}, "jpegtopnm | pnmscale $scale | pnmtojpeg -quality 33");
		my $wire = officer(CLINIC, 'care');
		$wire->query('BEGIN');
		$wire->query("INSERT INTO visit VALUES ($id, '\\x" . unpack('H*', $bytes) . "')");
		$wire->query("SELECT face FROM visit WHERE id = $id") if $id == 41;
		is($wire->query("PREPARE TRANSACTION 'enrolment'")->error, undef,
			'the transaction is prepared');
		is($wire->query("ROLLBACK PREPARED 'enrolment'")->error, undef, 'and rolled back');
		$wire->close;
		my @exact = grep { $_->{match} eq 'exact' } trace($bytes);
		if ($id == 40)
		{
			is_deeply(\@exact, [], 'it is as if it had never been');
			next;
		}
		is_deeply([ short(@exact) ], [ 'exact ' . newest() . ' clinic' ], 'what was released stays so');
		is($exact[0]{stored_seq}, undef, 'though it never came into a row');
		is($exact[0]{relation}, 'public.visit', 'that it would have been in is known');
	}
};

subtest 'a sealed image leads to what it is' => sub {
	my $sealed =
	  $node->sql($db, q{SELECT encode(biometric.sealed_bytes(face), 'hex') FROM visit WHERE id = 2});
	my @rows = trace(pack 'H*', $sealed);
	is_deeply([ grep { $_->{match} ne 'exact' || $_->{row_key} ne '{"id": 2}' } @rows ], [],
		'and to those who got it');
	isnt(scalar @rows, 0, 'of whom there are some');
	my $bent = pack 'H*', $sealed;
	substr($bent, 75, 1) = chr(1 ^ ord substr $bent, 75, 1);
	is_deeply([ trace($bent) ], [], 'one that was changed leads nowhere');
	like("@said", qr/does not authenticate/, 'which is said');
};

# ---------------------------------------------------------------- how much, who, with what

subtest 'no more images are listed than asked for, the nearest first' => sub {
	$node->sql($db, q{CREATE TABLE copies (id int PRIMARY KEY, face biometric.face_image)});
	foreach my $n (1 .. 5)
	{
		my $bytes = changed($file{lawn}, 'pngtopnm | pnmtojpeg -quality ' . 15 * $n);
		enrol($n, $bytes, 'copies');
	}
	my $file = changed($file{lawn}, 'pngtopnm | pnmscale 0.9 | pnmtojpeg');
	my @all = trace($file);
	my @distances = map { $_->{distance} } @all;
	is_deeply(\@distances, [ sort { $a <=> $b } @distances ], 'nearest first');
	$auditor->query('SET biometric_audit.trace_limit = 2');
	my @few = trace($file);
	$auditor->query('RESET biometric_audit.trace_limit');
	my %keys = map { ("$_->{relation} $_->{row_key}" => 1) } @few;
	is(scalar keys %keys, 2, 'two images where two were asked for');
	is($few[0]{distance}, $all[0]{distance}, 'beginning with the nearest');
	like("@said", qr/more images than are listed/, 'and it is said that there are more');
};

subtest 'tracing is for auditors, and is put on record' => sub {
	foreach my $role (qw(officer custodian))
	{
		my $wire = $node->connect_from('local', $db, $role);
		is($wire->query(q{SELECT * FROM biometric.trace('\x')})->sqlstate, '42501', "$role may not");
		$wire->close;
	}
	my $before = $node->mark($db);
	trace($leak{lab});
	my ($entry) = $node->records($db,
		'SELECT session_user_name, detail FROM biometric.ledger '
		  . "WHERE seq >= $before AND event = 'incident'");
	is("$entry->{session_user_name} $entry->{detail}{action} $entry->{detail}{marks}",
		'auditor trace 1', 'who looked, and what was found');
	unlike($entry->{detail}{digest}, qr/[^0-9a-f]/, 'with a keyed digest of the file');
};

subtest 'all logs that count are looked at' => sub {
	$node->policy($db, q{SELECT biometric.retire_ledger('a new volume')});
	$node->policy($db, q{SELECT biometric.fork_ledger('a new volume')});
	poll_until(
		sub { ($node->sql($db, 'SELECT state FROM biometric.ledger_status()') // '') eq 'ready' });
	my $leaked = received(PRESS, $row{portrait});
	my $number = newest();
	my @rows = trace($leaked);
	is((short(@rows))[0], "mark $number press", 'the mark names an entry of the new log');
	is($rows[0]{row_key}, '{"id": 1}', 'of a row that was stored in the old one');
	is($rows[0]{stored_seq}, undef, 'whose numbers mean nothing in the new one');
	my @older = grep { $_->{log_id} ne $rows[0]{log_id} } @rows;
	is(scalar(grep { $_->{match} eq 'exact' && $_->{seq} == $seq{clinic} } @older),
		1, 'disclosures of the old log are listed, too');
	is((short(trace($leak{lab})))[0], "mark $seq{lab} lab", 'and its marks hold');
};

subtest 'what was detached is found by what was kept of it, and the archive named for the rest' => sub {
	my $keys = PostgreSQL::Test::Utils::tempdir();
	system_or_bail('sh', '-c',
		"umask 077; openssl genpkey -algorithm ed25519 -out '$keys/signing.pem'");
	local $node = BiometricAudit::Node->create('archive',
		conf => "biometric_audit.signing_key = '$keys/signing.pem'\n"
		  . "biometric_audit.segment_size = 1024\n");
	$node->prepare($db);
	$node->register($db, 'lab', LAB . '/32', '{plate}', 'open', '{research}');
	$node->policy($db,
		q{SELECT biometric.authorize('lab', '{face}', 'open', '{research}', mark => true)});
	$node->sql($db, 'CREATE TABLE visit (id int PRIMARY KEY, face biometric.face_image);
		GRANT ALL ON visit TO officer');
	local $auditor = $node->connect_from('local', $db, 'auditor');
	enrol(1, $file{portrait});
	my ($stored) = map { $_->{stored_seq} } trace($file{portrait});
	my $old = received(LAB, 1);
	my $wire = officer(LAB);
	$wire->query('SELECT face FROM visit, generate_series(1, 1100)');
	$wire->close;
	poll_until(
		sub {
			my ($status) = $node->records($db, 'SELECT s.size, s.pending, h.settled '
				  . 'FROM biometric.ledger_status() AS s JOIN biometric.head AS h USING (log_id)');
			return $status->{pending} == 0 && $status->{settled} == $status->{size};
		});
	$node->run('auditor', $db, 'SELECT biometric.checkpoint()');
	my $before = $node->sql($db, 'SELECT count(*) FROM biometric.disclosure');
	my $root = $node->sql($db, 'SELECT biometric.root(1024)');
	$node->policy($db, "SELECT biometric.detach_segment(0, '$root', 'archived')");
	my $left = $node->sql($db, 'SELECT count(*) FROM biometric.disclosure');
	my @rows = trace($old);
	is_deeply([ grep { $_->{match} ne 'exact' || $_->{seq} < 1024 } @rows ], [],
		'the picture is found, with the disclosures that are left');
	is(scalar @rows, $left, 'all of them');
	is($rows[0]{stored_seq}, $stored, 'the entry that stored it is known by its number');
	is($rows[0]{row_key}, undef, 'what that said is not');
	is($rows[0]{relation}, 'public.visit', 'but the disclosure says what was read');
	like("@said", qr/segment that was detached: look for it in the archive/,
		'of the mark it is said where to look');
	my $gone = $before - $left;
	like("@said", qr/up to $gone disclosures more/, 'and how many disclosures are there');
	is((short(trace(received(LAB, 1))))[0], 'mark ' . newest() . ' lab', 'newer marks name theirs');
	$auditor->close;
	$node->stop;
};

# What a party gets of many disclosures of one picture, by the number in each mark.
sub marked_by_number
{
	my ($party) = @_;
	my $wire = officer($party);
	my $result = $wire->extended(
		"SELECT face FROM visit, generate_series(1, 300) WHERE id = $row{portrait}",
		results => [BINARY]);
	$wire->close;
	die $result->message if $result->error;
	return map { /BIOMARK\x01.{20}(.{8})/s ? (unpack('Q>', $1) => $_) : () } $result->column(0);
}

subtest 'after a failover that lost the ledger\'s end, no mark names another party\'s disclosure' => sub {
	$node->backup('early');
	my $survivor = BiometricAudit::Node->new('survivor');
	$survivor->init_from_backup($node, 'early', has_streaming => 1);
	$survivor->start;
	$node->wait_for_catchup($survivor, 'replay', $node->lsn('flush'));
	$survivor->stop;
	my %lost = marked_by_number(LAB);
	# of what went on since it never hears
	$survivor->append_conf('postgresql.conf', "primary_conninfo = ''");
	$survivor->start;
	$survivor->promote;
	local $node = $survivor;
	poll_until(
		sub { ($node->sql($db, 'SELECT state FROM biometric.ledger_status()') // '') eq 'ready' });
	my %given = marked_by_number(PRESS);
	my ($number) = sort { $b <=> $a } grep { $given{$_} } keys %lost;
	isnt($number, undef, 'two parties got the picture by one number of one log');
	local $auditor = $node->connect_from('local', $db, 'auditor');
	is((short(trace($given{$number})))[0], "mark $number press", 'it is that of the second party');
	is_deeply([ grep { $_->{match} eq 'mark' } trace($lost{$number}) ],
		[], 'whom the first one\'s file does not name');
	is(scalar @said, 1, 'there is a notice');
	like($said[0], qr/forged, or of a disclosure whose entry was lost \(a failover or rewound volume\)/,
		'which says why that may be');
	$auditor->close;
	$survivor->stop;
};

subtest 'a standby with the keys traces, too, and says what it cannot do' => sub {
	$node->backup('b');
	my $standby = BiometricAudit::Node->new('standby');
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
	local $auditor = $standby->connect_from('local', $db, 'auditor');
	is((short(trace($leak{lab})))[0], "mark $seq{lab} lab", 'the mark is found');
	is_deeply([ grep { !/not on record/ } @said ], [], 'and nothing is said but');
	is(scalar @said, 1, 'that the search is not on record');
	$standby->stop;
};

subtest 'what the keys are gone for cannot be compared' => sub {
	my $key = $node->fresh_key(1);
	$node->write_keyring($node->fresh_key(2));
	$node->settle;
	$auditor->close;
	$auditor = $node->connect_from('local', $db, 'auditor');
	is_deeply([ trace($leak{lab}) ], [], 'neither by mark nor by bytes nor by looks');
	like("@said", qr/keyring does not have its key, 1/, 'of the mark it is said');
	like("@said", qr/\d+ stored images could not be compared/, 'and of the images');
	unlink $node->keyring_path;
	$node->settle;
	$auditor->close;
	$auditor = $node->connect_from('local', $db, 'auditor');
	my $result = $auditor->query(q{SELECT * FROM biometric.trace('\x00')});
	is($result->sqlstate, 'F0000', 'without any key it is an error');
	ok(defined $result->hint, 'which says what to do');
	$node->write_keyring($key);
	$node->settle;
};

done_testing();
