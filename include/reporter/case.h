/*
 * case.h - all that a report says, gathered; those who write files only read it.
 */
#ifndef BIOMETRIC_REPORTER_CASE_H
#define BIOMETRIC_REPORTER_CASE_H

#include "reporter/count.h"
#include "reporter/output.h"
#include "reporter/request.h"

/* An incident as biometric.incident_state shows it; moments INT64_MIN: none. */
typedef struct Incident
{
	uint64_t id; /* 0: the report is of no incident */
	uint32_t title;
	uint32_t state; /* open, overdue, notified, closed; 0: not known without the server */
	uint32_t opened_by;
	int64_t opened_at;
	int64_t due_at;
	int64_t closed_at;
	uint64_t people;
	uint64_t notified;
} Incident;

typedef struct Case
{
	const Request *request;
	Texts texts;
	char *party;
	uint32_t party_title; /* 0: not known */
	uint32_t title;
	int64_t from;
	int64_t to;
	Incident incident;
	int64_t made_at;

	bool asked; /* the server's figures are there */
	FigureList server;
	bool detached;	  /* the server lacks entries */
	uint64_t logs;	  /* that the server counts; 1: only the one that the archive has */
	uint64_t missing; /* disclosures that the server says it cannot count */

	bool counted; /* the archive verified, and its figures are there */
	Count count;
	Comparison comparison;
	bool people_known; /* notified_at of the people is what the server says */

	FigureList shown;
	Keys keys;
	Head head;
	Buffer note; /* the signed checkpoint */
	const char *archive;
	uint64_t proofs; /* that were written */
	uint64_t *proof_sequences;
	char *problem; /* why something does not verify; NULL: all does */
} Case;

/* case_total returns the figure of everything, or one of zeroes. */
extern Figure case_total(const Case *matter);

/* case_span returns the days between the earliest and the latest value of a dimension of days. */
extern bool case_span(const Case *matter, Dimension dimension, Span *first, Span *last);

/* case_choose makes the list of figures that is shown. */
extern void case_choose(Case *matter);

/* case_free gives its memory back. */
extern void case_free(Case *matter);

#endif
