-- Small images of every format, written byte by byte, and a policy under which
-- this session may read them sealed.
--
-- Included by suites at their start, outside of a transaction: policy takes
-- effect when it is committed.

\set ON_ERROR_STOP on
\set QUIET on
-- error: that this host's own clients now have a party is what suites want
SET client_min_messages = error;

CREATE SCHEMA made;

-- What PNG closes each chunk with (ISO/IEC 15948 annex D).
CREATE FUNCTION made.crc32(bytes bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $body$
DECLARE
	crc bigint := 4294967295;
BEGIN
	FOR i IN 0 .. length(bytes) - 1 LOOP
		crc := crc # get_byte(bytes, i);
		FOR bit IN 1 .. 8 LOOP
			crc := (crc >> 1) # (CASE WHEN crc & 1 = 1 THEN 3988292384 ELSE 0 END);
		END LOOP;
	END LOOP;
	RETURN substr(int8send(crc # 4294967295), 5);
END
$body$;

CREATE FUNCTION made.chunk(type text, content bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT int4send(length(content)) || type::bytea || content || made.crc32(type::bytea || content)
$body$;

-- The comment is where suites put what must never be seen again.
CREATE FUNCTION made.png(width int, height int, comment text DEFAULT 'none') RETURNS bytea
LANGUAGE sql IMMUTABLE AS $body$
	SELECT '\x89504e470d0a1a0a'::bytea
		|| made.chunk('IHDR', int4send(width) || int4send(height) || '\x0800000000'::bytea)
		|| made.chunk('tEXt', 'Comment'::bytea || '\x00'::bytea || comment::bytea)
		|| made.chunk('IDAT', '\x789c636000020000050001'::bytea)
		|| made.chunk('IEND', ''::bytea)
$body$;

CREATE FUNCTION made.jpeg(width int, height int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT '\xffd8ffe000104a46494600010100000100010000ffc0000b08'::bytea
		|| int2send(height::int2) || int2send(width::int2)
		|| '\x01011100ffda0008010100003f002affd9'::bytea
$body$;

CREATE FUNCTION made.j2k(width int, height int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT '\xff4fff5100290000'::bytea
		|| int4send(width) || int4send(height) || int8send(0)
		|| int4send(width) || int4send(height) || int8send(0)
		|| '\x0001070101ff90000a00000000000e0001ff93ffd9'::bytea
$body$;

CREATE FUNCTION made.jp2(width int, height int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT '\x0000000c6a5020200d0a870a00000014667479706a703220000000006a703220'::bytea
		|| '\x0000001e6a7032680000001669686472'::bytea
		|| int4send(height) || int4send(width) || '\x000107070000'::bytea
		|| int4send(8 + length(stream)) || 'jp2c'::bytea || stream
	  FROM made.j2k(width, height) AS stream
$body$;

CREATE FUNCTION made.wsq(width int, height int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT '\xffa0ffa2001100ff'::bytea || int2send(height::int2) || int2send(width::int2)
		|| '\x000000000000000000ffa30003002affa1'::bytea
$body$;

-- ISO/IEC 19794-4, -5 and -6 of 2005: a finger, a face, an iris.
CREATE FUNCTION made.fir(width int, height int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT 'FIR'::bytea || '\x0030313000'::bytea || '\x0000'::bytea || int4send(32 + 14 + 3)
		|| '\x00000000'::bytea || '\x01'::bytea || decode(repeat('00', 13), 'hex')
		|| int4send(14 + 3) || '\x0101010000'::bytea
		|| int2send(width::int2) || int2send(height::int2) || '\x00aabbcc'::bytea
$body$;

CREATE FUNCTION made.fac(width int, height int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT 'FAC'::bytea || '\x0030313000'::bytea || int4send(14 + 32 + 3) || '\x0001'::bytea
		|| int4send(32 + 3) || decode(repeat('00', 18), 'hex')
		|| int2send(width::int2) || int2send(height::int2) || '\x000000000000aabbcc'::bytea
$body$;

CREATE FUNCTION made.iir(width int, height int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT 'IIR'::bytea || '\x0030313000'::bytea || int4send(45 + 3 + 11 + 3)
		|| '\x000001002d000000000000'::bytea
		|| int2send(width::int2) || int2send(height::int2) || decode(repeat('00', 18), 'hex')
		|| '\x010001'::bytea || decode(repeat('00', 7), 'hex') || int4send(3) || '\xaabbcc'::bytea
$body$;

CREATE FUNCTION made.an2k_record(fields text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT convert_to(replace(fields, 'LENGTH', lpad((length(fields) + 1)::text, 6, '0')), 'UTF8')
		|| '\x1c'::bytea
$body$;

CREATE FUNCTION made.an2k(width int, height int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT made.an2k_record(E'1.001:LENGTH\x1d1.002:0300\x1d1.003:1\x1f1\x1e14\x1f00')
		|| made.an2k_record(format(E'14.001:LENGTH\x1d14.002:00\x1d14.006:%s\x1d14.007:%s\x1d14.999:abc',
								   width, height))
$body$;

-- The envelope of an image with one bit changed in the byte at offset.
CREATE FUNCTION made.flipped(envelope bytea, at int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $body$
	SELECT set_byte(envelope, at, get_byte(envelope, at) # 1)
$body$;

SELECT biometric.register_party('suite', 'pgTAP', tstzrange(now() - interval '1 day', NULL)) \g /dev/null
SELECT biometric.register_local('suite') \g /dev/null
SELECT biometric.authorize('suite', '{face,plate,document,fingerprint,iris}', 'sealed') \g /dev/null
