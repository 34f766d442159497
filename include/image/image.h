/*
 * image.h - the image types: recognising them, sealing, and the cast's stamp.
 *
 * An image Datum is a varlena whose payload is an envelope (core/envelope.h).
 * No function here, or anywhere, returns plaintext as a Datum.
 */
#ifndef BIOMETRIC_IMAGE_IMAGE_H
#define BIOMETRIC_IMAGE_IMAGE_H

#include "postgres.h"

#include "core/envelope.h"

/* image_define_settings defines max_image_size and picture_hash, with its limits; from _PG_init. */
extern void image_define_settings(void);

/* image_init registers the invalidation callbacks that empty the type cache; from _PG_init. */
extern void image_init(void);

/*
 * image_type_kind returns the kind of an image type or of a domain over one,
 * IMAGE_KIND_NONE for any other type. Needs a transaction; cached.
 */
extern ImageKind image_type_kind(Oid type);

/*
 * image_column returns the attribute number of a table's column that holds images. Errors: 42703 when
 * the table has no such column, 42809 when its type is another.
 */
extern AttrNumber image_column(Oid table, const char *column);

/*
 * image_type_kinds returns the kinds (bit 1 << kind) that values of a type
 * can contain: as image_type_kind, and through arrays, ranges, domains and
 * composite types at any depth. 0 for a type without images. Cached.
 */
extern uint32 image_type_kinds(Oid type);

/*
 * image_seal checks that bytes are an image and seals them for a kind, with the
 * hash of the picture where there is one.
 * bytes, length: borrowed, the caller wipes them.
 * Result: a palloc'd image Datum in the current memory context.
 * Errors: 22023 for an empty value; 54000 beyond max_image_size; 22P03 for
 * what is no image, truncated or of impossible dimensions; keyring's errors.
 */
extern Datum image_seal(ImageKind kind, const uint8 *bytes, Size length);

/*
 * image_accept takes a sealed value from outside: parsed, verified if its key
 * is present, structurally if it is not; marked as imported, stamp cleared.
 * max_image_size does not apply, so that a dump loads after it was lowered.
 * Result as image_seal's. Errors: 22P03 when it is damaged, forged or of
 * another kind; 58000 when OpenSSL failed.
 */
extern Datum image_accept(ImageKind kind, const uint8 *bytes, Size length);

/*
 * The stamp. The cast from an image to bytea writes into the sealed bytes a
 * MAC, under a secret of this backend, over the first ENVELOPE_STAMP_OFFSET
 * bytes of the envelope and the number of the top-level statement that is
 * running, so that the release gate knows a bytea that this very statement
 * made out of an image from one that somebody typed in.
 */

/*
 * image_statement_set says which top-level statement is running: a number
 * never used before in this backend, or 0 for none (no stamp is then
 * written). Called by the hooks only.
 */
extern void image_statement_set(uint64 number);

/* image_statement_current returns the number set last. */
extern uint64 image_statement_current(void);

/*
 * image_stamp_matches tells whether an envelope (ENVELOPE_HEADER_SIZE bytes
 * at least) carries the stamp of the running statement.
 */
extern bool image_stamp_matches(const uint8 *envelope);

#endif
