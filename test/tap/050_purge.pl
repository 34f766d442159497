# Images whose retention period is over go, by themselves: emptied, deleted or shredded, a
# batch a transaction, each with one entry; what is not due stays, whatever is killed meanwhile.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);

my $db = 'postgres';
my $node = BiometricAudit::Node->create(
	'agency',
	allows_streaming => 1,
	conf => "restart_after_crash = on\nbiometric_audit.ledger_timeout = '60s'\n"
	  . "biometric_audit.purge_interval = '50ms'\nbiometric_audit.purge_delay = '1ms'\n"
	  . "biometric_audit.purge_batch_rows = 10\n");
$node->prepare($db);
$node->run('officer', $db, 'CREATE TABLE seen (at_all int)');

# A table of the officer's: rows 1 to due are sixty days old, the others of today.
sub table
{
	my ($name, $due, $others, $more) = @_;
	$node->run('officer', $db,
		"CREATE TABLE $name (id int PRIMARY KEY, taken timestamptz, img biometric.face_image ${\($more // '')})");
	fill($name, 1, $due, "now() - interval '60 days'");
	fill($name, 1000 + $due, 999 + $due + $others, 'now()') if $others;
	return;
}

sub fill
{
	my ($name, $first, $last, $taken) = @_;
	$node->run('officer', $db, "INSERT INTO $name (id, taken, img) "
		  . "SELECT n, $taken, numbered_jpeg(n, 600)::biometric.face_image FROM generate_series($first, $last) AS n");
	return;
}

sub retain
{
	my ($name, $on_expiry, $period) = @_;
	$period //= '30 days';
	$node->policy($db, "SELECT biometric.retain('$name', 'img', '$period', '$on_expiry', 'taken')");
	return;
}

# How many rows of a table have an image that was taken before the period.
sub due
{
	my ($name) = @_;
	return $node->sql($db, "SELECT count(*) FROM $name WHERE img IS NOT NULL AND taken < now() - interval '30 days'");
}

sub gone
{
	my ($name, $left) = @_;
	return ok(poll_until(sub { return due($name) == ($left // 0); }), "what is due of $name goes");
}

# The keys of rows with entries of an event whose transaction was committed, each as often as it has one.
sub entries
{
	my ($name, $event) = @_;
	return $node->sql($db, "SELECT coalesce(string_agg(row_key ->> 'id', ' ' ORDER BY (row_key ->> 'id')::int), '') "
		  . "FROM biometric.change WHERE event = '$event' AND state = 'committed' AND relation LIKE 'public.$name%'");
}

sub problem
{
	my ($name) = @_;
	return $node->sql($db, "SELECT problem FROM biometric.retention_status WHERE relation = '$name'::regclass") // '';
}

sub purger
{
	return $node->sql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'biometric_audit purger' LIMIT 1");
}

sub numbers { return join ' ', @_; }

subtest 'what is due is emptied, or its row deleted; nothing else is' => sub {
	table('emptied', 35, 5);
	table('deleted', 35, 5);
	retain('emptied', 'erase');
	retain('deleted', 'delete');
	gone('emptied');
	gone('deleted');
	is($node->sql($db, 'SELECT count(*) FROM emptied WHERE img IS NULL'), 35, 'rows that are emptied stay');
	is($node->sql($db, 'SELECT count(*) FROM emptied WHERE img IS NOT NULL AND id > 1000'), 5, 'what is not due stays');
	is($node->sql($db, 'SELECT count(*) FROM deleted'), 5, 'rows are deleted where that was asked for');
	is(entries($_, 'purged'), numbers(1 .. 35), "each row of $_ has one entry") foreach qw(emptied deleted);
	is(entries($_, 'erased'), '', "and no other") foreach qw(emptied deleted);
	my ($entry) = $node->records($db, "SELECT * FROM biometric.change WHERE event = 'purged' AND relation = 'public.deleted' ORDER BY seq LIMIT 1");
	is($entry->{operation}, 'delete', 'the entry has the operation');
	is($entry->{detail}{rule}, 'public.deleted.img', 'the rule');
	like($entry->{detail}{expired_at}, qr/^\d{4}-\d\d-\d\dT/, 'when the period was over');
	is($entry->{application}, 'biometric_audit purger', 'and who did it');
	is($node->sql($db, "SELECT purged FROM biometric.retention_status WHERE relation = 'deleted'::regclass"), 35,
		'retention_status counts them');
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'what is to be shredded loses its key when its period is over' => sub {
	table('shredded', 0, 0);
	$node->policy($db, q{SELECT biometric.key_period('shredded', 'img', '1 month')});
	retain('shredded', 'shred');
	my $state = sub {
		return $node->sql($db, "SELECT string_agg(state, ' ' ORDER BY period) FROM biometric.key WHERE relation = 'shredded'::regclass");
	};
	# a key that is made for a period that is over is shredded at once, before its images are committed
	pause();
	fill('shredded', 1, 5, "now() - interval '100 days'");
	fill('shredded', 6, 8, 'now()');
	resume();
	ok(poll_until(sub { return $state->() eq 'shredded active'; }), 'the key of the old images is shredded, the present one is not');
	is($node->sql($db, 'SELECT count(img) FROM shredded'), 8, 'no row is touched');
	my $steps = "SELECT string_agg(detail ->> 'action', ' ' ORDER BY seq) FROM biometric.ledger "
	  . "WHERE event = 'key_changed' AND detail ->> 'action' LIKE '%shred%'";
	# the second follows what it tells of
	ok(poll_until(sub { return $node->sql($db, $steps) eq 'shred_key key_shredded'; }), 'both steps are entries');
};

subtest 'what is under a legal hold stays until that is released' => sub {
	table('held', 0, 0);
	retain('held', 'delete');
	$node->set('biometric_audit.purge_interval', 0);
	poll_until(sub { return !defined purger(); });
	fill('held', 1, 6, "now() - interval '60 days'");
	$node->run('officer', $db, 'GRANT SELECT ON held TO custodian');
	my $hold = $node->policy($db, q{SELECT biometric.legal_hold('held', 'img', 'id IN (2, 3)', 'a court asks for it')});
	$node->set('biometric_audit.purge_interval', '50ms');
	gone('held', 2);
	is($node->policy($db, 'SELECT biometric.purge_expired()'), 0, 'nor does purge_expired() purge it');
	is($node->sql($db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM held"), '2 3', 'these, and no others');
	is(problem('held'), '', 'which is no problem');
	$node->policy($db, "SELECT biometric.release_hold($hold, 'the case is closed')");
	gone('held');
	is(entries('held', 'purged'), numbers(1 .. 6), 'each has one entry');
};

subtest 'partitions and heirs are purged by the rule that is nearest' => sub {
	$node->run('officer', $db, <<'END');
CREATE TABLE parted (id int, taken timestamptz, img biometric.face_image, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (1) TO (21);
CREATE TABLE parted_high (taken timestamptz, gone int, img biometric.face_image, id int NOT NULL);
ALTER TABLE parted_high DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_high FOR VALUES FROM (21) TO (10000);
CREATE TABLE parted_kept PARTITION OF parted FOR VALUES FROM (10000) TO (20000);
END
	retain('parted_kept', 'delete', '1 year');
	retain('parted', 'delete');
	fill('parted', 1, 40, "now() - interval '60 days'");
	fill('parted', 10001, 10005, "now() - interval '60 days'");
	gone('parted', 5);
	is(entries('parted', 'purged'), numbers(1 .. 40), 'each row of a partition without a rule of its own');
	is($node->sql($db, 'SELECT count(*) FROM parted_kept'), 5, 'what a nearer rule keeps stays');
};

subtest 'a row that cannot go stays alone, and it is said why' => sub {
	# rows that come when the rule is there need no stamping, which a lock would hold up
	table('stubborn', 0, 0);
	retain('stubborn', 'delete');
	$node->set('biometric_audit.purge_interval', 0);
	poll_until(sub { return !defined purger(); });
	fill('stubborn', 1, 30, "now() - interval '60 days'");
	$node->run('officer', $db, <<'END');
CREATE TABLE refers (id int REFERENCES stubborn DEFERRABLE INITIALLY DEFERRED);
INSERT INTO refers VALUES (3);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF OLD.id = 5 THEN RAISE EXCEPTION 'number five stays'; END IF;
	IF OLD.id = 7 THEN RETURN NULL; END IF;
	IF current_user <> 'officer' THEN RAISE EXCEPTION 'run as %', current_user; END IF;
	IF current_setting('search_path') <> 'pg_catalog, pg_temp' THEN RAISE EXCEPTION 'it finds what anybody made'; END IF;
	BEGIN
		CREATE TEMP TABLE left_behind ();
	EXCEPTION WHEN insufficient_privilege THEN RETURN OLD;
	END;
	RAISE EXCEPTION 'it is not restricted';
END $$;
CREATE TRIGGER keep BEFORE DELETE ON stubborn FOR EACH ROW EXECUTE FUNCTION keep();
ALTER TABLE stubborn ENABLE ROW LEVEL SECURITY;
ALTER TABLE stubborn FORCE ROW LEVEL SECURITY;
END
	$node->set('biometric_audit.purge_interval', '50ms');
	gone('stubborn', 3);
	is($node->sql($db, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM stubborn'), '3 5 7',
		'referred to, or kept by a trigger that raises or returns nothing');
	is(entries('stubborn', 'purged'), numbers(grep { !/^[357]$/ } 1 .. 30), 'those that went have an entry, no others');
	ok(poll_until(sub { return problem('stubborn') =~ /stubborn/; }), 'retention_status says what is the matter');
	$node->run('officer', $db, 'DROP TRIGGER keep ON stubborn; DROP TABLE refers');
	gone('stubborn');
	is(entries('stubborn', 'purged'), numbers(1 .. 30), 'when nothing is in the way, they go, too');
	ok(poll_until(sub { return problem('stubborn') eq ''; }), 'and nothing is the matter any more');
};

subtest 'images of a table that joins are stamped with the times of their rows, and go by them' => sub {
	foreach my $joins ('ATTACH PARTITION', 'INHERIT')
	{
		my $root = $joins eq 'INHERIT' ? 'inherited' : 'attached';
		my $stamped = sub {
			return $node->sql($db, "SELECT stamped_at IS NOT NULL FROM biometric.retention WHERE relation = '$root'::regclass") eq 't';
		};
		$node->run('officer', $db, "CREATE TABLE $root (id int, taken timestamptz, img biometric.face_image)"
			  . ($joins eq 'INHERIT' ? '' : ' PARTITION BY RANGE (id)'));
		retain($root, 'delete');
		ok($stamped->(), "$joins: what is empty has nothing to be stamped");
		$node->run('officer', $db, "CREATE TABLE ${root}_empty (id int, taken timestamptz, img biometric.face_image); "
			  . "CREATE TABLE ${root}_child (LIKE ${root}_empty)");
		fill("${root}_child", 1, 25, "now() - interval '60 days'");
		fill("${root}_child", 26, 30, 'now()');
		pause();
		my $join = sub {
			my ($child, $values) = @_;
			$node->run('officer', $db, $joins eq 'INHERIT' ? "ALTER TABLE $child INHERIT $root"
				: "ALTER TABLE $root ATTACH PARTITION $child FOR VALUES $values");
		};
		$join->("${root}_empty", 'FROM (1000) TO (2000)');
		ok($stamped->(), 'nor has what joins without images');
		$join->("${root}_child", 'FROM (0) TO (1000)');
		ok(!$stamped->(), 'what joins with images has');
		resume();
		gone($root);
		is($node->sql($db, "SELECT count(*) FROM $root"), 5, 'what its rows say is due goes, the rest stays');
		ok($stamped->(), 'all have been stamped');
		is($node->sql($db, "SELECT unstamped FROM biometric.retention_status WHERE relation = '$root'::regclass"), 0, 'none is left without');
	}
};

subtest 'that a time column is gone is told for as long as it is, whatever else is purged' => sub {
	table('timeless', 0, 2);
	retain('timeless', 'delete');
	poll_until(sub { return $node->sql($db, q{SELECT stamped_at IS NOT NULL FROM biometric.retention WHERE relation = 'timeless'::regclass}) eq 't'; });
	pause();
	$node->run('officer', $db, 'ALTER TABLE timeless DROP COLUMN taken');
	like(problem('timeless'), qr/^time column "taken" is gone/, 'it is told');
	resume();
	my $passed = sub {
		return $node->sql($db, q{SELECT coalesce(last_pass_at::text, 'never') FROM biometric.retention WHERE relation = 'timeless'::regclass});
	};
	foreach (1 .. 2)
	{
		my $before = $passed->();
		poll_until(sub { return $passed->() ne $before; });
	}
	like(problem('timeless'), qr/^time column "taken" is gone/, 'the view goes on saying so');
	my $wire = $node->connect_from('local', $db, BiometricAudit::Node::superuser());
	$wire->query('BEGIN; LOCK TABLE timeless IN SHARE MODE');
	ok(poll_until(sub { return problem('timeless') =~ /^time column .*; table .* is locked/; }), 'and what else is the matter');
	$wire->query('COMMIT');
	$wire->close;
	ok(poll_until(sub { return problem('timeless') =~ /^time column/ && problem('timeless') !~ /locked/; }), 'as long as it is');
	$node->run('officer', $db, 'DROP TABLE timeless');
};

subtest 'a column that is renamed while somebody purges is followed' => sub {
	pause();
	table('renamed', 0, 2);
	retain('renamed', 'delete');
	my $alters = $node->connect_from('local', $db, 'officer');
	my $purges = $node->connect_from('local', $db, 'custodian');
	$alters->query('BEGIN; LOCK TABLE renamed');
	my $pid = $alters->query('SELECT pg_backend_pid()')->value;
	$purges->query('BEGIN; SELECT biometric.purge_expired()');
	$alters->send_query('ALTER TABLE renamed RENAME img TO face');
	ok(poll_until(sub { return $node->sql($db, "SELECT count(*) FROM pg_locks WHERE pid = $pid AND NOT granted") > 0; }),
		'it waits for what purging has written');
	$purges->query('COMMIT');
	is($alters->drain->error, undef, 'it goes on');
	$alters->query('COMMIT');
	$_->close foreach $alters, $purges;
	is($node->sql($db, q{SELECT column_name FROM biometric.retention WHERE relation = 'renamed'::regclass}), 'face', 'the rule has the name');
	$node->run('officer', $db, 'DROP TABLE renamed');
	resume();
};

subtest 'what goes along with a row is erased, as ever' => sub {
	table('head', 4, 0);
	$node->run('officer', $db, 'CREATE TABLE body (id int PRIMARY KEY REFERENCES head ON DELETE CASCADE, taken timestamptz, '
		  . 'img biometric.face_image)');
	fill('body', 2, 3, 'now()');
	retain('head', 'delete');
	gone('head');
	is(entries('head', 'purged'), '1 2 3 4', 'what was due is purged');
	is(entries('body', 'erased'), '2 3', 'what was not, and went by a foreign key, is erased');
};

subtest 'settings of the database do not decide what is purged' => sub {
	$node->sql($db, "ALTER DATABASE $db SET $_")
	  foreach ('session_replication_role = replica', 'default_transaction_read_only = on', 'enable_tidscan = off',
		'search_path = nowhere', 'role = officer', "default_transaction_isolation = serializable", 'statement_timeout = 1');
	$node->leave($db);
	my $wire = $node->connect_from('local', $db, BiometricAudit::Node::superuser(), undef,
		params => { default_transaction_read_only => 'off', default_transaction_isolation => 'read committed',
			statement_timeout => 0, search_path => 'public', session_replication_role => 'origin', role => 'none' });
	$wire->query("SET ROLE officer; CREATE TABLE set_so (id int PRIMARY KEY, taken timestamptz, img biometric.face_image); "
		  . "INSERT INTO set_so SELECT n, now() - interval '60 days', numbered_jpeg(n, 600)::biometric.face_image "
		  . 'FROM generate_series(1, 15) AS n; SET ROLE custodian; '
		  . q{SELECT biometric.retain('set_so', 'img', '30 days', 'delete', 'taken'); RESET ROLE});
	ok(poll_until(sub { return $wire->query('SELECT count(*) FROM set_so')->value == 0; }), 'it goes');
	$wire->query("ALTER DATABASE $db RESET ALL");
	$wire->close;
	is(entries('set_so', 'purged'), numbers(1 .. 15), 'with its entries');
};

subtest 'a table that somebody has locked is left alone, and nobody waits' => sub {
	table('closed', 5, 0);
	table('open_to_all', 5, 0);
	my $wire = $node->connect_from('local', $db, BiometricAudit::Node::superuser());
	$wire->query('BEGIN; LOCK TABLE closed IN SHARE MODE');
	retain('open_to_all', 'delete');
	$node->policy($db, 'SELECT 1');
	gone('open_to_all');
	is($node->sql($db, "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
			  . "WHERE NOT l.granted AND a.backend_type = 'biometric_audit purger'"),
		0, 'the purger waits for no lock');
	$wire->query('COMMIT');
	$wire->close;
	retain('closed', 'delete');
	gone('closed');
};

# Has no purger run, and none under way; what comes meanwhile is not looked at.
sub pause
{
	$node->set('biometric_audit.purge_interval', 0);
	return poll_until(sub { return !defined purger(); });
}

sub resume { return $node->set('biometric_audit.purge_interval', '50ms'); }

subtest 'whatever a trigger does, it keeps its own rows only, and is seen' => sub {
	my @kept = map { "kept_$_" } qw(raised caught caught_too);
	table($_, 0, 0) foreach @kept, 'free';
	retain($_, 'delete') foreach @kept, 'free';
	pause();
	fill($_, 1, 4, "now() - interval '60 days'") foreach @kept;
	$node->run('officer', $db, <<'END');
CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF OLD.id = 2 THEN
		RAISE EXCEPTION 'no, thank you%', pg_catalog.repeat('!', 100000) USING ERRCODE = 'query_canceled';
	END IF;
	RETURN OLD;
END $$;
CREATE TRIGGER raise BEFORE DELETE ON kept_raised FOR EACH ROW EXECUTE FUNCTION raise();
CREATE FUNCTION catch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		BEGIN
			PERFORM pg_catalog.pg_sleep(3600);
		EXCEPTION WHEN query_canceled THEN NULL;
		END;
	END LOOP;
END $$;
CREATE TRIGGER catch BEFORE DELETE ON kept_caught FOR EACH ROW EXECUTE FUNCTION catch();
CREATE TRIGGER catch BEFORE DELETE ON kept_caught_too FOR EACH ROW EXECUTE FUNCTION catch();
END
	# many batches: it is not enough that there is one now and then
	fill('free', 1, 500, "now() - interval '60 days'");
	resume();
	gone('kept_raised', 1);
	ok(poll_until(sub { return problem('kept_raised') =~ /no, thank you/; }), 'one that says that somebody cancels');
	cmp_ok(length(problem('kept_raised')), '<', 2000, 'at whatever length');
	gone('free');
	ok(poll_until(sub { return problem($_) =~ /did not come to an end/; }), "one that never ends ($_)") foreach @kept[ 1, 2 ];
	is(due($_), 4, "the rows of $_ stay") foreach @kept[ 1, 2 ];
	$node->run('officer', $db, "DROP TABLE $_") foreach @kept;
};

subtest 'rows that somebody has locked are passed over, and seen' => sub {
	table('taken_hold_of', 0, 0);
	retain('taken_hold_of', 'delete');
	pause();
	fill('taken_hold_of', 1, 8, "now() - interval '60 days'");
	my $wire = $node->connect_from('local', $db, BiometricAudit::Node::superuser());
	$wire->query('BEGIN; SELECT id FROM taken_hold_of WHERE id IN (4, 5) FOR UPDATE');
	resume();
	gone('taken_hold_of', 2);
	ok(poll_until(sub { return problem('taken_hold_of') =~ /2 rows .* locked by other sessions/; }), 'the view says so');
	$wire->query('COMMIT');
	$wire->close;
	gone('taken_hold_of');
	ok(poll_until(sub { return problem('taken_hold_of') eq ''; }), 'and nothing any more');
};

subtest 'the period that counts is the one of the moment' => sub {
	pause();
	table('prolonged', 0, 0);
	retain('prolonged', 'delete');
	fill('prolonged', 1, 5, "now() - interval '60 days'");
	my $changes = $node->connect_from('local', $db, 'custodian');
	my $purges = $node->connect_from('local', $db, 'custodian');
	my $pid = $purges->query('SELECT pg_backend_pid()')->value;
	$changes->query('BEGIN');
	my $changed = $changes->query(q{SELECT biometric.retain('prolonged', 'img', '1 year', 'delete', 'taken')});
	is($changed->error, undef, 'a period is made longer');
	$purges->send_query('SELECT biometric.purge_expired()');
	ok(poll_until(sub { return $node->sql($db, "SELECT count(*) FROM pg_locks WHERE pid = $pid AND NOT granted") > 0; }),
		'while somebody is about to purge by what it was');
	$changes->query('COMMIT');
	is($purges->drain->error, undef, 'it ends');
	is($node->sql($db, 'SELECT count(*) FROM prolonged'), 5, 'nothing goes by what counted before');

	# now it has listed the periods, and waits for a hold before it takes the first
	retain('prolonged', 'delete');
	$node->policy($db, 'SELECT biometric.purge_expired(1)');
	my $left = $node->sql($db, 'SELECT count(*) FROM prolonged');
	cmp_ok($left, '<', 5, 'the period is short again');
	$node->run('officer', $db, 'GRANT SELECT ON prolonged TO custodian');
	$changes->query('BEGIN');
	$changed = $changes->query(q{SELECT biometric.legal_hold('prolonged', 'img', 'true', 'a court asks'); SAVEPOINT s});
	is($changed->error, undef, 'a hold is being placed');
	$changed = $changes->query(q{SELECT biometric.release_hold('prolonged', 'img', 'true', 'it does not')});
	is($changed->error, undef, 'and released');
	$purges->send_query('SELECT biometric.purge_expired()');
	ok(poll_until(sub { return $node->sql($db, "SELECT count(*) FROM pg_locks WHERE pid = $pid AND NOT granted") > 0; }),
		'somebody who is about to purge waits for that');
	$changed = $changes->query(q{SELECT biometric.retain('prolonged', 'img', '1 year', 'delete', 'taken'); COMMIT});
	is($changed->error, undef, 'the period is made longer meanwhile');
	is($purges->drain->error, undef, 'it ends');
	is($node->sql($db, 'SELECT count(*) FROM prolonged'), $left, 'nothing goes by what it has listed');
	$_->close foreach $changes, $purges;
	resume();
};

subtest 'a key is shredded for nobody whose time is not over' => sub {
	pause();
	$node->run('officer', $db, <<'END');
CREATE TABLE keyed (id int, taken timestamptz, img biometric.face_image, later timestamptz) PARTITION BY RANGE (id);
CREATE TABLE keyed_low PARTITION OF keyed FOR VALUES FROM (1) TO (100);
CREATE TABLE keyed_high PARTITION OF keyed FOR VALUES FROM (100) TO (200);
END
	my $state = sub {
		my ($name) = @_;
		return $node->sql($db, "SELECT coalesce(string_agg(state, ' ' ORDER BY period), '') FROM biometric.key WHERE relation = '$name'::regclass");
	};
	fill('keyed', 51, 52, "now() - interval '100 days'");
	$node->policy($db, q{SELECT biometric.key_period('keyed', 'img', '1 month')});
	retain('keyed', 'shred');
	$node->policy($db, 'SELECT biometric.purge_expired()');
	fill('keyed', 1, 3, "now() - interval '100 days'");
	fill('keyed', 101, 103, "now() - interval '200 days'");
	$node->policy($db, q{SELECT biometric.retain('keyed_high', 'img', '2 years', 'erase', 'taken')});
	fill('keyed', 4, 4, "now() - interval '200 days'");
	$node->policy($db, 'SELECT biometric.purge_expired()');
	$node->policy($db, 'SELECT biometric.purge_expired()');
	ok(poll_until(sub { return $state->('keyed') eq 'retired shredded'; }),
		'a key of partitions is shredded, unless one with a longer period needs it');
	like(problem('keyed'), qr/key \d+ stays: Images under it are not over|under key \d+, which is of no period/, 'and the view says so');
	is($node->sql($db, "SELECT due FROM biometric.retention_status WHERE relation = 'keyed'::regclass"), '3',
		'what is shredded is not due any more');
	$node->run('officer', $db, 'DELETE FROM keyed_high');
	$node->policy($db, 'SELECT biometric.purge_expired()');
	ok(poll_until(sub { return $state->('keyed') eq 'shredded shredded'; }), 'when nobody needs it, it is shredded');
	like(problem('keyed'), qr/under key \d+, which is of no period/, 'images that are under none of these keys are seen');
	is($node->sql($db, "SELECT due FROM biometric.retention_status WHERE relation = 'keyed'::regclass"), '2', 'and counted');
	$node->run('officer', $db, 'DELETE FROM keyed WHERE id > 50');
	resume();
	ok(poll_until(sub { return problem('keyed') eq ''; }), 'without them nothing is the matter');

	pause();
	$node->run('officer', $db, 'CREATE TABLE restamped (id int, taken timestamptz, img biometric.face_image, later timestamptz)');
	$node->policy($db, q{SELECT biometric.key_period('restamped', 'img', '1 month')});
	retain('restamped', 'shred');
	fill('restamped', 1, 2, "now() - interval '100 days'");
	$node->run('officer', $db, 'UPDATE restamped SET later = now()');
	$node->policy($db, q{SELECT biometric.retain('restamped', 'img', '30 days', 'shred', 'later')});
	$node->policy($db, 'SELECT biometric.purge_expired()') foreach 1 .. 2;
	is($state->('restamped'), 'retired', 'nor when images have got another time since they were sealed');
	like(problem('restamped'), qr/Images under it are not over/, 'which is seen');
	resume();
};

subtest 'nor for an image that comes to a partition with a longer period when it has been looked at' => sub {
	my $own = 'late';
	pause();
	$node->sql($db, "CREATE DATABASE $own");
	$node->prepare($own);
	$node->run('officer', $own, join ';', 'CREATE TABLE late (id int, taken timestamptz, img biometric.face_image) PARTITION BY LIST (id)',
		map { "CREATE TABLE late_$_ PARTITION OF late FOR VALUES IN ($_)" } 1 .. 20);
	$node->policy($own, q{SELECT biometric.key_period('late', 'img', '1 month')});
	$node->policy($own, q{SELECT biometric.retain('late', 'img', '30 days', 'shred', 'taken')});
	$node->policy($own, q{SELECT biometric.retain('late_1', 'img', '2 years', 'erase', 'taken')});
	my $insert = "INSERT INTO late SELECT n, now() - interval '200 days', numbered_jpeg(n, 600)::biometric.face_image FROM generate_series(%d, %d) AS n";
	my $of_rule = sub { return $node->sql($own, "SELECT $_[0] FROM biometric.retention WHERE relation = 'late'::regclass"); };
	$node->run('officer', $own, sprintf($insert, 18, 20));
	my $key = $node->sql($own, 'SELECT max(biometric.key_id(img)) FROM late');
	# its first batch ends with the sixteenth table; it goes on when that is changed
	$node->set('biometric_audit.purge_delay', '10s');
	resume();
	ok(poll_until(sub { return $of_rule->('purge_block') != 0; }), 'that partition has been looked at, others have not');
	$node->run('officer', $own, sprintf($insert, 1, 1));
	is($node->sql($own, 'SELECT biometric.key_id(img) FROM late WHERE id = 1'), $key, 'what comes is under the key');
	$node->set('biometric_audit.purge_delay', '1ms');
	ok(poll_until(sub { return $of_rule->('purge_block') == 0; }), 'the pass ends');
	is($node->sql($own, "SELECT state FROM biometric.key WHERE key_id = $key"), 'retired', 'the key stays');
	like($of_rule->('problem'), qr/key $key stays: Images under it (may have come meanwhile|are not over)/, 'as the view says');
	$node->run('officer', $own, 'DELETE FROM late_1');
	# the other database has the keyring, too
	ok(poll_until(sub { return $node->sql($own, "SELECT state FROM biometric.key WHERE key_id = $key") =~ /^shredd/; }),
		'when nobody needs it, it is shredded');
	$node->leave($own);
	$node->sql($db, "DROP DATABASE $own");
};

subtest 'many tables are many transactions' => sub {
	$node->set('biometric_audit.purge_delay', '100ms');
	$node->run('officer', $db, 'CREATE TABLE wide (id int PRIMARY KEY, taken timestamptz, img biometric.face_image) PARTITION BY LIST (id)');
	$node->run('officer', $db, join ';', map { "CREATE TABLE wide_$_ PARTITION OF wide FOR VALUES IN ($_)" } 1 .. 40);
	retain('wide', 'delete');
	ok(poll_until(sub { return $node->sql($db, q{SELECT purge_block FROM biometric.retention WHERE relation = 'wide'::regclass}) != 0; }),
		'a batch ends before all are locked');
	$node->set('biometric_audit.purge_delay', '1ms');
	fill('wide', 1, 40, "now() - interval '60 days'");
	gone('wide');
	is(entries('wide', 'purged'), numbers(1 .. 40), 'each is seen');
	$node->run('officer', $db, 'DROP TABLE wide');
};

subtest 'a custodian purges in a transaction of his own' => sub {
	$node->set('biometric_audit.purge_interval', 0);
	poll_until(sub { return !defined purger(); });
	table('by_hand', 30, 3);
	retain('by_hand', 'delete');
	# what has to be stamped is stamped first, and counts for no row
	$node->policy($db, 'SELECT biometric.purge_expired()');
	fill('by_hand', 101, 130, "now() - interval '60 days'");
	my $wire = $node->connect_from('local', $db, 'custodian');
	my $mark = $node->mark($db);
	$wire->query('BEGIN');
	is($wire->query('SELECT biometric.purge_expired(7)')->value, 7, 'as many as were asked for');
	is($wire->query('SELECT biometric.purge_expired(8)')->value, 8, 'and then the next');
	$wire->query('ROLLBACK');
	is(due('by_hand') >= 30, 1, 'ROLLBACK takes it back');
	unlike($node->events($db, $mark), qr/purged/, 'and no entry was made');
	is($wire->query('SELECT biometric.purge_expired(7)')->value, 7, 'COMMIT does not');
	$wire->query('SELECT biometric.purge_expired()');
	is(due('by_hand'), 0, 'all that is due goes');
	is($wire->query('SELECT biometric.purge_expired()')->value, 0, 'then nothing is left');
	is($node->sql($db, 'SELECT count(*) FROM by_hand'), 3, 'but what is not due');
	is(entries('by_hand', 'purged'), numbers(1 .. 30, 101 .. 130), 'each row has one entry');
	is($wire->query('SELECT biometric.purge_expired(0)')->error->{C}, '22023', 'no rows cannot be asked for');
	$wire->close;
	my $other = $node->connect_from('local', $db, 'officer');
	is($other->query('SELECT biometric.purge_expired()')->error->{C}, '42501', 'others may not');
	$other->close;
	$node->set('biometric_audit.purge_interval', '50ms');
};

# Waits until a table has between nothing and all of so many rows left: purging is under way.
sub under_way
{
	my ($name, $all) = @_;
	return poll_until(sub { my $left = $node->sql($db, "SELECT count(*) FROM $name WHERE id <= 1500"); return $left < $all && $left > 0; });
}

subtest 'kill -9, of the purger or of everything: each row goes once, and no other' => sub {
	# a few rows a batch, and a pause, so that it is met in the middle of its work
	$node->set('biometric_audit.purge_batch_rows', 1);
	$node->set('biometric_audit.purge_delay', '50ms');
	table('killed', 0, 0);
	# rows that come when the rule is there need no stamping
	retain('killed', 'delete');
	fill('killed', 1, 1500, "now() - interval '60 days'");
	fill('killed', 1501, 1520, 'now()');
	foreach my $round (1 .. 3)
	{
		my $before = $node->sql($db, 'SELECT count(*) FROM killed WHERE id <= 1500');
		ok(under_way('killed', $before), "round $round: it is under way");
		ok($node->kill_one(\&purger), 'the server comes back after the purger was killed');
		$before = $node->sql($db, 'SELECT count(*) FROM killed WHERE id <= 1500');
		ok(under_way('killed', $before), 'it goes on');
		$node->crash;
		$node->start;
	}
	$node->set('biometric_audit.purge_batch_rows', 100);
	$node->set('biometric_audit.purge_delay', '1ms');
	gone('killed');
	is($node->sql($db, 'SELECT count(*) FROM killed'), 20, 'what is not due stays');
	ok(poll_until(sub { return entries('killed', 'purged') eq numbers(1 .. 1500); }), 'each row has exactly one entry');
	is( $node->sql($db, "SELECT count(*) FROM biometric.change WHERE event = 'purged' AND relation = 'public.killed' "
			  . "AND state NOT IN ('committed', 'aborted')"),
		0,
		'what was lost with a crash is marked as aborted');
	ok($node->verifies($db), 'the ledger verifies');
};

subtest 'commands that want a database for themselves have it' => sub {
	$node->sql('postgres', 'CREATE DATABASE other');
	$node->prepare('other');
	$node->set('biometric_audit.purge_batch_rows', 1);
	$node->set('biometric_audit.purge_delay', '20ms');
	$node->run('officer', 'other', 'CREATE TABLE long_work (id int, taken timestamptz, img biometric.face_image); INSERT INTO long_work '
		  . "SELECT n, now() - interval '60 days', numbered_jpeg(n, 600)::biometric.face_image FROM generate_series(1, 1500) AS n");
	$node->policy('other', q{SELECT biometric.retain('long_work', 'img', '30 days', 'delete', 'taken')});
	ok( poll_until(
			sub {
				$node->sql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'other' AND backend_type = 'biometric_audit purger'");
			}),
		'a database that is being purged');
	$node->leave('other');
	$node->sql('postgres', 'CREATE DATABASE twin TEMPLATE other');
	$node->sql('postgres', 'DROP DATABASE twin');
	pass('is copied');
	$node->sql('other', 'DROP TABLE long_work');
	pass('its table is dropped');
	$node->run('officer', 'other', 'CREATE TABLE more_work (id int, taken timestamptz, img biometric.face_image)');
	$node->policy('other', q{SELECT biometric.retain('more_work', 'img', '30 days', 'delete', 'taken')});
	$node->run('officer', 'other', 'INSERT INTO more_work '
		  . "SELECT n, now() - interval '60 days', numbered_jpeg(n, 600)::biometric.face_image FROM generate_series(1, 1500) AS n");
	ok(poll_until(sub { return $node->sql('other', 'SELECT count(*) FROM more_work') < 1500; }), 'another one is being purged');
	$node->policy('other', q{SELECT biometric.retire_ledger('the extension goes')});
	$node->drop_extension('other');
	pass('when its extension is dropped');
	ok( poll_until(
			sub {
				!$node->sql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'other' AND backend_type = 'biometric_audit purger'");
			}),
		'which ends that');
	$node->leave('other');
	$node->sql('postgres', 'DROP DATABASE other');
	pass('and is dropped');
	$node->set('biometric_audit.purge_batch_rows', 10);
	$node->set('biometric_audit.purge_delay', '1ms');
};

subtest 'a standby purges nothing, until it is promoted' => sub {
	pause();
	table('standing', 0, 0);
	retain('standing', 'delete');
	fill('standing', 1, 12, "now() - interval '60 days'");
	$node->backup('b');
	my $standby = BiometricAudit::Node->new('standby');
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "biometric_audit.purge_interval = '50ms'");
	$standby->start;
	my $wire = $standby->connect_from('local', $db, 'custodian');
	is($wire->query('SELECT biometric.purge_expired()')->sqlstate, '25006', 'nobody may have it done there');
	is($wire->query(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'biometric_audit purger'})->value, 0, 'no purger runs');
	$wire->close;
	$node->stop;
	$standby->promote;
	ok(poll_until(sub { return $standby->sql($db, 'SELECT count(*) FROM standing') == 0; }), 'the promoted one purges');
	is( $standby->sql($db, "SELECT count(*) FROM biometric.change WHERE event = 'purged' AND state = 'committed' AND relation = 'public.standing'"),
		12, 'with its entries');
	$standby->stop;
	$node->start;
	resume();
};

subtest 'a clock that was years ahead, when it was said when to look again, keeps nothing' => sub {
	table('ahead', 0, 0);
	retain('ahead', 'delete');
	pause();
	fill('ahead', 1, 5, "now() - interval '60 days'");
	$node->unguarded($db, <<'END');
ALTER TABLE biometric.retention DISABLE TRIGGER ALL;
UPDATE biometric.retention SET purge_next = now() + interval '10 years';
DO $$ DECLARE name name;
BEGIN
	FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'biometric.retention'::regclass LOOP
		EXECUTE format('ALTER TABLE biometric.retention ENABLE ALWAYS TRIGGER %I', name);
	END LOOP;
END $$;
END
	resume();
	gone('ahead');
};

subtest 'without a background worker to be had, it is said so' => sub {
	is($node->sql($db, q{SELECT problem FROM biometric.purge_status()}) // 'none', 'none', 'nothing is the matter');
	$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
	$node->stop;
	$node->start;
	ok( poll_until(sub { return ($node->sql($db, q{SELECT problem FROM biometric.purge_status()}) // '') =~ /max_worker_processes/; }),
		'purge_status tells which setting to raise');
};

$node->stop;
done_testing();
