/*
 * collect.c - collect(): what the images of a column are collected for, and which may be.
 */
#include "base/compat.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/roles.h"
#include "core/formats.h"
#include "image/image.h"
#include "policy/arguments.h"
#include "policy/proposal.h"
#include "trigger/attach.h"
#include "trigger/limits.h"

PG_FUNCTION_INFO_V1(biometric_collect);

/* The arguments, by number. */
enum
{
	ARG_RELATION,
	ARG_COLUMN,
	ARG_MAX_WIDTH,
	ARG_MAX_HEIGHT,
	ARG_FORMATS,
	ARG_MAX_PER_DAY,
	ARG_PURPOSE,
	ARG_LEGAL_BASIS
};

static int32
number_argument(FunctionCallInfo fcinfo, int index, const char *name)
{
	if (PG_ARGISNULL(index))
		return 0;
	if (PG_GETARG_INT32(index) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" cannot be used: it is less than 1", name),
						errdetail("It is the most that may be collected; NULL is for any."),
						errhint("So that nothing is collected, revoke INSERT and UPDATE.")));
	return PG_GETARG_INT32(index);
}

static char *
text_argument(FunctionCallInfo fcinfo, int index, const char *name)
{
	char *text = argument_text(fcinfo, index, name);

	if (text != NULL && strspn(text, " \t\r\n") == strlen(text))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" cannot be used: it is blank", name),
						errhint("Say it in words, or leave it out.")));
	return text;
}

static uint32
format_bit(const char *name)
{
	for (int format = IMAGE_FORMAT_NONE + 1; format <= IMAGE_FORMAT_LAST; format++)
		if (strcmp(name, image_format_name(format)) == 0)
			return 1u << format;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("there is no image format \"%s\"", name),
					errhint("The formats are jpeg, png, jp2, j2k, wsq, fir, fac, iir and an2k, as "
							"function format() names them.")));
}

static uint32
formats_argument(FunctionCallInfo fcinfo)
{
	uint32 formats = 0;
	Datum *names;
	bool *nulls;
	int count;

	if (PG_ARGISNULL(ARG_FORMATS))
		return 0;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(ARG_FORMATS), TEXTOID, -1, false, TYPALIGN_INT, &names,
					  &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("argument \"formats\" cannot be used: it contains NULL"),
							errhint("Name formats.")));
		formats |= format_bit(TextDatumGetCString(names[i]));
	}
	if (formats == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"formats\" cannot be used: it is empty"),
						errdetail("No image would be in any of them; NULL is for any."),
						errhint("Name formats, or leave it out.")));
	return formats;
}

static void
check_present(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"relation", "column_name"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("argument \"%s\" cannot be used: it is NULL", names[i]),
							errhint("Name a table, and its column that holds images.")));
}

/* Takes the column, which must hold images in a table that lasts. */
static void
column_argument(FunctionCallInfo fcinfo, CollectionLimit *limit)
{
	const char *name = NameStr(*PG_GETARG_NAME(ARG_COLUMN));
	char *relation = get_rel_name(limit->relation);

	if (relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("there is no relation with OID %u", limit->relation),
						errhint("Name a table with images.")));
	limit->attribute = image_column(limit->relation, name);
	if (get_rel_persistence(limit->relation) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("table \"%s\" is temporary", relation),
				 errdetail("What is declared is there for others to see."),
				 errhint("Name a table that lasts.")));
	namestrcpy(&limit->column, name);
}

/* What is counted by subject needs subjects. */
static void
check_subjects(const CollectionLimit *limit)
{
	Collection collection;
	List *lineage;

	if (limit->max_per_day == 0 ||
		(collection_find(limit->relation, &lineage, &collection) && collection.subjects > 0))
		return;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("images of table \"%s\" cannot be counted by subject",
						   get_rel_name(limit->relation)),
					errdetail("Nobody has said which columns tell whom they show."),
					errhint("Name them with biometric.describe_collection() first.")));
}

/* Whether it takes two persons to declare this instead of what is declared. */
static bool
declaration_relaxes(const CollectionLimit *limit)
{
	CollectionLimit before;
	PolicyChange change;
	bool relaxes;

	change_begin_policy(&change);
	relaxes =
		limit_declared(limit->relation, limit->attribute, &before) && limit_relaxes(&before, limit);
	change_end(&change);
	return relaxes;
}

/* Says how many images that are there already would not be let in now. */
static void
tell_exceeding(const List *tables, CollectionLimit *limit)
{
	List *limits = list_make1(limit);
	uint64 exceeding = 0;
	ListCell *cell;

	if (limit->max_width == 0 && limit->max_height == 0 && limit->formats == 0)
		return;
	foreach(cell, tables)
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
			exceeding += limits_exceeding(lfirst_oid(cell), NameStr(limit->column), limits, NULL);
	if (exceeding == 0)
		return;
	ereport(NOTICE,
			(errmsg("%llu images in column \"%s\" of table \"%s\" exceed what is now declared",
					(unsigned long long) exceeding, NameStr(limit->column),
					get_rel_name(limit->relation)),
			 errdetail("They stay: a declaration is for images that come in."),
			 errhint("biometric.retain() says how long images are kept.")));
}

/*
 * biometric_collect(relation regclass, column_name name, max_width int4, max_height int4,
 * formats text[], max_per_subject_per_day int4, purpose text, legal_basis text)
 */
PGDLLEXPORT Datum
biometric_collect(PG_FUNCTION_ARGS)
{
	CollectionLimit limit = {0};
	PolicyChange change;
	List *tables;

	check_present(fcinfo);
	limit.relation = PG_GETARG_OID(ARG_RELATION);
	limit.max_width = number_argument(fcinfo, ARG_MAX_WIDTH, "max_width");
	limit.max_height = number_argument(fcinfo, ARG_MAX_HEIGHT, "max_height");
	limit.formats = formats_argument(fcinfo);
	limit.max_per_day = number_argument(fcinfo, ARG_MAX_PER_DAY, "max_per_subject_per_day");
	limit.purpose = text_argument(fcinfo, ARG_PURPOSE, "purpose");
	limit.legal_basis = text_argument(fcinfo, ARG_LEGAL_BASIS, "legal_basis");
	column_argument(fcinfo, &limit);
	if (proposal_wanted(declaration_relaxes(&limit)))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	/* first whoever changes the policy, then whoever enrols: as approve() has them */
	change_begin_policy(&change);
	change_end(&change);
	tables = adopt_tables(limit.relation);
	/* whoever waited for the lock may have waited for the column to change */
	column_argument(fcinfo, &limit);
	check_subjects(&limit);
	change_begin_policy(&change);
	(void) limit_declare(&change, &limit);
	change_end(&change);
	tell_exceeding(tables, &limit);
	PG_RETURN_VOID();
}
