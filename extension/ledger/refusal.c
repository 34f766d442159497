/*
 * refusal.c - records a refusal without losing it when that fails.
 */
#include "postgres.h"

#include "ledger/refusal.h"

const char *
ledger_refusal_record(LedgerRefusalAppend append, void *context)
{
	MemoryContext memory = CurrentMemoryContext;
	const char *volatile problem = NULL;

	PG_TRY();
	{
		append(context);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();
		problem = error->message ? error->message : "unknown error";
	}
	PG_END_TRY();
	return problem;
}

int
ledger_refusal_detail(const char *rule, const char *problem)
{
	if (problem == NULL)
		return errdetail("%s", rule);
	errdetail("%s The refusal could not be recorded in the ledger.", rule);
	return errdetail_log("%s The refusal could not be recorded in the ledger: %s", rule, problem);
}
