/*
 * accessors.c - what can be asked of an image without opening it.
 *
 * All answers come from the header, which costs one TOAST chunk whatever the
 * image's length. They are authenticated where the key is at hand.
 */
#include "base/compat.h"

#include "access/detoast.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/seal.h"
#include "image/image.h"
#include "image/value.h"
#include "keyring/keyring.h"

PG_FUNCTION_INFO_V1(image_get_id);
PG_FUNCTION_INFO_V1(image_get_kind);
PG_FUNCTION_INFO_V1(image_get_format);
PG_FUNCTION_INFO_V1(image_get_width);
PG_FUNCTION_INFO_V1(image_get_height);
PG_FUNCTION_INFO_V1(image_get_byte_length);
PG_FUNCTION_INFO_V1(image_get_digest);
PG_FUNCTION_INFO_V1(image_get_key_id);
PG_FUNCTION_INFO_V1(image_get_sealed_at);

/* The first argument's header, parsed, and authenticated if its key is in the keyring. */
static EnvelopeHeader
argument_header(FunctionCallInfo fcinfo)
{
	ImageKind kind = image_function_kind(fcinfo);
	Datum value = PG_GETARG_DATUM(0);
	Size total = toast_raw_datum_size(value) - VARHDRSZ;
	struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, 0, ENVELOPE_HEADER_SIZE);
	const uint8 *bytes = (uint8 *) VARDATA_ANY(slice);
	EnvelopeHeader header;
	const SealKey *key;

	image_parse_stored(kind, bytes, VARSIZE_ANY_EXHDR(slice), total, &header);
	key = keyring_find(header.key_id);
	if (key != NULL)
	{
		CoreStatus status = seal_check_header(key, bytes, &header);

		keyring_done();
		if (status != CORE_OK)
			image_refuse_stored(kind, status);
	}
	if ((Pointer) slice != DatumGetPointer(value))
		pfree(slice);
	return header;
}

PGDLLEXPORT Datum
image_get_id(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);
	pg_uuid_t *id = palloc(sizeof(pg_uuid_t));

	StaticAssertStmt(sizeof(id->data) == ENVELOPE_ID_SIZE, "image ids are UUIDs");
	memcpy(id->data, header.image_id, ENVELOPE_ID_SIZE);
	PG_RETURN_UUID_P(id);
}

PGDLLEXPORT Datum
image_get_kind(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);

	PG_RETURN_TEXT_P(cstring_to_text(image_kind_name(header.kind)));
}

PGDLLEXPORT Datum
image_get_format(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);

	PG_RETURN_TEXT_P(cstring_to_text(image_format_name(header.format)));
}

PGDLLEXPORT Datum
image_get_width(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);

	PG_RETURN_INT32((int32) header.width);
}

PGDLLEXPORT Datum
image_get_height(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);

	PG_RETURN_INT32((int32) header.height);
}

PGDLLEXPORT Datum
image_get_byte_length(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);

	PG_RETURN_INT64((int64) header.plaintext_length);
}

PGDLLEXPORT Datum
image_get_digest(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);
	bytea *digest = palloc(VARHDRSZ + ENVELOPE_DIGEST_SIZE);

	SET_VARSIZE(digest, VARHDRSZ + ENVELOPE_DIGEST_SIZE);
	memcpy(VARDATA(digest), header.digest, ENVELOPE_DIGEST_SIZE);
	PG_RETURN_BYTEA_P(digest);
}

/* An id above 2147483647 comes out negative, the same 32 bits: every id has one answer. */
PGDLLEXPORT Datum
image_get_key_id(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);

	PG_RETURN_INT32((int32) header.key_id);
}

/* A UUIDv7 holds 48 bits of milliseconds, less than a timestamptz can. */
PGDLLEXPORT Datum
image_get_sealed_at(PG_FUNCTION_ARGS)
{
	EnvelopeHeader header = argument_header(fcinfo);
	int64 epoch_us = INT64CONST(1000000) * SECS_PER_DAY * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);

	PG_RETURN_TIMESTAMPTZ((int64) envelope_sealed_at_ms(&header) * 1000 - epoch_us);
}
