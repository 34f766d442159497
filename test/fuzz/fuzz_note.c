/*
 * fuzz_note.c - what note_parse takes apart can be put together again, and
 * what note_key_parse accepts is what note_key_format writes. Under a
 * published key, only the published text verifies.
 */
#include "core/base64.h"
#include "core/note.h"

#include <stdlib.h>
#include <string.h>

#define KEY "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
#define TEXT                                                                                       \
	"If you think cryptography is the answer to your problem,\n"                                   \
	"then you don't know what your problem is.\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool truth)
{
	if (!truth)
		abort();
}

static void
check_signature(const NoteSignature *signature, const char *end)
{
	NoteSignature again;
	size_t count;

	require(signature->line + signature->line_length <= end);
	require(signature->base64 + signature->base64_length + 1 ==
			signature->line + signature->line_length);
	require(signature->name + signature->name_length + 1 == signature->base64);
	require(base64_decode(signature->base64, signature->base64_length, NULL, 0, &count) ==
				CORE_OK &&
			count > 4);
	require(note_parse_signature(signature->line, signature->line_length, &again) == CORE_OK);
	require(again.id == signature->id && again.name_length == signature->name_length);
}

static void
check_note(const char *bytes, size_t length)
{
	Note note;
	NoteKey key;
	const char *at;
	CoreStatus status = note_parse(bytes, length, &note);

	if (status != CORE_OK)
	{
		require(note.count == 0 && note.text == NULL);
		require(status == CORE_TRUNCATED || status == CORE_MALFORMED);
		return;
	}
	require(note.count > 0 && note.text == bytes && note.text_length < length);
	require(note_text_is_valid(note.text, note.text_length));
	at = bytes + note.text_length;
	require(*at++ == '\n');
	for (int i = 0; i < note.count; i++)
	{
		require(note.signatures[i].line == at);
		check_signature(&note.signatures[i], bytes + length);
		at += note.signatures[i].line_length;
	}
	require(at == bytes + length);
	require(note_key_parse(KEY, strlen(KEY), &key) == CORE_OK);
	if (note_verify(&note, &key, NULL) == CORE_OK)
		require(note.text_length == strlen(TEXT) && memcmp(note.text, TEXT, strlen(TEXT)) == 0);
}

static void
check_key(const char *text, size_t length)
{
	char out[NOTE_KEY_TEXT_MAX];
	NoteKey key;
	NoteKey again;

	if (note_key_parse(text, length, &key) != CORE_OK)
	{
		require(key.name[0] == '\0' && key.id == 0);
		return;
	}
	note_key_format(&key, out);
	require(strlen(out) < sizeof(out));
	require(note_name_is_valid(key.name, strlen(key.name)));
	require(note_key_parse(out, strlen(out), &again) == CORE_OK);
	require(memcmp(&key, &again, sizeof(key)) == 0);
	require(length == strlen(out) + (text[length - 1] == '\n' ? 1 : 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	NoteSignature signature;

	check_note((const char *) data, size);
	check_key((const char *) data, size);
	if (note_parse_signature((const char *) data, size, &signature) == CORE_OK)
		require(signature.line_length == size && signature.name_length > 0);
	return 0;
}
