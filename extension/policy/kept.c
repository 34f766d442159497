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

#include "ledger/ring.h"
#include "policy/kept.h"
#include "policy/settings.h"

#define KEPT_FILE "biometric_audit.policy"
#define KEPT_TEMPORARY KEPT_FILE ".tmp"
#define KEPT_MAGIC 0x62706b32

/* Whether any database has a ledger. */
#define LEDGERS_NONE 0
#define LEDGERS_SOME 1
#define LEDGERS_UNKNOWN 2 /* the file could not tell; see ledger_search_is_over */

/* As it stands in the file, and in shared memory. */
typedef struct Kept
{
	uint32 magic;
	uint32 checksum;
	uint32 ledgers;
	char name[NAMEDATALEN]; /* what biometric_audit.replication_database was, "": nothing */
	uint32 database;		/* the OID that it is bound to */
	uint32 length;			/* 0: no policy */
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
		return false;
	got = read(file, kept, offsetof(Kept, bytes) + policy_capacity());
	(void) CloseTransientFile(file);
	return got >= (ssize_t) offsetof(Kept, bytes) && kept->magic == KEPT_MAGIC &&
		   kept->length <= policy_capacity() &&
		   got == (ssize_t) (offsetof(Kept, bytes) + kept->length) &&
		   kept->checksum == kept_checksum(kept) && kept->ledgers <= LEDGERS_UNKNOWN &&
		   kept->name[NAMEDATALEN - 1] == '\0';
}

/*
 * A file that is missing tells no more than a damaged one: somebody may have
 * removed it. Nobody connects then before the databases have been looked at.
 */
void
kept_shmem_init(LWLock *lock)
{
	bool found;
	bool missing;

	kept = ShmemInitStruct("biometric_audit kept policy", kept_shmem_size(), &found);
	kept_lock = lock;
	if (found)
		return;
	memset(kept, 0, offsetof(Kept, bytes));
	if (kept_load())
		return;
	missing = access(KEPT_FILE, F_OK) != 0 && errno == ENOENT;
	memset(kept, 0, offsetof(Kept, bytes));
	kept->ledgers = LEDGERS_UNKNOWN;
	if (missing)
		return;
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
	if (kept->database == database &&
		(kept->length != length || (length > 0 && memcmp(kept->bytes, bytes, length) != 0)))
	{
		kept->length = (uint32) length;
		if (length > 0)
			memcpy(kept->bytes, bytes, length);
		kept_save();
	}
	LWLockRelease(kept_lock);
}

void
kept_bind(const char *name, Oid database)
{
	LWLockAcquire(kept_lock, LW_EXCLUSIVE);
	if (strncmp(kept->name, name, NAMEDATALEN - 1) != 0 ||
		(!OidIsValid(kept->database) && OidIsValid(database)))
	{
		memset(kept->name, 0, NAMEDATALEN);
		strlcpy(kept->name, name, NAMEDATALEN);
		kept->database = database;
		kept->length = 0;
		kept_save();
	}
	LWLockRelease(kept_lock);
}

Oid
kept_bound(const char *name)
{
	Oid bound = InvalidOid;

	if (kept == NULL)
		return InvalidOid;
	LWLockAcquire(kept_lock, LW_SHARED);
	if (strncmp(kept->name, name, NAMEDATALEN - 1) == 0)
		bound = kept->database;
	LWLockRelease(kept_lock);
	return bound;
}

/* Before every database has been looked at, that one has lost its ledger says nothing. */
void
kept_ledgers(bool there)
{
	uint32 ledgers = LEDGERS_SOME;

	if (!there)
		ledgers = ledger_search_is_over() ? LEDGERS_NONE : LEDGERS_UNKNOWN;
	LWLockAcquire(kept_lock, LW_EXCLUSIVE);
	if (kept->ledgers != ledgers)
	{
		kept->ledgers = ledgers;
		kept_save();
	}
	LWLockRelease(kept_lock);
}

bool
kept_have_ledgers(bool *known)
{
	bool over = ledger_search_is_over();
	uint32 ledgers = LEDGERS_UNKNOWN;

	if (kept != NULL)
	{
		/* what the search found was said here before it was over */
		pg_read_barrier();
		LWLockAcquire(kept_lock, LW_SHARED);
		ledgers = kept->ledgers;
		LWLockRelease(kept_lock);
	}
	*known = ledgers != LEDGERS_UNKNOWN || over;
	return ledgers == LEDGERS_SOME || !*known;
}

bool
kept_read(Oid database, StringInfo out)
{
	bool found;

	if (kept == NULL || !OidIsValid(database))
		return false;
	LWLockAcquire(kept_lock, LW_SHARED);
	found = kept->database == database && kept->length > 0;
	if (found)
		appendBinaryStringInfo(out, kept->bytes, (int) kept->length);
	LWLockRelease(kept_lock);
	return found;
}
