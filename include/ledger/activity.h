/*
 * activity.h - who was active in which part of a log, and the entries of a party.
 *
 * biometric.activity has a row for each party, login and block of
 * ACTIVITY_BLOCK entries (block n: those from n * ACTIVITY_BLOCK on) in which
 * there are entries of that party's sessions: how many, and of what times. It
 * is a function of the block's entries alone, written with the last of them,
 * and verified against them. So the entries of one party in some period are
 * found without reading the others'. Entries behind the last full block have
 * no row yet and are read one by one.
 *
 * A party's entries are those that refer to a session of that party, by their
 * statement or directly; session and statement entries themselves do not count.
 * Sessions of clients that belong to no party have the party "". Texts are in the
 * database's encoding, as encoding_to_server (ledger/encoding.h) makes them.
 */
#ifndef BIOMETRIC_LEDGER_ACTIVITY_H
#define BIOMETRIC_LEDGER_ACTIVITY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

#include "core/entry.h"
#include "ledger/store.h"

#define ACTIVITY_BLOCK 256

/*
 * An entry with the statement and the session that it refers to, decoded. Texts
 * point into memory of the scan: valid until the next call.
 */
typedef struct ActivityEntry
{
	int64 sequence;
	TimestampTz at;
	EntryFields fields;
	const EntryFields *statement; /* NULL: refers to the session only */
	const EntryFields *session;	  /* NULL: refers to nothing */
} ActivityEntry;

typedef struct ActivityScan ActivityScan;

/* Told of entries that are known by biometric.activity alone: how many, the last of them at. */
typedef void (*ActivityDetachedLook)(int count, TimestampTz last_at, void *context);

/* Which entries a scan is for. Zero-initialise, then set what is asked for. */
typedef struct ActivityQuestion
{
	const char *party; /* NULL: all parties and none, and entries without a session; as this
						* database has it or as its entries read */
	TimestampTz from;  /* inclusive; DT_NOBEGIN: any */
	TimestampTz until; /* exclusive; DT_NOEND: any */
	uint32 events;	   /* bit 1 << EntryEvent; 0: all but session and statement */

	/* NULL, or called by activity_begin for each part of what activity_detached returns */
	ActivityDetachedLook detached;
	void *context;

	/* For who reads a log a little at a time, of one party: */
	int64 first; /* number of the first entry to look at */
	int64 end;	 /* of the first that is not; 0: none */
	int blocks;	 /* how many blocks to read at most; 0: any number */
} ActivityQuestion;

/*
 * activity_begin begins to list the entries of a log that answer a question,
 * ascending by number, as a snapshot sees them. Allocates in the present memory
 * context. The scan keeps tables open, the caller the snapshot. Session and statement
 * entries are listed for party NULL only. Errors: 42P01 when a table is gone. activity_next fills
 * in the next one; false at the end. Error XX001 when an entry is missing. Interruptible.
 * activity_detached returns how many entries of the party are known, by
 * biometric.activity, to be in segments that were detached and may lie in the
 * period (session and statement entries not counted): of event disclosed and observed
 * where the question is for these only, else of all events. Complete from activity_begin on.
 */
extern ActivityScan *activity_begin(const LedgerLog *log, Snapshot snapshot,
									const ActivityQuestion *question);
extern bool activity_next(ActivityScan *scan, ActivityEntry *entry);
extern int64 activity_detached(const ActivityScan *scan);

/*
 * activity_reached returns, when a scan has come to its end, the number of the first entry that
 * was not looked at: where the next scan, of a question with end or blocks, goes on.
 * activity_size returns how many entries the log has, as the snapshot sees it.
 */
extern int64 activity_reached(const ActivityScan *scan);
extern int64 activity_size(const ActivityScan *scan);
extern void activity_end(ActivityScan *scan);

/*
 * activity_logs lists the logs that count as history of this database, palloc'd
 * LedgerLog: adopted ones by when they were begun, then its own, ascending by ordinal.
 */
extern List *activity_logs(Snapshot snapshot);

/* activity_is_party tells whether a session is of a party, as activity.party and questions name it. */
extern bool activity_is_party(const EntryFields *session, const char *party);

#endif
