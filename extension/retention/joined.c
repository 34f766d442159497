/*
 * joined.c - images that are there already when their table comes under a rule with a time column.
 */
#include "base/compat.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "image/image.h"
#include "retention/retention.h"
#include "retention/rules.h"

typedef struct Joining
{
	const RetentionEntry *entries;
	int count;
	List *tables;  /* that have joined, with what descends from it */
	List *unstamp; /* const RetentionEntry *: rules that it has come under */
} Joining;

static bool
any_timed(const Joining *joining)
{
	for (int i = 0; i < joining->count; i++)
		if (joining->entries[i].time != InvalidAttrNumber)
			return true;
	return false;
}

/* Rows that others have committed count, whatever this transaction's snapshot shows. */
static bool
holds_image(Relation relation, AttrNumber attribute)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	bool any = false;

	while (!any && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		any = !slot_attisnull(slot, attribute);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	return any;
}

/* A rule of its own, or of what has joined with it, it has had before. */
static void
look_at_column(Joining *joining, Relation relation, Form_pg_attribute attribute)
{
	const RetentionEntry *chosen =
		rules_choose(joining->entries, joining->count, relation_lineage(RelationGetRelid(relation)),
					 NameStr(attribute->attname));

	if (chosen == NULL || chosen->time == InvalidAttrNumber ||
		list_member_oid(joining->tables, chosen->relation) ||
		list_member_ptr(joining->unstamp, chosen) || !holds_image(relation, attribute->attnum))
		return;
	joining->unstamp = lappend(joining->unstamp, unconstify(RetentionEntry *, chosen));
}

static void
look_at_table(Joining *joining, Oid oid)
{
	Relation relation;
	TupleDesc descriptor;

	if (get_rel_relkind(oid) != RELKIND_RELATION)
		return;
	relation = table_open(oid, NoLock);
	descriptor = RelationGetDescr(relation);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (!attribute->attisdropped && image_type_kind(attribute->atttypid) != IMAGE_KIND_NONE)
			look_at_column(joining, relation, attribute);
	}
	table_close(relation, NoLock);
	/* whoever writes to it looks the rule up again */
	CacheInvalidateRelcacheByRelid(oid);
}

/* The command has locked the table; its heirs may be being written to by the rules of before. */
static void
look_at(RangeVar *name)
{
	Joining joining = {0};
	Oid relation = RangeVarGetRelid(name, AccessShareLock, true);
	ListCell *cell;

	if (!OidIsValid(relation))
		return;
	joining.entries = rules_read(&joining.count);
	if (!any_timed(&joining))
		return;
	joining.tables = find_all_inheritors(relation, ShareRowExclusiveLock, NULL);
	foreach(cell, joining.tables)
		look_at_table(&joining, lfirst_oid(cell));
	if (joining.unstamp != NIL)
		rules_unstamp(joining.unstamp);
}

void
retention_joined(Node *statement)
{
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	ListCell *cell;

	if (!IsA(statement, AlterTableStmt) || !IsTransactionState() || IsBinaryUpgrade ||
		!OidIsValid(extension_oid()))
		return;
	foreach(cell, alter->cmds)
	{
		AlterTableCmd *step = lfirst_node(AlterTableCmd, cell);

		if (step->subtype != AT_AttachPartition && step->subtype != AT_AddInherit)
			continue;
		CommandCounterIncrement();
		look_at(step->subtype == AT_AddInherit ? alter->relation
											   : ((PartitionCmd *) step->def)->name);
	}
}
