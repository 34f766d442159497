/*
 * ring.c - the ledger's shared memory: slots, rings, status, waiting.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "replication/syncrep.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ledger/signer.h"
#include "ledger/slot.h"

#define TRANCHE_NAME "biometric_audit_ledger"

/* How often a reader of the status tries before it gives up, and its pauses. */
#define STATUS_ATTEMPTS 1000
#define STATUS_PAUSE_US 100L

/* The locks, found again by each process. */
typedef struct LedgerLocks
{
	LWLock *directory_lock; /* who has which slot */
	LWLock *append_locks[FLEXIBLE_ARRAY_MEMBER];
} LedgerLocks;

/* The beginning of the shared memory; the slots, the waiters and the rings follow. */
typedef struct LedgerShared
{
	pg_atomic_uint32 generations;	/* the last generation given out */
	pg_atomic_uint32 launcher_proc; /* PGPROC number + 1; 0: none */
	pg_atomic_uint32 anchor_proc;	/* likewise */
	pg_atomic_uint32 search_over;	/* 1: all databases have been looked at since the start */
	pg_atomic_uint32 searches;		/* how many were asked for after that */
	pg_atomic_uint32 search_ended;	/* the last of them that has ended */
	pg_atomic_uint32 search_found;	/* the last that has ended with nothing left out */
} LedgerShared;

static int max_databases = 8;
static int ring_size_kb = 4096;
static int timeout_ms = 5000;
static int segment_size = 1048576;

static LedgerShared *shared = NULL;
static LedgerSlot *slots = NULL;
static pg_atomic_uint64 *waiters = NULL; /* max_databases rows of MaxBackends */
static char *rings = NULL;
static LedgerLocks *locks = NULL;

static int my_slot = -1;

/* A segment is a whole number of tiles, at every level up to its own root. */
static bool
check_segment_size(int *value, void **extra, GucSource source)
{
	if (*value == 1 << 10 || *value == 1 << 15 || *value == 1 << 20 || *value == 1 << 25)
		return true;
	GUC_check_errdetail("A segment has 1024, 32768, 1048576 or 33554432 entries.");
	return false;
}

int64
ledger_segment_size(void)
{
	return segment_size;
}

void
ledger_define_settings(void)
{
	DefineCustomIntVariable("biometric_audit.max_databases",
							"Databases of this cluster that can have a ledger.",
							"Each takes a ring of biometric_audit.ring_size in shared memory and "
							"a background worker.",
							&max_databases, 8, 1, 256, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("biometric_audit.ring_size",
							"Shared memory for ledger entries that wait to be written, a database.",
							NULL, &ring_size_kb, 4096, 256, 1024 * 1024, PGC_POSTMASTER,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("biometric_audit.ledger_timeout",
							"How long a session waits for its ledger entries to be durable.",
							"After that the statement fails and nothing is released.", &timeout_ms,
							5000, 10, 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("biometric_audit.segment_size",
							"Entries of a segment of logs that begin from now on.",
							"1024, 32768, 1048576 or 33554432. A log keeps the size it began with.",
							&segment_size, 1048576, LEDGER_SEGMENT_MIN, LEDGER_SEGMENT_MAX,
							PGC_SIGHUP, 0, check_segment_size, NULL, NULL);
	signer_define_settings();
}

int
ledger_slots(void)
{
	return max_databases;
}

int
ledger_timeout_ms(void)
{
	return timeout_ms;
}

Size
ledger_ring_size_bytes(void)
{
	return (Size) ring_size_kb * 1024;
}

static Size
slots_size(void)
{
	return MAXALIGN(mul_size(max_databases, sizeof(LedgerSlot)));
}

static Size
waiters_size(void)
{
	return MAXALIGN(mul_size(mul_size(max_databases, MaxBackends), sizeof(pg_atomic_uint64)));
}

Size
ledger_shmem_size(void)
{
	Size size = MAXALIGN(sizeof(LedgerShared));

	size = add_size(size, slots_size());
	size = add_size(size, waiters_size());
	return add_size(size, mul_size(max_databases, ledger_ring_size_bytes()));
}

void
ledger_shmem_request(void)
{
	RequestAddinShmemSpace(add_size(ledger_shmem_size(), signer_shmem_size()));
	RequestNamedLWLockTranche(TRANCHE_NAME, max_databases + 1);
}

static void
slot_init(LedgerSlot *slot)
{
	pg_atomic_init_u32(&slot->database, InvalidOid);
	pg_atomic_init_u32(&slot->state, LEDGER_STARTING);
	pg_atomic_init_u32(&slot->generation, 0);
	pg_atomic_init_u32(&slot->holds, 0);
	pg_atomic_init_u32(&slot->worker_pid, 0);
	pg_atomic_init_u32(&slot->worker_proc, 0);
	pg_atomic_init_u32(&slot->helper_pid, 0);
	pg_atomic_init_u32(&slot->helper_proc, 0);
	pg_atomic_init_u32(&slot->helper_refused, 0);
	pg_atomic_init_u32(&slot->tile_relation, InvalidOid);
	pg_atomic_init_u32(&slot->look_again, 0);
	pg_atomic_init_u32(&slot->failures, 0);
	pg_atomic_init_u32(&slot->fence, 0);
	pg_atomic_init_u64(&slot->fence_log[0], 0);
	pg_atomic_init_u64(&slot->fence_log[1], 0);
	pg_atomic_init_u64(&slot->tasks_requested, 0);
	pg_atomic_init_u64(&slot->tasks_done, 0);
	pg_atomic_init_u64(&slot->start_sequence, 0);
	pg_atomic_init_u64(&slot->segment_size, LEDGER_SEGMENT_MIN);
	pg_atomic_init_u64(&slot->next_sequence, 0);
	pg_atomic_init_u64(&slot->head, 0);
	pg_atomic_init_u64(&slot->tail, 0);
	pg_atomic_init_u64(&slot->ordered, 0);
	pg_atomic_init_u64(&slot->durable, 0);
	pg_atomic_init_u32(&slot->status_version, 0);
}

void
ledger_shmem_init(void)
{
	LWLockPadded *tranche;
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("biometric_audit ledger", ledger_shmem_size(), &found);
	slots = (LedgerSlot *) ((char *) shared + MAXALIGN(sizeof(LedgerShared)));
	waiters = (pg_atomic_uint64 *) ((char *) slots + slots_size());
	rings = (char *) waiters + waiters_size();
	if (!found)
	{
		memset(shared, 0, rings - (char *) shared);
		pg_atomic_init_u32(&shared->generations, 0);
		pg_atomic_init_u32(&shared->launcher_proc, 0);
		pg_atomic_init_u32(&shared->anchor_proc, 0);
		pg_atomic_init_u32(&shared->search_over, 0);
		pg_atomic_init_u32(&shared->searches, 0);
		pg_atomic_init_u32(&shared->search_ended, 0);
		pg_atomic_init_u32(&shared->search_found, 0);
		for (int i = 0; i < max_databases; i++)
			slot_init(&slots[i]);
		for (int i = 0; i < max_databases * MaxBackends; i++)
			pg_atomic_init_u64(&waiters[i], 0);
	}
	LWLockRelease(AddinShmemInitLock);
	signer_shmem_init();

	tranche = GetNamedLWLockTranche(TRANCHE_NAME);
	locks = MemoryContextAlloc(TopMemoryContext, offsetof(LedgerLocks, append_locks) +
													 max_databases * sizeof(LWLock *));
	locks->directory_lock = &tranche[max_databases].lock;
	for (int i = 0; i < max_databases; i++)
		locks->append_locks[i] = &tranche[i].lock;
}

bool
ledger_search_is_over(void)
{
	return shared != NULL && pg_atomic_read_u32(&shared->search_over) != 0;
}

void
ledger_end_search(void)
{
	pg_memory_barrier();
	pg_atomic_write_u32(&shared->search_over, 1);
}

uint32
ledger_search_again(void)
{
	uint32 search = pg_atomic_add_fetch_u32(&shared->searches, 1);

	ledger_poke_launcher();
	return search;
}

LedgerSearch
ledger_search_result(uint32 search)
{
	if (pg_atomic_read_u32(&shared->search_found) >= search)
		return LEDGER_SEARCHED;
	return pg_atomic_read_u32(&shared->search_ended) >= search ? LEDGER_SEARCH_FAILED
															   : LEDGER_SEARCHING;
}

uint32
ledger_searches_wanted(void)
{
	return pg_atomic_read_u32(&shared->searches);
}

void
ledger_search_ended(uint32 search, bool complete)
{
	pg_memory_barrier();
	if (complete)
		pg_atomic_write_u32(&shared->search_found, search);
	pg_atomic_write_u32(&shared->search_ended, search);
}

LedgerSlot *
ledger_slot(int number)
{
	Assert(number >= 0 && number < max_databases);
	return &slots[number];
}

LWLock *
ledger_append_lock(int number)
{
	return locks->append_locks[number];
}

uint32
ledger_new_generation(void)
{
	return pg_atomic_add_fetch_u32(&shared->generations, 1);
}

void
ledger_slot_begin_generation(int number, int64 sequence)
{
	LedgerSlot *slot = &slots[number];

	/*
	 * Whoever sees the new generation must see its first sequence number and
	 * durable mark. A waiter of the old one looks at the generation after the
	 * mark, and gives up.
	 */
	pg_atomic_write_u32(&slot->state, LEDGER_STARTING);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->generation, 0);
	pg_write_barrier();
	pg_atomic_write_u64(&slot->start_sequence, (uint64) sequence);
	pg_atomic_write_u64(&slot->ordered, (uint64) sequence);
	pg_atomic_write_u64(&slot->durable, (uint64) sequence);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->generation, ledger_new_generation());
	ledger_wake(number, true);
}

/* Gives a free slot, whose last worker has ended, to a database. Directory lock held. */
static void
slot_claim(int number, Oid database)
{
	LedgerSlot *slot = &slots[number];

	ledger_run_resets(number);
	signer_reset(number);
	pg_atomic_write_u32(&slot->tile_relation, InvalidOid);
	pg_atomic_write_u32(&slot->look_again, 0);
	pg_atomic_write_u32(&slot->failures, 0);
	memset(&slot->status, 0, sizeof(slot->status));
	ledger_slot_begin_generation(number, 0);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->database, database);
}

int
ledger_slot_of(Oid database, bool claim)
{
	int found = -1;
	int free_slot = -1;

	LWLockAcquire(locks->directory_lock, claim ? LW_EXCLUSIVE : LW_SHARED);
	for (int i = 0; i < max_databases && found < 0; i++)
	{
		Oid owner = pg_atomic_read_u32(&slots[i].database);

		if (owner == database)
			found = i;
		else if (owner == InvalidOid && free_slot < 0 &&
				 pg_atomic_read_u32(&slots[i].worker_pid) == 0)
			free_slot = i;
	}
	if (found < 0 && claim && free_slot >= 0)
	{
		found = free_slot;
		slot_claim(found, database);
	}
	LWLockRelease(locks->directory_lock);
	return found;
}

void
ledger_slot_free(int number)
{
	LedgerSlot *slot = &slots[number];

	ledger_slot_begin_generation(number, 0);
	ledger_run_resets(number);
	signer_reset(number);
	pg_atomic_write_u32(&slot->tile_relation, InvalidOid);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->database, InvalidOid);
	ledger_wake(number, true);
}

int
ledger_my_slot(void)
{
	if (shared == NULL || !OidIsValid(MyDatabaseId))
		return -1;
	if (my_slot < 0 || pg_atomic_read_u32(&slots[my_slot].database) != MyDatabaseId)
		my_slot = ledger_slot_of(MyDatabaseId, true);
	return my_slot;
}

void
ledger_ring_write(int number, uint64 position, const void *bytes, Size length)
{
	Size size = ledger_ring_size_bytes();
	char *ring = rings + number * size;
	Size offset = position % size;
	Size first = Min(length, size - offset);

	memcpy(ring + offset, bytes, first);
	memcpy(ring, (const char *) bytes + first, length - first);
}

void
ledger_ring_read(int number, uint64 position, void *bytes, Size length)
{
	Size size = ledger_ring_size_bytes();
	const char *ring = rings + number * size;
	Size offset = position % size;
	Size first = Min(length, size - offset);

	memcpy(bytes, ring + offset, first);
	memcpy((char *) bytes + first, ring, length - first);
}

/* The status may only be read while its version is even and stays the same. */
static void
status_write_begin(LedgerSlot *slot)
{
	pg_atomic_write_u32(&slot->status_version, pg_atomic_read_u32(&slot->status_version) | 1);
	pg_memory_barrier();
}

static void
status_write_end(LedgerSlot *slot)
{
	pg_memory_barrier();
	pg_atomic_write_u32(&slot->status_version, pg_atomic_read_u32(&slot->status_version) + 1);
}

void
ledger_status_write(int number, const uint8 *log_id, const MerkleFrontier *frontier)
{
	LedgerSlot *slot = &slots[number];

	status_write_begin(slot);
	memcpy(slot->status.log_id, log_id, LEDGER_LOG_ID_SIZE);
	slot->status.frontier = *frontier;
	slot->status.loaded = true;
	status_write_end(slot);
}

void
ledger_status_error(int number, const char *error)
{
	LedgerSlot *slot = &slots[number];

	status_write_begin(slot);
	strlcpy(slot->status.error, error, LEDGER_ERROR_SIZE);
	status_write_end(slot);
}

bool
ledger_status_read(int number, LedgerStatus *status)
{
	LedgerSlot *slot = &slots[number];

	for (int attempt = 0; attempt < STATUS_ATTEMPTS; attempt++)
	{
		uint32 before = pg_atomic_read_u32(&slot->status_version);

		pg_memory_barrier();
		if ((before & 1) == 0)
		{
			memcpy(status, &slot->status, sizeof(*status));
			pg_memory_barrier();
			if (pg_atomic_read_u32(&slot->status_version) == before)
				return true;
		}
		pg_usleep(STATUS_PAUSE_US);
	}
	memset(status, 0, sizeof(*status));
	return false;
}

/* Sets the latch of a process that left its PGPROC number + 1; 0 is nobody. */
static bool
poke(uint32 proc)
{
	if (proc == 0)
		return false;
	SetLatch(&ProcGlobal->allProcs[proc - 1].procLatch);
	return true;
}

void
ledger_set_launcher(bool here)
{
	pg_atomic_write_u32(&shared->launcher_proc, here ? (uint32) MY_PROC_NUMBER + 1 : 0);
}

void
ledger_set_anchor(bool here)
{
	pg_atomic_write_u32(&shared->anchor_proc, here ? (uint32) MY_PROC_NUMBER + 1 : 0);
}

void
ledger_poke_anchor(void)
{
	poke(pg_atomic_read_u32(&shared->anchor_proc));
}

void
ledger_fence(int number, const uint8 *log_id)
{
	LedgerSlot *slot = &slots[number];
	uint64 halves[2];

	memcpy(halves, log_id, LEDGER_LOG_ID_SIZE);
	pg_atomic_write_u32(&slot->fence, 0);
	pg_memory_barrier();
	for (int i = 0; i < 2; i++)
		pg_atomic_write_u64(&slot->fence_log[i], halves[i]);
	pg_memory_barrier();
	pg_atomic_write_u32(&slot->fence, 1);
	ledger_poke_worker(number);
}

bool
ledger_is_fenced(int number, const uint8 *log_id)
{
	LedgerSlot *slot = &slots[number];
	uint64 halves[2];

	if (pg_atomic_read_u32(&slot->fence) == 0)
		return false;
	pg_memory_barrier();
	for (int i = 0; i < 2; i++)
		halves[i] = pg_atomic_read_u64(&slot->fence_log[i]);
	return memcmp(halves, log_id, LEDGER_LOG_ID_SIZE) == 0;
}

void
ledger_poke_launcher(void)
{
	poke(pg_atomic_read_u32(&shared->launcher_proc));
}

void
ledger_poke_worker(int number)
{
	if (!poke(pg_atomic_read_u32(&slots[number].worker_proc)))
		ledger_poke_launcher();
}

void
ledger_poke_helper(int number)
{
	poke(pg_atomic_read_u32(&slots[number].helper_proc));
}

bool
ledger_awaits_standby(Oid database)
{
	int number = ledger_slot_of(database, false);
	uint32 proc = number < 0 ? 0 : pg_atomic_read_u32(&slots[number].worker_proc);

	return proc != 0 && ProcGlobal->allProcs[proc - 1].syncRepState == SYNC_REP_WAITING;
}

void
ledger_wait_announce(int number, uint64 wanted)
{
	int proc = MY_PROC_NUMBER;

	if (proc >= 0 && proc < MaxBackends)
		pg_atomic_write_u64(&waiters[(Size) number * MaxBackends + proc], wanted);
	/* What the caller looks at next must not be read before. */
	pg_memory_barrier();
}

void
ledger_wait_sleep(long slice_ms, bool interruptible)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, slice_ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	if (interruptible)
		CHECK_FOR_INTERRUPTS();
}

/* Whether what a waiter has announced has come about. */
static bool
is_reached(uint64 wanted, uint64 ordered, uint64 durable)
{
	if (wanted == LEDGER_WAIT_ANY)
		return true;
	if ((wanted & LEDGER_WAIT_ORDERED) != 0)
		return (wanted & ~LEDGER_WAIT_ORDERED) <= ordered;
	return wanted <= durable;
}

void
ledger_wake(int number, bool everybody)
{
	pg_atomic_uint64 *row = waiters + (Size) number * MaxBackends;
	uint64 ordered;
	uint64 durable;

	/* Pairs with the barrier between announcing and looking. */
	pg_memory_barrier();
	ordered = pg_atomic_read_u64(&slots[number].ordered);
	durable = pg_atomic_read_u64(&slots[number].durable);
	for (int proc = 0; proc < MaxBackends; proc++)
	{
		uint64 wanted = pg_atomic_read_u64(&row[proc]);

		if (wanted == 0 || !(everybody || is_reached(wanted, ordered, durable)))
			continue;
		/* Fails if the process announces something new just now: then it looks again itself. */
		if (pg_atomic_compare_exchange_u64(&row[proc], &wanted, 0))
			poke((uint32) proc + 1);
	}
}

bool
ledger_durability_wanted(int number)
{
	pg_atomic_uint64 *row = waiters + (Size) number * MaxBackends;

	pg_memory_barrier();
	for (int proc = 0; proc < MaxBackends; proc++)
	{
		uint64 wanted = pg_atomic_read_u64(&row[proc]);

		if (wanted == LEDGER_WAIT_ANY || (wanted != 0 && (wanted & LEDGER_WAIT_ORDERED) == 0))
			return true;
	}
	return false;
}
