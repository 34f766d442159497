/*
 * purge_rows.c - empties, deletes and stamps rows.
 *
 * As the table's owner, security-restricted and with no search path but pg_catalog: what the owner
 * has put into triggers, indexes and foreign keys runs as for any statement of his, and can
 * do no more. Row security of his own does not apply, as for foreign keys.
 */
#include "base/compat.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "image/bind.h"
#include "image/image.h"
#include "retention/hold.h"
#include "retention/purger.h"

/*
 * What one statement in the background may take, and rows of a batch that are tried one by one
 * together; what then does not end is ended by force, so much later. The batch keeps its locks
 * meanwhile.
 */
#define STATEMENT_MS 5000
#define SINGLE_ROWS_MS 5000
#define FORCE_MS 3000

/* How long a lock is waited for in a batch that has waited for one in vain. */
#define LOCK_TIMEOUT_AGAIN "10ms"

/* Whoever a piece of work is done as. */
typedef struct PurgeOwner
{
	Oid user;
	int security;
	int settings;
} PurgeOwner;

static void
owner_become(const PurgeWork *work, PurgeOwner *before)
{
	before->settings = NewGUCNestLevel();
	GetUserIdAndSecContext(&before->user, &before->security);
	SetUserIdAndSecContext(work->target->relation->rd_rel->relowner,
						   before->security | SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
	restrict_search_path();
	if (work->waited)
		(void) set_config_option("lock_timeout", LOCK_TIMEOUT_AGAIN, PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* An error in between is made good by the end of the subtransaction. */
static void
owner_end(const PurgeOwner *before)
{
	AtEOXact_GUC(false, before->settings);
	SetUserIdAndSecContext(before->user, before->security);
}

/* ---- which rows may go */

/* Whether an image of a row, of any column that goes with it, is under a legal hold. */
static bool
row_is_held(const PurgeWork *work, TupleTableSlot *slot)
{
	TupleDesc desc = slot->tts_tupleDescriptor;

	if (!hold_any())
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		ImageKind kind;
		EnvelopeHeader header;
		bool isnull;
		Datum value;

		if (attribute->attisdropped || (work->rule->entry.on_expiry == EXPIRY_ERASE &&
										attribute->attnum != work->target->attribute))
			continue;
		kind = image_type_kind(attribute->atttypid);
		if (kind == IMAGE_KIND_NONE)
			continue;
		value = slot_getattr(slot, attribute->attnum, &isnull);
		if (isnull)
			continue;
		image_read_header(kind, value, &header);
		if (hold_of(header.image_id) != 0)
			return true;
	}
	return false;
}

/* Locks a row as it was found; false when others have it, or have changed it. */
static bool
row_lock(const PurgeWork *work, const PurgeRow *row, TupleTableSlot *slot)
{
	ItemPointerData where = row->where;
	LockTupleMode mode = work->rule->entry.stamped && work->rule->entry.on_expiry == EXPIRY_DELETE
							 ? LockTupleExclusive
							 : LockTupleNoKeyExclusive;
	TM_FailureData failure;

	return table_tuple_lock(work->target->relation, &where, GetActiveSnapshot(), slot,
							GetCurrentCommandId(true), mode, LockWaitSkip, 0, &failure) == TM_Ok;
}

/* Rows that others have; theirs is the last word only if there is nothing else to be said. */
static void
rows_locked(PurgeWork *work, int count)
{
	work->left += count;
	if (count > 0 && work->problem == NULL)
		work->problem = psprintf("%d rows of table \"%s\" are locked by other sessions", count,
								 RelationGetRelationName(work->target->relation));
}

/* ---- the statement */

static char *
rows_statement(const PurgeWork *work)
{
	const char *table =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(work->target->relation)),
								   RelationGetRelationName(work->target->relation));
	static const char where[] = "WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)";

	if (work->rule->entry.on_expiry == EXPIRY_DELETE)
		return psprintf("DELETE FROM ONLY %s %s", table, where);
	return psprintf("UPDATE ONLY %s SET %s = NULL %s", table,
					quote_identifier(get_attname(RelationGetRelid(work->target->relation),
												 work->target->attribute, false)),
					where);
}

/* Empties or deletes rows that are locked, with all that triggers and foreign keys do then. */
static void
rows_execute(PurgeWork *work, Datum *places, int count)
{
	Oid type = TIDARRAYOID;
	Datum array = PointerGetDatum(
		construct_array(places, count, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));
	PurgeOwner before;
	int result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	owner_become(work, &before);
	result = SPI_execute_with_args(rows_statement(work), 1, &type, &array, NULL, false, 0);
	owner_end(&before);
	if (result < 0)
		elog(ERROR, "rows could not be purged: %s", SPI_result_code_string(result));
	SPI_finish();
}

static int64
rows_purge(PurgeWork *work, const PurgeRow *rows, int count)
{
	PurgeActive active = {.work = work, .rows = rows, .count = count};
	TupleTableSlot *slot = table_slot_create(work->target->relation, NULL);
	Datum *places = palloc_array(Datum, count);
	int locked = 0;
	int others = 0;

	for (int i = 0; i < count; i++)
	{
		/* held rows are not left over: they stay until they are released */
		if (!row_lock(work, &rows[i], slot))
			others++;
		else if (!row_is_held(work, slot))
			places[locked++] = PointerGetDatum(&rows[i].where);
		ExecClearTuple(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	rows_locked(work, others);
	if (locked == 0)
		return 0;
	purge_active_set(&active);
	rows_execute(work, places, locked);
	purge_active_set(NULL);
	if (active.purged < locked)
	{
		work->left += locked - (int) active.purged;
		work->problem =
			psprintf("%d rows of table \"%s\" stay: a trigger or rule of its owner "
					 "keeps them",
					 locked - (int) active.purged, RelationGetRelationName(work->target->relation));
	}
	return active.purged;
}

static int64
rows_stamp(PurgeWork *work, const PurgeRow *rows, int count)
{
	TupleTableSlot *slot = table_slot_create(work->target->relation, NULL);
	PurgeOwner before;
	int64 stamped = 0;
	int others = 0;

	owner_become(work, &before);
	for (int i = 0; i < count; i++)
	{
		if (!row_lock(work, &rows[i], slot))
			others++;
		else
			stamped += purge_stamp_row(work->target, &rows[i], slot);
		ExecClearTuple(slot);
	}
	owner_end(&before);
	ExecDropSingleTupleTableSlot(slot);
	rows_locked(work, others);
	return stamped;
}

/* ---- in subtransactions */

/* What is to be known of an error; raises it again when the work is to end. */
static void
rows_failed(PurgeWork *work, const PurgeRow *row, int count, ErrorData *error)
{
	/* in the background nobody cancels anything, but a trigger may say so */
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && !work->calm)
		ReThrowError(error);
	work->waited = work->calm && (work->waited || error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE);
	if (count > 1)
		return;
	work->failures++;
	work->problem =
		psprintf("row (%u,%u) of table \"%s\": %s", ItemPointerGetBlockNumber(&row->where),
				 ItemPointerGetOffsetNumber(&row->where),
				 RelationGetRelationName(work->target->relation), error->message);
}

/* Functions of the owner's must come to an end. */
static void
rows_watch(const PurgeWork *work)
{
	if (!work->calm)
		return;
	purge_watch(RelationGetRelid(work->target->relation), STATEMENT_MS + FORCE_MS);
	enable_timeout_after(STATEMENT_TIMEOUT, STATEMENT_MS);
}

static void
rows_watch_end(const PurgeWork *work)
{
	if (!work->calm)
		return;
	disable_timeout(STATEMENT_TIMEOUT, false);
	purge_watch(InvalidOid, 0);
	/* it may have come just too late */
	QueryCancelPending = false;
}

/* Works on rows in one subtransaction; false when it failed, and nothing was done. */
static bool
rows_try(PurgeWork *work, const PurgeRow *rows, int count)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int left = work->left;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	rows_watch(work);
	PG_TRY();
	{
		work->done += work->rule->entry.stamped ? rows_purge(work, rows, count)
												: rows_stamp(work, rows, count);
		rows_watch_end(work);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		rows_watch_end(work);
		purge_active_set(NULL);
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		work->left = left;
		rows_failed(work, rows, count, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/*
 * Each row by itself. A trigger that takes too long would have the batch keep its locks for as many
 * times that: the rest is left for another time.
 */
static void
rows_try_each(PurgeWork *work, const PurgeRow *rows, int count)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SINGLE_ROWS_MS);
	int i = 0;

	while (i < count && (!work->calm || GetCurrentTimestamp() < until))
		(void) rows_try(work, rows + i++, 1);
	work->left += count - i;
	if (i < count && work->problem == NULL)
		work->problem = psprintf("rows of table \"%s\" take too long to be purged",
								 RelationGetRelationName(work->target->relation));
}

int
purge_rows(PurgeWork *work, const PurgeRow *rows, int count, int64 most)
{
	int seen = 0;

	while (seen < count && work->done < most)
	{
		int chunk = (int) Min(count - seen, most - work->done);

		CHECK_FOR_INTERRUPTS();
		if (!rows_try(work, rows + seen, chunk) && chunk > 1)
			rows_try_each(work, rows + seen, chunk);
		seen += chunk;
	}
	return seen;
}
