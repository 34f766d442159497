/*
 * breach.h - what is counted for a report. For extension/report only.
 */
#ifndef BIOMETRIC_REPORT_BREACH_H
#define BIOMETRIC_REPORT_BREACH_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "report/released.h"

/* What part of the answer a figure is of. */
typedef enum BreachFilter
{
	BREACH_ALL,
	BREACH_PLACE,		 /* of rows of that place only */
	BREACH_COLLECTED_ON, /* of rows of that date only */
	BREACH_COLLECTED_FOR /* of rows whose images were collected for that only */
} BreachFilter;

/* The figures of one value. */
typedef struct BreachFigures
{
	int64 disclosures;
	int64 images;
	int64 rows;
	int64 subjects;
	TimestampTz first;
	TimestampTz last;
} BreachFigures;

/* Counts different things by when each was last seen. */
typedef struct BreachCounter
{
	const Released *released;
	uint32 now; /* of the value that is being counted */
	uint32 *images;
	uint32 *rows;
	uint32 *persons;
} BreachCounter;

/* counter_begin prepares to count an answer, in the current memory context. */
extern void counter_begin(BreachCounter *counter, const Released *released);

/*
 * counter_count counts cells of the answer. cells: their numbers. value: of the text that the
 * filter is for, or RELEASED_NONE.
 */
extern BreachFigures counter_count(BreachCounter *counter, const int *cells, int count,
								   BreachFilter filter, int value);

/*
 * What there is that may not have been released, as lists of C strings: tables with
 * image columns as the ledger names them, permits (ids) and networks of a party, also those of old.
 */
extern List *untaken_relations(void);
extern List *untaken_permits(const char *party);
extern List *untaken_networks(const char *party);

#endif
