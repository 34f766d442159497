/*
 * bind.c - BEFORE ROW: binds the images of a row to the columns they go into.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "home/home.h"
#include "home/named.h"
#include "image/bind.h"
#include "image/reseal.h"
#include "keyring/keyring.h"
#include "keys/keys.h"
#include "retention/retention.h"
#include "trigger/limits.h"
#include "trigger/row.h"
#include "trigger/table.h"
#include "trigger/trigger.h"

PG_FUNCTION_INFO_V1(biometric_bind_trigger);

bool
row_value(HeapTuple row, Relation relation, const TriggerColumn *column, Datum *value)
{
	bool isnull = true;

	if (row != NULL)
		*value = heap_getattr(row, column->attribute, RelationGetDescr(relation), &isnull);
	return !isnull;
}

bool
row_counts_from(HeapTuple row, Relation relation, const TriggerColumn *column, int64 *counts_from)
{
	bool isnull;
	Datum value;

	if (row == NULL || column->time == InvalidAttrNumber)
		return false;
	value = heap_getattr(row, column->time, RelationGetDescr(relation), &isnull);
	*counts_from = retention_counts_from_value(value, isnull, column->time_type);
	return true;
}

bool
row_value_same(Datum one, Datum other)
{
	const void *a = DatumGetPointer(one);
	const void *b = DatumGetPointer(other);

	return a == b || (VARSIZE_ANY(a) == VARSIZE_ANY(b) && memcmp(a, b, VARSIZE_ANY(a)) == 0);
}

bool
row_value_is_image(Datum one, Datum other, Size header)
{
	struct varlena *a = PG_DETOAST_DATUM_PACKED(one);
	struct varlena *b = PG_DETOAST_DATUM_PACKED(other);
	const char *a_bytes = VARDATA_ANY(a);
	const char *b_bytes = VARDATA_ANY(b);
	Size length = VARSIZE_ANY_EXHDR(a);
	bool same = length == VARSIZE_ANY_EXHDR(b) && length >= ENVELOPE_HEADER_SIZE &&
				memcmp(a_bytes, b_bytes, header) == 0 &&
				memcmp(a_bytes + ENVELOPE_HEADER_SIZE, b_bytes + ENVELOPE_HEADER_SIZE,
					   length - ENVELOPE_HEADER_SIZE) == 0;

	if ((Pointer) a != DatumGetPointer(one))
		pfree(a);
	if ((Pointer) b != DatumGetPointer(other))
		pfree(b);
	return same;
}

void
row_trigger_check(FunctionCallInfo fcinfo, const char *name, bool as_attached)
{
	if (CALLED_AS_TRIGGER(fcinfo) && as_attached)
		return;
	ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
					errmsg("biometric.%s() was not called as the trigger that it is for", name),
					errdetail("It works at certain events and times only."),
					errhint("The extension attaches it to tables with images by itself.")));
}

Datum
trigger_seal_value(const uint8 *home, ImageKind kind, const EnvelopeHeader *header,
				   uint64 counts_from_ms, Datum value)
{
	uint64 at = counts_from_ms != 0 ? counts_from_ms : envelope_sealed_at_ms(header);
	uint32 key_id = keys_for_home(home, (int64) at);

	/* what cannot be opened keeps the key that it has, as it keeps the home */
	if (key_id == 0 || key_id == header->key_id || keyring_find(header->key_id) == NULL)
		return value;
	return image_reseal(kind, value, key_id);
}

/*
 * A value that was sealed a while ago, as a constant of a prepared statement is, and whose key was
 * shredded since: whoever stores it for the first time believes that he keeps an image.
 */
static void
refuse_lost(ImageKind kind, const EnvelopeHeader *header)
{
	static const uint8 none[ENVELOPE_HOME_SIZE];

	if (memcmp(header->home, none, sizeof(none)) != 0 || !keys_is_shredded(header->key_id))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a %s image cannot be stored: it is sealed under key %u, which was shredded",
					image_kind_name(kind), header->key_id),
			 errdetail("It was sealed before that, and nothing can open it any more."),
			 errhint("Send the image again; prepare statements that have it as a constant anew.")));
}

Datum
trigger_bind_value(const uint8 *home, ImageKind kind, Datum value, const int64 *counts_from)
{
	ImageBinding binding = {.home = home};
	EnvelopeHeader header;

	image_read_header(kind, value, &header);
	if ((header.flags & ENVELOPE_FLAG_IMPORTED) != 0)
	{
		/* whoever moves it on, a superuser with all rights perhaps, does not vouch for it */
		if ((header.flags & ENVELOPE_FLAG_UNCLAIMED) != 0)
			return value;
		if (!home_may_import(header.home))
			return image_mark_unclaimed(value);
		binding.clear_imported = true;
	}
	else
		refuse_lost(kind, &header);
	binding.origin = home_origin(home, &header);
	if (counts_from != NULL)
	{
		binding.stamp = true;
		binding.counts_from_ms = (uint64) retention_stamp(&header, home, *counts_from);
	}
	return trigger_seal_value(home, kind, &header,
							  binding.stamp ? binding.counts_from_ms : header.counts_from_ms,
							  image_bind(kind, value, &binding));
}

/*
 * What an image is to count from: by its row (timed), else, as NULL, what it has counted from so
 * far, unless it comes from where that is later than its column allows.
 */
static const int64 *
counts_from_of(const TriggerColumn *column, Datum value, bool timed, int64 *from)
{
	EnvelopeHeader header;

	if (timed)
		return from;
	if (!column->from_sealing)
		return NULL;
	image_read_header(column->kind, value, &header);
	*from = 0;
	return row_counts_from_sealing(column, &header) ? from : NULL;
}

/* The row with its images bound; the very row when nothing needs to change. */
static HeapTuple
bind_row(const TriggerTable *table, Relation relation, HeapTuple old, HeapTuple row)
{
	int *changed = palloc(table->columns * sizeof(int));
	Datum *values = palloc(table->columns * sizeof(Datum));
	bool *nulls = palloc0(table->columns * sizeof(bool));
	int count = 0;

	for (int i = 0; i < table->columns; i++)
	{
		const TriggerColumn *column = &table->column[i];
		Datum value;
		Datum before;
		Datum bound;
		int64 from;
		int64 from_before;
		bool timed;
		bool had;
		bool same;

		if (!row_value(row, relation, column, &value))
			continue;
		timed = row_counts_from(row, relation, column, &from);
		had = row_value(old, relation, column, &before);
		same = had && row_value_same(before, value);
		if (same && (!timed ||
					 (row_counts_from(old, relation, column, &from_before) && from == from_before)))
			continue;
		bound = trigger_bind_value(column->home, column->kind, value,
								   counts_from_of(column, value, timed, &from));
		if (column->limits != NULL)
			limits_arriving(relation, column, old != NULL, had ? &before : NULL, value, bound);
		if (bound == value)
			continue;
		changed[count] = column->attribute;
		values[count++] = bound;
	}
	if (count == 0)
		return row;
	return heap_modify_tuple_by_cols(row, RelationGetDescr(relation), count, changed, values,
									 nulls);
}

PGDLLEXPORT Datum
biometric_bind_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool update;
	const TriggerTable *table;
	HeapTuple row;

	row_trigger_check(fcinfo, "bind_trigger",
					  CALLED_AS_TRIGGER(fcinfo) && TRIGGER_FIRED_BEFORE(trigger->tg_event) &&
						  TRIGGER_FIRED_FOR_ROW(trigger->tg_event) &&
						  !TRIGGER_FIRED_BY_DELETE(trigger->tg_event));
	update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	row = update ? trigger->tg_newtuple : trigger->tg_trigtuple;
	table = trigger_table(trigger->tg_relation);
	if (table->columns > 0)
		row = bind_row(table, trigger->tg_relation, update ? trigger->tg_trigtuple : NULL, row);
	PG_RETURN_POINTER(row);
}
