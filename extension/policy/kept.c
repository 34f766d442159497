/*
 * kept.c - what the policy's file remembers across a restart of the server.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "policy/kept.h"
#include "policy/settings.h"

#define KEPT_FILE "biometric_audit.policy"
#define KEPT_TEMPORARY KEPT_FILE ".tmp"
#define KEPT_MAGIC 0x62706b31

/* As it stands in the file, and in shared memory. */
typedef struct Kept
{
	uint32 magic;
	uint32 checksum;
	uint32 ledgers;
	uint32 database;
	uint32 length;
	char bytes[FLEXIBLE_ARRAY_MEMBER];
} Kept;

static Kept *kept = NULL;
static LWLock *kept_lock = NULL;

Size
kept_shmem_size(void)
{
	return MAXALIGN(add_size(offsetof(Kept, bytes), policy_capacity()));
}

static uint32
kept_checksum(const Kept *contents)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &contents->ledgers,
				offsetof(Kept, bytes) - offsetof(Kept, ledgers) + contents->length);
	FIN_CRC32C(crc);
	return crc;
}

/* Fills shared memory from the file; false when it is not there or not whole. */
static bool
kept_load(void)
{
	int file = OpenTransientFile(KEPT_FILE, O_RDONLY | PG_BINARY);
	ssize_t got;

	if (file < 0)
		return errno == ENOENT;
	got = read(file, kept, offsetof(Kept, bytes) + policy_capacity());
	(void) CloseTransientFile(file);
	return got >= (ssize_t) offsetof(Kept, bytes) && kept->magic == KEPT_MAGIC &&
		   kept->length <= policy_capacity() &&
		   got == (ssize_t) (offsetof(Kept, bytes) + kept->length) &&
		   kept->checksum == kept_checksum(kept);
}

/* Damage must refuse: without a policy nobody connects before a worker has published one. */
void
kept_shmem_init(LWLock *lock)
{
	bool found;

	kept = ShmemInitStruct("biometric_audit kept policy", kept_shmem_size(), &found);
	kept_lock = lock;
	if (found)
		return;
	memset(kept, 0, offsetof(Kept, bytes));
	if (kept_load())
		return;
	memset(kept, 0, offsetof(Kept, bytes));
	kept->ledgers = 1;
	ereport(LOG, (errcode(ERRCODE_DATA_CORRUPTED),
				  errmsg("file \"%s\" is damaged or cannot be read, and is not used", KEPT_FILE),
				  errdetail("Replication connections wait for the ledger's worker to publish the "
							"policy."),
				  errhint("The worker writes the file anew.")));
}

/* Writes the file; the caller holds the lock. */
static void
kept_save(void)
{
	Size length = offsetof(Kept, bytes) + kept->length;
	int file;
	bool written;

	kept->magic = KEPT_MAGIC;
	kept->checksum = kept_checksum(kept);
	file = OpenTransientFile(KEPT_TEMPORARY, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
	written = file >= 0 && write(file, kept, length) == (ssize_t) length && pg_fsync(file) == 0;
	if (file >= 0 && CloseTransientFile(file) != 0)
		written = false;
	if (written && durable_rename(KEPT_TEMPORARY, KEPT_FILE, LOG) == 0)
		return;
	ereport(LOG,
			(errcode_for_file_access(), errmsg("could not write file \"%s\": %m", KEPT_FILE),
			 errdetail("After a restart replication connections wait for the ledger's worker.")));
}

void
kept_policy(Oid database, const char *bytes, Size length)
{
	if (length > policy_capacity())
		return;
	LWLockAcquire(kept_lock, LW_EXCLUSIVE);
	if (kept->database != database || kept->length != length ||
		memcmp(kept->bytes, bytes, length) != 0)
	{
		kept->database = database;
		kept->length = (uint32) length;
		memcpy(kept->bytes, bytes, length);
		kept_save();
	}
	LWLockRelease(kept_lock);
}

void
kept_ledgers(bool there)
{
	LWLockAcquire(kept_lock, LW_EXCLUSIVE);
	if (kept->ledgers != (there ? 1 : 0))
	{
		kept->ledgers = there ? 1 : 0;
		kept_save();
	}
	LWLockRelease(kept_lock);
}

bool
kept_have_ledgers(void)
{
	bool there;

	if (kept == NULL)
		return true;
	LWLockAcquire(kept_lock, LW_SHARED);
	there = kept->ledgers != 0;
	LWLockRelease(kept_lock);
	return there;
}

bool
kept_read(Oid database, StringInfo out)
{
	bool found;

	if (kept == NULL || !OidIsValid(database))
		return false;
	LWLockAcquire(kept_lock, LW_SHARED);
	found = kept->database == database;
	if (found)
		appendBinaryStringInfo(out, kept->bytes, (int) kept->length);
	LWLockRelease(kept_lock);
	return found;
}
