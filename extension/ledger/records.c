/*
 * records.c - encodes, numbers and links what a backend appends.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ledger/encoding.h"
#include "ledger/records.h"
#include "ledger/session.h"

/* A buffer that has grown beyond this is not kept. */
#define BUFFER_KEEP (1024 * 1024)

/* What records.h describes, in its order, each with a record's header. */
typedef struct AppendBuffer
{
	char *bytes;
	Size used;
	Size capacity;
	Size entries;	  /* where the caller's entries begin */
	bool new_session; /* the session entry says something new */
} AppendBuffer;

/* The session entry that this session wrote last. */
typedef struct SessionWritten
{
	uint32 generation; /* 0: none */
	int64 sequence;
	Size length; /* of bytes that are compared: all after the fixed part */
	char *bytes;
	char *party;
	char *network;
} SessionWritten;

static MemoryContext append_context = NULL;
static AppendBuffer buffer;
static SessionWritten session;

/* Memory for what the next session entry says, so that remembering it cannot fail. */
static SessionWritten next_session;

/* Makes room for one more record of any length. */
static void
buffer_reserve(void)
{
	Size needed = buffer.used + sizeof(LedgerRecord) + ENTRY_MAX_SIZE;

	if (append_context == NULL)
		append_context = AllocSetContextCreate(TopMemoryContext, "biometric ledger entries",
											   ALLOCSET_DEFAULT_SIZES);
	if (needed <= buffer.capacity)
		return;
	needed = Max(needed, buffer.capacity * 2);
	buffer.bytes = buffer.bytes == NULL ? MemoryContextAllocHuge(append_context, needed)
										: repalloc_huge(buffer.bytes, needed);
	buffer.capacity = needed;
}

static void
buffer_add(const EntryFields *fields)
{
	LedgerRecord record = {0};
	size_t length;
	CoreStatus status;

	buffer_reserve();
	status = encoding_entry(fields, (uint8_t *) buffer.bytes + buffer.used + sizeof(record),
							ENTRY_MAX_SIZE, &length);
	if (status == CORE_TOO_SMALL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a ledger entry is too long"),
				 errdetail("An entry has at most %d bytes.", ENTRY_MAX_SIZE)));
	if (status != CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("a ledger entry is malformed"),
						errdetail_internal("%s", core_status_text(status))));
	record.length = (uint32) length;
	memcpy(buffer.bytes + buffer.used, &record, sizeof(record));
	buffer.used += sizeof(record) + length;
}

/* Begins the buffer with a session entry, and finds out whether it says something new. */
static void
buffer_begin(const LedgerStatement *statement, uint32 generation, int64 now)
{
	EntryFields fields;
	const char *said;
	Size length;

	session_describe(&fields);
	fields.at = now;
	fields.party = session_text(statement != NULL ? statement->party : session.party);
	fields.network = session_text(statement != NULL ? statement->network : session.network);
	buffer.used = 0;
	buffer_add(&fields);
	said = buffer.bytes + sizeof(LedgerRecord) + ENTRY_FIXED_SIZE;
	length = buffer.used - sizeof(LedgerRecord) - ENTRY_FIXED_SIZE;
	buffer.new_session = session.generation != generation || session.length != length ||
						 memcmp(session.bytes, said, length) != 0;
}

static void
reserve_text(char **reserved, const char *text)
{
	if (*reserved != NULL)
		pfree(*reserved);
	*reserved = NULL;
	if (text != NULL)
		*reserved = MemoryContextStrdup(append_context, text);
}

/* Allocates what remember_session needs for the session entry at the buffer's beginning. */
static void
reserve_session(const LedgerStatement *statement)
{
	LedgerRecord record;

	memcpy(&record, buffer.bytes, sizeof(record));
	if (next_session.bytes != NULL)
		pfree(next_session.bytes);
	next_session.bytes = NULL;
	next_session.bytes = MemoryContextAlloc(append_context, record.length + 1);
	reserve_text(&next_session.party, statement != NULL ? statement->party : NULL);
	reserve_text(&next_session.network, statement != NULL ? statement->network : NULL);
}

static void
buffer_add_statement(const LedgerStatement *statement, int64 now)
{
	EntryFields fields = {.event = ENTRY_STATEMENT, .at = now, .reference = ENTRY_NO_REFERENCE};

	fields.purpose = session_text(statement->purpose);
	fields.command = session_text(statement->command);
	fields.relations = session_text(statement->relations);
	fields.current_user_name = session_text(session_current_user());
	fields.query_id = statement->query_id;
	buffer_add(&fields);
}

void
records_prepare(const LedgerStatement *statement, EntryFields *entries, int count,
				uint32 generation)
{
	int64 now = session_unix_time();

	buffer_begin(statement, generation, now);
	if (statement != NULL)
		buffer_add_statement(statement, now);
	buffer.entries = buffer.used;
	for (int i = 0; i < count; i++)
	{
		entries[i].at = now;
		entries[i].reference = ENTRY_NO_REFERENCE;
		buffer_add(&entries[i]);
	}
	if (buffer.new_session)
		reserve_session(statement);
}

bool
records_have_statement(const LedgerStatement *statement, uint32 generation)
{
	return !buffer.new_session && statement->written && statement->generation == generation;
}

void
records_require_room(int count)
{
	/* as many segments as the entries may be in, each with a session and a statement entry */
	Size most = buffer.used + buffer.entries * (1 + (Size) count / LEDGER_SEGMENT_MIN);

	if (most > ledger_ring_size_bytes())
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many ledger entries at once"),
				 errdetail("%zu bytes do not fit into biometric_audit.ring_size.", most),
				 errhint("Raise biometric_audit.ring_size, or read fewer rows at a time.")));
}

static void
place_begin(Placement *placement, const LedgerStatement *statement, uint32 generation)
{
	placement->statement = statement;
	placement->generation = generation;
	placement->session_entry = buffer.new_session ? -1 : session.sequence;
	placement->statement_entry = statement != NULL && records_have_statement(statement, generation)
									 ? statement->sequence
									 : -1;
	placement->first = -1;
	placement->bytes = 0;
}

/* Places the record at a position of the buffer, which is made to refer to an entry. */
static void
place_record(Placement *placement, Size at, int64 reference)
{
	LedgerRecord record;
	Size length;

	memcpy(&record, buffer.bytes + at, sizeof(record));
	length = sizeof(record) + record.length;
	if (placement->put != NULL)
	{
		record.generation = placement->generation;
		record.sequence = placement->next;
		memcpy(buffer.bytes + at, &record, sizeof(record));
		entry_set_reference((uint8 *) buffer.bytes + at + sizeof(record), reference);
		placement->put(placement, buffer.bytes + at, length);
	}
	placement->bytes += length;
	placement->next++;
}

/* Whether the next record can refer to an entry: it is in the same segment. */
static bool
can_refer_to(const Placement *placement, int64 sequence)
{
	return sequence >= 0 &&
		   sequence / placement->segment_size == placement->next / placement->segment_size;
}

/* Places session and statement entries where the next record has none that it can refer to. */
static void
place_introduction(Placement *placement)
{
	Size session_length;
	LedgerRecord record;

	memcpy(&record, buffer.bytes, sizeof(record));
	session_length = sizeof(record) + record.length;
	for (;;)
	{
		/* either may be the last of its segment, and then both are needed once more */
		if (!can_refer_to(placement, placement->session_entry))
		{
			placement->session_entry = placement->next;
			placement->statement_entry = -1;
			place_record(placement, 0, ENTRY_NO_REFERENCE);
		}
		else if (placement->statement != NULL &&
				 !can_refer_to(placement, placement->statement_entry))
		{
			placement->statement_entry = placement->next;
			place_record(placement, session_length, placement->session_entry);
		}
		else
			return;
	}
}

void
records_place(Placement *placement, const LedgerStatement *statement, uint32 generation)
{
	place_begin(placement, statement, generation);
	for (Size at = buffer.entries; at < buffer.used;)
	{
		LedgerRecord record;

		place_introduction(placement);
		if (placement->first < 0)
			placement->first = placement->next;
		memcpy(&record, buffer.bytes + at, sizeof(record));
		place_record(placement, at,
					 placement->statement != NULL ? placement->statement_entry
												  : placement->session_entry);
		at += sizeof(record) + record.length;
	}
	if (placement->first >= 0)
		return;
	place_introduction(placement);
	placement->first = placement->next - 1;
}

/* Makes what was reserved for a text the text that is kept. */
static void
remember_text(char **kept, char **reserved)
{
	if (*kept != NULL)
		pfree(*kept);
	*kept = *reserved;
	*reserved = NULL;
}

/*
 * Remembers the session entry at the buffer's beginning, that its number be referred to. The
 * entries are in the ledger: nothing may fail any more.
 */
static void
remember_session(const LedgerStatement *statement, uint32 generation, int64 sequence)
{
	LedgerRecord record;

	memcpy(&record, buffer.bytes, sizeof(record));
	session.length = record.length - ENTRY_FIXED_SIZE;
	remember_text(&session.bytes, &next_session.bytes);
	memcpy(session.bytes, buffer.bytes + sizeof(record) + ENTRY_FIXED_SIZE, session.length);
	if (statement != NULL)
	{
		remember_text(&session.party, &next_session.party);
		remember_text(&session.network, &next_session.network);
	}
	session.sequence = sequence;
	session.generation = generation;
	buffer.new_session = false;
}

void
records_remember(LedgerStatement *statement, const Placement *placement)
{
	if (buffer.new_session)
		remember_session(statement, placement->generation, placement->session_entry);
	/* the same once more, where a segment begins */
	session.sequence = placement->session_entry;
	if (statement != NULL)
	{
		statement->sequence = placement->statement_entry;
		statement->generation = placement->generation;
		statement->written = true;
	}
	if (buffer.capacity > BUFFER_KEEP)
	{
		pfree(buffer.bytes);
		memset(&buffer, 0, sizeof(buffer));
	}
}
