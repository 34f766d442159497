/*
 * signed.c - what the signers have published, and how the delivery of it is
 * doing: shared memory, settings, and waiting.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "ledger/anchor.h"
#include "ledger/signer.h"

#define READ_ATTEMPTS 1000
#define READ_PAUSE_US 100L
#define WAIT_SLICE_MS 100

/* A log's id in text, with the slash before it. */
#define LOG_ID_TEXT 37

/* Each part is copied while its version is even and stays the same; one process writes it. */
typedef struct SignedSlot
{
	pg_atomic_uint32 signed_version;
	pg_atomic_uint32 anchor_version;
	LedgerSigned newest;
	LedgerAnchor anchor;
} SignedSlot;

static char *key_file = NULL;
static char *origin = NULL;

static SignedSlot *slots = NULL;

/* Part of a key's name, so that it is no less restricted than that. */
static bool
check_origin(char **value, void **extra, GucSource source)
{
	Size length = strlen(*value);
	bool plain = length > 0 && length + LOG_ID_TEXT <= NOTE_NAME_MAX;

	for (Size i = 0; plain && i < length; i++)
		plain = (*value)[i] > ' ' && (*value)[i] < 0x7f && (*value)[i] != '+';
	if (!plain)
		GUC_check_errdetail("It is 1 to %d ASCII characters without spaces and plus signs.",
							NOTE_NAME_MAX - LOG_ID_TEXT);
	return plain;
}

void
signer_define_settings(void)
{
	DefineCustomStringVariable("biometric_audit.signing_key",
							   "File that holds the key that signs "
							   "checkpoints of the ledger.",
							   "An Ed25519 private key in PEM, as \"openssl genpkey -algorithm "
							   "ed25519\" makes it. Mode 0600, outside the data directory.",
							   &key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("biometric_audit.ledger_origin",
							   "How the names of this server's logs begin.",
							   "A log's name is this, a slash, and the log's id.", &origin,
							   "biometric_audit", PGC_SIGHUP, 0, check_origin, NULL, NULL);
}

const char *
signer_key_file(void)
{
	return key_file != NULL ? key_file : "";
}

const char *
signer_origin(void)
{
	return origin;
}

Size
signer_shmem_size(void)
{
	return mul_size(ledger_slots(), sizeof(SignedSlot));
}

void
signer_shmem_init(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots = ShmemInitStruct("biometric_audit checkpoints", signer_shmem_size(), &found);
	if (!found)
	{
		memset(slots, 0, signer_shmem_size());
		for (int i = 0; i < ledger_slots(); i++)
		{
			pg_atomic_init_u32(&slots[i].signed_version, 0);
			pg_atomic_init_u32(&slots[i].anchor_version, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Replaces a part. A writer that ended in between left its version odd. */
static void
copy_in(pg_atomic_uint32 *version, void *part, const void *value, Size size)
{
	pg_atomic_write_u32(version, pg_atomic_read_u32(version) | 1);
	pg_memory_barrier();
	memcpy(part, value, size);
	pg_memory_barrier();
	pg_atomic_write_u32(version, pg_atomic_read_u32(version) + 1);
}

/* Copies a part; false, with zeroes, when it was being written for as long as this tried. */
static bool
copy_out(pg_atomic_uint32 *version, const void *part, void *value, Size size)
{
	for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++)
	{
		uint32 before = pg_atomic_read_u32(version);

		pg_memory_barrier();
		if ((before & 1) == 0)
		{
			memcpy(value, part, size);
			pg_memory_barrier();
			if (pg_atomic_read_u32(version) == before)
				return true;
		}
		pg_usleep(READ_PAUSE_US);
	}
	memset(value, 0, size);
	return false;
}

void
signer_reset(int number)
{
	LedgerSigned nothing = {0};
	LedgerAnchor none = {0};

	copy_in(&slots[number].signed_version, &slots[number].newest, &nothing, sizeof(nothing));
	copy_in(&slots[number].anchor_version, &slots[number].anchor, &none, sizeof(none));
}

void
signer_post(int number, const LedgerSigned *newest)
{
	copy_in(&slots[number].signed_version, &slots[number].newest, newest, sizeof(*newest));
	ledger_poke_anchor();
}

bool
signer_read(int number, LedgerSigned *newest)
{
	return copy_out(&slots[number].signed_version, &slots[number].newest, newest,
					sizeof(*newest)) &&
		   newest->length > 0;
}

void
ledger_anchor_write(int number, const LedgerAnchor *anchor)
{
	copy_in(&slots[number].anchor_version, &slots[number].anchor, anchor, sizeof(*anchor));
}

bool
ledger_anchor_read(int number, LedgerAnchor *anchor)
{
	return copy_out(&slots[number].anchor_version, &slots[number].anchor, anchor,
					sizeof(*anchor)) &&
		   (anchor->size > 0 || anchor->failures > 0);
}

/* ---- Waiting, in client backends */

static int
slot_here(void)
{
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();

	if (number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing signs the ledger of this database here"),
				 errdetail("%s", RecoveryInProgress()
									 ? "The server is a standby."
									 : "All slots of biometric_audit.max_databases are taken."),
				 errhint("See biometric.ledger_status().")));
	return number;
}

static bool
time_is_over(TimestampTz deadline)
{
	return GetCurrentTimestamp() >= deadline;
}

static void
wait_a_little(int number)
{
	ledger_poke_worker(number);
	ledger_wait_sleep(WAIT_SLICE_MS, true);
}

uint64
signer_durable(void)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ledger_timeout_ms());
	int number = slot_here();

	for (;;)
	{
		ledger_wait_announce(number, LEDGER_WAIT_ANY);
		if (pg_atomic_read_u32(&ledger_slot(number)->state) != LEDGER_STARTING ||
			time_is_over(deadline))
			break;
		wait_a_little(number);
		number = slot_here();
	}
	ledger_wait_announce(number, 0);
	return pg_atomic_read_u64(&ledger_slot(number)->durable);
}

/* Says why there is no checkpoint of a ledger that nobody signs. */
static void
refuse_unsigned(const LedgerSigned *newest)
{
	if (newest->problem[0] != '\0')
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger's checkpoints cannot be signed"),
						errdetail("%s", newest->problem),
						errhint("The server's log says more. Put it right, then reload the "
								"configuration.")));
	if (signer_key_file()[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("nothing signs the ledger's checkpoints"),
						errdetail("biometric_audit.signing_key is not set."),
						errhint("Make a key with \"openssl genpkey -algorithm ed25519\", set "
								"biometric_audit.signing_key to its file, then reload the "
								"configuration.")));
}

static bool
takes_entries(int number)
{
	switch (pg_atomic_read_u32(&ledger_slot(number)->state))
	{
		case LEDGER_STARTING:
		case LEDGER_READY:
			return true;
		default:
			return false;
	}
}

void
signer_wait(uint64 size, LedgerSigned *newest)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ledger_timeout_ms());

	for (;;)
	{
		int number = slot_here();

		ledger_wait_announce(number, LEDGER_WAIT_ANY);
		if (signer_read(number, newest) && newest->size >= size)
		{
			ledger_wait_announce(number, 0);
			return;
		}
		refuse_unsigned(newest);
		if (!takes_entries(number) || time_is_over(deadline))
		{
			ledger_wait_announce(number, 0);
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("no checkpoint covers " UINT64_FORMAT " entries yet", size),
					 errdetail("The ledger's worker signs once a second, and was waited for until "
							   "biometric_audit.ledger_timeout was over."),
					 errhint("Try again; see biometric.ledger_status().")));
		}
		wait_a_little(number);
	}
}
