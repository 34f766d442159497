/*
 * purge_batch.c - one batch of one rule: where it is, what it does, where the next goes on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "policy/change.h"
#include "retention/purger.h"

/* A batch in the background looks for rows no longer than this, then it pauses. */
#define SCAN_MS 5

/*
 * Passes over a table in which nothing is known to be due, and over one in which something is: not
 * sooner than so many times what reading it takes, at some speed.
 */
#define BLOCKS_PER_SECOND 10000
#define IDLE_SHARE 50
#define BUSY_SHARE 5

/* For rows that others have locked, or that cannot go: not sooner than so long, for each. */
#define LEFT_ROW_PAUSE USECS_PER_SEC
#define LONGEST_PAUSE USECS_PER_DAY

typedef struct Batch
{
	const PurgeRule *rule;
	PurgePass *pass;
	List *tables; /* OIDs */
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

	foreach(cell, batch->tables)
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
	PurgeWork work = {.target = target, .rule = batch->rule};
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

/* Does what is to be done from the position on in one table; true when a batch has been done. */
static bool
batch_table(Batch *batch, Oid table)
{
	bool resumed = position_table(batch->progress.position) == table;
	PurgeScan scan = {.rule = batch->rule,
					  .now = batch->now,
					  .rows_wanted = purge_batch_rows(),
					  .ms = batch->calm ? SCAN_MS : 0,
					  .next = batch->progress.next};
	PurgeTarget target;
	char *problem = NULL;

	scan.block = resumed ? (BlockNumber) batch->progress.position : 0;
	if (!purge_target_open(table, batch->rule, &target, &problem))
	{
		note_problem(batch, problem, problem != NULL ? 1 : 0);
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

static PurgeState
end_pass(Batch *batch)
{
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

	while (OidIsValid(table = next_table(batch)))
		if (batch_table(batch, table))
			return PURGE_MORE;
	return end_pass(batch);
}

static PurgeState
batch_shred(Batch *batch)
{
	batch->progress.next = DT_NOEND;
	purge_keys(batch->rule, batch->tables, batch->now, &batch->progress);
	batch->progress.pass_ended = true;
	batch->progress.nothing_left = batch->progress.problem == NULL;
	return PURGE_ENDED;
}

/* Whether there is anything to begin with. */
static bool
batch_is_due(const Batch *batch)
{
	return !batch->calm || batch->rule->position != 0 || TIMESTAMP_IS_NOEND(batch->rule->next) ||
		   batch->rule->next <= batch->now;
}

/* Knows what was left by earlier batches of the same pass, if this process did them. */
static void
pass_resume(PurgePass *pass, const PurgeRule *rule)
{
	if (rule->position != 0 && pass->relation == rule->entry.relation &&
		pass->attribute == rule->entry.attribute && pass->since == rule->since)
		return;
	*pass = (PurgePass){.stamped = pass->stamped,
						.relation = rule->entry.relation,
						.attribute = rule->entry.attribute,
						.since = rule->since,
						.whole = rule->position == 0,
						/* of a pass that another process began nobody knows what it left */
						.left = rule->position != 0 ? 1 : 0};
}

static PurgeState
batch_of_rule(Batch *batch, const RetentionEntry *entries, int count)
{
	const PurgeRule *rule = batch->rule;
	PurgeState state;

	if (!batch_is_due(batch))
		return PURGE_ENDED;
	pass_resume(batch->pass, rule);
	batch->progress.position = rule->position;
	batch->progress.next = rule->position == 0 ? DT_NOEND : rule->next;
	batch->tables = purge_rule_tables(rule, entries, count);
	state = rule->entry.stamped && rule->entry.on_expiry == EXPIRY_SHRED ? batch_shred(batch)
																		 : batch_run(batch);
	purge_rule_put(rule, &batch->progress);
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

static const RetentionEntry *
present_entry(const RetentionEntry *entries, int count, const RetentionEntry *entry)
{
	for (int i = 0; i < count; i++)
		if (entries[i].relation == entry->relation && entries[i].attribute == entry->attribute)
			return &entries[i];
	return NULL;
}

PurgeState
purge_batch(const RetentionEntry *entry, int64 most, bool calm, PurgePass *pass, int64 *purged)
{
	int count;
	RetentionEntry *entries;
	const RetentionEntry *present;
	PurgeRule rule;
	Batch batch = {
		.rule = &rule, .pass = pass, .calm = calm, .most = most, .now = GetCurrentTimestamp()};
	PurgeState state;
	PolicyChange change;

	*purged = 0;
	if (!may_lose_images(calm))
		return PURGE_BUSY;
	defer_nothing();
	/* the rule may have gone, or become another one, since it was listed */
	entries = rules_read(&count);
	present = present_entry(entries, count, entry);
	if (present == NULL)
		return PURGE_ENDED;
	PushActiveSnapshot(GetLatestSnapshot());
	change_begin_checked(&change);
	state =
		purge_rule_take(present, !calm, &rule) ? batch_of_rule(&batch, entries, count) : PURGE_BUSY;
	change_end(&change);
	PopActiveSnapshot();
	CommandCounterIncrement();
	*purged = batch.progress.purged;
	return state;
}
