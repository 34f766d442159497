/*
 * limits_joined.c - images that are there already when a declaration comes to hold for them.
 */
#include "base/compat.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "base/roles.h"
#include "home/relations.h"
#include "image/bind.h"
#include "image/image.h"
#include "policy/proposal.h"
#include "trigger/limits.h"

static bool
exceeds(const List *limits, const EnvelopeHeader *header)
{
	ListCell *cell;

	foreach(cell, limits)
		if (!limit_allows(lfirst(cell), header))
			return true;
	return false;
}

/* Rows that others have committed count, whatever this transaction's snapshot shows. */
uint64
limits_exceeding(Oid oid, const char *column, const List *limits, uint64 *images)
{
	Relation relation = table_open(oid, AccessShareLock);
	AttrNumber attribute = get_attnum(oid, column);
	ImageKind kind = image_type_kind(get_atttype(oid, attribute));
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	uint64 exceeding = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		EnvelopeHeader header;
		bool isnull;
		Datum value = slot_getattr(slot, attribute, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (isnull)
			continue;
		image_read_header(kind, value, &header);
		exceeding += exceeds(limits, &header);
		if (images != NULL)
			(*images)++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(relation, NoLock);
	return exceeding;
}

/* The declarations of others than the relations that have joined, for a column of one of them. */
static List *
limits_of_others(Oid relation, const char *column, const List *joined)
{
	List *limits = limit_find(relation_lineage(relation), column);
	ListCell *cell;

	foreach(cell, limits)
		if (list_member_oid(joined, ((CollectionLimit *) lfirst(cell))->relation))
			limits = foreach_delete_current(limits, cell);
	return limits;
}

static bool
any_per_day(const List *limits)
{
	ListCell *cell;

	foreach(cell, limits)
		if (((CollectionLimit *) lfirst(cell))->max_per_day > 0)
			return true;
	return false;
}

/* Whether one person may do what loosens a limit. */
static bool
one_decides(void)
{
	return role_is_custodian(GetUserId()) && !proposal_two_persons();
}

static void
refuse_or_tell(Oid relation, const char *column, const CollectionLimit *limit, uint64 images)
{
	bool told = one_decides();

	ereport(
		told ? NOTICE : ERROR,
		(errcode(told ? ERRCODE_WARNING : ERRCODE_CHECK_VIOLATION),
		 errmsg("table \"%s\" holds %llu images in column \"%s\" beyond what was declared to be "
				"collected",
				get_rel_name(relation), (unsigned long long) images, column),
		 errdetail("biometric.collect() declared limits for table \"%s\"; where images are "
				   "counted by subject, those that were stored elsewhere were not.",
				   get_rel_name(limit->relation)),
		 told ? 0
			  : errhint("A custodian may do it; while biometric_audit.two_person is on, only "
						"when the declaration allows it.")));
}

static void
check_column(Oid relation, const char *column, const List *joined)
{
	List *limits = limits_of_others(relation, column, joined);
	uint64 images = 0;
	uint64 exceeding;

	if (limits == NIL)
		return;
	exceeding = limits_exceeding(relation, column, limits, &images);
	/* nobody knows whether these were too many of one subject */
	if (any_per_day(limits))
		exceeding = images;
	if (exceeding > 0)
		refuse_or_tell(relation, column, linitial(limits), exceeding);
}

static void
check_table(Oid oid, const List *joined)
{
	Relation relation;
	TupleDesc descriptor;

	if (get_rel_relkind(oid) != RELKIND_RELATION || relation_images(oid)->columns == 0)
		return;
	relation = table_open(oid, AccessShareLock);
	descriptor = RelationGetDescr(relation);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (!attribute->attisdropped && image_type_kind(attribute->atttypid) != IMAGE_KIND_NONE)
			check_column(oid, NameStr(attribute->attname), joined);
	}
	table_close(relation, NoLock);
}

static void
check_joined(RangeVar *name)
{
	Oid relation = RangeVarGetRelid(name, AccessShareLock, true);
	List *joined;
	ListCell *cell;

	if (!OidIsValid(relation) || relation_images(relation)->kinds == 0)
		return;
	joined = find_all_inheritors(relation, AccessShareLock, NULL);
	foreach(cell, joined)
		check_table(lfirst_oid(cell), joined);
}

void
limits_check_joined(Node *statement)
{
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	ListCell *cell;

	if (!IsA(statement, AlterTableStmt) || !IsTransactionState() || IsBinaryUpgrade ||
		!OidIsValid(extension_oid()) || !OidIsValid(limit_table()))
		return;
	foreach(cell, alter->cmds)
	{
		AlterTableCmd *step = lfirst_node(AlterTableCmd, cell);

		if (step->subtype == AT_AttachPartition)
		{
			CommandCounterIncrement();
			check_joined(((PartitionCmd *) step->def)->name);
		}
		else if (step->subtype == AT_AddInherit)
		{
			CommandCounterIncrement();
			check_joined(alter->relation);
		}
	}
}
