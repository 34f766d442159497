-- Images under legal hold stay, whichever way a statement would lose them, until they are released.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(110);

CREATE ROLE hold_owner;
CREATE ROLE hold_custodian;
CREATE ROLE hold_auditor;
GRANT biometric_custodian TO hold_custodian;
GRANT biometric_auditor TO hold_auditor;
GRANT CREATE ON SCHEMA public TO hold_owner, hold_custodian;

-- The number of the hold that keeps images from a statement; its message otherwise, '' when it ran.
CREATE FUNCTION kept(statement text) RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
	told text;
BEGIN
	EXECUTE statement;
	RETURN '';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS told = PG_EXCEPTION_DETAIL;
	RETURN CASE WHEN SQLSTATE = '55006' AND told LIKE 'Hold % keeps it%'
		THEN regexp_replace(SQLERRM, 'an image that is ', '') ELSE SQLSTATE || ' ' || SQLERRM END;
END
$body$;
CREATE FUNCTION is_kept(statement text, verb text, description text) RETURNS text LANGUAGE sql
AS $body$
	SELECT is(kept(statement), 'cannot ' || verb || ' under legal hold', description)
$body$;

CREATE TABLE face (id int PRIMARY KEY, town text, img biometric.face_image, other biometric.face_image);
GRANT ALL ON face TO hold_owner;
INSERT INTO face SELECT n, CASE WHEN n <= 3 THEN 'Bern' ELSE 'Basel' END, made.jpeg(n, 10)::biometric.face_image
FROM generate_series(1, 6) AS n;
INSERT INTO face VALUES (7, 'Bern', NULL);

-- Placing.

SELECT is(biometric.legal_hold('face', 'img', $$town = 'Bern'$$, 'case 17'), 1::bigint,
	'a hold is placed on the rows that a predicate is true for');
SELECT is((SELECT string_agg(f.id::text, ' ' ORDER BY f.id) FROM face AS f
		JOIN biometric.held AS h ON h.image_id = biometric.image_id(f.img)), '1 2 3',
	'their images are held, and no others');
SELECT is((SELECT string_agg(DISTINCT h.key_id::text, ' ') FROM biometric.held AS h), '1',
	'with the key that they are sealed under');
SELECT is((SELECT concat_ws(' ', relation, column_name, predicate, reason, images, held, placed_by, released_at IS NULL)
		FROM biometric.hold_state), 'face img town = ''Bern'' case 17 3 3 postgres t', 'the view shows it');
SELECT is((SELECT digest FROM biometric.hold), (SELECT sha256(string_agg(b, ''::bytea ORDER BY b))
		FROM (SELECT uuid_send(image_id) AS b FROM biometric.held) AS u),
	'its digest is that of the ids in their order');
SELECT is((SELECT concat_ws(' ', l.detail ->> 'hold', l.detail ->> 'relation', l.detail ->> 'column',
			l.detail ->> 'predicate', l.detail ->> 'reason', l.detail ->> 'images')
		FROM biometric.ledger AS l WHERE l.event = 'policy_changed' AND l.detail ->> 'action' = 'legal_hold'),
	'1 public.face img town = ''Bern'' case 17 3', 'and it is on record');
SELECT is((SELECT l.detail ->> 'digest' FROM biometric.ledger AS l WHERE l.detail ->> 'action' = 'legal_hold'),
	(SELECT encode(digest, 'hex') FROM biometric.hold), 'with the digest');

-- Statements that change rows.

SELECT is_kept('DELETE FROM face WHERE id = 1', 'erase', 'DELETE');
SELECT is_kept('DELETE FROM face', 'erase', 'DELETE of held and other rows');
SELECT is_kept('UPDATE face SET img = NULL WHERE id = 1', 'erase', 'UPDATE to NULL');
SELECT is_kept('UPDATE face SET img = made.jpeg(1, 10)::biometric.face_image WHERE id = 1', 'replace',
	'UPDATE to another image, of the same bytes');
SELECT is_kept('UPDATE face SET img = (SELECT img FROM face WHERE id = 2) WHERE id = 1', 'replace',
	'UPDATE to another held image');
SELECT is_kept('UPDATE face SET other = img, img = NULL WHERE id = 1', 'erase', 'a move into another column');
SELECT is_kept($$INSERT INTO face VALUES (1, 'x', made.jpeg(9, 9)::biometric.face_image)
	ON CONFLICT (id) DO UPDATE SET img = excluded.img$$, 'replace', 'ON CONFLICT DO UPDATE');
SELECT is_kept('MERGE INTO face AS f USING (VALUES (1)) AS v(id) ON v.id = f.id WHEN MATCHED THEN DELETE',
	'erase', 'MERGE that deletes');
SELECT is_kept('MERGE INTO face AS f USING (VALUES (1)) AS v(id) ON v.id = f.id WHEN MATCHED THEN UPDATE SET img = NULL',
	'erase', 'MERGE that updates');
SELECT is_kept('WITH gone AS (DELETE FROM face WHERE id = 1 RETURNING *) SELECT count(*) FROM gone', 'erase',
	'DELETE in a WITH');
SET session_replication_role = replica;
SELECT is_kept('DELETE FROM face WHERE id = 1', 'erase', 'session_replication_role = replica does not help');
RESET session_replication_role;
SET ROLE hold_owner;
SELECT is_kept('DELETE FROM face WHERE id = 1', 'erase', 'nobody else may either');
RESET ROLE;
SELECT is(kept('DELETE FROM face WHERE id = 6'), '', 'rows with other images go');
SELECT is(kept('DELETE FROM face WHERE id = 7'), '', 'and rows without');
SELECT is(kept($$UPDATE face SET town = 'Biel' WHERE id = 1$$), '', 'what else is in the row may change');
SELECT is_kept('DELETE FROM face WHERE id = 1', 'erase', 'it is held all the same');
SELECT is(kept('UPDATE face SET img = (SELECT img FROM face WHERE id = 1) WHERE id = 1'), '',
	'an update to the image that it is changes nothing');
CREATE TABLE person (id int PRIMARY KEY);
INSERT INTO person VALUES (1);
ALTER TABLE face ADD COLUMN person int REFERENCES person ON DELETE CASCADE;
UPDATE face SET person = 1 WHERE id = 2;
SELECT is_kept('DELETE FROM person', 'erase', 'a foreign key that cascades');
CREATE RULE face_gone AS ON UPDATE TO person DO ALSO DELETE FROM face WHERE id = 2;
SELECT is_kept('UPDATE person SET id = 1', 'erase', 'a rule');
DROP RULE face_gone ON person;

-- Commands on tables.

SELECT is_kept('TRUNCATE face', 'truncate', 'TRUNCATE');
SELECT is_kept('TRUNCATE person CASCADE', 'truncate', 'TRUNCATE CASCADE');
SELECT is_kept('DROP TABLE face', 'drop', 'DROP TABLE');
SELECT is_kept('DROP TABLE face CASCADE', 'drop', 'DROP TABLE CASCADE');
SELECT is_kept('ALTER TABLE face DROP COLUMN img', 'drop', 'DROP COLUMN');
SELECT is(kept('ALTER TABLE face DROP COLUMN other'), '', 'another column goes');
SELECT is_kept('ALTER TABLE face ALTER COLUMN img TYPE biometric.face_image USING NULL', 'convert',
	'ALTER COLUMN TYPE to nothing');
CREATE SCHEMA attic AUTHORIZATION hold_owner;
SET ROLE hold_owner;
CREATE TABLE attic.copy AS SELECT * FROM face;
CREATE INDEX copy_id ON attic.copy (id);
RESET ROLE;
SELECT is_kept('DROP SCHEMA attic CASCADE', 'drop', 'a copy is held: DROP SCHEMA CASCADE');
SELECT is_kept('DROP OWNED BY hold_owner CASCADE', 'drop', 'DROP OWNED');
SELECT is_kept('DELETE FROM attic.copy', 'erase', 'DELETE from the copy');
SELECT is(kept('ALTER TABLE attic.copy RENAME COLUMN img TO picture'), '', 'a column gets another name');
SELECT is(kept('ALTER TABLE attic.copy SET (fillfactor = 50); CLUSTER attic.copy USING copy_id'), '', 'a table is rewritten as it is');
SELECT is(kept('ALTER TABLE attic.copy ALTER COLUMN id TYPE bigint'), '', 'also for another column');
SELECT is_kept('DROP TABLE attic.copy', 'drop', 'and keeps what is held');

-- Partitions and heirs.

CREATE TABLE plate (id int, img biometric.plate_image) PARTITION BY RANGE (id);
CREATE TABLE plate_low PARTITION OF plate FOR VALUES FROM (0) TO (10);
CREATE TABLE plate_high PARTITION OF plate FOR VALUES FROM (10) TO (20);
INSERT INTO plate SELECT n, made.jpeg(n + 20, 10)::biometric.plate_image FROM generate_series(8, 12) AS n;
SELECT is(biometric.legal_hold('plate', 'img', 'id IN (9, 10)', 'case 18'), 2::bigint,
	'a hold on a partitioned table');
SELECT is((SELECT held FROM biometric.hold_state WHERE hold_id = 2), 2::bigint, 'holds images of its partitions');
SELECT is_kept('TRUNCATE plate', 'truncate', 'TRUNCATE of the parent');
SELECT is_kept('TRUNCATE plate_low', 'truncate', 'TRUNCATE of a partition');
SELECT is_kept('DROP TABLE plate', 'drop', 'DROP TABLE of the parent');
SELECT is_kept('DROP TABLE plate_high', 'drop', 'DROP TABLE of a partition');
SELECT is_kept('UPDATE plate SET id = 15 WHERE id = 9', 'erase', 'a held row does not move to another partition');
SELECT is(kept('UPDATE plate SET id = 15 WHERE id = 8'), '', 'another one does');
SELECT is_kept('ALTER TABLE plate DETACH PARTITION plate_low; DROP TABLE plate_low', 'drop',
	'DETACH PARTITION, and DROP TABLE');
SELECT is_kept('ALTER TABLE plate DROP COLUMN img', 'drop', 'DROP COLUMN of the parent');

-- Copies in materialized views and temporary tables.

CREATE MATERIALIZED VIEW shown AS SELECT id, img FROM face WHERE id < 4;
CREATE UNIQUE INDEX ON shown (id);
SELECT is(kept('REFRESH MATERIALIZED VIEW shown'), '', 'a materialized view is made anew with the same images');
SELECT is(kept('REFRESH MATERIALIZED VIEW CONCURRENTLY shown'), '', 'also concurrently');
UPDATE face SET id = 40 WHERE id = 2;
SELECT is_kept('REFRESH MATERIALIZED VIEW shown', 'refresh away', 'but not without a held one');
SELECT is_kept('REFRESH MATERIALIZED VIEW CONCURRENTLY shown', 'refresh away', 'nor concurrently');
SELECT is_kept('REFRESH MATERIALIZED VIEW shown WITH NO DATA', 'refresh away', 'nor without data');
SELECT is_kept('DROP MATERIALIZED VIEW shown', 'drop', 'nor is it dropped');
UPDATE face SET id = 2 WHERE id = 40;
CREATE TEMP TABLE scratch AS TABLE face;
SELECT is(kept('DELETE FROM scratch WHERE id = 1'), '', 'a temporary table keeps nothing');
SELECT is(kept('TRUNCATE scratch'), '', 'the server itself empties such tables');
SELECT is(kept('DROP TABLE scratch'), '', 'and drops them');
CREATE TEMP TABLE scratch AS SELECT n AS id, made.jpeg(n, 30)::biometric.face_image AS img FROM generate_series(1, 2) AS n;
SELECT throws_ok($$SELECT biometric.legal_hold('scratch', 'img', NULL, 'r')$$, '42809', NULL,
	'so nothing is held in one');

-- Predicates.

CREATE FUNCTION hold_query(predicate text) RETURNS bigint LANGUAGE sql VOLATILE AS $body$
	SELECT biometric.legal_hold('face', 'img', predicate, 'r')
$body$;
SELECT throws_ok(format('SELECT hold_query(%L)', predicate), '42601', NULL, 'no predicate: ' || predicate)
FROM (VALUES ('true) OR ('), ('true) UNION SELECT tableoid, ctid FROM face WHERE (true'), ('true); DROP TABLE person; SELECT (1'),
	('true) ORDER BY (1'), ('true) LIMIT (1'), ('true) GROUP BY (tableoid), (ctid'), ('true) /*'), ('')) AS p(predicate)
WHERE predicate <> '';
SELECT throws_ok($$SELECT hold_query('true /*')$$, '42601', NULL, 'an open comment is none');
SELECT throws_ok($$SELECT hold_query('$1')$$, '42P02', NULL, 'nor is a parameter');
SELECT throws_ok($$SELECT hold_query('id')$$, '42804', NULL, 'it is a condition');
SELECT throws_ok($$SELECT hold_query('id = 1000')$$, '42704', NULL, 'that some row fulfils');
CREATE FUNCTION writes() RETURNS bool LANGUAGE plpgsql AS $body$
BEGIN
	INSERT INTO person VALUES (99);
	RETURN true;
END
$body$;
SELECT throws_ok($$SELECT hold_query('writes()')$$, '25006', NULL, 'it writes nothing');
SELECT is(current_setting('transaction_read_only'), 'off', 'afterwards the transaction writes again');
CREATE FUNCTION writes_anyway() RETURNS bool LANGUAGE plpgsql AS $body$
BEGIN
	PERFORM set_config('transaction_read_only', 'off', true);
	INSERT INTO person VALUES (99);
	RETURN true;
END
$body$;
SELECT throws_ok($$SELECT hold_query('writes_anyway()')$$, '25001', NULL, 'nor by switching that off');
BEGIN;
SELECT is(biometric.legal_hold('face', 'img', 'id = 4 -- all', 'r'), 3::bigint, 'a comment at the end is none of its');
SELECT is(biometric.legal_hold('face', 'img', $$biometric.width(img) = 4 AND EXISTS (SELECT FROM person)$$, 'r'), 4::bigint,
	'it may look at the image''s header, and at other tables');
SELECT is(biometric.legal_hold('face', 'img', ' ', 'r'), 5::bigint, 'none: all rows');
SELECT is((SELECT array_agg(images ORDER BY hold_id) FROM biometric.hold_state), '{3,2,1,1,5}', 'each hold has its images');
SELECT is_kept('DELETE FROM face WHERE id = 4', 'erase', 'a hold counts in its own transaction');
ROLLBACK;
SELECT is(kept('DELETE FROM face WHERE id = 5'), '', 'one that was rolled back holds nothing');

-- Who may.

GRANT USAGE ON SCHEMA made TO PUBLIC;
SET ROLE hold_auditor;
SELECT throws_ok($$SELECT biometric.legal_hold('face', 'img', NULL, 'r')$$, '42501', NULL, 'auditors hold nothing');
SELECT throws_ok($$SELECT biometric.release_hold(1, 'r')$$, '42501', NULL, 'and release nothing');
SELECT is((SELECT count(*) FROM biometric.hold_state), 2::bigint, 'they see the holds');
SET ROLE hold_custodian;
SELECT throws_ok($$SELECT biometric.legal_hold('face', 'img', NULL, 'r')$$, '42501',
	'permission denied for relation "face"', 'a custodian needs SELECT on the table');
SELECT throws_ok($$SELECT biometric.release_hold('face', 'img', NULL, 'r')$$, '42501',
	'permission denied for relation "face"', 'also to release by a predicate');
RESET ROLE;
GRANT SELECT ON face TO hold_custodian;
ALTER TABLE face ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON face USING (id < 3);
SET ROLE hold_custodian;
SELECT throws_ok($$SELECT biometric.legal_hold('face', 'img', NULL, 'r')$$, '42501',
	'query would be affected by row-level security policy for table "face"', 'and to see all its rows');
RESET ROLE;
DROP POLICY few ON face;
ALTER TABLE face DISABLE ROW LEVEL SECURITY;
SELECT throws_ok($$SELECT biometric.legal_hold('face', 'town', NULL, 'r')$$, '42809', NULL, 'a column has images');
SELECT throws_ok($$SELECT biometric.legal_hold('face', 'nothing', NULL, 'r')$$, '42703', NULL, 'and exists');
SELECT throws_ok($$SELECT biometric.legal_hold('face', 'img', NULL, ' ')$$, '22023', NULL, 'a hold has a reason');
SELECT throws_ok($$SELECT biometric.legal_hold('pg_views', 'img', NULL, 'r')$$, '42809', NULL, 'a view stores nothing');
SELECT throws_ok($$INSERT INTO biometric.held SELECT * FROM biometric.held$$, '42501', NULL, 'nobody holds by hand');
SELECT throws_ok('DELETE FROM biometric.held', '42501', NULL, 'or releases');

-- By ids, and releasing.

SELECT is(biometric.legal_hold((SELECT array_agg(biometric.image_id(img)) FROM face WHERE id IN (1, 4)), 'case 19'), 3::bigint,
	'a hold by image ids');
SELECT throws_ok($$SELECT biometric.legal_hold('{00000000-0000-0000-0000-000000000001}'::uuid[], 'r')$$, '42704',
	'image 00000000-0000-0000-0000-000000000001 is not stored in this database', 'of images that are stored');
SELECT throws_ok($$SELECT biometric.legal_hold('{}'::uuid[], 'r')$$, '22023', NULL, 'of some');
SELECT throws_ok($$SELECT biometric.legal_hold('{NULL}'::uuid[], 'r')$$, '22023', NULL, 'and not of NULL');
SELECT is(biometric.release_hold(1, 'case 17 is closed'), 3::bigint, 'a hold is released');
SELECT throws_ok($$SELECT biometric.release_hold(1, 'again')$$, '42704', 'there is no hold 1, or it was released', 'once');
SELECT is((SELECT concat_ws(' ', images, held, released_by, release_reason) FROM biometric.hold_state WHERE hold_id = 1),
	'3 0 postgres case 17 is closed', 'the view says so');
SELECT is_kept('DELETE FROM face WHERE id = 1', 'erase', 'what another hold holds is held');
SELECT is(kept('DELETE FROM face WHERE id = 3'), '', 'the rest may go');
SELECT is(biometric.release_hold((SELECT array_agg(biometric.image_id(img)) FROM face WHERE id IN (1, 2)), 'r'), 1::bigint,
	'an image is released by its id, from all holds');
SELECT is((SELECT concat_ws(' ', held, released_at IS NULL) FROM biometric.hold_state WHERE hold_id = 3), '1 t',
	'its hold holds the others');
SELECT is(biometric.release_hold('face', 'img', 'id = 4', 'r'), 1::bigint, 'and by a predicate');
SELECT is((SELECT concat_ws(' ', held, released_at IS NULL) FROM biometric.hold_state WHERE hold_id = 3), '0 f',
	'which ends the hold');
SELECT throws_ok($$SELECT biometric.release_hold('face', 'img', 'id = 4', 'r')$$, '42704',
	'none of these images is under a legal hold', 'nothing is released twice');
SELECT is((SELECT string_agg(concat_ws(' ', l.detail ->> 'holds', l.detail ->> 'ended', l.detail ->> 'images'), ', ' ORDER BY l.seq)
		FROM biometric.ledger AS l WHERE l.detail ->> 'action' = 'release_hold'),
	'[1] [1] 3, [3] 1, [3] [3] 1', 'each release is on record');
SELECT is(kept('DROP TABLE face, person CASCADE'), '', 'a table goes when nothing of it is held') ;

-- The extension goes with no hold.

SELECT lives_ok($$SELECT biometric.retire_ledger('r')$$, 'the ledger is retired');
SELECT is_kept('DROP EXTENSION biometric_audit CASCADE', 'drop', 'DROP EXTENSION CASCADE is refused while something is held');

SELECT * FROM finish();
