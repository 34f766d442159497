/*
 * identity.c - whether a log in the tables is this system's to continue.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "common/file_perm.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "ledger/fork.h"
#include "ledger/identity.h"

/* Both in the data directory, which is the postmaster's working directory. */
#define INSTANCE_FILE "PG_VERSION"
#define STANDBY_FILE "biometric_audit.standby"

#define STANDBY_SIGNAL "standby.signal"
#define RECOVERY_SIGNAL "recovery.signal"

/* Set in the postmaster, inherited by everything that it starts. */
static bool started_as_standby = false;

/* The data directory, by a file that every way of copying it makes anew. */
static bool
read_instance(char instance[IDENTITY_INSTANCE_MAX])
{
	long long birth = 0;
	unsigned long long inode;
#ifdef STATX_BTIME
	struct statx status;

	if (statx(AT_FDCWD, INSTANCE_FILE, 0, STATX_INO | STATX_BTIME, &status) != 0)
		return false;
	inode = status.stx_ino;
	if ((status.stx_mask & STATX_BTIME) != 0)
		birth = (long long) status.stx_btime.tv_sec * 1000000000LL + status.stx_btime.tv_nsec;
#else
	struct stat status;

	if (stat(INSTANCE_FILE, &status) != 0)
		return false;
	inode = status.st_ino;
#endif
	snprintf(instance, IDENTITY_INSTANCE_MAX, "%llu:%lld", inode, birth);
	return true;
}

/* False for anything that is not of the form that read_instance writes. */
static bool
parse_instance(const char *instance, unsigned long long *inode, long long *birth)
{
	char rest;

	return sscanf(instance, "%llu:%lld%c", inode, birth, &rest) == 2;
}

static bool
same_instance(const char *one, const char *other)
{
	unsigned long long inodes[2];
	long long births[2];

	if (!parse_instance(one, &inodes[0], &births[0]) ||
		!parse_instance(other, &inodes[1], &births[1]))
		return false;
	return inodes[0] == inodes[1] && (births[0] == births[1] || births[0] == 0 || births[1] == 0);
}

/* ---- What is remembered of the start */

static void
write_standby_file(const char *instance)
{
	Size length = strlen(instance);
	int file = OpenTransientFilePerm(STANDBY_FILE, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY,
									 pg_file_create_mode);

	if (file >= 0 && write(file, instance, length) == (ssize_t) length && pg_fsync(file) == 0 &&
		CloseTransientFile(file) == 0)
	{
		fsync_fname(".", true);
		return;
	}
	ereport(LOG,
			(errcode_for_file_access(), errmsg("could not write file \"%s\": %m", STANDBY_FILE),
			 errdetail("If this standby is promoted and restarted at once, its ledgers wait "
					   "for biometric.fork_ledger().")));
	if (file >= 0)
		(void) CloseTransientFile(file);
}

/* Whether this very data directory was a standby that has not been seen to continue since. */
static bool
standby_file_says(const char *instance)
{
	char text[IDENTITY_INSTANCE_MAX] = {0};
	int file = OpenTransientFile(STANDBY_FILE, O_RDONLY | PG_BINARY);
	ssize_t length;

	if (file < 0)
		return false;
	length = read(file, text, sizeof(text) - 1);
	(void) CloseTransientFile(file);
	return length > 0 && same_instance(text, instance);
}

void
identity_note_start(void)
{
	char instance[IDENTITY_INSTANCE_MAX];

	if (IsUnderPostmaster || IsBinaryUpgrade || !read_instance(instance))
		return;
	if (access(STANDBY_SIGNAL, F_OK) == 0)
	{
		started_as_standby = true;
		write_standby_file(instance);
	}
	else if (access(RECOVERY_SIGNAL, F_OK) == 0)
		(void) unlink(STANDBY_FILE);
	else
		started_as_standby = standby_file_says(instance);
}

void
identity_forget_standby(void)
{
	if (unlink(STANDBY_FILE) != 0 && errno != ENOENT)
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not remove file \"%s\": %m", STANDBY_FILE)));
}

/* ---- What runs here, and what the row says */

void
identity_own(Identity *own)
{
	memset(own, 0, sizeof(*own));
	own->database_oid = MyDatabaseId;
	own->system_identifier = (int64) GetSystemIdentifier();
	own->timeline = (int32) GetWALInsertionTimeLine();
	own->was_standby = started_as_standby;
	if (!read_instance(own->instance))
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", INSTANCE_FILE),
				 errhint("The server's user must be able to read its data directory.")));
}

static bool
was_handed_over(const LedgerLog *log)
{
	return log->fenced && log->fenced_by != NULL && strcmp(log->fenced_by, "hand_over") == 0;
}

/* Whether a log that takes no more entries here may be continued by what runs here. */
static IdentityVerdict
judge_fenced(const LedgerLog *log, bool same_system, bool same_directory, const Identity *own)
{
	if (!was_handed_over(log))
		return same_system ? IDENTITY_FENCED : IDENTITY_COPY;
	if (same_system && same_directory)
		return IDENTITY_FENCED;
	return log->database_oid == own->database_oid && !same_directory ? IDENTITY_HANDED_OVER
																	 : IDENTITY_COPY;
}

IdentityVerdict
identity_judge(const LedgerLog *log, bool empty, const Identity *own)
{
	bool same_system =
		log->database_oid == own->database_oid && log->system_identifier == own->system_identifier;
	bool same_directory = log->instance == NULL || same_instance(log->instance, own->instance);
	IdentityVerdict verdict = IDENTITY_COPY;

	if (log->fenced)
		verdict = judge_fenced(log, same_system, same_directory, own);
	else if (same_system && log->timeline == own->timeline && same_directory)
		verdict = IDENTITY_OWN;
	else if (same_system && log->timeline < own->timeline && own->was_standby)
		verdict = IDENTITY_PROMOTED;
	return empty && verdict != IDENTITY_OWN && verdict != IDENTITY_FENCED ? IDENTITY_EMPTY
																		  : verdict;
}

bool
identity_row_is_stale(const LedgerLog *log, const Identity *own)
{
	unsigned long long inode;
	long long row_birth = 0;
	long long birth = 0;

	if (log->instance == NULL)
		return true;
	return parse_instance(log->instance, &inode, &row_birth) && row_birth == 0 &&
		   parse_instance(own->instance, &inode, &birth) && birth != 0;
}

void
identity_problem(const LedgerLog *log, IdentityVerdict verdict, const Identity *own,
				 char problem[LEDGER_ERROR_SIZE])
{
	const char *fork = "biometric.fork_ledger(reason) begins one that is this database's own";

	if (verdict == IDENTITY_FENCED && was_handed_over(log))
		snprintf(problem, LEDGER_ERROR_SIZE, "the ledger was handed over to another system; %s",
				 fork);
	else if (verdict == IDENTITY_FENCED)
		snprintf(problem, LEDGER_ERROR_SIZE,
				 "the ledger was fenced by %s, because somebody else continues it; %s",
				 log->fenced_by != NULL ? log->fenced_by : "nobody knows whom", fork);
	else if (log->database_oid != own->database_oid ||
			 log->system_identifier != own->system_identifier)
		snprintf(problem, LEDGER_ERROR_SIZE,
				 "the ledger belongs to database %u of system " UINT64_FORMAT "; %s",
				 log->database_oid, (uint64) log->system_identifier, fork);
	else if (log->timeline != own->timeline)
		snprintf(problem, LEDGER_ERROR_SIZE,
				 "the ledger belongs to timeline %d, this server is on timeline %d and was no "
				 "standby; %s",
				 log->timeline, own->timeline, fork);
	else
		snprintf(problem, LEDGER_ERROR_SIZE,
				 "the ledger belongs to another data directory, of which this is a copy; %s", fork);
}

char *
identity_detail(const LedgerLog *log, IdentityVerdict verdict, const Identity *own,
				const MerkleFrontier *frontier)
{
	StringInfoData json;
	MerkleHash root;

	merkle_frontier_root(frontier, &root);
	initStringInfo(&json);
	appendStringInfo(&json, "{\"continued\": \"%s\", \"parent\": \"%s\", \"size\": " UINT64_FORMAT,
					 verdict == IDENTITY_PROMOTED ? "promotion" : "hand_over",
					 fork_log_id_text(log->log_id), (uint64) frontier->size);
	appendStringInfoString(&json, ", \"root\": \"");
	for (int i = 0; i < MERKLE_HASH_SIZE; i++)
		appendStringInfo(&json, "%02x", root.bytes[i]);
	appendStringInfo(&json, "\", \"timeline\": %d, \"previous_timeline\": %d", own->timeline,
					 log->timeline);
	appendStringInfo(&json,
					 ", \"system_identifier\": \"" UINT64_FORMAT
					 "\", \"previous_system_identifier\": \"" UINT64_FORMAT "\"",
					 (uint64) own->system_identifier, (uint64) log->system_identifier);
	appendStringInfo(&json, ", \"instance\": \"%s\"", own->instance);
	if (log->instance != NULL)
		appendStringInfo(&json, ", \"previous_instance\": \"%s\"", log->instance);
	appendStringInfoChar(&json, '}');
	return json.data;
}
