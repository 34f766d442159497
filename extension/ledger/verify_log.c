/*
 * verify_log.c - do the rows of biometric.log and biometric.segment say what
 * the entries say?
 *
 * Whatever changes a log's identity leaves an entry: where it was forked from,
 * which log was adopted, that it was retired or handed over, what was
 * detached. The entry is durable before the row is committed, so a row without
 * its entry was not written by the extension. The opposite proves nothing: the
 * transaction may have been rolled back behind its entry.
 */
#include "postgres.h"

#include "ledger/encoding.h"
#include "ledger/fork.h"
#include "ledger/verify.h"

#define ADOPTED_END ", \"adopted\": true}"
#define REASON_KEY "\"reason\": "

static bool
begins_with(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool
ends_with(const char *text, const char *end)
{
	Size length = strlen(text);

	return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static bool
is_worth_noting(const EntryFields *fields, const char *detail)
{
	switch (fields->event)
	{
		case ENTRY_FORKED:
			return true;
		case ENTRY_POLICY_CHANGED:
			return begins_with(detail, "{\"action\": \"retire\"") ||
				   begins_with(detail, "{\"action\": \"hand_over\"") ||
				   begins_with(detail, "{\"action\": \"detach\"");
		default:
			return false;
	}
}

void
verify_notice(LogCheck *check, int64 sequence, const EntryFields *fields)
{
	VerifyNotice *notice;
	char *detail;

	if ((fields->event != ENTRY_FORKED && fields->event != ENTRY_POLICY_CHANGED) ||
		fields->detail.bytes == NULL)
		return;
	detail = pnstrdup(fields->detail.bytes, fields->detail.length);
	if (!is_worth_noting(fields, detail))
	{
		pfree(detail);
		return;
	}
	notice = palloc(sizeof(VerifyNotice));
	notice->sequence = sequence;
	notice->detail = detail;
	check->notices = lappend(check->notices, notice);
}

void
verify_segment_row(LogCheck *check, int64 segment, const MerkleHash *root, const char *reason)
{
	VerifySegment *row = palloc(sizeof(VerifySegment));

	row->segment = segment;
	row->root = *root;
	row->reason = pstrdup(reason);
	check->segments = lappend(check->segments, row);
}

/*
 * Whether an entry says what its row calls for, as UTF-8: so the encoding of the
 * database that a row was restored into makes no difference.
 */
static bool
same_detail(const char *entry, const char *row)
{
	EntryText here = {.bytes = row, .length = strlen(row)};
	EntryText wanted = encoding_to_utf8(here, true);

	return strlen(entry) == wanted.length && memcmp(entry, wanted.bytes, wanted.length) == 0;
}

/* What the log's first entry says of the log that it was forked from; NULL: nothing. */
static const char *
fork_notice(const LogCheck *check)
{
	ListCell *cell;

	foreach(cell, check->notices)
	{
		const VerifyNotice *notice = lfirst(cell);

		if (notice->sequence == 0 && begins_with(notice->detail, "{\"parent\": ") &&
			!ends_with(notice->detail, ADOPTED_END))
			return notice->detail;
	}
	return NULL;
}

/* A log's parent is that of its first entry, as long as that is here. */
static void
check_parent(LogCheck *check)
{
	const LedgerLog *log = check->log;
	const char *entry = fork_notice(check);

	if (check->first > 0 || check->highest < 0)
		return;
	if (!log->has_parent)
	{
		if (entry != NULL || log->reason != NULL)
			verify_problem(check, 0,
						   entry != NULL
							   ? "entry 0 names the log that this one was forked from, "
								 "its row in biometric.log does not"
							   : "the log's row has a reason, and the log was not forked");
	}
	else if (entry == NULL || log->parent_size < 0 ||
			 !same_detail(entry, fork_detail(log->parent, log->parent_size, &log->parent_root,
											 log->reason, false)))
		verify_problem(check, 0,
					   "entry 0 does not say what the log's row says of the log that it was forked "
					   "from");
}

static bool
has_closing(const LogCheck *check, const char *beginning)
{
	ListCell *cell;

	foreach(cell, check->notices)
		if (begins_with(((VerifyNotice *) lfirst(cell))->detail, beginning))
			return true;
	return false;
}

/* A log that takes no more entries has one that says so; but not when an anchor refused it. */
static void
check_closing(LogCheck *check)
{
	const LedgerLog *log = check->log;

	if (log->retired && !has_closing(check, "{\"action\": \"retire\""))
		verify_problem(check, check->size,
					   "the log's row says that it was retired, and no entry does");
	if (!log->fenced)
		return;
	if (log->fenced_by == NULL ||
		(strcmp(log->fenced_by, "hand_over") != 0 && strcmp(log->fenced_by, "anchor") != 0))
		verify_problem(check, check->size, "the log's row does not say by what it was fenced");
	else if (strcmp(log->fenced_by, "hand_over") == 0 &&
			 !has_closing(check, "{\"action\": \"hand_over\""))
		verify_problem(check, check->size,
					   "the log's row says that it was handed over, and no entry does");
}

/*
 * A segment was detached as its entry says. That of the last one cannot have
 * been detached itself: it came behind the segment.
 */
static void
check_segment(LogCheck *check, const VerifySegment *row)
{
	int64 size = check->reader.segment_size;
	char *wanted = fork_detach_detail(row->segment, size, &row->root, row->reason);
	char *beginning =
		psprintf("{\"action\": \"detach\", \"segment\": " INT64_FORMAT ",", row->segment);
	bool required = (row->segment + 1) * size >= check->first;
	bool found = false;
	bool agrees = false;
	ListCell *cell;

	foreach(cell, check->notices)
	{
		const char *detail = ((VerifyNotice *) lfirst(cell))->detail;

		if (!begins_with(detail, beginning))
			continue;
		/* one may have been rolled back and done again */
		found = true;
		agrees = agrees || same_detail(detail, wanted);
	}
	if (!agrees && (found || required))
		verify_problem(check, row->segment * size,
					   "segment " INT64_FORMAT " is said to be detached otherwise than the log's "
					   "entries say",
					   row->segment);
}

void
verify_log(LogCheck *check)
{
	ListCell *cell;

	if (check->problem != NULL)
		return;
	check_parent(check);
	check_closing(check);
	foreach(cell, check->segments)
		check_segment(check, lfirst(cell));
}

/* ---- Several logs */

/* Whether the entries contradict what a restored log's row says of its adoption. */
static bool
adoption_is_wrong(LogCheck *checks, int count, const LedgerLog *log)
{
	char *wanted = fork_detail(log->log_id, log->adopted_size, &log->adopted_root, "", true);
	Size length = (Size) (strstr(wanted, REASON_KEY) - wanted);
	char *beginning = psprintf("{\"parent\": \"%s\",", fork_log_id_text(log->log_id));
	bool detached = false;
	bool other = false;

	for (int i = 0; i < count; i++)
	{
		ListCell *cell;

		detached = detached || checks[i].first > 0;
		foreach(cell, checks[i].notices)
		{
			const char *detail = ((VerifyNotice *) lfirst(cell))->detail;

			if (!begins_with(detail, beginning) || !ends_with(detail, ADOPTED_END))
				continue;
			if (strncmp(detail, wanted, length) == 0)
				return false;
			other = true;
		}
	}
	/* an entry that was detached cannot be asked */
	return other || !detached;
}

static bool
is_among(const LogCheck *checks, int count, const uint8 *log_id)
{
	for (int i = 0; i < count; i++)
		if (memcmp(checks[i].log->log_id, log_id, LEDGER_LOG_ID_SIZE) == 0)
			return true;
	return false;
}

void
verify_lineage(LogCheck *checks, int count, List *restored)
{
	LogCheck *newest = count > 0 ? &checks[count - 1] : NULL;
	ListCell *cell;

	if (newest == NULL || newest->problem != NULL)
		return;
	for (int i = 0; i < count; i++)
		if (checks[i].log->has_parent && !is_among(checks, i, checks[i].log->parent))
			verify_problem(newest, newest->size,
						   "log %s was forked from one that is not before it in biometric.log",
						   fork_log_id_text(checks[i].log->log_id));
	foreach(cell, restored)
	{
		const LedgerLog *log = lfirst(cell);

		if (log->adopted && adoption_is_wrong(checks, count, log))
			verify_problem(newest, newest->size,
						   "log %s is said to be adopted otherwise than the entries say",
						   fork_log_id_text(log->log_id));
	}
}
