/*
 * pending.c - which entries there are at a moment.
 */
#include "postgres.h"

#include "ledger/pending.h"
#include "ledger/slot.h"

/* Whether the log takes entries; if so, which one it is. */
static bool
pending_log(LedgerSlot *shared, int slot, uint8 *log_id)
{
	LedgerStatus *status = palloc(sizeof(LedgerStatus));
	bool open = pg_atomic_read_u32(&shared->state) == LEDGER_READY &&
				ledger_status_read(slot, status) && status->loaded;

	memset(log_id, 0, LEDGER_LOG_ID_SIZE);
	if (open)
		memcpy(log_id, status->log_id, LEDGER_LOG_ID_SIZE);
	pfree(status);
	return open;
}

bool
pending_moment(int slot, uint8 *log_id, PendingMoment moment, void *context)
{
	LedgerSlot *shared = ledger_slot(slot);
	bool open = pending_log(shared, slot, log_id);
	bool begun;

	LWLockAcquire(ledger_append_lock(slot), LW_SHARED);
	begun = shared->append_generation == pg_atomic_read_u32(&shared->generation);
	moment((int64) pg_atomic_read_u64(begun ? &shared->next_sequence : &shared->start_sequence),
		   context);
	LWLockRelease(ledger_append_lock(slot));
	return open;
}
