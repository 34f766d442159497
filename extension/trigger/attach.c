/*
 * attach.c - keeps triggers, homes and records in step with DDL.
 *
 * Commands tell what they make and change by the object access hook, in the
 * middle of their work; what follows from it is done at their end. Notes live
 * as long as the (sub)transaction that made them, and belong to the depth of
 * the command that did: one that runs inside another must not finish the
 * outer one's work.
 */
#include "base/compat.h"

#include "access/parallel.h"
#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/tablecmds.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/internal.h"
#include "home/home.h"
#include "home/relations.h"
#include "image/image.h"
#include "keys/keys.h"
#include "report/collection.h"
#include "retention/hold.h"
#include "retention/retention.h"
#include "trigger/attach.h"
#include "trigger/limits.h"
#include "trigger/trigger.h"

/* A relation that a command has made or changed. */
typedef struct Note
{
	Oid relation;
	int depth;
	SubTransactionId subtransaction;
	bool created;		/* made by the command: its rows were bound on their way in */
	Bitmapset *columns; /* attribute numbers that were added or changed */
	Oid file;			/* pg_class.relfilenode when it was first noted */
	Bitmapset *retyped; /* columns that ALTER COLUMN TYPE may compute anew */
	Bitmapset *held;	/* those of them that held images before */
	uint64 *images;		/* as dropped_count() of them, before the rows were rewritten */
	int64 hold;			/* that an image of them is under; 0: none */
} Note;

static List *notes = NIL; /* Note *, in TopTransactionContext */
static bool sync_wanted = false;

/* The utility command that is running, the innermost one. */
static AttachCommand *running = NULL;

/* ---- notes ---- */

static void
attach_end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			/* the list goes with its memory context */
			notes = NIL;
			sync_wanted = false;
			receiver_forget();
			break;
		default:
			break;
	}
}

static void
attach_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							 void *arg)
{
	ListCell *cell;

	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	receiver_end_of_subtransaction(event == SUBXACT_EVENT_COMMIT_SUB, mine, parent);
	foreach(cell, notes)
	{
		Note *note = lfirst(cell);

		if (note->subtransaction != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			note->subtransaction = parent;
		else
			notes = foreach_delete_current(notes, cell);
	}
}

void
attach_init(void)
{
	RegisterXactCallback(attach_end_of_transaction, NULL);
	RegisterSubXactCallback(attach_end_of_subtransaction, NULL);
}

static Oid
attach_file(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid file = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
		ReleaseSysCache(tuple);
	}
	return file;
}

static Note *
attach_note(Oid relation)
{
	MemoryContext old;
	ListCell *cell;
	Note *note;

	foreach(cell, notes)
	{
		note = lfirst(cell);
		if (note->relation == relation && note->depth == internal_depth())
			return note;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	note = palloc0(sizeof(Note));
	note->relation = relation;
	note->depth = internal_depth();
	note->subtransaction = GetCurrentSubTransactionId();
	note->file = attach_file(relation);
	notes = lappend(notes, note);
	MemoryContextSwitchTo(old);
	return note;
}

static void
attach_note_column(Note *note, int column)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	if (column > 0)
		note->columns = bms_add_member(note->columns, column);
	MemoryContextSwitchTo(old);
}

void
attach_enter(AttachCommand *command, Node *statement)
{
	*command = (AttachCommand){.statement = statement, .depth = internal_depth(), .outer = running};
	running = command;
}

void
attach_leave(const AttachCommand *command)
{
	running = command->outer;
}

/*
 * Whether the command that alters a column may compute its values anew, should it rewrite the
 * table. An ALTER TABLE says so; of whatever else there may be, the worst is assumed.
 */
static bool
attach_retypes(const char *column)
{
	ListCell *cell;

	if (running == NULL || running->depth != internal_depth() ||
		!IsA(running->statement, AlterTableStmt))
		return true;
	foreach(cell, ((AlterTableStmt *) running->statement)->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_AlterColumnType && strcmp(command->name, column) == 0)
			return true;
	}
	return false;
}

/* The hold that an image of a column is under, while the rows can still be read; 0: none. */
static int64
attach_hold_of(Oid oid, int column)
{
	Relation relation;
	int64 hold;

	/* another name rewrites nothing */
	if (running != NULL && IsA(running->statement, RenameStmt))
		return 0;
	relation = relation_open(oid, NoLock);
	hold = kept_column(relation, column);
	relation_close(relation, NoLock);
	return hold;
}

/* USING may put other images into a column, or none; its type is still the old one here. */
static void
attach_altered(Oid oid, int column)
{
	Note *note = attach_note(oid);
	char *name = column > 0 ? get_attname(oid, column, true) : NULL;
	MemoryContext old;

	attach_note_column(note, column);
	if (name == NULL || get_rel_relkind(oid) != RELKIND_RELATION || !attach_retypes(name))
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	note->retyped = bms_add_member(note->retyped, column);
	if (image_type_kind(get_atttype(oid, column)) != IMAGE_KIND_NONE)
		note->held = bms_add_member(note->held, column);
	MemoryContextSwitchTo(old);
	if (note->hold == 0)
		note->hold = attach_hold_of(oid, column);
}

/* Counts the images that a rewrite may lose, when the heap for the new rows has been made. */
static void
attach_rewriting(Oid transient)
{
	Oid oid = receiver_rewritten(transient);
	ListCell *cell;

	foreach(cell, notes)
	{
		Note *note = lfirst(cell);
		MemoryContext old;
		Relation relation;

		if (!OidIsValid(oid) || note->relation != oid || note->depth != internal_depth() ||
			note->held == NULL)
			continue;
		if (note->hold != 0)
			hold_refuse(note->hold, "convert");
		old = MemoryContextSwitchTo(TopTransactionContext);
		relation = relation_open(oid, NoLock);
		note->images = dropped_count(relation, note->held);
		relation_close(relation, NoLock);
		MemoryContextSwitchTo(old);
	}
}

/* Records that the images of columns that were computed anew are gone. */
static void
attach_record_retyped(const Note *note)
{
	Relation relation = relation_open(note->relation, NoLock);
	int column = -1;

	while ((column = bms_next_member(note->held, column)) > 0)
		dropped_queue(relation, note->images, column, ENTRY_TRUNCATED, OPERATION_CREATE);
	relation_close(relation, NoLock);
}

static void
attach_created(Oid relation, int column, const ObjectAccessPostCreate *create)
{
	bool internal = create != NULL && create->is_internal;

	if (column == 0)
		receiver_note_created(relation, internal);
	if (internal)
	{
		if (column == 0 && notes != NIL)
			attach_rewriting(relation);
		return;
	}
	if (column == 0)
		attach_note(relation)->created = true;
	else
		attach_note_column(attach_note(relation), column);
}

static void
attach_dropping(Oid relation, int column, const ObjectAccessDrop *drop)
{
	kept_dropping(relation, column, drop ? drop->dropflags : 0);
	/* it holds no image itself, but may have been described */
	sync_wanted |= get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE;
	if (!dropped_by_server(drop ? drop->dropflags : 0))
	{
		lineage_check_dropping(relation, column);
		retention_note_dropping(relation, column);
	}
	if (!dropped_object(relation, column, drop ? drop->dropflags : 0))
		return;
	sync_wanted = true;
	if (column > 0)
		attach_note(relation);
}

void
attach_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	const ObjectAccessPostAlter *alter = arg;

	if (class_id != RelationRelationId || object_id < FirstNormalObjectId || sub_id < 0 ||
		!IsNormalProcessingMode() || !IsTransactionState() || !OidIsValid(extension_oid()))
		return;
	switch (access)
	{
		case OAT_POST_CREATE:
			attach_created(object_id, sub_id, arg);
			break;
		case OAT_POST_ALTER:
			if (alter == NULL || !alter->is_internal)
				attach_altered(object_id, sub_id);
			break;
		case OAT_DROP:
			attach_dropping(object_id, sub_id, arg);
			break;
		default:
			/* nothing that makes or loses an image */
			break;
	}
}

/* ---- at the end of a command ---- */

/*
 * Whether a noted table may hold rows with images that no trigger has seen:
 * it was rewritten, or a column got a value for all rows without a rewrite.
 */
static bool
attach_must_sweep(const Note *note, Relation relation)
{
	TupleDesc descriptor = RelationGetDescr(relation);
	int column = -1;

	if (note->created || note->columns == NULL)
		return false;
	if (attach_file(note->relation) != note->file)
		return true;
	while ((column = bms_next_member(note->columns, column)) > 0)
	{
		Form_pg_attribute attribute;

		if (column > descriptor->natts)
			continue;
		attribute = TupleDescAttr(descriptor, column - 1);
		if (attribute->atthasmissing && image_type_kind(attribute->atttypid) != IMAGE_KIND_NONE)
			return true;
	}
	return false;
}

/* Checks a relation that has images; tells whether its noted columns must be swept. */
static bool
attach_check(const Note *note, Relation relation)
{
	char relkind = relation->rd_rel->relkind;

	if (relkind != RELKIND_COMPOSITE_TYPE)
		install_check_columns(relation);
	/* it may be the type of a column that held no image before */
	if (note->columns != NULL && !note->created)
		find_composite_type_dependencies(relation->rd_rel->reltype, relation, NULL);
	return relkind == RELKIND_RELATION && attach_must_sweep(note, relation);
}

static bool
attach_is_of_interest(Oid relation)
{
	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_MATVIEW:
		case RELKIND_COMPOSITE_TYPE:
			return true;
		default:
			/* gone again, or without rows of its own */
			return false;
	}
}

/* Makes the homes of a table's columns while nobody else can be waiting to write to it. */
static void
attach_prepare_homes(Relation relation)
{
	TupleDesc descriptor = RelationGetDescr(relation);
	char relkind = relation->rd_rel->relkind;

	/* a temporary table has one writer only, and most are gone before they have an image */
	if ((relkind != RELKIND_RELATION && relkind != RELKIND_MATVIEW) ||
		relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (!attribute->attisdropped && image_type_kind(attribute->atttypid) != IMAGE_KIND_NONE)
			home_prepare_column(RelationGetRelid(relation), attribute->attnum);
	}
}

static void
attach_finish(const Note *note)
{
	Sweep sweep = {.attributes = note->columns, .enrol = true};
	Relation relation;
	bool images;
	bool holds_rows;
	bool must_sweep = false;

	if (!attach_is_of_interest(note->relation))
		return;
	relation = try_relation_open(note->relation, AccessShareLock);
	if (relation == NULL)
		return;
	images = relation_images(note->relation)->kinds != 0;
	holds_rows = relation->rd_rel->relkind == RELKIND_RELATION;
	if (images)
	{
		must_sweep = attach_check(note, relation);
		attach_prepare_homes(relation);
	}
	/* only a table that has triggers can have any to lose */
	holds_rows = holds_rows && (images || relation->rd_rel->relhastriggers);
	/* the command itself holds whatever lock it needs until the end */
	relation_close(relation, AccessShareLock);

	if (holds_rows && install_triggers(note->relation) && !note->created)
	{
		sweep.attributes = NULL;
		must_sweep = true;
	}
	if (holds_rows && note->retyped != NULL && attach_file(note->relation) != note->file)
	{
		attach_record_retyped(note);
		sweep.anew = note->retyped;
	}
	if (must_sweep)
		(void) sweep_rows(note->relation, &sweep);
	if (images && note->columns != NULL)
		sync_wanted = true; /* a column may have another name now */
}

/* Takes out the first note that was made at a depth or deeper. */
static Note *
attach_next_note(int depth)
{
	ListCell *cell;

	foreach(cell, notes)
	{
		Note *note = lfirst(cell);

		if (note->depth < depth)
			continue;
		notes = foreach_delete_current(notes, cell);
		return note;
	}
	return NULL;
}

void
attach_utility_end(Node *statement)
{
	Note *note;

	receiver_utility_end(statement);
	limits_check_joined(statement);
	retention_joined(statement);
	if ((notes == NIL && !sync_wanted) || !IsTransactionState())
		return;
	CommandCounterIncrement();
	if (!OidIsValid(extension_oid()))
	{
		/* it was dropped */
		notes = NIL;
		sync_wanted = false;
		return;
	}
	while ((note = attach_next_note(internal_depth())) != NULL)
		attach_finish(note);
	if (sync_wanted)
	{
		sync_wanted = false;
		home_sync();
		collection_sync();
		limit_sync();
		keys_sync();
		retention_sync();
	}
}

/* ---- writes past the triggers ---- */

static bool
attach_is_write(const PermissionInfo *info)
{
	if (info->relid < FirstNormalObjectId)
		return false;
	/* a lock on rows asks for ACL_UPDATE, too, but updates no column */
	return (info->requiredPerms & (ACL_INSERT | ACL_DELETE)) != 0 ||
		   ((info->requiredPerms & ACL_UPDATE) != 0 && !bms_is_empty(info->updatedCols));
}

bool
attach_check_writes(List *permission_infos, bool abort_on_violation)
{
	ListCell *cell;

	if (!IsTransactionState() || IsParallelWorker())
		return true;
	foreach(cell, permission_infos)
	{
		const PermissionInfo *info = lfirst(cell);
		const RelationImages *images;

		if (!attach_is_write(info))
			continue;
		images = relation_images(info->relid);
		/* what is inserted into a table without images reaches no heir of it */
		if (images->kinds == 0 && (info->requiredPerms & (ACL_UPDATE | ACL_DELETE)) == 0)
			continue;
		/* REFRESH CONCURRENTLY fills a table of whole rows, and then its view */
		if (images->guarded || (images->columns == 0 && OidIsValid(receiver_refreshing(NULL))) ||
			(images->relkind != RELKIND_RELATION && images->relkind != RELKIND_PARTITIONED_TABLE))
			continue;
		if (!abort_on_violation)
			return false;
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" has images, but not the triggers of biometric_audit",
					get_rel_name(info->relid)),
			 errdetail("It, or a partition or heir of it, was made or changed while the library "
					   "was not loaded, or is being made, so its images would be neither "
					   "bound nor put on record."),
			 errhint("Run SELECT biometric.attach_triggers(); as a superuser or custodian, or "
					 "for one table as its owner.")));
	}
	return true;
}
