/*
 * kinds.h - the kinds of image, one line each.
 *
 * A kind's code is stored in envelopes and ledger entries and never changes
 * meaning. The SQL type of a kind is its name followed by "_image".
 */
#ifndef BIOMETRIC_CORE_KINDS_H
#define BIOMETRIC_CORE_KINDS_H

#include "core/status.h"

typedef enum ImageKind
{
	IMAGE_KIND_NONE = 0,
	IMAGE_KIND_FACE = 1,
	IMAGE_KIND_PLATE = 2,
	IMAGE_KIND_DOCUMENT = 3,
	IMAGE_KIND_FINGERPRINT = 4,
	IMAGE_KIND_IRIS = 5
} ImageKind;

#define IMAGE_KIND_LAST IMAGE_KIND_IRIS

/* image_kind_name returns "face" and so on, or NULL for a code that is none. */
extern const char *image_kind_name(int kind);

/* image_kind_from_name returns the kind named by name (NUL-terminated), or IMAGE_KIND_NONE. */
extern ImageKind image_kind_from_name(const char *name);

#endif
