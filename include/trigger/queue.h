/*
 * queue.h - the changes of images that a transaction has made.
 *
 * They are kept in memory up to a bound and in a temporary file beyond it
 * (ids and row keys, never images), cut back when a subtransaction rolls
 * back, and appended to the ledger at pre-commit or pre-prepare: once a
 * transaction, ahead of its commit record in the WAL. A transaction that
 * created the extension writes them into the ledger's tables itself.
 */
#ifndef BIOMETRIC_TRIGGER_QUEUE_H
#define BIOMETRIC_TRIGGER_QUEUE_H

#include "postgres.h"

#include "core/entry.h"
#include "image/facts.h"

/* One change. Texts are copied. */
typedef struct QueuedChange
{
	EntryEvent event; /* stored, replaced, erased, purged, truncated, dropped */
	EntryOperation operation;
	ImageKind kind;		   /* IMAGE_KIND_NONE: absent */
	const uint8 *image_id; /* of the image that is there afterwards, or was erased; NULL: absent */
	const uint8 *old_image_id; /* of the one that was replaced; NULL: absent */
	Oid relation;			   /* its name is looked up while it exists */
	const char *column;		   /* NULL: absent */
	const char *row_key;	   /* JSON object; NULL: the table has no key */
	const char *detail;		   /* JSON object; NULL: absent */
	const char *collected;	   /* JSON object: see report/collection.h; NULL: absent */
	const uint8 *digest;	   /* ENTRY_DIGEST_SIZE bytes; NULL: absent, and the two below */
	uint32 key;				   /* that the digest belongs to */
	const uint8 *picture_hash; /* ENTRY_HASH_SIZE bytes, blinded; NULL: absent */
} QueuedChange;

/* queue_init registers the transaction callbacks; from trigger_init. */
extern void queue_init(void);

/*
 * queue_add queues a change. Errors: 53100 and the like from temporary
 * files; 55000 in a parallel worker, and once the transaction's changes have
 * been written to the ledger, just before it commits; 54000 for a text beyond 16 kB.
 */
extern void queue_add(const QueuedChange *change);

/*
 * queue_facts puts into a change what is put on record of the image that is there
 * afterwards. facts: borrowed, until the change is queued.
 */
extern void queue_facts(QueuedChange *change, const ImageFacts *facts);

/*
 * queue_relation_name returns a relation's name for the ledger, palloc'd: qualified, quoted
 * where it must be, on one line.
 */
extern char *queue_relation_name(Oid relation);

/* queue_empty tells whether the transaction has queued nothing so far. */
extern bool queue_empty(void);

#endif
