/*
 * joined.c - images that are there already when their table comes under a rule with a time column,
 * or when ALTER TABLE has computed that column anew.
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
	List *tables;		 /* that have joined, with what descends from it */
	List *unstamp;		 /* const RetentionEntry *: rules that it has come under */
	const char *retimed; /* the column that has got another type; NULL: tables have joined */
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

/*
 * Whether a rule is about images that have not been stamped by it: a rule of its own, or of what
 * has joined with it, a table has had before; a time column with new values all have.
 */
static bool
is_new(const Joining *joining, const RetentionEntry *rule)
{
	char *time;

	if (rule == NULL || rule->time == InvalidAttrNumber || list_member_ptr(joining->unstamp, rule))
		return false;
	if (joining->retimed == NULL)
		return !list_member_oid(joining->tables, rule->relation);
	time = get_attname(rule->relation, rule->time, true);
	return time != NULL && strcmp(time, joining->retimed) == 0 &&
		   rules_type_is_time(get_atttype(rule->relation, rule->time));
}

static void
look_at_column(Joining *joining, Relation relation, Form_pg_attribute attribute)
{
	const RetentionEntry *chosen =
		rules_choose(joining->entries, joining->count, relation_lineage(RelationGetRelid(relation)),
					 NameStr(attribute->attname));

	if (!is_new(joining, chosen) || !holds_image(relation, attribute->attnum))
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
look_at(RangeVar *name, const char *retimed)
{
	Joining joining = {.retimed = retimed};
	Oid relation = RangeVarGetRelid(name, AccessShareLock, true);
	ListCell *cell;

	if (!OidIsValid(relation))
		return;
	CommandCounterIncrement();
	joining.entries = rules_read(&joining.count);
	if (!any_timed(&joining))
		return;
	joining.tables = find_all_inheritors(relation, ShareRowExclusiveLock, NULL);
	foreach(cell, joining.tables)
		look_at_table(&joining, lfirst_oid(cell));
	if (joining.unstamp == NIL)
		return;
	/* of an update there would be an entry for each image */
	if (retimed != NULL)
		rules_check_custodian(relation);
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

		switch (step->subtype)
		{
			case AT_AttachPartition:
				look_at(((PartitionCmd *) step->def)->name, NULL);
				break;
			case AT_AddInherit:
				look_at(alter->relation, NULL);
				break;
			case AT_AlterColumnType:
				look_at(alter->relation, step->name);
				break;
			default:
				break; /* leaves times, and whose they are, alone */
		}
	}
}
