/*
 * row.h - what the row triggers share. For extension/trigger only.
 */
#ifndef BIOMETRIC_TRIGGER_ROW_H
#define BIOMETRIC_TRIGGER_ROW_H

#include "postgres.h"

#include "fmgr.h"

#include "trigger/table.h"

/* row_value gets the image of a column; false when row is NULL, or there is none. */
extern bool row_value(HeapTuple row, Relation relation, const TriggerColumn *column, Datum *value);

/* row_value_same tells whether two Datums are the same bytes: the same TOAST pointer, or value. */
extern bool row_value_same(Datum one, Datum other);

/* row_trigger_check raises 39P01 unless a function was called as the trigger that it is for. */
extern void row_trigger_check(FunctionCallInfo fcinfo, const char *name, bool as_attached);

#endif
