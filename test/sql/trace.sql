-- trace() as SQL sees it: what it takes, what it refuses, where it may be used.
-- Whole leaks, marks and changed pictures are in test/tap/039_trace.pl.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(24);

CREATE TABLE visit (id int PRIMARY KEY, face biometric.face_image);
CREATE FUNCTION found(file bytea, near int DEFAULT NULL) RETURNS text LANGUAGE sql AS $body$
	SELECT string_agg(concat_ws(' ', match, distance, kind, relation, row_key, coalesce(party, '-')), E'\n')
	FROM biometric.trace(file, near)
$body$;

SELECT is(found(made.png(3, 2)), NULL, 'an empty ledger has nothing to find');
INSERT INTO visit VALUES (1, made.png(3, 2)), (2, made.jpeg(3, 2)), (3, made.j2k(3, 2));
SELECT is(found(made.png(3, 2)), 'exact 0 face public.visit {"id": 1} -', 'a PNG file is found by its bytes');
SELECT is(found(made.jpeg(3, 2)), 'exact 0 face public.visit {"id": 2} -', 'a JPEG file, too');
SELECT is(found(made.j2k(3, 2)), 'exact 0 face public.visit {"id": 3} -', 'and one that shows nothing to us');
SELECT is(found(made.png(3, 2, 'else')), NULL, 'other bytes of so small a picture are not found');
SELECT is(found(made.png(3, 2), 0), found(made.png(3, 2)), 'no distance at all is enough for the same bytes');

SELECT throws_ok($$ SELECT * FROM biometric.trace(NULL) $$, '22004', NULL, 'a file must be given');
SELECT throws_ok($$ SELECT * FROM biometric.trace('\x', -1) $$, '22023', NULL, 'a distance cannot be negative');
SELECT throws_ok($$ SELECT * FROM biometric.trace('\x', 257) $$, '22023', NULL, 'nor more than a hash has bits');
SELECT is(found(''), NULL, 'nothing leads nowhere');
SELECT is(found(sha256('a')), NULL, 'nor does something that is no file');

-- One image in several rows, and one picture in several images.
INSERT INTO visit SELECT 11, face FROM visit WHERE id = 1;
SELECT is((SELECT count(*) FROM biometric.trace(made.png(3, 2))), 1::bigint, 'an image that was copied is one image');
SELECT is(found(made.png(3, 2)), 'exact 0 face public.visit {"id": 11} -', 'shown where it was stored last');
INSERT INTO visit VALUES (12, made.png(3, 2));
SELECT is((SELECT string_agg(row_key ->> 'id', ' ' ORDER BY row_key ->> 'id') FROM biometric.trace(made.png(3, 2))),
		  '11 12', 'a picture that was enrolled twice is two images');
UPDATE visit SET face = made.png(5, 5) WHERE id = 12;
SELECT is((SELECT count(*) FROM biometric.trace(made.png(3, 2))), 2::bigint, 'both are found after one was replaced');
SELECT is(found(made.png(5, 5)), 'exact 0 face public.visit {"id": 12} -', 'and so is what replaced it');
DROP TABLE visit;
SELECT is(found(made.jpeg(3, 2)), 'exact 0 face public.visit {"id": 2} -', 'a table that is gone is still named');

-- Where it may be used, and by whom.
BEGIN READ ONLY;
SELECT is(found(made.jpeg(3, 2)), 'exact 0 face public.visit {"id": 2} -', 'a transaction may be READ ONLY');
ROLLBACK;
SELECT is((SELECT count(*) FROM biometric.ledger WHERE event = 'incident' AND detail ->> 'action' = 'trace'
		   AND detail ->> 'rows' = '1') > 5, true, 'each search is on record, also after ROLLBACK');
SELECT is((SELECT count(*) FROM (SELECT DISTINCT detail ->> 'digest' FROM biometric.ledger
		   WHERE event = 'incident' AND detail ->> 'rows' = '1') AS d) BETWEEN 3 AND 6, true, 'by the file''s digest');
SELECT is(has_function_privilege('biometric_auditor', 'biometric.trace(bytea, int)', 'EXECUTE'), true, 'auditors may trace');
SELECT is(has_function_privilege('biometric_custodian', 'biometric.trace(bytea, int)', 'EXECUTE'), false, 'custodians may not');
SELECT is(has_function_privilege('public', 'biometric.trace(bytea, int)', 'EXECUTE'), false, 'nor may others');
SELECT throws_ok('SET biometric_audit.trace_limit = 0', '22023', NULL, 'at least one image is listed');

SELECT * FROM finish();
