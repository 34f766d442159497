# How a keyring's file is changed: as a whole, by several servers at once, and
# so that nothing is left of what was in it; keyrings of databases.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant OFFICE => '127.0.0.2';

my $node = BiometricAudit::Node->create('agency');
my $db = 'postgres';
furnish($node, $db);
my $path = $node->keyring_path;
my ($folder) = $path =~ m{^(.*)/};

# furnish(node, database): a table, and an office that gets its pictures opened.
sub furnish
{
	my ($server, $database) = @_;
	$server->prepare($database);
	$server->register($database, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
	$server->sql($database,
		'CREATE TABLE t (id int PRIMARY KEY, img biometric.face_image); GRANT ALL ON t TO officer');
	return;
}

sub officer
{
	my ($server, $database) = @_;
	return $server->connect_from(OFFICE, $database // $db, 'officer', 'border_control');
}

sub enrol
{
	my ($wire, $n) = @_;
	return $wire->query("INSERT INTO t VALUES ($n, '\\x" . unpack('H*',
		numbered_jpeg($n, 500)) . "')");
}

# Whether a picture is opened: yes, no, or the SQLSTATE of the error.
sub readable
{
	my ($wire, $n) = @_;
	my $result = $wire->query("SELECT img FROM t WHERE id = $n");
	return $result->sqlstate if $result->error;
	return 'no' if is_sealed($result->value);
	return opened($result->value) eq numbered_jpeg($n, 500) ? 'yes' : 'wrong';
}

sub key_of
{
	my ($server, $n, $database) = @_;
	return $server->sql($database // $db, "SELECT biometric.key_id(img) FROM t WHERE id = $n");
}

sub rotate
{
	my ($server, $database) = @_;
	return $server->connect_from('local', $database // $db, 'custodian')
	  ->query('SELECT biometric.rotate_key()');
}

# The keys of a keyring's text: id => hexadecimal digits.
sub keys_of { return $_[0] =~ /^(\d+) (\w{64})\b/mg; }

# The hexadecimal digits of a key that are in any file of the keyring's folder.
sub left_of
{
	my ($hex) = @_;
	# a file that is gone when it is looked at has none
	return grep { -f && index(eval { slurp_file($_) } // '', $hex) >= 0 } glob "$folder/*";
}

# An open file goes on being the same when its name is another's.
sub hold_open
{
	my ($file) = @_;
	open(my $handle, '<:raw', $file) or die "$file: $!";
	return $handle;
}

sub content
{
	my ($handle) = @_;
	seek $handle, 0, 0;
	local $/;
	return <$handle> // '';
}

subtest 'a new key comes behind the others, and nothing else changes' => sub {
	chomp(my $first = $node->fresh_key(1));
	$node->write_keyring("# the agency's keys\n\n$first\t# ours\n# the end", 0400);
	my $wire = officer($node);
	is(enrol($wire, 1)->message, undef, 'a picture is sealed');
	my $old = hold_open($path);
	my $inode = (stat $path)[1];
	my $result = rotate($node);
	is($result->message, undef, 'a key is made');
	is($result->value, 2, 'with the next id');
	my $text = slurp_file($path);
	like($text, qr/\A# the agency's keys\n\n$first\t# ours\n# the end\n2 [0-9a-f]{64}\n\z/,
		'comments stay, and the last line is ended');
	is((stat $path)[2] & 07777, 0400, 'the mode stays');
	isnt((stat $path)[1], $inode, 'the file is another');
	is(content($old), "\0" x (length($text) - 68), 'the bytes of the old one are overwritten');
	is(join(' ', sort map { s{.*/}{}r } glob "$folder/*"), 'keyring keyring.lock',
		'nothing else is left');
	is(enrol($wire, 2)->message, undef, 'a session that has used the old key');
	is(key_of($node, 2), 2, 'seals under the new one at once');
	is(readable($wire, $_), 'yes', "picture $_ opens") foreach 1, 2;
	$node->write_keyring($text);
};

subtest 'a key that is shredded leaves the file, and everybody who had it' => sub {
	my %keys = keys_of(slurp_file($path));
	my $wire = officer($node);
	is(readable($wire, 1), 'yes', 'a session opens a picture');
	my $old = hold_open($path);
	my $result = $node->connect_from('local', $db, 'custodian')
	  ->query("SELECT biometric.shred_key(1, 'not needed any more')");
	is($result->message, undef, 'the old key is shredded');
	ok(poll_until(sub { !{ keys_of(slurp_file($path)) }->{1} }), 'its line is gone');
	like(slurp_file($path), qr/\A# the agency's keys\n\n# the end\n2 \w{64}\n\z/,
		'and nothing else');
	ok(poll_until(sub { content($old) !~ /[^\0]/ }), 'the old file is overwritten');
	is(join(' ', left_of($keys{1})), '', 'no file beside it has the key');
	isnt(readable($wire, 1), 'yes', 'the session opens nothing under it any more');
	is(readable($wire, 2), 'yes', 'but what is under the other key');
};

subtest 'what a crash left behind is overwritten and removed' => sub {
	my $left = "$path.new";
	append_to_file($left, 'some key' x 100);
	chmod 0400, $left;
	my $handle = hold_open($left);
	is(rotate($node)->message, undef, 'a key is made');
	ok(!-e $left, 'the file is gone');
	is(content($handle), "\0" x 800, 'and was overwritten');
	append_to_file("$folder/mine", 'mine');
	symlink "$folder/mine", $left;
	is(rotate($node)->message, undef, 'another key is made');
	ok(!-l $left, 'a symbolic link in the way is gone');
	is(slurp_file("$folder/mine"), 'mine', 'and what it pointed to is untouched');
	unlink "$folder/mine";
};

subtest 'a link to the keyring stays a link' => sub {
	my $real = $node->basedir . '/real';
	mkdir $real;
	rename $path, "$real/keyring";
	symlink "$real/keyring", $path;
	is(rotate($node)->message, undef, 'a key is made');
	ok(-l $path, 'the link is still one');
	is(join(' ', sort map { s{.*/}{}r } glob "$real/*"), 'keyring keyring.lock',
		'the file was replaced where it is');
	unlink $path;
	rename "$real/keyring", $path;
};

subtest 'what cannot be replaced is left as it is' => sub {
	my $before = slurp_file($path);
	chmod 0500, $folder;
	my $result = rotate($node);
	chmod 0700, $folder;
	is($result->sqlstate, 'F0000',
		'in a directory that may not be written: ' . ($result->message // 'no error'));
	like($result->detail // '', qr/Permission denied/, 'the error says why');
	is(slurp_file($path), $before, 'the keyring is as it was');
	my $old = hold_open($path);
	chmod 0300, $folder;
	$result = rotate($node);
	chmod 0700, $folder;
	is($result->sqlstate, 'F0000', 'in a directory that cannot be flushed');
	like($result->detail // '', qr/opened to flush it/, 'the error says why');
	is(content($old), $before, 'no byte was overwritten that a crash could bring back');
	is(slurp_file($path), $before, 'the keyring is as it was');
	link $path, "$folder/second";
	is(rotate($node)->sqlstate, 'F0000', 'with a second name');
	unlink "$folder/second";
	is(slurp_file($path), $before, 'the keyring is as it was');
	$node->write_keyring($before . join('', map { $node->fresh_key($_) } 100 .. 1119 + 4));
	my $full = rotate($node);
	is($full->sqlstate, 'F0000',
		'with as many keys as it may hold: ' . ($full->message // 'no error'));
	$node->write_keyring($before);
	is(rotate($node)->message, undef, 'then it goes on');
};

subtest 'a file that is written again at once is read again' => sub {
	my $before = slurp_file($path);
	my $other = join '', map { /^(\d+) / ? $node->fresh_key($1) : $_ } $before =~ /^.*\n/mg;
	my $wire = officer($node);
	is(length $other, length $before, 'a keyring with other keys, as long as this one');
	my (@kept, @refused);
	for my $n (101 .. 140)
	{
		foreach my $text ($other, $before)
		{
			open(my $file, '+<', $path) or die "$path: $!";
			print {$file} $text;
			close $file;
			my $result = enrol($wire, $text eq $other ? 0 : $n);
			push @refused, $n if $text eq $other && ($result->sqlstate // '') ne 'F0000';
			push @kept, $result->message if $text eq $before && $result->error;
		}
	}
	is("@refused", '', 'nothing is sealed while keys are others');
	is("@kept", '', 'and everything as soon as they are back');
};

my $branch = BiometricAudit::Node->create('branch', conf => "biometric_audit.keyring = '$path'\n");

subtest 'two servers change one keyring at once' => sub {
	furnish($branch, $db);
	my %before = keys_of(slurp_file($path));
	my @wires = map { $_->connect_from('local', $db, 'custodian') } ($node, $branch) x 2;
	for (1 .. 5)
	{
		$_->send_query('SELECT biometric.rotate_key()') foreach @wires;
		my @results = map { $_->drain } @wires;
		is(join(' ', map { $_->message // 'done' } @results), 'done done done done',
			'four keys are made at once');
	}
	my $text = slurp_file($path);
	my @ids = $text =~ /^(\d+) \w{64}$/mg;
	is(scalar @ids, 20 + keys %before, 'each is in the keyring');
	my %seen = map { $_ => 1 } @ids;
	is(scalar keys %seen, scalar @ids, 'with an id of its own');
	foreach my $server ($node, $branch)
	{
		my $n = $server == $node ? 11 : 12;
		is(enrol(officer($server), $n)->message, undef, 'a server seals');
		is(key_of($server, $n), $ids[-1], 'under the newest');
	}
};

subtest 'a key that one server takes away is gone for the other' => sub {
	my $wire = officer($branch);
	is(readable($wire, 12), 'yes', 'a session of the other server opens a picture');
	my ($newest) = reverse slurp_file($path) =~ /^(\d+) \w{64}$/mg;
	is(rotate($node)->message, undef, 'one server makes a key');
	is(enrol($wire, 13)->message, undef, 'the session seals');
	is(key_of($branch, 13), $newest + 1, 'under it');
	is($node->connect_from('local', $db, 'custodian')
		  ->query("SELECT biometric.shred_key($newest, 'not needed')")->message,
		undef, 'and shreds the one before');
	ok(poll_until(sub { slurp_file($path) !~ /^$newest /m }), 'which leaves the keyring');
	isnt(readable($wire, 12), 'yes', 'the session opens nothing under it');
	is(readable($wire, 13), 'yes', 'but under the new one');
};

subtest 'databases may have keyrings of their own' => sub {
	$node->sql($db, "CREATE DATABASE $_") foreach qw(north south);
	$node->sql($db, "CREATE DATABASE \"$_\"") foreach '.hidden', 'a/b', 'x;false', '..';
	append_to_file("$folder/$_.keys", '1 ' . sha256_hex($_) . "\n") foreach qw(north south);
	chmod 0600, glob "$folder/*.keys";
	$node->set('biometric_audit.keyring', "$folder/%d.keys");
	foreach my $place (qw(north south))
	{
		furnish($node, $place);
		is(enrol(officer($node, $place), 1)->message, undef, "a picture is sealed in $place");
		is(readable(officer($node, $place), 1), 'yes', 'and opened');
	}
	is(rotate($node, 'north')->message, undef, 'one gets a new key');
	is(scalar(() = slurp_file("$folder/$_->[0].keys") =~ /\n/g), $_->[1], "$_->[0] has $_->[1]")
	  foreach [ north => 2 ], [ south => 1 ];
	my $moved = $node->sql('north', 'SELECT img FROM t WHERE id = 1');
	ok(officer($node, 'south')->query("INSERT INTO t VALUES (7, '$moved')")->error,
		'a picture of one is not taken in the other, whose key 1 is another');
	foreach my $name ('.hidden', 'a/b')
	{
		$node->sql($name, 'CREATE EXTENSION biometric_audit');
		my $result = $node->admin($name)
		  ->query("SELECT '\\x" . unpack('H*', numbered_jpeg(1, 500)) . "'::biometric.face_image");
		is($result->sqlstate, 'F0000', "$name has no keyring: " . ($result->message // 'no error'));
		like($result->detail // '', qr/\Q$name\E/, 'since its name is no file name of its own');
	}
	$node->set('biometric_audit.keyring', undef);
	$node->set('biometric_audit.keyring_command', "cat $folder/%d.keys");
	is(readable(officer($node, 'south'), 1), 'yes', 'a command is told the name, too');
	mkdir "$folder/places";
	foreach my $name ('x;false', '..')
	{
		$node->set('biometric_audit.keyring_command', "cat $folder/places/%d/keyring");
		$node->sql($name, 'CREATE EXTENSION biometric_audit');
		my $result = $node->admin($name)
		  ->query("SELECT '\\x" . unpack('H*', numbered_jpeg(1, 500)) . "'::biometric.face_image");
		is($result->sqlstate, 'F0000',
			"but not $name, which says something to a shell, or is a folder");
		like($result->detail // '', qr/\Q"$name"\E/, 'and says which');
	}
	$node->set('biometric_audit.keyring_command', "cat $folder/%d.keys");
};

my $script = $node->basedir . '/change';

subtest 'a command may change keys' => sub {
	my $store = "$folder/south.keys";
	append_to_file($script, <<'END');
set -e
[ "$4" = south ]
case $1 in
add) echo "$2 $(openssl rand -hex 32)$([ "$3" = - ] || echo " $3")" >> "$5" ;;
remove) grep -v "^$2 " "$5" > "$5.next"; cat "$5.next" > "$5" ;;
esac
END
	is(rotate($node, 'south')->sqlstate, 'F0000', 'without one there are no new keys');
	$node->set('biometric_audit.keyring_change_command', 'true');
	my $idle = rotate($node, 'south');
	is($idle->sqlstate, 'F0000',
		'nor with one that does nothing: ' . ($idle->message // 'no error'));
	$node->set('biometric_audit.keyring_change_command', 'false');
	is(rotate($node, 'south')->sqlstate, 'F0000', 'nor with one that fails');
	$node->set('biometric_audit.keyring_change_command', "sh $script %a %k \"%s\" %d $store");
	my $wire = officer($node, 'south');
	is(readable($wire, 1), 'yes', 'a session has its keys');
	is(rotate($node, 'south')->value, 2, 'one that works makes a key');
	is(enrol($wire, 2)->message, undef, 'the session seals');
	is(key_of($node, 2, 'south'), 2, 'under it');
	is($node->connect_from('local', 'south', 'custodian')
		  ->query("SELECT biometric.shred_key(1, 'not needed')")->message,
		undef, 'the old one is shredded');
	ok(poll_until(sub { slurp_file($store) !~ /^1 /m }), 'and destroyed');
	isnt(readable($wire, 1), 'yes', 'the session opens nothing under it');
	is(readable($wire, 2), 'yes', 'but under the new one');
};

subtest 'a command that hangs is put right by a reload' => sub {
	my $store = "$folder/south.keys";
	is(rotate($node, 'south')->value, 3, 'a key is made');
	is(enrol(officer($node, 'south'), 5)->message, undef, 'a picture is sealed under it');
	is(rotate($node, 'south')->value, 4, 'and another');
	$node->set('biometric_audit.keyring_change_command', 'sleep 1000');
	my $result = $node->connect_from('local', 'south', 'custodian')
	  ->query("SELECT biometric.shred_key(3, 'not needed')");
	is($result->message, undef, 'the first is shredded');
	my $state = sub { $node->sql('south', 'SELECT state FROM biometric.key WHERE key_id = 3') };
	is($state->(), 'shredding', 'the command hangs');
	isnt(readable(officer($node, 'south'), 5), 'yes', 'the picture does not open any more');
	$node->set('biometric_audit.keyring_change_command', "sh $script %a %k \"%s\" %d $store");
	ok(poll_until(sub { $state->() eq 'shredded' }), 'with one that works it goes');
	is(enrol(officer($node, 'south'), 6)->message, undef, 'pictures are sealed under the other');
};

subtest 'a command that failed is tried again by itself' => sub {
	my $works = "$folder/works";
	append_to_file($works, '');
	$node->set('biometric_audit.keyring_command', "test -e $works && cat $folder/%d.keys");
	my $wire = officer($node, 'south');
	unlink $works;
	isnt(readable($wire, 2), 'yes', 'nothing opens without keys');
	append_to_file($works, '');
	ok(poll_until(sub { readable($wire, 2) eq 'yes' }), 'with them, it does in the same session');
};

subtest 'a statement that waits for a command can be cancelled' => sub {
	my $started = "$folder/started";
	$node->set('biometric_audit.keyring_command', "echo \$\$ >> $started; sleep 1000");
	my $wire = officer($node, 'south');
	$wire->send_query("INSERT INTO t SELECT 3, numbered_jpeg(3, 500)::biometric.face_image");
	my $runs = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = " . $wire->pid;
	ok(poll_until(sub { -s $started && $node->sql($db, $runs) eq 't' }), 'a command hangs');
	$wire->cancel;
	is($wire->drain->sqlstate, '57014', 'the statement ends, by what was asked for');
	$node->set('biometric_audit.keyring_command', "cat $folder/%d.keys");
	ok(poll_until(sub { readable($wire, 2) eq 'yes' }), 'the session goes on');
};

subtest 'the last key of a keyring is not gone before it is' => sub {
	my $store = "$folder/south.keys";
	$node->policy('south', q{SELECT biometric.key_period('t', 'img', '1 month')});
	is(enrol(officer($node, 'south'), 4)->message, undef, 'a picture gets a key of its month');
	my $text = slurp_file($store);
	my ($id) = $text =~ /^(\d+) \w{64} /m;
	my ($line) = $text =~ /^($id .*\n)/m;
	unlink $store;
	append_to_file($store, $line);
	chmod 0600, $store;
	$node->set('biometric_audit.keyring_change_command', 'true');
	$node->settle;
	my $result = $node->connect_from('local', 'south', 'custodian')
	  ->query("SELECT biometric.shred_key($id, 'not needed')");
	is($result->message, undef, 'it is shredded, by a command that does nothing');
	my $state = sub { $node->sql('south', "SELECT state FROM biometric.key WHERE key_id = $id") };
	is($state->(), 'shredding', 'so it is not said to be gone');
	$node->set('biometric_audit.keyring_change_command', ": > $store");
	ok(poll_until(sub { $state->() eq 'shredded' }), 'until it is');
};

ok($branch->verifies($db), 'the ledger of the second server verifies');
ok($node->verifies('south'), 'and of the databases');

done_testing();
