/*
 * entry_names.c - the names of events, operations and reasons.
 */
#include "core/entry.h"

static const char *const event_names[ENTRY_EVENT_LAST + 1] = {
	[ENTRY_SESSION] = "session",
	[ENTRY_STATEMENT] = "statement",
	[ENTRY_DISCLOSED] = "disclosed",
	[ENTRY_OBSERVED] = "observed",
	[ENTRY_EXPORTED_SEALED] = "exported_sealed",
	[ENTRY_REFUSED] = "refused",
	[ENTRY_STORED] = "stored",
	[ENTRY_REPLACED] = "replaced",
	[ENTRY_ERASED] = "erased",
	[ENTRY_TRUNCATED] = "truncated",
	[ENTRY_DROPPED] = "dropped",
	[ENTRY_ABORTED] = "aborted",
	[ENTRY_POLICY_CHANGED] = "policy_changed",
	[ENTRY_KEY_CHANGED] = "key_changed",
	[ENTRY_PURGED] = "purged",
	[ENTRY_DDL_REFUSED] = "ddl_refused",
	[ENTRY_REPLICATION] = "replication",
	[ENTRY_FORKED] = "forked",
	[ENTRY_INCIDENT] = "incident",
};

static const char *const operation_names[OPERATION_LAST + 1] = {
	[OPERATION_NONE] = "none",		   [OPERATION_INSERT] = "insert",
	[OPERATION_UPDATE] = "update",	   [OPERATION_DELETE] = "delete",
	[OPERATION_TRUNCATE] = "truncate", [OPERATION_CREATE] = "create",
	[OPERATION_DROP] = "drop",		   [OPERATION_ADOPT] = "adopt",
	[OPERATION_DESCRIBE] = "describe", [OPERATION_RESEAL] = "reseal",
};

static const char *const reason_names[REASON_LAST + 1] = {
	[REASON_NONE] = "none",
	[REASON_PERMITTED] = "permitted",
	[REASON_LEDGER_UNAVAILABLE] = "ledger_unavailable",
	[REASON_KEY_UNAVAILABLE] = "key_unavailable",
	[REASON_STANDBY] = "standby",
	[REASON_NO_CLIENT] = "no_client",
	[REASON_UNREGISTERED_NETWORK] = "unregistered_network",
	[REASON_CONTRACT_EXPIRED] = "contract_expired",
	[REASON_QUARANTINED] = "quarantined",
	[REASON_NO_PERMIT] = "no_permit",
	[REASON_REFUSED_BY_PERMIT] = "refused_by_permit",
	[REASON_TLS_REQUIRED] = "tls_required",
	[REASON_PURPOSE_MISSING] = "purpose_missing",
	[REASON_PURPOSE_NOT_PERMITTED] = "purpose_not_permitted",
	[REASON_QUOTA_EXCEEDED] = "quota_exceeded",
	[REASON_RETENTION_EXPIRED] = "retention_expired",
	[REASON_IMPORTED] = "imported",
};

const char *
entry_event_name(int event)
{
	return event >= 0 && event <= ENTRY_EVENT_LAST ? event_names[event] : NULL;
}

const char *
operation_name(int operation)
{
	return operation >= 0 && operation <= OPERATION_LAST ? operation_names[operation] : NULL;
}

const char *
reason_name(int reason)
{
	return reason >= 0 && reason <= REASON_LAST ? reason_names[reason] : NULL;
}
