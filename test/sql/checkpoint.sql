-- Proofs in SQL, by the definitions of RFC 9162 written down once more, and who may ask for what.
-- Nothing is signed here; test/tap/024_checkpoints.pl has a key.

\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(51);

-- Enough entries for more than one tile of the second level's first hashes
SELECT biometric.register_party('checkpoint test', 'Checkpoint test', NULL);
DO $$
BEGIN
	FOR i IN 1..70 LOOP
		PERFORM biometric.register_network(pg_catalog.format('198.51.100.%s/32', i)::cidr, 'checkpoint test');
	END LOOP;
END
$$;

CREATE FUNCTION leaf_hash(seq bigint) RETURNS bytea LANGUAGE sql AS
	$$ SELECT sha256('\x00'::bytea || biometric.leaf(seq)) $$;

-- RFC 9162 section 2.1.3.2
CREATE FUNCTION root_by_inclusion(seq bigint, size bigint, proof bytea[]) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	fn bigint := seq;
	sn bigint := size - 1;
	r bytea := leaf_hash(seq);
	p bytea;
BEGIN
	FOREACH p IN ARRAY proof LOOP
		IF sn = 0 THEN
			RETURN NULL;
		END IF;
		IF fn % 2 = 1 OR fn = sn THEN
			r := sha256('\x01'::bytea || p || r);
			WHILE fn % 2 = 0 AND fn <> 0 LOOP
				fn := fn / 2;
				sn := sn / 2;
			END LOOP;
		ELSE
			r := sha256('\x01'::bytea || r || p);
		END IF;
		fn := fn / 2;
		sn := sn / 2;
	END LOOP;
	RETURN CASE WHEN sn = 0 THEN r END;
END
$$;

-- RFC 9162 section 2.1.4.2: both roots
CREATE FUNCTION roots_by_consistency(first bigint, second bigint, proof bytea[], first_root bytea)
RETURNS bytea[] LANGUAGE plpgsql AS $$
DECLARE
	path bytea[] := proof;
	fn bigint := first - 1;
	sn bigint := second - 1;
	fr bytea;
	sr bytea;
	p bytea;
BEGIN
	IF first & (first - 1) = 0 THEN
		path := first_root || path;
	END IF;
	WHILE fn % 2 = 1 LOOP
		fn := fn / 2;
		sn := sn / 2;
	END LOOP;
	fr := path[1];
	sr := path[1];
	FOREACH p IN ARRAY path[2:] LOOP
		IF sn = 0 THEN
			RETURN NULL;
		END IF;
		IF fn % 2 = 1 OR fn = sn THEN
			fr := sha256('\x01'::bytea || p || fr);
			sr := sha256('\x01'::bytea || p || sr);
			WHILE fn % 2 = 0 AND fn <> 0 LOOP
				fn := fn / 2;
				sn := sn / 2;
			END LOOP;
		ELSE
			sr := sha256('\x01'::bytea || sr || p);
		END IF;
		fn := fn / 2;
		sn := sn / 2;
	END LOOP;
	RETURN ARRAY[fr, sr];
END
$$;

SELECT is((SELECT count(*) FROM generate_series(1, 70) AS size, generate_series(0, size - 1) AS seq
	WHERE root_by_inclusion(seq, size, biometric.inclusion_proof(seq, size)) = biometric.root(size)),
	70 * 71 / 2::bigint, 'every entry is proven in every tree of 1 to 70 entries');
SELECT is((SELECT count(*) FROM generate_series(2, 70) AS size, generate_series(1, size - 1) AS old
	WHERE roots_by_consistency(old, size, biometric.consistency_proof(old, size), biometric.root(old))
		= ARRAY[biometric.root(old), biometric.root(size)]),
	69 * 70 / 2::bigint, 'every tree is proven to be the beginning of every larger one');
SELECT is(biometric.inclusion_proof(3),
	biometric.inclusion_proof(3, (SELECT size FROM biometric.ledger_status())),
	'without a size the whole ledger is meant');
SELECT is(biometric.inclusion_proof(0, 1), '{}'::bytea[], 'one entry needs no proof');
SELECT is(biometric.consistency_proof(0, 5), '{}'::bytea[], 'nothing is the beginning of everything');
SELECT is(biometric.consistency_proof(5, 5), '{}'::bytea[], 'nor do equal trees need one');
SELECT is(biometric.consistency_proof(0, 0), '{}'::bytea[], 'even if there is nothing in them');

SELECT throws_ok(statement, '22023', NULL, statement)
FROM unnest(ARRAY[
	'SELECT biometric.inclusion_proof(-1)', 'SELECT biometric.inclusion_proof(NULL)',
	'SELECT biometric.inclusion_proof(0, 0)', 'SELECT biometric.inclusion_proof(5, 5)',
	'SELECT biometric.inclusion_proof(0, -1)', 'SELECT biometric.inclusion_proof(0, 9223372036854775807)',
	'SELECT biometric.inclusion_proof(9223372036854775807)',
	'SELECT biometric.inclusion_proof(-9223372036854775808, 5)',
	'SELECT biometric.consistency_proof(-1, 5)', 'SELECT biometric.consistency_proof(6, 5)',
	'SELECT biometric.consistency_proof(5, 9223372036854775807)', 'SELECT biometric.consistency_proof(-2, -1)',
	'SELECT biometric.tlog_proof(-1)', 'SELECT biometric.tlog_proof(NULL)',
	'SELECT biometric.tlog_proof(9223372036854775807)', 'SELECT biometric.tlog_proof(1, -1)',
	'SELECT biometric.checkpoint(-1)', 'SELECT biometric.add_cosignature('''')',
	'SELECT * FROM biometric.verify_ledger(''''::text)', 'SELECT * FROM biometric.verify_ledger(''''::bytea)',
	'SELECT biometric.checkpoint_note(-1)', 'SELECT biometric.tlog_proof_file(NULL)',
	'SELECT biometric.add_cosignature(''\x00''::bytea)']) AS statement;
SELECT is(biometric.consistency_proof(NULL, 5), NULL, 'of an unknown size nothing is known');

SELECT throws_ok(statement, '55000', NULL, statement || ' without a key')
FROM unnest(ARRAY['SELECT biometric.checkpoint()', 'SELECT biometric.verifier_key()',
	'SELECT biometric.tlog_proof(1)', 'SELECT biometric.tlog_proof(1, 2)',
	'SELECT biometric.add_checkpoint_request(0)', 'SELECT biometric.checkpoint_note()',
	'SELECT biometric.tlog_proof_file(1)', 'SELECT biometric.add_checkpoint_body(0)']) AS statement;
SELECT is(biometric.checkpoint(1), NULL, 'no checkpoint is stored');
SELECT is((SELECT count(*) FROM biometric.checkpoints), 0::bigint, 'and none is listed');

-- Who may
CREATE ROLE checkpoint_nobody;
CREATE ROLE checkpoint_auditor;
GRANT biometric_auditor TO checkpoint_auditor;
SELECT is((SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p
	WHERE p.pronamespace = 'biometric'::regnamespace AND p.proname = ANY (ARRAY['checkpoint', 'verifier_key',
		'inclusion_proof', 'consistency_proof', 'tlog_proof', 'add_checkpoint_request', 'add_cosignature',
		'checkpoint_note', 'tlog_proof_file', 'add_checkpoint_body',
		'verify_ledger']) AND has_function_privilege('checkpoint_nobody', p.oid, 'EXECUTE')),
	NULL, 'nobody may call them');
SELECT is((SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p
	WHERE p.pronamespace = 'biometric'::regnamespace AND p.proname = ANY (ARRAY['checkpoint', 'verifier_key',
		'inclusion_proof', 'consistency_proof', 'tlog_proof', 'add_checkpoint_request', 'add_cosignature',
		'checkpoint_note', 'tlog_proof_file', 'add_checkpoint_body',
		'verify_ledger']) AND NOT has_function_privilege('checkpoint_auditor', p.oid, 'EXECUTE')),
	NULL, 'but auditors');
SELECT is((SELECT array_agg(has_table_privilege(role, 'biometric.' || view, 'SELECT') ORDER BY role, view)
	FROM unnest(ARRAY['checkpoint_auditor', 'checkpoint_nobody']) AS role,
		unnest(ARRAY['checkpoints', 'verifier_keys']) AS view),
	'{t,t,f,f}', 'nor may anybody but they see what was signed');
SET ROLE checkpoint_auditor;
SELECT lives_ok('SELECT biometric.inclusion_proof(1)', 'an auditor gets a proof');
RESET ROLE;
DROP ROLE checkpoint_nobody, checkpoint_auditor;

-- A transaction that looks at an old snapshot gets proofs of what is there now
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) > 0 FROM pg_class \g /dev/null
SELECT is((SELECT cardinality(biometric.inclusion_proof(0, size)) > 0 FROM biometric.ledger_status()), true,
	'a proof over the present size, in any transaction');
COMMIT;

SELECT is((SELECT count(*) FROM generate_series(0, 3) AS n
	WHERE biometric.inclusion_proof(n, 4) IS NOT NULL), 4::bigint, 'within a larger query');

-- What a table may hold, checkpoint or not
SELECT format(E'example.org/log\n7\n%s\n\n— example.org/log %s\n', encode(sha256('7'), 'base64'),
	translate(encode(decode(repeat('5a', 68), 'hex'), 'base64'), E'\n', '')) AS note \gset
SELECT is(biometric.note_text(convert_to(:'note', 'UTF8')), :'note', 'a note as text');
SELECT is(biometric.note_text('\xff'), NULL, 'bytes that are none');
SELECT is((SELECT h.origin || encode(h.root, 'hex')
	FROM biometric.checkpoint_head(convert_to(:'note', 'UTF8')) h),
	'example.org/log' || encode(sha256('7'), 'hex'), 'what a note says');
SELECT is((SELECT h.origin FROM biometric.checkpoint_head('\xff') h), NULL, 'and what says nothing');
SELECT * FROM finish();
