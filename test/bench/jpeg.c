/*
 * jpeg.c - images to measure with: the structure of a JPEG around random data.
 */
#include "bench.h"

#include <string.h>

uint64_t
random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

void
jpeg_make(uint8_t *bytes, size_t size, uint64_t seed)
{
	static const uint8_t head[] = {
		0xFF, 0xD8,				/* SOI */
		0xFF, 0xE0, 0x00, 0x10, /* APP0, 16 bytes */
		'J',  'F',	'I',  'F',	0,	  1,	1,	  0,	0,
		1,	  0,	1,	  0,	0,	  0xFF, 0xC0, 0x00, 0x0B, /* SOF0, 11 bytes */
		8,	  0x01, 0xE0, 0x02, 0x80, 1,	1,	  0x11, 0,	  /* 640 x 480, one component */
		0xFF, 0xDA, 0x00, 0x08,								  /* SOS, 8 bytes */
		1,	  1,	0x00, 0,	63,	  0,
	};
	uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
	size_t at = sizeof(head);

	if (size < sizeof(head) + 2)
		die("a JPEG of %zu bytes is too small", size);
	memcpy(bytes, head, sizeof(head));
	for (; at < size - 2; at++)
	{
		/* 0xFF would begin a marker. */
		bytes[at] = (uint8_t) (random_next(&state) >> 24);
		if (bytes[at] == 0xFF)
			bytes[at] = 0xFE;
	}
	bytes[at++] = 0xFF;
	bytes[at] = 0xD9; /* EOI */
}
