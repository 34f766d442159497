/*
 * reseal.h - what the files that seal stored images again share.
 *
 * For extension/trigger only.
 */
#ifndef BIOMETRIC_TRIGGER_RESEAL_H
#define BIOMETRIC_TRIGGER_RESEAL_H

#include "base/compat.h"

#include "storage/block.h"

/* ---- reseal_rows.c: the rows of one table */

/* A stretch of one table. */
typedef struct ResealStretch
{
	Oid table;
	const char *column;
	BlockNumber first; /* where to begin */
	int64 limit;	   /* so many images at most, 1 at least */
	uint32 active;	   /* the general key that seals new images */

	/* what has become of it */
	BlockNumber next; /* where to go on; the number of blocks at the end of the table */
	bool ended;		  /* all blocks have been looked at */
	int64 sealed;
	int64 locked;	/* in rows that others have locked or changed meanwhile */
	int64 unopened; /* damaged, or without key */
	char *problem;	/* with the first of those, in the context of the caller; NULL: none */
} ResealStretch;

/*
 * reseal_rows seals images of one table again, from a block on. What is changed is the row as it
 * is, or nothing: a row that others have locked, or of which there is a newer version, is
 * passed over. Functions of indexes, generated columns and constraints run as the table's owner,
 * security-restricted, with pg_catalog as their search path. Progress is told (reseal_progress_*).
 * The caller holds ROW EXCLUSIVE; which rows there are, the active snapshot says. Errors: as
 * reseal()'s.
 */
extern void reseal_rows(ResealStretch *stretch);

/*
 * reseal_refuse_deferrable refuses a row that was written past triggers and may conflict with
 * another by a DEFERRABLE constraint: a trigger would look whether it does, for which nothing is
 * queued. Errors: 23505.
 */
pg_noreturn extern void reseal_refuse_deferrable(Relation relation);

/*
 * reseal_for_owner has a function write rows of a table: what this runs of indexes, generated
 * columns, constraints and output functions is run for the table's owner, security-restricted, with
 * pg_catalog as the search path. Errors: what the function raises; what constraints say of a row
 * goes to the log alone, since whoever has called need not have the right to read it. An error takes
 * all of this back with its (sub)transaction.
 */
extern void reseal_for_owner(Relation relation, void (*work)(void *), void *argument);

/* ---- reseal_progress.c: what others see of a call that is running */

typedef struct ResealProgress
{
	Oid relation; /* that reseal() was called for */
	int attribute;
	bool verifying; /* nothing has been sealed in this pass */
	int64 blocks_total;
	int64 blocks_done;
	int64 images_done;
	int64 images_skipped;
	int64 started_at; /* TimestampTz */
} ResealProgress;

/* reseal_progress_begin publishes that a call runs; _end ends that, as an error does. */
extern void reseal_progress_begin(const ResealProgress *progress);
extern void reseal_progress_end(void);

/*
 * reseal_progress_add publishes what has been done in addition; all of it, if an error that was
 * caught meanwhile has ended that. Cheap; may be called for each row.
 */
extern void reseal_progress_add(int64 blocks, int64 images, int64 skipped);

/* reseal_progress_now returns what is published; good until the next change of it. */
extern const ResealProgress *reseal_progress_now(void);

/* reseal_progress_again publishes anew all that was, after an error was caught, which ends it. */
extern void reseal_progress_again(void);

#endif
