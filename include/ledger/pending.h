/*
 * pending.h - the entries that are in the ring and not in the tables yet, for
 * tasks of the worker that must know all there is.
 */
#ifndef BIOMETRIC_LEDGER_PENDING_H
#define BIOMETRIC_LEDGER_PENDING_H

#include "postgres.h"

#include "core/entry.h"

/* next: the sequence number that the next entry gets. Must be short and not raise. */
typedef void (*PendingMoment)(int64 next, void *context);

/*
 * pending_moment calls back at a moment at which nothing is being appended to a slot's
 * ledger: all entries below next have been appended, all others have not.
 */
extern void pending_moment(int slot, PendingMoment moment, void *context);

/* fields: valid during the call. */
typedef void (*PendingLook)(int64 sequence, const EntryFields *fields, void *context);

/*
 * pending_list lists the entries in a slot's ring, and returns the number of the first of
 * them; PG_INT64_MAX when there is none. The entries of log_id (LEDGER_LOG_ID_SIZE bytes,
 * set) below that number are all in the tables, some of those from it on, too; log_id is zeroes,
 * and nothing listed, when no worker has read the tables since the server's start.
 * The worker's only, in a memory context of the caller's.
 */
extern int64 pending_list(int slot, uint8 *log_id, PendingLook look, void *context);

#endif
