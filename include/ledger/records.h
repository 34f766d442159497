/*
 * records.h - a backend's entries on their way into the ledger.
 *
 * Private to the ledger. What one call appends is encoded first, without
 * numbers: a session entry, the statement's entry if there is a statement, and
 * the caller's entries. Then it is placed: numbered, made to refer to one
 * another, and given to whoever writes it, the ring or the tables. Session and
 * statement entries are placed where they are needed only: when they say
 * something new, and anew in each segment, which can so be read without
 * those before it.
 *
 * One buffer a backend, which records_prepare fills and records_place reads.
 */
#ifndef BIOMETRIC_LEDGER_RECORDS_H
#define BIOMETRIC_LEDGER_RECORDS_H

#include "postgres.h"

#include "ledger/append.h"
#include "ledger/slot.h"

/* Records that are being placed. */
typedef struct Placement
{
	/* Set by the caller, before each records_place: */
	int64 segment_size;
	int64 next; /* number of the next record; afterwards, of the one behind the last */
	/* takes a record, header and entry; NULL: they are only counted */
	void (*put)(struct Placement *placement, const char *record, Size length);
	void *context; /* for put */

	/* Set by records_place: */
	const LedgerStatement *statement; /* NULL: none */
	uint32 generation;
	int64 session_entry;   /* number of the session entry to refer to; -1: to be written */
	int64 statement_entry; /* likewise */
	int64 first;		   /* number of the first of the caller's entries */
	Size bytes;			   /* placed, with their headers */
} Placement;

/*
 * records_prepare encodes what a call may have to write. statement: NULL for
 * entries that refer to the session only. at and reference of the entries are filled in.
 * Errors: 54000 when an entry is too long.
 */
extern void records_prepare(const LedgerStatement *statement, EntryFields *entries, int count,
							uint32 generation);

/* records_have_statement tells whether the entry of a statement is there to be referred to. */
extern bool records_have_statement(const LedgerStatement *statement, uint32 generation);

/* records_require_room raises 54000 when what was prepared, count entries, can never fit into a ring. */
extern void records_require_room(int count);

/*
 * records_place places all that was prepared and is needed. With put it may
 * run under the append lock: it does not fail unless put does, and is short. May be
 * called again for the same records, with another number.
 */
extern void records_place(Placement *placement, const LedgerStatement *statement,
						  uint32 generation);

/*
 * records_remember remembers, once placed records are written, what later ones can refer to. Never
 * raises: records_prepare has allocated what it needs.
 */
extern void records_remember(LedgerStatement *statement, const Placement *placement);

#endif
