/*
 * guard.c - refuses DML on the extension's own tables.
 *
 * With one exception, for dumps: rows of logs that are another database's
 * may be inserted into the tables that a dump brings. They are history and
 * inert. The row trigger sees to it that nothing becomes this database's own
 * by that: neither by what is inserted, nor, checked afterwards, by what
 * another trigger made of it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "guard/guard.h"
#include "guard/objects.h"
#include "guard/refuse.h"
#include "ledger/database.h"
#include "ledger/refusal.h"

#define GUARDED_WRITES (ACL_INSERT | ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE)

PG_FUNCTION_INFO_V1(biometric_guard_trigger);

pg_noreturn static void
guard_refuse(Oid relation, const char *command)
{
	guard_refuse_command(GUARD_WRITE, command, guard_describe(RelationRelationId, relation));
}

static const char *
guard_command_of_perms(AclMode perms)
{
	if (perms & ACL_INSERT)
		return "INSERT";
	return perms & ACL_UPDATE ? "UPDATE" : "DELETE";
}

static const char *
guard_command_of_event(TriggerEvent event)
{
	if (TRIGGER_FIRED_BY_INSERT(event))
		return "INSERT";
	if (TRIGGER_FIRED_BY_UPDATE(event))
		return "UPDATE";
	return TRIGGER_FIRED_BY_DELETE(event) ? "DELETE" : "TRUNCATE TABLE";
}

/*
 * Whether a write to a relation is somebody else's than our own code's, which
 * runs at a certain depth: what is deeper is a trigger's.
 */
static bool
guard_forbids(Oid relation, int depth)
{
	InternalTables tables = internal_tables_of(relation);

	return tables != INTERNAL_NONE &&
		   (tables != internal_write_tables() || depth != internal_write_depth());
}

/*
 * Tables that a dump brings rows for; not while our own code writes, since
 * what does so meanwhile is a trigger of somebody's. Should another table
 * have got such a name, it still has no column log_id, and nothing is
 * received.
 */
static bool
guard_receives(Oid relation)
{
	static const char *const received[] = {"home",		  "collection", "collection_limit",
										   "hold",		  "held",		"key_pin",
										   "key_binding", "retention",	"retention_past"};
	const char *name;

	if (internal_write_tables() != INTERNAL_NONE)
		return false;
	if (internal_tables_of(relation) == INTERNAL_LEDGER)
		return true;
	name = get_rel_name(relation);
	for (int i = 0; name != NULL && i < (int) lengthof(received); i++)
		if (strcmp(name, received[i]) == 0)
			return true;
	return false;
}

/* Foreign keys between our tables lock rows, deeper than the statement that needs it. */
static bool
guard_sees_lock_only(const PermissionInfo *info)
{
	return (info->requiredPerms & GUARDED_WRITES) == ACL_UPDATE && bms_is_empty(info->updatedCols);
}

bool
guard_check_perms(List *permission_infos, bool abort_on_violation)
{
	ListCell *cell;

	if (!IsTransactionState())
		return true;
	foreach(cell, permission_infos)
	{
		PermissionInfo *info = (PermissionInfo *) lfirst(cell);
		int depth = internal_depth();

		if ((info->requiredPerms & GUARDED_WRITES) == 0)
			continue;
		if (guard_sees_lock_only(info) && depth > internal_write_depth())
			depth = internal_write_depth();
		if (!guard_forbids(info->relid, depth))
			continue;
		/* each row is looked at by the trigger */
		if ((info->requiredPerms & GUARDED_WRITES) == ACL_INSERT && guard_receives(info->relid))
			continue;
		if (abort_on_violation)
			guard_refuse(info->relid, guard_command_of_perms(info->requiredPerms));
		return false;
	}
	return true;
}

/* What a BEFORE ROW trigger returns for the row to be written as it is. */
static HeapTuple
guard_same_row(const TriggerData *trigger)
{
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return NULL;
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
													  : trigger->tg_trigtuple;
}

/* The log that a row belongs to; NULL when the row does not say. */
static const uint8 *
guard_log_of_row(HeapTuple row, TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool isnull;
		Datum value;

		if (attribute->attisdropped || attribute->atttypid != UUIDOID ||
			strcmp(NameStr(attribute->attname), "log_id") != 0)
			continue;
		value = heap_getattr(row, attribute->attnum, desc, &isnull);
		return isnull ? NULL : DatumGetUUIDP(value)->data;
	}
	return NULL;
}

/* The columns of biometric.log that say what a log is to this database. */
static const char *const standing[] = {"ordinal", "adopted_at", "adopted_size", "adopted_root"};

static int
guard_standing(TupleDesc desc, int *columns)
{
	int count = 0;

	for (int i = 0; i < desc->natts; i++)
		for (int j = 0; j < (int) lengthof(standing); j++)
			if (!TupleDescAttr(desc, i)->attisdropped &&
				strcmp(NameStr(TupleDescAttr(desc, i)->attname), standing[j]) == 0)
				columns[count++] = i + 1;
	return count;
}

pg_noreturn static void
guard_refuse_row(Relation relation)
{
	const char *detail = "Rows of this database's own logs, and of logs that it has adopted, are "
						 "written by biometric_audit itself.";
	const char *problem = guard_record_refusal(
		GUARD_WRITE, "INSERT", guard_describe(RelationRelationId, RelationGetRelid(relation)));

	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("table \"%s\" takes rows of other databases' logs only",
						   RelationGetRelationName(relation)),
					ledger_refusal_detail(detail, problem),
					errhint("Restore a dump into a database that has not adopted it before.")));
}

/* Receives a restored row: whatever it was elsewhere, here it is history. */
static HeapTuple
guard_receive(const TriggerData *trigger)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	const uint8 *log_id = guard_log_of_row(trigger->tg_trigtuple, desc);
	Datum values[lengthof(standing)] = {0};
	bool nulls[lengthof(standing)] = {true, true, true, true};
	int columns[lengthof(standing)];
	int count;

	/* rows of other logs say what is held, and which keys are gone: no business of data loaders */
	if (!has_privs_of_role(GetUserId(), trigger->tg_relation->rd_rel->relowner))
		guard_refuse(RelationGetRelid(trigger->tg_relation), "INSERT");
	if (log_id == NULL || !ledger_receives(log_id))
		guard_refuse_row(trigger->tg_relation);
	count = guard_standing(desc, columns);
	if (count == 0)
		return trigger->tg_trigtuple;
	return heap_modify_tuple_by_cols(trigger->tg_trigtuple, desc, count, columns, values, nulls);
}

/* Looks at a row as it was stored: a trigger that ran behind ours may have changed it. */
static void
guard_check_received(const TriggerData *trigger)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	const uint8 *log_id = guard_log_of_row(trigger->tg_trigtuple, desc);
	int columns[lengthof(standing)];
	int count = guard_standing(desc, columns);

	if (log_id == NULL || !ledger_receives(log_id))
		guard_refuse_row(trigger->tg_relation);
	for (int i = 0; i < count; i++)
		if (!heap_attisnull(trigger->tg_trigtuple, columns[i], desc))
			guard_refuse_row(trigger->tg_relation);
}

/* Whether a trigger was fired by a restored row, or by the statement that brings some. */
static bool
guard_is_received(const TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && !IsLogicalWorker() &&
		   guard_receives(RelationGetRelid(trigger->tg_relation));
}

/*
 * biometric_guard_trigger stops every write that reaches a guarded table past
 * the permission check: TRUNCATE, through a parent that the table was made to
 * inherit from, and logical replication. An apply worker passes the row over,
 * since it would only fail again and again: FOR ALL TABLES publishes our
 * tables, too.
 */
PGDLLEXPORT Datum
biometric_guard_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid relation;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("biometric_guard_trigger can be called as a trigger only"),
						errhint("The extension attaches it to its own tables by itself.")));
	relation = RelationGetRelid(trigger->tg_relation);
	/* a trigger runs inside of its statement */
	if (!guard_forbids(relation, internal_depth() - 1))
		/* a pointer, and for a statement a null one, which is not an SQL null */
		PG_RETURN_POINTER(guard_same_row(trigger));
	if (guard_is_received(trigger))
	{
		if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
			PG_RETURN_POINTER(NULL);
		if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
			PG_RETURN_POINTER(guard_receive(trigger));
		guard_check_received(trigger);
		PG_RETURN_POINTER(NULL);
	}
	if (!IsLogicalWorker() || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		guard_refuse(relation, guard_command_of_event(trigger->tg_event));
	PG_RETURN_POINTER(NULL);
}
