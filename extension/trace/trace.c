/*
 * trace.c - trace(): where a leaked file came from.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "keyring/keyring.h"
#include "ledger/append.h"
#include "ledger/fork.h"
#include "trace/rows.h"
#include "trace/trace.h"

#define DEFAULT_LIMIT 100
#define MAX_LIMIT 1000

/* Numbers are given again where the ledger's end was lost: a mark of that end fits no entry. */
#define FORGED_OR_LOST                                                                             \
	"it is forged, or of a disclosure whose entry was lost (a failover or rewound volume)"

PGDLLEXPORT Datum trace_file(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(trace_file);

static int trace_limit = DEFAULT_LIMIT;

void
trace_define_settings(void)
{
	DefineCustomIntVariable(
		"biometric_audit.trace_limit", "Images that trace() lists at most, of each sort of match.",
		"The nearest ones; a NOTICE says how many more there are.", &trace_limit, DEFAULT_LIMIT, 1,
		MAX_LIMIT, PGC_USERSET, 0, NULL, NULL, NULL);
}

/* ---- Marks */

/* Says why a mark is not believed; what: a clause. */
static void
disbelieve(const Mark *mark, const char *what)
{
	ereport(NOTICE,
			(errmsg("the file has a mark for entry " INT64_FORMAT " of log %s, but %s",
					mark->sequence, fork_log_id_text(mark->log_id), what),
			 errdetail("Only what a mark's key authenticates says anything about a file.")));
}

/* The number of a log in a search, -1: none. */
static int
find_log(const Search *search, const uint8 *log_id)
{
	for (int i = 0; i < list_length(search->logs); i++)
		if (memcmp(((LedgerLog *) list_nth(search->logs, i))->log_id, log_id, LEDGER_LOG_ID_SIZE) ==
			0)
			return i;
	return -1;
}

/* Reads the entry that a mark names; NULL, or a clause that says what is wrong with it. */
static const char *
read_disclosure(const Search *search, const Mark *mark, EntryFields *fields)
{
	LedgerReader reader;
	bytea *bytes;
	int64 first;

	if (!store_reader_open(&reader, mark->log_id, search->snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing"),
						errhint("Create the extension again, and restore a dump.")));
	bytes = store_entry(&reader, mark->sequence);
	first = store_first(&reader);
	store_reader_close(&reader);
	if (bytes == NULL)
		return mark->sequence < first
				   ? "that entry is in a segment that was detached: look for it in the archive"
				   : "the log has no such entry: " FORGED_OR_LOST;
	if (entry_decode((const uint8_t *) VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ, fields) !=
			CORE_OK ||
		(fields->event != ENTRY_DISCLOSED && fields->event != ENTRY_OBSERVED) ||
		fields->image_id == NULL)
		return "that entry is no disclosure: " FORGED_OR_LOST;
	return NULL;
}

/* What is wrong with a mark, a clause; NULL: it is authentic, and what it names is looked for. */
static const char *
take_mark(Search *search, const Mark *mark)
{
	int log = find_log(search, mark->log_id);
	const SealKey *key = keyring_find(mark->key_id);
	const char *problem;
	EntryFields fields;

	if (log < 0)
		return "this database has no such log: it is another database's, or forged";
	if (key == NULL)
		return psprintf("the keyring does not have its key, %u", mark->key_id);
	problem = read_disclosure(search, mark, &fields);
	if (problem != NULL)
		return problem;
	/* asked for again: reading may have had the keyring read anew */
	key = keyring_find(mark->key_id);
	if (key == NULL || mark_check(key, mark, fields.at, fields.image_id) != CORE_OK)
		return "it does not authenticate: " FORGED_OR_LOST;
	search_want_image(search, fields.image_id, fields.kind);
	search->named[search->named_count++] = (NamedDisclosure){log, mark->sequence, false};
	return NULL;
}

static void
take_marks(Search *search)
{
	const Evidence *evidence = search->evidence;

	for (int i = 0; i < evidence->marks; i++)
	{
		const char *problem = take_mark(search, &evidence->mark[i].mark);

		if (problem != NULL)
			disbelieve(&evidence->mark[i].mark, problem);
	}
	if (evidence->more_marks)
		ereport(NOTICE, (errmsg("the file has more than %d marks: the others were not looked at",
								EVIDENCE_MARKS)));
}

/* ---- Disclosures */

typedef struct DisclosureLook
{
	Search *search;
	TraceRows *rows;
	int log;
} DisclosureLook;

static bool
is_named(Search *search, int log, int64 sequence)
{
	bool named = false;

	for (int i = 0; i < search->named_count; i++)
		if (search->named[i].log == log && search->named[i].sequence == sequence)
			named = search->named[i].shown = true;
	return named;
}

static void
look_at_disclosure(const ActivityEntry *entry, void *context)
{
	DisclosureLook *to = context;
	FoundImage *image = search_find(to->search, entry->fields.image_id);
	bool named = is_named(to->search, to->log, entry->sequence);

	CHECK_FOR_INTERRUPTS();
	/* of an image that only a mark led to, nothing is known but what the mark says */
	if (image == NULL || (!named && image->match != TRACE_EXACT && image->match != TRACE_SIMILAR))
		return;
	image->disclosed = true;
	trace_rows_disclosure(to->rows, image, to->log, entry, named);
}

/* Shows all disclosures; returns how many more there may be, in segments that were detached. */
static int64
show_disclosures(Search *search, TraceRows *rows)
{
	DisclosureLook to = {search, rows, 0};
	uint8 *ids = palloc((Size) Max(search->count, 1) * ENTRY_IMAGE_ID_SIZE);
	int64 detached = 0;

	if (search->count == 0)
		return 0;
	for (int i = 0; i < search->count; i++)
		memcpy(ids + (Size) i * ENTRY_IMAGE_ID_SIZE, search->images[i].id, ENTRY_IMAGE_ID_SIZE);
	for (to.log = 0; to.log < list_length(search->logs); to.log++)
		detached += traced_disclosures(list_nth(search->logs, to.log), search->snapshot, ids,
									   search->count, look_at_disclosure, &to);
	return detached;
}

static void
show_undisclosed(const Search *search, TraceRows *rows)
{
	for (int i = 0; i < search->count; i++)
	{
		const FoundImage *image = &search->images[i];

		if (!image->disclosed && image->stored_count > 0 &&
			(image->match == TRACE_EXACT || image->match == TRACE_SIMILAR))
			trace_rows_image(rows, image);
	}
}

/* ---- What else there is to say */

static void
warn_of_missing(const Search *search)
{
	for (int i = 0; i < search->named_count; i++)
		if (!search->named[i].shown)
			ereport(WARNING, (errmsg("biometric.traced does not lead to entry " INT64_FORMAT
									 " of the ledger, which an authentic mark names",
									 search->named[i].sequence),
							  errhint("biometric.verify_ledger() says what else has changed.")));
}

static void
tell_limits(const Search *search, int64 detached)
{
	if (!search->evidence->has_picture)
		ereport(NOTICE,
				(errmsg("the file was not compared by what it shows"),
				 errdetail("It is no JPEG or PNG file, cannot be decoded, or shows too little.")));
	if (search->without_key != NULL && hash_get_num_entries(search->without_key) > 0)
		ereport(NOTICE, (errmsg("%ld stored images could not be compared: the keyring does not "
								"have their keys",
								hash_get_num_entries(search->without_key))));
	if (search->more > 0)
		ereport(NOTICE, (errmsg("the file matches more images than are listed"),
						 errdetail("At least " INT64_FORMAT " entries more.", search->more),
						 errhint("Raise biometric_audit.trace_limit, or lower max_distance.")));
	if (detached > 0)
		ereport(
			NOTICE,
			(errmsg("up to " INT64_FORMAT " disclosures more are in segments that were detached",
					detached),
			 errhint("Read the archive, with biometric-verify. See biometric.segments.")));
}

static void
tell_nothing_found(const Search *search)
{
	ereport(NOTICE,
			(errmsg("nothing in the ledger matches this file"),
			 errdetail("Looked for: %s, its digest%s, among " INT64_FORMAT " stored images.",
					   search->evidence->sealed ? "the sealed image" : "its marks",
					   search->evidence->has_picture ? ", what it shows" : "", search->compared)));
}

/* ---- On record */

static const char *
hex_of(const uint8 *bytes, Size length)
{
	char *text = palloc(2 * length + 1);

	text[hex_encode((const char *) bytes, length, text)] = '\0';
	return text;
}

static int
count_of(const Search *search, TraceMatch match)
{
	int count = 0;

	for (int i = 0; i < search->count; i++)
		count += search->images[i].match == match;
	return count;
}

/*
 * Who looks for pictures looks for people: that is put on record, with a digest by
 * which only who has the file and the keys can tell which one it was. Where the ledger
 * takes no entries, as on a standby, tracing works nevertheless, and says so.
 */
static void
put_on_record(const Search *search, int64 rows)
{
	const EvidenceKey *key =
		search->evidence->keys == 0 ? NULL : &search->evidence->key[search->evidence->keys - 1];
	EntryFields entry = {.event = ENTRY_INCIDENT, .reference = ENTRY_NO_REFERENCE};
	LedgerTicket ticket = {0};
	const char *problem = NULL;
	Reason reason;

	if (!ledger_usable(&reason, &problem))
	{
		ereport(NOTICE, (errmsg("this search is not on record: the ledger takes no entries here"),
						 problem == NULL ? 0 : errdetail("The reason: %s.", problem)));
		return;
	}
	entry.detail.bytes = psprintf(
		"{\"action\": \"trace\", \"key\": %u, \"digest\": \"%s\", \"marks\": %d, \"exact\": %d, "
		"\"similar\": %d, \"rows\": " INT64_FORMAT "}",
		key == NULL ? 0 : key->id, key == NULL ? "" : hex_of(key->digest[0], ENVELOPE_DIGEST_SIZE),
		search->named_count, count_of(search, TRACE_EXACT), count_of(search, TRACE_SIMILAR), rows);
	entry.detail.length = strlen(entry.detail.bytes);
	ledger_append(NULL, &entry, 1, &ticket);
	ledger_wait(&ticket);
}

/* ---- trace() */

static int
distance_argument(FunctionCallInfo fcinfo)
{
	int distance;

	if (PG_ARGISNULL(1))
		return PICTURE_HASH_NEAR;
	distance = PG_GETARG_INT32(1);
	if (distance < 0 || distance > PICTURE_HASH_BITS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_distance must be 0 to %d bits, not %d", PICTURE_HASH_BITS, distance),
				 errhint("Leave it out for the usual %d.", PICTURE_HASH_NEAR)));
	return distance;
}

Datum
trace_file(PG_FUNCTION_ARGS)
{
	Search search = {.snapshot = GetActiveSnapshot(), .limit = trace_limit};
	TraceRows *rows;
	bytea *file;
	int64 detached;
	int64 count;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("there is no file to trace"),
				 errhint("Give the file's bytes, as bytea.")));
	InitMaterializedSRF(fcinfo, 0);
	search.near = distance_argument(fcinfo);
	file = PG_GETARG_BYTEA_PP(0);
	search.evidence = evidence_read((const uint8 *) VARDATA_ANY(file), VARSIZE_ANY_EXHDR(file));
	search.logs = activity_logs(search.snapshot);
	take_marks(&search);
	search_images(&search);
	rows = trace_rows_begin(&search, (ReturnSetInfo *) fcinfo->resultinfo);
	detached = show_disclosures(&search, rows);
	show_undisclosed(&search, rows);
	count = trace_rows_end(rows);
	warn_of_missing(&search);
	tell_limits(&search, detached);
	if (count == 0)
		tell_nothing_found(&search);
	put_on_record(&search, count);
	return (Datum) 0;
}
