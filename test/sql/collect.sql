-- No more is collected than was declared: whichever way an image comes into a column.
-- How this holds with many clients, other servers and two persons, and what reports say of
-- it: test/tap/052_collect.pl.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(71);

CREATE ROLE collect_owner;
CREATE ROLE collect_custodian IN ROLE biometric_custodian;
GRANT ALL ON SCHEMA public TO collect_owner;
GRANT USAGE ON SCHEMA made TO collect_owner;

-- What the last change of the policy has on record.
CREATE FUNCTION ledger_detail() RETURNS jsonb LANGUAGE sql AS $body$
	SELECT detail - 'network' FROM biometric.ledger WHERE event = 'policy_changed' ORDER BY seq DESC LIMIT 1
$body$;

SET ROLE collect_owner;
CREATE TABLE lane (id int PRIMARY KEY, name text, first text, face biometric.face_image, plate biometric.plate_image)
	PARTITION BY RANGE (id);
CREATE TABLE lane_1 PARTITION OF lane FOR VALUES FROM (0) TO (100);
CREATE TABLE lane_2 PARTITION OF lane FOR VALUES FROM (100) TO (200);
CREATE TABLE plain (id int, name text);
CREATE TEMPORARY TABLE passing (face biometric.face_image);
INSERT INTO lane VALUES (1, 'old', NULL, made.png(640, 480), NULL);
RESET ROLE;

-- Who may, and what can be declared.

SET ROLE collect_owner;
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', 100)$$, '42501', NULL, 'the owner may not declare what is collected');
RESET ROLE;
REVOKE biometric_custodian FROM postgres;
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', 100)$$, '42501', NULL, 'nor may a superuser as such');
GRANT biometric_custodian TO postgres;
SELECT throws_ok($$SELECT biometric.collect(NULL, 'face', 100)$$, '22023', NULL, 'no table');
SELECT throws_ok($$SELECT biometric.collect('lane', NULL, 100)$$, '22023', NULL, 'no column');
SELECT throws_ok($$SELECT biometric.collect(4294967295, 'face', 100)$$, '42P01', NULL, 'a table that does not exist');
SELECT throws_ok($$SELECT biometric.collect('lane', 'nothing', 100)$$, '42703', NULL, 'a column that does not exist');
SELECT throws_ok($$SELECT biometric.collect('lane', 'ctid', 100)$$, '42703', NULL, 'a system column');
SELECT throws_ok($$SELECT biometric.collect('lane', 'name', 100)$$, '42809', NULL, 'a column without images');
SELECT throws_ok($$SELECT biometric.collect('passing', 'face', 100)$$, '42809', NULL, 'a temporary table');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', 0)$$, '22023', NULL, 'a width of nothing');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', max_height => -1)$$, '22023', NULL, 'a height of less');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', max_per_subject_per_day => 0)$$, '22023', NULL, 'no images a day');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', formats => '{jpeg,gif}')$$, '22023', 'there is no image format "gif"', 'a format that is none');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', formats => '{}')$$, '22023', NULL, 'no format');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', formats => '{jpeg,NULL}')$$, '22023', NULL, 'NULL among the formats');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', purpose => ' ')$$, '22023', NULL, 'a blank purpose');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', legal_basis => repeat('x', 1001))$$, '22023', NULL, 'a legal basis without end');
SELECT throws_ok($$SELECT biometric.collect('lane', 'face', max_per_subject_per_day => 2)$$, '55000', NULL, 'subjects that nobody has described');
SELECT is((SELECT count(*) FROM biometric.collection_limit), 0::bigint, 'none of which was declared');
SELECT is((SELECT string_agg(concat_ws(' ', relation, column_name, kind, declared), ', ' ORDER BY column_name) FROM biometric.declared_collection),
	'lane face face f, lane plate plate f', 'columns with images are undeclared at first; partitions stand in their parent');

-- What is declared holds for what comes in.

SET ROLE collect_custodian;
SELECT lives_ok($$SELECT biometric.collect('lane', 'face', 100, 50, '{png,jpeg,png}', purpose => 'border control', legal_basis => '8 USC 1365b')$$,
	'a custodian may declare it');
RESET ROLE;
SELECT is(ledger_detail() - 'declaration', '{"action": "collect", "relation": "public.lane", "column": "face", "max_width": 100, "max_height": 50,
	"formats": ["jpeg", "png"], "purpose": "border control", "legal_basis": "8 USC 1365b"}'::jsonb, 'it is on record');
SELECT is((SELECT concat_ws(' ', relation, column_name, declared, max_width, max_height, formats, max_per_subject_per_day, purpose, legal_basis, declared_by)
	FROM biometric.declared_collection WHERE declared), 'lane face t 100 50 {jpeg,png} border control 8 USC 1365b collect_custodian', 'and shown');
SELECT is((SELECT declaration::text FROM biometric.declared_collection WHERE declared), ledger_detail() ->> 'declaration', 'under one name');
SELECT lives_ok($$INSERT INTO lane VALUES (2, 'a', NULL, made.png(100, 50), made.png(640, 480))$$, 'what keeps within it comes in; other columns are free');
SELECT throws_ok($$INSERT INTO lane VALUES (3, 'a', NULL, made.png(101, 50))$$, '23514',
	'image of 101 x 50 pixels in format png exceeds what column "face" of table "lane_1" was declared to collect', 'what is wider does not');
SELECT throws_ok($$INSERT INTO lane VALUES (3, 'a', NULL, made.png(100, 51))$$, '23514', NULL, 'nor what is higher');
SELECT throws_ok($$INSERT INTO lane VALUES (3, 'a', NULL, made.j2k(10, 10))$$, '23514', NULL, 'nor what is in another format');
SELECT throws_ok($$INSERT INTO lane_2 VALUES (103, 'a', NULL, made.png(101, 50))$$, '23514', NULL, 'nor past the parent into a partition');
SELECT throws_ok($$UPDATE lane SET face = made.png(101, 50) WHERE id = 2$$, '23514', NULL, 'nor by UPDATE');
SELECT throws_ok($$INSERT INTO lane VALUES (2, 'a', NULL, made.png(1, 1)) ON CONFLICT (id) DO UPDATE SET face = made.png(101, 50)$$, '23514', NULL,
	'nor by ON CONFLICT');
SELECT throws_ok($$MERGE INTO lane USING (VALUES (2)) AS v (id) ON lane.id = v.id WHEN MATCHED THEN UPDATE SET face = made.png(101, 50)$$, '23514', NULL,
	'nor by MERGE');
SELECT throws_ok($$MERGE INTO lane USING (VALUES (3)) AS v (id) ON lane.id = v.id WHEN NOT MATCHED THEN INSERT (id, face) VALUES (3, made.png(101, 50))$$,
	'23514', NULL, 'nor by its INSERT');
CREATE TABLE elsewhere AS SELECT 5 AS id, made.png(640, 480)::biometric.face_image AS face;
SELECT pass('a new table has no declaration');
SELECT throws_ok($$INSERT INTO lane SELECT id, 'a', NULL, face FROM elsewhere$$, '23514', NULL, 'nor sealed, from another table');
SELECT throws_ok($$INSERT INTO lane SELECT id, 'a', NULL, face::text::biometric.face_image FROM elsewhere$$, '23514', NULL, 'nor as what was exported');
CREATE FUNCTION swap() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN NEW.face := made.png(640, 480); RETURN NEW; END $body$;
CREATE TRIGGER a_swap BEFORE INSERT ON lane_1 FOR EACH ROW EXECUTE FUNCTION swap();
SELECT throws_ok($$INSERT INTO lane VALUES (3, 'a', NULL, made.png(1, 1))$$, '23514', NULL, 'nor by a trigger of the owner''s');
DROP TRIGGER a_swap ON lane_1;
CREATE TABLE heir () INHERITS (elsewhere);
SELECT biometric.collect('elsewhere', 'face', 700) \g /dev/null
SELECT throws_ok($$INSERT INTO heir VALUES (1, made.png(701, 1))$$, '23514', NULL, 'nor into an heir');
SELECT biometric.collect('heir', 'face', 800) \g /dev/null
SELECT throws_ok($$INSERT INTO heir VALUES (1, made.png(701, 1))$$, '23514', NULL, 'whose own declaration loosens nothing');
SELECT throws_ok($$ALTER TABLE elsewhere ALTER COLUMN face TYPE biometric.face_image USING made.png(701, 1)::biometric.face_image$$, '23514', NULL,
	'nor by ALTER COLUMN TYPE');
SELECT lives_ok($$ALTER TABLE elsewhere ALTER COLUMN face TYPE biometric.face_image USING face$$, 'which leaves alone what was there');

-- What was there stays, and moves.

SELECT lives_ok($$UPDATE lane SET name = 'older', face = face WHERE id = 1$$, 'an image that was there before stays');
SELECT lives_ok($$UPDATE lane SET id = 101 WHERE id = 1$$, 'also when its row moves to another partition');
SELECT lives_ok($$UPDATE lane SET id = 1, name = 'old' WHERE id = 101$$, 'and back');
CREATE TABLE lane_3 (LIKE lane INCLUDING ALL);
INSERT INTO lane_3 VALUES (200, 'b', NULL, made.png(640, 480));
ALTER TABLE lane_3 OWNER TO collect_owner;
SET ROLE collect_owner;
SELECT throws_ok($$ALTER TABLE lane ATTACH PARTITION lane_3 FOR VALUES FROM (200) TO (300)$$, '23514', NULL, 'a table with images that exceed it is not attached');
RESET ROLE;
SELECT lives_ok($$ALTER TABLE lane ATTACH PARTITION lane_3 FOR VALUES FROM (200) TO (300)$$, 'but by a custodian, who is told');

-- How many of one subject.

SELECT biometric.describe_collection('lane', '{name,first}') \g /dev/null
SELECT biometric.collect('lane', 'face', 100, 50, '{png,jpeg}', 2, 'border control', '8 USC 1365b') \g /dev/null
-- the day is that of the transaction, so that none begins in the midst of it
BEGIN;
SELECT lives_ok($$INSERT INTO lane VALUES (10, 'b', 'x', made.png(1, 1)), (110, 'b', 'x', made.png(1, 1))$$, 'two images of a subject, in different partitions');
SELECT throws_ok($$INSERT INTO lane VALUES (11, 'b', 'x', made.png(1, 1))$$, '23514', NULL, 'but not a third');
SELECT lives_ok($$INSERT INTO lane VALUES (11, 'b', NULL, made.png(1, 1))$$, 'another subject has its own');
SELECT throws_ok($$INSERT INTO lane VALUES (12, NULL, NULL, made.png(1, 1))$$, '23502', NULL, 'who is nobody has none');
SELECT lives_ok($$INSERT INTO lane VALUES (12, NULL, NULL, NULL)$$, 'a row without an image needs no subject');
SELECT lives_ok($$UPDATE lane SET id = 120 WHERE id = 10; UPDATE lane SET face = face, name = name WHERE id = 110$$, 'updates that keep the image do not count');
SELECT throws_ok($$UPDATE lane SET face = made.png(1, 1) WHERE id = 110$$, '23514', NULL, 'those that replace it do');
SELECT throws_ok($$UPDATE lane SET id = 10, face = made.png(1, 1) WHERE id = 110$$, '23514', NULL, 'also when the row moves meanwhile');
SELECT lives_ok($$UPDATE lane SET id = 12, name = 'e', first = 'x', face = made.png(1, 1) WHERE id = 12$$, 'for whom there is room, they pass');
SELECT lives_ok($$UPDATE lane SET id = 112, face = made.png(1, 1) WHERE id = 12$$, 'wherever the row moves');
SELECT throws_ok($$UPDATE lane SET id = 12, face = made.png(1, 1) WHERE id = 112$$, '23514', NULL, 'and count');
DELETE FROM lane WHERE id = 112;
-- what was exported before it came to nothing
CREATE ROLE collect_clerk;
GRANT SELECT, INSERT ON lane TO collect_clerk;
GRANT USAGE ON SCHEMA made TO collect_clerk;
GRANT ALL ON SCHEMA public TO collect_clerk;
SAVEPOINT s;
INSERT INTO lane VALUES (30, 'f', 'x', made.png(1, 1)) RETURNING face::text AS sealed \gset
ROLLBACK TO s;
INSERT INTO lane VALUES (31, 'f', 'x', made.png(1, 1)), (32, 'f', 'x', made.png(1, 1));
SET ROLE collect_clerk;
SELECT throws_ok(format('INSERT INTO lane VALUES (30, %L, %L, %L)', 'f', 'x', :'sealed'), '23514', NULL, 'what was exported before it was rolled back counts');
RESET ROLE;
DELETE FROM lane WHERE id IN (31, 32);
SAVEPOINT s;
INSERT INTO lane VALUES (13, 'c', 'x', made.png(1, 1)), (14, 'c', 'x', made.png(1, 1));
ROLLBACK TO s;
INSERT INTO lane VALUES (13, 'c', 'x', made.png(1, 1));
SELECT lives_ok($$INSERT INTO lane VALUES (14, 'c', 'x', made.png(1, 1))$$, 'what was rolled back did not');
SELECT lives_ok($$INSERT INTO lane VALUES (11, 'd', 'x', made.png(1, 1)) ON CONFLICT DO NOTHING$$, 'what ON CONFLICT passes over');
SELECT is((SELECT string_agg(images::text, ' ' ORDER BY images) FROM biometric.collection_count), '1 2 2 2 2', 'does not count either');
COMMIT;
SELECT throws_ok($$SELECT biometric.describe_collection('lane', '{name}')$$, '55000', NULL, 'who is counted cannot be described anew');
SELECT lives_ok($$SELECT biometric.describe_collection('lane', '{name,first}', '{id}')$$, 'but where and when');

-- Its end, and that of its column.

SELECT throws_ok($$INSERT INTO biometric.collection_count SELECT day, log_id, relation, attnum, '\x00', 1 FROM biometric.collection_count LIMIT 1$$, '42501', NULL,
	'nobody writes to the counts');
SELECT throws_ok($$UPDATE biometric.collection_limit SET max_width = 10000$$, '42501', NULL, 'nor to the declarations');
ALTER TABLE lane RENAME COLUMN face TO portrait;
SELECT is((SELECT column_name::text FROM biometric.collection_limit WHERE relation = 'lane'::regclass), 'portrait', 'a column that is renamed stays declared');
SELECT biometric.collect('lane', 'portrait', purpose => 'something else') \g /dev/null
SELECT is(ledger_detail() - 'declaration' - 'replaces', '{"action": "collect", "relation": "public.lane", "column": "portrait", "purpose": "something else"}'::jsonb,
	'what is declared replaces what was');
SELECT lives_ok($$INSERT INTO lane VALUES (15, NULL, NULL, made.j2k(640, 480))$$, 'and without limits there are none');
SELECT biometric.collect('lane', 'portrait') \g /dev/null
SELECT ok(ledger_detail() ? 'replaces' AND NOT ledger_detail() ? 'declaration', 'nothing ends it');
DROP TABLE heir;
SELECT is(ledger_detail() - 'replaces', '{"action": "collect", "dropped": true}'::jsonb, 'so does dropping the table');
SELECT is((SELECT string_agg(relation::text, ' ') FROM biometric.collection_limit), 'elsewhere', 'which is forgotten');

SELECT * FROM finish();
