/*
 * helper.h - a process beside a database's worker that comes, does its work and goes.
 *
 * The launcher starts it, when it is due, in databases whose ledger takes entries. Commands that
 * want a database for themselves (DROP DATABASE and the like) wait for its end as for the
 * worker's, so it is to look at ledger_helper_unwanted() often.
 */
#ifndef BIOMETRIC_LEDGER_HELPER_H
#define BIOMETRIC_LEDGER_HELPER_H

#include "postgres.h"

typedef struct LedgerHelper
{
	const char
		*function;	  /* of this library, which the process begins with; its argument is the slot */
	const char *type; /* as shown in pg_stat_activity */

	/*
	 * due tells in how many ms one is to be started for a slot, 0: now, -1: not as things are.
	 * Runs in the launcher, which is connected to no database; must not raise.
	 */
	long (*due)(int slot);
} LedgerHelper;

/* ledger_set_helper registers the helper, of which there is one; from _PG_init. helper: static. */
extern void ledger_set_helper(const LedgerHelper *helper);

/*
 * ledger_helper_enter makes this process the helper of a slot until it exits, and returns its
 * database; InvalidOid when there is another, or none is wanted now. Called first in the process.
 */
extern Oid ledger_helper_enter(int slot);

/*
 * ledger_force_settings undoes, in a helper or a worker, what settings of the database or of the
 * superuser would change of what it promises. lock_timeout: how long it waits for locks.
 */
extern void ledger_force_settings(const char *lock_timeout);

/* ledger_helper_unwanted tells the helper whether it has to go. */
extern bool ledger_helper_unwanted(int slot);

/* ledger_helper_pid returns the process id of a slot's helper, 0 when there is none. */
extern int ledger_helper_pid(int slot);

/* ledger_helper_refused tells whether the last one that was due got no background worker. */
extern bool ledger_helper_refused(int slot);

/* ledger_helper_look has the launcher ask anew what is due. */
extern void ledger_helper_look(void);

/*
 * ledger_helper_tend is the launcher's: starts what is due for a slot, and returns in how many ms
 * to look again, at most idle_ms.
 */
extern long ledger_helper_tend(int slot, long idle_ms);

#endif
