/*
 * keys.h - whose signatures count, and what a checkpoint is worth by them.
 */
#ifndef BIOMETRIC_TOOL_KEYS_H
#define BIOMETRIC_TOOL_KEYS_H

#include "core/checkpoint.h"
#include "tool/archive.h"
#include "tool/options.h"

/* Verifier keys of the log and of witnesses. */
typedef struct Keys
{
	int count;
	NoteKey log[OPTIONS_LIST_MAX];
	int witness_count;
	NoteKey witnesses[OPTIONS_LIST_MAX];
	int required;		/* cosignatures that a checkpoint must have */
	const char *source; /* where the log's keys came from */
} Keys;

/* A checkpoint whose signature verifies. */
typedef struct Head
{
	const char *source; /* the file it came from */
	Checkpoint checkpoint;
	int cosigned; /* witnesses whose signatures verify */
} Head;

/*
 * keys_load reads the keys that the command line names. archive: whose own
 * keys to use, with a warning, when it names none; NULL: then it is an error.
 * source: what to call the place that the options' keys come from.
 */
extern ToolExit keys_load(const Options *options, const char *source, Archive *archive, Keys *keys);

/*
 * keys_open_head parses a checkpoint's note, verifies the log's signature and
 * looks for the witnesses'; adds a group of facts to the report. Cosignatures that
 * are missing are
 * for the caller to ask for: see keys_enough_witnesses.
 */
extern ToolExit keys_open_head(const Keys *keys, const char *source, const void *bytes,
							   size_t length, Head *head);

/*
 * keys_trim returns the length of a text without the empty lines at its end,
 * which psql puts behind what it prints.
 */
extern size_t keys_trim(const void *bytes, size_t length);

/* keys_read_head is keys_open_head for a file. directory: as for file_read. */
extern ToolExit keys_read_head(const Keys *keys, int directory, const char *path, Head *head);

/*
 * keys_enough_witnesses reports a problem unless one of these heads has the
 * cosignatures that are required.
 */
extern ToolExit keys_enough_witnesses(const Keys *keys, const Head *heads, int count);

#endif
