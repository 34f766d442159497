/*
 * options.h - the command line.
 */
#ifndef BIOMETRIC_TOOL_OPTIONS_H
#define BIOMETRIC_TOOL_OPTIONS_H

#include "core/note.h"

#include <getopt.h>

#define OPTIONS_LIST_MAX 64
#define OPTIONS_ARGUMENTS_MAX 2

/* Texts that an option was given, in order. */
typedef struct OptionList
{
	int count;
	const char *texts[OPTIONS_LIST_MAX];
} OptionList;

/* What the command line says; texts are argv's. */
typedef struct Options
{
	const char *command;
	int count;
	const char *arguments[OPTIONS_ARGUMENTS_MAX];
	OptionList keys;
	OptionList key_files;
	OptionList checkpoints;
	OptionList witnesses;
	int require_witnesses; /* -1: all that were named */
	bool has_from;
	uint64_t from;
	uint64_t to; /* UINT64_MAX: not given */
	uint64_t segment_size;
	int event; /* 0: any */
	const char *entry_file;
	const char *proof_file;
	const char *archive;
	bool trust_archive_key; /* the archive's own keys count */
	bool pruned;			/* begin where the archive says that it does */
	bool resolve;
	bool json;
	bool quiet;
} Options;

/* options_number reads a decimal number without sign and leading zeroes. */
extern bool options_number(const char *text, size_t length, uint64_t *number);

/* options_add puts a text behind those of a list. False: the list is full. */
extern bool options_add(OptionList *list, const char *text);

/* options_name returns what an option is called; names end with an empty one. "?": none of them. */
extern const char *options_name(const struct option *names, int option);

/*
 * options_parse reads the command line. Returns -1, or the code to end with
 * when help or the version was asked for, or something is wrong, which it has said then.
 */
extern int options_parse(int argc, char **argv, Options *options);

#endif
