/*
 * samples.c - builds small images of every format.
 */
#include "samples.h"

#include "core/reader.h"

#include <stdio.h>
#include <stdlib.h>

#define DATA "pixels, or what passes for them"
#define DATA_SIZE (sizeof(DATA) - 1)

void
sample_bytes(Sample *sample, const void *bytes, size_t length)
{
	if (length > sizeof(sample->bytes) - sample->length)
		abort();
	memcpy(sample->bytes + sample->length, bytes, length);
	sample->length += length;
}

void
sample_number(Sample *sample, uint64_t value, int size)
{
	uint8_t bytes[8];

	write_uint(bytes, value, size);
	sample_bytes(sample, bytes, (size_t) size);
}

void
sample_text(Sample *sample, const char *text)
{
	sample_bytes(sample, text, strlen(text));
}

void
sample_patch(Sample *sample, size_t offset, uint64_t value, int size)
{
	if (offset + (size_t) size > sample->length)
		abort();
	write_uint(sample->bytes + offset, value, size);
}

static void
zeroes(Sample *sample, int count)
{
	while (count-- > 0)
		sample_number(sample, 0, 1);
}

static void
make_jpeg(Sample *sample, uint32_t width, uint32_t height)
{
	sample_number(sample, 0xffd8, 2);
	sample_number(sample, 0xffe0, 2);
	sample_number(sample, 16, 2);
	sample_bytes(sample, "JFIF\0\1\1\0\0\1\0\1\0\0", 14);
	/* A comment that looks like an end, and fill bytes before the next marker. */
	sample_number(sample, 0xfffe, 2);
	sample_number(sample, 6, 2);
	sample_number(sample, 0xffd9ffd9, 4);
	sample_number(sample, 0xffff, 2);
	sample_number(sample, 0xffc0, 2);
	sample_number(sample, 11, 2);
	sample_number(sample, 8, 1);
	sample_number(sample, height, 2);
	sample_number(sample, width, 2);
	sample_number(sample, 1, 1);
	sample_number(sample, 0x011100, 3);
	sample_number(sample, 0xffda, 2);
	sample_number(sample, 8, 2);
	sample_number(sample, 1, 1);
	sample_number(sample, 0x0100, 2);
	sample_number(sample, 0x003f00, 3);
	sample_text(sample, DATA);
	/* A data byte of 0xff, a restart, and between two scans a segment that looks like an end. */
	sample_number(sample, 0xff00ffd0, 4);
	sample_text(sample, DATA);
	sample_number(sample, 0xffc4, 2);
	sample_number(sample, 4, 2);
	sample_number(sample, 0xffd9, 2);
	sample_number(sample, 0xffda, 2);
	sample_number(sample, 8, 2);
	sample_number(sample, 1, 1);
	sample_number(sample, 0x0100, 2);
	sample_number(sample, 0x003f00, 3);
	sample_text(sample, DATA);
	sample_number(sample, 0xffd9, 2);
}

static uint32_t
crc_of(const uint8_t *bytes, size_t length)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < 8 * length; i++)
	{
		uint32_t bit = (crc ^ (uint32_t) bytes[i / 8] >> (i % 8)) & 1;

		crc = crc >> 1 ^ (bit ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void
chunk(Sample *sample, const char *type, const void *data, size_t length)
{
	size_t start;

	sample_number(sample, length, 4);
	start = sample->length;
	sample_text(sample, type);
	sample_bytes(sample, data, length);
	sample_number(sample, crc_of(sample->bytes + start, length + 4), 4);
}

void
sample_png_crc(Sample *sample)
{
	sample_patch(sample, 29, crc_of(sample->bytes + 12, 17), 4);
}

static void
make_png(Sample *sample, uint32_t width, uint32_t height)
{
	uint8_t header[13] = {0};

	write_uint(header, width, 4);
	write_uint(header + 4, height, 4);
	header[8] = 8;
	header[9] = 2;
	sample_bytes(sample, "\x89PNG\r\n\x1a\n", 8);
	chunk(sample, "IHDR", header, sizeof(header));
	chunk(sample, "tEXt", "a\0b", 3);
	chunk(sample, "IDAT", DATA, DATA_SIZE);
	chunk(sample, "IDAT", "", 0);
	chunk(sample, "IEND", "", 0);
}

/* A codestream whose image lies at (5, 7) of the grid, in two tile-parts. */
static void
make_j2k(Sample *sample, uint32_t width, uint32_t height)
{
	sample_number(sample, 0xff4fff51, 4);
	sample_number(sample, 41, 2);
	sample_number(sample, 0, 2);
	sample_number(sample, (uint64_t) width + 5, 4);
	sample_number(sample, (uint64_t) height + 7, 4);
	sample_number(sample, 5, 4);
	sample_number(sample, 7, 4);
	sample_number(sample, 128, 4);
	sample_number(sample, 128, 4);
	zeroes(sample, 8);
	sample_number(sample, 1, 2);
	sample_number(sample, 0x070101, 3);
	/* A marker that stands alone, and a comment. */
	sample_number(sample, 0xff30, 2);
	sample_number(sample, 0xff64, 2);
	sample_number(sample, 6, 2);
	sample_text(sample, "abcd");
	for (int part = 0; part < 2; part++)
	{
		sample_number(sample, 0xff90, 2);
		sample_number(sample, 10, 2);
		sample_number(sample, 0, 2);
		/* The last may leave its length to the end of the codestream. */
		sample_number(sample, part == 0 ? 14 + DATA_SIZE : 0, 4);
		sample_number(sample, (uint64_t) part, 1);
		sample_number(sample, 2, 1);
		sample_number(sample, 0xff93, 2);
		sample_text(sample, DATA);
	}
	sample_number(sample, 0xffd9, 2);
}

static void
make_jp2(Sample *sample, uint32_t width, uint32_t height)
{
	Sample codestream = {.length = 0};

	make_j2k(&codestream, width, height);
	sample_bytes(sample, "\0\0\0\x0cjP  \r\n\x87\n", 12);
	sample_number(sample, 24, 4);
	sample_text(sample, "ftypjpx ");
	zeroes(sample, 4);
	sample_text(sample, "jpx jp2 ");
	sample_number(sample, 8 + 22 + 15, 4);
	sample_text(sample, "jp2h");
	sample_number(sample, 22, 4);
	sample_text(sample, "ihdr");
	sample_number(sample, height, 4);
	sample_number(sample, width, 4);
	sample_number(sample, 1, 2);
	sample_number(sample, 0x07070000, 4);
	sample_number(sample, 15, 4);
	sample_text(sample, "colr");
	sample_number(sample, 1, 3);
	sample_number(sample, 17, 4);
	/* A box that nobody knows, then the long form of a length. */
	sample_number(sample, 12, 4);
	sample_text(sample, "xxxxbody");
	sample_number(sample, 1, 4);
	sample_text(sample, "jp2c");
	sample_number(sample, 16 + codestream.length, 8);
	sample_bytes(sample, codestream.bytes, codestream.length);
}

static void
make_wsq(Sample *sample, uint32_t width, uint32_t height)
{
	sample_number(sample, 0xffa0, 2);
	sample_number(sample, 0xffa8, 2);
	sample_number(sample, 6, 2);
	sample_number(sample, 0xffa1ffa1, 4);
	sample_number(sample, 0xffa2, 2);
	sample_number(sample, 17, 2);
	sample_number(sample, 0x00ff, 2);
	sample_number(sample, height, 2);
	sample_number(sample, width, 2);
	zeroes(sample, 9);
	sample_number(sample, 0xffa3, 2);
	sample_number(sample, 3, 2);
	sample_number(sample, 0, 1);
	sample_text(sample, DATA);
	sample_number(sample, 0xffa1, 2);
}

static void
make_fir_2005(Sample *sample, uint32_t width, uint32_t height)
{
	sample_bytes(sample,
				 "FIR\0"
				 "010\0",
				 8);
	zeroes(sample, 6);
	zeroes(sample, 4);
	sample_number(sample, 2, 1);
	zeroes(sample, 13);
	/* Two fingers, the second with two views. */
	for (int view = 0; view < 3; view++)
	{
		sample_number(sample, 14 + DATA_SIZE, 4);
		zeroes(sample, 5);
		sample_number(sample, view == 0 ? width : 300, 2);
		sample_number(sample, view == 0 ? height : 400, 2);
		zeroes(sample, 1);
		sample_text(sample, DATA);
	}
	sample_patch(sample, 8, sample->length, 6);
}

/* What every representation of 2011 begins with, one quality block included. */
static void
capture(Sample *sample)
{
	sample_number(sample, 2024, 2);
	zeroes(sample, 12);
	sample_number(sample, 1, 1);
	sample_number(sample, 0x5012345678, 5);
}

static void
make_fir_2011_certified(Sample *sample, uint32_t width, uint32_t height, int certified)
{
	sample_bytes(sample,
				 "FIR\0"
				 "020\0",
				 8);
	zeroes(sample, 4);
	sample_number(sample, 2, 2);
	sample_number(sample, (uint64_t) certified, 1);
	sample_number(sample, 1, 1);
	for (int i = 0; i < 2; i++)
	{
		size_t start = sample->length;

		zeroes(sample, 4);
		capture(sample);
		if (certified)
			sample_number(sample, 0x02111111222222, 7);
		zeroes(sample, 14);
		sample_number(sample, i == 0 ? width : 300, 2);
		sample_number(sample, i == 0 ? height : 400, 2);
		sample_number(sample, DATA_SIZE, 4);
		sample_text(sample, DATA);
		/* Extended data after the image. */
		zeroes(sample, 9);
		sample_patch(sample, start, sample->length - start, 4);
	}
	sample_patch(sample, 8, sample->length, 4);
}

static void
make_fir_2011(Sample *sample, uint32_t width, uint32_t height)
{
	make_fir_2011_certified(sample, width, height, 0);
}

static void
make_fir_2011_with_certificates(Sample *sample, uint32_t width, uint32_t height)
{
	make_fir_2011_certified(sample, width, height, 1);
}

static void
make_fac_2005(Sample *sample, uint32_t width, uint32_t height)
{
	sample_bytes(sample,
				 "FAC\0"
				 "010\0",
				 8);
	zeroes(sample, 4);
	sample_number(sample, 2, 2);
	for (int i = 0; i < 2; i++)
	{
		size_t start = sample->length;

		zeroes(sample, 4);
		sample_number(sample, (uint64_t) i, 2);
		zeroes(sample, 14);
		zeroes(sample, 8 * i);
		sample_number(sample, 0x0100, 2);
		sample_number(sample, i == 0 ? width : 300, 2);
		sample_number(sample, i == 0 ? height : 400, 2);
		zeroes(sample, 6);
		sample_text(sample, DATA);
		sample_patch(sample, start, sample->length - start, 4);
	}
	sample_patch(sample, 8, sample->length, 4);
}

static void
make_fac_2011(Sample *sample, uint32_t width, uint32_t height)
{
	sample_bytes(sample,
				 "FAC\0"
				 "030\0",
				 8);
	zeroes(sample, 4);
	sample_number(sample, 1, 2);
	zeroes(sample, 1);
	sample_number(sample, 1, 2);
	zeroes(sample, 4);
	capture(sample);
	sample_number(sample, 2, 2);
	zeroes(sample, 15);
	zeroes(sample, 16);
	sample_number(sample, 0x0100, 2);
	sample_number(sample, width, 2);
	sample_number(sample, height, 2);
	zeroes(sample, 5);
	sample_number(sample, DATA_SIZE, 4);
	sample_text(sample, DATA);
	sample_patch(sample, 17, sample->length - 17, 4);
	sample_patch(sample, 8, sample->length, 4);
}

static void
make_iir_2005(Sample *sample, uint32_t width, uint32_t height)
{
	sample_bytes(sample,
				 "IIR\0"
				 "010\0",
				 8);
	zeroes(sample, 4);
	zeroes(sample, 2);
	sample_number(sample, 2, 1);
	sample_number(sample, 45, 2);
	zeroes(sample, 6);
	sample_number(sample, width, 2);
	sample_number(sample, height, 2);
	zeroes(sample, 18);
	for (int eye = 0; eye < 2; eye++)
	{
		sample_number(sample, (uint64_t) eye + 1, 1);
		sample_number(sample, (uint64_t) eye + 1, 2);
		for (int image = 0; image <= eye; image++)
		{
			zeroes(sample, 7);
			sample_number(sample, DATA_SIZE, 4);
			sample_text(sample, DATA);
		}
	}
	sample_patch(sample, 8, sample->length, 4);
}

static void
make_iir_2011(Sample *sample, uint32_t width, uint32_t height)
{
	sample_bytes(sample,
				 "IIR\0"
				 "020\0",
				 8);
	zeroes(sample, 4);
	sample_number(sample, 1, 2);
	zeroes(sample, 2);
	zeroes(sample, 4);
	capture(sample);
	zeroes(sample, 6);
	sample_number(sample, width, 2);
	sample_number(sample, height, 2);
	zeroes(sample, 19);
	sample_number(sample, DATA_SIZE, 4);
	sample_text(sample, DATA);
	sample_patch(sample, 16, sample->length - 16, 4);
	sample_patch(sample, 8, sample->length, 4);
}

/* Appends a tagged record whose LEN counts itself. */
static void
tagged_record(Sample *sample, int type, const char *fields)
{
	char head[32];
	int length = (int) strlen(fields) + 1;
	int total = length;

	do
	{
		length = total;
		total =
			snprintf(head, sizeof(head), "%d.001:%d\x1d", type, length) + (int) strlen(fields) + 1;
	} while (total != length);
	sample_text(sample, head);
	sample_text(sample, fields);
	sample_number(sample, 0x1c, 1);
}

void
sample_an2k(Sample *sample, int type, const char *fields)
{
	char header[128];

	snprintf(header, sizeof(header),
			 "1.002:0500\x1d"
			 "1.003:1\x1f"
			 "1\x1e%d\x1f"
			 "01\x1d"
			 "1.004:CAR",
			 type);
	tagged_record(sample, 1, header);
	tagged_record(sample, type, fields);
}

/* A descriptive record, then a face. */
static void
make_an2k(Sample *sample, uint32_t width, uint32_t height)
{
	char fields[256];

	tagged_record(sample, 1,
				  "1.002:0500\x1d"
				  "1.003:1\x1f"
				  "2\x1e"
				  "2\x1f"
				  "00\x1e"
				  "10\x1f"
				  "01\x1d"
				  "1.004:CAR");
	tagged_record(sample, 2,
				  "2.002:00\x1d"
				  "2.003:x");
	snprintf(fields, sizeof(fields),
			 "10.002:01\x1d"
			 "10.006:%u\x1d"
			 "10.007:%u\x1d"
			 "10.999:\x1d\x1c" DATA,
			 width, height);
	tagged_record(sample, 10, fields);
}

/* A fingerprint in a binary record, field numbers of two digits. */
static void
make_an2k_binary(Sample *sample, uint32_t width, uint32_t height)
{
	sample_text(sample, "1.01:32\x1d"
						"1.02:0200\x1d"
						"1.03:1\x1f"
						"1\x1e"
						"4\x1f"
						"01\x1c");
	sample_number(sample, 18 + DATA_SIZE, 4);
	zeroes(sample, 9);
	sample_number(sample, width, 2);
	sample_number(sample, height, 2);
	zeroes(sample, 1);
	sample_text(sample, DATA);
}

const SampleKind sample_kinds[] = {
	{"jpeg", IMAGE_FORMAT_JPEG, make_jpeg, 65535},
	{"png", IMAGE_FORMAT_PNG, make_png, UINT32_MAX},
	{"j2k", IMAGE_FORMAT_J2K, make_j2k, UINT32_MAX - 7},
	{"jp2", IMAGE_FORMAT_JP2, make_jp2, UINT32_MAX - 7},
	{"wsq", IMAGE_FORMAT_WSQ, make_wsq, 65535},
	{"fir-2005", IMAGE_FORMAT_FIR, make_fir_2005, 65535},
	{"fir-2011", IMAGE_FORMAT_FIR, make_fir_2011, 65535},
	{"fir-2011-certified", IMAGE_FORMAT_FIR, make_fir_2011_with_certificates, 65535},
	{"fac-2005", IMAGE_FORMAT_FAC, make_fac_2005, 65535},
	{"fac-2011", IMAGE_FORMAT_FAC, make_fac_2011, 65535},
	{"iir-2005", IMAGE_FORMAT_IIR, make_iir_2005, 65535},
	{"iir-2011", IMAGE_FORMAT_IIR, make_iir_2011, 65535},
	{"an2k", IMAGE_FORMAT_AN2K, make_an2k, UINT32_MAX},
	{"an2k-binary", IMAGE_FORMAT_AN2K, make_an2k_binary, 65535},
};

const int sample_kind_count = sizeof(sample_kinds) / sizeof(sample_kinds[0]);
