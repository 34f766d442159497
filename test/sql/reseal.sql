-- Images are sealed again under the key that they should have: the same images in the same rows, and nothing else
-- of the table changes.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = error;

SELECT plan(86);

CREATE ROLE reseal_none;
CREATE ROLE reseal_custodian IN ROLE biometric_custodian;

-- All calls that it takes; how many images were sealed anew.
CREATE FUNCTION resealed(what regclass, col name, batch bigint DEFAULT 1000) RETURNS bigint LANGUAGE plpgsql AS $body$
DECLARE
	total bigint := 0;
	n bigint;
BEGIN
	LOOP
		n := biometric.reseal(what, col, batch);
		EXIT WHEN n = 0;
		total := total + n;
	END LOOP;
	RETURN total;
END
$body$;
CREATE FUNCTION key_of(sealed bytea) RETURNS bigint LANGUAGE sql AS
	'SELECT (get_byte(sealed, 12)::bigint << 24) + (get_byte(sealed, 13) << 16) + (get_byte(sealed, 14) << 8) + get_byte(sealed, 15)';
CREATE FUNCTION flags_of(sealed bytea) RETURNS int LANGUAGE sql AS 'SELECT get_byte(sealed, 208)';
-- What of a sealed image no reseal may change: kind to image id without the key, home, origin, counts_from, flags.
CREATE FUNCTION lasting(sealed bytea) RETURNS bytea LANGUAGE sql AS
	'SELECT substr(sealed, 1, 12) || substr(sealed, 17, 32) || substr(sealed, 137, 40) || substr(sealed, 209, 1)';

CREATE TABLE lane (id int PRIMARY KEY, note text, face biometric.face_image, plate biometric.plate_image);
INSERT INTO lane SELECT n, 'note ' || n, made.png(n, 1, repeat('x', n * 100)), made.png(1, n) FROM generate_series(1, 50) AS n;
INSERT INTO lane VALUES (51, 'no image', NULL, NULL);

-- Who, and what

SET ROLE reseal_none;
SELECT throws_ok($$SELECT biometric.reseal('lane', 'face')$$, '42501', NULL, 'nobody but custodians seals images again');
SELECT throws_ok($$SELECT * FROM biometric.stat_progress_reseal$$, '42501', NULL, 'or sees how far that is');
SELECT throws_ok($$SELECT * FROM biometric.key_images()$$, '42501', NULL, 'or counts images by their keys');
RESET ROLE;
SELECT throws_ok($$SELECT biometric.reseal('lane', 'nose')$$, '42703', NULL, 'the column must exist');
SELECT throws_ok($$SELECT biometric.reseal('lane', 'note')$$, '42809', NULL, 'and hold images');
SELECT throws_ok($$SELECT biometric.reseal('lane', 'face', 0)$$, '22023', NULL, 'a call seals one image at least');
CREATE VIEW lane_view AS SELECT * FROM lane;
SELECT throws_ok($$SELECT biometric.reseal('lane_view', 'face')$$, '42809', NULL, 'a view is no table');
CREATE MATERIALIZED VIEW lane_copy AS SELECT id, face FROM lane;
SELECT throws_like($$SELECT biometric.reseal('lane_copy', 'face')$$, '%is a materialized view', 'a materialized view is refreshed instead');
CREATE FOREIGN DATA WRAPPER reseal_nowhere;
CREATE SERVER reseal_nowhere FOREIGN DATA WRAPPER reseal_nowhere;
CREATE FOREIGN TABLE far (id int, face biometric.face_image) SERVER reseal_nowhere;
SELECT throws_ok($$SELECT biometric.reseal('far', 'face')$$, '42809', NULL, 'a foreign table is sealed again where it is');
START TRANSACTION READ ONLY;
SELECT throws_ok($$SELECT biometric.reseal('lane', 'face')$$, '25006', NULL, 'not in a read-only transaction');
ROLLBACK;
SELECT is(biometric.reseal('lane', 'face'), 0::bigint, 'what has the key that seals new images is left alone');
SELECT is(count(*), 0::bigint, 'and nothing is under way') FROM biometric.stat_progress_reseal;

-- The same images in the same rows

SELECT key_id AS old_key FROM biometric.key_images() ORDER BY images DESC LIMIT 1 \gset
CREATE TABLE before AS SELECT id, note, lasting(face::bytea) AS face, face::bytea AS sealed, plate::text AS plate, ctid AS place FROM lane;
SELECT biometric.rotate_key() AS new_key \gset
CREATE TABLE fired (what text);
CREATE FUNCTION notice_fired() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
	INSERT INTO fired VALUES (TG_WHEN || ' ' || TG_LEVEL);
	RETURN NEW;
END
$body$;
CREATE TRIGGER a_before BEFORE UPDATE ON lane FOR EACH ROW EXECUTE FUNCTION notice_fired();
CREATE TRIGGER an_after AFTER UPDATE ON lane FOR EACH ROW EXECUTE FUNCTION notice_fired();
CREATE TRIGGER a_statement AFTER UPDATE ON lane FOR EACH STATEMENT EXECUTE FUNCTION notice_fired();

SET ROLE reseal_custodian;
SELECT is(biometric.reseal('lane', 'face', 20), 20::bigint, 'a custodian who may not read the table seals as many images again as asked for');
SELECT is(row(phase, images_done, images_skipped, pid IS NULL)::text, '("between calls",20,0,t)', 'how far that is can be seen')
	FROM biometric.stat_progress_reseal WHERE relation = 'lane'::regclass AND column_name = 'face';
RESET ROLE;
SELECT is(count(*), 20::bigint, 'so many have the new key') FROM lane WHERE key_of(face::bytea) = :new_key;
BEGIN;
SELECT is(biometric.reseal('lane', 'face', 10), 10::bigint, 'the next call goes on');
ROLLBACK;
SELECT is(count(*), 20::bigint, 'but not when it is rolled back') FROM lane WHERE key_of(face::bytea) = :new_key;
SELECT is(images_done, 20::bigint, 'and what is under way is as it was') FROM biometric.stat_progress_reseal;
BEGIN;
SELECT is(biometric.reseal('lane', 'face', 10), 10::bigint, 'of a transaction');
SAVEPOINT s;
SELECT is(biometric.reseal('lane', 'face', 10), 10::bigint, 'that calls it twice');
ROLLBACK TO s;
COMMIT;
SELECT is(count(*), 30::bigint, 'what was not rolled back counts') FROM lane WHERE key_of(face::bytea) = :new_key;
SELECT is(resealed('lane', 'face', 7), 20::bigint, 'and the others are left for the next');
SELECT is(count(*), 50::bigint, 'until all have the new key') FROM lane WHERE key_of(face::bytea) = :new_key;
SELECT is(count(*), 0::bigint, 'and nothing is under way any more') FROM biometric.stat_progress_reseal;
SELECT is(count(*), 51::bigint, 'ids, homes, times and flags are what they were, and so is all else in the rows')
	FROM lane JOIN before USING (id, note)
	WHERE lasting(lane.face::bytea) IS NOT DISTINCT FROM before.face AND lane.plate::text IS NOT DISTINCT FROM before.plate;
SELECT is(count(*), 50::bigint, 'nonce, digest and ciphertext are not') FROM lane JOIN before USING (id)
	WHERE substr(lane.face::bytea, 49, 24) <> substr(sealed, 49, 24) AND biometric.digest(lane.face) <> substr(sealed, 73, 32)
		AND substr(lane.face::bytea, 233) <> substr(sealed, 233);
SELECT is(count(*), 1::bigint, 'the row without an image was not touched') FROM lane JOIN before USING (id) WHERE lane.ctid = place AND id = 51;
SELECT is(count(*), 0::bigint, 'no trigger of a user has fired') FROM fired;
DROP TRIGGER a_before ON lane;
SELECT is(count(biometric.width(face)), 50::bigint, 'all headers are authentic') FROM lane;
CREATE TABLE verified (face biometric.face_image);
SELECT lives_ok('INSERT INTO verified SELECT face::text::biometric.face_image FROM lane', 'and all bodies');
SELECT is(count(*), 50::bigint, 'each is on record once, as the same image in the same row')
	FROM biometric.change c JOIN before b ON c.row_key = jsonb_build_object('id', b.id)
	WHERE c.operation = 'reseal' AND c.event = 'replaced' AND c.image_id = c.old_image_id AND c.relation = 'public.lane'
		AND c.column_name = 'face' AND c.state = 'committed' AND c.collected IS NULL
		AND uuid_send(c.image_id) = substr(b.sealed, 33, 16);
SELECT is(count(*), 50::bigint, 'and no more than once') FROM biometric.change WHERE operation = 'reseal';
SELECT is(images, 50::bigint + 50, 'the images of the new key are counted, those that were copied since, too')
	FROM biometric.key_images() WHERE key_id = :new_key;
SELECT is(images, 100::bigint, 'and those of the old key, in materialized views, too') FROM biometric.key_images() WHERE key_id = :old_key;
REFRESH MATERIALIZED VIEW lane_copy;
SELECT is(images, 50::bigint, 'until these are refreshed') FROM biometric.key_images() WHERE key_id = :old_key;
SELECT is(resealed('lane', 'plate'), 50::bigint, 'another column is another matter');
SELECT is(count(*), 0::bigint, 'then there are none left') FROM biometric.key_images() WHERE key_id = :old_key;

-- What depends on how an image is sealed follows

-- That they change with the key, nobody has told the server.
CREATE FUNCTION digest_of(image biometric.face_image) RETURNS bytea IMMUTABLE LANGUAGE sql AS 'SELECT biometric.digest(image)';
CREATE FUNCTION key_id_of(image biometric.face_image) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT biometric.key_id(image)';
CREATE TABLE derived (id int PRIMARY KEY, face biometric.face_image,
	known_by bytea GENERATED ALWAYS AS (digest_of(face)) STORED,
	twice text GENERATED ALWAYS AS (id || '/' || id) STORED);
CREATE UNIQUE INDEX derived_digest ON derived (digest_of(face));
INSERT INTO derived SELECT n, made.png(n, 2) FROM generate_series(1, 20) AS n;
-- What constraints say of rows to one who may not read them.
CREATE FUNCTION told(statement text) RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
	message text;
	detail text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION
	WHEN integrity_constraint_violation THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
		RETURN message || ': ' || detail;
END
$body$;
CREATE TABLE checked (id int PRIMARY KEY, face biometric.face_image, CHECK (key_id_of(face) = :new_key), CHECK (id > 0));
INSERT INTO checked VALUES (1, made.png(1, 1));
CREATE TABLE alone (id int, face biometric.face_image);
CREATE UNIQUE INDEX ON alone ((CASE WHEN key_id_of(face) > :new_key THEN 0 ELSE id END));
INSERT INTO alone SELECT n, made.png(n, 5) FROM generate_series(1, 2) AS n;
CREATE TABLE unrelated (id int PRIMARY KEY, face biometric.face_image);
INSERT INTO unrelated VALUES (-1, made.png(1, 1));
ALTER TABLE unrelated ADD CHECK (id > 0) NOT VALID;
CREATE TABLE by_key (id int, face biometric.face_image) PARTITION BY LIST (key_id_of(face));
CREATE TABLE by_key_new PARTITION OF by_key FOR VALUES IN (:new_key);
INSERT INTO by_key VALUES (1, made.png(1, 1));
CREATE TABLE singular (id int PRIMARY KEY, face biometric.face_image,
	key_id int GENERATED ALWAYS AS (key_id_of(face)) STORED UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO singular VALUES (1, made.png(1, 1));
CREATE TABLE published (id int, face biometric.face_image);
INSERT INTO published VALUES (1, made.png(1, 1));
CREATE PUBLICATION reseal_pub FOR TABLE published;
CREATE TABLE secured (id int PRIMARY KEY, face biometric.face_image);
INSERT INTO secured VALUES (1, made.png(1, 1));
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
ALTER TABLE secured FORCE ROW LEVEL SECURITY;
CREATE TABLE months (id int, month int, face biometric.face_image) PARTITION BY LIST (month);
CREATE TABLE months_1 PARTITION OF months FOR VALUES IN (1);
CREATE TABLE months_2 (face biometric.face_image, dropped int, month int, id int);
ALTER TABLE months_2 DROP COLUMN dropped;
ALTER TABLE months ATTACH PARTITION months_2 FOR VALUES IN (2);
CREATE TABLE heir (extra int) INHERITS (secured);
INSERT INTO months SELECT n, 1 + n % 2, made.png(n, 3) FROM generate_series(1, 30) AS n;
INSERT INTO heir VALUES (2, made.png(1, 1), 5);
CREATE TABLE months_0 (id int, month int, face biometric.face_image);
CREATE TABLE years (id int, month int, face biometric.face_image) PARTITION BY LIST (month);
CREATE TABLE years_1 PARTITION OF years FOR VALUES IN (1);
INSERT INTO months_0 VALUES (1, 0, made.png(1, 1));
INSERT INTO years VALUES (2, 1, made.png(1, 1));
CREATE TABLE renamed (id int, face biometric.face_image, other biometric.face_image);
INSERT INTO renamed SELECT n, made.png(n, 1), made.png(n, 2) FROM generate_series(1, 3) AS n;
CREATE ROLE reseal_owner;
GRANT CREATE ON SCHEMA public TO reseal_owner;
CREATE FUNCTION run_as(image biometric.face_image) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $body$
BEGIN
	INSERT INTO public.ran VALUES (current_user || ' ' || replace(current_setting('search_path'), ' ', ''));
	RETURN 'x';
END
$body$;
-- it says so, and is not
CREATE TABLE ran (by text);
GRANT INSERT ON ran TO reseal_owner;
CREATE TABLE owned (id int, face biometric.face_image);
ALTER TABLE owned OWNER TO reseal_owner;
CREATE INDEX ON owned (run_as(face));
ALTER FUNCTION run_as VOLATILE;
INSERT INTO owned VALUES (1, made.png(1, 1));
TRUNCATE ran;
CREATE TEMPORARY TABLE passing (id int, face biometric.face_image);
INSERT INTO passing VALUES (1, made.png(1, 1));
SELECT face::text AS sealed FROM lane WHERE id = 1 \gset
CREATE TABLE loot (id int, face biometric.face_image);
GRANT INSERT ON loot TO reseal_none;
SET ROLE reseal_none;
INSERT INTO loot VALUES (1, :'sealed');
-- of a key that nobody has
INSERT INTO loot VALUES (2, ('sealed:' || replace(encode(overlay(decode(substr(:'sealed', 8), 'base64') PLACING '\x00fffff0' FROM 13), 'base64'), E'\n', ''))::biometric.face_image);
RESET ROLE;
SELECT biometric.rotate_key() AS newest_key \gset

INSERT INTO singular VALUES (2, made.png(1, 2));
SELECT throws_ok($$SELECT biometric.reseal('singular', 'face')$$, '23505', NULL, 'nor is one that may be deferred passed over');
SELECT is(resealed('derived', 'face', 6), 20::bigint, 'images with what is generated from them are sealed again');
SELECT is(count(*), 20::bigint, 'it is generated anew') FROM derived WHERE known_by = biometric.digest(face) AND twice = id || '/' || id;
SET enable_seqscan = off;
SELECT is(count(*), 20::bigint, 'and indexes lead to it') FROM before AS b JOIN derived AS d ON b.id = d.id
	WHERE EXISTS (SELECT FROM derived AS e WHERE digest_of(e.face) = d.known_by AND e.id = d.id);
RESET enable_seqscan;
SELECT throws_ok($$SELECT biometric.reseal('checked', 'face')$$, '23514', NULL, 'a constraint that would not hold refuses');
SET ROLE reseal_custodian;
SELECT alike(told($$SELECT biometric.reseal('checked', 'face')$$), '%check constraint%: The row is shown in the server''s log alone.',
	'and who may not read the row is not shown it');
SELECT alike(told($$SELECT biometric.reseal('alone', 'face')$$), '%unique constraint%: The row is shown in the server''s log alone.',
	'nor the key that is not unique any more');
RESET ROLE;
SELECT is(resealed('unrelated', 'face'), 1::bigint, 'one that has nothing to do with the image does not');
SELECT throws_ok($$SELECT biometric.reseal('by_key', 'face')$$, '23514', NULL, 'no row is left in a partition where it does not belong');
SELECT throws_ok($$SELECT biometric.reseal('published', 'face')$$, '55000', NULL, 'a table that is published needs a replica identity');
SELECT is(resealed('secured', 'face'), 2::bigint, 'row security hides no image, and heirs are sealed again with their table');
SELECT is(resealed('months', 'face', 4), 30::bigint, 'and partitions, wherever they have the column');
SELECT is(count(*), 30::bigint, 'all of them') FROM months WHERE key_of(face::bytea) = :newest_key;
SELECT is(resealed('passing', 'face'), 1::bigint, 'and a temporary table of one''s own');
SET ROLE reseal_custodian;
SELECT is(biometric.reseal('owned', 'face'), 1::bigint, 'where an index has a function of the owner''s');
RESET ROLE;
SELECT is(string_agg(by, ', '), 'reseal_owner pg_catalog,pg_temp', 'it runs as the owner, and not as the custodian') FROM ran;

-- What tables and columns become between two calls

SELECT is(biometric.reseal('years', 'face'), 1::bigint, 'when a partition is attached');
ALTER TABLE years ATTACH PARTITION months_0 FOR VALUES IN (0);
SELECT is(biometric.reseal('years', 'face'), 1::bigint, 'its images are sealed again before a call returns 0');
SELECT is(biometric.reseal('years', 'face'), 0::bigint, 'as the next one does');
SELECT is(biometric.reseal('renamed', 'face', 1) + biometric.reseal('renamed', 'other', 1), 2::bigint, 'when columns are under way');
ALTER TABLE renamed DROP COLUMN face;
ALTER TABLE renamed RENAME COLUMN other TO another;
SELECT is(count(*), 0::bigint, 'and one is dropped, the other renamed, neither is under way any more') FROM biometric.stat_progress_reseal WHERE relation = 'renamed'::regclass;
SELECT is(resealed('renamed', 'another'), 2::bigint, 'the rest is sealed again under the new name');
SELECT is(count(*), 0::bigint, 'and nothing is left behind') FROM biometric.reseal_progress WHERE relation = 'renamed'::regclass;

-- What was given from outside stays so

SELECT is(string_agg(flags_of(face::bytea)::text, ' ' ORDER BY id), '3 3', 'images that were given from outside') FROM loot;
SELECT is(resealed('loot', 'face'), 1::bigint, 'are sealed again, unless their key is not at hand');
SELECT is(string_agg(flags_of(face::bytea)::text || (key_of(face::bytea) = :newest_key)::text, ' ' ORDER BY id), '3true 3false',
	'and stay what they were') FROM loot;
SELECT is(biometric.reseal('loot', 'face'), 0::bigint, 'a missing key keeps nobody waiting');

-- Keys of periods

CREATE TABLE visits (id int PRIMARY KEY, face biometric.face_image);
INSERT INTO visits VALUES (1, made.png(1, 1)), (2, made.png(1, 2));
SELECT biometric.key_period('visits', 'face', '1 month');
INSERT INTO visits VALUES (3, made.png(1, 3));
SELECT ok(key_of(face::bytea) > :newest_key, 'an image that is stored in a column with periods has its period''s key') FROM visits WHERE id = 3;
SELECT is(count(*), 2::bigint, 'those that were there have theirs') FROM visits WHERE key_of(face::bytea) = :newest_key;
SELECT is(resealed('visits', 'face'), 2::bigint, 'until they are sealed again');
SELECT is(count(DISTINCT key_of(face::bytea)), 1::bigint, 'all of a period under one key') FROM visits;
CREATE TABLE visits_copy AS SELECT * FROM visits;
SELECT ok(bool_and(key_of(face::bytea) > :newest_key), 'a copy goes with what it is a copy of') FROM visits_copy;
SELECT is(resealed('visits_copy', 'face'), 0::bigint, 'and keeps its key');
CREATE TABLE taken (id int PRIMARY KEY, face biometric.face_image);
INSERT INTO taken SELECT n, made.png(n, 5) FROM generate_series(1, 3) AS n;
SELECT biometric.key_period('taken', 'face', '1 month');
INSERT INTO taken SELECT id + 10, face FROM visits WHERE id = 1;
SELECT isnt(t.key, v.key, 'a column with periods of its own has keys of its own')
	FROM (SELECT key_of(face::bytea) AS key FROM taken WHERE id = 11) t, (SELECT key_of(face::bytea) AS key FROM visits WHERE id = 1) v;

-- Whatever else puts images into a column with periods

CREATE VIEW recorded AS SELECT l.seq, d.operation, d.key, d.digest, d.image_id
	FROM biometric.ledger l, biometric.decode_entry(biometric.leaf(l.seq)) d WHERE l.event IN ('stored', 'replaced');
CREATE TABLE arrived (id int PRIMARY KEY, face biometric.face_image);
GRANT INSERT ON arrived TO reseal_none;
SELECT biometric.key_period('arrived', 'face', '1 month');
SET ROLE reseal_none;
INSERT INTO arrived VALUES (1, :'sealed');
RESET ROLE;
SELECT is(flags_of(face::bytea)::text || ' ' || (key_of(face::bytea) <= :newest_key), '3 true', 'what is given from outside has no period') FROM arrived;
SELECT is(biometric.adopt('arrived', 'face'), 1::bigint, 'until somebody vouches for it');
SELECT is(flags_of(face::bytea)::text || ' ' || (key_of(face::bytea) > :newest_key), '0 true', 'then it is sealed under the key of its period')
	FROM arrived;
SELECT is(row(r.key, r.digest)::text, row(key_of(a.face::bytea), biometric.digest(a.face))::text, 'which is what goes on record')
	FROM arrived a JOIN recorded r ON r.image_id = biometric.image_id(a.face) AND r.operation = 'adopt';

CREATE TABLE followed (id int PRIMARY KEY, face biometric.face_image,
	key_id int GENERATED ALWAYS AS (key_id_of(face)) STORED);
SELECT biometric.key_period('followed', 'face', '1 month');
GRANT INSERT ON followed TO reseal_none;
SET ROLE reseal_none;
INSERT INTO followed VALUES (1, :'sealed');
RESET ROLE;
SELECT is(biometric.adopt('followed', 'face'), 1::bigint, 'what is generated from an image that is adopted');
SELECT is(key_id, key_of(face::bytea)::int, 'follows its key') FROM followed;
CREATE TABLE apart (id int PRIMARY KEY, face biometric.face_image,
	EXCLUDE USING btree (key_id_of(face) WITH =) DEFERRABLE INITIALLY DEFERRED);
SELECT biometric.key_period('apart', 'face', '1 month');
GRANT INSERT ON apart TO reseal_none;
INSERT INTO apart VALUES (2, made.png(1, 1));
SET ROLE reseal_none;
INSERT INTO apart VALUES (1, :'sealed');
RESET ROLE;
SELECT throws_ok($$SELECT biometric.adopt('apart', 'face')$$, '23505', NULL, 'a constraint on it that may be deferred is not passed over');

CREATE TABLE lone (id int PRIMARY KEY, face biometric.face_image);
CREATE UNIQUE INDEX ON lone (key_id_of(face));
SELECT biometric.key_period('lone', 'face', '1 month');
GRANT INSERT ON lone TO reseal_none;
INSERT INTO lone VALUES (2, made.png(1, 1));
SET ROLE reseal_none;
INSERT INTO lone VALUES (1, :'sealed');
SET ROLE reseal_custodian;
SELECT alike(told($$SELECT biometric.adopt('lone', 'face')$$), '%unique constraint%: The row is shown in the server''s log alone.',
	'nor does it show rows to who may not read them');
RESET ROLE;

CREATE TABLE drawn (id int PRIMARY KEY, face biometric.face_image);
SELECT biometric.key_period('drawn', 'face', '1 month');
INSERT INTO drawn SELECT n, made.png(n, 6) FROM generate_series(1, 3) AS n;
CREATE TABLE drawn_before AS SELECT id, key_of(face::bytea) AS key, lasting(face::bytea) AS face FROM drawn;
ALTER TABLE drawn ALTER COLUMN id TYPE bigint;
SELECT is(count(*), 3::bigint, 'a table that is rewritten has the same images under the same keys')
	FROM drawn JOIN drawn_before b USING (id) WHERE key_of(drawn.face::bytea) = b.key AND lasting(drawn.face::bytea) = b.face;
ALTER TABLE drawn ALTER COLUMN face TYPE biometric.face_image USING made.png(id::int, 7);
SELECT is(count(*), 3::bigint, 'new images that it is rewritten with are sealed under the keys of their periods')
	FROM drawn JOIN drawn_before b USING (id) WHERE key_of(drawn.face::bytea) = b.key AND lasting(drawn.face::bytea) <> b.face;
SELECT is(count(*), 3::bigint, 'which is what goes on record') FROM drawn d JOIN recorded r ON r.image_id = biometric.image_id(d.face)
	WHERE r.key = key_of(d.face::bytea) AND r.digest = biometric.digest(d.face);
SELECT is(resealed('drawn', 'face') + resealed('arrived', 'face'), 0::bigint, 'and nothing is left to be sealed again');

SELECT biometric.key_period('visits', 'face', NULL);
SELECT is(resealed('visits', 'face'), 3::bigint, 'when periods end, images get the general key again');
SELECT is(count(*), 3::bigint, 'all of them') FROM visits WHERE key_of(face::bytea) = :newest_key;

SELECT ok(ok, 'and the ledger verifies: ' || coalesce(problem, '')) FROM biometric.verify_ledger();
SELECT * FROM finish();
DROP OWNED BY reseal_none, reseal_custodian, reseal_owner CASCADE;
DROP ROLE reseal_none, reseal_custodian, reseal_owner;
