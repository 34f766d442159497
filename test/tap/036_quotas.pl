# Quotas: a permit releases so many images within its window and not one more,
# whoever asks, at the same time or after a crash; what the ledger says was
# released and what is left always make up the quota.

use strict;
use warnings;

use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(is_sealed poll_until);

use constant {
	OFFICE => '127.0.0.2',
	ARCHIVE => '127.0.0.3',
	CLIENTS => 16,
	TEXT => 0,
	BINARY => 1
};

my $node = BiometricAudit::Node->create('limited', conf => <<'END');
biometric_audit.release_batch_rows = 4
biometric_audit.max_quotas = 24
biometric_audit.ring_size = 256kB
max_connections = 60
END
my $db = 'postgres';

# furnish(database): the extension, two parties, a function that makes tables.
sub furnish
{
	my ($database) = @_;
	$node->prepare($database);
	$node->policy($database, <<"END");
SELECT biometric.register_party('agency', 'The agency', NULL);
SELECT biometric.register_network('@{[OFFICE]}/32', 'agency');
SELECT biometric.register_party('archive', 'The archive', NULL);
SELECT biometric.register_network('@{[ARCHIVE]}/32', 'archive');
END
	return;
}

# limited(table, rows, arguments): a table with pictures, and a permit for it alone. Returns its id.
sub limited
{
	my ($table, $rows, $arguments, %how) = @_;
	my $database = $how{database} // $db;
	my $delivery = $how{delivery} // 'open';
	$node->sql($database, <<"END");
CREATE TABLE $table (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO $table SELECT n, numbered_jpeg(n, 300)::biometric.face_image
	FROM generate_series(1, $rows) AS n;
GRANT ALL ON $table TO officer;
END
	return authorized($table, $arguments, %how);
}

sub authorized
{
	my ($table, $arguments, %how) = @_;
	my $delivery = $how{delivery} // 'open';
	return $node->policy($how{database} // $db, <<"END");
SELECT biometric.authorize('agency', '{face}', '$delivery', '{border}', '$table', $arguments)
END
}

sub officer
{
	my ($database) = @_;
	return $node->connect_from(OFFICE, $database // $db, 'officer', 'border', timeout => 120);
}

# How many pictures of a table are left to the officer.
sub left
{
	my ($table, $database) = @_;
	my $wire = officer($database);
	my $answer = $wire->query(
		"SELECT quota_left FROM biometric.explain_access('$table') WHERE kind = 'face'")->value;
	$wire->close;
	return $answer;
}

# How many entries say that a permit released something.
sub counted
{
	my ($permit, $database) = @_;
	return $node->sql($database // $db, <<"END");
SELECT count(*) FROM biometric.ledger
WHERE event IN ('disclosed', 'observed') AND (detail ->> 'permit')::int8 = $permit
END
}

# How many opened pictures a result has.
sub pictures
{
	my ($result) = @_;
	return scalar grep { defined && !is_sealed($_) && /^\\x|^\xff\xd8/ } map { @$_ } $result->rows;
}

# Checks that a result has so many pictures and then the refusal.
sub goes_over
{
	my ($result, $pictures, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(pictures($result), $pictures, "$name: $pictures pictures arrive");
	is($result->sqlstate, '42501', "$name: then the statement is refused");
	like($result->detail // '', qr/^Permit \d+ releases at most/, "$name: with the quota");
	return;
}

furnish($db);

# ---------------------------------------------------------------- at the image that goes over

my $permit = limited('lane', 40, "quota => 10, quota_window => '1 hour'");
my $mark = $node->mark($db);
my $wire = officer();
my $result = $wire->query('SELECT id, img FROM lane ORDER BY id');
goes_over($result, 10, 'a statement that reads more');
is(join(' ', $result->column(0)), '1 2 3 4 5 6 7 8 9 10', 'all rows before the refused one arrive');
is($result->message, "face images of public.lane are refused to party \"agency\" (@{[OFFICE]})",
	'the refusal names kind, relation and party');
is($result->detail, 'Permit ' . $permit . ' releases at most 10 images within 01:00:00; 0 are left now.',
	'its detail the permit, the quota and the window');
like($result->hint, qr/^There will be room again at \d{4}-\d\d-\d\d .*set_quota/,
	'its hint when there will be room');
is(counted($permit), 10, 'the ledger has as many disclosures');
my ($refusal) = $node->refusals($db, $mark);
is($refusal->{detail}{reason} // $refusal->{reason}, 'quota_exceeded', 'and the refusal with its reason');
is($refusal->{detail}{permit} // $refusal->{permit}, $permit, 'and its permit');
is(left('lane'), 0, 'explain_access() says that nothing is left');
is( $wire->query("SELECT delivery || ' ' || reason FROM biometric.explain_access('lane')
		WHERE kind = 'face'")->value,
	'refuse quota_exceeded', 'and that it would be refused');
is($wire->query('SELECT count(*), max(biometric.width(img)) FROM lane')->value,
	40, 'what a picture is, without the picture, can still be read');
is(pictures($wire->query('SELECT id FROM lane')), 0, 'and so can all the rest');
my $sealed = $node->connect_from(OFFICE, $db, 'officer', undef)->query('SELECT img FROM lane');
is($sealed->row_count, 40, 'sealed pictures do not count');

$permit = limited('pairs', 20, "quota => 5, quota_window => '1 hour'");
$result = $wire->query('SELECT id, img, img AS again FROM pairs ORDER BY id');
goes_over($result, 4, 'a row of two of which one goes over');
is(counted($permit), 4, 'nothing of that row is on record as disclosed');
is(left('pairs'), 1, 'what was taken for it is given back');
goes_over($wire->query('SELECT img FROM pairs'), 1, 'and can be had');

# ---------------------------------------------------------------- whatever sends the rows

sub ways
{
	my ($name, $statement, %how) = @_;
	my $table = "way_$name";
	my $id = limited($table, 30, "quota => 7, quota_window => '1 day'");
	$statement =~ s/TABLE/$table/g;
	my $session = officer();
	$session->query($_ =~ s/TABLE/$table/gr) foreach @{ $how{before} // [] };
	my $got = $how{max_rows} || $how{results}
	  ? $session->extended($statement, %how{qw(max_rows results)})
	  : $session->query($statement);
	$session->close;
	goes_over($got, 7, $name);
	is(counted($id), 7, "$name: the ledger has as many");
	return;
}

ways('returning', "UPDATE TABLE SET id = id + 1000 RETURNING img");
ways('fetch', 'FETCH ALL FROM c',
	before => [ 'BEGIN', 'DECLARE c CURSOR FOR SELECT img FROM TABLE' ]);
ways('execute', 'EXECUTE p', before => ['PREPARE p AS SELECT img FROM TABLE']);
ways('suspended', 'SELECT img FROM TABLE', max_rows => 3);
ways('binary', 'SELECT img FROM TABLE', results => [BINARY]);
ways('bytea', 'SELECT img::bytea FROM TABLE', results => [TEXT]);
is($node->sql($db, 'SELECT count(*) FROM way_returning WHERE id > 1000'),
	0, 'a change that was refused half-way is rolled back');

# More pictures than go into the ledger at a time.
$node->set('biometric_audit.release_batch_rows', 4096);
$permit = limited('many', 1500, "quota => 1200, quota_window => '1 day'");
$wire->close;
$wire = officer();
goes_over($wire->query('SELECT img FROM many'), 1200, 'a batch of many');
is(counted($permit), 1200, 'a batch of many: the ledger has as many');
$node->set('biometric_audit.release_batch_rows', 4);

# ---------------------------------------------------------------- which permit's quota

my $general = $node->policy($db, <<'END');
SELECT biometric.authorize('agency', '{face}', 'open', '{border}',
	quota => 1000000, quota_window => '1 day')
END
$wire->close;

sub copied
{
	my ($name, @statements) = @_;
	my $table = "secret_$name";
	my $id = limited($table, 8, "quota => 3, quota_window => '1 day'");
	my $session = officer();
	my @results = map { $session->query(s/SOURCE/$table/gr) } @statements;
	$session->close;
	goes_over($results[-1], 3, $name);
	is(counted($id), 3, "$name: by the quota of the table that they are from");
	return;
}

$node->sql($db, 'CREATE TABLE pocket (id int, img biometric.face_image);
	GRANT ALL ON pocket TO officer');
copied('copy', 'CREATE TEMP TABLE c2 AS SELECT * FROM SOURCE', 'SELECT img FROM c2');
copied('copied_again', 'CREATE TEMP TABLE c2 AS SELECT * FROM SOURCE',
	'CREATE TEMP TABLE c3 AS SELECT * FROM c2', 'SELECT img FROM c3');
copied('insert_returning', 'INSERT INTO pocket SELECT * FROM SOURCE RETURNING img');
is(counted($general), 0, 'of the quota of a general permit nothing is taken for them');

$node->sql($db, <<'END');
CREATE TABLE gate (id int, img biometric.face_image) PARTITION BY LIST (id);
CREATE TABLE gate_one PARTITION OF gate FOR VALUES IN (1);
CREATE TABLE gate_two PARTITION OF gate FOR VALUES IN (2);
INSERT INTO gate SELECT 1 + n % 2, numbered_jpeg(n, 300)::biometric.face_image
	FROM generate_series(1, 16) AS n;
GRANT SELECT ON gate, gate_one, gate_two TO officer;
END
my $parent = authorized('gate', "quota => 1000, quota_window => '1 day'");
my $partition = authorized('gate_one', "quota => 3, quota_window => '1 day'");
$wire = officer();
goes_over($wire->query('SELECT img FROM gate WHERE id = 1'), 3, 'a partition read through its parent');
is(counted($partition), 3, 'by its own quota');
is(pictures($wire->query('SELECT img FROM gate WHERE id = 2')), 8, 'another partition is not held up');
is(counted($parent), 8, 'and counts for the parent');
goes_over($wire->query('SELECT img FROM gate_one'), 0, 'the partition itself has no other');
$wire->close;
my $busy = authorized('gate_two', "quota => 20, quota_window => '1 minute'");
$wire = officer();
is(pictures($wire->query('SELECT img FROM gate WHERE id = 2')), 8, 'of two quotas');
is(counted($parent) . ' ' . counted($busy), '16 0', 'that counts which allows fewer a day');
$wire->close;
$node->policy($db, "SELECT biometric.revoke($_, 'a test')") foreach $general, $parent, $partition, $busy;
my $watch = $node->policy($db, q{SELECT biometric.authorize('agency', '{face}', 'observe')});
copied('copy_that_is_observed', 'CREATE TEMP TABLE c2 AS SELECT * FROM SOURCE', 'SELECT img FROM c2');
$node->policy($db, "SELECT biometric.revoke($watch, 'a test')");
$wire = officer();

# ---------------------------------------------------------------- observed

$permit = limited('seen', 10, "quota => 3, quota_window => '1 day'", delivery => 'observe');
$wire->close;
$wire = officer();
is(pictures($wire->query('SELECT img FROM seen LIMIT 5')), 5, 'to observe refuses nothing');
is( $node->sql($db, "SELECT string_agg(coalesce(detail ->> 'reason', '-'), ' ' ORDER BY seq)
		FROM biometric.ledger WHERE event = 'observed' AND (detail ->> 'permit')::int8 = $permit"),
	'permitted permitted permitted quota_exceeded quota_exceeded',
	'but tells which pictures went over');
$node->policy($db, "SELECT biometric.set_quota($permit, 6, '1 day', 'a test')");
is(left('seen'), 1, 'and has counted them all');
$node->set('biometric_audit.enforcement', 'observe');
$permit = limited('tried', 10, "quota => 4, quota_window => '1 day'");
$wire->close;
$wire = officer();
is(pictures($wire->query('SELECT img FROM tried')), 10, 'nor does enforcement = observe');
is( $node->sql($db, "SELECT string_agg(DISTINCT event || ' ' || coalesce(detail ->> 'reason', '-'), ', ')
		FROM biometric.ledger WHERE event IN ('disclosed', 'observed')
		AND (detail ->> 'permit')::int8 = $permit"),
	'disclosed -, observed quota_exceeded', 'which records what it would have refused');
is(counted($permit), 10, 'and counts it');
$node->set('biometric_audit.enforcement', undef);

# ---------------------------------------------------------------- changed while it is used

$permit = limited('changed', 60, "quota => 100, quota_window => '1 day'");
$wire->close;
$wire = officer();

sub some_of
{
	my ($count) = @_;
	$wire->send_execute('', $count);
	$wire->send_flush;
	return $wire->collect(until => 'sCE');
}

$wire->query('BEGIN');
$wire->send_parse('', 'SELECT img FROM changed');
$wire->send_bind('', '', results => [BINARY]);
is(pictures(some_of(6)), 6, 'a statement that is running');
$node->policy($db, "SELECT biometric.set_quota($permit, 9, '1 day', 'less')");
goes_over(some_of(10), 3, 'gets no more than a smaller quota leaves');
$wire->send_sync;
$wire->drain;
$wire->query('ROLLBACK');
is(counted($permit), 9, 'what a transaction got that was rolled back stays counted');
$wire->query('BEGIN');
$node->policy($db, "SELECT biometric.set_quota($permit, 12, '1 day', 'more')");
$wire->send_parse('', 'SELECT img FROM changed');
$wire->send_bind('', '', results => [BINARY]);
is(pictures(some_of(2)), 2, 'a larger quota');
$node->policy($db, "SELECT biometric.set_quota($permit, 20, '2 days', 'more')");
goes_over(some_of(30), 9, 'counts at once, with what went before, in another window, too');
$wire->send_sync;
$wire->drain;
$wire->query('ROLLBACK');
is(counted($permit), 20, 'all of it is in the ledger');
$node->policy($db, "SELECT biometric.set_quota($permit, NULL, NULL, 'none')");
is(pictures($wire->query('SELECT img FROM changed LIMIT 8')), 8, 'without a quota nothing is refused');
is(left('changed'), undef, 'and explain_access() has none');
$node->policy($db, "SELECT biometric.set_quota($permit, 30, '1 day', 'again')");
is(left('changed'), 2, 'a quota counts what was released before it was set');
$node->policy($db, "SELECT biometric.revoke($permit, 'a test')");
my $anew = authorized('changed', "quota => 5, quota_window => '1 day'");
is(left('changed'), 5, 'another permit counts anew');
$node->policy($db, "SELECT biometric.revoke($anew, 'a test')");
$anew = authorized('changed', "quota => 5, quota_window => '1 day', valid => tstzrange(NULL, now())");
isnt($anew, undef, 'a permit that is over takes no counter');

# ---------------------------------------------------------------- sixteen at once

# Starts clients that read a table until they are refused, each in its way, and returns how many
# pictures each was sent.
sub all_at_once
{
	my ($table, $work) = @_;
	my @clients;
	my $journals = $node->basedir . "/$table";
	mkdir $journals;
	foreach my $number (1 .. CLIENTS)
	{
		my $pid = fork // die "fork: $!";
		if ($pid)
		{
			push @clients, $pid;
			next;
		}
		my $sent = eval { $work->($number) } // "failed: $@";
		append_to_file("$journals/$number", $sent);
		POSIX::_exit(0);
	}
	waitpid $_, 0 foreach @clients;
	return map { slurp_file("$journals/$_") } 1 .. CLIENTS;
}

# Reads so many rows at a time until refused.
sub read_all
{
	my ($table, $number, $each) = @_;
	my $session = officer();
	my ($sent, $limit) = (0, 1 + $number % 9);
	my $columns = $number % 4 == 0 ? 'img, img' : 'img';
	while (1)
	{
		my $sql = "SELECT $columns FROM $table LIMIT $limit";
		my $got = $number % 2
		  ? $session->query($sql)
		  : $session->extended($sql, results => [BINARY]);
		$sent += pictures($got);
		return $sent if ($got->sqlstate // '') eq '42501';
		die $got->message . ' ' . ($got->detail // '') if $got->error;
		$each->($session, $number) if $each;
	}
}

$permit = limited('crowd', 50, "quota => 1003, quota_window => '1 day'");
my @sent = all_at_once('crowd', sub { return read_all('crowd', $_[0]); });
is(scalar(grep { !/^\d+$/ } @sent), 0, 'sixteen clients read until they are refused')
  || diag join "\n", @sent;
# a row of two may have found one left and given it back after others were refused
my $last = read_all('crowd', 1);
my $total = $last;
$total += $_ foreach @sent;
cmp_ok($last, '<', 2, 'at most one picture is left over');
is($total, 1003, 'together they get as many pictures as the quota allows');
is(counted($permit), 1003, 'and so says the ledger');

# Some of them cancel, are ended, hang up or roll back in between.
$permit = limited('unruly', 50, "quota => 1501, quota_window => '1 day'");
@sent = all_at_once(
	'unruly',
	sub {
		my ($number) = @_;
		my ($sent, $turn) = (0, 0);
		while (1)
		{
			my $session = officer();
			my $over;
			$session->query('BEGIN') if $turn % 3 == 0;
			$session->send_query('SELECT img FROM unruly LIMIT ' . (5 + $turn++ % 40));
			$session->cancel if ($number + $turn) % 3 == 0;
			$node->run($node->superuser, $db, 'SELECT pg_terminate_backend(' . $session->pid . ')')
			  if ($number + $turn) % 5 == 0;
			if (($number + $turn) % 4 == 0)
			{
				$session->drop;
				next;
			}
			my $got = $session->collect(until => 'Z');
			$sent += pictures($got);
			return $sent if ($got->sqlstate // '') eq '42501';
			$session->query('ROLLBACK') unless $got->eof;
			$session->close;
		}
	});
is(scalar(grep { !/^\d+$/ } @sent), 0, 'sixteen clients who do not wait for what they asked for')
  || diag join "\n", @sent;
$total = 0;
$total += $_ foreach grep { /^\d+$/ } @sent;
$total += read_all('unruly', 1);
cmp_ok($total, '<=', 1501, 'never get more than the quota allows');
is(counted($permit), 1501, 'and what they did not wait for is on record and counted');

# The quota's window is changed again and again, so that the worker counts anew while they read.
$permit = limited('moving', 50, "quota => 2000, quota_window => '1 day'");
my $changer = fork // die "fork: $!";
if (!$changer)
{
	eval {
		$node->policy($db, "SELECT biometric.set_quota($permit, 2000, '" . (1 + $_ % 3) . " days', 'a test')")
		  foreach 1 .. 40;
	};
	POSIX::_exit($@ ? 1 : 0);
}
@sent = all_at_once('moving', sub { return read_all('moving', $_[0]); });
waitpid $changer, 0;
is($?, 0, 'a window that is changed while sixteen clients read');
$total = read_all('moving', 1);
$total += $_ foreach @sent;
cmp_ok($total, '<=', 2000, 'lets nobody have more');
is(counted($permit), 2000, 'and every count anew is right');

# ---------------------------------------------------------------- a ledger that does not answer

$permit = limited('stuck', 50, "quota => 100000, quota_window => '1 day'");
$node->set('biometric_audit.ledger_timeout', '50ms');
my $worker = $node->worker($db);
$wire->close;
$wire = officer();
$node->halt($worker);
my %failed;
foreach (1 .. 400)
{
	my $got = $wire->query('SELECT img, img, img, img FROM stuck');
	$failed{ $got->sqlstate // 'none' }++;
	last if ($got->hint // '') && $failed{'55000'} > 60;
}
kill 'CONT', $worker;
$node->set('biometric_audit.ledger_timeout', undef);
is(join(' ', keys %failed), '55000', 'while the ledger takes nothing, nothing is released');
$wire->close;
$wire = officer();
is(pictures($wire->query('SELECT img FROM stuck LIMIT 1')), 1, 'when it does again');
is(left('stuck'), 100000 - counted($permit), 'what it has not recorded was given back');
cmp_ok(counted($permit), '>', 1, 'and what it has was not');

# ---------------------------------------------------------------- restarts

my %quota = (lane => 10, stuck => 100000, crowd => 1003, tried => 4, seen => 6);
my %before = map { $_ => left($_) } keys %quota;
kill 'TERM', $node->worker($db);
is_deeply({ map { $_ => left($_) } keys %quota }, \%before, 'a new worker keeps the counts');
$wire->close;
$node->restart;
is_deeply({ map { $_ => left($_) } keys %quota }, \%before, 'after a restart they are counted again');
$node->crash;
$node->start;
is_deeply({ map { $_ => left($_) } keys %quota }, \%before, 'after a crash, too');
$wire = officer();
goes_over($wire->query('SELECT img FROM lane'), 0, 'after a crash what was used up');

# Clients that are reading when the server is killed.
$permit = limited('struck', 50, "quota => 100000, quota_window => '1 day'");
my @readers = map {
	my $session = officer();
	$session->send_query('SELECT a.img FROM struck a, struck b');
	$session
} 1 .. 6;
poll_until(sub { counted($permit) > 500 });
$node->crash;
$node->start;
$_->drop foreach @readers;
is(left('struck'), 100000 - counted($permit), 'what was on record when the server was killed counts');
cmp_ok(counted($permit), '>', 500, 'all of it');

# ---------------------------------------------------------------- databases, places

$node->sql($db, 'CREATE DATABASE other');
furnish('other');
my $theirs = limited('lane', 20, "quota => 6, quota_window => '1 day'", database => 'other');
goes_over(officer('other')->query('SELECT img FROM lane'), 6, 'another database has its own quotas');
is(counted($theirs, 'other'), 6, 'and its own counts');

my $taken = $node->sql($db, 'SELECT count(*) FROM biometric.permit
	WHERE quota IS NOT NULL AND revoked_at IS NULL AND (valid IS NULL OR upper(valid) > now())');
my @more = map { authorized('lane', "quota => 1000, quota_window => '1 day'") } $taken + 1 .. 24;
my $custodian = $node->connect_from('local', $db, 'custodian');
$result = $custodian->query(
	"SELECT biometric.authorize('agency', '{face}', 'open', quota => 1, quota_window => '1 day')");
is($result->sqlstate, '54000', 'a quota that there is no counter for is refused');
like($result->hint, qr/biometric_audit\.max_quotas/, 'with the setting that limits them');
$result = $custodian->query(
	"SELECT biometric.revoke($more[0], 'a test');
	SELECT biometric.authorize('agency', '{face}', 'open', quota => 1, quota_window => '1 day')");
is($result->error, undef, 'when one is revoked there is room');

# ---------------------------------------------------------------- what cannot be counted

is(left('lane', 'other'), 0, 'before the ledger cannot be read');
my $free = limited('free', 20, 'quota => NULL', database => 'other');
$theirs = limited('blocked', 20, "quota => 6, quota_window => '1 day'", database => 'other');
is(left('blocked', 'other'), 6, 'there is room in a quota');
$node->unguarded('other', 'ALTER TABLE biometric.activity DROP CONSTRAINT activity_pkey');
$wire = officer('other');
$result = $wire->query('SELECT img FROM blocked');
goes_over($result, 0, 'a quota that cannot be counted gives nothing');
like($result->hint, qr/could not be counted/, 'and says why');
$node->unguarded('other', <<'END');
ALTER TABLE biometric.activity ADD PRIMARY KEY (log_id, party, block, session_user_name)
END
goes_over(officer('other')->query('SELECT img FROM blocked'), 6, 'until it can be counted');

ok($node->verifies($db), 'the ledger verifies');
ok($node->verifies('other'), 'and so does the other one');
done_testing();
