/*
 * value.h - what the files of the image room share: reading Datums of our
 * types, and refusing those that are not what they claim to be.
 *
 * For extension/image only.
 */
#ifndef BIOMETRIC_IMAGE_VALUE_H
#define BIOMETRIC_IMAGE_VALUE_H

#include "base/compat.h"
#include "core/envelope.h"
#include "fmgr.h"

/*
 * image_function_kind returns the kind that a C function of the type template
 * was declared for: its result type or, failing that, its first argument type.
 * Cached in fn_extra, so the function may keep nothing else there.
 * Errors: 42883 when neither is one of this extension's own types, as after
 * CREATE FUNCTION with our symbol and somebody else's type.
 */
extern ImageKind image_function_kind(FunctionCallInfo fcinfo);

/*
 * image_parse_stored reads the header of a value that comes from a Datum.
 * bytes: available bytes of it, ENVELOPE_HEADER_SIZE at least if it is whole.
 * total: bytes of the whole envelope.
 * Errors: 22P03 when it is no envelope of that kind.
 */
extern void image_parse_stored(ImageKind kind, const uint8 *bytes, Size available, Size total,
							   EnvelopeHeader *header);

/* image_refuse_stored raises 22P03 for a stored value that is damaged. Does not return. */
extern void image_refuse_stored(ImageKind kind, CoreStatus status);

/*
 * image_take is what every input path ends in: an envelope is accepted,
 * anything else sealed as an image. bytes are wiped if they were plaintext
 * and wipe is set, also when an error is raised.
 */
extern Datum image_take(ImageKind kind, uint8 *bytes, Size length, bool wipe);

/*
 * image_stamp writes the stamp of the running statement into an envelope, or
 * zeroes when none is running or in a parallel worker.
 * Errors: 58000 when the random generator or the MAC failed.
 */
extern void image_stamp(uint8 *envelope);

#endif
