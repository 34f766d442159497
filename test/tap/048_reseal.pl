# Images are sealed again under a new key while clients read, insert, update
# and delete, and while the server is killed: nothing is lost, nothing is sealed
# twice, and all of it is on record.
#
# RESEAL_IMAGES says how many images there are, if not a few thousand.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use POSIX       ();
use Time::HiRes qw(time usleep);

use BiometricAudit::Entries;
use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg);

use constant { OFFICE => '127.0.0.2', IMAGES => $ENV{RESEAL_IMAGES} // 2400, SIZE => 400, WRITERS => 2, RESEALERS => 2 };

my $node = BiometricAudit::Node->create('archive', conf => "max_wal_size = 4GB\ncheckpoint_timeout = 1h\n");
my $db = 'postgres';
$node->prepare($db);
$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');

sub rotate { return $node->policy($db, 'SELECT biometric.rotate_key()'); }

# All calls that it takes; how many images were sealed anew.
sub reseal
{
	my ($table, $batch) = @_;
	my ($total, $count) = (0, 0);
	do { $total += $count = $node->policy($db, "SELECT biometric.reseal('$table', 'img', " . ($batch // 1000) . ')'); } while $count;
	return $total;
}

sub keys_in
{
	my ($table) = @_;
	return join ' ', map { $_->[0] } $node->admin($db)->query("SELECT DISTINCT biometric.key_id(img) FROM $table WHERE img IS NOT NULL ORDER BY 1")->rows;
}

# ---------------------------------------------------------------- clients

my $journals = $node->basedir . '/reseal';
mkdir $journals or die $!;
my @clients;

# start_client(name, user, address, work): work is called with a connection and a note
# taker until the client is ended, on a new connection whenever one is gone.
sub start_client
{
	my ($name, $user, $address, $work) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid)
	{
		push @clients, $pid;
		return;
	}
	eval {
		my $stop = 0;
		local $SIG{TERM} = sub { $stop = 1; };
		local $SIG{PIPE} = 'IGNORE';
		open my $file, '>>', "$journals/$name" or die $!;
		my $note = sub { syswrite($file, "$_[0]\n") // die $!; };
		srand($$);
		while (!$stop)
		{
			my $wire = eval { $node->connect_from($address, $db, $user, $address eq 'local' ? undef : 'border_control', timeout => 300) };
			while ($wire && !$stop)
			{
				last unless eval { $work->($wire, $note); };
			}
			usleep(20_000);
		}
	};
	POSIX::_exit(0);
}

sub journal { my ($name) = @_; return -e "$journals/$name" ? slurp_file("$journals/$name") =~ /^(.*)\n/mg : (); }

sub end_clients
{
	kill 'TERM', @clients;
	waitpid $_, 0 foreach @clients;
	@clients = ();
	return;
}

# Point reads: how long each takes, and whether the picture is the one that the row speaks of.
sub read_one
{
	my ($wire, $note) = @_;
	my $id = 1 + int rand IMAGES;
	my $begun = time;
	my $result = $wire->query("SELECT shows, img FROM lane WHERE id = $id");
	return if $result->eof;
	my $took = time - $begun;
	# just after a start, until policy and keys are known again
	if (($result->sqlstate // '') eq '42501') { usleep(20_000); return 1; }
	if ($result->error) { $note->('failed ' . $result->message); return 1; }
	return 1 unless $result->rows;
	my ($shows, $image) = @{ ($result->rows)[0] };
	$note->(sprintf '%s %.6f', is_sealed($image) ? 'sealed' : opened($image) eq numbered_jpeg($shows, SIZE) ? 'right' : "wrong $id", $took);
	return 1;
}

# A writer has rows of its own, and writes down what it is about to do and what was done:
# "id shows", shows 0 for a row that is deleted, and before that "try".
sub writer
{
	my ($number) = @_;
	my $fresh = IMAGES + $number;
	return sub {
		my ($wire, $note) = @_;
		my $id = 1 + $number + WRITERS * int rand((IMAGES - WRITERS) / WRITERS);
		my $shows = 1 + int rand 1e6;
		my $picture = "numbered_jpeg($shows, " . SIZE . ')::biometric.face_image';
		my $what = int rand 4;
		$id = ($fresh += WRITERS) if $what == 0;
		my $statement =
			$what == 0 ? "INSERT INTO lane VALUES ($id, $shows, 'new', $picture) ON CONFLICT (id) DO UPDATE SET img = excluded.img, shows = $shows"
		  : $what == 1 ? "UPDATE lane SET img = $picture, shows = $shows WHERE id = $id"
		  : $what == 2 ? "DELETE FROM lane WHERE id = $id"
		  :              "UPDATE lane SET note = note || 'x' WHERE id = $id";
		$shows = 0 if $what == 2;
		$note->("try $id $shows") if $what < 3;
		my $result = $wire->query($statement);
		return if $result->eof;
		if ($result->error) { $note->('failed ' . $result->message); return 1; }
		my ($touched) = map { /(\d+)$/ } $result->tags;
		$note->("done $id " . ($touched || $what == 0 ? $shows : 0)) if $what < 3;
		return 1;
	};
}

sub reseal_batch
{
	my ($wire, $note) = @_;
	my $result = $wire->query(q{SELECT biometric.reseal('lane', 'img', 50)});
	return if $result->eof;
	$note->($result->error ? 'failed ' . $result->message : 'sealed ' . $result->value);
	return 1;
}

# ---------------------------------------------------------------- a table in use

my ($images, $size) = (IMAGES, SIZE);
$node->sql($db, <<"END");
CREATE TABLE lane (id int PRIMARY KEY, shows int, note text, img biometric.face_image);
INSERT INTO lane SELECT n, n, 'old', numbered_jpeg(n, $size)::biometric.face_image FROM generate_series(1, $images) AS n;
GRANT SELECT ON lane TO officer;
END
my $new_key = rotate();

start_client("writer$_", $node->superuser, 'local', writer($_)) foreach 0 .. WRITERS - 1;
start_client("reader$_", 'officer', OFFICE, \&read_one) foreach 0 .. 1;

# so many images of the table have been recorded as sealed anew
sub resealed_count
{
	return $node->sql($db, q{SELECT count(*) FROM biometric.change WHERE operation = 'reseal' AND relation = 'public.lane' AND state = 'committed'});
}

my $begun = time;
start_client("resealer$_", 'custodian', 'local', \&reseal_batch) foreach 1 .. RESEALERS;
foreach my $crash (1 .. 3)
{
	my $reads = grep { /^right/ } journal('reader0');
	my $wanted = $crash * IMAGES / 4;
	ok(poll_until(sub { resealed_count() >= $wanted }), "$crash of 4 parts are sealed again");
	ok( poll_until(sub {
			my ($row) = $node->records($db, 'SELECT * FROM biometric.stat_progress_reseal');
			return !$row || ($row->{relation} eq 'lane' && $row->{images_done} > 0 && $row->{blocks_total} > 0);
		}),
		'how far it is can be seen');
	ok(poll_until(sub { $reads < grep { /^right/ } journal('reader0') }), 'pictures are read meanwhile');
	$node->crash;
	$node->start;
}
my $done = poll_until(sub { !$node->sql($db, "SELECT count(*) FROM lane WHERE biometric.key_id(img) <> $new_key"); });
ok($done, 'all images have the new key, although the server was killed three times');
my $took = time - $begun;
end_clients();
reseal('lane');
is(keys_in('lane'), $new_key, 'also when everybody has finished');
is($node->sql($db, 'SELECT count(*) FROM biometric.stat_progress_reseal'), 0, 'and nothing is under way any more');

subtest 'nothing is lost' => sub {
	my %may;
	my %is = map { $_ => $_ } 1 .. IMAGES;
	foreach my $name (map { "writer$_" } 0 .. WRITERS - 1)
	{
		foreach my $line (journal($name))
		{
			my ($word, $id, $shows) = split / /, $line;
			push @{ $may{$id} }, $shows if $word eq 'try';
			next unless $word eq 'done';
			$is{$id} = $shows;
			delete $may{$id};
		}
	}
	my @rows = $node->connect_from(OFFICE, $db, 'officer', 'border_control', timeout => 300)->query('SELECT id, shows, img FROM lane')->rows;
	my %found = map { $_->[0] => $_->[1] } @rows;
	my @lost = grep {
		my $id = $_;
		my $shows = $found{$id} // 0;
		!grep { $_ == $shows } $is{$id} // 0, @{ $may{$id} // [] };
	} sort { $a <=> $b } keys %{ { %is, %may, %found } };
	is("@lost", '', 'each row is as it was left by whoever wrote it last');
	my @wrong = map { $_->[0] } grep { is_sealed($_->[2]) || opened($_->[2]) ne numbered_jpeg($_->[1], SIZE) } @rows;
	is("@wrong", '', 'and its image opens to the right bytes');
	my @reads = map { journal("reader$_") } 0 .. 1;
	is(join(' ', grep { /^(wrong|sealed|failed)/ } @reads), '', 'as it did for all who have read meanwhile');
	cmp_ok(scalar(grep { /^right/ } @reads), '>', 0, 'and some have');
	is(join(' ', grep { /^failed/ } map { journal($_) } (map { "writer$_" } 0 .. WRITERS - 1), map { "resealer$_" } 1 .. RESEALERS), '', 'no statement has failed');
};

subtest 'nothing is sealed twice, and all is on record' => sub {
	my $entries = BiometricAudit::Entries->read($node, $db);
	my %aborted = map { $_->{transaction} => 1 } $entries->of('aborted');
	my (%times, %last);
	foreach my $entry (sort { $a->{at} <=> $b->{at} } grep { !$aborted{ $_->{transaction} } } $entries->of('stored'), $entries->of('replaced'))
	{
		my $id = unpack 'H*', $entry->{image_id};
		$last{$id}{ $entry->{key} } = unpack 'H*', $entry->{digest};
		next unless $entry->{operation} == 9;
		$times{$id}++;
		fail("$id is not the same image") unless unpack('H*', $entry->{old_image_id}) eq $id;
	}
	is(scalar(grep { $_ > 1 } values %times), 0, 'no image was sealed again twice');
	cmp_ok(scalar(keys %times), '>=', IMAGES / 4, 'many were once');
	my @rows = $node->admin($db)->query(q{SELECT replace(biometric.image_id(img)::text, '-', ''), encode(biometric.digest(img), 'hex') FROM lane})->rows;
	is(scalar(grep { ($last{ $_->[0] }{$new_key} // '') ne $_->[1] } @rows), 0, 'the ledger has the new digest of every image that there is');
	is($node->sql($db, q{SELECT count(*) FROM biometric.change WHERE operation = 'reseal' AND state NOT IN ('committed', 'aborted')}), 0, 'and knows what became of every batch');
	is($node->sql($db, q{SELECT coalesce(problem, 'ok') FROM biometric.verify_ledger()}), 'ok', 'and it verifies');
};

my @times = sort { $a <=> $b } map { /^right (\S+)/ ? $1 : () } map { journal("reader$_") } 0 .. 1;
diag(sprintf '%d images in %.1f s with clients and three crashes; %d point reads, p50 %.1f ms, p99 %.1f ms',
	IMAGES, $took, scalar @times, 1000 * $times[ @times / 2 ], 1000 * $times[ @times * 0.99 ]) if $ENV{RESEAL_IMAGES};

# ---------------------------------------------------------------- rows in use

subtest 'a row that somebody is changing is left to a later call' => sub {
	$node->sql($db, 'CREATE TABLE busy (id int PRIMARY KEY, note text, img biometric.face_image)');
	$node->sql($db, "INSERT INTO busy SELECT n, 'old', numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(1, 10) AS n");
	my $key = rotate();
	my $one = $node->connect_from('local', $db, $node->superuser);
	$one->query("BEGIN; UPDATE busy SET note = 'new' WHERE id = 3; SELECT 1 FROM busy WHERE id = 4 FOR UPDATE; SELECT 1 FROM busy WHERE id = 5 FOR KEY SHARE");
	my $custodian = $node->connect_from('local', $db, 'custodian');
	is($custodian->query(q{SELECT biometric.reseal('busy', 'img')})->value, 8, 'all others are sealed again, those, too, that must not go');
	my $result = $custodian->query(q{SELECT biometric.reseal('busy', 'img')});
	is($result->value, 0, 'nobody waits for those in use');
	like(join(' ', map { $_->{M} } $result->notices), qr/2 images are in rows that others are changing/, 'who asks is told of them');
	$one->query('COMMIT');
	is($custodian->query(q{SELECT biometric.reseal('busy', 'img')})->value, 2, 'a later call seals them');
	is($node->sql($db, q{SELECT note FROM busy WHERE id = 3}), 'new', 'and what was changed stays so');
	is(keys_in('busy'), $key, 'all have the new key');
	$custodian->query(q{BEGIN; SELECT biometric.reseal('busy', 'img')});
	$custodian->close;
	$one->close;
};

subtest 'what was in use when a pass came by is sealed before the last call returns 0' => sub {
	$node->sql($db, 'CREATE TABLE wide (id int PRIMARY KEY, fill text, img biometric.face_image)');
	$node->sql($db, 'ALTER TABLE wide ALTER fill SET STORAGE PLAIN');
	$node->sql($db, q{INSERT INTO wide SELECT n, repeat('x', 3000), numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(1, 6) AS n});
	my $key = rotate();
	my $one = $node->connect_from('local', $db, $node->superuser);
	$one->query('BEGIN; SELECT 1 FROM wide WHERE id = 1 FOR UPDATE');
	is($node->policy($db, q{SELECT biometric.reseal('wide', 'img', 5)}), 5, 'a call seals as many as it may');
	$one->query('ROLLBACK');
	$one->close;
	is($node->policy($db, q{SELECT biometric.reseal('wide', 'img', 5)}), 1, 'the next one finds what it has passed over');
	is(keys_in('wide'), $key, 'all have the new key');
	is($node->policy($db, q{SELECT biometric.reseal('wide', 'img', 5)}), 0, 'then there is nothing left');
};

subtest 'a call waits for the one that works on the same column' => sub {
	my $first = $node->connect_from('local', $db, 'custodian');
	my $second = $node->connect_from('local', $db, 'custodian');
	foreach my $before (0, 1)
	{
		rotate();
		is($first->query("SELECT biometric.reseal('busy', 'img', 1)")->value, 1, 'a column that is under way already') if $before;
		is($first->query(q{BEGIN; SELECT biometric.reseal('busy', 'img', 4)})->value, 4, 'one works');
		$second->send_query(q{SELECT biometric.reseal('busy', 'img', 4)});
		ok(poll_until(sub { $node->sql($db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'reseal'") }), 'the other waits');
		$first->query('COMMIT');
		is($second->drain->value, 4, 'and goes on where that has ended');
		is(reseal('busy'), 2 - $before, 'so that the last are left');
	}
};

subtest 'a call goes on where the last one ended' => sub {
	$node->sql($db, 'CREATE TABLE roomy (id int, img biometric.face_image) WITH (fillfactor = 10)');
	$node->sql($db, 'INSERT INTO roomy SELECT n, numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(1, 6) AS n');
	is($node->sql($db, q{SELECT string_agg((ctid::text::point)[0]::text, ' ' ORDER BY id) FROM roomy}), '0 1 2 3 4 5', 'where each row has a block of its own');
	my $older = rotate();
	is($node->policy($db, q{SELECT biometric.reseal('roomy', 'img', 2)}), 2, 'a call seals two images');
	my $newer = rotate();
	is($node->policy($db, q{SELECT biometric.reseal('roomy', 'img', 2)}), 2, 'the next one two');
	is($node->sql($db, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM roomy WHERE biometric.key_id(img) = $older"), '1', 'the first is not looked at again, although its key is an old one by now');
	is($node->sql($db, q{SELECT phase FROM biometric.stat_progress_reseal WHERE relation = 'roomy'::regclass}), 'between calls', 'that there is more to do can be seen');
	is(reseal('roomy', 2), 4, 'which is done before it returns 0');
	is(keys_in('roomy'), $newer, 'all have the new key');
};

subtest 'a row that is moved to where the last pass has been is counted' => sub {
	$node->sql($db, <<'END');
CREATE TABLE moved (id int, img biometric.face_image) PARTITION BY RANGE (id);
CREATE TABLE moved_1 PARTITION OF moved FOR VALUES FROM (1) TO (10);
CREATE TABLE moved_2 PARTITION OF moved FOR VALUES FROM (10) TO (20);
CREATE INDEX moved_2_idx ON moved_2 (id);
INSERT INTO moved SELECT n, numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(11, 13) AS n;
END
	my $key = rotate();
	my $mover = $node->connect_from('local', $db, $node->superuser);
	$mover->query('INSERT INTO moved SELECT n, numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(1, 3) AS n');

	# whoever comes to the second partition waits here
	$mover->query('BEGIN; ALTER INDEX moved_2_idx SET TABLESPACE pg_default');
	my $custodian = $node->connect_from('local', $db, 'custodian');
	$custodian->send_query(q{SELECT biometric.reseal('moved', 'img')});
	ok(poll_until(sub { $node->sql($db, 'SELECT count(*) FROM pg_locks WHERE NOT granted') }), 'a call is between two partitions');
	is(join(' ', $mover->query('UPDATE moved SET id = id - 5 WHERE id > 10; COMMIT')->tags), 'UPDATE 3 COMMIT', 'and rows go from the second into the first');
	my $result = $custodian->drain;
	is($result->value, 0, 'it has nothing to do');
	like(join(' ', map { $_->{M} } $result->notices), qr/3 images are in rows that others are changing/, 'but says what it has not done');
	is(reseal('moved'), 3, 'a later call does');
	is(keys_in('moved'), $key, 'all have the new key');
	$mover->close;
};

subtest 'a transaction with a snapshot of its own seals what is there by now, and keeps what is held by now' => sub {
	my $custodian = $node->connect_from('local', $db, 'custodian');
	my $old = keys_in('busy');
	my $key = rotate();
	foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
	{
		$custodian->query("BEGIN ISOLATION LEVEL $level; SELECT 1");
		$node->sql($db, q{UPDATE busy SET note = 'newer'});
		my $result = $custodian->query(q{SELECT biometric.reseal('busy', 'img')});
		is(join(' ', $result->value, map { $_->{M} } $result->notices), 10, "$level: rows that were changed since it began are sealed again");
		$custodian->query('ROLLBACK');
	}
	$node->sql($db, 'GRANT SELECT ON busy TO custodian');
	$custodian->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	my $hold = $node->policy($db, q{SELECT biometric.legal_hold('busy', 'img', 'id = 1', 'a case')});
	is($custodian->query(q{SELECT biometric.reseal('busy', 'img')})->value, 10, 'all are, one of them under a hold that is younger than the transaction');
	is($custodian->query('COMMIT')->error, undef, 'for good');
	is($node->sql($db, "SELECT string_agg(key_id::text, ' ') FROM biometric.held WHERE hold_id = $hold"), $key, 'the hold knows under which key its image is now');
	is(keys_in('busy'), $key, 'which is the one that all have');
	rotate();
	my $result = $custodian->query("SELECT biometric.shred_key($key, 'no more needed')");
	is($result->sqlstate, '55006', 'and keeps that key from being shredded');
	$result = $custodian->query("SELECT biometric.shred_key($old, 'no more needed')");
	is($result->error, undef, 'the old one may go');
	$node->policy($db, "SELECT biometric.release_hold($hold, 'closed')");
	$custodian->close;
};

subtest 'calls that are running can be seen, and undo nothing that others do meanwhile' => sub {
	$node->sql($db, <<'SQL');
CREATE TABLE watched (id int, img biometric.face_image);
INSERT INTO watched SELECT n, numbered_jpeg(n, 400)::biometric.face_image FROM generate_series(1, 5) AS n;
CREATE SEQUENCE steps MINVALUE 0;
CREATE FUNCTION public.waits(image biometric.face_image) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(480, nextval('public.steps')::int);
	PERFORM 1 / 0;
EXCEPTION
	WHEN division_by_zero THEN
		RETURN 1;
END
$$;
CREATE INDEX ON watched (waits(img));
SQL
	rotate();
	my $running = sub {
		return $node->sql($db, q{SELECT string_agg(concat_ws(' ', pid, relation::regclass, attnum, phase, blocks_total, blocks_done, images_done, images_skipped, started_at <= now()), ',') FROM biometric.reseal_running()});
	};
	my $blocker = $node->connect_from('local', $db, $node->superuser);
	my $custodian = $node->connect_from('local', $db, 'custodian');
	my $pid = $custodian->pid;
	my $waits = q{SELECT string_agg(objid::text, ' ') FROM pg_locks WHERE locktype = 'advisory' AND NOT granted};
	$blocker->query(q{SELECT setval('steps', 1, false), pg_advisory_lock(480, 1), pg_advisory_lock(480, 3), pg_advisory_lock(480, 4)});
	$custodian->send_query(q{BEGIN; SELECT biometric.reseal('watched', 'img', 3)});
	ok(poll_until(sub { ($node->sql($db, $waits) // '') eq '1' }), 'a call is at the first image');
	is($running->(), "$pid watched 2 verifying 1 0 0 0 t", 'and is shown');
	is(join(' ', $node->admin($db)->query('UPDATE watched SET id = 20 WHERE id = 2; DELETE FROM watched WHERE id = 5')->tags), 'UPDATE 1 DELETE 1', 'others change what it has yet to come to');
	$blocker->query('SELECT pg_advisory_unlock(480, 1)');
	ok(poll_until(sub { ($node->sql($db, $waits) // '') eq '3' }), 'it is at the third, although a function of the table has had errors of its own');
	is($running->(), "$pid watched 2 sealing 1 0 2 1 t", 'and is shown with what it has done and left');
	foreach my $who (qw(custodian auditor officer))
	{
		my $wire = $node->connect_from('local', $db, $who);
		is($wire->query('SELECT pid FROM biometric.reseal_running()')->sqlstate // 'seen', $who eq 'officer' ? '42501' : 'seen', "by $who");
		$wire->close;
	}
	$blocker->query('SELECT pg_advisory_unlock(480, 3)');
	is($custodian->drain->error, undef, 'it ends');
	is($running->(), undef, 'and is not shown any more, although its transaction is open');
	$custodian->query('COMMIT');
	$custodian->send_query(q{SELECT biometric.reseal('watched', 'img')});
	ok(poll_until(sub { ($node->sql($db, $waits) // '') eq '4' }), 'the next one is at the fourth');
	is($running->(), "$pid watched 2 sealing 1 0 3 1 t", 'and is shown with what others have done');
	$node->sql($db, "SELECT pg_cancel_backend($pid)");
	is($custodian->drain->sqlstate, '57014', 'it is cancelled');
	is($running->(), undef, 'and is not shown any more');
	$blocker->close;
	is(reseal('watched'), 1, 'what it has not done is left');
	is($node->sql($db, q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM watched}), '1 3 4 20', 'and what others have changed is as they have left it');
	$custodian->close;
};

# ---------------------------------------------------------------- what others say of the images

subtest 'reports say the same before and after' => sub {
	$node->sql($db, 'CREATE TABLE shown (id int PRIMARY KEY, who text, img biometric.face_image); GRANT SELECT ON shown TO officer');
	$node->sql($db, q{SELECT biometric.describe_collection('shown', '{who}')});
	$node->sql($db, q{INSERT INTO shown SELECT n, 'p' || n % 3, numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(1, 9) AS n});
	$node->sql($db, q{INSERT INTO shown SELECT 10 + id, who, img FROM shown WHERE id < 3});
	my $officer = $node->connect_from(OFFICE, $db, 'officer', 'border_control');
	$officer->query('SELECT img FROM shown WHERE id > 2');

	# nobody has been told of this
	$node->sql($db, q{UPDATE shown SET id = id + 100, who = 'other' WHERE id IN (5, 6)});
	$officer->query('SELECT img FROM shown WHERE id > 4');
	my $auditor = $node->connect_from('local', $db, 'auditor');
	my $report = sub {
		return map { join ' ', map { $_ // '-' } @$_ } map { $auditor->query($_)->rows }
		  "SELECT image_id, kind, relation, row_key, first_released, last_released, times FROM biometric.affected('agency', '(,)') WHERE relation = 'public.shown' ORDER BY 1, 4::text",
		  "SELECT * FROM biometric.breach_report('agency', '(,)') ORDER BY 1, 2";
	};
	my @before = $report->();
	my $affected = $auditor->query(q{SELECT count(*) FROM biometric.affected('agency', '(,)')})->value;
	my $rows = "SELECT seq, row_key FROM biometric.disclosure WHERE relation = 'public.shown' ORDER BY 1";
	my @keys = map { "@$_" } $auditor->query($rows)->rows;
	cmp_ok(scalar @before, '>', 9, 'what was released to a party');
	rotate();
	is(reseal('shown'), 11, 'all images are sealed again');
	is_deeply([ $report->() ], \@before, 'is what was released');
	is_deeply([ map { "@$_" } $auditor->query($rows)->rows ], \@keys, 'of the same rows');
	$officer->query('SELECT img FROM shown WHERE id IN (7, 105)');
	my @now = BiometricAudit::Entries->read($node, $db)->affected('agency');
	my $count = $auditor->query(q{SELECT count(*) FROM biometric.affected('agency', '(,)')})->value;
	is($count, $affected, 'no row comes to what was released by what is released since');
	is(scalar @now, $count, 'and a second opinion says the same');
};

subtest 'a file is traced by the keys that there are' => sub {
	my $auditor = $node->connect_from('local', $db, 'auditor');
	my $file = unpack 'H*', numbered_jpeg(8, 500);
	my $id = $node->sql($db, 'SELECT biometric.image_id(img) FROM shown WHERE id = 8');
	my $trace = sub {
		my $result = $auditor->query("SELECT match, image_id, row_key FROM biometric.trace('\\x$file')");
		my %rows = map { join(' ', @$_) => 1 } $result->rows;
		return join ', ', (sort keys %rows), grep { /could not be compared/ } map { $_->{M} } $result->notices;
	};
	is($trace->(), qq(exact $id {"id": 8}), 'with all of them');
	my @lines = slurp_file($node->keyring_path) =~ /^(\d.*\n)/mg;
	my ($newest) = $lines[-1] =~ /^(\d+)/;
	my (%stored, %there);
	my $entries = BiometricAudit::Entries->read($node, $db);
	$stored{ $_->{image_id} } = 1, $there{ $_->{image_id} } ||= $_->{key} == $newest foreach grep { defined $_->{digest} } $entries->of('stored'), $entries->of('replaced');
	my $sealed_before = grep { !$there{$_} } keys %stored;
	$node->write_keyring($lines[-1]);
	$node->settle;
	is($trace->(), qq(exact $id {"id": 8}, $sealed_before stored images could not be compared: the keyring does not have their keys), 'with the newest alone');
	$node->write_keyring(join '', @lines[ 0 .. $#lines - 1 ]);
	$node->settle;
	is($trace->(), qq(exact $id {"id": 8}), 'and with the older ones alone');
	$node->write_keyring(join '', @lines);
	$node->settle;
};

# ---------------------------------------------------------------- what cannot be opened

subtest 'an image that is damaged, or whose key is gone, keeps no other waiting' => sub {
	$node->sql($db, 'CREATE TABLE worn (id int PRIMARY KEY, img biometric.face_image)');
	$node->sql($db, 'INSERT INTO worn SELECT n, numbered_jpeg(n, 5000)::biometric.face_image FROM generate_series(1, 6) AS n');
	my $toast = $node->sql($db, q{SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'worn'});
	my $path = $node->sql($db, "SELECT pg_relation_filepath('$toast')");
	my @damaged = map { [ $node->sql($db, "SELECT encode(substr(img::bytea, $_->[1], 24), 'hex') FROM worn WHERE id = $_->[0]"), @$_ ] }
	  [ 2, 49 ], [ 4, 1000 ];
	$node->stop;

	# a byte is to be damaged, not a page: with checksums, as some releases have them, nothing of it could be read
	run_command([ 'pg_checksums', '--disable', '-D', $node->data_dir ]);
	my $bytes = slurp_file($node->data_dir . "/$path");
	foreach (@damaged)
	{
		my $at = index $bytes, pack 'H*', $_->[0];
		ok($at > 0, "image $_->[1] is found on disk");
		substr($bytes, $at + 3, 1) ^= "\1";
	}
	open my $file, '+<:raw', $node->data_dir . "/$path" or die $!;
	print $file $bytes;
	close $file or die $!;
	$node->start;
	rotate();
	my $custodian = $node->connect_from('local', $db, 'custodian');
	my $result = $custodian->query(q{SELECT biometric.reseal('worn', 'img', 3)});
	is($result->value, 3, 'the others are sealed again');
	is(reseal('worn', 3), 1, 'all of them');
	$result = $custodian->query(q{SELECT biometric.reseal('worn', 'img', 3)});
	is($result->value, 0, 'and that is the end of it');
	like(join(' ', map { "$_->{M} $_->{D}" } $result->notices),
		qr/2 images of column "img" cannot be sealed again.*damaged/, 'with a warning that counts the two');
};

$node->stop;
done_testing();
