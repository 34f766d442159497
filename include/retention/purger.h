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
#include "utils/hsearch.h"
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
 * purge_rule_take locks a rule until the end of the transaction, and then reads it; false if it is
 * gone. entry: which one. calm: false, too, when somebody else has it, or no pass is due, for which
 * it is not locked; otherwise it waits. Between change_begin and change_end.
 */
extern bool purge_rule_take(const RetentionEntry *entry, bool calm, PurgeRule *rule);

/* purge_rule_put writes the progress of a rule that was taken. */
extern void purge_rule_put(const PurgeRule *rule, const PurgeProgress *progress);

/* purge_rule_stamped has a rule come into force: all images have the times of their rows. */
extern void purge_rule_stamped(const PurgeRule *rule);

/* purge_rule_name returns "public.person.image", for the ledger. */
extern char *purge_rule_name(const PurgeRule *rule);

/*
 * purge_rule_tables returns the tables with rows of a rule's relation and its heirs, ascending by
 * OID. Not all need go by the rule: see purge_rule_of_table.
 */
extern List *purge_rule_tables(const PurgeRule *rule);

/*
 * purge_rule_of_table finds the rule that counts for the column in a table at this moment, and for
 * as long as the table stays locked against retain(); false: none. own: whether it is this one.
 */
extern bool purge_rule_of_table(const PurgeRule *rule, Oid table, RetentionEntry *chosen,
								bool *own);

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
	HTAB *keys;				/* of a rule that shreds: see purge_key_meet; otherwise NULL */
	const Interval *period; /* then: of the table's own rule; NULL: it is not in force */
	bool own;				/* and whether that is this rule */
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
	bool calm;	   /* as purge_batch has it: triggers have only so much time */
	bool waited;   /* somebody's lock has been waited for in vain */
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

/* What is known of the pass that a process is in. Zeroes at first, but for context and skip. */
typedef struct PurgePass
{
	MemoryContext context; /* that lasts as long as this does */
	List *skip;			   /* tables that are left out this time */
	MemoryContext memory;  /* of what follows, in context */
	List *tables;		   /* that there were at its beginning */
	HTAB *keys;			   /* as purge_keys_begin; NULL: the rule shreds none */
	Oid relation;
	AttrNumber attribute;
	TimestampTz since;
	uint64 position; /* where this process left it */
	bool whole;		 /* the process that knows this has begun it */
	bool unseen;	 /* a table was passed over */
	int64 left;		 /* rows that were left for the next pass */
	uint64 blocks;	 /* that the tables have */
	int64 stamped;	 /* rows that this process stamped, in this pass and before */
} PurgePass;

/* purge_keys_begin makes what a pass knows of keys, in a memory context. */
extern HTAB *purge_keys_begin(MemoryContext context);

/*
 * purge_key_meet notes that an image is under a key, and whether that is not over yet: such
 * a key is not shredded. Tells whether the key is one that the rule may shred.
 */
extern bool purge_key_meet(HTAB *keys, const PurgeRule *rule, uint32 id, bool living);

/*
 * purge_keys requests that keys are shredded whose periods are over, and under which the pass that
 * now ends has met no image that is not, nor has any come since. Returns how many of them stay.
 */
extern int purge_keys(const PurgeRule *rule, const PurgePass *pass, TimestampTz now,
					  PurgeProgress *progress);

/* ---- purge_batch.c: one batch of one rule */

typedef enum PurgeState
{
	PURGE_MORE,	 /* there is more to be done for this rule */
	PURGE_ENDED, /* a pass has ended, or is not due */
	PURGE_BUSY	 /* somebody else has the rule */
} PurgeState;

/*
 * purge_batch does a batch for a rule. most: rows to be purged at most. calm: as a process in the
 * background, which waits for nobody and only begins a pass that is due; otherwise at once.
 * pass: what the last batch left. purged: set to the number of rows.
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

/* purge_note_problem writes down what kept a batch from being done. In a transaction. */
extern void purge_note_problem(const RetentionEntry *entry, const char *problem);

/* ---- purge_worker.c */

extern void purge_worker_init(void);

/*
 * purge_watch ends this process, the purger, if what it begins now with a table is not over by
 * then; a function of its owner's that catches all that can be caught may see to that. Those that
 * follow leave the table out until one of them has done all the rest. InvalidOid: it is over.
 */
extern void purge_watch(Oid table, int ms);

#endif
