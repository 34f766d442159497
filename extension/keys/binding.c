/*
 * binding.c - biometric.key_binding and biometric.key_pin, read by the heap.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "keys/binding.h"
#include "keyring/pins.h"
#include "keys/keys.h"
#include "keys/parts.h"
#include "ledger/store.h"

/* Attribute numbers, as sql/31_keys.sql declares the columns. */
enum
{
	BINDING_COL_LOG_ID = 1,
	BINDING_COL_RELATION,
	BINDING_COL_ATTNUM,
	BINDING_COL_COLUMN,
	BINDING_COL_PERIOD,
	BINDING_COLUMNS = BINDING_COL_PERIOD
};
enum
{
	PIN_COL_LOG_ID = 1,
	PIN_COL_KEY_ID,
	PIN_COL_CHECK,
	PIN_COL_HOME,
	PIN_COL_PERIOD,
	PIN_COL_PINNED_AT,
	PIN_COL_STATE,
	PIN_COLUMNS = PIN_COL_STATE
};

static Relation
keys_open(const char *name, int columns, LOCKMODE mode)
{
	Oid oid = extension_relation(name);
	Relation table = OidIsValid(oid) ? try_table_open(oid, mode) : NULL;

	if (table != NULL && RelationGetDescr(table)->natts < columns)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"biometric.%s\" has not the columns that the extension gave it", name),
			 errhint("Undo what ALTER TABLE did.")));
	return table;
}

static Datum
value_of(HeapTuple tuple, Relation table, int column)
{
	bool isnull;

	return heap_getattr(tuple, column, RelationGetDescr(table), &isnull);
}

List *
binding_read_all(void)
{
	Relation table = keys_open("key_binding", BINDING_COLUMNS, AccessShareLock);
	List *all = NIL;
	Snapshot snapshot;
	List *own;
	List *restored;
	SysScanDesc scan;
	HeapTuple tuple;

	if (table == NULL)
		return NIL;
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	own = store_logs(snapshot);
	restored = store_restored_logs(snapshot);
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool is_own = false;
		int rank =
			store_rank(own, restored,
					   DatumGetUUIDP(value_of(tuple, table, BINDING_COL_LOG_ID))->data, &is_own);
		KeyBinding *binding;

		if (rank < 0)
			continue;
		binding = palloc0(sizeof(KeyBinding));
		binding->rank = rank;
		binding->relation = DatumGetObjectId(value_of(tuple, table, BINDING_COL_RELATION));
		if (is_own)
			binding->attribute = DatumGetInt16(value_of(tuple, table, BINDING_COL_ATTNUM));
		binding->column = *DatumGetName(value_of(tuple, table, BINDING_COL_COLUMN));
		binding->period = *DatumGetIntervalP(value_of(tuple, table, BINDING_COL_PERIOD));
		all = lappend(all, binding);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return all;
}

/* Whether a binding is for a column, by the name that it has now. */
static bool
binding_is_for(const KeyBinding *binding, const char *column)
{
	char *name;

	if (binding->attribute == InvalidAttrNumber)
		return strcmp(NameStr(binding->column), column) == 0;
	/* a dropped column keeps a name, but no type */
	if (!OidIsValid(get_atttype(binding->relation, binding->attribute)))
		return false;
	name = get_attname(binding->relation, binding->attribute, true);
	return name != NULL && strcmp(name, column) == 0;
}

const KeyBinding *
binding_find(const List *bindings, const List *lineage, const char *column)
{
	ListCell *ancestor;
	ListCell *cell;

	foreach(ancestor, lineage)
	{
		const KeyBinding *found = NULL;

		foreach(cell, bindings)
		{
			const KeyBinding *binding = lfirst(cell);

			if (OidIsValid(lfirst_oid(ancestor)) && binding->relation == lfirst_oid(ancestor) &&
				(found == NULL || binding->rank < found->rank) && binding_is_for(binding, column))
				found = binding;
		}
		if (found != NULL)
			return found;
	}
	return NULL;
}

/* Whether a row of biometric.key_pin is of a key that is bound to a home for a time. */
static bool
pin_is_bound_to(HeapTuple tuple, Relation table, const KeyScope *scope, int64 at_ms)
{
	TypeCacheEntry *type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	TimestampTz at =
		(at_ms - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000) * 1000;
	bool no_home;
	bool no_period;
	Datum home = heap_getattr(tuple, PIN_COL_HOME, RelationGetDescr(table), &no_home);
	Datum period = heap_getattr(tuple, PIN_COL_PERIOD, RelationGetDescr(table), &no_period);

	return !no_home && !no_period &&
		   memcmp(DatumGetUUIDP(home)->data, scope->home, ENVELOPE_HOME_SIZE) == 0 &&
		   range_contains_elem_internal(type, DatumGetRangeTypeP(period), TimestampTzGetDatum(at));
}

void
binding_look_at_pins(const KeyScope *scope, int64 at_ms, uint32 *highest, uint32 *shredded)
{
	Relation table = keys_open("key_pin", PIN_COLUMNS, AccessShareLock);
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;

	*highest = 0;
	*shredded = 0;
	if (table == NULL)
		return;
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		uint32 id = (uint32) DatumGetInt64(value_of(tuple, table, PIN_COL_KEY_ID));
		char *state = TextDatumGetCString(value_of(tuple, table, PIN_COL_STATE));

		*highest = Max(*highest, id);
		if (strcmp(state, "usable") != 0 && pin_is_bound_to(tuple, table, scope, at_ms))
			*shredded = id;
		pfree(state);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
}

/* ---- keys that are gone ---- */

/* Ids of rows that say so, ascending; of one publication. */
static uint32 *gone = NULL;
static int gone_count = 0;
static uint64 gone_as_of = 0;

static int
compare_ids(const void *a, const void *b)
{
	uint32 one = *(const uint32 *) a;
	uint32 other = *(const uint32 *) b;

	return one < other ? -1 : one > other;
}

static void
gone_read(void)
{
	uint64 as_of = pins_generation();
	Relation table = keys_open("key_pin", PIN_COLUMNS, AccessShareLock);
	int capacity = 64;
	uint32 *ids;
	int count = 0;
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;

	if (table == NULL)
		return;
	ids = palloc(capacity * sizeof(uint32));
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		char *state = TextDatumGetCString(value_of(tuple, table, PIN_COL_STATE));

		if (count == capacity)
			ids = repalloc(ids, (capacity *= 2) * sizeof(uint32));
		if (strcmp(state, "usable") != 0)
			ids[count++] = (uint32) DatumGetInt64(value_of(tuple, table, PIN_COL_KEY_ID));
		pfree(state);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	qsort(ids, count, sizeof(uint32), compare_ids);
	free(gone);
	gone_count = 0;
	gone = malloc(Max(count, 1) * sizeof(uint32));
	if (gone == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	memcpy(gone, ids, count * sizeof(uint32));
	gone_count = count;
	gone_as_of = as_of;
	pfree(ids);
}

bool
keys_is_shredded(uint32 id)
{
	KeyPin pin;

	if (pins_find(id, &pin))
		return pin.state != PIN_USABLE;
	if (gone_as_of == 0 || gone_as_of != pins_generation())
		gone_read();
	return gone_count > 0 && bsearch(&id, gone, gone_count, sizeof(uint32), compare_ids) != NULL;
}

/* ---- on a standby ---- */

/* A row of biometric.key_pin. */
typedef struct PinFound
{
	KeyPin pin; /* its state as the row itself says */
	int rank;	/* of its log; -1: it tells of shredded keys alone */
} PinFound;

static PinState
pin_state(const char *state)
{
	if (strcmp(state, "usable") == 0)
		return PIN_USABLE;
	return strcmp(state, "shredding") == 0 ? PIN_SHREDDING : PIN_SHREDDED;
}

static int64
range_end_ms(const RangeBound *end)
{
	return DatumGetTimestampTz(end->val) / 1000 +
		   (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
}

static void
pin_read_scope(HeapTuple tuple, Relation table, KeyScope *scope)
{
	TypeCacheEntry *type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	RangeBound from;
	RangeBound until;
	bool empty;
	bool no_home;
	Datum home = heap_getattr(tuple, PIN_COL_HOME, RelationGetDescr(table), &no_home);

	if (no_home)
		return;
	range_deserialize(type, DatumGetRangeTypeP(value_of(tuple, table, PIN_COL_PERIOD)), &from,
					  &until, &empty);
	scope->bound = true;
	memcpy(scope->home, DatumGetUUIDP(home)->data, ENVELOPE_HOME_SIZE);
	scope->from_ms = range_end_ms(&from);
	scope->until_ms = range_end_ms(&until);
}

static PinFound *
pin_found(HeapTuple tuple, Relation table, const List *own)
{
	PinFound *found = palloc0(sizeof(PinFound));
	bytea *check = DatumGetByteaPP(value_of(tuple, table, PIN_COL_CHECK));
	bool is_own = false;

	if (VARSIZE_ANY_EXHDR(check) != SEAL_CHECK_SIZE)
		return NULL;
	memcpy(found->pin.check, VARDATA_ANY(check), SEAL_CHECK_SIZE);
	found->pin.id = (uint32) DatumGetInt64(value_of(tuple, table, PIN_COL_KEY_ID));
	found->pin.state = pin_state(TextDatumGetCString(value_of(tuple, table, PIN_COL_STATE)));
	found->rank =
		store_rank(own, NIL, DatumGetUUIDP(value_of(tuple, table, PIN_COL_LOG_ID))->data, &is_own);
	pin_read_scope(tuple, table, &found->pin.scope);
	return found;
}

/* Ascending by id, of one id the newest log's first; those of other logs last. */
static int
compare_found(const ListCell *a, const ListCell *b)
{
	const PinFound *left = lfirst(a);
	const PinFound *right = lfirst(b);

	if ((left->rank < 0) != (right->rank < 0))
		return left->rank < 0 ? 1 : -1;
	if (left->pin.id != right->pin.id)
		return left->pin.id < right->pin.id ? -1 : 1;
	return (left->rank > right->rank) - (left->rank < right->rank);
}

/* What any row says of a key by its check value counts. */
static bool
is_gone(const List *rows, const KeyPin *pin)
{
	ListCell *cell;

	foreach(cell, rows)
	{
		const KeyPin *row = &((const PinFound *) lfirst(cell))->pin;

		if (row->state != PIN_USABLE && memcmp(row->check, pin->check, SEAL_CHECK_SIZE) == 0)
			return true;
	}
	return false;
}

static int
choose_pins(List *rows, KeyPin *pins)
{
	int count = 0;
	ListCell *cell;

	list_sort(rows, compare_found);
	foreach(cell, rows)
	{
		const PinFound *row = lfirst(cell);

		if (row->rank < 0 || (count > 0 && pins[count - 1].id == row->pin.id))
			continue;
		pins[count] = row->pin;
		if (pins[count].state == PIN_USABLE && is_gone(rows, &pins[count]))
			pins[count].state = PIN_SHREDDED;
		count++;
	}
	return count;
}

int
binding_read_pins(KeyPin **pins)
{
	Relation table = keys_open("key_pin", PIN_COLUMNS, AccessShareLock);
	List *own;
	List *rows = NIL;
	SysScanDesc scan;
	HeapTuple tuple;

	if (table == NULL)
		return -1;
	/* no snapshot: the present one, for which no parallel process must ask otherwise */
	own = store_logs(NULL);
	scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		PinFound *found = pin_found(tuple, table, own);

		if (found != NULL)
			rows = lappend(rows, found);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	*pins = palloc0((list_length(rows) + 1) * sizeof(KeyPin));
	return choose_pins(rows, *pins);
}

void
keys_check_drop_database(Oid database)
{
	uint32 id = pins_shredding(database, keys_keyring_is_shared());

	if (id == 0)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_IN_USE),
		 errmsg("database \"%s\" cannot be dropped: key %u is shredded, but still in the keyring",
				get_database_name(database), id),
		 errdetail("Nobody would take it out when the database has gone."),
		 errhint("Column problem of view biometric.key, in that database, says what stands in "
				 "the way; or take the key out of the keyring by hand, and try again.")));
}

/* Refuses to forget a key that is to go, unless it is another database's as well. */
static void
refuse_forgetting(HeapTuple tuple, Relation table)
{
	bytea *check = DatumGetByteaPP(value_of(tuple, table, PIN_COL_CHECK));
	uint32 id = (uint32) DatumGetInt64(value_of(tuple, table, PIN_COL_KEY_ID));

	if (VARSIZE_ANY_EXHDR(check) == SEAL_CHECK_SIZE && keys_keyring_is_shared() &&
		pins_elsewhere((uint8 *) VARDATA_ANY(check), NULL, 0) > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("extension biometric_audit cannot be dropped: key %u is shredded, but still in "
					"the keyring",
					id),
			 errdetail("Nobody would take it out when the extension has gone."),
			 errhint("Column problem of view biometric.key says what stands in the way; or take "
					 "the key out of the keyring by hand, and try again.")));
}

void
keys_check_drop(void)
{
	Relation table = keys_open("key_pin", PIN_COLUMNS, AccessShareLock);
	Snapshot snapshot;
	List *own;
	SysScanDesc scan;
	HeapTuple tuple;

	if (table == NULL)
		return;
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	own = store_logs(snapshot);
	/* the index may be gone already */
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool is_own = false;
		const char *state = TextDatumGetCString(value_of(tuple, table, PIN_COL_STATE));

		(void) store_rank(own, NIL, DatumGetUUIDP(value_of(tuple, table, PIN_COL_LOG_ID))->data,
						  &is_own);
		if (is_own && strcmp(state, "shredding") == 0)
			refuse_forgetting(tuple, table);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
}

/* ---- keeping up ---- */

/* Brings one row in line with the catalogs; tells whether it was changed. */
static bool
binding_sync_row(Relation table, HeapTuple tuple, const List *own, Snapshot snapshot)
{
	Oid relation = DatumGetObjectId(value_of(tuple, table, BINDING_COL_RELATION));
	AttrNumber attribute = DatumGetInt16(value_of(tuple, table, BINDING_COL_ATTNUM));
	Name name = DatumGetName(value_of(tuple, table, BINDING_COL_COLUMN));
	bool is_own = false;
	char *present = NULL;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
		return store_follow_delete(table, tuple, snapshot);
	/* columns of restored rows had other numbers where they come from */
	if (store_rank(own, NIL, DatumGetUUIDP(value_of(tuple, table, BINDING_COL_LOG_ID))->data,
				   &is_own) < 0)
		return false;
	if (OidIsValid(get_atttype(relation, attribute)))
		present = get_attname(relation, attribute, true);
	if (present == NULL)
		return store_follow_delete(table, tuple, snapshot);
	return strcmp(present, NameStr(*name)) != 0 &&
		   store_follow_rename(table, tuple, BINDING_COL_COLUMN, present, snapshot);
}

void
keys_sync(void)
{
	Relation table = keys_open("key_binding", BINDING_COLUMNS, RowExclusiveLock);

	if (table == NULL)
		return;
	store_follow(table, binding_sync_row);
	table_close(table, NoLock);
}
