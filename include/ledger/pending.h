/*
 * pending.h - which entries there are at a moment, in the tables or still in
 * the ring, for tasks of the worker that must know all there is.
 */
#ifndef BIOMETRIC_LEDGER_PENDING_H
#define BIOMETRIC_LEDGER_PENDING_H

#include "postgres.h"

#include "core/entry.h"

/* next: the sequence number that the next entry gets. Must be short and not raise. */
typedef void (*PendingMoment)(int64 next, void *context);

/*
 * pending_moment calls back at a moment at which nothing is being appended to a slot's
 * ledger: all entries of log_id (LEDGER_LOG_ID_SIZE bytes, set) below next have been
 * appended, all others have not. From a task's work only. Returns whether
 * the log takes entries: if not, log_id is zeroes, next nothing, and what is in the tables is all.
 */
extern bool pending_moment(int slot, uint8 *log_id, PendingMoment moment, void *context);

#endif
