/*
 * samples.h - small images of every format, built byte by byte: what the unit
 * tests take apart and the fuzzers start from.
 */
#ifndef BIOMETRIC_TEST_SAMPLES_H
#define BIOMETRIC_TEST_SAMPLES_H

#include "core/formats.h"

/* The dimensions of most samples, in pixels. */
#define SAMPLE_WIDTH 64
#define SAMPLE_HEIGHT 48

/* A growing row of bytes. */
typedef struct Sample
{
	uint8_t bytes[2048];
	size_t length;
} Sample;

/* Builds one sample of given dimensions. */
typedef void (*SampleMaker)(Sample *sample, uint32_t width, uint32_t height);

typedef struct SampleKind
{
	const char *name;
	ImageFormat format;
	SampleMaker make;
	uint32_t largest; /* the longest side that the format's fields can hold */
} SampleKind;

extern const SampleKind sample_kinds[];
extern const int sample_kind_count;

/* sample_bytes appends bytes; sample_number an integer of 1 to 8 bytes; sample_text a text. */
extern void sample_bytes(Sample *sample, const void *bytes, size_t length);
extern void sample_number(Sample *sample, uint64_t value, int size);
extern void sample_text(Sample *sample, const char *text);

/* sample_patch overwrites size bytes at an offset with an integer. */
extern void sample_patch(Sample *sample, size_t offset, uint64_t value, int size);

/* sample_png_crc renews the CRC of the IHDR chunk of a PNG sample. */
extern void sample_png_crc(Sample *sample);

/* sample_an2k makes a transaction of one record, given as its type and its fields after 001. */
extern void sample_an2k(Sample *sample, int type, const char *fields);

#endif
