/*
 * lineage.c - a relation and its ancestors.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_inherits.h"
#include "utils/fmgroids.h"

#include "base/lineage.h"

/* Appends the parents of a relation, unless they are there already. */
static List *
lineage_add_parents(Relation catalog, List *lineage, Oid relation)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(catalog, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		lineage = list_append_unique_oid(lineage, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	return lineage;
}

List *
relation_lineage(Oid relation)
{
	List *lineage = OidIsValid(relation) ? list_make1_oid(relation) : NIL;
	Relation catalog = table_open(InheritsRelationId, AccessShareLock);

	/* the list grows while it is walked: each ancestor's parents come after it */
	for (int i = 0; i < list_length(lineage); i++)
		lineage = lineage_add_parents(catalog, lineage, list_nth_oid(lineage, i));
	table_close(catalog, AccessShareLock);
	return lineage;
}
