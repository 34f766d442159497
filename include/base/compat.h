/*
 * compat.h - the differences between PostgreSQL 15 and later, in one place.
 * No other file looks at PG_VERSION_NUM.
 */
#ifndef BIOMETRIC_BASE_COMPAT_H
#define BIOMETRIC_BASE_COMPAT_H

#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "utils/guc.h"

#if PG_VERSION_NUM < 150000
#error "biometric_audit needs PostgreSQL 15 or later"
#endif

/* varlena macros moved out of postgres.h (d952373a987) */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * What ExecutorCheckPerms_hook is handed: the range table in 15, permission
 * infos beside it from 16 on (a61b1f74823).
 */
#if PG_VERSION_NUM >= 160000
typedef RTEPermissionInfo PermissionInfo;
#define CHECK_PERMS_ARGS List *range_table, List *permission_infos, bool abort_on_violation
#define CHECK_PERMS_PASS range_table, permission_infos, abort_on_violation
#define CHECK_PERMS_LIST(range_table, permission_infos) (permission_infos)
#else
typedef RangeTblEntry PermissionInfo;
#define CHECK_PERMS_ARGS List *range_table, bool abort_on_violation
#define CHECK_PERMS_PASS range_table, abort_on_violation
#define CHECK_PERMS_LIST(range_table, permission_infos) (range_table)
#endif

/* planned_permissions returns what the executor will check of a plan, as CHECK_PERMS_LIST. */
static inline List *
planned_permissions(PlannedStmt *plan)
{
#if PG_VERSION_NUM >= 160000
	return plan->permInfos;
#else
	return plan->rtable;
#endif
}

/* planned_permissions_set makes a list that planned_permissions is to return of a plan. */
static inline void
planned_permissions_set(PlannedStmt *plan, List *permissions)
{
#if PG_VERSION_NUM >= 160000
	plan->permInfos = permissions;
#else
	plan->rtable = permissions;
#endif
}

/* ExecutorRun lost execute_once (3eea7a0c97e) */
#if PG_VERSION_NUM >= 180000
#define EXECUTOR_RUN_ARGS QueryDesc *query, ScanDirection direction, uint64 count
#define EXECUTOR_RUN_PASS query, direction, count
#else
#define EXECUTOR_RUN_ARGS QueryDesc *query, ScanDirection direction, uint64 count, bool execute_once
#define EXECUTOR_RUN_PASS query, direction, count, execute_once
#endif

/* is_member_of_role_nosuper stays; database ownership checks were unified (afbfc02983f) */
#if PG_VERSION_NUM >= 160000
#define database_owner_check(database, role) object_ownercheck(DatabaseRelationId, database, role)
#else
#define database_owner_check(database, role) pg_database_ownercheck(database, role)
#endif

/* so was ownership of relations, likewise */
#if PG_VERSION_NUM >= 160000
#define relation_owner_check(relation, role) object_ownercheck(RelationRelationId, relation, role)
#else
#define relation_owner_check(relation, role) pg_class_ownercheck(relation, role)
#endif

/* what an update asks of indexes became an enum, for indexes that summarise (19d8e2308bc) */
#if PG_VERSION_NUM >= 160000
#define UPDATE_INDEXES_VARIABLE(name) TU_UpdateIndexes name = TU_None
#define insert_updated_index_tuples(info, slot, estate, updates)                                   \
	((updates) == TU_None ? NIL                                                                    \
						  : ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL,      \
												  (updates) == TU_Summarizing))
#else
#define UPDATE_INDEXES_VARIABLE(name) bool name = false
#define insert_updated_index_tuples(info, slot, estate, updates)                                   \
	((updates) ? ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL) : NIL)
#endif

/* extra values of settings are allocated by guc_malloc from 16 on, by malloc before */
#if PG_VERSION_NUM < 160000
#define guc_malloc(elevel, size) malloc(size)
#endif

/* room before the tuple can be asked for from 18 on */
#if PG_VERSION_NUM >= 180000
#define form_minimal_tuple(descriptor, values, nulls)                                              \
	heap_form_minimal_tuple(descriptor, values, nulls, 0)
#else
#define form_minimal_tuple(descriptor, values, nulls)                                              \
	heap_form_minimal_tuple(descriptor, values, nulls)
#endif

/* a keyword of its own from 18 on, before the whole declaration */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* a timeout more to be out of the worker's way */
#if PG_VERSION_NUM >= 170000
#define HAVE_TRANSACTION_TIMEOUT
#endif

/* where the number of the transaction of this backend is, since 17 (ab355e3a88d) */
#if PG_VERSION_NUM >= 170000
#define local_transaction_id() (MyProc->vxid.lxid)
#else
#define local_transaction_id() (MyProc->lxid)
#endif

/* PGPROC numbers became a variable of their own (024c5211172) */
#if PG_VERSION_NUM >= 170000
#define MY_PROC_NUMBER MyProcNumber
#else
#define MY_PROC_NUMBER MyProc->pgprocno
#endif

/*
 * restrict_search_path makes functions of others look nothing up outside of pg_catalog, until
 * the GUC nest level ends; a function of the server from 17 on (2af07e2f749)
 */
#if PG_VERSION_NUM >= 170000
#define restrict_search_path() RestrictSearchPath()
#else
#define restrict_search_path()                                                                     \
	((void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,    \
							  GUC_ACTION_SAVE, true, 0, false))
#endif

/* LockHeldByMe can be asked for stronger modes, too, from 17 on */
#if PG_VERSION_NUM >= 170000
#define lock_held_by_me(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define lock_held_by_me(tag, mode) LockHeldByMe(tag, mode)
#endif

/* what a client was authenticated as, NULL when it was not, moved out of Port in 16 (d951052a9e0) */
#if PG_VERSION_NUM >= 160000
#define authenticated_identity() (MyClientConnectionInfo.authn_id)
#else
#define authenticated_identity() (MyProcPort->authn_id)
#endif

/* what backends are doing, by the number of their entry, under a name of its own in 16 (8fba928fd78) */
#if PG_VERSION_NUM >= 160000
#define local_backend_status(index) pgstat_get_local_beentry_by_index(index)
#else
#define local_backend_status(index) pgstat_fetch_stat_local_beentry(index)
#endif

#endif
