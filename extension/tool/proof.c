/*
 * proof.c - proofs in files: of one entry, and that one tree grew from another.
 */
#define _GNU_SOURCE

#include "tool/commands.h"

#include "core/base64.h"
#include "core/entry.h"
#include "core/tlog_proof.h"
#include "tool/keys.h"
#include "tool/print.h"
#include "tool/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An entry in base64, a note, the hashes between them, and some room. */
#define PROOF_FILE_MAX (4 * NOTE_MAX_SIZE)

/* Takes the entry's bytes from the proof's extra line. */
static ToolExit
decode_extra(const TlogProof *proof, Buffer *entry)
{
	if (proof->extra == NULL)
		return TOOL_VERIFIED;
	buffer_reserve(entry, ENTRY_MAX_SIZE);
	if (base64_decode(proof->extra, proof->extra_length, entry->bytes, ENTRY_MAX_SIZE,
					  &entry->length) != CORE_OK)
		return report_problem(TOOL_INPUT, "the proof's extra line has no entry in it");
	return TOOL_VERIFIED;
}

/* Finds the entry that is to be proved: in a file, in the proof, or the same in both. */
static ToolExit
find_entry(const Options *options, const TlogProof *proof, Buffer *entry)
{
	Buffer given = {0};
	ToolExit code = decode_extra(proof, entry);
	FileResult result;

	if (code != TOOL_VERIFIED || options->entry_file == NULL)
	{
		if (code == TOOL_VERIFIED && proof->extra == NULL)
			return report_problem(TOOL_INPUT, "the proof has no entry in it: give it by --entry");
		return code;
	}
	result = file_read(AT_FDCWD, options->entry_file, ENTRY_MAX_SIZE, &given);
	if (result != FILE_OK)
		code = report_problem(TOOL_INPUT, "entry %s %s", options->entry_file,
							  file_result_text(result));
	else if (proof->extra != NULL && (given.length != entry->length ||
									  memcmp(given.bytes, entry->bytes, given.length) != 0))
		code = report_problem(TOOL_FAILED, "the entry in %s is not the one in the proof",
							  options->entry_file);
	free(entry->bytes);
	*entry = given;
	return code;
}

/* Adds the entry to the report. */
static ToolExit
report_entry(const Options *options, uint64_t sequence, const Buffer *entry)
{
	EntryFields fields;
	CoreStatus status = entry_decode(entry->bytes, entry->length, &fields);
	char *text = NULL;
	size_t length = 0;
	FILE *out;

	if (status != CORE_OK)
		return report_problem(TOOL_FAILED, "entry %" PRIu64 " was logged, and is no entry: %s",
							  sequence, core_status_text(status));
	out = open_memstream(&text, &length);
	if (out == NULL)
		return report_problem(TOOL_INPUT, "out of memory");
	if (options->json)
		print_entry_json(out, sequence, &fields, NULL);
	else
		print_entry_line(out, sequence, &fields, NULL);
	fclose(out);
	if (length > 0 && text[length - 1] == '\n')
		text[length - 1] = '\0';
	report_raw("entry", text);
	free(text);
	return TOOL_VERIFIED;
}

/* Verifies signature and inclusion. */
static ToolExit
check_proof(const Options *options, const Keys *keys, const TlogProof *proof, const Buffer *entry)
{
	Head head;
	MerkleHash leaf;
	ToolExit code = keys_open_head(keys, options->arguments[0], proof->checkpoint,
								   proof->checkpoint_length, &head);

	if (code == TOOL_VERIFIED)
		code = keys_enough_witnesses(keys, &head);
	if (code != TOOL_VERIFIED)
		return code;
	merkle_leaf(entry->bytes, entry->length, &leaf);
	if (proof_verify_inclusion(&leaf, proof->index, head.checkpoint.size, proof->proof.hashes,
							   proof->proof.count, &head.checkpoint.root) != CORE_OK)
		return report_problem(TOOL_FAILED,
							  "the proof does not lead from this entry, as number %" PRIu64
							  ", to the checkpoint's root",
							  proof->index);
	report_number("index", proof->index);
	return report_entry(options, proof->index, entry);
}

ToolExit
command_proof(const Options *options)
{
	static Keys keys;
	static TlogProof proof;
	const char *path = options->arguments[0];
	Buffer file = {0};
	Buffer entry = {0};
	FileResult result;
	ToolExit code = keys_load(options, NULL, NULL, &keys);

	if (code != TOOL_VERIFIED)
		return code;
	result = file_read(AT_FDCWD, path, PROOF_FILE_MAX, &file);
	buffer_trim(&file);
	if (result != FILE_OK)
		code = report_problem(TOOL_INPUT, "%s %s", path, file_result_text(result));
	else if (tlog_proof_parse((const char *) file.bytes, file.length, &proof) != CORE_OK)
		code = report_problem(TOOL_INPUT, "%s is not a c2sp.org/tlog-proof@v1", path);
	if (code == TOOL_VERIFIED)
		code = find_entry(options, &proof, &entry);
	if (code == TOOL_VERIFIED)
		code = check_proof(options, &keys, &proof, &entry);
	free(file.bytes);
	free(entry.bytes);
	return code;
}

/* Reads hashes in base64, one a line. */
static ToolExit
read_hashes(const char *path, Proof *proof)
{
	Buffer file = {0};
	FileResult result = file_read(AT_FDCWD, path, PROOF_FILE_MAX, &file);
	ToolExit code = TOOL_VERIFIED;
	size_t at = 0;

	proof->count = 0;
	if (result != FILE_OK)
		code = report_problem(TOOL_INPUT, "proof %s %s", path, file_result_text(result));
	else
		buffer_trim(&file);
	while (code == TOOL_VERIFIED && at < file.length)
	{
		const char *line = (const char *) file.bytes + at;
		const char *newline = memchr(line, '\n', file.length - at);
		size_t length = newline != NULL ? (size_t) (newline - line) : file.length - at;
		size_t count = 0;

		if (proof->count >= PROOF_MAX ||
			base64_decode(line, length, proof->hashes[proof->count].bytes, MERKLE_HASH_SIZE,
						  &count) != CORE_OK ||
			count != MERKLE_HASH_SIZE)
			code =
				report_problem(TOOL_INPUT, "line %d of %s is not a hash in base64, or one too many",
							   proof->count + 1, path);
		else
			proof->count++;
		at += length + 1;
	}
	free(file.bytes);
	return code;
}

/* Checks that a checkpoint is of the beginning of what an archive is of. */
static ToolExit
compare_prefix(Archive *archive, const Head *head, uint64_t size)
{
	Peaks peaks;
	MerkleHash root;
	ToolExit code = tree_prefix(archive, head->checkpoint.size, size, &peaks, NULL);

	if (code != TOOL_VERIFIED)
		return code;
	peaks_root(&peaks, &root);
	if (memcmp(&root, &head->checkpoint.root, sizeof(root)) == 0)
		return TOOL_VERIFIED;
	return report_problem(TOOL_FAILED, "checkpoint %s is not of the beginning of the log in %s",
						  head->source, archive->path);
}

/*
 * Compares the roots of both checkpoints with those that an archive's tiles
 * give. It may have grown since: its tiles are those of its own checkpoint,
 * or, if it has none, of the newer of the two.
 */
static ToolExit
compare_archive(Archive *archive, const Keys *keys, const Head heads[2])
{
	Head head = heads[1];
	MerkleHash root;
	ToolExit code = TOOL_VERIFIED;

	if (file_exists(archive->fd, "checkpoint", 0))
		code = keys_read_head(keys, archive->fd, "checkpoint", &head);
	if (code != TOOL_VERIFIED)
		return code;
	if (strcmp(head.checkpoint.origin, heads[1].checkpoint.origin) != 0)
		return report_problem(TOOL_FAILED, "%s is the archive of log \"%s\"", archive->path,
							  head.checkpoint.origin);
	if (head.checkpoint.size < heads[1].checkpoint.size)
		return report_problem(
			TOOL_FAILED, "the archive ends at %" PRIu64 " entries; checkpoint %s is of %" PRIu64,
			head.checkpoint.size, heads[1].source, heads[1].checkpoint.size);
	code = tree_prefix(archive, 0, head.checkpoint.size, NULL, &root);
	if (code != TOOL_VERIFIED)
		return code;
	if (memcmp(&root, &head.checkpoint.root, sizeof(root)) != 0)
		return report_problem(TOOL_FAILED, "the archive has another root than checkpoint %s",
							  head.source);
	code = compare_prefix(archive, &heads[1], head.checkpoint.size);
	return code == TOOL_VERIFIED ? compare_prefix(archive, &heads[0], head.checkpoint.size) : code;
}

static ToolExit
check_by_archive(const char *path, const Keys *keys, const Head heads[2])
{
	Archive archive;
	ToolExit code = archive_open(&archive, path);

	if (code != TOOL_VERIFIED)
		return code;
	code = compare_archive(&archive, keys, heads);
	archive_close(&archive);
	return code;
}

/* Verifies that the second grew from the first. */
static ToolExit
check_growth(const Options *options, const Keys *keys, const Head heads[2])
{
	static Proof proof;
	const Head *old_head = &heads[0];
	const Head *head = &heads[1];
	ToolExit code;

	if (strcmp(old_head->checkpoint.origin, head->checkpoint.origin) != 0)
		return report_problem(TOOL_FAILED, "the checkpoints are of two logs: \"%s\" and \"%s\"",
							  old_head->checkpoint.origin, head->checkpoint.origin);
	if (old_head->checkpoint.size > head->checkpoint.size)
		return report_problem(TOOL_FAILED, "checkpoint %s is of fewer entries than %s",
							  head->source, old_head->source);
	if (options->archive != NULL)
		return check_by_archive(options->archive, keys, heads);
	code = read_hashes(options->proof_file, &proof);
	if (code != TOOL_VERIFIED)
		return code;
	if (proof_verify_consistency(old_head->checkpoint.size, head->checkpoint.size, proof.hashes,
								 proof.count, &old_head->checkpoint.root,
								 &head->checkpoint.root) != CORE_OK)
		return report_problem(TOOL_FAILED,
							  "the proof does not lead from checkpoint %s to checkpoint %s",
							  old_head->source, head->source);
	return TOOL_VERIFIED;
}

ToolExit
command_consistency(const Options *options)
{
	static Keys keys;
	Head heads[2];
	ToolExit code;

	if ((options->proof_file != NULL) == (options->archive != NULL))
		return report_problem(TOOL_USAGE, "give either --proof or --archive");
	code = keys_load(options, NULL, NULL, &keys);
	for (int i = 0; i < 2 && code == TOOL_VERIFIED; i++)
		code = keys_read_head(&keys, AT_FDCWD, options->arguments[i], &heads[i]);
	if (code == TOOL_VERIFIED)
		code = keys_enough_witnesses(&keys, &heads[1]);
	if (code == TOOL_VERIFIED)
		code = check_growth(options, &keys, heads);
	return code;
}
