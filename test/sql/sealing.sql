-- An image is sealed when it enters, and in SQL it stays so.
\ir include/images.sql

BEGIN;
SELECT plan(46);

CREATE TABLE visit (id int, face biometric.face_image);
INSERT INTO visit VALUES
	(1, made.png(3, 2, 'CANARY-7f3a-first')),
	(2, made.png(4, 3, repeat('CANARY-7f3a ', 10000)));
INSERT INTO visit SELECT 3, ('\x' || encode(made.png(5, 4, 'CANARY-7f3a-text'), 'hex'))::biometric.face_image;

-- What comes out.

CREATE FUNCTION pg_temp.shows_canary(bytes bytea) RETURNS boolean LANGUAGE sql AS $body$
	SELECT position('CANARY-7f3a'::bytea IN bytes) > 0
		OR position(convert_to(encode('CANARY-7f3a', 'hex'), 'UTF8') IN bytes) > 0
		OR bool_or(position(convert_to(substr(encode(('xx'::text || 'CANARY-7f3a')::bytea, 'base64'), 5, 8), 'UTF8')
							IN bytes) > 0)
$body$;
SELECT ok(pg_temp.shows_canary(made.png(3, 2, 'CANARY-7f3a-first')), 'a plain image shows the canary');
SELECT ok(bool_and(face::text ~ '^sealed:[A-Za-z0-9+/]+=*$'), 'text output is sealed: and base64') FROM visit;
SELECT ok(NOT bool_or(pg_temp.shows_canary(face::text::bytea)), 'text output does not show it') FROM visit;
SELECT ok(NOT bool_or(pg_temp.shows_canary(decode(substr(face::text, 8), 'base64'))),
		  'text output decoded does not show it') FROM visit;
SELECT ok(NOT bool_or(pg_temp.shows_canary(biometric.face_image_send(face))), 'binary output does not show it')
  FROM visit;
SELECT ok(NOT bool_or(pg_temp.shows_canary(face::bytea)), 'the cast to bytea does not show it') FROM visit;
SELECT ok(NOT bool_or(pg_temp.shows_canary(convert_to(shown, 'UTF8'))), 'nor does ' || how)
  FROM (SELECT face::text AS shown, 'a cast' AS how FROM visit
		 UNION ALL SELECT format('%s %L %I', face, face, face), 'format()' FROM visit
		 UNION ALL SELECT concat(face, ' ', face), 'concat()' FROM visit
		 UNION ALL SELECT to_json(face)::text, 'to_json()' FROM visit
		 UNION ALL SELECT to_jsonb(v)::text, 'a row as jsonb' FROM visit AS v
		 UNION ALL SELECT v::text, 'a row as text' FROM visit AS v
		 UNION ALL SELECT ARRAY[face]::text, 'an array' FROM visit
		 UNION ALL SELECT string_agg(face::text, ','), 'string_agg()' FROM visit
		 UNION ALL SELECT json_agg(v)::text, 'json_agg()' FROM visit AS v
		 UNION ALL SELECT quote_literal(face), 'quote_literal()' FROM visit
		 UNION ALL SELECT '' || face, 'a concatenation' FROM visit
		 UNION ALL SELECT query_to_xml('SELECT face FROM visit', true, false, '')::text, 'query_to_xml()') AS s
 GROUP BY how ORDER BY how;
SELECT is(pg_column_size(made.png(3, 2)::biometric.face_image) - 4, length(made.png(3, 2)) + 248,
		  'a sealed image is 248 bytes longer than the image');

-- The same image, sealed twice.

SELECT isnt(a::text, b::text, 'no two sealings of an image look alike')
  FROM (SELECT made.png(3, 2)::biometric.face_image AS a, made.png(3, 2)::biometric.face_image AS b) AS s;
SELECT isnt(substr(a::bytea, 233), substr(b::bytea, 233), 'nor do their bodies')
  FROM (SELECT made.png(3, 2)::biometric.face_image AS a, made.png(3, 2)::biometric.face_image AS b) AS s;

-- Out and in again.

SELECT ok(bool_and(face::text::biometric.face_image::text = face::text), 'text output and input are bit for bit')
  FROM visit;
SELECT ok(bool_and(biometric.face_image_send(biometric.face_image_send(face)::biometric.face_image)
				   = biometric.face_image_send(face)), 'binary output and input are bit for bit')
  FROM visit;
SELECT ok(bool_and(biometric.face_image_send(face) = decode(substr(face::text, 8), 'base64')),
		  'text and binary output say the same') FROM visit;
SELECT ok(bool_and(('\x' || encode(face::bytea, 'hex'))::biometric.face_image::text = face::text),
		  'a sealed image may come in hexadecimal too') FROM visit;
SELECT is(get_byte(face::bytea, 208), 0, 'an image sealed here is not marked as imported') FROM visit WHERE id = 1;
SELECT is(get_byte(face::text::biometric.face_image::bytea, 208), 1, 'a sealed image from outside is')
  FROM visit WHERE id = 1;
SELECT is(get_byte(set_byte(biometric.face_image_send(face), 208, 1)::biometric.face_image::bytea, 208), 1,
		  'whatever the flag says that it comes with') FROM visit WHERE id = 1;
SELECT is(substr(biometric.face_image_send(face::text::biometric.face_image), 209, 24),
		  decode(repeat('00', 24), 'hex'), 'neither mark nor stamp is ever sent') FROM visit WHERE id = 1;
SELECT is(substr(set_byte(face::bytea, 218, 85)::biometric.face_image::bytea, 217, 16)
		  = set_byte(face::bytea, 218, 85), false, 'a stamp from outside is not kept') FROM visit WHERE id = 1;

DO $body$
BEGIN
	EXECUTE format('COPY visit TO %L WITH (FORMAT binary)', current_setting('data_directory') || '/sealing.visit');
	CREATE TABLE loaded (LIKE visit);
	EXECUTE format('COPY loaded FROM %L WITH (FORMAT binary)', current_setting('data_directory') || '/sealing.visit');
END
$body$;
SELECT results_eq('SELECT id, substr(face::bytea, 1, 136), substr(face::bytea, 233) FROM loaded ORDER BY id',
				  'SELECT id, substr(face::bytea, 1, 136), substr(face::bytea, 233) FROM visit ORDER BY id',
				  'COPY in binary takes sealed images out and in');
SELECT isnt(substr(l.face::bytea, 137, 16), substr(v.face::bytea, 137, 16), 'another table is another home')
  FROM loaded l JOIN visit v ON l.id = v.id WHERE v.id = 1;
SELECT is(substr(l.face::bytea, 153, 16), substr(v.face::bytea, 153, 16), 'and where it came from is kept')
  FROM loaded l JOIN visit v ON l.id = v.id WHERE v.id = 1;
SELECT ok(NOT pg_temp.shows_canary(pg_read_binary_file(current_setting('data_directory') || '/sealing.visit')),
		  'and writes none in the clear');

-- Forged, damaged, truncated, swapped.

CREATE FUNCTION pg_temp.accepts(envelope bytea) RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
	PERFORM envelope::biometric.face_image;
	RETURN true;
EXCEPTION WHEN invalid_binary_representation THEN
	RETURN false;
END
$body$;
SELECT ok(pg_temp.accepts(biometric.face_image_send(face)), 'an intact sealed image is accepted')
  FROM visit WHERE id = 1;
SELECT is(
	(SELECT array_agg(at ORDER BY at)
	   FROM (SELECT biometric.face_image_send(face) AS e FROM visit WHERE id = 1) AS v,
			generate_series(0, length(e) - 1) AS at
	  WHERE at NOT BETWEEN 12 AND 15 AND pg_temp.accepts(made.flipped(e, at))),
	ARRAY[208] || ARRAY(SELECT generate_series(216, 231)),
	'a flipped bit is refused wherever it is, save in the mark and the stamp, which are not kept');
SELECT is_empty(
	$$SELECT l FROM (SELECT biometric.face_image_send(face) AS e FROM visit WHERE id = 1) AS v,
					generate_series(8, length(e) - 1) AS l
	   WHERE pg_temp.accepts(substr(e, 1, l))$$,
	'a sealed image is refused wherever it is cut off');
SELECT ok(NOT pg_temp.accepts(biometric.face_image_send(face) || '\x00'), 'or if anything follows it')
  FROM visit WHERE id = 1;
SELECT ok(NOT pg_temp.accepts(substr(biometric.face_image_send(a), 1, 232) || substr(biometric.face_image_send(b), 233)),
		  'the header of one and the body of another are refused')
  FROM (SELECT made.png(3, 2, 'one')::biometric.face_image AS a, made.png(3, 2, 'two')::biometric.face_image AS b) AS s;
SELECT throws_ok(
	'SELECT made.flipped(face::bytea, 238)::biometric.face_image FROM visit WHERE id = 1',
	'22P03', 'sealed face image is damaged or forged', 'the error says damaged or forged');
SELECT throws_ok(
	'SELECT face::text::biometric.plate_image FROM visit WHERE id = 1',
	'22P03', 'sealed image is of kind face, not plate', 'a face cannot be taken for a plate');
SELECT throws_ok(
	'SELECT set_byte(face::bytea, 9, 2)::biometric.plate_image FROM visit WHERE id = 1',
	'22P03', 'sealed plate image is damaged or forged', 'even if its kind is changed');
SELECT throws_ok(
	'SELECT set_byte(face::bytea, 8, 2)::biometric.face_image FROM visit WHERE id = 1',
	'22P03', 'sealed face image is damaged or forged', 'an envelope of another version is refused');
SELECT throws_ok(
	$$SELECT 'sealed:'::biometric.face_image$$,
	'22P03', 'sealed face image is damaged or forged', 'an empty sealed text is refused');
SELECT throws_ok(
	$$SELECT 'sealed:not base64!'::biometric.face_image$$,
	'22P03', 'sealed face image is damaged or forged', 'sealed text that is not base64 is refused');
SELECT throws_ok(
	'SELECT left(face::text, 100)::biometric.face_image FROM visit WHERE id = 1',
	'22P03', 'sealed face image is damaged or forged', 'sealed text that was cut off is refused');

SELECT * FROM finish();
ROLLBACK;
