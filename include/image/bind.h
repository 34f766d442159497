/*
 * bind.h - puts a home into a sealed image.
 */
#ifndef BIOMETRIC_IMAGE_BIND_H
#define BIOMETRIC_IMAGE_BIND_H

#include "postgres.h"

#include "core/envelope.h"

/* What image_read_header and image_bind know of a stored value. */
typedef struct ImageBinding
{
	const uint8 *home;	   /* ENVELOPE_HOME_SIZE bytes, to be bound to */
	const uint8 *origin;   /* to be kept in it; NULL: the one it has, else home */
	bool stamp;			   /* counts_from_ms is to be put in; false: the one it has is kept */
	uint64 counts_from_ms; /* ms since 1970-01-01 UTC; 0: the sealing time */
	bool clear_imported;   /* whoever stores it has shown whose it is */
	bool renew_origin;	   /* a custodian adopts it: origin becomes home */
} ImageBinding;

/*
 * image_read_header parses the header of an image Datum of a kind, reading
 * one TOAST chunk at most. Errors: 22P03 for a damaged value.
 */
extern void image_read_header(ImageKind kind, Datum value, EnvelopeHeader *header);

/*
 * image_bind returns a value bound to a home: home set, origin set as asked
 * for, imported cleared if asked, header MAC renewed.
 * Returns value itself, the very Datum, when nothing needs to change, and
 * when it cannot be bound: its key is not at hand, or it is imported and
 * clear_imported is false. Result: in the current memory context.
 * Errors: 22P03 for a value that is damaged or whose header does not
 * authenticate; 58000 when OpenSSL failed.
 */
extern Datum image_bind(ImageKind kind, Datum value, const ImageBinding *binding);

/* image_mark_unclaimed returns a copy of an imported value with the mark of being unclaimed. */
extern Datum image_mark_unclaimed(Datum value);

/*
 * What image output and send functions have handed out as ciphertext in this
 * process, so that exports of sealed images can be put on record.
 */
typedef struct ImageOutput
{
	uint64 images;
	uint64 bytes; /* of sealed values, before base64 or hexadecimal */
} ImageOutput;

/* image_output returns the counts since the process began; they only grow. */
extern ImageOutput image_output(void);

/*
 * image_output_watch has a function called once, before ciphertext is handed
 * out the next time; after an error in it again, so that nothing is handed out
 * before it has succeeded. What the cast to bytea makes for a statement that
 * passes the release gate (image_statement_current) is counted, but not
 * announced: the gate may open it.
 */
extern void image_output_watch(void (*announce)(void));

#endif
