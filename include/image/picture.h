/*
 * picture.h - the picture hash of an image that is about to be sealed.
 *
 * For extension/image only.
 */
#ifndef BIOMETRIC_IMAGE_PICTURE_H
#define BIOMETRIC_IMAGE_PICTURE_H

#include "base/compat.h"

#include "core/picture_hash.h"

/*
 * image_picture_define_settings defines biometric_audit.picture_hash and its limits, of
 * pixels and of time.
 */
extern void image_picture_define_settings(void);

/*
 * image_picture_hash computes the picture hash of an image, which is wiped by
 * the caller as the image itself.
 *
 * info: as image_probe found it. hash: zeroed on false.
 * False, never an error, when it has none: hashing is off, its format is neither JPEG nor
 * PNG, it is beyond the limits, cannot be decoded, or shows too little. Nothing
 * stays allocated; what was derived from the image is wiped. A cancel request
 * ends it early, and is left for the caller's CHECK_FOR_INTERRUPTS.
 */
extern bool image_picture_hash(const ImageInfo *info, const uint8 *bytes, Size length,
							   uint8 hash[PICTURE_HASH_SIZE]);

#endif
