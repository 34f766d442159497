/*
 * purge_scan.c - finds rows that there is something to be done about.
 *
 * By blocks, so that it can go on where it was. What is read once is not worth a place in
 * shared buffers: larger tables are read through a few of them.
 */
#include "base/compat.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "portability/instr_time.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "home/home.h"
#include "home/relations.h"
#include "image/facts.h"
#include "image/image.h"
#include "keyring/keyring.h"
#include "keys/keys.h"
#include "retention/purger.h"

/* Blocks of one scan, so that it ends where there are no rows, too. */
#define SCAN_BLOCKS 1024

/* ---- tables */

/* Finds the columns by their names: numbers differ between heirs. */
static bool
target_columns(const PurgeRule *rule, PurgeTarget *target)
{
	Oid table = RelationGetRelid(target->relation);

	target->attribute = get_attnum(table, rule->column);
	target->kind = target->attribute > 0 ? image_type_kind(get_atttype(table, target->attribute))
										 : IMAGE_KIND_NONE;
	if (rule->entry.time != InvalidAttrNumber)
	{
		char *name = get_attname(rule->entry.relation, rule->entry.time, true);

		target->time = name != NULL ? get_attnum(table, name) : InvalidAttrNumber;
	}
	return target->kind != IMAGE_KIND_NONE;
}

bool
purge_target_open(Oid table, const PurgeRule *rule, PurgeTarget *target, char **problem)
{
	memset(target, 0, sizeof(*target));
	if (!ConditionalLockRelationOid(table, RowExclusiveLock))
	{
		*problem = psprintf("table \"%s\" is locked by another session", get_rel_name(table));
		return false;
	}
	target->relation = try_relation_open(table, NoLock);
	if (target->relation == NULL)
		return false;
	/* what another session alone can see, that session must delete */
	if (!RELATION_IS_OTHER_TEMP(target->relation) && target_columns(rule, target))
	{
		if (!relation_images(table)->guarded)
			*problem = psprintf("table \"%s\" lacks the triggers of biometric_audit; run "
								"biometric.attach_triggers()",
								RelationGetRelationName(target->relation));
		else if (target->relation->rd_tableam->scan_set_tidrange == NULL)
			*problem = psprintf("table \"%s\" cannot be read by blocks",
								RelationGetRelationName(target->relation));
		else
		{
			home_of_column(table, target->attribute, target->home);
			return true;
		}
	}
	purge_target_close(target);
	return false;
}

void
purge_target_close(PurgeTarget *target)
{
	relation_close(target->relation, NoLock);
	target->relation = NULL;
}

/* ---- rows */

static void
scan_add(PurgeScan *scan, const PurgeRow *row)
{
	if (scan->count == scan->capacity)
	{
		scan->capacity = Max(scan->capacity * 2, 256);
		scan->rows = scan->rows == NULL
						 ? MemoryContextAlloc(scan->context, scan->capacity * sizeof(PurgeRow))
						 : repalloc(scan->rows, scan->capacity * sizeof(PurgeRow));
	}
	scan->rows[scan->count++] = *row;
}

/* Whether an image has expired; when it will, goes to scan->next. */
static bool
scan_expired(PurgeScan *scan, const EnvelopeHeader *header, PurgeRow *row)
{
	TimestampTz time;

	row->expired_at = scan->now;
	if (!retention_time(header, &time))
		return true;
	row->expired_at = time > scan->now ? time : rules_add(time, &scan->rule->entry.period);
	if (row->expired_at <= scan->now)
		return true;
	scan->next = Min(scan->next, row->expired_at);
	return false;
}

/* Whether an image has not the time of its row, and could have it. */
static bool
scan_unstamped(PurgeScan *scan, TupleTableSlot *slot, const ImageFacts *facts, PurgeRow *row)
{
	const PurgeTarget *target = scan->target;
	bool isnull;
	Datum value;

	if (!facts->authentic || target->time == InvalidAttrNumber ||
		memcmp(facts->header.home, target->home, ENVELOPE_HOME_SIZE) != 0)
		return false;
	value = slot_getattr(slot, target->time, &isnull);
	row->counts_from = retention_stamp(
		&facts->header, target->home,
		retention_counts_from_value(
			value, isnull,
			getBaseType(TupleDescAttr(slot->tts_tupleDescriptor, target->time - 1)->atttypid)));
	return (int64) facts->header.counts_from_ms != row->counts_from;
}

/*
 * Of a rule that shreds: an image that is not over keeps its key; one that is over, and under no
 * key that the rule could shred, stays.
 */
static void
scan_shred(PurgeScan *scan, const EnvelopeHeader *header, ItemPointer where)
{
	bool over = scan->period != NULL && retention_over(header, scan->period, scan->now);

	if (purge_key_meet(scan->keys, scan->rule, header->key_id, !over) || !over || !scan->own ||
		keys_is_shredded(header->key_id))
		return;
	scan->failures++;
	if (scan->problem == NULL)
		scan->problem = MemoryContextStrdup(
			scan->context,
			psprintf(
				"row (%u,%u) of table \"%s\": the image is under key %u, which is of no period "
				"of the rule's column, so it stays: run biometric.reseal()",
				ItemPointerGetBlockNumber(where), ItemPointerGetOffsetNumber(where),
				RelationGetRelationName(scan->target->relation), header->key_id));
}

static void
scan_row(PurgeScan *scan, TupleTableSlot *slot)
{
	PurgeRow row = {.where = slot->tts_tid};
	ImageFacts facts;
	bool isnull;
	Datum value = slot_getattr(slot, scan->target->attribute, &isnull);

	if (isnull)
		return;
	image_read_facts(scan->target->kind, value, &facts);
	if (!facts.authentic && keyring_find(facts.header.key_id) != NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the header of the image does not authenticate")));
	if (scan->keys != NULL)
		scan_shred(scan, &facts.header, &slot->tts_tid);
	else if (scan->rule->entry.stamped ? scan_expired(scan, &facts.header, &row)
									   : scan_unstamped(scan, slot, &facts, &row))
		scan_add(scan, &row);
}

/* Reads a row so that an error leaves the rest as it was. */
static void
scan_row_carefully(PurgeScan *scan, TupleTableSlot *slot)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		scan_row(scan, slot);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		scan->failures++;
		scan->problem =
			psprintf("row (%u,%u) of table \"%s\": %s", ItemPointerGetBlockNumber(&slot->tts_tid),
					 ItemPointerGetOffsetNumber(&slot->tts_tid),
					 RelationGetRelationName(scan->target->relation), error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

static bool
scan_is_enough(const PurgeScan *scan, instr_time start)
{
	instr_time now;

	if (scan->count >= scan->rows_wanted)
		return true;
	if (scan->ms == 0)
		return false;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_MILLISEC(now) >= scan->ms;
}

/* Goes through rows from scan->block on; returns the block that comes next. */
static BlockNumber
scan_blocks(PurgeScan *scan, TableScanDesc rows, BlockNumber end, bool carefully)
{
	Relation relation = scan->target->relation;
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric purge scan", ALLOCSET_DEFAULT_SIZES);
	BlockNumber block = scan->block;
	instr_time start;

	INSTR_TIME_SET_CURRENT(start);
	while (relation->rd_tableam->scan_getnextslot_tidrange(rows, ForwardScanDirection, slot))
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (ItemPointerGetBlockNumber(&slot->tts_tid) != block && scan_is_enough(scan, start))
		{
			end = ItemPointerGetBlockNumber(&slot->tts_tid);
			break;
		}
		block = ItemPointerGetBlockNumber(&slot->tts_tid);
		if (carefully)
		{
			scan_row_carefully(scan, slot);
			continue;
		}
		old = MemoryContextSwitchTo(context);
		scan_row(scan, slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(context);
	return end;
}

static void
scan_once(PurgeScan *scan, bool carefully)
{
	Relation relation = scan->target->relation;
	BlockNumber blocks = RelationGetNumberOfBlocks(relation);
	BlockNumber end;
	ItemPointerData first;
	ItemPointerData last;
	TableScanDesc rows;

	scan->ended = scan->block >= blocks;
	if (scan->ended)
		return;
	end = blocks - scan->block > SCAN_BLOCKS ? scan->block + SCAN_BLOCKS : blocks;
	ItemPointerSet(&first, scan->block, FirstOffsetNumber);
	ItemPointerSet(&last, end - 1, MaxOffsetNumber);
	rows =
		relation->rd_tableam->scan_begin(relation, GetActiveSnapshot(), 0, NULL, NULL,
										 SO_TYPE_TIDRANGESCAN | SO_ALLOW_PAGEMODE | SO_ALLOW_STRAT);
	relation->rd_tableam->scan_set_tidrange(rows, &first, &last);
	scan->block = scan_blocks(scan, rows, end, carefully);
	scan->ended = scan->block >= blocks;
	table_endscan(rows);
}

/*
 * All rows in one subtransaction, which takes no transaction id; if one of them cannot be read,
 * each in one of its own.
 */
void
purge_scan(PurgeScan *scan)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	PurgeScan before;
	volatile bool failed = false;

	scan->context = context;
	before = *scan;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		scan_once(scan, false);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		failed = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (failed)
	{
		*scan = before;
		scan_once(scan, true);
	}
}
