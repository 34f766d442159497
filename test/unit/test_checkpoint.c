/*
 * test_checkpoint.c - a tree's head: written, opened, and every shape that it
 * should not have.
 */
#include "core/checkpoint.h"
#include "signing.h"

#define ROOT "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
#define ROOT_HEX "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
#define ORIGIN "example.com/behind-the-sofa"

static Checkpoint checkpoint;

static CoreStatus
parse(const char *text, size_t length)
{
	char *copy = (char *) tap_copy(text, length);
	CoreStatus status;

	memset(&checkpoint, 0xee, sizeof(checkpoint));
	status = checkpoint_parse(copy, length, &checkpoint);
	free(copy);
	return status;
}

/* The example of c2sp.org/tlog-checkpoint. */
static void
check_published(void)
{
	static const char text[] = ORIGIN "\n20852163\n" ROOT "\n";

	tap_ok(parse(text, strlen(text)) == CORE_OK && strcmp(checkpoint.origin, ORIGIN) == 0 &&
			   checkpoint.size == 20852163,
		   "the specification's example is read");
	tap_hex(checkpoint.root.bytes, MERKLE_HASH_SIZE, ROOT_HEX, "with its root");
}

/* A head that a public log of certificates has signed. */
static void
check_public_log(void)
{
	static const char note[] = "arche2025h1.staging.ct.transparency.dev\n1432088532\n"
							   "U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n"
							   "\xe2\x80\x94 arche2025h1.staging.ct.transparency.dev "
							   "ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27"
							   "lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n";
	static const char key_text[] = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/"
								   "PdN8b2OaGmKprLI8HKM+dJ472xgFYh15"
								   "f";
	NoteKey key;

	tap_ok(note_key_parse(key_text, strlen(key_text), &key) == CORE_OK &&
			   checkpoint_open(note, strlen(note), &key, &checkpoint) == CORE_OK &&
			   checkpoint.size == 1432088532 && strcmp(checkpoint.origin, key.name) == 0,
		   "a public log's head is opened with its key");
}

static void
check_good(void)
{
	static const struct
	{
		const char *text;
		uint64_t size;
		const char *name;
	} good[] = {
		{"o\n0\n" ROOT "\n", 0, "an empty tree"},
		{"o\n1\n" ROOT "\n", 1, "a tree of one"},
		{"o\n1152921504606846975\n" ROOT "\n", (UINT64_C(1) << 60) - 1, "the largest tree"},
		{"o\n7\n" ROOT "\nmore\n", 7, "an extension line"},
		{"o\n7\n" ROOT "\nmore\n \neven more\n", 7, "several"},
		{"an origin with + and spaces\n7\n" ROOT "\n", 7, "an origin that is no key's name"},
		{"\xc3\xa9\n7\n" ROOT "\n", 7, "an origin in UTF-8"},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		tap_ok(parse(good[i].text, strlen(good[i].text)) == CORE_OK &&
				   checkpoint.size == good[i].size,
			   "%s is read", good[i].name);
}

typedef struct Bad
{
	const char *text;
	CoreStatus status;
	const char *name;
} Bad;

static const Bad bad[] = {
	{"", CORE_TRUNCATED, "nothing"},
	{"o", CORE_TRUNCATED, "a line without its newline"},
	{"o\n", CORE_TRUNCATED, "one line"},
	{"o\n7\n", CORE_TRUNCATED, "two lines"},
	{"o\n7\n" ROOT, CORE_TRUNCATED, "no newline at the end"},
	{"o\n7\n" ROOT "\nmore", CORE_TRUNCATED, "none after an extension"},
	{"\n7\n" ROOT "\n", CORE_MALFORMED, "an empty origin"},
	{"o\n\n" ROOT "\n", CORE_MALFORMED, "an empty size"},
	{"o\n7\n\n", CORE_MALFORMED, "an empty root"},
	{"o\n7\n" ROOT "\n\n", CORE_MALFORMED, "an empty extension"},
	{"o\n7\n" ROOT "\nmore\n\n", CORE_MALFORMED, "an empty line at the end"},
	{"o\n7\n" ROOT "\n\nmore\n", CORE_MALFORMED, "one in the middle"},
	{"o\n07\n" ROOT "\n", CORE_MALFORMED, "a size that begins with zero"},
	{"o\n00\n" ROOT "\n", CORE_MALFORMED, "two zeroes"},
	{"o\n-7\n" ROOT "\n", CORE_MALFORMED, "a negative size"},
	{"o\n+7\n" ROOT "\n", CORE_MALFORMED, "a size with a sign"},
	{"o\n 7\n" ROOT "\n", CORE_MALFORMED, "a space before the size"},
	{"o\n7 \n" ROOT "\n", CORE_MALFORMED, "one after it"},
	{"o\n7.0\n" ROOT "\n", CORE_MALFORMED, "a fraction"},
	{"o\n0x7\n" ROOT "\n", CORE_MALFORMED, "a hexadecimal size"},
	{"o\n7e1\n" ROOT "\n", CORE_MALFORMED, "a size with an exponent"},
	{"o\n\xd9\xa7\n" ROOT "\n", CORE_MALFORMED, "an Arabic digit"},
	{"o\n1152921504606846976\n" ROOT "\n", CORE_MALFORMED, "a size of 2^60"},
	{"o\n18446744073709551623\n" ROOT "\n", CORE_MALFORMED, "one of 2^64 and 7"},
	{"o\n340282366920938463463374607431768211463\n" ROOT "\n", CORE_MALFORMED, "one of 2^128 + 7"},
	{"o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n", CORE_MALFORMED,
	 "a root with bits behind its last byte"},
	{"o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I\n", CORE_MALFORMED, "no padding"},
	{"o\n7\nCsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I=\n", CORE_MALFORMED, "another base64"},
	{"o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==\n", CORE_MALFORMED, "a root of 31 bytes"},
	{"o\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2IA\n", CORE_MALFORMED, "one of 33"},
	{"o\n7\n" ROOT ROOT "\n", CORE_MALFORMED, "two roots"},
	{"o\n7\n " ROOT "\n", CORE_MALFORMED, "a space before the root"},
	{"o\n7\n" ROOT "\r\n", CORE_MALFORMED, "a carriage return"},
	{"o\t\n7\n" ROOT "\n", CORE_MALFORMED, "a tab"},
	{"\xff\n7\n" ROOT "\n", CORE_MALFORMED, "an origin that is no UTF-8"},
	{"o\n7\n" ROOT "\n\x80\n", CORE_MALFORMED, "an extension that is none"},
};

static void
check_bad(void)
{
	static const Checkpoint zero;
	char text[NOTE_NAME_MAX + 80];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		CoreStatus status = parse(bad[i].text, strlen(bad[i].text));

		if (!tap_ok(status == bad[i].status && memcmp(&checkpoint, &zero, sizeof(zero)) == 0,
					"%s is refused, and nothing is left of it", bad[i].name))
			printf("# status %d\n", status);
	}
	tap_ok(parse("o\0\n7\n" ROOT "\n", 50) == CORE_MALFORMED, "a zero byte is refused");
	memset(text, 'o', sizeof(text));
	strcpy(text + NOTE_NAME_MAX, "\n7\n" ROOT "\n");
	tap_ok(parse(text, strlen(text)) == CORE_OK && strlen(checkpoint.origin) == NOTE_NAME_MAX,
		   "an origin may have 255 bytes");
	strcpy(text + NOTE_NAME_MAX, "o\n7\n" ROOT "\n");
	tap_ok(parse(text, strlen(text)) == CORE_MALFORMED, "and not 256");
}

static void
check_round_trips(void)
{
	SignKey *private_key = signing_key_number(1);
	long failed = 0;

	for (int i = 0; i < 500; i++)
	{
		char name[NOTE_NAME_MAX + 1] = {0};
		char note[CHECKPOINT_MAX];
		Checkpoint head = {.size = i == 0 ? 0 : tap_random() >> (4 + tap_random() % 60)};
		NoteKey key;
		size_t length;

		memset(name, 'n', i < 20 ? NOTE_NAME_MAX : 1 + tap_random() % NOTE_NAME_MAX);
		if (i == 1)
			head.size = CHECKPOINT_SIZE_LIMIT - 1;
		for (int at = 0; at < MERKLE_HASH_SIZE; at++)
			head.root.bytes[at] = (uint8_t) tap_random();
		key = signing_name(private_key, name, NOTE_ED25519);
		failed += checkpoint_sign(&head, &key, private_key, note, &length) != CORE_OK ||
				  length != strlen(note) || length >= CHECKPOINT_MAX ||
				  checkpoint_open(note, length, &key, &checkpoint) != CORE_OK ||
				  checkpoint.size != head.size || strcmp(checkpoint.origin, name) != 0 ||
				  memcmp(&checkpoint.root, &head.root, sizeof(head.root)) != 0;
	}
	tap_all(failed, 500, -1, "what is signed is opened again");
	sign_key_free(private_key);
}

static void
check_sign(void)
{
	SignKey *private_key = signing_key_number(1);
	SignKey *other = signing_key_number(2);
	NoteKey key = signing_name(private_key, ORIGIN, NOTE_ED25519);
	NoteKey witness = signing_name(private_key, ORIGIN, NOTE_COSIGNATURE);
	Checkpoint head = {.origin = "what is not asked", .size = 20852163};
	static const char expected[] = ORIGIN "\n20852163\n" ROOT "\n\n\xe2\x80\x94 " ORIGIN " ";
	char note[CHECKPOINT_MAX];
	size_t length;

	tap_unhex(ROOT_HEX, head.root.bytes);
	tap_ok(checkpoint_sign(&head, &key, private_key, note, &length) == CORE_OK &&
			   strncmp(note, expected, strlen(expected)) == 0,
		   "a head is written as the specification has it, its origin the key's name");
	tap_ok(checkpoint_sign(&head, &witness, private_key, note, &length) == CORE_MALFORMED &&
			   note[0] == '\0' && length == 0,
		   "a witness's key signs no head");
	tap_ok(checkpoint_sign(&head, &key, other, note, &length) == CORE_WRONG_KEY &&
			   note[0] == '\0' && length == 0,
		   "nor does another key in its name");
	head.size = CHECKPOINT_SIZE_LIMIT;
	tap_ok(checkpoint_sign(&head, &key, private_key, note, &length) == CORE_MALFORMED &&
			   note[0] == '\0' && length == 0,
		   "a tree that is too large is not signed");
	sign_key_free(private_key);
	sign_key_free(other);
}

/* Signs a text that checkpoint_sign would not write. */
static CoreStatus
open_signed(const char *text, const NoteKey *key, const SignKey *private_key)
{
	char line[NOTE_LINE_MAX];
	char note[1024];

	if (note_sign(text, strlen(text), key, private_key, 0, line) != CORE_OK)
		abort();
	snprintf(note, sizeof(note), "%s\n%s", text, line);
	memset(&checkpoint, 0xee, sizeof(checkpoint));
	return checkpoint_open(note, strlen(note), key, &checkpoint);
}

static void
check_open(void)
{
	static const Checkpoint zero;
	SignKey *private_key = signing_key_number(1);
	SignKey *other = signing_key_number(2);
	NoteKey key = signing_name(private_key, ORIGIN, NOTE_ED25519);
	NoteKey rotated = signing_name(other, ORIGIN, NOTE_ED25519);
	Checkpoint head = {.size = 5};
	char note[CHECKPOINT_MAX];
	size_t length;

	tap_number(open_signed(ORIGIN "\n7\n" ROOT "\nmore\n", &key, private_key), CORE_OK,
			   "a head with an extension is opened");
	tap_ok(open_signed("elsewhere\n7\n" ROOT "\n", &key, private_key) == CORE_WRONG_KEY &&
			   memcmp(&checkpoint, &zero, sizeof(zero)) == 0,
		   "another log's head is not ours, though our key signed it");
	tap_ok(open_signed(ORIGIN "\n7\n", &key, private_key) == CORE_TRUNCATED &&
			   memcmp(&checkpoint, &zero, sizeof(zero)) == 0,
		   "a signature does not make two lines a head");
	tap_number(open_signed(ORIGIN "\n7\n\n" ROOT "\n", &key, private_key), CORE_MALFORMED,
			   "nor a text with an empty line");
	tap_ok(checkpoint_sign(&head, &key, private_key, note, &length) == CORE_OK, "a head is signed");
	tap_number(checkpoint_open(note, length, &rotated, &checkpoint), CORE_WRONG_KEY,
			   "it is not by the next key of the same name");
	tap_number(checkpoint_open(note, length - 1, &key, &checkpoint), CORE_MALFORMED,
			   "without its last newline it is no note");
	tap_number(checkpoint_open(note, 40, &key, &checkpoint), CORE_MALFORMED, "nor is half of it");
	note[strlen(ORIGIN) + 1] = '6';
	tap_ok(checkpoint_open(note, length, &key, &checkpoint) == CORE_NOT_AUTHENTIC &&
			   memcmp(&checkpoint, &zero, sizeof(zero)) == 0,
		   "with another size it is not authentic");
	sign_key_free(private_key);
	sign_key_free(other);
}

int
main(void)
{
	check_published();
	check_public_log();
	check_good();
	check_bad();
	check_round_trips();
	check_sign();
	check_open();
	return tap_done();
}
