/*
 * tasks.h - what the ledger's worker does besides entries, as registered.
 *
 * Private to the worker; whoever has a task for it uses worker.h.
 */
#ifndef BIOMETRIC_LEDGER_TASKS_H
#define BIOMETRIC_LEDGER_TASKS_H

#include "ledger/worker.h"

#define MAX_TASKS 4

typedef struct WorkerTask
{
	LedgerWorkerTask task;
	LedgerWorkerWork work; /* NULL: none */
	LedgerSlotReset reset;
} WorkerTask;

/* tasks_count returns how many were registered, tasks_get one of them, by number from 0. */
extern int tasks_count(void);
extern const WorkerTask *tasks_get(int number);

#endif
