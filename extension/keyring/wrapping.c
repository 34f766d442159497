/*
 * wrapping.c - the wrapping key, its generations, and who holds decrypted keys.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "core/seal.h"
#include "keyring/keyring.h"
#include "keyring/pins.h"
#include "keyring/wrapping.h"

/* Files whose looks are remembered: as many as databases usually have keyrings. */
#define FOLLOWED 8

/* How often those who wait for others look again. */
#define LOOK_AGAIN_MS 10

typedef struct Holder
{
	pg_atomic_uint64 generation; /* of the keys that it holds; 0: none */
	pg_atomic_uint32 pid;		 /* written before the generation */
} Holder;

typedef struct WrappingShared
{
	pg_atomic_uint64 generation; /* written under the lock */
	pg_atomic_uint64 removal;	 /* the last generation with which a key may have gone */
	WrappingKey wrapping;		 /* guarded by the lock, as what follows */
	FileMark followed[FOLLOWED];
	int next_followed;
	Holder holders[FLEXIBLE_ARRAY_MEMBER];
} WrappingShared;

static WrappingShared *shared = NULL;
static LWLock *lock = NULL;
static bool holding = false;

/* A process's number is below: those of prepared transactions, which follow, are nobody's. */
static int
holder_count(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static Size
wrapping_size(void)
{
	return add_size(offsetof(WrappingShared, holders), mul_size(holder_count(), sizeof(Holder)));
}

void
keyring_shmem_request(int databases)
{
	RequestAddinShmemSpace(add_size(wrapping_size(), pins_shmem_size(databases)));
	RequestNamedLWLockTranche(KEYRING_TRANCHE, 2);
}

/* Makes a new wrapping key; without randomness nothing is changed. */
static void
wrapping_make(int elevel)
{
	WrappingKey made = {.generation = shared->wrapping.generation + 1};

	if (core_random(made.key, sizeof(made.key)) != CORE_OK ||
		xaes_subkey(made.key, made.cmac_k1) != CORE_OK)
		ereport(elevel,
				(errcode(ERRCODE_SYSTEM_ERROR), errmsg("could not make a key to keep keys under"),
				 errdetail("OpenSSL gave no random bytes, or no AES."),
				 errhint("Check the server's OpenSSL installation.")));
	memcpy(&shared->wrapping, &made, sizeof(made));
	pg_atomic_write_u64(&shared->generation, made.generation);
	wrapping_wipe(&made);
}

void
keyring_shmem_init(int databases)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("biometric_audit keyring", wrapping_size(), &found);
	lock = &GetNamedLWLockTranche(KEYRING_TRANCHE)[0].lock;
	if (!found)
	{
		memset(shared, 0, wrapping_size());
		pg_atomic_init_u64(&shared->generation, 0);
		pg_atomic_init_u64(&shared->removal, 0);
		for (int i = 0; i < holder_count(); i++)
		{
			pg_atomic_init_u64(&shared->holders[i].generation, 0);
			pg_atomic_init_u32(&shared->holders[i].pid, 0);
		}
		wrapping_make(FATAL);
	}
	pins_shmem_init(databases);
	LWLockRelease(AddinShmemInitLock);
}

uint64
keyring_generation(void)
{
	return shared != NULL ? pg_atomic_read_u64(&shared->generation) : 0;
}

void
wrapping_copy(WrappingKey *wrapping)
{
	LWLockAcquire(lock, LW_SHARED);
	memcpy(wrapping, &shared->wrapping, sizeof(*wrapping));
	LWLockRelease(lock);
}

void
wrapping_wipe(WrappingKey *wrapping)
{
	core_wipe(wrapping, sizeof(*wrapping));
}

static void
wrapping_replace_locked(bool removal)
{
	wrapping_make(ERROR);
	if (removal)
		pg_atomic_write_u64(&shared->removal, shared->wrapping.generation);
}

static bool
wrapping_follows(const FileMark *mark)
{
	for (int i = 0; i < FOLLOWED; i++)
		if (place_mark_equal(&shared->followed[i], mark))
			return true;
	return false;
}

static void
wrapping_remember(const FileMark *mark)
{
	if (wrapping_follows(mark))
		return;
	shared->followed[shared->next_followed] = *mark;
	shared->next_followed = (shared->next_followed + 1) % FOLLOWED;
}

void
wrapping_replace(bool removal, const FileMark *mark)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	wrapping_replace_locked(removal);
	wrapping_remember(mark);
	LWLockRelease(lock);
}

/* A file that is not there has no look of its own. */
void
wrapping_follow(const FileMark *mark)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (!mark->exists || !wrapping_follows(mark))
	{
		wrapping_replace_locked(true);
		wrapping_remember(mark);
	}
	LWLockRelease(lock);
}

bool
wrapping_seal(const WrappingKey *wrapping, uint32 label, const void *secret, Size size,
			  WrapHeader *header, uint8 *wrapped)
{
	XaesInput input = {
		.key = wrapping->key,
		.cmac_k1 = wrapping->cmac_k1,
		.nonce = header->nonce,
		.aad = (const uint8 *) &label,
		.aad_length = sizeof(label),
		.text = secret,
		.length = size,
	};

	return core_random(header->nonce, sizeof(header->nonce)) == CORE_OK &&
		   xaes_seal(&input, wrapped, header->tag) == CORE_OK;
}

bool
wrapping_open(const WrappingKey *wrapping, uint32 label, const WrapHeader *header,
			  const uint8 *wrapped, Size size, void *secret)
{
	XaesInput input = {
		.key = wrapping->key,
		.cmac_k1 = wrapping->cmac_k1,
		.nonce = header->nonce,
		.aad = (const uint8 *) &label,
		.aad_length = sizeof(label),
		.text = wrapped,
		.length = size,
	};

	return xaes_open(&input, header->tag, secret) == CORE_OK;
}

static Holder *
my_holder(void)
{
	return MyProc != NULL && MY_PROC_NUMBER < holder_count() ? &shared->holders[MY_PROC_NUMBER]
															 : NULL;
}

/* What is written here must be seen by others before this process reads what they may change. */
void
holder_enter(uint64 generation)
{
	Holder *mine = my_holder();

	if (mine == NULL)
		return;
	pg_atomic_write_u32(&mine->pid, (uint32) MyProcPid);
	pg_write_barrier();
	pg_atomic_write_u64(&mine->generation, generation);
	pg_memory_barrier();
	holding = true;
}

void
holder_leave(void)
{
	Holder *mine = holding ? my_holder() : NULL;

	if (mine == NULL)
		return;
	pg_write_barrier();
	pg_atomic_write_u64(&mine->generation, 0);
	holding = false;
}

/* Counts other processes that hold keys from before a generation; and signals them, if asked to. */
static int
holders_before(uint64 generation, bool terminate)
{
	int count = 0;

	for (int i = 0; i < holder_count(); i++)
	{
		Holder *holder = &shared->holders[i];
		uint64 held = pg_atomic_read_u64(&holder->generation);
		pid_t pid;

		if (held == 0 || held >= generation || (MyProc != NULL && i == MY_PROC_NUMBER))
			continue;
		pg_read_barrier();
		pid = (pid_t) pg_atomic_read_u32(&holder->pid);
		pg_read_barrier();
		/* gone meanwhile: the number may be the next process's, which has nothing from before */
		if (pg_atomic_read_u64(&holder->generation) != held)
			continue;
		if (terminate && pid != 0)
			(void) kill(pid, SIGTERM);
		count++;
	}
	return count;
}

/* Waits until nobody holds keys from before a generation; false after timeout_ms. */
static bool
holders_wait(uint64 generation, int timeout_ms)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);

	while (holders_before(generation, false) > 0)
	{
		if (GetCurrentTimestamp() >= end)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_AGAIN_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

int
keyring_holders(bool end)
{
	pg_memory_barrier();
	return holders_before(pg_atomic_read_u64(&shared->removal), end);
}

bool
keyring_wait_holders(int timeout_ms, int *ended)
{
	uint64 removal = pg_atomic_read_u64(&shared->removal);

	*ended = 0;
	pg_memory_barrier();
	if (holders_wait(removal, timeout_ms))
		return true;
	*ended = holders_before(removal, true);
	return holders_wait(removal, timeout_ms);
}
