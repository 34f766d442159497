/*
 * facts.h - what a stored image's header says that can be put on record.
 */
#ifndef BIOMETRIC_IMAGE_FACTS_H
#define BIOMETRIC_IMAGE_FACTS_H

#include "postgres.h"

#include "core/envelope.h"

typedef struct ImageFacts
{
	EnvelopeHeader header;
	bool authentic;	  /* its key is at hand, and the header is what that key sealed */
	bool has_picture; /* it has a picture hash: */
	uint8 picture[ENVELOPE_PICTURE_HASH_SIZE]; /* blinded */
} ImageFacts;

/*
 * image_read_facts is image_read_header that also authenticates the header, if
 * its key is at hand; a header that does not authenticate is no error here. Errors: 22P03 for a
 * damaged value; keyring's.
 */
extern void image_read_facts(ImageKind kind, Datum value, ImageFacts *facts);

#endif
