/*
 * test_reseal.c - sealing again under another key: the same image, and nothing of
 * it left in the memory that it went through.
 */
#include "core/envelope.h"
#include "core/picture_hash.h"
#include "core/seal.h"
#include "tap.h"

#define NOW_MS UINT64_C(1735689600123)
#define COUNTS_FROM_MS UINT64_C(1700000000000)
#define PIECE 100

static SealKey from;
static SealKey to;
static uint8_t pieces[PIECE];
static const SealScratch scratch = {pieces, sizeof(pieces)};
static const uint8_t hash[ENVELOPE_PICTURE_HASH_SIZE] = {0x5a, 1, 2, 3};

/* An image and its envelopes. */
typedef struct Image
{
	size_t length;
	size_t total;
	uint8_t *text;
	uint8_t *sealed;
	uint8_t *again;
	uint8_t *opened;
	EnvelopeHeader header;
} Image;

static void
make_keys(void)
{
	uint8_t master[SEAL_MASTER_KEY_SIZE] = {1};

	if (seal_key_init(&from, 5, master) != CORE_OK)
		abort();
	master[31] = 1;
	if (seal_key_init(&to, 6, master) != CORE_OK)
		abort();
}

static bool
is_zero(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* An image of a length that is bound, imported, and stamped by a cast. */
static Image
make_image(size_t length)
{
	static const uint8_t home[ENVELOPE_HOME_SIZE] = {7, 7};
	static const uint8_t origin[ENVELOPE_HOME_SIZE] = {9, 9};
	Image image = {.length = length, .total = length + ENVELOPE_OVERHEAD};
	SealRequest request = {
		.kind = IMAGE_KIND_FACE,
		.info = {IMAGE_FORMAT_PNG, 640, 480},
		.now_ms = NOW_MS,
		.length = length,
		.picture_hash = hash,
	};
	SealPlace place = {home, origin, COUNTS_FROM_MS};

	image.text = malloc(length);
	image.sealed = malloc(image.total);
	image.again = malloc(image.total);
	image.opened = malloc(length);
	if (image.text == NULL || image.sealed == NULL || image.again == NULL || image.opened == NULL)
		abort();
	for (size_t i = 0; i < length; i++)
		image.text[i] = (uint8_t) (i * 31 + 1);
	request.plaintext = image.text;
	if (seal_image(&from, &request, image.sealed) != CORE_OK ||
		seal_rehome(&from, image.sealed, &place) != CORE_OK)
		abort();
	image.sealed[ENVELOPE_FLAGS_OFFSET] = ENVELOPE_FLAG_IMPORTED;
	memset(image.sealed + ENVELOPE_STAMP_OFFSET, 3, ENVELOPE_STAMP_SIZE);
	if (envelope_parse(image.sealed, image.total, image.total, &image.header) != CORE_OK)
		abort();
	return image;
}

static void
free_image(Image *image)
{
	free(image->text);
	free(image->sealed);
	free(image->again);
	free(image->opened);
}

/* Seals it again; whatever becomes of that, nothing stays behind. */
static CoreStatus
seal_it_again(Image *image, const SealKey *one, const SealKey *other)
{
	CoreStatus status;

	memset(image->again, 0xee, image->total);
	memset(pieces, 0xee, sizeof(pieces));
	status = seal_again(one, other, image->sealed, &image->header, &scratch, image->again);
	if (status != CORE_OK && !is_zero(image->again, image->total))
		return CORE_MALFORMED;
	return status;
}

static void
check_length(size_t length)
{
	Image image = make_image(length);
	EnvelopeHeader again;
	uint8_t digest[ENVELOPE_DIGEST_SIZE];
	size_t used = length < PIECE ? length : PIECE;

	tap_ok(seal_it_again(&image, &from, &to) == CORE_OK, "%zu bytes are sealed again", length);
	tap_ok(is_zero(pieces, used), "nothing of them is left on the way");
	tap_ok(envelope_parse(image.again, image.total, image.total, &again) == CORE_OK &&
			   seal_open(&to, image.again, &again, image.opened) == CORE_OK &&
			   memcmp(image.opened, image.text, length) == 0,
		   "they open to the same bytes, with the other key");
	tap_ok(seal_digest(&to, image.text, length, digest) == CORE_OK &&
			   memcmp(again.digest, digest, sizeof(digest)) == 0,
		   "their digest is the other key's");
	free_image(&image);
}

static void
check_header(void)
{
	Image image = make_image(1000);
	EnvelopeHeader again;
	const EnvelopeHeader *old = &image.header;
	uint8_t blinded[ENVELOPE_PICTURE_HASH_SIZE];
	uint8_t expected[ENVELOPE_PICTURE_HASH_SIZE];

	tap_ok(seal_it_again(&image, &from, &to) == CORE_OK &&
			   envelope_parse(image.again, image.total, image.total, &again) == CORE_OK,
		   "an image is sealed again");
	tap_ok(again.key_id == 6 && memcmp(again.nonce, old->nonce, sizeof(again.nonce)) != 0,
		   "key and nonce are new");
	tap_ok(memcmp(again.image_id, old->image_id, sizeof(again.image_id)) == 0 &&
			   again.kind == old->kind && again.format == old->format &&
			   again.width == old->width && again.height == old->height &&
			   memcmp(again.home, old->home, sizeof(again.home)) == 0 &&
			   memcmp(again.origin, old->origin, sizeof(again.origin)) == 0 &&
			   again.counts_from_ms == COUNTS_FROM_MS && again.flags == ENVELOPE_FLAG_IMPORTED,
		   "all else is as it was");
	tap_ok(is_zero(again.stamp, sizeof(again.stamp)), "but for the stamp, which is gone");
	picture_hash_blind(&to, hash, expected);
	tap_ok(seal_picture_hash(&to, &again, blinded) &&
			   memcmp(blinded, expected, sizeof(expected)) == 0 &&
			   memcmp(again.picture_hash, old->picture_hash, sizeof(expected)) != 0,
		   "the picture hash is the same, hidden under the other key");
	tap_number(seal_check_header(&from, image.again, &again), CORE_WRONG_KEY,
			   "the old key opens it no more");
	free_image(&image);
}

/* Whatever is changed in what is sealed, it is not sealed again. */
static void
check_damage(void)
{
	static const size_t places[] = {40,
									60,
									80,
									110,
									140,
									170,
									180,
									ENVELOPE_HEADER_SIZE,
									ENVELOPE_HEADER_SIZE + 299,
									ENVELOPE_HEADER_SIZE + 300};
	Image image = make_image(300);

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
	{
		image.sealed[places[i]] ^= 1;
		tap_ok(envelope_parse(image.sealed, image.total, image.total, &image.header) == CORE_OK &&
				   seal_it_again(&image, &from, &to) == CORE_NOT_AUTHENTIC,
			   "an image with a bit changed at %zu is not, and nothing is left", places[i]);
		image.sealed[places[i]] ^= 1;
	}
	tap_ok(envelope_parse(image.sealed, image.total, image.total, &image.header) == CORE_OK &&
			   seal_it_again(&image, &to, &from) == CORE_WRONG_KEY,
		   "nor with another key than its own");
	free_image(&image);
}

int
main(void)
{
	make_keys();
	check_length(1);
	check_length(PIECE - 1);
	check_length(PIECE);
	check_length(PIECE + 1);
	check_length(100 * PIECE + 17);
	check_header();
	check_damage();
	return tap_done();
}
