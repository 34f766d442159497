/*
 * append.h - how entries get into the ledger, and how to wait for them.
 *
 * Called by client backends. Needs no transaction, takes no XID, no snapshot
 * and reads no catalog, so it works in READ ONLY and in failed transactions,
 * and what was appended survives ROLLBACK.
 */
#ifndef BIOMETRIC_LEDGER_APPEND_H
#define BIOMETRIC_LEDGER_APPEND_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "core/entry.h"

/*
 * What a statement's entries refer to. The caller zero-initialises it, sets
 * the fields above the line (borrowed, must stay valid), and keeps it for the
 * statement's life. When any of them changes in mid-statement the caller
 * calls ledger_statement_reset.
 */
typedef struct LedgerStatement
{
	const char *party;	   /* NULL: none */
	const char *network;   /* matched CIDR or "local"; NULL: none */
	const char *purpose;   /* NULL: none declared */
	const char *command;   /* command tag */
	const char *relations; /* qualified names, one a line; NULL: none */
	uint64 query_id;	   /* 0: none */
	/* ---- kept by ledger_append */
	bool written;
	uint32 generation;
	int64 sequence;
} LedgerStatement;

/* A promise to be waited for. Plain data. */
typedef struct LedgerTicket
{
	bool pending; /* false: nothing to wait for */
	Oid database; /* whose ledger */
	uint32 generation;
	int64 first; /* sequence number of the first of the caller's entries */
	int64 last;	 /* sequence number of the last */
	int64 segment_size;
	int introductions; /* entries put before those of a further segment */
	TimestampTz deadline;
} LedgerTicket;

/* ledger_statement_reset makes the next append write a new statement entry. */
extern void ledger_statement_reset(LedgerStatement *statement);

/*
 * ledger_append copies entries into the ring, in order and with ascending
 * sequence numbers (ledger_ticket_sequence), and wakes the worker. Before them
 * it writes, as needed, a session entry (first use, or when user, application
 * name, party or network changed) and the statement entry.
 *
 * statement: NULL for entries that refer to the session only.
 * count: 0 writes the statement's entry alone, if it has none yet; the ticket
 *   is for that entry, whenever it was appended.
 * entries: event set; at and reference are filled in here. An entry that is
 *   too long is an error before anything is appended.
 * ticket: for ledger_wait. Its deadline is ledger_timeout from now.
 * Waits for room in the ring, and for a worker to be there, until the
 * deadline; interruptible.
 * Errors: 55000 (object not in prerequisite state) when in recovery; when the
 * extension was created in this transaction (HINT: commit first); when no
 * slot or no worker can be had, or the ring stays full; 57014 on cancel.
 * After an error some of the entries may nevertheless become durable: the
 * ledger may over-report, never under-report.
 */
extern void ledger_append(LedgerStatement *statement, EntryFields *entries, int count,
						  LedgerTicket *ticket);

/*
 * ledger_ticket_sequence returns the sequence number of one of the caller's
 * entries, by its index. They are consecutive within a segment of the log.
 */
extern int64 ledger_ticket_sequence(const LedgerTicket *ticket, int index);

/*
 * ledger_append_now is ledger_append where nothing may wait: in the clean-up
 * after an error, whose locks are still held, or at the end of a process. It
 * tries once, reads no catalog but for the session's own names, and nobody
 * waits for what it appends. Returns false when the entries were not taken:
 * in recovery, without a slot that is ready, or when the ring has no room.
 */
extern bool ledger_append_now(LedgerStatement *statement, EntryFields *entries, int count);

/*
 * ledger_wait returns when all entries of the ticket are durable, at once if
 * none is pending. Errors: 55000 at the deadline, or when the ledger was
 * dropped or forked meanwhile; 57014 on cancel.
 */
extern void ledger_wait(LedgerTicket *ticket);

/*
 * ledger_wait_ordered returns when the worker has put the commit of all
 * entries of the ticket into the WAL, flushed or not: a commit record that this
 * backend writes from then on cannot become durable before they are. For
 * changes that are about to be committed. Errors: as ledger_wait.
 */
extern void ledger_wait_ordered(LedgerTicket *ticket);

/*
 * ledger_require_open is called before entries of changes are appended that are
 * committed with this transaction. Error 55000 when it closes the ledger, too:
 * nothing may follow the closing entry.
 */
extern void ledger_require_open(void);

/*
 * ledger_append_created is ledger_append for the pre-commit of a transaction
 * that created the extension: writes the entries (and session and statement entries)
 * to the tables itself, since no worker can see them. May be called several
 * times; ledger_created_finish then writes the ledger's edge.
 */
extern void ledger_append_created(LedgerStatement *statement, EntryFields *entries, int count);
extern void ledger_created_finish(void);

/*
 * ledger_append_to is ledger_append for another database's ledger, named by
 * its OID, from a backend that is not connected to any: replication
 * connections. Errors: as ledger_append; 55000 when the database has no slot.
 */
extern void ledger_append_to(Oid database, LedgerStatement *statement, EntryFields *entries,
							 int count, LedgerTicket *ticket);

/*
 * ledger_databases returns the OIDs of the databases whose ledger takes
 * entries, for ledger_append_to, in the current memory context. Waits until a worker has
 * found out about each that has a slot. Errors: 55000 at the deadline; 57014 on
 * cancel.
 */
extern List *ledger_databases(void);

/*
 * ledger_durable tells whether ledger_wait would return at once. Never waits.
 * Errors: 55000 when the entries can never become durable, as ledger_wait's.
 */
extern bool ledger_durable(const LedgerTicket *ticket);

/*
 * ledger_generation_log tells which of this database's logs took entries.
 * generation: of a ticket whose entries are durable. log_id: set to its 16 bytes.
 * False when the ledger was replaced meanwhile. Remembers the last answer.
 */
extern bool ledger_generation_log(uint32 generation, uint8 *log_id);

/*
 * ledger_usable tells, without waiting or raising, whether appends can be
 * expected to work now: not in recovery (*reason REASON_STANDBY) and the
 * ledger not known to be broken, foreign or without a slot
 * (REASON_LEDGER_UNAVAILABLE). A worker that is merely not up yet does not
 * count as broken. problem, if not NULL: a phrase for errdetail.
 */
extern bool ledger_usable(Reason *reason, const char **problem);

#endif
