/*
 * hold.c - whether an image is held, and the refusal to lose it.
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "image/bind.h"
#include "policy/change.h"
#include "retention/hold.h"

/* Attribute numbers, as sql/34_hold.sql declares the columns. */
enum
{
	HELD_COL_LOG_ID = 1,
	HELD_COL_HOLD_ID,
	HELD_COL_IMAGE_ID,
	HELD_COL_KEY_ID,
	HELD_COLUMNS = HELD_COL_KEY_ID
};

/* Opens the table in the mode that holds being placed wait for; NULL when it is not there. */
static Relation
held_open(void)
{
	Oid oid = extension_relation("held");
	Relation table = OidIsValid(oid) ? try_table_open(oid, RowExclusiveLock) : NULL;

	if (table != NULL && RelationGetDescr(table)->natts < HELD_COLUMNS)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"biometric.held\" has not the columns that the extension "
							   "gave it"),
						errhint("Undo what ALTER TABLE did.")));
	return table;
}

bool
hold_any(void)
{
	Relation table = held_open();
	bool any = table != NULL && RelationGetNumberOfBlocks(table) > 0;

	if (table != NULL)
		table_close(table, NoLock);
	return any;
}

bool
hold_keeps(Relation relation)
{
	return relation->rd_rel->relpersistence != RELPERSISTENCE_TEMP && hold_any();
}

/* The first hold with a certain value in a column; index: by name. */
static int64
held_look_up(const char *index, ScanKey key, int keys)
{
	Relation table = held_open();
	int64 hold = 0;
	bool isnull;
	Oid index_oid;
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;

	if (table == NULL)
		return 0;
	index_oid = index == NULL ? InvalidOid : get_relname_relid(index, RelationGetNamespace(table));
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	scan = systable_beginscan(table, index_oid, OidIsValid(index_oid), snapshot, keys, key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		hold =
			DatumGetInt64(heap_getattr(tuple, HELD_COL_HOLD_ID, RelationGetDescr(table), &isnull));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, NoLock);
	return hold;
}

int64
hold_of(const uint8 image_id[ENVELOPE_ID_SIZE])
{
	ScanKeyData key;

	if (!hold_any())
		return 0;
	ScanKeyInit(&key, HELD_COL_IMAGE_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum((pg_uuid_t *) image_id));
	return held_look_up("held_image_id_idx", &key, 1);
}

int64
hold_of_value(ImageKind kind, Datum image)
{
	EnvelopeHeader header;

	image_read_header(kind, image, &header);
	return hold_of(header.image_id);
}

int64
hold_of_key(uint32 key_id)
{
	ScanKeyData key;

	if (!hold_any())
		return 0;
	ScanKeyInit(&key, HELD_COL_KEY_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key_id));
	return held_look_up("held_key_id_idx", &key, 1);
}

int64
hold_first(void)
{
	return held_look_up(NULL, NULL, 0);
}

void
hold_refuse(int64 hold, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
					errmsg("cannot %s an image that is under legal hold", what),
					errdetail("Hold %lld keeps it, with its copies, until it is released.",
							  (long long) hold),
					errhint("View biometric.hold_state says why it is held; a custodian releases "
							"it with biometric.release_hold(%lld, reason).",
							(long long) hold)));
}

/* A relation and its ancestors, as oid[]. */
static Datum
lineage_array(Oid relation)
{
	List *lineage = relation_lineage(relation);
	Datum *oids = palloc_array(Datum, list_length(lineage));
	int count = 0;
	ListCell *cell;

	foreach(cell, lineage)
		if (OidIsValid(lfirst_oid(cell)))
			oids[count++] = ObjectIdGetDatum(lfirst_oid(cell));
	return PointerGetDatum(construct_array(oids, count, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

void
hold_resealed(Oid relation, const uint8 image_id[ENVELOPE_ID_SIZE], uint32 old_key, uint32 new_key)
{
	PolicyChange change;
	ChangeArguments arguments = {0};

	if (old_key == new_key || hold_of(image_id) == 0)
		return;
	change_begin_checked(&change);
	change_add(&arguments, UUIDOID, UUIDPGetDatum((pg_uuid_t *) image_id), false);
	change_add(&arguments, INT8OID, Int64GetDatum(old_key), false);
	change_add(&arguments, INT8OID, Int64GetDatum(new_key), false);
	change_add(&arguments, OIDARRAYOID, lineage_array(relation), false);
	/*
	 * Of a hold that found its images elsewhere, or anywhere, the old key is that of another copy,
	 * perhaps. The new row may be there already, likewise. The hold may be younger than the
	 * transaction's snapshot.
	 */
	change_execute_latest(
		"WITH old AS (SELECT log_id, hold_id, image_id FROM ONLY biometric.held "
		"WHERE image_id = $1 AND key_id = $2), "
		"gone AS (DELETE FROM ONLY biometric.held AS d USING ONLY biometric.hold AS h "
		"WHERE d.image_id = $1 AND d.key_id = $2 AND h.log_id = d.log_id "
		"AND h.hold_id = d.hold_id AND h.relation::oid = ANY ($4)) "
		"INSERT INTO biometric.held (log_id, hold_id, image_id, key_id) "
		"SELECT log_id, hold_id, image_id, $3 FROM old ON CONFLICT DO NOTHING",
		&arguments);
	change_end(&change);
}
