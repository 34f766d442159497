/*
 * tasks.h - what the ledger's worker does besides entries, as registered.
 *
 * Private to the worker; whoever has a task for it uses worker.h.
 */
#ifndef BIOMETRIC_LEDGER_TASKS_H
#define BIOMETRIC_LEDGER_TASKS_H

#include "ledger/worker.h"

#define MAX_TASKS 8

typedef struct WorkerTask
{
	LedgerWorkerTask task;
	LedgerWorkerWork work; /* NULL: none */
	LedgerSlotReset reset;
} WorkerTask;

/*
 * tasks_poll runs all polls; true when one of them wants the tasks to run again. tasks_poll_wait
 * returns how long, in ms, they could be left alone then.
 */
extern bool tasks_poll(void);
extern long tasks_poll_wait(void);

/* tasks_count returns how many were registered, tasks_get one of them, by number from 0. */
extern int tasks_count(void);
extern const WorkerTask *tasks_get(int number);

#endif
