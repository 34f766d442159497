/*
 * arguments.c - checks the arguments of the management functions.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"

#include "core/kinds.h"
#include "policy/arguments.h"
#include "policy/policy_sql.h"
#include "policy/settings.h"

#define TEXT_SIZE 1000
#define MAX_PURPOSES 100

static void
argument_refuse(const char *name, const char *problem)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"%s\" cannot be used: %s", name, problem)));
}

char *
argument_party(FunctionCallInfo fcinfo, int index)
{
	const char *problem;
	char *party;

	if (PG_ARGISNULL(index))
		argument_refuse("party", "it is NULL");
	party = text_to_cstring(PG_GETARG_TEXT_PP(index));
	problem = policy_clean_name(party);
	if (problem)
		argument_refuse("party", problem);
	if (party[0] == '\0')
		argument_refuse("party", "it is empty");
	return party;
}

char *
argument_text(FunctionCallInfo fcinfo, int index, const char *name)
{
	char *value;

	if (PG_ARGISNULL(index))
		return NULL;
	value = text_to_cstring(PG_GETARG_TEXT_PP(index));
	if (strlen(value) > TEXT_SIZE)
		argument_refuse(name, "it is longer than 1000 bytes");
	return value;
}

char *
argument_reason(FunctionCallInfo fcinfo, int index)
{
	char *reason = argument_text(fcinfo, index, "reason");

	if (reason == NULL || reason[strspn(reason, " \t\r\n")] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"reason\" cannot be used: it is empty"),
						errdetail("The reason of a change is kept in the ledger."),
						errhint("Say in a few words why the policy is changed.")));
	return reason;
}

/* Takes a text[] argument apart; not NULL, one dimension. */
static int
argument_elements(FunctionCallInfo fcinfo, int index, const char *name, Datum **values)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(index);
	bool *nulls;
	int count;

	if (ARR_NDIM(array) > 1)
		argument_refuse(name, "it has more than one dimension");
	if (array_contains_nulls(array))
		argument_refuse(name, "it contains NULL");
	policy_text_array(PointerGetDatum(array), values, &nulls, &count);
	return count;
}

/* "face, plate, document, fingerprint, iris" */
static char *
argument_all_kinds(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
		appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", image_kind_name(kind));
	return list.data;
}

Datum
argument_kinds(FunctionCallInfo fcinfo, int index)
{
	Datum kinds[IMAGE_KIND_LAST + 1];
	uint32 named = 0;
	Datum *values;
	int count;
	int distinct = 0;

	if (PG_ARGISNULL(index))
		argument_refuse("kinds", "it is NULL");
	count = argument_elements(fcinfo, index, "kinds", &values);
	if (count == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"kinds\" cannot be used: it is empty"),
						errhint("The kinds are %s.", argument_all_kinds())));
	for (int i = 0; i < count; i++)
	{
		char *name = policy_text(values[i]);
		ImageKind kind = image_kind_from_name(name);

		if (kind == IMAGE_KIND_NONE)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("there is no kind of image \"%s\"", name),
							errhint("The kinds are %s.", argument_all_kinds())));
		named |= (uint32) 1 << kind;
	}
	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
		if (named & ((uint32) 1 << kind))
			kinds[distinct++] = CStringGetTextDatum(image_kind_name(kind));
	return PointerGetDatum(construct_array(kinds, distinct, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum
argument_purposes(FunctionCallInfo fcinfo, int index, bool *null)
{
	Datum *values;
	int count;

	*null = PG_ARGISNULL(index);
	if (*null)
		return (Datum) 0;
	count = argument_elements(fcinfo, index, "purposes", &values);
	if (count > MAX_PURPOSES)
		argument_refuse("purposes", "it has more than 100 elements");
	for (int i = 0; i < count; i++)
	{
		char *purpose = policy_text(values[i]);
		const char *problem = policy_clean_name(purpose);

		if (problem == NULL && purpose[0] == '\0')
			problem = "it contains an empty purpose";
		if (problem)
			argument_refuse("purposes", problem);
		values[i] = CStringGetTextDatum(purpose);
	}
	return PointerGetDatum(construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum
argument_period(FunctionCallInfo fcinfo, int index, const char *name, bool *null)
{
	*null = PG_ARGISNULL(index);
	if (*null)
		return (Datum) 0;
	if (RangeIsEmpty(PG_GETARG_RANGE_P(index)))
		argument_refuse(name, "it is an empty range");
	return PG_GETARG_DATUM(index);
}

Oid
argument_relation(FunctionCallInfo fcinfo, int index)
{
	Oid relation;
	char *name;

	if (PG_ARGISNULL(index))
		return InvalidOid;
	relation = PG_GETARG_OID(index);
	name = get_rel_name(relation);
	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("there is no relation with OID %u", relation)));
	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			return relation;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table, materialized view or foreign table", name),
					 errdetail("Images are released according to the tables that they are stored "
							   "in, whatever views they are read through."),
					 errhint("Name the table.")));
	}
	return InvalidOid;
}
