/*
 * sink.h - what the decoders of the picture room share: where their rows go, and
 * when to give up. For extension/picture only.
 *
 * A sink takes the rows of a picture in any order and in parts, as interlaced files
 * have them, and keeps no more than its result: each pixel is added to the cells
 * that it covers, by how much it covers of them.
 */
#ifndef BIOMETRIC_PICTURE_SINK_H
#define BIOMETRIC_PICTURE_SINK_H

#include "picture/picture.h"

typedef struct PictureSink
{
	uint32_t width; /* of what comes in, pixels */
	uint32_t height;
	uint32_t cells_across; /* of what goes out */
	uint32_t cells_down;
	uint8_t *pixels; /* what goes out; being filled where the picture stays as large as it is */
	int64_t *cells;	 /* else: what has been added up, cells_across to a row */
	int64_t row[PICTURE_MOST_SIDE];
} PictureSink;

/* Part of a row: count pixels, the first at place first, each step pixels after the one before. */
typedef struct PictureRow
{
	uint32_t y;
	uint32_t first;
	uint32_t step;
	uint32_t count;
	const uint8_t *pixels; /* count luminances */
} PictureRow;

/* When to give up: made by picture_decode. */
typedef struct PictureWatch
{
	const PictureLimits *limits;
	int64_t deadline_ms;
	uint64_t work; /* pixels since the clock was last looked at */
} PictureWatch;

/* picture_sink_begin returns a sink for a picture of these dimensions, NULL without memory. */
extern PictureSink *picture_sink_begin(uint32_t width, uint32_t height);

/* picture_sink_add adds a row, or part of it; what lies outside the picture is left out. */
extern void picture_sink_add(PictureSink *sink, const PictureRow *row);

/* picture_sink_end wipes and frees a sink, or nothing for NULL. */
extern void picture_sink_end(PictureSink *sink);

/* picture_sink_read hands over the result, every pixel having been added once. */
extern void picture_sink_read(PictureSink *sink, PictureGrey *grey);

/*
 * picture_give_up tells whether time is up, or somebody wants decoding to stop. pixels: about how
 * many will be decoded before it is asked again; the clock is looked at once for many of them.
 */
extern bool picture_give_up(PictureWatch *watch, uint64_t pixels);

/* picture_allowed tells whether a file of these dimensions may be decoded. */
extern bool picture_allowed(const PictureWatch *watch, uint32_t width, uint32_t height);

/* picture_luminance is BT.601's of a colour. */
static inline uint8_t
picture_luminance(uint32_t red, uint32_t green, uint32_t blue)
{
	return (uint8_t) ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16);
}

/*
 * picture_decode_jpeg and picture_decode_png decode into a sink that they make. Result:
 * the sink, for picture_sink_end; NULL where picture_decode shall return false.
 */
extern PictureSink *picture_decode_jpeg(const uint8_t *bytes, size_t length, PictureWatch *watch);
extern PictureSink *picture_decode_png(const uint8_t *bytes, size_t length, PictureWatch *watch);

#endif
