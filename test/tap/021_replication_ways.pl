# Ways round the decision on replication: a database that takes the name of
# the one that decides, a standby that knows no policy, and a server whose
# policy file is gone. And who is named by entries when a superuser becomes
# somebody else.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use BiometricAudit::Node qw(poll_until);
use BiometricAudit::Wire;

use constant { RELAY => '127.0.0.2', STRANGER => '127.0.0.3', LOOPBACK => '127.0.0.1' };

my $node = BiometricAudit::Node->create(
	'agency',
	allows_streaming => 1,
	conf => "max_worker_processes = 16\nbiometric_audit.replication_database = 'a'\n");
my $super = $node->superuser;
$node->append_conf('pg_hba.conf',
	"host replication all 127.0.0.0/8 trust\nlocal replication all trust");
$node->settle;
my $all = '{face,plate,document,fingerprint,iris}';

# replicate(server, address): the start-up result of a replication connection.
sub replicate
{
	my ($server, $address) = @_;
	my $wire = BiometricAudit::Wire->connect(
		$address eq 'local'
		? (socket => $server->host)
		: (host => LOOPBACK, local => $address),
		port => $server->port,
		user => $super,
		database => 'postgres',
		params => { replication => 'true' },
		fail_ok => 1);
	my $result = $wire->startup;
	$wire->close unless $result->error;
	return $result;
}

# build(name): a standby of the server.
sub build
{
	my ($name, $replication_networks) = @_;
	my $standby = BiometricAudit::Node->new($name);
	$node->backup($name);
	$standby->init_from_backup($node, $name, has_streaming => 1);
	$standby->append_conf('postgresql.conf',
		"biometric_audit.replication_networks = '$replication_networks'");
	$standby->start;
	return $standby;
}

# ---------------------------------------------------------------- before there is a ledger

$node->set('biometric_audit.replication_database', '');
my $early = build('early', '');
my $open = build('open', 'local, ' . RELAY . '/32');
$node->set('biometric_audit.replication_database', 'a');

foreach my $when ('before there is a ledger', 'when the ledger has come with the WAL')
{
	foreach my $from (LOOPBACK, RELAY, 'local')
	{
		my $refused = replicate($early, $from);
		is($refused->sqlstate, '42501', "a standby without networks refuses $from $when");
		like($refused->hint, qr/biometric_audit\.replication_networks/, 'and names the setting');
	}
	is(replicate($open, RELAY)->sqlstate, undef, "one with a network serves it $when");
	is(replicate($open, 'local')->sqlstate, undef, "and its unix sockets $when");
	is(replicate($open, STRANGER)->sqlstate, '42501', "and nobody else $when");
	last if $when =~ /come/;
	$node->sql('postgres', 'CREATE DATABASE a');
	$node->prepare('a');
	$node->register('a', 'relay', RELAY . '/32', $all, 'sealed');
	my $end = $node->sql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	foreach my $standby ($early, $open)
	{
		ok( poll_until(
				sub {
					$standby->sql('postgres', "SELECT pg_last_wal_replay_lsn() >= '$end'") eq 't';
				}),
			'the standby is up to date');
	}
}
$_->stop foreach ($early, $open);

# ---------------------------------------------------------------- another database of that name

is(replicate($node, RELAY)->sqlstate, undef, 'the policy of the named database permits the relay');
is(replicate($node, STRANGER)->sqlstate, '42501', 'and refuses a stranger');

# displaced(where): whether the database that decides can be renamed or dropped from there.
sub displaced
{
	my ($where, $user) = @_;
	foreach my $command ('ALTER DATABASE a RENAME TO a_old', 'DROP DATABASE a',
		'DROP DATABASE a WITH (FORCE)')
	{
		my $mark = $node->mark('a');
		$node->leave('a');
		my $result = $node->connect_from('local', $where, $user)->query($command);
		is($result->sqlstate, '42501', "$command is refused in $where");
		like($result->hint, qr/replication_database/, 'and the hint names the setting');
		my ($entry) = $node->records('a',
			"SELECT event, session_user_name, detail FROM biometric.ledger "
			  . "WHERE seq >= $mark AND event = 'ddl_refused'");
		is_deeply(
			[ @{ $entry // {} }{qw(session_user_name detail)} ],
			[   $user,
				{   command => $command =~ /^DROP/ ? 'DROP DATABASE' : 'ALTER DATABASE RENAME',
					object => 'database a',
					rule => 'replication' } ],
			'an entry in its ledger');
	}
	return;
}
displaced('postgres', $super);
$node->sql('postgres', 'CREATE DATABASE desk');
$node->prepare('desk');
displaced('desk', $super);
{
	my $result = $node->connect_from('local', 'postgres', 'officer')->query('DROP DATABASE a');
	like($result->message, qr/must be owner/, 'who may not drop it anyway hears that');
}
is( $node->connect_from('local', 'desk', $super)
	  ->query(q{ALTER SYSTEM SET biometric_audit.replication_database = 'desk'})->sqlstate,
	'42501', 'a superuser who is no custodian does not change the setting');

# swap([from, to], ...): renames databases while the library is not there to refuse it.
sub swap
{
	$node->unguarded('postgres',
		join '; ', map { "UPDATE pg_database SET datname = '$_->[1]' WHERE datname = '$_->[0]'" } @_);
	return;
}
$node->sql('postgres', 'CREATE DATABASE evil');
$node->prepare('evil');
$node->register('evil', 'anybody', STRANGER . '/32', $all, 'sealed');
swap([ 'a', 'a_old' ], [ 'evil', 'a' ]);
foreach my $when ('at once', 'after a reload', 'when it has published anew', 'after a restart')
{
	foreach my $from (STRANGER, RELAY, 'local')
	{
		my $refused = replicate($node, $from);
		is($refused->sqlstate, '42501', "another database of the name lets $from in no more, $when");
		like($refused->detail, qr/is not the one that has served/, 'and why');
		like($refused->hint, qr/empty string.*reload/, 'with a way to do it properly');
	}
	command_fails_like(
		[   'pg_basebackup', '-h', $node->host, '-p', $node->port, '-U', $super,
			'-D', $node->basedir . '/never', '-c', 'fast' ],
		qr/is not the one that has served/, "nor a backup, $when");
	$node->settle if $when eq 'at once';
	$node->register('a', 'more', '127.0.0.9/32', $all, 'sealed') if $when eq 'after a reload';
	$node->restart if $when eq 'when it has published anew';
}
like($node->connect_from('local', 'postgres', $super)->query('DROP DATABASE a_old')->message // '',
	qr/is refused/, 'under its other name the one that served stays, too');

# Changed, loaded, changed back and loaded again, the setting means what the name means now.
my $policy_file = $node->data_dir . '/biometric_audit.policy';
my $remembered = slurp_file($policy_file);
$node->set('biometric_audit.replication_database', '');
is(replicate($node, RELAY)->sqlstate, '42501', 'with an empty setting nobody replicates');
ok(poll_until(sub { slurp_file($policy_file) ne $remembered }), 'and a worker has taken note of that');
ok( poll_until(
		sub {
			my $wire = $node->connect_from('local', 'postgres', $super);
			my $result = $wire->query('ALTER DATABASE a_old RENAME TO a_older');
			$wire->close;
			return !$result->error;
		}),
	'the database that served may be renamed then');
$node->set('biometric_audit.replication_database', 'a');
ok(poll_until(sub { !replicate($node, STRANGER)->error }), 'a custodian may choose the other one');
is(replicate($node, RELAY)->sqlstate, '42501', 'by whose policy it goes then');

# ---------------------------------------------------------------- a policy file that is gone

$node->set('biometric_audit.replication_database', '');
my $file = $node->data_dir . '/biometric_audit.policy';
foreach my $round (1 .. 3)
{
	$node->stop;
	unlink $file or die "$file: $!";
	$node->start;
	my $refused = replicate($node, LOOPBACK);
	is($refused->sqlstate, '42501', "without its file the server refuses its first client ($round)");
}
{
	# nobody can look at the databases
	$node->stop;
	unlink $file;
	$node->append_conf('postgresql.conf', "max_worker_processes = 0\nbiometric_audit.ledger_timeout = '1s'");
	$node->start;
	my $refused = replicate($node, LOOPBACK);
	is($refused->sqlstate, '42501', 'nor does it while it cannot know');
	like($refused->detail, qr/not known yet/, 'and says so');
	$node->append_conf('postgresql.conf', "max_worker_processes = 16\nbiometric_audit.ledger_timeout = '10s'");
	$node->restart;
}
foreach my $round (1 .. 2)
{
	$node->stop;
	append_to_file($file, 'more') if -e $file;
	$node->start;
	is(replicate($node, LOOPBACK)->sqlstate, '42501', "nor with a damaged one ($round)");
}
{
	my $plain = BiometricAudit::Node->create('plain', allows_streaming => 1,
		conf => "biometric_audit.replication_database = ''");
	foreach my $round (1 .. 3)
	{
		is(replicate($plain, 'local')->sqlstate,
			undef, "without a ledger in any database replication passes ($round)");
		$plain->restart;
	}
	$plain->stop;
}

# ---------------------------------------------------------------- who it was

{
	$node->sql('desk', 'CREATE ROLE alice LOGIN SUPERUSER; CREATE ROLE scape LOGIN');
	$node->sql('desk', 'CREATE TABLE t (id int PRIMARY KEY, img biometric.face_image);'
		  . 'GRANT ALL ON t TO scape');
	my $insert = 'INSERT INTO t SELECT %d, numbered_jpeg(%d, 3000)::biometric.face_image';
	my $wire = $node->connect_from('local', 'desk', 'alice');
	my $who = sub {
		my ($n, $name) = @_;
		my $mark = $node->mark('desk');
		my $result = $wire->query(sprintf $insert, $n, $n);
		is($result->message, undef, "a change $name");
		my ($entry) = $node->records('desk', <<"END");
SELECT session_user_name, (biometric.decode_entry(biometric.leaf(statement))).current_user_name
FROM biometric.ledger WHERE seq >= $mark AND event = 'stored'
END
		return [ @{ $entry // {} }{qw(session_user_name current_user_name)} ];
	};
	is_deeply($who->(1, 'as oneself'), [ 'alice', undef ], 'names the login');
	$wire->query('SET SESSION AUTHORIZATION scape');
	is_deeply($who->(2, 'as an assumed user'), [ 'alice', 'scape' ], 'names the login, and the user');
	$wire->query('RESET SESSION AUTHORIZATION; SET ROLE scape');
	is_deeply($who->(3, 'in a role'), [ 'alice', 'scape' ], 'and so does SET ROLE');
	$wire->query('RESET ROLE');
	$node->sql('desk', 'ALTER ROLE alice RENAME TO mallory');
	is_deeply($who->(4, 'after the role was renamed'),
		[ 'alice', undef ], 'names what was authenticated');

	my $mark = $node->mark('desk');
	$wire->query('SET SESSION AUTHORIZATION scape');
	is($wire->query('DROP TABLE biometric.entry_00')->sqlstate, '42501', 'a command that is refused');
	my ($entry) = $node->records('desk', <<"END");
SELECT session_user_name, (biometric.decode_entry(biometric.leaf(seq))).current_user_name
FROM biometric.ledger WHERE seq >= $mark AND event = 'ddl_refused'
END
	is_deeply([ @{ $entry // {} }{qw(session_user_name current_user_name)} ],
		[ 'alice', 'scape' ], 'has an entry that names both, too');
}

# ---------------------------------------------------------------- what the status says

foreach my $round (1 .. 3)
{
	$node->policy('desk', "SELECT biometric.retire_ledger('round $round')");
	is($node->sql('desk', 'SELECT state FROM biometric.ledger_status()'),
		'retired', "a ledger that was retired says so at once ($round)");
	$node->policy('desk', "SELECT biometric.fork_ledger('round $round')");
	is($node->sql('desk', 'SELECT state FROM biometric.ledger_status()'),
		'ready', "and one that was forked that it is ready ($round)");
}

ok($node->verifies($_), "the ledger of $_ verifies") foreach ('a', 'desk', 'a_older');
$node->stop;
done_testing();
