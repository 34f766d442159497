/*
 * purge_batch.c - one batch of one rule: where it is, what it does, where the next goes on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "policy/change.h"
#include "retention/purger.h"

/* A batch in the background looks for rows no longer than this, then it pauses. */
#define SCAN_MS 5

/* And in no more tables, whose locks it would keep. */
#define TABLES_OF_BATCH 16

/*
 * Passes over a table in which nothing is known to be due, and over one in which something is: not
 * sooner than so many times what reading it takes, at some speed.
 */
#define BLOCKS_PER_SECOND 10000
#define IDLE_SHARE 50
#define BUSY_SHARE 5

/* What it takes to open a table, in blocks. */
#define BLOCKS_OF_OPENING 10

/* For rows that others have locked, or that cannot go: not sooner than so long, for each. */
#define LEFT_ROW_PAUSE USECS_PER_SEC
#define LONGEST_PAUSE USECS_PER_DAY /* purge_rule_take knows it, too */

typedef struct Batch
{
	const PurgeRule *rule;
	PurgePass *pass;
	bool calm;
	int64 most;
	TimestampTz now;
	PurgeProgress progress;
} Batch;

/* ---- where a pass is */

static Oid
position_table(uint64 position)
{
	return (Oid) (position >> 32);
}

static uint64
position_of(Oid table, BlockNumber block)
{
	return (uint64) table << 32 | block;
}

/* The first table from a position on; InvalidOid at the end. */
static Oid
next_table(const Batch *batch)
{
	ListCell *cell;

	foreach(cell, batch->pass->tables)
		if (lfirst_oid(cell) >= position_table(batch->progress.position))
			return lfirst_oid(cell);
	return InvalidOid;
}

/* Puts the position behind a table. */
static void
pass_over(Batch *batch, Oid table)
{
	batch->progress.position = position_of(table + 1, 0);
}

static void
note_problem(Batch *batch, const char *problem, int64 left)
{
	batch->pass->left += left;
	if (problem != NULL)
		batch->progress.problem = problem;
}

/* ---- a batch */

static void
batch_work(Batch *batch, const PurgeTarget *target, const PurgeScan *scan)
{
	PurgeWork work = {.target = target, .rule = batch->rule, .calm = batch->calm};
	int seen = purge_rows(&work, scan->rows, scan->count, batch->most - batch->progress.purged);

	if (batch->rule->entry.stamped)
		batch->progress.purged += work.done;
	else
		batch->pass->stamped += work.done;
	note_problem(batch, work.problem, work.left + work.failures);
	/* what was not looked at is looked for again */
	if (seen < scan->count)
		batch->progress.position = position_of(RelationGetRelid(target->relation),
											   ItemPointerGetBlockNumber(&scan->rows[seen].where));
}

/*
 * Opens a table if there is anything to be done in it for the rule. By which rule it goes is asked
 * when it is locked: then that stays so.
 */
static bool
batch_open(Batch *batch, Oid table, PurgeScan *scan, RetentionEntry *chosen, PurgeTarget *target)
{
	char *problem = NULL;

	if (batch->calm && list_member_oid(batch->pass->skip, table))
		problem = psprintf("purging table \"%s\" did not come to an end, and was ended: a function "
						   "in its triggers or indexes keeps it",
						   get_rel_name(table));
	else if (purge_target_open(table, batch->rule, target, &problem))
	{
		bool found = purge_rule_of_table(batch->rule, table, chosen, &scan->own);

		if (found && (scan->own || scan->keys != NULL))
		{
			scan->period = chosen->in_force && chosen->stamped ? &chosen->period : NULL;
			return true;
		}
		purge_target_close(target);
	}
	note_problem(batch, problem, problem != NULL ? 1 : 0);
	/* what was not seen of its keys must not go */
	batch->pass->unseen = batch->pass->unseen || problem != NULL;
	return false;
}

/* Does what is to be done from the position on in one table; true when a batch has been done. */
static bool
batch_table(Batch *batch, Oid table)
{
	RetentionEntry chosen;
	bool resumed = position_table(batch->progress.position) == table;
	PurgeScan scan = {.rule = batch->rule,
					  .now = batch->now,
					  .rows_wanted = purge_batch_rows(),
					  .ms = batch->calm ? SCAN_MS : 0,
					  .next = batch->progress.next};
	PurgeTarget target;

	if (batch->rule->entry.stamped)
		scan.keys = batch->pass->keys;
	scan.block = resumed ? (BlockNumber) batch->progress.position : 0;
	if (scan.block == 0)
		batch->pass->blocks += BLOCKS_OF_OPENING;
	if (!batch_open(batch, table, &scan, &chosen, &target))
	{
		pass_over(batch, table);
		return false;
	}
	scan.target = &target;
	if (scan.block == 0)
		batch->pass->blocks += RelationGetNumberOfBlocks(target.relation);
	purge_scan(&scan);
	note_problem(batch, scan.problem, scan.failures);
	batch->progress.next = scan.next;
	if (scan.ended)
		pass_over(batch, table);
	else
		batch->progress.position = position_of(table, scan.block);
	if (scan.count > 0)
		batch_work(batch, &target, &scan);
	purge_target_close(&target);
	return scan.count > 0 || !scan.ended;
}

/* When the next pass is to begin, now that this one has ended. */
static TimestampTz
next_pass(const Batch *batch)
{
	int64 reading = batch->pass->blocks * USECS_PER_SEC / BLOCKS_PER_SECOND;
	int64 idle = Max(reading * IDLE_SHARE, batch->pass->left * LEFT_ROW_PAUSE);
	TimestampTz latest = batch->now + Min(idle, LONGEST_PAUSE);
	TimestampTz earliest = batch->now + Min(reading * BUSY_SHARE, LONGEST_PAUSE);

	return Max(earliest, Min(latest, batch->progress.next));
}

/* Only who has seen all images can tell which keys are for none that has to stay. */
static void
end_shred(Batch *batch)
{
	if (!batch->pass->whole || batch->pass->unseen)
		batch->pass->left++;
	else
		batch->pass->left += purge_keys(batch->rule, batch->pass, batch->now, &batch->progress);
}

static PurgeState
end_pass(Batch *batch)
{
	if (batch->rule->entry.stamped && batch->pass->keys != NULL)
		end_shred(batch);
	batch->progress.position = 0;
	batch->progress.pass_ended = true;
	batch->progress.nothing_left = batch->pass->left == 0;
	if (!batch->rule->entry.stamped && batch->pass->left == 0)
	{
		/* what is due by it can go at once */
		purge_rule_stamped(batch->rule);
		batch->progress.next = DT_NOEND;
		return PURGE_MORE;
	}
	batch->progress.next = next_pass(batch);
	return PURGE_ENDED;
}

static PurgeState
batch_run(Batch *batch)
{
	Oid table;

	for (int tables = 1; OidIsValid(table = next_table(batch)); tables++)
		if (batch_table(batch, table) || (batch->calm && tables == TABLES_OF_BATCH))
			return PURGE_MORE;
	return end_pass(batch);
}

/* Knows what was left by earlier batches of the same pass, if this process did them. */
static void
pass_resume(PurgePass *pass, const PurgeRule *rule)
{
	MemoryContext old;

	/* somebody else may have gone on with it meanwhile */
	if (rule->position != 0 && rule->position == pass->position &&
		pass->relation == rule->entry.relation && pass->attribute == rule->entry.attribute &&
		pass->since == rule->since)
		return;
	if (pass->memory != NULL)
		MemoryContextDelete(pass->memory);
	*pass = (PurgePass){.context = pass->context,
						.skip = pass->skip,
						.stamped = pass->stamped,
						.relation = rule->entry.relation,
						.attribute = rule->entry.attribute,
						.since = rule->since,
						.whole = rule->position == 0,
						/* of a pass that another process began nobody knows what it left */
						.left = rule->position != 0 ? 1 : 0};
	pass->memory =
		AllocSetContextCreate(pass->context, "biometric purge pass", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(pass->memory);
	pass->tables = purge_rule_tables(rule);
	MemoryContextSwitchTo(old);
	if (rule->entry.on_expiry == EXPIRY_SHRED)
		pass->keys = purge_keys_begin(pass->memory);
}

static PurgeState
batch_of_rule(Batch *batch)
{
	const PurgeRule *rule = batch->rule;
	PurgeState state;

	pass_resume(batch->pass, rule);
	batch->progress.position = rule->position;
	batch->progress.next = rule->position == 0 ? DT_NOEND : rule->next;
	state = batch_run(batch);
	purge_rule_put(rule, &batch->progress);
	batch->pass->position = batch->progress.position;
	return state;
}

/*
 * What a security-restricted statement defers would be refused. What the transaction has deferred
 * so far is done now, for whoever it is that purges.
 */
static void
defer_nothing(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0);
	SPI_finish();
}

/*
 * A hold that is just being placed is waited for by whoever loses images; so as not to
 * wait with tables locked, it is waited for here, or not at all.
 */
static bool
may_lose_images(bool calm)
{
	Oid held = extension_relation("held");

	if (!OidIsValid(held))
		return false;
	if (calm)
		return ConditionalLockRelationOid(held, RowExclusiveLock);
	LockRelationOid(held, RowExclusiveLock);
	return true;
}

void
purge_note_problem(const RetentionEntry *entry, const char *problem)
{
	PolicyChange change;
	PurgeRule rule;

	change_begin_checked(&change);
	if (purge_rule_take(entry, true, &rule))
		purge_rule_put(
			&rule,
			&(PurgeProgress){.position = rule.position, .next = rule.next, .problem = problem});
	change_end(&change);
}

PurgeState
purge_batch(const RetentionEntry *entry, int64 most, bool calm, PurgePass *pass, int64 *purged)
{
	PurgeRule rule;
	Batch batch = {.rule = &rule, .pass = pass, .calm = calm, .most = most};
	PurgeState state;
	PolicyChange change;

	*purged = 0;
	if (!may_lose_images(calm))
		return PURGE_BUSY;
	defer_nothing();
	PushActiveSnapshot(GetLatestSnapshot());
	change_begin_checked(&change);
	batch.now = GetCurrentTimestamp();
	state = purge_rule_take(entry, calm, &rule) ? batch_of_rule(&batch) : PURGE_BUSY;
	change_end(&change);
	PopActiveSnapshot();
	CommandCounterIncrement();
	*purged = batch.progress.purged;
	return state;
}
