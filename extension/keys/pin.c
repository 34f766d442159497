/*
 * pin.c - the worker's task: pins keys that it sees for the first time, publishes what
 * the database knows of keys, and puts on record what has become of them.
 *
 * What is published is committed: a round that changes the table asks for another. Entries follow
 * their rows, which say that they are owed until they are durable: a crash may make an
 * entry too many, never one too few. In a ledger without entries nothing is put on record
 * before somebody else's entry, so that a template database stays as new.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/builtins.h"

#include "base/internal.h"
#include "keys/parts.h"
#include "ledger/ring.h"
#include "ledger/slot.h"
#include "ledger/worker.h"
#include "policy/policy_sql.h"

/* How often the worker looks whether the keyring was changed by somebody else, in ms. */
#define LOOK_INTERVAL_MS 1000

/* An entry that was appended and may not be durable yet. */
typedef struct OwedEntry
{
	uint32 id;
	char action[16];
	int64 sequence;
} OwedEntry;

/* What the sessions of a slot's database and its worker tell one another. */
typedef struct KeysSlot
{
	pg_atomic_uint32 wanted;   /* 1: the worker shall read the keyring anew */
	pg_atomic_uint32 put_offs; /* how often it could not take out a key now */
} KeysSlot;

static KeysSlot *slots = NULL;

/* ---- of the worker alone */

static MemoryContext ring_context = NULL;
static KeyringEntry *ring = NULL; /* what the keyring held when it was read last */
static int ring_count = -1;		  /* -1: it could not be read */
static bool ring_read_once = false;
static bool is_worker = false; /* this process is the one that pins */
static uint64 ring_poll = 0;
static TimestampTz looked_at = 0;

static OwedEntry appended[KEYFILE_MAX_KEYS];
static int appended_count = 0;
static bool entries_owed = false;
static TimestampTz owed_tried = 0;

/* ---- shared memory ---- */

void
pin_shmem_request(void)
{
	RequestAddinShmemSpace(mul_size(ledger_slots(), sizeof(KeysSlot)));
}

void
pin_shmem_init(void)
{
	bool found;

	slots =
		ShmemInitStruct("biometric_audit keys", mul_size(ledger_slots(), sizeof(KeysSlot)), &found);
	for (int i = 0; i < ledger_slots() && !found; i++)
	{
		pg_atomic_init_u32(&slots[i].wanted, 0);
		pg_atomic_init_u32(&slots[i].put_offs, 0);
	}
}

uint32
pin_put_offs(bool another)
{
	int slot = ledger_my_slot();

	if (slot < 0)
		return 0;
	if (another)
		pg_atomic_fetch_add_u32(&slots[slot].put_offs, 1);
	return pg_atomic_read_u32(&slots[slot].put_offs);
}

/* ---- the keyring, as the worker knows it ---- */

/* Warns of a key that is another than the one known by its id, or is bound otherwise. */
static void
ring_compare_key(const KeyringEntry *entry, const KeyPin *pin)
{
	if (memcmp(entry->check, pin->check, SEAL_CHECK_SIZE) != 0)
		ereport(WARNING, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						  errmsg("the keyring of database %u holds another key under id %u",
								 MyDatabaseId, pin->id),
						  errdetail("This database has known a different key by that id; the one "
									"in the keyring is not used."),
						  errhint("Bring back the key that belongs to the id, and give the other "
								  "an id of its own, above all others.")));
	else if (!keyfile_scope_equal(&entry->scope, &pin->scope))
		ereport(WARNING,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("the keyring of database %u binds key %u otherwise than it was",
						MyDatabaseId, pin->id),
				 errdetail("What a key may seal is what was written down when it was first seen."),
				 errhint("See whether its line was cut off; bring back the right keyring.")));
}

/* Compares the keyring with what is known; once for each reading. */
static void
ring_compare(const List *rows)
{
	ListCell *cell;

	foreach(cell, rows)
	{
		const PinRow *row = lfirst(cell);

		for (int i = 0; i < ring_count; i++)
			if (ring[i].id == row->pin.id)
				ring_compare_key(&ring[i], &row->pin);
	}
}

/* Reads the keyring if it may have changed; true when it did that. */
static bool
ring_refresh(int slot)
{
	bool asked = pg_atomic_exchange_u32(&slots[slot].wanted, 0) != 0;
	uint64 poll = keyring_poll();
	KeyringEntry *entries;
	const char *problem;
	MemoryContext old;

	if (ring_read_once && !asked && poll == ring_poll)
		return false;
	if (ring_context == NULL)
		ring_context =
			AllocSetContextCreate(TopMemoryContext, "biometric keyring", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(ring_context);
	ring = NULL;
	ring_count = -1;
	old = MemoryContextSwitchTo(ring_context);
	ring_count = keyring_list(&entries, &problem);
	MemoryContextSwitchTo(old);
	ring = ring_count > 0 ? entries : NULL;
	ring_poll = poll;
	ring_read_once = true;
	return true;
}

/* ---- pinning ---- */

static bool
rows_have(const List *rows, uint32 id)
{
	ListCell *cell;

	foreach(cell, rows)
		if (((const PinRow *) lfirst(cell))->pin.id == id)
			return true;
	return false;
}

/* Pins what the keyring holds and no row tells of; true when it did. */
static bool
pin_new(const List *rows)
{
	bool inserted = false;

	for (int i = 0; i < ring_count; i++)
	{
		KeyPin pin = {.id = ring[i].id, .state = PIN_USABLE, .scope = ring[i].scope};

		if (rows_have(rows, pin.id))
			continue;
		memcpy(pin.check, ring[i].check, SEAL_CHECK_SIZE);
		inserted |= table_insert(&pin);
	}
	return inserted;
}

static bool
ring_holds(uint32 id)
{
	for (int i = 0; i < ring_count; i++)
		if (ring[i].id == id)
			return true;
	return false;
}

/*
 * Publishes what rows say. There is room for as many keys as a keyring may hold: first come those
 * that it holds and those that are being shredded, then the newest of the rest.
 */
static void
pin_publish(const List *rows)
{
	KeyPin *pins = palloc0(KEYFILE_MAX_KEYS * sizeof(KeyPin));
	int room = KEYFILE_MAX_KEYS;
	int count = 0;
	int left = 0;
	ListCell *cell;

	foreach(cell, rows)
	{
		const PinRow *row = lfirst(cell);

		if (row->shredding || ring_holds(row->pin.id))
			room--;
		else
			left++;
	}
	foreach(cell, rows)
	{
		const PinRow *row = lfirst(cell);
		bool needed = row->shredding || ring_holds(row->pin.id);

		if (!needed && left-- > room)
			continue;
		if (count < KEYFILE_MAX_KEYS)
			pins[count++] = row->pin;
	}
	if (!pins_publish(MyDatabaseId, pins, count))
		elog(ERROR, "there is no room for what database %u knows of keys", MyDatabaseId);
	pfree(pins);
}

/* ---- entries ---- */

static void
append_hex(StringInfo out, const uint8 *bytes, int length)
{
	for (int i = 0; i < length; i++)
		appendStringInfo(out, "%02x", bytes[i]);
}

/* The detail of an entry about a key. */
static char *
owed_detail(const PinRow *row)
{
	const KeyScope *scope = &row->pin.scope;
	StringInfoData json;
	int ended;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"action\": \"%s\", \"key\": %u, \"check\": \"", row->owed,
					 row->pin.id);
	append_hex(&json, row->pin.check, SEAL_CHECK_SIZE);
	appendStringInfoChar(&json, '"');
	if (scope->bound)
		appendStringInfo(&json, ", \"home\": \"%s\", \"from\": %lld, \"until\": %lld",
						 DatumGetCString(DirectFunctionCall1(
							 uuid_out, UUIDPGetDatum((pg_uuid_t *) scope->home))),
						 (long long) scope->from_ms, (long long) scope->until_ms);
	if (row->shredded && remove_is_done(row->pin.check, &ended) && ended > 0)
		appendStringInfo(&json, ", \"ended\": %d", ended);
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* What this worker has appended for a row, NULL: nothing yet. */
static OwedEntry *
owed_find(const PinRow *row)
{
	for (int i = 0; i < appended_count; i++)
		if (appended[i].id == row->pin.id && strcmp(appended[i].action, row->owed) == 0)
			return &appended[i];
	return NULL;
}

static void
owed_append(const PinRow *row)
{
	EntryFields entry = {.event = ENTRY_KEY_CHANGED};
	char *detail = owed_detail(row);
	OwedEntry *it = &appended[appended_count];

	entry.detail.bytes = detail;
	entry.detail.length = strlen(detail);
	if (appended_count == KEYFILE_MAX_KEYS || !ledger_worker_append(&entry, &it->sequence))
		return;
	it->id = row->pin.id;
	strlcpy(it->action, row->owed, sizeof(it->action));
	appended_count++;
}

/* Appends what is owed to the ledger, and settles what has become durable. */
static void
owed_look_at(const List *rows)
{
	ListCell *cell;

	entries_owed = false;
	owed_tried = GetCurrentTimestamp();
	foreach(cell, rows)
	{
		const PinRow *row = lfirst(cell);
		OwedEntry *it = row->owed ? owed_find(row) : NULL;

		if (row->owed == NULL)
			continue;
		if (it && ledger_worker_durable(it->sequence) && table_settle(row))
		{
			*it = appended[--appended_count];
			continue;
		}
		if (it == NULL && ledger_worker_has_entries())
			owed_append(row);
		entries_owed = true;
	}
}

/* ---- the task ---- */

static bool
ring_holds_key(const uint8 *check)
{
	for (int i = 0; i < ring_count; i++)
		if (memcmp(ring[i].check, check, SEAL_CHECK_SIZE) == 0)
			return true;
	return false;
}

/* Whether a key was another database's to shred, which has done so. */
static bool
pin_went_elsewhere(const PinRow *row)
{
	return row->pin.scope.bound && !row->pin.own && !row->shredding && !row->shredded &&
		   row->owed == NULL && ring_count >= 0 && !ring_holds_key(row->pin.check) &&
		   pins_shredded_by_owner(row->pin.check);
}

/* Brings rows up to date with what became of their keys; true if any changed. */
static bool
pin_follow_removal(const List *rows)
{
	bool changed = false;
	ListCell *cell;

	foreach(cell, rows)
	{
		const PinRow *row = lfirst(cell);
		const char *problem = remove_problem(row->pin.check);
		int ended;

		if (pin_went_elsewhere(row))
			changed |= table_follow(row);
		if (!row->shredding)
			continue;
		if (remove_is_done(row->pin.check, &ended))
			changed |= row->owed == NULL && table_finish(row);
		else if (strcmp(problem ? problem : "", row->problem ? row->problem : "") != 0)
			(void) table_problem(row, problem);
	}
	return changed;
}

static void
pin_task(int slot)
{
	List *rows;
	bool changed;
	bool read_anew;
	int settings;

	is_worker = true;
	if (!OidIsValid(extension_relation("key_pin")))
	{
		pins_reset(MyDatabaseId);
		return;
	}
	read_anew = ring_refresh(slot);
	settings = policy_sql_settings();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	rows = table_read();
	if (read_anew)
		ring_compare(rows);
	pin_publish(rows);
	changed = pin_new(rows);
	changed |= pin_follow_removal(rows);
	owed_look_at(rows);
	remove_plan(rows, ring, ring_count);
	SPI_finish();
	policy_sql_settings_end(settings);
	if (changed)
		(void) ledger_request_tasks();
}

/* Cheap: each time the worker's loop goes round. */
static bool
pin_poll(long *wait_ms)
{
	TimestampTz now = GetCurrentTimestamp();

	if (entries_owed && ledger_worker_has_entries() &&
		(appended_count == 0 || ledger_worker_durable(appended[appended_count - 1].sequence)) &&
		TimestampDifferenceExceeds(owed_tried, now, appended_count == 0 ? 100 : 0))
		return true;
	if (remove_is_due(now, wait_ms))
		return true;
	if (!TimestampDifferenceExceeds(looked_at, now, LOOK_INTERVAL_MS))
		return false;
	looked_at = now;
	return ring_read_once && keyring_poll() != ring_poll;
}

static void
pin_reset(int number)
{
	pins_reset(pg_atomic_read_u32(&ledger_slot(number)->database));
}

/* ---- waiting ---- */

/* Whether a key was pinned; 0: whether anything is. */
static bool
pin_is_there(uint32 id)
{
	KeyPin pin;

	return pins_generation() != 0 && (id == 0 || pins_find(id, &pin));
}

bool
pin_await(uint32 id)
{
	TimestampTz start = GetCurrentTimestamp();
	int slot = ledger_my_slot();
	uint64 request;

	if (slot < 0 || RecoveryInProgress())
		return false;
	pg_atomic_write_u32(&slots[slot].wanted, 1);
	request = ledger_request_tasks();
	while (!(id == 0 ? ledger_wait_tasks(request, 0) : pin_is_there(id)))
	{
		CHECK_FOR_INTERRUPTS();
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ledger_timeout_ms()))
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 5,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	return true;
}

/*
 * What keyring_active and keyring_find wait by. A worker that does not answer keeps a process
 * waiting once in the time that it may take, not once an image.
 */
static bool
pin_wait(uint32 id)
{
	static TimestampTz given_up = 0;

	if (is_worker || !INTERRUPTS_CAN_BE_PROCESSED() ||
		!TimestampDifferenceExceeds(given_up, GetCurrentTimestamp(), ledger_timeout_ms()))
		return false;
	if (pin_await(id))
		return true;
	given_up = GetCurrentTimestamp();
	return false;
}

void
pin_init(void)
{
	ledger_worker_add_task(pin_task, remove_work, pin_reset);
	ledger_worker_add_poll(pin_poll);
	keyring_set_pin_waiter(pin_wait);
}
