/*
 * proofs.c - proofs of disclosures, from an archive's tiles and under its checkpoint.
 */
#define _GNU_SOURCE

#include "reporter/write.h"

#include "core/base64.h"
#include "core/tlog_proof.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Where hashes come from. */
typedef struct Source
{
	Archive *archive;
	uint64_t size;
	int level; /* of the tile that was read last */
	uint64_t index;
	int width; /* 0: none was read */
	MerkleHash tile[TLOG_TILE_WIDTH];
} Source;

/* Finds a hash of an archive's tiles. */
static bool
find_hash(Source *source, int level, uint64_t number, MerkleHash *hash)
{
	uint64_t index = number / TLOG_TILE_WIDTH;
	int position = (int) (number % TLOG_TILE_WIDTH);

	if (level >= TLOG_MAX_LEVELS)
		return false;
	if (source->width == 0 || source->level != level || source->index != index)
	{
		source->level = level;
		source->index = index;
		source->width = archive_width(source->size, level, index);
		if (source->width > 0 && archive_read_tile(source->archive, level, index, source->width,
												   source->tile) != FILE_OK)
			source->width = 0;
	}
	if (position >= source->width)
		return false;
	*hash = source->tile[position];
	return true;
}

/*
 * The root of the perfect subtree number `number` of a height, from tiles, whose
 * levels are multiples of TLOG_TILE_HEIGHT.
 */
static bool
find_subtree(Source *source, int height, uint64_t number, MerkleHash *hash)
{
	int level = height / TLOG_TILE_HEIGHT;
	int above = height % TLOG_TILE_HEIGHT;
	MerkleHash hashes[TLOG_TILE_WIDTH];
	int count = 1 << above;

	for (int i = 0; i < count; i++)
	{
		if (!find_hash(source, level, (number << above) + (uint64_t) i, &hashes[i]))
			return false;
	}
	for (; count > 1; count /= 2)
	{
		for (int i = 0; i < count / 2; i++)
			merkle_node(&hashes[(ptrdiff_t) 2 * i], &hashes[2 * i + 1], &hashes[i]);
	}
	*hash = hashes[0];
	return true;
}

/* The source that proof_inclusion asks, whose tiles have MERKLE_TILE_HEIGHT levels. */
static bool
read_tile(int level, uint64_t index, int count, MerkleHash *hashes, void *context)
{
	for (int i = 0; i < count; i++)
	{
		if (!find_subtree(context, level * MERKLE_TILE_HEIGHT,
						  index * MERKLE_TILE_WIDTH + (uint64_t) i, &hashes[i]))
			return false;
	}
	return true;
}

/* Finds an entry's bytes in its bundle. */
static bool
find_entry(Archive *archive, uint64_t size, uint64_t sequence, Buffer *bundle,
		   const uint8_t **entry, size_t *length)
{
	uint64_t index = sequence / TLOG_TILE_WIDTH;
	size_t at = 0;
	int found;

	if (archive_read_bundle(archive, index, archive_width(size, 0, index), bundle, &found) !=
		FILE_OK)
		return false;
	for (uint64_t i = 0; i <= sequence % TLOG_TILE_WIDTH; i++)
	{
		if (tlog_bundle_next(bundle->bytes, bundle->length, &at, entry, length) != CORE_OK ||
			*entry == NULL)
			return false;
	}
	return true;
}

static ToolExit
put_proof(const Output *output, const TlogProof *proof)
{
	size_t length = tlog_proof_length(proof);
	char *text = malloc(length + 1);
	char name[sizeof(OUTPUT_PROOFS) + 40];
	ToolExit code;

	if (text == NULL)
		return report_problem(TOOL_INPUT, "out of memory");
	tlog_proof_format(proof, text);
	snprintf(name, sizeof(name), OUTPUT_PROOFS "/%" PRIu64 ".tlog-proof", proof->index);
	code = output_put(output, name, text, length);
	free(text);
	return code;
}

/* Makes one proof, and verifies it before it is handed out. */
static ToolExit
make_proof(const Output *output, const Case *matter, Source *source, uint64_t sequence)
{
	static TlogProof proof;
	static char extra[BASE64_LENGTH(ENTRY_MAX_SIZE) + 1];
	Buffer bundle = {0};
	const uint8_t *entry = NULL;
	size_t length = 0;
	MerkleHash leaf;
	ToolExit code;

	memset(&proof, 0, sizeof(proof));
	if (!find_entry(source->archive, source->size, sequence, &bundle, &entry, &length) ||
		!proof_inclusion(sequence, source->size, read_tile, source, &proof.proof))
		code = report_problem(TOOL_FAILED, "entry %" PRIu64 " cannot be proven", sequence);
	else
	{
		merkle_leaf(entry, length, &leaf);
		base64_encode(entry, length, extra);
		proof.extra = extra;
		proof.extra_length = strlen(extra);
		proof.index = sequence;
		proof.checkpoint = (const char *) matter->note.bytes;
		proof.checkpoint_length = matter->note.length;
		if (proof_verify_inclusion(&leaf, sequence, source->size, proof.proof.hashes,
								   proof.proof.count, &matter->head.checkpoint.root) == CORE_OK)
			code = put_proof(output, &proof);
		else
			code = report_problem(TOOL_FAILED, "the proof of entry %" PRIu64 " does not verify",
								  sequence);
	}
	free(bundle.bytes);
	return code;
}

ToolExit
write_proofs(const Output *output, Case *matter, Archive *archive)
{
	Source source = {.archive = archive, .size = matter->head.checkpoint.size};

	file_remove_directory(output->fd, OUTPUT_PROOFS);
	for (uint64_t i = 0; i < matter->proofs; i++)
	{
		ToolExit code = make_proof(output, matter, &source, matter->proof_sequences[i]);

		if (code != TOOL_VERIFIED)
			return code;
	}
	return TOOL_VERIFIED;
}
