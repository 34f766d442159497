/*
 * reseal.c - reseal(): the images of a column, a batch a call.
 *
 * Passes over a table and its heirs, from where biometric.reseal_progress says, follow one
 * another until one has sealed nothing: what others have moved behind a pass, the next one finds.
 * The row of biometric.reseal_progress is locked while a call's transaction lasts, so that two
 * never work on the same column.
 */
#include "base/compat.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/roles.h"
#include "home/relations.h"
#include "image/image.h"
#include "keyring/keyring.h"
#include "policy/change.h"
#include "trigger/reseal.h"

PG_FUNCTION_INFO_V1(biometric_reseal);

/* One call. */
typedef struct Reseal
{
	Oid relation;
	const char *column;
	int64 limit;
	uint32 active;
	List *members;			 /* OIDs of the tables that hold rows, in their order */
	int member;				 /* index of the one that is next */
	BlockNumber block;		 /* in it */
	bool again;				 /* this pass has sealed something */
	ResealProgress progress; /* as it was when the call began, or the pass */
	int64 sealed;			 /* in this call */
	int64 locked;			 /* in this pass, as far as it was this call's */
	int64 unopened;
	char *problem;
} Reseal;

/* ---- who, and what */

static void
refuse_relation(Oid relation)
{
	if (get_rel_relkind(relation) == RELKIND_MATVIEW)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is a materialized view", get_rel_name(relation)),
						errdetail("Its images are copies of those in tables, sealed as those are "
								  "whenever it is refreshed."),
						errhint("Seal the images of the tables that it reads again, then run "
								"REFRESH MATERIALIZED VIEW.")));
	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
					errmsg("relation with OID %u is not a table", relation),
					errdetail("Only tables have rows that can be sealed again."),
					errhint("Name a table.")));
}

/* Whether a table holds rows that this session can reach. Of foreign ones, a WARNING tells. */
static bool
holds_rows(Oid table)
{
	char kind = get_rel_relkind(table);

	if (kind == RELKIND_FOREIGN_TABLE)
		ereport(WARNING, (errmsg("images of foreign table \"%s\" are not sealed again here",
								 get_rel_name(table)),
						  errhint("Call biometric.reseal() on the server that has the table.")));
	return kind == RELKIND_RELATION && !isOtherTempNamespace(get_rel_namespace(table));
}

static void
check_guarded(Oid table)
{
	if (relation_images(table)->guarded)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" lacks the triggers of biometric_audit", get_rel_name(table)),
			 errdetail("It was made while the library was not loaded, so that its images are "
					   "bound to no column."),
			 errhint("Call biometric.attach_triggers() for it first.")));
}

/* Locks the table and its heirs; lists those whose rows are to be looked at. */
static List *
list_members(Oid relation, const char *column)
{
	List *members = NIL;
	List *all;
	ListCell *cell;

	LockRelationOid(relation, RowExclusiveLock);
	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		default:
			refuse_relation(relation);
	}
	(void) image_column(relation, column);
	all = find_all_inheritors(relation, RowExclusiveLock, NULL);
	foreach(cell, all)
	{
		if (!holds_rows(lfirst_oid(cell)))
			continue;
		(void) image_column(lfirst_oid(cell), column);
		check_guarded(lfirst_oid(cell));
		members = lappend_oid(members, lfirst_oid(cell));
	}
	return members;
}

static void
check_caller(int64 limit)
{
	PreventCommandIfReadOnly("biometric.reseal()");
	if (!role_is_custodian(GetUserId()))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" may not seal images again",
							   GetUserNameFromId(GetUserId(), false)),
						errdetail("Members of biometric_custodian may, superusers as such not."),
						errhint("Ask a custodian, or have biometric_custodian granted to the "
								"role.")));
	if (limit < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_rows must be at least 1"),
				 errhint("Leave it out for the usual 1000.")));
}

/* ---- where it goes on */

static int64
count_blocks(const List *members)
{
	int64 blocks = 0;
	ListCell *cell;

	foreach(cell, members)
	{
		Relation table = relation_open(lfirst_oid(cell), NoLock);

		blocks += RelationGetNumberOfBlocks(table);
		relation_close(table, NoLock);
	}
	return blocks;
}

static void
add_column_arguments(const Reseal *reseal, ChangeArguments *arguments)
{
	NameData *name = palloc0(sizeof(NameData));

	namestrcpy(name, reseal->column);
	change_add(arguments, OIDOID, ObjectIdGetDatum(reseal->relation), false);
	change_add(arguments, NAMEOID, NameGetDatum(name), false);
}

static int64
result_number(int column)
{
	return strtoi64(change_result(column), NULL, 10);
}

/* A pass from the start, of which nothing has been done. */
static void
begin_pass(Reseal *reseal)
{
	reseal->member = 0;
	reseal->block = 0;
	reseal->again = false;
	reseal->locked = 0;
	reseal->unopened = 0;
	reseal->progress.verifying = true;
	reseal->progress.blocks_total = count_blocks(reseal->members);
	reseal->progress.blocks_done = 0;
	reseal->progress.images_skipped = 0;
}

/* The member that was next; a table that is gone is no reason to pass the others over. */
static void
find_member(Reseal *reseal, Oid member)
{
	for (int i = 0; i < list_length(reseal->members); i++)
		if (list_nth_oid(reseal->members, i) == member)
		{
			reseal->member = i;
			return;
		}
	begin_pass(reseal);
}

/*
 * Reads where to go on, and locks that row until the end of the transaction: whoever wants to
 * seal the same column waits for that, and goes on there.
 */
static void
read_progress(Reseal *reseal)
{
	ResealProgress *progress = &reseal->progress;
	ChangeArguments arguments = {0};
	PolicyChange change;

	begin_pass(reseal);
	change_begin(&change);
	change_execute("DELETE FROM ONLY biometric.reseal_progress AS p WHERE NOT EXISTS "
				   "(SELECT FROM pg_attribute AS a WHERE a.attrelid = p.relation "
				   "AND a.attname = p.column_name)",
				   &arguments);
	add_column_arguments(reseal, &arguments);
	change_execute(
		"INSERT INTO biometric.reseal_progress SELECT l.log_id, $1, $2, 0, 0, false, 0, 0, 0, 0, "
		"clock_timestamp() FROM ONLY biometric.log AS l WHERE l.ordinal IS NOT NULL "
		"ORDER BY l.ordinal DESC LIMIT 1 "
		"ON CONFLICT (log_id, relation, column_name) DO UPDATE SET block = reseal_progress.block "
		"RETURNING member, block, again, blocks_total, blocks_done, images_done, images_skipped, "
		"(extract(epoch FROM started_at - '2000-01-01 00:00:00+00') * 1000000)::int8",
		&arguments);
	progress->relation = reseal->relation;
	progress->attribute = get_attnum(reseal->relation, reseal->column);
	progress->images_done = result_number(6);
	progress->started_at = result_number(8);
	/*
	 * A pass that was only about to begin begins now: with the tables of now, of which one that
	 * has been attached since may come before all others.
	 */
	if (result_number(1) != 0 && change_result(3)[0] == 't')
	{
		reseal->block = (BlockNumber) result_number(2);
		reseal->again = true;
		progress->verifying = false;
		progress->blocks_total = result_number(4);
		progress->blocks_done = result_number(5);
		progress->images_skipped = result_number(7);
		find_member(reseal, (Oid) result_number(1));
	}
	change_end(&change);
}

/* Writes down where the next call goes on; when there is nothing left to do, nothing. */
static void
write_progress(const Reseal *reseal, bool done)
{
	const ResealProgress *progress = reseal_progress_now();
	ChangeArguments arguments = {0};
	PolicyChange change;
	Oid member = done ? InvalidOid : list_nth_oid(reseal->members, reseal->member);

	change_begin(&change);
	add_column_arguments(reseal, &arguments);
	if (!done)
	{
		change_add(&arguments, OIDOID, ObjectIdGetDatum(member), false);
		change_add(&arguments, INT8OID, Int64GetDatum((int64) reseal->block), false);
		change_add(&arguments, BOOLOID, BoolGetDatum(reseal->again), false);
		change_add(&arguments, INT8OID, Int64GetDatum(progress->blocks_total), false);
		change_add(&arguments, INT8OID, Int64GetDatum(progress->blocks_done), false);
		change_add(&arguments, INT8OID, Int64GetDatum(progress->images_done), false);
		change_add(&arguments, INT8OID, Int64GetDatum(progress->images_skipped), false);
	}
	change_execute(done ? "DELETE FROM ONLY biometric.reseal_progress AS p "
						  "WHERE p.relation = $1 AND p.column_name = $2"
						: "UPDATE ONLY biometric.reseal_progress AS p SET member = $3, block = $4, "
						  "again = $5, blocks_total = $6, blocks_done = $7, images_done = $8, "
						  "images_skipped = $9 WHERE p.relation = $1 AND p.column_name = $2",
				   &arguments);
	change_end(&change);
}

/* ---- passes */

/* Goes on to the end of the pass, or until enough has been sealed: false. */
static bool
go_on(Reseal *reseal)
{
	while (reseal->member < list_length(reseal->members))
	{
		ResealStretch stretch = {.table = list_nth_oid(reseal->members, reseal->member),
								 .column = reseal->column,
								 .first = reseal->block,
								 .limit = reseal->limit - reseal->sealed,
								 .active = reseal->active};

		reseal_rows(&stretch);
		reseal->sealed += stretch.sealed;
		reseal->locked += stretch.locked;
		reseal->unopened += stretch.unopened;
		reseal->again |= stretch.sealed > 0;
		if (reseal->problem == NULL)
			reseal->problem = stretch.problem;
		reseal->block = stretch.next;
		if (!stretch.ended)
			return false;
		reseal->member++;
		reseal->block = 0;
	}
	return true;
}

/*
 * As much of a pass as is this call's is made by one snapshot: a row that others move meanwhile,
 * from a table that comes into one that has been looked at, is found where it was.
 */
static bool
run_pass(Reseal *reseal)
{
	bool ended;

	/* rows that others have committed count, whatever this transaction's snapshot shows */
	PushActiveSnapshot(GetLatestSnapshot());
	ended = go_on(reseal);
	PopActiveSnapshot();
	return ended;
}

/* Begins the next pass, of a call that goes on or of the one that comes. */
static void
next_pass(Reseal *reseal)
{
	reseal->progress = *reseal_progress_now();
	begin_pass(reseal);
	reseal_progress_begin(&reseal->progress);
}

/* Seals as much as was asked for; returns true when there is nothing left to do. */
static bool
run_call(Reseal *reseal)
{
	while (run_pass(reseal))
	{
		if (!reseal->again)
			return true;
		next_pass(reseal);
		if (reseal->sealed > 0)
			return false;
	}
	return false;
}

static void
tell_skipped(const Reseal *reseal)
{
	if (reseal->locked > 0)
		ereport(NOTICE, (errmsg_plural("%lld image is in a row that somebody else is changing",
									   "%lld images are in rows that others are changing",
									   (unsigned long) reseal->locked, (long long) reseal->locked),
						 errhint("Call biometric.reseal() again later.")));
	if (reseal->unopened > 0)
		ereport(WARNING,
				(errmsg_plural("%lld image of column \"%s\" cannot be sealed again",
							   "%lld images of column \"%s\" cannot be sealed again",
							   (unsigned long) reseal->unopened, (long long) reseal->unopened,
							   reseal->column),
				 errdetail("They stay as they are. The first: %s.", reseal->problem),
				 errhint("Put missing keys that were not shredded back into the keyring; restore "
						 "damaged rows from a backup.")));
}

PGDLLEXPORT Datum
biometric_reseal(PG_FUNCTION_ARGS)
{
	Reseal reseal = {.relation = PG_GETARG_OID(0),
					 .column = NameStr(*PG_GETARG_NAME(1)),
					 .limit = PG_GETARG_INT64(2)};
	bool done;

	check_caller(reseal.limit);
	reseal.members = list_members(reseal.relation, reseal.column);
	reseal.active = keyring_active()->id;
	read_progress(&reseal);
	reseal_progress_begin(&reseal.progress);
	done = run_call(&reseal);
	write_progress(&reseal, done);
	reseal_progress_end();
	tell_skipped(&reseal);
	PG_RETURN_INT64(reseal.sealed);
}
