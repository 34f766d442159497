-- What an owner says describes his images goes on record with them, and what was
-- released is counted by it. How the figures agree with the ledger's entries:
-- test/tap/032_breach_report.pl.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;
SET timezone = 'America/New_York';

SELECT plan(56);

-- What was put on record of images since this was called last, in the ledger's order.
CREATE FUNCTION recorded() RETURNS SETOF text LANGUAGE plpgsql AS $body$
DECLARE
	mark constant bigint := coalesce(nullif(current_setting('suite.mark', true), ''), '0');
BEGIN
	WHILE (SELECT pending > 0 OR state <> 'ready' FROM biometric.ledger_status()) LOOP
		PERFORM pg_sleep(0.001);
	END LOOP;
	RETURN QUERY SELECT concat_ws(' ', d.operation, l.relation, l.row_key, nullif(d.collected - 'of', '{}'))
	  FROM biometric.ledger AS l, biometric.decode_entry(biometric.leaf(l.seq)) AS d
	 WHERE l.seq >= mark AND l.event IN ('stored', 'replaced', 'erased') ORDER BY l.seq;
	PERFORM set_config('suite.mark', (SELECT max(l.seq) + 1 FROM biometric.ledger AS l)::text, false);
END
$body$;

CREATE ROLE report_owner;
CREATE ROLE report_stranger;
GRANT ALL ON SCHEMA public TO report_owner, report_stranger;
GRANT USAGE ON SCHEMA made TO report_owner;
SET ROLE report_owner;
CREATE TABLE visit (id int PRIMARY KEY, name text, born date, port text, lane int, seen timestamptz, noon timestamp,
	face biometric.face_image, passport biometric.document_image);
CREATE TABLE plain (id int PRIMARY KEY, name text);
INSERT INTO visit VALUES (1, 'first', '1980-02-03', 'north', 1, '2026-05-01 20:30:00.25', '2026-05-01 20:30', made.png(3, 2), NULL);
RESET ROLE;
SELECT recorded() \g /dev/null

-- Who may, and what can be named.

SET ROLE report_stranger;
SELECT throws_ok($$SELECT biometric.describe_collection('visit', '{name}')$$, '42501', NULL, 'others may not describe a table');
RESET ROLE;
SET ROLE report_owner;
SELECT throws_ok($$SELECT biometric.describe_collection('visit', '{nothing}')$$, '42703', NULL, 'a column that does not exist is refused');
SELECT throws_ok($$SELECT biometric.describe_collection('visit', '{ctid}')$$, '42703', NULL, 'so is a system column');
SELECT throws_ok($$SELECT biometric.describe_collection('visit', '{name,name}')$$, '22023', NULL, 'a column that is named twice');
SELECT throws_ok($$SELECT biometric.describe_collection('visit', '{name,NULL}')$$, '22023', NULL, 'NULL among the names');
SELECT throws_ok($$SELECT biometric.describe_collection('visit', '{face}')$$, '22023', NULL, 'an image as a subject');
SELECT throws_ok($$SELECT biometric.describe_collection('visit', place_columns => '{passport}')$$, '22023', NULL, 'an image as a place');
SELECT throws_ok($$SELECT biometric.describe_collection('visit', time_column => 'port')$$, '22023', NULL, 'a time that is none');
SELECT throws_ok($$SELECT biometric.describe_collection('visit', array_agg('c' || n)::name[]) FROM generate_series(1, 17) AS n$$, '22023', NULL,
	'more columns than can be');
SELECT throws_ok($$SELECT biometric.describe_collection('plain', '{name}')$$, '42809', NULL, 'a table without images');
SELECT throws_ok($$SELECT biometric.describe_collection('plain_pkey', '{name}')$$, '42809', NULL, 'what is no table');
SELECT throws_ok($$SELECT biometric.describe_collection(NULL, '{name}')$$, '22023', NULL, 'NULL');
SELECT throws_ok($$SELECT biometric.describe_collection(4294967295, '{name}')$$, '42P01', NULL, 'what does not exist');
RESET ROLE;
SELECT is(string_agg(r, E'\n'), NULL, 'none of which put anything on record') FROM recorded() AS r;

-- What is collected.

SET ROLE report_owner;
SELECT lives_ok($$SELECT biometric.describe_collection('visit', '{name,born}', '{port,lane}', 'seen')$$, 'the owner may describe his table');
RESET ROLE;
SELECT is(string_agg(r, E'\n'), 'describe public.visit {"id": 1} {"time": "2026-05-02T00:30:00.250000Z", '
	'"place": {"lane": 1, "port": "north"}, "subject": {"born": "1980-02-03", "name": "first"}}',
	'images that are there are put on record by it, with what describes them') FROM recorded() AS r;
SELECT is(detail - 'party' - 'network', '{"action": "describe_collection", "relation": "public.visit", "subject_columns": ["name", "born"],
	"place_columns": ["port", "lane"], "time_column": "seen"}'::jsonb, 'and the description itself')
  FROM (SELECT detail FROM biometric.ledger WHERE event = 'policy_changed' ORDER BY seq DESC LIMIT 1) AS last;
SELECT is((SELECT concat_ws(' ', relation, subject_columns, place_columns, time_column, described_by) FROM biometric.collection),
	'visit {name,born} {port,lane} seen report_owner', 'it is kept');
INSERT INTO visit VALUES (2, E'O''Hara "\\\n', NULL, 'north', 1, '2026-05-03', NULL, made.png(3, 2), made.png(3, 2));
SELECT is(string_agg(r, E'\n'), concat_ws(E'\n',
	'insert public.visit {"id": 2} {"time": "2026-05-03T04:00:00Z", "place": {"lane": 1, "port": "north"}, "subject": {"born": null, "name": "O''Hara \"\\\n"}}',
	'insert public.visit {"id": 2} {"time": "2026-05-03T04:00:00Z", "place": {"lane": 1, "port": "north"}, "subject": {"born": null, "name": "O''Hara \"\\\n"}}'),
	'each image that is stored goes on record with it') FROM recorded() AS r;
UPDATE visit SET port = 'south', face = made.png(4, 2) WHERE id = 1;
SELECT is(string_agg(r, E'\n'), 'update public.visit {"id": 1} {"time": "2026-05-02T00:30:00.250000Z", '
	'"place": {"lane": 1, "port": "south"}, "subject": {"born": "1980-02-03", "name": "first"}}', 'each that replaces one, as the row is then')
  FROM recorded() AS r;
UPDATE visit SET port = 'west' WHERE id = 1;
SELECT is(string_agg(r, E'\n'), NULL, 'a row that changes around its image is none of the ledger''s business') FROM recorded() AS r;
UPDATE visit SET face = NULL WHERE id = 1;
SELECT is(string_agg(r, E'\n'), 'update public.visit {"id": 1}', 'what is erased says nothing of it') FROM recorded() AS r;
INSERT INTO visit VALUES (3, NULL, NULL, NULL, NULL, 'infinity', NULL, made.png(3, 2), NULL);
SELECT is(string_agg(r, E'\n'), 'insert public.visit {"id": 3}', 'what is NULL, or no date, is not recorded') FROM recorded() AS r;
INSERT INTO visit VALUES (4, 'short', NULL, 'x', NULL, '0044-03-15 BC', NULL, made.png(3, 2), NULL);
SELECT is(string_agg(r, E'\n'), 'insert public.visit {"id": 4} {"place": {"lane": null, "port": "x"}, "subject": {"born": null, "name": "short"}}',
	'nor a year that has not four digits') FROM recorded() AS r;
SELECT throws_ok($$INSERT INTO visit VALUES (5, repeat('long ', 1000), NULL, 'x', NULL, NULL, NULL, made.png(3, 2), NULL)$$, '54000', NULL,
	'values that are too long are refused when they are stored');
SELECT lives_ok($$INSERT INTO visit VALUES (5, repeat('long ', 1000), NULL, 'x', NULL, NULL, NULL, NULL, NULL)$$, 'but not where there is no image');
DELETE FROM visit WHERE id = 5;
SELECT is((SELECT biometric.digest(face) FROM visit WHERE id = 4), (SELECT d.digest FROM biometric.ledger AS l,
	biometric.decode_entry(biometric.leaf(l.seq)) AS d WHERE l.row_key = '{"id": 4}' AND l.event = 'stored'), 'the digest of an image is recorded');
SELECT is((SELECT biometric.key_id(face)::bigint FROM visit WHERE id = 4), (SELECT d.key FROM biometric.ledger AS l,
	biometric.decode_entry(biometric.leaf(l.seq)) AS d WHERE l.row_key = '{"id": 4}' AND l.event = 'stored'), 'and the key that it belongs to');
SELECT recorded() \g /dev/null

-- Descriptions follow the table.

ALTER TABLE visit RENAME COLUMN port TO harbour;
SELECT is((SELECT place_columns::text FROM biometric.collection), '{harbour,lane}', 'a column that is renamed keeps its place');
INSERT INTO visit VALUES (6, 'six', NULL, 'east', 2, NULL, NULL, made.png(3, 2), NULL);
SELECT is(string_agg(r, E'\n'), 'insert public.visit {"id": 6} {"place": {"lane": 2, "harbour": "east"}, "subject": {"born": null, "name": "six"}}',
	'and is recorded under its new name') FROM recorded() AS r;
ALTER TABLE visit DROP COLUMN lane;
SELECT is((SELECT place_columns::text FROM biometric.collection), '{harbour}', 'one that is dropped is forgotten');
SELECT biometric.describe_collection('visit', place_columns => '{harbour}', time_column => 'noon') \g /dev/null
SELECT is(string_agg(r, E'\n' ORDER BY r), concat_ws(E'\n',
	'describe public.visit {"id": 2} {"place": {"harbour": "north"}}', 'describe public.visit {"id": 2} {"place": {"harbour": "north"}}',
	'describe public.visit {"id": 3}', 'describe public.visit {"id": 4} {"place": {"harbour": "x"}}',
	'describe public.visit {"id": 6} {"place": {"harbour": "east"}}'), 'a description replaces the one before') FROM recorded() AS r;
INSERT INTO visit VALUES (7, 'seven', NULL, NULL, NULL, '2026-05-01 20:30', made.png(3, 2), NULL);
SELECT is(string_agg(r, E'\n'), 'insert public.visit {"id": 7} {"time": "2026-05-01T20:30:00Z"}', 'a time without zone is taken for UTC') FROM recorded() AS r;
SELECT biometric.describe_collection('visit', time_column => 'born') \g /dev/null
SELECT recorded() \g /dev/null
INSERT INTO visit VALUES (8, 'eight', '1990-12-31', NULL, NULL, NULL, made.png(3, 2), NULL);
SELECT is(string_agg(r, E'\n'), 'insert public.visit {"id": 8} {"time": "1990-12-31T00:00:00Z"}', 'a date for its beginning') FROM recorded() AS r;
BEGIN;
SELECT biometric.describe_collection('visit') \g /dev/null
ROLLBACK;
INSERT INTO visit VALUES (9, 'nine', '1990-12-31', NULL, NULL, NULL, made.png(3, 2), NULL);
SELECT is(string_agg(r, E'\n'), 'insert public.visit {"id": 9} {"time": "1990-12-31T00:00:00Z"}', 'what is rolled back changes nothing') FROM recorded() AS r;
SELECT biometric.describe_collection('visit') \g /dev/null
SELECT is((SELECT count(*) FROM biometric.collection), 0::bigint, 'one without columns removes it');
INSERT INTO visit VALUES (10, 'ten', '1990-12-31', NULL, NULL, NULL, made.png(3, 2), NULL);
SELECT is(string_agg(r, E'\n'), 'insert public.visit {"id": 10}', 'and nothing is collected any more') FROM recorded() AS r;
BEGIN;
SELECT biometric.describe_collection('visit', '{name}') \g /dev/null
SELECT throws_ok($$PREPARE TRANSACTION 'described'$$, '0A000', NULL, 'a description cannot be prepared');
ROLLBACK;
SELECT recorded() \g /dev/null

-- Partitions and heirs.

CREATE TABLE road (id int, lane int, plate biometric.plate_image, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE road_1 PARTITION OF road FOR VALUES FROM (0) TO (10);
CREATE TABLE road_2 (plate biometric.plate_image, lane int, id int NOT NULL);
INSERT INTO road VALUES (1, 5, made.png(3, 2));
SELECT biometric.describe_collection('road', place_columns => '{lane}') \g /dev/null
SELECT is(string_agg(r, E'\n'), E'insert public.road_1 {"id": 1}\ndescribe public.road_1 {"id": 1} {"place": {"lane": 5}}',
	'what is in partitions is recorded, too') FROM recorded() AS r;
ALTER TABLE road ATTACH PARTITION road_2 FOR VALUES FROM (10) TO (20);
INSERT INTO road VALUES (11, 6, made.png(3, 2));
SELECT is(string_agg(r, E'\n'), 'insert public.road_2 {"id": 11} {"place": {"lane": 6}}', 'a partition counts with its root, by names of columns') FROM recorded() AS r;
ALTER TABLE road DETACH PARTITION road_2;
INSERT INTO road_2 VALUES (made.png(3, 2), 7, 12);
SELECT is(string_agg(r, E'\n'), 'insert public.road_2 {"id": 12}', 'and not once it is detached') FROM recorded() AS r;
CREATE TABLE base (id int PRIMARY KEY, who text, face biometric.face_image);
CREATE TABLE middle (PRIMARY KEY (id)) INHERITS (base);
CREATE TABLE leaf (who_else text, PRIMARY KEY (id)) INHERITS (middle);
INSERT INTO leaf VALUES (1, 'a', made.png(3, 2), 'b');
SELECT biometric.describe_collection('base', '{who}') \g /dev/null
INSERT INTO leaf VALUES (2, 'a', made.png(3, 2), 'b');
SELECT biometric.describe_collection('leaf', '{who_else}') \g /dev/null
INSERT INTO leaf VALUES (3, 'a', made.png(3, 2), 'b');
SELECT recorded() \g /dev/null
SELECT is((SELECT string_agg(d.collected::text, ' ' ORDER BY l.seq) FROM biometric.ledger AS l, biometric.decode_entry(biometric.leaf(l.seq)) AS d
	WHERE l.relation = 'public.leaf' AND d.operation = 'insert' AND d.collected IS NOT NULL),
	'{"of": "public.base", "subject": {"who": "a"}} {"of": "public.leaf", "subject": {"who_else": "b"}}', 'an heir counts with its nearest ancestor that is described');
ALTER TABLE middle NO INHERIT base;
SELECT biometric.describe_collection('leaf') \g /dev/null
SELECT recorded() \g /dev/null
INSERT INTO leaf VALUES (4, 'a', made.png(3, 2), 'b');
SELECT is(string_agg(r, E'\n'), 'insert public.leaf {"id": 4}', 'and with none, when its parent has left that') FROM recorded() AS r;
ALTER TABLE middle INHERIT base;
INSERT INTO leaf VALUES (5, 'a', made.png(3, 2), 'b');
SELECT is(string_agg(r, E'\n'), 'insert public.leaf {"id": 5} {"subject": {"who": "a"}}', 'or has come back') FROM recorded() AS r;
DROP TABLE leaf, middle, base;
DROP TABLE road;
SELECT is((SELECT count(*) FROM biometric.collection), 0::bigint, 'what is dropped has no description');

-- The table of descriptions is guarded.

SELECT throws_ok($$DELETE FROM biometric.collection$$, '42501', NULL, 'nobody writes to the table of descriptions');

-- What was released, and to whom it is told.

SELECT biometric.register_party('report_yard', 'a yard', NULL) \g /dev/null
SET ROLE report_stranger;
SELECT throws_ok($$SELECT * FROM biometric.affected('report_yard', '(,)')$$, '42501', NULL, 'only auditors ask what was released');
SELECT throws_ok($$SELECT * FROM biometric.breach_report('report_yard', '(,)')$$, '42501', NULL, 'and have it counted');
RESET ROLE;
SELECT throws_ok($$SELECT * FROM biometric.affected('nobody', '(,)')$$, '42704', NULL, 'a party that nobody knows is refused');
SELECT throws_ok($$SELECT * FROM biometric.breach_report('nobody', '(,)')$$, '42704', NULL, 'by both');
SELECT throws_ok($$SELECT * FROM biometric.affected('report_yard', 'empty')$$, '22023', NULL, 'an empty period is refused');
SELECT throws_ok($$SELECT * FROM biometric.breach_report('report_yard', NULL)$$, '22023', NULL, 'so is none');
SELECT is((SELECT count(*) FROM biometric.affected('report_yard', '(,)')), 0::bigint, 'who received nothing has no rows');
SELECT is((SELECT string_agg(concat_ws(' ', dimension, value, taken, disclosures, images, rows, subjects), ', ')
	FROM biometric.breach_report('report_yard', '(,)') WHERE dimension IN ('total', 'kind')),
	'total f 0 0 0 0, kind face f 0 0 0 0, kind plate f 0 0 0 0, kind document f 0 0 0 0, kind fingerprint f 0 0 0 0, kind iris f 0 0 0 0',
	'but figures, all of them 0');
SELECT is((SELECT array_agg(value ORDER BY value COLLATE "C") FROM biometric.breach_report('report_yard', '(,)') WHERE dimension = 'relation'),
	ARRAY['public.road_2', 'public.visit'], 'for each table that has images now');
SELECT is((SELECT bool_or(taken) FROM biometric.breach_report(NULL, '(,)')), false, 'NULL means clients of no party');

SELECT * FROM finish();
