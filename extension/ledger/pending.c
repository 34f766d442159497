/*
 * pending.c - the entries that are in the ring and not in the tables yet.
 */
#include "postgres.h"

#include "ledger/pending.h"
#include "ledger/slot.h"

void
pending_moment(int slot, PendingMoment moment, void *context)
{
	LedgerSlot *shared = ledger_slot(slot);
	bool begun;

	LWLockAcquire(ledger_append_lock(slot), LW_SHARED);
	begun = shared->append_generation == pg_atomic_read_u32(&shared->generation);
	moment((int64) pg_atomic_read_u64(begun ? &shared->next_sequence : &shared->start_sequence),
		   context);
	LWLockRelease(ledger_append_lock(slot));
}

int64
pending_list(int slot, uint8 *log_id, PendingLook look, void *context)
{
	LedgerSlot *shared = ledger_slot(slot);
	LedgerStatus *status = palloc0_object(LedgerStatus);
	uint32 generation = pg_atomic_read_u32(&shared->generation);
	uint64 at = pg_atomic_read_u64(&shared->tail);
	uint64 head = pg_atomic_read_u64(&shared->head);
	uint8 *bytes = palloc(ENTRY_MAX_SIZE);
	int64 first = PG_INT64_MAX;

	memset(log_id, 0, LEDGER_LOG_ID_SIZE);
	pg_read_barrier();
	if (ledger_status_read(slot, status) && status->loaded)
		memcpy(log_id, status->log_id, LEDGER_LOG_ID_SIZE);
	else
		head = at;
	while (at < head)
	{
		LedgerRecord record;
		EntryFields fields;

		ledger_ring_read(slot, at, &record, sizeof(record));
		at += sizeof(record);
		if (record.generation == generation && record.length <= ENTRY_MAX_SIZE)
		{
			ledger_ring_read(slot, at, bytes, record.length);
			first = Min(first, record.sequence);
			if (entry_decode(bytes, record.length, &fields) == CORE_OK)
				look(record.sequence, &fields, context);
		}
		at += record.length;
	}
	pfree(bytes);
	pfree(status);
	return first;
}
