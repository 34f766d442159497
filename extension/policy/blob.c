/*
 * blob.c - writes and reads the bytes of a published policy.
 */
#include "postgres.h"

#include "policy/blob.h"

void
blob_put_u8(StringInfo blob, uint8 value)
{
	appendBinaryStringInfo(blob, (const char *) &value, sizeof(value));
}

void
blob_put_u32(StringInfo blob, uint32 value)
{
	appendBinaryStringInfo(blob, (const char *) &value, sizeof(value));
}

void
blob_put_i64(StringInfo blob, int64 value)
{
	appendBinaryStringInfo(blob, (const char *) &value, sizeof(value));
}

void
blob_put_text(StringInfo blob, const char *text)
{
	blob_put_u32(blob, strlen(text));
	appendBinaryStringInfo(blob, text, strlen(text));
}

void
blob_patch_u32(StringInfo blob, int offset, uint32 value)
{
	Assert(offset >= 0 && offset + (int) sizeof(value) <= blob->len);
	memcpy(blob->data + offset, &value, sizeof(value));
}

/* Returns where length bytes are, having passed over them; NULL when there are not so many. */
static const char *
blob_take(BlobReader *reader, Size length)
{
	const char *taken = reader->at;

	if (reader->broken || (Size) (reader->end - reader->at) < length)
	{
		reader->broken = true;
		return NULL;
	}
	reader->at += length;
	return taken;
}

void
blob_get_bytes(BlobReader *reader, void *out, Size length)
{
	const char *taken = blob_take(reader, length);

	if (taken)
		memcpy(out, taken, length);
	else
		memset(out, 0, length);
}

uint8
blob_get_u8(BlobReader *reader)
{
	uint8 value;

	blob_get_bytes(reader, &value, sizeof(value));
	return value;
}

uint32
blob_get_u32(BlobReader *reader)
{
	uint32 value;

	blob_get_bytes(reader, &value, sizeof(value));
	return value;
}

int64
blob_get_i64(BlobReader *reader)
{
	int64 value;

	blob_get_bytes(reader, &value, sizeof(value));
	return value;
}

char *
blob_get_text(BlobReader *reader)
{
	uint32 length = blob_get_u32(reader);
	const char *taken = blob_take(reader, length);

	return taken ? pnstrdup(taken, length) : pstrdup("");
}

void
blob_skip_text(BlobReader *reader)
{
	uint32 length = blob_get_u32(reader);

	(void) blob_take(reader, length);
}

bool
blob_text_is(BlobReader *reader, const char *text)
{
	uint32 length = blob_get_u32(reader);
	const char *taken = blob_take(reader, length);

	return taken && strlen(text) == length && memcmp(taken, text, length) == 0;
}

uint32
blob_get_count(BlobReader *reader, Size minimum)
{
	uint32 count = blob_get_u32(reader);

	if (reader->broken || count > (Size) (reader->end - reader->at) / minimum)
	{
		reader->broken = true;
		return 0;
	}
	return count;
}
