/*
 * fuzz_mark.c - mark_find, mark_insert: whatever the file is, a mark that is put in is found
 * again, and without it the file is what it was.
 */
#include "core/mark.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Finds the mark of a number, stepping over those that the file brought itself. */
static bool
find(const uint8_t *bytes, size_t length, int64_t sequence, size_t *offset, size_t *size)
{
	size_t from = 0;
	Mark mark;

	while (mark_find(bytes + from, length - from, &mark, offset, size))
	{
		if (*size == 0 || *offset + *size > length - from || mark.key_id == 0 || mark.sequence < 0)
			abort();
		*offset += from;
		if (mark.sequence == sequence)
			return true;
		from = *offset + 1;
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t sequence = INT64_C(0x0123456789abcdef);
	ImageFormat format = size > 0 && data[0] == 0x89 ? IMAGE_FORMAT_PNG : IMAGE_FORMAT_JPEG;
	size_t overhead = mark_overhead(format);
	uint8_t *buffer = malloc(size + overhead);
	Mark mark = {.key_id = 1, .sequence = sequence};
	size_t offset;
	size_t length;
	ImageInfo info;

	if (find(data, size, sequence, &offset, &length))
		goto done;
	memset(buffer, 0, overhead);
	if (size > 0)
		memcpy(buffer + overhead, data, size);
	if (mark_insert(format, buffer, size, &mark) != CORE_OK)
	{
		/* whatever is enrolled has a place for a mark */
		if ((size > 0 && memcmp(buffer, data, size) != 0) ||
			(image_probe(data, size, &info) == CORE_OK && info.format == format))
			abort();
	}
	else if (!find(buffer, size + overhead, sequence, &offset, &length) || length != overhead ||
			 memcmp(buffer, data, offset) != 0 ||
			 memcmp(buffer + offset + length, data + offset, size - offset) != 0)
		abort();
done:
	free(buffer);
	return 0;
}
