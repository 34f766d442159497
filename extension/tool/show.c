/*
 * show.c - entries for people, and for jq.
 */
#define _GNU_SOURCE

#include "tool/commands.h"

#include "core/base64.h"
#include "core/tlog_proof.h"
#include "tool/archive.h"
#include "tool/print.h"
#include "tool/resolve.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROOF_MAGIC "c2sp.org/tlog-proof@v1\n"

/* What is shown of what. */
typedef struct Show
{
	const Options *options;
	Resolver *resolver; /* NULL: there is no archive */
} Show;

static void
print_entry(const Show *show, uint64_t sequence, const EntryFields *fields)
{
	const Options *options = show->options;
	bool resolves = show->resolver != NULL && (!options->json || options->resolve);
	PrintOrigin origin;

	if (resolves)
		resolve_entry(show->resolver, fields, &origin);
	if (options->json)
	{
		print_entry_json(stdout, sequence, fields, resolves ? &origin : NULL);
		putchar('\n');
	}
	else
		print_entry_line(stdout, sequence, fields, resolves ? &origin : NULL);
}

/* Prints one entry, if it is wanted. */
static void
show_entry(const Show *show, uint64_t sequence, const uint8_t *entry, size_t length)
{
	const Options *options = show->options;
	EntryFields fields;
	CoreStatus status;

	if (sequence < options->from || sequence > options->to)
		return;
	status = entry_decode(entry, length, &fields);
	if (status != CORE_OK)
		report_problem(TOOL_INPUT, "entry %" PRIu64 " cannot be read: %s", sequence,
					   core_status_text(status));
	else if (!options->quiet && (options->event == 0 || options->event == (int) fields.event))
		print_entry(show, sequence, &fields);
}

/*
 * Prints the first count entries of a bundle, also those behind one that cannot
 * be read. What is behind them is none of the archive's.
 */
static void
show_bundle(const Show *show, uint64_t first, const Buffer *bundle, int count)
{
	uint64_t sequence = first;
	size_t at = 0;

	for (; !ferror(stdout) && sequence - first < (uint64_t) count; sequence++)
	{
		const uint8_t *entry;
		size_t length;

		if (tlog_bundle_next(bundle->bytes, bundle->length, &at, &entry, &length) != CORE_OK)
		{
			report_problem(TOOL_INPUT, "entry %" PRIu64 ": the bundle ends before it does",
						   sequence);
			return;
		}
		if (entry == NULL)
			return;
		show_entry(show, sequence, entry, length);
	}
}

/* Prints all of a bundle that is not an archive's. */
static void
show_lone_bundle(const Show *show, uint64_t first, const Buffer *bundle)
{
	const uint8_t *entry = bundle->bytes;
	size_t at = 0;
	size_t length;
	int count = 0;

	show_bundle(show, first, bundle, TLOG_TILE_WIDTH);
	while (tlog_bundle_next(bundle->bytes, bundle->length, &at, &entry, &length) == CORE_OK &&
		   entry != NULL)
		count++;
	if (count > TLOG_TILE_WIDTH)
		report_problem(TOOL_INPUT, "the bundle has more than %d entries", TLOG_TILE_WIDTH);
}

/* Prints the entry that is in a proof. */
static void
show_proof(const Show *show, Buffer *file)
{
	static TlogProof proof;
	static uint8_t entry[ENTRY_MAX_SIZE];
	size_t length;

	buffer_trim(file);
	if (tlog_proof_parse((const char *) file->bytes, file->length, &proof) != CORE_OK)
		report_problem(TOOL_INPUT, "this is not a c2sp.org/tlog-proof@v1");
	else if (proof.extra == NULL)
		report_problem(TOOL_INPUT, "the proof has no entry in it");
	else if (base64_decode(proof.extra, proof.extra_length, entry, sizeof(entry), &length) !=
			 CORE_OK)
		report_problem(TOOL_INPUT, "the proof's extra line has no entry in it");
	else
		show_entry(show, proof.index, entry, length);
}

/*
 * The number of a bundle's first entry, from its path: "...entries/x001/234",
 * or "...entries/000.p/17". 0 for any other.
 */
static uint64_t
first_of_path(const char *path)
{
	const char *at = strstr(path, "entries/");
	uint64_t index = 0;

	if (at == NULL)
		return 0;
	at += strlen("entries/");
	for (int group = 0; group < 5; group++)
	{
		bool more = *at == 'x';

		if (more)
			at++;
		for (int i = 0; i < 3; i++, at++)
		{
			if (*at < '0' || *at > '9')
				return 0;
			index = index * 10 + (uint64_t) (*at - '0');
		}
		if (!more)
			return *at == '\0' || *at == '.' ? index * TLOG_TILE_WIDTH : 0;
		if (*at++ != '/')
			return 0;
	}
	return 0;
}

static ToolExit
show_file(const Options *options, const char *path)
{
	Buffer file = {0};
	FileResult result = strcmp(path, "-") == 0 ? file_read_stdin(TLOG_BUNDLE_MAX, &file)
											   : file_read(AT_FDCWD, path, TLOG_BUNDLE_MAX, &file);
	size_t magic = strlen(PROOF_MAGIC);
	Show show = {.options = options};

	if (result != FILE_OK)
		report_problem(TOOL_INPUT, "%s %s", path, file_result_text(result));
	else if (file.length >= magic && memcmp(file.bytes, PROOF_MAGIC, magic) == 0)
		show_proof(&show, &file);
	else
		show_lone_bundle(&show, first_of_path(path), &file);
	free(file.bytes);
	return report_code();
}

/* How many entries the archive says that it has. */
static ToolExit
read_size(Archive *archive, uint64_t *size)
{
	Buffer *buffer = &archive->scratch;
	FileResult result = file_read(archive->fd, "checkpoint", NOTE_MAX_SIZE, buffer);
	static Note note;
	Checkpoint checkpoint;

	if (result != FILE_OK)
		return report_problem(TOOL_INPUT, "%s/checkpoint %s", archive->path,
							  file_result_text(result));
	buffer_trim(buffer);
	if (note_parse((const char *) buffer->bytes, buffer->length, &note) != CORE_OK ||
		checkpoint_parse(note.text, note.text_length, &checkpoint) != CORE_OK)
		return report_problem(TOOL_INPUT, "there is no signed checkpoint in %s/checkpoint",
							  archive->path);
	*size = checkpoint.size;
	return TOOL_VERIFIED;
}

static ToolExit
show_archive(const Options *options, const char *path)
{
	static Resolver resolver;
	Show show = {.options = options, .resolver = &resolver};
	Archive archive;
	Buffer bundle = {0};
	uint64_t size = 0;
	uint64_t first;
	ToolExit code = archive_open(&archive, path);

	if (code == TOOL_VERIFIED)
		code = read_size(&archive, &size);
	resolver.archive = &archive;
	resolver.size = size;
	first = options->from;
	if (code == TOOL_VERIFIED && first < archive.minimum &&
		!archive_has_bundle(&archive, size, first))
		first = archive.minimum;
	for (uint64_t index = first / TLOG_TILE_WIDTH;
		 code == TOOL_VERIFIED && index * TLOG_TILE_WIDTH < size &&
		 index * TLOG_TILE_WIDTH <= options->to && !ferror(stdout);
		 index++)
	{
		int width = archive_width(size, 0, index);
		int found;
		FileResult result = archive_read_bundle(&archive, index, width, &bundle, &found);

		if (result != FILE_OK)
			code = archive_file_problem(TLOG_ENTRIES, index, width, result);
		else
			show_bundle(&show, index * TLOG_TILE_WIDTH, &bundle, width);
	}
	resolve_free(&resolver);
	free(bundle.bytes);
	archive_close(&archive);
	return report_code();
}

ToolExit
command_show(const Options *options)
{
	const char *path = options->arguments[0];
	struct stat status;

	if (strcmp(path, "-") != 0 && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return show_archive(options, path);
	return show_file(options, path);
}
