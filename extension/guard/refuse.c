/*
 * refuse.c - refusals of commands: recorded first and then raised.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "base/internal.h"
#include "base/roles.h"
#include "guard/refuse.h"
#include "ledger/append.h"
#include "ledger/refusal.h"

typedef struct RuleText
{
	const char *name;
	const char *detail;
	const char *hint;
} RuleText;

static const RuleText rule_texts[] = {
	[GUARD_MEMBER] = {"member",
					  "The objects of biometric_audit are changed by its own scripts only, not "
					  "even by a superuser.",
					  "Use the functions of schema biometric, or ALTER EXTENSION biometric_audit "
					  "UPDATE."},
	[GUARD_HANG] = {"hang",
					"What hangs on a table of biometric_audit could change or slow down what the "
					"ledger writes there.",
					"Use a view or a materialized view in a schema of your own."},
	[GUARD_EXTENSION] = {"extension",
						 "The ledger of this database has entries, which would be lost.",
						 "Call biometric.retire_ledger(reason) first, as a custodian; or drop the "
						 "database."},
	[GUARD_ROLE] = {"role",
					"The rights of custodians and auditors hang on the names and privileges of "
					"these roles.",
					"Grant the roles to, and revoke them from, people."},
	[GUARD_OWNER] = {"owner",
					 "The role owns the extension biometric_audit, and its ledger with it.",
					 "Change the owner of other objects one by one; the ledger goes with "
					 "biometric.retire_ledger(reason) and DROP EXTENSION only."},
	[GUARD_TRIGGER] = {"trigger",
					   "The triggers of biometric_audit put every change of an image on record.",
					   "They go when the image column or the table is dropped. To load data "
					   "without other triggers use SET session_replication_role = replica, or "
					   "DISABLE TRIGGER USER."},
	[GUARD_CATALOG] = {"catalog",
					   "On a server with biometric_audit, system catalogs are changed by "
					   "commands only, not even by a superuser.",
					   "Use the command that changes such an object: CREATE, ALTER or DROP."},
	[GUARD_IMAGE_COLUMN] = {"image_column", "The sealed images would no longer be known as images.",
							"Add a column of the other type, fill it, and drop the image column."},
	[GUARD_CAST] = {"cast",
					"A cast without a function would take bytes for an image, or an image for "
					"bytes, unchecked.",
					"Use the casts between bytea and the image types, or write a function that "
					"uses them."},
	[GUARD_SYMBOL] = {"symbol",
					  "The functions of the library biometric_audit are for the extension's own "
					  "declarations.",
					  "Call the functions of schema biometric, from functions of your own."},
	[GUARD_LOCK] = {"lock",
					"The lock would keep the ledger from growing, and so every image from being "
					"released.",
					"Take ROW EXCLUSIVE or a weaker lock: what is in the ledger does not change."},
	[GUARD_MAINTENANCE] = {"maintenance",
						   "Its lock would be held until the transaction ends, which cannot write "
						   "to the ledger meanwhile.",
						   "Run it outside of a transaction block, for this table alone."},
	[GUARD_SETTING] = {"setting", "Whether and how images are guarded is for custodians to say.",
					   "Have it done by somebody who logs in as a member of biometric_custodian "
					   "and may also run this command."},
	[GUARD_TWO_PERSON] = {"two_person",
						  "While changes that widen access need two persons, none switches that "
						  "off alone.",
						  "Have it changed in postgresql.conf, or taken out of "
						  "postgresql.auto.conf, by whoever administers the server, and reload: "
						  "the ledger will say so."},
	[GUARD_LOCKDOWN] = {"lockdown",
						"biometric_audit.lockdown keeps SQL from running programs, from the "
						"server's files, and from code that could read its memory.",
						"Have biometric_audit.lockdown set to off in postgresql.conf, and "
						"reload, for as long as it takes."},
	[GUARD_SURGERY] = {"surgery",
					   "The function writes to tables behind the server's back: entries of the "
					   "ledger would vanish without a trace.",
					   "Copy what can be read of the damaged table to a new one, or restore it "
					   "from a backup."},
	[GUARD_WRITE] = {"write",
					 "The ledger and the policy can be changed by nobody directly, not even by a "
					 "superuser.",
					 "Change the policy with the functions of schema biometric; the ledger only "
					 "grows."},
	[GUARD_LINEAGE] =
		{"lineage",
		 "A permit that names one of the tables, or a retention period declared for it, would no "
		 "longer be for the images, or would be from now on.",
		 "Have a custodian run the command, or the permits changed first."},
	[GUARD_LINEAGE_TWO] =
		{"lineage_two",
		 "A permit that names one of the tables, or a retention period declared for it, would no "
		 "longer be for the images, or would be from now on; while two persons are asked for none "
		 "decides that alone.",
		 "Have two custodians revoke the permit first, and grant it anew afterwards (for a "
		 "retention period: declare one for the table itself, and end that of its parent); or have "
		 "biometric_audit.two_person switched off in postgresql.conf meanwhile."},
	[GUARD_PERMIT] = {"permit",
					  "A permit for the table restricts its images, and would no longer restrict "
					  "copies of them that are elsewhere.",
					  "Have a custodian revoke the permit first: biometric.revoke(permit_id, "
					  "reason). While two persons are asked for, that takes two."},
	[GUARD_SHADOW] = {"shadow",
					  "A function beside those of biometric_audit could be called instead of one "
					  "of them.",
					  "Make it in a schema of your own."},
};

/* Tables that the ledger's worker reads. */
static const char *const read_tables[] = {"party", "network", "permit"};

static bool
table_is_locked(Oid relation, LOCKMODE weakest)
{
	LOCKTAG tag;

	if (!OidIsValid(relation))
		return false;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	for (LOCKMODE mode = weakest; mode <= AccessExclusiveLock; mode++)
		if (lock_held_by_me(&tag, mode))
			return true;
	return false;
}

/* Of a table that the worker writes. */
static bool
writer_is_locked_out(Oid relation)
{
	return table_is_locked(relation, ShareLock);
}

/* Whether the worker may be waiting for this very backend. */
static bool
worker_is_locked_out(void)
{
	if (internal_some_table(INTERNAL_LEDGER, writer_is_locked_out) ||
		writer_is_locked_out(extension_relation("home")))
		return true;
	for (int i = 0; i < (int) lengthof(read_tables); i++)
		if (table_is_locked(extension_relation(read_tables[i]), AccessExclusiveLock))
			return true;
	return false;
}

/*
 * In this database's ledger; from a database without one in those of all
 * others, since what concerns the whole server concerns each of them.
 */
static void
append_and_wait(EntryFields *entry)
{
	bool here = OidIsValid(extension_oid());
	List *databases = here ? list_make1_oid(MyDatabaseId) : ledger_databases();
	LedgerTicket *tickets = palloc0_array(LedgerTicket, list_length(databases));
	ListCell *cell;

	foreach(cell, databases)
		ledger_append_to(lfirst_oid(cell), NULL, entry, 1, &tickets[foreach_current_index(cell)]);
	if (here && worker_is_locked_out())
		return;
	foreach(cell, databases)
		ledger_wait(&tickets[foreach_current_index(cell)]);
}

static void
record(EntryEvent event, const char *detail)
{
	EntryFields entry = {0};

	entry.event = event;
	entry.reference = ENTRY_NO_REFERENCE;
	entry.detail.bytes = detail;
	entry.detail.length = strlen(detail);
	if (GetUserId() != GetAuthenticatedUserId())
	{
		char *name = GetUserNameFromId(GetUserId(), true);

		entry.current_user_name.bytes = name;
		entry.current_user_name.length = name ? strlen(name) : 0;
	}
	append_and_wait(&entry);
}

/* context: the entry's detail. */
static void
record_refusal(void *context)
{
	record(ENTRY_DDL_REFUSED, context);
}

/* An object of three texts; a NULL is left out. */
static char *
record_detail(const char *const names[3], const char *const texts[3])
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < 3; i++)
	{
		if (names[i] == NULL || texts[i] == NULL)
			continue;
		appendStringInfoString(&json, json.len == 0 ? "{" : ", ");
		escape_json(&json, names[i]);
		appendStringInfoString(&json, ": ");
		escape_json(&json, texts[i]);
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

const char *
guard_record_refusal(GuardRule rule, const char *command, const char *object)
{
	const char *const names[] = {"command", "object", "rule"};
	const char *const texts[] = {command, object, rule_texts[rule].name};

	/* what was never a server with a ledger has none to wait for */
	if (!OidIsValid(extension_oid()) && !OidIsValid(get_role_oid(CUSTODIAN_ROLE, true)))
		return NULL;
	return ledger_refusal_record(record_refusal, record_detail(names, texts));
}

void
guard_refuse_command(GuardRule rule, const char *command, const char *object)
{
	const RuleText *text = &rule_texts[rule];
	const char *problem;

	if (object == NULL)
		object = "an object of biometric_audit";
	problem = guard_record_refusal(rule, command, object);
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("%s is refused for %s", command, object),
					ledger_refusal_detail(text->detail, problem), errhint("%s", text->hint)));
	pg_unreachable();
}

void
guard_record_change(const char *command, const char *object)
{
	Reason reason;

	if (OidIsValid(extension_oid()) ? extension_created_here() || !ledger_usable(&reason, NULL)
									: RecoveryInProgress())
		return;
	record(ENTRY_POLICY_CHANGED, record_detail((const char *const[]){"action", "object", NULL},
											   (const char *const[]){command, object, NULL}));
}

void
guard_record_restriction(const char *command, const char *object)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		guard_record_change(command, object);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		/* what the ledger itself has to say; all else ends the command */
		if (error->sqlerrcode != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
			PG_RE_THROW();
		FlushErrorState();
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s for %s is not in the ledger", command, object),
				 errdetail("It restricts, and is done all the same: %s", error->message),
				 errhint("See biometric.ledger_status() and the server's log; the ledger's workers "
						 "need max_worker_processes to be high enough.")));
	}
	PG_END_TRY();
}
