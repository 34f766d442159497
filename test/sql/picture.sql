-- An image is sealed with what it looks like, which nobody sees; and sealed all the
-- same where it looks like nothing.
\ir include/images.sql
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;

SELECT plan(23);

-- Pictures of 64 x 64 pixels: a photograph, and what a seed makes in PNG, uncompressed.
CREATE FUNCTION made.photograph() RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT '\x
		ffd8ffe000104a46494600010100000100010000ffdb0043001b12141714111b1716171e1c1b2028422b28252528513a3d3042605565645f
		555d5b6a7899816a7190735b5d85b586909ea3abadab6780bcc9baa6c799a8aba4ffc0000b080040004001011100ffc4001f000001050101
		0101010100000000000000000102030405060708090a0bffc400b5100002010303020403050504040000017d010203000411051221314106
		13516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455
		565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9ba
		c2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffda0008010100003f00bf8cf4a7aaf14c9a
		78edd0bb9c01514772653f28c0f534e7bb1136080c3daa48a6498650fe152629ca7d6abad32e2668a12c3ad504dd2b98dbf7848cfad4b189
		54fcc8d8fa547713c48879c31e991556d6e5a2911cb700f3f4ae8f8ed4c63834c14cb884cf0b203827a1aa9a65a4b1c9279bf2b7001ad152
		f106cbeffc2aacf134f16599594f623a563d9d9bcd70c8a0ec0793db15d1608a31eb46de6aa5d6a76d66db5db737a0a8ed3558efa7d8b132
		ed19c9abe506c3c6476aaa172be529f998f3ed5792348c6d450a29718a0e2aa5edc0b7451bb04ff2ac892cb10bce83cc998ffdf359969752
		594de6a75e87357db5c76fbd181feeb11501d5a5570d08d847eb5bfa66a897abb5fe59076ad02a299824e05665d209403d48e45535b936ee
		572550f43e9552fad9ae260f000dbbf8475aab3d9cf09c3c4c0fa62a34858c8aac08c9c56ac10794e1c36d23bfa8adeb6bb59917270c454e
		c3dc8fa565b1c362a196247eaa0823a5674d67244dba2dd8f4a23bcba8d812e78f5eb4f9af5d930e99c1ee39a8819e6e71b41f5ad3877247
		cfa55fb594bc186396c55391c6d0c3b52a8cad35876ea2a32bf31f941149833b1661b80ebb56860036140dbeb52a1c900fa525acd853cf41
		8affd9'::bytea
$body$;
CREATE FUNCTION made.adler32(bytes bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $body$
DECLARE
	a int := 1;
	b int := 0;
BEGIN
	FOR i IN 0 .. length(bytes) - 1 LOOP
		a := (a + get_byte(bytes, i)) % 65521;
		b := (b + a) % 65521;
	END LOOP;
	RETURN decode(lpad(to_hex(b), 4, '0') || lpad(to_hex(a), 4, '0'), 'hex');
END
$body$;
CREATE FUNCTION made.drawing(seed int, comment text DEFAULT 'none') RETURNS bytea LANGUAGE plpgsql AS $body$
DECLARE
	rows bytea;
	coarse text;
BEGIN
	SELECT string_agg(md5(seed || ' ' || y), '' ORDER BY y) INTO coarse FROM generate_series(0, 15) AS y;
	SELECT string_agg('\x00'::bytea || line, ''::bytea ORDER BY y) INTO rows
	  FROM (SELECT y, decode(string_agg(repeat(substr(coarse, y / 4 * 32 + x * 2 + 1, 2), 4), '' ORDER BY x), 'hex') AS line
			  FROM generate_series(0, 63) AS y, generate_series(0, 15) AS x GROUP BY y) AS lines;
	RETURN '\x89504e470d0a1a0a'::bytea
		|| made.chunk('IHDR', int4send(64) || int4send(64) || '\x0800000000'::bytea)
		|| made.chunk('tEXt', 'Comment'::bytea || '\x00'::bytea || comment::bytea)
		|| made.chunk('IDAT', '\x780101'::bytea
			|| decode(lpad(to_hex(length(rows) % 256), 2, '0') || lpad(to_hex(length(rows) / 256), 2, '0'), 'hex')
			|| decode(lpad(to_hex(255 - length(rows) % 256), 2, '0') || lpad(to_hex(255 - length(rows) / 256), 2, '0'), 'hex')
			|| rows || made.adler32(rows))
		|| made.chunk('IEND', ''::bytea);
END
$body$;

CREATE TABLE visit (id int PRIMARY KEY, note text, face biometric.face_image);

-- The picture hash on record of the image that a row got last.
CREATE FUNCTION hash_of(visit_id int) RETURNS bytea LANGUAGE plpgsql AS $body$
BEGIN
	WHILE (SELECT pending > 0 OR state <> 'ready' FROM biometric.ledger_status()) LOOP
		PERFORM pg_sleep(0.001);
	END LOOP;
	RETURN (SELECT (biometric.decode_entry(biometric.leaf(c.seq))).picture_hash
			  FROM biometric.change AS c
			 WHERE c.relation = 'public.visit' AND c.row_key = jsonb_build_object('id', visit_id)
			   AND c.event IN ('stored', 'replaced')
			 ORDER BY c.seq DESC LIMIT 1);
END
$body$;
CREATE FUNCTION distance(one bytea, other bytea) RETURNS bigint LANGUAGE sql AS $body$
	SELECT sum(bit_count(set_byte('\x00'::bytea, 0, get_byte(one, i) # get_byte(other, i))))
	  FROM generate_series(0, 31) AS i
$body$;
-- What the envelope holds in its place.
CREATE FUNCTION sealed_hash(image biometric.face_image) RETURNS bytea LANGUAGE sql AS $body$
	SELECT substr(biometric.face_image_send(image), 105, 32)
$body$;
-- What is sealed with an image.

INSERT INTO visit VALUES (1, 'photograph', made.photograph()), (2, 'the same', made.photograph()),
	(3, 'drawing', made.drawing(1)), (4, 'the same, another comment', made.drawing(1, 'other')),
	(5, 'another drawing', made.drawing(2));
SELECT is(length(hash_of(1)), 32, 'a JPEG image has a picture hash on record');
SELECT is(length(hash_of(3)), 32, 'so has a PNG image');
SELECT is(hash_of(1), hash_of(2), 'the same image has the same');
SELECT is(hash_of(3), hash_of(4), 'as has another file of the same picture');
SELECT cmp_ok(distance(hash_of(3), hash_of(5)), '>', 72::bigint, 'another picture is far away');
SELECT cmp_ok(distance(hash_of(1), hash_of(3)), '>', 72::bigint, 'from the photograph, too');
SELECT cmp_ok(distance(sealed_hash(a.face), sealed_hash(b.face)), '>', 72::bigint,
			  'sealed values of equal pictures do not show it')
  FROM visit AS a, visit AS b WHERE a.id = 3 AND b.id = 4;
SELECT cmp_ok(distance(sealed_hash(face), hash_of(3)), '>', 72::bigint, 'nor what is on record')
  FROM visit WHERE id = 3;

-- What leaves an image alone leaves its hash.

UPDATE visit SET note = 'moved', id = 30 WHERE id = 3;
CREATE TABLE copied AS SELECT id, face FROM visit;
INSERT INTO visit SELECT id + 100, 'moved on', face FROM copied WHERE id = 30;
SELECT is(hash_of(130), hash_of(4), 'an image that moves on keeps it');
INSERT INTO visit SELECT 31, 'from outside', face::text::biometric.face_image FROM visit WHERE id = 30;
SELECT is(hash_of(31), hash_of(4), 'as does one that was sealed and comes from outside');
SELECT throws_ok(
	'SELECT made.flipped(biometric.face_image_send(face), 110)::biometric.face_image FROM visit WHERE id = 30',
	'22P03', 'sealed face image is damaged or forged', 'it cannot be changed');
SELECT throws_ok(
	$$SELECT overlay(biometric.face_image_send(a.face) PLACING sealed_hash(b.face) FROM 105)::biometric.face_image
	    FROM visit AS a, visit AS b WHERE a.id = 30 AND b.id = 5$$,
	'22P03', 'sealed face image is damaged or forged', 'nor exchanged for that of another image');

-- What cannot be hashed is enrolled without.

SELECT lives_ok($$INSERT INTO visit VALUES (10, 'no scan', made.jpeg(300, 200))$$,
				'a JPEG image that cannot be decoded is enrolled');
SELECT is(hash_of(10), NULL, 'without a hash');
SELECT lives_ok($$INSERT INTO visit VALUES (11, 'damaged',
	overlay(made.photograph() PLACING '\x5555555555555555'::bytea FROM length(made.photograph()) - 60))$$,
	'so is a damaged one');
SELECT lives_ok($$INSERT INTO visit VALUES (12, 'damaged', made.flipped(made.drawing(1), 2000))$$,
				'and a damaged PNG image');
SELECT is(hash_of(12), NULL, 'which has no hash');
SELECT lives_ok($$INSERT INTO visit VALUES (13, 'no pixels', made.png(60000, 60000))$$,
				'and one that says it is larger than anything');
SELECT is(hash_of(13), NULL, 'which has none either');
INSERT INTO visit VALUES (14, 'other formats', made.j2k(300, 200)), (15, '', made.wsq(300, 200)),
	(16, '', made.fac(300, 200));
SELECT is(coalesce(hash_of(14), hash_of(15), hash_of(16)), NULL, 'other formats have none');
SELECT cmp_ok(distance(sealed_hash(a.face), sealed_hash(b.face)), '>', 72::bigint,
			  'sealed values do not show that there is none')
  FROM visit AS a, visit AS b WHERE a.id = 14 AND b.id = 15;

-- Who decides about it.

SELECT throws_ok('SET biometric_audit.picture_hash = off', '55P02', NULL, 'a session cannot switch it off');
SELECT throws_ok('SET biometric_audit.picture_hash_time = 1', '55P02', NULL, 'nor change its limits');

SELECT * FROM finish();
