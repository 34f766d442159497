/*
 * reseal_progress.c - what others see of calls of reseal() that are running.
 *
 * It is kept where the server keeps what its own progress views show, under a number of
 * a command that the server does not have.
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "trigger/reseal.h"

PG_FUNCTION_INFO_V1(biometric_reseal_running);

/* Far from the numbers of the server's own commands. */
#define PROGRESS_COMMAND_RESEAL ((ProgressCommandType) 0x5ea1)

enum
{
	PARAM_ATTRIBUTE,
	PARAM_VERIFYING,
	PARAM_BLOCKS_TOTAL,
	PARAM_BLOCKS_DONE,
	PARAM_IMAGES_DONE,
	PARAM_IMAGES_SKIPPED,
	PARAM_STARTED_AT,
	PARAMS
};

enum
{
	COL_PID,
	COL_RELATION,
	COL_ATTRIBUTE,
	COL_PHASE,
	COL_BLOCKS_TOTAL,
	COL_BLOCKS_DONE,
	COL_IMAGES_DONE,
	COL_IMAGES_SKIPPED,
	COL_STARTED_AT,
	COLUMNS
};

/* What was published last. */
static ResealProgress published;

void
reseal_progress_again(void)
{
	const int params[PARAMS] = {PARAM_ATTRIBUTE,   PARAM_VERIFYING,	  PARAM_BLOCKS_TOTAL,
								PARAM_BLOCKS_DONE, PARAM_IMAGES_DONE, PARAM_IMAGES_SKIPPED,
								PARAM_STARTED_AT};
	const int64 values[PARAMS] = {published.attribute,	  published.verifying,
								  published.blocks_total, published.blocks_done,
								  published.images_done,  published.images_skipped,
								  published.started_at};

	pgstat_progress_start_command(PROGRESS_COMMAND_RESEAL, published.relation);
	pgstat_progress_update_multi_param(PARAMS, params, values);
}

void
reseal_progress_begin(const ResealProgress *progress)
{
	published = *progress;
	reseal_progress_again();
}

const ResealProgress *
reseal_progress_now(void)
{
	return &published;
}

void
reseal_progress_end(void)
{
	pgstat_progress_end_command();
}

void
reseal_progress_add(int64 blocks, int64 images, int64 skipped)
{
	const int params[] = {PARAM_VERIFYING, PARAM_BLOCKS_DONE, PARAM_IMAGES_DONE,
						  PARAM_IMAGES_SKIPPED};
	int64 values[lengthof(params)];

	published.blocks_done += blocks;
	published.images_done += images;
	published.images_skipped += skipped;
	if (images > 0)
		published.verifying = false;
	/* an error that a function of the table has caught has ended it */
	if (MyBEEntry != NULL && MyBEEntry->st_progress_command != PROGRESS_COMMAND_RESEAL)
	{
		reseal_progress_again();
		return;
	}
	values[0] = published.verifying;
	values[1] = published.blocks_done;
	values[2] = published.images_done;
	values[3] = published.images_skipped;
	pgstat_progress_update_multi_param(lengthof(params), params, values);
}

static void
put_row(ReturnSetInfo *result, const PgBackendStatus *status)
{
	const int64 *params = status->st_progress_param;
	Datum values[COLUMNS];
	bool nulls[COLUMNS] = {false};

	values[COL_PID] = Int32GetDatum(status->st_procpid);
	values[COL_RELATION] = ObjectIdGetDatum(status->st_progress_command_target);
	values[COL_ATTRIBUTE] = Int16GetDatum((int16) params[PARAM_ATTRIBUTE]);
	values[COL_PHASE] = CStringGetTextDatum(params[PARAM_VERIFYING] ? "verifying" : "sealing");
	values[COL_BLOCKS_TOTAL] = Int64GetDatum(params[PARAM_BLOCKS_TOTAL]);
	values[COL_BLOCKS_DONE] =
		Int64GetDatum(Min(params[PARAM_BLOCKS_DONE], params[PARAM_BLOCKS_TOTAL]));
	values[COL_IMAGES_DONE] = Int64GetDatum(params[PARAM_IMAGES_DONE]);
	values[COL_IMAGES_SKIPPED] = Int64GetDatum(params[PARAM_IMAGES_SKIPPED]);
	values[COL_STARTED_AT] = TimestampTzGetDatum(params[PARAM_STARTED_AT]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PGDLLEXPORT Datum
biometric_reseal_running(PG_FUNCTION_ARGS)
{
	int backends;

	InitMaterializedSRF(fcinfo, 0);
	backends = pgstat_fetch_stat_numbackends();
	for (int i = 1; i <= backends; i++)
	{
		LocalPgBackendStatus *local = local_backend_status(i);

		if (local != NULL && local->backendStatus.st_databaseid == MyDatabaseId &&
			local->backendStatus.st_progress_command == PROGRESS_COMMAND_RESEAL)
			put_row((ReturnSetInfo *) fcinfo->resultinfo, &local->backendStatus);
	}
	return (Datum) 0;
}
