
-- biometric.@KIND@_image: one of the image types, all of one C implementation.

CREATE TYPE biometric.@KIND@_image;

CREATE FUNCTION biometric.@KIND@_image_in(pg_catalog.cstring) RETURNS biometric.@KIND@_image
	AS 'MODULE_PATHNAME', 'image_in' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
REVOKE ALL ON FUNCTION biometric.@KIND@_image_in(pg_catalog.cstring) FROM PUBLIC;
COMMENT ON FUNCTION biometric.@KIND@_image_in(pg_catalog.cstring) IS
	'text input: \x and the image''s bytes in hexadecimal, which are sealed; or sealed: and a '
	'sealed image in base64, which is marked as imported. Errors: 22P02 for other text, 22P03 for '
	'what is no image or no intact sealed value, 22023 for an empty image, 54000 beyond '
	'biometric_audit.max_image_size, F0000 without a keyring';

CREATE FUNCTION biometric.@KIND@_image_out(biometric.@KIND@_image) RETURNS pg_catalog.cstring
	AS 'MODULE_PATHNAME', 'image_out' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 100;
REVOKE ALL ON FUNCTION biometric.@KIND@_image_out(biometric.@KIND@_image) FROM PUBLIC;
COMMENT ON FUNCTION biometric.@KIND@_image_out(biometric.@KIND@_image) IS
	'text output: sealed: and the sealed image in base64, never the image. Errors: 22P03 for a '
	'damaged value';

CREATE FUNCTION biometric.@KIND@_image_recv(pg_catalog.internal) RETURNS biometric.@KIND@_image
	AS 'MODULE_PATHNAME', 'image_recv' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
REVOKE ALL ON FUNCTION biometric.@KIND@_image_recv(pg_catalog.internal) FROM PUBLIC;
COMMENT ON FUNCTION biometric.@KIND@_image_recv(pg_catalog.internal) IS
	'binary input: the image''s bytes, which are sealed and wiped from the message, or a sealed '
	'image, which is marked as imported. Errors: as text input';

CREATE FUNCTION biometric.@KIND@_image_send(biometric.@KIND@_image) RETURNS pg_catalog.bytea
	AS 'MODULE_PATHNAME', 'image_send' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 100;
REVOKE ALL ON FUNCTION biometric.@KIND@_image_send(biometric.@KIND@_image) FROM PUBLIC;
COMMENT ON FUNCTION biometric.@KIND@_image_send(biometric.@KIND@_image) IS
	'binary output: the sealed image, never the image. Errors: 22P03 for a damaged value';

CREATE FUNCTION biometric.@KIND@_image_typanalyze(pg_catalog.internal) RETURNS pg_catalog.bool
	AS 'MODULE_PATHNAME', 'image_typanalyze' LANGUAGE C STABLE STRICT PARALLEL SAFE;
REVOKE ALL ON FUNCTION biometric.@KIND@_image_typanalyze(pg_catalog.internal) FROM PUBLIC;
COMMENT ON FUNCTION biometric.@KIND@_image_typanalyze(pg_catalog.internal) IS
	'keeps ANALYZE from gathering statistics of images';

CREATE TYPE biometric.@KIND@_image (
	INPUT = biometric.@KIND@_image_in,
	OUTPUT = biometric.@KIND@_image_out,
	RECEIVE = biometric.@KIND@_image_recv,
	SEND = biometric.@KIND@_image_send,
	ANALYZE = biometric.@KIND@_image_typanalyze,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = external,
	CATEGORY = 'U'
);
COMMENT ON TYPE biometric.@KIND@_image IS
	'@KIND@ image, sealed (AES-256-GCM) when it enters and in SQL always; opened only on the wire '
	'to a client whose network is authorised';

CREATE FUNCTION biometric.@KIND@_image(pg_catalog.bytea) RETURNS biometric.@KIND@_image
	AS 'MODULE_PATHNAME', 'image_from_bytea' LANGUAGE C VOLATILE STRICT PARALLEL SAFE COST 1000;
REVOKE ALL ON FUNCTION biometric.@KIND@_image(pg_catalog.bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.@KIND@_image(pg_catalog.bytea) TO PUBLIC;
COMMENT ON FUNCTION biometric.@KIND@_image(pg_catalog.bytea) IS
	'seals the bytes of an image, or takes a sealed image and marks it as imported; the cast from '
	'bytea. Errors: as text input';
CREATE CAST (pg_catalog.bytea AS biometric.@KIND@_image)
	WITH FUNCTION biometric.@KIND@_image(pg_catalog.bytea) AS ASSIGNMENT;

CREATE FUNCTION biometric.sealed_bytes(biometric.@KIND@_image) RETURNS pg_catalog.bytea
	AS 'MODULE_PATHNAME', 'image_to_bytea' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 100;
REVOKE ALL ON FUNCTION biometric.sealed_bytes(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.sealed_bytes(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.sealed_bytes(biometric.@KIND@_image) IS
	'the sealed image as bytea; the cast to bytea. Sent to a client by the statement that made '
	'it, it is opened as the image itself would be. Errors: 22P03 for a damaged value';
CREATE CAST (biometric.@KIND@_image AS pg_catalog.bytea)
	WITH FUNCTION biometric.sealed_bytes(biometric.@KIND@_image);

-- What the header says, without opening the image: one TOAST chunk is read.

CREATE FUNCTION biometric.image_id(biometric.@KIND@_image) RETURNS pg_catalog.uuid
	AS 'MODULE_PATHNAME', 'image_get_id' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.image_id(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.image_id(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.image_id(biometric.@KIND@_image) IS
	'identifies this sealing of the image (UUIDv7); copies keep it. Errors: 22P03 for a damaged '
	'header';

CREATE FUNCTION biometric.kind(biometric.@KIND@_image) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'image_get_kind' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.kind(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.kind(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.kind(biometric.@KIND@_image) IS
	'the image''s kind, @KIND@. Errors: 22P03 for a damaged header';

CREATE FUNCTION biometric.format(biometric.@KIND@_image) RETURNS pg_catalog.text
	AS 'MODULE_PATHNAME', 'image_get_format' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.format(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.format(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.format(biometric.@KIND@_image) IS
	'jpeg, png, jp2, j2k, wsq, fir, fac, iir or an2k. Errors: 22P03 for a damaged header';

CREATE FUNCTION biometric.width(biometric.@KIND@_image) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'image_get_width' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.width(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.width(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.width(biometric.@KIND@_image) IS
	'width in pixels, of the first image if a record holds several. Errors: 22P03 for a damaged '
	'header';

CREATE FUNCTION biometric.height(biometric.@KIND@_image) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'image_get_height' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.height(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.height(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.height(biometric.@KIND@_image) IS
	'height in pixels, of the first image if a record holds several. Errors: 22P03 for a damaged '
	'header';

CREATE FUNCTION biometric.byte_length(biometric.@KIND@_image) RETURNS pg_catalog.int8
	AS 'MODULE_PATHNAME', 'image_get_byte_length' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.byte_length(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.byte_length(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.byte_length(biometric.@KIND@_image) IS
	'length of the image file or record in bytes, as it was before sealing. Errors: 22P03 for a '
	'damaged header';

CREATE FUNCTION biometric.digest(biometric.@KIND@_image) RETURNS pg_catalog.bytea
	AS 'MODULE_PATHNAME', 'image_get_digest' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.digest(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.digest(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.digest(biometric.@KIND@_image) IS
	'keyed digest (HMAC-SHA256, 32 bytes) of the image; the same image sealed twice with one key '
	'has the same. Errors: 22P03 for a damaged header';

CREATE FUNCTION biometric.key_id(biometric.@KIND@_image) RETURNS pg_catalog.int4
	AS 'MODULE_PATHNAME', 'image_get_key_id' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.key_id(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.key_id(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.key_id(biometric.@KIND@_image) IS
	'id of the key that the image is sealed with; an id above 2147483647 minus 4294967296. Errors: '
	'22P03 for a damaged header';

CREATE FUNCTION biometric.sealed_at(biometric.@KIND@_image) RETURNS pg_catalog.timestamptz
	AS 'MODULE_PATHNAME', 'image_get_sealed_at' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
REVOKE ALL ON FUNCTION biometric.sealed_at(biometric.@KIND@_image) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION biometric.sealed_at(biometric.@KIND@_image) TO PUBLIC;
COMMENT ON FUNCTION biometric.sealed_at(biometric.@KIND@_image) IS
	'when the image was sealed, to the millisecond. Errors: 22P03 for a damaged header';
