-- Incidents: who may do what, what is an entry, states and deadlines, and whom one
-- concerns. Crashes, other settings and large lists are in tap/.
\set QUIET on
\pset tuples_only on
\pset format unaligned
SET client_min_messages = error;

SELECT plan(91);

CREATE ROLE incident_custodian LOGIN;
GRANT biometric_custodian TO incident_custodian;
CREATE ROLE incident_auditor LOGIN;
GRANT biometric_auditor TO incident_auditor;
CREATE ROLE incident_nobody LOGIN;

SET ROLE incident_custodian;
SELECT biometric.register_party('agency', 'The Agency', NULL);
SELECT biometric.register_party('other', 'Another', NULL);
SELECT biometric.register_local('agency');
SELECT biometric.authorize('agency', '{face,plate}', 'open');
RESET ROLE;
-- A picture of so many bytes, made of its number.
CREATE FUNCTION picture(n int) RETURNS bytea LANGUAGE sql AS
	$$ SELECT decode('ffd8ffe000104a46494600010100000100010000ffc0000b0800f0014001011100ffda0008010100003f00', 'hex')
		|| convert_to(encode(sha256(n::text::bytea), 'hex'), 'UTF8') || decode('ffd9', 'hex') $$;
CREATE TABLE traveller (id int PRIMARY KEY, passport text, face biometric.face_image,
	plate biometric.plate_image);
CREATE TABLE lane (id int PRIMARY KEY, plate biometric.plate_image);
SELECT biometric.describe_collection('traveller', '{passport}');
INSERT INTO traveller SELECT n, 'P' || (n + 1) / 2, picture(n)::biometric.face_image,
	CASE WHEN n = 1 THEN picture(100)::biometric.plate_image END FROM generate_series(1, 8) AS n;
INSERT INTO lane SELECT n, picture(200 + n)::biometric.plate_image FROM generate_series(1, 3) AS n;

CREATE FUNCTION steps() RETURNS bigint LANGUAGE sql AS
	$$ SELECT count(*) FROM biometric.ledger WHERE event = 'incident' $$;
CREATE FUNCTION last_step() RETURNS jsonb LANGUAGE sql AS
	$$ SELECT detail - 'network' FROM biometric.ledger WHERE event = 'incident' ORDER BY seq DESC LIMIT 1 $$;
CREATE FUNCTION state_of(incident bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT concat_ws(' ', state, people, notified) FROM biometric.incident_state WHERE id = incident $$;
-- The list in short: table, subject, kinds, images, and by what means.
CREATE FUNCTION listed(incident bigint) RETURNS text LANGUAGE sql AS
	$$ SELECT coalesce(string_agg(concat_ws(' ', relation, subject, array_to_string(kinds, '+'), images, means), ', '),
		'nobody') FROM biometric.notify_list(incident) $$;

-- Who may do what
SELECT throws_ok(format('SET ROLE %I; %s', role, call), '42501', NULL, role || ' may not call ' || call)
	FROM unnest(ARRAY['incident_nobody', 'incident_auditor', 'postgres']) AS role,
		unnest(ARRAY[
			$$SELECT biometric.open_incident('agency', '[2020-01-01,)', 'leak')$$,
			$$SELECT biometric.set_incident_due(1, now(), 'test')$$,
			$$SELECT biometric.mark_notified(1, '{}', 'letter')$$,
			$$SELECT biometric.close_incident(1, 'test')$$]) AS call
	WHERE role <> 'postgres' OR NOT pg_has_role('postgres', 'biometric_custodian', 'MEMBER');
RESET ROLE;
SELECT throws_ok(format('SET ROLE incident_nobody; %s', call), '42501', NULL, 'nobody else may ' || call)
	FROM unnest(ARRAY['SELECT FROM biometric.incident', 'SELECT FROM biometric.notification',
		'SELECT FROM biometric.incident_state', 'SELECT FROM biometric.notify_list(1)']) AS call;
RESET ROLE;
SELECT throws_ok(statement, '42501', NULL, 'a superuser may not ' || statement)
	FROM unnest(ARRAY[
		$$INSERT INTO biometric.incident (party, during, title, opened_by, due_at) VALUES ('agency', '(,)', 'x', 'x', now())$$,
		'UPDATE biometric.incident SET due_at = now()',
		'DELETE FROM biometric.notification',
		'TRUNCATE biometric.notification',
		'TRUNCATE biometric.incident CASCADE']) AS statement;

-- Opening
SET ROLE incident_custodian;
SELECT is(biometric.open_incident('agency', '[2020-01-01,)', 'Lost laptop'), 1::bigint, 'a custodian opens an incident');
SELECT is((SELECT due_at - opened_at FROM biometric.incident WHERE id = 1), interval '72 hours',
	'everybody concerned must be notified within 72 hours');
SELECT is((SELECT opened_by FROM biometric.incident), 'incident_custodian', 'it is known who opened it');
SELECT is(current_user::text, 'incident_custodian', 'who is afterwards who they were');
RESET ROLE;
SELECT is(last_step() - 'due' - 'during', '{"action": "open_incident", "incident": 1, "party": "agency", "title": "Lost laptop"}',
	'opening is an entry');
SELECT is((last_step() ->> 'due')::timestamptz, (SELECT due_at FROM biometric.incident), 'with the deadline');
SELECT is((last_step() ->> 'during')::tstzrange, '[2020-01-01,)'::tstzrange, 'and the period');
SELECT is((SELECT (biometric.decode_entry(entry)).current_user_name FROM biometric.entry
		WHERE (biometric.decode_entry(entry)).event = 'incident'),
	'incident_custodian', 'and who did it');
SET ROLE incident_custodian;
SELECT throws_ok(call, code, NULL, call || ' is refused')
	FROM (VALUES
		($$SELECT biometric.open_incident('unknown', '(,)', 'x')$$, '42704'),
		($$SELECT biometric.open_incident(NULL, '(,)', 'x')$$, '22023'),
		($$SELECT biometric.open_incident('agency', NULL, 'x')$$, '22023'),
		($$SELECT biometric.open_incident('agency', 'empty', 'x')$$, '22023'),
		($$SELECT biometric.open_incident('agency', '(,)', ' ')$$, '22023'),
		($$SELECT biometric.open_incident('agency', '(,)', NULL)$$, '22023'),
		($$SELECT biometric.open_incident('agency', '(,)', 'x', '-1 second')$$, '22023'),
		($$SELECT biometric.open_incident('agency', '(,)', 'x', '178000000 years')$$, '22023'),
		($$SELECT biometric.open_incident('agency', '(,)', 'x', '100 years 1 second')$$, '22023'),
		($$SELECT biometric.set_incident_due(99, now(), 'x')$$, '42704'),
		($$SELECT biometric.set_incident_due(NULL, now(), 'x')$$, '22023'),
		($$SELECT biometric.set_incident_due(1, NULL, 'x')$$, '22023'),
		($$SELECT biometric.set_incident_due(1, 'infinity', 'x')$$, '22023'),
		($$SELECT biometric.set_incident_due(1, now(), ' ')$$, '22023'),
		($$SELECT biometric.mark_notified(99, '{}', 'x')$$, '42704'),
		($$SELECT biometric.mark_notified(1, NULL, 'x')$$, '22023'),
		($$SELECT biometric.mark_notified(1, ARRAY[NULL]::jsonb[], 'x')$$, '22023'),
		($$SELECT biometric.mark_notified(1, '{}', '')$$, '22023'),
		($$SELECT biometric.close_incident(99, 'x')$$, '42704'),
		($$SELECT biometric.close_incident(1, NULL)$$, '22023'),
		($$SELECT FROM biometric.notify_list(99)$$, '42704'),
		($$SELECT FROM biometric.notify_list(NULL)$$, '22023')) AS refused (call, code);

-- Whom it concerns
SELECT is(listed(1), 'nobody', 'as long as nothing was released nobody is on the list');
SELECT is(state_of(1), 'open 0 0', 'and the incident is open');
RESET ROLE;
SET biometric_audit.purpose = 'test';
\o /dev/null
SELECT face FROM traveller WHERE id IN (1, 2, 3);
SELECT face, plate FROM traveller WHERE id = 1;
SELECT plate FROM lane WHERE id = 2;
\o
RESET biometric_audit.purpose;
SET ROLE incident_auditor;
SELECT is(listed(1),
	'public.lane {"id": 2} plate 1, public.traveller {"passport": "P1"} face+plate 3, public.traveller {"passport": "P2"} face 1',
	'the list has a row for each subject, or row where none is described, with the different images');
SELECT is((SELECT row_keys FROM biometric.notify_list(1) WHERE subject = '{"passport": "P1"}'), '[{"id": 1}, {"id": 2}]'::jsonb,
	'and the rows of a subject');
SELECT is((SELECT array[first_released, last_released] FROM biometric.notify_list(1) WHERE subject = '{"passport": "P1"}'),
	(SELECT array[min(at), max(at)] FROM biometric.disclosure
		WHERE relation = 'public.traveller' AND row_key ->> 'id' IN ('1', '2')),
	'and when they were released');
SELECT is(state_of(1), 'open 3 0', 'an auditor sees how many people it concerns');
RESET ROLE;
INSERT INTO traveller SELECT 9, 'P1', face FROM traveller WHERE id = 2;
SET biometric_audit.purpose = 'test';
\o /dev/null
SELECT face FROM traveller WHERE id = 9;
\o
RESET biometric_audit.purpose;
SELECT is((SELECT row(row_keys, images) FROM biometric.notify_list(1) WHERE subject = '{"passport": "P1"}'),
	row('[{"id": 1}, {"id": 2}, {"id": 9}]'::jsonb, 3::bigint), 'an image that two rows hold counts once');
DELETE FROM traveller WHERE id = 3;
UPDATE traveller SET passport = 'changed' WHERE id = 1;
SELECT is(listed(1),
	'public.lane {"id": 2} plate 1, public.traveller {"passport": "P1"} face+plate 3, public.traveller {"passport": "P2"} face 1',
	'rows that were deleted or changed since are listed as they were');
SET ROLE incident_custodian;
SELECT biometric.open_incident('agency', '[2020-01-01,2020-01-02)', 'Long ago') AS ago \gset
SELECT is(listed(:ago), 'nobody', 'what was released outside of the period does not count');
SELECT biometric.open_incident('other', '[2020-01-01,)', 'Somebody else') AS else \gset
SELECT is(listed(:else), 'nobody', 'nor what was released to others');

-- Deadlines
SELECT biometric.open_incident('agency', '[2020-01-01,)', 'Late', '0') AS late \gset
SELECT is(state_of(:late), 'overdue 3 0', 'an incident without time left is overdue at once');
SELECT is((SELECT due_at - opened_at FROM biometric.incident WHERE id = :late), interval '0', 'its deadline is its beginning');
SELECT lives_ok(format($$SELECT biometric.set_incident_due(%s, '2100-01-01 00:00+00', 'ministry agreed')$$, :late),
	'the deadline is extended');
SELECT is(state_of(:late), 'open 3 0', 'then the incident is open again');
RESET ROLE;
SELECT is(last_step() - 'previous_due', jsonb_build_object('action', 'set_incident_due', 'incident', :late,
	'due', '2100-01-01T00:00:00+00:00', 'reason', 'ministry agreed'), 'which is an entry');
SELECT is((last_step() ->> 'previous_due')::timestamptz, (SELECT opened_at FROM biometric.incident WHERE id = :late),
	'with the old deadline');

-- Telling people
SET ROLE incident_custodian;
SELECT throws_like($$SELECT biometric.mark_notified(1, ARRAY['{"passport": "P9"}']::jsonb[], 'letter')$$,
	'somebody is not on the list of incident 1', 'who is not on the list is refused');
SELECT throws_ok($$SELECT biometric.mark_notified(1, ARRAY['{"passport": "P1"}', '{"passport": "P9"}']::jsonb[], 'letter')$$,
	'22023', NULL, 'also beside others');
SELECT throws_ok($$SELECT biometric.mark_notified(1, ARRAY['{"passport": "P1"}']::jsonb[], 'letter', 'public.lane')$$,
	'22023', NULL, 'and in the wrong table');
SELECT is((SELECT count(*) FROM biometric.notification), 0::bigint, 'nobody was marked by that');
SELECT is(biometric.mark_notified(1, ARRAY['{"passport": "P1"}', '{"passport":"P1"}']::jsonb[], 'letter'), 1::bigint,
	'somebody is marked, once');
SELECT is(state_of(1), 'open 3 1', 'one of three is notified');
SELECT is((SELECT means FROM biometric.notify_list(1) WHERE subject = '{"passport": "P1"}'), 'letter', 'the list says how');
RESET ROLE;
SELECT is(last_step(), '{"action": "mark_notified", "incident": 1, "relation": "public.traveller", "subjects": [{"passport": "P1"}], "means": "letter"}',
	'it is an entry');
SELECT notified_at AS first_time FROM biometric.notification \gset
SELECT steps() AS before \gset
SET ROLE incident_custodian;
SELECT is(biometric.mark_notified(1, ARRAY['{"passport": "P1"}']::jsonb[], 'mail'), 0::bigint, 'marking twice counts for nothing');
SELECT is((SELECT means || notified_at FROM biometric.notification), 'letter' || :'first_time'::timestamptz, 'the first time stays');
RESET ROLE;
SELECT is(steps(), :before::bigint, 'and is no entry');
SET ROLE incident_custodian;
SELECT is(biometric.mark_notified(1, ARRAY['{"passport": "P2"}', '{"passport": "P1"}', '{"id": 2}']::jsonb[], 'telephone'), 2::bigint,
	'others are marked, in their tables');
SELECT is(state_of(1), 'notified 3 3', 'when everybody is, the incident is notified');
SELECT is(state_of(:late), 'open 3 0', 'another incident is not');
RESET ROLE;
SELECT is(steps(), :before::bigint + 2, 'an entry a table');

-- What is rolled back
SELECT steps() AS before \gset
SET ROLE incident_custodian;
BEGIN;
SELECT biometric.open_incident('agency', '(,)', 'ghost');
SELECT biometric.mark_notified(:late, ARRAY['{"id": 2}']::jsonb[], 'letter');
SELECT is(state_of(:late), 'open 3 1', 'a step counts in its own transaction');
ROLLBACK;
SELECT is(state_of(:late), 'open 3 0', 'one that is rolled back has not happened');
BEGIN;
SELECT biometric.mark_notified(:late, ARRAY['{"id": 2}']::jsonb[], 'letter');
SAVEPOINT here;
SELECT biometric.close_incident(:late, 'ghost');
ROLLBACK TO here;
COMMIT;
RESET ROLE;
SELECT is(steps(), :before::bigint + 1, 'and is no entry');
SELECT is(last_step() ->> 'action', 'mark_notified', 'only what was committed is');
\set ON_ERROR_STOP off
SET ROLE incident_custodian;
BEGIN;
SELECT biometric.close_incident(:late, 'ghost');
PREPARE TRANSACTION 'incident';
SELECT is(:'SQLSTATE'::text, '0A000', 'a step cannot be prepared');
\set ON_ERROR_STOP on

-- Closing
SELECT lives_ok($$SELECT biometric.close_incident(1, 'all told')$$, 'an incident is closed');
SELECT is(state_of(1), 'closed 3 3', 'its state says so');
SELECT throws_ok(call, '55000', NULL, 'a closed incident does not change by ' || call)
	FROM unnest(ARRAY[
		$$SELECT biometric.close_incident(1, 'again')$$,
		$$SELECT biometric.set_incident_due(1, now(), 'x')$$,
		$$SELECT biometric.mark_notified(1, '{}', 'x')$$]) AS call;
RESET ROLE;
SELECT is(last_step(), '{"action": "close_incident", "incident": 1, "reason": "all told", "people": 3, "notified": 3}',
	'closing is an entry, with how many were to be notified and were');

SELECT is((SELECT string_agg(DISTINCT event, ' ') FROM biometric.ledger WHERE detail ? 'incident'), 'incident',
	'steps have an event of their own');
SELECT ok((SELECT ok FROM biometric.verify_ledger()), 'the ledger verifies');
SELECT * FROM finish();
