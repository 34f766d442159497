/*
 * worker.h - the one process that advances a database's tree.
 *
 * Started by the launcher, for each database that has the extension. Besides
 * entries it runs tasks, so that what must be published from committed tables
 * is published by one process in one order.
 */
#ifndef BIOMETRIC_LEDGER_WORKER_H
#define BIOMETRIC_LEDGER_WORKER_H

#include "postgres.h"

#include "core/entry.h"

/*
 * A task runs in the worker, in a transaction of its own with an active
 * snapshot, once when the worker starts (before any append is acknowledged)
 * and once after each request. slot: the database's slot number. Errors end
 * the worker; the launcher starts another.
 */
typedef void (*LedgerWorkerTask)(int slot);

/*
 * A reset runs, without a transaction, in whatever process finds that a slot
 * changed hands or its extension is gone: what was published must vanish.
 */
typedef void (*LedgerSlotReset)(int slot);

/*
 * What takes long a task leaves to its work, which does a little of it and
 * tells whether there is more. It runs in the worker, in transactions of its own with an
 * active snapshot, after the task has run and as long as it says so, between the worker's
 * batches, which wait meanwhile: it is to return after some milliseconds, and as
 * soon as it can once ledger_worker_is_wanted(). All entries that were in the ring when it
 * returned true are in the tables, sooner or later, when it runs again.
 */
typedef bool (*LedgerWorkerWork)(int slot);

/*
 * ledger_worker_add_task registers a task, its work (NULL: none) and its reset; from
 * _PG_init only, at most eight.
 */
extern void ledger_worker_add_task(LedgerWorkerTask task, LedgerWorkerWork work,
								   LedgerSlotReset reset);

/*
 * A poll runs in the worker each time its loop goes round, without a transaction; it tells whether
 * the tasks are to run again. It must cost next to nothing, and must not raise. wait_ms: in how
 * many ms it wants to be asked again at the latest; it may lower that.
 */
typedef bool (*LedgerWorkerPoll)(long *wait_ms);

/* ledger_worker_add_poll registers a poll; from _PG_init only, at most four. */
extern void ledger_worker_add_poll(LedgerWorkerPoll poll);

/*
 * ledger_worker_append appends an entry of the worker's own, from a task or its work; it refers
 * to no session. fields: event and what else applies; at and reference are filled in. sequence:
 * its sequence number, for ledger_worker_durable. Returns false when the ledger takes no entries
 * now, or the ring has no room. Error: XX000 for an entry that is too long.
 */
extern bool ledger_worker_append(EntryFields *fields, int64 *sequence);

/* ledger_worker_durable tells whether what ledger_worker_append has appended is durable. */
extern bool ledger_worker_durable(int64 sequence);

/* ledger_worker_has_entries tells whether the ledger takes entries and has at least one. */
extern bool ledger_worker_has_entries(void);

/* ledger_worker_is_wanted tells, in the worker, whether something waits for it. */
extern bool ledger_worker_is_wanted(void);

/*
 * ledger_request_tasks asks the worker of this database to run its tasks and
 * returns a number to wait for. Never raises, may be called where interrupts
 * are held (commit callbacks).
 */
extern uint64 ledger_request_tasks(void);

/* ledger_request_tasks_everywhere asks the workers of all databases; likewise. */
extern void ledger_request_tasks_everywhere(void);

/*
 * ledger_wait_tasks waits until a request was carried out, at most timeout_ms;
 * false when it was not; with 0 it does not wait. Never raises.
 */
extern bool ledger_wait_tasks(uint64 request, int timeout_ms);

#endif
