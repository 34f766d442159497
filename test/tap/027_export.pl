# Auditors take the ledger away: entry by entry, or as files that the program
# biometric-verify checks without the server. An export can be stopped at any
# moment and goes on where it stopped; its checkpoint never says more than what
# is there.

use strict;
use warnings;

use Fcntl qw(:flock :mode);
use File::Find;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);
use BiometricAudit::Picture;

use constant {
	TILE => 256,
	CANNOT => '55000',
	DENIED => '42501',
	INVALID => '22023',
	DAMAGED => 'XX001',
};

my $keys = PostgreSQL::Test::Utils::tempdir();
my $exports = PostgreSQL::Test::Utils::tempdir();
system_or_bail('sh', '-c', "umask 077; openssl genpkey -algorithm ed25519 -out '$keys/signing.pem'");
my $signing = "biometric_audit.signing_key = '$keys/signing.pem'\n";
my $node = BiometricAudit::Node->create('agency',
	allows_streaming => 1,
	conf => $signing . "biometric_audit.max_databases = 12\nbiometric_audit.ring_size = '256kB'\n"
	  . "max_worker_processes = 24\n");
my $db = 'postgres';

sub furnish
{
	my ($name, $pictures) = @_;
	$node->prepare($name);
	$node->sql($name, 'CREATE TABLE face (id int, img biometric.face_image)');
	return grow($name, $pictures);
}

# Each picture that is stored is an entry.
sub grow
{
	my ($name, $pictures) = @_;
	$node->sql($name,
		'INSERT INTO face SELECT n, numbered_jpeg(n, 300)::biometric.face_image '
		  . "FROM generate_series(1, $pictures) AS n");
	poll_until(sub { $node->sql($name, 'SELECT pending FROM biometric.ledger_status()') eq '0' });
	return;
}

# What an auditor who may write files gets for an export, or the error.
sub export_as
{
	my ($user, $name, $directory, $log) = @_;
	my $wire = $node->connect_from('local', $name, $user);
	my $arguments = "'$directory'" . (defined $log ? ", '$log'" : '');
	my $result = $wire->query(
		"SELECT size, encode(root, 'hex'), files_written FROM biometric.export_ledger($arguments)");
	$wire->close;
	return $result;
}

sub export { return export_as('inspector', @_); }

sub exports_to
{
	my ($name, $directory, $log) = @_;
	my $result = export($name, $directory, $log);
	diag $result->message . ' ' . ($result->detail // '') if $result->error;
	my %row;
	@row{qw(size root written)} = @{ $result->row(0) // [] };
	return \%row;
}

sub verify
{
	my ($directory) = @_;
	my ($out, $errors) = run_command([ 'biometric-verify', 'verify', $directory, '--key-file', "$directory/verifier" ]);
	note "$out\n$errors";
	return $? >> 8;
}

# The files of an export, by what they are called there: their inode and size.
sub files_of
{
	my ($directory) = @_;
	my %files;
	find(
		{
			no_chdir => 1,
			wanted => sub {
				my @status = lstat $_;
				$files{ substr($_, 1 + length $directory) } = "$status[1] $status[7]" if -f _;
			}
		},
		$directory);
	return \%files;
}

sub change_file
{
	my ($path, $change) = @_;
	my $text = slurp_file($path);
	change_file_to($path, $change->($text));
	return $text;
}

sub change_file_to
{
	my ($path, $text) = @_;
	open my $file, '>:raw', $path or die "$path: $!";
	print $file $text;
	close $file;
	return;
}

furnish($db, 600);
$node->sql($db, 'CREATE ROLE inspector LOGIN');
$node->sql($db, 'GRANT biometric_auditor, pg_write_server_files TO inspector');

# ---------------------------------------------------------------- entries()

subtest 'entries() hands out entries as they are hashed' => sub {
	my $query = sub { return $node->run('auditor', $db, "SELECT $_[0] FROM biometric.entries($_[1])"); };
	my $size = $node->sql($db, 'SELECT size FROM biometric.ledger_status()');

	is($query->('count(*)', "0, $size"), $size, 'all that there are');
	is($query->('bool_and(entry = biometric.leaf(seq))', "0, $size"), 't', 'byte for byte');
	is($query->("string_agg(seq::text, ',')", '7, 3'), '7,8,9', 'a range of them, in order');
	is($query->("string_agg(seq::text, ',')", ($size - 2) . ', 1000'),
		($size - 2) . ',' . ($size - 1), 'fewer at the end');
	is($query->('count(*)', "$size, 9223372036854775807"), 0, 'none behind it');
	is($query->('count(*)', 'NULL, 3'), 0, 'none of a range that is not known');
	foreach my $range ('-1, 5', '5, -1', ($size + 1) . ', 0', '9223372036854775807, 1')
	{
		my $result = $node->connect_from('local', $db, 'auditor')->query("SELECT * FROM biometric.entries($range)");
		is($result->sqlstate, INVALID, "a range that cannot be is refused: $range");
	}
	is($node->connect_from('local', $db, 'officer')->query('SELECT * FROM biometric.entries(0, 1)')->sqlstate,
		DENIED, 'and everybody who is no auditor');
};

# ---------------------------------------------------------------- an export, and the next

my $archive = "$exports/archive";
my $first = exports_to($db, $archive);
my $before = files_of($archive);

subtest 'an export is a log in files that anybody can check' => sub {
	is(verify($archive), 0, 'biometric-verify finds it in order');
	is((stat $archive)[2] & S_IRWXU | (stat $archive)[2] & 077, 0700, 'its directory is nobody else\'s');
	cmp_ok($first->{size}, '>', 600, 'it has all entries');
	is($first->{written}, scalar(keys %$before), 'and says how many files it wrote');
	is($first->{root}, $node->sql($db, "SELECT encode(biometric.root($first->{size}), 'hex')"), 'the root is the ledger\'s');
	is_deeply(
		[ sort grep { !m{^tile/} } keys %$before ],
		[qw(checkpoint verifier)], 'beside the tiles there are the checkpoint and the key');
	my $width = $first->{size} % TILE;
	ok($before->{$_}, "it has $_") foreach qw(tile/0/000 tile/0/001 tile/entries/000 tile/entries/001),
	  "tile/0/002.p/$width", "tile/entries/002.p/$width", 'tile/1/000.p/2';
	is(length slurp_file("$archive/tile/0/000"), TILE * 32, 'a full tile has 256 hashes');
};

subtest 'the next export adds what is new' => sub {
	is(exports_to($db, $archive)->{written}, 0, 'nothing is new, nothing is written');
	is_deeply(files_of($archive), $before, 'or touched');
	grow($db, 700);
	my $next = exports_to($db, $archive);
	my $after = files_of($archive);
	is(verify($archive), 0, 'it verifies');
	cmp_ok($next->{size}, '>=', $first->{size} + 700, 'with the new entries');
	is_deeply(
		{ map { $_ => $after->{$_} } grep { m{^tile/(\d|entries)/\d+$} } keys %$before },
		{ map { $_ => $before->{$_} } grep { m{^tile/(\d|entries)/\d+$} } keys %$before },
		'full tiles stay as they are');
	is_deeply([ grep { m{\.p/} && $before->{$_} } keys %$after ], [], 'partial ones of the last export have gone');
	is_deeply([ grep { /\.tmp$/ } keys %$after ], [], 'nothing is left lying about');
};

# ---------------------------------------------------------------- interruptions

subtest 'an export that was stopped goes on where it stopped' => sub {
	my $name = 'large';
	$node->sql($db, "CREATE DATABASE $name");
	furnish($name, 45_000);
	my $whole = exports_to($name, "$exports/whole");

	# whenever it is stopped
	my $directory = "$exports/stopped";
	my $wire = $node->connect_from('local', $name, 'inspector');
	for (my $patience = 4; ; $patience *= 2)
	{
		$wire->query("SET statement_timeout = $patience");
		my $result = $wire->query("SELECT * FROM biometric.export_ledger('$directory')");
		last unless $result->error;
		is($result->sqlstate, '57014', "stopped after $patience ms");
		ok(!-e "$directory/checkpoint" || verify($directory) == 0, 'it leaves no checkpoint, unless all was written');
	}
	is(verify($directory), 0, 'the one that was not stopped made it whole');

	# behind its first batch of files
	$directory = "$exports/hindered";
	mkdir $directory;
	my $keys_file = slurp_file("$exports/whole/verifier");
	change_file_to("$directory/verifier", $keys_file);
	mkdir "$directory/$_" foreach qw(tile tile/entries tile/entries/100);
	my $result = export($name, $directory);
	ok($result->error, 'an export that something is in the way of fails');
	ok(!-e "$directory/checkpoint", 'without a checkpoint');
	rmdir "$directory/tile/entries/100";
	my $rest = exports_to($name, $directory);
	cmp_ok($rest->{written}, '<', $whole->{written} - 100, 'the next one writes the rest only');
	is(verify($directory), 0, 'and it verifies');
};

subtest 'an export survives that everything is killed' => sub {
	my $directory = "$exports/killed";
	my $wire = $node->connect_from('local', 'large', 'inspector');
	$wire->send_query("SELECT * FROM biometric.export_ledger('$directory')");
	ok(poll_until(sub { -e "$directory/verifier" }), 'while an export runs');
	$node->crash;
	$node->start;
	exports_to('large', $directory);
	is(verify($directory), 0, 'the next one makes it whole');
};

# ---------------------------------------------------------------- where not

sub refused
{
	my ($why, $state, $directory, $name) = @_;
	my $result = export($name // $db, $directory);
	is($result->sqlstate, $state, $why);
	ok($result->hint, 'with a hint: ' . ($result->hint // ''));
	return;
}

subtest 'an export goes into a directory of its own' => sub {
	my $data = $node->data_dir;
	my $spaces = PostgreSQL::Test::Utils::tempdir();

	refused('no relative path', INVALID, 'archive');
	refused('not the root directory', INVALID, '/');
	refused('not the data directory', INVALID, $data);
	refused('nothing in it', INVALID, "$data/base/archive");
	refused('nor above it', INVALID, $node->basedir);
	symlink $data, "$exports/way";
	refused('nor by a link', INVALID, "$exports/way/archive");
	refused('nor what is a link', '42809', "$exports/way");
	mkdir "$spaces/space";
	$node->sql($db, "CREATE TABLESPACE elsewhere LOCATION '$spaces/space'");
	refused('nor a tablespace', INVALID, "$spaces/space/archive");
	$node->sql($db, 'DROP TABLESPACE elsewhere');
	refused('no parent, no directory', '58P01', "$exports/none/archive");
	change_file_to("$exports/file", 'a file');
	refused('no file', '42809', "$exports/file");
	mkdir "$exports/full";
	change_file_to("$exports/full/letter", 'dear auditor');
	refused('no directory with other things', CANNOT, "$exports/full");
	is_deeply([ keys %{ files_of("$exports/full") } ], ['letter'], 'where nothing is written');
	refused('no directory of another log', CANNOT, "$exports/whole");
	mkdir "$exports/begun";
	change_file_to("$exports/begun/verifier", slurp_file("$exports/whole/verifier"));
	refused('even one that was only begun', CANNOT, "$exports/begun");

	mkdir "$exports/held";
	open my $held, '<', "$exports/held" or die $!;
	flock $held, LOCK_EX or die $!;
	refused('none that another export is writing to', '55006', "$exports/held");
	close $held;
};

subtest 'what lies in the directory leads nowhere else' => sub {
	mkdir "$exports/piped";
	change_file_to("$exports/piped/verifier", slurp_file("$archive/verifier"));
	mkfifo("$exports/piped/checkpoint", 0700) or die $!;
	my $wire = $node->connect_from('local', $db, 'inspector');
	$wire->send_query("SELECT * FROM biometric.export_ledger('$exports/piped')");
	my $ended = "state = 'idle' AND query LIKE '%/piped%' AND pid = " . $wire->pid;
	my $ends = poll_until(sub { $node->sql($db, "SELECT count(*) FROM pg_stat_activity WHERE $ended"); });
	ok($ends, 'nobody waits for the writer of a pipe');
	open my $writer, '>', "$exports/piped/checkpoint" or die $! unless $ends;
	is($wire->drain->sqlstate, '54000', 'which is no file of an export');

	change_file_to("$exports/letter", 'dear auditor');
	mkdir "$exports/linked";
	link "$exports/letter", "$exports/linked/verifier.tmp" or die $!;
	exports_to($db, "$exports/linked");
	is(slurp_file("$exports/letter"), 'dear auditor', 'a file that has a second name there is not written to');
	is(verify("$exports/linked"), 0, 'and the export is whole');
};

subtest 'only auditors who may write files export to the server' => sub {
	is(export_as('auditor', $db, "$exports/theirs")->sqlstate, DENIED, 'an auditor who may not write files');
	$node->sql($db, 'CREATE ROLE writer LOGIN; GRANT pg_write_server_files TO writer');
	is(export_as('writer', $db, "$exports/theirs")->sqlstate, DENIED, 'a role that may, and is no auditor');
	ok(!-e "$exports/theirs", 'leave no trace');
	my $mark = $node->mark($db);
	exports_to($db, $archive);
	is($node->events($db, $mark), '', 'an export is no entry: it has what auditors may read');
};

# ---------------------------------------------------------------- a directory that says otherwise

subtest 'what is in the directory is compared with the ledger' => sub {
	my $note = change_file("$archive/checkpoint", sub { $_[0] =~ s/\n\d+\n/\n999999\n/r });
	refused('a directory that is ahead of the ledger', CANNOT, $archive);
	change_file("$archive/checkpoint", sub { $note =~ s/\n(\d+)\n./"\n" . ($1 - 1) . "\nA"/er });
	refused('one with another history', DAMAGED, $archive);
	change_file("$archive/checkpoint", sub { 'nonsense' });
	refused('one whose checkpoint is none', CANNOT, $archive);
	change_file("$archive/checkpoint", sub { $note });
	is(exports_to($db, $archive)->{written}, 0, 'the right one is fine');

	grow($db, 300);
	my ($partial) = grep { m{^tile/1/000\.p/} } keys %{ files_of($archive) };
	my $tile = change_file("$archive/$partial", sub { chr(ord($_[0]) ^ 1) . substr($_[0], 1) });
	refused('a tile that was changed', DAMAGED, $archive);
	is(slurp_file("$archive/checkpoint"), $note, 'the checkpoint stays as it was');
	change_file("$archive/$partial", sub { $tile });
	is(exports_to($db, $archive)->{written} > 0, 1, 'with the right tile it goes on');
	is(verify($archive), 0, 'and verifies');

	unlink "$archive/tile/entries/002", "$archive/tile/0/004", "$archive/checkpoint";
	exports_to($db, $archive);
	is(verify($archive), 0, 'what was lost is written again, once the checkpoint was taken away');
};

# ---------------------------------------------------------------- other logs, other servers

subtest 'a log that was forked from can be exported' => sub {
	my $parent = $node->sql($db, 'SELECT log_id FROM biometric.ledger_status()');
	exports_to($db, "$exports/parent");
	$node->policy($db, q{SELECT biometric.fork_ledger('a test')});
	grow($db, 10);
	is(export($db, "$exports/parent")->sqlstate, CANNOT, 'its directory is not for the new log');
	is(exports_to($db, "$exports/parent", $parent)->{written}, 0, 'but for the parent, by its id');
	exports_to($db, "$exports/child");
	is(verify("$exports/child"), 0, 'the new log goes into a directory of its own');
	is(export($db, "$exports/other", '00000000-0000-4000-8000-000000000000')->sqlstate,
		INVALID, 'a log that there is not is refused');
};

subtest 'a standby exports what was signed on the primary' => sub {
	$node->backup('b');
	my $standby = BiometricAudit::Node->new('standby');
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->start;
	exports_to($db, "$exports/primary");
	$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
	my $result = $standby->connect_from('local', $db, 'inspector')
	  ->query("SELECT size, files_written FROM biometric.export_ledger('$exports/standby')");
	ok(!$result->error, 'an export on a standby') or diag $result->message;
	is(verify("$exports/standby"), 0, 'verifies');
	is($standby->connect_from('local', $db, 'auditor')->query('SELECT count(*) > 10 FROM biometric.entries(0, 100000)')->value,
		't', 'as entries() does');
	$standby->stop('immediate');
};

subtest 'without a signature there is no export' => sub {
	my $plain = 'plain';
	$node->set('biometric_audit.signing_key', undef);
	$node->sql($db, "CREATE DATABASE $plain");
	furnish($plain, 5);
	refused('a log that was never signed', CANNOT, "$exports/plain", $plain);
	ok(!-e "$exports/plain", 'not even a directory is made');
	ok(exports_to($db, "$exports/child")->{size} > 0, 'what was signed before can be had');
};

done_testing();
