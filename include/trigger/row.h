/*
 * row.h - what the row triggers share. For extension/trigger only.
 */
#ifndef BIOMETRIC_TRIGGER_ROW_H
#define BIOMETRIC_TRIGGER_ROW_H

#include "postgres.h"

#include "fmgr.h"

#include "image/facts.h"
#include "trigger/table.h"

/* row_value gets the image of a column; false when row is NULL, or there is none. */
extern bool row_value(HeapTuple row, Relation relation, const TriggerColumn *column, Datum *value);

/*
 * row_counts_from gets what the retention of a column's image counts from, by its row; false when
 * the column's rule has no time column, or row is NULL.
 */
extern bool row_counts_from(HeapTuple row, Relation relation, const TriggerColumn *column,
							int64 *counts_from);

/*
 * row_counts_from_sealing tells whether an image is to count from its sealing again: a column whose
 * rule has no time column gets it from another, by whose rows it would count from later. header: as
 * it comes.
 */
extern bool row_counts_from_sealing(const TriggerColumn *column, const EnvelopeHeader *header);

/* row_value_same tells whether two Datums are the same bytes: the same TOAST pointer, or value. */
extern bool row_value_same(Datum one, Datum other);

/*
 * kept_change refuses a change that would lose a held image, and writes down a key that it is
 * sealed under anew. before: the header of the image that was there, old. facts, new: of what is there
 * now; facts NULL: nothing. Errors: 55006.
 */
extern void kept_change(Relation relation, const EnvelopeHeader *before, Datum old,
						const ImageFacts *facts, Datum new);

/*
 * row_value_is_image tells whether two values are one image: the same body, and the same first bytes of
 * the header. header: how many of these count, ENVELOPE_FLAGS_OFFSET at most, for what is behind it
 * is authenticated by nothing; ENVELOPE_AAD_SIZE: one sealing, wherever it is bound to.
 */
extern bool row_value_is_image(Datum one, Datum other, Size header);

/* row_trigger_check raises 39P01 unless a function was called as the trigger that it is for. */
extern void row_trigger_check(FunctionCallInfo fcinfo, const char *name, bool as_attached);

#endif
