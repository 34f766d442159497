/*
 * write.h - the files of a report. Each returns TOOL_VERIFIED, or what it has reported.
 *
 * All text that comes from a database is escaped for where it is put; bytes that are no
 * UTF-8 and characters that turn or hide text are shown as such.
 */
#ifndef BIOMETRIC_REPORTER_WRITE_H
#define BIOMETRIC_REPORTER_WRITE_H

#include "reporter/case.h"

/* Version of the OCSF schema that the events follow. */
#define OCSF_VERSION "1.5.0"

/* write_html writes report.html: one file, no scripts, nothing from elsewhere. */
extern ToolExit write_html(const Output *output, Case *matter);

/* write_json writes report.json: every figure, and where it comes from. */
extern ToolExit write_json(const Output *output, Case *matter);

/* write_csv writes notification.csv (RFC 4180): whom to notify. */
extern ToolExit write_csv(const Output *output, Case *matter);

/* write_readme writes the file that says what the others are; it comes first. */
extern ToolExit write_readme(const Output *output);

/* write_proofs writes proofs/N.tlog-proof for the first disclosures, from the archive. */
extern ToolExit write_proofs(const Output *output, Case *matter, Archive *archive);

/* write_event writes a disclosure or refusal as an OCSF Datastore Activity event, and a newline. */
extern void write_event(FILE *out, const Case *matter, uint64_t sequence, const EntryFields *fields,
						const PrintOrigin *origin);

#endif
