/*
 * hold_find.h - which images a hold is about. For extension/retention only.
 */
#ifndef BIOMETRIC_RETENTION_HOLD_FIND_H
#define BIOMETRIC_RETENTION_HOLD_FIND_H

#include "base/compat.h"

#include "access/attnum.h"
#include "utils/array.h"
#include "utils/hsearch.h"

#include "core/envelope.h"

/* An image, and a key that a copy of it is sealed under. No padding: it is a hash key. */
typedef struct HoldImage
{
	uint8 image_id[ENVELOPE_ID_SIZE];
	uint32 key_id;
} HoldImage;

typedef struct HoldImages
{
	HTAB *table;	  /* of HoldImage */
	uint64 elsewhere; /* rows of foreign and temporary tables, which cannot be held */
	bool unlogged;	  /* some are in unlogged tables, which a crash empties */
} HoldImages;

/* hold_find_begin makes an empty set, in the current memory context. */
extern void hold_find_begin(HoldImages *images);

/*
 * hold_find_check checks that the images of a column may be looked
 * for by the current user. Errors: 42809 for what is no permanent
 * table or materialized view, or no column of an image type; 42703 without such a column; 42501
 * without SELECT on the relation.
 */
extern void hold_find_check(Oid relation, const char *column);

/* hold_find_lock locks a relation and its heirs in ACCESS SHARE mode, as the query will. */
extern void hold_find_lock(Oid relation);

/*
 * hold_find_rows adds the images of a column, in a table and its heirs, of the rows that a
 * predicate is
 * true for, as committed by now: it is run as the WHERE clause of a query, for the current user
 * with his rights, in a read-only transaction, and reads nothing of the images. predicate:
 * SQL; NULL or blank: all rows.
 * Errors: 42601 for what is no expression; 42501 without the right to read what it reads, and
 * where row-level security would hide rows of it; 25006 for what writes; those of the expression.
 */
extern void hold_find_rows(Oid relation, const char *column, const char *predicate,
						   HoldImages *images);

/*
 * hold_find_ids adds those of some images that any permanent table or materialized view has, with
 * the
 * keys of all their copies, by a scan of all headers. ids: uuid[].
 * Returns NULL, or an id that is nowhere. Errors: 22023 for no ids and for NULL among them.
 */
extern const uint8 *hold_find_ids(ArrayType *ids, HoldImages *images);

/* hold_find_arrays returns what was found as two arrays, uuid[] and bigint[], in step. */
extern void hold_find_arrays(const HoldImages *images, Datum *ids, Datum *keys);

#endif
