/*
 * pins.c - what the databases of this server know of the keys, in shared memory.
 *
 * One slot a database that has published something, found by its OID. The pins of a slot, its OID
 * and its count are guarded by the lock; its generation is an atomic, too, that
 * everybody looks at for each image.
 *
 * On a standby no worker publishes: there each process keeps what it has read itself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "core/keyfile.h"
#include "keyring/pins.h"
#include "keyring/wrapping.h"

typedef struct PinSlot
{
	pg_atomic_uint32 database;	 /* InvalidOid: free */
	pg_atomic_uint64 generation; /* 0: nothing is published */
	int count;
	KeyPin pins[KEYFILE_MAX_KEYS]; /* ascending by id */
} PinSlot;

typedef struct PinsShared
{
	int slots;
	uint64 published; /* publications of all databases */
	PinSlot slot[FLEXIBLE_ARRAY_MEMBER];
} PinsShared;

static PinsShared *shared = NULL;
static LWLock *lock = NULL;
static PinSlot *mine = NULL; /* this database's slot, as it was found last */

/* Generations of what a process has read itself; publications do not count so far. */
#define READ_GENERATIONS (UINT64CONST(1) << 63)

/* What this process has read on a standby. */
static PinsReader pins_reader = NULL;
static TimestampTz read_at = 0; /* start of the statement that did */
static uint64 read_generation = 0;
static uint64 readings = 0; /* that found something new */
static KeyPin *read_pins = NULL;
static int read_count = 0;

Size
pins_shmem_size(int databases)
{
	return add_size(offsetof(PinsShared, slot), mul_size(databases, sizeof(PinSlot)));
}

void
pins_shmem_init(int databases)
{
	bool found;

	shared = ShmemInitStruct("biometric_audit pins", pins_shmem_size(databases), &found);
	lock = &GetNamedLWLockTranche(KEYRING_TRANCHE)[1].lock;
	if (found)
		return;
	memset(shared, 0, offsetof(PinsShared, slot));
	shared->slots = databases;
	for (int i = 0; i < databases; i++)
	{
		pg_atomic_init_u32(&shared->slot[i].database, InvalidOid);
		pg_atomic_init_u64(&shared->slot[i].generation, 0);
		shared->slot[i].count = 0;
	}
}

/* Finds the slot of a database, or a free one with InvalidOid. */
static PinSlot *
find_slot(Oid database)
{
	for (int i = 0; shared != NULL && i < shared->slots; i++)
		if (pg_atomic_read_u32(&shared->slot[i].database) == database)
			return &shared->slot[i];
	return NULL;
}

/* The slot of this database, or NULL. A slot that was remembered may be another's by now. */
static PinSlot *
my_slot(void)
{
	if (!OidIsValid(MyDatabaseId))
		return NULL;
	if (mine == NULL || pg_atomic_read_u32(&mine->database) != MyDatabaseId)
		mine = find_slot(MyDatabaseId);
	return mine;
}

bool
pins_publish(Oid database, const KeyPin *pins, int count)
{
	PinSlot *slot;

	Assert(count >= 0 && count <= KEYFILE_MAX_KEYS);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = find_slot(database);
	if (slot == NULL)
		slot = find_slot(InvalidOid);
	if (slot != NULL)
	{
		memcpy(slot->pins, pins, count * sizeof(KeyPin));
		slot->count = count;
		pg_atomic_write_u64(&slot->generation, ++shared->published);
		pg_write_barrier();
		pg_atomic_write_u32(&slot->database, database);
	}
	LWLockRelease(lock);
	return slot != NULL;
}

void
pins_reset(Oid database)
{
	PinSlot *slot;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	slot = OidIsValid(database) ? find_slot(database) : NULL;
	if (slot != NULL)
	{
		pg_atomic_write_u32(&slot->database, InvalidOid);
		pg_atomic_write_u64(&slot->generation, 0);
		slot->count = 0;
	}
	LWLockRelease(lock);
}

/* ---- on a standby */

void
pins_set_reader(PinsReader reader)
{
	pins_reader = reader;
}

/* Keeps what was read; what is the same has the same generation. */
static void
read_keep(const KeyPin *pins, int count)
{
	Size size = Max(count, 0) * sizeof(KeyPin);

	if (read_generation != 0 && count == read_count && memcmp(pins, read_pins, size) == 0)
		return;
	read_generation = 0;
	read_count = 0;
	if (read_pins != NULL)
		pfree(read_pins);
	read_pins = NULL;
	if (count < 0)
		return;
	read_pins = MemoryContextAlloc(TopMemoryContext, size + 1);
	memcpy(read_pins, pins, size);
	read_count = count;
	read_generation = READ_GENERATIONS + ++readings;
}

/* Once a statement, for what the primary shreds is to stay shut from the next one on. */
static void
read_anew(void)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();
	MemoryContext context;
	MemoryContext old;
	KeyPin *pins = NULL;
	int count;

	if (pins_reader == NULL || read_at == now || !IsTransactionState())
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "biometric pins", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	count = pins_reader(&pins);
	read_keep(pins, count);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	read_at = now;
}

/* ---- looking up */

uint64
pins_generation(void)
{
	PinSlot *slot;
	uint64 generation;

	if (RecoveryInProgress())
	{
		read_anew();
		return read_generation;
	}
	slot = my_slot();
	generation = slot != NULL ? pg_atomic_read_u64(&slot->generation) : 0;
	/* given away meanwhile: the generation may be another database's */
	if (slot != NULL && pg_atomic_read_u32(&slot->database) != MyDatabaseId)
		return 0;
	return generation;
}

/* Finds a key among pins, ascending by id. */
static bool
find_pin(const KeyPin *pins, int count, uint32 id, KeyPin *pin)
{
	int low = 0;
	int high = count - 1;

	while (low <= high)
	{
		int middle = low + (high - low) / 2;

		if (pins[middle].id == id)
		{
			*pin = pins[middle];
			return true;
		}
		if (pins[middle].id < id)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return false;
}

bool
pins_find(uint32 id, KeyPin *pin)
{
	PinSlot *slot;
	bool found = false;

	memset(pin, 0, sizeof(*pin));
	if (shared == NULL || !OidIsValid(MyDatabaseId))
		return false;
	if (RecoveryInProgress())
		return pins_generation() != 0 && find_pin(read_pins, read_count, id, pin);
	LWLockAcquire(lock, LW_SHARED);
	slot = my_slot();
	if (slot != NULL)
		found = find_pin(slot->pins, slot->count, id, pin);
	LWLockRelease(lock);
	return found;
}

uint32
pins_highest(void)
{
	uint32 highest = 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; shared != NULL && i < shared->slots; i++)
	{
		const PinSlot *slot = &shared->slot[i];

		if (pg_atomic_read_u32(&shared->slot[i].database) != InvalidOid && slot->count > 0)
			highest = Max(highest, slot->pins[slot->count - 1].id);
	}
	LWLockRelease(lock);
	return highest;
}

static const KeyPin *
slot_pin(const PinSlot *slot, const uint8 check[SEAL_CHECK_SIZE])
{
	for (int i = 0; slot != NULL && i < slot->count; i++)
		if (memcmp(slot->pins[i].check, check, SEAL_CHECK_SIZE) == 0)
			return &slot->pins[i];
	return NULL;
}

/* The pin by which a database keeps a key from another, whose own it may be; NULL: it does not. */
static const KeyPin *
slot_keeps(const PinSlot *slot, const uint8 check[SEAL_CHECK_SIZE], const KeyPin *own)
{
	for (int i = 0; i < slot->count; i++)
	{
		const KeyPin *pin = &slot->pins[i];

		if (pin->state != PIN_SHREDDED && memcmp(pin->check, check, SEAL_CHECK_SIZE) == 0 &&
			(own == NULL || !own->own || pin->own || !pin->scope.bound))
			return pin;
	}
	return NULL;
}

int
pins_elsewhere(const uint8 check[SEAL_CHECK_SIZE], Oid *databases, int most)
{
	const KeyPin *own;
	int count = 0;

	LWLockAcquire(lock, LW_SHARED);
	own = slot_pin(my_slot(), check);
	for (int i = 0; shared != NULL && i < shared->slots; i++)
	{
		Oid database = pg_atomic_read_u32(&shared->slot[i].database);
		const KeyPin *pin = NULL;

		if (OidIsValid(database) && database != MyDatabaseId)
			pin = slot_keeps(&shared->slot[i], check, own);
		if (pin == NULL || pin->state != PIN_USABLE)
			continue;
		if (count < most)
			databases[count] = database;
		count++;
	}
	LWLockRelease(lock);
	return count;
}

bool
pins_shredded_by_owner(const uint8 check[SEAL_CHECK_SIZE])
{
	bool shredded = false;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; shared != NULL && i < shared->slots && !shredded; i++)
	{
		Oid database = pg_atomic_read_u32(&shared->slot[i].database);
		const KeyPin *pin = NULL;

		if (OidIsValid(database) && database != MyDatabaseId)
			pin = slot_pin(&shared->slot[i], check);
		shredded = pin != NULL && pin->own && pin->state != PIN_USABLE;
	}
	LWLockRelease(lock);
	return shredded;
}

/* Whether a database but this slot's keeps a key, or is to take it out itself. */
static bool
others_have(const PinSlot *slot, const KeyPin *pin)
{
	for (int i = 0; i < shared->slots; i++)
		if (&shared->slot[i] != slot && OidIsValid(pg_atomic_read_u32(&shared->slot[i].database)) &&
			slot_keeps(&shared->slot[i], pin->check, pin) != NULL)
			return true;
	return false;
}

uint32
pins_shredding(Oid database, bool shared_keyring)
{
	const PinSlot *slot;
	uint32 id = 0;

	LWLockAcquire(lock, LW_SHARED);
	slot = OidIsValid(database) ? find_slot(database) : NULL;
	for (int i = 0; slot != NULL && i < slot->count && id == 0; i++)
		if (slot->pins[i].state == PIN_SHREDDING &&
			!(shared_keyring && others_have(slot, &slot->pins[i])))
			id = slot->pins[i].id;
	LWLockRelease(lock);
	return id;
}
