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
	int required;		/* different witnesses that must have signed */
	const char *source; /* where the log's keys came from */
	bool trusted;		/* the user has named them */
} Keys;

/* A checkpoint whose signature verifies. */
typedef struct Head
{
	const char *source; /* the file it came from */
	Checkpoint checkpoint;
	int cosigned; /* different witnesses whose signatures verify */
} Head;

/*
 * keys_load reads the keys that the command line names. Without any it is
 * TOOL_USAGE, unless the user trusts the archive's own: then, with a warning,
 * those in its file `verifier`, or, when it has no such file, the one that is
 * offered. archive, offered: NULL: there is none.
 */
extern ToolExit keys_load(const Options *options, Archive *archive, const char *offered,
						  Keys *keys);

/* keys_list_has tells whether a key is on a line of a list of keys, however it is written. */
extern bool keys_list_has(const Buffer *file, const NoteKey *wanted);

/*
 * keys_open_head parses a checkpoint's note, verifies the log's signature and
 * looks for the witnesses'; adds a group of facts to the report. Cosignatures
 * that are missing are for the caller to ask for: see keys_enough_witnesses.
 */
extern ToolExit keys_open_head(const Keys *keys, const char *source, const void *bytes,
							   size_t length, Head *head);

/* keys_read_head is keys_open_head for a file. directory: as for file_read. */
extern ToolExit keys_read_head(const Keys *keys, int directory, const char *path, Head *head);

/* keys_enough_witnesses reports a problem unless a head has the cosignatures that are required. */
extern ToolExit keys_enough_witnesses(const Keys *keys, const Head *head);

#endif
