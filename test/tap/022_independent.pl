# What the ledger gives to outsiders - roots, proofs, checkpoints, files - is
# what a second implementation makes of the same entries, which was written in
# another language from RFC 9162, RFC 8032 and the texts of C2SP alone.
#
# INDEPENDENT_SEED repeats a run.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Run qw(run);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node;

use constant OFFICE => '127.0.0.2';
use constant PICTURES => 1400;

my $db = 'postgres';
my $independent = dirname(abs_path(__FILE__)) . '/../independent/rfc9162.py';
my $python = -x '/usr/bin/python3' ? '/usr/bin/python3' : 'python3';

my $node = BiometricAudit::Node->create('agency', start => 0);
my $keys = $node->basedir . '/keys';
my $work = $node->basedir . '/work';
mkdir $work;
run([ qw(openssl genpkey -algorithm ed25519 -out), "$keys/signing.pem" ]) || die 'openssl';
chmod 0600, "$keys/signing.pem";
$node->append_conf('postgresql.conf', <<"END");
biometric_audit.signing_key = '$keys/signing.pem'
biometric_audit.segment_size = 1024
END
$node->start;

# A file to work with: its name, after some text was written to it.
sub file_of
{
	my ($name, $text) = @_;
	open my $file, '>:raw', "$work/$name" or die "$name: $!";
	print $file $text;
	close $file;
	return "$work/$name";
}

# Runs the independent implementation; true if it is content. What it says is
# in $answer then; notes otherwise why not.
my $answer;

sub independent
{
	my @arguments = @_;
	my $complaint;
	my $fine = run([ $python, $independent, @arguments ], '>', \$answer, '2>', \$complaint);
	note $complaint if $complaint ne '';
	return $fine;
}

# The answers of the database to a file of questions, as a file.
sub answers_to
{
	my ($questions) = @_;
	my $script = file_of('script', <<"END");
CREATE TEMP TABLE question (number int GENERATED ALWAYS AS IDENTITY, line text);
\\copy question (line) from '$questions'
SELECT line || coalesce((
	SELECT string_agg(' ' || encode(hash, 'hex'), '' ORDER BY place)
	FROM unnest(CASE parts[1]
		WHEN 'root' THEN ARRAY[biometric.root(parts[2]::int8)]
		WHEN 'entry' THEN ARRAY[biometric.leaf(parts[2]::int8)]
		WHEN 'inclusion' THEN biometric.inclusion_proof(parts[2]::int8, parts[3]::int8)
		WHEN 'consistency' THEN biometric.consistency_proof(parts[2]::int8, parts[3]::int8)
		END) WITH ORDINALITY AS h (hash, place)), '')
FROM question, string_to_array(line, ' ') AS parts ORDER BY number;
END
	my @psql = qw(psql -X -q -A -t -v ON_ERROR_STOP=1);
	my $complaint;
	my $fine = run([ @psql, '-d', $node->connstr($db), '-f', $script, '-o', "$work/answers" ],
		'2>', \$complaint);
	ok($fine, 'the database answers every question') || diag $complaint;
	return "$work/answers";
}

# ---------------------------------------------------------------- a ledger

ok(independent('self'), 'the independent implementation agrees with what is published');

$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
my $pictures = PICTURES;
$node->sql($db, <<"END");
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
GRANT SELECT ON traveller TO officer;
INSERT INTO traveller
	SELECT n, numbered_jpeg(n, 300)::biometric.face_image FROM generate_series(1, $pictures) AS n
END
is( $node->connect_from(OFFICE, $db, 'officer', 'border_control')
	  ->query('SELECT img FROM traveller')->row_count,
	$pictures,
	'pictures are stored, and released');

my $vkey = $node->sql($db, 'SELECT biometric.verifier_key()');
my $checkpoint = $node->sql($db, 'SELECT biometric.checkpoint()');
my ($size) = $checkpoint =~ /\A[^\n]+\n(\d+)\n/;
cmp_ok($size, '>', 2 * PICTURES, "a checkpoint covers the ledger's $size entries");

# ---------------------------------------------------------------- roots, proofs, files

my @seed = $ENV{INDEPENDENT_SEED} // ();
ok(independent('ask', $size, @seed), 'questions, at random beyond the small sizes');
my $questions = file_of('questions', $answer);
my $asked = () = $answer =~ /\n/g;
cmp_ok($asked, '>', 50_000, "$asked questions");
my $answers = answers_to($questions);

mkdir "$work/exported";
$node->sql($db, "SELECT * FROM biometric.export_ledger('$work/exported')");
ok(independent('compare', "$work/exported", $vkey, $questions, $answers),
	'tiles, entries, roots and proofs are the same for both');
note $answer;
is_deeply([ $answer =~ /\broot (\d+)/ ? $1 >= 1026 : 0 ], [1], 'all sizes up to 1025, and above');

# ---------------------------------------------------------------- one entry, one file

foreach my $seq (0, 1, 31, 32, 255, 256, 1023, 1024, 1025, $size - 1)
{
	my $proof = file_of('entry.tlog-proof', $node->sql($db, "SELECT biometric.tlog_proof($seq)"));
	my $entry =
	  $node->sql($db, "SELECT encode(entry, 'hex') FROM biometric.entries($seq, 1)");
	ok(independent('proof', $proof, $vkey), "the proof of entry $seq convinces");
	like($answer, qr/^entry $seq of \d+: $entry$/m, 'of that entry');
}

# ---------------------------------------------------------------- a witness

ok(independent('witness', 'witness.example/w1', 'correct horse'), 'a witness of another make');
chomp(my $witness = $answer);
$node->set('biometric_audit.witnesses', $witness);
my $kept = file_of('checkpoint', $checkpoint);
ok(independent('cosign', $kept, $vkey, 'witness.example/w1', 'correct horse', 1_700_000_000),
	'verifies a checkpoint, and signs it');
my $cosigned = $answer;
is($node->sql($db, "SELECT biometric.add_cosignature(\$note\$$cosigned\$note\$)"),
	1, 'its signature is taken in');
my $given = $node->sql($db, "SELECT biometric.checkpoint($size)");
ok(independent('checkpoint', file_of('cosigned', $given), $vkey, $witness),
	'and given out again, as it was');
like($answer, qr/^cosigned by witness.example\/w1 at 1700000000$/m, 'with its time');

# ---------------------------------------------------------------- what is not so

# Whether the comparison of an export fails with another byte in a file, and only then.
sub notices
{
	my ($path, @compared) = @_;
	my $whole = slurp_file($path);
	my $changed = $whole;
	substr($changed, 40, 1) ^= "\x01";
	my @found;
	foreach my $content ($changed, $whole)
	{
		open my $file, '>:raw', $path or die "$path: $!";
		print $file $content;
		close $file;
		push @found, independent('compare', "$work/exported", $vkey, @compared);
	}
	return !$found[0] && $found[1];
}

my $nothing = file_of('nothing', '');
foreach my $name ('tile/entries/001', 'tile/0/002', 'tile/1/000.p/' . int($size / 256), 'checkpoint')
{
	ok(notices("$work/exported/$name", $nothing, $nothing), "another byte in $name is noticed");
}
my $one = file_of('one', "root 1000\n");
my $hash = $node->sql($db, q{SELECT encode(biometric.root(1000), 'hex')});
ok(notices(file_of('hash', "root 1000 $hash\n"), $one, "$work/hash"), 'and in an answer');
ok(!independent('checkpoint', $kept, $witness), 'and that somebody else has not signed');

$node->stop;
done_testing();
