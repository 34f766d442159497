/*
 * batch.c - takes entries out of the ring, and makes of them what is written.
 */
#include "postgres.h"

#include "ledger/batch.h"
#include "ledger/follow.h"

#define BATCH_ENTRIES 8192
#define BATCH_BYTES (2 * 1024 * 1024)

/* Copies one entry out of the ring, as a bytea. */
static bytea *
copy_entry(int number, uint64 at, uint32 length)
{
	bytea *bytes = palloc(VARHDRSZ + length);

	SET_VARSIZE(bytes, VARHDRSZ + length);
	ledger_ring_read(number, at, VARDATA(bytes), length);
	return bytes;
}

void
batch_collect(int number, uint32 generation, uint64 position, uint64 next, Batch *batch)
{
	uint64 head = pg_atomic_read_u64(&ledger_slot(number)->head);
	uint64 at = position;
	int capacity = 0;

	memset(batch, 0, offsetof(Batch, frontier));
	pg_read_barrier();
	while (at < head && at < position + BATCH_BYTES && batch->count < BATCH_ENTRIES)
	{
		LedgerRecord record;

		ledger_ring_read(number, at, &record, sizeof(record));
		at += sizeof(record);
		if (record.generation == generation && record.sequence >= (int64) next)
		{
			if (record.sequence != (int64) next || record.length > ENTRY_MAX_SIZE)
				ereport(ERROR,
						(errcode(ERRCODE_INTERNAL_ERROR),
						 errmsg("the ledger's ring is out of step at entry " UINT64_FORMAT, next)));
			if (batch->count == capacity)
			{
				capacity = Max(64, capacity * 2);
				batch->entries = batch->entries == NULL
									 ? palloc(capacity * sizeof(StoreEntry))
									 : repalloc(batch->entries, capacity * sizeof(StoreEntry));
			}
			batch->entries[batch->count++].bytes = copy_entry(number, at, record.length);
			next++;
		}
		at += record.length;
	}
	batch->end = at;
}

static void
batch_keep_tile(int level, uint64_t index, const MerkleHash *hashes, void *context)
{
	Batch *batch = context;
	FullTile *tile;

	/* those of level 0 are computed from the entries */
	if (level == 0)
		return;
	tile = palloc(sizeof(FullTile));
	tile->level = level;
	tile->index = index;
	memcpy(tile->hashes, hashes, sizeof(tile->hashes));
	batch->tiles = lappend(batch->tiles, tile);
}

void
batch_hash(const MerkleFrontier *frontier, Batch *batch)
{
	batch->frontier = *frontier;
	for (int i = 0; i < batch->count; i++)
	{
		StoreEntry *entry = &batch->entries[i];

		merkle_leaf(VARDATA(entry->bytes), VARSIZE(entry->bytes) - VARHDRSZ, &entry->leaf);
		merkle_frontier_add(&batch->frontier, &entry->leaf, batch_keep_tile, batch);
	}
}

/* Whether entries like this one are waited for by transactions about to commit only. */
static bool
is_of_change(const EntryFields *fields)
{
	switch (fields->event)
	{
		case ENTRY_SESSION:
		case ENTRY_STATEMENT:
		case ENTRY_STORED:
		case ENTRY_REPLACED:
		case ENTRY_ERASED:
		case ENTRY_PURGED:
		case ENTRY_TRUNCATED:
		case ENTRY_DROPPED:
		case ENTRY_ABORTED:
			return true;
		default:
			return false;
	}
}

void
batch_look_at(Batch *batch)
{
	for (int i = 0; i < batch->count; i++)
	{
		const bytea *bytes = batch->entries[i].bytes;
		EntryFields fields;

		if (entry_decode((const uint8_t *) VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ, &fields) !=
			CORE_OK)
		{
			batch->urgent = true;
			continue;
		}
		follow_note(&fields);
		batch->urgent = batch->urgent || !is_of_change(&fields);
	}
}
