/*
 * main.c - what happens when the library is loaded.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"

#include "audit/audit.h"
#include "base/internal.h"
#include "gate/gate.h"
#include "guard/ddl.h"
#include "home/home.h"
#include "hooks.h"
#include "image/image.h"
#include "keyring/keyring.h"
#include "keys/keys.h"
#include "ledger/database.h"
#include "ledger/ring.h"
#include "policy/policy.h"
#include "report/incident.h"
#include "report/unusual.h"
#include "retention/retention.h"
#include "trace/trace.h"
#include "trigger/trigger.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static shmem_request_hook_type prev_shmem_request = NULL;
static shmem_startup_hook_type prev_shmem_startup = NULL;

static void
main_request_shmem(void)
{
	if (prev_shmem_request)
		prev_shmem_request();
	ledger_shmem_request();
	keyring_shmem_request(ledger_slots());
	keys_shmem_request();
	policy_shmem_request();
	retention_shmem_request();
}

static void
main_start_shmem(void)
{
	if (prev_shmem_startup)
		prev_shmem_startup();
	ledger_shmem_init();
	keyring_shmem_init(ledger_slots());
	keys_shmem_init();
	policy_shmem_init();
	retention_shmem_init();
}

static void
main_define_settings(void)
{
	keyring_define_settings();
	image_define_settings();
	ledger_define_settings();
	audit_define_settings();
	policy_define_settings();
	gate_define_settings();
	guard_define_settings();
	incident_define_settings();
	unusual_define_settings();
	trace_define_settings();
	retention_define_settings();
	MarkGUCPrefixReserved("biometric_audit");
}

/*
 * A library loaded late would have no shared memory, no worker and no hooks
 * in the sessions that are running: images would enter past the policy. So
 * it is refused.
 */
void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("biometric_audit must be loaded when the server starts"),
						errdetail("It guards every session and keeps its ledger in shared memory, "
								  "so it cannot be loaded later."),
						errhint("Add biometric_audit to shared_preload_libraries in "
								"postgresql.conf and restart the server.")));

	main_define_settings();
	prev_shmem_request = shmem_request_hook;
	shmem_request_hook = main_request_shmem;
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = main_start_shmem;

	internal_init();
	keyring_init();
	image_init();
	ledger_init();
	/* before the policy: nothing is to be permitted ahead of the keys, and of what has expired */
	keys_publish_init();
	retention_publish_init();
	policy_init();
	home_init();
	keys_init();
	retention_init();
	trigger_init();
	ledger_register_launcher();
	audit_register_anchor();
	hooks_install();
}
