/*
 * settings.c - the settings of this room, and the purpose of a session.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "base/compat.h"
#include "policy/policy.h"
#include "policy/proposal.h"
#include "policy/quota.h"
#include "policy/replication.h"
#include "policy/settings.h"

typedef enum Enforcement
{
	ENFORCEMENT_ENFORCE,
	ENFORCEMENT_OBSERVE
} Enforcement;

static const struct config_enum_entry enforcement_names[] = {
	{"enforce", ENFORCEMENT_ENFORCE, false},
	{"observe", ENFORCEMENT_OBSERVE, false},
	{NULL, 0, false},
};

static int enforcement = ENFORCEMENT_ENFORCE;
static int policy_size = 1024;
static char *purpose = NULL;
static bool purpose_declared = false;
static uint64 purpose_declarations = 0;

bool
policy_observes(void)
{
	return enforcement == ENFORCEMENT_OBSERVE;
}

Size
policy_capacity(void)
{
	return (Size) policy_size * 1024;
}

const char *
policy_purpose(void)
{
	return purpose_declared && purpose && purpose[0] != '\0' ? purpose : NULL;
}

uint64
policy_purpose_declarations(void)
{
	return purpose_declarations;
}

void
policy_purpose_expect(uint64 declarations)
{
	if (declarations != purpose_declarations)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("biometric_audit.purpose was changed while a statement was prepared to run"),
			 errdetail("A purpose is declared before the statement that it is for."),
			 errhint("SET biometric_audit.purpose in a statement of its own.")));
}

const char *
policy_clean_name(char *name)
{
	char *first = name;
	size_t length;

	while (*first == ' ')
		first++;
	length = strlen(first);
	while (length > 0 && first[length - 1] == ' ')
		length--;
	memmove(name, first, length);
	name[length] = '\0';

	if (length > POLICY_NAME_SIZE)
		return "it is longer than 200 bytes";
	for (size_t i = 0; i < length; i++)
		if ((unsigned char) name[i] < ' ' || name[i] == 0x7f)
			return "it holds a control character";
	if (!pg_verifymbstr(name, length, true))
		return "it is not valid in the encoding of the database";
	return NULL;
}

/*
 * Whether the session or its client set the purpose is remembered beside the
 * value, so that RESET, SET LOCAL and ROLLBACK bring back both together.
 */
static bool
settings_check_purpose(char **value, void **extra, GucSource source)
{
	const char *problem;
	bool *declared;

	if (*value == NULL)
		return true;
	problem = policy_clean_name(*value);
	if (problem)
	{
		GUC_check_errdetail("The purpose cannot be used: %s.", problem);
		return false;
	}
	declared = guc_malloc(ERROR, sizeof(bool));
	if (declared == NULL)
		return false;
	*declared = source == PGC_S_CLIENT || source == PGC_S_SESSION;
	*extra = declared;
	return true;
}

static void
settings_assign_purpose(const char *value, void *extra)
{
	purpose_declared = extra && *(bool *) extra;
	purpose_declarations++;
}

void
policy_define_settings(void)
{
	DefineCustomEnumVariable(
		"biometric_audit.enforcement",
		"Whether refusals by policy are enforced, or let through and recorded.",
		"With observe, what the policy would refuse is released and recorded "
		"in the ledger as observed.",
		&enforcement, ENFORCEMENT_ENFORCE, enforcement_names, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"biometric_audit.policy_size", "Shared memory for the published policy of a database.",
		"Two copies are kept for each database. A policy that does not fit "
		"refuses everybody.",
		&policy_size, 1024, 16, 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomStringVariable("biometric_audit.purpose", "What this session needs images for.",
							   "Images are opened only for a purpose. It counts only when the "
							   "session or its client has set it, not from a configuration file, "
							   "ALTER ROLE or ALTER DATABASE.",
							   &purpose, "", PGC_USERSET, 0, settings_check_purpose,
							   settings_assign_purpose, NULL);
	quota_define_settings();
	replication_define_settings();
	proposal_define_settings();
}
