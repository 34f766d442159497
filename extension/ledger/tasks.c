/*
 * tasks.c - what the ledger's worker does besides entries: who registers it, asks for it, waits.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "ledger/ring.h"
#include "ledger/slot.h"
#include "ledger/tasks.h"

static WorkerTask tasks[MAX_TASKS];
static int task_count = 0;

int
tasks_count(void)
{
	return task_count;
}

const WorkerTask *
tasks_get(int number)
{
	return &tasks[number];
}

void
ledger_worker_add_task(LedgerWorkerTask task, LedgerWorkerWork work, LedgerSlotReset reset)
{
	if (task_count >= MAX_TASKS)
		elog(ERROR, "too many tasks for the ledger's worker");
	tasks[task_count].task = task;
	tasks[task_count].work = work;
	tasks[task_count].reset = reset;
	task_count++;
}

void
ledger_run_resets(int number)
{
	for (int i = 0; i < task_count; i++)
		tasks[i].reset(number);
}

uint64
ledger_request_tasks(void)
{
	int number = ledger_my_slot();
	uint64 request;

	if (number < 0)
		return 0;
	request = pg_atomic_add_fetch_u64(&ledger_slot(number)->tasks_requested, 1);
	ledger_poke_worker(number);
	return request;
}

bool
ledger_wait_tasks(uint64 request, int timeout_ms)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);

	while (request != 0)
	{
		int number = ledger_my_slot();
		long left;

		if (number < 0)
			break;
		ledger_wait_announce(number, LEDGER_WAIT_ANY);
		if (pg_atomic_read_u64(&ledger_slot(number)->tasks_done) >= request)
			return true;
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (left <= 0)
			break;
		ledger_poke_worker(number);
		ledger_wait_sleep(Min(left, 200), false);
	}
	return false;
}
