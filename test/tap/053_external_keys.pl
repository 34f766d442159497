# Keys that are kept in a PKCS#11 token: made there, taken from there for a statement, and
# destroyed there; and what happens when the token is not to be had.

use strict;
use warnings;

use Fcntl qw(:flock);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant { OFFICE => '127.0.0.2', PIN => 'a secret of 2026', SIZE => 500 };

my ($module) = grep { -e } glob '/usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib*/pkcs11/libsofthsm2.so';
my ($tool, $utility) = map { my $name = $_; (grep { -x } map { "$_/$name" } split /:/, $ENV{PATH})[0] } qw(pkcs11-tool softhsm2-util);
plan skip_all => 'neither SoftHSM nor pkcs11-tool is installed' unless $module && $tool && $utility;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $program = 'biometric-keyring-pkcs11';

# write_file(name, text, mode): its path.
sub write_file
{
	my ($name, $text, $mode) = @_;
	my $path = "$dir/$name";
	unlink $path;
	open my $file, '>', $path or die "$path: $!";
	chmod 0600, $path;
	print $file $text;
	close $file;
	chmod $mode // 0600, $path;
	return $path;
}

mkdir "$dir/tokens";
my $pin = write_file('pin', PIN . "\n");
my $conf = write_file('softhsm2.conf', "directories.tokendir = $dir/tokens\nobjectstore.backend = file\nlog.level = ERROR\n");
$ENV{SOFTHSM2_CONF} = $conf;
system_or_bail($utility, '--init-token', '--free', '--label', 'agency', '--so-pin', '12345678', '--pin', PIN);
my @options = ("--module=$module", '--token=agency', "--pin-file=$pin");

# command(program, set): what the server is to run, without the action.
sub command
{
	my ($path, @more) = @_;
	return join ' ', 'env', "SOFTHSM2_CONF=$conf", ($path ? "PATH=$path:\$PATH" : ()), $program, @options, @more;
}

# keys(set): what the program lists, by id; the value of each is its key and scope.
sub keys_in_token
{
	my ($set) = @_;
	my ($out) = run_command([ $program, @options, "--set=$set", 'list' ]);
	return map { /^(\d+) (.*)$/ } split /\n/, $out;
}

# objects(): what the token holds, as somebody else sees it.
sub objects
{
	local $ENV{TOKEN_PIN} = PIN;
	my ($out) = run_command([ $tool, '--module', $module, '--token-label', 'agency', '--login', '--pin', 'env:TOKEN_PIN',
			'--list-objects', '--type', 'secrkey' ]);
	return join ' ', sort map { /^  label: +(.*?) *$/ } split /\n/, $out;
}

# ---------------------------------------------------------------- the program

subtest 'a key is made in the token, listed as a keyring has it, and destroyed' => sub {
	my @set = (@options, '--set=trial');
	my $scope = '6b1f0d52-30a1-4a7e-9b43-6f2f0e6d1a11 2026-11-01T00:00:00Z 2026-12-01T00:00:00Z';
	command_fails_like([ $program, @set, 'list' ], qr/there is no key in set "trial"/, 'none to begin with');
	command_ok([ $program, @set, 'add', 7, '-' ], 'one is made');
	command_ok([ $program, @set, 'add', 12, split / /, $scope ], 'and one that is bound');
	command_like([ $program, @set, 'list' ], qr/^7 [0-9a-f]{64}\n12 [0-9a-f]{64} \Q$scope\E\n\z/, 'both are listed');
	command_fails_like([ $program, @set, 'add', 7, '-' ], qr/there is a key 7/, 'an id is not given twice');
	command_fails_like([ $program, @set, 'remove', 12, '-' ], qr/another scope/, 'nor one removed that is not meant');
	command_ok([ $program, @set, 'remove', 12, split / /, $scope ], 'it is destroyed');
	command_ok([ $program, @set, 'remove', 12 ], 'which is no error when it is gone');
	is(objects(), 'trial 7 -', 'the token has the other one only');
	command_ok([ $program, @set, 'remove', 7 ], 'until that goes, too');
};

subtest 'what is doubtful is refused' => sub {
	my %wrong = (
		'no id' => [qw(add 0 -)],
		'an id that is too large' => [qw(add 4294967296 -)],
		'an id with a zero before it' => [qw(add 07 -)],
		'no scope' => [ 'add', 7, 'all' ],
		'a scope with more behind it' => [ 'add', 7, "-\n8 -" ],
		'half a scope' => [qw(add 7 6b1f0d52-30a1-4a7e-9b43-6f2f0e6d1a11)]);
	command_fails([ $program, @options, '--set=trial', @{ $wrong{$_} } ], $_) foreach sort keys %wrong;
	command_fails_like([ $program, @options, '--set=a b', 'list' ], qr/--set must be/, 'a set of two words');
	command_fails_like([ $program, $options[0], '--token=other', $options[2], 'list' ], qr/0 tokens/, 'a token that is not there');
	command_fails_like([ $program, "--module=$conf", @options[ 1, 2 ], 'list' ], qr/cannot be used/, 'a module that is none');
	command_fails_like([ $program, @options[ 0, 1 ], '--pin-file=pin', 'list' ], qr/absolute/, 'a relative path');
	chmod 0640, $pin;
	command_fails_like([ $program, @options, 'list' ], qr/mode 0600/, 'a PIN file that others can read');
	chmod 0600, $pin;
	link $pin, "$dir/pin2";
	command_fails_like([ $program, @options, 'list' ], qr/one name/, 'one that has another name');
	unlink "$dir/pin2";
	symlink $pin, "$dir/pin3";
	command_fails_like([ $program, @options[ 0, 1 ], "--pin-file=$dir/pin3", 'list' ], qr/no regular file/, 'a link to one');
	write_file('pin', '');
	command_fails_like([ $program, @options, 'list' ], qr/is empty/, 'an empty one');
	write_file('pin', PIN . "\n");
	is(objects(), '', 'and nothing was made');
};

subtest 'two keys of one id, and keys that cannot be taken out, are nobody\'s' => sub {
	my @set = (@options, '--set=trial');
	local $ENV{TOKEN_PIN} = PIN;
	my @make = ($tool, '--module', $module, '--token-label', 'agency', '--login', '--pin', 'env:TOKEN_PIN', '--keygen', '--private');
	my $label = sub { return (@make, '--key-type', $_[1] // 'AES:32', '--id', unpack('H*', pack 'L4', $_[2] // 1), '--label', $_[0]) };
	command_ok([ $program, @set, 'add', 1, '-' ], 'a key');
	system_or_bail($label->('trial 1 -'), '--extractable');
	command_fails_like([ $program, @set, $_ ], qr/more than one key 1/, "no $_ beside another key of its id") foreach 'list';
	command_fails_like([ $program, @set, 'add', 2, '-' ], qr/more than one key 1/, 'and nothing is made');
	my $delete = sub { system_or_bail(@make[ 0 .. 7 ], '--delete-object', '--type', 'secrkey', '--id', unpack('H*', pack 'L4', $_[0])) };
	$delete->(1);
	command_ok([ $program, @set, 'list' ], 'without it all is well');
	system_or_bail($label->('trial 3 -', 'AES:32', 3), '--sensitive');
	command_fails_like([ $program, @set, 'list' ], qr/key 3 .* cannot be taken out/, 'one that the token keeps to itself');
	$delete->(3);
	system_or_bail($label->('trial 3 -', 'AES:16', 3), '--extractable');
	command_fails_like([ $program, @set, 'list' ], qr/key 3 .* not as this program makes keys/, 'a short one');
	$delete->(3);
	command_ok([ $program, @set, 'remove', 1 ], 'removed');
};

subtest 'nobody lists the token while somebody changes it, nor the other way round' => sub {
	my @set = (@options, '--set=trial');
	command_ok([ $program, @set, 'add', 1, '-' ], 'a key');
	my $inode = (stat $pin)[1];
	my $waits = sub { return slurp_file('/proc/locks') =~ /-> FLOCK .*:$inode / };
	my @turns = ([ LOCK_EX, 'list' ], [ LOCK_SH, 'add', 2, '-' ], [ LOCK_EX, 'remove', 2 ]);
	foreach my $turn (@turns) {
		my ($mode, @action) = @$turn;
		open my $other, '<', $pin or die "$pin: $!";
		flock $other, $mode or die "$pin: $!";
		my $said = '';
		my $call = IPC::Run::start([ $program, @set, @action ], '>', \$said, '2>&1');
		ok(poll_until($waits), "$action[0] waits for the other");
		close $other;
		ok($call->finish, 'and is done when that has ended');
	}
	command_ok([ $program, @set, 'remove', 1 ], 'removed');
};

subtest 'keys are read as any version of the tool prints them' => sub {
	my $plain = '/^  ID: /s/://2g; s/^  Value: /  VALUE: /';
	my %form = (
		'in capitals' => $plain,
		'with colons' => "$plain; s/^  VALUE: /  Value: /; /^  ID: /s/[0-9a-f][0-9a-f]\\B/&:/g");
	mkdir "$dir/prints";
	local $ENV{PATH} = "$dir/prints:$ENV{PATH}";
	my @set = (@options, '--set=trial');
	foreach my $name (sort keys %form)
	{
		write_file('prints/pkcs11-tool', "#!/bin/sh\nsaid=\$($tool \"\$@\" 2>&1) || exit\n"
			  . "printf '%s\\n' \"\$said\" | sed '$form{$name}'\n", 0755);
		command_ok([ $program, @set, 'add', 7, '-' ], "$name: a key is made");
		command_like([ $program, @set, 'list' ], qr/^7 [0-9a-f]{64}\n\z/, 'listed');
		command_ok([ $program, @set, 'remove', 7 ], 'and destroyed');
		is(objects(), '', 'for good');
	}
};

subtest 'the PIN is on no command line' => sub {
	mkdir "$dir/told";
	write_file('told/pkcs11-tool', "#!/bin/sh\nprintf '%s\\n' \"\$*\" >> $dir/arguments\nexec $tool \"\$@\"\n", 0755);
	local $ENV{PATH} = "$dir/told:$ENV{PATH}";
	my @set = (@options, '--set=told');
	command_ok([ $program, @set, @$_ ], join ' ', @$_) foreach [ 'add', 1, '-' ], ['list'], [ 'remove', 1 ];
	my $arguments = slurp_file("$dir/arguments");
	like($arguments, qr/--keygen.*--delete-object/s, 'what was asked of the token');
	unlike($arguments, qr/${\PIN}/, 'names no PIN');
};

# ---------------------------------------------------------------- a server

my $list = command('', '--set=%d') . ' list';
my $change = command('', '--set=%d') . ' %a %k %s';
command_ok([ $program, @options, '--set=postgres', 'add', 1, '-' ], 'the first key is made by hand');
my $node = BiometricAudit::Node->create('agency', keyring => 0,
	conf => "biometric_audit.keyring = ''\nbiometric_audit.keyring_command = '$list'\nbiometric_audit.keyring_change_command = '$change'\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{control}');
$node->sql($db, 'CREATE TABLE t (id int PRIMARY KEY, img biometric.face_image); GRANT ALL ON t TO officer;
	CREATE TABLE monthly (id int PRIMARY KEY, img biometric.face_image); GRANT ALL ON monthly TO officer');

# enrol(table, n): the result of an INSERT.
sub enrol
{
	my ($table, $n) = @_;
	my $wire = $node->connect_from(OFFICE, $db, 'officer', 'control');
	my $result = $wire->query("INSERT INTO $table VALUES ($n, '\\x" . unpack('H*', numbered_jpeg($n, SIZE)) . "')");
	$wire->close;
	return $result;
}

# readable(table): the numbers of the pictures that open, asked for one by one, each what was enrolled.
sub readable
{
	my ($table) = @_;
	my $wire = $node->connect_from(OFFICE, $db, 'officer', 'control');
	my @open;
	foreach my $n ($wire->query("SELECT id FROM $table ORDER BY id")->column(0))
	{
		my $result = $wire->query("SELECT img FROM $table WHERE id = $n");
		push @open, $n if !$result->error && !is_sealed($result->value) && opened($result->value) eq numbered_jpeg($n, SIZE);
	}
	$wire->close;
	return join ' ', @open;
}

subtest 'images are sealed and opened with a key of the token' => sub {
	is(enrol('t', 1)->message, undef, 'enrolled');
	is(readable('t'), '1', 'and opened');
	is($node->sql($db, 'SELECT biometric.key_id(img) FROM t'), 1, 'under its key');
};

subtest 'rotate_key makes a key in the token' => sub {
	is($node->policy($db, 'SELECT biometric.rotate_key()'), 2, 'the next');
	is(objects(), 'postgres 1 - postgres 2 -', 'it is there');
	is(enrol('t', 2)->message, undef, 'enrolled');
	is($node->sql($db, 'SELECT biometric.key_id(img) FROM t WHERE id = 2'), 2, 'under the new key');
	is(readable('t'), '1 2', 'both open');
};

subtest 'a column with a key period has its keys there, too' => sub {
	$node->policy($db, q{SELECT biometric.key_period('monthly', 'img', '1 month')});
	is(enrol('monthly', 1)->message, undef, 'enrolled');
	my %there = keys_in_token('postgres');
	like($there{3} // '', qr/^[0-9a-f]{64} [0-9a-f-]{36} \d{4}-\d\d-01T00:00:00Z \d{4}-\d\d-01T00:00:00Z$/, 'bound to the column and a month');
	is($node->sql($db, 'SELECT biometric.key_id(img) FROM monthly'), 3, 'sealed under it');
	is(readable('monthly'), '1', 'and opened');
};

subtest 'shred_key destroys it in the token' => sub {
	my %before = keys_in_token('postgres');
	$node->policy($db, q{SELECT biometric.shred_key(1, 'no longer needed')});
	is(objects() =~ s/ 3 \S+ \S+ \S+$/ 3/r, 'postgres 2 - postgres 3', 'the object is gone');
	is(readable('t'), '2', 'what was under it opens no more');
	is(readable('monthly'), '1', 'other keys\' images do');
	$node->policy($db, q{SELECT biometric.shred_key(3, 'the month is over')});
	is(objects(), 'postgres 2 -', 'so does that of a period');
	is(readable('monthly'), '', 'with its month');
	is($node->sql($db, q{SELECT string_agg(key_id || ' ' || state, ', ' ORDER BY key_id) FROM biometric.key}),
		'1 shredded, 2 active, 3 shredded', 'as the view says');
	my ($files) = run_command([ 'grep', '-rlE', substr($before{1}, 0, 64), $node->data_dir, $node->logfile ]);
	is($files, '', 'and its key was never written down by the server');
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'each database has its own set of keys' => sub {
	$node->sql($db, 'CREATE DATABASE branch');
	$node->prepare('branch');
	$node->sql('branch', 'CREATE TABLE t (id int, img biometric.face_image)');
	my $insert = sub {
		return $node->admin('branch')->query('INSERT INTO t VALUES (1, numbered_jpeg(1, 400)::biometric.face_image)');
	};
	my $none = $insert->();
	is($none->sqlstate, 'F0000', 'without one nothing is sealed: ' . ($none->message // 'no error'));
	command_ok([ $program, @options, '--set=branch', 'add', 1, '-' ], 'with one');
	is($insert->()->message, undef, 'it is');
	is($node->policy('branch', 'SELECT biometric.rotate_key()'), 2, 'it gets a new one');
	is(objects(), 'branch 1 - branch 2 - postgres 2 -', 'of its own');
	$node->policy('branch', q{SELECT biometric.shred_key(1, 'a trial')});
	is(objects(), 'branch 2 - postgres 2 -', 'and loses one');
	command_ok([ $program, @options, '--set=branch', 'remove', 2 ], 'the other goes as well');
	is(readable('t'), '2', 'which is nothing to the first database');
};

# Nothing is sealed or opened, and the error says why, and nothing secret.
sub fails
{
	my ($name, $because) = @_;
	my $result = enrol('t', 9);
	is($result->sqlstate, 'F0000', "$name: nothing is sealed: " . ($result->message // 'no error'));
	my $said = join ' ', map { $_ // '' } $result->message, $result->detail, $result->hint;
	like($said, $because, 'and it is said why');
	unlike($said, qr/${\PIN}|[0-9a-f]{64}/, 'without a secret');
	return is(readable('t'), '', 'nothing is opened');
}

subtest 'without the token nothing is sealed or opened, and then it all goes on' => sub {
	write_file('pin', "wrong\n");
	$node->settle;
	fails('a wrong PIN', qr/keyring_command/);
	write_file('pin', PIN . "\n");
	rename "$dir/tokens", "$dir/away";
	$node->settle;
	fails('a token that is missing', qr/keyring_command/);
	rename "$dir/away", "$dir/tokens";
	$node->settle;
	ok(poll_until(sub { return readable('t') eq '2'; }), 'with PIN and token back images open');
	is(enrol('t', 3)->message, undef, 'and are sealed');
};

subtest 'a module that hangs is ended with all that it started' => sub {
	mkdir "$dir/hangs";
	write_file('hangs/pkcs11-tool', "#!/bin/sh\necho \$\$ >> $dir/hanging\nsleep 1000\n", 0755);
	$node->set('biometric_audit.keyring_command', command("$dir/hangs", '--set=%d') . ' list');
	fails('it hangs', qr/did not end within \d+ ms/);
	my @pids = split /\n/, slurp_file("$dir/hanging");
	ok(scalar @pids, 'it was run');
	ok(poll_until(sub { !grep { BiometricAudit::Node::process_alive($_) } @pids }), 'and is gone');
	$node->set('biometric_audit.keyring_command', $list);
	# a command that failed beside another one is run again by itself
	ok(poll_until(sub { return readable('t') eq '2 3'; }), 'with one that answers images open');
};

subtest 'a command that makes no key, or destroys none, is found out' => sub {
	$node->set('biometric_audit.keyring_change_command', 'true');
	my $wire = $node->connect_from('local', $db, 'custodian');
	my $result = $wire->query('SELECT biometric.rotate_key()');
	is($result->sqlstate, 'F0000', 'no new key: ' . ($result->message // 'no error'));
	$node->set('biometric_audit.keyring_change_command', undef);
	$result = $wire->query('SELECT biometric.rotate_key()');
	is($result->sqlstate, 'F0000', 'nor without a command: ' . ($result->message // 'no error'));
	like($result->hint // '', qr/keyring_change_command/, 'which the hint asks for');
	$wire->close;
	is(objects(), 'postgres 2 -', 'nothing was changed');
	is(enrol('t', 4)->message, undef, 'and the server works on');
};

my $log = slurp_file($node->logfile);
unlike($log, qr/${\PIN}/, 'no PIN is in the server\'s log');
unlike($log, qr/\b[0-9a-f]{64}\b/, 'and no key');

$node->stop;
done_testing();
