# Keys exist decrypted only while a statement runs that uses them: the memory of
# all processes of a server is searched for the bytes of its keys.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant { OFFICE => '127.0.0.2', CHUNK => 1 << 20, BYTEA => 17 };

my $node = BiometricAudit::Node->create('agency',
	conf => "max_parallel_workers = 4\nmax_prepared_transactions = 2\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
$node->sql(
	$db, q{CREATE TABLE t (id int PRIMARY KEY, img biometric.face_image);
	INSERT INTO t SELECT n,
		numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(1, 40) AS n;
	CREATE TABLE entrance (id int, img biometric.face_image);
	CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN PERFORM pg_advisory_xact_lock(45); RETURN NEW; END$$;
	CREATE TRIGGER wait_here BEFORE INSERT ON entrance FOR EACH ROW EXECUTE FUNCTION wait_here();
	CREATE FUNCTION seal_and_fail(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
		$$DECLARE img biometric.face_image := numbered_jpeg(n, 500)::biometric.face_image;
		BEGIN RAISE 'sealed'; END$$;
	GRANT ALL ON t, entrance TO officer});

# ---------------------------------------------------------------- what is looked for

# HKDF-SHA256 without salt (RFC 5869).
sub derive
{
	my ($master, $purpose, $length) = @_;
	my $key = hmac_sha256($master, "\0" x 32);
	my ($block, $result) = ('', '');
	for (my $i = 1; length $result < $length; $i++)
	{
		$block = hmac_sha256($block . "biometric_audit 1 $purpose" . chr($i), $key);
		$result .= $block;
	}
	return substr($result, 0, $length);
}

# AES-256 of whole blocks, by the openssl program.
sub aes
{
	my ($key, $blocks) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/blocks';
	open(my $out, '>:raw', $file) or die "$file: $!";
	print {$out} $blocks;
	close $out;
	my $hex = unpack('H*', $key);
	my $result = `openssl enc -aes-256-ecb -nopad -K $hex -in '$file'`;
	die 'openssl failed' if length $result != length $blocks;
	return $result;
}

# CMAC's first subkey: XAES-256-GCM keeps it beside the key.
sub cmac_subkey
{
	my ($key) = @_;
	my $bits = unpack('B*', aes($key, "\0" x 16));
	my $doubled = pack('B*', substr($bits, 1) . '0');
	return substr($bits, 0, 1) ? $doubled ^ ("\0" x 15 . "\x87") : $doubled;
}

# The key of one message (XAES-256-GCM), from the nonce of its envelope.
sub message_key
{
	my ($body, $nonce) = @_;
	my $subkey = cmac_subkey($body);
	return aes($body,
		join '', map { (pack('n a a', $_, 'X', "\0") . substr($nonce, 0, 12)) ^ $subkey } 1, 2);
}

# needles(line, envelope): name => bytes, of all that a line of a keyring makes.
sub needles
{
	my ($line, @envelopes) = @_;
	my ($hex) = $line =~ /(\w{64})/;
	my $master = pack('H*', $hex);
	my %found = ('the master key' => $master, 'its hexadecimal digits' => $hex);
	my $stream = derive($master, 'blind', 1056);
	$found{'the mask of blinding'} = substr($stream, 0, 32);
	$found{'what the order of blinding is drawn from'} = substr($stream, 512, 32);
	$found{'the pseudorandom key of HKDF'} = hmac_sha256($master, "\0" x 32);
	foreach my $purpose (qw(body header digest picture mark))
	{
		my $key = derive($master, $purpose, 32);
		$found{"the $purpose key"} = $key;
		next if $purpose eq 'body';
		$found{"the inner pad of the $purpose key"} = $key ^ ("\x36" x 32);
		$found{"the outer pad of the $purpose key"} = $key ^ ("\x5c" x 32);
	}
	my $body = derive($master, 'body', 32);
	$found{'the subkey of CMAC'} = cmac_subkey($body);
	foreach my $i (0 .. $#envelopes)
	{
		$found{"the message key of image $i"} = message_key($body, substr($envelopes[$i], 48, 24));
	}
	return %found;
}

# ---------------------------------------------------------------- where it is looked for

# writable(pid, shared): the mappings of a process that it can have written to.
sub writable
{
	my ($pid, $shared) = @_;
	open my $maps, '<', "/proc/$pid/maps" or return;
	my @found;
	while (my $line = <$maps>)
	{
		my ($from, $to, $mode) = $line =~ /^(\w+)-(\w+) (\S{4})/ or next;
		next if $mode !~ /^rw/ || ($mode =~ /s$/ && !$shared);
		no warnings 'portable';
		push @found, [ hex $from, hex $to ];
	}
	return @found;
}

# search(pid, shared, needles): the names of those that are in a process's memory.
sub search
{
	my ($pid, $shared, %needles) = @_;
	my %found;
	open my $memory, '<:raw', "/proc/$pid/mem" or return;
	foreach my $mapping (writable($pid, $shared))
	{
		my ($at, $end) = @$mapping;
		my $before = '';
		while ($at < $end)
		{
			my $size = $end - $at < CHUNK ? $end - $at : CHUNK;
			last unless sysseek($memory, $at, 0) && sysread($memory, my $bytes, $size);
			my $text = $before . $bytes;
			foreach my $name (keys %needles)
			{
				$found{$name} = sprintf('%x', $at) if index($text, $needles{$name}) >= 0;
			}
			$before = length $text > 64 ? substr($text, -64) : $text;
			$at += length $bytes;
		}
	}
	return map { "$_ at $found{$_}" } sort keys %found;
}

# flags_at(pid, address): what the system was told of the memory there; VmFlags of proc(5).
sub flags_at
{
	my ($pid, $address) = @_;
	my $here = 0;
	no warnings 'portable';
	foreach my $line (split /\n/, slurp_file("/proc/$pid/smaps"))
	{
		$here = hex $1 <= hex $address && hex $address < hex $2 if $line =~ /^(\w+)-(\w+) /;
		return $1 if $here && $line =~ /^VmFlags: (.*)/;
	}
	return '';
}

sub servers { return ($node->{_pid}, BiometricAudit::Node::children_of($node->{_pid})); }

# Whether the system lets this test look.
sub may_look
{
	open my $memory, '<:raw', "/proc/$node->{_pid}/mem" or return 0;
	my ($first) = writable($node->{_pid}, 0);
	return sysseek($memory, $first->[0], 0) && sysread($memory, my $byte, 1);
}
plan skip_all => 'the memory of other processes cannot be read' unless may_look();

# Nothing of a key is in any process of the server, nor in its shared memory.
sub nothing_of
{
	my ($what, %needles) = @_;
	my @seen;
	my $first = 1;
	foreach my $pid (servers())
	{
		my $who = BiometricAudit::Node::process_title($pid);
		push @seen, map { "$_ in $pid ($who)" } search($pid, $first, %needles);
		$first = 0;
	}
	is(join("\n", @seen), '', "$what: no process has any byte of a key");
	return;
}

# ---------------------------------------------------------------- what is done with keys

sub officer { return $node->connect_from(OFFICE, $db, 'officer', 'border_control'); }

sub hex_of { return '\x' . unpack('H*', numbered_jpeg($_[0], 500)); }

# Each leaves its session idle, as it says.
my %uses = (
	'simple queries' => sub {
		my ($wire) = @_;
		ok(!is_sealed($wire->query('SELECT img FROM t WHERE id = 1')->value),
			'a picture is opened');
		return $wire->query("INSERT INTO t VALUES (101, '" . hex_of(101) . "')");
	},
	'the extended protocol, and a prepared statement used often' => sub {
		my ($wire) = @_;
		$wire->send_parse('read', 'SELECT img FROM t WHERE id = $1');
		for my $n (1 .. 8)
		{
			$wire->send_bind('', 'read', params => [$n], results => [1]);
			$wire->send_execute('');
			$wire->send_sync;
			ok(!is_sealed($wire->drain->value), "picture $n is opened");
		}
		$wire->query('BEGIN');
		return $wire->extended('INSERT INTO t VALUES (102, $1)', params => [ hex_of(102) ]);
	},
	'a literal that was parsed, and nothing more' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->send_parse('s', "INSERT INTO t VALUES (103, '" . hex_of(103) . "')");
		$wire->send_sync;
		return $wire->drain;
	},
	'parameters that were bound and not used' => sub {
		my ($wire) = @_;
		$wire->query('SET plan_cache_mode = force_generic_plan');
		$wire->query('BEGIN');
		$wire->send_parse('s', 'INSERT INTO t VALUES (104, $1)');
		for (1 .. 3)
		{
			$wire->send_bind("p$_", 's', params => [ hex_of(104) ]);
		}
		$wire->send_sync;
		return $wire->drain;
	},
	'COPY into a table' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->send_query('COPY t FROM STDIN');
		$wire->collect(until => 'G');
		$wire->send_message('d', "105\t\\" . hex_of(105) . "\n");
		$wire->send_message('c', '');
		return $wire->drain;
	},
	'a cursor that is left open' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->query('DECLARE c CURSOR FOR SELECT img FROM t ORDER BY id');
		my $result = $wire->query('FETCH 3 FROM c');
		ok(!is_sealed($result->value), 'pictures are fetched');
		return $result;
	},
	'a portal that is suspended' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->send_parse('', 'SELECT img FROM t ORDER BY id');
		$wire->send_bind('p', '', results => [1]);
		$wire->send_execute('p', 2);
		$wire->send_sync;
		my $result = $wire->drain;
		ok(!is_sealed($result->value), 'pictures are read');
		return $result;
	},
	'an error in a transaction with a savepoint' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->query('SAVEPOINT s');
		ok($wire->query('SELECT img, 1 / (id - 3) FROM t ORDER BY id', on_row => sub { })->error,
			'an error in the midst of pictures');
		return $wire->query('ROLLBACK TO s');
	},
	'an error and nothing after it' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->query('SAVEPOINT s');
		ok($wire->query('INSERT INTO t SELECT 1,
			numbered_jpeg(1, 500)::biometric.face_image')->error,
			'a picture whose row is refused');
		return;
	},
	'an error while a statement is planned' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->query('SAVEPOINT s');
		ok($wire->query('SELECT seal_and_fail(12)')->error,
			'a function that fails when it is folded');
		return;
	},
	'a transaction rolled back' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->query('INSERT INTO t SELECT 106, numbered_jpeg(106, 500)::biometric.face_image');
		return $wire->query('ROLLBACK');
	},
	'a transaction prepared' => sub {
		my ($wire) = @_;
		$wire->query('BEGIN');
		$wire->query('SELECT img FROM t WHERE id = 2');
		$wire->query("PREPARE TRANSACTION 'one'");
		return $wire->query("ROLLBACK PREPARED 'one'");
	},
	'a block that catches its errors' => sub {
		my ($wire) = @_;
		return $wire->query(q{DO $$ DECLARE n int; BEGIN FOR i IN 1 .. 5 LOOP
			BEGIN INSERT INTO t SELECT i, numbered_jpeg(i, 500)::biometric.face_image;
			EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$});
	},
	'the fast path' => sub {
		my ($wire) = @_;
		my $oid = $wire->query(
			q{SELECT 'biometric.face_image(bytea)'::pg_catalog.regprocedure::oid::int})->value;
		$wire->query('BEGIN');
		return $wire->function_call($oid, 1, [ numbered_jpeg(107, 500) ]);
	},
	'parallel workers' => sub {
		my ($wire) = @_;
		$wire->query("SET force_parallel_mode = on; SET max_parallel_workers_per_gather = 2");
		return $wire->query('SELECT img FROM t WHERE id < 5');
	});

sub somebody_waits
{
	return $node->sql($db,
		"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
}

my @envelopes =
  map { opened($node->sql($db, "SELECT biometric.face_image_send(img) FROM t WHERE id = $_")) }
  1, 2;
my %needles = needles($node->fresh_key(1), @envelopes);
my @idle;

subtest 'the search finds keys while a statement holds them' => sub {
	my $gate = $node->connect_from('local', $db, $node->superuser);
	$gate->query('SELECT pg_advisory_lock(45)');
	my $wire = officer();
	$wire->send_query('INSERT INTO entrance SELECT 1, numbered_jpeg(1, 500)::biometric.face_image');
	ok( poll_until(\&somebody_waits),
		'a statement that has sealed a picture waits');
	my %seen = map { /^(.*) at (\w+)$/ } search($wire->pid, 0, %needles);
	ok($seen{$_}, "it holds $_") foreach 'the body key', 'the header key', 'the subkey of CMAC';
	is(join(' ', grep { flags_at($wire->pid, $seen{$_}) !~ /\bdd\b/ } sort keys %seen),
		'', 'all of it in memory that is left out of core dumps');
	ok(!$seen{'the master key'}, 'but not the master key');
	$gate->query('SELECT pg_advisory_unlock(45)');
	is($wire->drain->message, undef, 'and goes on');
	is(join(', ', search($wire->pid, 0, %needles)), '', 'then it has nothing of them');
	push @idle, $wire, $gate;
};

foreach my $name (sort keys %uses)
{
	subtest "after $name" => sub {
		my $wire = officer();
		my $result = $uses{$name}->($wire);
		is($result->message, undef, 'no error') if $result;
		my @found = search($wire->pid, 0, %needles);
		is(join(', ', @found), '', 'an idle session has nothing of a key');
		push @idle, $wire;
	};
}

subtest 'a statement that was cancelled' => sub {
	my $gate = $idle[1];
	$gate->query('SELECT pg_advisory_lock(45)');
	my $wire = officer();
	$wire->query('BEGIN');
	$wire->query('SAVEPOINT s');
	$wire->send_query('INSERT INTO entrance SELECT 1, numbered_jpeg(1, 500)::biometric.face_image');
	poll_until(\&somebody_waits);
	$wire->cancel;
	is($wire->drain->sqlstate, '57014', 'is over');
	is(join(', ', search($wire->pid, 0, %needles)), '', 'and has nothing of a key');
	$gate->query('SELECT pg_advisory_unlock(45)');
	push @idle, $wire;
};

nothing_of('when all are idle', %needles);

subtest 'two keys in one statement, and another keyring' => sub {
	$node->write_keyring($node->fresh_key(1) . $node->fresh_key(2));
	my $wire = officer();
	is($wire->query('INSERT INTO t SELECT 201,
		numbered_jpeg(201, 500)::biometric.face_image')->message,
		undef, 'a picture is sealed under the new key');
	is($node->sql($db, 'SELECT biometric.key_id(img) FROM t WHERE id = 201'), 2, 'at once');
	my $result = $wire->query('SELECT img FROM t WHERE id IN (1, 201) ORDER BY id');
	is(scalar(grep { !is_sealed($_) } $result->column(0)), 2, 'pictures under both are opened');
	nothing_of('the first key', %needles);
	nothing_of('the second key', needles($node->fresh_key(2)));
	push @idle, $wire;
};

subtest 'sealing images again leaves neither keys nor pictures behind' => sub {
	my %second = needles($node->fresh_key(2));
	my %both = (%needles, map({ +"$_ of the second key" => $second{$_} } keys %second),
		map { +"picture $_" => substr(numbered_jpeg($_, 500), 100, 60) } 1 .. 40, 201);
	$node->sql($db, 'CREATE TABLE strict (id int, img biometric.face_image)');
	$node->sql($db, 'INSERT INTO strict SELECT id, img FROM t WHERE id = 1');
	$node->sql($db, 'CREATE FUNCTION key_of(i biometric.face_image) RETURNS int IMMUTABLE '
		  . 'LANGUAGE sql AS $$SELECT biometric.key_id(i)$$');
	$node->sql($db, 'ALTER TABLE strict ADD CHECK (key_of(img) = 1)');
	my $wire = $node->connect_from('local', $db, 'custodian');
	$wire->query('BEGIN');
	is($wire->query(q{SELECT biometric.reseal('t', 'img', 5)})->value, 5, 'pictures are sealed again');
	is(join(', ', search($wire->pid, 0, %both)), '', 'nothing of them or their keys is left');
	$wire->query('SAVEPOINT s');
	is($wire->query(q{SELECT biometric.reseal('strict', 'img')})->sqlstate, '23514', 'others are refused');
	is(join(', ', search($wire->pid, 0, %both)), '', 'of them nothing is left, either');
	$wire->query('ROLLBACK');
	$node->sql($db, 'DROP TABLE strict');
	push @idle, $wire;
};

subtest 'a key that was shredded is nowhere' => sub {
	$node->sql($db, 'ROLLBACK; DROP TABLE entrance');
	$_->query('ROLLBACK') foreach @idle;
	$node->policy($db, 'SELECT biometric.shred_key(1, $$not needed any more$$)');
	my ($folder) = $node->keyring_path =~ m{^(.*)/};
	my ($hex) = $node->fresh_key(1) =~ /(\w{64})/;
	ok(poll_until(sub { index(slurp_file($node->keyring_path), $hex) < 0 }),
		'it leaves the keyring');
	my @files = grep { -f } glob "$folder/* $folder/.*";
	is(join(' ', grep { index(eval { slurp_file($_) } // '', $hex) >= 0 } @files), '', 'no file beside it has it');
	nothing_of('the shredded key', %needles);
};

ok($node->verifies($db), 'the ledger verifies');

done_testing();
