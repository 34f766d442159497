/*
 * export.c - puts on record what leaves sealed.
 */
#include "base/compat.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "libpq/libpq-be.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/backend_status.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/internal.h"
#include "gate/export.h"
#include "gate/gate.h"
#include "gate/statement.h"
#include "home/relations.h"
#include "ledger/append.h"
#include "policy/policy.h"

/* Names of relations that a statement entry has room for, in bytes. */
#define NAMES_SIZE_MAX 32768

/* An entry that the ledger did not take when a statement had failed. */
typedef struct ExportOwed
{
	struct ExportOwed *next;
	MemoryContext context; /* of all this */
	LedgerStatement ledger;
	EntryFields entry;
} ExportOwed;

/* What is known of the statement that is running at top level, or ran last. */
typedef struct ExportState
{
	ExportWatch *innermost;
	const QueryDesc *ran; /* at top level, last; to be compared only */
	const char *late;	  /* command, while what runs belongs to no statement; NULL: it does */
	ImageOutput recorded; /* image_output() when an entry was written last */
	ImageOutput opened;	  /* what the gate has opened since, though it was counted */
	uint64 outside;		  /* images sealed only because they came in sealed */
	uint64 expired;		  /* images sealed only because their retention period is over */
	bool announced;
	const char *function; /* that reads changes out of the WAL; NULL: none */
	List *noted;		  /* OIDs of relations, in context */
	LedgerStatement ledger;
	MemoryContext context; /* of what this points to; NULL: never used */
	ExportOwed *owed;
} ExportState;

static ExportState state;

static bool export_is_late(void);

static bool
export_is_for_client(void)
{
	return (MyBackendType == B_BACKEND || am_db_walsender) && MyProcPort != NULL;
}

/*
 * On a replication connection only SQL statements are watched, such as the
 * COPY by which a subscription begins. What is decoded outside of them stands
 * behind the entry of the connection.
 */
static bool
export_is_unwatched(void)
{
	if (!am_walsender)
		return false;
	state.recorded = image_output();
	memset(&state.opened, 0, sizeof(state.opened));
	return true;
}

/* What was handed out, and is on no record yet. */
static ImageOutput
export_pending(void)
{
	ImageOutput pending = image_output();

	pending.images -= state.recorded.images;
	pending.bytes -= state.recorded.bytes;
	pending.images -= Min(pending.images, state.opened.images);
	pending.bytes -= Min(pending.bytes, state.opened.bytes);
	return pending;
}

static bool
export_is_pending(void)
{
	return export_pending().images > 0 || state.function != NULL;
}

/* What was handed out up to now is on record, or has been opened. */
static void
export_settle(void)
{
	state.recorded = image_output();
	memset(&state.opened, 0, sizeof(state.opened));
	state.outside = state.expired = 0;
	state.function = NULL;
}

/* Appends what is owed as far as the ledger takes it, without waiting. */
static void
export_pay(void)
{
	while (state.owed && ledger_append_now(&state.owed->ledger, &state.owed->entry, 1))
	{
		ExportOwed *paid = state.owed;

		state.owed = paid->next;
		MemoryContextDelete(paid->context);
	}
}

/* ---- describing the statement ---- */

/* What a client sent runs in a portal, but for its triggers when the portal is closed. */
static const char *
export_command(void)
{
	const ExportWatch *outermost = state.innermost;

	if (state.late)
		return state.late;
	while (outermost && outermost->outer)
		outermost = outermost->outer;
	if (ActivePortal == NULL && outermost && outermost->query)
		return CreateCommandName((Node *) outermost->query->plannedstmt);
	return gate_command();
}

static void
export_add_name(StringInfo names, List **added, Oid relation)
{
	if (list_member_oid(*added, relation) || names->len > NAMES_SIZE_MAX)
		return;
	*added = lappend_oid(*added, relation);
	if (names->len > 0)
		appendStringInfoChar(names, '\n');
	appendStringInfoString(names, gate_relation_name(relation));
}

/* The relations whose images the running queries select, and those that were noted. */
static char *
export_names(void)
{
	List *added = NIL;
	StringInfoData names;
	ListCell *cell;

	initStringInfo(&names);
	foreach(cell, state.noted)
		export_add_name(&names, &added, lfirst_oid(cell));
	for (const ExportWatch *watch = state.innermost; watch; watch = watch->outer)
	{
		if (watch->query == NULL || watch->query->plannedstmt == NULL)
			continue;
		foreach(cell, planned_permissions(watch->query->plannedstmt))
		{
			const PermissionInfo *info = (const PermissionInfo *) lfirst(cell);

			if (relations_selected_kinds(info) != 0)
				export_add_name(&names, &added, info->relid);
		}
	}
	return names.len > 0 ? names.data : NULL;
}

/* Replaces a text that outlives the statement; true when it was another before. */
static bool
export_text(const char **text, const char *value)
{
	if (*text == NULL ? value == NULL : value != NULL && strcmp(*text, value) == 0)
		return false;
	*text = value ? MemoryContextStrdup(state.context, value) : NULL;
	return true;
}

static bool
export_copy(const LedgerStatement *statement)
{
	bool changed = false;

	changed |= export_text(&state.ledger.party, statement->party);
	changed |= export_text(&state.ledger.network, statement->network);
	changed |= export_text(&state.ledger.purpose, statement->purpose);
	changed |= export_text(&state.ledger.command, statement->command);
	changed |= export_text(&state.ledger.relations, statement->relations);
	state.ledger.query_id = statement->query_id;
	return changed;
}

static void
export_prepare_context(void)
{
	if (state.context == NULL)
		state.context =
			AllocSetContextCreate(TopMemoryContext, "biometric exports", ALLOCSET_SMALL_SIZES);
}

/*
 * Describes the statement for the ledger. The gate's current one, if there is
 * one, is shared, so that what is opened and what goes out sealed refer to
 * the same entry. Appends its entry if it has none yet.
 */
static void
export_describe(LedgerTicket *ticket)
{
	GateStatement *statement = gate_statement_current();
	DecideRequest request = {.kind = IMAGE_KIND_NONE, .purpose = gate_statement_purpose()};
	Decision client = policy_decide(&request);
	LedgerStatement described = {0};

	export_prepare_context();
	if (statement)
	{
		gate_statement_relations(statement);
		gate_statement_describe(statement, &client);
		ledger_append(&statement->ledger, NULL, 0, ticket);
		(void) export_copy(&statement->ledger);
		state.ledger.written = statement->ledger.written;
		state.ledger.generation = statement->ledger.generation;
		state.ledger.sequence = statement->ledger.sequence;
		return;
	}
	described.party = client.party;
	described.network = client.network;
	described.purpose = request.purpose;
	described.command = export_command();
	described.relations = export_names();
	for (const ExportWatch *watch = state.innermost; watch; watch = watch->outer)
		if (watch->query && watch->query->plannedstmt)
			described.query_id = watch->query->plannedstmt->queryId;
	if (export_copy(&described))
		ledger_statement_reset(&state.ledger);
	ledger_append(&state.ledger, NULL, 0, ticket);
}

void
export_announce(void)
{
	LedgerTicket ticket = {0};

	if (state.announced || !export_is_for_client())
		return;
	export_describe(&ticket);
	export_pay();
	ledger_wait(&ticket);
	state.announced = true;
}

void
export_outside(void)
{
	state.outside++;
}

void
export_expired(void)
{
	state.expired++;
}

void
export_note_read(Oid relation)
{
	MemoryContext old;

	if ((state.innermost == NULL && !export_is_late()) || list_member_oid(state.noted, relation))
		return;
	export_prepare_context();
	old = MemoryContextSwitchTo(state.context);
	state.noted = lappend_oid(state.noted, relation);
	MemoryContextSwitchTo(old);
}

void
export_opened(Size bytes)
{
	state.opened.images++;
	state.opened.bytes += bytes;
}

/* ---- recording ---- */

static char *
export_detail(uint64 rows)
{
	ImageOutput pending = export_pending();
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail,
					 "{\"rows\": " UINT64_FORMAT ", \"images\": " UINT64_FORMAT
					 ", \"bytes\": " UINT64_FORMAT ", \"command\": \"%s\"",
					 rows, pending.images, pending.bytes,
					 state.ledger.command ? state.ledger.command : export_command());
	if (state.outside > 0)
		appendStringInfo(&detail, ", \"sealed_outside\": " UINT64_FORMAT, state.outside);
	if (state.expired > 0)
		appendStringInfo(&detail, ", \"%s\": " UINT64_FORMAT, reason_name(REASON_RETENTION_EXPIRED),
						 state.expired);
	if (state.function)
		appendStringInfo(&detail, ", \"function\": \"%s\"", state.function);
	appendStringInfoChar(&detail, '}');
	return detail.data;
}

/* The entry; its detail is palloc'd. */
static EntryFields
export_entry(uint64 rows)
{
	EntryFields entry = {.event = ENTRY_EXPORTED_SEALED, .reference = ENTRY_NO_REFERENCE};

	entry.detail.bytes = export_detail(rows);
	entry.detail.length = strlen(entry.detail.bytes);
	if (state.ledger.relations && strchr(state.ledger.relations, '\n') == NULL)
		entry.relation_index = 1;
	return entry;
}

/*
 * What is handed out outside of any query, such as rows out of a store, is
 * part of the statement that ran last, and described already if it was
 * announced.
 */
static void
export_record_and_wait(uint64 rows)
{
	LedgerTicket ticket = {0};
	EntryFields entry;

	if (!state.announced || state.innermost != NULL || state.late != NULL)
		export_describe(&ticket);
	entry = export_entry(rows);
	ledger_append(&state.ledger, &entry, 1, &ticket);
	export_settle();
	export_pay();
	ledger_wait(&ticket);
}

static const char *
export_copy_text(MemoryContext context, const char *text)
{
	return text ? MemoryContextStrdup(context, text) : NULL;
}

/* Keeps an entry that was not taken, for later. */
static void
export_owe(const EntryFields *entry)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "biometric export owed", ALLOCSET_SMALL_SIZES);
	ExportOwed *owed = MemoryContextAllocZero(context, sizeof(ExportOwed));

	owed->context = context;
	owed->ledger = state.ledger;
	owed->ledger.party = export_copy_text(context, state.ledger.party);
	owed->ledger.network = export_copy_text(context, state.ledger.network);
	owed->ledger.purpose = export_copy_text(context, state.ledger.purpose);
	owed->ledger.command = export_copy_text(context, state.ledger.command);
	owed->ledger.relations = export_copy_text(context, state.ledger.relations);
	owed->entry = *entry;
	owed->entry.detail.bytes = export_copy_text(context, entry->detail.bytes);
	owed->next = state.owed;
	state.owed = owed;
}

/*
 * After a failure: the entry is put on its way, or kept for later, without
 * waiting. The statement's own entry is durable already; an error here must
 * not get in the way of the clean-up.
 */
static void
export_record_quietly(void)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		EntryFields entry = export_entry(0);

		if (!ledger_append_now(&state.ledger, &entry, 1))
			export_owe(&entry);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ereport(LOG, (errmsg("sealed images left in a statement that failed, and the ledger could "
							 "not record how many")));
	}
	PG_END_TRY();
	export_settle();
}

static void
export_transaction(XactEvent event, void *arg)
{
	if (export_is_unwatched())
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			/* of deferred triggers, and rows out of a store, outside of any query */
			if (export_is_pending())
				export_record_and_wait(0);
			state.late = NULL;
			break;
		case XACT_EVENT_ABORT:
			if (export_is_pending())
				export_record_quietly();
			state.late = NULL;
			break;
		default:
			break;
	}
}

/* Blocks with exception handlers are part of a statement that goes on. */
static void
export_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && state.innermost == NULL && state.late == NULL &&
		!export_is_unwatched() && export_is_pending())
		export_record_quietly();
}

/*
 * A session that is ended in the middle of a statement. Before the server's
 * own clean-up, which must not meet with an error.
 */
static void
export_exit(int code, Datum arg)
{
	if (!export_is_unwatched() && export_is_pending())
		export_record_quietly();
	export_pay();
	if (state.owed)
		ereport(LOG, (errmsg("sealed images left in a statement that failed, and the ledger could "
							 "not record how many")));
}

/* ---- watching ---- */

static void
export_register(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(export_transaction, NULL);
	RegisterSubXactCallback(export_subtransaction, NULL);
	before_shmem_exit(export_exit, (Datum) 0);
	registered = true;
}

/* A statement of the client begins. */
static void
export_start(void)
{
	export_register();
	export_pay();
	state.late = NULL;
	/* what reads the WAL says so before its query runs */
	if (state.function == NULL)
	{
		if (!export_is_unwatched() && export_is_pending())
		{
			/* of the statement before, whose entry is durable: this one need not wait for it */
			if (state.announced)
				export_record_quietly();
			else
				export_record_and_wait(0);
		}
		export_settle();
		state.announced = false;
		state.noted = NIL;
		memset(&state.ledger, 0, sizeof(state.ledger));
		if (state.context != NULL)
			MemoryContextReset(state.context);
	}
	image_output_watch(export_announce);
}

/*
 * Whether what runs belongs to no statement that the client sent: a deferred
 * trigger at the end of the transaction, or a function called by the fast
 * path. All of it is put on record together, when the transaction ends.
 */
static bool
export_is_late(void)
{
	if (ActivePortal != NULL || !IsTransactionState() || !export_is_for_client())
		return false;
	if (state.late == NULL && internal_depth() == 0)
	{
		export_start();
		state.late =
			MyBEEntry && MyBEEntry->st_state == STATE_FASTPATH ? "FUNCTION CALL" : "COMMIT";
	}
	return state.late != NULL;
}

static void
export_push(ExportWatch *watch, const QueryDesc *query, bool finishing)
{
	watch->outer = state.innermost;
	watch->query = query;
	watch->finishing = finishing;
	watch->watching = true;
	state.innermost = watch;
}

void
export_begin(ExportWatch *watch, const QueryDesc *query)
{
	watch->watching = false;
	if (!export_is_for_client())
		return;
	if (state.innermost == NULL && !export_is_late())
		export_start();
	export_push(watch, query, false);
}

void
export_resume(ExportWatch *watch, const QueryDesc *query)
{
	watch->watching = false;
	if (!export_is_for_client())
		return;
	if (state.innermost == NULL)
	{
		if (state.ran == query)
			image_output_watch(export_announce);
		else if (state.late == NULL || ActivePortal != NULL)
			export_start();
	}
	export_push(watch, query, true);
}

/* Whether a query has triggers to come: ExecutorFinish follows at once then. */
static bool
export_goes_on(const ExportWatch *watch)
{
	return watch->query != NULL && !watch->finishing && watch->query->operation != CMD_SELECT;
}

void
export_end(ExportWatch *watch, uint64 rows, bool failed)
{
	if (!watch->watching)
		return;
	state.innermost = watch->outer;
	if (watch->outer != NULL)
		return;
	state.ran = watch->query;
	if (am_walsender)
		image_output_watch(NULL);
	if (failed || state.late != NULL || export_goes_on(watch) || !export_is_pending())
		return;
	state.innermost = watch;
	PG_TRY();
	{
		/* the query's relations are still to be named */
		export_record_and_wait(rows);
	}
	PG_FINALLY();
	{
		state.innermost = NULL;
	}
	PG_END_TRY();
}

/* ---- functions that read the WAL ---- */

static const char *
export_wal_function(Oid function)
{
	switch (function)
	{
		case F_PG_LOGICAL_SLOT_GET_CHANGES:
			return "pg_logical_slot_get_changes";
		case F_PG_LOGICAL_SLOT_GET_BINARY_CHANGES:
			return "pg_logical_slot_get_binary_changes";
		case F_PG_LOGICAL_SLOT_PEEK_CHANGES:
			return "pg_logical_slot_peek_changes";
		case F_PG_LOGICAL_SLOT_PEEK_BINARY_CHANGES:
			return "pg_logical_slot_peek_binary_changes";
		default:
			return NULL;
	}
}

void
gate_check_function(Oid function)
{
	const char *name = export_wal_function(function);

	if (name == NULL || !IsTransactionState() || !OidIsValid(extension_oid()) ||
		!policy_client()->present)
		return;
	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
	{
		DecideRequest request = {.kind = kind, .purpose = gate_statement_purpose()};
		Decision decision = policy_decide(&request);

		if (decision.delivery == DELIVERY_REFUSE)
			policy_refuse(&decision, kind, NULL, gate_command());
	}
	if (!export_is_for_client())
		return;
	export_register();
	state.announced = false;
	export_announce();
	state.function = name;
}
