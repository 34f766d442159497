/*
 * unusual.c - which parties, logins and sessions get far more than they used
 * to.
 *
 * A party, and each of its logins, is compared with what it got itself in the
 * same hour of the day, on the days before. A session has no such past:
 * it is compared with that of its login.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "policy/policy_sql.h"
#include "report/unusual.h"

#define DAYS_MAX 366
#define HOURS_OF_DAY 24
#define JUDGED_HOURS 2 /* the present one and the one before */
#define SPREADS 3.0
#define TIMES_HIGHEST 2
#define UNUSUAL_COLUMNS 12

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_unusual_activity);

static int activity_days = 28;
static int activity_floor = 100;

/* Somebody who is judged. Texts of this length at most come from the ledger's
 * index. */
typedef struct Judged
{
	char *name; /* the key: party, a newline, and login, another newline, and
                 process and time */
	char *party;
	char *login; /* NULL: the whole party */
	int process; /* 0: the whole login */
	TimestampTz session_at;
	bool seen;
	TimestampTz first; /* when it was first active, as far as that is known */
	int64 *got;		   /* JUDGED_HOURS times so many days and the present one; newest
                 first */
	bool far;		   /* above its past */
} Judged;

typedef struct Judgement
{
	HTAB *judged;
	MemoryContext context;
	int64 hour; /* the present one */
	int days;
} Judgement;

/* The past of one hour of somebody. */
typedef struct Past
{
	int days;
	double mean;
	double spread;
	int64 highest;
} Past;

void
unusual_define_settings(void)
{
	DefineCustomIntVariable("biometric_audit.activity_days",
							"How many days of past an hour is compared with.",
							"Used by biometric.unusual_activity.", &activity_days, 28, 1, DAYS_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("biometric_audit.activity_floor",
							"How many images in an hour are never unusual.",
							"Used by biometric.unusual_activity.", &activity_floor, 100, 0, INT_MAX,
							PGC_USERSET, 0, NULL, NULL, NULL);
}

static uint32
judged_hash(const void *key, Size size)
{
	const char *name = *(char *const *) key;

	return hash_bytes((const unsigned char *) name, strlen(name));
}

static int
judged_match(const void *a, const void *b, Size size)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Finds somebody, or makes a new one. login NULL: the party; process 0: the
 * login. */
static Judged *
judged_get(Judgement *judgement, const char *party, const char *login, int process)
{
	char *name = psprintf("%s\n%s\n%d", party, login ? login : "\n", process);
	MemoryContext old;
	Judged *judged;
	bool known;

	judged = hash_search(judgement->judged, &name, HASH_ENTER, &known);
	if (known)
	{
		pfree(name);
		return judged;
	}
	old = MemoryContextSwitchTo(judgement->context);
	memset(judged, 0, sizeof(Judged));
	judged->name = pstrdup(name);
	judged->party = pstrdup(party);
	judged->login = login ? pstrdup(login) : NULL;
	judged->process = process;
	judged->got = palloc0(JUDGED_HOURS * (judgement->days + 1) * sizeof(int64));
	MemoryContextSwitchTo(old);
	pfree(name);
	return judged;
}

/* Where an hour's figure is kept; NULL: nobody asks for it. */
static int64 *
judged_place(const Judgement *judgement, const Judged *judged, int64 hour)
{
	int64 before = judgement->hour - hour;
	int64 day = before / HOURS_OF_DAY;

	if (before < 0 || before % HOURS_OF_DAY >= JUDGED_HOURS || day > judgement->days)
		return NULL;
	return &judged->got[before % HOURS_OF_DAY * (judgement->days + 1) + day];
}

static void
judged_add(const Judgement *judgement, Judged *judged, const HourCount *count)
{
	int64 *place = judged_place(judgement, judged, count->hour);

	if (place)
		*place += count->disclosures;
}

static bool
hour_is_judged(const char *party, const char *login, int64 hour, void *context)
{
	const Judgement *judgement = context;
	int64 before = judgement->hour - hour;

	return before >= 0 && before % HOURS_OF_DAY < JUDGED_HOURS &&
		   before / HOURS_OF_DAY <= judgement->days;
}

static void
login_was_seen(const char *party, const char *login, TimestampTz at, void *context)
{
	Judged *both[] = {judged_get(context, party, NULL, 0), judged_get(context, party, login, 0)};

	for (int i = 0; i < (int) lengthof(both); i++)
	{
		if (!both[i]->seen || at < both[i]->first)
			both[i]->first = at;
		both[i]->seen = true;
	}
}

static void
login_got(const HourCount *count, void *context)
{
	judged_add(context, judged_get(context, count->party, NULL, 0), count);
	judged_add(context, judged_get(context, count->party, count->login, 0), count);
}

/* Of sessions only those of logins that are far above their past can be. */
static bool
login_is_far(const char *party, const char *login, int64 hour, void *context)
{
	const Judgement *judgement = context;

	return judgement->hour - hour >= 0 && judgement->hour - hour < JUDGED_HOURS &&
		   judged_get(context, party, login, 0)->far;
}

static void
session_got(const HourCount *count, void *context)
{
	Judged *session = judged_get(context, count->party, count->login, count->process);

	if (session->session_at == 0 || count->session_at < session->session_at)
		session->session_at = count->session_at;
	judged_add(context, session, count);
}

static void
past_of(const Judgement *judgement, const Judged *judged, int which, Past *past)
{
	const int64 *got = &judged->got[which * (judgement->days + 1)];
	int64 hour = judgement->hour - which;
	double squares = 0;

	memset(past, 0, sizeof(*past));
	if (!judged->seen || hour_of(judged->first) >= hour)
		return;
	past->days = (int) Min((hour - hour_of(judged->first)) / HOURS_OF_DAY, judgement->days);
	if (past->days == 0)
		return;
	for (int day = 1; day <= past->days; day++)
	{
		past->mean += (double) got[day] / past->days;
		past->highest = Max(past->highest, got[day]);
	}
	for (int day = 1; day <= past->days; day++)
		squares += (got[day] - past->mean) * (got[day] - past->mean);
	past->spread = sqrt(squares / past->days);
}

/* Whether an hour's figure is far above the past that it is compared with. */
static bool
is_far_above(int64 got, const Past *past)
{
	if (got <= activity_floor)
		return false;
	return past->days == 0 ||
		   (got > past->mean + SPREADS * past->spread && got > TIMES_HIGHEST * past->highest);
}

/* The one whose past somebody is compared with. */
static Judged *
past_owner(Judgement *judgement, Judged *judged)
{
	return judged->process == 0 ? judged : judged_get(judgement, judged->party, judged->login, 0);
}

static int64
got_in(const Judgement *judgement, const Judged *judged, int which)
{
	return judged->got[which * (judgement->days + 1)];
}

/* The figures in a sentence. */
static char *
judged_why(const Judgement *judgement, int64 got, int which, const Past *past, bool session)
{
	StringInfoData why;
	const char *whose = session ? "the login's" : "the";

	initStringInfo(&why);
	appendStringInfo(&why, "%lld images in the hour from %s", (long long) got,
					 timestamptz_to_str(hour_begin(judgement->hour - which)));
	if (which == 0)
		appendStringInfoString(&why, " so far");
	if (past->days == 0)
		appendStringInfo(&why, "; there is no past to compare this with, and up to %d are usual",
						 activity_floor);
	else if (past->highest == 0)
		appendStringInfo(&why, "; none in %s same hour of the %d days before", whose, past->days);
	else
		appendStringInfo(&why,
						 "; in %s same hour of the %d days before %.1f on average, with a "
						 "spread of %.1f, and at most %lld",
						 whose, past->days, past->mean, past->spread, (long long) past->highest);
	return why.data;
}

static void
judged_row(Judgement *judgement, Judged *judged, int which, ReturnSetInfo *result)
{
	Datum values[UNUSUAL_COLUMNS] = {0};
	bool nulls[UNUSUAL_COLUMNS] = {0};
	int64 got = got_in(judgement, judged, which);
	Past past;

	past_of(judgement, past_owner(judgement, judged), which, &past);
	values[0] = CStringGetTextDatum(judged->party);
	nulls[1] = judged->login == NULL;
	if (!nulls[1])
		values[1] = CStringGetTextDatum(judged->login);
	nulls[2] = nulls[3] = judged->process == 0;
	values[2] = Int32GetDatum(judged->process);
	values[3] = TimestampTzGetDatum(judged->session_at);
	values[4] = TimestampTzGetDatum(hour_begin(judgement->hour - which));
	values[5] = Int64GetDatum(got);
	nulls[6] = nulls[7] = nulls[8] = past.days == 0;
	values[6] = Float8GetDatum(past.mean);
	values[7] = Float8GetDatum(past.spread);
	values[8] = Int64GetDatum(past.highest);
	values[9] = Int32GetDatum(past.days);
	nulls[10] = past.mean == 0;
	values[10] = Float8GetDatum(past.mean == 0 ? 0 : got / past.mean);
	values[11] =
		CStringGetTextDatum(judged_why(judgement, got, which, &past, judged->process != 0));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Judges everybody there is; result: where to list who is far above; NULL: only
 * notes it. */
static void
judge(Judgement *judgement, ReturnSetInfo *result)
{
	List *all = NIL;
	HASH_SEQ_STATUS everybody;
	Judged *judged;
	ListCell *cell;

	hash_seq_init(&everybody, judgement->judged);
	while ((judged = hash_seq_search(&everybody)) != NULL)
		all = lappend(all, judged);
	foreach(cell, all)
		for (int which = 0; which < JUDGED_HOURS; which++)
		{
			Past past;

			judged = lfirst(cell);
			past_of(judgement, past_owner(judgement, judged), which, &past);
			if (!is_far_above(got_in(judgement, judged, which), &past))
				continue;
			judged->far = true;
			if (result)
				judged_row(judgement, judged, which, result);
		}
}

static void
judgement_read(Judgement *judgement, TimestampTz at)
{
	int64 back = (int64) judgement->days * HOURS_OF_DAY + JUDGED_HOURS - 1;
	HourQuestion question = {
		.from = hour_begin(judgement->hour - back), .until = at + 1, .context = judgement};
	int64 vague;

	question.wanted = hour_is_judged;
	question.seen = login_was_seen;
	question.count = login_got;
	vague = hours_read(&question, GetActiveSnapshot());
	if (vague > 0)
		ereport(NOTICE, (errmsg("%lld blocks of 256 entries are known by their sums only",
								(long long) vague),
						 errdetail("They were detached, and lie in two hours: what was "
								   "disclosed counts "
								   "for the first.")));
	judge(judgement, NULL);
	question.entries = true;
	question.from = hour_begin(judgement->hour - JUDGED_HOURS + 1);
	question.wanted = login_is_far;
	question.seen = NULL;
	question.count = session_got;
	(void) hours_read(&question, GetActiveSnapshot());
}

/* biometric_unusual_activity(at timestamptz) */
Datum
biometric_unusual_activity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz at = PG_ARGISNULL(0) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(0);
	Judgement judgement = {.context = CurrentMemoryContext, .days = activity_days};
	HASHCTL control = {.keysize = sizeof(char *),
					   .entrysize = sizeof(Judged),
					   .hash = judged_hash,
					   .match = judged_match,
					   .hcxt = CurrentMemoryContext};
	int settings;

	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"at\" cannot be used: it is no point in time"),
						errhint("Use now() for the present hour.")));
	InitMaterializedSRF(fcinfo, 0);
	settings = policy_sql_settings();
	judgement.hour = hour_of(at);
	judgement.judged = hash_create("biometric_audit judged", 256, &control,
								   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	judgement_read(&judgement, at);
	judge(&judgement, result);
	policy_sql_settings_end(settings);
	return (Datum) 0;
}
