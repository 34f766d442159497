/*
 * unusual_activity.c - what a party got in each hour, for SQL.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "report/released.h"
#include "report/unusual.h"

#define HOUR_COLUMNS 4

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_activity_by_hour);

typedef struct LoginHour
{
	struct
	{
		int64 hour;
		char login[NAMEDATALEN * 4];
	} key;
	int64 disclosures;
	int64 refusals;
} LoginHour;

static void
login_hour_add(const HourCount *count, void *context)
{
	LoginHour sought;
	LoginHour *known;
	bool found;

	memset(&sought.key, 0, sizeof(sought.key));
	sought.key.hour = count->hour;
	strlcpy(sought.key.login, count->login, sizeof(sought.key.login));
	known = hash_search((HTAB *) context, &sought.key, HASH_ENTER, &found);
	known->disclosures = (found ? known->disclosures : 0) + count->disclosures;
	known->refusals = (found ? known->refusals : 0) + count->refusals;
}

static int
login_hour_compare(const ListCell *a, const ListCell *b)
{
	const LoginHour *left = lfirst(a);
	const LoginHour *right = lfirst(b);

	if (left->key.hour != right->key.hour)
		return left->key.hour < right->key.hour ? -1 : 1;
	return strcmp(left->key.login, right->key.login);
}

static void
login_hours_return(HTAB *hours, ReturnSetInfo *result)
{
	HASH_SEQ_STATUS all;
	List *sorted = NIL;
	LoginHour *hour;
	ListCell *cell;

	hash_seq_init(&all, hours);
	while ((hour = hash_seq_search(&all)) != NULL)
		sorted = lappend(sorted, hour);
	list_sort(sorted, login_hour_compare);
	foreach(cell, sorted)
	{
		Datum values[HOUR_COLUMNS];
		bool nulls[HOUR_COLUMNS] = {0};

		hour = lfirst(cell);
		values[0] = TimestampTzGetDatum(hour_begin(hour->key.hour));
		values[1] = CStringGetTextDatum(hour->key.login);
		values[2] = Int64GetDatum(hour->disclosures);
		values[3] = Int64GetDatum(hour->refusals);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* biometric_activity_by_hour(party text, during tstzrange) */
Datum
biometric_activity_by_hour(PG_FUNCTION_ARGS)
{
	HASHCTL control = {.keysize = sizeof(((LoginHour *) NULL)->key),
					   .entrysize = sizeof(LoginHour),
					   .hcxt = CurrentMemoryContext};
	HourQuestion question = {.refusals = true, .count = login_hour_add};
	ReleasedQuestion period = {0};
	HTAB *hours;
	int64 vague;

	released_question(PG_GETARG_DATUM(0), PG_ARGISNULL(0), PG_GETARG_DATUM(1), PG_ARGISNULL(1),
					  &period);
	InitMaterializedSRF(fcinfo, 0);
	hours =
		hash_create("biometric_audit hours", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	question.party = period.party;
	question.from = period.from;
	question.until = period.until;
	question.context = hours;
	vague = hours_read(&question, GetActiveSnapshot());
	if (vague > 0)
		ereport(WARNING,
				(errmsg("the figures are not exact"),
				 errdetail("%lld blocks of 256 entries were detached and lie in two hours, "
						   "at the "
						   "period's edge, or hold more than disclosures: what was disclosed "
						   "counts for the first hour, refusals do not count.",
						   (long long) vague)));
	login_hours_return(hours, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
