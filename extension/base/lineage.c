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

/* Adds the parents of a relation to a generation, unless an earlier one has them. */
static List *
generation_add_parents(Relation catalog, List *generation, const List *lineage, Oid relation)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(catalog, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Oid parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;

		if (!list_member_oid(lineage, parent))
			generation = list_append_unique_oid(generation, parent);
	}
	systable_endscan(scan);
	return generation;
}

List *
relation_lineage(Oid relation)
{
	Relation catalog = table_open(InheritsRelationId, AccessShareLock);
	List *generation = OidIsValid(relation) ? list_make1_oid(relation) : NIL;
	List *lineage = list_copy(generation);

	while (generation != NIL)
	{
		List *parents = NIL;
		ListCell *cell;

		foreach(cell, generation)
			parents = generation_add_parents(catalog, parents, lineage, lfirst_oid(cell));
		if (parents != NIL)
			lineage = list_concat(lappend_oid(lineage, InvalidOid), parents);
		generation = parents;
	}
	table_close(catalog, AccessShareLock);
	return lineage;
}
