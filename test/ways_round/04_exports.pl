# Ways round by exports: what leaves otherwise than row by row is sealed, and on record.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use WaysRound;
use PostgreSQL::Test::Utils;
use Test::More;

# Runs a program as client; what it prints and says is what the attacker gets.
sub program
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	local $ENV{PGPORT} = WaysRound::node()->port;
	local $ENV{PGHOST} = WaysRound::node()->host;
	IPC::Run::run(\@command, '>', \$out, '2>', \$err);
	return $out, $err;
}

way 'COPY TO STDOUT', sql => 'COPY vault TO STDOUT', gets => 'sealed';
way 'COPY TO STDOUT in binary', sql => 'COPY vault TO STDOUT (FORMAT binary)', gets => 'sealed';
way 'COPY of a query', sql => [ 'COPY (SELECT img FROM vault) TO STDOUT', 'COPY (SELECT img::bytea FROM vault) TO STDOUT',
	'COPY (SELECT img::bytea FROM vault) TO STDOUT (FORMAT csv)' ], gets => 'sealed';
way 'COPY to a file of the server', as => ['superuser'], sql => q{COPY vault TO '{dir}/vault.copy'}, gets => 'sealed';
way 'COPY to a program of the server', as => ['superuser'],
  sql => q{COPY (SELECT img::bytea FROM vault) TO PROGRAM 'cat > {dir}/vault.program'}, gets => 'sealed';
way 'COPY FROM PROGRAM psql', as => ['superuser'],
  sql => [ 'CREATE TABLE w.t (t text)',
	q{COPY w.t FROM PROGRAM 'PGOPTIONS=-cbiometric_audit.purpose=border_control psql -XAt -h {host} -p {port} -d postgres -c "SELECT img FROM vault"'},
	'SELECT * FROM w.t' ], gets => 'sealed';
way 'lo_export', as => ['superuser'],
  sql => [ q{SELECT set_config('w.lo', lo_from_bytea(0, img::bytea)::text, false) FROM vault WHERE id = 1},
	q{SELECT lo_export(current_setting('w.lo')::oid, '{dir}/lo')} ], gets => 'sealed';
way 'pg_read_binary_file on the table', as => ['superuser'], gets => 'sealed',
  sql => q{SELECT pg_read_binary_file(pg_relation_filepath(reltoastrelid)) FROM pg_class WHERE oid = 'vault'::regclass},
  before => 'CHECKPOINT';
way 'pg_dump', as => ['superuser'], gets => 'sealed',
  do => sub { return program('pg_dump', 'postgres'); };
way 'pg_dump --inserts, from a client with a purpose', as => ['superuser'], gets => 'sealed',
  do => sub {
	local $ENV{PGOPTIONS} = '-c biometric_audit.purpose=border_control';
	return program('pg_dump', '--inserts', '-t', 'vault', 'postgres');
  };
way 'psql with FETCH_COUNT, by the server\'s socket', as => ['superuser'], gets => 'sealed',
  do => sub { return program('psql', '-XAt', '-v', 'FETCH_COUNT=1', '-d', 'postgres', '-c', 'SELECT img FROM vault'); };
way 'pageinspect', as => ['superuser'], before => 'CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA public', gets => 'sealed',
  do => sub {
	my ($wire) = @_;
	my $node = WaysRound::node();
	my $toast = $node->sql('postgres', q{SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'public.vault'::regclass});
	my $result = $wire->query("SELECT t_data FROM public.heap_page_items(public.get_raw_page('$toast', 0))");
	$node->sql('postgres', 'DROP EXTENSION pageinspect');
	return $result;
  };
way 'logical decoding by SQL', as => ['superuser'], harm => 1, gets => 'sealed',
  before => q{SELECT pg_create_logical_replication_slot('peek', 'test_decoding')},
  sql => [ 'UPDATE vault SET img = (SELECT v.img FROM vault v WHERE v.id = 2) WHERE id = 1', q{INSERT INTO vault VALUES (4, 'x', '{picture 4}')},
	q{SELECT data FROM pg_logical_slot_get_changes('peek', NULL, NULL)}, q{SELECT pg_drop_replication_slot('peek')} ];
way 'logical decoding in binary', as => ['superuser'], harm => 1, gets => 'sealed',
  before => [ 'CREATE PUBLICATION all_of_it FOR ALL TABLES', q{SELECT pg_create_logical_replication_slot('peek', 'pgoutput')} ],
  sql => [ q{INSERT INTO vault VALUES (5, 'x', '{picture 5}')},
	q{SELECT data FROM pg_logical_slot_get_binary_changes('peek', NULL, NULL, 'proto_version', '1', 'publication_names', 'all_of_it', 'binary', 'true')},
	q{SELECT pg_drop_replication_slot('peek')}, 'DROP PUBLICATION all_of_it' ];
way 'pg_stat_activity of another session', as => ['superuser'], harm => 1, gets => 'nothing',
  do => sub {
	my ($wire) = @_;
	my $other = WaysRound::session('owner', '127.0.0.2');
	$other->query("BEGIN; INSERT INTO vault VALUES (6, 'x', '\\x" . unpack('H*', WaysRound::picture(6)) . "')");
	my $result = $wire->query(q{SELECT query FROM pg_stat_activity});
	$other->query('ROLLBACK');
	return $result;
  };
way 'a bound parameter in the server\'s log', as => [qw(owner superuser)], harm => 1, gets => 'refused 23505',
  do => sub {
	my ($wire) = @_;
	return $wire->extended('INSERT INTO vault VALUES (1, $1, $2)', params => [ 'x', '\x' . unpack('H*', WaysRound::picture(1)) ]);
  };
way 'a literal of a failing statement in the server\'s log', as => [qw(owner superuser)], harm => 1, gets => 'refused 23505',
  sql => q{INSERT INTO vault VALUES (1, 'x', '{picture 1}')};
way 'a syntax error behind a literal', gets => 'refused 42601', sql => q{SELECT '{picture 1}' FRM vault};
way 'a broken line of COPY', as => [qw(owner superuser)], harm => 1, gets => 'refused 22P02',
  do => sub {
	my ($wire) = @_;
	$wire->send_query('COPY vault FROM STDIN');
	$wire->collect(until => 'GZ');
	$wire->send_message('d', "x\tx\t\\\\x" . unpack('H*', WaysRound::picture(1)) . "\n");
	return $wire->send_message('c')->drain;
  };
way 'sorting that spills to temporary files',
  sql => [ q{SET work_mem = '64kB'}, 'SELECT a.img FROM vault a, generate_series(1, 40) ORDER BY a.name, random() LIMIT 3' ], gets => 'opened',
  without => 'the files hold ciphertext';

try_ways(allows_streaming => 'logical', conf => <<'END');
log_statement = all
log_min_duration_statement = 0
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_error_verbosity = verbose
END
