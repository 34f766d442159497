/*
 * picture.c - decodes and hashes an image, within the limits of the settings.
 */
#include "base/compat.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "core/seal.h"
#include "image/picture.h"
#include "picture/picture.h"

#define DEFAULT_MEGAPIXELS 50
#define DEFAULT_TIME_MS 500
#define MAX_TIME_MS 60000

/* A megapixel is 1,000,000 pixels; no side of an image is longer than IMAGE_MAX_SIDE. */
#define MAX_MEGAPIXELS 4295

static bool hash_pictures = true;
static int most_megapixels = DEFAULT_MEGAPIXELS;
static int most_time_ms = DEFAULT_TIME_MS;

void
image_picture_define_settings(void)
{
	DefineCustomBoolVariable(
		"biometric_audit.picture_hash",
		"Whether a perceptual hash is sealed with each JPEG and PNG image.",
		"By it trace() finds an image that was encoded again, scaled or cropped.", &hash_pictures,
		true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"biometric_audit.picture_hash_pixels",
		"The largest image that is decoded for its perceptual hash, in megapixels.",
		"A larger one is sealed without.", &most_megapixels, DEFAULT_MEGAPIXELS, 1, MAX_MEGAPIXELS,
		PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("biometric_audit.picture_hash_time",
							"The longest that an image is decoded for its perceptual hash.",
							"One that takes longer is sealed without.", &most_time_ms,
							DEFAULT_TIME_MS, 1, MAX_TIME_MS, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL,
							NULL);
}

/*
 * Decoders cannot be left by an error, for the memory that they hold is not
 * PostgreSQL's. So they are told to give up, and the error is raised by whoever
 * checks for interrupts next.
 */
static bool
is_cancelled(void *context)
{
	return QueryCancelPending || ProcDiePending;
}

bool
image_picture_hash(const ImageInfo *info, const uint8 *bytes, Size length,
				   uint8 hash[PICTURE_HASH_SIZE])
{
	PictureLimits limits = {
		.pixels = (uint64) most_megapixels * 1000000,
		.time_ms = (uint32) most_time_ms,
		.stop = is_cancelled,
	};
	PictureGrey grey;
	bool found;

	memset(hash, 0, PICTURE_HASH_SIZE);
	if (!hash_pictures || !picture_decode(info->format, bytes, length, &limits, &grey))
		return false;
	found = picture_hash(&grey, hash);
	picture_free(&grey);
	return found;
}
