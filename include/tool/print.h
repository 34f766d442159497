/*
 * print.h - entries in readable form.
 */
#ifndef BIOMETRIC_TOOL_PRINT_H
#define BIOMETRIC_TOOL_PRINT_H

#include "core/entry.h"

#include <stdio.h>

/* Bytes of a time's text, with its NUL. */
#define PRINT_TIME_MAX 48

/* print_time writes microseconds since 1970 as ISO 8601 in UTC. */
extern void print_time(int64_t time, char out[PRINT_TIME_MAX]);

/* print_hex writes bytes as lower-case digits and a NUL; out has room for 2 * length + 1. */
extern void print_hex(const uint8_t *bytes, size_t length, char *out);

/* What an entry refers to; NULL: nothing, or it is not there. */
typedef struct PrintOrigin
{
	const EntryFields *statement;
	uint64_t statement_sequence;
	const EntryFields *session;
	uint64_t session_sequence;
} PrintOrigin;

/*
 * print_entry_line writes an entry as one line. origin: for an entry of an
 * image, who asked for it, whence and what for is printed of what it refers to; may be NULL.
 */
extern void print_entry_line(FILE *out, uint64_t sequence, const EntryFields *fields,
							 const PrintOrigin *origin);

/*
 * print_entry_json writes an entry as a JSON object, without a newline. origin: what
 * it refers to, as objects in it; may be NULL.
 */
extern void print_entry_json(FILE *out, uint64_t sequence, const EntryFields *fields,
							 const PrintOrigin *origin);

#endif
