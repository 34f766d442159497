/*
 * refuse.h - how the guard says no: a ledger entry first, then the error.
 *
 * For extension/guard only.
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
	GUARD_LOCKDOWN		/* what lockdown adds */
} GuardRule;

/*
 * guard_refuse_command makes a refusal durable in the ledger, as an entry
 * ddl_refused, and raises it: SQLSTATE 42501 with the rule in DETAIL and the
 * proper way in HINT. When the ledger cannot take the entry the refusal is
 * raised all the same and errdetail_log says so; where the extension is not
 * installed there is no ledger to ask. A backend that holds locks in the way
 * of the ledger's worker cannot wait for it: its entry becomes durable when
 * the error has released them.
 *
 * command: command tag. object: as of guard_describe.
 */
pg_noreturn extern void guard_refuse_command(GuardRule rule, const char *command,
											 const char *object);

/*
 * guard_record_change makes what a custodian is about to change by a command
 * an entry policy_changed, if a ledger can be had here. Over-reports a
 * command that fails. Errors: as ledger_append and ledger_wait.
 */
extern void guard_record_change(const char *command, const char *object);

#endif
