/*
 * two_person.c - puts on record that biometric_audit.two_person was switched.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "base/internal.h"
#include "ledger/append.h"
#include "ledger/worker.h"
#include "policy/change.h"
#include "policy/policy_sql.h"
#include "policy/proposal.h"
#include "policy/two_person.h"

/* What this worker has appended, and not yet remembered in the table. */
static bool appended = false;
static bool appended_value;
static LedgerStatement statement;

/* What was put on record last; off, before anything was. */
static bool
two_person_known(void)
{
	ChangeArguments arguments = {0};

	return change_execute("SELECT FROM ONLY biometric.two_person WHERE switched_on", &arguments) >
		   0;
}

static void
two_person_remember(bool value)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, BOOLOID, BoolGetDatum(value), false);
	if (change_execute("UPDATE ONLY biometric.two_person SET switched_on = $1, "
					   "recorded_at = now()",
					   &arguments) == 0)
		change_execute("INSERT INTO biometric.two_person (switched_on) VALUES ($1)", &arguments);
}

/* Nothing is lost when the ledger cannot take it now: whoever starts it again asks again. */
static bool
two_person_append(bool value)
{
	const char *detail = value ? "{\"action\": \"two_person\", \"from\": false, \"to\": true}"
							   : "{\"action\": \"two_person\", \"from\": true, \"to\": false}";
	EntryFields entry = {.event = ENTRY_POLICY_CHANGED, .reference = ENTRY_NO_REFERENCE};

	memset(&statement, 0, sizeof(statement));
	statement.command = "SIGHUP";
	entry.detail.bytes = detail;
	entry.detail.length = strlen(detail);
	return ledger_append_now(&statement, &entry, 1);
}

static bool
two_person_durable(void)
{
	LedgerTicket ticket = {0};

	ledger_append(&statement, NULL, 0, &ticket);
	return ledger_durable(&ticket);
}

void
two_person_check(void)
{
	static bool asked_again = false;
	bool value = proposal_two_persons();
	int settings;

	if (!OidIsValid(extension_relation("two_person")))
		return;
	settings = policy_sql_settings();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (two_person_known() == value)
		appended = false;
	else if (!appended || appended_value != value)
	{
		appended = two_person_append(value);
		appended_value = value;
		/* a worker that has just begun takes no entries yet; one that cannot does not try for ever */
		if (appended || !asked_again)
			(void) ledger_request_tasks();
		asked_again = true;
	}
	else if (!two_person_durable())
		(void) ledger_request_tasks();
	else
	{
		two_person_remember(value);
		appended = false;
	}
	SPI_finish();
	policy_sql_settings_end(settings);
}
