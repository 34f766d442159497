# Ways round by the paths that rows take to a client, and by who is taken for whom.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use WaysRound;
use Test::More;

use constant { TEXT => 0, BINARY => 1 };

way 'the extended protocol, text and binary', gets => 'opened',
  do => sub {
	my ($wire) = @_;
	return map { $wire->extended('SELECT img FROM vault', results => [$_]) } TEXT, BINARY;
  };
way 'a suspended portal, read in pieces', gets => 'opened',
  do => sub { return $_[0]->extended('SELECT img FROM vault', max_rows => 1); };
way 'a suspended portal after its permit was revoked', as => ['reader'], gets => 'refused 42501', harm => 1,
  do => sub {
	my ($wire, $role, $network) = @_;
	my $node = WaysRound::node();
	my $party = $network eq '127.0.0.2' ? 'agency' : 'archive';
	$wire->query('BEGIN');
	$wire->send_parse('', 'SELECT img FROM vault')->send_bind('', '')->send_execute('', 1)->send_flush;
	my @results = $wire->collect(until => 'sE');
	$node->policy('postgres', "SELECT biometric.quarantine('$party', 'a test')");
	push @results, $wire->send_execute('', 0)->send_sync->drain;
	$node->policy('postgres', "SELECT biometric.reinstate('$party', 'a test')");
	return @results;
  };
way 'INSERT ... RETURNING', before => 'CREATE TABLE w.t (id int, img biometric.face_image)',
  sql => [ q{INSERT INTO w.t VALUES (1, '{picture 7}') RETURNING img},
	'INSERT INTO w.t SELECT id, img FROM vault RETURNING img, img::text' ], gets => 'opened';
way 'UPDATE and DELETE ... RETURNING', as => [qw(owner superuser)], harm => 1,
  sql => [ 'UPDATE vault SET name = name RETURNING img', 'DELETE FROM vault WHERE id = 3 RETURNING img, img::bytea' ],
  gets => 'opened';
way 'MERGE that shows by a trigger', as => [qw(owner superuser)], harm => 1,
  before => [ 'CREATE FUNCTION w.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE \'%\', OLD.img; RETURN NEW; END $$',
	'CREATE TRIGGER t AFTER UPDATE ON vault FOR EACH ROW EXECUTE FUNCTION w.f()' ],
  sql => q{MERGE INTO vault v USING (SELECT 1 AS id) s ON v.id = s.id WHEN MATCHED THEN UPDATE SET name = 'x'}, gets => 'sealed';
way 'a data-modifying CTE', before => 'CREATE TABLE w.t (id int, img biometric.face_image)',
  sql => 'WITH x AS (INSERT INTO w.t SELECT id, img FROM vault RETURNING *) SELECT img FROM x', gets => 'opened';
way 'a cursor, plain', sql => [ 'BEGIN', 'DECLARE c CURSOR FOR SELECT img, img::bytea FROM vault', 'FETCH 2 FROM c', 'COMMIT' ],
  gets => 'opened';
way 'a cursor, SCROLL and backwards',
  sql => [ 'BEGIN', 'DECLARE c SCROLL CURSOR FOR SELECT img FROM vault', 'FETCH ALL FROM c', 'FETCH BACKWARD ALL FROM c', 'COMMIT' ],
  gets => 'opened';
way 'a cursor, WITH HOLD', sql => [ 'DECLARE c CURSOR WITH HOLD FOR SELECT img FROM vault', 'FETCH ALL FROM c' ], gets => 'opened';
way 'a cursor, BINARY', sql => [ 'BEGIN', 'DECLARE c BINARY CURSOR FOR SELECT img FROM vault', 'FETCH ALL FROM c', 'COMMIT' ],
  gets => 'opened';
way 'SQL-level PREPARE and EXECUTE', sql => [ 'PREPARE p AS SELECT img FROM vault', 'EXECUTE p', 'EXECUTE p' ], gets => 'opened';
way 'CALL with an output parameter',
  before => 'CREATE PROCEDURE w.p(OUT f biometric.face_image) LANGUAGE plpgsql AS $$ BEGIN SELECT img INTO f FROM public.vault WHERE id = 1; END $$',
  sql => 'CALL w.p(NULL)', gets => 'opened';
way 'CALL of a procedure that commits',
  before => 'CREATE PROCEDURE w.p(OUT f biometric.face_image) LANGUAGE plpgsql AS $$ BEGIN SELECT img INTO f FROM public.vault WHERE id = 1; COMMIT; END $$',
  sql => 'CALL w.p(NULL)', gets => 'sealed', without => 'its row outlives its transaction';
way 'the function call message', as => ['superuser'], gets => 'sealed',
  do => sub {
	my ($wire) = @_;
	my $node = WaysRound::node();
	my $oid = $node->sql('postgres', q{SELECT 'biometric.face_image_out'::regproc::oid});
	my $bytes = pack('H*', $node->sql('postgres', q{SELECT encode(img::bytea, 'hex') FROM public.vault WHERE id = 1}));
	return map { $wire->function_call($oid, $_, [$bytes]) } TEXT, BINARY;
  };
way 'the function call message on the cast', gets => 'sealed', as => [qw(owner reader superuser)],
  do => sub {
	my ($wire) = @_;
	my $node = WaysRound::node();
	my $oid = $node->sql('postgres', q{SELECT 'biometric.sealed_bytes(biometric.face_image)'::regprocedure::oid});
	my $bytes = pack('H*', $node->sql('postgres', q{SELECT encode(img::bytea, 'hex') FROM public.vault WHERE id = 1}));
	return map { $wire->function_call($oid, $_, [$bytes]) } TEXT, BINARY;
  };
way 'parallel workers', sql => [
	'SET parallel_setup_cost = 0', 'SET parallel_tuple_cost = 0', 'SET min_parallel_table_scan_size = 0',
	'SELECT img FROM vault', 'SELECT img::text FROM vault' ], gets => 'opened';
way 'text made in parallel workers', sql => [
	'SET parallel_setup_cost = 0', 'SET parallel_tuple_cost = 0', 'SET min_parallel_table_scan_size = 0',
	'SELECT max(img::text) FROM vault' ], gets => 'sealed';
way 'a plan that outlives SET ROLE', as => ['superuser'], gets => 'refused 42501',
  sql => [ 'PREPARE p AS SELECT img FROM vault', 'SET ROLE stranger', 'EXECUTE p' ];
way 'a plan that outlives REVOKE', as => ['reader'], harm => 1, gets => 'refused 42501',
  do => sub {
	my ($wire) = @_;
	my @results = map { $wire->query($_) } 'SET plan_cache_mode = force_generic_plan', 'PREPARE p AS SELECT img FROM vault', 'EXECUTE p';
	WaysRound::node()->sql('postgres', 'REVOKE SELECT ON public.vault FROM reader');
	return @results, $wire->query('EXECUTE p');
  };
way 'no purpose', sql => [ 'RESET biometric_audit.purpose', q{SET biometric_audit.purpose = ''}, 'SELECT img FROM vault' ], gets => 'sealed';
way 'a purpose set by set_config inside the statement',
  sql => [ q{SET biometric_audit.purpose = ''},
	q{SELECT img, set_config('biometric_audit.purpose', 'border_control', false) FROM vault} ], gets => 'sealed';
way 'a purpose set by ALTER ROLE', gets => 'refused 42501', sql => q{ALTER ROLE CURRENT_USER SET biometric_audit.purpose = 'border_control'};
way 'a purpose that is not permitted', sql => [ q{SET biometric_audit.purpose = 'curiosity'}, 'SELECT img FROM vault' ],
  gets => 'refused 42501', gets_sealed => 'sealed';
way 'another application name, another client encoding, another DateStyle',
  sql => [ q{SET application_name = 'pg_dump'}, q{SET client_encoding = 'LATIN1'}, q{SET bytea_output = 'escape'}, 'SELECT img FROM vault' ],
  gets => 'opened';
way 'ROLLBACK after having read', sql => [ 'BEGIN', 'SELECT img FROM vault', 'ROLLBACK' ], gets => 'opened', without => 'the entry stays';
way 'savepoints rolled back after having read',
  sql => [ 'BEGIN', 'SAVEPOINT s', 'SELECT img FROM vault', 'ROLLBACK TO s', 'COMMIT' ], gets => 'opened';
way 'a read-only transaction', sql => [ 'BEGIN READ ONLY', 'SELECT img FROM vault', 'COMMIT' ], gets => 'opened';
way 'an error in the last row', sql => 'SELECT img, 1 / (3 - id) FROM vault ORDER BY id', gets => 'refused 22012';
way 'a cancel in the middle', gets => 'refused 57014',
  do => sub {
	my ($wire) = @_;
	$wire->send_query('SELECT img, pg_sleep(id * 20) FROM vault ORDER BY id');
	# a cancel that comes before the query has no effect
	WaysRound::node()->poll_query_until('postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')});
	$wire->cancel;
	return $wire->drain;
  };
way 'search_path in front of our functions',
  before => [ 'CREATE FUNCTION w.sealed_bytes(biometric.face_image) RETURNS bytea LANGUAGE sql AS $$ SELECT NULL::bytea $$',
	'CREATE FUNCTION w.uuid_out(uuid) RETURNS cstring LANGUAGE internal AS \'uuid_out\' STRICT',
	'CREATE TYPE w.face_image AS (b bytea)' ],
  as => ['superuser'], sql => [ 'SET search_path = w, biometric, public, pg_catalog', 'SELECT img::bytea FROM vault', 'SELECT img FROM vault' ],
  gets => 'opened';
way 'a type of the same name in a schema of one\'s own',
  before => 'CREATE TYPE w.face_image AS (b bytea)', sql => q{SELECT ROW('x')::w.face_image}, gets => 'nothing';
way 'a domain over an image', before => 'CREATE DOMAIN w.d AS biometric.face_image',
  sql => [ 'SELECT img::w.d FROM vault', 'SELECT img::w.d::text FROM vault' ], gets => 'opened';
way 'the server as its own client: dblink', as => ['superuser'], gets => 'sealed',
  before => 'CREATE EXTENSION IF NOT EXISTS dblink SCHEMA public',
  do => sub {
	my ($wire) = @_;
	my $node = WaysRound::node();
	my $user = $node->superuser;
	my @results;
	foreach my $host ($node->host, '127.0.0.1')
	{
		my $conninfo = "host=$host port=" . $node->port . " dbname=postgres user=$user options=-cbiometric_audit.purpose=border_control";
		push @results, $wire->query("SELECT * FROM public.dblink('$conninfo', 'SELECT img::text FROM vault') AS t(x text)");
		push @results, $wire->query("SELECT * FROM public.dblink('$conninfo', 'SELECT img::bytea FROM vault') AS t(x bytea)")
		  if $host ne '127.0.0.1';
	}
	$node->sql('postgres', 'DROP EXTENSION dblink');
	return reverse @results;
  };
way 'the server as its own client: postgres_fdw', as => ['superuser'], gets => 'sealed',
  before => 'CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public',
  do => sub {
	my ($wire) = @_;
	my $node = WaysRound::node();
	my $user = $node->superuser;
	my ($host, $port) = ($node->host, $node->port);
	my @results = map { $wire->query($_) } (
		"CREATE SERVER self FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres')",
		"CREATE USER MAPPING FOR CURRENT_USER SERVER self OPTIONS (user '$user', password_required 'false')",
		"CREATE FOREIGN TABLE w.f (id int, img text) SERVER self OPTIONS (schema_name 'public', table_name 'vault')",
		'SELECT img FROM w.f');
	$node->sql('postgres', 'DROP EXTENSION postgres_fdw CASCADE');
	return @results;
  };

try_ways(conf => "log_statement = all\nmax_prepared_transactions = 4\n");
