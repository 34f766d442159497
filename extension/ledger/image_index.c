/*
 * image_index.c - biometric.image_entry: rows in, sequence numbers out.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "ledger/image_index.h"

/* The rows that are being collected, at most IMAGES_OF_ENTRY of an entry. */
typedef struct ImageRows
{
	const uint8 *log_id;
	Datum *values;
	int count;
} ImageRows;

int
image_index_images(const EntryFields *fields, const uint8 *images[IMAGES_OF_ENTRY])
{
	int count = 0;

	if (fields->event != ENTRY_STORED && fields->event != ENTRY_REPLACED &&
		fields->event != ENTRY_ERASED && fields->event != ENTRY_PURGED)
		return 0;
	if (fields->image_id != NULL)
		images[count++] = fields->image_id;
	if (fields->old_image_id != NULL &&
		(count == 0 || memcmp(fields->old_image_id, images[0], ENTRY_IMAGE_ID_SIZE) != 0))
		images[count++] = fields->old_image_id;
	return count;
}

static void
add_row(ImageRows *rows, const uint8 *image_id, int64 sequence)
{
	Datum *row = rows->values + (Size) rows->count * IMAGE_COLUMNS;

	row[IMAGE_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) rows->log_id);
	row[IMAGE_COL_IMAGE_ID - 1] = UUIDPGetDatum((pg_uuid_t *) image_id);
	row[IMAGE_COL_SEQ - 1] = Int64GetDatum(sequence);
	rows->count++;
}

static void
add_rows_of(ImageRows *rows, const bytea *bytes, int64 sequence)
{
	const uint8 *images[IMAGES_OF_ENTRY];
	EntryFields fields;
	int count;

	if (entry_decode((const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &fields) !=
		CORE_OK)
		return;
	count = image_index_images(&fields, images);
	for (int i = 0; i < count; i++)
		add_row(rows, images[i], sequence);
}

void
image_index_add(const uint8 *log_id, int64 sequence, const StoreEntry *entries, int count)
{
	ImageRows rows = {.log_id = log_id};
	Relation table;

	rows.values = palloc((Size) Max(count, 1) * IMAGES_OF_ENTRY * IMAGE_COLUMNS * sizeof(Datum));
	for (int i = 0; i < count; i++)
		add_rows_of(&rows, entries[i].bytes, sequence + i);
	if (rows.count > 0)
	{
		table = store_open("image_entry", RowExclusiveLock);
		if (table == NULL)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
		store_insert_rows(table, rows.values, IMAGE_COLUMNS, rows.count);
		table_close(table, NoLock);
	}
	pfree(rows.values);
}

bool
image_index_begin(ImageIndexScan *scan, const LedgerReader *reader, const uint8 *image_id,
				  int64 before)
{
	ScanKeyData keys[3];

	scan->table = store_open("image_entry", AccessShareLock);
	if (scan->table == NULL)
		return false;
	scan->key = store_open_key(scan->table);
	ScanKeyInit(&keys[0], IMAGE_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum((pg_uuid_t *) reader->log_id));
	ScanKeyInit(&keys[1], IMAGE_COL_IMAGE_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum((pg_uuid_t *) image_id));
	ScanKeyInit(&keys[2], IMAGE_COL_SEQ, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(before));
	scan->scan = systable_beginscan_ordered(scan->table, scan->key, reader->snapshot, 3, keys);
	return true;
}

int64
image_index_next(ImageIndexScan *scan)
{
	HeapTuple tuple = systable_getnext_ordered(scan->scan, BackwardScanDirection);
	Datum value;
	bool isnull;

	if (!HeapTupleIsValid(tuple))
		return -1;
	value = heap_getattr(tuple, IMAGE_COL_SEQ, RelationGetDescr(scan->table), &isnull);
	return isnull ? -1 : DatumGetInt64(value);
}

void
image_index_end(ImageIndexScan *scan)
{
	systable_endscan_ordered(scan->scan);
	index_close(scan->key, AccessShareLock);
	table_close(scan->table, AccessShareLock);
}
