/*
 * fuzz_image_probe.c - image_probe: whatever it is given, it answers, and
 * what it accepts has a format and dimensions within bounds.
 */
#include "core/formats.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ImageInfo info = {.width = 1};
	CoreStatus status = image_probe(data, size, &info);

	if (status == CORE_OK)
	{
		if (image_format_name((int) info.format) == NULL || info.width < 1 ||
			info.width > IMAGE_MAX_SIDE || info.height < 1 || info.height > IMAGE_MAX_SIDE)
			abort();
	}
	else if (info.width != 0 || info.height != 0 || status > CORE_MALFORMED)
		abort();
	return 0;
}
