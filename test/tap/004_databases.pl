# Databases and extensions come and go, are copied and renamed, and each has
# its own ledger, which a restart does not change.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node    qw(is_sealed opened poll_until);
use BiometricAudit::Picture qw(numbered_jpeg fingerprint);

use constant OFFICE => '127.0.0.2';

my $node = BiometricAudit::Node->create('agency', conf => "biometric_audit.max_databases = 6\n");
my $super = $node->superuser;

# A database that serves the office; table t holds some pictures.
sub furnish
{
	my ($db) = @_;
	$node->prepare($db);
	$node->register($db, 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
	fill($db);
	return;
}

sub fill
{
	my ($db) = @_;
	$node->sql(
		$db, q{CREATE TABLE t (id int, img biometric.face_image); GRANT SELECT ON t TO officer;
		INSERT INTO t
		SELECT n, numbered_jpeg(n, 500)::biometric.face_image FROM generate_series(1, 40) AS n});
	return;
}

sub officer { return $node->connect_from(OFFICE, $_[0], 'officer', 'border_control'); }

# Whether a session reads all 40 pictures as they were enrolled.
sub served
{
	my ($wire) = @_;
	my $result = $wire->query('SELECT id, img FROM t');
	return $result->sqlstate if $result->error;
	my @right =
	  grep { !is_sealed($_->[1]) && opened($_->[1]) eq numbered_jpeg($_->[0], 500) } $result->rows;
	return scalar @right;
}

# The state of a ledger that must not change by itself: identity, size and root.
sub edge
{
	my ($db) = @_;
	return $node->sql($db, <<'END');
SELECT concat_ws(' ', (SELECT log_id FROM biometric.log ORDER BY ordinal DESC LIMIT 1), size,
	encode(root, 'hex'))
FROM biometric.verify_ledger()
END
}

$node->sql('postgres', "CREATE DATABASE $_") foreach qw(east west);
furnish($_) foreach qw(east west);

subtest 'two databases of one server have a ledger each' => sub {
	my ($east, $west) = (officer('east'), officer('west'));
	my ($east_mark, $west_mark) = map { $node->mark($_) } qw(east west);
	is(served($east), 40, 'east serves') for 1 .. 2;
	is(served($west), 40, 'west serves');
	is($node->sql('east', "SELECT count(*) FROM biometric.disclosure WHERE seq >= $east_mark"),
		80, 'east has its entries');
	is($node->sql('west', "SELECT count(*) FROM biometric.disclosure WHERE seq >= $west_mark"),
		40, 'and west has its own');
	$node->policy('west', q{SELECT biometric.quarantine('agency', 'west only')});
	is(served($west), '42501', 'a quarantine in west');
	is(served($east), 40, 'is none in east');
	$node->policy('west', q{SELECT biometric.reinstate('agency', 'over')});
	ok($node->verifies($_), "$_ verifies") foreach qw(east west);
	isnt((split / /, edge('east'))[0], (split / /, edge('west'))[0], 'they are two logs');
};

subtest 'a restart and a crash keep the root' => sub {
	foreach my $how (qw(fast immediate crash))
	{
		my @before = map { edge($_) } qw(east west);
		$how eq 'crash' ? $node->crash : $node->stop($how);
		$node->start;
		is_deeply([ map { edge($_) } qw(east west) ], \@before, "$how: identity, size and root");
		is(served(officer($_)), 40, "$how: $_ serves") foreach qw(east west);
		ok($node->verifies($_), "$how: $_ verifies")   foreach qw(east west);
	}
};

subtest 'the roots of earlier sizes do not change as the ledger grows' => sub {
	my $size = $node->mark('east');
	my %root =
	  map { $_ => $node->sql('east', "SELECT biometric.root($_)") } (0, 1, 2, 31, 32, 33, $size);
	is(served(officer('east')), 40, 'the ledger grows');
	is($node->sql('east', "SELECT biometric.root($_)"), $root{$_}, "root of $_")
	  foreach sort { $a <=> $b } keys %root;
	is( $root{1},
		$node->sql('east', q{SELECT sha256('\x00'::bytea || biometric.leaf(0))}),
		'the root of one entry is the hash of its leaf');
};

subtest 'DROP and CREATE EXTENSION start a new ledger, also for sessions that stay' => sub {
	my $wire = officer('east');
	is(served($wire), 40, 'served before');
	my $old = edge('east');
	$node->policy('east', q{SELECT biometric.retire_ledger('a new one is to be made')});
	$node->drop_extension('east');
	is($wire->query('SELECT id FROM t')->row_count,
		40, 'without the extension other columns remain');
	$node->sql('east', 'DROP TABLE t; DROP FUNCTION numbered_jpeg');
	furnish('east');
	is(served($wire), 40, 'served again in the old session');
	my ($first) = $node->records('east', 'SELECT min(seq) AS seq FROM biometric.ledger');
	is($first->{seq}, 0, 'numbers start anew');
	isnt((split / /, edge('east'))[0], (split / /, $old)[0], 'under another identity');
	ok($node->verifies('east'), 'it verifies');
	is(served(officer('west')), 40, 'the other database is not affected');
};

subtest 'the transaction that creates the extension is told to commit first' => sub {
	$node->sql('postgres', 'CREATE DATABASE fresh');
	my $wire = $node->connect_from('local', 'fresh', $super);
	$wire->query('BEGIN');
	is( $wire->query('CREATE EXTENSION biometric_audit; GRANT biometric_custodian TO ' . $super)
		  ->message,
		undef, 'created');
	$wire->query('SAVEPOINT s');
	my $result = $wire->query(q{SELECT biometric.register_party('p', 'p', tstzrange(NULL, NULL))});
	is($result->sqlstate, '55000', 'a change of policy is refused');
	like($result->hint, qr/commit/i, 'with a hint: ' . $result->hint);
	$wire->query('ROLLBACK TO s');
	my $picture = unpack('H*', numbered_jpeg(1, 500));
	is( $wire->query(
			"CREATE TABLE t (img biometric.face_image); INSERT INTO t VALUES ('\\x$picture')")
		  ->message,
		undef,
		'pictures can be stored');
	$wire->query('SAVEPOINT s');
	$result = $wire->query('SELECT img FROM t');
	like($result->sqlstate // '', qr/^(55000|42501)$/, 'but not released');
	is($result->row_count, 0, 'nothing is');
	like(($result->hint // '') . ($result->detail // ''), qr/commit/i, 'with a hint');
	$wire->query('ROLLBACK');
	is( $wire->query(q{SELECT count(*) FROM pg_extension WHERE extname = 'biometric_audit'})->value,
		0, 'rolled back, it is not there');
	$wire->query("REVOKE biometric_custodian FROM $super");
	$wire->close;
	furnish('fresh');
	is(served(officer('fresh')), 40, 'created again, it serves');
};

subtest 'a transaction that created the extension may commit, and then all works' => sub {
	$node->sql('postgres', 'CREATE DATABASE migration');
	$node->sql('migration', <<'END');
BEGIN;
CREATE EXTENSION biometric_audit;
CREATE TABLE first (img biometric.face_image);
COMMIT;
DROP TABLE first;
END
	$node->drop_extension('migration');
	furnish('migration');
	is(served(officer('migration')), 40, 'it serves');
	ok($node->verifies('migration'), 'it verifies');
};

subtest 'DROP DATABASE works although a worker is connected' => sub {
	foreach my $db (qw(fresh migration))
	{
		my $mark = $node->worker($db);
		$node->leave($db);
		is($node->admin('postgres')->query("DROP DATABASE $db")->message, undef, "$db is dropped");
	}
	is(served(officer('west')), 40, 'others serve on');
};

subtest 'databases can come and go more often than there are slots' => sub {
	foreach my $n (1 .. 8)
	{
		$node->sql('postgres', "CREATE DATABASE passing_$n");
		furnish("passing_$n");
		is(served(officer("passing_$n")), 40, "number $n serves");
		$node->leave("passing_$n");
		is($node->admin('postgres')->query("DROP DATABASE passing_$n")->message, undef, 'and goes');
	}
};

subtest 'a DROP DATABASE that fails leaves the ledger at work' => sub {
	my $wire = officer('west');
	my $result = $node->admin('postgres')->query('DROP DATABASE west');
	is($result->sqlstate, '55006', 'it is in use');
	is(served($wire), 40, 'and serves on');
	my $worker = $node->worker('west');
	$result = $node->connect_from('local', 'postgres', 'officer')->query('DROP DATABASE west');
	is($result->sqlstate, '42501', 'somebody else may not drop it');
	is($node->worker('west'), $worker, 'nor stop its worker');
	$result = $node->connect_from('local', 'postgres', 'officer')
	  ->query('CREATE DATABASE mine TEMPLATE west');
	is($result->sqlstate, '42501', 'nor copy it');
	is($node->worker('west'), $worker, 'nor stop its worker by that');
};

subtest 'a copy of a database without entries works, under its own identity' => sub {
	$node->sql('postgres', 'CREATE DATABASE blank');
	$node->sql('blank', 'CREATE EXTENSION biometric_audit');
	my $blank = edge('blank');
	$node->leave('blank');
	is($node->admin('postgres')->query('CREATE DATABASE copy TEMPLATE blank')->message,
		undef, 'copied');
	$node->sql('copy', BiometricAudit::Picture::numbered_jpeg_sql());
	$node->register('copy', 'agency', OFFICE . '/32', '{face}', 'open', '{border_control}');
	fill('copy');
	is(served(officer('copy')), 40, 'the copy serves');
	ok($node->verifies('copy'), 'the copy verifies');
	isnt((split / /, edge('copy'))[0], (split / /, $blank)[0], 'under an identity of its own');
	ok($node->verifies('blank'), 'the original verifies');
	$node->leave($_) foreach qw(copy blank);
	$node->sql('postgres', 'DROP DATABASE copy');
	$node->sql('postgres', 'DROP DATABASE blank');
};

subtest 'a copy of a database with entries releases nothing until it is forked' => sub {
	my $before = edge('west');
	my $size = $node->mark('west');
	$node->leave('west');
	ok( poll_until(
			sub { !$node->admin('postgres')->query('CREATE DATABASE copy TEMPLATE west')->error }),
		'copied');
	my $result = officer('copy')->query('SELECT img FROM t');
	like($result->sqlstate // 'none', qr/^(55000|42501)$/, 'the copy refuses');
	is($result->row_count, 0, 'with nothing');
	like(($result->detail // '') . ($result->hint // ''), qr/fork_ledger/, 'and says what to do');
	$result = $node->connect_from('local', 'copy', 'custodian')
	  ->query(q{SELECT biometric.quarantine('agency', 'x')});
	is($result->sqlstate, '55000', 'its policy cannot be changed either');
	is(served(officer('west')), 40, 'the original serves');
	is((split / /, edge('west'))[0], (split / /, $before)[0], 'under its old identity');

	is( $node->connect_from('local', 'copy', 'officer')
		  ->query(q{SELECT biometric.fork_ledger('x')})->sqlstate,
		'42501',
		'not everybody may fork it');
	$result = $node->connect_from('local', 'copy', 'custodian')
	  ->query(q{SELECT biometric.fork_ledger('a copy for tests')});
	is($result->message, undef, 'forked');
	ok(poll_until(sub { served(officer('copy')) eq 40 }), 'it serves');
	ok($node->verifies('copy'), 'it verifies');
	isnt((split / /, edge('copy'))[0], (split / /, $before)[0], 'under an identity of its own');
	is($node->sql('copy', q{SELECT count(*) FROM biometric.ledger WHERE event = 'forked'}),
		1, 'the fork is an entry');
	ok($node->verifies('west'), 'the original verifies');
};

subtest 'a renamed database keeps its ledger' => sub {
	my $before = edge('west');
	$node->leave('west');
	ok( poll_until(
			sub { !$node->admin('postgres')->query('ALTER DATABASE west RENAME TO north')->error }),
		'renamed');
	is(edge('north'), $before, 'identity, size and root');
	is(served(officer('north')), 40, 'it serves');
	ok($node->verifies('north'), 'it verifies');
};

$node->stop;

subtest 'without shared_preload_libraries CREATE EXTENSION says what to do' => sub {
	my $plain = BiometricAudit::Node->create('plain', preload => 0);
	my $result = $plain->admin('postgres')->query('CREATE EXTENSION biometric_audit');
	is($result->sqlstate, '55000', 'an error: ' . ($result->message // 'none'));
	like($result->hint, qr/shared_preload_libraries/, 'and a hint: ' . ($result->hint // 'none'));
	is( $plain->sql(
			'postgres', q{SELECT count(*) FROM pg_extension WHERE extname = 'biometric_audit'}),
		0,
		'nothing is created');
	is($plain->admin('postgres')->query(q{LOAD 'biometric_audit'})->sqlstate,
		'55000', 'nor can it be loaded later');
	$plain->stop;
};

subtest 'with the library taken away what is left is ciphertext' => sub {
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
	$node->start;
	foreach my $sql (
		'SELECT img FROM t',
		'SELECT img::bytea FROM t',
		'SELECT img::text FROM t',
		'COPY t TO STDOUT')
	{
		my $result = $node->connect_from(OFFICE, 'north', $super, 'border_control')->query($sql);
		my @open = grep { defined && /ffd8ffe0/ } $result->column(0), $result->copied;
		is(scalar @open, 0, "$sql: " . ($result->message // 'sealed'));
	}
	$node->stop;
};

done_testing();
