# biometric-verify checks a ledger with nothing but files: what was changed,
# removed or made up is found and named, whatever it is given.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use File::Copy  qw(copy);
use File::Path  qw(mkpath rmtree);
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX ();
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
	# what never ends is ended, and fails
	my $limit = IPC::Run::timeout(180);
	eval {
		IPC::Run::run([ 'biometric-verify', @arguments ],
			'<', \undef, '>', \$out, '2>', \$err, $limit);
		1;
	} or return ('no end', $out, "$err$@");
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

subtest 'the key of the archive itself counts only for who says so' => sub {
	ends(2, qr/no key.*--trust-archive-key/s, 'an archive', 'verify', $archive);
	ends(2, qr/no key/, 'a segment', 'segment', $archive, 0, '--segment-size', 1024);
	ends(2, qr/leave out --trust-archive-key/, 'either the one or the other',
		'verify', $archive, @key, '--trust-archive-key');
	ends(0, qr/result +verified, but only by the key that is in the archive/,
		'who trusts it is told', 'verify', $archive, '--trust-archive-key');
	my $forged = archive_copy('invented');
	$other->write_archive($forged, [ @entries[ 0 .. 9 ] ]);
	is(result('verify', $forged)->{result}, 'error', 'an invented archive does not verify');
	my $found = result('verify', $forged, '--trust-archive-key');
	is($found->{key_source}, 'archive', 'where the key came from is a fact');
	ok(!$found->{key_trusted}, 'and that nobody vouches for it');
	ok($answer->{key_trusted}, 'unlike for the one that was named');
};
ok($answer->{complete}, 'an archive is complete when it was read from its first entry on');
like((verifier('--version'))[1], qr/^biometric-verify \d+\.\d+/, 'the program says its release');
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
	rename "$copy/tile/0", "$copy/zero";
	symlink "$archive/tile/0", "$copy/tile/0";
	ends(1, qr/symbolic link/, 'a link for a directory of tiles', 'verify', $copy, @key);
	truncate "$copy/tile/entries/000", 100 * 1024 * 1024;
	ends(1, qr/larger than a file/, 'a file that is too large', 'verify', $copy, @key);
	system('mkfifo', "$copy/fifo");
	rename "$copy/fifo", "$copy/checkpoint";
	ends(3, qr/not a plain file/, 'a pipe for a checkpoint', 'verify', $copy, @key);
	unlink "$copy/checkpoint";
	ends(3, qr/checkpoint is missing/, 'no checkpoint', 'verify', $copy, @key);
	write_file("$copy/checkpoint", "agency.example/ledger\n5\n");
	ends(3, qr/no signed checkpoint in/, 'a checkpoint that is none', 'verify', $copy, @key);
};

subtest 'what editors, shells and psql do to a checkpoint does not matter' => sub {
	my $copy = archive_copy('edited');
	my $note = read_file("$copy/checkpoint");
	(my $bare = $note) =~ s/\n\z//;
	foreach my $text ($bare, "$note\n", "$note\n\n\n", "\n $bare\r\n")
	{
		write_file("$copy/checkpoint", $text);
		is(result('verify', $copy, @key)->{result}, 'verified', 'with other white space around it');
	}
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

# A checkpoint of the first entries with a witness's signature.
sub cosigned
{
	my ($size) = @_;
	my $file = "$place/cosigned.$size";
	my $text = $log->checkpoint_text($size, BiometricAudit::Archive::root(@leaves[ 0 .. $size - 1 ]));
	write_file($file, "$text\n" . $log->signature($text) . $witness->cosignature($text, 1_790_000_000));
	return $file;
}

subtest 'witnesses' => sub {
	my @witnesses = ('--witness', $witness->vkey, '--witness', $second->vkey);
	ends(1, qr/does not verify: 0 of the witnesses/, 'none has signed',
		'verify', $archive, @key, @witnesses);
	my $copy = archive_copy('witnessed');
	my $text = $log->checkpoint_text(SIZE, $root);
	my $note = "$text\n" . $log->signature($text);
	write_file("$copy/checkpoint", $note . $witness->cosignature($text, 1_790_000_000));
	ends(1, qr/1 of the witnesses.*2 are required/, 'one of two', 'verify', $copy, @key, @witnesses);
	my $again = $witness->named('witness.example/again');
	write_file("$copy/checkpoint",
		$note . join '', map { $_->cosignature($text, 1_790_000_000) } $witness, $again);
	my @twice = ('--witness', $witness->vkey, '--witness', $again->vkey);
	ends(1, qr/1 of the witnesses/, 'one key under two names is one witness',
		'verify', $copy, @key, @twice, '--require-witnesses', 2);
	is(result('verify', $copy, @key, @twice)->{result}, 'verified', 'and one is all that there are');
	write_file("$copy/checkpoint", $note . $witness->cosignature($text, 1_790_000_000));
	my $outside = checkpoint_of(300);
	ends(1, qr/0 of the witnesses have signed checkpoint checkpoint, of 70000/,
		'that an older checkpoint was signed says nothing of the archive',
		'verify', $archive, @key, @witnesses, '--checkpoint', cosigned(300), '--require-witnesses', 1);
	ends(1, qr/of 70000 entries/, 'nor of the newer one of two', 'consistency', cosigned(300),
		"$archive/checkpoint", @key, @witnesses, '--require-witnesses', 1, '--archive', $archive);
	ends(0, qr/witnessed size +70000/, 'which has to be signed itself', 'consistency', $outside,
		"$copy/checkpoint", @key, @witnesses, '--require-witnesses', 1, '--archive', $archive);
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
	ends(1, qr/begins at entry 65792.*--pruned/, 'does not verify by itself', 'verify', $copy, @key);
	ends(0, qr/result +verified, but only from entry 65792 on/,
		'but from there, for who knows that', 'verify', $copy, @key, '--pruned');
	my $found = result('verify', $copy, @key, '--from', 65_792);
	is($found->{result}, 'verified', 'or says where to begin');
	ok(!$found->{complete}, 'and is told that it is not all');
	ends(1, qr/begins at entry 65792/, 'and not before', 'verify', $copy, @key, '--from', 0);
	ends(2, qr/either --from or --pruned/, 'either the one or the other',
		'verify', $copy, @key, '--from', 65_792, '--pruned');
	spoil("$copy/tile/2/000.p/1", 3);
	ends(1, qr/another root/, 'a hash that stands for what is gone counts',
		'verify', $copy, @key, '--pruned');
	write_file("$copy/minimum-index", "many\n");
	ends(3, qr/not a decimal number/, 'a beginning that is none', 'verify', $copy, @key);
	$copy = archive_copy('pruned');
	spoil_entry($copy, 300);
	write_file("$copy/minimum-index", "65792\n");
	is((verifier('show', $copy, '--to', 1))[1] =~ tr/\n//, 2, 'nor are they hidden from who reads them');
	ends(1, qr/entry 300: not what was logged/, 'a file that says so hides no entry that is there',
		'verify', $copy, @key);
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
	# a segment that ends a tile of level 1, whose hashes are in no other tile
	$copy = archive_copy('segment');
	my @forged = @entries;
	$forged[$_] = sample($_ + 1) for 64_512 .. 65_535;
	BiometricAudit::Archive::write_tree("$place/forged.tree", \@forged);
	foreach my $file (map { ("tile/0/$_", "tile/entries/$_") } 252 .. 255)
	{
		copy("$place/forged.tree/$file", "$copy/$file");
	}
	ends(1, qr/not what was logged/, 'a forged one', 'segment', $copy, 63, '--segment-size', 1024, @key);
	unlink "$copy/tile/1/000";
	ends(1, qr{tile/1/000 is missing}, 'a forged one without the tile over it',
		'segment', $copy, 63, '--segment-size', 1024, @key);
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
	(my $bare = $text) =~ s/\n\z//;
	foreach my $other_text ($bare, "$text\n", "$text\n\n")
	{
		write_file($file, $other_text);
		is(result('proof', $file, @key)->{result}, 'verified', 'with other white space at its end');
	}
	(my $unsigned = $text) =~ s/\n[^\n]+\n\z/\n/;
	write_file($file, $unsigned);
	ends(3, qr/no signed checkpoint in/, 'without a signature', 'proof', $file, @key);
	write_file($file, $text);
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
	ends(0, qr/verified/, 'by an archive that has grown beyond both', @both, '--archive', $archive);
	$log->write_archive("$place/short", [ @entries[ 0 .. 9999 ] ]);
	ends(1, qr/archive ends at 10000 entries/, 'by one that ends before', @both, '--archive',
		"$place/short");
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
63 2026-09-21T14:13:20.063000Z disclosed reference=0 image_id=0000003f-0000-0001-0000-000200000003 kind=face relation_index=1 purpose=border_control relation=public.lane
64 2026-09-21T14:13:20.064000Z statement reference=64 purpose=border_control command=SELECT relations=["public.lane","public.gate"] detail={"rows":63}
65 2026-09-21T14:13:20.065000Z disclosed reference=64 image_id=00000041-0000-0001-0000-000200000003 kind=face relation_index=1 purpose=border_control relation=public.lane
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

subtest 'an entry of an image is shown with what it refers to' => sub {
	my @few = (
		entry(1, 0, -1, 6 => 'agency', 7 => '10.0.0.0/8', 8 => '10.1.2.3', 9 => 'officer'),
		entry(2, 0, 0, 10 => 'clerk', 12 => 'border_control', 13 => 'SELECT', 15 => "public.a\npublic.b"),
		entry(3, 0, 1, 1 => 'x' x 16, 2 => "\1", 3 => "\2"),
		entry(3, 0, 999, 1 => 'x' x 16, 2 => "\1", 3 => "\2"),
		entry(7, 0, 0, 1 => 'x' x 16, 2 => "\1", 20 => 'public.c'));
	$log->write_archive("$place/few", \@few);
	my (undef, $out) = verifier('show', "$place/few");
	my $id = '78787878-7878-7878-7878-787878787878';
	my $time = '1970-01-01T00:00:00.000000Z';
	my @lines = split /\n/, $out;
	is( $lines[2],
		"2 $time disclosed reference=1 image_id=$id kind=face relation_index=2"
		  . ' party=agency network=10.0.0.0/8 client_addr=10.1.2.3 session_user_name=officer'
		  . ' current_user_name=clerk purpose=border_control relation=public.b',
		'who got it, where, what for, and of what table');
	is($lines[3], "3 $time disclosed reference=999 image_id=$id kind=face relation_index=2",
		'unless the archive does not have it');
	like($lines[4], qr/ relation=public\.c party=agency .*client_addr=10\.1\.2\.3/, 'also without a statement');
	(undef, $out) = verifier('show', "$place/few", '--json', '--from', 2, '--to', 2);
	is(JSON::PP::decode_json($out)->{statement}, undef, 'JSON has the entry as it is');
	(undef, $out) = verifier('show', "$place/few", '--json', '--from', 2, '--to', 2, '--resolve');
	my $entry = JSON::PP::decode_json($out);
	is($entry->{statement}{seq}, 1, 'and with the statement');
	is($entry->{statement}{purpose}, 'border_control', 'all of it');
	is($entry->{session}{party}, 'agency', 'and the session when that is asked for');
};

subtest 'only what the checkpoint covers is an archive\'s' => sub {
	my $copy = archive_copy('covered');
	copy(checkpoint_of(300), "$copy/checkpoint");
	my (undef, $out) = verifier('show', $copy, '--from', 298);
	is(scalar(() = $out =~ /\n/g), 2, 'though its last bundle has more entries');
	open(my $full, '>', '/dev/full') or die $!;
	IPC::Run::run([ 'biometric-verify', 'show', $archive ], '<', \undef, '>', $full, '2>', \my $err);
	is($? >> 8, 3, 'what could not be written is an error');
};

subtest 'any time can be shown' => sub {
	write_file("$place/times", join '', map { pack('n/a*', entry(2, $_, 0)) } -1, -(2**63));
	my ($code, $out) = verifier('show', "$place/times");
	is($code, 0, 'they are');
	like($out, qr/^0 1969-12-31T23:59:59\.999999Z .*\n1 -290308-12-21T19:59:05\.224192Z /, 'before 1970, too');
};

subtest 'what an entry says cannot do anything to a terminal' => sub {
	my @wild = map { entry(2, 0, 0, 11 => $_, 16 => '{"a" : "' . "\x{c2}\x{9b}" . '"}') }
	  "\e[2J\x{07}", "\x{c2}\x{9b}2J", "\x{e2}\x{80}\x{ae}evil", "\xff\xfe", "quote\"back\\",
	  "line\nline", "\x{cd}\x{8f}\x{e3}\x{85}\x{a4}\x{f0}\x{9d}\x{85}\x{b3}\x{ee}\x{80}\x{80}";
	write_file("$place/wild", join '', map { pack('n/a*', $_) } @wild);
	foreach my $as ([], ['--json'])
	{
		my ($code, $out) = verifier('show', "$place/wild", @$as);
		is($code, 0, "it is shown @$as");
		is(scalar(() = $out =~ /\n/g), scalar @wild, 'one a line');
		unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae/,
			'without a control character');
		unlike($out, qr/\xcd\x8f|\xe3\x85\xa4|\xf0\x9d\x85\xb3|\xee\x80\x80/, 'and without one that hides');
		next unless @$as;
		my @read = map { JSON::PP::decode_json($_) } split /\n/, $out;
		is($read[0]{application}, "\e[2J\x{07}", 'and JSON has it as it was');
		is($read[5]{application}, "line\nline", 'with its line break');
		is($read[6]{application}, "\x{34f}\x{3164}\x{1d173}\x{e000}", 'and what nobody would see');
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
	foreach my $round (1 .. 150)
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
		verifier('show', $file =~ /proof$|entries/ ? $file : $small) if $round % 3 == 0;
		$ended{$code}++;
		push @wrong, "round $round, $file: $code"
		  unless $code =~ /^[13]$/ || ($code eq '0' && harmless($file, $whole, $bytes));
		write_file($file, $whole);
	}
	is_deeply(\@wrong, [], 'each is refused: ' . join ', ', map { "$ended{$_} times $_" } sort keys %ended);
	ends(0, qr/verified/, 'as it was it verifies', 'verify', $small, @key);
};

# What may change without a consequence: nothing, white space around a note,
# signatures of others that it may have below, and a minimum index that is still one.
sub harmless
{
	my ($file, $whole, $bytes) = @_;
	return 1 if $whole eq $bytes;
	return $bytes =~ /^\d+\n?$/ if $file =~ /minimum-index$/;
	(my $note = $bytes) =~ s/^\s+|\s+\z//g;
	return $file =~ /checkpoint$|proof$/ && index("$note\n", $whole) == 0;
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
ok(!$answer->{key_trusted}, 'by who does not know better');
is_deeply([ grep { (stat "$fetched/$_")[2] & 077 } '.', 'checkpoint', 'tile', 'tile/0', 'tile/0/000' ],
	[], 'nobody else can read what was fetched');
like((verifier('--version'))[1],
	qr/ \Q@{[ $node->sql('postgres', "SELECT default_version FROM pg_available_extensions
		WHERE name = 'biometric_audit'") ]}\E\n/, 'the program is of the same release');
my $live = $log->named($answer->{checkpoints}[0]{origin});
is($answer->{checkpoints}[0]{signed_by}, $live->vkey, 'it is the one of the PEM file');
my @live = ('--key', $live->vkey);
ends(0, qr/result +verified/, 'what was fetched', 'verify', $fetched, @live);
my $first = $answer->{size};
copy("$fetched/checkpoint", "$place/first");
is(result('fetch', $server, $fetched)->{key_source}, 'archive',
	'afterwards the directory has the key that counts');

# an archive whose first entries were taken elsewhere
my $pruned = fetched_copy('fetched.pruned');
unlink map { ("$pruned/tile/0/00$_", "$pruned/tile/entries/00$_") } 0, 1;
write_file("$pruned/minimum-index", "512\n");

grow(3000);
$answer = result('fetch', $server, $fetched, @live);
is($answer->{result}, 'verified', 'it is fetched again');
is($answer->{fetched}, $answer->{size} - $first, 'only what is new');
ends(0, qr/result +verified/,
	'both together', 'verify', $fetched, @live, '--checkpoint', "$place/first");
ends(0, qr/verified/, 'the one grew from the other',
	'consistency', "$place/first", "$fetched/checkpoint", @live, '--archive', $fetched);

ends(0, qr/verified/, 'one whose beginning is elsewhere is brought up to date', 'fetch', $server,
	$pruned, @live);
ends(0, qr/from entry 512 on/, 'and verifies', 'verify', $pruned, @live, '--pruned');

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

subtest 'what is in the directory already does not lead it astray' => sub {
	my $copy = fetched_copy('astray');
	system('mkfifo', "$copy/checkpoint.new", "$copy/verifier.new");
	my $listed = $live->vkey =~ s/\+([0-9a-f]{8})\+/'+' . uc($1) . '+'/er;
	write_file("$copy/verifier", '# ' . $live->vkey . "\n" . $other->vkey);
	ends(0, qr/verified/, 'pipes for files', 'fetch', $server, $copy, @live);
	is(read_file("$copy/verifier"), '# ' . $live->vkey . "\n" . $other->vkey . "\n" . $live->vkey . "\n",
		'a key has a line of its own');
	write_file("$copy/verifier", "$listed\n");
	ends(0, qr/verified/, 'a key that is written in another way', 'fetch', $server, $copy, @live);
	is(read_file("$copy/verifier"), "$listed\n", 'is there');

	my $text = (split /\n\n/, read_file("$copy/checkpoint"))[0] . "\n";
	my $cosignature = $witness->cosignature($text, 1_790_000_000);
	write_file("$copy/checkpoint", read_file("$copy/checkpoint") . $cosignature);
	my $again = result('fetch', $server, $copy, @live);
	is($again->{fetched}, 0, 'when there is nothing new');
	like(read_file("$copy/checkpoint"), qr/\n\Q$cosignature\E\z/, 'what a witness has signed stays');

	mkdir "$place/elsewhere";
	mkdir "$place/linked";
	symlink "$place/elsewhere", "$place/linked/tile";
	ends(3, qr/cannot be written/, 'a link for a directory', 'fetch', $server, "$place/linked", @live);
	is_deeply([ glob "$place/elsewhere/*" ], [], 'leads to nothing');
};

# answers(note, key): a server that answers the first question, and the second by
# what begins a COPY; the directory of its socket.
sub answers
{
	my ($note, $key) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir_short();
	my $listener = IO::Socket::UNIX->new(Listen => 1, Local => "$directory/.s.PGSQL.5432") or die $!;
	my $pid = fork // die $!;
	return ($directory, $pid) if $pid;
	my $client = $listener->accept;
	my $take = sub { $client->sysread(my $bytes, 65_536) // 0; return $bytes // '' };
	my $say = sub { my ($type, $body) = @_; $client->syswrite($type . pack('N', 4 + length $body) . $body) };
	$take->();
	$say->('R', pack('N', 0));
	$say->('S', "$_\0") foreach "server_version\x0015.0", "client_encoding\0UTF8";
	$say->('Z', 'I');
	$take->();
	$say->('T', pack('n', 2) . join '', map { "$_\0" . pack('NnNnNn', 0, 0, 25, 0xffff, 0xffffffff, 0) } 'a', 'b');
	$say->('D', pack('n', 2) . join '', map { pack('N/a*', $_) } $note, $key);
	$say->('C', "SELECT 1\0");
	$say->('Z', 'I');
	$take->();
	$say->('1', '');
	$say->('2', '');
	$say->('G', "\0" . pack('n', 0));
	1 while length $take->();
	POSIX::_exit(0);
}

subtest 'a server that goes on for ever does not keep it' => sub {
	my ($directory, $pid) = answers($log->checkpoint(SIZE, $root), $log->vkey);
	ends(4, qr/something else than rows/, 'an answer without an end', 'fetch',
		"host=$directory dbname=x user=x", "$place/endless", @key);
	kill 'KILL', $pid;
	waitpid $pid, 0;
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
		my ($refused) = glob "$copy/checkpoint.refused.$size.*";
		like(read_file($refused), qr/^\Q$live->{name}\E\n/, "and has the server's beside it");
		write_file("$copy/checkpoint.refused.1.aa", 'an earlier one');
		write_file($refused, 'as it was');
		ends(1, qr/$pattern/, 'once more', 'fetch', $server, $copy, @live);
		is(read_file($_), $_ eq $refused ? 'as it was' : 'an earlier one', 'none is replaced')
		  foreach glob "$copy/checkpoint.refused*";
	}
	my $copy = fetched_copy('damaged');
	spoil($_, 5) foreach glob "$copy/tile/1/000.p/*";
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
