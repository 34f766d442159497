/*
 * reseal.h - seals an image again under another key.
 */
#ifndef BIOMETRIC_IMAGE_RESEAL_H
#define BIOMETRIC_IMAGE_RESEAL_H

#include "postgres.h"

#include "core/kinds.h"

/*
 * image_reseal returns an image sealed under another key: the same image id, kind,
 * format, dimensions, home, origin, time that its retention counts from, and flags; a new
 * nonce, digest and encrypted picture hash. Its plaintext exists only in memory that is
 * locked, and wiped before the function returns or raises.
 * value: an image Datum, plain or toasted. key_id: of a key that keyring_find finds.
 * Result: in the current memory context; value itself, the very Datum, when it is sealed under
 * that key already.
 * Errors: 22P03 for a damaged value; 55000 when either key is not at hand;
 * 58000 when OpenSSL failed.
 */
extern Datum image_reseal(ImageKind kind, Datum value, uint32 key_id);

#endif
