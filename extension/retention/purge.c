/*
 * purge.c - settings, what goes on record, and purge_expired().
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "base/roles.h"
#include "ledger/append.h"
#include "retention/purge.h"
#include "retention/purger.h"

PG_FUNCTION_INFO_V1(biometric_purge_expired);

static int interval_ms = 60000;
static int batch_rows = 100;

/*
 * Readers whose disclosures are committed together with the entries of a batch wait for those, too:
 * with this pause those are fewer than one in a hundred.
 */
static int delay_ms = 100;

static PurgeActive *purging = NULL;

void
purge_define_settings(void)
{
	DefineCustomIntVariable("biometric_audit.purge_interval",
							"How often it is looked for images whose retention period is over.",
							"Between one purger's end and the next one's start; 0: never.",
							&interval_ms, 60000, 0, 24 * 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL,
							NULL, NULL);
	DefineCustomIntVariable("biometric_audit.purge_batch_rows",
							"How many rows are purged in one transaction, about.",
							"A batch ends with the block of the table that makes it full.",
							&batch_rows, 100, 1, 10000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("biometric_audit.purge_delay",
							"How long the purger pauses after each batch.",
							"Longer: it disturbs others less, and takes longer.", &delay_ms, 100, 0,
							10000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

int
purge_interval_ms(void)
{
	return interval_ms;
}

int
purge_batch_rows(void)
{
	return batch_rows;
}

int
purge_delay_ms(void)
{
	return delay_ms;
}

void
purge_init(void)
{
	purge_worker_init();
}

/* ---- what goes on record */

void
purge_active_set(PurgeActive *active)
{
	purging = active;
}

bool
purge_running(void)
{
	return purging != NULL;
}

static int
compare_places(const void *one, const void *other)
{
	ItemPointerData a = ((const PurgeRow *) one)->where;
	ItemPointerData b = ((const PurgeRow *) other)->where;

	return ItemPointerCompare(&a, &b);
}

char *
purge_entry(Oid relation, AttrNumber attribute, const ItemPointerData *row)
{
	const PurgeWork *work = purging->work;
	PurgeRow key = {.where = *row};
	const PurgeRow *found;
	StringInfoData detail;
	char time[MAXDATELEN + 1];
	int utc = 0;

	if (relation != RelationGetRelid(work->target->relation) ||
		(work->rule->entry.on_expiry == EXPIRY_ERASE && attribute != work->target->attribute))
		return NULL;
	found = bsearch(&key, purging->rows, purging->count, sizeof(PurgeRow), compare_places);
	if (found == NULL)
		return NULL;
	if (attribute == work->target->attribute)
		purging->purged++;
	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"rule\": ");
	escape_json(&detail, purge_rule_name(work->rule));
	appendStringInfoString(&detail, ", \"period\": ");
	escape_json(&detail, DatumGetCString(DirectFunctionCall1(
							 interval_out, IntervalPGetDatum(&work->rule->entry.period))));
	appendStringInfo(
		&detail, ", \"expired_at\": \"%s\"}",
		JsonEncodeDateTime(time, TimestampTzGetDatum(found->expired_at), TIMESTAMPTZOID, &utc));
	return detail.data;
}

/* ---- for custodians */

static void
expired_check_caller(int64 most)
{
	if (!role_is_custodian(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not purge images", GetUserNameFromId(GetUserId(), false)),
				 errdetail("Only members of role %s may.", CUSTODIAN_ROLE),
				 errhint("Ask a custodian, or wait for the purger.")));
	if (most < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_rows must be at least 1"),
				 errhint("Name the number of rows to be purged at most.")));
	PreventCommandIfReadOnly("biometric.purge_expired()");
	if (IsolationUsesXactSnapshot())
		ereport(
			ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("images cannot be purged in a transaction with isolation level %s",
					IsolationIsSerializable() ? "SERIALIZABLE" : "REPEATABLE READ"),
			 errdetail("It sees rules and holds as they were when it began; what goes must be "
					   "judged by those that there are."),
			 errhint("Call biometric.purge_expired() in a transaction with isolation level READ "
					 "COMMITTED.")));
	if (purge_running())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("images are being purged already"),
						errdetail("A trigger has called biometric.purge_expired() while a row was "
								  "being purged."),
						errhint("Take that call out of the trigger.")));
}

/* Goes on where a rule is, and once round from the beginning, until so many rows are purged. */
static int64
expired_of_rule(const RetentionEntry *entry, int64 most)
{
	PurgePass pass = {.context = CurrentMemoryContext};
	int64 purged = 0;

	while (purged + pass.stamped < most)
	{
		int64 rows;
		PurgeState state = purge_batch(entry, most - purged - pass.stamped, false, &pass, &rows);

		CHECK_FOR_INTERRUPTS();
		purged += rows;
		if (state == PURGE_BUSY || (state == PURGE_ENDED && pass.whole))
			break;
	}
	return purged;
}

PGDLLEXPORT Datum
biometric_purge_expired(PG_FUNCTION_ARGS)
{
	int64 most = PG_GETARG_INT64(0);
	RetentionEntry *entries;
	int64 purged = 0;
	int count;

	expired_check_caller(most);
	entries = rules_read(&count);
	for (int i = 0; i < count && purged < most; i++)
		purged += expired_of_rule(&entries[i], most - purged);
	PG_RETURN_INT64(purged);
}
