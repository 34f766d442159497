/*
 * hold_query.c - finds images by a predicate over their rows.
 *
 * The query returns where rows are, not what is in them: the image's header is read here, so
 * that no permit is needed to hold what one may not see.
 */
#include "base/compat.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "image/bind.h"
#include "image/image.h"
#include "retention/hold_find.h"

/* So many rows are taken from the query at a time. */
#define ROWS_AT_A_TIME 1000

/* The table that the last row was of. */
typedef struct HoldTable
{
	Relation relation; /* NULL: none yet, or rows of it cannot be held */
	Oid oid;
	AttrNumber attribute;
	ImageKind kind;
	TupleTableSlot *slot;
} HoldTable;

/* ---- what may be asked for ---- */

pg_noreturn static void
refuse_relation(Oid relation, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("images of \"%s\" cannot be held: it is %s", get_rel_name(relation), problem),
			 errhint("Name the permanent table or materialized view that stores them.")));
}

static void
check_relation(Oid relation)
{
	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_MATVIEW:
			break;
		default:
			refuse_relation(relation, "no table");
	}
	if (get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		refuse_relation(relation, "a temporary table");
}

void
hold_find_check(Oid relation, const char *column)
{
	char *name = get_rel_name(relation);
	AttrNumber attribute;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation %u does not exist", relation)));
	check_relation(relation);
	attribute = get_attnum(relation, column);
	if (attribute == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", column, name)));
	if (attribute < 0 || image_type_kind(get_atttype(relation, attribute)) == IMAGE_KIND_NONE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("column \"%s\" of relation \"%s\" holds no images", column, name),
						errhint("Name a column of an image type.")));
	if (pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for relation \"%s\"", name),
				 errdetail("A predicate tells what is in the rows: whoever holds or releases "
						   "by it must be able to read them."),
				 errhint("Have SELECT on it granted, or name the images by their ids.")));
}

/* Before biometric.held is locked: who truncates has the table first, too. */
void
hold_find_lock(Oid relation)
{
	LockRelationOid(relation, AccessShareLock);
	if (get_rel_name(relation) != NULL)
		(void) find_all_inheritors(relation, AccessShareLock, NULL);
}

/* ---- the query ---- */

/* Errors of the parser name positions in the query, not in what the client sent. */
static void
query_parse_error(void *sql)
{
	int position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(sql);
}

pg_noreturn static void
refuse_predicate(const char *predicate)
{
	ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the predicate is not an expression"),
					errdetail("It would be more than the condition of a query: %s", predicate),
					errhint("Give a condition over the row, as behind WHERE.")));
}

static bool
is_plain_filter(const RawStmt *raw)
{
	const SelectStmt *select = (const SelectStmt *) raw->stmt;

	return IsA(select, SelectStmt) && select->op == SETOP_NONE && select->whereClause != NULL &&
		   list_length(select->targetList) == 2 && list_length(select->fromClause) == 1 &&
		   IsA(linitial(select->fromClause), RangeVar) && select->distinctClause == NIL &&
		   select->intoClause == NULL && select->groupClause == NIL &&
		   select->havingClause == NULL && select->windowClause == NIL &&
		   select->valuesLists == NIL && select->sortClause == NIL && select->limitOffset == NULL &&
		   select->limitCount == NULL && select->lockingClause == NIL && select->withClause == NULL;
}

/*
 * A predicate may close the bracket that it stands in. Whatever it is, the query that comes of it
 * is looked at as the parser sees it, and is a filter over one table or refused.
 */
static void
check_query(const char *sql, const char *predicate)
{
	ErrorContextCallback callback = {.callback = query_parse_error, .arg = (void *) sql};
	List *statements;

	callback.previous = error_context_stack;
	error_context_stack = &callback;
	statements = raw_parser(sql, RAW_PARSE_DEFAULT);
	error_context_stack = callback.previous;
	if (list_length(statements) != 1 || !is_plain_filter(linitial_node(RawStmt, statements)))
		refuse_predicate(predicate);
}

static char *
make_query(Oid relation, const char *predicate)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT tableoid, ctid FROM %s",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
												get_rel_name(relation)));
	if (predicate == NULL || predicate[strspn(predicate, " \t\r\n\f")] == '\0')
		return sql.data;
	/* a comment at its end must not reach the bracket */
	appendStringInfo(&sql, " WHERE (%s\n)", predicate);
	check_query(sql.data, predicate);
	return sql.data;
}

/* ---- its rows ---- */

static void
leave_table(HoldTable *table)
{
	if (table->relation == NULL)
		return;
	ExecDropSingleTupleTableSlot(table->slot);
	table_close(table->relation, NoLock);
	table->relation = NULL;
}

/* The query has locked all its tables. */
static void
enter_table(HoldTable *table, Oid oid, const char *column, HoldImages *images)
{
	char relkind = get_rel_relkind(oid);

	leave_table(table);
	table->oid = oid;
	if ((relkind != RELKIND_RELATION && relkind != RELKIND_MATVIEW) ||
		get_rel_persistence(oid) == RELPERSISTENCE_TEMP)
		return;
	table->relation = table_open(oid, NoLock);
	table->slot = table_slot_create(table->relation, NULL);
	table->attribute = get_attnum(oid, column);
	table->kind = image_type_kind(get_atttype(oid, table->attribute));
	images->unlogged |= table->relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED;
	if (table->attribute <= 0 || table->kind == IMAGE_KIND_NONE)
		elog(ERROR, "relation %u has no images in column \"%s\"", oid, column);
}

static void
add_row(HoldTable *table, ItemPointer tid, HoldImages *images)
{
	EnvelopeHeader header;
	HoldImage image;
	bool isnull;
	Datum value;

	if (!table_tuple_fetch_row_version(table->relation, tid, GetActiveSnapshot(), table->slot))
		elog(ERROR, "a row that a query found in relation %u is not there", table->oid);
	value = slot_getattr(table->slot, table->attribute, &isnull);
	if (!isnull)
	{
		image_read_header(table->kind, value, &header);
		memcpy(image.image_id, header.image_id, ENVELOPE_ID_SIZE);
		image.key_id = header.key_id;
		(void) hash_search(images->table, &image, HASH_ENTER, NULL);
	}
	ExecClearTuple(table->slot);
}

static void
take_rows(Portal cursor, const char *column, HoldImages *images)
{
	HoldTable table = {0};

	for (;;)
	{
		bool isnull;

		SPI_cursor_fetch(cursor, true, ROWS_AT_A_TIME);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple row = SPI_tuptable->vals[i];
			Oid oid = DatumGetObjectId(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));

			CHECK_FOR_INTERRUPTS();
			if (oid != table.oid)
				enter_table(&table, oid, column, images);
			if (table.relation == NULL)
				images->elsewhere++;
			else
				add_row(&table,
						(ItemPointer) DatumGetPointer(
							SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull)),
						images);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	leave_table(&table);
}

/* Rows that row-level security hides would be missed: with this setting it raises instead. */
static int
pin_row_security(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	return level;
}

static void
run_query(const char *sql, const char *column, HoldImages *images)
{
	SPIPlanPtr plan;
	Portal cursor;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* what is committed by now; the isolation level is READ COMMITTED (change_begin_policy) */
	PushActiveSnapshot(GetTransactionSnapshot());
	plan = SPI_prepare(sql, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "the query of a hold cannot be prepared: %s",
			 SPI_result_code_string(SPI_result));
	cursor = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	take_rows(cursor, column, images);
	SPI_cursor_close(cursor);
	PopActiveSnapshot();
	SPI_finish();
}

void
hold_find_rows(Oid relation, const char *column, const char *predicate, HoldImages *images)
{
	char *sql = make_query(relation, predicate);
	bool read_only = XactReadOnly;
	int level = pin_row_security();

	/* functions of the predicate may run statements of their own */
	XactReadOnly = true;
	PG_TRY();
	{
		run_query(sql, column, images);
	}
	PG_FINALLY();
	{
		XactReadOnly = read_only;
	}
	PG_END_TRY();
	AtEOXact_GUC(false, level);
}
