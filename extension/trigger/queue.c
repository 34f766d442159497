/*
 * queue.c - the changes of a transaction, from the triggers to the ledger.
 *
 * Changes stand one behind the other in one stream of bytes, whose beginning
 * is in a temporary file once the stream is longer than QUEUE_MEMORY, and
 * whose end is in memory. A place in the stream is an offset, so that cutting
 * it back when a subtransaction rolls back is a matter of numbers.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/compat.h"
#include "base/internal.h"
#include "core/envelope.h"
#include "keys/keys.h"
#include "ledger/append.h"
#include "policy/policy.h"
#include "trigger/queue.h"

#define QUEUE_MEMORY ((Size) 256 * 1024)
#define QUEUE_MEMORY_FIRST ((Size) 8 * 1024)

/* How much is appended at once; the smallest ring has 256 kB. */
#define CHUNK_ENTRIES 256
#define CHUNK_BYTES ((Size) 32 * 1024)

/* Names beyond this do not go into the statement's entry, but into each change's. */
#define STATEMENT_NAMES ((Size) 16 * 1024)

/* No text of a change is longer, so that its entry has room. */
#define TEXT_MAX ((Size) 16 * 1024)

/* A change as it stands in the stream, before its texts. */
typedef struct StoredChange
{
	uint8 event;
	uint8 operation;
	uint8 kind;
	bool has_image_id;
	bool has_old_image_id;
	bool has_digest;
	bool has_picture_hash;
	uint32 key;
	int32 relation; /* index into relations */
	uint32 column;	/* bytes of the text, 0: absent */
	uint32 row_key;
	uint32 detail;
	uint32 collected;
	uint8 image_id[ENTRY_IMAGE_ID_SIZE];
	uint8 old_image_id[ENTRY_IMAGE_ID_SIZE];
	uint8 digest[ENTRY_DIGEST_SIZE];
	uint8 picture_hash[ENTRY_HASH_SIZE];
} StoredChange;

/* A relation that was changed, under the name that it had then. */
typedef struct ChangedRelation
{
	Oid oid;
	char *name;
} ChangedRelation;

typedef struct RelationIndex
{
	Oid oid; /* hash key */
	int32 index;
} RelationIndex;

/* Where the stream ended when a subtransaction queued its first change. */
typedef struct QueueMark
{
	SubTransactionId subtransaction;
	uint64 end;
	uint64 changes;
	int relations;
} QueueMark;

typedef struct Queue
{
	MemoryContext context; /* of the top transaction; NULL: nothing was queued */
	bool appended;		   /* its time is over */
	char *memory;
	Size capacity;
	Size used;
	BufFile *file; /* NULL: all is in memory */
	uint64 in_file;
	uint64 changes;
	HTAB *index;
	ChangedRelation *relations;
	int relation_count;
	int relation_capacity;
	QueueMark *marks;
	int mark_count;
	int mark_capacity;
} Queue;

static Queue queue;

bool
queue_empty(void)
{
	return queue.changes == 0;
}

static void
queue_begin(void)
{
	HASHCTL info = {.keysize = sizeof(Oid), .entrysize = sizeof(RelationIndex)};

	queue.context =
		AllocSetContextCreate(TopTransactionContext, "biometric changes", ALLOCSET_SMALL_SIZES);
	info.hcxt = queue.context;
	queue.index = hash_create("biometric changed relations", 16, &info,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Makes an array of the queue's longer, at its first use from nothing. */
static void *
queue_grow(void *array, int *capacity, Size width)
{
	int wanted = *capacity == 0 ? 8 : *capacity * 2;
	void *grown = array == NULL ? MemoryContextAlloc(queue.context, wanted * width)
								: repalloc(array, wanted * width);

	*capacity = wanted;
	return grown;
}

/* Marks where the stream ends before the first change of a subtransaction. */
static void
queue_mark(void)
{
	SubTransactionId current = GetCurrentSubTransactionId();

	if (current == TopSubTransactionId ||
		(queue.mark_count > 0 && queue.marks[queue.mark_count - 1].subtransaction == current))
		return;
	if (queue.mark_count == queue.mark_capacity)
		queue.marks = queue_grow(queue.marks, &queue.mark_capacity, sizeof(QueueMark));
	queue.marks[queue.mark_count++] = (QueueMark){.subtransaction = current,
												  .end = queue.in_file + queue.used,
												  .changes = queue.changes,
												  .relations = queue.relation_count};
}

char *
queue_relation_name(Oid relation)
{
	char *schema = get_namespace_name(get_rel_namespace(relation));
	char *plain = get_rel_name(relation);
	int level = NewGUCNestLevel();
	const char *name;
	StringInfoData escaped;

	if (schema == NULL || plain == NULL)
		elog(ERROR, "relation %u has gone while its images were put on record", relation);
	if (quote_all_identifiers)
		(void) set_config_option("quote_all_identifiers", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	initStringInfo(&escaped);
	for (name = quote_qualified_identifier(schema, plain); *name != '\0'; name++)
	{
		if (*name == '\n')
			appendStringInfoString(&escaped, "\\n");
		else if (*name == '\\')
			appendStringInfoString(&escaped, "\\\\");
		else
			appendStringInfoChar(&escaped, *name);
	}
	AtEOXact_GUC(false, level);
	return escaped.data;
}

/* The index of a relation among those that were changed. */
static int32
queue_relation(Oid oid)
{
	RelationIndex *known = hash_search(queue.index, &oid, HASH_FIND, NULL);
	MemoryContext old;
	char *name;

	if (known != NULL)
		return known->index;
	old = MemoryContextSwitchTo(queue.context);
	name = queue_relation_name(oid);
	MemoryContextSwitchTo(old);
	if (queue.relation_count == queue.relation_capacity)
		queue.relations =
			queue_grow(queue.relations, &queue.relation_capacity, sizeof(ChangedRelation));
	known = hash_search(queue.index, &oid, HASH_ENTER, NULL);
	known->index = queue.relation_count;
	queue.relations[queue.relation_count++] = (ChangedRelation){.oid = oid, .name = name};
	return known->index;
}

static void
queue_file_failed(void)
{
	ereport(ERROR, (errcode_for_file_access(),
					errmsg("could not seek in the temporary file of changed images")));
}

/* Moves what is in memory to the file, which belongs to the top transaction. */
static void
queue_spill(void)
{
	if (queue.file == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(queue.context);
		ResourceOwner old_owner = CurrentResourceOwner;

		PG_TRY();
		{
			CurrentResourceOwner = TopTransactionResourceOwner;
			queue.file = BufFileCreateTemp(false);
		}
		PG_FINALLY();
		{
			CurrentResourceOwner = old_owner;
		}
		PG_END_TRY();
		MemoryContextSwitchTo(old_context);
	}
	/* what stood there was cut off */
	if (BufFileSeek(queue.file, 0, (off_t) queue.in_file, SEEK_SET) != 0)
		queue_file_failed();
	BufFileWrite(queue.file, queue.memory, queue.used);
	queue.in_file += queue.used;
	queue.used = 0;
}

/* Makes room for more bytes, of which there are never more than QUEUE_MEMORY. */
static void
queue_reserve(Size bytes)
{
	Size wanted;

	if (queue.used + bytes > QUEUE_MEMORY)
		queue_spill();
	if (queue.used + bytes <= queue.capacity)
		return;
	wanted = Max(queue.capacity, QUEUE_MEMORY_FIRST);
	while (wanted < queue.used + bytes)
		wanted *= 2;
	queue.memory = queue.memory == NULL ? MemoryContextAlloc(queue.context, wanted)
										: repalloc(queue.memory, wanted);
	queue.capacity = wanted;
}

static uint32
text_length(const char *text)
{
	Size length = text == NULL ? 0 : strlen(text);

	if (length > TEXT_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("what there is to say of a changed image is too long"),
						errdetail("A text in a ledger entry has at most %zu bytes.", TEXT_MAX)));
	return (uint32) length;
}

static void
queue_put(const void *bytes, Size length)
{
	memcpy(queue.memory + queue.used, bytes, length);
	queue.used += length;
}

/* Whoever stores an image after the queue was written would escape the record. */
static void
refuse_where_impossible(void)
{
	if (IsParallelWorker())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("images cannot be changed in a parallel worker"),
						errhint("Declare the function that does it PARALLEL UNSAFE.")));
	if (queue.appended)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("images cannot be changed while the transaction is being committed"),
						errdetail("Its changes have been written to the ledger already."),
						errhint("Look for an extension that changes rows when a transaction "
								"commits.")));
}

void
queue_facts(QueuedChange *change, const ImageFacts *facts)
{
	change->image_id = facts->header.image_id;
	if (!facts->authentic)
		return;
	change->digest = facts->header.digest;
	change->key = facts->header.key_id;
	change->picture_hash = facts->has_picture ? facts->picture : NULL;
}

/* What of a change has a fixed size, besides what queue_add() fills in. */
static void
stored_set_ids(StoredChange *stored, const QueuedChange *change)
{
	StaticAssertStmt(ENVELOPE_DIGEST_SIZE == ENTRY_DIGEST_SIZE &&
						 ENVELOPE_PICTURE_HASH_SIZE == ENTRY_HASH_SIZE,
					 "entries take what envelopes have");
	stored->key = change->key;
	if (stored->has_image_id)
		memcpy(stored->image_id, change->image_id, ENTRY_IMAGE_ID_SIZE);
	if (stored->has_old_image_id)
		memcpy(stored->old_image_id, change->old_image_id, ENTRY_IMAGE_ID_SIZE);
	if (stored->has_digest)
		memcpy(stored->digest, change->digest, ENTRY_DIGEST_SIZE);
	if (stored->has_picture_hash)
		memcpy(stored->picture_hash, change->picture_hash, ENTRY_HASH_SIZE);
}

void
queue_add(const QueuedChange *change)
{
	StoredChange stored = {.event = (uint8) change->event,
						   .operation = (uint8) change->operation,
						   .kind = (uint8) change->kind,
						   .has_image_id = change->image_id != NULL,
						   .has_old_image_id = change->old_image_id != NULL,
						   .has_digest = change->digest != NULL,
						   .has_picture_hash = change->picture_hash != NULL,
						   .column = text_length(change->column),
						   .row_key = text_length(change->row_key),
						   .detail = text_length(change->detail),
						   .collected = text_length(change->collected)};

	refuse_where_impossible();
	if (change->key != 0)
		keys_note_stored(change->key);
	if (queue.context == NULL)
		queue_begin();
	queue_mark();
	stored.relation = queue_relation(change->relation);
	stored_set_ids(&stored, change);
	queue_reserve(sizeof(stored) + stored.column + stored.row_key + stored.detail +
				  stored.collected);
	queue_put(&stored, sizeof(stored));
	queue_put(change->column, stored.column);
	queue_put(change->row_key, stored.row_key);
	queue_put(change->detail, stored.detail);
	queue_put(change->collected, stored.collected);
	queue.changes++;
}

/* ---- the ends of subtransactions; nothing here can fail */

static void
queue_cut_back(const QueueMark *mark)
{
	for (int i = mark->relations; i < queue.relation_count; i++)
		hash_search(queue.index, &queue.relations[i].oid, HASH_REMOVE, NULL);
	queue.relation_count = mark->relations;
	queue.changes = mark->changes;
	if (mark->end >= queue.in_file)
		queue.used = (Size) (mark->end - queue.in_file);
	else
	{
		queue.in_file = mark->end;
		queue.used = 0;
	}
}

/* What a subtransaction queued is its parent's, which may have its own mark before it. */
static void
queue_hand_over(SubTransactionId parent)
{
	QueueMark *last = &queue.marks[queue.mark_count - 1];

	if (parent == TopSubTransactionId ||
		(queue.mark_count > 1 && queue.marks[queue.mark_count - 2].subtransaction == parent))
		queue.mark_count--;
	else
		last->subtransaction = parent;
}

static void
queue_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							void *arg)
{
	if (queue.mark_count == 0 || queue.marks[queue.mark_count - 1].subtransaction != mine)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		queue_cut_back(&queue.marks[--queue.mark_count]);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		queue_hand_over(parent);
}

/* ---- from the queue to the ledger */

/* Reads the stream from its beginning on. */
typedef struct QueueReader
{
	uint64 at;
} QueueReader;

static void
reader_read(QueueReader *reader, void *out, Size length)
{
	if (reader->at >= queue.in_file)
		memcpy(out, queue.memory + (reader->at - queue.in_file), length);
	else if (BufFileRead(queue.file, out, length) != length)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read the temporary file of changed images")));
	reader->at += length;
}

static EntryText
reader_read_text(QueueReader *reader, uint32 length)
{
	char *bytes = palloc(length + 1);

	if (length > 0)
		reader_read(reader, bytes, length);
	return (EntryText){.bytes = length == 0 ? NULL : bytes, .length = length};
}

static EntryText
text_of(const char *string)
{
	return (EntryText){.bytes = string, .length = strlen(string)};
}

static uint8 *
copy_bytes(const uint8 *bytes, Size length, bool present)
{
	return present ? memcpy(palloc(length), bytes, length) : NULL;
}

/*
 * Reads the next change into an entry, whose texts are in the current memory
 * context. listed: how many relations the statement's entry names.
 */
static void
reader_next(QueueReader *reader, int listed, EntryFields *entry)
{
	StoredChange stored;

	reader_read(reader, &stored, sizeof(stored));
	memset(entry, 0, sizeof(*entry));
	entry->event = stored.event;
	entry->operation = stored.operation;
	entry->kind = stored.kind;
	entry->image_id = copy_bytes(stored.image_id, ENTRY_IMAGE_ID_SIZE, stored.has_image_id);
	entry->old_image_id =
		copy_bytes(stored.old_image_id, ENTRY_IMAGE_ID_SIZE, stored.has_old_image_id);
	entry->digest = copy_bytes(stored.digest, ENTRY_DIGEST_SIZE, stored.has_digest);
	entry->picture_hash = copy_bytes(stored.picture_hash, ENTRY_HASH_SIZE, stored.has_picture_hash);
	entry->key = stored.key;
	entry->relation_oid = queue.relations[stored.relation].oid;
	if (stored.relation < listed)
		entry->relation_index = (uint32_t) stored.relation + 1;
	else
		entry->relation = text_of(queue.relations[stored.relation].name);
	entry->column = reader_read_text(reader, stored.column);
	entry->row_key = reader_read_text(reader, stored.row_key);
	entry->detail = reader_read_text(reader, stored.detail);
	entry->collected = reader_read_text(reader, stored.collected);
	entry->transaction = U64FromFullTransactionId(GetTopFullTransactionId());
}

static Size
entry_texts(const EntryFields *entry)
{
	return entry->relation.length + entry->column.length + entry->row_key.length +
		   entry->detail.length + entry->collected.length;
}

/* Joins the relations' names, one a line, as far as they fit; returns how many did. */
static int
statement_names(StringInfo names)
{
	int count;

	initStringInfo(names);
	for (count = 0; count < queue.relation_count; count++)
	{
		const char *name = queue.relations[count].name;

		if (names->len + strlen(name) + 1 > STATEMENT_NAMES)
			break;
		if (count > 0)
			appendStringInfoChar(names, '\n');
		appendStringInfoString(names, name);
	}
	return count;
}

/* Who the client is, so that the changes have a party like disclosures. */
static void
statement_describe(LedgerStatement *statement)
{
	DecideRequest request = {.kind = IMAGE_KIND_FACE, .purpose = policy_purpose()};
	Decision decision = policy_decide(&request);

	statement->party = decision.party;
	statement->network = decision.network;
	statement->purpose = request.purpose;
}

/* Appends all changes, a chunk at a time; returns the last chunk's ticket. */
static LedgerTicket
queue_append(LedgerStatement *statement, int listed, bool created_here)
{
	MemoryContext chunk =
		AllocSetContextCreate(queue.context, "biometric ledger chunk", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(chunk);
	EntryFields *entries = MemoryContextAlloc(queue.context, CHUNK_ENTRIES * sizeof(EntryFields));
	LedgerTicket ticket = {0};
	QueueReader reader = {0};
	uint64 left = queue.changes;

	while (left > 0)
	{
		Size bytes = 0;
		int count = 0;

		while (count < CHUNK_ENTRIES && bytes < CHUNK_BYTES && left > 0)
		{
			reader_next(&reader, listed, &entries[count]);
			bytes += entry_texts(&entries[count++]);
			left--;
		}
		if (created_here)
			ledger_append_created(statement, entries, count);
		else
			ledger_append(statement, entries, count, &ticket);
		MemoryContextReset(chunk);
	}
	MemoryContextSwitchTo(old);
	return ticket;
}

/*
 * Writes the queue to the ledger, and waits until the commit of its entries
 * is ahead of ours in the WAL.
 */
static void
queue_flush(const char *command)
{
	LedgerStatement statement = {.command = command};
	StringInfoData names;
	LedgerTicket ticket;
	bool created_here;
	int listed;

	/* the extension was dropped after the changes, and the ledger with it */
	if (queue.changes == 0 || !OidIsValid(extension_oid()))
		return;
	ledger_require_open();
	keys_check_stored();
	created_here = extension_created_here();
	if (!created_here)
		statement_describe(&statement);
	listed = statement_names(&names);
	statement.relations = names.data;
	if (queue.in_file > 0 && BufFileSeek(queue.file, 0, 0, SEEK_SET) != 0)
		queue_file_failed();
	ticket = queue_append(&statement, listed, created_here);
	if (created_here)
		ledger_created_finish();
	else
		ledger_wait_ordered(&ticket);
}

static void
queue_close(void)
{
	if (queue.file != NULL)
		BufFileClose(queue.file);
	queue.file = NULL;
}

/* What is queued from here on would be lost, so it is refused, also if nothing was so far. */
static void
queue_before_end(const char *command)
{
	MemoryContext old;

	queue.appended = true;
	if (queue.context == NULL)
		return;
	old = MemoryContextSwitchTo(queue.context);
	queue_flush(command);
	queue_close();
	MemoryContextSwitchTo(old);
}

static void
queue_end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			queue_before_end("COMMIT");
			break;
		case XACT_EVENT_PRE_PREPARE:
			queue_before_end("PREPARE TRANSACTION");
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			/* the context and the file go with the transaction */
			memset(&queue, 0, sizeof(queue));
			break;
		default:
			break;
	}
}

void
queue_init(void)
{
	RegisterXactCallback(queue_end_of_transaction, NULL);
	RegisterSubXactCallback(queue_end_of_subtransaction, NULL);
}
