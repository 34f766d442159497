# Ways round by commands and catalogs: what would undo the protection is refused, superuser included.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use WaysRound;

my @may = (as => [qw(owner superuser)]);
my @super = (as => ['superuser']);
my $refused = 'refused 42501';

way 'session_replication_role = replica', @super, harm => 1, gets => 'opened', without => 'our triggers are enabled always',
  sql => [ 'SET session_replication_role = replica', q{INSERT INTO vault VALUES (9, 'x', '{picture 9}') RETURNING img} ];
way 'DISABLE TRIGGER ALL', @super, sql => 'ALTER TABLE vault DISABLE TRIGGER ALL', gets => $refused;
way 'DISABLE TRIGGER of one by name', @may, gets => $refused,
  do => sub {
	my ($wire) = @_;
	my $name = WaysRound::node()->sql('postgres',
		q{SELECT tgname FROM pg_trigger WHERE tgrelid = 'public.vault'::regclass AND tgname LIKE '%biometric_bind%'});
	return map { $wire->query(qq{ALTER TABLE vault $_ TRIGGER "$name"}) } 'DISABLE', 'ENABLE REPLICA', 'ENABLE';
  };
way 'DROP TRIGGER', @may, gets => $refused,
  do => sub {
	my ($wire) = @_;
	my $name = WaysRound::node()->sql('postgres',
		q{SELECT tgname FROM pg_trigger WHERE tgrelid = 'public.vault'::regclass AND tgname LIKE '%biometric_record%'});
	return $wire->query(qq{DROP TRIGGER "$name" ON vault});
  };
way 'ENABLE TRIGGER USER', @may, sql => 'ALTER TABLE vault DISABLE TRIGGER USER', gets => 'nothing', without => 'ours are not the user\'s';
way 'UPDATE of pg_trigger', @super, sql => q{UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'public.vault'::regclass}, gets => $refused;
way 'UPDATE of pg_type: another output function', @super, gets => $refused,
  sql => q{UPDATE pg_type SET typoutput = 'byteaout'::regproc WHERE typname = 'face_image'};
way 'UPDATE of pg_type: bytea\'s output', @super, sql => q{UPDATE pg_type SET typoutput = 'textout'::regproc WHERE typname = 'bytea'}, gets => $refused;
way 'INSERT into pg_cast', @super, gets => $refused,
  sql => q{INSERT INTO pg_cast SELECT 99999, 'biometric.face_image'::regtype, 'bytea'::regtype, 0, 'e', 'b'};
way 'UPDATE of pg_attribute: the column\'s type', @super, gets => $refused,
  sql => q{UPDATE pg_attribute SET atttypid = 'bytea'::regtype WHERE attrelid = 'public.vault'::regclass AND attname = 'img'};
way 'UPDATE of pg_proc', @super, gets => $refused, sql => q{UPDATE pg_proc SET prosrc = 'byteaout' WHERE proname = 'face_image_out'};
way 'DELETE from pg_depend', @super, gets => $refused, sql => q{DELETE FROM pg_depend WHERE deptype = 'e'};
way 'allow_system_table_mods', @super, gets => $refused,
  sql => [ 'SET allow_system_table_mods = on', 'ALTER TABLE pg_catalog.pg_trigger ADD COLUMN x int' ];
way 'CREATE OR REPLACE of our function', @super, gets => $refused,
  sql => q{CREATE OR REPLACE FUNCTION biometric.sealed_bytes(biometric.face_image) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'};
way 'ALTER FUNCTION of ours', @super, gets => $refused,
  sql => [ 'ALTER FUNCTION biometric.sealed_bytes(biometric.face_image) RENAME TO x', 'ALTER FUNCTION biometric.face_image_out(biometric.face_image) OWNER TO reader' ];
way 'DROP CAST', @super, sql => 'DROP CAST (biometric.face_image AS bytea)', gets => $refused;
way 'DROP TYPE CASCADE', @super, sql => 'DROP TYPE biometric.face_image CASCADE', gets => $refused;
way 'DROP SCHEMA CASCADE', @super, sql => 'DROP SCHEMA biometric CASCADE', gets => $refused;
way 'DROP EXTENSION CASCADE', @super, sql => 'DROP EXTENSION biometric_audit CASCADE', gets => $refused, without => 'while there are entries; retire_ledger() ends a ledger';
way 'ALTER EXTENSION DROP and ADD', @super, gets => $refused,
  sql => [ 'ALTER EXTENSION biometric_audit DROP FUNCTION biometric.sealed_bytes(biometric.face_image)', 'ALTER EXTENSION biometric_audit ADD TABLE vault' ];
way 'our symbols in a function of one\'s own', @super, gets => $refused,
  sql => q{CREATE FUNCTION w.f(biometric.face_image) RETURNS cstring LANGUAGE c STRICT AS '$libdir/biometric_audit', 'image_out'};
way 'a type of one\'s own with our functions', @super, gets => $refused,
  sql => [ 'CREATE TYPE w.img', 'CREATE FUNCTION w.i(cstring) RETURNS w.img LANGUAGE c STRICT AS \'$libdir/biometric_audit\', \'image_in\'' ];
way 'INSERT into the ledger', @super, gets => $refused,
  sql => q{INSERT INTO biometric.entry_00 SELECT log_id, seq + 1000000, leaf_hint, entry FROM biometric.entry_00 LIMIT 1};
way 'UPDATE and DELETE of the ledger', @super, gets => $refused, sql => [ 'UPDATE biometric.entry_00 SET seq = seq', 'DELETE FROM biometric.entry_00' ];
way 'TRUNCATE of the ledger', @super, gets => $refused, sql => 'TRUNCATE biometric.entry_00';
way 'COPY into the policy', @super, gets => $refused, sql => q{INSERT INTO biometric.permit (party, kinds, delivery, granted_by) VALUES ('archive', '{face}', 'open', 'me')};
way 'a child of a ledger table', @super, gets => $refused, sql => 'CREATE TABLE w.child () INHERITS (biometric.entry_00)';
way 'a rule, a trigger or a policy on our tables', @super, gets => $refused,
  sql => [ 'CREATE RULE r AS ON SELECT TO biometric.party DO INSTEAD SELECT 1',
	'ALTER TABLE biometric.party ENABLE ROW LEVEL SECURITY',
	'CREATE TRIGGER t BEFORE INSERT ON biometric.permit FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()' ];
way 'a view of ours replaced', @super, gets => $refused, sql => q{CREATE OR REPLACE VIEW biometric.refusal AS SELECT 1 AS seq};
way 'a custodian\'s function called by others', gets => $refused, sql => q{SELECT biometric.authorize('archive', '{face}', 'open')};
way 'ALTER SYSTEM of our settings', @super, gets => $refused, sql => q{ALTER SYSTEM SET biometric_audit.enforcement = 'observe'};
way 'ALTER SYSTEM of shared_preload_libraries', @super, gets => $refused, sql => q{ALTER SYSTEM SET shared_preload_libraries = ''};
way 'ALTER DATABASE and ALTER ROLE of our settings', @super, gets => $refused,
  sql => [ q{ALTER DATABASE postgres SET biometric_audit.purpose = 'border_control'}, q{ALTER ROLE reader SET biometric_audit.purpose = 'border_control'} ];
way 'SET of our settings in the session', @super, gets => 'refused 55P02', sql => q{SET biometric_audit.enforcement = 'observe'};
way 'LOCK of a ledger table', @super, gets => $refused, sql => [ 'BEGIN', 'LOCK TABLE biometric.entry_00 IN ACCESS EXCLUSIVE MODE' ];
way 'a table made the partition of another, to lose its triggers', @may, harm => 1,
  sql => [ 'CREATE TABLE w.root (id int NOT NULL, name text, img biometric.face_image) PARTITION BY LIST (id)',
	'ALTER TABLE w.root ATTACH PARTITION vault DEFAULT', q{INSERT INTO w.root VALUES (9, 'x', '{picture 9}') RETURNING img} ], gets => 'opened';

try_ways(conf => "log_statement = all\n");
