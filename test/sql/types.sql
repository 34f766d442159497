-- The image types: what they take, what they refuse, what they do not offer.
\ir include/images.sql

BEGIN;
SELECT plan(70);

-- Every format, with its width and height.

CREATE TABLE sample (name text, bytes bytea);
INSERT INTO sample VALUES
	('jpeg', made.jpeg(640, 480)), ('png', made.png(641, 481)), ('jp2', made.jp2(642, 482)),
	('j2k', made.j2k(643, 483)), ('wsq', made.wsq(644, 484)), ('fir', made.fir(645, 485)),
	('fac', made.fac(646, 486)), ('iir', made.iir(647, 487)), ('an2k', made.an2k(648, 488));

SELECT is(
	(SELECT format('%s %sx%s %s', biometric.format(i), biometric.width(i), biometric.height(i),
				   CASE WHEN biometric.byte_length(i) = length(s.bytes) THEN 'whole' END)
	   FROM biometric.document_image(s.bytes) AS i),
	format('%s %sx%s whole', s.name, 640 + n - 1, 480 + n - 1),
	format('%s is taken, with its width, height and length', s.name))
  FROM (SELECT *, row_number() OVER () AS n FROM sample) AS s;

SELECT is(biometric.kind(biometric.face_image(bytes)), 'face', 'a face image is of kind face')
  FROM sample WHERE name = 'jpeg';
SELECT is(biometric.kind(biometric.plate_image(bytes)), 'plate', 'a plate image is of kind plate')
  FROM sample WHERE name = 'jpeg';
SELECT is(biometric.kind(biometric.document_image(bytes)), 'document', 'a document image is of kind document')
  FROM sample WHERE name = 'jpeg';
SELECT is(biometric.kind(biometric.fingerprint_image(bytes)), 'fingerprint', 'a fingerprint image is of kind fingerprint')
  FROM sample WHERE name = 'jpeg';
SELECT is(biometric.kind(biometric.iris_image(bytes)), 'iris', 'an iris image is of kind iris')
  FROM sample WHERE name = 'jpeg';

SELECT is(format('%s %s', biometric.width(i), biometric.height(i)), '65535 1',
		  'the longest side is 65535 pixels')
  FROM biometric.face_image(made.png(65535, 1)) AS i;

-- What is refused.

SELECT throws_ok(
	format('SELECT %L::bytea::biometric.face_image', substr(s.bytes, 1, length(s.bytes) - 1)),
	'22P03', NULL, format('%s without its last byte is refused', s.name))
  FROM sample AS s;

SELECT throws_ok(
	format('SELECT %L::bytea::biometric.face_image', substr(s.bytes, 1, length(s.bytes) / 2)),
	'22P03', NULL, format('half a %s is refused', s.name))
  FROM sample AS s;

SELECT throws_ok(
	format('SELECT %L::biometric.face_image', substr(made.png(3, 2), 1, 60)),
	'22P03', 'face image is truncated', 'a truncated image is called truncated');
SELECT throws_ok(
	format('SELECT %L::biometric.plate_image', made.jpeg(0, 5)),
	'22P03', 'plate image has impossible dimensions', 'a width of 0 is refused');
SELECT throws_ok(
	format('SELECT %L::biometric.plate_image', made.png(5, 0)),
	'22P03', 'plate image has impossible dimensions', 'a height of 0 is refused');
SELECT throws_ok(
	format('SELECT %L::biometric.face_image', made.png(65536, 5)),
	'22P03', 'face image has impossible dimensions', 'a side of 65536 pixels is refused');
SELECT throws_ok(
	format('SELECT %L::biometric.face_image', made.png(-1, 5)),
	'22P03', 'face image has impossible dimensions', 'a side beyond 31 bits is refused');
SELECT throws_ok(
	format('SELECT %L::biometric.face_image', set_byte(made.png(5, 5), 24, 77)),
	'22P03', 'face image is malformed', 'a structure that contradicts itself is refused');
SELECT throws_ok(
	$$SELECT '\x00010203'::biometric.iris_image$$,
	'22P03', 'bytes are no iris image of a known format', 'bytes of no known format are refused');
SELECT throws_ok(
	$$SELECT '\x474946383961'::biometric.face_image$$,
	'22P03', 'bytes are no face image of a known format', 'GIF is refused');
SELECT throws_ok(
	format('SELECT %L::biometric.face_image', convert_to(made.jpeg(3, 2)::text, 'UTF8')),
	'22P03', 'bytes are no face image of a known format', 'the hexadecimal of an image is no image');
SELECT throws_ok(
	$$SELECT '\x'::biometric.face_image$$,
	'22023', 'face image is empty', 'an empty value is refused');
SELECT throws_ok(
	$$SELECT ''::bytea::biometric.face_image$$,
	'22023', 'face image is empty', 'an empty bytea is refused');
SELECT throws_ok(
	$$SELECT ''::biometric.face_image$$,
	'22P02', 'invalid input for type face_image', 'empty text is refused');
SELECT throws_ok(
	$$SELECT 'a face'::biometric.face_image$$,
	'22P02', 'invalid input for type face_image', 'text that is neither \x nor sealed: is refused');
SELECT throws_ok(
	$$SELECT '\xffd8f'::biometric.face_image$$,
	'22P02', 'invalid input for type face_image', 'an odd number of hexadecimal digits is refused');
SELECT throws_ok(
	$$SELECT '\xffd8fg'::biometric.face_image$$,
	'22P02', 'invalid input for type face_image', 'a character that is no hexadecimal digit is refused');
SELECT throws_ok(
	format('SELECT (%L::bytea || decode(repeat(''00'', 65 * 1024 * 1024), ''hex''))::biometric.face_image',
		   made.jpeg(3, 2)),
	'54000', format('face image of %s bytes is too long', 65 * 1024 * 1024 + length(made.jpeg(3, 2))),
	'an image beyond biometric_audit.max_image_size is refused');

-- Uppercase digits, casts, domains, arrays, NULL.

SELECT is(biometric.width(i), 3, 'hexadecimal digits may be in upper case')
  FROM CAST(('\x' || upper(encode(made.png(3, 2), 'hex')))::text AS biometric.face_image) AS i;

CREATE TABLE visit (id int, face biometric.face_image);
SELECT lives_ok(
	format('INSERT INTO visit VALUES (1, %L::bytea), (2, NULL)', made.png(3, 2)),
	'bytea is assigned to an image column without a cast');
SELECT is(
	(SELECT array_agg(concat(biometric.width(face)) ORDER BY id) FROM visit), ARRAY['3', ''], 'NULL images answer NULL');
SELECT is(
	(SELECT format('%s %s', biometric.width(faces[1]), faces[2] IS NULL)
	   FROM CAST(ARRAY[made.png(4, 2)::text, NULL]::biometric.face_image[] AS biometric.face_image[]) AS faces), '4 t',
	'an array of images is taken, with a NULL in it');
SELECT throws_ok(
	format('INSERT INTO visit VALUES (3, %L::text)', made.png(3, 2)),
	'42804', NULL, 'text is not assigned to an image column without a cast');
CREATE TABLE copied (b bytea);
SELECT throws_ok(
	'INSERT INTO copied SELECT face FROM visit', '42804', NULL,
	'an image is not assigned to bytea without a cast');

CREATE DOMAIN portrait AS biometric.face_image CHECK (biometric.width(VALUE) < 100);
SELECT lives_ok(format('SELECT %L::portrait', made.png(3, 2)), 'a domain over an image type takes an image');
SELECT throws_ok(
	format('SELECT %L::portrait', made.png(200, 2)), '23514', NULL,
	'a domain''s check can ask for what the header says');
SELECT is(
	(SELECT biometric.kind(x) FROM (SELECT made.png(3, 2)::text::portrait AS x) AS s), 'face',
	'the functions of an image type work on its domains');

-- What an image type must not offer.

SELECT throws_ok('SELECT face = face FROM visit', '42883', NULL, 'images cannot be compared');
SELECT throws_ok('SELECT face FROM visit ORDER BY face', '42883', NULL, 'images cannot be sorted');
SELECT throws_ok('SELECT DISTINCT face FROM visit', '42883', NULL, 'images cannot be made distinct');
SELECT throws_ok('SELECT face FROM visit GROUP BY face', '42883', NULL, 'images cannot be grouped');
SELECT throws_ok('SELECT min(face) FROM visit', '42883', NULL, 'images have no minimum');
SELECT throws_ok('CREATE INDEX ON visit (face)', '42704', NULL, 'images cannot be indexed by btree');
SELECT throws_ok('CREATE INDEX ON visit USING hash (face)', '42704', NULL, 'images cannot be indexed by hash');
SELECT throws_ok('CREATE TABLE u (face biometric.face_image UNIQUE)', '42704', NULL, 'images cannot be unique');
SELECT is_empty(
	$$SELECT oprname FROM pg_operator
	   WHERE oprleft::regtype::text ~ '^biometric\..*_image$' OR oprright::regtype::text ~ '^biometric\..*_image$'$$,
	'no operator takes an image');
SELECT is_empty(
	$$SELECT opcname FROM pg_opclass WHERE opcintype::regtype::text ~ '^biometric\..*_image$'$$,
	'no operator class takes an image');
SELECT is(
	(SELECT count(*)::int FROM pg_type
	  WHERE typnamespace = 'biometric'::regnamespace AND typname ~ '_image$'
		AND typstorage = 'e' AND typalign = 'i' AND typcategory = 'U'
		AND typanalyze::oid <> 0), 5,
	'the five types are stored uncompressed and out of line, and have an analyze function');

ANALYZE visit;
SELECT is(
	(SELECT array_agg(attname::text) FROM pg_stats WHERE tablename = 'visit' AND attname IN ('id', 'face')),
	ARRAY['id'], 'ANALYZE leaves nothing of an image in pg_stats');
SELECT * FROM finish();
ROLLBACK;
