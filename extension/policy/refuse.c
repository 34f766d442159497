/*
 * refuse.c - a refusal, recorded first and then raised.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ledger/append.h"
#include "policy/advice.h"
#include "policy/policy.h"

static void
refuse_append(const Decision *decision, ImageKind kind, const char *relation, const char *command)
{
	LedgerStatement statement = {0};
	EntryFields entry = {0};
	LedgerTicket ticket = {0};

	statement.party = decision->party;
	statement.network = decision->network;
	statement.purpose = decision->purpose;
	statement.command = command;
	statement.relations = relation;
	entry.event = ENTRY_REFUSED;
	entry.reference = ENTRY_NO_REFERENCE;
	entry.kind = kind;
	entry.permit = decision->permit;
	entry.reason = decision->reason;
	entry.relation_index = relation ? 1 : 0;
	ledger_append(&statement, &entry, 1, &ticket);
	ledger_wait(&ticket);
}

/*
 * Returns NULL when the refusal is durable, else why it is not. The error
 * that is swallowed, be it a cancel, is replaced by the refusal: the
 * statement ends in an error all the same.
 */
static const char *
refuse_record(const Decision *decision, ImageKind kind, const char *relation, const char *command)
{
	MemoryContext context = CurrentMemoryContext;
	const char *volatile problem = NULL;

	PG_TRY();
	{
		refuse_append(decision, kind, relation, command);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		problem = error->message ? error->message : "unknown error";
	}
	PG_END_TRY();
	return problem;
}

/* "party "contractor" (192.0.2.7)", or the address alone. */
static char *
refuse_recipient(const Decision *decision)
{
	const PolicyClient *client = policy_client();
	const char *address = client->local ? "a unix socket" : client->address;

	if (!client->present)
		return pstrdup("a process without a client");
	if (decision->party)
		return psprintf("party \"%s\" (%s)", decision->party, address);
	return pstrdup(address);
}

/*
 * A decision that does not refuse has no business here, but must not become
 * a release by being passed on: it is refused like any other.
 */
void
policy_refuse(const Decision *decision, ImageKind kind, const char *relation, const char *command)
{
	const char *kind_name = image_kind_name(kind) ? image_kind_name(kind) : "unknown";
	char *recipient = refuse_recipient(decision);
	char *advice = advice_what_to_do(decision, kind);
	const char *problem = refuse_record(decision, kind, relation, command);

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 relation ? errmsg("%s images of %s are refused to %s", kind_name, relation, recipient)
					  : errmsg("%s images are refused to %s", kind_name, recipient),
			 errdetail("%s", advice_rule(decision->reason)),
			 problem ? errdetail_log("%s The refusal could not be recorded in the ledger: %s",
									 advice_rule(decision->reason), problem)
					 : 0,
			 errhint("%s", advice)));
	pg_unreachable();
}
