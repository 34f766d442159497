/*
 * identity.h - whether a log in the tables is this system's to continue.
 *
 * Private to the ledger. A row of biometric.log says which database, system
 * identifier, timeline and data directory wrote it last. What runs here is
 * compared with it when a worker starts, before anything is appended:
 *
 *   database, | fenced by | data       | timeline | postmaster  |
 *   system    |           | directory  |          | started as  | verdict
 *   ----------+-----------+------------+----------+-------------+------------
 *   same      | -         | same       | same     | any         | OWN
 *   same      | -         | any        | grown    | standby     | PROMOTED
 *   same      | -         | any        | grown    | primary     | COPY (PITR)
 *   same      | -         | any        | smaller  | any         | COPY (old tables)
 *   same      | -         | other      | same     | any         | COPY (of files)
 *   other     | -         | any        | any      | any         | COPY
 *   same      | hand_over | same       | any      | any         | FENCED
 *   same      | hand_over | other      | any      | any         | HANDED_OVER
 *   other     | hand_over | other      | any      | any         | HANDED_OVER if the
 *             |           |            |          |             | database OID is the same
 *   any       | hand_over | any other combination           | COPY
 *   same      | anchor,   | any        | any      | any         | FENCED
 *             | unknown   |            |          |             |
 *
 * "same system" is the same database OID and system identifier. A log without
 * entries and without a parent has nothing to continue: instead of COPY,
 * PROMOTED and HANDED_OVER the verdict is EMPTY. A data directory that the row
 * does not name (an older row), or whose birth time one side does not know,
 * is taken for the same if nothing else contradicts.
 *
 * A standby is told from what is recovered to a point in time by the file that
 * made the server start in recovery, standby.signal or recovery.signal. It is
 * gone after the promotion, so that it is looked for when the library is loaded and
 * remembered in a file of ours, until every database has been looked at.
 */
#ifndef BIOMETRIC_LEDGER_IDENTITY_H
#define BIOMETRIC_LEDGER_IDENTITY_H

#include "ledger/store.h"

#define IDENTITY_INSTANCE_MAX 64

/* What runs here. */
typedef struct Identity
{
	Oid database_oid;
	int64 system_identifier;
	int32 timeline;
	char instance[IDENTITY_INSTANCE_MAX]; /* "inode:birth", birth in ns since 1970, 0: not known */
	bool was_standby;					  /* this server left recovery by being promoted */
} Identity;

typedef enum IdentityVerdict
{
	IDENTITY_COPY = 0,	  /* somebody else's log: refuse until it is forked */
	IDENTITY_OWN,		  /* continue */
	IDENTITY_PROMOTED,	  /* continue with an entry that says so */
	IDENTITY_HANDED_OVER, /* likewise */
	IDENTITY_EMPTY,		  /* take a new identity, silently */
	IDENTITY_FENCED		  /* our own, and closed: refuse until it is forked */
} IdentityVerdict;

/*
 * identity_note_start looks whether this postmaster starts as a standby, and
 * remembers it; from _PG_init.
 */
extern void identity_note_start(void);

/* identity_forget_standby drops the file; once every database has been looked at. */
extern void identity_forget_standby(void);

/* identity_own fills in what runs here. Connected to a database, not in recovery. */
extern void identity_own(Identity *own);

/* identity_judge applies the table above. empty: the log has neither entries nor a parent. */
extern IdentityVerdict identity_judge(const LedgerLog *log, bool empty, const Identity *own);

/*
 * identity_row_is_stale tells, of a log that is OWN, whether its row does not
 * yet name the data directory as exactly as it is known.
 */
extern bool identity_row_is_stale(const LedgerLog *log, const Identity *own);

/* identity_problem says why a log that is COPY or FENCED is refused, and what to do. */
extern void identity_problem(const LedgerLog *log, IdentityVerdict verdict, const Identity *own,
							 char problem[LEDGER_ERROR_SIZE]);

/*
 * identity_detail returns the detail of the entry that continues a log, a JSON
 * object, palloc'd: how it came about (PROMOTED, HANDED_OVER), the log's id, its size
 * and root so far, and who continues it after whom.
 */
extern char *identity_detail(const LedgerLog *log, IdentityVerdict verdict, const Identity *own,
							 const MerkleFrontier *frontier);

#endif
