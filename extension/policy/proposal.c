/*
 * proposal.c - changes that wait for another custodian: written down, tried,
 * and called again once they are approved.
 *
 * What is written down is a call of one of our own functions, never SQL.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "policy/arguments.h"
#include "policy/change.h"
#include "policy/person.h"
#include "policy/policy_sql.h"
#include "policy/proposal.h"

#define ARGUMENTS_MAX 16

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_approve);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_reject);

/* The functions that may be written down and called; of their own names the schema has no others. */
static const char *const functions[] = {
	"register_party", "register_network", "register_local", "unregister_network",
	"authorize",	  "set_quota",		  "revoke",			"reinstate",
	"adopt",		  "collect",		  "retain",			"end_past_retention",
	"release_hold",	  "shred_key"};

/* A function with its arguments. */
typedef struct ProposedCall
{
	Oid function;
	char *name;
	int count;
	Oid types[ARGUMENTS_MAX];
	Datum values[ARGUMENTS_MAX];
	bool nulls[ARGUMENTS_MAX];
} ProposedCall;

/* A call that is tried or executed. */
typedef struct ProposalRun
{
	const ProposedCall *call;
	MemoryContext context; /* of detail */
	char *detail;		   /* what the function recorded; NULL: nothing yet */
	/* only when it is executed */
	int64 number;		  /* 0: it is tried */
	const char *change;	  /* what was proposed */
	const char *by;		  /* the login that proposed */
	Oid proposer;		  /* and its role */
	const char *approver; /* the login that approved */
} ProposalRun;

static bool two_person = false;
static int proposal_lifetime = 72 * SECS_PER_HOUR;
static ProposalRun *running = NULL;

/*
 * What the postmaster has read from the server's files, for sessions and workers that
 * have not read them since. Written by the postmaster alone, so in the order of its readings.
 */
static pg_atomic_uint32 *two_person_read = NULL;

Size
proposal_shmem_size(void)
{
	return sizeof(pg_atomic_uint32);
}

void
proposal_shmem_init(void)
{
	bool found;

	two_person_read = ShmemInitStruct("biometric_audit two_person", proposal_shmem_size(), &found);
	if (!found)
		pg_atomic_init_u32(two_person_read, two_person ? 1 : 0);
}

static void
two_person_assign(bool value, void *extra)
{
	if (two_person_read && !IsUnderPostmaster)
		pg_atomic_write_u32(two_person_read, value ? 1 : 0);
}

/* What SHOW says, and what the guard asks for. */
static const char *
two_person_show(void)
{
	return proposal_two_persons() ? "on" : "off";
}

void
proposal_define_settings(void)
{
	DefineCustomBoolVariable("biometric_audit.two_person",
							 "Whether changes that widen access wait for another custodian.",
							 "They become proposals, which take effect when a custodian who logged "
							 "in as somebody else approves them.",
							 &two_person, false, PGC_SIGHUP, 0, NULL, two_person_assign,
							 two_person_show);
	DefineCustomIntVariable("biometric_audit.proposal_lifetime",
							"How long a proposal may be approved.", NULL, &proposal_lifetime,
							72 * SECS_PER_HOUR, 1, 366 * SECS_PER_DAY, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
}

bool
proposal_two_persons(void)
{
	return two_person || (two_person_read && pg_atomic_read_u32(two_person_read) != 0);
}

bool
proposal_wanted(bool widens)
{
	if (!widens || running)
		return false;
	if (proposal_two_persons())
		return true;
	change_alone();
	return false;
}

/* ---- what is recorded ---- */

Oid
proposal_proposer(void)
{
	return running ? running->proposer : InvalidOid;
}

static Datum
proposal_jsonb(const char *text)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

static char *
proposal_jsonb_text(Datum value)
{
	return DatumGetCString(DirectFunctionCall1(jsonb_out, value));
}

static Datum
proposal_without(Datum value, const char *key)
{
	return DirectFunctionCall2(jsonb_delete, value, CStringGetTextDatum(key));
}

/* A change without the id that its trial has used up. */
static char *
proposal_tidy(const ProposedCall *call, const char *detail)
{
	Datum value = proposal_jsonb(detail);

	if (strcmp(call->name, "authorize") == 0)
		value = proposal_without(value, "permit");
	if (strcmp(call->name, "collect") == 0)
		value = proposal_without(value, "declaration");
	return proposal_jsonb_text(value);
}

/*
 * What two runs of a call must agree in: all but how many images there are to adopt, and the
 * id of a new permit. Whoever approves has read the name of a relation; one that has another
 * name now is not what was read.
 */
static Datum
proposal_essence(const ProposedCall *call, const char *detail)
{
	return proposal_without(proposal_jsonb(proposal_tidy(call, detail)), "images");
}

/* How many images a change is about; NULL but for adopt(). */
static Datum
proposal_images(const char *detail, bool *null)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&DatumGetJsonbP(proposal_jsonb(detail))->root,
													 "images", strlen("images"), NULL);

	*null = value == NULL || value->type != jbvNumeric;
	return *null ? (Datum) 0 : NumericGetDatum(value->val.numeric);
}

/* Whether what is about to be recorded is what was proposed, or less of it. */
static bool
proposal_agrees(const char *detail)
{
	bool had_none;
	bool has_none;
	Datum had = proposal_images(running->change, &had_none);
	Datum has = proposal_images(detail, &has_none);

	if (!DatumGetBool(DirectFunctionCall2(jsonb_eq, proposal_essence(running->call, detail),
										  proposal_essence(running->call, running->change))))
		return false;
	return has_none || (!had_none && DatumGetBool(DirectFunctionCall2(numeric_le, has, had)));
}

static bool
proposal_is_action(const ProposedCall *call, const char *detail)
{
	Datum action = DirectFunctionCall2(jsonb_object_field_text, proposal_jsonb(detail),
									   CStringGetTextDatum("action"));

	return strcmp(TextDatumGetCString(action), call->name) == 0;
}

/*
 * A run records one change, its own: what code of others, which adopting may call, does
 * besides was seen by nobody.
 */
static void
proposal_check_detail(const char *detail)
{
	if (running->detail || !proposal_is_action(running->call, detail))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s() would change more than itself", running->call->name),
						errdetail("A proposal is for one change of the policy."),
						errhint("See which functions the table's indexes call.")));
	if (running->number != 0 && !proposal_agrees(detail))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("proposal %lld is no longer what was proposed",
							   (long long) running->number),
						errdetail("It would be recorded as %s now, and was proposed as %s.", detail,
								  running->change),
						errhint("Propose the change anew.")));
}

const char *
proposal_detail(const char *detail)
{
	StringInfoData more;
	MemoryContext old;

	if (running == NULL)
		return detail;
	proposal_check_detail(detail);
	if (running->number != 0)
	{
		initStringInfo(&more);
		appendStringInfo(&more,
						 "{\"proposal\": %lld, \"proposed_by\": ", (long long) running->number);
		escape_json(&more, running->by);
		appendStringInfoString(&more, ", \"approved_by\": ");
		escape_json(&more, running->approver);
		appendStringInfoChar(&more, '}');
		detail = proposal_jsonb_text(
			DirectFunctionCall2(jsonb_concat, proposal_jsonb(detail), proposal_jsonb(more.data)));
	}
	old = MemoryContextSwitchTo(running->context);
	running->detail = pstrdup(detail);
	MemoryContextSwitchTo(old);
	return running->number != 0 ? detail : NULL;
}

void
proposal_note(const char *detail)
{
	PolicyChange change = {.caller = GetUserId()};

	if (running == NULL)
		return;
	change.caller_name = GetUserNameFromId(change.caller, false);
	change_record(&change, detail, 0);
}

/* ---- calls ---- */

static bool
proposal_knows(Oid function, const char *name)
{
	for (int i = 0; name && i < (int) lengthof(functions); i++)
		if (strcmp(name, functions[i]) == 0)
			return OidIsValid(extension_oid()) &&
				   getExtensionOfObject(ProcedureRelationId, function) == extension_oid();
	return false;
}

static void
call_from_fcinfo(FunctionCallInfo fcinfo, ProposedCall *call)
{
	Oid *types;

	call->function = fcinfo->flinfo->fn_oid;
	call->name = get_func_name(call->function);
	if (!proposal_knows(call->function, call->name))
		elog(ERROR, "function %u cannot be proposed", call->function);
	(void) get_func_signature(call->function, &types, &call->count);
	if (call->count > ARGUMENTS_MAX || call->count != fcinfo->nargs)
		elog(ERROR, "function %u has %d arguments", call->function, call->count);
	for (int i = 0; i < call->count; i++)
	{
		call->types[i] = types[i];
		call->values[i] = fcinfo->args[i].value;
		call->nulls[i] = fcinfo->args[i].isnull;
	}
}

static void
call_invoke(const ProposedCall *call)
{
	FmgrInfo function;
	LOCAL_FCINFO(fcinfo, ARGUMENTS_MAX);

	fmgr_info(call->function, &function);
	InitFunctionCallInfoData(*fcinfo, &function, call->count, InvalidOid, NULL, NULL);
	for (int i = 0; i < call->count; i++)
	{
		/* what a strict function was never asked it is not asked now */
		if (call->nulls[i] && function.fn_strict)
			elog(ERROR, "argument %d of function %u is null", i + 1, call->function);
		fcinfo->args[i].value = call->values[i];
		fcinfo->args[i].isnull = call->nulls[i];
	}
	(void) FunctionCallInvoke(fcinfo);
}

/* Runs a call; returns what it recorded, in the current memory context. */
static char *
call_run(ProposalRun *run)
{
	run->context = CurrentMemoryContext;
	running = run;
	PG_TRY();
	{
		call_invoke(run->call);
	}
	PG_FINALLY();
	{
		running = NULL;
	}
	PG_END_TRY();
	if (run->detail == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s() would change nothing", run->call->name),
						errhint("Nothing needs to be proposed.")));
	return run->detail;
}

/*
 * Runs a call and undoes it. An error undoes it as well before it goes on, since whoever
 * catches it does not know of this subtransaction.
 */
static char *
call_try(const ProposedCall *call)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ProposalRun run = {.call = call};
	ErrorData *volatile error = NULL;
	char *volatile detail = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		detail = call_run(&run);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error)
		ReThrowError(error);
	return proposal_tidy(call, detail);
}

/* An argument as text. Relations by OID: another one may get the name. */
static Datum
call_argument_text(const ProposedCall *call, int index)
{
	Oid output;
	bool is_varlena;

	if (call->types[index] == REGCLASSOID)
		return CStringGetTextDatum(psprintf("%u", DatumGetObjectId(call->values[index])));
	getTypeOutputInfo(call->types[index], &output, &is_varlena);
	return CStringGetTextDatum(OidOutputFunctionCall(output, call->values[index]));
}

static Datum
call_arguments(const ProposedCall *call)
{
	Datum texts[ARGUMENTS_MAX] = {0};
	bool nulls[ARGUMENTS_MAX];
	int dimensions[1] = {call->count};
	int bounds[1] = {1};

	for (int i = 0; i < call->count; i++)
	{
		nulls[i] = call->nulls[i];
		if (!nulls[i])
			texts[i] = call_argument_text(call, i);
	}
	return PointerGetDatum(
		construct_md_array(texts, nulls, 1, dimensions, bounds, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
call_types(const ProposedCall *call)
{
	Datum types[ARGUMENTS_MAX];

	for (int i = 0; i < call->count; i++)
		types[i] = ObjectIdGetDatum(call->types[i]);
	return PointerGetDatum(
		construct_array(types, call->count, REGTYPEOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* Reads a call back; what it points to is in the current memory context. */
static void
call_read(const char *name, Datum types, Datum arguments, ProposedCall *call)
{
	Datum *oids;
	Datum *texts;
	bool *nulls;
	int count;

	deconstruct_array(DatumGetArrayTypeP(types), REGTYPEOID, sizeof(Oid), true, TYPALIGN_INT, &oids,
					  NULL, &call->count);
	policy_text_array(arguments, &texts, &nulls, &count);
	if (count != call->count || count > ARGUMENTS_MAX)
		elog(ERROR, "a proposal has %d arguments of %d types", count, call->count);
	for (int i = 0; i < count; i++)
	{
		Oid input;
		Oid parameter;

		call->types[i] = DatumGetObjectId(oids[i]);
		call->nulls[i] = nulls[i];
		getTypeInputInfo(call->types[i], &input, &parameter);
		if (!nulls[i])
			call->values[i] =
				OidInputFunctionCall(input, TextDatumGetCString(texts[i]), parameter, -1);
	}
	call->name = pstrdup(name);
	call->function = LookupFuncName(list_make2(makeString("biometric"), makeString(call->name)),
									call->count, call->types, true);
	if (!OidIsValid(call->function) || !proposal_knows(call->function, call->name))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("function biometric.%s() is no longer what it was", call->name),
						errdetail("Its arguments have changed since the change was proposed."),
						errhint("Propose the change anew.")));
}

/* ---- proposing ---- */

static int64
proposal_insert(const ProposedCall *call, const Person *person, const PolicyChange *change,
				const char *detail)
{
	ChangeArguments arguments = {0};
	int64 number;
	bool null;

	change_add_text(&arguments, call->name);
	change_add(&arguments, REGTYPEARRAYOID, call_types(call), false);
	change_add(&arguments, TEXTARRAYOID, call_arguments(call), false);
	change_add_text(&arguments, detail);
	change_add_text(&arguments, person->login);
	change_add(&arguments, OIDOID, ObjectIdGetDatum(person->role), false);
	change_add_text(&arguments, person->identity);
	change_add_text(&arguments, change->caller_name);
	change_add(&arguments, INT4OID, Int32GetDatum(proposal_lifetime), false);
	change_execute("INSERT INTO biometric.proposed (id, function, types, arguments, change, "
				   "proposed_by, proposed_login, proposed_identity, proposed_role, proposed_at, "
				   "expires_at) OVERRIDING SYSTEM VALUE "
				   "SELECT greatest(nextval('biometric.proposed_id_seq'), "
				   "(SELECT max(id) + 1 FROM ONLY biometric.proposed)), $1, $2, $3, $4::jsonb, $5, "
				   "$6, $7, $8, t, "
				   "t + make_interval(secs => $9) FROM clock_timestamp() AS t "
				   "RETURNING id, jsonb_build_object('action', 'propose', 'proposal', id, "
				   "'change', change, 'expires_at', expires_at)::text",
				   &arguments);
	number = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	change_record(change, change_result(2), 0);
	return number;
}

int64
proposal_make(FunctionCallInfo fcinfo)
{
	PolicyChange change;
	ProposedCall call = {0};
	Person person;
	char *detail;
	int64 number;

	call_from_fcinfo(fcinfo, &call);
	person = person_here();
	detail = call_try(&call);
	change_begin_policy(&change);
	number = proposal_insert(&call, &person, &change, detail);
	change_end(&change);
	ereport(NOTICE, (errmsg("proposal %lld waits for another custodian", (long long) number),
					 errdetail("Changes of its kind are made by two persons."),
					 errhint("Have somebody who logs in as another custodian call "
							 "biometric.approve(%lld).",
							 (long long) number)));
	if (person_others(&person) == 0)
		ereport(WARNING, (errmsg("nobody else can approve it"),
						  errdetail("No other role that may log in is a custodian."),
						  errhint("Have biometric_custodian granted to a second person.")));
	return number;
}

/* ---- deciding ---- */

static int64
proposal_number(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"proposal_id\" cannot be used: it is NULL"),
						errhint("View biometric.proposal lists the proposals.")));
	return PG_GETARG_INT64(0);
}

/* The columns of proposal_lock's result, by number. */
enum
{
	COLUMN_STATE = 1,
	COLUMN_FUNCTION,
	COLUMN_TYPES,
	COLUMN_ARGUMENTS,
	COLUMN_CHANGE,
	COLUMN_BY,
	COLUMN_LOGIN,
	COLUMN_IDENTITY
};

/* Reads a proposal that is open, and keeps others from deciding on it meanwhile. */
static void
proposal_lock(int64 number)
{
	ChangeArguments arguments = {0};
	char *state;

	change_add(&arguments, INT8OID, Int64GetDatum(number), false);
	if (change_execute("SELECT coalesce(decision, CASE WHEN expires_at <= clock_timestamp() "
					   "THEN 'expired' ELSE 'open' END), function, types, arguments, change::text, "
					   "proposed_by, proposed_login, proposed_identity "
					   "FROM ONLY biometric.proposed WHERE id = $1 FOR UPDATE",
					   &arguments) == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("there is no proposal %lld", (long long) number),
						errhint("View biometric.proposal lists the proposals of this database.")));
	state = change_result(COLUMN_STATE);
	if (strcmp(state, "open") != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("proposal %lld is not open: it is %s", (long long) number, state),
						errhint("Propose the change anew.")));
}

static Datum
proposal_value(int column)
{
	bool null;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &null);
}

/* Nobody approves what is their own. */
static void
proposal_check_person(int64 number, const Person *person)
{
	Person proposer;

	proposer.login = change_result(COLUMN_BY);
	proposer.role = DatumGetObjectId(proposal_value(COLUMN_LOGIN));
	proposer.identity = change_result(COLUMN_IDENTITY);
	if (person_same(&proposer, person))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("proposal %lld was made by the same person", (long long) number),
				 errdetail("\"%s\" proposed it, and \"%s\" is logged in here; the login and what "
						   "it was authenticated as count, not the role that was set since.",
						   proposer.login, person->login),
				 errhint("Have it approved by somebody who logs in as another custodian.")));
}

/* Writes down what became of a proposal; returns the detail of a rejection. */
static char *
proposal_decide(int64 number, const char *decision, const Person *person,
				const PolicyChange *change, const char *reason)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, INT8OID, Int64GetDatum(number), false);
	change_add_text(&arguments, decision);
	change_add_text(&arguments, person->login);
	change_add_text(&arguments, change->caller_name);
	change_add_text(&arguments, reason);
	if (change_execute("UPDATE ONLY biometric.proposed SET decision = $2, decided_by = $3, "
					   "decided_role = $4, decided_at = clock_timestamp(), reason = $5 "
					   "WHERE id = $1 AND decision IS NULL "
					   "RETURNING jsonb_build_object('action', 'reject', 'proposal', id, "
					   "'proposed_by', proposed_by, 'rejected_by', decided_by, 'reason', reason, "
					   "'change', change)::text",
					   &arguments) != 1)
		elog(ERROR, "proposal %lld is not open", (long long) number);
	return change_result(1);
}

/* Makes a proposal the approved one, unless it must not be; the call is in context. */
static void
proposal_approve(int64 number, const Person *person, MemoryContext context, ProposedCall *call,
				 ProposalRun *run)
{
	PolicyChange change;
	MemoryContext old;

	change_begin_policy(&change);
	proposal_lock(number);
	proposal_check_person(number, person);
	old = MemoryContextSwitchTo(context);
	call_read(change_result(COLUMN_FUNCTION), proposal_value(COLUMN_TYPES),
			  proposal_value(COLUMN_ARGUMENTS), call);
	run->change = pstrdup(change_result(COLUMN_CHANGE));
	run->by = pstrdup(change_result(COLUMN_BY));
	run->proposer = DatumGetObjectId(proposal_value(COLUMN_LOGIN));
	MemoryContextSwitchTo(old);
	(void) proposal_decide(number, "approved", person, &change, NULL);
	change_end(&change);
}

/* biometric_approve(proposal_id bigint) returns jsonb */
Datum
biometric_approve(PG_FUNCTION_ARGS)
{
	ProposedCall call = {0};
	ProposalRun run = {.call = &call};
	Person person;

	run.number = proposal_number(fcinfo);
	if (running)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a proposal cannot approve another"),
						errhint("Approve one after the other.")));
	person = person_here();
	run.approver = person.login;
	proposal_approve(run.number, &person, CurrentMemoryContext, &call, &run);
	PG_RETURN_DATUM(proposal_jsonb(call_run(&run)));
}

/* biometric_reject(proposal_id bigint, reason text) */
Datum
biometric_reject(PG_FUNCTION_ARGS)
{
	int64 number = proposal_number(fcinfo);
	Person person = person_here();
	PolicyChange change;
	char *reason;

	change_begin_policy(&change);
	reason = argument_reason(fcinfo, 1);
	proposal_lock(number);
	change_record(&change, proposal_decide(number, "rejected", &person, &change, reason), 0);
	change_end(&change);
	PG_RETURN_VOID();
}
