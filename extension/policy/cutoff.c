/*
 * cutoff.c - who is connected, and ending the connections of a party.
 */
#include "base/compat.h"

#include <signal.h>

#include "common/hashfn.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ledger/encoding.h"
#include "policy/client.h"
#include "policy/cutoff.h"
#include "policy/kept.h"
#include "policy/serving.h"
#include "policy/settings.h"
#include "policy/snapshot.h"

/* How long, in ms, connections may take to end; nobody can interrupt the wait. */
#define CUTOFF_WAIT_MS 10000
#define LOOK_AGAIN_MS 10

/* A connection, by the number of its process. */
typedef struct CutoffClient
{
	int pid; /* 0: nobody */
	bool replication;
	char database[NAMEDATALEN]; /* that it asked for; "": none, as of physical replication */
	Oid admitted_by; /* of replication: the database that admitted it; InvalidOid: none */
	uint64 admitted; /* as whose, a hash of the party's name */
	ClientPlace place;
} CutoffClient;

/* A connection of the party that is looked for. */
typedef struct CutoffFound
{
	int number;
	int pid;
	bool replication;
} CutoffFound;

/* All that is needed to look for them. */
struct CutoffPlan
{
	char *party;
	uint64 admitted;	   /* hash of its name in UTF-8, as it is admitted */
	StringInfoData policy; /* has room for any */
	CutoffClient *copy;	   /* of all connections */
	CutoffFound *found;
	int count;
};

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
	memset(&clients[number], 0, sizeof(CutoffClient));
	clients[number].pid = MyProcPid;
	clients[number].replication = am_walsender;
	if ((!am_walsender || am_db_walsender) && MyProcPort && MyProcPort->database_name)
		strlcpy(clients[number].database, MyProcPort->database_name, NAMEDATALEN);
	clients[number].place = *place;
	LWLockRelease(clients_lock);
}

static uint64
cutoff_hash(EntryText name)
{
	return hash_bytes_extended((const unsigned char *) name.bytes, (int) name.length, 0);
}

void
cutoff_admit(Oid database, const char *party)
{
	int number = MY_PROC_NUMBER;
	/* a client for replication has no database yet, and names are in UTF-8 then: snapshot.c */
	uint64 hash = party ? cutoff_hash((EntryText){party, strlen(party)}) : 0;

	if (clients == NULL || number < 0 || number >= MaxBackends)
		return;
	LWLockAcquire(clients_lock, LW_EXCLUSIVE);
	if (clients[number].pid == MyProcPid)
	{
		clients[number].admitted_by = party ? database : InvalidOid;
		clients[number].admitted = hash;
	}
	LWLockRelease(clients_lock);
}

CutoffPlan *
cutoff_prepare(const char *party)
{
	CutoffPlan *plan = palloc0_object(CutoffPlan);

	plan->party = pstrdup(party);
	plan->admitted = cutoff_hash(encoding_to_utf8((EntryText){party, strlen(party)}, false));
	initStringInfo(&plan->policy);
	enlargeStringInfo(&plan->policy, (int) policy_capacity());
	plan->copy = palloc(cutoff_shmem_size());
	plan->found = palloc_array(CutoffFound, MaxBackends);
	return plan;
}

/*
 * Whether a connection is one to this database. One that has just been authenticated does not
 * say so yet; this session's database bears its name as long as the session lasts.
 */
static bool
cutoff_is_here(const CutoffClient *client, int number)
{
	Oid database = GetPGProcByNumber(number)->databaseId;

	if (OidIsValid(database))
		return database == MyDatabaseId;
	if (client->database[0] == '\0' || MyProcPort == NULL || MyProcPort->database_name == NULL)
		return !client->replication;
	return strncmp(client->database, MyProcPort->database_name, NAMEDATALEN - 1) == 0;
}

/* Finds the connections of a party. Allocates nothing. */
static void
cutoff_find(CutoffPlan *plan)
{
	uint64 generation;
	bool published;
	bool serves;

	plan->count = 0;
	if (clients == NULL)
		return;
	published = publish_read(&plan->policy, &generation) == PUBLISH_POLICY;
	serves = serving_name() && kept_bound(serving_name()) == MyDatabaseId;
	LWLockAcquire(clients_lock, LW_SHARED);
	memcpy(plan->copy, clients, cutoff_shmem_size());
	LWLockRelease(clients_lock);
	for (int i = 0; i < MaxBackends; i++)
	{
		const CutoffClient *client = &plan->copy[i];
		bool meant;

		if (client->pid == 0 || client->pid == MyProcPid)
			continue;
		meant = client->admitted_by == MyDatabaseId && client->admitted == plan->admitted;
		if (!meant && published && ((client->replication && serves) || cutoff_is_here(client, i)))
			meant = policy_place_belongs(&plan->policy, MyDatabaseId, &client->place, plan->party);
		if (meant)
			plan->found[plan->count++] = (CutoffFound){i, client->pid, client->replication};
	}
}

CutoffCount
cutoff_count(const char *party)
{
	CutoffCount count = {0};
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric cut off", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CutoffPlan *plan = cutoff_prepare(party);

	cutoff_find(plan);
	for (int i = 0; i < plan->count; i++)
		if (plan->found[i].replication)
			count.replication++;
		else
			count.sessions++;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return count;
}

/* How many of those that were found are still there; with a signal, they get it. */
static int
cutoff_remaining(const CutoffPlan *plan, int signal)
{
	int count = 0;

	LWLockAcquire(clients_lock, LW_SHARED);
	for (int i = 0; i < plan->count; i++)
	{
		if (clients[plan->found[i].number].pid != plan->found[i].pid)
			continue;
		count++;
		if (signal == 0)
			continue;
#ifdef HAVE_SETSID
		(void) kill(-plan->found[i].pid, signal);
#else
		(void) kill(plan->found[i].pid, signal);
#endif
	}
	LWLockRelease(clients_lock);
	return count;
}

static void
cutoff_end_found(CutoffPlan *plan)
{
	TimestampTz start = GetCurrentTimestamp();
	int remaining;

	cutoff_find(plan);
	remaining = cutoff_remaining(plan, SIGTERM);
	while (remaining > 0 &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), CUTOFF_WAIT_MS))
	{
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_AGAIN_MS, PG_WAIT_EXTENSION);
		remaining = cutoff_remaining(plan, 0);
	}
	if (remaining > 0)
		ereport(WARNING, (errmsg("%d connections of party \"%s\" have not ended yet", remaining,
								 plan->party),
						  errdetail("They were told to %d s ago; nothing is released to them.",
									CUTOFF_WAIT_MS / 1000),
						  errhint("See pg_stat_activity and pg_stat_replication.")));
}

void
cutoff_end(CutoffPlan *plan)
{
	MemoryContext outer = CurrentMemoryContext;
	uint32 held = InterruptHoldoffCount;

	PG_TRY();
	{
		cutoff_end_found(plan);
	}
	PG_CATCH();
	{
		/* what is committed cannot fail any more */
		LWLockReleaseAll();
		InterruptHoldoffCount = held;
		MemoryContextSwitchTo(outer);
		FlushErrorState();
		ereport(WARNING, (errmsg("the connections of party \"%s\" could not be ended", plan->party),
						  errhint("Call biometric.quarantine() once more, with end_sessions.")));
	}
	PG_END_TRY();
}
