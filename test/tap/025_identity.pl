# Whose log it is: standbys that are promoted continue it by themselves, with
# an entry that says so; copies, point-in-time recoveries and old primaries do
# not, until a custodian forks it; planned moves are handed over.

use strict;
use warnings;

use Cwd        qw(getcwd);
use File::Path qw(rmtree);
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant { OFFICE => '127.0.0.2', ROWS => 5, SIZE => 500 };

my $db = 'postgres';
my $all = 'SELECT img FROM traveller';
my $released = ROWS;

# enrolled(name, %options): a server with some pictures that the office may see.
sub enrolled
{
	my ($name, %options) = @_;
	my $node = BiometricAudit::Node->create($name, %options);
	$node->prepare($db);
	$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{control}');
	$node->sql($db, <<"END");
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO traveller SELECT n, numbered_jpeg(n, ${\SIZE})::biometric.face_image
FROM generate_series(1, ${\ROWS}) AS n;
GRANT SELECT ON traveller TO officer;
END
	return $node;
}

# read_all(node): how many pictures the office gets, or the SQLSTATE.
sub read_all
{
	my ($node) = @_;
	my $wire = $node->connect_from(OFFICE, $db, 'officer', 'control');
	my $result = $wire->query($all);
	$wire->close;
	return $result->sqlstate if $result->error;
	return scalar grep { !is_sealed($_) } $result->column(0);
}

# state(node) waits until the worker has made up its mind.
sub state
{
	my ($node) = @_;
	my $state;
	poll_until(
		sub {
			$state = $node->sql($db, 'SELECT state FROM biometric.ledger_status()');
			$state ne 'starting' && $state ne 'standby';
		});
	return $state;
}

sub problem { return $_[0]->sql($db, 'SELECT last_error FROM biometric.ledger_status()'); }

# edge(node): log id, size and root, as one text.
sub edge
{
	my ($node) = @_;
	return $node->sql($db, <<'END');
SELECT concat_ws(' ', (SELECT log_id FROM biometric.log ORDER BY ordinal DESC LIMIT 1), size,
	encode(root, 'hex'))
FROM biometric.verify_ledger()
END
}

# forked(node): the last entry that says that a log was continued or forked.
sub forked
{
	my ($node) = @_;
	my ($entry) = $node->records($db,
		"SELECT seq, detail FROM biometric.ledger WHERE event = 'forked' ORDER BY seq DESC LIMIT 1");
	return $entry;
}

sub row
{
	my ($node) = @_;
	my ($row) = $node->records($db, <<'END');
SELECT timeline, instance, system_identifier::text, fenced_by, ordinal
FROM biometric.log ORDER BY ordinal DESC LIMIT 1
END
	return $row;
}

# standby_of(node, name, conf): a running standby that has caught up.
sub standby_of
{
	my ($node, $name, $conf) = @_;
	$node->backup($name);
	my $standby = BiometricAudit::Node->new($name);
	$standby->init_from_backup($node, $name, has_streaming => 1);
	$standby->append_conf('postgresql.conf', $conf) if $conf;
	$standby->start;
	$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
	return $standby;
}

# copy_of(node, name): a copy of the files of a server that is down.
sub copy_of
{
	my ($node, $name) = @_;
	rmtree($node->backup_dir . "/$name");
	$node->backup_fs_cold($name);
	my $copy = BiometricAudit::Node->new($name);
	$copy->init_from_backup($node, $name);
	return $copy;
}

# without_library(node, sub) runs something on the server as it is without the library.
sub without_library
{
	my ($node, $what) = @_;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$node->start;
	$what->();
	$node->stop;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'biometric_audit'");
	return;
}

my $primary = enrolled('primary', allows_streaming => 1);
my $second = standby_of($primary, 'second');

subtest 'a standby that is promoted continues the log, with an entry that says so' => sub {
	is(read_all($primary), $released, 'the primary releases');
	$primary->wait_for_catchup($second, 'replay', $primary->lsn('flush'));
	my ($log_id, $size, $root) = split / /, edge($primary);
	my $before = row($primary);
	$primary->stop;
	$second->promote;
	is(state($second), 'ready', 'it is ready without anybody\'s help');
	my $entry = forked($second);
	is($entry->{seq}, $size, 'the next entry is the one that says so');
	delete @{ $entry->{detail} }{qw(process database)};
	is_deeply(
		$entry->{detail},
		{
			continued => 'promotion',
			parent => $log_id,
			size => $size + 0,
			root => $root,
			timeline => 2,
			previous_timeline => 1,
			system_identifier => $before->{system_identifier},
			previous_system_identifier => $before->{system_identifier},
			instance => row($second)->{instance},
			previous_instance => $before->{instance},
		},
		'naming what it continues and who it is');
	is(row($second)->{timeline}, 2, 'the row is this system\'s now');
	isnt(row($second)->{instance}, $before->{instance}, 'with its own data directory');
	is(read_all($second), $released, 'it releases');
	like(edge($second), qr/^$log_id /, 'under the same log id');
	ok($second->verifies($db), 'and verifies');
	$second->restart;
	is(state($second), 'ready', 'also after a restart');
	is(forked($second)->{seq}, $size, 'which is no further promotion');
};

subtest 'an old primary that was rewound is a standby, and may be promoted in its turn' => sub {
	$second->sql($db, 'CHECKPOINT');
	my $conf = slurp_file($primary->data_dir . '/postgresql.conf');
	command_ok(
		[
			'pg_rewind', '--no-sync', '--source-server=' . $second->connstr($db),
			'--target-pgdata=' . $primary->data_dir
		],
		'pg_rewind');
	append_to_file($primary->data_dir . '/postgresql.conf', $conf);
	$primary->enable_streaming($second);
	$primary->start;
	$second->wait_for_catchup($primary, 'replay', $second->lsn('flush'));
	$second->stop;
	$primary->promote;
	is(state($primary), 'ready', 'it continues');
	is(forked($primary)->{detail}{timeline}, 3, 'on the third timeline');
	is(forked($primary)->{detail}{previous_timeline}, 2, 'after the second');
	is(read_all($primary), $released, 'it releases');
	ok($primary->verifies($db), 'and verifies');
	my $old = edge($primary);
	$second->start;
	is(state($second), 'ready', 'the one that comes back without being rewound goes on by itself');
	is(read_all($second), $released, 'as a primary that has not heard of it');
	isnt(edge($second), $old, 'and from there on there are two histories');
	$second->stop;
};

# until_tile_is_full(node) appends until the next entry fills a tile.
sub until_tile_is_full
{
	my ($node) = @_;
	my $wire = $node->connect_from('local', $db, 'custodian');
	my $count = 0;
	while ($node->mark($db) % 32 != 31 && $count++ < 200)
	{
		$wire->query("SELECT biometric.register_party('p$count', 'p', tstzrange('2020-01-01', NULL))");
	}
	$wire->close;
	return;
}

subtest 'a restart between promotion and the worker\'s first look loses nothing' => sub {
	my $third = standby_of($primary, 'third');
	until_tile_is_full($primary);
	$primary->wait_for_catchup($third, 'replay', $primary->lsn('flush'));
	$third->stop;
	# that it connects again would be on record, and the tile be full
	$third->append_conf('postgresql.conf', "primary_conninfo = ''");
	without_library($third,
		sub { $third->promote; $third->poll_query_until($db, 'SELECT NOT pg_is_in_recovery()') });
	$third->start;
	is(state($third), 'ready', 'the server remembers that it was a standby');
	is(forked($third)->{detail}{continued}, 'promotion', 'and says so');
	is(forked($third)->{seq} % 32, 31, 'with an entry that fills a tile');
	ok($third->verifies($db), 'and verifies');
	ok(poll_until(sub { !-e $third->data_dir . '/biometric_audit.standby' }),
		'until every database was looked at');
	$third->stop;
};

subtest 'a promotion that nothing bears witness of waits for a custodian' => sub {
	my $fourth = standby_of($primary, 'fourth');
	$fourth->stop;
	without_library($fourth,
		sub { $fourth->promote; $fourth->poll_query_until($db, 'SELECT NOT pg_is_in_recovery()') });
	unlink $fourth->data_dir . '/biometric_audit.standby';
	$fourth->start;
	is(state($fourth), 'foreign', 'refused');
	like(problem($fourth), qr/timeline 3.*timeline 4/, 'naming both timelines');
	is(read_all($fourth), '42501', 'nothing is released');
	$fourth->policy($db, q{SELECT biometric.fork_ledger('promoted by hand')});
	is(state($fourth), 'ready', 'until it is forked');
	is(read_all($fourth), $released, 'and releases');
	is(row($fourth)->{timeline}, 4, 'on its own timeline');
	$fourth->stop;
};

subtest 'a synchronous standby that is promoted leaves an old primary that acknowledges nothing' => sub {
	my $fifth = standby_of($primary, 'fifth',
		"primary_conninfo = 'host=" . $primary->host . ' port=' . $primary->port . " application_name=fifth'");
	$primary->set('synchronous_standby_names', 'fifth');
	# it is the checkpointer that tells everybody that there is one to wait for
	$primary->sql($db, 'CHECKPOINT');
	ok(poll_until(sub { read_all($primary) eq $released }), 'released while the standby answers');
	my ($log_id, $size) = split / /, edge($primary);
	$fifth->promote;
	is(state($fifth), 'ready', 'the standby continues');
	cmp_ok(forked($fifth)->{seq}, '>=', $size, 'with everything that was acknowledged');
	$primary->set('biometric_audit.ledger_timeout', '1s');
	is(read_all($primary), '55000', 'the old primary releases nothing');
	$fifth->append_conf('postgresql.conf', "synchronous_standby_names = ''");
	$fifth->settle;
	is(read_all($fifth), $released, 'the new one does');
	ok($fifth->verifies($db), 'and verifies');
	$fifth->stop;
	$primary->forget;
	$primary->stop('immediate');
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = ''\nbiometric_audit.ledger_timeout = '10s'");
	$primary->start;
};

subtest 'what an asynchronous standby has not got is missed by whoever holds an older root' => sub {
	my $sixth = standby_of($primary, 'sixth');
	$sixth->stop;
	is(read_all($primary), $released, 'acknowledged by the primary alone');
	my ($log_id, $size, $root) = split / /, edge($primary);
	$sixth->start;
	# it never hears of the primary again
	$sixth->append_conf('postgresql.conf', "primary_conninfo = ''");
	$sixth->settle;
	$sixth->promote;
	is(state($sixth), 'ready', 'it continues');
	SKIP:
	{
		skip 'it had caught up before it was told not to', 1 if forked($sixth)->{seq} >= $size;
		is(read_all($sixth), $released, 'it grows') while $sixth->mark($db) < $size;
		isnt($sixth->sql($db, "SELECT encode(biometric.root($size), 'hex')"),
			$root, 'the root at the size that was seen before is another');
	}
	$sixth->stop;
};

subtest 'recovery to a point in time does not continue the log' => sub {
	$primary->backup('past');
	my $past = BiometricAudit::Node->new('past');
	$past->init_from_backup($primary, 'past');
	$past->append_conf('postgresql.conf',
		"restore_command = 'false'\nrecovery_target = 'immediate'\nrecovery_target_action = 'promote'");
	append_to_file($past->data_dir . '/recovery.signal', '');
	$past->start;
	$past->poll_query_until($db, 'SELECT NOT pg_is_in_recovery()');
	is(state($past), 'foreign', 'refused');
	like(problem($past), qr/was no standby.*fork_ledger/, 'saying why, and what to do');
	is(read_all($past), '42501', 'nothing is released');
	my ($log_id, $size, $root) = split / /, edge($primary);
	$past->policy($db, q{SELECT biometric.fork_ledger('the state before the accident')});
	is(state($past), 'ready', 'until it is forked');
	is(forked($past)->{seq}, 0, 'under an identity of its own');
	is(forked($past)->{detail}{parent}, $log_id, 'that names its parent');
	ok($past->verifies($db), 'it verifies');
	$past->restart;
	is(state($past), 'ready', 'and stays so');
	$past->stop;
};

$primary->stop;

subtest 'a copy of the files that runs beside the original is refused' => sub {
	my $copy = copy_of($primary, 'copy');
	$_->start foreach $primary, $copy;
	is(state($primary), 'ready', 'the original goes on');
	is(state($copy), 'foreign', 'the copy does not');
	like(problem($copy), qr/data directory, of which this is a copy/, 'since it is told apart');
	is(read_all($primary), $released, 'the original releases');
	is(read_all($copy), '42501', 'the copy nothing');
	$copy->policy($db, q{SELECT biometric.fork_ledger('for training')});
	is(state($copy), 'ready', 'until it is forked');
	is(read_all($copy), $released, 'then it does');
	ok($_->verifies($db), $_->name . ' verifies') foreach $primary, $copy;
	$copy->stop;
};

subtest 'a ledger that is handed over is continued by the next system, and closed here' => sub {
	is($primary->connect_from('local', $db, 'officer')->query(q{SELECT biometric.hand_over_ledger('x')})
		  ->sqlstate, '42501', 'not by anybody');
	is($primary->connect_from('local', $db, 'custodian')->query(q{SELECT biometric.hand_over_ledger(' ')})
		  ->sqlstate, '22023', 'not without a reason');
	$primary->policy($db, q{SELECT biometric.hand_over_ledger('new machine')});
	is(state($primary), 'foreign', 'closed at once');
	like(problem($primary), qr/handed over to another system/, 'for this reason');
	is(read_all($primary), '42501', 'nothing is released any more');
	is($primary->connect_from('local', $db, 'custodian')->query(qq{SELECT biometric.$_('again')})->sqlstate,
		'55000', "nor is $_() possible")
	  foreach qw(hand_over_ledger retire_ledger);
	my ($last) = $primary->records($db, 'SELECT seq, event, detail FROM biometric.ledger ORDER BY seq DESC LIMIT 1');
	is_deeply($last->{detail}, { action => 'hand_over', reason => 'new machine' }, 'the last entry says so');
	my ($log_id, $size, $root) = split / /, edge($primary);
	$primary->stop;
	my $next = copy_of($primary, 'next');
	$next->start;
	is(state($next), 'ready', 'the next system continues by itself');
	my $entry = forked($next);
	is($entry->{seq}, $last->{seq} + 1, 'right behind it');
	is($entry->{detail}{continued}, 'hand_over', 'because it was handed over');
	is($entry->{detail}{root}, $root, 'naming the root');
	is(row($next)->{fenced_by}, undef, 'nothing fences it');
	is(read_all($next), $released, 'it releases');
	ok($next->verifies($db), 'it verifies');
	my $again = do { $next->stop; copy_of($next, 'again') };
	$again->start;
	is(state($again), 'foreign', 'a copy of that one is a copy');
	$again->stop;
	$primary->start;
	is(state($primary), 'foreign', 'the old system stays closed after a restart');
	$primary->policy($db, q{SELECT biometric.fork_ledger('goes on by itself after all')});
	is(state($primary), 'ready', 'until it is forked');
	ok($primary->verifies($db), 'and verifies');
};

subtest 'a custodian closes the log that there is now, whatever the snapshot says' => sub {
	foreach my $function (qw(retire_ledger hand_over_ledger))
	{
		my $wire = $primary->connect_from('local', $db, 'custodian');
		$wire->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
		$wire->query('SELECT count(*) FROM pg_class');
		$primary->policy($db, q{SELECT biometric.fork_ledger('meanwhile')});
		is($wire->query(qq{SELECT biometric.$function('by an old snapshot')})->error, undef, "$function()");
		is($wire->query('COMMIT')->error, undef, 'is committed');
		$wire->close;
		isnt(state($primary), 'ready', 'and has closed the log');
		$primary->policy($db, q{SELECT biometric.fork_ledger('for more')});
		is(state($primary), 'ready', 'which is forked again');
	}
	ok($primary->verifies($db), 'all of it verifies');
};

my @functions = qw(fork_ledger hand_over_ledger retire_ledger);
my $begun = 'SELECT count(*) FROM biometric.log WHERE parent IS NOT NULL AND parent_size IS NULL';

# call(node, function) calls it as a custodian; returns the result.
sub call
{
	my ($node, $function) = @_;
	my $wire = $node->connect_from('local', $db, 'custodian');
	my $result = $wire->query("SELECT biometric.$function('a test')");
	$wire->close;
	return $result;
}

subtest 'whoever changes the identity of a ledger waits for whoever is at it' => sub {
	foreach my $function (@functions)
	{
		my ($first, $second) = map { $primary->connect_from('local', $db, 'custodian') } 1 .. 2;
		my ($before) = split / /, edge($primary);
		$first->query('BEGIN');
		my ($id) = $first->query(q{SELECT biometric.fork_ledger('first')})->column(0);
		$second->send_query("SELECT biometric.$function('second')");
		ok( poll_until(
				sub {
					$primary->sql($db,
						'SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = ' . $second->pid);
				}),
			"$function() waits for a fork");
		is($first->query('COMMIT')->error, undef, 'which is committed');
		is($second->drain->error, undef, 'and then does its work');
		$_->close foreach $first, $second;
		is(state($primary), { fork_ledger => 'ready', retire_ledger => 'retired' }->{$function} // 'foreign',
			'on the log that there is now');
		is($primary->sql($db, "SELECT parent FROM biometric.log WHERE log_id = '$id'"),
			$before, 'the first fork is of the log before');
		is($primary->sql($db, "SELECT count(*) FROM biometric.entry WHERE log_id = '$id' AND seq = 0"),
			1, 'and has its own first entry, which says so');
		if ($function eq 'fork_ledger')
		{
			my $detail = forked($primary)->{detail};
			is($detail->{parent}, $id, 'the second is of the first');
			cmp_ok($detail->{size}, '>', 0, 'entries and all');
		}
		else
		{
			$primary->policy($db, q{SELECT biometric.fork_ledger('for more')});
		}
		is($primary->sql($db, $begun), 0, 'every fork has been begun');
		ok($primary->verifies($db), 'all of it verifies');
	}
};

# Leaves a fork that is committed and that the stopped worker has not begun; returns the worker.
sub stop_before_fork
{
	my ($node) = @_;
	my $worker = $node->worker($db);
	$node->halt($worker);
	is(call($node, 'fork_ledger')->error, undef, 'a fork is committed while the worker stands still');
	is($node->sql($db, $begun), 1, 'and not begun');
	return $worker;
}

subtest 'a fork that was not begun is neither forked nor closed' => sub {
	my $wire = $primary->connect_from('local', $db, 'custodian');
	foreach my $function (@functions)
	{
		$wire->query(q{BEGIN; SELECT biometric.fork_ledger('first')});
		is($wire->query("SELECT biometric.$function('second')")->sqlstate,
			'55000', "no $function() in the transaction that forked it");
		$wire->query('ROLLBACK');
	}
	$wire->close;
	$primary->set('biometric_audit.ledger_timeout', '500ms');
	my $worker = stop_before_fork($primary);
	foreach my $function (@functions)
	{
		my $result = call($primary, $function);
		is($result->sqlstate, '55000', "no $function() before its worker has begun it");
		like($result->hint, qr/again/, 'call it again');
	}
	kill 'CONT', $worker;
	ok(poll_until(sub { $primary->sql($db, $begun) == 0 }), 'the worker goes on');
	$primary->set('biometric_audit.ledger_timeout', undef);
	is(call($primary, 'fork_ledger')->error, undef, 'then it is forked');
	is(state($primary), 'ready', 'and ready');
	is($primary->sql($db, $begun), 0, 'every fork has been begun');
	ok($primary->verifies($db), 'all of it verifies');
};

subtest 'a copy of a fork that was not begun is forked from the log before' => sub {
	my ($before) = split / /, edge($primary);
	$primary->set('biometric_audit.ledger_timeout', '500ms');
	stop_before_fork($primary);
	$primary->forget;
	$primary->stop('immediate');
	$primary->append_conf('postgresql.conf', "biometric_audit.ledger_timeout = '10s'");
	my $copy = copy_of($primary, 'unbegun');
	$copy->start;
	is(state($copy), 'foreign', 'the copy waits for a custodian');
	is(call($copy, 'fork_ledger')->error, undef, 'who forks it');
	is(state($copy), 'ready', 'it is ready');
	is(forked($copy)->{detail}{parent}, $before, 'nothing empty is in between');
	ok($copy->verifies($db), 'it verifies');
	$copy->stop;
	$primary->start;
	is(state($primary), 'ready', 'the original begins its own');
	is(forked($primary)->{detail}{parent}, $before, 'which is of the same log');
	ok($primary->verifies($db), 'and verifies');
};

subtest 'a transaction that closes the ledger changes neither images nor policy' => sub {
	$primary->sql($db, 'GRANT INSERT ON traveller TO custodian');
	my %changes = (
		'an image' => "INSERT INTO traveller SELECT n, numbered_jpeg(n, ${\SIZE})::biometric.face_image "
		  . 'FROM generate_series(100, 102) AS n',
		'the policy' => q{SELECT biometric.register_party('late', 'p', NULL)});
	my $parties = 'SELECT count(*) FROM biometric.party';
	my $rows = 'SELECT count(*) FROM traveller';
	my $wire = $primary->connect_from('local', $db, 'custodian');
	foreach my $function (qw(retire_ledger hand_over_ledger))
	{
		my $close = "SELECT biometric.$function('a test')";
		foreach my $what (sort keys %changes)
		{
			foreach my $order ([ $close, $changes{$what} ], [ $changes{$what}, $close ])
			{
				my @before = map { $primary->sql($db, $_) } $rows, $parties;
				my $mark = $primary->mark($db);
				$wire->query('BEGIN');
				is($wire->query($_)->error, undef, $_) foreach @$order;
				my $result = $wire->query('COMMIT');
				is($result->sqlstate, '55000', "no $function() beside a change of $what");
				like($result->hint, qr/transaction of its own/, 'what to do is said');
				is(state($primary), 'ready', 'the ledger is not closed');
				unlike($primary->events($db, $mark), qr/policy_changed|stored/, 'nothing is on record');
				is_deeply([ map { $primary->sql($db, $_) } $rows, $parties ],
					\@before, 'nothing is changed');
				ok($primary->verifies($db), 'it verifies');
			}
		}
		$wire->query('BEGIN; SAVEPOINT s');
		$wire->query($_) foreach values %changes;
		$wire->query("ROLLBACK TO s; $close");
		is($wire->query('COMMIT')->error, undef, 'changes that were rolled back do not matter');
		isnt(state($primary), 'ready', 'it is closed');
		$primary->policy($db, q{SELECT biometric.fork_ledger('for more')});
		is(state($primary), 'ready', 'until it is forked');
		ok($primary->verifies($db), 'and all of it verifies');
	}
	$wire->close;
	is(read_all($primary), $released, 'it releases');
};

subtest 'a ledger without entries takes a new identity in a copy' => sub {
	my $empty = BiometricAudit::Node->create('empty');
	$empty->sql($db, 'CREATE EXTENSION biometric_audit');
	my $id = 'SELECT log_id FROM biometric.log';
	my $original = $empty->sql($db, $id);
	is($empty->mark($db), 0, 'which has none');
	$empty->stop;
	my $copy = copy_of($empty, 'empty_copy');
	$copy->start;
	is(state($copy), 'ready', 'it is ready');
	isnt($copy->sql($db, $id), $original, 'as another log');
	$copy->stop;
};

# upgraded(name, old, options): a server that pg_upgrade has filled from another, which is down.
sub upgraded
{
	my ($name, $old, @options) = @_;
	my $new = BiometricAudit::Node->create(
		$name,
		start => 0,
		conf => "biometric_audit.keyring = '" . $old->keyring_path . "'\n");
	my ($bin) = grep { -x "$_/pg_upgrade" } split /:/, $ENV{PATH};
	my @common = (
		"$bin/pg_upgrade", '--old-bindir', $bin, '--new-bindir', $bin,
		'--old-datadir', $old->data_dir, '--new-datadir', $new->data_dir,
		'--socketdir', $new->host, '--old-port', $old->port, '--new-port', $new->port);
	my $here = getcwd();
	chdir $new->basedir or die "chdir: $!";
	command_ok([ @common, '--check' ], "$name: pg_upgrade --check");
	command_ok([ @common, @options ], "$name: pg_upgrade @options");
	chdir $here or die "chdir: $!";
	$new->start;
	return $new;
}

subtest 'pg_upgrade takes a ledger along that was handed over, and continues it' => sub {
	my $old = enrolled('before');
	$old->policy($db, q{SELECT biometric.hand_over_ledger('new major version')});
	my ($log_id, $size, $root) = split / /, edge($old);
	$old->stop;
	my $new = upgraded('after', $old);
	is(state($new), 'ready', 'ready without further ado');
	my $entry = forked($new);
	is($entry->{detail}{continued}, 'hand_over', 'because it was handed over');
	is($entry->{detail}{root}, $root, 'from the root on where the old one ended');
	isnt($entry->{detail}{system_identifier}, $entry->{detail}{previous_system_identifier},
		'as another system');
	is(read_all($new), $released, 'it releases');
	my $mark = $new->mark($db);
	$new->sql($db, 'DELETE FROM traveller WHERE id = 1');
	like($new->events($db, $mark), qr/erased/, 'changes are on record');
	like(edge($new), qr/^$log_id /, 'under the same log id');
	ok($new->verifies($db), 'it verifies');
	$new->stop;
	$old->start;
	is(state($old), 'foreign', 'the old one stays closed');
	$old->stop;
};

subtest 'one that was not handed over before pg_upgrade waits for a custodian' => sub {
	my $old = enrolled('linked');
	my ($log_id, $size) = split / /, edge($old);
	$old->stop;
	my $new = upgraded('unasked', $old, '--link');
	is(state($new), 'foreign', 'refused');
	like(problem($new), qr/of system \d+/, 'as another system\'s');
	$new->policy($db, q{SELECT biometric.fork_ledger('upgraded in a hurry')});
	is(state($new), 'ready', 'until it is forked');
	is(forked($new)->{detail}{parent}, $log_id, 'as a child of the old log');
	ok($new->verifies($db), 'it verifies');
	$new->stop;
};

$primary->stop;
done_testing();
