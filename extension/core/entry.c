/*
 * entry.c - encodes and decodes the canonical bytes of an entry.
 *
 * One table says where each tag lives in EntryFields and what it may hold;
 * encoder and decoder both walk it, so that they cannot disagree.
 */
#include "core/entry.h"

#include "core/reader.h"

#include <string.h>

typedef enum FieldType
{
	FIELD_BYTES, /* of one length, which is the field's maximum */
	FIELD_CODE,	 /* an enum, stored as an integer */
	FIELD_U32,
	FIELD_U64,
	FIELD_TEXT,
	FIELD_JSON /* a text, too */
} FieldType;

typedef struct Field
{
	FieldType type;
	size_t offset;	  /* in EntryFields */
	uint64_t maximum; /* of codes and integers, of which 0 means absent; the length of bytes */
} Field;

#define FIELD_TAG_LAST 31

/* Indexed by tag. Tags are stored: append, never renumber. */
static const Field field_table[FIELD_TAG_LAST + 1] = {
	[1] = {FIELD_BYTES, offsetof(EntryFields, image_id), ENTRY_IMAGE_ID_SIZE},
	[2] = {FIELD_CODE, offsetof(EntryFields, kind), IMAGE_KIND_LAST},
	[3] = {FIELD_U32, offsetof(EntryFields, relation_index), UINT32_MAX},
	[4] = {FIELD_U64, offsetof(EntryFields, permit), UINT64_MAX},
	[5] = {FIELD_CODE, offsetof(EntryFields, reason), REASON_LAST},
	[6] = {FIELD_TEXT, offsetof(EntryFields, party), 0},
	[7] = {FIELD_TEXT, offsetof(EntryFields, network), 0},
	[8] = {FIELD_TEXT, offsetof(EntryFields, client_addr), 0},
	[9] = {FIELD_TEXT, offsetof(EntryFields, session_user_name), 0},
	[10] = {FIELD_TEXT, offsetof(EntryFields, current_user_name), 0},
	[11] = {FIELD_TEXT, offsetof(EntryFields, application), 0},
	[12] = {FIELD_TEXT, offsetof(EntryFields, purpose), 0},
	[13] = {FIELD_TEXT, offsetof(EntryFields, command), 0},
	[14] = {FIELD_U64, offsetof(EntryFields, query_id), UINT64_MAX},
	[15] = {FIELD_TEXT, offsetof(EntryFields, relations), 0},
	[16] = {FIELD_JSON, offsetof(EntryFields, detail), 0},
	[17] = {FIELD_U64, offsetof(EntryFields, process), UINT64_MAX},
	[18] = {FIELD_TEXT, offsetof(EntryFields, database), 0},
	[19] = {FIELD_U64, offsetof(EntryFields, tls), 1},
	[20] = {FIELD_TEXT, offsetof(EntryFields, relation), 0},
	[21] = {FIELD_CODE, offsetof(EntryFields, operation), OPERATION_LAST},
	[22] = {FIELD_BYTES, offsetof(EntryFields, old_image_id), ENTRY_IMAGE_ID_SIZE},
	[23] = {FIELD_TEXT, offsetof(EntryFields, column), 0},
	[24] = {FIELD_JSON, offsetof(EntryFields, row_key), 0},
	[25] = {FIELD_U64, offsetof(EntryFields, transaction), UINT64_MAX},
	[26] = {FIELD_U64, offsetof(EntryFields, relation_oid), UINT32_MAX},
	[27] = {FIELD_JSON, offsetof(EntryFields, collected), 0},
	[28] = {FIELD_BYTES, offsetof(EntryFields, digest), ENTRY_DIGEST_SIZE},
	[29] = {FIELD_U64, offsetof(EntryFields, key), UINT32_MAX},
	[30] = {FIELD_BYTES, offsetof(EntryFields, picture_hash), ENTRY_HASH_SIZE},
	[31] = {FIELD_U64, offsetof(EntryFields, marked), 1},
};

/* Codes are read and written through memcpy as what they are compiled to. */
_Static_assert(sizeof(ImageKind) == 4 && sizeof(Reason) == 4 && sizeof(EntryOperation) == 4,
			   "codes are 32 bits wide");

/* Where encoded bytes go. A write that does not fit sets full, which stays set. */
typedef struct Output
{
	uint8_t *bytes;
	size_t capacity; /* bytes, at most ENTRY_MAX_SIZE */
	size_t length;
	bool full;
} Output;

static void
output_field(Output *output, int tag, const void *value, size_t length)
{
	uint8_t head[4];
	size_t head_length = 0;

	if (length > ENTRY_MAX_SIZE)
	{
		output->full = true;
		return;
	}
	head[head_length++] = (uint8_t) tag;
	for (size_t rest = length; head_length < sizeof(head); rest >>= 7)
	{
		head[head_length++] = (uint8_t) ((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
		if (rest <= 0x7f)
			break;
	}
	if (output->full || output->capacity - output->length < head_length + length)
	{
		output->full = true;
		return;
	}
	memcpy(output->bytes + output->length, head, head_length);
	memcpy(output->bytes + output->length + head_length, value, length);
	output->length += head_length + length;
}

static void
output_integer(Output *output, int tag, uint64_t value)
{
	uint8_t bytes[8];
	int skipped = 0;

	write_uint(bytes, value, 8);
	while (bytes[skipped] == 0)
		skipped++;
	output_field(output, tag, bytes + skipped, (size_t) (8 - skipped));
}

/* Reads the integer or code that a field of the table has in fields. */
static uint64_t
integer_of(const EntryFields *fields, const Field *field)
{
	const char *where = (const char *) fields + field->offset;
	uint64_t wide;
	uint32_t narrow;

	if (field->type == FIELD_U64)
	{
		memcpy(&wide, where, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, where, sizeof(narrow));
	return narrow;
}

/* Puts an integer or code where a field of the table lives in fields. */
static void
set_integer(EntryFields *fields, const Field *field, uint64_t value)
{
	char *where = (char *) fields + field->offset;
	uint32_t narrow = (uint32_t) value;

	if (field->type == FIELD_U64)
		memcpy(where, &value, sizeof(value));
	else
		memcpy(where, &narrow, sizeof(narrow));
}

static bool
text_is_valid(const char *bytes, size_t length)
{
	return length == 0 || memchr(bytes, 0, length) == NULL;
}

/* Writes one field if it is present. False when its value is none that may be stored. */
static bool
encode_field(const EntryFields *fields, int tag, Output *output)
{
	const Field *field = &field_table[tag];
	const char *where = (const char *) fields + field->offset;
	uint64_t integer;
	EntryText text;
	const uint8_t *bytes;

	switch (field->type)
	{
		case FIELD_BYTES:
			memcpy(&bytes, where, sizeof(bytes));
			if (bytes != NULL)
				output_field(output, tag, bytes, (size_t) field->maximum);
			return true;
		case FIELD_CODE:
		case FIELD_U32:
		case FIELD_U64:
			integer = integer_of(fields, field);
			if (integer > field->maximum)
				return false;
			if (integer != 0)
				output_integer(output, tag, integer);
			return true;
		case FIELD_TEXT:
		case FIELD_JSON:
			memcpy(&text, where, sizeof(text));
			if (text.bytes == NULL)
				return true;
			if (!text_is_valid(text.bytes, text.length))
				return false;
			output_field(output, tag, text.bytes, text.length);
			return true;
		default:
			return false;
	}
}

void
entry_map_texts(EntryFields *fields, EntryTextMap map, void *context)
{
	for (int tag = 1; tag <= FIELD_TAG_LAST; tag++)
	{
		const Field *field = &field_table[tag];
		char *where = (char *) fields + field->offset;
		EntryText text;

		if (field->type != FIELD_TEXT && field->type != FIELD_JSON)
			continue;
		memcpy(&text, where, sizeof(text));
		if (text.bytes == NULL)
			continue;
		text = map(text, field->type == FIELD_JSON, context);
		memcpy(where, &text, sizeof(text));
	}
}

static bool
fixed_part_is_valid(const EntryFields *fields)
{
	return entry_event_name((int) fields->event) != NULL && fields->reference >= ENTRY_NO_REFERENCE;
}

CoreStatus
entry_encode(const EntryFields *fields, uint8_t *out, size_t capacity, size_t *length)
{
	Output output = {
		.bytes = out,
		.capacity = capacity < ENTRY_MAX_SIZE ? capacity : ENTRY_MAX_SIZE,
		.length = ENTRY_FIXED_SIZE,
	};

	*length = 0;
	if (!fixed_part_is_valid(fields))
		return CORE_MALFORMED;
	if (capacity < ENTRY_FIXED_SIZE)
		return CORE_TOO_SMALL;
	out[0] = ENTRY_VERSION;
	out[1] = (uint8_t) fields->event;
	write_uint(out + 2, (uint64_t) fields->at, 8);
	write_uint(out + ENTRY_REFERENCE_OFFSET, (uint64_t) fields->reference, 8);
	for (int tag = 1; tag <= FIELD_TAG_LAST; tag++)
	{
		if (!encode_field(fields, tag, &output))
			return CORE_MALFORMED;
	}
	if (output.full)
		return CORE_TOO_SMALL;
	*length = output.length;
	return CORE_OK;
}

/* Reads a LEB128 length in its shortest form. */
static CoreStatus
read_length(Reader *reader, size_t *length)
{
	size_t value = 0;

	for (int shift = 0; shift < 21; shift += 7)
	{
		uint8_t byte = reader_u8(reader);

		if (reader->short_read)
			return CORE_TRUNCATED;
		value |= (size_t) (byte & 0x7f) << shift;
		if ((byte & 0x80) != 0)
			continue;
		if ((byte == 0 && shift > 0) || value > ENTRY_MAX_SIZE)
			return CORE_MALFORMED;
		*length = value;
		return CORE_OK;
	}
	return CORE_MALFORMED;
}

/* Takes one field's value. False when it is not canonical. */
static bool
decode_value(const Field *field, const uint8_t *value, size_t length, EntryFields *fields)
{
	char *where = (char *) fields + field->offset;
	Reader reader = reader_make(value, length);
	EntryText text = {(const char *) value, length};
	uint64_t integer;

	switch (field->type)
	{
		case FIELD_BYTES:
			memcpy(where, &value, sizeof(value));
			return length == field->maximum;
		case FIELD_CODE:
		case FIELD_U32:
		case FIELD_U64:
			if (length < 1 || length > 8 || value[0] == 0)
				return false;
			integer = reader_uint(&reader, (int) length);
			set_integer(fields, field, integer);
			return integer <= field->maximum;
		case FIELD_TEXT:
		case FIELD_JSON:
			memcpy(where, &text, sizeof(text));
			return text_is_valid(text.bytes, text.length);
		default:
			return false;
	}
}

/* Reads the fields after the fixed part. */
static CoreStatus
decode_fields(Reader *reader, EntryFields *fields)
{
	int previous = 0;

	while (reader_left(reader) > 0)
	{
		int tag = reader_u8(reader);
		size_t length = 0;
		const uint8_t *value;
		CoreStatus status;

		if (tag <= previous || tag > FIELD_TAG_LAST)
			return CORE_MALFORMED;
		previous = tag;
		status = read_length(reader, &length);
		if (status != CORE_OK)
			return status;
		value = reader_take(reader, length);
		if (value == NULL)
			return CORE_TRUNCATED;
		if (!decode_value(&field_table[tag], value, length, fields))
			return CORE_MALFORMED;
	}
	return CORE_OK;
}

CoreStatus
entry_decode(const uint8_t *bytes, size_t length, EntryFields *fields)
{
	Reader reader = reader_make(bytes, length);
	EntryFields found = {0};
	CoreStatus status;

	memset(fields, 0, sizeof(*fields));
	if (length > ENTRY_MAX_SIZE)
		return CORE_MALFORMED;
	if (length < 1)
		return CORE_TRUNCATED;
	if (reader_u8(&reader) != ENTRY_VERSION)
		return CORE_BAD_VERSION;
	found.event = (EntryEvent) reader_u8(&reader);
	found.at = (int64_t) reader_u64(&reader);
	found.reference = (int64_t) reader_u64(&reader);
	if (reader.short_read)
		return CORE_TRUNCATED;
	if (!fixed_part_is_valid(&found))
		return CORE_MALFORMED;
	status = decode_fields(&reader, &found);
	if (status == CORE_OK)
		*fields = found;
	return status;
}

void
entry_set_reference(uint8_t *bytes, int64_t reference)
{
	write_uint(bytes + ENTRY_REFERENCE_OFFSET, (uint64_t) reference, 8);
}
