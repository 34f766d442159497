-- What can be asked of an image without opening it.
\ir include/images.sql

BEGIN;
SELECT plan(24);

CREATE TABLE visit (id int, face biometric.face_image);
INSERT INTO visit VALUES
	(1, made.png(3, 2)), (2, made.png(3, 2)), (3, NULL),
	(4, made.png(7, 5, repeat('a longer comment ', 10000)));

SELECT function_returns('biometric', name, ARRAY['biometric.' || type], result,
						format('%s(%s) returns %s', name, type, result))
  FROM (VALUES ('image_id', 'uuid'), ('kind', 'text'), ('format', 'text'), ('width', 'integer'),
			   ('height', 'integer'), ('byte_length', 'bigint'), ('digest', 'bytea'),
			   ('key_id', 'integer'), ('sealed_at', 'timestamp with time zone')) AS f(name, result),
	   (VALUES ('face_image')) AS t(type);
SELECT is(
	(SELECT count(*)::int FROM pg_proc
	  WHERE pronamespace = 'biometric'::regnamespace
		AND proname IN ('image_id', 'kind', 'format', 'width', 'height', 'byte_length', 'digest', 'key_id', 'sealed_at')
		AND proargtypes[0]::regtype::text ~ '^biometric\.(face|plate|document|fingerprint|iris)_image$'
		AND provolatile = 's' AND proisstrict AND proparallel = 's'), 45,
	'all nine are there for all five types');

SELECT is((SELECT biometric.byte_length(face) FROM visit WHERE id = 4),
		  length(made.png(7, 5, repeat('a longer comment ', 10000)))::bigint,
		  'byte_length is the length of what went in');
SELECT is((SELECT format('%s %s', biometric.width(face), biometric.height(face)) FROM visit WHERE id = 4),
		  '7 5', 'a long image answers by its first chunk');
SELECT ok((SELECT count(DISTINCT biometric.image_id(face)) = 3 FROM visit), 'every sealing has an id of its own');
SELECT ok((SELECT bool_and(substr(biometric.image_id(face)::text, 15, 1) = '7') FROM visit), 'ids are UUIDv7');
SELECT is((SELECT count(DISTINCT biometric.digest(face))::int FROM visit), 2, 'the same image has the same digest');
SELECT is((SELECT DISTINCT length(biometric.digest(face)) FROM visit WHERE id = 1), 32, 'a digest has 32 bytes');
SELECT isnt((SELECT biometric.digest(face) FROM visit WHERE id = 1), sha256(made.png(3, 2)),
			'the digest is keyed: it is not the hash that anybody can compute');
SELECT ok((SELECT biometric.key_id(face) >= 1 FROM visit WHERE id = 1), 'key_id tells the key');
SELECT ok((SELECT biometric.sealed_at(face) BETWEEN now() - interval '1 hour' AND clock_timestamp() FROM visit WHERE id = 1),
		  'sealed_at tells when the image was sealed');
SELECT is(
	(SELECT concat(biometric.image_id(face), biometric.kind(face), biometric.format(face), biometric.width(face),
				   biometric.height(face), biometric.byte_length(face), biometric.digest(face),
				   biometric.key_id(face), biometric.sealed_at(face)) FROM visit WHERE id = 3),
	'', 'NULL answers NULL');
SELECT is((SELECT biometric.image_id(face::text::biometric.face_image) FROM visit WHERE id = 1),
		  (SELECT biometric.image_id(face) FROM visit WHERE id = 1), 'a copy keeps its id');
SELECT is((SELECT sum(biometric.width(face))::int FROM visit), 13, 'they can be used in aggregates');

-- Without its key an image still says what it is.

SELECT is(
	(SELECT format('%s %s %s', biometric.key_id(f), biometric.width(f), biometric.format(f))
	   FROM (SELECT set_byte(face::bytea, 14, 99)::biometric.face_image AS f FROM visit WHERE id = 1) AS s),
	format('%s 3 png', 99 * 256 + (SELECT biometric.key_id(face) FROM visit WHERE id = 1)),
	'an image whose key is not here answers by its structure');
SELECT is(
	(SELECT biometric.key_id(overlay(face::bytea PLACING '\xffffffff'::bytea FROM 13)::biometric.face_image) FROM visit WHERE id = 1),
	-1, 'a key id beyond integer is told by the same 32 bits');

SELECT * FROM finish();
ROLLBACK;
