/*
 * home.c - the homes of image columns: looked up, made, kept up, judged.
 *
 * Rows are written by the heap and its indexes directly, so that whoever
 * stores an image needs no right on the table, and no trigger or rule of
 * somebody else runs. Each write sends a relcache invalidation of the table,
 * which empties the caches of all backends.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "base/relcache.h"
#include "base/roles.h"
#include "core/seal.h"
#include "home/home.h"
#include "home/relations.h"
#include "ledger/store.h"

/* Attribute numbers, as sql/35_home.sql declares the columns. */
enum
{
	HOME_COL_LOG_ID = 1,
	HOME_COL_HOME,
	HOME_COL_RELATION,
	HOME_COL_ATTNUM,
	HOME_COL_NAME,
	HOME_COLUMNS = HOME_COL_NAME
};

/* Beyond this many answers the cache is begun anew. */
#define HOME_CACHE_LIMIT 16384

/* A log whose homes count here. */
typedef struct HomeLog
{
	pg_uuid_t id;
	bool own; /* of this database; otherwise adopted */
	int32 ordinal;
} HomeLog;

/* What home_find knows of an id. */
typedef struct FoundHome
{
	pg_uuid_t home; /* hash key */
	bool known;
	Oid relation;
	AttrNumber attribute; /* of an own log */
	NameData column;	  /* of an adopted log; empty: by attribute */
} FoundHome;

typedef struct ColumnKey
{
	Oid relation;
	int32 attribute; /* as wide as this, so that the key has no padding */
} ColumnKey;

typedef struct ColumnHome
{
	ColumnKey column; /* hash key */
	pg_uuid_t home;
} ColumnHome;

static MemoryContext cache_context = NULL;
static HTAB *found_homes = NULL;
static HTAB *column_homes = NULL;
static bool cache_stale = false;

/* The tables that the caches were filled from. */
static Oid home_table = InvalidOid;
static Oid log_table = InvalidOid;

static void
home_relation_changed(Datum arg, Oid relation)
{
	if (!OidIsValid(relation) || relation == home_table || relation == log_table)
		cache_stale = true;
}

void
home_init(void)
{
	StaticAssertStmt(sizeof(pg_uuid_t) == ENVELOPE_HOME_SIZE, "homes are UUIDs");
	relcache_watch(home_relation_changed);
	relations_init();
}

static HTAB *
home_cache_table(const char *name, Size key, Size entry)
{
	HASHCTL info = {.keysize = key, .entrysize = entry, .hcxt = cache_context};

	return hash_create(name, 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
home_cache_prepare(void)
{
	if (found_homes != NULL && !cache_stale &&
		hash_get_num_entries(found_homes) < HOME_CACHE_LIMIT &&
		hash_get_num_entries(column_homes) < HOME_CACHE_LIMIT)
		return;
	found_homes = NULL;
	column_homes = NULL;
	if (cache_context == NULL)
		cache_context =
			AllocSetContextCreate(CacheMemoryContext, "biometric homes", ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(cache_context);
	home_table = extension_relation("home");
	log_table = extension_relation("log");
	column_homes =
		home_cache_table("biometric column homes", sizeof(ColumnKey), sizeof(ColumnHome));
	found_homes = home_cache_table("biometric homes", sizeof(pg_uuid_t), sizeof(FoundHome));
	cache_stale = false;
}

/* Opens the table of homes; NULL when it is not there. */
static Relation
home_open(LOCKMODE mode)
{
	Oid oid = extension_relation("home");
	Relation relation = OidIsValid(oid) ? try_table_open(oid, mode) : NULL;

	if (relation != NULL && RelationGetDescr(relation)->natts < HOME_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"biometric.home\" has not the columns that the extension gave it"),
				 errhint("Undo what ALTER TABLE did.")));
	return relation;
}

/* The unique index on so many columns: 2 is the primary key, 3 the one by column. */
static Oid
home_index(Relation relation, int columns)
{
	List *indexes = RelationGetIndexList(relation);
	Oid result = InvalidOid;
	ListCell *cell;

	foreach(cell, indexes)
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisunique && index->indisvalid && index->indnkeyatts == columns &&
			index->indkey.values[0] == HOME_COL_LOG_ID &&
			index->indkey.values[1] == (columns == 2 ? HOME_COL_HOME : HOME_COL_RELATION))
			result = lfirst_oid(cell);
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return result;
}

/* The value of an attribute found by name, NULL when there is no such column or no value. */
static bool
log_value(HeapTuple tuple, Relation log, const char *name, Datum *value)
{
	AttrNumber attribute = get_attnum(RelationGetRelid(log), name);
	bool isnull = true;

	if (attribute > 0)
		*value = heap_getattr(tuple, attribute, RelationGetDescr(log), &isnull);
	return !isnull;
}

/*
 * The logs whose homes count: this database's own, which have an ordinal, the
 * present one (the highest) first, and those that it adopted.
 */
static List *
home_logs(void)
{
	Oid oid = extension_relation("log");
	Relation log = OidIsValid(oid) ? try_table_open(oid, AccessShareLock) : NULL;
	List *logs = NIL;
	SysScanDesc scan;
	HeapTuple tuple;

	if (log == NULL)
		return NIL;
	scan = systable_beginscan(log, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		HomeLog *one = palloc0(sizeof(HomeLog));
		Datum id;
		Datum value;

		if (!log_value(tuple, log, "log_id", &id))
			continue;
		one->id = *DatumGetUUIDP(id);
		one->own = log_value(tuple, log, "ordinal", &value);
		if (one->own)
			one->ordinal = DatumGetInt32(value);
		else if (!log_value(tuple, log, "adopted_at", &value))
			continue;
		if (one->own && (logs == NIL || !((HomeLog *) linitial(logs))->own ||
						 ((HomeLog *) linitial(logs))->ordinal < one->ordinal))
			logs = lcons(one, logs);
		else
			logs = lappend(logs, one);
	}
	systable_endscan(scan);
	table_close(log, AccessShareLock);
	return logs;
}

/* The log under which new homes are made. */
static const HomeLog *
home_present_log(const List *logs)
{
	if (logs == NIL || !((HomeLog *) linitial(logs))->own)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger of this database has no identity yet"),
						errdetail("An image is bound to the column that it is stored in, under the "
								  "identity of the database's ledger."),
						errhint("See biometric.ledger_status() and the server's log.")));
	return linitial(logs);
}

/* Reads a row of biometric.home into an answer. */
static void
found_from_row(FoundHome *found, HeapTuple tuple, Relation table, bool own)
{
	TupleDesc desc = RelationGetDescr(table);
	bool isnull;

	found->known = true;
	found->relation = DatumGetObjectId(heap_getattr(tuple, HOME_COL_RELATION, desc, &isnull));
	found->attribute = DatumGetInt16(heap_getattr(tuple, HOME_COL_ATTNUM, desc, &isnull));
	if (!own)
		found->column = *DatumGetName(heap_getattr(tuple, HOME_COL_NAME, desc, &isnull));
}

/* Looks a home up in the table, under the logs that count. */
static void
home_read(FoundHome *found)
{
	Relation table = home_open(AccessShareLock);
	List *logs = table == NULL ? NIL : home_logs();
	Oid index = table == NULL ? InvalidOid : home_index(table, 2);
	ListCell *cell;

	foreach(cell, logs)
	{
		const HomeLog *log = lfirst(cell);
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&key[0], HOME_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(&log->id));
		ScanKeyInit(&key[1], HOME_COL_HOME, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(&found->home));
		scan = systable_beginscan(table, index, OidIsValid(index), NULL, 2, key);
		tuple = systable_getnext(scan);
		if (HeapTupleIsValid(tuple))
			found_from_row(found, tuple, table, log->own);
		systable_endscan(scan);
		if (found->known)
			break;
	}
	list_free_deep(logs);
	if (table != NULL)
		table_close(table, AccessShareLock);
}

/* The name of a column, palloc'd; NULL when it is gone. */
static char *
home_column_name(Oid relation, AttrNumber attribute)
{
	HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(attribute));
	char *name = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	if (!((Form_pg_attribute) GETSTRUCT(tuple))->attisdropped)
		name = pstrdup(NameStr(((Form_pg_attribute) GETSTRUCT(tuple))->attname));
	ReleaseSysCache(tuple);
	return name;
}

/* The column that an answer means now; false when its relation or column is gone. */
static bool
home_resolve(const FoundHome *found, HomeColumn *column)
{
	HeapTuple tuple;
	bool there;

	if (!found->known || !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(found->relation)))
		return false;
	column->relation = found->relation;
	if (NameStr(found->column)[0] != '\0')
	{
		column->attribute = get_attnum(found->relation, NameStr(found->column));
		return true;
	}
	tuple =
		SearchSysCache2(ATTNUM, ObjectIdGetDatum(found->relation), Int16GetDatum(found->attribute));
	there = HeapTupleIsValid(tuple) && !((Form_pg_attribute) GETSTRUCT(tuple))->attisdropped;
	column->attribute = there ? found->attribute : InvalidAttrNumber;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return true;
}

bool
home_find(const uint8 *home, HomeColumn *column)
{
	static const uint8 none[ENVELOPE_HOME_SIZE];
	FoundHome read = {0};
	FoundHome *found;

	if (memcmp(home, none, ENVELOPE_HOME_SIZE) == 0 || !OidIsValid(extension_oid()))
		return false;
	home_cache_prepare();
	found = hash_search(found_homes, home, HASH_FIND, NULL);
	if (found != NULL)
		return home_resolve(found, column);

	/* read first, entered then: an invalidation in between must not be lost */
	memcpy(read.home.data, home, ENVELOPE_HOME_SIZE);
	home_read(&read);
	if (!cache_stale)
	{
		found = hash_search(found_homes, home, HASH_ENTER, NULL);
		*found = read;
	}
	return home_resolve(&read, column);
}

/* Reads the home of a column of an own log; false when there is none. */
static bool
home_read_column(Relation table, const HomeLog *log, const ColumnKey *column, pg_uuid_t *home)
{
	Oid index = home_index(table, 3);
	ScanKeyData key[3];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], HOME_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&log->id));
	ScanKeyInit(&key[1], HOME_COL_RELATION, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(column->relation));
	ScanKeyInit(&key[2], HOME_COL_ATTNUM, BTEqualStrategyNumber, F_INT2EQ,
				Int16GetDatum((int16) column->attribute));
	scan = systable_beginscan(table, index, OidIsValid(index), NULL, 3, key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;

		*home =
			*DatumGetUUIDP(heap_getattr(tuple, HOME_COL_HOME, RelationGetDescr(table), &isnull));
	}
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

/* The home that any own log has for a column, the present log's before others'. */
static bool
home_read_own(Relation table, const List *logs, const ColumnKey *column, pg_uuid_t *home)
{
	ListCell *cell;

	foreach(cell, logs)
		if (((HomeLog *) lfirst(cell))->own && home_read_column(table, lfirst(cell), column, home))
			return true;
	return false;
}

/* A random UUID of version 4 (RFC 9562). */
static void
home_make_id(pg_uuid_t *home)
{
	if (core_random(home->data, ENVELOPE_HOME_SIZE) != CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR), errmsg("could not make a random id"),
						errhint("Check the server's OpenSSL installation, then try again.")));
	home->data[6] = (home->data[6] & 0x0f) | 0x40;
	home->data[8] = (home->data[8] & 0x3f) | 0x80;
}

/*
 * The command counter moves on, so that the row is seen from here on, and the
 * invalidation is undone with it if the transaction fails.
 */
static void
home_written(Relation table)
{
	CacheInvalidateRelcache(table);
	CommandCounterIncrement();
}

static void
home_insert(Relation table, const HomeLog *log, const ColumnKey *column, pg_uuid_t *home)
{
	TupleDesc desc = RelationGetDescr(table);
	Datum *values = palloc0(desc->natts * sizeof(Datum));
	bool *nulls = palloc(desc->natts * sizeof(bool));
	char *text = get_attname(column->relation, (AttrNumber) column->attribute, false);
	NameData name;
	HeapTuple tuple;

	home_make_id(home);
	namestrcpy(&name, text);
	memset(nulls, true, desc->natts * sizeof(bool));
	memset(nulls, false, HOME_COLUMNS * sizeof(bool));
	values[HOME_COL_LOG_ID - 1] = UUIDPGetDatum(&log->id);
	values[HOME_COL_HOME - 1] = UUIDPGetDatum(home);
	values[HOME_COL_RELATION - 1] = ObjectIdGetDatum(column->relation);
	values[HOME_COL_ATTNUM - 1] = Int16GetDatum((int16) column->attribute);
	values[HOME_COL_NAME - 1] = NameGetDatum(&name);
	tuple = heap_form_tuple(desc, values, nulls);
	CatalogTupleInsert(table, tuple);
	heap_freetuple(tuple);
	home_written(table);
	pfree(values);
	pfree(nulls);
}

/*
 * Makes a column's home unless another backend has just done so: whoever makes
 * it holds a lock on its name until the end of the transaction.
 */
static void
home_make(const ColumnKey *column, pg_uuid_t *home)
{
	Relation table = home_open(RowExclusiveLock);
	List *logs;
	const HomeLog *present;

	if (table == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the table of homes of images does not exist"),
						errhint("Run CREATE EXTENSION biometric_audit.")));
	logs = home_logs();
	present = home_present_log(logs);
	if (!home_read_own(table, logs, column, home))
	{
		LockDatabaseObject(RelationGetRelid(table), column->relation, (uint16) column->attribute,
						   ExclusiveLock);
		if (!home_read_own(table, logs, column, home))
			home_insert(table, present, column, home);
	}
	list_free_deep(logs);
	table_close(table, NoLock);
}

void
home_of_column(Oid relation, AttrNumber attribute, uint8 *home)
{
	ColumnKey key = {.relation = relation, .attribute = attribute};
	ColumnHome *cached;
	pg_uuid_t made;

	home_cache_prepare();
	cached = hash_search(column_homes, &key, HASH_FIND, NULL);
	if (cached == NULL)
	{
		home_make(&key, &made);
		home_cache_prepare();
		cached = hash_search(column_homes, &key, HASH_ENTER, NULL);
		cached->home = made;
	}
	memcpy(home, cached->home.data, ENVELOPE_HOME_SIZE);
}

/* Whether this database has all that it takes to make homes. */
static bool
home_can_be_made(void)
{
	List *logs = IsBinaryUpgrade || !OidIsValid(extension_relation("home")) ? NIL : home_logs();
	bool can = logs != NIL && ((HomeLog *) linitial(logs))->own;

	list_free_deep(logs);
	return can;
}

void
home_prepare_column(Oid relation, AttrNumber attribute)
{
	uint8 home[ENVELOPE_HOME_SIZE];

	if (home_can_be_made())
		home_of_column(relation, attribute, home);
}

/* Whether a role may read a column of a relation, every row of it. */
static bool
role_reads_all(Oid role, Oid relation, AttrNumber attribute)
{
	if (attribute == InvalidAttrNumber ||
		!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
		return false;
	if (pg_attribute_aclcheck(relation, attribute, role, ACL_SELECT) != ACLCHECK_OK &&
		pg_class_aclcheck(relation, role, ACL_SELECT) != ACLCHECK_OK)
		return false;
	return check_enable_rls(relation, role, true) != RLS_ENABLED;
}

/*
 * The same, also through a parent: PostgreSQL checks privileges and policies
 * of the table that a query names, and not of its partitions.
 */
static bool
role_reads_home(Oid role, const HomeColumn *column)
{
	List *lineage;
	ListCell *cell;
	char *name;
	bool reads = false;

	if (column->attribute == InvalidAttrNumber)
		return false;
	if (role_reads_all(role, column->relation, column->attribute))
		return true;
	if (!has_superclass(column->relation))
		return false;
	name = home_column_name(column->relation, column->attribute);
	lineage = relation_lineage(column->relation);
	foreach(cell, lineage)
	{
		Oid ancestor = lfirst_oid(cell);

		if (name != NULL && OidIsValid(ancestor) && ancestor != column->relation &&
			role_reads_all(role, ancestor, get_attnum(ancestor, name)))
		{
			reads = true;
			break;
		}
	}
	list_free(lineage);
	return reads;
}

/* Superusers and custodians restore what they have dumped. */
static bool
role_may_restore(Oid role)
{
	return superuser_arg(role) || role_is_custodian(role);
}

/* The roles that count: who logged in, who SET ROLE made of it, and who a function runs as. */
#define JUDGED_ROLES 3

/* Fills in the roles to be judged, each once; returns how many. */
static int
judged_roles(Oid *roles)
{
	const Oid all[JUDGED_ROLES] = {GetSessionUserId(), GetOuterUserId(), GetUserId()};
	int count = 0;

	for (int i = 0; i < JUDGED_ROLES; i++)
	{
		bool seen = false;

		for (int j = 0; j < count; j++)
			seen |= roles[j] == all[i];
		if (!seen)
			roles[count++] = all[i];
	}
	return count;
}

bool
home_may_restore(void)
{
	Oid roles[JUDGED_ROLES];
	int count = judged_roles(roles);

	if (IsLogicalWorker())
		return role_may_restore(GetSessionUserId());
	for (int i = 0; i < count; i++)
		if (!role_may_restore(roles[i]))
			return false;
	return true;
}

bool
home_may_import(const uint8 *home)
{
	Oid roles[JUDGED_ROLES];
	HomeColumn column;
	bool known = false;
	bool looked = false;
	int count;

	/* an apply worker becomes the table's owner, who must not vouch for a publisher */
	if (IsLogicalWorker())
		return role_may_restore(GetSessionUserId());
	count = judged_roles(roles);
	for (int i = 0; i < count; i++)
	{
		if (role_may_restore(roles[i]))
			continue;
		if (!looked)
			known = home_find(home, &column);
		looked = true;
		if (!known || !role_reads_home(roles[i], &column))
			return false;
	}
	return true;
}

bool
home_may_open(const uint8 *home)
{
	Oid roles[JUDGED_ROLES];
	HomeColumn column;
	int count = judged_roles(roles);

	if (!home_find(home, &column))
		return false;
	for (int i = 0; i < count; i++)
		if (!role_reads_home(roles[i], &column))
			return false;
	return true;
}

/* Brings one row in line with the catalogs; tells whether it was changed. */
static bool
home_sync_row(Relation table, HeapTuple tuple, const List *logs, Snapshot snapshot)
{
	TupleDesc desc = RelationGetDescr(table);
	bool isnull;
	pg_uuid_t *log = DatumGetUUIDP(heap_getattr(tuple, HOME_COL_LOG_ID, desc, &isnull));
	Oid relation = DatumGetObjectId(heap_getattr(tuple, HOME_COL_RELATION, desc, &isnull));
	AttrNumber attribute = DatumGetInt16(heap_getattr(tuple, HOME_COL_ATTNUM, desc, &isnull));
	Name name = DatumGetName(heap_getattr(tuple, HOME_COL_NAME, desc, &isnull));
	char *present;
	ListCell *cell;
	bool own = false;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
		return store_follow_delete(table, tuple, snapshot);
	foreach(cell, logs)
		own |= ((HomeLog *) lfirst(cell))->own &&
			   memcmp(&((HomeLog *) lfirst(cell))->id, log, sizeof(*log)) == 0;
	/* columns of restored rows had other numbers where they come from */
	if (!own)
		return false;
	/* a dropped column keeps a row, and a name that says so, but no type */
	present = OidIsValid(get_atttype(relation, attribute)) ? get_attname(relation, attribute, true)
														   : NULL;
	if (present == NULL)
		return store_follow_delete(table, tuple, snapshot);
	return strcmp(present, NameStr(*name)) != 0 &&
		   store_follow_rename(table, tuple, HOME_COL_NAME, present, snapshot);
}

void
home_sync(void)
{
	Relation table = home_open(RowExclusiveLock);
	List *logs;
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;
	bool changed = false;

	if (table == NULL)
		return;
	logs = home_logs();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		changed |= home_sync_row(table, tuple, logs, snapshot);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	if (changed)
		home_written(table);
	list_free_deep(logs);
	table_close(table, NoLock);
}
