/*
 * purger.h - what the files of the purger share.
 *
 * For extension/retention only. Everything here needs a transaction; results are in the current
 * memory context.
 */
#ifndef BIOMETRIC_RETENTION_PURGER_H
#define BIOMETRIC_RETENTION_PURGER_H

#include "base/compat.h"

#include "nodes/pg_list.h"
#include "storage/block.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

#include "retention/rules.h"

/* ---- purge_rules.c: the rules, and how far purging has come with each */

typedef struct PurgeRule
{
	RetentionEntry entry;
	char *column;
	uint64 position;   /* as biometric.retention.purge_block; 0: no pass is under way */
	TimestampTz next;  /* as its purge_next; DT_NOEND: NULL */
	TimestampTz since; /* when it was declared: it tells a rule from one that replaced it */
} PurgeRule;

/* What is written of a batch. */
typedef struct PurgeProgress
{
	uint64 position;
	TimestampTz next;
	int64 purged; /* rows of this batch */
	bool pass_ended;
	bool nothing_left;	 /* of the pass that has ended, which no problem is to be told of */
	const char *problem; /* NULL: what was written before stays, until a pass has ended */
} PurgeProgress;

/*
 * purge_rule_take reads a rule and locks it until the end of the transaction; false if it is gone.
 * wait: for whoever has it locked; otherwise false then, too. Between change_begin and change_end.
 */
extern bool purge_rule_take(const RetentionEntry *entry, bool wait, PurgeRule *rule);

/* purge_rule_put writes the progress of a rule that was taken. */
extern void purge_rule_put(const PurgeRule *rule, const PurgeProgress *progress);

/* purge_rule_stamped has a rule come into force: all images have the times of their rows. */
extern void purge_rule_stamped(const PurgeRule *rule);

/* purge_rule_name returns "public.person.image", for the ledger. */
extern char *purge_rule_name(const PurgeRule *rule);

/*
 * purge_rule_tables returns the tables with rows that a rule is for, ascending by OID: of its
 * relation and its heirs, those that have no nearer rule. entries: all rules.
 */
extern List *purge_rule_tables(const PurgeRule *rule, const RetentionEntry *entries, int count);

/* ---- purge_scan.c: rows that there is something to be done about */

/* One column of one table. */
typedef struct PurgeTarget
{
	Relation relation;
	AttrNumber attribute;
	ImageKind kind;
	AttrNumber time; /* the rule's time column, InvalidAttrNumber: none */
	uint8 home[ENVELOPE_HOME_SIZE];
} PurgeTarget;

typedef struct PurgeRow
{
	ItemPointerData where;
	TimestampTz expired_at;
	int64 counts_from; /* to be stamped with */
} PurgeRow;

typedef struct PurgeScan
{
	const PurgeTarget *target;
	const PurgeRule *rule;
	TimestampTz now;
	int rows_wanted;	   /* it ends with the block in which so many were found */
	int ms;				   /* or after this time; 0: none */
	BlockNumber block;	   /* where it begins; afterwards, where to go on */
	bool ended;			   /* that is the end of the table */
	MemoryContext context; /* of what is found; set by purge_scan */
	PurgeRow *rows;		   /* ascending by place */
	int count;
	int capacity;
	TimestampTz next; /* when the first image that is not due will be; DT_NOEND: none */
	int failures;	  /* rows that could not be read */
	char *problem;	  /* of the last one; NULL: none */
} PurgeScan;

/*
 * purge_target_open opens a table and finds the rule's column in it, without waiting for
 * locks; false when it cannot be had, with problem set if that is to be known.
 * The lock stays until the end of the transaction.
 */
extern bool purge_target_open(Oid table, const PurgeRule *rule, PurgeTarget *target,
							  char **problem);
extern void purge_target_close(PurgeTarget *target);

/*
 * purge_scan finds rows whose images have expired; of a rule that is not stamped, rows whose images
 * have not the time of their row. Rows that cannot be read are counted and left out.
 */
extern void purge_scan(PurgeScan *scan);

/* ---- purge_rows.c: emptying, deleting and stamping them */

typedef struct PurgeWork
{
	const PurgeTarget *target;
	const PurgeRule *rule;
	int64 done;	   /* rows that were emptied, deleted or stamped */
	int left;	   /* rows that others have locked or changed, or that are still there */
	int failures;  /* rows at which something was raised */
	char *problem; /* NULL: none */
} PurgeWork;

/*
 * purge_rows works on rows in order until so many are done, all together if that goes, else each by
 * itself, in subtransactions; returns how many it has looked at. Errors: 57014 when cancelled.
 */
extern int purge_rows(PurgeWork *work, const PurgeRow *rows, int count, int64 most);

/*
 * purge_stamp_row writes a row with its time in the image's header; in a subtransaction of
 * purge_rows. slot: the row, locked. Tells whether it did: not when the image's key is not at hand.
 */
extern bool purge_stamp_row(const PurgeTarget *target, const PurgeRow *row, TupleTableSlot *slot);

/* ---- purge_shred.c */

/* purge_keys requests that keys are shredded whose periods are over. */
extern void purge_keys(const PurgeRule *rule, const List *tables, TimestampTz now,
					   PurgeProgress *progress);

/* ---- purge_batch.c: one batch of one rule */

/* What is known of the pass that a process is in. */
typedef struct PurgePass
{
	Oid relation;
	AttrNumber attribute;
	TimestampTz since;
	bool whole;	   /* the process that knows this has begun it */
	int64 left;	   /* rows that were left for the next pass */
	uint64 blocks; /* that the tables have */
	int64 stamped; /* rows that this process stamped, in this pass and before */
} PurgePass;

typedef enum PurgeState
{
	PURGE_MORE,	 /* there is more to be done for this rule */
	PURGE_ENDED, /* a pass has ended, or is not due */
	PURGE_BUSY	 /* somebody else has the rule */
} PurgeState;

/*
 * purge_batch does a batch for a rule. most: rows to be purged at most. calm: as a process in the
 * background, which waits for nobody and only begins a pass that is due; otherwise at once.
 * pass: what the last batch left, zeroes at first. purged: set to the number of rows.
 */
extern PurgeState purge_batch(const RetentionEntry *entry, int64 most, bool calm, PurgePass *pass,
							  int64 *purged);

/* ---- purge.c */

/* Which rows are being purged in this process; see purge_entry. */
typedef struct PurgeActive
{
	const PurgeWork *work;
	const PurgeRow *rows;
	int count;
	int64 purged; /* rows of these whose image went */
} PurgeActive;

/* purge_active_set makes rows those that are being purged; NULL: none. Never raises. */
extern void purge_active_set(PurgeActive *active);

/* The settings. */
extern int purge_interval_ms(void);
extern int purge_batch_rows(void);
extern int purge_delay_ms(void);

/* ---- purge_worker.c */

extern void purge_worker_init(void);

#endif
