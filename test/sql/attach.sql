-- Tables with images have their triggers from the start, however they are made,
-- and rows that no trigger sees are bound and put on record all the same.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(108);

CREATE ROLE attach_owner;
CREATE ROLE attach_custodian;
GRANT biometric_custodian TO attach_custodian;
GRANT CREATE ON SCHEMA public TO attach_owner;

-- What happened to images since this was called last, in the ledger's order.
CREATE FUNCTION news() RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
	mark constant bigint := coalesce(nullif(current_setting('suite.mark', true), ''), '0');
	found_news text;
BEGIN
	WHILE (SELECT pending > 0 OR state <> 'ready' FROM biometric.ledger_status()) LOOP
		PERFORM pg_sleep(0.001);
	END LOOP;
	SELECT string_agg(concat_ws(' ', c.event, c.relation, c.column_name, c.operation, c.row_key, l.detail ->> 'images'),
					  E'\n' ORDER BY c.seq)
	  INTO found_news
	  FROM biometric.change AS c JOIN biometric.ledger AS l USING (seq)
	 WHERE c.seq >= mark;
	PERFORM set_config('suite.mark', (SELECT max(l.seq) + 1 FROM biometric.ledger AS l)::text, false);
	RETURN found_news;
END
$body$;

-- Whether a table has its three triggers, enabled always, and no others of ours.
CREATE FUNCTION guarded(relation regclass) RETURNS boolean LANGUAGE sql AS $body$
	SELECT coalesce(array_agg(regexp_replace(tgname, '[0-9]+$', tgenabled::text) ORDER BY tgname)
					= '{biometric_record_A,biometric_truncate_A,~biometric_bind_A}' AND bool_and(tgisinternal), false)
	  FROM pg_trigger
	 WHERE tgrelid = relation AND tgname LIKE '%biometric%'
$body$;

-- Where an image is bound: bound, imported, or somewhere else.
CREATE FUNCTION home_of(relation regclass, envelope bytea) RETURNS text LANGUAGE sql STRICT AS $body$
	SELECT CASE WHEN get_byte(envelope, 208) & 1 = 1 THEN 'imported'
				WHEN EXISTS (SELECT FROM biometric.home AS h
							  WHERE uuid_send(h.home) = substr(envelope, 137, 16)
								AND h.relation = home_of.relation) THEN 'bound'
				ELSE 'elsewhere' END
$body$;

-- Every way to make a table with images.

CREATE TABLE made_plain (id int PRIMARY KEY, face biometric.face_image);
SELECT ok(guarded('made_plain'), 'CREATE TABLE attaches the triggers');
CREATE TABLE made_later (id int);
SELECT ok(NOT guarded('made_later'), 'a table without images has none');
ALTER TABLE made_later ADD COLUMN plate biometric.plate_image;
SELECT ok(guarded('made_later'), 'ADD COLUMN attaches them');
ALTER TABLE made_later ADD COLUMN face biometric.face_image;
SELECT ok(guarded('made_later'), 'another image column needs no more');
ALTER TABLE made_later DROP COLUMN plate;
SELECT ok(guarded('made_later'), 'they stay while there is an image column');
ALTER TABLE made_later DROP COLUMN face;
SELECT ok(NOT guarded('made_later') AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'made_later'::regclass),
		  'and go with the last one');
CREATE TEMP TABLE made_temp (face biometric.face_image);
SELECT ok(guarded('made_temp'), 'temporary tables have them');
CREATE UNLOGGED TABLE made_unlogged (face biometric.face_image);
SELECT ok(guarded('made_unlogged'), 'unlogged tables have them');
CREATE TABLE made_as AS SELECT * FROM made_plain;
SELECT ok(guarded('made_as'), 'CREATE TABLE AS attaches them');
CREATE TABLE made_empty AS SELECT * FROM made_plain WITH NO DATA;
SELECT ok(guarded('made_empty'), 'also WITH NO DATA');
SELECT * INTO made_into FROM made_plain;
SELECT ok(guarded('made_into'), 'SELECT INTO attaches them');
CREATE TABLE made_like (LIKE made_plain INCLUDING ALL);
SELECT ok(guarded('made_like'), 'LIKE attaches them');
CREATE TABLE made_heir (more int) INHERITS (made_plain);
SELECT ok(guarded('made_heir'), 'INHERITS attaches them');
CREATE DOMAIN mugshot AS biometric.face_image;
CREATE TABLE made_domain (face mugshot);
SELECT ok(guarded('made_domain'), 'a domain over an image type counts');
CREATE TYPE sighting AS (id int);
CREATE TABLE made_typed OF sighting;
ALTER TYPE sighting ADD ATTRIBUTE face biometric.face_image CASCADE;
SELECT ok(guarded('made_typed'), 'a typed table gets them with its type''s attribute');
CREATE SCHEMA made_schema CREATE TABLE inside (face biometric.face_image);
SELECT ok(guarded('made_schema.inside'), 'an element of CREATE SCHEMA has them');
DO $body$ BEGIN CREATE TABLE made_do (face biometric.face_image); END $body$;
SELECT ok(guarded('made_do'), 'DDL inside of a function attaches them');
DO $body$
BEGIN
	BEGIN
		CREATE TABLE made_twice (face biometric.face_image);
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		NULL;
	END;
	CREATE TABLE made_twice (face biometric.face_image);
END
$body$;
SELECT ok(guarded('made_twice'), 'a command that was rolled back leaves nothing behind');
SET ROLE attach_owner;
CREATE TABLE made_by_owner (face biometric.face_image);
RESET ROLE;
SELECT ok(guarded('made_by_owner'), 'it takes no privilege');

CREATE TABLE made_root (id int, face biometric.face_image) PARTITION BY RANGE (id);
SELECT ok(NOT guarded('made_root'), 'a partitioned table holds no rows and has none');
CREATE TABLE made_leaf PARTITION OF made_root FOR VALUES FROM (0) TO (10);
SELECT ok(guarded('made_leaf'), 'its partitions do');
CREATE TABLE made_joining (id int, face biometric.face_image);
ALTER TABLE made_root ATTACH PARTITION made_joining FOR VALUES FROM (10) TO (20);
SELECT ok(guarded('made_joining'), 'so does one that is attached');
ALTER TABLE made_root ADD COLUMN plate biometric.plate_image;
ALTER TABLE made_root DETACH PARTITION made_joining;
SELECT ok(guarded('made_joining') AND guarded('made_leaf'), 'or was detached');
CREATE TABLE made_rows (id int, face biometric.face_image, plate biometric.plate_image);
INSERT INTO made_rows VALUES (25, made.png(1, 1));
ALTER TABLE made_root ATTACH PARTITION made_rows FOR VALUES FROM (20) TO (30);
SELECT is(home_of('made_rows', face::bytea), 'bound', 'and its images stay at home') FROM made_root WHERE id = 25;
INSERT INTO made_root VALUES (5, made.png(1, 1));
SELECT is(home_of('made_leaf', face::bytea), 'bound', 'a row of a root is bound to its partition')
  FROM made_root WHERE id = 5;
UPDATE made_root SET id = 26 WHERE id = 5;
SELECT is(home_of('made_rows', face::bytea), 'bound', 'and to another when it moves there')
  FROM made_root WHERE id = 26;

-- What cannot be guarded.

SELECT throws_ok('CREATE TABLE refused (faces biometric.face_image[])', '0A000', NULL, 'arrays of images are refused');
SELECT throws_ok('CREATE TABLE refused (visit made_plain)', '0A000', NULL, 'rows with images are refused');
SELECT throws_ok('ALTER TABLE made_later ADD COLUMN faces biometric.face_image[]', '0A000', NULL, 'also in ADD COLUMN');
SELECT throws_ok('CREATE TABLE refused AS SELECT array_agg(face) AS faces FROM made_plain', '0A000', NULL,
				 'also in CREATE TABLE AS');
SELECT throws_ok('CREATE MATERIALIZED VIEW refused AS SELECT array_agg(face) AS faces FROM made_plain', '0A000', NULL,
				 'also in a materialized view');
SELECT throws_ok('CREATE TABLE refused (faces biometric.face_image[], id int) PARTITION BY RANGE (id)', '0A000', NULL,
				 'also in a partitioned table');
SELECT lives_ok('CREATE VIEW allowed AS SELECT array_agg(face) AS faces FROM made_plain', 'views may have them');
SELECT throws_ok('CREATE TABLE refused (face biometric.face_image, copy biometric.face_image '
				 'GENERATED ALWAYS AS (face) STORED)', '0A000', NULL, 'generated images are refused');
CREATE TYPE innocent AS (id int);
CREATE TABLE innocents (it innocent);
SELECT throws_ok('ALTER TYPE innocent ADD ATTRIBUTE face biometric.face_image', '0A000', NULL,
				 'a type that a column has gets no image');
CREATE TABLE row_type (id int);
CREATE TABLE row_holder (it row_type);
SELECT throws_ok('ALTER TABLE row_type ADD COLUMN face biometric.face_image', '0A000', NULL,
				 'nor does a table whose row type a column has');

-- Rows that no trigger sees.

SELECT news() \g /dev/null
INSERT INTO made_plain VALUES (1, made.png(3, 2)), (2, NULL);
SELECT is(news(), 'stored public.made_plain face insert {"id": 1}', 'an INSERT is put on record');
CREATE TABLE copied AS SELECT * FROM made_plain;
SELECT is(news(), 'stored public.copied face create', 'CREATE TABLE AS is put on record');
SELECT is(home_of('copied', face::bytea), 'bound', 'its images are bound') FROM copied WHERE id = 1;
SELECT is(uuid_send(home), substr(face::bytea, 153, 16), 'and keep their origin')
  FROM copied, biometric.home WHERE id = 1 AND relation = 'made_plain'::regclass;
SELECT is(biometric.image_id(c.face), biometric.image_id(p.face), 'and their ids')
  FROM copied AS c JOIN made_plain AS p USING (id) WHERE id = 1;
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) CREATE TABLE explained AS SELECT * FROM made_plain \g /dev/null
SELECT is(news(), 'stored public.explained face create', 'so is what EXPLAIN ANALYZE makes');
SELECT * INTO selected FROM made_plain;
SELECT is(news(), 'stored public.selected face create', 'and SELECT INTO');
PREPARE all_rows AS SELECT * FROM made_plain;
CREATE TABLE executed AS EXECUTE all_rows;
SELECT is(news(), 'stored public.executed face create', 'and CREATE TABLE AS EXECUTE');
BEGIN;
CREATE TABLE undone AS SELECT * FROM made_plain;
ROLLBACK;
SELECT is(news(), NULL, 'what was rolled back is not');
GRANT SELECT ON made_plain TO attach_owner;
SET ROLE attach_owner;
CREATE TABLE copied_by_owner AS SELECT * FROM made_plain;
RESET ROLE;
SELECT is(home_of('copied_by_owner', face::bytea), 'bound', 'who may read an image makes a bound copy')
  FROM copied_by_owner WHERE id = 1;

-- Materialized views.

CREATE MATERIALIZED VIEW seen AS SELECT id, face FROM made_plain;
SELECT news() \g /dev/null
SELECT is(home_of('seen', face::bytea), 'bound', 'a materialized view binds images') FROM seen WHERE id = 1;
REFRESH MATERIALIZED VIEW seen;
SELECT is(news(), E'truncated public.seen face truncate 1\nstored public.seen face create',
		  'REFRESH records what goes and what comes');
SELECT is(home_of('seen', face::bytea), 'bound', 'and binds to the view') FROM seen WHERE id = 1;
CREATE UNIQUE INDEX ON seen (id);
UPDATE made_plain SET face = made.png(7, 7) WHERE id = 1;
INSERT INTO made_plain VALUES (3, made.png(2, 2));
SELECT news() \g /dev/null
REFRESH MATERIALIZED VIEW CONCURRENTLY seen;
SELECT is(news(), E'truncated public.seen face truncate 1\nstored public.seen face create\n'
		  'stored public.seen face create', 'CONCURRENTLY, too');
SELECT results_eq('SELECT id, home_of(''seen'', face::bytea) FROM seen ORDER BY id',
				  $$VALUES (1, 'bound'), (2, NULL), (3, 'bound')$$, 'and binds to the view');
SELECT is(biometric.width(face), 7, 'with the new image') FROM seen WHERE id = 1;
REFRESH MATERIALIZED VIEW seen WITH NO DATA;
SELECT is(news(), 'truncated public.seen face truncate 2', 'WITH NO DATA records what goes');
REFRESH MATERIALIZED VIEW seen;
SELECT is(news(), E'stored public.seen face create\nstored public.seen face create', 'and then what comes');
DROP MATERIALIZED VIEW seen;
SELECT is(news(), 'dropped public.seen face drop 2', 'as does dropping it');
SELECT is((SELECT count(*) FROM biometric.home AS h WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = h.relation)),
		  0::bigint, 'no home is left of what is gone');

-- Rewritten tables.

CREATE TABLE rewritten (id int PRIMARY KEY, picture bytea, note text);
INSERT INTO rewritten VALUES (1, made.png(1, 1)), (2, NULL), (3, made.png(2, 1, repeat('x', 9000)));
CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN RAISE 'fired'; END $body$;
CREATE TRIGGER fired BEFORE UPDATE ON rewritten FOR EACH ROW EXECUTE FUNCTION fired();
CREATE RULE instead AS ON UPDATE TO rewritten DO INSTEAD NOTHING;
ALTER TABLE rewritten ALTER picture TYPE biometric.face_image USING picture::biometric.face_image;
SELECT ok(guarded('rewritten'), 'a bytea column that becomes an image column brings the triggers');
SELECT is(news(), E'stored public.rewritten picture create {"id": 1}\nstored public.rewritten picture create {"id": 3}',
		  'and its images are put on record');
SELECT results_eq('SELECT id, home_of(''rewritten'', picture::bytea) FROM rewritten ORDER BY id',
				  $$VALUES (1, 'bound'), (2, NULL), (3, 'bound')$$, 'and bound');
SELECT results_eq('SELECT id FROM rewritten WHERE id = 3', 'VALUES (3)', 'indexes find the rows');
SELECT is(biometric.byte_length(picture), length(made.png(2, 1, repeat('x', 9000)))::bigint, 'and the images are whole')
  FROM rewritten WHERE id = 3;
ALTER TABLE rewritten ALTER note SET STATISTICS 0, ALTER id TYPE bigint, ALTER picture SET STATISTICS 0;
SELECT is(news(), NULL, 'a rewrite that leaves the images alone records nothing');
ALTER TABLE rewritten ALTER picture TYPE mugshot;
SELECT is(news(), NULL, 'nor does the way to a domain');
SELECT format('ALTER TABLE rewritten ADD COLUMN face biometric.face_image DEFAULT %L', made.png(4, 4)) \gexec
SELECT is(news(), E'stored public.rewritten face create {"id": 2}\nstored public.rewritten face create {"id": 1}\n'
		  'stored public.rewritten face create {"id": 3}', 'a default for all rows is put on record for each');
SELECT is(array_agg(DISTINCT home_of('rewritten', face::bytea)), ARRAY['bound'], 'and bound in each') FROM rewritten;
ALTER TABLE rewritten RENAME COLUMN face TO portrait;
SELECT is((SELECT array_agg(column_name::text ORDER BY attnum) FROM biometric.home
			WHERE relation = 'rewritten'::regclass), '{picture,portrait}', 'a home goes by its column''s new name');

-- What goes with what held it.

ALTER TABLE rewritten DROP COLUMN portrait;
SELECT is(news(), 'dropped public.rewritten portrait drop 3', 'DROP COLUMN records how many images went');
SELECT is((SELECT array_agg(column_name::text ORDER BY attnum) FROM biometric.home
			WHERE relation = 'rewritten'::regclass), '{picture}', 'and its home goes');
DROP TABLE rewritten;
SELECT is(news(), 'dropped public.rewritten picture drop 2', 'so does DROP TABLE');
DROP TABLE made_empty;
SELECT is(news(), NULL, 'where there were no images there is nothing to record');
CREATE SCHEMA going;
CREATE TABLE going.plain (face biometric.face_image, plate biometric.plate_image);
INSERT INTO going.plain VALUES (made.png(1, 1), made.png(1, 1)), (made.png(1, 1), NULL);
SELECT news() \g /dev/null
DROP SCHEMA going CASCADE;
SELECT is(news(), E'dropped going.plain face drop 2\ndropped going.plain plate drop 1', 'so does DROP SCHEMA');
DROP OWNED BY attach_owner;
SELECT is(news(), 'dropped public.copied_by_owner face drop 1', 'so does DROP OWNED');
GRANT CREATE ON SCHEMA public TO attach_owner;
DROP TABLE made_root;
SELECT is(news(), 'dropped public.made_rows face drop 2', 'so does dropping a partitioned table');
BEGIN;
DROP TABLE copied;
ROLLBACK;
SELECT is(news(), NULL, 'a DROP that was rolled back has lost nothing');
INSERT INTO made_temp VALUES (made.png(1, 1));
SELECT news() \g /dev/null
DROP TABLE made_temp;
SELECT matches(news(), '^dropped pg_temp_[0-9]+.made_temp face drop 1$', 'temporary tables are no exception');

-- Who would write past the triggers.

CREATE FUNCTION early() RETURNS event_trigger LANGUAGE plpgsql AS $body$
BEGIN
	INSERT INTO too_early VALUES (NULL);
END
$body$;
CREATE EVENT TRIGGER early ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION early();
SELECT throws_ok('CREATE TABLE too_early (face biometric.face_image)', '55000', NULL,
				 'a table that has no triggers yet cannot be written to');
DROP EVENT TRIGGER early;
SET session_replication_role = replica;
INSERT INTO made_plain VALUES (10, made.png(1, 1));
RESET session_replication_role;
SELECT is(news(), 'stored public.made_plain face insert {"id": 10}', 'a replica''s triggers are not to be skipped');

-- Adoption.

CREATE TABLE given (id int PRIMARY KEY, face biometric.face_image, other biometric.face_image);
GRANT INSERT ON given TO attach_owner;
CREATE TABLE private (face biometric.face_image);
INSERT INTO private VALUES (made.png(5, 5));
SELECT face::text AS sealed FROM private \gset
SET ROLE attach_owner;
INSERT INTO given VALUES (1, :'sealed', :'sealed');
RESET ROLE;
INSERT INTO given VALUES (2, made.png(1, 1), NULL);
SELECT news() \g /dev/null
SELECT is(home_of('given', face::bytea), 'imported', 'who may not read where an image comes from imports it')
  FROM given WHERE id = 1;
CREATE DOMAIN checked AS biometric.face_image CHECK (biometric.width(VALUE) > 0);
ALTER TABLE given ALTER face TYPE checked;
SELECT is(home_of('given', face::bytea), 'imported', 'a superuser''s ALTER TABLE vouches for nothing')
  FROM given WHERE id = 1;
SELECT is(news(), E'truncated public.given face create 2\nstored public.given face create {"id": 1}\n'
		  'stored public.given face create {"id": 2}', 'a column that is computed anew is put on record anew');
CREATE TABLE emptied AS SELECT id, face FROM given;
SELECT news() \g /dev/null
ALTER TABLE emptied ALTER face TYPE biometric.face_image USING NULL, ADD COLUMN note text;
SELECT is(news(), 'truncated public.emptied face create 2', 'also if nothing is left in it');
SELECT throws_ok('SET ROLE attach_owner; SELECT biometric.adopt(''given'', ''face'')', '42501', NULL,
				 'only custodians adopt');
RESET ROLE;
SET ROLE attach_custodian;
SELECT is(biometric.adopt('given', 'face'), 1::bigint, 'a custodian adopts what is not the column''s own');
SELECT is(biometric.adopt('given', 'face'), 0::bigint, 'once');
SELECT throws_ok('SELECT biometric.adopt(''given'', ''id'')', '42809', NULL, 'a column without images is refused');
SELECT throws_ok('SELECT biometric.adopt(''given'', ''none'')', '42703', NULL, 'so is one that is not there');
RESET ROLE;
SELECT is(news(), 'stored public.given face adopt {"id": 1}', 'the adoption is on record');
SELECT ok(home_of('given', face::bytea) = 'bound' AND home_of('given', other::bytea) = 'imported'
		  AND substr(face::bytea, 137, 16) = substr(face::bytea, 153, 16),
		  'the image is at home, by origin too, and no other column is touched') FROM given WHERE id = 1;
SELECT is(biometric.attach_triggers(), 0, 'there is no table that lacks its triggers');
SELECT throws_ok('SET ROLE attach_owner; SELECT biometric.attach_triggers()', '42501', NULL,
				 'not everybody attaches triggers everywhere');
RESET ROLE;
SELECT throws_ok('SET ROLE attach_owner; SELECT biometric.attach_triggers(''given'')', '42501', NULL,
				 'nor to a table of somebody else');
RESET ROLE;

-- Rows that have to be written anew, beside indexes.

CREATE TABLE indexed (id int PRIMARY KEY, filler text) WITH (fillfactor = 100);
CREATE FUNCTION strict_path(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $body$
BEGIN
	IF current_setting('suite.strict', true) = 'on' AND current_setting('search_path') <> 'pg_catalog, pg_temp' THEN
		RAISE 'somebody''s search_path: %', current_setting('search_path');
	END IF;
	RETURN i;
END
$body$;
CREATE INDEX ON indexed (strict_path(id));
INSERT INTO indexed SELECT i, repeat('f', 100) FROM generate_series(1, 2000) AS i;
SELECT set_config('suite.strict', 'on', false) \g /dev/null
SELECT lives_ok(format('ALTER TABLE indexed ADD COLUMN img biometric.face_image DEFAULT %L', made.png(1, 1)),
				'a default for all rows of an indexed table is bound, its functions with a safe search_path');
SET ROLE attach_custodian;
SELECT is(biometric.adopt('indexed', 'img'), 0::bigint, 'there is nothing left to adopt');
RESET ROLE;
SELECT is(biometric.attach_triggers('indexed'), 0, 'nor any trigger to attach');
SELECT set_config('suite.strict', 'off', false) \g /dev/null
SELECT is(count(*), 2000::bigint, 'all of them are at home') FROM indexed WHERE home_of('indexed', img::bytea) = 'bound';
SET enable_seqscan = off;
SELECT is(count(*), 2000::bigint, 'and found by the index') FROM indexed WHERE id > 0;
RESET enable_seqscan;
DROP TABLE indexed;

-- Columns that are computed anew, however that is hidden.

CREATE TABLE pair (id int PRIMARY KEY, face biometric.face_image);
INSERT INTO pair VALUES (1, made.png(1, 1)), (2, made.png(2, 2));
CREATE FUNCTION caught() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $body$
BEGIN
	BEGIN
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		RETURN true;
	END;
END
$body$;
CREATE TABLE pair_caught AS SELECT * FROM pair;
CREATE TABLE pair_nested AS SELECT * FROM pair;
CREATE TABLE pair_wide AS SELECT 1 AS n, * FROM pair;
CREATE TABLE pair_turned AS SELECT * FROM pair;
CREATE TABLE bystander (id int);
SELECT news() \g /dev/null
ALTER TABLE pair_caught ALTER face TYPE biometric.face_image USING CASE WHEN caught() THEN NULL ELSE face END;
SELECT is(news(), 'truncated public.pair_caught face create 2',
		  'an error that a function in USING catches hides nothing');
CREATE FUNCTION nested() RETURNS event_trigger LANGUAGE plpgsql AS $body$
BEGIN
	IF current_setting('suite.nested', true) IS DISTINCT FROM 'on' THEN
		PERFORM set_config('suite.nested', 'on', false);
		ALTER TABLE bystander ALTER id SET STATISTICS 0;
	END IF;
END
$body$;
CREATE EVENT TRIGGER nested ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION nested();
ALTER TABLE pair_nested ALTER face TYPE biometric.face_image USING NULL;
DROP EVENT TRIGGER nested;
SELECT is(news(), 'truncated public.pair_nested face create 2', 'nor does an ALTER TABLE inside of this one');
ALTER TABLE pair_wide ALTER n TYPE bigint, ALTER id TYPE text, ALTER face TYPE biometric.face_image USING NULL;
SELECT is(news(), 'truncated public.pair_wide face create 2', 'rows are counted whatever else changes its width');
SELECT face::text AS sealed FROM pair_turned WHERE id = 1 \gset turned_
SELECT news() \g /dev/null
SELECT format('ALTER TABLE pair_turned ALTER face TYPE biometric.face_image USING %L::biometric.face_image',
			  :'turned_sealed') \gexec
SELECT is(news(), E'truncated public.pair_turned face create 2\nstored public.pair_turned face create\n'
		  'stored public.pair_turned face create', 'images that were in the column before are put on record anew');
ALTER TABLE pair ALTER id TYPE bigint;
SELECT is(news(), NULL, 'a rewrite for another column''s sake is none of an image');

-- Homes.

CREATE FUNCTION homes(relation regclass) RETURNS text[] LANGUAGE sql AS $body$
	SELECT array_agg(column_name::text ORDER BY attnum) FROM biometric.home AS h WHERE h.relation = homes.relation
$body$;
CREATE TABLE homely (id int, face biometric.face_image, plate biometric.plate_image);
SELECT is(homes('homely'), '{face,plate}', 'columns have their homes from CREATE TABLE on');
ALTER TABLE homely ADD COLUMN iris biometric.iris_image;
SELECT is(homes('homely'), '{face,plate,iris}', 'or ADD COLUMN');
CREATE TABLE homely_part (id int, face biometric.face_image) PARTITION BY LIST (id);
CREATE TABLE homely_leaf PARTITION OF homely_part DEFAULT;
SELECT is(homes('homely_leaf'), '{face}', 'so do those of partitions');
SELECT is(homes('homely_part'), NULL, 'but not of what holds no rows');
CREATE MATERIALIZED VIEW homely_view AS SELECT face FROM homely WITH NO DATA;
SELECT is(homes('homely_view'), '{face}', 'and those of materialized views');
SELECT throws_like('SET ROLE attach_custodian; SELECT biometric.adopt(''homely_view'', ''face'')',
				   '"homely_view" is a materialized view', 'which are not adopted');
RESET ROLE;

-- Heirs.

CREATE TABLE ancestor (id int);
CREATE TABLE heir (face biometric.face_image) INHERITS (ancestor);
INSERT INTO heir VALUES (1, made.png(1, 1));
SELECT lives_ok('UPDATE ancestor SET id = 2', 'a guarded heir is written to through a parent without images');

SELECT * FROM finish();
DROP OWNED BY attach_owner, attach_custodian;
DROP ROLE attach_owner, attach_custodian;
