# Checkpoints: what the worker signs is what is durable, once a second at most,
# under a key that the ledger itself names; whatever is changed of it is found;
# and nothing but the key that is set signs anything.

use strict;
use warnings;

use Digest::SHA  qw(sha256);
use MIME::Base64 qw(decode_base64 encode_base64);
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(opened poll_until);

my $db = 'postgres';
my $node = BiometricAudit::Node->create('signed', allows_streaming => 1);
my $keys = $node->basedir . '/keys';
$node->prepare($db);

sub make_key
{
	my ($name) = @_;
	my $path = "$keys/$name";
	unlink $path;
	my $mask = umask 0077;
	run_log([ 'openssl', 'genpkey', '-algorithm', 'ed25519', '-out', $path ]);
	umask $mask;
	return $path;
}

# The 32 bytes of a key's public half.
sub public_key
{
	my ($path) = @_;
	run_log([ 'openssl', 'pkey', '-in', $path, '-pubout', '-outform', 'DER', '-out', "$path.der" ]);
	return substr(slurp_file("$path.der"), -32);
}

sub raw_signature
{
	my ($path, $message) = @_;
	append_to_file("$path.in", '');
	open my $file, '>:raw', "$path.in" or die "$path.in: $!";
	print $file $message;
	close $file;
	run_log(
		[
			'openssl', 'pkeyutl', '-sign', '-inkey', $path, '-rawin', '-in', "$path.in", '-out',
			"$path.out"
		]);
	return slurp_file("$path.out");
}

# A witness's verifier key, and the line that it signs, by the words of C2SP alone.
sub key_id { my ($name, $kind, $public) = @_; return substr(sha256("$name\n" . chr($kind) . $public), 0, 4); }

sub witness_key
{
	my ($name, $path) = @_;
	my $public = public_key($path);
	return join '+', $name, unpack('H*', key_id($name, 4, $public)),
	  encode_base64(chr(4) . $public, '');
}

sub cosign
{
	my ($name, $path, $checkpoint, $time) = @_;
	my ($text) = $checkpoint =~ /^(.*?\n)\n/s;
	my $signature = raw_signature($path, "cosignature/v1\ntime $time\n$text");
	return "\xe2\x80\x94 $name "
	  . encode_base64(key_id($name, 4, public_key($path)) . pack('Q>', $time) . $signature, '') . "\n";
}

sub state_of { my ($column) = @_; return $node->sql($db, "SELECT $column FROM biometric.ledger_status()"); }

sub auditor { my ($text) = @_; return $node->run('auditor', $db, $text); }

sub refused
{
	my ($user, $text, $sqlstate, $name) = @_;
	my $wire = $node->connect_from('local', $db, $user);
	my $result = $wire->query($text);
	is($result->sqlstate, $sqlstate, $name);
	$wire->close;
	return $result;
}

my $parties = 0;
sub grow { $node->policy($db, "SELECT biometric.register_party('p" . ++$parties . "', 'p', NULL)"); return; }

# The problem that verify_ledger finds, or ''.
sub problem
{
	my ($argument) = @_;
	my ($answer) = $node->records($db,
		'SELECT problem FROM biometric.verify_ledger(' . ($argument // '') . ')');
	return $answer->{problem} // '';
}

# Changes tables on the server as it is without the library.
sub tamper
{
	my ($statement) = @_;
	my @tables = map { "ALTER TABLE biometric.$_" } qw(checkpoint verifier cosignature);
	return $node->unguarded($db,
		join ";\n", (map { "$_ DISABLE TRIGGER USER" } @tables), $statement,
		map { "$_ ENABLE ALWAYS TRIGGER guard, ENABLE ALWAYS TRIGGER guard_row, ENABLE ALWAYS TRIGGER guard_stored" } @tables);
}

sub quoted { my ($text) = @_; $text =~ s/'/''/g; return "'$text'"; }

subtest 'without a key nothing is signed, and it is said what to do' => sub {
	grow();
	my $result = refused('auditor', 'SELECT biometric.checkpoint()', '55000', 'no checkpoint');
	like($result->hint, qr/signing_key/, 'with a hint');
	refused('auditor', 'SELECT biometric.verifier_key()', '55000', 'no key');
	is(state_of('checkpoint_size'), undef, 'none in the status');
	is($node->sql($db, 'SELECT count(*) FROM biometric.checkpoints'), 0, 'none is stored');
};

my $key = make_key('signing.pem');

subtest 'a key file that others could read or that is none signs nothing' => sub {
	chmod 0640, $key;
	my $before = -s $node->logfile;
	$node->set('biometric_audit.signing_key', $key);
	ok(poll_until(sub { state_of('checkpoint_error') }), 'the status says why');
	like(state_of('checkpoint_error'), qr/mode/, 'by the mode');
	my $result = refused('auditor', 'SELECT biometric.checkpoint()', '55000', 'no checkpoint');
	like($result->detail, qr/mode/, 'says so');
	ok(poll_until(sub { slurp_file($node->logfile, $before) =~ /WARNING:.*cannot be used/ }), 'the log has a warning');
	open my $file, '>', $key or die;
	print $file "no key\n";
	close $file;
	chmod 0600, $key;
	$node->settle;
	ok(poll_until(sub { (state_of('checkpoint_error') // '') =~ /PEM/ }), 'no key at all');
	$node->set('biometric_audit.signing_key', $node->data_dir . '/PG_VERSION');
	ok(poll_until(sub { (state_of('checkpoint_error') // '') =~ /data directory/ }),
		'a file in the data directory');
	is(state_of('state'), 'ready', 'the ledger works on');
	is($node->sql($db, 'SELECT count(*) FROM biometric.checkpoints'), 0, 'nothing was signed');
};

$key = make_key('signing.pem');
$node->set('biometric_audit.signing_key', $key);
ok(poll_until(sub { state_of('checkpoint_size') }), 'a good key is taken at a reload');
is(state_of('checkpoint_error'), undef, 'and nothing is wrong any more');

my $log_id = state_of('log_id');
my $vkey = auditor('SELECT biometric.verifier_key()');

subtest 'the key is named after the log, and the log names the key' => sub {
	my $public = public_key($key);
	my $name = "biometric_audit/$log_id";
	is($vkey,
		join('+', $name, unpack('H*', key_id($name, 1, $public)), encode_base64(chr(1) . $public, '')),
		'the verifier key is that of C2SP signed-note');
	is( $node->sql($db,
			q{SELECT detail ->> 'verifier_key' FROM biometric.ledger WHERE event = 'key_changed' AND detail ? 'verifier_key'}),
		$vkey, 'an entry says who signs');
	is( $node->sql($db,
			q{SELECT v.since = l.seq FROM biometric.verifier_keys v, biometric.ledger l WHERE l.event = 'key_changed' AND l.detail ? 'verifier_key'}
		),
		't', 'and the key knows its entry');
	cmp_ok($node->sql($db, 'SELECT min(size - since) FROM biometric.checkpoints, biometric.verifier_keys'),
		'>', 0, 'the first checkpoint covers it');
};

subtest 'a checkpoint covers all that was durable before' => sub {
	foreach (1 .. 2)
	{
		grow();
		my $size = state_of('size');
		my $checkpoint = auditor('SELECT biometric.checkpoint()');
		my ($origin, $covered, $root) = split /\n/, $checkpoint;
		is($origin, "biometric_audit/$log_id", 'origin');
		cmp_ok($covered, '>=', $size, 'size');
		is(unpack('H*', decode_base64($root)),
			substr($node->sql($db, "SELECT biometric.root($covered)"), 2), 'root');
		my ($text, $blob) = $checkpoint =~ /^(.*?\n)\n\S+ \S+ (\S+)\n/s;
		my $raw = decode_base64($blob);
		is(substr($raw, 4), raw_signature($key, $text), 'signed as openssl signs it');
	}
	is(problem(), '', 'the ledger verifies');
};

subtest 'checkpoints are at least a second apart' => sub {
	my %signed;
	ok( poll_until(
			sub {
				grow();
				$signed{ state_of('extract(epoch FROM checkpoint_at)') } = 1;
				return keys %signed > 3;
			}),
		'a ledger that grows is signed again and again');
	my @times = sort { $a <=> $b } keys %signed;
	my @gaps = map { $times[$_] - $times[ $_ - 1 ] } 1 .. $#times;
	is(scalar(grep { $_ < 0.99 } @gaps), 0, 'but not more often') || diag "@gaps";
	auditor('SELECT biometric.checkpoint()');
	cmp_ok($node->sql($db, 'SELECT count(*) FROM biometric.checkpoints'),
		'<=', 2, 'of one minute, the first and the newest are kept');
	is(problem(), '', 'the ledger verifies');
};

subtest 'proofs of one entry and of growth are complete' => sub {
	my $proof = auditor('SELECT biometric.tlog_proof(1)');
	like($proof, qr{^c2sp\.org/tlog-proof\@v1\nextra \S+\nindex 1\n}, 'a tlog-proof');
	my ($extra) = $proof =~ /^extra (\S+)$/m;
	is('\x' . unpack('H*', decode_base64($extra)), $node->sql($db, 'SELECT biometric.leaf(1)'),
		'with the entry');
	my $newest = auditor('SELECT biometric.checkpoint()');
	like(auditor('SELECT biometric.tlog_proof(1)'), qr/\n\Q$newest\E$/s, 'and the newest checkpoint');
	like(auditor('SELECT biometric.add_checkpoint_request(1)'),
		qr{^old 1\n(?:[A-Za-z0-9+/]{43}=\n)+\n\Q$newest\E$}s, 'what a witness is asked');
	my $size = state_of('size');
	refused('auditor', "SELECT biometric.tlog_proof($size + 100)", '22023', 'no such entry');
	refused('auditor', "SELECT biometric.add_checkpoint_request($size + 100)", '22023', 'no such size');
};

my $witness = make_key('witness.pem');
my $stranger = make_key('stranger.pem');

subtest 'what known witnesses sign is verified and kept' => sub {
	my $first = auditor('SELECT biometric.checkpoint()');
	my ($size) = $first =~ /^.*\n(\d+)\n/;
	my $good = cosign('witness.example/w1', $witness, $first, 1_700_000_000);
	refused('auditor', 'SELECT biometric.add_cosignature(' . quoted($first . $good) . ')',
		'22023', 'nobody is known yet');
	$node->set('biometric_audit.witnesses', witness_key('witness.example/w1', $witness));
	# the row goes: neither old enough nor cosigned
	grow();
	auditor('SELECT biometric.checkpoint()');
	is($node->sql($db, "SELECT count(*) FROM biometric.checkpoints WHERE size = $size"),
		0, 'the row has been pruned meanwhile');
	my $other = cosign('stranger.example/s', $stranger, $first, 1_700_000_000);
	refused('auditor', 'SELECT biometric.add_cosignature(' . quoted($first . $other) . ')',
		'22023', 'a stranger does not count');
	my $bad = cosign('witness.example/w1', $witness, "x$first", 1_700_000_000);
	refused('auditor', 'SELECT biometric.add_cosignature(' . quoted($first . $bad) . ')',
		'22023', 'a wrong signature is refused');
	is(auditor('SELECT biometric.add_cosignature(' . quoted($first . $other . $good) . ')'),
		1, 'a good one is kept, beside one that is not known');
	is(auditor('SELECT biometric.add_cosignature(' . quoted($first . $good) . ')'), 0, 'once');
	(my $bare = "$first$good") =~ s/\n\z//;
	is(auditor('SELECT biometric.add_cosignature(' . quoted($bare) . ')'),
		0, 'also without its last newline');
	is(auditor('SELECT biometric.add_cosignature(' . quoted("\n$first$good\n\n") . ')'),
		0, 'or with more of them');
	$node->set('biometric_audit.witnesses',
		join ' ', map { witness_key($_, $witness) } 'witness.example/w1', 'witness.example/w2');
	my $twice = cosign('witness.example/w2', $witness, $first, 1_700_000_002);
	is(auditor('SELECT biometric.add_cosignature(' . quoted("$first$good$twice") . ')'),
		0, 'a key under another name is no other witness');
	is($node->sql($db, "SELECT biometric.checkpoint($size)"), $first . $good, 'and is handed out');
	like(auditor("SELECT biometric.tlog_proof(1, $size)"), qr/\n\Q$first$good\E$/s, 'also in proofs');
	is($node->sql($db, "SELECT cardinality(cosignatures) FROM biometric.checkpoints WHERE size = $size"),
		1, 'and shown');
	foreach (1 .. 2) { grow(); auditor('SELECT biometric.checkpoint()'); }
	is($node->sql($db, "SELECT count(*) FROM biometric.checkpoints WHERE size = $size"),
		1, 'it stays');
	my $newest = auditor('SELECT biometric.checkpoint()');
	my $next = cosign('witness.example/w1', $witness, $newest, 1_700_000_001);
	is(auditor('SELECT biometric.add_cosignature(' . quoted($newest . $next) . ')'),
		1, 'the newest is cosigned');
	foreach (1 .. 2) { grow(); auditor('SELECT biometric.checkpoint()'); }
	($size) = $newest =~ /^.*\n(\d+)\n/;
	is($node->sql($db, "SELECT count(*) FROM biometric.checkpoints WHERE size = $size"),
		1, 'and stays when another follows');
	my $forged = $first;
	$forged =~ s/\n(\d+)\n/"\n" . ($1 + 1) . "\n"/e;
	refused('auditor', 'SELECT biometric.add_cosignature(' . quoted($forged . $good) . ')',
		'22023', 'a checkpoint that we have not signed is refused');
	refused('auditor', "SELECT biometric.add_cosignature('abc')", '22023', 'and what is none');
	refused('officer', 'SELECT biometric.add_cosignature(' . quoted($first . $good) . ')',
		'42501', 'not everybody may');
	is(problem(), '', 'the ledger verifies');
};

subtest 'a new key is announced by an entry before it signs' => sub {
	my $old = $vkey;
	$key = make_key('signing2.pem');
	$node->set('biometric_audit.signing_key', $key);
	ok(poll_until(sub { auditor('SELECT biometric.verifier_key()') ne $old }), 'a reload takes it');
	grow();
	auditor('SELECT biometric.checkpoint()');
	$vkey = auditor('SELECT biometric.verifier_key()');
	is( $node->sql($db,
			q{SELECT count(*) FROM biometric.ledger WHERE event = 'key_changed' AND detail ->> 'previous' = }
			  . quoted($old)),
		1, 'the entry names the one before');
	is($node->sql($db, 'SELECT count(*) FROM biometric.verifier_keys'), 2, 'both are listed');
	is(problem(), '', 'what both have signed verifies');
	$node->settle;
	$node->restart;
	grow();
	auditor('SELECT biometric.checkpoint()');
	is($node->sql($db, q{SELECT count(*) FROM biometric.ledger WHERE event = 'key_changed' AND detail ? 'verifier_key'}),
		2, 'the same key is not announced again');
};

my $outside = auditor('SELECT biometric.checkpoint()');

subtest 'a checkpoint that was kept outside is verified' => sub {
	is(problem(quoted($outside)), '', 'one that is true');
	grow();
	is(problem(quoted($outside)), '', 'also when the ledger has grown');
	(my $bare = $outside) =~ s/\n\z//;
	is(problem(quoted($bare)), '', 'without its last newline, as a shell gives it');
	is(problem(quoted("\n $outside\r\n\n")), '', 'with what a mail put around it');
	my $forged = $outside;
	$forged =~ s/\n(\d+)\n/"\n" . ($1 + 1) . "\n"/e;
	like(problem(quoted($forged)), qr/nobody has signed/, 'one that was changed');
	$forged = $outside;
	$forged =~ s/\Q$log_id\E/00000000-0000-4000-8000-000000000000/g;
	like(problem(quoted($forged)), qr/another ledger/, 'one of another ledger');
	refused('auditor', "SELECT * FROM biometric.verify_ledger('nothing')", '22023', 'what is none');
};

# Each change is made on a server without the library, then undone.
subtest 'what is changed of checkpoints, keys and cosignatures is found' => sub {
	my $newest = auditor('SELECT biometric.checkpoint()') =~ /^.*\n(\d+)\n/ ? $1 : die;
	$node->sql($db, <<'END');
CREATE TABLE c AS TABLE biometric.checkpoint;
CREATE TABLE v AS TABLE biometric.verifier;
CREATE TABLE s AS TABLE biometric.cosignature;
END
	my $undo = <<'END';
DELETE FROM biometric.checkpoint; INSERT INTO biometric.checkpoint SELECT * FROM c;
DELETE FROM biometric.verifier; INSERT INTO biometric.verifier SELECT * FROM v;
DELETE FROM biometric.cosignature; INSERT INTO biometric.cosignature SELECT * FROM s;
END
	my @changes = (
		[
			"UPDATE biometric.checkpoint SET note = set_byte(note, 60, get_byte(note, 60) # 1) WHERE size = $newest",
			qr/checkpoint of size $newest: is not signed/
		],
		[
			"UPDATE biometric.checkpoint SET size = size + 1 WHERE size = $newest",
			qr/checkpoint of size \d+: is of size $newest/
		],
		[
			'UPDATE biometric.verifier SET since = since + 1 WHERE since = (SELECT max(since) FROM biometric.verifier)',
			qr/verifier key .* does not say/
		],
		[ 'DELETE FROM biometric.verifier', qr/is not signed by a key of the log/ ],
		[
			'UPDATE biometric.cosignature SET line = set_byte(line, 60, get_byte(line, 60) # 1)',
			qr/cosignature of .* is wrong/
		],
		[ 'UPDATE biometric.cosignature SET size = size + 1', qr/cosignature of .* is wrong/ ]);
	foreach my $change (@changes)
	{
		my ($statement, $expected) = @$change;
		tamper($statement);
		like(problem(), $expected, $statement);
		tamper($undo);
		is(problem(), '', 'and nothing when it is undone');
	}
};

subtest 'a key is the same in whatever letters its id is written' => sub {
	tamper(q{UPDATE biometric.verifier SET vkey = regexp_replace(vkey, '\+[0-9a-f]{8}\+', upper(substring(vkey, '\+[0-9a-f]{8}\+')))});
	is(problem(), '', 'also in capitals');
	tamper('DELETE FROM biometric.verifier; INSERT INTO biometric.verifier SELECT * FROM v');
};

subtest 'a server whose newest checkpoint is a lie signs nothing more' => sub {
	my $newest = auditor('SELECT biometric.checkpoint()') =~ /^.*\n(\d+)\n/ ? $1 : die;
	tamper(
		"UPDATE biometric.checkpoint SET note = set_byte(note, 60, get_byte(note, 60) # 1) WHERE size = $newest");
	ok(poll_until(sub { state_of('checkpoint_error') }), 'the status says so');
	grow();
	refused('auditor', 'SELECT biometric.checkpoint()', '55000', 'no checkpoint');
	tamper(
		"UPDATE biometric.checkpoint SET note = set_byte(note, 60, get_byte(note, 60) # 1) WHERE size = $newest");
	ok(poll_until(sub { (state_of('checkpoint_size') // 0) > $newest }), 'until it is put right');
};

subtest 'what is signed survives a crash' => sub {
	grow();
	my $checkpoint = auditor('SELECT biometric.checkpoint()');
	$node->crash;
	$node->start;
	is(problem(quoted($checkpoint)), '', 'it is still true');
	my ($size) = $checkpoint =~ /^.*\n(\d+)\n/;
	ok(poll_until(sub { (state_of('checkpoint_size') // 0) >= $size }), 'and is published again');
};

# Stops the worker between making entries durable and signing them.
sub stop_unsigned
{
	my ($worker) = @_;
	foreach (1 .. 50)
	{
		grow() foreach 1 .. 2;
		$node->halt($worker);
		return 1 if state_of('size > coalesce(checkpoint_size, 0)') eq 't';
		kill 'CONT', $worker;
	}
	return 0;
}

subtest 'a wait for a checkpoint can be cancelled, and ends by itself' => sub {
	my $worker = $node->worker($db);
	my $wire = $node->connect_from('local', $db, 'auditor');
	$wire->query("SET statement_timeout = '300ms'");
	ok(stop_unsigned($worker), 'the worker is stopped with something to sign');
	is($wire->query('SELECT biometric.checkpoint()')->sqlstate, '57014', 'cancelled');
	$node->set('biometric_audit.ledger_timeout', '500ms');
	$wire->query('RESET statement_timeout');
	is($wire->query('SELECT biometric.checkpoint()')->sqlstate, '55000', 'not longer than ledger_timeout');
	kill 'CONT', $worker;
	$node->set('biometric_audit.ledger_timeout', undef);
	$wire->close;
	ok(auditor('SELECT biometric.checkpoint()'), 'and works afterwards');
};

subtest 'a crash between durable and signed loses nothing' => sub {
	ok(stop_unsigned($node->worker($db)), 'the worker is stopped with something to sign');
	my $size = state_of('size');
	$node->crash;
	$node->start;
	like(auditor('SELECT biometric.checkpoint()'), qr/^.*\n(\d+)\n/, 'it is signed afterwards');
	cmp_ok(state_of('checkpoint_size'), '>=', $size, 'all of it');
	is(problem(), '', 'the ledger verifies');
};

subtest 'of a transaction that was rolled back, what was signed stays' => sub {
	my $wire = $node->connect_from('local', $db, 'auditor');
	$wire->query('BEGIN');
	my ($row) = $wire->query('SELECT biometric.checkpoint()')->rows;
	$wire->query('ROLLBACK');
	$wire->close;
	is(problem(quoted($row->[0])), '', 'it is true');
};

subtest 'what no standby has confirmed is not handed out, whatever becomes of the worker' => sub {
	grow();
	auditor('SELECT biometric.checkpoint()');
	my $newest = 'SELECT max(size) FROM biometric.checkpoint WHERE log_id = '
	  . '(SELECT log_id FROM biometric.ledger_status())';
	ok( poll_until(sub { $node->sql($db, "SELECT clock_timestamp() > max(at) + interval '1100 ms' FROM biometric.checkpoint") eq 't' }),
		'the next entry is signed at once');
	my $before = state_of('checkpoint_size');
	$node->set('biometric_audit.ledger_timeout', '500ms');
	$node->set('synchronous_standby_names', 'nobody');
	# it is the checkpointer that tells everybody that there is one to wait for
	$node->sql($db, 'CHECKPOINT');
	my $wire = $node->connect_from('local', $db, 'custodian');
	is($wire->query(q{SELECT biometric.register_party('unconfirmed', 'p', NULL)})->sqlstate, '55000',
		'an entry waits for a standby that there is not');
	$wire->close;
	my $worker = $node->worker($db);
	kill 'TERM', $worker;
	ok( poll_until(sub { ($node->worker($db) // $worker) != $worker && state_of('state') eq 'ready' }),
		'the worker gives up, and another takes its place');
	cmp_ok($node->sql($db, $newest), '>', $before, 'what was signed is in the table');
	is(state_of('checkpoint_size'), $before, 'and is not published: a failover could take it back');
	$node->set('synchronous_standby_names', undef);
	$node->set('biometric_audit.ledger_timeout', undef);
	ok(poll_until(sub { state_of('checkpoint_size') > $before }), 'until it is durable');
	is(problem(), '', 'the ledger verifies');
};

subtest 'databases sign under their own names' => sub {
	$node->sql($db, 'CREATE DATABASE second');
	$node->prepare('second');
	my $other = $node->sql('second', 'SELECT biometric.checkpoint()');
	unlike($other, qr/\Q$log_id\E/, 'another name');
	like(problem(quoted($other)), qr/another ledger/, 'which means nothing here');
	my ($answer) = $node->records('second', 'SELECT ok FROM biometric.verify_ledger()');
	ok($answer->{ok}, 'and verifies there');
};

subtest 'a database whose encoding lacks the em dash has its checkpoints in bytea' => sub {
	my $dash = "\xe2\x80\x94 ";
	$node->set('biometric_audit.witnesses', witness_key('witness.example/w1', $witness));
	foreach my $encoding (qw(LATIN1 EUC_JP))
	{
		my $name = lc $encoding;
		$node->sql($db, "CREATE DATABASE $name ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
		$node->prepare($name);
		my $ask = sub { return $node->run('auditor', $name, "SELECT $_[0]") };
		my $bytes = sub { return "'\\x" . unpack('H*', $_[0]) . "'::bytea" };
		foreach my $text ('checkpoint()', 'checkpoint(1)', 'tlog_proof(1)', 'add_checkpoint_request(1)')
		{
			my $wire = $node->connect_from('local', $name, 'auditor');
			$wire->query('SELECT biometric.checkpoint_note()');
			my $result = $wire->query("SELECT biometric.$text");
			is($result->sqlstate, '22P05', "$encoding: no $text");
			like($result->hint, qr/checkpoint_note.*tlog_proof_file/, 'what there is instead is said');
			$wire->close;
		}
		my $note = opened($ask->('biometric.checkpoint_note()'));
		my ($size) = $note =~ /^.*\n(\d+)\n/;
		like($note, qr/\n\n\Q$dash\E/, 'checkpoint_note() has it');
		like(opened($ask->("biometric.checkpoint_note($size)")), qr/^\Q$note\E/, 'also by its size');
		like(opened($ask->('biometric.tlog_proof_file(1)')), qr/^c2sp.*\n\n\Q$note\E$/s, 'a proof has it');
		like(opened($ask->('biometric.add_checkpoint_body(1)')), qr/^old 1\n.*\n\n\Q$note\E$/s,
			'and what a witness is asked');
		my $cosigned = $note . cosign('witness.example/w1', $witness, $note, 1_700_000_000);
		is($ask->('biometric.add_cosignature(' . $bytes->($cosigned) . ')'), 1, 'whose answer is kept');
		is(opened($ask->("biometric.checkpoint_note($size)")), $cosigned, 'and handed out');
		my $problem = 'problem FROM biometric.verify_ledger';
		is($ask->("$problem(" . $bytes->("\n$cosigned\n") . ')'), undef, 'it verifies');
		(my $forged = $cosigned) =~ s/\n(\d+)\n/"\n" . ($1 + 1) . "\n"/e;
		like($ask->("$problem(" . $bytes->($forged) . ')'), qr/nobody has signed/, 'what was changed does not');
		(my $elsewhere = $cosigned) =~ s/^biometric_audit|(?<=$dash)biometric_audit/b\xc3\xa9/g;
		like($ask->("$problem(" . $bytes->($elsewhere) . ')'),
			qr/signed the checkpoint: it is of another/, 'nor what is of another ledger');
		my $wire = $node->connect_from('local', $name, 'auditor');
		is($wire->query('SELECT biometric.verify_ledger(' . $bytes->("$note\0") . ')')->sqlstate,
			'22023', 'a NUL ends nothing');
		$wire->close;
		my $archive = $node->basedir . "/archive_$name";
		command_ok([ 'biometric-verify', 'fetch', $node->connstr($name), $archive ], 'it is fetched');
		like(slurp_file("$archive/checkpoint"), qr/\n\n\Q$dash\E/, 'with its checkpoint');
		command_ok([ 'biometric-verify', 'verify', $archive, '--key', $ask->('biometric.verifier_key()') ],
			'which verifies');
	}
};

subtest 'a fork signs under a name of its own, and a log that is retired to its end' => sub {
	my $before = auditor('SELECT biometric.checkpoint()');
	$node->policy($db, "SELECT biometric.retire_ledger('a test')");
	my $last = $node->sql($db, 'SELECT count(*) FROM biometric.ledger');
	ok(poll_until(sub { $node->sql($db, 'SELECT max(size) FROM biometric.checkpoints') == $last }),
		'the last checkpoint covers the last entry');
	like(auditor('SELECT biometric.checkpoint()'), qr/^.*\n$last\n/, 'and is handed out');
	$node->policy($db, "SELECT biometric.fork_ledger('a test')");
	my $after = auditor('SELECT biometric.checkpoint()');
	unlike($after, qr/\Q$log_id\E/, 'another name');
	isnt(auditor('SELECT biometric.verifier_key()'), $vkey, 'and another verifier key');
	is(problem(quoted($before)), '', 'what the parent signed still verifies');
	is(problem(quoted($after)), '', 'and what the fork signed does');
};

done_testing();
