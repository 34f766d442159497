/*
 * picture.h - JPEG and PNG files decoded to luminance, by libjpeg-turbo and libpng.
 *
 * The only room that includes these libraries. Plain C; what it is given is
 * foreign, and may have been made to hurt: whatever a file says, memory, pixels
 * and time are bounded, and a file that cannot be decoded within these bounds is
 * no error but has no picture. Nothing is printed, and nothing but the result
 * stays allocated.
 *
 * Luminance is that of the pixels as they are encoded (ITU-R BT.601), transparent
 * ones before white; colour profiles, gamma and the orientation in Exif are not
 * looked at. Of JPEG: grey, YCbCr, RGB, CMYK and YCCK of 8 bits. Of PNG: all.
 *
 * Memory: besides what the libraries need for a few rows, PICTURE_MEMORY at most, for
 * the coefficients of progressive JPEG files.
 */
#ifndef BIOMETRIC_PICTURE_PICTURE_H
#define BIOMETRIC_PICTURE_PICTURE_H

#include "core/formats.h"
#include "core/picture_hash.h"

/* A side of more than PICTURE_MOST_SIDE pixels is brought down to PICTURE_SIDE, on its own. */
#define PICTURE_MOST_SIDE 512
#define PICTURE_SIDE 256

/*
 * JPEG files are decoded to the smallest of 1/8, 1/4, 1/2 and all of their size that leaves the
 * shorter side at least as many pixels.
 */
#define PICTURE_LEAST_SIDE 192

/* Bytes that libjpeg may keep of a progressive file; one that needs more has no picture. */
#define PICTURE_MEMORY (128 * 1024 * 1024)

/* A JPEG file with more scans has no picture: each costs as much time as the whole. */
#define PICTURE_SCANS 64

typedef struct PictureLimits
{
	uint64_t pixels;  /* of the file; more: not decoded */
	uint32_t time_ms; /* of decoding; more: given up */
	bool (*stop)(
		void *context); /* asked about once a row or block of rows; true: give up. NULL: never */
	void *context;		/* for stop, which must return, not jump */
} PictureLimits;

/*
 * picture_decode decodes a file, scaled down on the way.
 *
 * bytes, length: the file; borrowed.
 * grey: on true, its pixels are malloc'd, for picture_free.
 * False, with nothing to free and grey zeroed: neither JPEG nor PNG, of a kind not
 * named above, damaged, or beyond the limits.
 */
extern CORE_MUST_CHECK bool picture_decode(ImageFormat format, const uint8_t *bytes, size_t length,
										   const PictureLimits *limits, PictureGrey *grey);

/* picture_free wipes and frees what picture_decode made. */
extern void picture_free(PictureGrey *grey);

#endif
