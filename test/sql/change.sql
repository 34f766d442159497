-- Every change of an image is in the ledger: what was stored, replaced and
-- erased, where, and in which transaction. What was rolled back is not.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(71);

-- What happened to images since this was called last, in the ledger's order.
CREATE FUNCTION news() RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
	mark constant bigint := coalesce(nullif(current_setting('suite.mark', true), ''), '0');
	found_news text;
BEGIN
	WHILE (SELECT pending > 0 OR state <> 'ready' FROM biometric.ledger_status()) LOOP
		PERFORM pg_sleep(0.001);
	END LOOP;
	SELECT string_agg(concat_ws(' ', c.event, c.relation, c.column_name, c.row_key), E'\n' ORDER BY c.seq)
	  INTO found_news
	  FROM biometric.change AS c
	 WHERE c.seq >= mark;
	PERFORM set_config('suite.mark', (SELECT max(l.seq) + 1 FROM biometric.ledger AS l)::text, false);
	RETURN found_news;
END
$body$;

CREATE TABLE visit (id int PRIMARY KEY, note text, face biometric.face_image, passport biometric.document_image);
SELECT news() \g /dev/null

-- One row at a time.

INSERT INTO visit VALUES (1, 'first', made.png(3, 2), NULL);
SELECT is(news(), 'stored public.visit face {"id": 1}', 'an INSERT is a stored image');
SELECT is((SELECT image_id FROM biometric.change WHERE event = 'stored'), biometric.image_id(face),
		  'with the id of the image') FROM visit;
SELECT is((SELECT kind || ' ' || operation || ' ' || command FROM biometric.change WHERE event = 'stored'),
		  'face insert COMMIT', 'its kind and how it came');
SELECT is((SELECT relation_oid FROM biometric.change WHERE event = 'stored')::oid, 'visit'::regclass::oid,
		  'and the table''s OID');
SELECT is((SELECT transaction::text FROM biometric.change WHERE event = 'stored'), xmin::text,
		  'and the transaction that did it') FROM visit;
SELECT is((SELECT state FROM biometric.change WHERE event = 'stored'), 'committed', 'which is committed');
INSERT INTO visit VALUES (2, 'none', NULL, NULL);
SELECT is(news(), NULL, 'a row without an image is none of the ledger''s business');
UPDATE visit SET note = 'second' WHERE id = 1;
SELECT is(news(), NULL, 'an UPDATE that leaves the image alone is no change of it');
UPDATE visit SET face = face;
SELECT is(news(), NULL, 'nor is one that sets it to itself');
CREATE TABLE before AS SELECT biometric.image_id(face) AS id FROM visit WHERE id = 1;
UPDATE visit SET face = made.png(4, 3) WHERE id = 1;
SELECT is(news(), 'replaced public.visit face {"id": 1}', 'an UPDATE with another image replaces it');
SELECT is((SELECT old_image_id FROM biometric.change WHERE event = 'replaced'), id, 'the old image is named') FROM before;
SELECT is((SELECT image_id FROM biometric.change WHERE event = 'replaced'), biometric.image_id(face), 'and the new')
  FROM visit WHERE id = 1;
UPDATE visit SET passport = made.jpeg(3, 2) WHERE id = 1;
SELECT is(news(), 'stored public.visit passport {"id": 1}', 'an image where there was none is stored');
UPDATE visit SET face = NULL WHERE id = 1;
SELECT is(news(), 'erased public.visit face {"id": 1}', 'an image that becomes NULL is erased');
UPDATE visit SET id = 10 WHERE id = 1;
SELECT is(news(), NULL, 'a new key leaves the image where it is');
DELETE FROM visit WHERE id = 10;
SELECT is(news(), 'erased public.visit passport {"id": 10}', 'a DELETE erases');
DELETE FROM visit;
SELECT is(news(), NULL, 'but not what was no image');
INSERT INTO visit VALUES (3, 'long', made.png(3, 2, repeat('x', 20000)), made.jpeg(1, 1));
SELECT is(news(), E'stored public.visit face {"id": 3}\nstored public.visit passport {"id": 3}',
		  'two images of a row are two changes');
UPDATE visit SET note = repeat('n', 4000);
UPDATE visit SET face = face;
SELECT is(news(), NULL, 'an image out of line that is left alone is no change either');

-- The same header does not make the same image.

CREATE TABLE forged (id int PRIMARY KEY, face biometric.face_image);
CREATE FUNCTION unsealed(face biometric.face_image) RETURNS bytea LANGUAGE sql AS $body$
	SELECT decode(substr(face::text, 8), 'base64')
$body$;
INSERT INTO forged VALUES (1, made.png(3, 3));
UPDATE forged SET face = overlay(unsealed(face) PLACING int4send(12345) FROM 13)::biometric.face_image;
SELECT news() \g /dev/null
UPDATE forged SET face = set_byte(unsealed(face), 240, 255 - get_byte(unsealed(face), 240))::biometric.face_image;
SELECT is(news(), 'replaced public.forged face {"id": 1}', 'what follows a header is part of the image');
DROP TABLE forged;
SELECT news() \g /dev/null

-- Transactions, and what of them stays.

BEGIN;
INSERT INTO visit VALUES (4, '', made.png(1, 1));
ROLLBACK;
SELECT is(news(), NULL, 'what was rolled back is not on record');
BEGIN;
INSERT INTO visit VALUES (4, '', made.png(1, 1));
SAVEPOINT a;
INSERT INTO visit VALUES (5, '', made.png(1, 1));
ROLLBACK TO a;
INSERT INTO visit VALUES (6, '', made.png(1, 1));
SAVEPOINT b;
SAVEPOINT c;
INSERT INTO visit VALUES (7, '', made.png(1, 1));
RELEASE c;
INSERT INTO visit VALUES (8, '', made.png(1, 1));
RELEASE b;
ROLLBACK TO a;
SAVEPOINT d;
INSERT INTO visit VALUES (9, '', made.png(1, 1));
RELEASE d;
SAVEPOINT e;
SAVEPOINT f;
INSERT INTO visit VALUES (11, '', made.png(1, 1));
RELEASE f;
ROLLBACK TO e;
COMMIT;
SELECT is(news(), E'stored public.visit face {"id": 4}\nstored public.visit face {"id": 9}',
		  'savepoints that were rolled back took their changes with them');
DO $body$
BEGIN
	FOR i IN 20 .. 25 LOOP
		BEGIN
			INSERT INTO visit VALUES (i, '', made.png(1, 1));
			IF i % 2 = 0 THEN
				RAISE EXCEPTION 'even';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
END
$body$;
SELECT is(news(), E'stored public.visit face {"id": 21}\nstored public.visit face {"id": 23}\n'
		  'stored public.visit face {"id": 25}', 'so did blocks with EXCEPTION');
BEGIN;
SAVEPOINT a;
CREATE TABLE visit_short (id int, face biometric.face_image);
INSERT INTO visit_short VALUES (1, made.png(1, 1));
ROLLBACK TO a;
INSERT INTO visit VALUES (30, '', made.png(1, 1));
COMMIT;
SELECT is(news(), 'stored public.visit face {"id": 30}', 'a table that never came to be is not named');
SELECT is((SELECT detail -> 'relations' FROM biometric.ledger WHERE event = 'statement' ORDER BY seq DESC LIMIT 1),
		  '["public.visit"]', 'nor is it by the statement''s entry');
DO $body$
BEGIN
	INSERT INTO visit VALUES (31, '', made.png(1, 1));
	COMMIT;
	DELETE FROM visit WHERE id = 31;
	ROLLBACK;
	DELETE FROM visit WHERE id = 30;
END
$body$;
SELECT is(news(), E'stored public.visit face {"id": 31}\nerased public.visit face {"id": 30}',
		  'a block that commits and rolls back has what it committed');

CREATE TABLE strict (id int PRIMARY KEY, face biometric.face_image,
	twin int UNIQUE DEFERRABLE INITIALLY DEFERRED);
BEGIN;
INSERT INTO strict VALUES (1, made.png(1, 1), 7), (2, made.png(1, 1), 7);
UPDATE strict SET twin = 8 WHERE id = 2;
COMMIT;
SELECT is(news(), E'stored public.strict face {"id": 1}\nstored public.strict face {"id": 2}',
		  'a deferred constraint that holds in the end is none in the way');
BEGIN;
INSERT INTO strict VALUES (3, made.png(1, 1), 7);
\set ON_ERROR_STOP off
\o /dev/null
COMMIT;
\o
\set ON_ERROR_STOP on
SELECT is(news(), NULL, 'one that fails the COMMIT leaves nothing on record');
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
	UPDATE visit SET face = NEW.face WHERE id = 4;
	RETURN NULL;
END
$body$;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON strict DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION late();
INSERT INTO strict VALUES (4, made.png(9, 9), 9);
SELECT is(news(), E'stored public.strict face {"id": 4}\nreplaced public.visit face {"id": 4}',
		  'what a deferred trigger does at COMMIT is on record, too');
SELECT is((SELECT count(*) FROM biometric.home AS h JOIN visit AS v ON true
			WHERE v.id = 4 AND h.relation = 'visit'::regclass AND h.column_name = 'face'
			  AND substr(v.face::bytea, 137, 16) = uuid_send(h.home)), 1::bigint,
		  'and bound to the column that it went into');
DROP TRIGGER late ON strict;

-- Other ways of writing.

INSERT INTO visit VALUES (4, 'x', made.png(1, 1)) ON CONFLICT DO NOTHING;
SELECT is(news(), NULL, 'ON CONFLICT DO NOTHING did nothing');
INSERT INTO visit VALUES (4, 'x', made.png(2, 2)), (40, 'x', made.png(2, 2))
	ON CONFLICT (id) DO UPDATE SET face = excluded.face;
SELECT is(news(), E'replaced public.visit face {"id": 4}\nstored public.visit face {"id": 40}',
		  'ON CONFLICT DO UPDATE replaces here and stores there');
MERGE INTO visit AS v USING (VALUES (40, true), (41, false), (4, false)) AS s(id, gone) ON v.id = s.id
	WHEN MATCHED AND s.gone THEN DELETE
	WHEN MATCHED THEN UPDATE SET face = made.png(5, 5)
	WHEN NOT MATCHED THEN INSERT (id, face) VALUES (s.id, made.png(6, 6));
SELECT bag_eq($$SELECT unnest(string_to_array(news(), E'\n'))$$,
	ARRAY['erased public.visit face {"id": 40}', 'stored public.visit face {"id": 41}',
		  'replaced public.visit face {"id": 4}'], 'MERGE inserts, updates and deletes');
WITH gone AS (DELETE FROM visit WHERE id = 41 RETURNING face)
	INSERT INTO strict SELECT 41, face, 41 FROM gone;
SELECT bag_eq($$SELECT unnest(string_to_array(news(), E'\n'))$$,
	ARRAY['erased public.visit face {"id": 41}', 'stored public.strict face {"id": 41}'],
	'a modifying CTE moves an image from table to table');
CREATE TABLE copied (id int PRIMARY KEY, face biometric.face_image);
COPY copied (face, id) FROM stdin;
\\x89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000c74455874436f6d6d656e74006e6f6e65f08e552a0000000b49444154789c6360000200000500017a5eab3f0000000049454e44ae426082	1
\N	2
\\x89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000c74455874436f6d6d656e74006e6f6e65f08e552a0000000b49444154789c6360000200000500017a5eab3f0000000049454e44ae426082	3
\.
SELECT is(news(), E'stored public.copied face {"id": 1}\nstored public.copied face {"id": 3}', 'COPY FROM stores');
DELETE FROM visit WHERE id IN (21, 23, 25);
SELECT is(news(), E'erased public.visit face {"id": 21}\nerased public.visit face {"id": 23}\n'
		  'erased public.visit face {"id": 25}', 'a DELETE of many is an entry each');

CREATE TABLE person (id int PRIMARY KEY);
CREATE TABLE portrait (person int REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE, face biometric.face_image,
	id int PRIMARY KEY);
INSERT INTO person VALUES (1), (2);
INSERT INTO portrait VALUES (1, made.png(1, 1), 11), (2, made.png(1, 1), 22);
SELECT news() \g /dev/null
UPDATE person SET id = 3 WHERE id = 2;
SELECT is(news(), NULL, 'a cascading UPDATE of the key leaves images alone');
DELETE FROM person WHERE id = 1;
SELECT is(news(), 'erased public.portrait face {"id": 11}', 'a cascading DELETE erases');
TRUNCATE person CASCADE;
SELECT is(news(), 'truncated public.portrait face', 'a cascading TRUNCATE truncates');
SELECT is((SELECT detail -> 'images' FROM biometric.change WHERE event = 'truncated'), '1',
		  'and says how many images are gone');
TRUNCATE portrait;
SELECT is(news(), NULL, 'TRUNCATE of a table without images is no change of any');

-- Tables of every shape.

CREATE TABLE scan (lane int, at int, face biometric.face_image, PRIMARY KEY (at, lane)) PARTITION BY LIST (lane);
CREATE TABLE scan_1 PARTITION OF scan FOR VALUES IN (1);
CREATE TABLE scan_2 (extra text, face biometric.face_image, at int NOT NULL, gone int, lane int NOT NULL);
ALTER TABLE scan_2 DROP COLUMN gone, DROP COLUMN extra;
ALTER TABLE scan ATTACH PARTITION scan_2 FOR VALUES IN (2);
INSERT INTO scan VALUES (1, 100, made.png(1, 1)), (2, 200, made.png(1, 1, repeat('y', 9000)));
SELECT is(news(), E'stored public.scan_1 face {"at": 100, "lane": 1}\nstored public.scan_2 face {"at": 200, "lane": 2}',
		  'partitions are recorded by their own names, whatever the order of their columns');
UPDATE scan SET lane = 3 - lane WHERE at = 100;
SELECT bag_eq($$SELECT unnest(string_to_array(news(), E'\n'))$$,
	ARRAY['erased public.scan_1 face {"at": 100, "lane": 1}', 'stored public.scan_2 face {"at": 100, "lane": 2}'],
	'a row that moves to another partition is erased here and stored there');
SELECT is(count(*), 1::bigint, 'its image is bound to the new partition')
  FROM scan AS s JOIN biometric.home AS h ON h.relation = s.tableoid AND h.column_name = 'face'
 WHERE s.at = 100 AND substr(s.face::bytea, 137, 16) = uuid_send(h.home);
SELECT is(count(*), 1::bigint, 'and keeps the origin that it had')
  FROM scan AS s JOIN biometric.home AS h ON h.relation = 'scan_1'::regclass AND h.column_name = 'face'
 WHERE s.at = 100 AND substr(s.face::bytea, 153, 16) = uuid_send(h.home);
TRUNCATE scan;
SELECT is(news(), 'truncated public.scan_2 face', 'TRUNCATE of the root truncates partitions');

CREATE DOMAIN mugshot AS biometric.face_image CHECK (biometric.width(VALUE) < 100);
CREATE TABLE odd (gone int, "Key ""1""" text PRIMARY KEY, shot mugshot, twice int GENERATED ALWAYS AS (2 * n) STORED,
	n int, dropped biometric.face_image, seen timestamptz);
ALTER TABLE odd DROP COLUMN gone;
SELECT news() \g /dev/null
INSERT INTO odd ("Key ""1""", shot, n) VALUES (E'a"\\\u00e9\n', made.png(3, 2), 4);
SELECT is(news(), 'stored public.odd shot ' || jsonb_build_object('Key "1"', E'a"\\\u00e9\n')::text,
		  'a domain over an image type, beside dropped and generated columns, with a key that needs quoting');
SELECT is(twice, 8, 'the generated column is right') FROM odd;
SELECT throws_ok($$UPDATE odd SET shot = made.png(100, 2)$$, '23514', NULL, 'the domain''s check applies');
DELETE FROM odd;
SELECT news() \g /dev/null
CREATE TABLE "odd name
with \ and "".""" (id int, face biometric.face_image);
INSERT INTO "odd name
with \ and "".""" VALUES (1, made.png(1, 1));
SELECT matches(news(), '^stored public."odd name.nwith .*" face$', 'a table without a key has none on record');

CREATE TABLE keyed (a uuid NOT NULL, b timestamptz NOT NULL, c numeric NOT NULL, d boolean NOT NULL, e int PRIMARY KEY,
	f date NOT NULL, face biometric.face_image);
CREATE UNIQUE INDEX keyed_other ON keyed (d, a, b, c, f);
ALTER TABLE keyed REPLICA IDENTITY USING INDEX keyed_other;
SET TIME ZONE 'Asia/Tokyo';
INSERT INTO keyed VALUES ('00000000-0000-4000-8000-000000000001', '2026-01-02 03:04:05+00', 1.50, true, 5, '2026-02-03',
	made.png(1, 1));
SET TIME ZONE 'UTC';
SELECT is(news(), 'stored public.keyed face {"a": "00000000-0000-4000-8000-000000000001", '
		  '"b": "2026-01-02T03:04:05+00:00", "c": 1.50, "d": true, "f": "2026-02-03"}',
		  'the replica identity is the key, in whatever time zone');
ALTER TABLE keyed REPLICA IDENTITY FULL;
UPDATE keyed SET face = made.png(1, 2);
SELECT is(news(), 'replaced public.keyed face {"e": 5}', 'without an index for it the primary key is');
CREATE TYPE colour AS (depth float8, at interval);
CREATE TABLE moody (a bytea, b float8, c interval, d money, e tstzrange, f regclass, g colour, face biometric.face_image,
	PRIMARY KEY (a, b, c, d, e, f, g));
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.thing ();
INSERT INTO moody VALUES ('\x0102', 0.1::float8 + 0.2::float8, '1 day 2 hours', 3.5::numeric::money,
	'[2026-01-02 03:04:05+00,2026-02-03 00:00:00+00)', 'elsewhere.thing', (0.1::float8 + 0.2::float8, '1 day'), NULL);
UPDATE moody SET face = made.png(1, 1);
SELECT set_config('suite.moody', news(), false) AS first \gset
BEGIN;
SET LOCAL bytea_output = escape;
SET LOCAL extra_float_digits = -10;
SET LOCAL IntervalStyle = iso_8601;
SET LOCAL DateStyle = 'German, DMY';
SET LOCAL TimeZone = 'Asia/Tokyo';
SET LOCAL quote_all_identifiers = on;
SET LOCAL search_path = public, elsewhere;
UPDATE moody SET face = made.png(2, 2);
SELECT is(current_setting('bytea_output') || current_setting('TimeZone'), 'escapeAsia/Tokyo', 'settings stay as they are');
COMMIT;
SELECT is(news(), replace(:'first', 'stored', 'replaced'), 'a row has the same key under whatever settings');
DROP TABLE moody;
SELECT news() \g /dev/null
CREATE TABLE long_key (id text PRIMARY KEY, face biometric.face_image);
INSERT INTO long_key VALUES (repeat('k', 100000), made.png(1, 1));
SELECT is(news(), format('stored public.long_key face {"sha256": "%s"}',
		  encode(sha256(convert_to(format('{"id": "%s"}', repeat('k', 100000)), 'UTF8')), 'hex')),
		  'a key that no entry has room for is recorded by its digest');

CREATE TEMP TABLE scratch (id int PRIMARY KEY, face biometric.face_image);
INSERT INTO scratch VALUES (1, made.png(1, 1));
SELECT matches(news(), '^stored pg_temp_\d+\.scratch face \{"id": 1\}$', 'temporary tables are tables');

-- Triggers of other people.

CREATE FUNCTION set_face() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
	NEW.face := made.png(8, 8)::biometric.face_image;
	RETURN NEW;
END
$body$;
CREATE TABLE helped (id int PRIMARY KEY, face biometric.face_image);
CREATE TRIGGER set_face BEFORE INSERT OR UPDATE ON helped FOR EACH ROW EXECUTE FUNCTION set_face();
INSERT INTO helped VALUES (1);
SELECT is(news(), 'stored public.helped face {"id": 1}', 'an image that a trigger puts in is on record');
SELECT is(count(*), 1::bigint, 'and bound')
  FROM helped AS s JOIN biometric.home AS h ON h.relation = s.tableoid AND h.column_name = 'face'
 WHERE substr(s.face::bytea, 137, 16) = uuid_send(h.home);
ALTER TRIGGER set_face ON helped RENAME TO "~~late";
SELECT throws_ok('INSERT INTO helped VALUES (2)', '55000', 'image in column "face" of table "helped" is not bound to it',
				 'a trigger that fires after the images were bound may put in none');
DROP TRIGGER "~~late" ON helped;
CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER veto BEFORE INSERT OR DELETE ON helped FOR EACH ROW EXECUTE FUNCTION veto();
INSERT INTO helped VALUES (3, made.png(1, 1));
DELETE FROM helped;
SELECT is(news(), NULL, 'rows that a trigger keeps out, or in, are not on record');
DROP TRIGGER veto ON helped;
SET session_replication_role = replica;
DELETE FROM helped;
INSERT INTO helped VALUES (4, made.png(1, 1));
RESET session_replication_role;
SELECT is(news(), E'erased public.helped face {"id": 1}\nstored public.helped face {"id": 4}',
		  'session_replication_role keeps nothing off the record');

-- Whoever writes.

CREATE ROLE change_clerk;
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap, made TO change_clerk;
CREATE FUNCTION trap.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS $$ SELECT 'null'::jsonb $$;
CREATE TABLE desk (id numeric PRIMARY KEY, face biometric.face_image);
GRANT INSERT, UPDATE, DELETE, SELECT (id) ON desk TO change_clerk;
SET search_path = trap;
SET ROLE change_clerk;
INSERT INTO public.desk VALUES (1, made.png(1, 1));
RESET ROLE;
RESET search_path;
SELECT is(news(), 'stored public.desk face {"id": 1}', 'a role without any right on the extension''s tables, and any search_path');
SELECT is((SELECT session_user_name FROM biometric.change ORDER BY seq DESC LIMIT 1), session_user::text,
		  'who it was stands beside it');
REVOKE USAGE ON SCHEMA biometric FROM PUBLIC;
SET ROLE change_clerk;
DELETE FROM public.desk WHERE id = 1;
RESET ROLE;
GRANT USAGE ON SCHEMA biometric TO PUBLIC;
SELECT is(news(), 'erased public.desk face {"id": 1}', 'nor on its schema');
SELECT throws_ok('SELECT biometric.bind_trigger()', '39P01', NULL, 'the trigger functions cannot be called');
SELECT ok(NOT has_function_privilege('change_clerk', f, 'EXECUTE'), f || ' cannot be attached by others')
  FROM (VALUES ('biometric.bind_trigger()'), ('biometric.record_trigger()'), ('biometric.truncate_trigger()')) AS v(f);

-- Many at once.

CREATE TABLE bulk (id int PRIMARY KEY, face biometric.face_image);
CREATE TABLE one AS SELECT made.png(1, 1) AS bytes;
SELECT news() \g /dev/null
BEGIN;
INSERT INTO bulk SELECT i, bytes::biometric.face_image FROM one, generate_series(1, 3000) AS i;
SAVEPOINT a;
INSERT INTO bulk SELECT i, bytes::biometric.face_image FROM one, generate_series(3001, 9000) AS i;
ROLLBACK TO a;
INSERT INTO bulk SELECT i, bytes::biometric.face_image FROM one, generate_series(9001, 10000) AS i;
COMMIT;
SELECT set_config('suite.before', current_setting('suite.mark'), false) \g /dev/null
SELECT news() \g /dev/null
SELECT is(count(*), 4000::bigint, 'a transaction that outgrew its memory, and was cut back to before, is complete')
  FROM biometric.change WHERE seq >= current_setting('suite.before')::bigint AND relation = 'public.bulk';
SELECT set_eq(
	$$SELECT (row_key ->> 'id')::int, image_id FROM biometric.change
	   WHERE seq >= current_setting('suite.before')::bigint AND relation = 'public.bulk'$$,
	$$SELECT id, biometric.image_id(face) FROM bulk$$, 'with the right rows and images');

-- From the very beginning.

SELECT is((SELECT ok FROM biometric.verify_ledger()), true, 'the ledger verifies');
SELECT * FROM finish();
DROP OWNED BY change_clerk;
DROP ROLE change_clerk;
