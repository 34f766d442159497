/*
 * traced.h - from an image's digest and picture hash to the image, and from an
 * image to its disclosures.
 *
 * biometric.traced has a row for each block of ACTIVITY_BLOCK entries in which
 * images were stored or disclosed. It is a function of the block's entries alone,
 * written with the last of them, and verified against them:
 *
 *   stored:    TRACED_STORED_SIZE bytes for each entry of event stored or
 *              replaced that has a digest, ascending by number:
 *                 0   1  the entry's place in its block
 *                 1   1  1: it has a picture hash, 0: none
 *                 2   4  key id, big-endian
 *                 6  16  image id
 *                22  16  the first half of the digest
 *                38  32  picture hash, blinded; zeroes without one
 *   disclosed: TRACED_DISCLOSED_SIZE bytes for each entry of event disclosed or
 *              observed that has an image id, ascending by number:
 *                 0   1  the entry's place in its block
 *                 1   4  the last four bytes of the image id
 *
 * Entries behind the last full block have no row yet and are read one by one.
 */
#ifndef BIOMETRIC_LEDGER_TRACED_H
#define BIOMETRIC_LEDGER_TRACED_H

#include "postgres.h"

#include "ledger/activity.h"

#define TRACED_STORED_SIZE 70
#define TRACED_DISCLOSED_SIZE 5
#define TRACED_DIGEST_SIZE 16

/* One stored image. Borrowed bytes, valid during the call. */
typedef struct TracedImage
{
	int64 sequence; /* of the entry that it was stored by */
	uint32 key_id;
	const uint8 *image_id;	   /* ENTRY_IMAGE_ID_SIZE bytes */
	const uint8 *digest;	   /* the first TRACED_DIGEST_SIZE bytes of it */
	const uint8 *picture_hash; /* ENTRY_HASH_SIZE bytes, blinded; NULL: none */
} TracedImage;

/* Looks run in the memory context in which the scan was called. */
typedef void (*TracedImageLook)(const TracedImage *image, void *context);
typedef void (*TracedDisclosureLook)(const ActivityEntry *entry, void *context);

/*
 * traced_images shows every image of a log that was stored with a digest, also
 * those of segments that were detached. Interruptible. Error 42P01 when a table is gone.
 */
extern void traced_images(const LedgerLog *log, Snapshot snapshot, TracedImageLook look,
						  void *context);

/*
 * traced_disclosures shows every entry of event disclosed or observed of the
 * given images, ascending by number. image_ids: count times ENTRY_IMAGE_ID_SIZE bytes.
 * Returns how many more may be in segments that were detached. Interruptible.
 */
extern int64 traced_disclosures(const LedgerLog *log, Snapshot snapshot, const uint8 *image_ids,
								int count, TracedDisclosureLook look, void *context);

#endif
