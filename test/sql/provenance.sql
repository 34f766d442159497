-- An image knows which column it was stored in, and a sealed image that was
-- given from outside is trusted only as far as whoever gives it may read there.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(55);

-- Header bytes, as the cast to bytea shows them.
CREATE FUNCTION imported(sealed bytea) RETURNS boolean LANGUAGE sql AS 'SELECT get_byte(sealed, 208) & 1 = 1';
CREATE FUNCTION column_of(id bytea) RETURNS text LANGUAGE sql AS $body$
	SELECT format('%s.%s', h.relation::oid::regclass, h.column_name) FROM biometric.home AS h WHERE uuid_send(h.home) = id
$body$;
CREATE FUNCTION home_of(sealed bytea) RETURNS text LANGUAGE sql AS 'SELECT column_of(substr(sealed, 137, 16))';
CREATE FUNCTION origin_of(sealed bytea) RETURNS text LANGUAGE sql AS 'SELECT column_of(substr(sealed, 153, 16))';

CREATE ROLE prov_none;
CREATE ROLE prov_reader;
CREATE ROLE prov_column;
CREATE ROLE prov_other;
CREATE ROLE prov_owner;
CREATE ROLE prov_bypass BYPASSRLS;
CREATE ROLE prov_custodian IN ROLE biometric_custodian;

CREATE TABLE gallery (id int PRIMARY KEY, name text, face biometric.face_image, other biometric.face_image);
GRANT SELECT ON gallery TO prov_reader, prov_bypass;
GRANT SELECT (face) ON gallery TO prov_column;
GRANT SELECT (id, name, other) ON gallery TO prov_other;
INSERT INTO gallery VALUES (1, 'one', made.png(1, 1), made.png(1, 1)), (2, 'two', made.png(1, 1, repeat('x', 20000)), NULL);

-- Bound where it is stored.

SELECT ok(bool_and(NOT imported(face::bytea)), 'an image that is sealed here is not imported') FROM gallery;
SELECT is(string_agg(DISTINCT home_of(face::bytea), ' '), 'gallery.face', 'it is bound to its column') FROM gallery;
SELECT is(string_agg(DISTINCT origin_of(face::bytea), ' '), 'gallery.face', 'which is its origin, too') FROM gallery;
SELECT is(home_of(other::bytea), 'gallery.other', 'each column is a home of its own') FROM gallery WHERE id = 1;
SELECT is(count(*), 2::bigint, 'and has one row in biometric.home') FROM biometric.home WHERE relation = 'gallery'::regclass;
SELECT ok(home IS NOT NULL AND relation::oid <> 0 AND home::text NOT LIKE '%' || to_hex(relation::oid::bigint) || '%',
		  'a home is no OID') FROM biometric.home LIMIT 1;
CREATE TABLE copy_of (id int, face biometric.face_image);
INSERT INTO copy_of SELECT id, face FROM gallery;
SELECT is(string_agg(DISTINCT home_of(face::bytea) || ' ' || origin_of(face::bytea), ','), 'copy_of.face gallery.face',
		  'a copy is bound to where it is, and keeps its origin') FROM copy_of;
INSERT INTO gallery (id, face) SELECT 3, face FROM copy_of WHERE id = 2;
SELECT is(home_of(face::bytea) || ' ' || origin_of(face::bytea), 'gallery.face gallery.face',
		  'a copy of the copy, too') FROM gallery WHERE id = 3;
SELECT lives_ok($$SELECT count(biometric.width(face)) FROM gallery$$, 'headers are authentic after binding');
DELETE FROM gallery WHERE id = 3;

-- What others have got hold of: sealed text, of which the table below is full.

CREATE TABLE loot (what text PRIMARY KEY, sealed text);
INSERT INTO loot SELECT 'gallery', face::text FROM gallery WHERE id = 1;
INSERT INTO loot SELECT 'long', face::text FROM gallery WHERE id = 2;
INSERT INTO loot SELECT 'unbound', made.png(1, 1)::biometric.face_image::text;
CREATE TABLE mine (who text, what text, face biometric.face_image);
GRANT SELECT ON loot TO PUBLIC;
GRANT SELECT, INSERT, UPDATE ON mine TO PUBLIC;
GRANT USAGE ON SCHEMA made TO PUBLIC;

-- Stores a piece of loot as a role and tells whether it counts as imported, and where it is at home.
CREATE PROCEDURE store(role text, what text) LANGUAGE plpgsql AS $body$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE 'INSERT INTO public.mine SELECT $1, l.what, l.sealed::biometric.face_image FROM public.loot AS l WHERE l.what = $2'
		USING role, what;
	RESET ROLE;
END
$body$;
CREATE FUNCTION outcome(role text, wanted text DEFAULT 'gallery') RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
	result text;
BEGIN
	TRUNCATE mine;
	CALL store(role, wanted);
	SELECT concat_ws(' ', CASE WHEN imported(m.face::bytea) THEN 'imported' ELSE 'trusted' END,
					 coalesce(home_of(m.face::bytea), 'homeless')) INTO result FROM mine AS m;
	RETURN result;
END
$body$;

SELECT is(outcome('prov_none'), 'imported gallery.face', 'sealed text that somebody without SELECT stores stays imported');
SELECT is(outcome('prov_other'), 'imported gallery.face', 'so it does with SELECT on other columns only');
SELECT is(outcome('prov_reader'), 'trusted mine.face', 'with SELECT on the table it is trusted, and bound to where it is now');
SELECT is(outcome('prov_column'), 'trusted mine.face', 'with SELECT on the column, too');
SELECT is(outcome('prov_reader', 'long'), 'trusted mine.face', 'a long image as a short one');
SELECT is(origin_of(face::bytea), 'gallery.face', 'its origin stays') FROM mine;
SELECT is(outcome('postgres'), 'trusted mine.face', 'a superuser''s restore simply works');
SELECT is(outcome('prov_custodian'), 'trusted mine.face', 'and a custodian''s');
SELECT is(outcome('prov_none', 'unbound'), 'imported homeless', 'an image that was sealed and never stored is nobody''s');
SELECT is(outcome('prov_reader', 'unbound'), 'imported homeless', 'whatever else one may read');
SELECT is(outcome('postgres', 'unbound'), 'trusted mine.face', 'but a superuser''s');
CREATE TABLE "constant" AS SELECT 1 AS one;
SET ROLE prov_none;
INSERT INTO mine SELECT 'prov_none', '16384 gallery', sealed::biometric.face_image
  FROM loot WHERE what = 'gallery' AND 'public.gallery'::regclass::oid > 0;
RESET ROLE;
SELECT ok(imported(face::bytea), 'a regclass beside it does not help') FROM mine WHERE what = '16384 gallery';

-- Through functions.

CREATE FUNCTION by_reader() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public AS $body$
	INSERT INTO mine SELECT 'by_reader', what, sealed::biometric.face_image FROM loot WHERE what = 'gallery'
$body$;
ALTER FUNCTION by_reader() OWNER TO prov_reader;
CREATE FUNCTION by_none() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public AS $body$
	INSERT INTO mine SELECT 'by_none', what, sealed::biometric.face_image FROM loot WHERE what = 'gallery'
$body$;
ALTER FUNCTION by_none() OWNER TO prov_none;
TRUNCATE mine;
SET ROLE prov_none;
SELECT by_reader() \g /dev/null
RESET ROLE;
SELECT ok(imported(face::bytea), 'a SECURITY DEFINER function of a reader does not vouch for its caller') FROM mine;
TRUNCATE mine;
SET ROLE prov_reader;
SELECT by_none() \g /dev/null
RESET ROLE;
SELECT ok(imported(face::bytea), 'nor its caller for it') FROM mine;
TRUNCATE mine;
SET ROLE prov_reader;
SELECT by_reader() \g /dev/null
RESET ROLE;
SELECT ok(NOT imported(face::bytea), 'when both may read it is trusted') FROM mine;
TRUNCATE mine;
SET SESSION AUTHORIZATION prov_none;
INSERT INTO mine SELECT 'session', what, sealed::biometric.face_image FROM loot WHERE what = 'gallery';
RESET SESSION AUTHORIZATION;
SELECT ok(imported(face::bytea), 'SET SESSION AUTHORIZATION takes a superuser''s word away') FROM mine;

-- What an imported image becomes.

SET ROLE prov_reader;
UPDATE mine SET what = 'touched';
UPDATE mine SET face = face;
RESET ROLE;
SELECT ok(imported(face::bytea), 'an imported image that an UPDATE leaves alone stays so, whoever it is') FROM mine;
CREATE TABLE theirs (face biometric.face_image);
GRANT SELECT, INSERT ON theirs TO PUBLIC;
SET ROLE prov_none;
INSERT INTO theirs SELECT face FROM mine;
RESET ROLE;
SELECT is(imported(face::bytea)::text || ' ' || home_of(face::bytea), 'true gallery.face',
		  'copying it from table to table does not launder it') FROM theirs;
TRUNCATE theirs;
SET ROLE prov_reader;
INSERT INTO theirs SELECT face FROM mine;
RESET ROLE;
SELECT is(imported(face::bytea)::text || ' ' || home_of(face::bytea), 'true gallery.face',
		  'nor does somebody who may read its home vouch for it by moving it on') FROM theirs;
SET ROLE prov_custodian;
SELECT is(biometric.adopt('theirs', 'face'), 1::bigint, 'a custodian adopts it');
RESET ROLE;
SELECT is(imported(face::bytea)::text || ' ' || home_of(face::bytea), 'false theirs.face',
		  'then it is trusted') FROM theirs;
SET ROLE prov_none;
INSERT INTO mine SELECT 'again', 'again', face::text::biometric.face_image FROM theirs;
RESET ROLE;
SELECT is(imported(face::bytea)::text || ' ' || home_of(face::bytea), 'false mine.face',
		  'and is from then on of the table that it is in, which others may read') FROM mine WHERE who = 'again';
REVOKE SELECT ON mine FROM PUBLIC;
INSERT INTO loot SELECT 'back', face::text FROM mine WHERE who = 'again';
SET ROLE prov_none;
INSERT INTO mine SELECT 'back', what, sealed::biometric.face_image FROM loot WHERE what = 'back';
RESET ROLE;
SELECT ok(imported(face::bytea), 'that it comes from the very table does not help without SELECT') FROM mine WHERE who = 'back';
GRANT SELECT ON mine TO PUBLIC;
SET ROLE prov_none;
INSERT INTO mine SELECT 'flag', what, set_byte(decode(substr(sealed, 8), 'base64'), 208, 0)::biometric.face_image
  FROM loot WHERE what = 'gallery';
RESET ROLE;
SELECT ok(imported(face::bytea), 'clearing the flag in the sealed bytes is in vain') FROM mine WHERE who = 'flag';
SELECT throws_ok($$SELECT overlay(decode(substr(sealed, 8), 'base64') PLACING uuid_send(home) FROM 137)::biometric.face_image
					 FROM loot, biometric.home AS h WHERE what = 'gallery' AND h.relation = 'mine'::regclass$$,
				 '22P03', NULL, 'another home in the sealed bytes is a forgery');

-- Row-level security.

ALTER TABLE gallery OWNER TO prov_owner;
SELECT is(outcome('prov_owner'), 'trusted mine.face', 'a table''s owner may');
ALTER TABLE gallery ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON gallery USING (true);
SELECT is(outcome('prov_reader'), 'imported gallery.face', 'row-level security is in a reader''s way, whatever it says');
SELECT is(outcome('prov_column'), 'imported gallery.face', 'and in that of a reader of the column');
SELECT is(outcome('prov_owner'), 'trusted mine.face', 'not in the owner''s');
SELECT is(outcome('prov_bypass'), 'trusted mine.face', 'nor in that of a role that bypasses it');
ALTER TABLE gallery FORCE ROW LEVEL SECURITY;
SELECT is(outcome('prov_owner'), 'imported gallery.face', 'FORCE puts it in the owner''s way');
ALTER TABLE gallery NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;
SELECT is(outcome('prov_reader'), 'trusted mine.face', 'without it a reader may again');
REVOKE SELECT ON gallery FROM prov_reader;
SELECT is(outcome('prov_reader'), 'imported gallery.face', 'a privilege that was revoked does not linger');

-- Partitions.

CREATE TABLE lanes (lane int, face biometric.face_image) PARTITION BY LIST (lane);
CREATE TABLE lane_1 PARTITION OF lanes FOR VALUES IN (1);
GRANT SELECT ON lanes TO prov_reader;
INSERT INTO lanes VALUES (1, made.png(1, 1));
INSERT INTO loot SELECT 'lane', face::text FROM lanes;
SELECT is(home_of(face::bytea), 'lane_1.face', 'a partition is a home') FROM lanes;
SELECT is(count(*), 0::bigint, 'its root is none') FROM biometric.home WHERE relation = 'lanes'::regclass;
SELECT is(outcome('prov_reader', 'lane'), 'trusted mine.face', 'who may read the root may read its partitions');
SELECT is(outcome('prov_none', 'lane'), 'imported lane_1.face', 'others may not');
ALTER TABLE lanes ENABLE ROW LEVEL SECURITY;
SELECT is(outcome('prov_reader', 'lane'), 'imported lane_1.face', 'row-level security of the root counts');

-- Homes keep up with their columns.

GRANT SELECT ON gallery TO prov_reader;
ALTER TABLE gallery RENAME TO museum;
ALTER TABLE museum RENAME COLUMN face TO portrait;
SELECT is(string_agg(column_name, ' ' ORDER BY attnum), 'portrait other', 'a column that was renamed is so here')
  FROM biometric.home WHERE relation = 'museum'::regclass;
SELECT is(outcome('prov_reader'), 'trusted mine.face', 'a home keeps its id when its table and column get other names');
CREATE SCHEMA elsewhere;
ALTER TABLE museum SET SCHEMA elsewhere;
SELECT is(outcome('prov_reader'), 'trusted mine.face', 'and another schema');
ALTER TABLE elsewhere.museum DROP COLUMN portrait;
SELECT is(outcome('prov_reader'), 'imported homeless', 'when its column is dropped nobody may vouch for its images');
SELECT is(string_agg(column_name, ' '), 'other', 'its home is gone') FROM biometric.home
 WHERE relation = 'elsewhere.museum'::regclass;
DROP TABLE elsewhere.museum;
SELECT is(count(*), 0::bigint, 'nor is there a home without a table')
  FROM biometric.home AS h WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = h.relation);
BEGIN;
CREATE TABLE passing (face biometric.face_image);
INSERT INTO passing VALUES (made.png(1, 1));
ROLLBACK;
SELECT is(count(*), 0::bigint, 'a home that was rolled back is none')
  FROM biometric.home AS h WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = h.relation);
SELECT throws_ok('INSERT INTO biometric.home SELECT * FROM biometric.home LIMIT 1', '42501', NULL,
				 'nobody writes the table of homes');

SELECT * FROM finish();
DROP OWNED BY prov_none, prov_reader, prov_column, prov_other, prov_owner, prov_bypass, prov_custodian;
DROP ROLE prov_none, prov_reader, prov_column, prov_other, prov_owner, prov_bypass, prov_custodian;
