/*
 * format_an2k.c - ANSI/NIST-ITL transactions in the traditional encoding.
 *
 * A transaction is a row of records. Type-1 comes first and lists the others
 * (field 1.003). Records are made of tagged text fields, "14.006:500",
 * separated by GS and closed by FS, except Types 3 to 8, which are binary.
 * Every record begins with its own length, in digits or as four bytes.
 */
#include "core/format_parts.h"

#define SEPARATOR_FS 0x1c
#define SEPARATOR_GS 0x1d
#define SEPARATOR_RS 0x1e
#define SEPARATOR_US 0x1f

#define FIELD_LEN 1
#define FIELD_CNT 3
#define FIELD_HLL 6
#define FIELD_VLL 7
#define FIELD_DATA 999

/* LEN, IDC, IMP, FGP and ISR of a binary record of Types 3 to 6, before HLL and VLL. */
#define BINARY_BEFORE_SIZE 13

/* Reads decimal digits, at most ten. Returns false when there is none or too many. */
static bool
read_number(Reader *reader, uint64_t *number)
{
	int digits = 0;

	*number = 0;
	while (reader_left(reader) > 0)
	{
		uint8_t digit = (uint8_t) (reader->bytes[reader->position] - '0');

		if (digit > 9)
			break;
		if (++digits > 10)
			return false;
		*number = *number * 10 + digit;
		reader->position++;
	}
	return digits > 0;
}

/* Reads one given byte; false when another is there, or none. */
static bool
read_byte(Reader *reader, uint8_t expected)
{
	return reader_left(reader) > 0 && reader_u8(reader) == expected;
}

/* One tagged field: "type.number:value". */
typedef struct Field
{
	uint64_t type;
	uint64_t number;
	Reader value;
} Field;

/* Reads a field's tag; the value is not read yet. */
static bool
read_tag(Reader *reader, Field *field)
{
	return read_number(reader, &field->type) && read_byte(reader, '.') &&
		   read_number(reader, &field->number) && read_byte(reader, ':');
}

/*
 * Reads a field of a record whose closing FS is already cut off. The last
 * field, 999, holds binary data, separators among them, to the record's end.
 */
static bool
read_field(Reader *record, Field *field)
{
	const uint8_t *start;
	const uint8_t *separator = NULL;
	size_t length;

	if (!read_tag(record, field))
		return false;
	start = record->bytes + record->position;
	length = reader_left(record);
	if (field->number != FIELD_DATA && length > 0)
		separator = memchr(start, SEPARATOR_GS, length);
	if (separator != NULL)
		length = (size_t) (separator - start);
	field->value = reader_nested(record, length);
	if (separator != NULL)
		reader_skip(record, 1);
	return true;
}

/* Reads a value that is one number and nothing else. */
static bool
read_number_value(Reader value, uint64_t *number)
{
	return read_number(&value, number) && reader_left(&value) == 0;
}

/*
 * Cuts the next tagged record, without its FS, by the length that its first
 * field tells, and leaves that field in it.
 */
static CoreStatus
cut_tagged_record(Reader *reader, uint64_t type, Reader *record)
{
	Reader peek = *reader;
	Field field;
	uint64_t length;

	if (!read_tag(&peek, &field) || !read_number(&peek, &length))
		return reader_left(&peek) == 0 ? CORE_TRUNCATED : CORE_MALFORMED;
	if (reader_left(&peek) == 0)
		return CORE_TRUNCATED;
	if (field.type != type || field.number != FIELD_LEN || length < 1)
		return CORE_MALFORMED;
	if (length > reader_left(reader))
		return CORE_TRUNCATED;
	*record = reader_nested(reader, (size_t) length);
	if (record->bytes[--record->length] != SEPARATOR_FS)
		return CORE_MALFORMED;
	return CORE_OK;
}

/* Tells whether tagged records of a type hold an image with its size in fields 006 and 007. */
static bool
type_has_tagged_image(uint64_t type)
{
	return type == 10 || (type >= 13 && type <= 17) || type == 19;
}

/* Reads a tagged record: its dimensions if it is of an image type and has any. */
static CoreStatus
read_tagged_record(Reader *reader, uint64_t type, ImageInfo *info)
{
	Reader record;
	uint64_t side[2] = {0, 0};
	bool found[2] = {false, false};
	CoreStatus status = cut_tagged_record(reader, type, &record);

	if (status != CORE_OK || !type_has_tagged_image(type))
		return status;
	while (reader_left(&record) > 0)
	{
		Field field;

		if (!read_field(&record, &field) || field.type != type)
			return CORE_MALFORMED;
		if (field.number != FIELD_HLL && field.number != FIELD_VLL)
			continue;
		if (!read_number_value(field.value, &side[field.number - FIELD_HLL]))
			return CORE_MALFORMED;
		found[field.number - FIELD_HLL] = true;
	}
	/* An amputated finger's record has no image, and no dimensions either. */
	if (!found[0] && !found[1])
		return CORE_OK;
	for (int i = 0; i < 2; i++)
		side[i] = side[i] > IMAGE_MAX_SIDE ? IMAGE_MAX_SIDE + 1 : side[i];
	return format_set_dimensions(info, (uint32_t) side[0], (uint32_t) side[1]);
}

/* Reads a binary record: Types 3 to 6 are fingerprints, 7 is user-defined, 8 a signature. */
static CoreStatus
read_binary_record(Reader *reader, uint64_t type, ImageInfo *info)
{
	Reader record;
	Reader peek = *reader;
	uint32_t length = reader_u32(&peek);
	uint16_t width;
	uint16_t height;

	if (peek.short_read)
		return CORE_TRUNCATED;
	if (length < 5)
		return CORE_MALFORMED;
	if (length > reader_left(reader))
		return CORE_TRUNCATED;
	record = reader_nested(reader, length);
	if (type > 6)
		return CORE_OK;
	reader_skip(&record, BINARY_BEFORE_SIZE);
	width = reader_u16(&record);
	height = reader_u16(&record);
	reader_skip(&record, 1);
	if (record.short_read || reader_left(&record) == 0)
		return CORE_MALFORMED;
	return format_set_dimensions(info, width, height);
}

/* Reads "type US idc" or the content list's head, "1 US count". */
static bool
read_pair(Reader *list, uint64_t *first, uint64_t *second)
{
	return read_number(list, first) && read_byte(list, SEPARATOR_US) && read_number(list, second);
}

/* Reads the records that the content list of Type-1 names, one after the other. */
static CoreStatus
read_listed_records(Reader *reader, Reader list, ImageInfo *info)
{
	uint64_t type;
	uint64_t idc;
	uint64_t count;

	if (!read_pair(&list, &type, &count) || type != 1)
		return CORE_MALFORMED;
	for (uint64_t i = 0; i < count; i++)
	{
		CoreStatus status;

		if (!read_byte(&list, SEPARATOR_RS) || !read_pair(&list, &type, &idc))
			return CORE_MALFORMED;
		if (type >= 3 && type <= 8)
			status = read_binary_record(reader, type, info);
		else
			status = read_tagged_record(reader, type, info);
		if (status != CORE_OK)
			return status;
	}
	if (reader_left(&list) > 0 || !reader_only_zeroes(reader))
		return CORE_MALFORMED;
	return info->width > 0 ? CORE_OK : CORE_NOT_AN_IMAGE;
}

CoreStatus
format_an2k(Reader reader, ImageInfo *info)
{
	Reader record;
	CoreStatus status = cut_tagged_record(&reader, 1, &record);

	if (status != CORE_OK)
		return status;
	while (reader_left(&record) > 0)
	{
		Field field;

		if (!read_field(&record, &field) || field.type != 1)
			return CORE_MALFORMED;
		if (field.number == FIELD_CNT)
			return read_listed_records(&reader, field.value, info);
	}
	return CORE_MALFORMED;
}
