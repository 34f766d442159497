/*
 * rows.c - entries as SQL sees them: decode_entry() and the views' rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "ledger/encoding.h"
#include "ledger/follow.h"
#include "ledger/image_index.h"
#include "ledger/store.h"

#define UNIX_EPOCH_OFFSET                                                                          \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC)

#define DECODED_COLUMNS 34
#define ROW_COLUMNS 22

/* So many changes of one image are looked at for the key of its row. */
#define CHANGES_LOOKED_AT 100

PGDLLEXPORT Datum ledger_decode_entry(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_row(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_entry_row_key(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_recorded_text(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(ledger_decode_entry);
PG_FUNCTION_INFO_V1(ledger_row);
PG_FUNCTION_INFO_V1(ledger_entry_row_key);
PG_FUNCTION_INFO_V1(ledger_recorded_text);

/* A result row that is being filled from left to right. */
typedef struct RowBuilder
{
	Datum *values;
	bool *nulls;
	int count;
} RowBuilder;

/* An entry that others refer to, kept between rows. */
typedef struct KeptEntry
{
	int64 sequence;		/* -1: none */
	bytea *bytes;		/* in the function's memory context */
	EntryFields fields; /* points into bytes */
} KeptEntry;

/* What the function behind the views keeps from row to row. */
typedef struct RowCache
{
	TupleDesc desc;
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	KeptEntry session;
	KeptEntry statement;
} RowCache;

static void
add_value(RowBuilder *row, bool present, Datum value)
{
	row->values[row->count] = value;
	row->nulls[row->count] = !present;
	row->count++;
}

static void
add_text(RowBuilder *row, EntryText text)
{
	text = encoding_to_server(text, false);
	add_value(row, text.bytes != NULL,
			  text.bytes == NULL
				  ? (Datum) 0
				  : PointerGetDatum(cstring_to_text_with_len(text.bytes, (int) text.length)));
}

static void
add_name(RowBuilder *row, const char *name)
{
	add_value(row, name != NULL, name == NULL ? (Datum) 0 : CStringGetTextDatum(name));
}

static void
add_image_id(RowBuilder *row, const uint8 *image_id)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

	if (image_id != NULL)
		memcpy(uuid->data, image_id, UUID_LEN);
	add_value(row, image_id != NULL, UUIDPGetDatum(uuid));
}

static Datum
time_datum(int64 unix_time)
{
	return TimestampTzGetDatum(unix_time - UNIX_EPOCH_OFFSET);
}

/* The lines of a text as an array of texts. */
static Datum
lines_datum(EntryText text)
{
	ArrayBuildState *lines = NULL;
	const char *end;

	text = encoding_to_server(text, false);
	end = text.bytes + text.length;
	for (const char *at = text.bytes; at <= end;)
	{
		const char *stop = memchr(at, '\n', end - at);

		if (stop == NULL)
			stop = end;
		lines = accumArrayResult(lines, PointerGetDatum(cstring_to_text_with_len(at, stop - at)),
								 false, TEXTOID, CurrentMemoryContext);
		at = stop + 1;
	}
	return makeArrayResult(lines, CurrentMemoryContext);
}

static Datum
jsonb_datum(EntryText text)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(encoding_string(text, true)));
}

static void
add_json(RowBuilder *row, EntryText text)
{
	add_value(row, text.bytes != NULL, text.bytes == NULL ? (Datum) 0 : jsonb_datum(text));
}

static void
add_bytes(RowBuilder *row, const uint8 *bytes, Size length)
{
	bytea *value = palloc(VARHDRSZ + length);

	SET_VARSIZE(value, VARHDRSZ + length);
	if (bytes != NULL)
		memcpy(VARDATA(value), bytes, length);
	add_value(row, bytes != NULL, PointerGetDatum(value));
}

/* Operation, old image and column of a change. */
static void
add_change(RowBuilder *row, const EntryFields *fields)
{
	add_name(row, fields->operation == OPERATION_NONE ? NULL : operation_name(fields->operation));
	add_image_id(row, fields->old_image_id);
	add_text(row, fields->column);
}

static void
add_transaction(RowBuilder *row, const EntryFields *fields)
{
	add_value(row, fields->transaction != 0,
			  FullTransactionIdGetDatum(FullTransactionIdFromU64(fields->transaction)));
	add_value(row, fields->relation_oid != 0, ObjectIdGetDatum((Oid) fields->relation_oid));
}

Datum
ledger_decode_entry(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	Datum values[DECODED_COLUMNS];
	bool nulls[DECODED_COLUMNS];
	RowBuilder row = {values, nulls, 0};
	EntryFields fields;
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (entry_decode((const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &fields) !=
		CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("these bytes are no ledger entry")));
	add_name(&row, entry_event_name(fields.event));
	add_value(&row, true, time_datum(fields.at));
	add_value(&row, fields.reference != ENTRY_NO_REFERENCE, Int64GetDatum(fields.reference));
	add_image_id(&row, fields.image_id);
	add_name(&row, fields.kind == IMAGE_KIND_NONE ? NULL : image_kind_name(fields.kind));
	add_value(&row, fields.relation_index != 0, Int32GetDatum((int32) fields.relation_index));
	add_value(&row, fields.permit != 0, Int64GetDatum((int64) fields.permit));
	add_name(&row, fields.reason == REASON_NONE ? NULL : reason_name(fields.reason));
	add_text(&row, fields.party);
	add_text(&row, fields.network);
	add_text(&row, fields.client_addr);
	add_text(&row, fields.session_user_name);
	add_text(&row, fields.current_user_name);
	add_text(&row, fields.application);
	add_text(&row, fields.purpose);
	add_text(&row, fields.command);
	add_value(&row, fields.query_id != 0, Int64GetDatum((int64) fields.query_id));
	add_value(&row, fields.relations.bytes != NULL,
			  fields.relations.bytes == NULL ? (Datum) 0 : lines_datum(fields.relations));
	add_json(&row, fields.detail);
	add_value(&row, fields.process != 0, Int32GetDatum((int32) fields.process));
	add_text(&row, fields.database);
	add_value(&row, fields.tls != 0, BoolGetDatum(fields.tls == 1));
	add_text(&row, fields.relation);
	add_change(&row, &fields);
	add_json(&row, fields.row_key);
	add_transaction(&row, &fields);
	add_json(&row, fields.collected);
	add_bytes(&row, fields.digest, ENTRY_DIGEST_SIZE);
	add_value(&row, fields.key != 0, Int64GetDatum((int64) fields.key));
	add_bytes(&row, fields.picture_hash, ENTRY_HASH_SIZE);
	add_value(&row, fields.marked != 0, BoolGetDatum(fields.marked == 1));
	Assert(row.count == DECODED_COLUMNS);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* Reads an entry that others refer to, unless it is the one that is kept. */
static const EntryFields *
kept_entry(FunctionCallInfo fcinfo, KeptEntry *kept, const uint8 *log_id, int64 sequence)
{
	MemoryContext old;
	LedgerReader reader;

	if (kept->bytes != NULL && kept->sequence == sequence)
		return &kept->fields;
	if (kept->bytes != NULL)
		pfree(kept->bytes);
	kept->bytes = NULL;
	if (sequence < 0 || !store_reader_open(&reader, log_id, GetActiveSnapshot()))
		return NULL;
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	kept->bytes = store_entry(&reader, sequence);
	MemoryContextSwitchTo(old);
	store_reader_close(&reader);
	kept->sequence = sequence;
	if (kept->bytes != NULL &&
		entry_decode((const uint8_t *) VARDATA(kept->bytes), VARSIZE(kept->bytes) - VARHDRSZ,
					 &kept->fields) != CORE_OK)
	{
		pfree(kept->bytes);
		kept->bytes = NULL;
	}
	return kept->bytes == NULL ? NULL : &kept->fields;
}

static RowCache *
row_cache(FunctionCallInfo fcinfo, const uint8 *log_id)
{
	RowCache *cache = fcinfo->flinfo->fn_extra;

	if (cache == NULL)
	{
		TupleDesc desc;
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		cache = palloc0(sizeof(RowCache));
		cache->desc = BlessTupleDesc(CreateTupleDescCopy(desc));
		MemoryContextSwitchTo(old);
		fcinfo->flinfo->fn_extra = cache;
	}
	if (memcmp(cache->log_id, log_id, LEDGER_LOG_ID_SIZE) != 0)
	{
		memcpy(cache->log_id, log_id, LEDGER_LOG_ID_SIZE);
		cache->session.sequence = cache->statement.sequence = -1;
	}
	return cache;
}

static void
json_key(JsonbParseState **state, const char *key)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = (char *) key;
	value.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

static void
json_text(JsonbParseState **state, const char *key, EntryText text)
{
	JsonbValue value;

	if (text.bytes == NULL)
		return;
	text = encoding_to_server(text, false);
	json_key(state, key);
	value.type = jbvString;
	value.val.string.val = (char *) text.bytes;
	value.val.string.len = (int) text.length;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
json_name(JsonbParseState **state, const char *key, const char *name)
{
	EntryText text = {name, name == NULL ? 0 : strlen(name)};

	json_text(state, key, text);
}

static void
json_number(JsonbParseState **state, const char *key, int64 number)
{
	JsonbValue value;

	if (number == 0)
		return;
	json_key(state, key);
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
json_flag(JsonbParseState **state, const char *key, bool set)
{
	JsonbValue value = {.type = jbvBool, .val.boolean = true};

	if (!set)
		return;
	json_key(state, key);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
json_image_id(JsonbParseState **state, const char *key, const uint8 *image_id)
{
	pg_uuid_t uuid;

	if (image_id == NULL)
		return;
	memcpy(uuid.data, image_id, UUID_LEN);
	json_name(state, key, DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&uuid))));
}

static void
json_lines(JsonbParseState **state, const char *key, EntryText text)
{
	const char *end;

	if (text.bytes == NULL)
		return;
	text = encoding_to_server(text, false);
	end = text.bytes + text.length;
	json_key(state, key);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (const char *at = text.bytes; at <= end;)
	{
		const char *stop = memchr(at, '\n', end - at);
		JsonbValue value;

		if (stop == NULL)
			stop = end;
		value.type = jbvString;
		value.val.string.val = (char *) at;
		value.val.string.len = (int) (stop - at);
		pushJsonbValue(state, WJB_ELEM, &value);
		at = stop + 1;
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* The members of an entry's own detail, one by one. */
static void
json_members(JsonbParseState **state, EntryText text)
{
	Jsonb *object;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;

	if (text.bytes == NULL)
		return;
	object = DatumGetJsonbP(jsonb_datum(text));
	if (!JB_ROOT_IS_OBJECT(object))
	{
		json_key(state, "detail");
		JsonbToJsonbValue(object, &value);
		pushJsonbValue(state, WJB_VALUE, &value);
		return;
	}
	iterator = JsonbIteratorInit(&object->root);
	token = JsonbIteratorNext(&iterator, &value, true);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_END_OBJECT)
		pushJsonbValue(state, token, &value);
}

/* Whatever an entry says that has no column of its own. */
static Datum
detail_datum(const EntryFields *own, const EntryFields *statement, const EntryFields *session)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_number(&state, "permit", (int64) own->permit);
	json_name(&state, "reason", own->reason == REASON_NONE ? NULL : reason_name(own->reason));
	if (session != NULL)
		json_text(&state, "network", session->network);
	if (statement != NULL)
	{
		json_text(&state, "command", statement->command);
		json_text(&state, "current_user", statement->current_user_name);
	}
	json_number(&state, "query_id", (int64) own->query_id);
	json_lines(&state, "relations", own->relations);
	json_name(&state, "operation",
			  own->operation == OPERATION_NONE ? NULL : operation_name(own->operation));
	json_text(&state, "column", own->column);
	json_image_id(&state, "old_image_id", own->old_image_id);
	json_number(&state, "transaction", (int64) own->transaction);
	json_number(&state, "relation_oid", (int64) own->relation_oid);
	json_number(&state, "process", (int64) own->process);
	json_text(&state, "database", own->database);
	json_flag(&state, "tls", own->tls == 1);
	json_flag(&state, "marked", own->marked == 1);
	json_members(&state, own->detail);
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(result));
}

/* The relation that an entry names itself or by its place in the statement's list. */
static EntryText
relation_of(const EntryFields *own, const EntryFields *statement)
{
	EntryText none = {NULL, 0};
	EntryText line;
	const char *end;

	if (own->relation.bytes != NULL || own->relation_index == 0 || statement == NULL ||
		statement->relations.bytes == NULL)
		return own->relation;
	line.bytes = statement->relations.bytes;
	end = line.bytes + statement->relations.length;
	for (uint32 index = 1;; index++)
	{
		const char *stop = memchr(line.bytes, '\n', end - line.bytes);

		line.length = (stop == NULL ? end : stop) - line.bytes;
		if (index == own->relation_index)
			return line;
		if (stop == NULL)
			return none;
		line.bytes = stop + 1;
	}
}

/* Either's text: an entry's own, else that of one it refers to. */
static EntryText
either(EntryText own, const EntryText *other)
{
	return own.bytes != NULL || other == NULL ? own : *other;
}

static void
fill_row(RowBuilder *row, const EntryFields *own, int64 statement_sequence,
		 const EntryFields *statement, const EntryFields *session)
{
	add_value(row, true, time_datum(own->at));
	add_name(row, entry_event_name(own->event));
	add_value(row, statement_sequence >= 0, Int64GetDatum(statement_sequence));
	add_text(row, either(own->party, session ? &session->party : NULL));
	add_text(row, either(own->client_addr, session ? &session->client_addr : NULL));
	add_text(row, either(own->session_user_name, session ? &session->session_user_name : NULL));
	add_text(row, either(own->application, session ? &session->application : NULL));
	add_text(row, either(own->purpose, statement ? &statement->purpose : NULL));
	add_name(row, own->kind == IMAGE_KIND_NONE ? NULL : image_kind_name(own->kind));
	add_image_id(row, own->image_id);
	add_text(row, relation_of(own, statement));
	add_value(row, true, detail_datum(own, statement, session));
	add_value(row, own->permit != 0, Int64GetDatum((int64) own->permit));
	add_name(row, own->reason == REASON_NONE ? NULL : reason_name(own->reason));
	add_text(row, either(own->network, session ? &session->network : NULL));
	add_text(row, either(own->command, statement ? &statement->command : NULL));
	add_change(row, own);
	add_transaction(row, own);
	add_json(row, own->collected);
	Assert(row->count == ROW_COLUMNS);
}

Datum
ledger_row(PG_FUNCTION_ARGS)
{
	const uint8 *log_id = PG_GETARG_UUID_P(0)->data;
	int64 sequence = PG_GETARG_INT64(1);
	bytea *bytes = PG_GETARG_BYTEA_PP(2);
	RowCache *cache = row_cache(fcinfo, log_id);
	Datum values[ROW_COLUMNS] = {0};
	bool nulls[ROW_COLUMNS];
	RowBuilder row = {values, nulls, 0};
	EntryFields own;
	const EntryFields *statement = NULL;
	const EntryFields *session = NULL;
	int64 statement_sequence = -1;

	memset(nulls, true, sizeof(nulls));
	if (entry_decode((const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &own) !=
		CORE_OK)
	{
		values[1] = CStringGetTextDatum("unreadable");
		nulls[1] = false;
		PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(cache->desc, values, nulls)));
	}
	if (own.event == ENTRY_SESSION)
		session = &own;
	else if (own.event == ENTRY_STATEMENT)
	{
		statement = &own;
		statement_sequence = sequence;
	}
	else
	{
		statement = kept_entry(fcinfo, &cache->statement, log_id, own.reference);
		if (statement != NULL && statement->event != ENTRY_STATEMENT)
		{
			session = statement->event == ENTRY_SESSION ? statement : NULL;
			statement = NULL;
		}
		else if (statement != NULL)
			statement_sequence = own.reference;
	}
	if (session == NULL && statement != NULL)
	{
		session = kept_entry(fcinfo, &cache->session, log_id, statement->reference);
		if (session != NULL && session->event != ENTRY_SESSION)
			session = NULL;
	}
	fill_row(&row, &own, statement_sequence, statement, session);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(cache->desc, values, nulls)));
}

/* What an entry says, copied into the present memory context; false when it cannot be read. */
static bool
read_entry(LedgerReader *reader, int64 sequence, EntryFields *fields)
{
	bytea *bytes = sequence < 0 ? NULL : store_entry(reader, sequence);

	return bytes != NULL && entry_decode((const uint8_t *) VARDATA(bytes),
										 VARSIZE(bytes) - VARHDRSZ, fields) == CORE_OK;
}

/* The relation that an entry is about, looked up in its statement if need be. */
static EntryText
read_relation(LedgerReader *reader, const EntryFields *fields)
{
	EntryFields statement;
	bool there = read_entry(reader, fields->reference, &statement);

	return relation_of(fields, there && statement.event == ENTRY_STATEMENT ? &statement : NULL);
}

static bool
same_text(EntryText a, EntryText b)
{
	return a.bytes != NULL && b.bytes != NULL && a.length == b.length &&
		   memcmp(a.bytes, b.bytes, a.length) == 0;
}

/* Whether an entry put an image into a row, as far as is known for good. */
static bool
stores_image(const EntryFields *fields, const uint8 *image_id)
{
	return (fields->event == ENTRY_STORED || fields->event == ENTRY_REPLACED) &&
		   fields->image_id != NULL &&
		   memcmp(fields->image_id, image_id, ENTRY_IMAGE_ID_SIZE) == 0 &&
		   (fields->transaction == 0 || follow_outcome(fields->transaction) != OUTCOME_ABORTED);
}

/*
 * The key of the row that an image was released from. The relation that was
 * read may be another than the one that stores the row, a partition of it: so
 * if none of the entries names it, the latest counts.
 */
static EntryText
find_row_key(LedgerReader *reader, const EntryFields *released, int64 sequence)
{
	EntryText relation = read_relation(reader, released);
	EntryText latest = {NULL, 0};
	EntryText resealed = {NULL, 0};
	bool found = false;
	ImageIndexScan scan;
	int64 candidate;

	if (!image_index_begin(&scan, reader, released->image_id, sequence))
		return latest;
	for (int i = 0; i < CHANGES_LOOKED_AT && (candidate = image_index_next(&scan)) >= 0; i++)
	{
		EntryFields change;

		if (candidate >= sequence || !read_entry(reader, candidate, &change) ||
			!stores_image(&change, released->image_id))
			continue;
		/* counts only where what stored the image is not at hand any more */
		if (change.operation == OPERATION_RESEAL)
		{
			if (resealed.bytes == NULL)
				resealed = change.row_key;
			continue;
		}
		if (!found)
			latest = change.row_key;
		found = true;
		if (relation.bytes == NULL)
			break;
		if (same_text(relation, read_relation(reader, &change)))
		{
			latest = change.row_key;
			break;
		}
	}
	image_index_end(&scan);
	return found ? latest : resealed;
}

Datum
ledger_entry_row_key(PG_FUNCTION_ARGS)
{
	const uint8 *log_id = PG_GETARG_UUID_P(0)->data;
	int64 sequence = PG_GETARG_INT64(1);
	bytea *bytes = PG_GETARG_BYTEA_PP(2);
	EntryText key = {NULL, 0};
	LedgerReader reader;
	EntryFields own;

	if (entry_decode((const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &own) !=
		CORE_OK)
		PG_RETURN_NULL();
	if (own.row_key.bytes != NULL)
		key = own.row_key;
	else if ((own.event == ENTRY_DISCLOSED || own.event == ENTRY_OBSERVED) &&
			 own.image_id != NULL && store_reader_open(&reader, log_id, GetActiveSnapshot()))
	{
		key = find_row_key(&reader, &own, sequence);
		store_reader_close(&reader);
	}
	if (key.bytes == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(jsonb_datum(key));
}

Datum
ledger_recorded_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(CStringGetTextDatum(encoding_recorded(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}
