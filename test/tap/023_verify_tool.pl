# biometric-verify checks a ledger with nothing but files: what was changed,
# removed or made up is found and named, whatever it is given.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use File::Copy  qw(copy);
use File::Path  qw(mkpath rmtree);
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Archive qw(entry write_file read_file b64);
use BiometricAudit::Node    qw(poll_until);
use BiometricAudit::Picture;

use constant SIZE => 70_000;

my $place = PostgreSQL::Test::Utils::tempdir();
my $log = BiometricAudit::Archive->key('agency.example/ledger');
my $other = BiometricAudit::Archive->key('agency.example/ledger');
my $witness = BiometricAudit::Archive->key('witness.example/one', 4);
my $second = BiometricAudit::Archive->key('witness.example/two', 4);

# ---------------------------------------------------------------- the program

# verifier(arguments): exit code, standard output, standard error.
sub verifier
{
	my (@arguments) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'biometric-verify', @arguments ], '<', \undef, '>', \$out, '2>', \$err);
	my $signal = $? & 127;
	return ($signal ? "signal $signal" : $? >> 8, $out, $err);
}

# ends(code, pattern, name, arguments): how it ends, and what it says of it.
sub ends
{
	my ($code, $pattern, $name, @arguments) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($ended, $out, $err) = verifier(@arguments);
	my $ok = is($ended, $code, "$name: exit code $code");
	$ok = like("$out$err", $pattern, "$name: says why") && $ok;
	diag "$out$err" unless $ok;
	return $out;
}

sub result
{
	my (@arguments) = @_;
	my ($ended, $out) = verifier(@arguments, '--json');
	return { JSON::PP::decode_json($out)->%*, ended => $ended };
}

# ---------------------------------------------------------------- the ledger

sub sample
{
	my ($n) = @_;
	my $at = 1_790_000_000_000_000 + $n * 1000;
	return entry(
		2, $at, $n,
		12 => 'border_control',
		13 => 'SELECT',
		15 => "public.lane\npublic.gate",
		16 => '{"rows": 63}') if $n % 64 == 0;
	return entry(3, $at, $n - $n % 64, 1 => pack('N4', $n, 1, 2, 3), 2 => "\1", 3 => "\1");
}

my @entries = map { sample($_) } 0 .. SIZE - 1;
my @leaves = map { BiometricAudit::Archive::leaf($_) } @entries;
my $archive = "$place/archive";
my $root = $log->write_archive($archive, \@entries);
my @key = ('--key', $log->vkey);

# archive_copy(name): a copy to spoil.
sub archive_copy
{
	my ($name) = @_;
	my $copy = "$place/$name";
	rmtree($copy);
	system('cp', '-r', $archive, $copy) == 0 or die 'cp failed';
	return $copy;
}

# spoil(file, offset): changes one bit.
sub spoil
{
	my ($file, $offset) = @_;
	my $bytes = read_file($file);
	substr($bytes, $offset, 1) ^= "\1";
	write_file($file, $bytes);
	return;
}

# spoil_entry(archive, n): changes the image id of an entry in its bundle.
sub spoil_entry
{
	my ($copy, $n) = @_;
	my $last = int($n / 256) == int(SIZE / 256);
	my $file =
	  "$copy/" . BiometricAudit::Archive::path('entries', int($n / 256), $last ? SIZE % 256 : 256);
	my $offset = 0;
	$offset += 2 + length $entries[$_] for $n - $n % 256 .. $n - 1;
	spoil($file, $offset + 2 + 25);
	return;
}

# ---------------------------------------------------------------- verify

my $answer = result('verify', $archive, @key);
is($answer->{result}, 'verified', 'an archive that is as it was written verifies');
is($answer->{entries}, SIZE, 'with all its entries');
is($answer->{root}, unpack('H*', $root), 'and the root that another program computed');
is($answer->{last_at}, '2026-09-21T14:14:29.999000Z', 'up to the time of the last');

ends(0, qr/came with the ledger/, 'the key of the archive itself is used, and said so',
	'verify', $archive);
ends(1, qr/not signed by a key/, 'a key that is not the log\'s',
	'verify', $archive, '--key', $other->vkey);
ends(2, qr/usage/, 'no archive', 'verify');
ends(2, qr/no option/, 'an option of another command', 'verify', $archive, '--segment-size', 1024);
ends(3, qr/cannot be opened/, 'a directory that is not there', 'verify', "$place/none", @key);
ends(3, qr/not a verifier key/, 'a key that is none', 'verify', $archive, '--key', 'key');

foreach my $n (1, 255, 256, 40_000, 69_889, SIZE - 1)
{
	my $copy = archive_copy('changed');
	spoil_entry($copy, $n);
	ends(1, qr/entry $n: not what was logged/, "entry $n changed is named", 'verify', $copy, @key);
}

subtest 'a tile that was changed is named' => sub {
	my $copy = archive_copy('tiles');
	spoil("$copy/tile/0/017", 32 * 5);
	ends(1, qr{tile/0/017: hash 5 is not}, 'of level 0', 'verify', $copy, @key);
	$copy = archive_copy('tiles');
	spoil("$copy/tile/1/000", 32 * 9);
	ends(1, qr{tile/1/000: hash 9 is not}, 'of level 1', 'verify', $copy, @key);
	$copy = archive_copy('tiles');
	spoil("$copy/tile/2/000.p/1", 0);
	ends(1, qr{tile/2/000\.p/1: hash 0 is not}, 'of the edge', 'verify', $copy, @key);
	$copy = archive_copy('tiles');
	spoil("$copy/tile/0/273.p/112", 32 * 7);
	ends(1, qr{tile/0/273\.p/112: hash 7 is not}, 'of the last entries', 'verify', $copy, @key);
};

subtest 'whoever changes an entry and all tiles above it has another root' => sub {
	my $copy = archive_copy('rewritten');
	my @changed = @entries;
	$changed[300] = sample(301);
	BiometricAudit::Archive::write_tree($copy, \@changed);
	ends(1, qr/another root than checkpoint/, 'than was signed', 'verify', $copy, @key);
	$other->write_archive($copy, \@changed);
	ends(1, qr/not signed by a key/, 'and no key to sign it', 'verify', $copy, @key);
	ends(1, qr/two histories/, 'and if he has the key, the checkpoint kept outside shows it',
		'verify', $copy, '--key', $other->vkey, @key, '--checkpoint', "$archive/checkpoint");
};

subtest 'what is missing, cut short, or something else is said' => sub {
	my $copy = archive_copy('missing');
	unlink "$copy/tile/entries/100";
	ends(1, qr{tile/entries/100 is missing}, 'a bundle', 'verify', $copy, @key);
	$copy = archive_copy('missing');
	unlink "$copy/tile/0/100";
	ends(1, qr{tile/0/100 is missing}, 'a tile', 'verify', $copy, @key);
	$copy = archive_copy('missing');
	truncate "$copy/tile/entries/100", 1000;
	ends(1, qr/entry 256\d\d: its bundle ends/, 'a bundle cut short', 'verify', $copy, @key);
	truncate "$copy/tile/entries/099", 0;
	ends(1, qr/entry 25344: its bundle ends/, 'an empty bundle', 'verify', $copy, @key);
	write_file("$copy/tile/entries/098", read_file("$archive/tile/entries/098") . "\0\0");
	ends(1, qr/more than 256 entries/, 'a bundle with too much', 'verify', $copy, @key);
	$copy = archive_copy('missing');
	truncate "$copy/tile/0/100", 100;
	ends(1, qr/does not have the length/, 'a tile cut short', 'verify', $copy, @key);
	unlink "$copy/tile/0/100";
	mkdir "$copy/tile/0/100";
	ends(1, qr/not a plain file/, 'a directory for a tile', 'verify', $copy, @key);
	rmdir "$copy/tile/0/100";
	symlink "$archive/tile/0/100", "$copy/tile/0/100";
	ends(1, qr/symbolic link/, 'a link for a tile', 'verify', $copy, @key);
	truncate "$copy/tile/entries/000", 100 * 1024 * 1024;
	ends(1, qr/larger than a file/, 'a file that is too large', 'verify', $copy, @key);
	system('mkfifo', "$copy/fifo");
	rename "$copy/fifo", "$copy/checkpoint";
	ends(3, qr/not a plain file/, 'a pipe for a checkpoint', 'verify', $copy, @key);
	unlink "$copy/checkpoint";
	ends(3, qr/checkpoint is missing/, 'no checkpoint', 'verify', $copy, @key);
	write_file("$copy/checkpoint", "agency.example/ledger\n5\n");
	ends(3, qr/is not a checkpoint/, 'a checkpoint that is none', 'verify', $copy, @key);
};

subtest 'an entry that the log signed and that is none is named' => sub {
	my @strange = (@entries[ 0 .. 9 ], "no entry", @entries[ 11 .. 19 ]);
	$log->write_archive("$place/strange", \@strange);
	ends(1, qr/entry 10 was logged, and is no entry/, 'entry 10', 'verify', "$place/strange", @key);
};

foreach my $size (0, 1, 255, 256, 257, 512)
{
	$log->write_archive("$place/size$size", [ @entries[ 0 .. $size - 1 ] ]);
	ends(0, qr/verified/, "a ledger of $size entries", 'verify', "$place/size$size", @key);
}

# ---------------------------------------------------------------- checkpoints kept outside

sub checkpoint_of
{
	my ($size, $signer) = @_;
	my $file = "$place/checkpoint.$size";
	write_file($file,
		($signer // $log)
		->checkpoint($size, BiometricAudit::Archive::root(@leaves[ 0 .. $size - 1 ])));
	return $file;
}

my @outside = map { ('--checkpoint', checkpoint_of($_)) } 1, 256, 300, 65_536, 65_792, 69_999;
$answer = result('verify', $archive, @key, @outside);
is($answer->{result}, 'verified', 'checkpoints kept outside, all older, agree with the archive');
is(scalar $answer->{checkpoints}->@*, 7, 'all of them');

subtest 'a checkpoint kept outside that does not agree is found' => sub {
	write_file("$place/forged", $log->checkpoint(300, sha256('another')));
	ends(1, qr/first 300 entries have another root/,
		'another root', 'verify', $archive, @key, '--checkpoint', "$place/forged");
	write_file("$place/forged", $log->checkpoint(SIZE + 1, sha256('another')));
	ends(1, qr/archive ends at 70000 entries/,
		'a larger one', 'verify', $archive, @key, '--checkpoint', "$place/forged");
	my $stranger = BiometricAudit::Archive->key('other.example/ledger');
	write_file("$place/forged", $stranger->checkpoint(300, sha256('another')));
	ends(1, qr/is of log/, 'that of another log',
		'verify', $archive, @key, '--key', $stranger->vkey, '--checkpoint', "$place/forged");
};

subtest 'witnesses' => sub {
	my @witnesses = ('--witness', $witness->vkey, '--witness', $second->vkey);
	ends(1, qr/no checkpoint has the signatures of 2/, 'none has signed',
		'verify', $archive, @key, @witnesses);
	my $copy = archive_copy('witnessed');
	my $text = $log->checkpoint_text(SIZE, $root);
	my $note = "$text\n" . $log->signature($text);
	write_file("$copy/checkpoint", $note . $witness->cosignature($text, 1_790_000_000));
	ends(1, qr/the most is 1/, 'one of two', 'verify', $copy, @key, @witnesses);
	my $found = result('verify', $copy, @key, @witnesses, '--require-witnesses', 1);
	is($found->{result}, 'verified', 'one is enough when one is asked for');
	is_deeply(
		$found->{checkpoints}[0]{witnesses},
		[ { name => 'witness.example/one', at => '2026-09-21T14:13:20.000000Z' } ],
		'it is named, with its time');
	write_file("$copy/checkpoint",
		$note . $witness->cosignature($text, 1_790_000_000) . $second->cosignature("$text ", 1));
	ends(1, qr/signature of witness/, 'a wrong signature of a witness is a problem',
		'verify', $copy, @key, @witnesses, '--require-witnesses', 1);
};

# ---------------------------------------------------------------- pruned archives

subtest 'an archive whose beginning is elsewhere' => sub {
	my $copy = archive_copy('pruned');
	write_file("$copy/minimum-index", "65792\n");
	unlink map { ("$copy/tile/0/$_", "$copy/tile/entries/$_") } map { sprintf '%03d', $_ } 0 .. 256;
	unlink "$copy/tile/1/000";
	ends(0, qr/entries before 65792 were not read/, 'verifies from there', 'verify', $copy, @key);
	ends(3, qr/begins at entry 65792/, 'and not before', 'verify', $copy, @key, '--from', 0);
	spoil("$copy/tile/2/000.p/1", 3);
	ends(1, qr/another root/, 'a hash that stands for what is gone counts', 'verify', $copy, @key);
	write_file("$copy/minimum-index", "many\n");
	ends(3, qr/not a decimal number/, 'a beginning that is none', 'verify', $copy, @key);
	ends(0, qr/were not read/, 'a part of a whole archive',
		'verify', $archive, @key, '--from', 69_900);
};

# ---------------------------------------------------------------- segments

subtest 'the root of a segment' => sub {
	foreach my $case ([ 0, 1024 ], [ 67, 1024 ], [ 0, 32_768 ], [ 1, 32_768 ])
	{
		my ($n, $size) = @$case;
		my $found = result('segment', $archive, $n, '--segment-size', $size, @key);
		is($found->{root},
			unpack('H*',
				BiometricAudit::Archive::root(@leaves[ $n * $size .. ($n + 1) * $size - 1 ])),
			"segment $n of $size entries");
	}
	ends(3, qr/is not full/, 'one that is not full', 'segment', $archive, 2, '--segment-size',
		32_768, @key);
	ends(3, qr/is not full/, 'one of the usual size', 'segment', $archive, 0, @key);
	ends(2, qr/not the number/, 'none', 'segment', $archive, 'one', '--segment-size', 1024, @key);
	my $copy = archive_copy('segment');
	spoil_entry($copy, 1030);
	ends(1, qr/entry 1030: not what was logged/,
		'a changed entry', 'segment', $copy, 1, '--segment-size', 1024, @key);
	ends(0, qr/verified/, 'elsewhere', 'segment', $copy, 2, '--segment-size', 1024, @key);
};

# ---------------------------------------------------------------- proofs

subtest 'the proof of an entry' => sub {
	my $file = "$place/entry.tlog-proof";
	foreach my $n (0, 63, 64, 299)
	{
		write_file($file, $log->proof($n, [ @entries[ 0 .. 299 ] ]));
		my $found = result('proof', $file, @key);
		is($found->{result}, 'verified', "entry $n of 300");
		is($found->{entry}{seq}, $n, 'is shown');
	}
	my $text = read_file($file);
	write_file("$place/entry", $entries[299]);
	ends(0, qr/disclosed reference=256/, 'with the entry from a file',
		'proof', $file, @key, '--entry', "$place/entry");
	write_file("$place/entry", $entries[298]);
	ends(1, qr/is not the one in the proof/, 'another entry from a file',
		'proof', $file, @key, '--entry', "$place/entry");
	(my $without = $text) =~ s/^extra .*\n//m;
	write_file($file, $without);
	ends(3, qr/give it by --entry/, 'without an entry', 'proof', $file, @key);
	ends(1, qr/does not lead from this entry/, 'with another one',
		'proof', $file, @key, '--entry', "$place/entry");
	(my $moved = $text) =~ s/^index 299$/index 298/m;
	write_file($file, $moved);
	ends(1, qr/does not lead/, 'as another number', 'proof', $file, @key);
	write_file($file, $text);
	ends(1, qr/not signed by/, 'by another key', 'proof', $file, '--key', $other->vkey);
	ends(2, qr/no key/, 'without a key', 'proof', $file);
	write_file($file, substr $text, 0, 200);
	ends(3, qr/is not a c2sp/, 'cut short', 'proof', $file, @key);
};

subtest 'consistency of two checkpoints' => sub {
	my ($old, $new) = (checkpoint_of(300), checkpoint_of(69_999));
	my $file = "$place/consistency";
	my @proof = BiometricAudit::Archive::consistency(300, @leaves[ 0 .. 69_998 ]);
	write_file($file, join '', map { b64($_) . "\n" } @proof);
	my @both = ('consistency', $old, $new, @key);
	ends(0, qr/verified/, 'by a proof', @both, '--proof', $file);
	ends(1, qr/fewer entries/, 'the wrong way round', 'consistency', $new, $old, @key, '--proof',
		$file);
	write_file($file, join '', map { b64($_) . "\n" } reverse @proof);
	ends(1, qr/does not lead/, 'by another proof', @both, '--proof', $file);
	write_file($file, "no proof\n");
	ends(3, qr/line 1 of/, 'by none', @both, '--proof', $file);
	ends(2, qr/either --proof or --archive/, 'by nothing', @both);
	my $whole = "$archive/checkpoint";
	foreach my $size (1, 255, 256, 300, 65_536, 65_792, 69_999)
	{
		ends(0, qr/verified/, "by an archive's tiles, from $size",
			'consistency', checkpoint_of($size), $whole, @key, '--archive', $archive);
	}
	write_file("$place/forged", $log->checkpoint(300, sha256('another')));
	ends(1, qr/not of the beginning/, 'by an archive that does not agree',
		'consistency', "$place/forged", $whole, @key, '--archive', $archive);
	my $copy = archive_copy('tiles');
	spoil("$copy/tile/0/001", 0);
	ends(1, qr/does not agree with the tiles above/, 'by tiles that were changed',
		'consistency', $old, $whole, @key, '--archive', $copy);
};

# ---------------------------------------------------------------- show

subtest 'entries in readable form' => sub {
	my ($code, $out) = verifier('show', $archive, '--from', 63, '--to', 65);
	is($code, 0, 'a range');
	is($out, <<'END', 'one a line');
63 2026-09-21T14:13:20.063000Z disclosed reference=0 image_id=0000003f-0000-0001-0000-000200000003 kind=face relation_index=1
64 2026-09-21T14:13:20.064000Z statement reference=64 purpose=border_control command=SELECT relations=["public.lane","public.gate"] detail={"rows":63}
65 2026-09-21T14:13:20.065000Z disclosed reference=64 image_id=00000041-0000-0001-0000-000200000003 kind=face relation_index=1
END
	(undef, $out) = verifier('show', $archive, '--event', 'statement');
	is(scalar(() = $out =~ /\n/g), 1094, 'of one event');
	(undef, $out) = verifier('show', "$archive/tile/entries/002", '--from', 512, '--to', 512);
	like($out, qr/^512 /, 'of a bundle, whose path says which');
	(undef, $out) = verifier('show', $archive, '--json', '--from', 64, '--to', 64);
	is_deeply(
		JSON::PP::decode_json($out),
		{
			seq => 64,
			at => '2026-09-21T14:13:20.064000Z',
			event => 'statement',
			reference => 64,
			purpose => 'border_control',
			command => 'SELECT',
			relations => [ 'public.lane', 'public.gate' ],
			detail => { rows => 63 }
		},
		'as JSON');
	ends(2, qr/cannot be the value/, 'of no event', 'show', $archive, '--event', 'nothing');
};

subtest 'what an entry says cannot do anything to a terminal' => sub {
	my @wild = map { entry(2, 0, 0, 11 => $_, 16 => '{"a" : "' . "\x{c2}\x{9b}" . '"}') }
	  "\e[2J\x{07}", "\x{c2}\x{9b}2J", "\x{e2}\x{80}\x{ae}evil", "\xff\xfe", "quote\"back\\",
	  "line\nline";
	write_file("$place/wild", join '', map { pack('n/a*', $_) } @wild);
	foreach my $as ([], ['--json'])
	{
		my ($code, $out) = verifier('show', "$place/wild", @$as);
		is($code, 0, "it is shown @$as");
		is(scalar(() = $out =~ /\n/g), scalar @wild, 'one a line');
		unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae/,
			'without a control character');
		next unless @$as;
		my @read = map { JSON::PP::decode_json($_) } split /\n/, $out;
		is($read[0]{application}, "\e[2J\x{07}", 'and JSON has it as it was');
		is($read[5]{application}, "line\nline", 'with its line break');
		is($read[3]{application}, "\x{fffd}\x{fffd}", 'except what is no text');
	}
	write_file("$place/wild", pack('n/a*', 'no entry'));
	ends(3, qr/entry 0 cannot be read/, 'what is no entry', 'show', "$place/wild");
	write_file("$place/wild", "\xff");
	ends(3, qr/the bundle ends/, 'what is no bundle', 'show', "$place/wild");
};

# ---------------------------------------------------------------- inputs made up

# Every file is changed at random, and whatever is made of it, the program ends
# with one of its codes; never with 0, unless nothing was changed.
subtest 'no input makes it crash' => sub {
	my $small = "$place/small";
	my @few = @entries[ 0 .. 599 ];
	$log->write_archive($small, \@few);
	write_file("$small/minimum-index", "0\n");
	write_file("$place/fuzz.tlog-proof", $log->proof(70, \@few));
	my @files = map { "$small/$_" } 'checkpoint', 'minimum-index', 'tile/0/000', 'tile/0/002.p/88',
	  'tile/1/000.p/2', 'tile/entries/001', 'tile/entries/002.p/88';
	push @files, "$place/fuzz.tlog-proof";
	my %ended;
	my @wrong;
	srand 20191;
	foreach my $round (1 .. 400)
	{
		my $file = $files[ rand @files ];
		my $whole = read_file($file);
		my $bytes = $whole;
		foreach (0 .. int rand 3)
		{
			my $at = int rand(length($bytes) + 1);
			my $how = int rand 5;
			$bytes = substr $bytes, 0, $at if $how == 0;
			substr($bytes, $at, 1) = chr int rand 256 if $how > 1 && $at < length $bytes;
			substr($bytes, $at, 0) = join '', map { chr int rand 256 } 0 .. rand 9 if $how == 1;
		}
		write_file($file, $bytes);
		my ($code) =
		  $file =~ /proof$/ ? verifier('proof', $file, @key) : verifier('verify', $small, @key);
		verifier('show', $file =~ /proof$|entries/ ? $file : $small);
		$ended{$code}++;
		push @wrong, "round $round, $file: $code"
		  unless $code =~ /^[13]$/ || ($code eq '0' && harmless($file, $whole, $bytes));
		write_file($file, $whole);
	}
	is_deeply(\@wrong, [], 'each is refused: ' . join ', ', map { "$ended{$_} times $_" } sort keys %ended);
	ends(0, qr/verified/, 'as it was it verifies', 'verify', $small, @key);
};

# What may change without a consequence: nothing, signatures of others that a
# note may have below, and a minimum index that is still one.
sub harmless
{
	my ($file, $whole, $bytes) = @_;
	return 1 if $whole eq $bytes;
	return $bytes =~ /^\d+\n?$/ if $file =~ /minimum-index$/;
	return index($bytes, $whole) == 0;
}

# ---------------------------------------------------------------- fetch

my $node = BiometricAudit::Node->create('agency',
	conf => "biometric_audit.signing_key = '$log->{directory}/key'\n");
my $server = $node->connstr('postgres');
my $fetched = "$place/fetched";

# grow(): more entries in the server's ledger.
sub grow
{
	my ($count) = @_;
	$node->sql('postgres',
		"INSERT INTO t SELECT n, numbered_jpeg(1, 500)::biometric.face_image
		FROM generate_series(1, $count) AS n");
	return;
}

# fetched_copy(name): a copy of what was fetched, to spoil.
sub fetched_copy
{
	my ($name) = @_;
	rmtree("$place/$name");
	system('cp', '-r', $fetched, "$place/$name") == 0 or die 'cp failed';
	return "$place/$name";
}

ends(4, qr/error/, 'no server', 'fetch', "host=$place dbname=postgres", $fetched);
ends(4, qr/the server says/, 'no ledger', 'fetch', $server, $fetched);
$node->prepare('postgres');
$node->sql('postgres', 'CREATE TABLE t (id int, img biometric.face_image)');
grow(600);

$answer = result('fetch', $server, $fetched);
is($answer->{result}, 'verified', 'a ledger is fetched from a server');
is($answer->{key_source}, 'server', 'whose key has to be believed the first time');
my $live = $log->named($answer->{checkpoints}[0]{origin});
is($answer->{checkpoints}[0]{signed_by}, $live->vkey, 'it is the one of the PEM file');
my @live = ('--key', $live->vkey);
ends(0, qr/result +verified/, 'what was fetched', 'verify', $fetched, @live);
my $first = $answer->{size};
copy("$fetched/checkpoint", "$place/first");

grow(3000);
$answer = result('fetch', $server, $fetched, @live);
is($answer->{result}, 'verified', 'it is fetched again');
is($answer->{fetched}, $answer->{size} - $first, 'only what is new');
ends(0, qr/result +verified/,
	'both together', 'verify', $fetched, @live, '--checkpoint', "$place/first");
ends(0, qr/verified/, 'the one grew from the other',
	'consistency', "$place/first", "$fetched/checkpoint", @live, '--archive', $fetched);

subtest 'what the server says of its ledger verifies' => sub {
	my ($size, $file) = ($answer->{size}, "$place/said");
	write_file($file, $node->sql('postgres', 'SELECT biometric.tlog_proof(700)') . "\n");
	ends(0, qr/^entry +700 /m, 'the proof of an entry', 'proof', $file, @live);
	write_file(
		$file,
		$node->sql('postgres',
			"SELECT string_agg(encode(h, 'base64'), E'\n' ORDER BY n)
			FROM unnest(biometric.consistency_proof($first, $size)) WITH ORDINALITY AS p (h, n)"));
	ends(0, qr/verified/, 'the proof of its growth',
		'consistency', "$place/first", "$fetched/checkpoint", @live, '--proof', $file);
	$node->sql('postgres', "SELECT * FROM biometric.export_ledger('$place/exported')");
	ends(0, qr/verified/, 'its own export',
		'verify', "$place/exported", @live, '--checkpoint', "$place/first");
	is(
		result('segment', $fetched, 1, '--segment-size', 1024, @live)->{root},
		result('segment', "$place/exported", 1, '--segment-size', 1024, @live)->{root},
		'both have the same segments');
};

subtest 'a fetch that was interrupted goes on' => sub {
	my $copy = fetched_copy('interrupted');
	unlink "$copy/checkpoint";
	ends(0, qr/verified/, 'before its checkpoint was there', 'fetch', $server, $copy, @live);
	ends(0, qr/verified/, 'and is whole', 'verify', $copy, @live);
	unlink "$copy/checkpoint";
	truncate "$copy/tile/entries/003", 100;
	truncate "$copy/tile/0/005", 0;
	spoil("$copy/tile/entries/004", 30);
	unlink "$copy/tile/entries/006", "$copy/tile/0/006";
	ends(0, qr/verified/, 'with files that did not reach the disk', 'fetch', $server, $copy, @live);
	ends(0, qr/verified/, 'and is whole, too', 'verify', $copy, @live);
};

subtest 'what contradicts the archive is refused, and both checkpoints are kept' => sub {
	my $size = $answer->{size};
	foreach my $case (
		[ $size + 100_000, 'has lost entries', 'a server that has fewer entries' ],
		[ $first, 'two histories', 'a server with another history' ])
	{
		my ($forged_size, $pattern, $name) = @$case;
		my $copy = fetched_copy('forked');
		my $forged = $live->checkpoint($forged_size, sha256('another'));
		write_file("$copy/checkpoint", $forged);
		ends(1, qr/$pattern/, $name, 'fetch', $server, $copy, @live);
		is(read_file("$copy/checkpoint"), $forged, 'the archive keeps its checkpoint');
		like(read_file("$copy/checkpoint.refused"), qr/^\Q$live->{name}\E\n/,
			"and has the server's beside it");
	}
	my $copy = fetched_copy('damaged');
	spoil("$copy/tile/0/001", 5);
	ends(1, qr/archive is damaged/, 'an archive that was changed', 'fetch', $server, $copy, @live);
	ends(1, qr/is the archive of log/, 'the archive of another log',
		'fetch', $server, archive_copy('strange'), @live, @key);
	ends(1, qr/not signed by a key/, 'a server with another key',
		'fetch', $server, "$place/new", '--key', $other->vkey);
	ends(4, qr/permission denied/, 'somebody who may not read the ledger',
		'fetch', "$server user=officer", "$place/new", @live);
	write_file("$place/file", '');
	ends(3, qr/cannot be/, 'a file for a directory', 'fetch', $server, "$place/file", @live);
};

done_testing();
