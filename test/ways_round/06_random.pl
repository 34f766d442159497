# Anything in any order: sessions of two networks do what clients do (portals,
# cursors, savepoints, RETURNING, failures, cancels) while the policy changes
# under them. Whatever happens, a picture leaves in a DataRow that the policy
# of that moment permits, and with an entry; and the server stays whole.
#
#   WAYS_SEED   repeats a run
#   WAYS_STEPS  how many steps, 1200 by default

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils;
use Test::More;
use WaysRound;

use constant { OPEN => '127.0.0.2', SEALED => '127.0.0.3' };

plan skip_all => 'nothing to list' if $ENV{WAYS_LIST};

my $seed = srand($ENV{WAYS_SEED} // int rand 2**31);
my $steps = $ENV{WAYS_STEPS} // 1200;
note "WAYS_SEED=$seed WAYS_STEPS=$steps";

my $node = WaysRound::setting(conf => "log_statement = none\nmax_connections = 60\n");
my $db = 'postgres';
$node->sql($db, $_) foreach (
	'CREATE TABLE work (id int PRIMARY KEY, img biometric.face_image)',
	'GRANT ALL ON work TO owner, reader',
	'GRANT ALL ON SCHEMA public TO owner, reader',
	q{CREATE PROCEDURE one(OUT f biometric.face_image, ends bool) LANGUAGE plpgsql AS
		$$ BEGIN SELECT img INTO f FROM public.vault WHERE id = 1; IF ends THEN COMMIT; END IF; END $$});

# ---------------------------------------------------------------- the policy, as it is meant to be

my %permit = map { $_->{party} => $_->{id} } $node->records($db,
	q{SELECT party, max(id) AS id FROM biometric.permit WHERE 'face' = ANY (kinds) GROUP BY party});
my $delivery = 'open';
my $quarantined = 0;

sub change_policy
{
	if (rand() < 0.4)
	{
		my $act = $quarantined ? 'reinstate' : 'quarantine';
		$node->policy($db, "SELECT biometric.$act('agency', 'random')");
		$quarantined = !$quarantined;
		return;
	}
	$delivery = any(qw(open open open sealed refuse));
	my $purposes = $delivery eq 'open' ? ", '{border_control}'" : '';
	my $new = $node->policy($db,
		"SELECT biometric.authorize('agency', '{face,plate}', '$delivery'$purposes)");
	$node->policy($db, "SELECT biometric.revoke($permit{agency}, 'random')");
	$permit{agency} = $new;
	return;
}

sub any { return $_[ rand @_ ]; }

# ---------------------------------------------------------------- sessions

my @sessions;
my $names = 0;

sub begin_session
{
	my ($n) = @_;
	my $network = $n % 3 == 2 ? SEALED : OPEN;
	my $role = any(qw(owner reader superuser));
	my $session = {
		role => $role, network => $network, purpose => 1,
		cursors => [], plans => [], portals => [], savepoints => 0,
		wire => WaysRound::session($role, $network)
	};
	# one test drives them all: who waits for another would wait for good
	$session->{wire}->query(q{SET lock_timeout = '20ms'});
	return $session;
}

# What is to be read: images in all the shapes that queries give them.
sub select_list { return any('img', 'id, img', 'img::bytea', 'img, img::bytea', 'img::text', 'v', 'ARRAY[img]', 'img, img'); }
sub source      { return any('vault v', 'vault v', 'work v', '(SELECT * FROM vault ORDER BY id DESC) v'); }
sub some_query  { return 'SELECT ' . select_list() . ' FROM ' . source() . any('', ' ORDER BY id', ' LIMIT 2', ' WHERE id = 1'); }

my %act = (
	select => sub { $_[0]{wire}->query(some_query()) },
	several => sub { $_[0]{wire}->query(join '; ', map { some_query() } 1 .. 2) },
	extended => sub {
		$_[0]{wire}->extended(some_query(), results => [ any(0, 1) ], max_rows => any(0, 0, 1, 2));
	},
	portal => sub {
		my ($session) = @_;
		my $name = 'p' . ++$names;
		my $wire = $session->{wire};
		$wire->send_parse('', some_query())->send_bind($name, '', results => [ any(0, 1) ]);
		$wire->send_execute($name, any(1, 2))->send_sync;
		push @{ $session->{portals} }, $name;
		return $wire->drain;
	},
	portal_on => sub {
		my ($session) = @_;
		my $name = any(@{ $session->{portals} }) // return;
		return $session->{wire}->send_execute($name, any(0, 1))->send_sync->drain;
	},
	begin => sub { $_[0]{wire}->query('BEGIN' . any('', '', ' READ ONLY', ' ISOLATION LEVEL SERIALIZABLE')) },
	end => sub { $_[0]{wire}->query(any('COMMIT', 'COMMIT', 'ROLLBACK')) },
	savepoint => sub { $_[0]{wire}->query('SAVEPOINT s' . any(1 .. 3)) },
	back => sub { $_[0]{wire}->query('ROLLBACK TO s' . any(1 .. 3)) },
	release => sub { $_[0]{wire}->query('RELEASE s' . any(1 .. 3)) },
	declare => sub {
		my ($session) = @_;
		my $name = 'c' . ++$names;
		push @{ $session->{cursors} }, $name;
		return $session->{wire}->query("DECLARE $name " . any('', 'BINARY') . ' '
			  . any('', 'SCROLL', 'NO SCROLL') . ' CURSOR ' . any('', 'WITH HOLD') . ' FOR ' . some_query());
	},
	fetch => sub {
		my ($session) = @_;
		my $name = any(@{ $session->{cursors} }) // return;
		return $session->{wire}->query(any('FETCH', 'FETCH ALL', 'FETCH 2', 'FETCH BACKWARD 1', 'FETCH FIRST', 'MOVE 1') . " FROM $name");
	},
	close => sub {
		my ($session) = @_;
		my $name = shift @{ $session->{cursors} } // return;
		return $session->{wire}->query("CLOSE $name");
	},
	insert => sub {
		$_[0]{wire}->query('INSERT INTO work VALUES (' . any(1 .. 9) . ", '\\x" . unpack('H*', WaysRound::picture(any(1 .. 9)))
			  . "')" . any('', ' ON CONFLICT (id) DO UPDATE SET img = EXCLUDED.img', ' ON CONFLICT DO NOTHING') . any('', ' RETURNING img', ' RETURNING *'));
	},
	copy => sub { $_[0]{wire}->query('INSERT INTO work SELECT id + ' . any(0, 3, 6) . ', img FROM vault' . any('', ' RETURNING img, img::bytea')) },
	update => sub { $_[0]{wire}->query('UPDATE work SET ' . any('id = id', 'img = NULL', 'img = img', 'img = (SELECT img FROM vault WHERE id = 2)') . ' WHERE id = ' . any(1 .. 9) . any('', ' RETURNING img')) },
	delete => sub { $_[0]{wire}->query('DELETE FROM work WHERE id = ' . any(1 .. 9) . any('', ' RETURNING img')) },
	truncate => sub { rand() < 0.2 ? $_[0]{wire}->query('TRUNCATE work') : undef },
	with => sub { $_[0]{wire}->query('WITH x AS (DELETE FROM work WHERE id < 4 RETURNING *) SELECT img FROM x') },
	prepare => sub {
		my ($session) = @_;
		my $name = 'q' . ++$names;
		push @{ $session->{plans} }, $name;
		return $session->{wire}->query("PREPARE $name AS " . some_query());
	},
	execute => sub {
		my ($session) = @_;
		my $name = any(@{ $session->{plans} }) // return;
		return $session->{wire}->query("EXECUTE $name");
	},
	call => sub { $_[0]{wire}->query('CALL one(NULL, ' . any('true', 'false') . ')') },
	temp => sub { $_[0]{wire}->query('DROP TABLE IF EXISTS copied; CREATE TEMP TABLE copied AS SELECT * FROM vault; SELECT img FROM copied') },
	mistake => sub { $_[0]{wire}->query(any('SELECT img, 1 / (2 - id) FROM vault ORDER BY id', 'SELECT no FROM vault', 'SELEC', 'SELECT img::text::int FROM vault')) },
	cancel => sub {
		my $wire = $_[0]{wire};
		$wire->send_query('SELECT img, pg_sleep((id - 1) * 20) FROM vault ORDER BY id');
		$wire->cancel;
		return $wire->drain;
	},
	role => sub { $_[0]{wire}->query(any('SET ROLE stranger', 'RESET ROLE', 'RESET ROLE')) },
	purpose => sub {
		my ($session) = @_;
		my $set = rand() < 0.6;
		my $result = $session->{wire}->query('SET biometric_audit.purpose = ' . ($set ? "'border_control'" : "''"));
		# a transaction that rolls back takes it back: then both count
		$session->{purpose} = 1 if $set || $session->{wire}->status ne 'I';
		$session->{purpose} = 0 if !$set && !$result->error && $session->{wire}->status eq 'I';
		return $result;
	});
my @acts = sort keys %act;

# ---------------------------------------------------------------- the steps

my (@leaks, @unpermitted, @unentered, @lost);
my %seen = (opened => 0, errors => 0, steps => 0);

sub step
{
	my ($number) = @_;
	my $n = int rand @sessions;
	if (rand() < 0.02)
	{
		$sessions[$n]{wire}->close;
		$sessions[$n] = begin_session($n);
	}
	return change_policy() if rand() < 0.04;
	my $session = $sessions[$n];
	my $name = any(@acts);
	my $mark = $node->mark($db);
	my $result = $act{$name}->($session) // return;
	my $where = "step $number: $name as $session->{role} from $session->{network}";

	$seen{steps}++;
	$seen{errors}++ if $result->error;
	push @lost, $where if $result->eof;
	push @leaks, "$where: $_" foreach WaysRound::leaked_in($result);
	my $opened = WaysRound::opened_in($result);
	my $entries = $node->sql($db, "SELECT count(*) FROM biometric.disclosure WHERE seq >= $mark");
	$seen{opened} += $opened;
	push @unpermitted, "$where: $delivery, quarantined $quarantined, purpose $session->{purpose}"
	  if $opened && ($session->{network} eq SEALED || $delivery ne 'open' || $quarantined || !$session->{purpose});
	push @unentered, "$where: $opened opened, $entries entered"
	  if $result->error ? $opened > $entries : $opened != $entries;
	if ($session->{wire}->status eq 'I')
	{
		$session->{portals} = [];
	}
	return;
}

push @sessions, begin_session($_) foreach 0 .. 4;
foreach my $number (1 .. $steps)
{
	step($number);
	last if @lost;
}

is("@lost", '', 'no session was lost');
is(join("\n", @leaks), '', 'no picture left but in a row');
is(join("\n", @unpermitted), '', 'none that the policy of the moment did not permit');
is(join("\n", @unentered), '', 'none without its entry, no entry without it');
cmp_ok($seen{opened}, '>', 0, "pictures were opened at all ($seen{opened} in $seen{steps} steps, $seen{errors} errors)");

foreach my $session (@sessions)
{
	$session->{wire}->query('ROLLBACK');
	$session->{wire}->query('RESET ROLE');
	my $used = $session->{wire}->query('SELECT sum(total_bytes) FROM pg_backend_memory_contexts')->value;
	cmp_ok($used // 0, '<', 32 * 1024 * 1024, 'a session keeps its memory bounded') if $session->{role} eq 'superuser';
	$session->{wire}->close;
}

my ($change) = $node->records($db, <<'END');
SELECT (SELECT count(img) FROM public.work) AS there,
	(SELECT coalesce(sum(CASE event WHEN 'stored' THEN 1 WHEN 'erased' THEN -1 WHEN 'truncated' THEN -(detail->>'images')::int ELSE 0 END), 0)
	 FROM biometric.change WHERE relation = 'public.work' AND state = 'committed') AS entered
END
is($change->{entered}, $change->{there}, 'changes that were committed add up to the images that are there');
ok($node->verifies($db), 'the ledger verifies');
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal|leak/, 'nothing crashed, nothing leaked');
WaysRound::everywhere();
done_testing();
