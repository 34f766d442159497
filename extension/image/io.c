/*
 * io.c - the ways in and out of the image types: text, binary, and bytea.
 *
 * In: plain image bytes, which are sealed here and wiped where they stood, or
 * a sealed value. Out: the sealed form only. Nothing here can decrypt.
 */
#include "base/compat.h"

#include "common/base64.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "core/seal.h"
#include "image/bind.h"
#include "image/image.h"
#include "image/value.h"

#define SEALED_PREFIX "sealed:"
#define SEALED_PREFIX_LENGTH (sizeof(SEALED_PREFIX) - 1)

PG_FUNCTION_INFO_V1(image_in);
PG_FUNCTION_INFO_V1(image_out);
PG_FUNCTION_INFO_V1(image_recv);
PG_FUNCTION_INFO_V1(image_send);
PG_FUNCTION_INFO_V1(image_from_bytea);
PG_FUNCTION_INFO_V1(image_to_bytea);
PG_FUNCTION_INFO_V1(image_typanalyze);

static ImageOutput output;
static void (*output_announce)(void) = NULL;

ImageOutput
image_output(void)
{
	return output;
}

void
image_output_watch(void (*announce)(void))
{
	output_announce = announce;
}

/* announced: whoever watches is to know before it is handed out. */
static void
count_output(Size length, bool announced)
{
	if (output_announce && announced)
	{
		output_announce();
		output_announce = NULL;
	}
	output.images++;
	output.bytes += length;
}

/* The value of a hexadecimal digit plus one; 0 for every other byte. */
static const uint8 hex_digit[256] = {
	['0'] = 1,	['1'] = 2,	['2'] = 3,	['3'] = 4,	['4'] = 5,	['5'] = 6,	['6'] = 7,	['7'] = 8,
	['8'] = 9,	['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static void
refuse_text(ImageKind kind, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input for type %s_image", image_kind_name(kind)),
			 errdetail("%s", detail),
			 errhint("Write the image's bytes as \\x followed by hexadecimal digits, or send "
					 "them as a binary parameter.")));
}

/*
 * The server's own hex_decode would quote an offending character of the image
 * in its message.
 */
static bool
decode_hex(const char *digits, Size length, uint8 *out)
{
	for (Size i = 0; i < length; i += 2)
	{
		uint8 high = hex_digit[(uint8) digits[i]];
		uint8 low = hex_digit[(uint8) digits[i + 1]];

		if (high == 0 || low == 0)
			return false;
		*out++ = (uint8) ((high - 1) << 4 | (low - 1));
	}
	return true;
}

static Datum
take_hex(ImageKind kind, const char *digits)
{
	Size length = strlen(digits);
	uint8 *bytes;
	Datum result;

	if (length % 2 != 0)
		refuse_text(kind, "The number of hexadecimal digits after \\x is odd.");
	bytes = palloc(length / 2 + 1);
	if (!decode_hex(digits, length, bytes))
	{
		core_wipe(bytes, length / 2);
		refuse_text(kind, "There is a character after \\x that is no hexadecimal digit.");
	}
	result = image_take(kind, bytes, length / 2, true);
	pfree(bytes);
	return result;
}

static Datum
take_sealed_text(ImageKind kind, const char *base64)
{
	/* a string has at most 1 GB; one that is longer than any sealed image is no sealed image */
	int length = (int) Min(strlen(base64), MaxAllocSize / 2);
	int capacity = pg_b64_dec_len(length);
	void *bytes = palloc(capacity + 1);
	int decoded = pg_b64_decode(base64, length, bytes, capacity);
	Datum result;

	if (decoded < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("sealed %s image is damaged or forged", image_kind_name(kind)),
				 errdetail("What follows \"" SEALED_PREFIX "\" is not base64."),
				 errhint("Take the sealed value again, whole and unchanged, from where it was "
						 "exported.")));
	result = image_accept(kind, bytes, decoded);
	pfree(bytes);
	return result;
}

static Datum
take_text(ImageKind kind, const char *text)
{
	if (text[0] == '\\' && text[1] == 'x')
		return take_hex(kind, text + 2);
	if (strncmp(text, SEALED_PREFIX, SEALED_PREFIX_LENGTH) == 0)
		return take_sealed_text(kind, text + SEALED_PREFIX_LENGTH);
	refuse_text(kind, "An image is written as \\x with its bytes in hexadecimal, a sealed image as "
					  "\"" SEALED_PREFIX "\" with its bytes in base64.");
	return (Datum) 0;
}

/* COPY quotes the column that it was reading: not into the server's log. */
static void
hide_context_from_log(void *arg)
{
	errhidecontext(true);
}

PGDLLEXPORT Datum
image_in(PG_FUNCTION_ARGS)
{
	ImageKind kind = image_function_kind(fcinfo);
	ErrorContextCallback hide = {.callback = hide_context_from_log};
	Datum result;

	hide.previous = error_context_stack;
	error_context_stack = &hide;
	result = take_text(kind, PG_GETARG_CSTRING(0));
	error_context_stack = hide.previous;
	return result;
}

/*
 * The message buffer is the client's own copy of the picture in this process
 * and may otherwise be kept until the next message, or printed: so it is wiped.
 */
PGDLLEXPORT Datum
image_recv(PG_FUNCTION_ARGS)
{
	StringInfo message = (StringInfo) PG_GETARG_POINTER(0);
	ImageKind kind = image_function_kind(fcinfo);
	int length = message->len - message->cursor;
	uint8 *bytes = (uint8 *) message->data + message->cursor;

	message->cursor = message->len;
	return image_take(kind, bytes, length, true);
}

/*
 * What leaves is what any input would make of it again: no stamp, no flags but
 * that of being unclaimed, which a dump must not launder.
 */
static void
clear_transient(uint8 *header)
{
	uint8 kept = header[ENVELOPE_FLAGS_OFFSET] & ENVELOPE_FLAG_UNCLAIMED;

	memset(header + ENVELOPE_FLAGS_OFFSET, 0, ENVELOPE_HEADER_SIZE - ENVELOPE_FLAGS_OFFSET);
	header[ENVELOPE_FLAGS_OFFSET] = kept;
}

PGDLLEXPORT Datum
image_out(PG_FUNCTION_ARGS)
{
	ImageKind kind = image_function_kind(fcinfo);
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	Size length = VARSIZE_ANY_EXHDR(value);
	EnvelopeHeader header;
	uint8 *envelope;
	int capacity = pg_b64_enc_len((int) length);
	int encoded;
	char *result;

	image_parse_stored(kind, (uint8 *) VARDATA_ANY(value), length, length, &header);
	envelope = palloc(length);
	memcpy(envelope, VARDATA_ANY(value), length);
	clear_transient(envelope);

	result = palloc(SEALED_PREFIX_LENGTH + capacity + 1);
	memcpy(result, SEALED_PREFIX, SEALED_PREFIX_LENGTH);
	encoded =
		pg_b64_encode((void *) envelope, (int) length, result + SEALED_PREFIX_LENGTH, capacity);
	if (encoded < 0)
		elog(ERROR, "could not encode a sealed image of %zu bytes", length);
	result[SEALED_PREFIX_LENGTH + encoded] = '\0';
	pfree(envelope);
	count_output(length, true);
	PG_RETURN_CSTRING(result);
}

/* A fresh, parsed copy of the argument, whose transient part the caller may change. */
static struct varlena *
copy_argument(FunctionCallInfo fcinfo)
{
	ImageKind kind = image_function_kind(fcinfo);
	struct varlena *copy = PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0));
	Size length = VARSIZE(copy) - VARHDRSZ;
	EnvelopeHeader header;

	image_parse_stored(kind, (uint8 *) VARDATA(copy), length, length, &header);
	return copy;
}

PGDLLEXPORT Datum
image_send(PG_FUNCTION_ARGS)
{
	struct varlena *copy = copy_argument(fcinfo);

	clear_transient((uint8 *) VARDATA(copy));
	count_output(VARSIZE(copy) - VARHDRSZ, true);
	PG_RETURN_BYTEA_P(copy);
}

PGDLLEXPORT Datum
image_from_bytea(PG_FUNCTION_ARGS)
{
	ImageKind kind = image_function_kind(fcinfo);
	bytea *value = PG_GETARG_BYTEA_PP(0);
	bool ours = (Pointer) value != DatumGetPointer(PG_GETARG_DATUM(0));

	return image_take(kind, (uint8 *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), ours);
}

/* The flags stay: the release gate must still see that a value is imported. */
PGDLLEXPORT Datum
image_to_bytea(PG_FUNCTION_ARGS)
{
	struct varlena *copy = copy_argument(fcinfo);

	image_stamp((uint8 *) VARDATA(copy));
	count_output(VARSIZE(copy) - VARHDRSZ, image_statement_current() == 0);
	PG_RETURN_BYTEA_P(copy);
}

/* Statistics of pictures are of no use to the planner, and would be copies of them. */
PGDLLEXPORT Datum
image_typanalyze(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(false);
}
