/*
 * output.h - the directory that a report is written to.
 *
 * Only its owner can read it; no symbolic link is followed. A file OUTPUT_MARKER that
 * begins with OUTPUT_MARKER_LINE tells an earlier report, which is replaced, from anything
 * else, which is left alone. A report is gathered aside and put in place when it is whole:
 * until then, and when it comes to nothing, the earlier one is there as it was.
 */
#ifndef BIOMETRIC_REPORTER_OUTPUT_H
#define BIOMETRIC_REPORTER_OUTPUT_H

#include "tool/report.h"

#include <stdio.h>

#define OUTPUT_MARKER "README.txt"
#define OUTPUT_MARKER_LINE "A report by biometric-report.\n"
#define OUTPUT_LEDGER "ledger"
#define OUTPUT_PROOFS "proofs"

typedef struct Output
{
	char *path;
	int home;	   /* the directory */
	int fd;		   /* what is in it only until the report is whole */
	bool replaced; /* there was an earlier report */
} Output;

/*
 * output_open makes the directory, or takes one that is empty or has an earlier report,
 * and locks it. TOOL_VERIFIED, or what report_problem returned.
 */
extern ToolExit output_open(Output *output, const char *path);

/* output_begin opens a file to write to; NULL: it cannot be, which is reported. */
extern FILE *output_begin(const Output *output, const char *name);

/* output_end ends it, durably. */
extern ToolExit output_end(const Output *output, const char *name, FILE *file);

/* output_abandon throws away what was written. */
extern void output_abandon(const Output *output, const char *name, FILE *file);

/* output_put writes a whole file. */
extern ToolExit output_put(const Output *output, const char *name, const void *bytes,
						   size_t length);

/* output_mark writes the marker, which stays whatever becomes of the report. */
extern ToolExit output_mark(const Output *output, const char *text);

/* output_commit puts the whole report in place of an earlier one. */
extern ToolExit output_commit(Output *output);

/* output_close gives back what output_open took, and throws away what was not put in place. */
extern void output_close(Output *output);

#endif
