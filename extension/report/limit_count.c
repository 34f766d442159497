/*
 * limit_count.c - whether an image that is enrolled keeps within what was declared.
 *
 * What is refused is not put into the ledger: it is a constraint that was violated, of which
 * anybody who may write to the table could make as many entries as there is room for.
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "core/formats.h"
#include "ledger/store.h"
#include "report/limit.h"

/* So many rows of days that are over are removed for each that is made: there are never more. */
#define COUNT_PRUNED 8

/* Rows of yesterday are still written by transactions that began then. */
#define COUNT_DAYS_KEPT 1

/* The first column of biometric.collection_count and of its key. */
#define COUNT_COL_DAY 1

static SPIPlanPtr count_plan = NULL;

bool
limit_allows(const CollectionLimit *limit, const EnvelopeHeader *header)
{
	return (limit->max_width == 0 || header->width <= (uint32) limit->max_width) &&
		   (limit->max_height == 0 || header->height <= (uint32) limit->max_height) &&
		   (limit->formats == 0 || (limit->formats & (1u << header->format)) != 0);
}

/* What was declared of dimensions and formats, in words. */
static char *
describe_limit(const CollectionLimit *limit)
{
	StringInfoData text;
	const char *separator = " ";

	initStringInfo(&text);
	if (limit->max_width != 0 && limit->max_height != 0)
		appendStringInfo(&text, " of at most %d x %d pixels", limit->max_width, limit->max_height);
	else if (limit->max_width != 0)
		appendStringInfo(&text, " at most %d pixels wide", limit->max_width);
	else if (limit->max_height != 0)
		appendStringInfo(&text, " at most %d pixels high", limit->max_height);
	if (limit->formats == 0)
		return text.data;
	appendStringInfoString(&text, text.len > 0 ? ", in format" : " in format");
	for (int format = IMAGE_FORMAT_NONE + 1; format <= IMAGE_FORMAT_LAST; format++)
		if ((limit->formats & (1u << format)) != 0)
		{
			appendStringInfo(&text, "%s%s", separator, image_format_name(format));
			separator = " or ";
		}
	return text.data;
}

pg_noreturn static void
refuse_image(const CollectionLimit *limit, Oid relation, const EnvelopeHeader *header)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("image of %u x %u pixels in format %s exceeds what column \"%s\" of table "
					"\"%s\" was declared to collect",
					header->width, header->height, image_format_name(header->format),
					NameStr(limit->column), get_rel_name(relation)),
			 errdetail("biometric.collect() declared for table \"%s\": images%s.",
					   get_rel_name(limit->relation), describe_limit(limit)),
			 errhint("Enrol an image like that, or have a custodian declare what else is to be "
					 "collected.")));
}

void
limit_check(const CollectionLimit *limit, Oid relation, const EnvelopeHeader *header)
{
	if (!limit_allows(limit, header))
		refuse_image(limit, relation, header);
}

/* ---- counting ---- */

pg_noreturn static void
refuse_count(const CollectionLimit *limit, Oid relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("table \"%s\" has as many images of this subject in column \"%s\" today as "
					"were declared to be collected",
					get_rel_name(relation), NameStr(limit->column)),
			 errdetail("biometric.collect() declared for table \"%s\": at most %d a subject and "
					   "day (UTC).",
					   get_rel_name(limit->relation), limit->max_per_day),
			 errhint("Enrol the subject another day, or have a custodian declare what else is to "
					 "be collected.")));
}

/*
 * The day that counts: that of the transaction, so that all of its rows are of one day; but one
 * that has been open for days counts for yesterday, as older rows may be gone.
 */
static DateADT
day_to_count(void)
{
	TimestampTz latest = GetCurrentTimestamp() - COUNT_DAYS_KEPT * USECS_PER_DAY;
	TimestampTz moment = Max(GetCurrentTransactionStartTimestamp(), latest);

	return (DateADT) (moment / USECS_PER_DAY - (moment % USECS_PER_DAY < 0 ? 1 : 0));
}

static void
count_prepare(void)
{
	Oid types[] = {DATEOID, UUIDOID, REGCLASSOID, INT2OID, BYTEAOID, INT4OID};
	SPIPlanPtr plan = SPI_prepare("INSERT INTO biometric.collection_count AS c "
								  "(day, log_id, relation, attnum, subject, images) "
								  "VALUES ($1, $2, $3, $4, $5, 1) "
								  "ON CONFLICT (day, log_id, relation, attnum, subject) "
								  "DO UPDATE SET images = c.images OPERATOR(pg_catalog.+) 1 "
								  "WHERE c.images OPERATOR(pg_catalog.<) $6 RETURNING images",
								  lengthof(types), types);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "a statement on biometric.collection_count cannot be prepared: %s",
			 SPI_result_code_string(SPI_result));
	count_plan = plan;
}

/*
 * Removes some rows of days before one. By the index, whatever a planner thinks of it; rows that
 * another transaction is about to remove are left to it.
 */
static void
count_prune(DateADT before)
{
	Relation table = table_open(extension_relation("collection_count"), RowExclusiveLock);
	Relation key = store_open_key(table);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TM_FailureData failure;
	ScanKeyData day;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&day, COUNT_COL_DAY, BTLessStrategyNumber, F_DATE_LT, DateADTGetDatum(before));
	scan = systable_beginscan_ordered(table, key, snapshot, 1, &day);
	for (int i = 0; i < COUNT_PRUNED; i++)
	{
		tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		if (!HeapTupleIsValid(tuple))
			break;
		(void) table_tuple_delete(table, &tuple->t_self, GetCurrentCommandId(true), snapshot,
								  InvalidSnapshot, false, &failure, false);
	}
	systable_endscan_ordered(scan);
	UnregisterSnapshot(snapshot);
	index_close(key, AccessShareLock);
	table_close(table, NoLock);
}

/* Runs a statement as our own; returns how many rows it was about. */
static uint64
count_execute(SPIPlanPtr plan, Datum *values)
{
	volatile int result = 0;

	internal_write_begin(INTERNAL_POLICY);
	PG_TRY();
	{
		result = SPI_execute_plan(plan, values, NULL, false, 0);
	}
	PG_FINALLY();
	{
		internal_write_end();
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "a statement on biometric.collection_count failed: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

/* Counts one image; false when there are as many as there may be. */
static bool
count_image(const CollectionLimit *limit, Datum subject)
{
	DateADT day = day_to_count();
	Datum values[] = {DateADTGetDatum(day),
					  UUIDPGetDatum((pg_uuid_t *) limit->log_id),
					  ObjectIdGetDatum(limit->relation),
					  Int16GetDatum(limit->attribute),
					  subject,
					  Int32GetDatum(limit->max_per_day)};
	bool isnull;

	if (count_plan == NULL)
		count_prepare();
	if (count_execute(count_plan, values) == 0)
		return false;
	/* one row more: so some that are not needed any more go */
	if (DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) == 1)
		count_prune(day - COUNT_DAYS_KEPT);
	return true;
}

/* The owner of the extension's tables. */
static Oid
count_owner(void)
{
	Relation table = table_open(limit_table(), AccessShareLock);
	Oid owner = table->rd_rel->relowner;

	table_close(table, AccessShareLock);
	return owner;
}

void
limit_count(const CollectionLimit *limit, Oid relation, const char *subject)
{
	Datum text = CStringGetTextDatum(subject);
	Datum digest = DirectFunctionCall1(sha256_bytea, text);
	Oid user;
	int security;
	bool counted;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(count_owner(), security | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	counted = count_image(limit, digest);
	SPI_finish();
	SetUserIdAndSecContext(user, security);
	if (!counted)
		refuse_count(limit, relation);
}
