# Two persons: what widens access waits for another custodian, who is told apart by
# the login and by nothing that can be set afterwards; and every way round that.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);

use constant OFFICE => '127.0.0.2';

my $db = 'postgres';
my $node = BiometricAudit::Node->create('agency');
my $super = $node->superuser;
$node->prepare($db);
$node->register($db, 'relay', OFFICE . '/32', '{face}', 'open');
$node->sql($db, <<'END');
CREATE ROLE alice LOGIN IN ROLE biometric_custodian;
CREATE ROLE bob LOGIN IN ROLE biometric_custodian;
CREATE ROLE carol LOGIN;
GRANT bob TO alice;
GRANT alice, bob TO carol;
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
END
$node->sql($db, 'CREATE DATABASE desk');
$node->set('biometric_audit.two_person', 'on');
ok( poll_until(
		sub {
			$node->sql($db,
				q{SELECT count(*) FROM biometric.ledger WHERE detail->>'action' = 'two_person'});
		}),
	'that two persons are asked for is on record');

sub login { my ($who, $where) = @_; return $node->connect_from('local', $where // $db, $who); }

# as(who, sql): the result of a query of somebody's.
sub as
{
	my ($who, $sql, $where) = @_;
	my $wire = login($who, $where);
	my $result = $wire->query($sql);
	$wire->close;
	return $result;
}

# proposed(result): the number that a NOTICE tells.
sub proposed
{
	my ($result) = @_;
	is($result->message, undef, 'no error');
	my ($number) =
	  map { $_->{M} =~ /^proposal (\d+) waits for another custodian$/ ? $1 : () } $result->notices;
	ok($number, 'a NOTICE names the proposal');
	return $number;
}

my $next = 0;

# propose(): a proposal of alice's, for a network of its own.
sub propose
{
	$next++;
	return proposed(as('alice', "SELECT biometric.register_network('10.0.$next.0/24', 'relay')"));
}

sub state_of
{
	return $node->sql($db, "SELECT state FROM biometric.proposal WHERE id = $_[0]");
}

sub networks
{
	return $node->sql($db, 'SELECT count(*) FROM biometric.network WHERE unregistered_at IS NULL');
}

sub changes
{
	my ($mark) = @_;
	return map { $_->{detail} } $node->records($db, "SELECT detail FROM biometric.ledger "
		  . "WHERE seq >= $mark AND event = 'policy_changed' ORDER BY seq");
}

# ---------------------------------------------------------------- what waits, and what does not

subtest 'a change that widens access is proposed, approved by another, and then made' => sub {
	my $mark = $node->mark($db);
	my $before = networks();
	my $number = propose();
	is(networks(), $before, 'nothing has changed yet');
	is(state_of($number), 'open', 'the proposal is open');
	my $change = { action => 'register_network', network => "10.0.$next.0/24", party => 'relay' };
	my ($entry) = changes($mark);
	delete $entry->{expires_at};
	is_deeply($entry, { action => 'propose', proposal => $number, change => $change },
		'it is on record');
	$mark = $node->mark($db);
	my $result = as('bob', "SELECT biometric.approve($number)");
	is($result->message, undef, 'approved');
	is(networks(), $before + 1, 'the change is made');
	is_deeply(
		[ changes($mark) ],
		[ { %$change, proposal => $number, proposed_by => 'alice', approved_by => 'bob' } ],
		'and on record with both names');
	is(state_of($number), 'approved', 'the proposal is approved');
	is(as('custodian', "SELECT biometric.approve($number)")->sqlstate, '55000', 'once');
};

subtest 'each function that can widen access waits' => sub {
	my %widens = (
		'register_network' => q{SELECT biometric.register_network('10.9.0.0/16', 'relay')},
		'register_party, for longer' => q{SELECT biometric.register_party('relay', 'r', NULL)},
		'authorize' => q{SELECT biometric.authorize('relay', '{face}', 'sealed')},
		'adopt' => q{SELECT biometric.adopt('traveller', 'img')},
		'unregister_network, out of a wider one' =>
		  q{SELECT biometric.unregister_network('127.0.0.2/32', 'x')});
	$node->policy($db, q{SELECT biometric.register_party('wide', 'w', NULL)});
	my $wide = proposed(as('alice', q{SELECT biometric.register_network('127.0.0.0/30', 'wide')}));
	as('bob', "SELECT biometric.approve($wide)");
	foreach my $name (sort keys %widens)
	{
		my $mark = $node->mark($db);
		my $number = proposed(as('alice', $widens{$name}));
		is(scalar(grep { $_->{action} ne 'propose' } changes($mark)), 0, "$name: only proposed");
		$mark = $node->mark($db);
		is(as('bob', "SELECT biometric.approve($number)")->message, undef, "$name: approved");
		my ($done) = changes($mark);
		is($done->{proposed_by} . ' ' . $done->{approved_by}, 'alice bob', "$name: both are named");
	}
	my $number = proposed(as('alice', q{SELECT biometric.register_network('127.0.0.2/32', 'relay')}));
	as('bob', "SELECT biometric.approve($number)");
};

subtest 'what narrows access is made at once' => sub {
	my $mark = $node->mark($db);
	my $shorter = q{SELECT biometric.register_party('relay', 'r', '[2020-01-01,2090-01-01)')};
	foreach my $sql (
		q{SELECT biometric.register_party('newcomer', 'n', NULL)},
		$shorter,
		q{SELECT biometric.authorize('relay', '{face}', 'refuse', NULL, 'traveller')},
		q{SELECT biometric.quarantine('relay', 'x')})
	{
		is(as('alice', $sql)->message, undef, $sql);
	}
	is(scalar(grep { $_->{action} eq 'propose' } changes($mark)), 0, 'nothing was proposed');
	my $number = proposed(as('alice', q{SELECT biometric.reinstate('relay', 'x')}));
	is($node->sql($db, q{SELECT quarantined_at IS NULL FROM biometric.party WHERE name = 'relay'}),
		'f', 'but reinstate() waits');
	as('bob', "SELECT biometric.approve($number)");
	is($node->sql($db, q{SELECT quarantined_at IS NULL FROM biometric.party WHERE name = 'relay'}),
		't', 'and is approved');
};

subtest 'quotas and revocations wait when they give more' => sub {
	my $permit = sub {
		my ($arguments) = @_;
		my $result = as('alice', "SELECT biometric.authorize('relay', $arguments)");
		my ($number) = map { $_->{M} =~ /^proposal (\d+)/ ? $1 : () } $result->notices;
		as('bob', "SELECT biometric.approve($number)") if $number;
		return $node->sql($db, 'SELECT max(id) FROM biometric.permit');
	};
	my $quota = $permit->(q{'{iris}', 'open', quota => 10, quota_window => '1 day'});
	my $refuse = $permit->(q{'{iris}', 'refuse'});
	my $open = $permit->(q{'{plate}', 'open'});
	my $narrow = $permit->(q{'{plate}', 'open', '{lookup}', 'traveller'});
	my %waits = (
		"set_quota($quota, 11, '1 day', 'x')" => 1,
		"set_quota($quota, 10, '1 hour', 'x')" => 1,
		"set_quota($quota, NULL, NULL, 'x')" => 1,
		"set_quota($quota, 9, '2 days', 'x')" => 0,
		"revoke($narrow, 'x')" => 1,
		"revoke($refuse, 'x')" => 1);
	foreach my $call (sort keys %waits)
	{
		my $result = as('alice', "SELECT biometric.$call");
		is($result->message, undef, $call);
		my ($number) = map { $_->{M} =~ /^proposal (\d+)/ ? $1 : () } $result->notices;
		is(defined $number ? 1 : 0, $waits{$call}, $waits{$call} ? 'waits' : 'is made at once');
		is(as('bob', "SELECT biometric.reject($number, 'x')")->message, undef, 'rejected')
		  if $number;
	}
	my $number = proposed(as('alice', "SELECT biometric.set_quota($quota, 12, '1 day', 'x')"));
	is(as('bob', "SELECT biometric.approve($number)")->message, undef, 'a quota is approved');
	is($node->sql($db, "SELECT quota FROM biometric.permit WHERE id = $quota"), 12, 'and raised');
	$number = proposed(as('alice', "SELECT biometric.revoke($refuse, 'x')"));
	is(as('bob', "SELECT biometric.approve($number)")->message, undef, 'so is a revocation');
	my $result = as('alice', "SELECT biometric.revoke($open, 'x')");
	is(scalar(grep { $_->{M} =~ /^proposal/ } $result->notices),
		0, 'what is revoked and leaves nothing is revoked at once');
};

subtest 'what is wrong with a change is said when it is proposed' => sub {
	my $before = $node->sql($db, 'SELECT count(*) FROM biometric.proposal');
	my $result = as('alice', q{SELECT biometric.register_network('10.200.0.0/16', 'nobody')});
	is($result->sqlstate, '42704', 'an unknown party');
	is(as('officer', q{SELECT biometric.register_local('relay')})->sqlstate, '42501', 'no custodian');
	is(as($super, q{SELECT biometric.register_local('relay')})->sqlstate,
		'42501', 'a superuser is none');
	my $wire = login('alice');
	$wire->query('BEGIN');
	$wire->query(q{DO $$ BEGIN PERFORM biometric.register_network('10.200.0.0/16', 'nobody');
		EXCEPTION WHEN undefined_object THEN NULL; END $$});
	is($wire->query('SELECT 1')->value, 1, 'who catches the error goes on');
	$wire->query('COMMIT');
	is($node->sql($db, 'SELECT count(*) FROM biometric.proposal'), $before, 'nothing was proposed');
};

# ---------------------------------------------------------------- one person alone

subtest 'nobody approves what is their own, whatever role they set' => sub {
	my $number = propose();
	my $before = networks();
	my $approve = "SELECT biometric.approve($number)";
	$node->sql($db, <<"END");
CREATE FUNCTION lend() RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS '$approve';
ALTER FUNCTION lend() OWNER TO bob;
END
	my %way = (
		'simply' => $approve,
		'SET ROLE' => "SET ROLE bob; $approve",
		'SET LOCAL ROLE' => "BEGIN; SET LOCAL ROLE bob; $approve",
		'a SECURITY DEFINER function' => 'SELECT lend()');
	foreach my $how (sort keys %way)
	{
		my $result = as('alice', $way{$how});
		is($result->sqlstate, '42501', "$how is refused");
		like($result->hint // '', qr/logs in as another custodian/, 'with a hint');
	}
	$node->sql($db, 'ALTER ROLE alice SUPERUSER');
	foreach my $how ('SET SESSION AUTHORIZATION bob', 'SET SESSION AUTHORIZATION bob; SET ROLE bob')
	{
		is(as('alice', "$how; $approve")->sqlstate, '42501', "$how is refused");
	}
	$node->sql($db, 'ALTER ROLE alice NOSUPERUSER');
	is(as($super, "SET SESSION AUTHORIZATION bob; $approve")->sqlstate,
		'42501', 'nor does a superuser in the name of bob');
	is(as('officer', 'SELECT lend()')->sqlstate, '42501', 'nor does bob\'s function for others');
	is(as('bob', $approve, 'desk')->sqlstate, '3F000', 'another database knows nothing of it');
	is(networks(), $before, 'nothing has changed');
	is(as('carol', "SET ROLE alice; $approve")->message,
		undef, 'another person may, even in the role of who proposed');
};

subtest 'a new name makes no other person' => sub {
	my $number = propose();
	$node->sql($db, 'ALTER ROLE alice RENAME TO alix');
	is(as('alix', "SELECT biometric.approve($number)")->sqlstate, '42501', 'renamed');
	$node->sql($db, 'ALTER ROLE bob RENAME TO alice');
	is(as('alice', "SELECT biometric.approve($number)")->sqlstate,
		'42501', 'nor does who has got the name');
	$node->sql($db, 'ALTER ROLE alice RENAME TO bob; ALTER ROLE alix RENAME TO alice');
	my $open = login('alice');
	$node->sql($db, 'ALTER ROLE alice RENAME TO alix');
	is($open->query("SELECT biometric.approve($number)")->sqlstate,
		'42501', 'nor a session that was there before');
	$node->sql($db, 'ALTER ROLE alix RENAME TO alice');
	is(as('bob', "SELECT biometric.approve($number)")->message, undef, 'bob may');
};

subtest 'only custodians who logged in as such propose and approve' => sub {
	my $number = propose();
	$node->sql($db, <<'END');
CREATE FUNCTION suggest() RETURNS void LANGUAGE sql SECURITY DEFINER AS
	$$SELECT biometric.register_network('10.201.0.0/16', 'relay')$$;
ALTER FUNCTION suggest() OWNER TO alice;
END
	is(as('officer', 'SELECT suggest()')->sqlstate, '42501', 'not by a function of one');
	is(as('auditor', "SELECT biometric.approve($number)")->sqlstate, '42501', 'not an auditor');
	is($node->run('auditor', $db, 'SELECT count(*) > 0 FROM biometric.proposal'), 't', 'who reads');
	is(as('officer', 'SELECT * FROM biometric.proposal')->sqlstate, '42501', 'others do not');
	$node->sql($db, 'REVOKE biometric_custodian FROM bob');
	is(as('bob', "SELECT biometric.approve($number)")->sqlstate, '42501', 'nor one who was');
	$node->sql($db, 'GRANT biometric_custodian TO bob');
	is(as('bob', "SELECT biometric.approve($number)")->message, undef, 'one who is does');
};

subtest 'who is the only custodian is told that nobody can approve' => sub {
	$node->sql($db, 'REVOKE biometric_custodian FROM bob, custodian');
	$node->sql($db, 'REVOKE alice, bob FROM carol');
	my $result = as('alice', q{SELECT biometric.register_network('10.202.0.0/16', 'relay')});
	my ($warning) = grep { $_->{S} eq 'WARNING' } $result->notices;
	like($warning->{M} // '', qr/nobody else can approve/, 'a WARNING');
	$node->sql($db, 'GRANT biometric_custodian TO bob, custodian');
	$result = as('alice', q{SELECT biometric.register_network('10.203.0.0/16', 'relay')});
	is(scalar(grep { $_->{S} eq 'WARNING' } $result->notices), 0, 'none when there is another');
};

# ---------------------------------------------------------------- what was written down

subtest 'nobody writes to the proposals, and what was changed offline is not made' => sub {
	my $number = propose();
	foreach my $sql (
		"UPDATE biometric.proposed SET decision = 'approved', decided_by = 'bob', decided_at = now()",
		'UPDATE biometric.proposed SET proposed_by = $$x$$',
		"UPDATE biometric.proposed SET arguments = '{0.0.0.0/0,relay}'",
		'DELETE FROM biometric.proposed', 'TRUNCATE biometric.proposed',
		'INSERT INTO biometric.proposed OVERRIDING SYSTEM VALUE SELECT * FROM biometric.proposed',
		q{UPDATE biometric.proposal SET proposed_by = 'x'})
	{
		is(as($super, $sql)->sqlstate, '42501', $sql);
	}
	$node->unguarded($db, "ALTER TABLE biometric.proposed DISABLE TRIGGER ALL; "
		  . "UPDATE biometric.proposed SET arguments = '{0.0.0.0/0,relay}' WHERE id = $number; "
		  . "ALTER TABLE biometric.proposed ENABLE ALWAYS TRIGGER guard, "
		  . "ENABLE ALWAYS TRIGGER guard_row, ENABLE ALWAYS TRIGGER guard_stored");
	my $result = as('bob', "SELECT biometric.approve($number)");
	is($result->sqlstate, '55000', 'other arguments are not what was proposed');
	like($result->message, qr/no longer what was proposed/, 'it says');
	is(state_of($number), 'open', 'it stays open');
	$node->unguarded($db, "ALTER TABLE biometric.proposed DISABLE TRIGGER ALL; "
		  . "UPDATE biometric.proposed SET function = 'fork_ledger', types = '{text}', "
		  . "arguments = '{x}' WHERE id = $number; "
		  . "ALTER TABLE biometric.proposed ENABLE ALWAYS TRIGGER guard, "
		  . "ENABLE ALWAYS TRIGGER guard_row, ENABLE ALWAYS TRIGGER guard_stored");
	is(as('bob', "SELECT biometric.approve($number)")->sqlstate, '42883', 'nor is another function');
};

subtest 'a proposal outlives a restart, but not its relation\'s name' => sub {
	my $number =
	  proposed(as('alice', q{SELECT biometric.authorize('relay', '{face}', 'open', NULL, 'traveller')}));
	$node->restart;
	$node->sql($db, 'ALTER TABLE traveller RENAME TO voyager; '
		  . 'CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image)');
	my $permits = $node->sql($db, 'SELECT count(*) FROM biometric.permit');
	my $result = as('bob', "SELECT biometric.approve($number)");
	is($result->sqlstate, '55000', 'what has another name now is not what was shown');
	like($result->message, qr/no longer what was proposed/, 'which is told');
	is($node->sql($db, 'SELECT count(*) FROM biometric.permit'), $permits, 'no permit');
	$node->sql($db, 'ALTER TABLE traveller RENAME TO other; ALTER TABLE voyager RENAME TO traveller');
	is(as('bob', "SELECT biometric.approve($number)")->message, undef, 'with its name it is approved');
	is($node->sql($db, 'SELECT relation FROM biometric.permit ORDER BY id DESC LIMIT 1'),
		'traveller', 'for the table that it was proposed for');
	$node->sql($db, 'ALTER TABLE traveller RENAME TO voyager; ALTER TABLE other RENAME TO traveller');
	$number =
	  proposed(as('alice', q{SELECT biometric.authorize('relay', '{face}', 'open', NULL, 'traveller')}));
	$node->sql($db, 'DROP TABLE traveller; '
		  . 'CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image)');
	is(as('bob', "SELECT biometric.approve($number)")->sqlstate, '42P01', 'one that is gone is not');
	is(state_of($number), 'open', 'which stays open');
};

subtest 'no more images are adopted than were shown' => sub {
	$node->sql($db, <<'END');
CREATE TABLE source (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO source SELECT i, numbered_jpeg(i, 1000)::biometric.face_image FROM generate_series(1, 3) i;
CREATE TABLE grows (id int PRIMARY KEY, img biometric.face_image);
GRANT INSERT ON grows TO officer;
END
	my @sealed = map { $node->sql($db, "SELECT img::text FROM source WHERE id = $_") } 1 .. 3;
	as('officer', "INSERT INTO grows VALUES ($_, '$sealed[$_ - 1]')") foreach 1, 2;
	my $number = proposed(as('alice', q{SELECT biometric.adopt('grows', 'img')}));
	as('officer', "INSERT INTO grows VALUES (3, '$sealed[2]')");
	is(as('bob', "SELECT biometric.approve($number)")->sqlstate, '55000', 'one more than shown');
	$node->sql($db, 'DELETE FROM grows WHERE id > 1');
	is(as('bob', "SELECT biometric.approve($number)")->message, undef, 'less of it is approved');
};

subtest 'circumstances that have changed make a proposal void' => sub {
	as('alice', q{SELECT biometric.quarantine('relay', 'first')});
	my $number = proposed(as('alice', q{SELECT biometric.reinstate('relay', 'over')}));
	my $other = proposed(as('alice', q{SELECT biometric.reinstate('relay', 'over')}));
	as('bob', "SELECT biometric.approve($number)");
	is(as('bob', "SELECT biometric.approve($other)")->sqlstate, '55000', 'nothing to lift');
	as('alice', q{SELECT biometric.quarantine('relay', 'second')});
	my $result = as('bob', "SELECT biometric.approve($other)");
	like($result->message, qr/no longer what was proposed/, 'another quarantine is not lifted by it');
	$number = proposed(as('alice', q{SELECT biometric.reinstate('relay', 'over')}));
	as('bob', "SELECT biometric.approve($number)");
};

subtest 'rejected, withdrawn and expired proposals stay so' => sub {
	my $number = propose();
	is(as('bob', "SELECT biometric.reject($number, ' ')")->sqlstate, '22023', 'with a reason only');
	my $mark = $node->mark($db);
	is(as('bob', "SELECT biometric.reject($number, 'no')")->message, undef, 'rejected');
	my ($entry) = changes($mark);
	is("@$entry{qw(action proposal proposed_by rejected_by reason)}",
		"reject $number alice bob no", 'on record');
	is(as('custodian', "SELECT biometric.approve($number)")->sqlstate, '55000', 'not approved');
	$number = propose();
	is(as('alice', "SELECT biometric.reject($number, 'a mistake')")->message, undef, 'withdrawn');
	is(state_of($number), 'rejected', 'closed');
	is(as('bob', "SELECT biometric.reject($number, 'x')")->sqlstate, '55000', 'once');
	is(as('bob', 'SELECT biometric.approve(100000)')->sqlstate, '42704', 'an unknown one');

	$node->set('biometric_audit.proposal_lifetime', '1s');
	$number = propose();
	$node->set('biometric_audit.proposal_lifetime', undef);
	ok(poll_until(sub { state_of($number) eq 'expired' }), 'expired');
	is(as('bob', "SELECT biometric.approve($number)")->sqlstate, '55000', 'not approved either');
};

subtest 'approval is part of its transaction' => sub {
	my $number = propose();
	my $before = networks();
	my $wire = login('bob');
	my $approve = "SELECT biometric.approve($number)";
	my $mark = $node->mark($db);
	$wire->query("BEGIN; $approve; ROLLBACK");
	$wire->query("BEGIN; SAVEPOINT s; $approve; ROLLBACK TO s; COMMIT");
	is(state_of($number), 'open', 'rolled back, it is open');
	is(networks(), $before, 'and nothing was changed');
	is(scalar(changes($mark)), 0, 'nor recorded');
	$wire->query("BEGIN; SAVEPOINT s; $approve; RELEASE s; COMMIT");
	is(state_of($number), 'approved', 'committed, it is approved');
	my $alice = login('alice');
	$before = $node->sql($db, 'SELECT count(*) FROM biometric.proposal');
	$alice->query(q{BEGIN; SAVEPOINT s; SELECT biometric.register_network('10.210.0.0/16', 'relay');
		ROLLBACK TO s; COMMIT});
	is($node->sql($db, 'SELECT count(*) FROM biometric.proposal'), $before, 'so is proposing');
};

subtest 'two approvals at once make the change once' => sub {
	my $number = propose();
	my ($one, $two) = (login('bob'), login('custodian'));
	my $mark = $node->mark($db);
	$one->query("BEGIN; SELECT biometric.approve($number)");
	$two->send_query("SELECT biometric.approve($number)");
	my $pid = $two->pid;
	ok( poll_until(
			sub {
				$node->sql($db, "SELECT count(*) FROM pg_locks WHERE pid = $pid AND NOT granted");
			}),
		'the second waits');
	$one->query('COMMIT');
	is($two->drain->sqlstate, '55000', 'and finds it approved');
	is(scalar(changes($mark)), 1, 'one entry');
};

# ---------------------------------------------------------------- code of others

subtest 'what adopting calls cannot make changes of its own' => sub {
	$node->sql($db, <<'END');
CREATE TABLE theirs (id int PRIMARY KEY, img biometric.face_image);
INSERT INTO theirs VALUES (1, numbered_jpeg(1, 1000)::biometric.face_image);
CREATE TABLE trap (id int PRIMARY KEY, img biometric.face_image);
GRANT INSERT ON trap TO officer;
CREATE FUNCTION spring(img biometric.face_image) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE unused bigint;
BEGIN
	IF session_user = 'bob' THEN
		unused := biometric.authorize('relay', '{face,iris}', 'open');
	END IF;
	RETURN 1;
END $$;
ALTER TABLE trap OWNER TO alice;
ALTER FUNCTION spring(biometric.face_image) OWNER TO alice;
CREATE INDEX trap_index ON trap (spring(img));
END
	my $sealed = $node->sql($db, 'SELECT img::text FROM theirs');
	is(as('officer', "INSERT INTO trap VALUES (1, '$sealed')")->message, undef, 'an imported image');
	my $permits = $node->sql($db, 'SELECT count(*) FROM biometric.permit');
	my $number = proposed(as('alice', q{SELECT biometric.adopt('trap', 'img')}));
	my $result = as('bob', "SELECT biometric.approve($number)");
	is($result->sqlstate, '55000', 'the approval fails');
	like($result->message, qr/would change more than itself/, 'for what it would do besides');
	is($node->sql($db, 'SELECT count(*) FROM biometric.permit'), $permits, 'no permit');
	$result = as('custodian', "SELECT biometric.approve($number)");
	is($result->message, undef, 'without that it is approved');
	like($result->value, qr/"images": 1/, 'and adopts');
};

# ---------------------------------------------------------------- the setting itself

subtest 'two_person is not switched off by SQL' => sub {
	my %refused = (
		"SET biometric_audit.two_person = off" => '55P02',
		"ALTER ROLE alice SET biometric_audit.two_person = off" => qr/^(42501|55P02)$/,
		"ALTER SYSTEM SET biometric_audit.two_person = off" => '42501',
		"ALTER SYSTEM RESET biometric_audit.two_person" => '42501',
		"ALTER SYSTEM RESET ALL" => '42501');
	foreach my $sql (sort keys %refused)
	{
		my $state = as($super, $sql)->sqlstate // 'done';
		ref $refused{$sql} ? like($state, $refused{$sql}, $sql) : is($state, $refused{$sql}, $sql);
	}
	$node->sql($db, 'ALTER ROLE alice SUPERUSER');
	my $result = as('alice', 'ALTER SYSTEM SET biometric_audit.two_person = off');
	is($result->sqlstate, '42501', 'nor by one custodian alone');
	like($result->detail, qr/two persons/i, 'which the rule says');
	is(as('alice', 'ALTER SYSTEM RESET ALL')->sqlstate, '42501', 'nor by RESET ALL');
	is(as('alice', "ALTER SYSTEM $_")->sqlstate, '42501', $_)
	  foreach ('SET biometric_audit.enforcement = observe', 'RESET biometric_audit.enforcement',
		q{SET biometric_audit.replication_networks = '0.0.0.0/0'},
		'RESET biometric_audit.replication_networks',
		q{SET biometric_audit.replication_database = 'desk'},
		'SET biometric_audit.lockdown = off', 'RESET biometric_audit.lockdown',
		q{SET shared_preload_libraries = ''});
	is(as('alice', 'ALTER SYSTEM SET biometric_audit.lockdown = on')->message,
		undef, 'what takes away is set by one');
	$node->sql($db, 'ALTER ROLE alice NOSUPERUSER');
};

subtest 'the file switches it, and the ledger says so' => sub {
	my $told = sub {
		return $node->sql($db, "SELECT string_agg(detail::text, ' ' ORDER BY seq) "
			  . "FROM biometric.ledger WHERE detail->>'action' = 'two_person'") // '';
	};
	like($told->(), qr/"to": true/, 'that it was switched on');
	$node->set('biometric_audit.two_person', 'off');
	ok(poll_until(sub { $told->() =~ /"to": false[^{]*$/ }), 'and off');
	$node->stop;
	$node->append_conf('postgresql.conf', 'biometric_audit.two_person = on');
	$node->start;
	ok(poll_until(sub { $told->() =~ /"to": true[^{]*$/ }), 'also by a restart');
	my $entries = () = $told->() =~ /"to"/g;
	$node->restart;
	$node->policy($db, q{SELECT biometric.register_party('newcomer', 'n', NULL)});
	is(scalar(() = $told->() =~ /"to"/g), $entries, 'but not a restart as such');
};

# ---------------------------------------------------------------- one person with two logins

subtest 'two logins that were authenticated as one are one person' => sub {
	my $number = propose();
	my $hba = $node->data_dir . '/pg_hba.conf';
	my $text = slurp_file($hba);
	open my $file, '>', $hba or die "$hba: $!";
	print $file "local all alice,bob peer map=both\n$text";
	close $file;
	$node->append_conf('pg_ident.conf', "both $super alice\nboth $super bob");
	$node->settle;
	my $other = propose();
	my $result = as('bob', "SELECT biometric.approve($other)");
	is($result->sqlstate, '42501', 'what alice proposed as the same user of the host');
	is(as('bob', "SELECT biometric.approve($number)")->message,
		undef, 'what was proposed by somebody of whom only the login is known');
	is(as('custodian', "SELECT biometric.approve($other)")->message, undef, 'others may');
};

ok($node->verifies($db), 'the ledger verifies');
done_testing();
