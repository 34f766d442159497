/*
 * request.h - the command line of biometric-report.
 */
#ifndef BIOMETRIC_REPORTER_REQUEST_H
#define BIOMETRIC_REPORTER_REQUEST_H

#include "tool/options.h"

#define REQUEST_PROOFS 100

/* What the command line says; texts are argv's. */
typedef struct Request
{
	const char *conninfo; /* "": as the environment says */
	const char *party;	  /* NULL: the incident's */
	int64_t from;		  /* microseconds since 1970; of a party */
	int64_t to;
	uint64_t incident; /* 0: none */
	const char *output;
	const char *archive; /* NULL: OUTPUT/ledger */
	const char *title;	 /* NULL: made up */
	uint64_t proofs;
	bool offline;
	bool json;
	bool quiet;
	bool pruned;
	Options keys; /* whose signatures count, in the form that tool/ takes them */
} Request;

/*
 * request_parse reads the command line. Returns -1, or the code to end with when
 * help or the version was asked for, or something is wrong, which it has said then.
 */
extern int request_parse(int argc, char **argv, Request *request);

#endif
