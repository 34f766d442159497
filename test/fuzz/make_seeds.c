/*
 * make_seeds.c - writes what the fuzzers start from into a folder that has a
 * folder for each of them.
 */
#include "core/entry.h"
#include "core/mark.h"
#include "samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const char *folder;

static void
write_seed(const char *target, const char *name, const void *bytes, size_t length)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	file = fopen(path, "wb");
	if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
	{
		perror(path);
		exit(1);
	}
}

static void
write_images(void)
{
	for (int i = 0; i < sample_kind_count; i++)
	{
		Sample sample = {.length = 0};

		sample_kinds[i].make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
		write_seed("image_probe", sample_kinds[i].name, sample.bytes, sample.length);
		if (sample_kinds[i].format == IMAGE_FORMAT_JPEG)
			write_seed("picture_jpeg", sample_kinds[i].name, sample.bytes, sample.length);
		if (sample_kinds[i].format == IMAGE_FORMAT_PNG)
			write_seed("picture_png", sample_kinds[i].name, sample.bytes, sample.length);
	}
}

/* The samples that can carry a mark, and each of them with one. */
static void
write_marks(void)
{
	static const Mark mark = {.key_id = 5, .sequence = 9};

	for (int i = 0; i < sample_kind_count; i++)
	{
		size_t overhead = mark_overhead(sample_kinds[i].format);
		Sample sample = {.length = 0};

		if (overhead == 0)
			continue;
		sample_kinds[i].make(&sample, SAMPLE_WIDTH, SAMPLE_HEIGHT);
		write_seed("mark", sample_kinds[i].name, sample.bytes, sample.length);
		memmove(sample.bytes + overhead, sample.bytes, sample.length);
		if (mark_insert(sample_kinds[i].format, sample.bytes, sample.length, &mark) == CORE_OK)
			write_seed("mark", "marked", sample.bytes, sample.length + overhead);
	}
}

/* An envelope under the key of fuzz_envelope.c, once for each of its ways. */
static void
write_envelopes(void)
{
	static const uint8_t master[SEAL_MASTER_KEY_SIZE] = {1};
	static const char plaintext[] = "plaintext";
	SealRequest request = {
		.kind = IMAGE_KIND_FACE,
		.info = {IMAGE_FORMAT_JPEG, SAMPLE_WIDTH, SAMPLE_HEIGHT},
		.now_ms = 1,
		.plaintext = (const uint8_t *) plaintext,
		.length = sizeof(plaintext),
	};
	uint8_t bytes[1 + sizeof(plaintext) + ENVELOPE_OVERHEAD];
	SealKey key;

	if (seal_key_init(&key, 5, master) != CORE_OK ||
		seal_image(&key, &request, bytes + 1) != CORE_OK)
		exit(1);
	for (uint8_t way = 0; way < 3; way++)
	{
		char name[2] = {(char) ('0' + way), 0};

		bytes[0] = way;
		write_seed("envelope", name, bytes, sizeof(bytes));
	}
}

static void
write_keyfiles(void)
{
	static const char one[] = "# keys\n7 " HEX "\n";
	static const char two[] = "9\t" HEX " # new\r\n\n1 " HEX;

	write_seed("keyfile", "one", one, sizeof(one) - 1);
	write_seed("keyfile", "two", two, sizeof(two) - 1);
}

static void
write_entries(void)
{
	static const uint8_t id[ENTRY_IMAGE_ID_SIZE] = {1};
	static const uint8_t hash[ENTRY_HASH_SIZE] = {2};
	EntryFields fields = {.event = ENTRY_SESSION, .reference = ENTRY_NO_REFERENCE};
	uint8_t bytes[256];
	size_t length;

	if (entry_encode(&fields, bytes, sizeof(bytes), &length) != CORE_OK)
		exit(1);
	write_seed("entry", "least", bytes, length);
	fields = (EntryFields){
		.event = ENTRY_DISCLOSED,
		.at = 1,
		.reference = 7,
		.image_id = id,
		.kind = IMAGE_KIND_FACE,
		.relation_index = 1,
		.permit = 3,
		.reason = REASON_PERMITTED,
		.party = {"police", 6},
		.detail = {"{}", 2},
		.query_id = 256,
		.tls = 1,
		.relation = {"public.a", 8},
	};
	if (entry_encode(&fields, bytes, sizeof(bytes), &length) != CORE_OK)
		exit(1);
	write_seed("entry", "disclosed", bytes, length);
	fields = (EntryFields){
		.event = ENTRY_REPLACED,
		.at = 1,
		.reference = 7,
		.image_id = id,
		.relation_index = 1,
		.operation = OPERATION_UPDATE,
		.old_image_id = id,
		.column = {"img", 3},
		.row_key = {"{}", 2},
		.transaction = 258,
		.relation_oid = 16384,
	};
	if (entry_encode(&fields, bytes, sizeof(bytes), &length) != CORE_OK)
		exit(1);
	write_seed("entry", "replaced", bytes, length);
	fields = (EntryFields){
		.event = ENTRY_STORED,
		.at = 1,
		.reference = 7,
		.image_id = id,
		.operation = OPERATION_DESCRIBE,
		.collected = {"{}", 2},
		.digest = hash,
		.key = 1,
		.picture_hash = hash,
		.marked = 1,
	};
	if (entry_encode(&fields, bytes, sizeof(bytes), &length) != CORE_OK)
		exit(1);
	write_seed("entry", "traced", bytes, length);
}

static void
write_statements(void)
{
	static const char text[] =
		"\004INSERT INTO t VALUES ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa''b', E'\\'x', "
		"$tag$ aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa $tag$, X'00') -- it's\n/* /* */ */ \"a\"";
	static const char detail[] = "\022parameters: $1 = 'x', $2 = NULL row contains (a...)";

	write_seed("scrub", "statement", (const uint8_t *) text, sizeof(text) - 1);
	write_seed("scrub", "detail", (const uint8_t *) detail, sizeof(detail) - 1);
}

static void
write_tlog_files(void)
{
	static const char proof[] = "c2sp.org/tlog-proof@v1\nextra YWJj\nindex 5\n"
								"gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\n"
								"a\n9\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n"
								"\342\200\224 a hI2DJw==\n";
	static const uint8_t bundle[] = {0, 1, 'a', 0, 0, 0, 3, 'b', 'c', 'd'};

	write_seed("tlog_proof", "extra", (const uint8_t *) proof, sizeof(proof) - 1);
	write_seed("tlog_bundle", "three", bundle, sizeof(bundle));
}

/* The published note and key of fuzz_note.c, a witness's key, and an example of a head. */
static void
write_notes(void)
{
	static const char key[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
	static const char witness_key[] =
		"remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";
	static const char line[] = "\xe2\x80\x94 PeterNeumann "
							   "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvq"
							   "fqdngotpRZb6KE6RyyBwJnAM=\n";
	static const char text[] = "If you think cryptography is the answer to your problem,\n"
							   "then you don't know what your problem is.\n";
	static const char head[] =
		"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
	char note[512];

	write_seed("note", "key", key, sizeof(key) - 1);
	write_seed("note", "witness_key", witness_key, sizeof(witness_key) - 1);
	write_seed("note", "line", line, sizeof(line) - 1);
	snprintf(note, sizeof(note), "%s\n%s", text, line);
	write_seed("note", "note", note, strlen(note));
	snprintf(note, sizeof(note), "%s\n%s\xe2\x80\x94 w AAAAAAAAAAA=\n", text, line);
	write_seed("note", "two", note, strlen(note));
	write_seed("checkpoint", "example", head, sizeof(head) - 1);
	snprintf(note, sizeof(note), "%sextension\n", head);
	write_seed("checkpoint", "extension", note, strlen(note));
}

int
main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	folder = argv[1];
	write_images();
	write_marks();
	write_envelopes();
	write_keyfiles();
	write_entries();
	write_statements();
	write_notes();
	write_tlog_files();
	return 0;
}
