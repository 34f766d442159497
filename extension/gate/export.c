/*
 * export.c - puts on record what leaves sealed.
 */
#include "base/compat.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "libpq/libpq-be.h"
#include "replication/walsender.h"
#include "storage/ipc.h"
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

/* What is known of the statement that is running at top level, or ran last. */
typedef struct ExportState
{
	ExportWatch *innermost;
	ImageOutput recorded; /* image_output() when an entry was written last */
	ImageOutput opened;	  /* what the gate has opened since, though it was counted */
	bool announced;
	const char *function; /* that reads changes out of the WAL; NULL: none */
	List *noted;		  /* OIDs of relations, in context */
	LedgerStatement ledger;
	MemoryContext context; /* of what this points to; NULL: never used */
} ExportState;

static ExportState state;

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

/* ---- describing the statement ---- */

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
	described.command = gate_command();
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
	ledger_wait(&ticket);
	state.announced = true;
}

void
export_note_read(Oid relation)
{
	MemoryContext old;

	if (state.innermost == NULL || state.innermost->query != NULL ||
		list_member_oid(state.noted, relation))
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
export_detail(const ImageOutput *pending, uint64 rows)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail,
					 "{\"rows\": " UINT64_FORMAT ", \"images\": " UINT64_FORMAT
					 ", \"bytes\": " UINT64_FORMAT ", \"command\": \"%s\"",
					 rows, pending->images, pending->bytes,
					 state.ledger.command ? state.ledger.command : gate_command());
	if (state.function)
		appendStringInfo(&detail, ", \"function\": \"%s\"", state.function);
	appendStringInfoChar(&detail, '}');
	return detail.data;
}

/* Appends the entry. What it says counts as recorded even if it cannot be: once is enough. */
static void
export_record(uint64 rows, LedgerTicket *ticket)
{
	ImageOutput pending = export_pending();
	EntryFields entry = {.event = ENTRY_EXPORTED_SEALED, .reference = ENTRY_NO_REFERENCE};
	char *detail = export_detail(&pending, rows);

	entry.detail.bytes = detail;
	entry.detail.length = strlen(detail);
	if (state.ledger.relations && strchr(state.ledger.relations, '\n') == NULL)
		entry.relation_index = 1;
	state.recorded = image_output();
	memset(&state.opened, 0, sizeof(state.opened));
	state.function = NULL;
	ledger_append(&state.ledger, &entry, 1, ticket);
	pfree(detail);
}

static void
export_record_and_wait(uint64 rows)
{
	LedgerTicket ticket = {0};

	export_describe(&ticket);
	export_record(rows, &ticket);
	ledger_wait(&ticket);
}

/*
 * After a failure: the entry is put on its way. The statement's own entry is
 * durable already; an error here must not get in the way of the clean-up.
 */
static void
export_record_quietly(void)
{
	MemoryContext context = CurrentMemoryContext;
	LedgerTicket ticket = {0};

	PG_TRY();
	{
		export_record(0, &ticket);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ereport(LOG, (errmsg("sealed images left in a statement that failed, and the ledger could "
							 "not record how many")));
	}
	PG_END_TRY();
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
			/* rows that PostgreSQL sent from a store, outside of any query */
			if (export_is_pending())
				export_record_and_wait(0);
			break;
		case XACT_EVENT_ABORT:
			if (export_is_pending())
				export_record_quietly();
			break;
		default:
			break;
	}
}

/* Blocks with exception handlers are part of a statement that goes on. */
static void
export_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && state.innermost == NULL && !export_is_unwatched() &&
		export_is_pending())
		export_record_quietly();
}

/*
 * A session that is ended in the middle of a statement. Before the server's
 * own clean-up, which must not meet with an error.
 */
static void
export_exit(int code, Datum arg)
{
	LedgerTicket ticket = {0};

	if (!export_is_unwatched() && export_is_pending())
		export_record(0, &ticket);
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
	/* what reads the WAL says so before its query runs */
	if (state.function == NULL)
	{
		if (!export_is_unwatched() && export_is_pending())
			export_record_and_wait(0);
		memset(&state.opened, 0, sizeof(state.opened));
		state.announced = false;
		state.noted = NIL;
		memset(&state.ledger, 0, sizeof(state.ledger));
		if (state.context != NULL)
			MemoryContextReset(state.context);
	}
	image_output_watch(export_announce);
}

void
export_begin(ExportWatch *watch, const QueryDesc *query)
{
	watch->watching = export_is_for_client();
	if (!watch->watching)
		return;
	if (state.innermost == NULL)
		export_start();
	watch->outer = state.innermost;
	watch->query = query;
	state.innermost = watch;
}

void
export_end(ExportWatch *watch, uint64 rows, bool failed)
{
	if (!watch->watching)
		return;
	state.innermost = watch->outer;
	if (watch->outer == NULL && am_walsender)
		image_output_watch(NULL);
	if (watch->outer != NULL || failed || !export_is_pending())
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
