/*
 * cutoff.c - who is connected, and ending the connections of a party.
 */
#include "base/compat.h"

#include <signal.h>

#include "replication/walsender.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "policy/client.h"
#include "policy/cutoff.h"
#include "policy/snapshot.h"

/* How long, in ms, connections may take to end; nobody can interrupt the wait. */
#define CUTOFF_WAIT_MS 10000
#define LOOK_AGAIN_MS 10

/* A connection, by the number of its process. */
typedef struct CutoffClient
{
	int pid; /* 0: nobody */
	bool replication;
	ClientPlace place;
} CutoffClient;

/* A connection of the party that is looked for. */
typedef struct CutoffFound
{
	int number;
	int pid;
	bool replication;
} CutoffFound;

typedef struct CutoffList
{
	CutoffFound *found;
	int count;
} CutoffList;

static CutoffClient *clients = NULL;
static LWLock *clients_lock = NULL;

Size
cutoff_shmem_size(void)
{
	return mul_size(MaxBackends, sizeof(CutoffClient));
}

void
cutoff_shmem_init(LWLock *lock)
{
	bool found;

	clients = ShmemInitStruct("biometric_audit clients", cutoff_shmem_size(), &found);
	clients_lock = lock;
	if (!found)
		memset(clients, 0, cutoff_shmem_size());
}

static void
cutoff_leave(int code, Datum number)
{
	LWLockAcquire(clients_lock, LW_EXCLUSIVE);
	clients[DatumGetInt32(number)].pid = 0;
	LWLockRelease(clients_lock);
}

void
cutoff_enter(int status)
{
	const ClientPlace *place;
	int number;

	if (status != STATUS_OK || clients == NULL || MyProc == NULL)
		return;
	place = policy_client_place();
	number = MY_PROC_NUMBER;
	if (number < 0 || number >= MaxBackends)
		elog(FATAL, "process number %d of %d", number, MaxBackends);
	on_shmem_exit(cutoff_leave, Int32GetDatum(number));
	LWLockAcquire(clients_lock, LW_EXCLUSIVE);
	clients[number].pid = MyProcPid;
	clients[number].replication = am_walsender;
	clients[number].place = *place;
	LWLockRelease(clients_lock);
}

/* A copy of all connections, in the current memory context. */
static CutoffClient *
cutoff_copy(void)
{
	CutoffClient *copy = palloc(cutoff_shmem_size());

	LWLockAcquire(clients_lock, LW_SHARED);
	memcpy(copy, clients, cutoff_shmem_size());
	LWLockRelease(clients_lock);
	return copy;
}

static bool
cutoff_belongs(const StringInfoData *policy, const ClientPlace *place, const char *party)
{
	const PolicyView *view = policy_view_of(policy, MyDatabaseId, place);

	return view->party && strcmp(view->party, party) == 0;
}

/* Finds the connections of a party; in the current memory context. */
static CutoffList
cutoff_find(const char *party)
{
	CutoffList list = {0};
	StringInfoData policy;
	CutoffClient *copy;
	uint64 generation;

	initStringInfo(&policy);
	if (clients == NULL || publish_read(&policy, &generation) != PUBLISH_POLICY)
		return list;
	copy = cutoff_copy();
	list.found = palloc_array(CutoffFound, MaxBackends);
	for (int i = 0; i < MaxBackends; i++)
	{
		const CutoffClient *client = &copy[i];

		if (client->pid == 0 || client->pid == MyProcPid ||
			(!client->replication && GetPGProcByNumber(i)->databaseId != MyDatabaseId) ||
			!cutoff_belongs(&policy, &client->place, party))
			continue;
		list.found[list.count++] = (CutoffFound){i, client->pid, client->replication};
	}
	return list;
}

static MemoryContext
cutoff_context(void)
{
	return AllocSetContextCreate(CurrentMemoryContext, "biometric cut off", ALLOCSET_DEFAULT_SIZES);
}

CutoffCount
cutoff_count(const char *party)
{
	CutoffCount count = {0};
	MemoryContext context = cutoff_context();
	MemoryContext old = MemoryContextSwitchTo(context);
	CutoffList list = cutoff_find(party);

	for (int i = 0; i < list.count; i++)
		if (list.found[i].replication)
			count.replication++;
		else
			count.sessions++;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return count;
}

/* How many of those that were found are still there; with a signal, they get it. */
static int
cutoff_remaining(const CutoffList *list, int signal)
{
	int count = 0;

	LWLockAcquire(clients_lock, LW_SHARED);
	for (int i = 0; i < list->count; i++)
	{
		if (clients[list->found[i].number].pid != list->found[i].pid)
			continue;
		count++;
		if (signal == 0)
			continue;
#ifdef HAVE_SETSID
		(void) kill(-list->found[i].pid, signal);
#else
		(void) kill(list->found[i].pid, signal);
#endif
	}
	LWLockRelease(clients_lock);
	return count;
}

static void
cutoff_end_found(const char *party)
{
	TimestampTz start = GetCurrentTimestamp();
	CutoffList list = cutoff_find(party);
	int remaining = cutoff_remaining(&list, SIGTERM);

	while (remaining > 0 &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), CUTOFF_WAIT_MS))
	{
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_AGAIN_MS, PG_WAIT_EXTENSION);
		remaining = cutoff_remaining(&list, 0);
	}
	if (remaining > 0)
		ereport(WARNING,
				(errmsg("%d connections of party \"%s\" have not ended yet", remaining, party),
				 errdetail("They were told to %d s ago; nothing is released to them.",
						   CUTOFF_WAIT_MS / 1000),
				 errhint("See pg_stat_activity and pg_stat_replication.")));
}

void
cutoff_end(const char *party)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext context = cutoff_context();
	uint32 held = InterruptHoldoffCount;

	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		cutoff_end_found(party);
	}
	PG_CATCH();
	{
		/* what is committed cannot fail any more */
		LWLockReleaseAll();
		InterruptHoldoffCount = held;
		MemoryContextSwitchTo(outer);
		FlushErrorState();
		ereport(WARNING, (errmsg("the connections of party \"%s\" could not be ended", party),
						  errhint("Call biometric.quarantine() once more, with end_sessions.")));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}
