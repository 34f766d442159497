# Keys, periods, holds and declarations where images do not come and go by a plain session: by logical
# replication, in parallel workers, on standbys, without a server around, and over a crash.

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use BiometricAudit::Node qw(is_sealed poll_until);

use constant { DESK => '127.0.0.2', SMALL => 400, LARGE => 4000 };

# Each database has a keyring of its own.
my $node = BiometricAudit::Node->create(
	'headquarters',
	keyring => 0,
	start => 0,
	allows_streaming => 'logical',
	conf => "max_worker_processes = 40\nbiometric_audit.max_databases = 16\n"
	  . "wal_retrieve_retry_interval = '100ms'\nbiometric_audit.purge_interval = 0\n"
	  . "biometric_audit.replication_networks = '127.0.0.0/8'\n");
my $keys = $node->basedir . '/keys';
chmod 0700, $keys;
$node->append_conf('postgresql.conf', "biometric_audit.keyring = '$keys/%d.keyring'");

sub keyring
{
	my ($database, @lines) = @_;
	my $path = "$keys/$database.keyring";
	return BiometricAudit::Node::replace_file($path, join('', (-e $path ? slurp_file($path) : ()), @lines), 0600);
}

keyring('postgres', $node->fresh_key(1));
$node->start;
$node->prepare('postgres');

# learn(id, databases): returns when they know a key that was put into their keyrings.
sub learn
{
	my ($id, @databases) = @_;
	$node->settle;
	foreach my $database (@databases)
	{
		poll_until(sub { $node->sql($database, "SELECT count(*) FROM biometric.key_pin WHERE key_id = $id") == 1 });
	}
	return;
}

# furnish(database): a ledger, a desk that gets everything opened, and a table.
sub furnish
{
	my ($database) = @_;
	keyring($database, $node->fresh_key(1));
	$node->sql('postgres', "CREATE DATABASE $database");
	$node->prepare($database);
	$node->register($database, 'desk', DESK . '/32', '{face}', 'open', '{control}');
	return table($database, 'lane');
}

sub table
{
	my ($database, $name, $more) = @_;
	$node->sql($database, "CREATE TABLE $name (id int PRIMARY KEY, note text, taken timestamptz, "
		  . "face biometric.face_image) ${\($more // '')}; GRANT SELECT ON $name TO officer, custodian");
	return;
}

# fill(database, table, first, last, size): every second one is sixty days old.
sub fill
{
	my ($database, $name, $first, $last, $size) = @_;
	$node->sql($database, "INSERT INTO $name SELECT n, 'new', now() - CASE WHEN n % 2 = 1 THEN interval '60 days' "
		  . "ELSE interval '0' END, numbered_jpeg(n, $size)::biometric.face_image FROM generate_series($first, $last) AS n");
	return;
}

# look(server, database, sql): what the desk gets, and the notices.
sub look
{
	my ($server, $database, $sql) = @_;
	my $wire = $server->connect_from(DESK, $database, 'officer', 'control');
	my $result = $wire->query($sql);
	my $seen = $result->sqlstate // join ' ', map { !defined $_ ? 'NULL' : is_sealed($_) ? 'sealed' : 'open' } $result->column(0);
	my @told = map { $_->{M} } $result->notices;
	$wire->close;
	return wantarray ? ($seen, @told) : $seen;
}

sub refused
{
	my ($server, $database, $user, $sql) = @_;
	my $wire = $server->connect_from('local', $database, $user);
	my $result = $wire->query($sql);
	$wire->close;
	return $result->sqlstate // 'done';
}

sub numbers { return $node->sql($_[0], "SELECT coalesce(string_agg(id || note, ' ' ORDER BY id), '') FROM $_[1]"); }

# ---------------------------------------------------------------- logical replication

furnish($_) foreach qw(centre branch);
$node->policy('branch', q{SELECT biometric.key_period('lane', 'face', '1 month')});
$node->policy('branch', q{SELECT biometric.retain('lane', 'face', '30 days', 'erase', 'taken')});
fill('centre', 'lane', 1, 4, SMALL);
fill('centre', 'lane', 5, 8, LARGE);

sub subscribe
{
	my ($name, $tables) = @_;
	$node->sql('centre', "CREATE PUBLICATION $name FOR TABLE $tables WITH (publish_via_partition_root = true)");
	$node->sql('centre', "SELECT pg_create_logical_replication_slot('$name', 'pgoutput')");
	my $publisher = $node->connstr('centre') =~ s/'/''/gr;
	$node->sql('branch', "CREATE SUBSCRIPTION $name CONNECTION '$publisher' PUBLICATION $name "
		  . "WITH (create_slot = false, slot_name = '$name')");
	return poll_until(sub { $node->sql('branch', q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel}) eq 't' });
}

# applied(name): waits until the subscriber has all that was committed.
sub applied
{
	my ($name) = @_;
	my $end = $node->sql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	return poll_until(
		sub { $node->sql('postgres', "SELECT confirmed_flush_lsn >= '$end' FROM pg_replication_slots WHERE slot_name = '$name'") eq 't' });
}

# stops(): waits until the subscription fails anew.
sub stops
{
	my $errors = q{SELECT sum(apply_error_count) FROM pg_stat_subscription_stats};
	my $before = $node->sql('branch', $errors);
	return poll_until(sub { $node->sql('branch', $errors) > $before });
}

subtest 'a subscriber seals, stamps and closes what it is sent as it has declared' => sub {
	ok(subscribe('lanes', 'lane'), 'what is there is copied');
	my $by_period = q{SELECT string_agg(to_char(lower(k.period) - date_trunc('month', l.taken), 'DD HH24'), ' ')
		FROM lane AS l JOIN biometric.key AS k ON k.key_id = biometric.key_id(l.face) WHERE k.relation = 'lane'::regclass};
	is($node->sql('branch', $by_period), join(' ', ('00 00') x 8), 'each image is under the key of its month');
	fill('centre', 'lane', 9, 10, LARGE);
	ok(applied('lanes'), 'what comes then is applied');
	is($node->sql('branch', $by_period), join(' ', ('00 00') x 10), 'and so sealed, too');
	my ($seen, @told) = look($node, 'branch', 'SELECT face FROM lane ORDER BY id');
	is($seen, join(' ', ('sealed open') x 5), 'by its time an image is closed');
	is_deeply(\@told, ['an image is sent sealed: its retention period is over'], 'for that reason');
	is($node->sql('branch', 'SELECT unstamped || $$ $$ || due FROM biometric.retention_status'), '0 5', 'all are counted');
	$node->sql('centre', 'UPDATE lane SET taken = now() WHERE id IN (1, 5)');
	ok(applied('lanes'), 'another time is applied');
	is(look($node, 'branch', 'SELECT face FROM lane WHERE id IN (1, 5)'), 'open open', 'and opens it');
};

subtest 'a subscriber that holds images takes what loses none of them, and stops at what does' => sub {
	$node->policy('branch', q{SELECT biometric.legal_hold('lane', 'face', 'id <= 8', 'case')});
	$node->sql('centre', q{UPDATE lane SET note = 'changed' WHERE id <= 8});
	ok(applied('lanes'), 'another column changes, where the image is sent along, too');
	keyring($_, $node->fresh_key(50)) foreach qw(centre branch);
	learn(50, qw(centre branch));
	is($node->policy('centre', q{SELECT biometric.reseal('lane', 'face')}), 10, 'the publisher seals anew');
	ok(applied('lanes'), 'which is applied');
	is(numbers('branch', 'lane'), join(' ', (map { "${_}changed" } 1 .. 8), '9new', '10new'), 'all is there');
	is(look($node, 'branch', 'SELECT face FROM lane WHERE id IN (2, 4, 6)'), 'open open open', 'and opens');
	$node->sql('centre', 'UPDATE lane SET face = NULL WHERE id = 2');
	ok(stops(), 'what loses a held image stops the subscription');
	like(slurp_file($node->logfile), qr/cannot erase an image that is under legal hold/, 'the log says why');
	is(look($node, 'branch', 'SELECT face FROM lane WHERE id = 2'), 'open', 'it is there');
	$node->policy('branch', q{SELECT biometric.release_hold(1, 'done')});
	ok(applied('lanes'), 'released, it goes on');
	is(look($node, 'branch', 'SELECT face FROM lane WHERE id = 2'), 'NULL', 'and the image is gone');
};

subtest 'a held image is not exchanged for one that opens for few, whatever key that is under' => sub {
	my $text = sub { return $node->sql('centre', "SELECT face::text FROM $_[0] WHERE id = 4"); };
	$node->sql('centre', 'CREATE TABLE apart AS SELECT * FROM lane WHERE id = 4; CREATE ROLE clerk LOGIN; '
		  . 'GRANT SELECT, UPDATE ON lane TO clerk');
	my $copy = $text->('apart');
	keyring('centre', $node->fresh_key(51));
	learn(51, 'centre');
	$node->policy('centre', q{SELECT biometric.legal_hold('lane', 'face', 'id = 4', 'case')});
	my $before = $text->('lane');
	$node->policy('centre', q{SELECT biometric.reseal('lane', 'face')});
	is(refused($node, 'centre', 'clerk', "UPDATE lane SET face = '$copy' WHERE id = 4"), '55006', 'not for a copy from elsewhere');
	is(refused($node, 'centre', 'clerk', "UPDATE lane SET face = '$before' WHERE id = 4"), 'done', 'what was there may come back');
	$node->policy('centre', q{SELECT biometric.release_hold(1, 'done')});
};

subtest 'what a subscriber has no key for stays sealed, until it has the key and is vouched for' => sub {
	poll_until(sub { numbers('branch', 'lane') =~ /10new/ });
	fill('centre', 'lane', 21, 22, LARGE);
	ok(applied('lanes'), 'it is stored');
	is(look($node, 'branch', 'SELECT face FROM lane WHERE id > 20 ORDER BY id'), 'sealed sealed', 'and opens for nobody');
	keyring('branch', $node->fresh_key(51));
	learn(51, 'branch');
	my ($seen, @told) = look($node, 'branch', 'SELECT face FROM lane WHERE id > 20 ORDER BY id');
	is_deeply([ $seen, @told ], [ 'sealed sealed', 'an image is sent sealed: it came in sealed from outside' ], 'nor by the key alone');
	$node->policy('branch', q{SELECT biometric.adopt('lane', 'face')});
	is(look($node, 'branch', 'SELECT face FROM lane WHERE id > 20 ORDER BY id'), 'sealed open',
		'adopted, it opens, unless its period is over');
	is($node->sql('branch', q{SELECT count(*) FROM lane WHERE biometric.key_id(face) = 51}), 0, 'and is under the key of its month');
};

subtest 'an image under another key of the same id is not taken for one of ours' => sub {
	keyring('centre', '60 ' . ('ab' x 32) . "\n");
	keyring('branch', '60 ' . ('cd' x 32) . "\n");
	learn(60, qw(centre branch));
	fill('centre', 'lane', 30, 30, LARGE);
	ok(stops(), 'the subscription stops');
	like(slurp_file($node->logfile), qr/needs the same key\s+under the same id/, 'and the log has a hint');
	$node->sql('branch', 'DROP SUBSCRIPTION lanes');
};

subtest 'a subscription brings images into partitions' => sub {
	foreach my $database (qw(centre branch))
	{
		table($database, 'gate', 'PARTITION BY RANGE (id)');
		$node->sql($database, "CREATE TABLE gate_$_ PARTITION OF gate FOR VALUES FROM (${_}00) TO (${_}99)") foreach 0, 1, 2;
	}
	keyring($_, $node->fresh_key(61)) foreach qw(centre branch);
	learn(61, qw(centre branch));
	fill('centre', 'gate', 20, 20, SMALL);
	ok(subscribe('gates', 'gate'), 'it begins');
	fill('centre', 'gate', 10, 13, SMALL);
	$node->sql('centre', q{UPDATE gate SET note = 'changed'; UPDATE gate SET id = id + 100 WHERE id = 11; DELETE FROM gate WHERE id = 12});
	ok(applied('gates'), 'and goes on');
	is(numbers('branch', 'gate'), '10changed 13changed 20changed 111changed', 'in whichever partition');
	is(look($node, 'branch', 'SELECT face FROM gate'), 'open open open open', 'they open');
	unlike(slurp_file($node->logfile), qr/out of relcache_callback_list slots/, 'the extension leaves room for others to hear of changes');
	$node->sql('branch', 'DROP SUBSCRIPTION gates');
};

ok($node->verifies($_), "the ledger of $_ verifies") foreach qw(centre branch);

# ---------------------------------------------------------------- parallel workers

subtest 'where every query is run by several processes, images are opened and copied as by one' => sub {
	furnish('wide');
	$node->sql('wide', "ALTER DATABASE wide SET $_ = 0") foreach qw(parallel_setup_cost parallel_tuple_cost min_parallel_table_scan_size);
	$node->leave('wide');
	my $worker = $node->worker('wide');
	kill 'TERM', $worker;
	$node->worker('wide', $worker);
	table('wide', 'dated');
	$node->policy('wide', q{SELECT biometric.retain('lane', 'face', '30 days', 'erase', 'taken')});
	$node->policy('wide', q{SELECT biometric.retain('dated', 'face', '100 years', 'erase', 'taken')});
	$node->policy('wide', q{SELECT biometric.key_period('dated', 'face', '1 month')});
	fill('wide', 'dated', 1, 40, SMALL);
	is($node->sql('wide', 'SELECT count(DISTINCT biometric.key_id(face)) FROM dated'), 2, 'keys of periods are made');
	fill('wide', 'lane', 1, 40, SMALL);
	$node->sql('wide', 'ANALYZE; GRANT CREATE ON SCHEMA public TO officer');
	like($node->sql('wide', 'EXPLAIN (FORMAT JSON) SELECT face FROM lane'), qr/Gather/, 'a query is parallel');
	$node->policy('wide', 'SELECT biometric.shred_key(min(key_id), $$over$$) FROM biometric.key_pin WHERE period IS NOT NULL');
	$node->policy('wide', q{SELECT biometric.legal_hold('lane', 'face', 'id < 10', 'case')});
	my $mark = $node->mark('wide');
	my ($seen, @told) = look($node, 'wide', 'SELECT face FROM lane');
	is_deeply([ { map { $_ => scalar(() = $seen =~ /$_/g) } qw(open sealed) }, @told ],
		[ { open => 20, sealed => 20 }, 'an image is sent sealed: its retention period is over' ], 'what is over is closed, with one notice');
	is($node->sql('wide', "SELECT string_agg(event || coalesce(detail ->> 'retention_expired', ''), ' ' ORDER BY event) FROM "
			  . "(SELECT DISTINCT event, detail ->> 'retention_expired' AS retention_expired, detail FROM biometric.ledger "
			  . "WHERE seq >= $mark AND event IN ('disclosed', 'exported_sealed')) AS e"),
		'disclosed exported_sealed20', 'as the ledger has it');
	($seen, @told) = look($node, 'wide', 'SELECT face FROM dated');
	is_deeply([ { map { $_ => scalar(() = $seen =~ /$_/g) } qw(open sealed) }, @told ],
		[ { open => 20, sealed => 20 }, 'some images stay sealed: their keys were shredded' ], 'so is what was shredded');
	is($node->sql('wide', 'SELECT string_agg(images::text, $$ $$ ORDER BY images) FROM biometric.key_images()'), '20 20 40', 'all are counted by key');
	my $wire = $node->connect_from(DESK, 'wide', 'officer', 'control');
	is($wire->query($_)->message, undef, $_) foreach 'CREATE TABLE copy AS SELECT * FROM lane', 'CREATE MATERIALIZED VIEW sights AS SELECT * FROM dated';
	$wire->close;
	$node->policy('wide', q{SELECT biometric.release_hold(1, 'done')});
	$node->sql('wide', 'DROP TABLE lane; ANALYZE');
	($seen) = look($node, 'wide', 'SELECT face FROM copy');
	is(scalar(() = $seen =~ /open/g), 20, 'a copy goes by the period of the table that it came from, when that is gone, too');
};

# ---------------------------------------------------------------- a crash

subtest 'a crash leaves all of a change, or nothing' => sub {
	furnish('brittle');
	$node->sql('brittle', q{SELECT biometric.describe_collection('lane', '{id}'); CREATE TABLE loose (LIKE lane INCLUDING ALL); GRANT SELECT ON loose TO officer});
	fill('brittle', $_, 1, 6, SMALL) foreach qw(lane loose);
	my @changes = map { "SELECT biometric.$_" }
	  q{retain('loose', 'face', '30 days', 'erase', 'taken')}, q{collect('lane', 'face', max_width => 1)}, q{key_period('loose', 'face', '1 month')},
	  q{legal_hold('lane', 'face', 'id < 4', 'case')}, q{release_hold(ARRAY(SELECT biometric.image_id(face) FROM lane WHERE id = 3), 'not he')},
	  'purge_expired()';
	my $state = sub {
		return $node->sql('brittle', q{SELECT concat_ws(' ', (SELECT count(*) FROM biometric.retention), (SELECT count(*) FROM biometric.collection_limit),
			(SELECT count(*) FROM biometric.key_binding), (SELECT count(*) FROM biometric.held), (SELECT count(face) FROM loose))});
	};
	my @does = (
		'DELETE FROM lane WHERE id = 1', 'DELETE FROM lane WHERE id = 3',
		"INSERT INTO lane SELECT 9, 'new', now(), numbered_jpeg(9, 500)::biometric.face_image");
	my $behaves = sub {
		my $wire = $node->connect_from('local', 'brittle', $node->superuser);
		my @ended;
		foreach my $sql (@does)
		{
			push @ended, $wire->query("BEGIN; $sql")->sqlstate // 'done';
			$wire->query('ROLLBACK');
		}
		$wire->close;
		return join ' ', @ended, look($node, 'brittle', 'SELECT face FROM loose ORDER BY id') =~ s/ .*//r;
	};
	my $wire = $node->connect_from('local', 'brittle', 'custodian');
	is($wire->query(join '; ', 'BEGIN', @changes)->message, undef, 'all kinds of changes');
	$node->crash;
	$node->start;
	is($state->(), '0 0 0 0 6', 'none of them is there that was not committed');
	is($behaves->(), 'done done done open', 'nor counts');
	$node->policy('brittle', join '; ', @changes);
	$node->policy('brittle', 'SELECT biometric.purge_expired()');
	$node->crash;
	$node->start;
	is($state->(), '1 1 1 2 3', 'all of them are there that were');
	is($behaves->(), '55006 done 23514 NULL', 'and count');
	ok($node->verifies('brittle'), 'the ledger verifies');
};

# ---------------------------------------------------------------- without a server around

subtest 'in single-user mode images stay sealed and held, and nothing changes that no ledger can have' => sub {
	$node->stop;
	my ($out, $err) = ('', '');
	my @tried = (
		'SELECT face FROM lane', 'DELETE FROM lane WHERE id = 1', 'DROP TABLE lane', 'DELETE FROM lane WHERE id = 5', 'SELECT biometric.purge_expired()',
		"SELECT biometric.retain('loose', 'face', NULL)", "SELECT biometric.release_hold(1, 'x')", "INSERT INTO lane SELECT 9, 'new', now(), numbered_jpeg(9, 500)::biometric.face_image",
		'SELECT images, held FROM biometric.hold_state');
	IPC::Run::run([ 'postgres', '--single', '-D', $node->data_dir, '-c', 'biometric_audit.ledger_timeout=100ms', '-c', 'log_min_messages=error', 'brittle' ],
		'<', \(join "\n", @tried, ''), '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	is($?, 0, 'it ends as it should');
	is(scalar(() = $out =~ /face = "sealed:/g), 6, 'images are sent sealed');
	is(scalar(() = $out =~ /held = "2"/g), 1, 'views answer');
	is(scalar(() = $err =~ /ERROR: /g), 7, 'whatever changes something is refused') or diag $err;
	$node->start;
	is($node->sql('brittle', 'SELECT count(face) || $$ $$ || (SELECT count(*) FROM biometric.held) FROM lane'), '6 2', 'and has not happened');
};

# ---------------------------------------------------------------- a standby

subtest 'a standby shows all, changes nothing, and goes on with what was begun when it is promoted' => sub {
	furnish('far');
	table('far', 'dated');
	$node->policy('far', q{SELECT biometric.retain('lane', 'face', '30 days', 'erase', 'taken')});
	$node->policy('far', q{SELECT biometric.retain('dated', 'face', '100 years', 'erase', 'taken')});
	$node->policy('far', q{SELECT biometric.key_period('dated', 'face', '1 month')});
	fill('far', $_, 1, 6, SMALL) foreach qw(lane dated);
	$node->policy('far', q{SELECT biometric.legal_hold('lane', 'face', 'id = 1', 'case')});
	$node->backup('b');
	my $standby = BiometricAudit::Node->new('standby');
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	my $own = $standby->basedir . '/keys';
	mkdir $own, 0700;
	foreach my $path (glob "$keys/*.keyring")
	{
		BiometricAudit::Node::replace_file($path =~ s{.*/}{$own/}r, slurp_file($path), 0600);
	}
	$standby->append_conf('postgresql.conf', "biometric_audit.keyring = '$own/%d.keyring'\nbiometric_audit.purge_interval = '50ms'");
	$standby->start;
	my $seen = sub { return $standby->run('auditor', 'far', $_[0]); };
	is($seen->('SELECT string_agg(state || images, $$ $$ ORDER BY key_id) FROM biometric.key'), 'active6 retired3 active3', 'keys');
	is($seen->('SELECT string_agg(concat_ws($$ $$, images, due, held), $$, $$ ORDER BY relation::text) FROM biometric.retention_status'), '6 0 0, 6 3 1', 'periods');
	is($seen->('SELECT held FROM biometric.hold_state'), 1, 'holds');
	is($seen->("SELECT count(*) FROM biometric.$_") // 'none', { declared_collection => 2, stat_progress_reseal => 0, proposal => 0 }->{$_}, $_)
	  foreach qw(declared_collection stat_progress_reseal proposal);
	my @calls = (
		'rotate_key()', q{shred_key(2, 'x')}, q{key_period('dated', 'face', NULL)}, q{reseal('dated', 'face')}, q{retain('lane', 'face', NULL)},
		q{end_past_retention(gen_random_uuid(), 'x')}, 'purge_expired()', q{legal_hold('lane', 'face', 'id = 2', 'x')}, q{release_hold(1, 'x')},
		q{release_hold('lane', 'face', NULL, 'x')}, q{collect('lane', 'face', 1)}, 'approve(1)');
	is_deeply({ map { $_ => refused($standby, 'far', 'custodian', "SELECT biometric.$_") } @calls }, { map { $_ => '25006' } @calls }, 'functions that change something refuse');
	is(look($standby, 'far', 'SELECT face FROM lane'), '42501', 'nothing opens');

	# one key is shredded while the standby has its replay paused, another cannot leave the keyring any more
	my ($old, $new) = split / /, $node->sql('far', 'SELECT string_agg(key_id::text, $$ $$ ORDER BY key_id) FROM biometric.key_pin WHERE period IS NOT NULL');
	$standby->sql('far', 'SELECT pg_wal_replay_pause()');
	$node->policy('far', "SELECT biometric.shred_key($old, 'over')");
	chmod 0500, $keys;
	my $wire = $node->connect_from('local', 'far', 'custodian');
	$wire->send_query("SELECT biometric.shred_key($new, 'over')");
	poll_until(sub { $node->sql('far', "SELECT state FROM biometric.key_pin WHERE key_id = $new") eq 'shredding' });
	is($seen->("SELECT string_agg(state, ' ' ORDER BY key_id) FROM biometric.key_pin WHERE period IS NOT NULL"), 'usable usable', 'a standby that is behind knows of none');
	my $end = $node->sql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	$standby->sql('far', 'SELECT pg_wal_replay_resume()');
	poll_until(sub { $standby->sql('far', "SELECT pg_last_wal_replay_lsn() >= '$end'") eq 't' });
	is($seen->("SELECT string_agg(state, ' ' ORDER BY key_id) FROM biometric.key_pin WHERE period IS NOT NULL"), 'shredded shredding', 'then of both');
	$node->crash;
	chmod 0700, $keys;
	$standby->promote;
	ok(poll_until(sub { $standby->sql('far', "SELECT state FROM biometric.key_pin WHERE key_id = $new") eq 'shredded' }), 'promoted, it goes on with the shredding');
	is(join(' ', slurp_file("$own/far.keyring") =~ /^(\d+) /mg), 1, 'its keyring has lost both');
	ok(poll_until(sub { $standby->sql('far', 'SELECT count(face) FROM lane') == 4 }), 'it purges what is due, and not held');
	is(look($standby, 'far', 'SELECT face FROM dated'), join(' ', ('sealed') x 6), 'what was shredded opens nowhere');
	ok($standby->verifies('far'), 'its ledger verifies');
	$standby->stop;
	$node->start;
};

# ---------------------------------------------------------------- the extension goes

subtest 'the extension can be dropped while its worker is at work, and leaves nothing behind' => sub {
	furnish('short');
	foreach my $round (1 .. 4)
	{
		$node->policy('short', q{SELECT biometric.retain('lane', 'face', '1 microsecond', 'erase')});
		$node->policy('short', q{SELECT biometric.key_period('lane', 'face', '1 month')});
		fill('short', 'lane', 1, 2, SMALL);
		is(look($node, 'short', 'SELECT face FROM lane'), 'sealed sealed', "round $round: a period is in force");
		$node->policy('short', q{SELECT biometric.retire_ledger('a test')});
		my $worker = $node->worker('short');
		my $wire = $node->connect_from('local', 'short', $node->superuser);
		$wire->query(q{SET deadlock_timeout = '1ms'});
		$wire->send_query('DROP EXTENSION biometric_audit CASCADE');
		my $busy = fork // die "fork: $!";
		if ($busy == 0)
		{
			my $test = getppid;
			while (getppid == $test) { kill 'HUP', $worker; usleep(1000); }
			POSIX::_exit(0);
		}
		is($wire->drain->sqlstate, undef, 'it is dropped, whatever the worker reads meanwhile');
		kill 'KILL', $busy;
		waitpid $busy, 0;
		$wire->close;
		$node->sql('short', 'DROP TABLE lane; DROP FUNCTION numbered_jpeg');
		$node->prepare('short');
		$node->register('short', 'desk', DESK . '/32', '{face}', 'open', '{control}');
		table('short', 'lane');
	}
	fill('short', 'lane', 1, 2, SMALL);
	is(look($node, 'short', 'SELECT face FROM lane'), 'open open', 'made anew, it knows of no period');
	is($node->sql('short', 'SELECT max(biometric.key_id(face)) FROM lane'), 1, 'nor of keys for one');
};

$node->stop;
done_testing();
