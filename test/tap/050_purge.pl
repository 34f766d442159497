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
	fill('shredded', 1, 5, "now() - interval '100 days'");
	fill('shredded', 6, 8, 'now()');
	ok(poll_until(sub { return $state->() eq 'shredded active'; }), 'the key of the old images is shredded, the present one is not');
	is($node->sql($db, 'SELECT count(img) FROM shredded'), 8, 'no row is touched');
	is( $node->sql($db, "SELECT string_agg(detail ->> 'action', ' ' ORDER BY seq) FROM biometric.ledger "
			  . "WHERE event = 'key_changed' AND detail ->> 'action' LIKE '%shred%'"),
		'shred_key key_shredded',
		'both steps are entries');
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
	RETURN OLD;
END $$;
CREATE TRIGGER keep BEFORE DELETE ON stubborn FOR EACH ROW EXECUTE FUNCTION keep();
ALTER TABLE stubborn ENABLE ROW LEVEL SECURITY;
ALTER TABLE stubborn FORCE ROW LEVEL SECURITY;
END
	my $wire = $node->connect_from('local', $db, BiometricAudit::Node::superuser());
	$wire->query('BEGIN; SELECT id FROM stubborn WHERE id = 9 FOR UPDATE');
	$node->set('biometric_audit.purge_interval', '50ms');
	gone('stubborn', 4);
	is($node->sql($db, 'SELECT string_agg(id::text, $$ $$ ORDER BY id) FROM stubborn'), '3 5 7 9',
		'referred to, kept by a trigger that raises or returns nothing, or locked');
	is(entries('stubborn', 'purged'), numbers(grep { !/^[3579]$/ } 1 .. 30), 'those that went have an entry, no others');
	ok(poll_until(sub { return problem('stubborn') =~ /stubborn/; }), 'retention_status says what is the matter');
	$wire->query('COMMIT');
	$wire->close;
	gone('stubborn', 3);
	$node->run('officer', $db, 'DROP TRIGGER keep ON stubborn; DROP TABLE refers');
	gone('stubborn');
	is(entries('stubborn', 'purged'), numbers(1 .. 30), 'when nothing is in the way, they go, too');
	ok(poll_until(sub { return problem('stubborn') eq ''; }), 'and nothing is the matter any more');
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
		"search_path = nowhere", "default_transaction_isolation = serializable", 'statement_timeout = 1');
	$node->leave($db);
	my $wire = $node->connect_from('local', $db, BiometricAudit::Node::superuser(), undef,
		params => { default_transaction_read_only => 'off', default_transaction_isolation => 'read committed',
			statement_timeout => 0, search_path => 'public', session_replication_role => 'origin' });
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
	return poll_until(sub { my $left = $node->sql($db, "SELECT count(*) FROM $name"); return $left < $all && $left > 0; });
}

sub comes_back
{
	return poll_until(
		sub {
			local $@;
			# what was connected before it noticed will never answer again
			$node->forget;
			eval { $node->sql('postgres', 'SELECT 1') };
		});
}

subtest 'kill -9, of the purger or of everything: each row goes once, and no other' => sub {
	# a few rows a batch, and a pause, so that it is met in the middle of its work
	$node->set('biometric_audit.purge_batch_rows', 1);
	$node->set('biometric_audit.purge_delay', '50ms');
	table('killed', 1500, 20);
	retain('killed', 'delete');
	foreach my $round (1 .. 3)
	{
		my $before = $node->sql($db, 'SELECT count(*) FROM killed');
		ok(under_way('killed', $before), "round $round: it is under way");
		my $pid;
		poll_until(sub { return $pid = purger(); });
		kill 'KILL', $pid;
		ok(comes_back(), 'the server comes back after the purger was killed');
		$before = $node->sql($db, 'SELECT count(*) FROM killed');
		ok(under_way('killed', $before), 'it goes on');
		$node->crash;
		$node->start;
	}
	$node->set('biometric_audit.purge_batch_rows', 100);
	$node->set('biometric_audit.purge_delay', '1ms');
	gone('killed');
	is($node->sql($db, 'SELECT count(*) FROM killed'), 20, 'what is not due stays');
	ok(poll_until(sub { return entries('killed', 'purged') eq numbers(1 .. 1500); }), 'each row has exactly one entry');
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
	$node->leave('other');
	$node->sql('postgres', 'DROP DATABASE other');
	pass('and is dropped');
	$node->set('biometric_audit.purge_batch_rows', 10);
	$node->set('biometric_audit.purge_delay', '1ms');
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
