/*
 * conceal.c - overwrites long literals in the text of a running statement.
 *
 * By then the raw parse tree has copies of them, and the plan cache parses
 * no text twice, so that the statement runs as it was sent.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/portal.h"

#include "base/internal.h"
#include "core/scrub.h"
#include "logs/logs.h"

static bool parameters_seen = false;

bool
logs_parameters_seen(void)
{
	return parameters_seen;
}

/*
 * What a client's backend may write to: its message, in its own buffer, or
 * the plan cache's copy of it; and a portal's copy. Texts that code passes to
 * SPI may be constants, and other processes may share theirs.
 */
static bool
is_ours_to_write(const char *text)
{
	if (MyBackendType != B_BACKEND || IsParallelWorker())
		return false;
	return text == debug_query_string || (ActivePortal != NULL && text == ActivePortal->sourceText);
}

/*
 * Shows the overwritten text, if it is what is shown. By hand, because the
 * function for it takes the query id away and restarts the clock.
 */
static void
show_concealed(const char *text, size_t shown)
{
	volatile PgBackendStatus *entry = MyBEEntry;

	PGSTAT_BEGIN_WRITE_ACTIVITY(entry);
	memcpy((char *) entry->st_activity_raw, text, shown);
	PGSTAT_END_WRITE_ACTIVITY(entry);
}

void
logs_conceal_statement(const char *text)
{
	ScrubRules rules = {.kind = SCRUB_SQL, .limit = LOGS_LITERAL_MAX};
	size_t length;
	size_t shown;
	bool is_shown;

	if (ActivePortal != NULL && ActivePortal->portalParams != NULL)
		parameters_seen = true;
	if (text == NULL || !is_ours_to_write(text))
		return;
	length = strlen(text);
	if (length <= LOGS_LITERAL_MAX || !OidIsValid(extension_oid()))
		return;
	shown = Min(length, (size_t) pgstat_track_activity_query_size - 1);
	is_shown = MyBEEntry != NULL && pgstat_track_activities &&
			   strncmp(MyBEEntry->st_activity_raw, text, shown) == 0;
	rules.backslash = !standard_conforming_strings;
	if (scrub_conceal(unconstify(char *, text), length, &rules) > 0 && is_shown)
		show_concealed(text, shown);
}
