/*
 * case.h - all that a report says, gathered; those who write files only read it.
 */
#ifndef BIOMETRIC_REPORTER_CASE_H
#define BIOMETRIC_REPORTER_CASE_H

#include "reporter/count.h"
#include "reporter/incident.h"
#include "reporter/output.h"
#include "reporter/request.h"

typedef struct Case
{
	const Request *request;
	Texts texts;
	char *party;
	uint32_t party_title; /* 0: not known */
	uint32_t title;
	int64_t from;
	int64_t to;
	Incident incident; /* as its entries say; as the server does, where there are none */
	Incident told;	   /* as the server says */
	int64_t made_at;

	bool asked; /* the server's figures are there */
	FigureList server;
	bool detached;	  /* the server lacks entries */
	uint64_t logs;	  /* that the server counts; 1: only the one that the archive has */
	uint64_t missing; /* disclosures that the server says it cannot count */
	bool moving;	  /* entries that count came in whenever it was asked */

	bool counted; /* the archive verified, and its figures are there */
	Count count;
	Count left; /* of what the server still has, where entries were detached from it */
	Comparison comparison;
	bool people_known; /* whoever was told is marked with the people */

	DeclaredList declared; /* as the server says, with columns that are not */

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

/* case_set_incident makes the report one of an incident's party and period. */
extern ToolExit case_set_incident(Case *matter, const Incident *incident);

/* case_incident_state tells whether an incident is open, overdue, notified or closed. */
extern Span case_incident_state(const Case *matter);

/* case_sound tells whether the ledger verified and nothing in the report is in doubt. */
extern bool case_sound(const Case *matter);

/*
 * case_span returns the days between the earliest and the latest value of a dimension of days.
 * odd: how many values are left out that can be no day of it, before 1900 or still to come.
 */
extern bool case_span(const Case *matter, Dimension dimension, Span *first, Span *last,
					  uint64_t *odd);

/* case_shows_server tells whether the figures that are shown are the server's. */
extern bool case_shows_server(const Case *matter);

/* case_declared returns what images are declared to be collected for, as it is shown. */
extern const DeclaredList *case_declared(const Case *matter);

/* case_choose makes the list of figures that is shown. */
extern void case_choose(Case *matter);

/* case_free gives its memory back. */
extern void case_free(Case *matter);

#endif
