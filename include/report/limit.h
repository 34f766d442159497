/*
 * limit.h - what a column's images were declared to be collected for, and the limits
 * that were declared with it.
 *
 * biometric.collection_limit has a row a column that collect() declared. It counts for the
 * column of the same name of partitions and heirs, too, and a declaration of their own does not
 * loosen it: an image must keep within every declaration that its column is under. Rows of this
 * database's own logs count by (relation, attribute number), restored ones by (relation, column
 * name), and only if fork_ledger() has adopted their log; as biometric.collection.
 *
 * biometric.collection_count has a row a declaration, day (UTC) and subject: how many images were
 * enrolled. It is written in the transaction that enrols, so that it is exact: who
 * enrols the same subject meanwhile waits for the end of that transaction.
 */
#ifndef BIOMETRIC_REPORT_LIMIT_H
#define BIOMETRIC_REPORT_LIMIT_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/pg_list.h"

#include "core/envelope.h"
#include "policy/change.h"
#include "report/collection.h"

/* One declaration. */
typedef struct CollectionLimit
{
	uint8 log_id[16];
	Oid relation;		  /* that collect() named */
	AttrNumber attribute; /* in it */
	NameData column;
	int32 max_width;   /* pixels; 0: any */
	int32 max_height;  /* pixels; 0: any */
	uint32 formats;	   /* bit 1 << ImageFormat; 0: any */
	int32 max_per_day; /* images of a subject a day; 0: any */
	char *purpose;	   /* NULL: none was declared */
	char *legal_basis; /* likewise */
} CollectionLimit;

/* limit_table returns the OID of biometric.collection_limit, InvalidOid when it is not there. */
extern Oid limit_table(void);

/*
 * limit_find lists the declarations (CollectionLimit *) that a column is under, its own first,
 * then its ancestors', nearest first. lineage: as relation_lineage(). Needs a transaction. Result:
 * in the current memory context.
 */
extern List *limit_find(const List *lineage, const char *column);

/*
 * limit_per_day_of tells whether images of a relation itself, of any column, are counted by
 * subject.
 */
extern bool limit_per_day_of(Oid relation);

/* limit_empty tells whether a declaration says nothing. */
extern bool limit_empty(const CollectionLimit *limit);

/*
 * limit_relaxes tells whether replacing a declaration by another (which may be empty) allows
 * anything more, or changes what was said of purpose or legal basis.
 */
extern bool limit_relaxes(const CollectionLimit *from, const CollectionLimit *to);

/*
 * limit_declared finds what collect() declared for a column of a relation itself; false: nothing.
 * limit_declare replaces it, or removes it if the new one is empty, and queues the entry,
 * policy_changed; false when there was, and is, none. Between change_begin_policy and change_end.
 */
extern bool limit_declared(Oid relation, AttrNumber attribute, CollectionLimit *limit);
extern bool limit_declare(const PolicyChange *change, const CollectionLimit *limit);

/*
 * limit_sync brings biometric.collection_limit in line with the catalogs: rows of
 * columns that are gone are deleted, and their end put on record; names are renewed.
 */
extern void limit_sync(void);

/* limit_formats_array returns formats as a text[], in the order of their codes. */
extern Datum limit_formats_array(uint32 formats);

/* ---- enrolments */

/*
 * limit_allows tells whether an image of these dimensions and this format keeps within a
 * declaration.
 */
extern bool limit_allows(const CollectionLimit *limit, const EnvelopeHeader *header);

/* limit_check raises 23514 for an image that does not. relation: that it is stored in. */
extern void limit_check(const CollectionLimit *limit, Oid relation, const EnvelopeHeader *header);

/*
 * limit_count counts an image of a subject under a declaration with max_per_day. subject: what
 * tells it from others, any text. Waits for transactions that enrol the same subject. Errors: 23514
 * when there are as many already; 40001 in a transaction of a higher isolation level than READ
 * COMMITTED when another one has enrolled the subject meanwhile.
 */
extern void limit_count(const CollectionLimit *limit, Oid relation, const char *subject);

#endif
