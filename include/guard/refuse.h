/*
 * refuse.h - how the guard says no: a ledger entry first, then the error.
 *
 * For extension/guard and extension/trigger.
 */
#ifndef BIOMETRIC_GUARD_REFUSE_H
#define BIOMETRIC_GUARD_REFUSE_H

#include "base/compat.h"

/* Why a command is refused. The names that entries show are in refuse.c. */
typedef enum GuardRule
{
	GUARD_MEMBER,		/* an object of the extension, or what hangs on one */
	GUARD_HANG,			/* something new on a table of the extension */
	GUARD_EXTENSION,	/* dropping all of it while the ledger has entries */
	GUARD_ROLE,			/* the extension's roles */
	GUARD_OWNER,		/* giving away what the extension's owner has */
	GUARD_TRIGGER,		/* the triggers on tables with images */
	GUARD_CATALOG,		/* system catalogs */
	GUARD_IMAGE_COLUMN, /* turning an image column into something else */
	GUARD_CAST,			/* casts without a function */
	GUARD_SYMBOL,		/* functions on the library's symbols */
	GUARD_LOCK,			/* locks in the way of the ledger's worker */
	GUARD_MAINTENANCE,	/* maintenance of ledger tables in a transaction block */
	GUARD_SETTING,		/* settings, by others than custodians */
	GUARD_TWO_PERSON,	/* the setting that asks for two of them, by one */
	GUARD_LOCKDOWN,		/* what lockdown adds */
	GUARD_SURGERY,		/* functions that write to tables behind the server's back */
	GUARD_WRITE,		/* DML on tables of the extension */
	GUARD_LINEAGE,		/* taking a table out of what a permit restricts, or into what one opens */
	GUARD_LINEAGE_TWO,	/* the same, by a custodian alone while two persons are asked for */
	GUARD_PERMIT,		/* dropping a table or image column that a permit names and restricts */
	GUARD_SHADOW		/* functions that would be called instead of the extension's */
} GuardRule;

/*
 * guard_refuse_command makes a refusal durable in the ledger, as an entry
 * ddl_refused, and raises it: SQLSTATE 42501 with the rule in DETAIL and the
 * proper way in HINT. When the ledger cannot take the entry the refusal is
 * raised all the same and errdetail_log says so; where the extension is not
 * installed the entry goes to all ledgers of the server. A backend that holds locks in the way
 * of the ledger's worker cannot wait for it: its entry becomes durable when
 * the error has released them.
 *
 * command: command tag. object: as of guard_describe.
 */
pg_noreturn extern void guard_refuse_command(GuardRule rule, const char *command,
											 const char *object);

/*
 * guard_record_refusal makes the entry alone. Returns NULL, or why it could
 * not be recorded, for errdetail_log of the refusal that the caller raises.
 */
extern const char *guard_record_refusal(GuardRule rule, const char *command, const char *object);

/*
 * guard_record_change makes what is about to be changed by a command
 * an entry policy_changed, if a ledger can be had here; in a database without
 * the extension, of all ledgers of the server. Over-reports a
 * command that fails. Errors: as ledger_append and ledger_wait: what widens
 * somebody's rights is not done when it cannot be recorded.
 *
 * guard_record_restriction does the same for what takes rights or settings
 * back: REVOKE of our roles, RESET of our settings. When the ledger cannot
 * take the entry (55000: no worker, say, since max_worker_processes was too
 * low) it warns, in the server's log too, and the command goes on. Nobody is
 * to keep a right, and no setting to stay, because the ledger is down: that
 * would reward who brings it down, and the wrong setting may be why it is.
 */
extern void guard_record_change(const char *command, const char *object);
extern void guard_record_restriction(const char *command, const char *object);

#endif
