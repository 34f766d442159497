/*
 * picture.c - one way in to the decoders, and the clock that bounds them.
 */
#include "picture/picture.h"

#include "picture/sink.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* So many pixels are decoded between two looks at the clock: some milliseconds' work. */
#define LOOK_EVERY (256 * 1024)

static int64_t
clock_ms(void)
{
	struct timespec now = {0};

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool
picture_give_up(PictureWatch *watch, uint64_t pixels)
{
	const PictureLimits *limits = watch->limits;

	if (limits->stop != NULL && limits->stop(limits->context))
		return true;
	watch->work += pixels;
	if (watch->work < LOOK_EVERY)
		return false;
	watch->work = 0;
	return clock_ms() > watch->deadline_ms;
}

bool
picture_allowed(const PictureWatch *watch, uint32_t width, uint32_t height)
{
	return width >= 1 && height >= 1 && width <= IMAGE_MAX_SIDE && height <= IMAGE_MAX_SIDE &&
		   (uint64_t) width * height <= watch->limits->pixels;
}

static PictureSink *
decode(ImageFormat format, const uint8_t *bytes, size_t length, PictureWatch *watch)
{
	switch (format)
	{
		case IMAGE_FORMAT_JPEG:
			return picture_decode_jpeg(bytes, length, watch);
		case IMAGE_FORMAT_PNG:
			return picture_decode_png(bytes, length, watch);
		default:
			return NULL;
	}
}

bool
picture_decode(ImageFormat format, const uint8_t *bytes, size_t length, const PictureLimits *limits,
			   PictureGrey *grey)
{
	PictureWatch watch = {.limits = limits, .deadline_ms = clock_ms() + limits->time_ms};
	PictureSink *sink = decode(format, bytes, length, &watch);

	memset(grey, 0, sizeof(*grey));
	if (sink == NULL)
		return false;
	picture_sink_read(sink, grey);
	picture_sink_end(sink);
	return true;
}

void
picture_free(PictureGrey *grey)
{
	uint8_t *pixels = (uint8_t *) grey->pixels;

	if (pixels != NULL)
		core_wipe(pixels, (size_t) grey->width * grey->height);
	free(pixels);
	memset(grey, 0, sizeof(*grey));
}
