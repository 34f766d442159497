-- How long images are kept: what can be declared, by whom, and what stands in headers and views.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(71);

CREATE ROLE retention_custodian IN ROLE biometric_custodian;
CREATE ROLE retention_auditor IN ROLE biometric_auditor;
CREATE ROLE retention_owner;
GRANT CREATE ON SCHEMA public TO retention_owner;
GRANT USAGE ON SCHEMA made TO PUBLIC;

-- What the retention of an image counts from, by its header: ms since 1970; NULL: its sealing time.
CREATE FUNCTION counts_from(sealed bytea) RETURNS bigint LANGUAGE sql AS $body$
	SELECT nullif((get_byte(sealed, 168)::bigint << 56) | (get_byte(sealed, 169)::bigint << 48)
		| (get_byte(sealed, 170)::bigint << 40) | (get_byte(sealed, 171)::bigint << 32)
		| (get_byte(sealed, 172)::bigint << 24) | (get_byte(sealed, 173)::bigint << 16)
		| (get_byte(sealed, 174)::bigint << 8) | get_byte(sealed, 175)::bigint, 0)
$body$;

CREATE TABLE face (id int PRIMARY KEY, img biometric.face_image, must biometric.face_image NOT NULL, name text,
				   day date, clock timestamp, at timestamptz, made timestamptz GENERATED ALWAYS AS (at) STORED);
ALTER TABLE face OWNER TO retention_owner;
CREATE VIEW a_view AS SELECT * FROM face;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM face;
CREATE TEMP TABLE a_temp (img biometric.face_image);

-- What can be declared.

SELECT throws_ok($$SELECT biometric.retain(NULL, 'img', '1 day', 'erase')$$, '22023', NULL, 'a table is named');
SELECT throws_ok($$SELECT biometric.retain('face', NULL, '1 day', 'erase')$$, '22023', NULL, 'and a column');
SELECT throws_ok($$SELECT biometric.retain(1::regclass, 'img', '1 day', 'erase')$$, '42P01', NULL, 'that exists');
SELECT throws_ok($$SELECT biometric.retain('a_view', 'img', '1 day', 'erase')$$, '42809', NULL, 'no view');
SELECT throws_ok($$SELECT biometric.retain('a_matview', 'img', '1 day', 'erase')$$, '42809', NULL, 'no materialized one');
SELECT throws_ok($$SELECT biometric.retain('a_temp', 'img', '1 day', 'erase')$$, '42809', NULL, 'no temporary table');
SELECT throws_ok($$SELECT biometric.retain('face', 'nothing', '1 day', 'erase')$$, '42703', NULL, 'a column that exists');
SELECT throws_ok($$SELECT biometric.retain('face', 'ctid', '1 day', 'erase')$$, '42703', NULL, 'no system column');
SELECT throws_ok($$SELECT biometric.retain('face', 'name', '1 day', 'erase')$$, '42809', NULL, 'one with images');
SELECT throws_ok(format($$SELECT biometric.retain('face', 'img', %L, 'erase')$$, period), '22023', NULL, 'no period: ' || period)
  FROM unnest('{0,-1 day,1 day -1 hour,1 month -1 day,1001 years,400000 days}'::text[]) AS period;
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day')$$, '22023', NULL, 'how images go is said');
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'burn')$$, '22023', 'images cannot be purged by "burn"',
				 'in one of three ways');
SELECT throws_ok($$SELECT biometric.retain('face', 'must', '1 day', 'erase')$$, '55000', NULL, 'what is NOT NULL is not erased');
SELECT lives_ok($$SELECT biometric.retain('face', 'must', '1 day', 'delete')$$, 'its rows are deleted');
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'shred')$$, '55000', NULL, 'a key is not shredded that others share');
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'erase', 'nothing')$$, '42703', NULL, 'a time column exists');
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'erase', 'name')$$, '22023', NULL, 'and holds times');
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'erase', 'made')$$, '22023', NULL, 'and is not generated');
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'erase', reason => repeat('x', 1001))$$, '22023', NULL,
				 'a reason is not too long');
SELECT throws_ok($$SELECT biometric.retain('face', 'img', NULL)$$, '55000', NULL, 'nothing is ended that is not there');

CREATE TABLE heir (CHECK (img IS NOT NULL)) INHERITS (face);
ALTER TABLE heir ALTER img SET NOT NULL;
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'erase')$$, '55000', NULL, 'nor is what is NOT NULL in an heir');
DROP TABLE heir;

-- Who may.

SET ROLE retention_owner;
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'erase')$$, '42501', NULL, 'the owner declares nothing');
SELECT throws_ok('SELECT FROM biometric.retention_status', '42501', NULL, 'and sees nothing');
SELECT throws_ok('SELECT FROM biometric.retention', '42501', NULL, 'in neither way');
SELECT throws_ok($$SELECT biometric.retention_count('face', 2::int2)$$, '42501', NULL, 'nor counts');
SET ROLE retention_auditor;
SELECT throws_ok($$SELECT biometric.retain('face', 'img', '1 day', 'erase')$$, '42501', NULL, 'an auditor does not');
SELECT is((SELECT count(*) FROM biometric.retention_status), 1::bigint, 'but sees what was declared');
SET ROLE retention_custodian;
SELECT lives_ok($$SELECT biometric.retain('face', 'img', '1 day', 'erase', 'at', 'as the law says')$$, 'a custodian does');
SELECT is((SELECT concat_ws(' ', column_name, period, on_expiry, time_column, state, images, due, held, purged, unstamped, oldest)
			 FROM biometric.retention_status WHERE column_name = 'img'),
		  'img 1 day erase at in_force 0 0 0 0 0', 'an empty table is in force at once');
SELECT is((SELECT concat_ws(' ', reason, declared_by) FROM biometric.retention WHERE column_name = 'img'),
		  'as the law says retention_custodian', 'who declared it, and why, is kept');
RESET ROLE;
SELECT throws_ok($$UPDATE biometric.retention SET period = '9 years'$$, '42501', NULL, 'not even a superuser changes it by hand');
SELECT throws_ok('DELETE FROM biometric.retention', '42501', NULL, 'or deletes it');
SELECT throws_ok('TRUNCATE biometric.retention_past', '42501', NULL, 'or what is kept of columns that are gone');
SELECT throws_ok($$SELECT biometric.end_past_retention(NULL, 'x')$$, '22023', NULL, 'nothing past is ended that is not named');
SELECT throws_ok($$SELECT biometric.end_past_retention('00000000-0000-4000-8000-000000000000', 'x')$$, '42704', NULL, 'or not there');
SELECT throws_ok($$SELECT biometric.end_past_retention('00000000-0000-4000-8000-000000000000', ' ')$$, '22023', NULL, 'or for no reason');

-- What stands in the header.

INSERT INTO face (id, img, must, at) VALUES
	(1, made.png(1, 1), made.png(1, 1), '2020-02-03 04:05:06.789+00'), (2, made.png(1, 1), made.png(1, 1), NULL),
	(3, made.png(1, 1), made.png(1, 1), 'infinity'), (4, made.png(1, 1), made.png(1, 1), '-infinity'),
	(5, made.png(1, 1), made.png(1, 1), '1969-12-31 23:59:59.9991+00'), (6, made.png(1, 1), made.png(1, 1), '1970-01-01 00:00+00'),
	(7, made.png(1, 1), made.png(1, 1), '1815-12-10+00'), (8, made.png(1, 1), made.png(1, 1), '9999-12-31+00'),
	(9, NULL, made.png(1, 1), now());
SELECT is(counts_from(img::bytea), 1580702706789, 'an image counts from the time of its row') FROM face WHERE id = 1;
SELECT is(counts_from(must::bytea), NULL, 'one of a column without time column from its sealing') FROM face WHERE id = 1;
SELECT is(counts_from(img::bytea), NULL, 'so does one whose row has no time, or none that is finite') FROM face WHERE id BETWEEN 2 AND 4;
SELECT is(counts_from(img::bytea), -1::bigint, 'times are rounded down, before 1970, too') FROM face WHERE id = 5;
SELECT is(counts_from(img::bytea), 1::bigint, '1970 itself is taken for a millisecond later, as 0 is no time') FROM face WHERE id = 6;
SELECT is(counts_from(img::bytea), -4861728000000, 'an old time is what it is') FROM face WHERE id = 7;
SELECT is(counts_from(img::bytea), 253402214400000, 'and one far ahead') FROM face WHERE id = 8;
UPDATE face SET at = '2021-01-01 00:00+00' WHERE id IN (1, 9);
SELECT is(counts_from(img::bytea), 1609459200000, 'another time goes into the header') FROM face WHERE id = 1;
UPDATE face SET img = made.png(2, 2) WHERE id = 9;
SELECT is(counts_from(img::bytea), 1609459200000, 'an image that comes later gets the time that is there') FROM face WHERE id = 9;
SELECT lives_ok($$SELECT sum(biometric.width(img)) FROM face$$, 'headers authenticate');
SELECT is((SELECT concat_ws(' ', images, due, held, unstamped, extract(year FROM oldest AT TIME ZONE 'UTC'))
			 FROM biometric.retention_status WHERE column_name = 'img'), '9 5 0 0 1815', 'the view counts them');

SELECT biometric.retain('face', 'img', '1 day', 'erase', 'day') \g /dev/null
UPDATE face SET day = '2020-02-03', clock = '2020-02-03 04:05:06' WHERE id = 1;
SET timezone = 'Asia/Tokyo';
UPDATE face SET day = '2020-02-03', clock = '2020-02-03 04:05:06' WHERE id = 2;
SELECT is(array_agg(DISTINCT counts_from(img::bytea)), '{1580688000000}', 'a date is a day in UTC, whatever the time zone')
  FROM face WHERE id IN (1, 2);
SELECT is((SELECT unstamped FROM biometric.retention_status WHERE column_name = 'img'), 5::bigint,
		  'what has another time than its row is unstamped');
SELECT biometric.retain('face', 'img', '1 day', 'erase', 'clock') \g /dev/null
UPDATE face SET clock = '2020-02-03 04:05:07' WHERE id IN (1, 2);
SELECT is(array_agg(DISTINCT counts_from(img::bytea)), '{1580702707000}', 'so is a timestamp') FROM face WHERE id IN (1, 2);
RESET timezone;
SELECT biometric.retain('face', 'img', '1 day', 'erase', 'day') \g /dev/null
UPDATE face SET day = '5874897-12-31' WHERE id = 3;
SELECT cmp_ok(counts_from(img::bytea), '>', 9200000000000000, 'a day that no timestamp reaches is far ahead') FROM face WHERE id = 3;
SELECT is((SELECT count(*) FROM face WHERE counts_from(img::bytea) IS NOT NULL), 8::bigint, 'nothing else was touched');

-- Cost: what nobody asks for is not counted.

CREATE FUNCTION calls() RETURNS bigint LANGUAGE sql AS $body$
	SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_xact_user_functions WHERE funcname = 'retention_count'
$body$;
SET track_functions = 'all';
BEGIN;
SELECT relation, column_name, state, purged FROM biometric.retention_status \g /dev/null
SELECT is(calls(), 0::bigint, 'images are not counted unless that is asked for');
SELECT images, due, held, unstamped, oldest FROM biometric.retention_status \g /dev/null
SELECT is(calls(), 2::bigint, 'and once a row, then');
COMMIT;

-- Transactions.

BEGIN;
SELECT biometric.retain('face', 'img', '3 days', 'erase') \g /dev/null
SAVEPOINT s;
SELECT biometric.retain('face', 'img', '4 days', 'erase') \g /dev/null
ROLLBACK TO s;
SELECT is(period, '3 days', 'a change is undone with its subtransaction') FROM biometric.retention_status WHERE column_name = 'img';
ROLLBACK;
SELECT is(period, '1 day', 'and with its transaction') FROM biometric.retention_status WHERE column_name = 'img';
SELECT biometric.retain('face', 'must', NULL) \g /dev/null
SELECT is(string_agg(column_name, ' '), 'img', 'what is ended is gone') FROM biometric.retention_status;
SELECT is((SELECT string_agg(concat_ws(' ', detail ->> 'relation', detail ->> 'column', detail ->> 'period', detail ->> 'ended'), ', ')
			 FROM (SELECT detail FROM biometric.ledger WHERE detail ->> 'action' = 'retain' ORDER BY seq DESC LIMIT 1) AS l),
		  'public.face must true', 'which is an entry, too');
SELECT is(count(*), 6::bigint, 'as is each change that was committed') FROM biometric.ledger WHERE detail ->> 'action' = 'retain';

-- Tables that go.

CREATE TABLE copies AS SELECT img FROM face WHERE id = 1;
DROP TABLE face CASCADE;
SELECT is(count(*), 0::bigint, 'a period goes with its table') FROM biometric.retention;
SELECT is(string_agg(concat_ws(' ', relation, column_name, period), ', '), 'public.face img 1 day', 'what was in force is kept for copies')
  FROM biometric.retention_past WHERE relation = 'public.face';
SELECT lives_ok($$SELECT biometric.end_past_retention(home, 'test') FROM biometric.retention_past$$, 'a custodian ends that');
SELECT is(count(*), 0::bigint, 'and it is gone') FROM biometric.retention_past;

SELECT is(current_setting('biometric_audit.max_retention_rules'), '256', 'there is room for 256');

SELECT * FROM finish();
