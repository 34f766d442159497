/*
 * output.h - the directory that a report is written to.
 *
 * Only its owner can read it. Files come under a temporary name first; no
 * symbolic link is followed. A file OUTPUT_MARKER tells an earlier report, which is
 * replaced, from anything else, which is left alone.
 */
#ifndef BIOMETRIC_REPORTER_OUTPUT_H
#define BIOMETRIC_REPORTER_OUTPUT_H

#include "tool/report.h"

#include <stdio.h>

#define OUTPUT_MARKER "README.txt"
#define OUTPUT_LEDGER "ledger"
#define OUTPUT_PROOFS "proofs"

typedef struct Output
{
	const char *path;
	int fd;
	bool replaced; /* there was an earlier report */
} Output;

/*
 * output_open makes the directory, or takes one that is empty or has an earlier report,
 * and locks it. TOOL_VERIFIED, or what report_problem returned.
 */
extern ToolExit output_open(Output *output, const char *path);

/* output_begin opens a file to write to; NULL: it cannot be, which is reported. */
extern FILE *output_begin(const Output *output, const char *name);

/* output_end puts it in place, durably, as a whole. */
extern ToolExit output_end(const Output *output, const char *name, FILE *file);

/* output_abandon throws away what was written. */
extern void output_abandon(const Output *output, const char *name, FILE *file);

/* output_put writes a whole file. */
extern ToolExit output_put(const Output *output, const char *name, const void *bytes,
						   size_t length);

/* output_close gives back what output_open took. */
extern void output_close(Output *output);

#endif
