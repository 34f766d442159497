/*
 * anchor.c - delivers checkpoints outside of the server.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "common/file_perm.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "audit/anchor.h"
#include "audit/audit.h"
#include "audit/command.h"
#include "base/compat.h"
#include "ledger/anchor.h"
#include "ledger/signer.h"

#define LIBRARY_NAME "biometric_audit"
#define RESTART_SECONDS 1

/* Below the data directory; what is in it is of no use to a copy, and does no harm there. */
#define NOTE_DIRECTORY "biometric_audit.anchor"

/*
 * What says that another system continues the log. Not the status alone: psql, curl and
 * rsync end with the same one for reasons of their own.
 */
#define EXIT_SUPERSEDED 3
#define SAYS_SUPERSEDED "superseded"

/* While a command runs, how often to read what it prints. Its end is signalled. */
#define RUNNING_MS 100L
#define IDLE_MS 60000L
#define FIRST_PAUSE_MS 1000L
#define LONGEST_PAUSE_MS 60000L

/* What this process knows of one slot. */
typedef struct Delivery
{
	uint8 log_id[LEDGER_LOG_ID_SIZE]; /* of the log that the rest is about */
	bool known;						  /* log_id is set */
	bool superseded;				  /* the command said so of this log */
	LedgerAnchor anchor;			  /* as it was published last */
	TimestampTz not_before;			  /* of the next attempt */
	uint64 size;					  /* of the checkpoint that is being delivered */
	char path[MAXPGPATH];			  /* of its file */
	Command command;
} Delivery;

static char *checkpoint_command = NULL;
static int timeout_ms = 30000;

static Delivery *deliveries = NULL;

PGDLLEXPORT void audit_anchor_main(Datum arg);

void
anchor_define_settings(void)
{
	DefineCustomStringVariable("biometric_audit.checkpoint_command",
							   "Shell command that takes each new checkpoint out of the server.",
							   "Reads the checkpoint on its standard input or in file %p; %o: "
							   "origin, %s: size, %l: log id, %t: timeline. Status 0: delivered; "
							   "3, with a first line \"superseded\": another system continues this "
							   "log; anything else: it is tried again.",
							   &checkpoint_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL,
							   NULL);
	DefineCustomIntVariable("biometric_audit.checkpoint_command_timeout",
							"How long biometric_audit.checkpoint_command may take.",
							"After that it is killed, and tried again.", &timeout_ms, 30000, 100,
							3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

void
audit_register_anchor(void)
{
	BackgroundWorker process;

	if (IsBinaryUpgrade)
		return;
	memset(&process, 0, sizeof(process));
	process.bgw_flags = BGWORKER_SHMEM_ACCESS;
	process.bgw_start_time = BgWorkerStart_RecoveryFinished;
	process.bgw_restart_time = RESTART_SECONDS;
	snprintf(process.bgw_library_name, sizeof(process.bgw_library_name), LIBRARY_NAME);
	snprintf(process.bgw_function_name, BGW_MAXLEN, "audit_anchor_main");
	snprintf(process.bgw_name, BGW_MAXLEN, "biometric_audit anchors");
	snprintf(process.bgw_type, BGW_MAXLEN, "biometric_audit anchors");
	RegisterBackgroundWorker(&process);
}

static int64
unix_microseconds(void)
{
	return (int64) GetCurrentTimestamp() +
		   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* ---- One checkpoint */

static void
format_log_id(const uint8 *log_id, char text[37])
{
	char *end = text;

	for (int i = 0; i < LEDGER_LOG_ID_SIZE; i++)
		end += sprintf(end, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", log_id[i]);
}

/* Writes the note into a file of its own; false, with problem filled in, when it cannot. */
static bool
write_note(const char *path, const LedgerSigned *newest, char problem[COMMAND_PROBLEM_SIZE])
{
	int file;
	bool written = false;

	if (MakePGDirectory(NOTE_DIRECTORY) < 0 && errno != EEXIST)
	{
		snprintf(problem, COMMAND_PROBLEM_SIZE, "directory \"%s\" could not be made: %s",
				 NOTE_DIRECTORY, strerror(errno));
		return false;
	}
	(void) unlink(path);
	file = OpenTransientFilePerm(path, O_CREAT | O_EXCL | O_WRONLY | PG_BINARY, S_IRUSR | S_IWUSR);
	if (file >= 0)
	{
		errno = ENOSPC;
		written = write(file, newest->note, newest->length) == (ssize_t) newest->length;
		written = CloseTransientFile(file) == 0 && written;
	}
	if (!written)
		snprintf(problem, COMMAND_PROBLEM_SIZE, "file \"%s\" could not be written: %s", path,
				 strerror(errno));
	return written;
}

/* The name of the log is the note's first line. */
static char *
origin_of(const LedgerSigned *newest)
{
	return pnstrdup(newest->note, strcspn(newest->note, "\n"));
}

static bool
start_command(Delivery *delivery, const LedgerSigned *newest, char problem[COMMAND_PROBLEM_SIZE])
{
	char log_id[37];
	CommandValue values[] = {
		{'p', delivery->path},
		{'o', origin_of(newest)},
		{'s', psprintf(UINT64_FORMAT, newest->size)},
		{'l', log_id},
		{'t', psprintf("%u", (unsigned int) GetWALInsertionTimeLine())},
	};

	format_log_id(newest->log_id, log_id);
	snprintf(delivery->path, sizeof(delivery->path), "%s/%s/%s", DataDir, NOTE_DIRECTORY, log_id);
	delivery->size = newest->size;
	return write_note(delivery->path, newest, problem) &&
		   command_start(&delivery->command,
						 command_expand(checkpoint_command, values, lengthof(values)),
						 delivery->path, timeout_ms, problem);
}

static void
delivered(int number, Delivery *delivery)
{
	delivery->anchor.size = delivery->size;
	delivery->anchor.at = unix_microseconds();
	delivery->anchor.failures = 0;
	delivery->anchor.error[0] = '\0';
	ledger_anchor_write(number, &delivery->anchor);
}

static void
failed(int number, Delivery *delivery, const char *problem)
{
	uint64 failures = ++delivery->anchor.failures;
	long pause = Min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << Min(failures - 1, 10));

	strlcpy(delivery->anchor.error, problem, sizeof(delivery->anchor.error));
	ledger_anchor_write(number, &delivery->anchor);
	delivery->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause);
	ereport(LOG, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				  errmsg("biometric_audit.checkpoint_command failed: %s", problem),
				  errdetail("The checkpoint of " UINT64_FORMAT
							" entries was not delivered; attempts in a row: " UINT64_FORMAT ".",
							delivery->size, failures)));
}

/* ---- One slot */

/* Forgets what was known of a slot when another log is in it. */
static void
follow_log(Delivery *delivery, const LedgerSigned *newest)
{
	if (delivery->known && memcmp(delivery->log_id, newest->log_id, LEDGER_LOG_ID_SIZE) == 0)
		return;
	memset(delivery, 0, sizeof(*delivery));
	delivery->known = true;
	memcpy(delivery->log_id, newest->log_id, LEDGER_LOG_ID_SIZE);
}

/* Whether the slot is still that of the log that a delivery is about. */
static bool
is_still_there(int number, const Delivery *delivery)
{
	LedgerSigned *newest = palloc(sizeof(LedgerSigned));

	/* the id is published even while there is no checkpoint */
	(void) signer_read(number, newest);
	return memcmp(delivery->log_id, newest->log_id, LEDGER_LOG_ID_SIZE) == 0;
}

static void
finish(int number, Delivery *delivery, const CommandEnd *end)
{
	bool superseded =
		end->status == EXIT_SUPERSEDED &&
		strncmp(delivery->command.line, SAYS_SUPERSEDED, strlen(SAYS_SUPERSEDED)) == 0;
	uint8 log_id[LEDGER_LOG_ID_SIZE];

	(void) unlink(delivery->path);
	memcpy(log_id, delivery->log_id, sizeof(log_id));
	if (superseded)
		delivery->superseded = true;
	/* what is shown of the slot is about the log that has it now */
	if (!is_still_there(number, delivery))
		memset(delivery, 0, sizeof(*delivery));
	else if (end->status == 0)
		delivered(number, delivery);
	else
		failed(number, delivery, end->problem);
	/* last: who sees the log closed is to see why */
	if (superseded)
		ledger_fence(number, log_id);
}

/* Looks after one slot; returns after how many ms to look again. */
static long
tend(int number)
{
	Delivery *delivery = &deliveries[number];
	char problem[COMMAND_PROBLEM_SIZE];
	LedgerSigned *newest = palloc(sizeof(LedgerSigned));
	CommandEnd end;

	if (delivery->command.pid != 0)
	{
		if (!command_poll(&delivery->command, &end))
			return RUNNING_MS;
		finish(number, delivery, &end);
	}
	if (checkpoint_command[0] == '\0' || !signer_read(number, newest))
		return IDLE_MS;
	follow_log(delivery, newest);
	if (delivery->superseded || newest->size <= delivery->anchor.size)
		return IDLE_MS;
	if (delivery->anchor.failures > 0)
	{
		long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), delivery->not_before);

		if (left > 0)
			return left;
	}
	if (start_command(delivery, newest, problem))
		return RUNNING_MS;
	failed(number, delivery, problem);
	return FIRST_PAUSE_MS;
}

/* ---- The process */

static void
anchor_leave(int code, Datum arg)
{
	ledger_set_anchor(false);
	for (int i = 0; i < ledger_slots(); i++)
		command_kill(&deliveries[i].command);
}

static void
on_child_end(SIGNAL_ARGS)
{
	int save_errno = errno;

	SetLatch(MyLatch);
	errno = save_errno;
}

/* Whatever failed may work with the new settings. */
static void
reload(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	for (int i = 0; i < ledger_slots(); i++)
		deliveries[i].not_before = 0;
}

void
audit_anchor_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGCHLD, on_child_end);
	deliveries = MemoryContextAllocZero(TopMemoryContext, ledger_slots() * sizeof(Delivery));
	before_shmem_exit(anchor_leave, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	/* a reload between the fork and the handler was told to nobody */
	ConfigReloadPending = true;
	ledger_set_anchor(true);
	context = AllocSetContextCreate(TopMemoryContext, "biometric anchors", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	for (;;)
	{
		long wait = IDLE_MS;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		/* Zero would tell the postmaster that nobody is wanted here any more. */
		if (ShutdownRequestPending)
			proc_exit(1);
		if (ConfigReloadPending)
			reload();
		for (int i = 0; i < ledger_slots(); i++)
			wait = Min(wait, tend(i));
		MemoryContextReset(context);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait,
						 PG_WAIT_EXTENSION);
	}
}
