# A shredded key opens nothing any more: not in the sessions that were reading, nor
# from a dump, a base backup, a standby or the WAL, as long as the keyring is the
# present one; what images say of themselves, and the ledger, stay, and images
# under other keys open.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant { OFFICE => '127.0.0.2', SIZE => 4000 };

my $db = 'postgres';
my $archive = PostgreSQL::Test::Utils::tempdir();
my $node = BiometricAudit::Node->create(
	'agency',
	allows_streaming => 1,
	conf => "max_prepared_transactions = 2\nbiometric_audit.release_batch_rows = 1\n"
	  . "biometric_audit.max_databases = 20\nmax_worker_processes = 40\n"
	  . "archive_mode = on\narchive_command = 'cp \"%p\" \"$archive/%f\"'\n");

sub officer { return $_[0]->connect_from(OFFICE, $_[1] // $db, 'officer', 'control', @_[2 .. $#_]); }

# opens(node, condition, database): how many of the rows the office gets open; the SQLSTATE of a refusal.
sub opens
{
	my ($server, $condition, $database) = @_;
	my $wire = officer($server, $database);
	my $result = $wire->query("SELECT img FROM traveller WHERE $condition");
	$wire->close;
	return $result->sqlstate if $result->error;
	return scalar grep { !is_sealed($_) } $result->column(0);
}

# furnish(node, database): traveller with three pictures under the key that seals now.
sub furnish
{
	my ($server, $database) = @_;
	$server->prepare($database);
	$server->register($database, 'agency', OFFICE . '/32', '{face}', 'open', '{control}');
	$server->sql($database, 'CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image, '
		  . 'taken timestamptz)');
	$server->sql($database, 'GRANT SELECT ON traveller TO officer');
	return enrol($server, $database, 1, 3);
}

sub enrol
{
	my ($server, $database, $from, $to) = @_;
	return $server->sql($database,
		"INSERT INTO traveller SELECT n, numbered_jpeg(n, ${\SIZE})::biometric.face_image "
		  . "FROM generate_series($from, $to) AS n");
}

# refused(sql, database): the SQLSTATE that a custodian gets.
sub refused
{
	my ($text, $database) = @_;
	my $wire = $node->connect_from('local', $database // $db, 'custodian');
	my $result = $wire->query($text);
	$wire->close;
	return $result->sqlstate // 'done';
}

sub state_of
{
	my ($id, $server, $database) = @_;
	return ($server // $node)
	  ->sql($database // $db, "SELECT state FROM biometric.key WHERE key_id = $id") // 'unknown';
}

# actions(mark, database): what became of keys since then, in the ledger's order.
sub actions
{
	my ($mark, $database) = @_;
	return $node->sql($database // $db,
		q{SELECT coalesce(string_agg(concat_ws(' ', detail ->> 'action', detail ->> 'key'), ', ' ORDER BY seq), '')
		  FROM biometric.ledger WHERE event = 'key_changed' AND seq >= } . $mark);
}

# told(mark, text, database) waits until the ledger has them.
sub told
{
	my ($mark, $text, $name, $database) = @_;
	poll_until(sub { actions($mark, $database) eq $text });
	return is(actions($mark, $database), $text, $name);
}

sub rotate { return $node->policy($_[0] // $db, 'SELECT biometric.rotate_key()'); }

sub shred
{
	my ($id, $database) = @_;
	return $node->policy($database // $db, "SELECT biometric.shred_key($id, 'not to be kept')");
}

sub keyring_ids { return join ' ', slurp_file($_[0] // $node->keyring_path) =~ /^(\d+) /mg; }

# ---------------------------------------------------------------- copies from before

furnish($node, $db);
is(rotate(), 2, 'a second key');
enrol($node, $db, 4, 6);
my $old_keyring = slurp_file($node->keyring_path);
my ($old_key) = $old_keyring =~ /^1 (\w+)/m;
my $said = 'SELECT string_agg(concat_ws(\' \', biometric.image_id(img), biometric.format(img), '
  . 'biometric.width(img), biometric.byte_length(img), biometric.key_id(img), biometric.sealed_at(img), '
  . "encode(biometric.digest(img), 'hex')), ',' ORDER BY id) FROM traveller";
my $before = $node->sql($db, $said);
my $dump = "$archive/before.sql";
my @at = ('-h', $node->host, '-p', $node->port, '-U', $node->superuser);
system_or_bail('pg_dump', @at, '-d', $db, '-f', $dump);
$node->backup('before');
my $standby = BiometricAudit::Node->new('standby');
$standby->init_from_backup($node, 'before', has_streaming => 1);
$standby->start;
my $astray = BiometricAudit::Node->new('astray');
$astray->init_from_backup($node, 'before', has_streaming => 1);
my $astray_keyring = $astray->basedir . '/keyring';
append_to_file($astray_keyring, $old_keyring);
chmod 0600, $astray_keyring;
$astray->append_conf('postgresql.conf', "biometric_audit.keyring = '$astray_keyring'");
$astray->start;

# traced(session, number): whether the bytes of a picture are found by what their key makes of them.
my $on_standby = $astray->connect_from('local', $db, 'auditor');
sub traced
{
	my ($wire, $number) = @_;
	my $result = $wire->query(
		"SELECT match FROM biometric.trace('\\x" . unpack('H*', numbered_jpeg($number, SIZE)) . "')");
	return $result->sqlstate if $result->error;
	return (grep { $_ eq 'exact' } $result->column(0)) ? 1 : 0;
}
is(traced($on_standby, $_), 1, "a standby finds picture $_ by its key") foreach 1, 4;
$node->sql($db, "SELECT pg_create_restore_point('before')");
is(opens($node, 'true'), 6, 'all pictures open');

# ---------------------------------------------------------------- shredding

subtest 'a rolled back shred_key does nothing' => sub {
	my $mark = $node->mark($db);
	my $wire = $node->connect_from('local', $db, 'custodian');
	is($wire->query(q{BEGIN; SELECT biometric.shred_key(1, 'a mistake'); ROLLBACK})->sqlstate, undef, 'rolled back');
	is($wire->query(q{BEGIN; SAVEPOINT s; SELECT biometric.shred_key(1, 'a mistake'); ROLLBACK TO s; COMMIT})
		->sqlstate, undef, 'or to a savepoint');
	is($wire->query(q{BEGIN; SELECT biometric.shred_key(1, 'later'); PREPARE TRANSACTION 'p'})->sqlstate, '0A000',
		'it cannot be prepared');
	$wire->close;
	is(actions($mark), '', 'no entry');
	is(state_of(1), 'retired', 'the key is as it was');
	is(keyring_ids(), '1 2', 'and in the keyring');
	is(opens($node, 'true'), 6, 'everything opens');
};

subtest 'a shredded key is gone from the keyring, and its images never open again' => sub {
	my $mark = $node->mark($db);
	shred(1);
	is(state_of(1), 'shredded', 'when shred_key() returns');
	is(keyring_ids(), '2', 'it is gone');
	unlike(slurp_file($_), qr/$old_key/i, "its bytes are not in $_") foreach glob($node->basedir . '/keys/*');
	is(opens($node, 'id <= 3'), 0, 'what it sealed stays sealed');
	is(opens($node, 'true'), 3, 'what others sealed opens, also beside it');
	is($node->sql($db, $said), $before, 'what images say of themselves stays');
	told($mark, 'shred_key 1, key_shredded 1', 'both steps are in the ledger');
	ok($node->verifies($db), 'which verifies');
	is($node->sql($db, 'SELECT images FROM biometric.key WHERE key_id = 1'), 3, 'the images are counted still');
	is(refused(q{SELECT biometric.shred_key(1, 'again')}), '55000', 'it is shredded once');
	is(refused(q{SELECT biometric.shred_key(2, 'the last')}), '55000', 'the key that seals is not');
	is(refused(q{SELECT biometric.shred_key(77, 'which')}), '42704', 'nor one that nobody knows');
};

# ---------------------------------------------------------------- copies

# opens_only_others(server, name): of a copy that may sign.
sub opens_only_others
{
	my ($server, $name, $database) = @_;
	ok(poll_until(sub { opens($server, 'id > 3', $database) eq '3' }), "$name: images under another key open");
	isnt(opens($server, 'id <= 3', $database), '3', "$name: those under the shredded one do not");
	is(opens($server, 'id = 1', $database) =~ /^[1-9]$/ ? 'open' : 'not open', 'not open', "$name: not one");
	is($server->sql($database // $db, $said), $before, "$name: what they say of themselves stays");
	return ok($server->verifies($database // $db), "$name: the ledger verifies");
}

# restore(server, path): a dump in its database copy, with a policy, and adopted.
sub restore
{
	my ($server, $path) = @_;
	my @there = ('-h', $server->host, '-p', $server->port, '-U', $server->superuser);
	$server->sql($db, "CREATE ROLE $_ LOGIN") foreach qw(custodian auditor officer);
	$server->sql($db, 'CREATE DATABASE copy');
	system_or_bail('psql', '-X', '-q', @there, '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-o', '/dev/null', '-f', $path);
	$server->sql('copy', "GRANT biometric_$_ TO $_") foreach qw(custodian auditor);
	$server->policy('copy', q{SELECT biometric.register_party('house', 'the server', tstzrange('2020-01-01', NULL));
		SELECT biometric.register_local('house'); SELECT biometric.authorize('house', '{face}', 'sealed')});
	$server->register('copy', 'bureau', OFFICE . '/32', '{face}', 'open', '{control}');
	return $server->policy('copy', q{SELECT biometric.fork_ledger('restored')});
}

subtest 'a dump from before, restored elsewhere with the present keyring' => sub {
	my $branch = BiometricAudit::Node->create('branch', keyring => slurp_file($node->keyring_path));
	restore($branch, $dump);
	opens_only_others($branch, 'dump', 'copy');
	$branch->stop;
};

subtest 'a dump from after it, restored where the old keyring is' => sub {
	my $after = "$archive/after.sql";
	system_or_bail('pg_dump', @at, '-d', $db, '-f', $after);
	my $attic = BiometricAudit::Node->create('attic', keyring => $old_keyring);
	restore($attic, $after);
	poll_until(sub { opens($attic, 'id > 3', 'copy') eq '3' });
	is(opens($attic, 'id > 3', 'copy'), 3, 'images under another key open');
	isnt(opens($attic, 'id = 1', 'copy'), 1, 'those under the shredded one do not');
	is(state_of(1, $attic, 'copy'), 'shredded', 'the dump says that it was shredded');
	$attic->stop;
};

# copy_of(name, conf): a server from the base backup of before, with the present keyring.
sub copy_of
{
	my ($name, $conf) = @_;
	my $copy = BiometricAudit::Node->new($name);
	$copy->init_from_backup($node, 'before');
	$copy->append_conf('postgresql.conf', "archive_mode = off\n" . ($conf // ''));
	$copy->set_recovery_mode if $conf;
	$copy->start;
	poll_until(sub { $copy->sql($db, 'SELECT pg_is_in_recovery()') eq 'f' });
	poll_until(sub { $copy->sql($db, 'SELECT state FROM biometric.ledger_status()') eq 'foreign' });
	$copy->policy($db, q{SELECT biometric.fork_ledger('a copy')});
	return $copy;
}

subtest 'a base backup from before, started with the present keyring' => sub {
	my $copy = copy_of('copy');
	opens_only_others($copy, 'base backup');
	is(state_of(1, $copy), 'missing', 'the copy knows the key, and misses it');
	$copy->stop;
};

subtest 'point-in-time recovery to before, with the present keyring' => sub {
	my $segment = $node->sql($db, 'SELECT pg_walfile_name(pg_switch_wal())');
	ok(poll_until(sub { $node->sql($db, "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver") eq 't' }),
		'the WAL is in the archive');
	my $past = copy_of('past', "restore_command = 'cp \"$archive/%f\" \"%p\"'\n"
		  . "recovery_target_name = 'before'\nrecovery_target_action = 'promote'\n");
	opens_only_others($past, 'replayed WAL');
	$past->stop;
};

subtest 'a standby, before and after it is promoted' => sub {
	$node->wait_for_catchup('standby', 'replay', $node->lsn('flush'));
	isnt(opens($standby, 'id = 1'), '1', 'a standby opens nothing');
	$standby->promote;
	opens_only_others($standby, 'promoted');
	is(state_of(1, $standby), 'shredded', 'it knows that the key was shredded');
	$standby->stop;
};

subtest 'a promoted standby that has the old keyring still' => sub {
	$node->wait_for_catchup('astray', 'replay', $node->lsn('flush'));
	is(keyring_ids($astray_keyring), '1 2', 'has the key until it is promoted');
	foreach my $wire ($on_standby, $astray->connect_from('local', $db, 'auditor'))
	{
		is(traced($wire, 1), 0, 'but does not use it any more');
		is(traced($wire, 4), 1, 'as it does the other');
		$wire->close;
	}
	$astray->promote;
	ok(poll_until(sub { keyring_ids($astray_keyring) eq '2' }), 'takes the key out of its own keyring');
	opens_only_others($astray, 'astray');
	$astray->stop;
};

subtest 'an old keyring that comes back opens nothing, and loses the key again' => sub {
	$node->write_keyring($old_keyring);
	is(opens($node, 'id <= 3'), 0, 'nothing opens');
	ok(poll_until(sub { $node->sql($db, 'SELECT pg_reload_conf()') && keyring_ids() eq '2' }), 'the key is taken out');
	my ($present) = $old_keyring =~ /^2 (\w+)/m;
	$node->write_keyring("2 $present\n5 $old_key\n");
	isnt(opens($node, 'id <= 3'), '3', 'not under another id either');
	ok(poll_until(sub { $node->sql($db, 'SELECT pg_reload_conf()') && keyring_ids() eq '2' }), 'and is taken out again');
	is(opens($node, 'id > 3'), 3, 'others open');
};

# ---------------------------------------------------------------- what is under way

subtest 'a cursor that was left open gets nothing more' => sub {
	my $wire = officer($node);
	is($wire->query('BEGIN; DECLARE c CURSOR FOR SELECT img FROM traveller WHERE id > 3 ORDER BY id; FETCH 1 FROM c')
		->sqlstate, undef, 'a cursor is open');
	is(rotate(), 6, 'a further key');
	shred(2);
	my $result = $wire->query('FETCH 1 FROM c');
	ok($result->error || is_sealed($result->value), 'the rest stays sealed');
	$wire->close;
	is(opens($node, 'id > 3'), 0, 'so does all');
};

subtest 'a client that does not read on keeps no key: its process is ended' => sub {
	enrol($node, $db, 1000, 1400);
	my $wire = officer($node, $db, receive_buffer => 4096);
	$wire->send_query('SELECT img FROM traveller WHERE id >= 1000');
	is($wire->collect(rows => 2)->row_count, 2, 'some rows came');
	ok(poll_until(sub { ($node->sql($db, 'SELECT wait_event FROM pg_stat_activity WHERE pid = ' . $wire->pid) // '')
		  eq 'ClientWrite' }), 'the server waits for the client');
	is(rotate(), 7, 'a further key');
	shred(6);
	is(state_of(6), 'shredded', 'shred_key() has waited for it');
	ok(poll_until(sub { !BiometricAudit::Node::process_alive($wire->pid) }), 'its process is gone');
	is(opens($node, 'id >= 1000'), 0, 'nothing opens');
	$node->sql($db, 'DELETE FROM traveller WHERE id >= 1000');
};

# ---------------------------------------------------------------- faults

subtest 'what a crash interrupts goes on when the server starts again' => sub {
	is(rotate(), 8, 'a further key');
	my $keys = $node->basedir . '/keys';
	chmod 0500, $keys;
	my $mark = $node->mark($db);
	my $wire = $node->connect_from('local', $db, 'custodian');
	my $result = $wire->query(q{SELECT biometric.shred_key(7, 'no matter what')});
	is($result->sqlstate, undef, 'committed, although the keyring cannot be written');
	$wire->close;
	is(state_of(7), 'shredding', 'it is not done');
	like($node->sql($db, 'SELECT problem FROM biometric.key WHERE key_id = 7'), qr/cannot be/, 'and the view says why');
	is(keyring_ids(), '7 8', 'the keyring is as it was');
	$node->crash;
	chmod 0700, $keys;
	$node->start;
	ok(poll_until(sub { state_of(7) eq 'shredded' }), 'it is done');
	is(keyring_ids(), '8', 'the keyring has lost it');
	told($mark, 'shred_key 7, key_shredded 7', 'each step is in the ledger once');
	ok($node->verifies($db), 'which verifies');
};

subtest 'another key under an id that is known is found before it seals' => sub {
	my $good = slurp_file($node->keyring_path);
	enrol($node, $db, 20, 20);
	$node->write_keyring($node->fresh_key(8));
	my $wire = $node->connect_from('local', $db, $node->superuser);
	my $result = $wire->query("INSERT INTO traveller VALUES (21, numbered_jpeg(21, ${\SIZE})::biometric.face_image)");
	is($result->sqlstate, 'F0000', 'nothing is sealed with it');
	ok($result->hint, 'and a hint says what to do');
	$wire->close;
	is(state_of(8), 'wrong', 'the view says so');
	isnt(opens($node, 'id = 20'), '1', 'nothing is opened with it');
	$node->write_keyring($node->fresh_key(9));
	is(state_of(8), 'missing', 'a key that the keyring lacks is missing');
	is(opens($node, 'id = 20'), '42501', 'what it sealed is refused');
	$wire = officer($node);
	like($wire->query('SELECT img FROM traveller WHERE id = 20')->detail, qr/key 8/, 'by a message that names it');
	$wire->close;
	$node->write_keyring($good);
	is(opens($node, 'id = 20'), 1, 'until it is back');
};

# ---------------------------------------------------------------- who stores meanwhile

subtest 'what a client stores while its key is shredded is refused, not lost' => sub {
	my $insert = "INSERT INTO traveller VALUES (%d, numbered_jpeg(%d, ${\SIZE})::biometric.face_image)";
	my $old = $node->sql($db, 'SELECT max(key_id) FROM biometric.key WHERE state = $$active$$');
	my @wire = map { $node->connect_from('local', $db, $node->superuser) } 0 .. 2;
	$wire[0]->query('BEGIN; ' . sprintf($insert, 700, 700));
	$wire[1]->query('BEGIN; SAVEPOINT s; ' . sprintf($insert, 701, 701) . '; ROLLBACK TO s');
	$wire[2]->query('BEGIN; SAVEPOINT s; ' . sprintf($insert, 702, 702) . '; RELEASE s');
	is(rotate(), $old + 1, 'a further key');
	shred($old);
	is(state_of($old), 'shredded', 'nobody who only has a transaction open holds that up');
	my $result = $wire[0]->query('COMMIT');
	is($result->sqlstate, '40001', 'a transaction that sealed under it cannot commit');
	ok($result->hint, 'and a hint says what to do');
	is($wire[1]->query('COMMIT')->sqlstate, undef, 'one that has rolled that back can');
	is($wire[2]->query('COMMIT')->sqlstate, '40001', 'one that has released its savepoint cannot');
	is($wire[0]->query(sprintf($insert, 700, 700))->sqlstate, undef, 'run again, it is stored');
	is(opens($node, 'id = 700'), 1, 'and opens');
	is($node->sql($db, 'SELECT count(*) FROM traveller WHERE id IN (701, 702)'), 0, 'the others left nothing');
	$_->close foreach @wire;
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'a key is shredded when transactions that were prepared with images under it have ended' => sub {
	my $old = $node->sql($db, 'SELECT max(key_id) FROM biometric.key WHERE state = $$active$$');
	$node->sql($db, "BEGIN; INSERT INTO traveller VALUES (710, numbered_jpeg(710, ${\SIZE})::biometric.face_image); "
		  . "PREPARE TRANSACTION 'kept'");
	rotate();
	my $wire = $node->connect_from('local', $db, 'custodian');
	$wire->send_query("SELECT biometric.shred_key($old, 'not to be kept')");
	ok(poll_until(sub { $node->sql($db, 'SELECT wait_event_type FROM pg_stat_activity WHERE pid = ' . $wire->pid)
		  eq 'Lock' }), 'it waits');
	is(state_of($old), 'retired', 'and has done nothing yet');
	is(opens($node, 'id = 700'), 1, 'others read on');
	$node->sql($db, "ROLLBACK PREPARED 'kept'");
	is($wire->drain->sqlstate, undef, 'it goes on');
	$wire->close;
	is(state_of($old), 'shredded', 'and is done');
};

subtest 'a value that was sealed before is not stored when nothing can open it any more' => sub {
	my $old = $node->sql($db, 'SELECT max(key_id) FROM biometric.key WHERE state = $$active$$');
	my $wire = $node->connect_from('local', $db, $node->superuser);
	$wire->query("BEGIN; DECLARE sealed CURSOR WITH HOLD FOR SELECT numbered_jpeg(720, ${\SIZE})::biometric.face_image AS i; "
		. 'COMMIT; CREATE FUNCTION keep() RETURNS void LANGUAGE plpgsql AS $$ DECLARE c refcursor := $c$sealed$c$; '
		. 'v biometric.face_image; BEGIN FETCH c INTO v; INSERT INTO traveller VALUES (720, v); END $$');
	rotate();
	shred($old);
	my $result = $wire->query('SELECT keep()');
	is($result->sqlstate, '55000', 'a cursor has kept it');
	like($result->message, qr/key $old, which was shredded/, 'the message says why');
	$wire->close;
	is($node->sql($db, 'SELECT count(*) FROM traveller WHERE id = 720'), 0, 'there is no image that cannot be opened');
};

# ---------------------------------------------------------------- databases

subtest 'a copy of a database that nobody has looked into yet keeps its images' => sub {
	$node->sql($db, 'CREATE DATABASE model');
	furnish($node, 'model');
	my $key = $node->sql('model', 'SELECT max(biometric.key_id(img)) FROM traveller');
	rotate('model');
	poll_until(sub { state_of($key) eq 'retired' });
	shred($key);
	$node->leave('model');
	$node->sql($db, 'CREATE DATABASE twin TEMPLATE model');
	shred($key, 'model');
	is(opens($node, 'true', 'model'), 0, 'the model opens nothing');
	is(state_of($key, $node, 'model'), 'shredding', 'its key stays in the keyring');
	like($node->sql('model', "SELECT problem FROM biometric.key WHERE key_id = $key"), qr/"twin"/, 'for the copy');
	$node->policy('twin', q{SELECT biometric.fork_ledger('a copy')});
	is(opens($node, 'true', 'twin'), 3, 'which opens its images');
	$node->policy('model', q{SELECT biometric.retire_ledger('a test')});
	$node->drop_extension('model');
	pass('a key that another keeps is no reason to keep the extension');
	shred($key, 'twin') if $node->sql('twin', "SELECT state FROM biometric.key WHERE key_id = $key") eq 'retired';
	ok(poll_until(sub { keyring_ids() !~ /\b$key\b/ }), 'when it has shredded it, too, the key goes');
	$node->leave($_) foreach qw(model twin);
	$node->sql($db, "DROP DATABASE $_") foreach qw(model twin);
};

subtest 'a keyring that two databases use loses the key when both have shredded it' => sub {
	$node->sql($db, "CREATE DATABASE $_") foreach qw(one other);
	furnish($node, $_) foreach qw(one other);
	my $key = $node->sql('one', 'SELECT max(biometric.key_id(img)) FROM traveller');
	rotate('one');
	my $wire = $node->connect_from('local', 'one', 'custodian');
	my $result = $wire->query("SELECT biometric.shred_key($key, 'here')");
	like(join("\n", map { $_->{M} // '' } $result->notices), qr/"other"/, 'a notice names the other');
	$wire->close;
	is(opens($node, 'true', 'one'), 0, 'the first opens nothing');
	is(opens($node, 'true', 'other'), 3, 'the second does');
	is(state_of($key, $node, 'one'), 'shredding', 'the first waits');
	shred($key, $_) foreach grep { state_of($key, $node, $_) eq 'retired' } $db, 'other';
	ok(poll_until(sub { state_of($key, $node, $_) eq 'shredded' }), "shredded in $_") foreach qw(one other);
	unlike(keyring_ids(), qr/\b$key\b/, 'the keyring has lost it');
};

subtest 'a key of a period goes with one call, also when other databases have seen it' => sub {
	$node->policy('one', q{SELECT biometric.key_period('traveller', 'img', '1 month')});
	enrol($node, 'one', 60, 60);
	my $key = $node->sql('one', 'SELECT biometric.key_id(img) FROM traveller WHERE id = 60');
	my $sealed = $node->sql('one', 'SELECT img FROM traveller WHERE id = 60');
	ok(is_sealed($sealed), 'a sealed copy is taken to the other database');
	$node->sql('other', "INSERT INTO traveller VALUES (60, '$sealed')");
	is(opens($node, 'id = 60', 'other'), 1, 'which knows the key, and opens it');
	my $image = $node->sql('other', 'SELECT biometric.image_id(img) FROM traveller WHERE id = 60');
	my $hold = $node->policy('other', "SELECT biometric.legal_hold(ARRAY['$image'::uuid], 'a case')");
	my $mark = $node->mark('other');
	shred($key, 'one');
	is(state_of($key, $node, 'one'), 'shredding', 'while it is held there, the key stays');
	like($node->sql('one', "SELECT problem FROM biometric.key WHERE key_id = $key"), qr/"other"/, 'as the view says');
	$node->policy('other', "SELECT biometric.release_hold($hold, 'closed')");
	ok(poll_until(sub { $node->sql($db, 'SELECT pg_reload_conf()') && state_of($key, $node, 'one') eq 'shredded' }),
		'then it goes, by what was said where the column is');
	unlike(keyring_ids(), qr/\b$key\b/, 'it has left the keyring');
	ok(poll_until(sub { state_of($key, $node, 'other') eq 'shredded' }), 'the other database takes note');
	told($mark, "key_shredded $key", 'in its ledger, too', 'other');
	is(opens($node, 'id = 60', 'other'), 0, 'the copy stays sealed');
	$node->sql('other', 'DELETE FROM traveller WHERE id = 60');
};

subtest 'a copy of a database keeps the keys of its periods' => sub {
	enrol($node, 'one', 61, 61);
	my $key = $node->sql('one', 'SELECT biometric.key_id(img) FROM traveller WHERE id = 61');
	$node->leave('one');
	$node->sql($db, 'CREATE DATABASE twin TEMPLATE one');
	$node->policy('twin', q{SELECT biometric.fork_ledger('a copy')});
	is(opens($node, 'id = 61', 'twin'), 1, 'the copy opens its image');
	shred($key, 'one');
	is(state_of($key, $node, 'one'), 'shredding', 'the key stays in the keyring for it');
	shred($key, 'twin');
	ok(poll_until(sub { state_of($key, $node, $_) eq 'shredded' }), "shredded in $_") foreach qw(one twin);
	$node->policy('one', q{SELECT biometric.key_period('traveller', 'img', NULL)});
	$node->leave('twin');
	$node->sql($db, 'DROP DATABASE twin');
};

subtest 'a fork goes on with what was known' => sub {
	my $known = $node->sql('one', 'SELECT string_agg(key_id || state, $$,$$ ORDER BY key_id) FROM biometric.key');
	$node->policy('one', q{SELECT biometric.fork_ledger('a test')});
	is($node->sql('one', 'SELECT string_agg(key_id || state, $$,$$ ORDER BY key_id) FROM biometric.key'),
		$known, 'all keys are known');
	enrol($node, 'one', 30, 30);
	is(opens($node, 'id = 30', 'one'), 1, 'and the present one seals');
};

subtest 'two persons shred' => sub {
	$node->sql($db, 'CREATE ROLE deputy LOGIN');
	$node->sql($db, 'GRANT biometric_custodian TO deputy');
	rotate('one');
	my $key = $node->sql('one', 'SELECT biometric.key_id(img) FROM traveller WHERE id = 30');
	$node->set('biometric_audit.two_person', 'on');
	my $mark = $node->mark('one');
	shred($key, 'one');
	is(opens($node, 'id = 30', 'one'), 1, 'one alone only proposes');
	my $number = $node->sql('one', q{SELECT max(id) FROM biometric.proposal WHERE state = 'open'});
	$node->run('deputy', 'one', "SELECT biometric.approve($number)");
	is(opens($node, 'id = 30', 'one'), 0, 'another approves');
	is($node->sql('one', "SELECT count(*) FROM biometric.ledger WHERE seq >= $mark AND event = 'key_changed' "
		  . q{AND detail ->> 'action' = 'shred_key' AND detail ->> 'approved_by' = 'deputy'}), 1, 'which is on record');
	$node->set('biometric_audit.two_person', 'off');
};

# ---------------------------------------------------------------- periods

subtest "a month's pictures go with one call" => sub {
	$node->sql('other', 'CREATE TABLE dated (id int PRIMARY KEY, img biometric.face_image, taken timestamptz) '
		  . 'PARTITION BY RANGE (id)');
	$node->sql('other', "CREATE TABLE dated_$_ PARTITION OF dated FOR VALUES FROM (${_}00) TO (${_}99)") foreach 1, 2;
	$node->sql('other', 'GRANT SELECT ON dated TO officer');
	$node->policy('other', q{SELECT biometric.retain('dated', 'img', '100 years', 'erase', 'taken')});
	$node->policy('other', q{SELECT biometric.key_period('dated', 'img', '1 month')});
	$node->sql('other', "INSERT INTO dated SELECT n, numbered_jpeg(n, ${\SIZE})::biometric.face_image, "
		  . q{CASE WHEN n % 2 = 0 THEN '2026-02-28 23:59:59.999+00' ELSE '2026-03-01 00:00+00' END::timestamptz }
		  . 'FROM unnest(ARRAY[101, 102, 103, 104, 201, 202, 203, 204]) AS n');
	is($node->sql('other', q{SELECT string_agg(lower(period)::date || '/' || upper(period)::date, ' ' ORDER BY period)
		FROM (SELECT DISTINCT k.period FROM dated AS d JOIN biometric.key AS k ON k.key_id = biometric.key_id(d.img)
		WHERE k.relation = 'dated'::regclass) AS p}), '2026-02-01/2026-03-01 2026-03-01/2026-04-01',
		'each picture is under the key of its month, in whichever partition');
	my $february = $node->sql('other', 'SELECT DISTINCT biometric.key_id(img) FROM dated WHERE id % 2 = 0');
	my $open = sub {
		my ($condition) = @_;
		my $result = officer($node, 'other')->query("SELECT img FROM dated WHERE $condition");
		return $result->sqlstate // scalar grep { !is_sealed($_) } $result->column(0);
	};
	is($open->('true'), 8, 'all open');
	shred($february, 'other');
	is($open->('id % 2 = 0'), 0, 'February is gone');
	is($open->('id % 2 = 1'), 4, 'March is there');
	my $wire = $node->connect_from('local', 'other', $node->superuser);
	is($wire->query("INSERT INTO dated VALUES (150, numbered_jpeg(150, ${\SIZE})::biometric.face_image, "
			  . q{'2026-02-10')})->sqlstate, '55000', 'nothing more is stored in February');
	is($wire->query("INSERT INTO dated VALUES (151, numbered_jpeg(151, ${\SIZE})::biometric.face_image, "
			  . q{'2026-04-10')})->sqlstate, undef, 'April has a key as soon as it needs one');
	$wire->close;
	is($open->('id = 151'), 1, 'which opens');
};

subtest 'a period that runs still gets another key for one that was shredded' => sub {
	my $insert = "INSERT INTO dated VALUES (%d, numbered_jpeg(%d, ${\SIZE})::biometric.face_image, %s)";
	$node->sql('other', sprintf($insert, 160, 160, 'now()'));
	my $key = $node->sql('other', 'SELECT biometric.key_id(img) FROM dated WHERE id = 160');
	my $wire = $node->connect_from('local', 'other', $node->superuser);
	$wire->query('GRANT biometric_custodian TO CURRENT_USER');
	$wire->query("BEGIN; SELECT biometric.shred_key($key, 'by mistake')");
	is($wire->query(sprintf($insert, 161, 161, 'now()'))->sqlstate, '55000', 'not before that is committed');
	$wire->query('ROLLBACK');
	shred($key, 'other');
	is($wire->query(sprintf($insert, 161, 161, 'now()'))->sqlstate, undef, 'it takes images');
	$wire->close;
	my $next = $node->sql('other', 'SELECT biometric.key_id(img) FROM dated WHERE id = 161');
	cmp_ok($next, '>', $key, 'under another key');
	is($node->sql('other', "SELECT count(DISTINCT period) FROM biometric.key WHERE key_id IN ($key, $next)"), 1,
		'of the same period');
	my $result = officer($node, 'other')->query('SELECT img FROM dated WHERE id IN (160, 161) ORDER BY id');
	is(join(' ', map { is_sealed($_) ? 'sealed' : 'open' } $result->column(0)), 'sealed open', 'which alone opens');
};

subtest 'a line of the keyring that was cut off makes no general key of the key of a period' => sub {
	my $insert = "INSERT INTO %s VALUES (%d, numbered_jpeg(%d, ${\SIZE})::biometric.face_image%s)";
	my $general = $node->sql('other', q{SELECT max(key_id) FROM biometric.key WHERE state = 'active' AND relation IS NULL});
	$node->sql('other', sprintf($insert, 'dated', 162, 162, q{, '2026-06-10Z'}));
	my $key = $node->sql('other', 'SELECT biometric.key_id(img) FROM dated WHERE id = 162');
	my $good = slurp_file($node->keyring_path);
	$node->write_keyring($good =~ s/^($key \w{64}) .*$/$1/mr);
	$node->sql('other', sprintf($insert, 'traveller', 162, 162, ''));
	is($node->sql('other', 'SELECT biometric.key_id(img) FROM traveller WHERE id = 162'), $general,
		'what has no period is sealed under the general key');
	$node->sql('other', sprintf($insert, 'dated', 163, 163, q{, '2026-06-10Z'}));
	is($node->sql('other', 'SELECT biometric.key_id(img) FROM dated WHERE id = 163'), $key,
		'what has is sealed under its own');
	is($node->sql('other', "SELECT count(*) FROM biometric.keyring_state() WHERE active AND key_id = $general"), 1,
		'the view says the same');
	my $stranger = '4bd90d1a-3c5b-4a8e-9d5c-1a2b3c4d5e6f 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z';
	$node->write_keyring($good =~ s/^($general \w{64})$/$1 $stranger/mr);
	is($node->sql('other', "SELECT active FROM biometric.keyring_state() WHERE key_id = $general"), 'f',
		'a general key that is bound to a stranger seals nothing');
	$node->write_keyring($good);
	$node->sql('other', 'DELETE FROM traveller WHERE id = 162');
};

subtest 'whoever may store images cannot fill the keyring by their times' => sub {
	my $insert = "INSERT INTO dated VALUES (%d, numbered_jpeg(%d, ${\SIZE})::biometric.face_image, %s)";
	my $good = slurp_file($node->keyring_path);
	my $home = $node->sql('other', q{SELECT home FROM biometric.home WHERE relation = 'dated'::regclass});
	my $highest = $node->sql('other', 'SELECT max(key_id) FROM biometric.key_pin');
	my $more = '';
	foreach my $n (1 .. 384)
	{
		my ($year, $month) = (1900 + int(($n - 1) / 12), ($n - 1) % 12 + 1);
		my ($then, $next) = ($n % 12 == 0 ? $year + 1 : $year, $month % 12 + 1);
		my ($line) = $node->fresh_key($highest + $n) =~ /^(\d+ \w+)/m;
		$more .= sprintf "%s %s %04d-%02d-01T00:00:00Z %04d-%02d-01T00:00:00Z\n", $line, $home, $year, $month, $then, $next;
	}
	$node->write_keyring($good . $more);
	my $wire = $node->connect_from('local', 'other', $node->superuser);
	is($wire->query(sprintf($insert, 170, 170, q{'1890-01-01Z'}))->sqlstate, '54000', 'no key is made for one period more');
	is($wire->query(sprintf($insert, 170, 170, q{'1900-01-02Z'}))->sqlstate, undef, 'those that there are serve');
	is($wire->query(sprintf($insert, 171, 171, 'now()'))->sqlstate, undef, 'so does the present one');
	cmp_ok(rotate('other'), '>', $highest + 384, 'and keys can be rotated');
	$wire->close;
	$node->sql('other', 'DELETE FROM dated WHERE id = 170');
	my ($last) = slurp_file($node->keyring_path) =~ /^(\d+ \w+)\n\z/m;
	$node->write_keyring("$good$last\n");
};

ok($node->verifies($_), "the ledger of $_ verifies") foreach $db, qw(one other);

subtest 'the id of a key that was shredded is not given to another' => sub {
	$node->sql('other', "INSERT INTO dated VALUES (180, numbered_jpeg(180, ${\SIZE})::biometric.face_image, '2026-05-01')");
	my $key = $node->sql('other', 'SELECT biometric.key_id(img) FROM dated WHERE id = 180');
	poll_until(sub { state_of($key, $node, $_) eq 'retired' }) foreach $db, 'one';
	shred($key, $_) foreach $db, qw(one other);
	ok(poll_until(sub { state_of($key, $node, 'other') eq 'shredded' }), 'the key with the highest id has gone');
	$node->sql($db, 'CREATE DATABASE novice');
	$node->prepare('novice');
	cmp_ok(rotate('novice'), '>', $key, 'a database that never knew it does not give its id to another');
	enrol($node, 'one', 40, 40);
	is(opens($node, 'id = 40', 'one'), 1, 'so those that did know it seal on');
};

subtest 'the extension is not dropped before what it has shredded is gone' => sub {
	my $lone = BiometricAudit::Node->create('lone');
	furnish($lone, $db);
	$lone->policy($db, 'SELECT biometric.rotate_key()');
	my $keys = $lone->basedir . '/keys';
	chmod 0500, $keys;
	$lone->policy($db, q{SELECT biometric.shred_key(1, 'not to be kept')});
	$lone->policy($db, q{SELECT biometric.retire_ledger('a test')});
	my $wire = $lone->connect_from('local', $db, $lone->superuser);
	is(BiometricAudit::Node::try_drop_extension($wire)->sqlstate, '55006', 'nobody would take the key out');
	chmod 0700, $keys;
	# it would try again by itself, later and later
	ok(poll_until(sub { $lone->sql($db, 'SELECT pg_reload_conf()') && keyring_ids($lone->keyring_path) eq '2' }),
		'it goes from the keyring');
	ok(poll_until(sub { state_of(1, $lone) eq 'shredded' }), 'which is written down');
	$wire->close;
	$lone->drop_extension($db);
	pass('then so can the extension');
	$lone->stop;
};

subtest 'a database is not dropped before what it has shredded is gone' => sub {
	my $sole = BiometricAudit::Node->create('sole');
	$sole->sql($db, "CREATE DATABASE $_") foreach qw(first second);
	furnish($sole, $_) foreach qw(first second);
	my $key = $sole->policy('first', 'SELECT biometric.rotate_key()');
	enrol($sole, $_, 4, 4) foreach qw(first second);
	$sole->policy('first', 'SELECT biometric.rotate_key()');
	poll_until(sub { state_of($_, $sole, 'second') eq 'retired' }) foreach 1, $key;
	my $keys = $sole->basedir . '/keys';
	chmod 0500, $keys;
	$sole->policy('first', "SELECT biometric.shred_key($_, 'not to be kept')") foreach 1, $key;
	$sole->policy('second', "SELECT biometric.shred_key(1, 'not to be kept')");
	$sole->leave($_) foreach qw(first second);
	my $drop = sub { return $sole->admin($db)->query("DROP DATABASE $_[0]") };
	is($drop->('first')->sqlstate, undef, 'one whose keys others have to take out goes');
	my $result = $drop->('second');
	is($result->sqlstate, '55006', 'the last one stays: nobody would take the key out');
	like($result->message, qr/"second".*key 1 is shredded/, 'which the message says');
	is($sole->admin($db)->query('DROP DATABASE second WITH (FORCE)')->sqlstate, '55006', 'by force, too');
	chmod 0700, $keys;
	ok(poll_until(sub { keyring_ids($sole->keyring_path) !~ /\b1\b/ }),
		'it goes from the keyring, since the worker is back');
	ok(poll_until(sub { state_of(1, $sole, 'second') eq 'shredded' }), 'which is written down');
	$sole->leave('second');
	is($drop->('second')->sqlstate, undef, 'then so can the database');
	$sole->stop;
};

subtest 'an extension that is made anew trusts the keyring as it is' => sub {
	$node->sql($db, 'CREATE DATABASE fresh');
	furnish($node, 'fresh');
	$node->policy('fresh', q{SELECT biometric.retire_ledger('a test')});
	$node->drop_extension('fresh');
	$node->sql('fresh', 'DROP TABLE traveller; DROP FUNCTION numbered_jpeg');
	furnish($node, 'fresh');
	is(opens($node, 'true', 'fresh'), 3, 'it seals and opens');
};

done_testing();
