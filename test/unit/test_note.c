/*
 * test_note.c - signed notes: what others have published, what is no note,
 * and that nothing which was touched verifies.
 */
#define _GNU_SOURCE /* memmem */

#include "core/note.h"
#include "signing.h"

#define DASH "\xe2\x80\x94 "

/* golang.org/x/mod/sumdb/note: two keys, the seed of one, a text and both signatures. */
#define PETER_KEY "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define PETER_SECRET "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
#define ENOCH_KEY "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
#define TEXT                                                                                       \
	"If you think cryptography is the answer to your problem,\n"                                   \
	"then you don't know what your problem is.\n"
#define PETER_BASE64                                                                               \
	"x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
#define PETER_LINE DASH "PeterNeumann " PETER_BASE64 "\n"
#define ENOCH_LINE                                                                                 \
	DASH "EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLo" \
		 "x33WWd1RvMc+QQ=\n"

/* The example of c2sp.org/signed-note. */
#define EXAMPLE_KEY "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
static const char example_note[] =
	"This is an example message.\n\n"
	"\xe2\x80\x94 example.com/foo "
	"Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYj"
	"OBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/* A head of a public log of certificates, with its signatures of two kinds, and its witnesses. */
static const char log_note[] =
	"arche2025h1.staging.ct.transparency.dev\n"
	"1432088532\n"
	"U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
	"\n"
	"\xe2\x80\x94 arche2025h1.staging.ct.transparency.dev "
	"zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI"
	"4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n"
	"\xe2\x80\x94 arche2025h1.staging.ct.transparency.dev "
	"ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZF"
	"WwQ=\n"
	"\xe2\x80\x94 transparency.dev/DEV:witness-little-garden "
	"2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q4"
	"4vdgJY096st5BQ==\n"
	"\xe2\x80\x94 witness1.smartit.nu/witness1 "
	"pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0t"
	"gh0XwzdZsDsUAQ==\n"
	"\xe2\x80\x94 remora.n621.de "
	"2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0"
	"WBxtqB0DrAWfBw==\n"
	"\xe2\x80\x94 witness.stagemole.eu "
	"Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUi"
	"OvKFYe/TmN9DAg==\n";

static const char *const log_keys[] = {
	"arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f",
	"transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVE"
	"PM",
	"witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
	"remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
	"witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
};

static NoteKey
key_of(const char *text)
{
	NoteKey key;

	if (note_key_parse(text, strlen(text), &key) != CORE_OK)
		abort();
	return key;
}

/* Parses a copy that is exactly as long as the bytes; the copy is freed by the caller. */
static CoreStatus
parse(const char *bytes, size_t length, Note *note, char **copy)
{
	*copy = (char *) tap_copy(bytes, length);
	return note_parse(*copy, length, note);
}

/* What opening a note with a key says: of the parsing, or of the verifying. */
static CoreStatus
open_note(const char *bytes, size_t length, const NoteKey *key, uint64_t *timestamp)
{
	Note note;
	char *copy;
	CoreStatus status = parse(bytes, length, &note, &copy);

	if (status == CORE_OK)
		status = note_verify(&note, key, timestamp);
	free(copy);
	return status;
}

static CoreStatus
open_text(const char *text, const NoteKey *key)
{
	return open_note(text, strlen(text), key, NULL);
}

static void
check_keys(void)
{
	static const char *const texts[] = {PETER_KEY, ENOCH_KEY, EXAMPLE_KEY};
	char out[NOTE_KEY_TEXT_MAX];
	NoteKey key;
	NoteKey made;

	for (size_t i = 0; i < 3 + sizeof(log_keys) / sizeof(log_keys[0]); i++)
	{
		const char *text = i < 3 ? texts[i] : log_keys[i - 3];
		bool good = note_key_parse(text, strlen(text), &key) == CORE_OK;

		note_key_format(&key, out);
		tap_ok(good && strcmp(out, text) == 0, "%s is read and written", text);
		tap_ok(note_key_make(key.name, key.algorithm, key.public_key, &made) == CORE_OK &&
				   memcmp(&made, &key, sizeof(key)) == 0,
			   "and made of its parts, with that id");
	}
	tap_ok(note_key_parse(PETER_KEY "\n", sizeof(PETER_KEY), &key) == CORE_OK,
		   "a newline may follow a verifier key");
	tap_ok(note_key_parse("PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
						  sizeof(PETER_KEY) - 1, &key) == CORE_OK &&
			   key.id == 0xc74f20a3,
		   "an id in capitals is the same number");
}

/* c2sp.org/signed-note: the same key and name have another id for another algorithm. */
static void
check_algorithms(void)
{
	NoteKey peter = key_of(PETER_KEY);
	NoteKey witness;
	char out[NOTE_KEY_TEXT_MAX];

	tap_ok(note_key_make(peter.name, NOTE_COSIGNATURE, peter.public_key, &witness) == CORE_OK &&
			   witness.id != peter.id,
		   "the algorithm is part of the id");
	note_key_format(&witness, out);
	tap_ok(strstr(out, "+BBpc2Qc") != NULL, "and of the text");
	tap_ok(open_text(TEXT "\n" PETER_LINE, &witness) == CORE_WRONG_KEY,
		   "a witness's key does not verify the signature of a signer's");
	tap_number(note_key_make(peter.name, (NoteAlgorithm) 2, peter.public_key, &witness),
			   CORE_BAD_VERSION, "an algorithm that is not known is refused");
	tap_number(note_key_make(peter.name, (NoteAlgorithm) 257, peter.public_key, &witness),
			   CORE_BAD_VERSION, "one beyond a byte, too");
	tap_number(note_key_make("a b", NOTE_ED25519, peter.public_key, &witness), CORE_MALFORMED,
			   "a name with a space is refused");
	memset(peter.public_key, 0, sizeof(peter.public_key));
	tap_number(note_key_make(peter.name, NOTE_ED25519, peter.public_key, &witness), CORE_MALFORMED,
			   "a public key of small order is refused");
}

static void
check_bad_keys(void)
{
	static const char *const bad[] = {
		"",
		"\n",
		"+",
		"++",
		"PeterNeumann",
		"PeterNeumann+c74f20a3",
		"PeterNeumann+c74f20a3+",
		"+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+c74f20a+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+0c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+c74f20g3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+ c74f20a+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+0x4f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"peterneumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		" PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		PETER_KEY " ",
		PETER_KEY "\r\n",
		PETER_KEY "\n\n",
		PETER_KEY "=",
		PETER_KEY "AAAA",
		"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TX",
		"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10Q=",
		/* the reference implementation's: a key too long, its id adjusted */
		"PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
	};
	static const char *const unknown[] = {
		/* the reference implementation's: an algorithm that nobody has, its id adjusted */
		"PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"rekor.sigstore.dev+c0d23d6a+"
		"AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5"
		"AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=",
		"example.com/foo+00000000+++++++++++++++++++++++++++++++++++++++++++++",
	};
	static const NoteKey zero;
	NoteKey key;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		char *copy = (char *) tap_copy(bad[i], strlen(bad[i]));

		memset(&key, 0xee, sizeof(key));
		tap_ok(note_key_parse(copy, strlen(bad[i]), &key) == CORE_MALFORMED &&
				   memcmp(&key, &zero, sizeof(key)) == 0,
			   "text %d is no verifier key", (int) i + 1);
		free(copy);
	}
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		tap_number(note_key_parse(unknown[i], strlen(unknown[i]), &key), CORE_BAD_VERSION,
				   "a key of an algorithm that is not known is told from rubbish");
}

/* The manglings of the reference implementation's own test. */
static void
check_mangled_key(void)
{
	char text[] = PETER_KEY;
	size_t length = strlen(text);
	long failed = 0;
	long total = 0;
	NoteKey key;

	for (size_t from = 0; from <= length; from++)
	{
		for (size_t to = from; to <= length; to++)
		{
			char *copy = (char *) tap_copy(text + from, to - from);

			total++;
			failed +=
				(note_key_parse(copy, to - from, &key) == CORE_OK) != (from == 0 && to == length);
			free(copy);
		}
	}
	for (size_t at = 0; at < length; at++, total++)
	{
		text[at]++;
		failed += note_key_parse(text, length, &key) == CORE_OK;
		text[at]--;
	}
	tap_all(failed, total, -1, "no part of a verifier key is one, nor with a byte changed");
}

static void
check_names(void)
{
	static const char *const good[] = {"a",
									   "example.com/log42",
									   "\xc3\xa9",
									   "\xe6\x97\xa5\xe6\x9c\xac",
									   "\xf0\x9f\x94\x91",
									   "a=b",
									   "-",
									   "\xe2\x80\x94",
									   "\xf4\x8f\xbf\xbf",
									   "\xee\x80\x80",
									   "\xed\x9f\xbf"};
	static const char *const bad[] = {
		"", " ", "a b", "a+b", "+", "a\tb", "a\n", "a\r", "\x0b", "\x0c", "\x01", "\x1f",
		/* U+0085, U+00A0, U+1680, U+2000, U+200A, U+2028, U+2029, U+202F, U+205F, U+3000 */
		"a\xc2\x85", "a\xc2\xa0", "a\xe1\x9a\x80", "a\xe2\x80\x80", "a\xe2\x80\x8a",
		"a\xe2\x80\xa8", "a\xe2\x80\xa9", "a\xe2\x80\xaf", "a\xe2\x81\x9f", "a\xe3\x80\x80",
		/* no UTF-8: alone, cut short, overlong, a surrogate, beyond U+10FFFF */
		"\x80", "\xbf", "\xc3", "\xe6\x97", "\xf0\x9f\x94", "\xc3(", "\xe6\x97(", "\xc0\x80",
		"\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff"};
	char longest[NOTE_NAME_MAX + 1];

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		tap_ok(note_name_is_valid(good[i], strlen(good[i])), "name %d is one", (int) i + 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		char *copy = (char *) tap_copy(bad[i], strlen(bad[i]));

		tap_ok(!note_name_is_valid(copy, strlen(bad[i])), "name %d is none", (int) i + 1);
		free(copy);
	}
	tap_ok(!note_name_is_valid("a\0b", 3), "a name has no zero byte");
	memset(longest, 'n', sizeof(longest));
	tap_ok(note_name_is_valid(longest, NOTE_NAME_MAX), "a name may have 255 bytes");
	tap_ok(!note_name_is_valid(longest, NOTE_NAME_MAX + 1), "and not 256");
}

static void
check_published(void)
{
	NoteKey peter = key_of(PETER_KEY);
	NoteKey enoch = key_of(ENOCH_KEY);
	NoteKey example = key_of(EXAMPLE_KEY);
	uint8_t secret[1 + SIGNING_SEED_SIZE];
	char line[NOTE_LINE_MAX];
	size_t count;
	SignKey *key;

	tap_number(open_text(TEXT "\n" PETER_LINE, &peter), CORE_OK, "the reference's note verifies");
	tap_number(open_text(TEXT "\n" PETER_LINE ENOCH_LINE, &peter), CORE_OK,
			   "of two signatures the first");
	tap_number(open_text(TEXT "\n" PETER_LINE ENOCH_LINE, &enoch), CORE_OK, "and the second");
	tap_number(open_text(TEXT "\n" PETER_LINE, &enoch), CORE_WRONG_KEY,
			   "who has not signed, has not");
	tap_number(open_text(example_note, &example), CORE_OK, "the specification's example verifies");
	tap_ok(base64_decode(PETER_SECRET, strlen(PETER_SECRET), secret, sizeof(secret), &count) ==
			   CORE_OK,
		   "the reference's private key is read");
	key = signing_key(secret + 1);
	tap_ok(note_sign(TEXT, strlen(TEXT), &peter, key, 0, line) == CORE_OK &&
			   strcmp(line, PETER_LINE) == 0,
		   "and signs its text as the reference does");
	tap_ok(note_sign(TEXT, strlen(TEXT), &enoch, key, 0, line) == CORE_WRONG_KEY && line[0] == '\0',
		   "but not in somebody else's name");
	sign_key_free(key);
}

static void
check_public_log(void)
{
	long failed = 0;

	for (size_t i = 0; i < sizeof(log_keys) / sizeof(log_keys[0]); i++)
	{
		NoteKey key = key_of(log_keys[i]);
		uint64_t timestamp = 1;

		tap_ok(open_note(log_note, strlen(log_note), &key, &timestamp) == CORE_OK &&
				   timestamp == (i == 0 ? 0 : 1779573024),
			   "%s has signed a public log's head, at its time", key.name);
		key.public_key[5] ^= 1;
		failed += open_text(log_note, &key) != CORE_NOT_AUTHENTIC;
	}
	tap_all(failed, 5, -1, "and no other public key under their names");
}

/* c2sp.org/tlog-cosignature publishes no keys for its example: its form is what can be checked. */
static void
check_cosignature_example(void)
{
	static const char line[] = DASH
		"witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX"
		"3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
	NoteSignature signature;
	uint8_t bytes[76];
	size_t count;

	tap_ok(note_parse_signature(line, strlen(line), &signature) == CORE_OK &&
			   signature.id == 0x8d66cf3f && signature.name_length == 22 &&
			   memcmp(signature.name, "witness.example.com/w1", 22) == 0,
		   "the specification's cosignature is taken apart");
	tap_ok(base64_decode(signature.base64, signature.base64_length, bytes, sizeof(bytes), &count) ==
				   CORE_OK &&
			   count == 76,
		   "it has key id, time and signature");
	tap_hex(bytes + 4, 8, "00000000641850cb", "and the time 1679315147");
	tap_ok(note_parse_signature(line, strlen(line) - 1, &signature) == CORE_OK &&
			   signature.line_length == strlen(line) - 1,
		   "a line is taken apart without its newline, too");
}

static void
check_shape(void)
{
	static const char bytes[] = "one\n\n\ntwo\n\n" PETER_LINE ENOCH_LINE;
	Note note;
	char *copy;

	tap_ok(parse(bytes, strlen(bytes), &note, &copy) == CORE_OK && note.count == 2 &&
			   note.text == copy && note.text_length == 10,
		   "the last empty line separates a text from its signatures");
	tap_ok(note.signatures[0].id == 0xc74f20a3 && note.signatures[0].name_length == 12 &&
			   memcmp(note.signatures[0].name, "PeterNeumann", 12) == 0 &&
			   note.signatures[0].base64_length == strlen(PETER_BASE64) &&
			   memcmp(note.signatures[0].base64, PETER_BASE64, strlen(PETER_BASE64)) == 0,
		   "a signature has name, id and base64");
	tap_ok(note.signatures[1].line_length == strlen(ENOCH_LINE) &&
			   memcmp(note.signatures[1].line, ENOCH_LINE, strlen(ENOCH_LINE)) == 0,
		   "and its whole line");
	free(copy);
	tap_ok(parse("\n\n" PETER_LINE, 2 + strlen(PETER_LINE), &note, &copy) == CORE_OK &&
			   note.text_length == 1,
		   "a text may be an empty line");
	free(copy);
}

typedef struct Bad
{
	const char *text;
	CoreStatus status;
	const char *name;
} Bad;

static const Bad bad_notes[] = {
	{"", CORE_TRUNCATED, "nothing"},
	{"\n", CORE_TRUNCATED, "a newline"},
	{"\n\n", CORE_TRUNCATED, "two newlines"},
	{TEXT, CORE_TRUNCATED, "a text"},
	{TEXT "\n", CORE_TRUNCATED, "a text and an empty line"},
	{TEXT PETER_LINE, CORE_TRUNCATED, "no empty line"},
	{"\n" PETER_LINE, CORE_TRUNCATED, "no text"},
	{TEXT "\n" PETER_LINE "\n", CORE_TRUNCATED, "an empty line at the end"},
	{TEXT "\n" DASH "PeterNeumann " PETER_BASE64, CORE_MALFORMED, "no newline at the end"},
	{"\x01" TEXT "\n" PETER_LINE, CORE_MALFORMED, "a control character"},
	{"\t" TEXT "\n" PETER_LINE, CORE_MALFORMED, "a tab"},
	{"a\r\n\n" PETER_LINE, CORE_MALFORMED, "a carriage return"},
	{"\xff" TEXT "\n" PETER_LINE, CORE_MALFORMED, "a byte that is no UTF-8"},
	{"\xed\xa0\x80" TEXT "\n" PETER_LINE, CORE_MALFORMED, "a surrogate"},
	{TEXT "\n" PETER_LINE "Unexpected line.\n", CORE_MALFORMED, "a line after the signatures"},
	{TEXT "\n" DASH "Bad Name " PETER_BASE64 "\n", CORE_MALFORMED, "a name with a space"},
	{TEXT "\n" DASH "Bad+Name " PETER_BASE64 "\n", CORE_MALFORMED, "a name with a plus sign"},
	{TEXT "\n" DASH "Bad\xc2\xa0Name " PETER_BASE64 "\n", CORE_MALFORMED, "a no-break space"},
	{TEXT "\n" DASH " " PETER_BASE64 "\n", CORE_MALFORMED, "an empty name"},
	{TEXT "\n" DASH PETER_BASE64 "\n", CORE_MALFORMED, "no name"},
	{TEXT "\n" DASH "PeterNeumann\n", CORE_MALFORMED, "no signature"},
	{TEXT "\n" DASH "PeterNeumann \n", CORE_MALFORMED, "an empty signature"},
	{TEXT "\n" DASH "\n", CORE_MALFORMED, "a dash alone"},
	{TEXT "\n" DASH "PeterNeumann  " PETER_BASE64 "\n", CORE_MALFORMED, "two spaces"},
	{TEXT "\n" DASH "PeterNeumann " PETER_BASE64 " \n", CORE_MALFORMED, "a space at the end"},
	{TEXT "\n" DASH "PeterNeumann " PETER_BASE64 "=\n", CORE_MALFORMED, "too much padding"},
	{TEXT "\n" DASH "PeterNeumann x08go/Z_\n", CORE_MALFORMED, "letters of another base64"},
	{TEXT "\n" DASH "PeterNeumann x08gow==\n", CORE_MALFORMED, "a key id and nothing else"},
	{TEXT "\n" DASH "PeterNeumann x08g\n", CORE_MALFORMED, "less than a key id"},
	{TEXT "\n- PeterNeumann " PETER_BASE64 "\n", CORE_MALFORMED, "a hyphen"},
	{TEXT "\n\xe2\x80\x93 PeterNeumann " PETER_BASE64 "\n", CORE_MALFORMED, "an en dash"},
	{TEXT "\n\xe2\x80\x94PeterNeumann " PETER_BASE64 "\n", CORE_MALFORMED, "no space after it"},
	{TEXT "\n " PETER_LINE, CORE_MALFORMED, "a space before it"},
};

static void
check_bad_notes(void)
{
	static const Note zero;
	Note note;
	char *copy;

	for (size_t i = 0; i < sizeof(bad_notes) / sizeof(bad_notes[0]); i++)
	{
		CoreStatus status = parse(bad_notes[i].text, strlen(bad_notes[i].text), &note, &copy);

		if (!tap_ok(status == bad_notes[i].status && memcmp(&note, &zero, sizeof(note)) == 0,
					"%s is no note", bad_notes[i].name))
			printf("# status %d\n", status);
		free(copy);
	}
	tap_ok(parse("a\0\n\n" PETER_LINE, 4 + strlen(PETER_LINE), &note, &copy) == CORE_MALFORMED,
		   "a zero byte is in no note");
	free(copy);
}

/* A note of so many signatures, each of which is Peter's, after a text of so many bytes. */
static char *
long_note(int signatures, size_t text_length, size_t *length)
{
	char *bytes = malloc(text_length + 1 + (size_t) signatures * strlen(PETER_LINE) + 1);

	memset(bytes, 'a', text_length - 1);
	memcpy(bytes + text_length - 1, "\n\n", 3);
	*length = text_length + 1;
	for (int i = 0; i < signatures; i++)
	{
		memcpy(bytes + *length, PETER_LINE, strlen(PETER_LINE));
		*length += strlen(PETER_LINE);
	}
	return bytes;
}

static void
check_limits(void)
{
	size_t room = NOTE_MAX_SIZE - 1 - strlen(PETER_LINE);
	Note note;
	size_t length;
	char *bytes = long_note(NOTE_SIGNATURES_MAX, 10, &length);

	tap_ok(note_parse(bytes, length, &note) == CORE_OK && note.count == NOTE_SIGNATURES_MAX,
		   "a note may have as many signatures as there is room for");
	free(bytes);
	bytes = long_note(NOTE_SIGNATURES_MAX + 1, 10, &length);
	tap_ok(note_parse(bytes, length, &note) == CORE_MALFORMED && note.count == 0, "and no more");
	free(bytes);
	bytes = long_note(1, room, &length);
	tap_ok(length == NOTE_MAX_SIZE && note_parse(bytes, length, &note) == CORE_OK,
		   "a note may be as long as it says");
	free(bytes);
	bytes = long_note(1, room + 1, &length);
	tap_ok(note_parse(bytes, length, &note) == CORE_MALFORMED, "and no longer");
	free(bytes);
}

/* A note that 16 have signed with 5 kB each, as signed-note has every verifier accept. */
static void
check_big_signatures(void)
{
	static uint8_t blob[5000];
	static char bytes[NOTE_MAX_SIZE];
	NoteKey peter = key_of(PETER_KEY);
	size_t length = (size_t) snprintf(bytes, sizeof(bytes), "%s\n", TEXT);

	for (int i = 0; i < 15; i++)
	{
		length += (size_t) snprintf(bytes + length, sizeof(bytes) - length, DASH "pq%d ", i);
		base64_encode(blob, sizeof(blob), bytes + length);
		length += BASE64_LENGTH(sizeof(blob));
		bytes[length++] = '\n';
	}
	length += (size_t) snprintf(bytes + length, sizeof(bytes) - length, "%s", PETER_LINE);
	tap_number(open_note(bytes, length, &peter, NULL), CORE_OK,
			   "15 large signatures of kinds that are not known are passed over");
}

/* Signatures that a key has to answer for, and those that are not its. */
static void
check_known_and_unknown(void)
{
	static const char name_only[] = DASH "PeterNeumann AAAAAAAA\n";
	static const char id_only[] = DASH "Nobody " PETER_BASE64 "\n";
	static const char wrong[] = DASH
		"PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZ"
		"b6KE6RyyBwJnBM=\n";
	static const char shorter[] = DASH "PeterNeumann x08go/ZJkuBS\n";
	NoteKey peter = key_of(PETER_KEY);
	char text[1024];

	snprintf(text, sizeof(text), "%s\n%s%s%s", TEXT, name_only, id_only, PETER_LINE);
	tap_number(open_text(text, &peter), CORE_OK,
			   "who shares a name or an id with a key, but not both, is nobody");
	snprintf(text, sizeof(text), "%s\n%s%s", TEXT, name_only, id_only);
	tap_number(open_text(text, &peter), CORE_WRONG_KEY, "and has not signed for it");
	snprintf(text, sizeof(text), "%s\n%s", TEXT, wrong);
	tap_number(open_text(text, &peter), CORE_NOT_AUTHENTIC, "a wrong signature is told");
	snprintf(text, sizeof(text), "%s\n%s%s", TEXT, wrong, PETER_LINE);
	tap_number(open_text(text, &peter), CORE_NOT_AUTHENTIC, "before a right one");
	snprintf(text, sizeof(text), "%s\n%s%s", TEXT, PETER_LINE, wrong);
	tap_number(open_text(text, &peter), CORE_NOT_AUTHENTIC, "and after it");
	snprintf(text, sizeof(text), "%s\n%s%s", TEXT, PETER_LINE, shorter);
	tap_number(open_text(text, &peter), CORE_NOT_AUTHENTIC, "also one that is too short");
	snprintf(text, sizeof(text), "%s\n%s%s", TEXT, PETER_LINE, PETER_LINE);
	tap_number(open_text(text, &peter), CORE_OK, "the same one twice is right twice");
	peter.algorithm = (NoteAlgorithm) 99;
	tap_number(open_text(TEXT "\n" PETER_LINE, &peter), CORE_MALFORMED,
			   "a key whose algorithm is not known verifies nothing");
}

static void
check_witness(void)
{
	SignKey *key = signing_key_number(3);
	NoteKey witness = signing_name(key, "witness.example/w", NOTE_COSIGNATURE);
	NoteKey signer = signing_name(key, "witness.example/w", NOTE_ED25519);
	char early[NOTE_LINE_MAX];
	char late[NOTE_LINE_MAX];
	char text[2048];
	uint64_t timestamp = 1;

	tap_ok(note_sign(TEXT, strlen(TEXT), &witness, key, 1679315147, early) == CORE_OK &&
			   note_sign(TEXT, strlen(TEXT), &witness, key, INT64_MAX, late) == CORE_OK,
		   "a witness signs twice");
	snprintf(text, sizeof(text), "%s\n%s%s", TEXT, early, PETER_LINE);
	tap_ok(open_note(text, strlen(text), &witness, &timestamp) == CORE_OK &&
			   timestamp == 1679315147,
		   "its signature tells when");
	tap_ok(open_note(text, strlen(text), &signer, &timestamp) == CORE_WRONG_KEY && timestamp == 0,
		   "and is none of another kind");
	snprintf(text, sizeof(text), "%s\n%s%s", TEXT, late, early);
	tap_ok(open_note(text, strlen(text), &witness, &timestamp) == CORE_OK && timestamp == INT64_MAX,
		   "of two times the later one counts");
	tap_ok(note_sign(TEXT, strlen(TEXT), &witness, key, UINT64_C(1) << 63, late) ==
				   CORE_MALFORMED &&
			   late[0] == '\0',
		   "a time beyond 63 bits is not signed");
	sign_key_free(key);
}

/* A cosignature whose time is beyond what the format allows, though its signature is right. */
static void
check_witness_time(void)
{
	static const char message[] = "cosignature/v1\ntime 9223372036854775808\n" TEXT;
	SignKey *key = signing_key_number(3);
	NoteKey witness = signing_name(key, "w", NOTE_COSIGNATURE);
	uint8_t bytes[4 + 8 + SIGN_SIGNATURE_SIZE] = {
		(uint8_t) (witness.id >> 24), (uint8_t) (witness.id >> 16), (uint8_t) (witness.id >> 8),
		(uint8_t) witness.id, 0x80};
	char base64[BASE64_LENGTH(sizeof(bytes)) + 1];
	char text[1024];

	tap_ok(sign_message(key, message, strlen(message), bytes + 12) == CORE_OK, "signed by hand");
	base64_encode(bytes, sizeof(bytes), base64);
	snprintf(text, sizeof(text), "%s\n" DASH "w %s\n", TEXT, base64);
	tap_number(open_text(text, &witness), CORE_NOT_AUTHENTIC, "a time beyond 63 bits is wrong");
	sign_key_free(key);
}

static void
check_sign(void)
{
	static const char *const bad[] = {"", "no newline", "a\tb\n", "a\r\n", "\xff\n", "\x80\n"};
	SignKey *key = signing_key_number(5);
	char name[NOTE_NAME_MAX + 1];
	char line[NOTE_LINE_MAX];
	char text[2 * NOTE_LINE_MAX];
	NoteKey longest;

	memset(name, 'n', NOTE_NAME_MAX);
	name[NOTE_NAME_MAX] = '\0';
	longest = signing_name(key, name, NOTE_COSIGNATURE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		tap_ok(note_sign(bad[i], strlen(bad[i]), &longest, key, 0, line) == CORE_MALFORMED &&
				   line[0] == '\0',
			   "text %d cannot be signed", (int) i + 1);
	tap_ok(note_sign("a\n", 2, &longest, key, INT64_MAX, line) == CORE_OK &&
			   strlen(line) < NOTE_LINE_MAX,
		   "a line has room for the longest name");
	snprintf(text, sizeof(text), "a\n\n%s", line);
	tap_number(open_text(text, &longest), CORE_OK, "and verifies");
	note_key_format(&longest, text);
	tap_ok(strlen(text) < NOTE_KEY_TEXT_MAX, "a verifier key has room for it, too");
	longest.algorithm = (NoteAlgorithm) 3;
	tap_number(note_sign("a\n", 2, &longest, key, 0, line), CORE_MALFORMED,
			   "nothing is signed under an algorithm that is not known");
	sign_key_free(key);
}

/* A signature that is kept apart from its note. */
static void
check_apart(void)
{
	NoteKey peter = key_of(PETER_KEY);
	NoteSignature signature;
	uint64_t timestamp = 1;

	tap_ok(note_parse_signature(PETER_LINE, strlen(PETER_LINE), &signature) == CORE_OK &&
			   note_verify_signature(TEXT, strlen(TEXT), &signature, &peter, &timestamp) ==
				   CORE_OK &&
			   timestamp == 0,
		   "a line verifies over the text that it is of");
	tap_number(note_verify_signature("other\n", 6, &signature, &peter, NULL), CORE_NOT_AUTHENTIC,
			   "over no other");
	tap_number(note_verify_signature(TEXT, strlen(TEXT) - 1, &signature, &peter, NULL),
			   CORE_MALFORMED, "and over nothing that cannot be signed");
	tap_number(
		note_parse_signature(PETER_LINE ENOCH_LINE, strlen(PETER_LINE ENOCH_LINE), &signature),
		CORE_MALFORMED, "two lines are not one");
	tap_number(note_parse_signature("", 0, &signature), CORE_MALFORMED, "and nothing is none");
}

/* Changes one to three things in bytes; returns their new length. */
static size_t
mutate(char *bytes, size_t length)
{
	int changes = 1 + (int) (tap_random() % 3);

	for (int i = 0; i < changes; i++)
	{
		size_t at = (size_t) (tap_random() % length);

		switch (tap_random() % 4)
		{
			case 0:
				bytes[at] ^= (char) (1 << tap_random() % 8);
				break;
			case 1:
				bytes[at] = (char) tap_random();
				break;
			case 2:
				memmove(bytes + at, bytes + at + 1, length - at - 1);
				length--;
				break;
			default:
				memmove(bytes + at + 1, bytes + at, length - at);
				bytes[at] = bytes[(size_t) (tap_random() % length)];
				length++;
				break;
		}
	}
	return length;
}

/*
 * A note of one signature has one form: whatever is changed in it, it does not
 * verify any more. Of several, each answers for the text and for its own line.
 */
static void
check_mutations(const char *original, const char *key_text, const char *name)
{
	NoteKey key = key_of(key_text);
	size_t length = strlen(original);
	const char *own = strstr(original, key.name);
	long failed = 0;
	long first = -1;

	/* A log's name is its first line, too: its signature is the last line that has it. */
	for (const char *next = own; next != NULL; next = strstr(next + 1, key.name))
		own = next;
	for (long i = 0; i < 10000; i++)
	{
		char *bytes = malloc(length + 4);
		const char *line;
		bool same;
		size_t changed;

		memcpy(bytes, original, length);
		changed = mutate(bytes, length);
		line = memmem(bytes, changed, own, strcspn(own, "\n") + 1);
		/* Text and own line as they were: what changed was somebody else's signature. */
		same = line != NULL && changed > strcspn(original, "\n") &&
			   strncmp(bytes, original, (size_t) (strstr(original, "\n\n") + 2 - original)) == 0;
		if (open_note(bytes, changed, &key, NULL) == CORE_OK && !same)
		{
			failed++;
			first = first < 0 ? i : first;
		}
		free(bytes);
	}
	tap_all(failed, 10000, first, name);
}

int
main(void)
{
	check_keys();
	check_algorithms();
	check_bad_keys();
	check_mangled_key();
	check_names();
	check_published();
	check_public_log();
	check_cosignature_example();
	check_shape();
	check_bad_notes();
	check_limits();
	check_big_signatures();
	check_known_and_unknown();
	check_witness();
	check_witness_time();
	check_sign();
	check_apart();
	check_mutations(TEXT "\n" PETER_LINE, PETER_KEY, "a note that was changed does not verify");
	check_mutations(log_note, log_keys[0], "nor one with witnesses, for its log");
	check_mutations(log_note, log_keys[3], "nor for a witness");
	return tap_done();
}
