/*
 * trigger.c - what the row triggers know of a table, and rows' keys.
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/internal.h"
#include "base/relcache.h"
#include "home/home.h"
#include "image/image.h"
#include "trigger/attach.h"
#include "trigger/limits.h"
#include "trigger/queue.h"
#include "trigger/table.h"
#include "trigger/trigger.h"

/* Beyond this many tables the cache is begun anew. */
#define TABLES_LIMIT 4096

typedef struct CachedTable
{
	Oid relation; /* hash key */
	bool stale;
	MemoryContext context;
	TriggerTable *table;
} CachedTable;

static HTAB *tables = NULL;
static bool tables_stale = false;

/* Ancestors of tables that are known: OIDs. What they are described by, those are. */
static HTAB *ancestors = NULL;

/* So many invalidations have come; one in the middle of a look-up makes its result stale. */
static uint64 invalidations = 0;

/* The tables that look-ups read. */
static Oid home_relation = InvalidOid;
static Oid collection_relation = InvalidOid;
static Oid limit_relation = InvalidOid;
static Oid retention_relation = InvalidOid;
static Oid log_relation = InvalidOid;

static void
trigger_relation_changed(Datum arg, Oid relation)
{
	CachedTable *cached;

	if (tables == NULL)
		return;
	invalidations++;
	/* there are no ancestors where making their table once failed */
	if (ancestors == NULL || !OidIsValid(relation) || relation == home_relation ||
		relation == collection_relation || relation == retention_relation ||
		relation == log_relation || relation == limit_relation ||
		hash_search(ancestors, &relation, HASH_FIND, NULL) != NULL)
	{
		tables_stale = true;
		return;
	}
	cached = hash_search(tables, &relation, HASH_FIND, NULL);
	if (cached != NULL)
		cached->stale = true;
}

void
trigger_table_init(void)
{
	relcache_watch(trigger_relation_changed);
}

void
trigger_init(void)
{
	trigger_table_init();
	limits_counted_init();
	queue_init();
	attach_init();
}

/* A trigger further out may still be using what is forgotten here. */
static void
forget_table(CachedTable *cached)
{
	MemoryContext context = cached->context;

	hash_search(tables, &cached->relation, HASH_REMOVE, NULL);
	if (context != NULL)
		MemoryContextSetParent(context, TopTransactionContext);
}

static void
forget_all_tables(void)
{
	HASH_SEQ_STATUS scan;
	CachedTable *cached;

	tables_stale = false;
	hash_seq_init(&scan, tables);
	while ((cached = hash_seq_search(&scan)) != NULL)
		forget_table(cached);
	if (ancestors != NULL)
		hash_destroy(ancestors);
	ancestors = NULL;
}

static void
prepare_tables(void)
{
	HASHCTL info = {
		.keysize = sizeof(Oid), .entrysize = sizeof(CachedTable), .hcxt = CacheMemoryContext};
	HASHCTL names = {.keysize = sizeof(Oid), .entrysize = sizeof(Oid), .hcxt = CacheMemoryContext};

	if (tables != NULL && (tables_stale || hash_get_num_entries(tables) >= TABLES_LIMIT))
		forget_all_tables();
	if (ancestors == NULL)
		ancestors = hash_create("biometric triggered tables' ancestors", 16, &names,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (tables == NULL)
		tables = hash_create("biometric triggered tables", 64, &info,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Lists the image columns, with their homes. */
static void
describe_columns(Relation relation, TriggerTable *table)
{
	TupleDesc desc = RelationGetDescr(relation);

	table->column = palloc0(Max(desc->natts, 1) * sizeof(TriggerColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		TriggerColumn *column = &table->column[table->columns];

		if (attribute->attisdropped)
			continue;
		column->kind = image_type_kind(attribute->atttypid);
		if (column->kind == IMAGE_KIND_NONE)
			continue;
		column->attribute = attribute->attnum;
		column->name = pstrdup(NameStr(attribute->attname));
		home_of_column(RelationGetRelid(relation), column->attribute, column->home);
		column->limits = limits_describe(relation, column->name);
		table->columns++;
	}
}

/* The index whose columns identify a row: the replica identity, else the primary key. */
static Oid
key_index(Relation relation)
{
	Oid result = RelationGetReplicaIndex(relation);
	List *indexes;
	ListCell *cell;

	if (OidIsValid(result))
		return result;
	indexes = RelationGetIndexList(relation);
	foreach(cell, indexes)
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(tuple))
			continue;
		if (((Form_pg_index) GETSTRUCT(tuple))->indisprimary)
			result = lfirst_oid(cell);
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return result;
}

static KeyForm
key_form(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return KEY_INTEGER;
		case BOOLOID:
			return KEY_BOOLEAN;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return KEY_TEXT;
		case TIMESTAMPTZOID:
			return KEY_TIMESTAMPTZ;
		case UUIDOID:
		case NAMEOID:
		case OIDOID:
			return KEY_OUTPUT;
		default:
			/* to_jsonb() would run a cast function that somebody made for a type of his own */
			return type < FirstNormalObjectId ? KEY_JSON : KEY_OUTPUT;
	}
}

/* Whether a key's text may be another one under other settings. */
static bool
key_needs_settings(const TriggerKey *key)
{
	if (key->form != KEY_JSON && key->form != KEY_OUTPUT)
		return false;
	switch (key->type)
	{
		case UUIDOID:
		case NAMEOID:
		case OIDOID:
		case NUMERICOID:
		case DATEOID:
		case TIMESTAMPOID:
			return false;
		default:
			return true;
	}
}

bool
table_describe_key(Form_pg_attribute attribute, TriggerKey *key)
{
	Oid output;
	bool varlena;

	key->attribute = attribute->attnum;
	key->name = pstrdup(NameStr(attribute->attname));
	key->type = getBaseType(attribute->atttypid);
	key->form = key_form(key->type);
	if (key->form == KEY_JSON)
	{
		Const *argument = makeNullConst(key->type, -1, InvalidOid);

		fmgr_info_cxt(F_TO_JSONB, &key->function, CurrentMemoryContext);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(argument),
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
						   &key->function);
	}
	else
	{
		getTypeOutputInfo(key->type, &output, &varlena);
		fmgr_info_cxt(output, &key->function, CurrentMemoryContext);
	}
	return key_needs_settings(key);
}

static void
describe_keys(Relation relation, TriggerTable *table)
{
	Oid oid = key_index(relation);
	HeapTuple tuple;
	Form_pg_index index;

	if (!OidIsValid(oid))
		return;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(oid));
	if (!HeapTupleIsValid(tuple))
		return;
	index = (Form_pg_index) GETSTRUCT(tuple);
	table->key = palloc0(index->indnkeyatts * sizeof(TriggerKey));
	for (int i = 0; i < index->indnkeyatts; i++)
	{
		AttrNumber attribute = index->indkey.values[i];

		if (attribute <= 0)
			continue;
		table->pins_settings |= table_describe_key(
			TupleDescAttr(RelationGetDescr(relation), attribute - 1), &table->key[table->keys++]);
	}
	ReleaseSysCache(tuple);
}

/* Remembers whose changes change what a table is described by. */
static void
note_ancestors(const List *lineage, Oid relation)
{
	ListCell *cell;

	foreach(cell, lineage)
		if (OidIsValid(lfirst_oid(cell)) && lfirst_oid(cell) != relation)
			(void) hash_search(ancestors, &lfirst_oid(cell), HASH_ENTER, NULL);
}

static TriggerTable *
describe_table(Relation relation, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	TriggerTable *table = palloc0(sizeof(TriggerTable));
	List *lineage = NIL;

	describe_columns(relation, table);
	if (table->columns > 0)
	{
		describe_keys(relation, table);
		table->collection = table_describe_collection(relation, &lineage);
		table_describe_retention(relation, lineage, table);
		prepare_tables();
		note_ancestors(lineage, RelationGetRelid(relation));
	}
	MemoryContextSwitchTo(old);
	return table;
}

const TriggerTable *
trigger_table(Relation relation)
{
	Oid oid = RelationGetRelid(relation);
	CachedTable *cached;
	MemoryContext context;
	TriggerTable *table;
	uint64 before;

	prepare_tables();
	cached = hash_search(tables, &oid, HASH_FIND, NULL);
	if (cached != NULL && !cached->stale)
		return cached->table;
	if (cached != NULL)
		forget_table(cached);

	/* freed with the transaction if an error comes in between */
	context = AllocSetContextCreate(TopTransactionContext, "biometric triggered table",
									ALLOCSET_SMALL_SIZES);
	home_relation = extension_relation("home");
	collection_relation = extension_relation("collection");
	limit_relation = limit_table();
	retention_relation = extension_relation("retention");
	log_relation = extension_relation("log");
	before = invalidations;
	table = describe_table(relation, context);
	prepare_tables();
	cached = hash_search(tables, &oid, HASH_ENTER, NULL);
	cached->stale = before != invalidations;
	cached->table = table;
	cached->context = context;
	MemoryContextSetParent(context, CacheMemoryContext);
	return table;
}

static void
append_timestamptz(StringInfo json, Datum value)
{
	char text[MAXDATELEN + 1];
	int utc = 0;

	JsonEncodeDateTime(text, value, TIMESTAMPTZOID, &utc);
	escape_json(json, text);
}

static void
append_json(StringInfo json, TriggerKey *key, Datum value)
{
	Jsonb *converted = DatumGetJsonbP(FunctionCall1(&key->function, value));

	(void) JsonbToCString(json, &converted->root, VARSIZE(converted));
}

static void
append_integer(StringInfo json, const TriggerKey *key, Datum value)
{
	int64 number = key->type == INT8OID	  ? DatumGetInt64(value)
				   : key->type == INT4OID ? DatumGetInt32(value)
										  : DatumGetInt16(value);

	appendStringInfo(json, INT64_FORMAT, number);
}

void
table_append_value(StringInfo json, TriggerKey *key, Datum value)
{
	switch (key->form)
	{
		case KEY_INTEGER:
			append_integer(json, key, value);
			break;
		case KEY_BOOLEAN:
			appendStringInfoString(json, DatumGetBool(value) ? "true" : "false");
			break;
		case KEY_TEXT:
			escape_json(json, TextDatumGetCString(value));
			break;
		case KEY_TIMESTAMPTZ:
			append_timestamptz(json, value);
			break;
		case KEY_JSON:
			append_json(json, key, value);
			break;
		case KEY_OUTPUT:
			escape_json(json, OutputFunctionCall(&key->function, value));
			break;
		default:
			elog(ERROR, "unknown form of a key: %d", (int) key->form);
	}
}

/* A key that no entry has room for. */
static char *
digest_of_key(const StringInfo json)
{
	Datum digest = DirectFunctionCall1(
		sha256_bytea, PointerGetDatum(cstring_to_text_with_len(json->data, json->len)));
	char *hexadecimal = text_to_cstring(
		DatumGetTextPP(DirectFunctionCall2(binary_encode, digest, CStringGetTextDatum("hex"))));

	return psprintf("{\"sha256\": \"%s\"}", hexadecimal);
}

/*
 * Fixes what output functions of built-in types look at, and the search path for those of
 * others; an error takes it back with its (sub)transaction.
 */
void
table_pin_settings(void)
{
	static const char *const settings[][2] = {
		{"bytea_output", "hex"},	   {"datestyle", "ISO, YMD"}, {"extra_float_digits", "1"},
		{"intervalstyle", "postgres"}, {"lc_monetary", "C"},	  {"quote_all_identifiers", "off"},
		{"timezone", "UTC"},
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	restrict_search_path();
}

static void
append_keys(StringInfo json, const TriggerTable *table, Relation relation, HeapTuple row)
{
	for (int i = 0; i < table->keys; i++)
	{
		TriggerKey *key = &table->key[i];
		bool isnull;
		Datum value = heap_getattr(row, key->attribute, RelationGetDescr(relation), &isnull);

		appendStringInfoString(json, i == 0 ? "{" : ", ");
		escape_json(json, key->name);
		appendStringInfoString(json, ": ");
		if (isnull)
			appendStringInfoString(json, "null");
		else
			table_append_value(json, key, value);
	}
	appendStringInfoChar(json, '}');
}

char *
table_row_key(const TriggerTable *table, Relation relation, HeapTuple row)
{
	StringInfoData json;

	if (table->keys == 0)
		return NULL;
	initStringInfo(&json);
	if (table->pins_settings)
	{
		int level = NewGUCNestLevel();

		table_pin_settings();
		append_keys(&json, table, relation, row);
		AtEOXact_GUC(false, level);
	}
	else
		append_keys(&json, table, relation, row);
	return json.len > TABLE_ROW_KEY_MAX ? digest_of_key(&json) : json.data;
}
