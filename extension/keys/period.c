/*
 * period.c - key_period(), and the key that an image is to be sealed under.
 *
 * What a column has is cached by home, and forgotten with any relcache invalidation, as relations.c
 * does: tables, columns and descent may have changed, or biometric.key_binding.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "base/relcache.h"
#include "home/home.h"
#include "home/relations.h"
#include "keys/binding.h"
#include "keys/keys.h"
#include "keys/parts.h"
#include "policy/arguments.h"
#include "policy/change.h"

/* Between 1970, which keys count from, and 2000, which the server and periods do, in ms. */
#define EPOCH_MS                                                                                   \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * INT64CONST(1000))
#define HOUR_MS (INT64CONST(3600) * 1000)

/* A hundred years. */
#define LONGEST_DAYS INT64CONST(36525)

/*
 * Whoever may store images says by their times which keys are made. So that nobody can fill the
 * keyring with them, keys of periods that are not the present one may take up so many of its
 * places for one column, and so many together; and some are left to rotate_key().
 */
#define MOST_OF_COLUMN 384
#define MOST_OF_OTHER_TIMES 768
#define MOST_OF_ALL_PERIODS (KEYFILE_MAX_KEYS - 32)

/* Years that a keyring can write. */
#define FIRST_YEAR 1
#define LAST_YEAR 9998

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_key_period);

/* What is known of a home. */
typedef struct HomeKeys
{
	pg_uuid_t home; /* hash key */
	bool bound;
	uint8 declared
		[ENVELOPE_HOME_SIZE]; /* the home that keys are bound to: of the column that was named */
	Interval period;
} HomeKeys;

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static List *cached_bindings = NIL;
static bool cache_valid = false;

static void
period_relation_changed(Datum arg, Oid relation)
{
	cache_valid = false;
}

void
period_init(void)
{
	relcache_watch(period_relation_changed);
}

/* ---- periods ---- */

/* Division that rounds down. */
static int64
divide_down(int64 value, int64 divisor)
{
	int64 quotient = value / divisor;

	return value % divisor < 0 ? quotient - 1 : quotient;
}

static int64
month_begins_ms(int64 month)
{
	int year = 2000 + (int) divide_down(month, MONTHS_PER_YEAR);
	int number = (int) (month - divide_down(month, MONTHS_PER_YEAR) * MONTHS_PER_YEAR) + 1;

	return (int64) (date2j(year, number, 1) - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
}

/* The period that a time is in. Error 22008 for years that a keyring cannot write. */
static void
period_of(const Interval *period, int64 at_ms, KeyScope *scope)
{
	int64 day = divide_down(at_ms, (int64) SECS_PER_DAY * 1000);
	int year;
	int month;
	int unused;

	if (day < date2j(FIRST_YEAR, 1, 1) - UNIX_EPOCH_JDATE ||
		day >= date2j(LAST_YEAR, 1, 1) - UNIX_EPOCH_JDATE)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
						errmsg("no key can be bound to the time of an image"),
						errdetail("Its year is not between %d and %d.", FIRST_YEAR, LAST_YEAR - 1),
						errhint("See the column that says when the image was taken.")));
	if (period->month != 0)
	{
		int64 first;

		j2date((int) day + UNIX_EPOCH_JDATE, &year, &month, &unused);
		first = divide_down((int64) (year - 2000) * MONTHS_PER_YEAR + month - 1, period->month) *
				period->month;
		scope->from_ms = month_begins_ms(first);
		scope->until_ms = month_begins_ms(first + period->month);
	}
	else
	{
		int64 length = (int64) period->day * SECS_PER_DAY * 1000 + period->time / 1000;

		scope->from_ms = divide_down(at_ms - EPOCH_MS, length) * length + EPOCH_MS;
		scope->until_ms = scope->from_ms + length;
	}
}

/* ---- what a home has ---- */

static void
cache_prepare(void)
{
	HASHCTL info = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(HomeKeys)};
	MemoryContext old;

	if (cache_valid && cache != NULL && hash_get_num_entries(cache) < 16384)
		return;
	cache = NULL;
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(CacheMemoryContext, "biometric key periods",
											  ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(cache_context);
	/* what changes while it is read is read again */
	cache_valid = true;
	old = MemoryContextSwitchTo(cache_context);
	cached_bindings = NIL;
	cached_bindings = binding_read_all();
	MemoryContextSwitchTo(old);
	info.hcxt = cache_context;
	cache = hash_create("biometric key periods", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Finds the binding of a home's column: its own, or its nearest ancestor's. */
static void
look_up(const uint8 *home, HomeKeys *keys)
{
	HomeColumn column;
	const KeyBinding *binding;
	List *lineage;
	char *name;

	memset(keys, 0, sizeof(*keys));
	memcpy(keys->home.data, home, ENVELOPE_HOME_SIZE);
	if (!home_find(home, &column) || column.attribute == InvalidAttrNumber)
		return;
	name = get_attname(column.relation, column.attribute, true);
	lineage = relation_lineage(column.relation);
	binding = name ? binding_find(cached_bindings, lineage, name) : NULL;
	list_free(lineage);
	if (binding == NULL)
		return;
	keys->period = binding->period;
	keys->bound = true;
	home_of_column(binding->relation, get_attnum(binding->relation, name), keys->declared);
}

/* What a home has; false when its column has no keys of its own. */
static bool
keys_of_home(const uint8 *home, HomeKeys *keys)
{
	HomeKeys *cached;

	cache_prepare();
	if (cached_bindings == NIL)
		return false;
	cached = hash_search(cache, home, HASH_FIND, NULL);
	if (cached == NULL)
	{
		look_up(home, keys);
		if (cache_valid)
		{
			cached = hash_search(cache, home, HASH_ENTER, NULL);
			*cached = *keys;
		}
		return keys->bound;
	}
	*keys = *cached;
	return keys->bound;
}

/* ---- keys ---- */

/* Refuses to store what would be sealed under a key that was shredded. */
static void
refuse_shredded(uint32 id)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("no image of this period can be stored"),
					errdetail("Key %u, which the column's images of that period are sealed under, "
							  "was shredded.",
							  id),
					errhint("What was shredded was to be kept no longer; store images of other "
							"periods, or end it with biometric.key_period(..., NULL).")));
}

/* The same for a key that this very transaction shreds, of a period that may have another one. */
static void
refuse_shredding(uint32 id)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("no image of this period can be stored yet"),
					errdetail("Key %u, which the column's images of that period are sealed under, "
							  "is shredded by this transaction.",
							  id),
					errhint("Commit first: the period gets another key then.")));
}

static int64
now_ms(void)
{
	return GetCurrentTimestamp() / 1000 + EPOCH_MS;
}

static void
refuse_room(int count, int most, const char *whose)
{
	if (count < most)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("no key can be made for this period"),
			 errdetail("The keyring has %d keys %s, and may have %d.", count, whose, most),
			 errhint("See whether the images' times are right; shred keys of periods that are not "
					 "needed any more, or give periods more time.")));
}

/* Whether the keyring has room for the key of a period; see MOST_OF_COLUMN. */
static void
check_room(const KeyScope *wanted, int64 now)
{
	KeyringEntry *entries;
	int count = keys_list(&entries);
	int of_column = 0;
	int of_other_times = 0;
	int bound = 0;

	for (int i = 0; i < count; i++)
	{
		const KeyScope *scope = &entries[i].scope;

		if (!scope->bound)
			continue;
		bound++;
		if (scope->from_ms <= now && now < scope->until_ms)
			continue;
		of_other_times++;
		if (memcmp(scope->home, wanted->home, ENVELOPE_HOME_SIZE) == 0)
			of_column++;
	}
	pfree(entries);
	refuse_room(bound, MOST_OF_ALL_PERIODS, "of periods");
	if (wanted->from_ms <= now && now < wanted->until_ms)
		return;
	refuse_room(of_column, MOST_OF_COLUMN, "of this column's other periods than the present one");
	refuse_room(of_other_times, MOST_OF_OTHER_TIMES, "of other periods than the present ones");
}

/* Adds the key of a period. One that runs still, or is to come, may have had one before. */
static uint32
add_key(const KeyScope *scope, int64 at_ms)
{
	int64 now = now_ms();
	uint32 highest;
	uint32 shredded;
	uint32 id;

	binding_look_at_pins(scope, at_ms, &highest, &shredded);
	if (shredded != 0 && scope->until_ms <= now)
		refuse_shredded(shredded);
	check_room(scope, now);
	id = keyring_add(scope, keys_above(highest));
	keys_require_pinned(id);
	return id;
}

/* Makes the key of a period, unless another session has just done that. */
static uint32
make_key(const KeyScope *scope, int64 at_ms)
{
	Oid table = extension_relation("key_binding");
	uint32 lock = DatumGetUInt32(hash_any(scope->home, ENVELOPE_HOME_SIZE));
	uint32 id;

	if (extension_created_here())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("no key can be made in the transaction that created extension "
							   "biometric_audit"),
						errhint("Commit first.")));
	PreventCommandIfReadOnly("making a key");
	/* one after the other; the key is there for all as soon as it is made */
	LockDatabaseObject(table, lock, 0, ExclusiveLock);
	/* the first run of the worker's tasks notes what is there, the second makes it known */
	if (pin_await(0) && pin_await(0))
		id = keyring_bound(scope);
	else
		id = 0;
	if (id == 0)
	{
		(void) add_key(scope, at_ms);
		id = keyring_bound(scope);
	}
	UnlockDatabaseObject(table, lock, 0, ExclusiveLock);
	if (id == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the key of the image's period is not usable"),
						errhint("See view biometric.key and the server's log.")));
	return id;
}

uint32
keys_for_home(const uint8 *home, int64 at_ms)
{
	KeyScope scope = {.bound = true};
	HomeKeys keys;
	uint32 id;

	if (!OidIsValid(extension_relation("key_binding")) || !keys_of_home(home, &keys))
		return 0;
	memcpy(scope.home, keys.declared, ENVELOPE_HOME_SIZE);
	period_of(&keys.period, at_ms, &scope);
	id = keyring_bound(&scope);
	if (id == 0)
		id = make_key(&scope, at_ms);
	if (shred_pending(id))
		refuse_shredding(id);
	return id;
}

/* ---- the function ---- */

/* Checks a period: months, or days and hours. */
static void
check_period(const Interval *period)
{
	int64 length;
	bool months = period->month > 0 && period->day == 0 && period->time == 0;

	if (months && period->month <= 100 * MONTHS_PER_YEAR)
		return;
	length = (int64) period->day * SECS_PER_DAY * 1000 + period->time / 1000;
	if (period->month == 0 && period->day >= 0 && period->time >= 0 && length >= HOUR_MS &&
		period->time % USECS_PER_HOUR == 0 && length <= LONGEST_DAYS * SECS_PER_DAY * 1000)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"period\" cannot be used"),
			 errdetail("A period is of whole months, or of days and whole hours, at least one "
					   "hour, and at most 100 years."),
			 errhint("'1 month' has the pictures of a calendar month go together.")));
}

/* The attribute number of a column with images, of a table. */
static AttrNumber
check_column(Oid relation, const char *column)
{
	AttrNumber attribute = get_attnum(relation, column);
	char kind = get_rel_relkind(relation);
	const RelationImages *images;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table", get_rel_name(relation)),
						errdetail("Images have keys of their own where they are stored."),
						errhint("Name the table.")));
	if (attribute <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("table \"%s\" has no column \"%s\"", get_rel_name(relation), column),
						errhint("Name a column that holds images.")));
	images = relation_images(relation);
	if (attribute > images->attributes || images->attribute_kinds[attribute - 1] == 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("column \"%s\" of table \"%s\" holds no images", column,
							   get_rel_name(relation)),
						errhint("Name a column that holds images.")));
	return attribute;
}

/* Writes the row; NULL deletes it. True when there was something to do. */
static bool
write_binding(const PolicyChange *change, Oid relation, AttrNumber attribute, Interval *period)
{
	ChangeArguments arguments = {0};
	uint64 deleted;

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(relation), false);
	change_add(&arguments, INT2OID, Int16GetDatum(attribute), false);
	change_add_text(&arguments, get_attname(relation, attribute, false));
	deleted =
		change_execute("DELETE FROM ONLY biometric.key_binding AS b USING ONLY biometric.log AS l "
					   "WHERE l.log_id = b.log_id AND b.relation = $1 AND "
					   "CASE WHEN l.ordinal IS NOT NULL THEN b.attnum = $2 "
					   "ELSE l.adopted_at IS NOT NULL AND b.column_name = $3::name END",
					   &arguments);
	if (period == NULL)
		return deleted > 0;
	change_add(&arguments, INTERVALOID, IntervalPGetDatum(period), false);
	change_add_text(&arguments, change->caller_name);
	change_execute("INSERT INTO biometric.key_binding (log_id, relation, attnum, column_name, "
				   "period, declared_at, declared_by) "
				   "SELECT l.log_id, $1, $2, $3::name, $4, clock_timestamp(), $5 "
				   "FROM ONLY biometric.log AS l WHERE l.ordinal IS NOT NULL "
				   "ORDER BY l.ordinal DESC LIMIT 1",
				   &arguments);
	return true;
}

/* The entry's detail. */
static char *
period_detail(Oid relation, AttrNumber attribute, Interval *period)
{
	ChangeArguments arguments = {0};

	change_add_text(&arguments, psprintf("%s.%s", get_namespace_name(get_rel_namespace(relation)),
										 get_rel_name(relation)));
	change_add_text(&arguments, get_attname(relation, attribute, false));
	change_add(&arguments, INTERVALOID, IntervalPGetDatum(period), period == NULL);
	change_execute("SELECT jsonb_build_object('action', 'key_period', 'relation', $1, 'column', "
				   "$2, 'period', $3)::text",
				   &arguments);
	return change_result(1);
}

/* biometric_key_period(relation regclass, column_name name, period interval) */
Datum
biometric_key_period(PG_FUNCTION_ARGS)
{
	Interval *period = PG_ARGISNULL(2) ? NULL : PG_GETARG_INTERVAL_P(2);
	PolicyChange change;
	AttrNumber attribute;
	Oid relation;

	change_begin_policy(&change);
	relation = argument_relation(fcinfo, 0);
	if (!OidIsValid(relation) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" cannot be used: it is NULL",
							   OidIsValid(relation) ? "column_name" : "relation"),
						errhint("Name a table and a column that holds images.")));
	/* neither the table nor the column goes meanwhile */
	LockRelationOid(relation, ShareUpdateExclusiveLock);
	attribute = check_column(relation, NameStr(*PG_GETARG_NAME(1)));
	if (period != NULL)
		check_period(period);
	if (write_binding(&change, relation, attribute, period))
	{
		CacheInvalidateRelcacheByRelid(extension_relation("key_binding"));
		change_record_key(&change, period_detail(relation, attribute, period));
		if (period != NULL)
			ereport(NOTICE,
					(errmsg("new images of \"%s\" are sealed under keys of their own",
							get_rel_name(relation)),
					 errdetail("Images that are there keep the keys that they have."),
					 errhint("biometric.reseal() brings them under the keys of their periods; back "
							 "up the keyring whenever a key was added.")));
	}
	change_end(&change);
	PG_RETURN_VOID();
}
