/*
 * note.c - texts that many may sign.
 */
#include "core/note.h"

#include "core/base64.h"
#include "core/merkle.h"
#include "core/reader.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define ID_SIZE 4	/* bytes of a key id */
#define ID_DIGITS 8 /* characters of a key id in a verifier key */
#define TIME_SIZE 8 /* bytes of a witness's timestamp */
#define TIME_MAX INT64_MAX
#define COSIGNATURE_SIZE (TIME_SIZE + SIGN_SIGNATURE_SIZE)

/* An em dash and a space, which begin a signature line. */
static const char dash[] = "\xe2\x80\x94 ";
#define DASH_LENGTH (sizeof(dash) - 1)

/*
 * Takes one character of UTF-8 (RFC 3629: no surrogates, nothing overlong,
 * nothing above U+10FFFF) from text. Returns its bytes, 0 when it is none.
 */
static size_t
take_character(const char *text, size_t length, uint32_t *character)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *bytes = (const uint8_t *) text;
	size_t size;

	if (length == 0)
		return 0;
	if (bytes[0] < 0x80)
	{
		*character = bytes[0];
		return 1;
	}
	if (bytes[0] < 0xc0 || bytes[0] >= 0xf8)
		return 0;
	size = bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
	if (size > length)
		return 0;
	*character = bytes[0] & (0x7fu >> size);
	for (size_t i = 1; i < size; i++)
	{
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		*character = *character << 6 | (bytes[i] & 0x3f);
	}
	if (*character < least[size] || *character > 0x10ffff ||
		(*character >= 0xd800 && *character <= 0xdfff))
		return 0;
	return size;
}

/* The characters with the property White_Space, as Unicode 15 has them. */
static bool
is_space(uint32_t character)
{
	return (character >= 0x09 && character <= 0x0d) || character == 0x20 || character == 0x85 ||
		   character == 0xa0 || character == 0x1680 ||
		   (character >= 0x2000 && character <= 0x200a) || character == 0x2028 ||
		   character == 0x2029 || character == 0x202f || character == 0x205f || character == 0x3000;
}

bool
note_text_is_valid(const char *text, size_t length)
{
	for (size_t at = 0; at < length;)
	{
		uint32_t character;
		size_t size = take_character(text + at, length - at, &character);

		if (size == 0 || (character < 0x20 && character != '\n'))
			return false;
		at += size;
	}
	return length > 0 && length <= NOTE_MAX_SIZE && text[length - 1] == '\n';
}

/* A name of any length: what others are called is not ours to limit. */
static bool
is_name(const char *name, size_t length)
{
	for (size_t at = 0; at < length;)
	{
		uint32_t character;
		size_t size = take_character(name + at, length - at, &character);

		if (size == 0 || character < 0x20 || character == '+' || is_space(character))
			return false;
		at += size;
	}
	return length > 0;
}

bool
note_name_is_valid(const char *name, size_t length)
{
	return length <= NOTE_NAME_MAX && is_name(name, length);
}

/* The id of a key: the beginning of a hash of name, newline, algorithm, key. */
static uint32_t
key_id(const NoteKey *key)
{
	uint8_t bytes[NOTE_NAME_MAX + 2 + SIGN_PUBLIC_SIZE];
	size_t length = strlen(key->name);
	MerkleHash hash;
	Reader reader = reader_make(hash.bytes, sizeof(hash.bytes));

	memcpy(bytes, key->name, length);
	bytes[length++] = '\n';
	bytes[length++] = (uint8_t) key->algorithm;
	memcpy(bytes + length, key->public_key, SIGN_PUBLIC_SIZE);
	merkle_sha256(bytes, length + SIGN_PUBLIC_SIZE, &hash);
	return reader_u32(&reader);
}

/* Whether a number is that of an algorithm that is known here. */
static bool
is_known(int algorithm)
{
	return algorithm == NOTE_ED25519 || algorithm == NOTE_COSIGNATURE;
}

/* Fills a key; the name is valid. */
static void
fill_key(NoteKey *key, const char *name, size_t length, NoteAlgorithm algorithm,
		 const uint8_t *public_key)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->name, name, length);
	key->algorithm = algorithm;
	memcpy(key->public_key, public_key, SIGN_PUBLIC_SIZE);
	key->id = key_id(key);
}

CoreStatus
note_key_make(const char *name, NoteAlgorithm algorithm, const uint8_t public_key[SIGN_PUBLIC_SIZE],
			  NoteKey *key)
{
	size_t length = strlen(name);

	memset(key, 0, sizeof(*key));
	if (!note_name_is_valid(name, length))
		return CORE_MALFORMED;
	if (!is_known((int) algorithm))
		return CORE_BAD_VERSION;
	if (!sign_public_is_sound(public_key))
		return CORE_MALFORMED;
	fill_key(key, name, length, algorithm, public_key);
	return CORE_OK;
}

/* Reads the eight hexadecimal digits of a key id; false when they are none. */
static bool
read_id(const char *digits, uint32_t *id)
{
	*id = 0;
	for (int i = 0; i < ID_DIGITS; i++)
	{
		char c = digits[i];
		int value = c >= '0' && c <= '9'   ? c - '0'
					: c >= 'a' && c <= 'f' ? c - 'a' + 10
					: c >= 'A' && c <= 'F' ? c - 'A' + 10
										   : -1;

		if (value < 0)
			return false;
		*id = *id << 4 | (uint32_t) value;
	}
	return true;
}

/* Reads algorithm and public key, in base64, which are the rest of a verifier key. */
static CoreStatus
read_material(const char *text, size_t length, uint8_t material[1 + SIGN_PUBLIC_SIZE])
{
	uint8_t first[3];
	size_t count;

	if (length < 4 || base64_decode(text, length, NULL, 0, &count) != CORE_OK || count < 2 ||
		base64_decode(text, 4, first, sizeof(first), &count) != CORE_OK)
		return CORE_MALFORMED;
	if (!is_known(first[0]))
		return CORE_BAD_VERSION;
	if (base64_decode(text, length, material, 1 + SIGN_PUBLIC_SIZE, &count) != CORE_OK ||
		count != 1 + SIGN_PUBLIC_SIZE || !sign_public_is_sound(material + 1))
		return CORE_MALFORMED;
	return CORE_OK;
}

CoreStatus
note_key_parse(const char *text, size_t length, NoteKey *key)
{
	const char *plus;
	size_t name_length;
	uint32_t id;
	uint8_t material[1 + SIGN_PUBLIC_SIZE];
	CoreStatus status;

	memset(key, 0, sizeof(*key));
	if (length > 0 && text[length - 1] == '\n')
		length--;
	plus = length > 0 ? memchr(text, '+', length) : NULL;
	if (plus == NULL)
		return CORE_MALFORMED;
	name_length = (size_t) (plus - text);
	length -= name_length + 1;
	if (!note_name_is_valid(text, name_length) || length < ID_DIGITS + 1 ||
		!read_id(plus + 1, &id) || plus[1 + ID_DIGITS] != '+')
		return CORE_MALFORMED;
	status = read_material(plus + ID_DIGITS + 2, length - ID_DIGITS - 1, material);
	if (status != CORE_OK)
		return status;
	fill_key(key, text, name_length, (NoteAlgorithm) material[0], material + 1);
	if (key->id == id)
		return CORE_OK;
	memset(key, 0, sizeof(*key));
	return CORE_MALFORMED;
}

void
note_key_format(const NoteKey *key, char out[NOTE_KEY_TEXT_MAX])
{
	uint8_t material[1 + SIGN_PUBLIC_SIZE];
	int written = snprintf(out, NOTE_KEY_TEXT_MAX, "%s+%08" PRIx32 "+", key->name, key->id);

	material[0] = (uint8_t) key->algorithm;
	memcpy(material + 1, key->public_key, SIGN_PUBLIC_SIZE);
	base64_encode(material, sizeof(material), out + written);
}

CoreStatus
note_parse_signature(const char *line, size_t length, NoteSignature *signature)
{
	const char *end = line + length;
	const char *name = line + DASH_LENGTH;
	const char *space;
	uint8_t first[6];
	size_t count;
	Reader reader = reader_make(first, ID_SIZE);

	memset(signature, 0, sizeof(*signature));
	if (length > 0 && end[-1] == '\n')
		end--;
	if ((size_t) (end - line) <= DASH_LENGTH || memcmp(line, dash, DASH_LENGTH) != 0)
		return CORE_MALFORMED;
	space = memchr(name, ' ', (size_t) (end - name));
	if (space == NULL || !is_name(name, (size_t) (space - name)))
		return CORE_MALFORMED;
	/* A key id and at least one byte: two groups, the first of which is three bytes of the id. */
	if (end - (space + 1) < 8 ||
		base64_decode(space + 1, (size_t) (end - (space + 1)), NULL, 0, &count) != CORE_OK ||
		count <= ID_SIZE || base64_decode(space + 1, 8, first, sizeof(first), &count) != CORE_OK)
		return CORE_MALFORMED;
	*signature = (NoteSignature){
		.name = name,
		.name_length = (size_t) (space - name),
		.id = reader_u32(&reader),
		.line = line,
		.line_length = length,
		.base64 = space + 1,
		.base64_length = (size_t) (end - (space + 1)),
	};
	return CORE_OK;
}

/* Finds the last empty line; NULL when there is none. Returns the newline before it. */
static const char *
find_last_empty_line(const char *bytes, size_t length)
{
	for (size_t at = length; at >= 2; at--)
	{
		if (bytes[at - 1] == '\n' && bytes[at - 2] == '\n')
			return bytes + at - 2;
	}
	return NULL;
}

/* Takes apart the signature lines, which end in a newline each. */
static CoreStatus
parse_signatures(const char *lines, const char *end, Note *note)
{
	while (lines < end)
	{
		const char *newline = memchr(lines, '\n', (size_t) (end - lines));
		CoreStatus status;

		if (newline == NULL || note->count >= NOTE_SIGNATURES_MAX)
			return CORE_MALFORMED;
		status = note_parse_signature(lines, (size_t) (newline + 1 - lines),
									  &note->signatures[note->count]);
		if (status != CORE_OK)
			return status;
		note->count++;
		lines = newline + 1;
	}
	return CORE_OK;
}

CoreStatus
note_parse(const char *bytes, size_t length, Note *note)
{
	const char *split;
	CoreStatus status;

	memset(note, 0, sizeof(*note));
	if (length == 0)
		return CORE_TRUNCATED;
	if (!note_text_is_valid(bytes, length))
		return CORE_MALFORMED;
	split = find_last_empty_line(bytes, length);
	if (split == NULL || split + 2 == bytes + length)
		return CORE_TRUNCATED;
	note->text = bytes;
	note->text_length = (size_t) (split + 1 - bytes);
	status = parse_signatures(split + 2, bytes + length, note);
	if (status != CORE_OK)
		memset(note, 0, sizeof(*note));
	return status;
}

/*
 * What a witness signs: a heading with the time, and the text. Returns memory
 * for OPENSSL_free, or NULL.
 */
static char *
cosigned_message(const char *text, size_t text_length, uint64_t timestamp, size_t *length)
{
	char heading[64];
	int written =
		snprintf(heading, sizeof(heading), "cosignature/v1\ntime %" PRIu64 "\n", timestamp);
	char *message = OPENSSL_malloc((size_t) written + text_length);

	if (message == NULL)
		return NULL;
	memcpy(message, heading, (size_t) written);
	memcpy(message + written, text, text_length);
	*length = (size_t) written + text_length;
	return message;
}

/* Verifies what a witness signed: its time, then the signature. */
static CoreStatus
verify_cosignature(const char *text, size_t text_length, const NoteKey *key,
				   const uint8_t bytes[COSIGNATURE_SIZE], uint64_t *timestamp)
{
	Reader reader = reader_make(bytes, TIME_SIZE);
	uint64_t time = reader_u64(&reader);
	char *message;
	size_t length;
	CoreStatus status;

	if (time > TIME_MAX)
		return CORE_NOT_AUTHENTIC;
	message = cosigned_message(text, text_length, time, &length);
	if (message == NULL)
		return CORE_CRYPTO_FAILURE;
	status = sign_verify(key->public_key, message, length, bytes + TIME_SIZE);
	OPENSSL_free(message);
	if (status == CORE_OK && timestamp != NULL)
		*timestamp = time;
	return status;
}

CoreStatus
note_verify_signature(const char *text, size_t text_length, const NoteSignature *signature,
					  const NoteKey *key, uint64_t *timestamp)
{
	uint8_t bytes[ID_SIZE + COSIGNATURE_SIZE];
	size_t count;

	if (timestamp != NULL)
		*timestamp = 0;
	if (signature->id != key->id || signature->name_length != strlen(key->name) ||
		memcmp(signature->name, key->name, signature->name_length) != 0)
		return CORE_WRONG_KEY;
	if (!note_text_is_valid(text, text_length))
		return CORE_MALFORMED;
	/* The key is ours, so what is not of its algorithm's length is a signature that is wrong. */
	if (base64_decode(signature->base64, signature->base64_length, bytes, sizeof(bytes), &count) !=
		CORE_OK)
		return CORE_NOT_AUTHENTIC;
	switch (key->algorithm)
	{
		case NOTE_ED25519:
			return count == ID_SIZE + SIGN_SIGNATURE_SIZE
					   ? sign_verify(key->public_key, text, text_length, bytes + ID_SIZE)
					   : CORE_NOT_AUTHENTIC;
		case NOTE_COSIGNATURE:
			return count == ID_SIZE + COSIGNATURE_SIZE
					   ? verify_cosignature(text, text_length, key, bytes + ID_SIZE, timestamp)
					   : CORE_NOT_AUTHENTIC;
		default:
			return CORE_MALFORMED;
	}
}

CoreStatus
note_verify(const Note *note, const NoteKey *key, uint64_t *timestamp)
{
	CoreStatus result = CORE_WRONG_KEY;
	uint64_t newest = 0;

	if (timestamp != NULL)
		*timestamp = 0;
	for (int i = 0; i < note->count; i++)
	{
		uint64_t time;
		CoreStatus status =
			note_verify_signature(note->text, note->text_length, &note->signatures[i], key, &time);

		if (status == CORE_WRONG_KEY)
			continue;
		if (status != CORE_OK)
			return status;
		result = CORE_OK;
		if (time > newest)
			newest = time;
	}
	if (timestamp != NULL)
		*timestamp = newest;
	return result;
}

/* Signs as the key's algorithm has it; written: bytes behind the key id. */
static CoreStatus
sign_text(const char *text, size_t length, const NoteKey *key, const SignKey *private_key,
		  uint64_t timestamp, uint8_t out[COSIGNATURE_SIZE])
{
	char *message;
	size_t message_length;
	CoreStatus status;

	if (key->algorithm == NOTE_ED25519)
		return sign_message(private_key, text, length, out);
	if (key->algorithm != NOTE_COSIGNATURE || timestamp > TIME_MAX)
		return CORE_MALFORMED;
	message = cosigned_message(text, length, timestamp, &message_length);
	if (message == NULL)
		return CORE_CRYPTO_FAILURE;
	write_uint(out, timestamp, TIME_SIZE);
	status = sign_message(private_key, message, message_length, out + TIME_SIZE);
	OPENSSL_free(message);
	return status;
}

/* Whether a private key is the other half of a public one. */
static CoreStatus
check_pair(const NoteKey *key, const SignKey *private_key)
{
	uint8_t public_key[SIGN_PUBLIC_SIZE];
	CoreStatus status = sign_key_public(private_key, public_key);

	if (status == CORE_OK && memcmp(public_key, key->public_key, SIGN_PUBLIC_SIZE) != 0)
		return CORE_WRONG_KEY;
	return status;
}

CoreStatus
note_sign(const char *text, size_t length, const NoteKey *key, const SignKey *private_key,
		  uint64_t timestamp, char out[NOTE_LINE_MAX])
{
	uint8_t bytes[ID_SIZE + COSIGNATURE_SIZE];
	size_t count =
		ID_SIZE + (key->algorithm == NOTE_ED25519 ? SIGN_SIGNATURE_SIZE : COSIGNATURE_SIZE);
	CoreStatus status;
	int written;

	out[0] = '\0';
	if (!note_text_is_valid(text, length) || !note_name_is_valid(key->name, strlen(key->name)))
		return CORE_MALFORMED;
	status = check_pair(key, private_key);
	if (status == CORE_OK)
		status = sign_text(text, length, key, private_key, timestamp, bytes + ID_SIZE);
	if (status != CORE_OK)
		return status;
	write_uint(bytes, key->id, ID_SIZE);
	written = snprintf(out, NOTE_LINE_MAX, "%s%s ", dash, key->name);
	base64_encode(bytes, count, out + written);
	strcat(out + written, "\n");
	return CORE_OK;
}
