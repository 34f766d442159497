-- Keys: who may do what, what is refused, periods, and what the view says. Copies, crashes,
-- databases and what is under way are in tap/047.
\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = error;

SELECT plan(60);

CREATE ROLE keys_custodian LOGIN;
GRANT biometric_custodian TO keys_custodian;
CREATE ROLE keys_auditor LOGIN;
GRANT biometric_auditor TO keys_auditor;
CREATE ROLE keys_nobody LOGIN;

SET ROLE keys_custodian;
SELECT biometric.register_party('agency', 'The Agency', NULL);
SELECT biometric.register_local('agency');
SELECT biometric.authorize('agency', '{face}', 'open');
RESET ROLE;
CREATE FUNCTION picture(n int) RETURNS biometric.face_image LANGUAGE sql AS
	$$ SELECT (decode('ffd8ffe000104a46494600010100000100010000ffc0000b0800f0014001011100ffda0008010100003f00', 'hex')
		|| convert_to(encode(sha256(n::text::bytea), 'hex'), 'UTF8') || decode('ffd9', 'hex'))::biometric.face_image $$;
CREATE TABLE traveller (id int PRIMARY KEY, img biometric.face_image, taken timestamptz);
CREATE TABLE hourly (id int PRIMARY KEY, img biometric.face_image, taken timestamptz);
CREATE TABLE heir () INHERITS (traveller);
CREATE VIEW shown AS SELECT * FROM traveller;
INSERT INTO traveller VALUES (0, picture(0), '2026-01-01');

CREATE FUNCTION last_change() RETURNS jsonb LANGUAGE sql AS
	$$ SELECT detail - '{network,check}'::text[] FROM biometric.ledger
		WHERE event = 'key_changed' AND detail ->> 'action' <> 'pin_key' ORDER BY seq DESC LIMIT 1 $$;
-- The period of the key that a picture is under; of an image under a general key nothing.
CREATE FUNCTION period_of(image biometric.face_image) RETURNS text LANGUAGE sql AS
	$$ SELECT concat_ws(' to ', lower(period) AT TIME ZONE 'UTC', upper(period) AT TIME ZONE 'UTC')
		FROM biometric.key WHERE key_id = biometric.key_id(image) $$;

-- Who may do what
SELECT throws_ok(format('SET ROLE %I; %s', role, call), '42501', NULL, role || ' may not call ' || call)
	FROM unnest(ARRAY['keys_nobody', 'keys_auditor']) AS role,
		unnest(ARRAY[
			$$SELECT biometric.rotate_key()$$,
			$$SELECT biometric.shred_key(1, 'test')$$,
			$$SELECT biometric.key_period('traveller', 'img', '1 month')$$]) AS call;
RESET ROLE;
SELECT throws_ok(call, '42501', NULL, 'a superuser may not ' || call)
	FROM unnest(ARRAY[
			$$DELETE FROM biometric.key_pin$$,
			$$UPDATE biometric.key_pin SET state = 'usable'$$,
			$$UPDATE biometric.key_binding SET period = '1 year'$$]) AS call;
SELECT throws_ok(format('SET ROLE keys_nobody; %s', call), '42501', NULL, 'nobody else may ' || call)
	FROM unnest(ARRAY['SELECT FROM biometric.key', 'SELECT FROM biometric.key_pin',
		'SELECT FROM biometric.key_binding', 'SELECT FROM biometric.keyring_state()']) AS call;
SET ROLE keys_auditor;
SELECT ok((SELECT count(*) > 0 FROM biometric.key), 'an auditor sees the keys');
SELECT ok((SELECT bool_and(length(key_check) = 32) FROM biometric.keyring_state()),
	'by what they are recognised by, not by themselves');
RESET ROLE;

-- Arguments
SET ROLE keys_custodian;
SELECT throws_ok(call, code, NULL, call || ' is ' || code)
	FROM (VALUES
		($$SELECT biometric.shred_key(NULL, 'x')$$, '22023'),
		($$SELECT biometric.shred_key(1, NULL)$$, '22023'),
		($$SELECT biometric.shred_key(1, ' ')$$, '22023'),
		($$SELECT biometric.shred_key(4294967295, 'x')$$, '42704'),
		($$SELECT biometric.shred_key(-1, 'x')$$, '42704'),
		($$SELECT biometric.key_period(NULL, 'img', '1 month')$$, '22023'),
		($$SELECT biometric.key_period('traveller', NULL, '1 month')$$, '22023'),
		($$SELECT biometric.key_period('traveller', 'img', '1 month 1 day')$$, '22023'),
		($$SELECT biometric.key_period('traveller', 'img', '59 minutes')$$, '22023'),
		($$SELECT biometric.key_period('traveller', 'img', '90 minutes')$$, '22023'),
		($$SELECT biometric.key_period('traveller', 'img', '0')$$, '22023'),
		($$SELECT biometric.key_period('traveller', 'img', '-1 month')$$, '22023'),
		($$SELECT biometric.key_period('traveller', 'img', '1000 years')$$, '22023'),
		($$SELECT biometric.key_period('traveller', 'img', '9999999 hours')$$, '22023'),
		($$SELECT biometric.key_period('traveller', 'none', '1 month')$$, '42703'),
		($$SELECT biometric.key_period('traveller', 'id', '1 month')$$, '42809'),
		($$SELECT biometric.key_period('shown', 'img', '1 month')$$, '42809')) AS c(call, code);
RESET ROLE;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT throws_ok('SET ROLE keys_custodian; SELECT biometric.rotate_key()', '25001', NULL,
	'keys are not changed by what was');
ROLLBACK;

-- Rotation
SELECT max(key_id) AS before FROM biometric.key WHERE relation IS NULL \gset
SET ROLE keys_custodian;
SELECT biometric.rotate_key() AS rotated \gset
RESET ROLE;
SELECT cmp_ok(:rotated, '>', :before, 'rotate_key() returns a higher id');
SELECT is(last_change(), jsonb_build_object('action', 'rotate_key', 'key', :rotated, 'previous', :before),
	'it is an entry');
INSERT INTO traveller VALUES (1, picture(1), '2026-01-01');
SELECT is(biometric.key_id(img), :rotated, 'new images are under it') FROM traveller WHERE id = 1;
SELECT is(biometric.key_id(img), :before, 'others keep theirs') FROM traveller WHERE id = 0;
SELECT is((SELECT string_agg(concat_ws(' ', state, images), ', ' ORDER BY key_id) FROM biometric.key
	WHERE key_id IN (:before, :rotated)), 'retired 1, active 1', 'the view says so');
SELECT throws_ok(format('SET ROLE keys_custodian; SELECT biometric.shred_key(%s, %L)', :rotated, 'x'), '55000', NULL,
	'the key that seals is not shredded');
RESET ROLE;

-- Periods
SET ROLE keys_custodian;
SELECT biometric.retain('traveller', 'img', '100 years', 'erase', 'taken');
SELECT biometric.retain('hourly', 'img', '100 years', 'erase', 'taken');
SELECT biometric.key_period('traveller', 'img', '3 months');
RESET ROLE;
SELECT is(last_change(), '{"action": "key_period", "relation": "public.traveller", "column": "img", "period": "3 mons"}',
	'a period is an entry');
SET ROLE keys_custodian;
SELECT biometric.key_period('hourly', 'img', '1 day 12 hours');
RESET ROLE;
INSERT INTO traveller SELECT n, picture(n), t FROM (VALUES (10, '1999-12-31 23:59:59.999Z'::timestamptz),
	(11, '2000-01-01Z'), (12, '2026-05-01Z'), (13, '2026-06-30 23:59:59.999Z'), (14, '2026-07-01Z')) AS v(n, t);
INSERT INTO heir VALUES (15, picture(15), '2026-05-05Z');
INSERT INTO hourly VALUES (1, picture(16), '2000-01-02 11:59Z'), (2, picture(17), '2000-01-02 12:00Z'),
	(3, picture(18), '1999-12-31Z');
SELECT is(period_of(img), expected, 'a picture of ' || (taken AT TIME ZONE 'UTC') || ' is under the key of its quarter')
	FROM (VALUES (10, '1999-10-01 00:00:00 to 2000-01-01 00:00:00'), (11, '2000-01-01 00:00:00 to 2000-04-01 00:00:00'),
		(12, '2026-04-01 00:00:00 to 2026-07-01 00:00:00'), (13, '2026-04-01 00:00:00 to 2026-07-01 00:00:00'),
		(14, '2026-07-01 00:00:00 to 2026-10-01 00:00:00')) AS v(n, expected)
	JOIN traveller ON id = n;
SELECT is(period_of(img), '2026-04-01 00:00:00 to 2026-07-01 00:00:00', 'an heir''s, too') FROM heir;
SELECT is((SELECT count(DISTINCT biometric.key_id(img)) FROM traveller WHERE id IN (12, 13, 15)), 1::bigint,
	'under one key');
SELECT is(string_agg(period_of(img), ', ' ORDER BY id),
	'2000-01-01 00:00:00 to 2000-01-02 12:00:00, 2000-01-02 12:00:00 to 2000-01-04 00:00:00, '
	'1999-12-30 12:00:00 to 2000-01-01 00:00:00', 'hours and days are counted from 2000') FROM hourly;
SELECT is((SELECT count(*) FROM biometric.key WHERE relation = 'traveller'::regclass AND column_name = 'img'), 4::bigint,
	'a key a period');
SET ROLE keys_custodian;
SELECT biometric.key_period('traveller', 'img', '1 month');
RESET ROLE;
INSERT INTO traveller VALUES (16, picture(21), '2026-05-01Z');
SELECT is(period_of(img), '2026-05-01 00:00:00 to 2026-06-01 00:00:00',
	'a period that was made shorter is the next picture''s') FROM traveller WHERE id = 16;
SELECT is(period_of(img), '2026-04-01 00:00:00 to 2026-07-01 00:00:00', 'those that are there keep theirs')
	FROM traveller WHERE id = 12;
SET ROLE keys_custodian;
SELECT biometric.key_period('traveller', 'img', '3 months');
RESET ROLE;
INSERT INTO traveller VALUES (17, picture(22), '2026-05-01Z');
SELECT is(period_of(img), '2026-04-01 00:00:00 to 2026-07-01 00:00:00', 'so is one that was made longer again')
	FROM traveller WHERE id = 17;
ALTER TABLE traveller RENAME img TO pic;
SELECT is((SELECT column_name::text FROM biometric.key_binding WHERE relation = 'traveller'::regclass), 'pic',
	'a renamed column keeps its period');
SET ROLE keys_custodian;
SELECT biometric.key_period('traveller', 'pic', NULL);
RESET ROLE;
INSERT INTO traveller VALUES (20, picture(20), '2026-05-01Z');
SELECT is(biometric.key_id(pic), :rotated, 'without a period the general key seals') FROM traveller WHERE id = 20;
DROP TABLE hourly;
SELECT is((SELECT count(*) FROM biometric.key_binding), 0::bigint, 'a table that is dropped takes its period along');

-- Restored rows
CREATE ROLE keys_loader LOGIN IN ROLE pg_write_all_data;
CREATE FUNCTION restored() RETURNS text LANGUAGE sql AS
	$$ SELECT format('INSERT INTO biometric.key_pin (log_id, key_id, key_check, pinned_at, state, shredded_at) '
		'VALUES (%L, %s, %L, now(), %L, now())', gen_random_uuid(), key_id, key_check, 'shredded')
		FROM biometric.key_pin WHERE home IS NULL ORDER BY key_id LIMIT 1 $$;
SELECT restored() AS row \gset
SELECT throws_ok(format('SET ROLE keys_loader; %s', :'row'), '42501', NULL,
	'whoever may write all data does not say that keys are gone');
RESET ROLE;
SELECT is((SELECT state FROM biometric.key WHERE key_id = :before), 'retired', 'and none is');
SELECT lives_ok(:'row', 'a superuser restores a row that says so');
SELECT is((SELECT concat_ws(' ', state, problem) FROM biometric.key WHERE key_id = :before),
	'shredded A log that was restored into this database says that the key was shredded.', 'which the view tells');

SELECT ok((SELECT ok FROM biometric.verify_ledger()), 'the ledger verifies');
SELECT * FROM finish();
