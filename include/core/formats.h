/*
 * formats.h - recognises image formats and reads their dimensions.
 *
 * Nothing is decoded: magic numbers and enough of the structure to get at
 * width and height, and to tell a whole file from a truncated one as far as
 * the format's own structure says where it ends. Trusts no length in the
 * input; never reads outside it; never allocates.
 */
#ifndef BIOMETRIC_CORE_FORMATS_H
#define BIOMETRIC_CORE_FORMATS_H

#include "core/status.h"

typedef enum ImageFormat
{
	IMAGE_FORMAT_NONE = 0,
	IMAGE_FORMAT_JPEG = 1, /* ITU-T T.81: SOI, SOFn, SOS, ends with EOI */
	IMAGE_FORMAT_PNG = 2,  /* ISO/IEC 15948: IHDR first, IEND last */
	IMAGE_FORMAT_JP2 = 3,  /* ISO/IEC 15444-1 annex I: jP box, ihdr, jp2c */
	IMAGE_FORMAT_J2K = 4,  /* ISO/IEC 15444-1 codestream: SOC, SIZ, ends with EOC */
	IMAGE_FORMAT_WSQ = 5,  /* FBI IAFIS-IC-0110: SOI FFA0, SOF FFA2, EOI FFA1 */
	IMAGE_FORMAT_FIR = 6,  /* ISO/IEC 19794-4 finger image record */
	IMAGE_FORMAT_FAC = 7,  /* ISO/IEC 19794-5 face image record */
	IMAGE_FORMAT_IIR = 8,  /* ISO/IEC 19794-6 iris image record */
	IMAGE_FORMAT_AN2K = 9  /* ANSI/NIST-ITL transaction, traditional encoding */
} ImageFormat;

#define IMAGE_FORMAT_LAST IMAGE_FORMAT_AN2K

/* The longest side, in pixels, that is taken for an image rather than an accident. */
#define IMAGE_MAX_SIDE 65535

typedef struct ImageInfo
{
	ImageFormat format;
	uint32_t width;	 /* pixels, 1 to IMAGE_MAX_SIDE */
	uint32_t height; /* pixels, 1 to IMAGE_MAX_SIDE */
} ImageInfo;

/*
 * image_probe recognises the format of an image and reads its dimensions.
 *
 * bytes, length: the whole file or record, in bytes.
 * info: filled on CORE_OK, zeroed otherwise, except that info->format is set
 *   as soon as the magic was recognised, for the error message.
 * Returns CORE_OK, CORE_NOT_AN_IMAGE, CORE_TRUNCATED, CORE_BAD_DIMENSIONS or
 * CORE_MALFORMED.
 *
 * A record that holds several images (FIR, FAC, IIR, AN2K) gives the
 * dimensions of its first; an AN2K transaction without an image record is
 * CORE_NOT_AN_IMAGE.
 */
extern CORE_MUST_CHECK CoreStatus image_probe(const uint8_t *bytes, size_t length, ImageInfo *info);

/* image_format_name returns "jpeg", "png", "jp2", "j2k", "wsq", "fir", "fac", "iir", "an2k" or NULL. */
extern const char *image_format_name(int format);

#endif
