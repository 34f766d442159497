/*
 * evidence.c - what a file can be known by.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "keyring/keyring.h"
#include "picture/picture.h"
#include "trace/evidence.h"

/* The file; without each mark alone; without the first two, three and so on. */
#define EVIDENCE_DIGESTS (2 * EVIDENCE_MARKS)

/* One search may take longer than an enrolment. */
#define PICTURE_PIXELS (UINT64CONST(200) * 1000000)
#define PICTURE_TIME_MS 10000

/* A file with some of its marks left out. */
typedef struct Variant
{
	const uint8 *bytes;
	Size length;
} Variant;

static void
fail_crypto(void)
{
	ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR), errmsg("could not compute a digest"),
					errhint("See whether the server's OpenSSL works.")));
}

static void
require_keys(void)
{
	const char *problem = NULL;

	if (keyring_usable(&problem))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("a file cannot be traced without the keys"),
			 errdetail("Digests and picture hashes in the ledger are blinded by the keys "
					   "that sealed the images, and this server's keyring cannot be used."),
			 problem == NULL ? 0 : errdetail_log("%s", problem),
			 errhint("Set biometric_audit.keyring, or trace the file on a server that has "
					 "the keyring and a copy of the database.")));
}

static void
find_marks(Evidence *evidence, const uint8 *bytes, Size length)
{
	Size from = 0;
	EvidenceMark found;

	while (mark_find(bytes + from, length - from, &found.mark, &found.offset, &found.size))
	{
		found.offset += from;
		from = found.offset + 1;
		if (evidence->marks == EVIDENCE_MARKS)
		{
			evidence->more_marks = true;
			return;
		}
		evidence->mark[evidence->marks++] = found;
	}
}

/* A copy of the file without count of its marks, from first on; no byte is cut twice. */
static Variant
without_marks(const Evidence *evidence, const Variant *file, int first, int count)
{
	uint8 *copy = palloc(file->length);
	Variant variant = {copy, 0};
	Size from = 0;

	for (int i = first; i < first + count; i++)
	{
		const EvidenceMark *mark = &evidence->mark[i];

		if (mark->offset < from)
			continue;
		memcpy(copy + variant.length, file->bytes + from, mark->offset - from);
		variant.length += mark->offset - from;
		from = mark->offset + mark->size;
	}
	memcpy(copy + variant.length, file->bytes + from, file->length - from);
	variant.length += file->length - from;
	return variant;
}

/* Adds the digest of a variant of the file under each key. */
static void
add_digests(Evidence *evidence, const Variant *variant)
{
	for (int i = 0; i < evidence->keys; i++)
	{
		EvidenceKey *key = &evidence->key[i];
		const SealKey *secret = keyring_find(key->id);

		CHECK_FOR_INTERRUPTS();
		if (secret == NULL || seal_digest(secret, variant->bytes, variant->length,
										  key->digest[key->digests]) != CORE_OK)
			fail_crypto();
		key->digests++;
	}
}

static void
add_digests_without(Evidence *evidence, const Variant *file, int first, int count)
{
	Variant variant = without_marks(evidence, file, first, count);

	add_digests(evidence, &variant);
	core_wipe((void *) variant.bytes, file->length);
	pfree((void *) variant.bytes);
}

/* A file may have been marked before it was enrolled, and by others: any may be too many. */
static void
read_digests(Evidence *evidence, const Variant *file)
{
	add_digests(evidence, file);
	for (int i = 0; i < evidence->marks; i++)
		add_digests_without(evidence, file, i, 1);
	for (int count = 2; count <= evidence->marks; count++)
		add_digests_without(evidence, file, 0, count);
}

static bool
is_cancelled(void *context)
{
	return QueryCancelPending || ProcDiePending;
}

static void
blind_guesses(EvidenceKey *key, const uint8 (*guesses)[PICTURE_HASH_SIZE], int count)
{
	const SealKey *secret = keyring_find(key->id);

	if (secret == NULL)
		return;
	key->guess = palloc_array(EvidenceHash, count);
	key->guesses = count;
	for (int i = 0; i < count; i++)
	{
		uint8 blinded[PICTURE_HASH_SIZE];

		picture_hash_blind(secret, guesses[i], blinded);
		memcpy(&key->guess[i], blinded, sizeof(blinded));
	}
}

/* What the picture looks like, and may have looked like before it was cut; under each key. */
static void
read_picture(Evidence *evidence, const Variant *file)
{
	PictureLimits limits = {
		.pixels = PICTURE_PIXELS,
		.time_ms = PICTURE_TIME_MS,
		.stop = is_cancelled,
	};
	uint8(*guesses)[PICTURE_HASH_SIZE];
	PictureGrey grey;
	int count;

	if (!evidence->has_format ||
		!picture_decode(evidence->format, file->bytes, file->length, &limits, &grey))
		return;
	/* the picture is not palloc'd: nothing that can fail before it is freed */
	guesses = palloc_extended(PICTURE_HASH_GUESSES * PICTURE_HASH_SIZE, MCXT_ALLOC_NO_OOM);
	count = guesses == NULL ? 0 : picture_hash_guesses(&grey, guesses);
	picture_free(&grey);
	for (int i = 0; count > 0 && i < evidence->keys; i++)
		blind_guesses(&evidence->key[i], (const uint8(*)[PICTURE_HASH_SIZE]) guesses, count);
	evidence->has_picture = count > 0;
	if (guesses != NULL)
		core_wipe(guesses, PICTURE_HASH_GUESSES * PICTURE_HASH_SIZE);
}

static void
add_key(Evidence *evidence, const SealKey *secret, int digests)
{
	EvidenceKey *key;

	if (evidence->keys == 0)
		evidence->key = palloc_array(EvidenceKey, 1);
	else
		evidence->key = repalloc(evidence->key, sizeof(EvidenceKey) * (evidence->keys + 1));
	key = &evidence->key[evidence->keys++];
	memset(key, 0, sizeof(*key));
	key->id = secret->id;
	key->digest = palloc((Size) digests * ENVELOPE_DIGEST_SIZE);
}

static void
read_file(Evidence *evidence, const Variant *file)
{
	const SealKey *secret = NULL;
	ImageInfo info;

	/* a damaged file has a format, too, and maybe a picture */
	(void) (image_probe(file->bytes, file->length, &info) == CORE_OK);
	evidence->format = info.format;
	evidence->has_format = info.format != IMAGE_FORMAT_NONE;
	find_marks(evidence, file->bytes, file->length);
	while ((secret = keyring_next(secret == NULL ? 0 : evidence->key[evidence->keys - 1].id)))
		add_key(evidence, secret, EVIDENCE_DIGESTS);
	read_digests(evidence, file);
	read_picture(evidence, file);
	CHECK_FOR_INTERRUPTS();
}

/* A sealed image says itself what it is; believed is only what its key authenticates. */
static void
read_sealed(Evidence *evidence, const Variant *file)
{
	EnvelopeHeader header;
	const SealKey *secret;
	uint8 blinded[PICTURE_HASH_SIZE];
	CoreStatus status = envelope_parse(file->bytes, file->length, file->length, &header);

	secret = status == CORE_OK ? keyring_find(header.key_id) : NULL;
	if (status == CORE_OK)
		status = secret == NULL ? CORE_WRONG_KEY : seal_check_header(secret, file->bytes, &header);
	if (status != CORE_OK)
	{
		ereport(NOTICE, (errmsg("the file is a sealed image whose header does not authenticate: %s",
								core_status_text(status))));
		return;
	}
	add_key(evidence, secret, 1);
	evidence->format = header.format;
	evidence->has_format = true;
	evidence->key->digests = 1;
	memcpy(evidence->key->digest[0], header.digest, ENVELOPE_DIGEST_SIZE);
	evidence->has_picture = seal_picture_hash(secret, &header, blinded);
	if (!evidence->has_picture)
		return;
	evidence->key->guess = palloc_object(EvidenceHash);
	evidence->key->guesses = 1;
	memcpy(evidence->key->guess, blinded, sizeof(blinded));
}

Evidence *
evidence_read(const uint8 *bytes, Size length)
{
	Evidence *evidence = palloc0(sizeof(Evidence));
	Variant file = {bytes, length};

	require_keys();
	evidence->sealed = envelope_has_magic(bytes, length);
	if (evidence->sealed)
		read_sealed(evidence, &file);
	else
		read_file(evidence, &file);
	return evidence;
}

const EvidenceKey *
evidence_key(const Evidence *evidence, uint32 id)
{
	for (int i = 0; i < evidence->keys; i++)
		if (evidence->key[i].id == id)
			return &evidence->key[i];
	return NULL;
}

bool
evidence_has_digest(const EvidenceKey *key, const uint8 *digest, Size size)
{
	for (int i = 0; i < key->digests; i++)
		if (memcmp(key->digest[i], digest, size) == 0)
			return true;
	return false;
}
