/*
 * tasks.c - what the ledger's worker does besides entries: who registers it, asks for it, waits.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "ledger/follow.h"
#include "ledger/ring.h"
#include "ledger/session.h"
#include "ledger/slot.h"
#include "ledger/tasks.h"

static WorkerTask tasks[MAX_TASKS];
static int task_count = 0;

#define MAX_POLLS 4

/* The longest entry of the worker's own, in bytes. */
#define WORKER_ENTRY_SIZE 8192

static LedgerWorkerPoll polls[MAX_POLLS];
static int poll_count = 0;
static long poll_wait = LONG_MAX;

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
ledger_worker_add_poll(LedgerWorkerPoll poll)
{
	if (poll_count >= MAX_POLLS)
		elog(ERROR, "too many polls for the ledger's worker");
	polls[poll_count++] = poll;
}

bool
tasks_poll(void)
{
	bool wanted = false;

	poll_wait = LONG_MAX;
	for (int i = 0; i < poll_count; i++)
		wanted |= polls[i](&poll_wait);
	return wanted;
}

long
tasks_poll_wait(void)
{
	return poll_wait;
}

bool
ledger_worker_append(EntryFields *fields, int64 *sequence)
{
	int number = ledger_my_slot();
	uint8 bytes[WORKER_ENTRY_SIZE];
	size_t length;
	CoreStatus status;

	if (number < 0 || pg_atomic_read_u32(&ledger_slot(number)->state) != LEDGER_READY)
		return false;
	fields->at = session_unix_time();
	fields->reference = ENTRY_NO_REFERENCE;
	status = entry_encode(fields, bytes, sizeof(bytes), &length);
	if (status != CORE_OK)
		elog(ERROR, "could not encode a ledger entry: %s", core_status_text(status));
	return follow_append(number, pg_atomic_read_u32(&ledger_slot(number)->generation), bytes,
						 length, sequence);
}

bool
ledger_worker_durable(int64 sequence)
{
	int number = ledger_my_slot();

	return number >= 0 && pg_atomic_read_u64(&ledger_slot(number)->durable) > (uint64) sequence;
}

bool
ledger_worker_has_entries(void)
{
	int number = ledger_my_slot();

	return number >= 0 && pg_atomic_read_u32(&ledger_slot(number)->state) == LEDGER_READY &&
		   pg_atomic_read_u64(&ledger_slot(number)->durable) > 0;
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

void
ledger_request_tasks_everywhere(void)
{
	for (int number = 0; number < ledger_slots(); number++)
	{
		if (pg_atomic_read_u32(&ledger_slot(number)->database) == InvalidOid)
			continue;
		pg_atomic_fetch_add_u64(&ledger_slot(number)->tasks_requested, 1);
		ledger_poke_worker(number);
	}
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
