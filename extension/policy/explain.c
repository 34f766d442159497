/*
 * explain.c - what the policy says for the present session.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "base/lineage.h"
#include "policy/advice.h"
#include "policy/arguments.h"
#include "policy/policy.h"
#include "policy/quota.h"

#define EXPLAIN_COLUMNS 8

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_explain_access);

static Datum
explain_text(const char *text, bool *null)
{
	*null = text == NULL;
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

/* What is left of a decision's quota; a decision to release from which nothing is left becomes another. */
static int64
explain_quota(Decision *decision)
{
	QuotaState state;

	quota_await(decision, policy_generation());
	state = quota_look(decision);
	if (state.left <= 0 &&
		(decision->delivery == DELIVERY_OPEN || decision->delivery == DELIVERY_OBSERVE))
		*decision = quota_exceeded(decision);
	return state.left;
}

static void
explain_kind(ReturnSetInfo *result, ImageKind kind, List *lineage)
{
	DecideRequest request = {.kind = kind, .relations = lineage, .purpose = policy_purpose()};
	Decision decision = policy_decide(&request);
	Datum values[EXPLAIN_COLUMNS];
	bool nulls[EXPLAIN_COLUMNS];

	nulls[6] = !decision.quota;
	values[6] = Int64GetDatum(decision.quota ? explain_quota(&decision) : 0);
	values[0] = explain_text(image_kind_name(kind), &nulls[0]);
	values[1] = explain_text(decision.party, &nulls[1]);
	values[2] = explain_text(decision.network, &nulls[2]);
	values[3] = explain_text(delivery_name(decision.delivery), &nulls[3]);
	values[4] = explain_text(reason_name(decision.reason), &nulls[4]);
	values[5] = Int64GetDatum(decision.permit);
	nulls[5] = decision.permit == 0;
	values[7] = explain_text(advice_what_to_do(&decision, kind), &nulls[7]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* biometric_explain_access(relation regclass) returns a row for each kind. */
Datum
biometric_explain_access(PG_FUNCTION_ARGS)
{
	Oid relation = argument_relation(fcinfo, 0);
	List *lineage = relation_lineage(relation);

	InitMaterializedSRF(fcinfo, 0);
	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
		explain_kind((ReturnSetInfo *) fcinfo->resultinfo, kind, lineage);
	return (Datum) 0;
}
