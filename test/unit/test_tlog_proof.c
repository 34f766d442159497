/*
 * test_tlog_proof.c - c2sp.org/tlog-proof files: there and back, and whatever
 * is not one.
 */
#include "core/tlog_proof.h"

#include "core/base64.h"
#include "tap.h"

#define FIRST "c2sp.org/tlog-proof@v1\n"
#define HASH "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n"
#define NOTE                                                                                       \
	"example.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n"               \
	"\342\200\224 example.com/fancylog hI2DJw==\n"

/* Parses a copy that ends where the text does, so that the sanitizers see any read beyond. */
static CoreStatus
parse(const char *text, size_t length, TlogProof *proof)
{
	char *copy = (char *) tap_copy(text, length);
	CoreStatus status;

	memset(proof, 0xee, sizeof(*proof));
	status = tlog_proof_parse(copy, length, proof);
	free(copy);
	return status;
}

/* What does not parse leaves nothing. */
static void
check_refused(const char *text, CoreStatus expected, const char *name)
{
	static const TlogProof none;
	static TlogProof proof;
	CoreStatus status = parse(text, strlen(text), &proof);

	if (!tap_ok(status == expected && memcmp(&proof, &none, sizeof(none)) == 0, "%s", name))
		printf("# found %d, expected %d\n", (int) status, (int) expected);
}

static void
check_example(void)
{
	static const char text[] = FIRST "extra YWJj\nindex 73894\n" HASH
									 "B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\n" NOTE;
	static TlogProof proof;
	char again[sizeof(text)];

	tap_number(tlog_proof_parse(text, strlen(text), &proof), CORE_OK, "a proof with extra data");
	tap_ok(proof.extra_length == 4 && memcmp(proof.extra, "YWJj", 4) == 0, "has it as it stands");
	tap_number((long long) proof.index, 73894, "has its index");
	tap_number(proof.proof.count, 2, "has its hashes");
	tap_hex(proof.proof.hashes[0].bytes, 32,
			"8122b25e861952067a8ddb9662b9033804629ce30626f7978e032405371d3e54", "decoded");
	tap_ok(proof.checkpoint_length == strlen(NOTE) && strcmp(proof.checkpoint, NOTE) == 0,
		   "has its checkpoint, to the last byte");
	tap_number((long long) tlog_proof_length(&proof), (long long) strlen(text), "is as long");
	tlog_proof_format(&proof, again);
	tap_ok(strcmp(again, text) == 0, "and comes back as it was");
}

static void
check_forms(void)
{
	static TlogProof proof;
	static const char *const texts[] = {
		FIRST "index 0\n\n" NOTE,
		FIRST "index 18446744073709551615\n" HASH "\n" NOTE,
		FIRST "extra \nindex 1\n" HASH "\n" NOTE,
		FIRST "extra YWI=\nindex 10\n\nx",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		char *again = malloc(strlen(texts[i]) + 1);
		bool fine = tlog_proof_parse(texts[i], strlen(texts[i]), &proof) == CORE_OK &&
					tlog_proof_length(&proof) == strlen(texts[i]);

		if (fine)
			tlog_proof_format(&proof, again);
		tap_ok(fine && strcmp(again, texts[i]) == 0, "a file of another form comes back too");
		free(again);
	}
	tap_ok(tlog_proof_parse(texts[0], strlen(texts[0]), &proof) == CORE_OK && proof.extra == NULL,
		   "no extra data is not the same as none of it");
}

static void
check_malformed(void)
{
	check_refused("", CORE_TRUNCATED, "nothing is the beginning of a proof");
	check_refused("c2sp.org/tlog-proof@v1", CORE_TRUNCATED, "a first line without its end");
	check_refused("c2sp.org/tlog-proof@v2\nindex 0\n\nx", CORE_BAD_VERSION, "another version");
	check_refused("c2sp.org/tlog-proof@v11\nindex 0\n\nx", CORE_BAD_VERSION,
				  "another version that begins alike");
	check_refused("c2sp.org/tlog-roof@v1\nindex 0\n\nx", CORE_MALFORMED, "another file");
	check_refused("hello", CORE_MALFORMED, "anything");
	check_refused("c2sp.org/tlog-proof@v1\r\nindex 0\n\nx", CORE_BAD_VERSION, "carriage returns");
	check_refused(" " FIRST "index 0\n\nx", CORE_MALFORMED, "a blank before the first line");
	check_refused(FIRST, CORE_TRUNCATED, "no index");
	check_refused(FIRST "index 0", CORE_TRUNCATED, "an index line without its end");
	check_refused(FIRST "\n\nx", CORE_MALFORMED, "an empty line for the index");
	check_refused(FIRST "Index 0\n\nx", CORE_MALFORMED, "capitals");
	check_refused(FIRST "index\n\nx", CORE_MALFORMED, "no number");
	check_refused(FIRST "index \n\nx", CORE_MALFORMED, "an empty number");
	check_refused(FIRST "index  1\n\nx", CORE_MALFORMED, "two blanks");
	check_refused(FIRST "index 1 \n\nx", CORE_MALFORMED, "a blank after the number");
	check_refused(FIRST "index 00\n\nx", CORE_MALFORMED, "two zeroes");
	check_refused(FIRST "index 01\n\nx", CORE_MALFORMED, "a leading zero");
	check_refused(FIRST "index -1\n\nx", CORE_MALFORMED, "a negative number");
	check_refused(FIRST "index +1\n\nx", CORE_MALFORMED, "a sign");
	check_refused(FIRST "index 0x1\n\nx", CORE_MALFORMED, "a hexadecimal number");
	check_refused(FIRST "index 18446744073709551616\n\nx", CORE_MALFORMED, "a number too large");
	check_refused(FIRST "index 99999999999999999999\n\nx", CORE_MALFORMED, "one far too large");
	check_refused(FIRST "index 100000000000000000000\n\nx", CORE_MALFORMED, "one too long");
	check_refused(FIRST "extra YWJj\n", CORE_TRUNCATED, "extra data and no more");
	check_refused(FIRST "extra YWJj\nextra YWJj\nindex 0\n\nx", CORE_MALFORMED, "extra data twice");
	check_refused(FIRST "extra\nindex 0\n\nx", CORE_MALFORMED, "extra without its blank");
	check_refused(FIRST "extra YWJ\nindex 0\n\nx", CORE_MALFORMED, "extra data without padding");
	check_refused(FIRST "extra YWK=\nindex 0\n\nx", CORE_MALFORMED, "stray bits in its end");
	check_refused(FIRST "extra Y-Jj\nindex 0\n\nx", CORE_MALFORMED, "another alphabet");
	check_refused(FIRST "index 0\nextra YWJj\n\nx", CORE_MALFORMED, "extra data after the index");
	check_refused(FIRST "index 0\n" HASH, CORE_TRUNCATED, "no end of the hashes");
	check_refused(FIRST "index 0\n" HASH "\n", CORE_TRUNCATED, "no checkpoint");
	check_refused(FIRST "index 0\nYWJj\n\nx", CORE_MALFORMED, "a hash that is too short");
	check_refused(FIRST "index 0\n" HASH HASH "x\n\nx", CORE_MALFORMED, "a line that is no hash");
	check_refused(FIRST "index 0\ngSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlR=\n\nx",
				  CORE_MALFORMED, "a hash with stray bits");
	check_refused(FIRST "index 0\ngSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ= \n\nx",
				  CORE_MALFORMED, "a blank after a hash");
	check_refused(FIRST "index 0\ngSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQA\n\nx",
				  CORE_MALFORMED, "a hash that is too long");
}

/* Extra data is checked in pieces: padding and rubbish in the middle are seen at any length. */
static void
check_long_extra(void)
{
	long failed = 0;
	long total = 0;
	static char text[1024];
	static uint8_t bytes[300];
	static TlogProof proof;

	for (size_t length = 0; length <= 300; length++)
	{
		size_t at = strlen(FIRST "extra ");
		size_t digits = BASE64_LENGTH(length);

		strcpy(text, FIRST "extra ");
		base64_encode(bytes, length, text + at);
		strcpy(text + at + digits, "\nindex 3\n\nx");
		total++;
		failed +=
			tlog_proof_parse(text, strlen(text), &proof) != CORE_OK || proof.extra_length != digits;
		for (size_t i = 0; i + 4 < digits; i += 3)
		{
			char kept = text[at + i];

			total++;
			text[at + i] = '=';
			failed += parse(text, strlen(text), &proof) != CORE_MALFORMED;
			text[at + i] = kept;
		}
	}
	tap_all(failed, total, -1, "extra data of any length, and padding in its middle");
}

static void
check_most_hashes(void)
{
	static TlogProof proof;
	static char text[(PROOF_MAX + 2) * 45 + 200];
	static char again[sizeof(text)];

	proof.checkpoint = NOTE;
	proof.checkpoint_length = strlen(NOTE);
	proof.proof.count = PROOF_MAX;
	for (int i = 0; i < PROOF_MAX; i++)
		merkle_leaf(&i, sizeof(i), &proof.proof.hashes[i]);
	tlog_proof_format(&proof, text);
	tap_number((long long) strlen(text), (long long) tlog_proof_length(&proof),
			   "the longest proof is as long as announced");
	tap_number(tlog_proof_parse(text, strlen(text), &proof), CORE_OK, "and is read");
	strcpy(again, FIRST "index 0\n" HASH);
	strcat(again, text + strlen(FIRST "index 0\n"));
	check_refused(again, CORE_MALFORMED, "with one hash more it is refused");
}

/* Cut anywhere before its checkpoint, a file is no proof. */
static void
check_cut(void)
{
	static const char text[] = FIRST "extra YWJj\nindex 73894\n" HASH HASH "\n";
	static TlogProof proof;
	long failed = 0;
	long first = -1;

	for (size_t length = 0; length < sizeof(text); length++)
	{
		CoreStatus status = parse(text, length, &proof);

		if (status != CORE_TRUNCATED && failed++ == 0)
			first = (long) length;
	}
	tap_all(failed, sizeof(text), first, "cut short anywhere, a file says so");
}

/* Any other byte anywhere: read as something else, or refused, and never beyond the end. */
static void
check_changed(void)
{
	static const char text[] = FIRST "extra YWJj\nindex 73894\n" HASH "\nx";
	static TlogProof proof;
	static char again[2 * sizeof(text)];
	long failed = 0;
	long total = 0;

	for (size_t at = 0; at < sizeof(text) - 1; at++)
	{
		for (int byte = 0; byte < 256; byte++)
		{
			char *changed = (char *) tap_copy(text, sizeof(text) - 1);

			changed[at] = (char) byte;
			total++;
			if (tlog_proof_parse(changed, sizeof(text) - 1, &proof) == CORE_OK)
			{
				tlog_proof_format(&proof, again);
				failed += tlog_proof_length(&proof) != sizeof(text) - 1 ||
						  memcmp(again, changed, sizeof(text) - 1) != 0;
			}
			free(changed);
		}
	}
	tap_all(failed, total, -1, "what is read is the only way to write it");
}

int
main(void)
{
	check_example();
	check_forms();
	check_malformed();
	check_long_extra();
	check_most_hashes();
	check_cut();
	check_changed();
	return tap_done();
}
