/*
 * describe.c - describe_collection(): what is to be put on record of the rows
 * of a table, and, at once, of those that are there.
 */
#include "base/compat.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/internal.h"
#include "base/roles.h"
#include "home/relations.h"
#include "image/image.h"
#include "report/collection.h"
#include "report/limit.h"
#include "trigger/attach.h"

PG_FUNCTION_INFO_V1(biometric_describe_collection);

/* For the table's owner and custodians; whether it exists is asked first. */
static void
check_caller(Oid relation)
{
	char *name = get_rel_name(relation);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("there is no relation with OID %u", relation),
						errhint("Name a table with images.")));
	if (role_is_custodian(GetUserId()) || relation_owner_check(relation, GetUserId()))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("role \"%s\" may not describe table \"%s\"", GetUserNameFromId(GetUserId(), false),
				name),
		 errdetail("What the columns say goes into the ledger, for auditors to read: the table's "
				   "owner and members of %s decide which.",
				   CUSTODIAN_ROLE),
		 errhint("Ask the table's owner to call biometric.describe_collection().")));
}

/* What is no table is refused before it is locked as one; adopt_tables() refuses the others. */
static void
check_images(Oid relation)
{
	if (relation_images(relation)->columns > 0)
		return;
	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
					errmsg("\"%s\" has no column of an image type", get_rel_name(relation)),
					errdetail("A collection is described by columns beside its images."),
					errhint("Name the table that holds the images.")));
}

pg_noreturn static void
refuse_column(const char *name, const char *problem, const char *rule)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("column \"%s\" cannot describe a collection: %s", name, problem),
					errdetail_internal("%s", rule), errhint("Name another column.")));
}

/* The number of a column that can be put on record; type: set to its type, without domains. */
static AttrNumber
column_number(Oid relation, const char *name, Oid *type)
{
	HeapTuple tuple = SearchSysCacheAttName(relation, name);
	Form_pg_attribute attribute;
	AttrNumber number;
	bool computed;

	if (!HeapTupleIsValid(tuple) || ((Form_pg_attribute) GETSTRUCT(tuple))->attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of table \"%s\" does not exist", name,
							   get_rel_name(relation)),
						errhint("Name columns of the table itself.")));
	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	number = attribute->attnum;
	*type = attribute->atttypid;
	computed =
		attribute->attgenerated != '\0' && attribute->attgenerated != ATTRIBUTE_GENERATED_STORED;
	ReleaseSysCache(tuple);
	if (image_type_kinds(*type) != 0)
		refuse_column(name, "it holds images", "The ledger never takes an image.");
	if (computed)
		refuse_column(name, "it is not stored",
					  "Virtual generated columns have no value in a row.");
	*type = getBaseType(*type);
	return number;
}

/* Takes a name[] argument apart; returns how many columns it names. */
static int
columns_argument(FunctionCallInfo fcinfo, int index, const char *argument, AttrNumber *numbers)
{
	Oid relation = PG_GETARG_OID(0);
	Datum *names;
	bool *nulls;
	int count;

	if (PG_ARGISNULL(index))
		return 0;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(index), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &names, &nulls, &count);
	if (count > COLLECTION_MAX_COLUMNS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" cannot be used: it names more than %d columns",
							   argument, COLLECTION_MAX_COLUMNS),
						errhint("Name the columns that tell one from another.")));
	for (int i = 0; i < count; i++)
	{
		Oid type;

		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("argument \"%s\" cannot be used: it contains NULL", argument),
							errhint("Name columns of the table.")));
		numbers[i] = column_number(relation, NameStr(*DatumGetName(names[i])), &type);
		for (int j = 0; j < i; j++)
			if (numbers[j] == numbers[i])
				refuse_column(NameStr(*DatumGetName(names[i])), "it is named twice",
							  "Each column counts once.");
	}
	return count;
}

static AttrNumber
time_argument(FunctionCallInfo fcinfo, int index)
{
	const char *name;
	AttrNumber number;
	Oid type;

	if (PG_ARGISNULL(index))
		return InvalidAttrNumber;
	name = NameStr(*PG_GETARG_NAME(index));
	number = column_number(PG_GETARG_OID(0), name, &type);
	if (type != DATEOID && type != TIMESTAMPOID && type != TIMESTAMPTZOID)
		refuse_column(name, "it holds no time",
					  "A time column is of type date, timestamp or timestamptz.");
	return number;
}

/*
 * Whoever says anew what tells subjects apart begins to count them anew. With a limit a subject
 * that is for whoever declared it.
 */
static void
check_counted(Oid relation, const Collection *collection)
{
	List *heirs = find_all_inheritors(relation, NoLock, NULL);
	Collection before;
	List *lineage;
	ListCell *cell;

	(void) collection_find(relation, &lineage, &before);
	if (before.subjects == collection->subjects &&
		memcmp(before.subject, collection->subject, before.subjects * sizeof(AttrNumber)) == 0)
		return;
	foreach(cell, heirs)
		if (limit_per_day_of(lfirst_oid(cell)))
			ereport(
				ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the subjects of table \"%s\" are counted", get_rel_name(relation)),
				 errdetail("biometric.collect() declared how many images of a subject may be "
						   "enrolled in a day: other subject columns would begin anew."),
				 errhint("Have a custodian declare it without max_per_subject_per_day first.")));
}

/* Puts the images of all rows on record once more, now with what describes them. */
static void
record_rows(List *tables)
{
	const Sweep sweep = {.describe = true};
	ListCell *cell;

	foreach(cell, tables)
		if (relation_images(lfirst_oid(cell))->columns > 0)
			(void) sweep_rows(lfirst_oid(cell), &sweep);
}

/*
 * biometric_describe_collection(relation regclass, subject_columns name[],
 * place_columns name[], time_column name)
 */
PGDLLEXPORT Datum
biometric_describe_collection(PG_FUNCTION_ARGS)
{
	Collection collection = {0};
	PolicyChange change;
	List *tables;
	bool changed;

	PreventCommandIfReadOnly("biometric.describe_collection()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"relation\" cannot be used: it is NULL"),
						errhint("Name a table with images.")));
	check_caller(PG_GETARG_OID(0));
	tables = adopt_tables(PG_GETARG_OID(0));
	/* whoever waited for the lock may have waited for its owner to change */
	check_caller(PG_GETARG_OID(0));
	check_images(PG_GETARG_OID(0));
	collection.subjects = columns_argument(fcinfo, 1, "subject_columns", collection.subject);
	collection.places = columns_argument(fcinfo, 2, "place_columns", collection.place);
	collection.time = time_argument(fcinfo, 3);

	check_counted(PG_GETARG_OID(0), &collection);
	change_begin_checked(&change);
	changed = collection_describe(&change, PG_GETARG_OID(0), &collection);
	change_end(&change);
	if (changed &&
		(collection.subjects > 0 || collection.places > 0 || collection.time != InvalidAttrNumber))
		record_rows(tables);
	PG_RETURN_VOID();
}
