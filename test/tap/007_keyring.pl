# Where keys come from: what is refused as a keyring, what happens then, and
# how keys are changed in a running server.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant OFFICE => '127.0.0.2';

my $node = BiometricAudit::Node->create('agency');
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
$node->sql(
	$db, q{CREATE TABLE t (id int PRIMARY KEY, img biometric.face_image); GRANT ALL ON t TO officer;
	INSERT INTO t VALUES (1, numbered_jpeg(1, 500)::biometric.face_image)});

my $path = $node->keyring_path;
my $key = $node->fresh_key(1);
my ($secret) = $key =~ /(\w{64})/;

sub officer { return $node->connect_from(OFFICE, $db, 'officer', 'border_control'); }

# Whether a picture can be read: its bytes are right, or the SQLSTATE of the error.
sub readable
{
	my ($n, $wire) = @_;
	my $result = ($wire // officer())->query("SELECT img FROM t WHERE id = $n");
	return $result->sqlstate if $result->error;
	my $value = $result->value;
	return
		is_sealed($value)                        ? 'sealed'
	  : opened($value) eq numbered_jpeg($n, 500) ? 'yes'
	  :                                            'wrong';
}

# Enrols a picture; the result of the INSERT.
sub enrol
{
	my ($n, $wire) = @_;
	return ($wire // officer())
	  ->query("INSERT INTO t VALUES ($n, '\\x" . unpack('H*', numbered_jpeg($n, 500)) . "')");
}

# With the keyring as it now is, nothing is sealed and nothing is opened, and
# the error says why without a key in it.
sub unusable
{
	my ($problem, $named) = @_;
	$node->settle;
	my $result = enrol(2);
	is($result->sqlstate, 'F0000', 'no picture is sealed: ' . ($result->message // 'no error'));
	my $all = join ' ', map { $_ // '' } $result->message, $result->detail, $result->hint;
	like($all, $problem, 'and the error says why');
	like($all, qr/\Q$named\E/, 'and names the file') if defined $named;
	ok(defined $result->hint, 'and what to do');
	unlike($all, qr/$secret/i, 'but no key');
	is(readable(1), '42501', 'no picture is opened');
	my $wire = $node->connect_from('local', $db, $node->superuser);
	ok( is_sealed($wire->query('SELECT img FROM t')->value)
		  || $wire->query('SELECT img FROM t')->error,
		'sealed values can at most be carried about');
	return;
}

sub restore
{
	$node->write_keyring($key);
	$node->settle;
	is(readable(1), 'yes', 'with the old keyring back everything works');
	return;
}

is(readable(1), 'yes', 'to begin with everything works');

my %refused = (
	'is missing' => [ sub { unlink $path }, qr/keyring/i ],
	'may be read by the group' => [ sub { chmod 0640, $path }, qr/permission|group|mode|0600/i ],
	'may be read by all' => [ sub { chmod 0604, $path }, qr/permission|others|mode|0600/i ],
	'may be written by the group' => [ sub { chmod 0620, $path }, qr/permission|group|mode|0600/i ],
	'is a directory' => [ sub { unlink $path; mkdir $path }, qr/regular|director/i ],
	'is a pipe' => [ sub { unlink $path; system 'mkfifo', '-m', '600', $path }, qr/regular/i ],
	'is empty' => [ sub { $node->write_keyring('') }, qr/key/i ],
	'has comments only' => [ sub { $node->write_keyring("# nothing\n\n") }, qr/key/i ],
	'has a key that is too short' =>
	  [ sub { $node->write_keyring("1 abcdef\n") }, qr/line 1|hex/i ],
	'has a key that is too long' =>
	  [ sub { $node->write_keyring("1 ${secret}ab\n") }, qr/line 1|hex/i ],
	'has a key that is not hex' =>
	  [ sub { $node->write_keyring('1 ' . 'g' x 64 . "\n") }, qr/line 1|hex/i ],
	'has an id twice' => [ sub { $node->write_keyring($key . $key) }, qr/line 2|twice|duplicate/i ],
	'has the id 0' => [ sub { $node->write_keyring("0 $secret\n") }, qr/line 1|id/i ],
	'has an id that is too large' =>
	  [ sub { $node->write_keyring("4294967296 $secret\n") }, qr/line 1|id/i ],
	'has a negative id' => [ sub { $node->write_keyring("-1 $secret\n") }, qr/line 1|id/i ],
	'has a line without a key' => [ sub { $node->write_keyring("${key}2\n") }, qr/line 2/i ],
	'has something behind the key' =>
	  [ sub { $node->write_keyring("1 $secret more\n") }, qr/line 1/i ],
	'is garbage' => [ sub { $node->write_keyring("\0\xff\x01" x 1000) }, qr/line|malformed/i ]);

foreach my $fault (sort keys %refused)
{
	subtest "a keyring that $fault is refused" => sub {
		my ($make, $problem) = @{ $refused{$fault} };
		$make->();
		unusable($problem, $path);
		rmdir $path;
		unlink $path;
		restore();
	};
}

subtest 'a keyring inside the data directory is refused' => sub {
	my $inside = $node->data_dir . '/keyring';
	my $link = $node->basedir . '/keys/link';
	open my $file, '>', $inside;
	print $file $key;
	close $file;
	chmod 0600, $inside;
	symlink $inside, $link;
	foreach my $setting ($inside, $link, $node->data_dir . '/../pgdata/keyring', 'keyring')
	{
		$node->set('biometric_audit.keyring', $setting);
		unusable(qr/data directory|absolute/i);
	}
	unlink $inside, $link;
	$node->set('biometric_audit.keyring', $path);
	restore();
};

subtest 'without any keyring nothing is sealed or opened' => sub {
	$node->set('biometric_audit.keyring', undef);
	unusable(qr/keyring/i);
	$node->set('biometric_audit.keyring', $path);
	restore();
};

subtest 'comments, blank lines, spaces, upper case and many keys are understood' => sub {
	my $text =
		"# the keys\n\n  \t\n"
	  . uc($key)
	  . join('', map { $node->fresh_key($_) } 2 .. 1000)
	  . "\t4294967295   "
	  . $secret
	  . "  \n# end";
	$node->write_keyring($text);
	$node->settle;
	is(readable(1), 'yes', 'old pictures open');
	is(enrol(2)->message, undef, 'new ones are sealed');
	is($node->sql($db, 'SELECT biometric.key_id(img) FROM t WHERE id = 2') % 4294967296,
		4294967295, 'under the highest id');
	is(readable(2), 'yes', 'and open');
	$node->sql($db, 'DELETE FROM t WHERE id = 2');
	restore();
};

subtest 'a running session takes a changed keyring at its next statement' => sub {
	my $wire = officer();
	is(readable(1, $wire), 'yes', 'a session that has read its keys');
	$node->write_keyring($key . $node->fresh_key(2));
	is(enrol(2, $wire)->message, undef, 'enrols');
	is($node->sql($db, 'SELECT biometric.key_id(img) FROM t WHERE id = 2'),
		2, 'under the new key without a reload');
	$node->settle;
	is(enrol(3, $wire)->message, undef, 'and after one');
	is($node->sql($db, 'SELECT biometric.key_id(img) FROM t WHERE id = 3'), 2, 'likewise');
	is(readable($_, $wire), 'yes', "picture $_ opens") foreach 1, 2, 3;
	$node->write_keyring($node->fresh_key(2));
	$node->settle;
	is(readable(1, $wire), '42501', 'without the old key its pictures do not open');
	is(readable(3, $wire), 'yes', 'those of the new key do');
	my $mark = $node->mark($db);
	my $result = $wire->query('SELECT img FROM t ORDER BY id DESC');
	is($result->sqlstate, '42501', 'a result with both is refused');
	my ($entry) = $node->refusals($db, $mark);
	is($entry->{reason}, 'key_unavailable', 'and entered');
	$node->write_keyring($key . $node->fresh_key(2));
	$node->settle;
	is(readable($_, $wire), 'yes', "picture $_ opens again") foreach 1, 2, 3;
	$node->write_keyring($key . "2 " . ('ab' x 32) . "\n");
	$node->settle;
	isnt(readable(3, $wire), 'yes', 'another key under the same id opens nothing');
	is(readable(1, $wire), 'yes', 'and harms nothing else');
	$node->sql($db, 'DELETE FROM t WHERE id > 1');
	restore();
};

subtest 'accessors need no key, and a dump restores without' => sub {
	my $meta =
	  q{SELECT concat_ws(' ', biometric.kind(img), biometric.format(img), biometric.width(img),
		biometric.height(img), biometric.byte_length(img), biometric.key_id(img)) FROM t WHERE id = 1};
	is($node->sql($db, $meta), 'face jpeg 320 240 500 1', 'with the key');
	my $sealed = $node->sql($db, 'SELECT img FROM t WHERE id = 1');
	$node->write_keyring($node->fresh_key(7));
	$node->settle;
	my $wire = $node->connect_from('local', $db, $node->superuser);
	my $result = $wire->query($meta);
	is($result->value, 'face jpeg 320 240 500 1', 'without it') || diag $result->message;
	is( $wire->query("CREATE TABLE restored AS SELECT '$sealed'::biometric.face_image AS img")
		  ->message,
		undef, 'a sealed value is accepted without its key');
	restore();
	is(officer()->query('SELECT 1')->value, 1, 'and the server goes on');
};

subtest 'a command may give the keys' => sub {
	my $store = $node->basedir . '/keys/store';
	$node->set('biometric_audit.keyring', undef);
	rename $path, $store;
	chmod 0600, $store;
	$node->set('biometric_audit.keyring_command', "cat $store");
	is(readable(1), 'yes', 'its output is the keyring');
	is(enrol(2)->message, undef, 'that seals, too');
	is(readable(2), 'yes', 'and opens');
	my %commands = (
		'false' => 'that fails',
		"cat $store; exit 3" => 'that fails after its output',
		'true' => 'that says nothing',
		'echo nonsense' => 'that says nonsense',
		"cat $store; kill -9 \$\$" => 'that is killed',
		'/nonexistent/command' => 'that does not exist');

	foreach my $command (sort keys %commands)
	{
		$node->set('biometric_audit.keyring_command', $command);
		my $result = enrol(3);
		is($result->sqlstate, 'F0000',
			"a command $commands{$command} is refused: " . ($result->message // 'no error'));
		unlike(join(' ', map { $_ // '' } $result->message, $result->detail, $result->hint),
			qr/$secret/, 'without a key in the error');
		is(readable(1), '42501', 'and nothing is opened');
	}
	$node->set('biometric_audit.keyring_command', undef);
	rename $store, $path;
	$node->set('biometric_audit.keyring', $path);
	restore();
};

subtest 'nobody but the server reads where the keys are' => sub {
	my $wire = officer();
	is($wire->query("SET biometric_audit.$_ = '/tmp/mine'")->sqlstate,
		'55P02', "$_ cannot be set in a session")
	  foreach qw(keyring keyring_command enforcement);
	unlike(slurp_file($node->logfile), qr/$secret/i, 'no key is in the log');
};

ok($node->verifies($db), 'the ledger verifies');

done_testing();
