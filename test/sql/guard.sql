-- Commands that would undo the protection are refused, and each refusal is in the ledger.

\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(39);

CREATE TABLE lane (id int PRIMARY KEY, img biometric.face_image);
CREATE TYPE pair AS (n int, img biometric.iris_image);

CREATE FUNCTION refused(statement text) RETURNS SETOF text LANGUAGE sql AS
	$$SELECT throws_ok(statement, '42501', NULL, 'refused: ' || statement)$$;

-- What is refused is an entry, however the statement around it ends
SELECT count(*) AS before FROM biometric.ledger WHERE event = 'ddl_refused' \gset
SELECT refused('DROP TABLE biometric.entry_00');
SELECT is((SELECT count(*) FROM biometric.ledger WHERE event = 'ddl_refused'), :before + 1::bigint,
	'a refusal is one entry');
SELECT is((SELECT detail FROM biometric.ledger WHERE event = 'ddl_refused' ORDER BY seq DESC LIMIT 1),
	'{"command": "DROP TABLE", "object": "table biometric.entry_00", "rule": "member"}'::jsonb,
	'that names command, object and rule');

-- The extension's objects
SELECT refused(s) FROM unnest(ARRAY[
	'CREATE FUNCTION pg_catalog.upper(tstzrange) RETURNS timestamptz LANGUAGE sql AS $a$SELECT now()$a$',
	'CREATE OR REPLACE FUNCTION pg_catalog.jsonb_strip_nulls(jsonb) RETURNS jsonb LANGUAGE sql AS $a$SELECT $1$a$',
	'ALTER FUNCTION pg_catalog.now() RENAME TO later',
	'CREATE OPERATOR pg_catalog.=== (FUNCTION = pg_catalog.int4eq, LEFTARG = int4, RIGHTARG = int4)',
	'DROP VIEW biometric.disclosure',
	'DROP FUNCTION biometric.verify_ledger()',
	'DROP TYPE biometric.iris_image',
	'DROP EXTENSION biometric_audit',
	'DROP SCHEMA biometric CASCADE',
	'ALTER TABLE biometric.permit DISABLE TRIGGER ALL',
	'ALTER TABLE biometric.permit ADD COLUMN more text',
	'ALTER TABLE biometric.permit DROP CONSTRAINT permit_pkey CASCADE',
	'ALTER FUNCTION biometric.verify_ledger() OWNER TO biometric_auditor',
	'ALTER TYPE biometric.iris_image RENAME TO other',
	'ALTER EXTENSION biometric_audit DROP TABLE biometric.entry_00',
	'CREATE RULE nothing AS ON INSERT TO biometric.entry_00 DO INSTEAD NOTHING',
	'CREATE TABLE heir () INHERITS (biometric.entry_00)',
	'CREATE INDEX ON biometric.entry_00 (seq)']) AS s;
SELECT lives_ok('CREATE TABLE likeness (LIKE biometric.entry_00 INCLUDING ALL)',
	'a table may be made like one of them');

-- Images stay images
SELECT refused(s) FROM unnest(ARRAY[
	'ALTER TABLE lane ALTER COLUMN img TYPE bytea',
	'ALTER TABLE lane ALTER COLUMN img TYPE biometric.plate_image USING NULL',
	'ALTER TYPE pair ALTER ATTRIBUTE img TYPE text',
	'CREATE CAST (text AS biometric.face_image) WITHOUT FUNCTION',
	'CREATE CAST (biometric.face_image AS text) WITHOUT FUNCTION',
	$$CREATE FUNCTION leaf(bigint) RETURNS bytea LANGUAGE c AS 'biometric_audit', 'ledger_leaf'$$]) AS s;
CREATE DOMAIN portrait AS biometric.face_image;
SELECT lives_ok('ALTER TABLE lane ALTER COLUMN img TYPE portrait', 'a domain over the same images is fine');
SELECT lives_ok('ALTER TABLE lane DROP COLUMN img', 'and an image column can be dropped');

-- Catalogs
SELECT refused(s) FROM unnest(ARRAY[
	'UPDATE pg_catalog.pg_proc SET proname = proname WHERE false',
	'DELETE FROM pg_catalog.pg_trigger WHERE false',
	'INSERT INTO pg_catalog.pg_depend SELECT * FROM pg_catalog.pg_depend WHERE false']) AS s;
SELECT lives_ok('SELECT 1 FROM pg_catalog.pg_class FOR UPDATE', 'rows of catalogs can be locked');

-- Locks and maintenance in a transaction block
SELECT refused(s) FROM unnest(ARRAY[
	'LOCK TABLE biometric.entry_00 IN SHARE MODE',
	'LOCK TABLE biometric.ledger IN ACCESS EXCLUSIVE MODE',
	'REINDEX TABLE biometric.entry_00']) AS s;
SELECT lives_ok('LOCK TABLE biometric.entry_00 IN ROW EXCLUSIVE MODE', 'a weak lock is fine');

SELECT is((SELECT ok FROM biometric.verify_ledger()), true, 'after all this the ledger verifies');

SELECT * FROM finish();
