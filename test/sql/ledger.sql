-- The ledger in SQL: its views, its tree, who may read it, and that nobody may write it.

\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(69);

-- Enough entries for more than two tiles
SELECT biometric.register_party('ledger test', 'Ledger test', NULL);
DO $$
BEGIN
	FOR i IN 1..70 LOOP
		PERFORM biometric.register_network(pg_catalog.format('198.51.100.%s/32', i)::cidr, 'ledger test');
	END LOOP;
END
$$;

SELECT columns_are('biometric', 'ledger', ARRAY['seq', 'at', 'event', 'statement', 'party', 'client_addr',
	'session_user_name', 'application', 'purpose', 'kind', 'image_id', 'relation', 'row_key', 'detail'],
	'the view ledger has the columns that users rely on');
SELECT has_view('biometric', 'disclosure', 'there is a view of disclosures');
SELECT has_view('biometric', 'refusal', 'there is a view of refusals');
SELECT columns_are('biometric', 'change', ARRAY['seq', 'at', 'event', 'statement', 'party', 'client_addr',
	'session_user_name', 'application', 'purpose', 'kind', 'image_id', 'relation', 'row_key', 'detail', 'operation',
	'column_name', 'old_image_id', 'transaction', 'relation_oid', 'command', 'state', 'collected'],
	'the view change has these and its own');
SELECT is(biometric.transaction_state((SELECT log_id FROM biometric.ledger_status()), n::text::xid8), 'unknown',
	'nothing is said of a transaction that never was: ' || n)
FROM unnest(ARRAY[0, 2, 9223372036854775807]) AS n;
SELECT is(biometric.transaction_state((SELECT log_id FROM biometric.ledger_status()), pg_current_xact_id()),
	'in progress', 'one that is running is in progress');
SELECT is(biometric.entry_row_key((SELECT log_id FROM biometric.ledger_status()), 0, '\x00'), NULL,
	'bytes that are no entry have no row key');

SELECT cmp_ok((SELECT size FROM biometric.ledger_status()), '>', 70::bigint, 'each change is an entry');
SELECT is((SELECT state FROM biometric.ledger_status()), 'ready', 'the ledger is ready');
SELECT results_eq('SELECT seq FROM biometric.ledger ORDER BY seq',
	'SELECT generate_series(0, (SELECT size FROM biometric.ledger_status()) - 1)',
	'sequence numbers start at 0 and have no gaps');
SELECT is((SELECT event FROM biometric.ledger WHERE seq = 0), 'session', 'the first entry is a session');
SELECT is((SELECT client_addr FROM biometric.ledger WHERE event = 'policy_changed' ORDER BY seq LIMIT 1), 'local',
	'an entry is joined with its session');
SELECT is((SELECT count(*) FROM biometric.ledger WHERE detail ->> 'network' = '198.51.100.7/32'
	AND event = 'policy_changed'), 1::bigint, 'details can be searched');

-- The tree, by the definition of RFC 9162 section 2.1.1 written down once more
CREATE FUNCTION naive_root(first bigint, beyond bigint) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	split bigint := 1;
BEGIN
	IF beyond = first THEN
		RETURN sha256('');
	ELSIF beyond = first + 1 THEN
		RETURN sha256('\x00'::bytea || biometric.leaf(first));
	END IF;
	WHILE split * 2 < beyond - first LOOP
		split := split * 2;
	END LOOP;
	RETURN sha256('\x01'::bytea || naive_root(first, first + split) || naive_root(first + split, beyond));
END
$$;
SELECT results_eq('SELECT n, biometric.root(n) FROM generate_series(0::bigint, 71) AS n',
	'SELECT n, naive_root(0, n) FROM generate_series(0::bigint, 71) AS n',
	'root(size) is that of RFC 9162 for every size');
SELECT is(biometric.root(), (SELECT root FROM biometric.ledger_status()), 'root() is the present root');
SELECT is((SELECT root FROM biometric.verify_ledger()), (SELECT root FROM biometric.ledger_status()),
	'and that which verification computes');
SELECT is((SELECT ok FROM biometric.verify_ledger()), true, 'the ledger verifies');
SELECT is((SELECT problem FROM biometric.verify_ledger()), NULL, 'without a problem');
SELECT is((biometric.decode_entry(biometric.leaf(0))).event, 'session', 'a leaf can be decoded');
SELECT results_eq($$
	SELECT event, operation, collected, digest, key, picture_hash, marked FROM biometric.decode_entry(
		'\x010700000000000000010000000000000002'::bytea || '\x150108' || '\x1b0d7b2274696d65223a2278227d20'
		|| '\x1c20' || sha256('a') || '\x1d0105' || '\x1e20' || sha256('b') || '\x1f0101')$$,
	$$VALUES ('stored', 'describe', '{"time": "x"}'::jsonb, sha256('a'), 5::int8, sha256('b'), true)$$,
	'with what an image can be traced by');
SELECT results_eq($$
	SELECT collected, digest, key, picture_hash, marked FROM biometric.decode_entry(biometric.leaf(0))$$,
	$$VALUES (NULL::jsonb, NULL::bytea, NULL::int8, NULL::bytea, NULL::bool)$$,
	'which most entries do not have');
SELECT throws_ok('SELECT biometric.leaf(-1)', '22023', NULL, 'there is no leaf before the first');
SELECT throws_ok('SELECT biometric.leaf(1000000)', '22023', NULL, 'nor one after the last');
SELECT throws_ok('SELECT biometric.root(1000000)', '22023', NULL, 'nor a root of a tree that is yet to grow');
SELECT throws_ok('SELECT biometric.root(-1)', '22023', NULL, 'nor one of less than nothing');

-- Nobody writes, not even a superuser
CREATE FUNCTION refused(statement text) RETURNS SETOF text LANGUAGE sql AS
	$$SELECT throws_ok(statement, '42501', NULL, 'refused: ' || statement)$$;
SELECT refused(format(how, guarded))
FROM unnest(ARRAY['entry_00', 'entry_15', 'tile', 'segment', 'head', 'log', 'party', 'network', 'permit']) AS guarded,
	unnest(ARRAY['INSERT INTO biometric.%I DEFAULT VALUES', 'DELETE FROM biometric.%I',
		'TRUNCATE biometric.%I CASCADE']) AS how;
SELECT refused($$UPDATE biometric.entry_00 SET entry = '\x00'$$);
SELECT refused($$COPY biometric.permit FROM PROGRAM 'true'$$);
SELECT is((SELECT count(*) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
	WHERE c.relnamespace = 'biometric'::regnamespace AND c.relkind = 'r' AND t.tgenabled = 'A'
		AND t.tgfoid = 'biometric.guard_trigger()'::regprocedure),
	3 * (SELECT count(*) FROM pg_class WHERE relnamespace = 'biometric'::regnamespace AND relkind = 'r'),
	'every table has the triggers of the guard, enabled always');

-- A fork is taken up when it is committed, so it cannot be prepared
\set ON_ERROR_STOP off
BEGIN;
SELECT biometric.fork_ledger('test');
PREPARE TRANSACTION 'fork';
SELECT is(:'SQLSTATE'::text, '0A000', 'a fork cannot be prepared');
SELECT is((SELECT count(*) FROM biometric.log), 1::bigint, 'and has not happened');

-- NULL is no reason, and says so
SELECT throws_ok(format('SELECT biometric.%s(NULL)', name), '22023', NULL, format('%s() needs a reason', name))
	FROM unnest('{fork_ledger,hand_over_ledger,retire_ledger}'::text[]) AS name;

-- Nothing stands behind the entry that closes a log
BEGIN;
SELECT biometric.register_party('late', 'p', NULL);
SELECT biometric.retire_ledger('test');
COMMIT;
SELECT is(:'SQLSTATE'::text, '55000', 'the transaction that closes the ledger cannot change the policy');
\set ON_ERROR_STOP on
SELECT is((SELECT count(*) FROM biometric.party WHERE name = 'late'), 0::bigint, 'nor has it');
SELECT is((SELECT state FROM biometric.ledger_status()), 'ready', 'and the ledger is not closed');
SELECT is((SELECT problem FROM biometric.verify_ledger()), NULL, 'and verifies');

-- Who reads
CREATE ROLE ledger_auditor IN ROLE biometric_auditor;
CREATE ROLE ledger_nobody;
SET ROLE ledger_auditor;
SELECT count(*) > 70 AS all_read FROM biometric.ledger \gset
RESET ROLE;
SELECT ok(:'all_read', 'an auditor reads the ledger');
SELECT ok(has_table_privilege('ledger_auditor', 'biometric.ledger', 'SELECT')
	AND has_table_privilege('ledger_auditor', 'biometric.disclosure', 'SELECT')
	AND has_table_privilege('ledger_auditor', 'biometric.refusal', 'SELECT')
	AND has_table_privilege('ledger_auditor', 'biometric.change', 'SELECT'), 'auditors read the views');
SELECT ok(NOT has_table_privilege('ledger_nobody', 'biometric.ledger', 'SELECT')
	AND NOT has_table_privilege('ledger_nobody', 'biometric.change', 'SELECT')
	AND NOT has_table_privilege('ledger_nobody', 'biometric.image_entry', 'SELECT')
	AND NOT has_table_privilege('ledger_nobody', 'biometric.activity', 'SELECT')
	AND NOT has_table_privilege('ledger_nobody', 'biometric.traced', 'SELECT')
	AND NOT has_table_privilege('ledger_nobody', 'biometric.entry', 'SELECT')
	AND NOT has_table_privilege('ledger_nobody', 'biometric.entry_00', 'SELECT')
	AND NOT has_function_privilege('ledger_nobody', 'biometric.leaf(bigint)', 'EXECUTE')
	AND NOT has_function_privilege('ledger_nobody', 'biometric.verify_ledger()', 'EXECUTE')
	AND NOT has_function_privilege('ledger_nobody', 'biometric.transaction_state(uuid, xid8)', 'EXECUTE')
	AND NOT has_function_privilege('ledger_nobody', 'biometric.entry_row_key(uuid, bigint, bytea)', 'EXECUTE')
	AND NOT has_function_privilege('ledger_nobody',
		'biometric.ledger_row(uuid, bigint, bytea)', 'EXECUTE'), 'nobody else does');

SELECT * FROM finish();
DROP ROLE ledger_auditor, ledger_nobody;
