/*
 * format_parts.h - the parsers behind image_probe, one a format. Only the
 * format_*.c files and format.c include this.
 *
 * Each is given the whole file, from its first byte, and sets info->width and
 * info->height as the file has them; image_probe judges the dimensions and
 * clears info on failure. Each returns CORE_OK, CORE_TRUNCATED,
 * CORE_MALFORMED or CORE_NOT_AN_IMAGE, and takes time linear in the length.
 */
#ifndef BIOMETRIC_CORE_FORMAT_PARTS_H
#define BIOMETRIC_CORE_FORMAT_PARTS_H

#include "core/formats.h"
#include "core/reader.h"

/* format_jpeg reads ITU-T T.81 annex B: markers up to the first scan, EOI at the end. */
extern CORE_MUST_CHECK CoreStatus format_jpeg(Reader reader, ImageInfo *info);

/* format_png reads ISO/IEC 15948 clause 5: every chunk up to IEND, the CRC of IHDR. */
extern CORE_MUST_CHECK CoreStatus format_png(Reader reader, ImageInfo *info);

/* format_jp2 reads ISO/IEC 15444-1 annex I: boxes, the image header, the codestream. */
extern CORE_MUST_CHECK CoreStatus format_jp2(Reader reader, ImageInfo *info);

/* format_j2k reads ISO/IEC 15444-1 annex A: main header, every tile-part, EOC. */
extern CORE_MUST_CHECK CoreStatus format_j2k(Reader reader, ImageInfo *info);

/* format_wsq reads IAFIS-IC-0110: markers up to the first block, EOI at the end. */
extern CORE_MUST_CHECK CoreStatus format_wsq(Reader reader, ImageInfo *info);

/* format_fir reads ISO/IEC 19794-4:2005 and :2011, every representation. */
extern CORE_MUST_CHECK CoreStatus format_fir(Reader reader, ImageInfo *info);

/* format_fac reads ISO/IEC 19794-5:2005 and :2011, every representation. */
extern CORE_MUST_CHECK CoreStatus format_fac(Reader reader, ImageInfo *info);

/* format_iir reads ISO/IEC 19794-6:2005 and :2011, every image. */
extern CORE_MUST_CHECK CoreStatus format_iir(Reader reader, ImageInfo *info);

/* format_an2k reads the traditional encoding of ANSI/NIST-ITL: every record that Type-1 counts. */
extern CORE_MUST_CHECK CoreStatus format_an2k(Reader reader, ImageInfo *info);

/*
 * format_ends_with tells whether what is left of a reader ends with a
 * two-byte marker, zero bytes after it allowed: many writers pad files.
 */
extern bool format_ends_with(const Reader *reader, uint16_t marker);

/*
 * format_set_dimensions sets the dimensions unless an earlier image of the
 * record has. Returns CORE_OK, or CORE_BAD_DIMENSIONS when a side is zero.
 */
extern CORE_MUST_CHECK CoreStatus format_set_dimensions(ImageInfo *info, uint32_t width,
														uint32_t height);

#endif
