/*
 * stored.c - what the views say of stored checkpoints and cosignatures. A row
 * may be anybody's, brought by a dump: one that is malformed must not keep the
 * others from being read, so nothing here raises an error for it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "core/checkpoint.h"

PGDLLEXPORT Datum audit_note_text(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_checkpoint_head(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(audit_note_text);
PG_FUNCTION_INFO_V1(audit_checkpoint_head);

/* UTF-8 as a text in the database's encoding; NULL when it is none, or cannot be. */
static text *
text_or_null(const char *bytes, int length)
{
	int encoding = GetDatabaseEncoding();
	Oid conversion;
	char *converted;

	if (length > NOTE_MAX_SIZE || !pg_verify_mbstr(PG_UTF8, bytes, length, true))
		return NULL;
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return cstring_to_text_with_len(bytes, length);
	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(conversion))
		return NULL;
	converted = palloc((Size) length * MAX_CONVERSION_GROWTH + 1);
	if (pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding, (unsigned char *) bytes,
									  length, (unsigned char *) converted,
									  length * MAX_CONVERSION_GROWTH + 1, true) != length)
		return NULL;
	return cstring_to_text(converted);
}

Datum
audit_note_text(PG_FUNCTION_ARGS)
{
	bytea *note = PG_GETARG_BYTEA_PP(0);
	text *result = text_or_null(VARDATA_ANY(note), (int) VARSIZE_ANY_EXHDR(note));

	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}

Datum
audit_checkpoint_head(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	Note *note = palloc(sizeof(Note));
	Checkpoint head;
	Datum values[2] = {0};
	bool nulls[2] = {true, true};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 2)
		elog(ERROR, "unexpected result type");
	if (note_parse(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), note) == CORE_OK &&
		checkpoint_parse(note->text, note->text_length, &head) == CORE_OK)
	{
		text *origin = text_or_null(head.origin, (int) strlen(head.origin));
		bytea *root = palloc(VARHDRSZ + MERKLE_HASH_SIZE);

		SET_VARSIZE(root, VARHDRSZ + MERKLE_HASH_SIZE);
		memcpy(VARDATA(root), head.root.bytes, MERKLE_HASH_SIZE);
		nulls[0] = origin == NULL;
		values[0] = PointerGetDatum(origin);
		nulls[1] = false;
		values[1] = PointerGetDatum(root);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
