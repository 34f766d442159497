/*
 * image_index.h - from an image to the entries of its changes.
 *
 * Private to the ledger. biometric.image_entry has a row for each image that
 * an entry of event stored, replaced (both images), erased or purged names. It is
 * derived from the entries and no part of the tree: what it leads to must be
 * decoded and looked at.
 */
#ifndef BIOMETRIC_LEDGER_IMAGE_INDEX_H
#define BIOMETRIC_LEDGER_IMAGE_INDEX_H

#include "core/entry.h"
#include "ledger/store.h"

/*
 * image_index_images lists the images that an entry's rows lead from, as they
 * are in fields; returns how many there are, at most IMAGES_OF_ENTRY.
 */
#define IMAGES_OF_ENTRY 2
extern int image_index_images(const EntryFields *fields, const uint8 *images[IMAGES_OF_ENTRY]);

/*
 * image_index_add writes the rows of count entries, numbered from sequence
 * on. Needs a transaction that writes. Errors: 42P01 when the table is gone.
 */
extern void image_index_add(const uint8 *log_id, int64 sequence, const StoreEntry *entries,
							int count);

/* The table, open for one look-up after another. */
typedef struct ImageIndexScan
{
	Relation table;
	Relation key;
	struct SysScanDescData *scan;
} ImageIndexScan;

/*
 * image_index_begin begins to list the entries of an image that come before a
 * sequence number, last first; false, with nothing open, when the table is not
 * there. image_index_next returns the next one's number, -1 at the end.
 */
extern bool image_index_begin(ImageIndexScan *scan, const LedgerReader *reader,
							  const uint8 *image_id, int64 before);
extern int64 image_index_next(ImageIndexScan *scan);
extern void image_index_end(ImageIndexScan *scan);

#endif
