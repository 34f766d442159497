/*
 * untaken.c - what there is that may not have been released.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/internal.h"
#include "image/image.h"
#include "ledger/encoding.h"
#include "report/breach.h"

/* As the ledger has a client of the unix sockets. */
#define NETWORK_LOCAL "local"

/* A relation's name as entries have it: qualified, quoted where it must be, on one line. */
static char *
relation_name(Oid relation)
{
	char *schema = get_namespace_name(get_rel_namespace(relation));
	char *plain = get_rel_name(relation);
	StringInfoData escaped;

	if (schema == NULL || plain == NULL)
		return NULL;
	initStringInfo(&escaped);
	for (const char *name = quote_qualified_identifier(schema, plain); *name != '\0'; name++)
	{
		if (*name == '\n')
			appendStringInfoString(&escaped, "\\n");
		else if (*name == '\\')
			appendStringInfoString(&escaped, "\\\\");
		else
			appendStringInfoChar(&escaped, *name);
	}
	return encoding_recorded(escaped.data);
}

/* Whether images are released from a relation under its own name, in any session. */
static bool
is_released_from(Oid relation)
{
	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			return get_rel_persistence(relation) != RELPERSISTENCE_TEMP;
		default:
			return false;
	}
}

List *
untaken_relations(void)
{
	Relation catalog = table_open(AttributeRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	int level = NewGUCNestLevel();
	List *relations = NIL;
	List *names = NIL;
	HeapTuple tuple;
	ListCell *cell;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_attribute attribute = (Form_pg_attribute) GETSTRUCT(tuple);

		if (!attribute->attisdropped && image_type_kind(attribute->atttypid) != IMAGE_KIND_NONE &&
			is_released_from(attribute->attrelid))
			relations = list_append_unique_oid(relations, attribute->attrelid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	if (quote_all_identifiers)
		(void) set_config_option("quote_all_identifiers", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	foreach(cell, relations)
	{
		char *name = relation_name(lfirst_oid(cell));

		if (name != NULL)
			names = lappend(names, name);
	}
	AtEOXact_GUC(false, level);
	return names;
}

/* The texts of a column of those rows of one of the policy's tables that are of a party. */
static List *
policy_values(const char *table_name, const char *column, const char *party)
{
	Oid oid = extension_relation(table_name);
	Relation table = OidIsValid(oid) ? try_table_open(oid, AccessShareLock) : NULL;
	AttrNumber of_party;
	AttrNumber wanted;
	List *values = NIL;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid output;
	bool varlena;

	if (table == NULL)
		return NIL;
	of_party = get_attnum(oid, "party");
	wanted = get_attnum(oid, column);
	if (of_party <= 0 || wanted <= 0)
		elog(ERROR, "table biometric.%s has not the columns that it should have", table_name);
	getTypeOutputInfo(get_atttype(oid, wanted), &output, &varlena);
	scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum value = heap_getattr(tuple, of_party, RelationGetDescr(table), &isnull);

		if (isnull || strcmp(encoding_recorded(TextDatumGetCString(value)), party) != 0)
			continue;
		value = heap_getattr(tuple, wanted, RelationGetDescr(table), &isnull);
		values =
			lappend(values, isnull ? pstrdup(NETWORK_LOCAL) : OidOutputFunctionCall(output, value));
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return values;
}

List *
untaken_permits(const char *party)
{
	return policy_values("permit", "id", party);
}

List *
untaken_networks(const char *party)
{
	return policy_values("network", "network", party);
}
