# Changes of the policy are made one after the other, each judged by what is there when its
# turn comes: old snapshots, open transactions, settings that a session has not read yet.
# And what counts as more than a party has.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);

my $db = 'postgres';
my $node = BiometricAudit::Node->create('races');
my $super = $node->superuser;
$node->prepare($db);
$node->register($db, 'relay', '127.0.0.2/32', '{face}', 'open');
$node->sql($db, <<'END');
CREATE ROLE alice LOGIN IN ROLE biometric_custodian;
CREATE ROLE bob LOGIN IN ROLE biometric_custodian;
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image);
CREATE TABLE border (id int PRIMARY KEY, img biometric.face_image);
END

sub login { my ($who) = @_; return $node->connect_from('local', $db, $who); }

# as(who, sql): the result of a query of somebody's.
sub as
{
	my ($who, $sql) = @_;
	my $wire = login($who);
	my $result = $wire->query($sql);
	$wire->close;
	return $result;
}

# proposal(result): the number that a NOTICE tells, undef when nothing was proposed.
sub proposal
{
	my ($result) = @_;
	my ($number) = map { $_->{M} =~ /^proposal (\d+) waits/ ? $1 : () } $result->notices;
	return $number;
}

# waits(wire): whether a session comes to wait for a lock.
sub waits
{
	my $pid = $_[0]->pid;
	return poll_until(
		sub { $node->sql($db, "SELECT count(*) FROM pg_locks WHERE pid = $pid AND NOT granted"); });
}

# in_turn(sql, sql): the results of a transaction that is left open and of a statement of
# another custodian, which waits until it has committed.
sub in_turn
{
	my ($first, $then) = @_;
	my ($one, $two) = (login('alice'), login('bob'));
	is($one->query("BEGIN; $first")->message, undef, "$first, not committed yet");
	$two->send_query($then);
	ok(waits($two), "$then waits");
	is($one->query('COMMIT')->message, undef, 'until that is committed');
	return $two->drain;
}

# permit(party, arguments): the number of a new permit, while one person is enough.
sub permit
{
	my ($party, $arguments) = @_;
	return $node->policy($db, "SELECT biometric.authorize('$party', $arguments)");
}

sub party { $node->policy($db, "SELECT biometric.register_party('$_[0]', 'p', NULL)"); return; }

sub entry
{
	my ($action) = @_;
	my ($record) = $node->records($db, "SELECT detail FROM biometric.ledger WHERE event = "
		  . "'policy_changed' AND detail->>'action' = '$action' ORDER BY seq DESC LIMIT 1");
	return $record->{detail};
}

sub two_persons
{
	$node->set('biometric_audit.two_person', $_[0]);
	return;
}

# ---------------------------------------------------------------- one after the other

my $quota = permit('relay', q{'{iris}', 'open', quota => 100, quota_window => '1 day'});
party('tied');
my $small = permit('tied', q{'{face}', 'open', quota => 10, quota_window => '1 day'});
my $large = permit('tied', q{'{face}', 'open', quota => 1000000, quota_window => '1 day'});
party('marked');
my $marked = permit('marked', q{'{face}', 'open', mark => true});
my $plain = permit('marked', q{'{face}', 'open'});
party('handed');
permit('handed', q{'{face}', 'open', quota => 5000, quota_window => '1 day'});
my $free = permit('handed', q{'{face}', 'open', mark => true});
party('tables');
my $strict = permit('tables', q{'{face}', 'open', relation => 'traveller', require_tls => true});
permit('tables', q{'{face}', 'open', '{lookup}'});
party('later');
my $now = permit('later', q{'{face}', 'sealed', relation => 'border', valid => '[,2090-01-01)'});
my $then = permit('later', q{'{face}', 'sealed', relation => 'border', valid => '[2090-01-01,)'});
permit('later', q{'{face}', 'open', valid => '[2091-01-01,2092-01-01)'});
party('narrow');
my $needless = permit('narrow', q{'{face}', 'open', '{a}', relation => 'traveller'});
my $rest = permit('narrow', q{'{face}', 'sealed'});
$node->policy($db, q{SELECT biometric.register_party('agency', 'a', NULL)});
$node->policy($db, q{SELECT biometric.register_network('10.1.0.0/16', 'agency')});
$node->policy($db, q{SELECT biometric.register_network('10.1.1.0/24', 'agency')});
two_persons('on');

subtest 'an old snapshot judges nothing' => sub {
	foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
	{
		my $wire = login('alice');
		$wire->query("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM biometric.permit");
		my $result = $wire->query("SELECT biometric.revoke($quota, 'x')");
		is($result->sqlstate, '25001', "a change in a transaction that is $level");
		like($result->hint // '', qr/READ COMMITTED/, 'is refused with a hint');
		$wire->query('ROLLBACK');
		$wire->query("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM biometric.permit");
		is($wire->query(q{SELECT biometric.quarantine('relay', 'emergency')})->message,
			undef, 'a quarantine is not');
		$wire->query('ROLLBACK');
		$wire->close;
	}
};

subtest 'another quota is judged by the one that is there when its turn comes' => sub {
	my $result = in_turn(
		"SELECT biometric.set_quota($quota, 10, '1 day', 'less')",
		"SELECT biometric.set_quota($quota, 50, '1 day', 'less than 100')");
	my $number = proposal($result);
	ok($number, 'what is more by then is proposed');
	is($node->sql($db, "SELECT quota FROM biometric.permit WHERE id = $quota"), 10, 'not made');
	is(as('alice', "SELECT biometric.approve($number)")->message, undef, 'until it is approved');
	is(entry('set_quota')->{previous_quota}, 10, 'and what was before is on record as it was');
};

subtest 'so is another contract' => sub {
	party('contracted');
	my $result = in_turn(
		q{SELECT biometric.register_party('contracted', 'p', '[2020-01-01,2030-01-01)')},
		q{SELECT biometric.register_party('contracted', 'p', '[2020-01-01,2040-01-01)')});
	my $number = proposal($result);
	ok($number, 'what is longer by then is proposed');
	as('alice', "SELECT biometric.approve($number)");
	like(entry('register_party')->{previous_contract},
		qr/2030/, 'and what was before is on record as it was');
};

subtest 'a network that is given up does not fall to one that is approved meanwhile' => sub {
	as('alice', "SELECT biometric.approve($_)")
	  foreach proposal(as('bob', q{SELECT biometric.register_network('10.2.1.0/24', 'agency')}));
	my $wide = proposal(as('bob', q{SELECT biometric.register_network('10.2.0.0/16', 'relay')}));
	my $result = in_turn("SELECT biometric.approve($wide)",
		q{SELECT biometric.unregister_network('10.2.1.0/24', 'moved')});
	ok(proposal($result), 'it waits, for the wider one has come into force');
};

subtest 'a quarantine waits for no other change' => sub {
	my $one = login('alice');
	is($one->query("BEGIN; SELECT biometric.authorize('relay', '{plate}', 'refuse')")->message,
		undef, 'a change that is not committed yet');
	is(as('bob', q{SELECT biometric.quarantine('relay', 'emergency')})->message,
		undef, 'holds no quarantine up');
	is($one->query('COMMIT')->message, undef, 'and is committed after it');
	my $number = proposal(as('bob', q{SELECT biometric.reinstate('relay', 'over')}));
	is(as('alice', "SELECT biometric.approve($number)")->message, undef, 'which is lifted');
};

# ---------------------------------------------------------------- what is more

subtest 'whatever rules when a permit does not is compared with it' => sub {
	my @cases = (
		[ "revoke($small, 'x')" => 1, 'another one with its own quota' ],
		[ "revoke($large, 'x')" => 0, 'the one with the larger quota never ruled' ],
		[ "revoke($marked, 'x')" => 1, 'one without marks' ],
		[ "set_quota($free, 100, '1 day', 'x')" => 0, 'one with a quota, and marks as before' ],
		[ "revoke($strict, 'x')" => 1, 'one for any table, without TLS' ],
		[ "revoke($now, 'x')" => 0, 'nothing, as long as it is valid' ],
		[ "revoke($then, 'x')" => 1, 'one that opens for any table, one day' ],
		[ "revoke($needless, 'x')" => 1, 'one that seals for every purpose' ],
		[ "revoke($rest, 'x')" => 0, 'nothing' ],
		[ "unregister_network('10.1.1.0/24', 'x')" => 0, 'a wider network of the same party' ]);
	foreach my $case (@cases)
	{
		my ($call, $waits, $why) = @$case;
		my $wire = login('alice');
		my $result = $wire->query("BEGIN; SELECT biometric.$call");
		is($result->message, undef, $call);
		is(defined proposal($result) ? 1 : 0,
			$waits, ($waits ? 'waits' : 'is made at once') . ": $why");
		$wire->query('ROLLBACK');
		$wire->close;
	}
};

# ---------------------------------------------------------------- the setting

subtest 'two persons are asked for from the reload on' => sub {
	two_persons('off');
	my ($wider, $narrower, $undone) = map { login($_) } qw(alice bob alice);
	my $before = $node->sql($db, 'SELECT count(*) FROM biometric.permit');
	is($undone->query('BEGIN; SAVEPOINT s; '
			  . q{SELECT biometric.authorize('relay', '{face}', 'open'); ROLLBACK TO s})->message,
		undef, 'made by one person, and undone');
	is($narrower->query(q{BEGIN; SELECT biometric.quarantine('tied', 'x')})->message,
		undef, 'what narrows, not committed yet');
	is($wider->query(q{BEGIN; SELECT biometric.authorize('relay', '{face}', 'open')})->message,
		undef, 'what widens, not committed yet');
	two_persons('on');
	is($wider->query('COMMIT')->sqlstate, '55000', 'what widens is not committed');
	is($node->sql($db, 'SELECT count(*) FROM biometric.permit'), $before, 'nothing was granted');
	is($narrower->query('COMMIT')->message, undef, 'what narrows is');
	is($undone->query('COMMIT')->message, undef, 'and so is what was undone');
};

subtest 'also by a session that has not read it' => sub {
	two_persons('off');
	my ($busy, $gate) = (login('bob'), $node->connect_from('local', $db, $super));
	$gate->query('SELECT pg_advisory_lock(7)');
	$busy->send_query('SELECT pg_advisory_lock(7); '
		  . q{SELECT biometric.authorize('relay', '{face}', 'open')});
	ok(waits($busy), 'it is in the middle of a query');
	two_persons('on');
	$gate->query('SELECT pg_advisory_unlock(7)');
	ok(proposal($busy->drain), 'and proposes');
};

# ---------------------------------------------------------------- numbers

subtest 'a sequence that was set back gives no number twice' => sub {
	my $last = $node->sql($db, 'SELECT max(id) FROM biometric.permit');
	$node->sql($db, "SELECT setval('biometric.$_', 1)")
	  foreach 'permit_id_seq', 'network_id_seq', 'proposed_id_seq';
	my $number = $node->policy($db, q{SELECT biometric.authorize('relay', '{plate}', 'refuse')});
	is($number, $last + 1, 'a permit has the next one');
	$number = proposal(as('alice', q{SELECT biometric.register_network('10.77.0.0/16', 'relay')}));
	ok($number, 'a proposal has one');
	is(as('bob', "SELECT biometric.approve($number)")->message, undef, 'and a network');
};

ok($node->verifies($db), 'the ledger verifies');
done_testing();
