/*
 * refuse.c - a refusal, recorded first and then raised.
 */
#include "postgres.h"

#include "ledger/append.h"
#include "ledger/refusal.h"
#include "policy/advice.h"
#include "policy/policy.h"

/* What is refused, by which decision. */
typedef struct Refused
{
	const Decision *decision;
	ImageKind kind;
	const char *relation;
	const char *command;
} Refused;

static void
refuse_append(void *context)
{
	const Refused *refused = context;
	const Decision *decision = refused->decision;
	LedgerStatement statement = {0};
	EntryFields entry = {0};
	LedgerTicket ticket = {0};

	statement.party = decision->party;
	statement.network = decision->network;
	statement.purpose = decision->purpose;
	statement.command = refused->command;
	statement.relations = refused->relation;
	entry.event = ENTRY_REFUSED;
	entry.reference = ENTRY_NO_REFERENCE;
	entry.kind = refused->kind;
	entry.permit = decision->permit;
	entry.reason = decision->reason;
	entry.relation_index = refused->relation ? 1 : 0;
	ledger_append(&statement, &entry, 1, &ticket);
	ledger_wait(&ticket);
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
	const char *rule = advice_rule_of(decision);
	char *advice = advice_what_to_do(decision, kind);
	Refused refused = {decision, kind, relation, command};
	const char *problem = ledger_refusal_record(refuse_append, &refused);

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 relation ? errmsg("%s images of %s are refused to %s", kind_name, relation, recipient)
					  : errmsg("%s images are refused to %s", kind_name, recipient),
			 ledger_refusal_detail(rule, problem), errhint("%s", advice)));
	pg_unreachable();
}
