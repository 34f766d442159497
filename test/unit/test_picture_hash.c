/*
 * test_picture_hash.c - the perceptual hash: what stays near, what does not, and that
 * nobody sees it.
 */
#include "core/picture_hash.h"
#include "core/seal.h"
#include "tap.h"

#define SIDE 320
#define BUMPS 60

static uint8_t pixels[SIDE * SIDE];
static uint8_t other_pixels[SIDE * SIDE];

/* Draws soft blots of both signs anywhere, whole numbers only. */
static void
draw(uint8_t *to)
{
	static int32_t sums[SIDE * SIDE];

	memset(sums, 0, sizeof(sums));
	for (int bump = 0; bump < BUMPS; bump++)
	{
		int64_t cx = (int64_t) (tap_random() % SIDE);
		int64_t cy = (int64_t) (tap_random() % SIDE);
		int64_t reach = 12 + (int64_t) (tap_random() % 60);
		int32_t height = (int32_t) (tap_random() % 120) - 60;

		for (int64_t i = 0; i < SIDE * SIDE; i++)
		{
			int64_t dx = i % SIDE - cx;
			int64_t dy = i / SIDE - cy;
			int64_t left = reach * reach - dx * dx - dy * dy;

			if (left > 0)
				sums[i] += (int32_t) (height * left / (reach * reach));
		}
	}
	for (int i = 0; i < SIDE * SIDE; i++)
		to[i] = (uint8_t) (sums[i] < -128 ? 0 : sums[i] > 127 ? 255 : sums[i] + 128);
}

/* The part of a picture that is left after cutting so much off. To be freed. */
static PictureGrey
cut(const PictureGrey *picture, uint32_t left, uint32_t right, uint32_t top, uint32_t bottom)
{
	uint32_t width = picture->width - left - right;
	uint32_t height = picture->height - top - bottom;
	uint8_t *copy = malloc((size_t) width * height);

	for (uint32_t y = 0; y < height; y++)
		memcpy(copy + (size_t) y * width,
			   picture->pixels + (size_t) (y + top) * picture->width + left, width);
	return (PictureGrey){width, height, copy};
}

static int
nearest_guess(const PictureGrey *picture, const uint8_t *hash)
{
	uint8_t guesses[PICTURE_HASH_GUESSES][PICTURE_HASH_SIZE];
	int count = picture_hash_guesses(picture, guesses);
	int least = PICTURE_HASH_BITS;

	for (int i = 0; i < count; i++)
	{
		int distance = picture_hash_distance(hash, guesses[i]);

		least = distance < least ? distance : least;
	}
	return least;
}

static void
check_same(const PictureGrey *picture, const uint8_t *hash)
{
	uint8_t again[PICTURE_HASH_SIZE];
	uint8_t guesses[PICTURE_HASH_GUESSES][PICTURE_HASH_SIZE];
	uint8_t twice[4 * SIDE * SIDE];
	PictureGrey large = {2 * SIDE, 2 * SIDE, twice};
	int ones = 0;

	tap_ok(picture_hash(picture, again) && memcmp(again, hash, sizeof(again)) == 0,
		   "the same picture has the same hash");
	tap_hex(hash, PICTURE_HASH_SIZE,
			"27fbf5d396849518f06711fd68dd45aa023535a84e422cfbcf217dc85e0a08f7",
			"which is the same on every machine, on any day");
	tap_ok(picture_hash_guesses(picture, guesses) == PICTURE_HASH_GUESSES &&
			   memcmp(guesses[0], hash, PICTURE_HASH_SIZE) == 0,
		   "and is the first guess");
	for (int i = 0; i < PICTURE_HASH_BITS; i++)
		ones += hash[i / 8] >> i % 8 & 1;
	tap_number(ones, PICTURE_HASH_BITS / 2, "half of its bits are set");
	for (int i = 0; i < 4 * SIDE * SIDE; i++)
		twice[i] = pixels[i / (2 * SIDE) / 2 * SIDE + i % (2 * SIDE) / 2];
	tap_ok(picture_hash(&large, again) && memcmp(again, hash, sizeof(again)) == 0,
		   "twice as large, it has the same hash");
}

static void
check_changed(const PictureGrey *picture, const uint8_t *hash)
{
	static const uint32_t cuts[][4] = {{16, 0, 0, 0},	{0, 32, 0, 0},	  {0, 0, 24, 0},
									   {0, 0, 0, 8},	{32, 32, 32, 32}, {16, 0, 16, 0},
									   {24, 24, 0, 24}, {6, 6, 6, 6}};
	uint8_t *changed = malloc(SIDE * SIDE);
	PictureGrey copy = {SIDE, SIDE, changed};
	uint8_t found[PICTURE_HASH_SIZE];
	long failed = 0;
	long first = -1;

	for (int i = 0; i < SIDE * SIDE; i++)
		changed[i] = (uint8_t) (pixels[i] * 2 / 3 + 30);
	tap_ok(picture_hash(&copy, found) &&
			   picture_hash_distance(found, hash) <= PICTURE_HASH_NEAR / 2,
		   "less contrast leaves the hash near");
	for (int i = 0; i < SIDE * SIDE; i++)
	{
		int value = pixels[i] + (int) (tap_random() % 25) - 12;

		changed[i] = (uint8_t) (value < 0 ? 0 : value > 255 ? 255 : value);
	}
	tap_ok(picture_hash(&copy, found) &&
			   picture_hash_distance(found, hash) <= PICTURE_HASH_NEAR / 2,
		   "so does noise");
	for (int i = 0; i < SIDE * SIDE; i++)
		changed[i] = pixels[i / SIDE * SIDE + SIDE - 1 - i % SIDE];
	tap_ok(nearest_guess(&copy, hash) <= 4, "a mirrored picture is guessed");
	for (int i = 0; i < SIDE * SIDE; i++)
		changed[i] = pixels[i % SIDE * SIDE + SIDE - 1 - i / SIDE];
	tap_ok(nearest_guess(&copy, hash) <= 4, "so is one that was turned by a quarter");
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
	{
		PictureGrey part = cut(picture, cuts[i][0], cuts[i][1], cuts[i][2], cuts[i][3]);

		if (nearest_guess(&part, hash) > PICTURE_HASH_NEAR && failed++ == 0)
			first = (long) i;
		free((void *) part.pixels);
	}
	tap_all(failed, sizeof(cuts) / sizeof(cuts[0]), first, "so is one cut at its edges");
	free(changed);
}

static void
check_different(const uint8_t *hash)
{
	PictureGrey other = {SIDE, SIDE, other_pixels};
	long failed = 0;

	for (int i = 0; i < 20; i++)
	{
		draw(other_pixels);
		failed += nearest_guess(&other, hash) <= PICTURE_HASH_NEAR;
	}
	tap_all(failed, 20, -1, "another picture is far from it, whatever is guessed");
}

static void
check_nothing_to_see(void)
{
	static const uint8_t zero[PICTURE_HASH_SIZE];
	uint8_t guesses[PICTURE_HASH_GUESSES][PICTURE_HASH_SIZE];
	uint8_t hash[PICTURE_HASH_SIZE];
	PictureGrey picture = {SIDE, SIDE, other_pixels};

	memset(other_pixels, 77, sizeof(other_pixels));
	memset(hash, 1, sizeof(hash));
	tap_ok(!picture_hash(&picture, hash) && memcmp(hash, zero, sizeof(zero)) == 0,
		   "a plain surface has no hash, only zeroes");
	tap_number(picture_hash_guesses(&picture, guesses), 0, "and no guesses");
	for (int i = 0; i < SIDE * SIDE; i++)
		other_pixels[i] = (uint8_t) (100 + tap_random() % 2);
	tap_ok(!picture_hash(&picture, hash), "nor has what rounding alone makes");
	for (int i = 0; i < SIDE * SIDE; i++)
		other_pixels[i] = (uint8_t) (i % SIDE * 200 / SIDE);
	tap_ok(!picture_hash(&picture, hash), "nor an even slope");
	for (int i = 0; i < SIDE * SIDE; i++)
		other_pixels[i] =
			pixels[i / SIDE * SIDE + (i % SIDE < SIDE / 2 ? i % SIDE : SIDE - 1 - i % SIDE)];
	tap_ok(!picture_hash(&picture, hash), "nor what is the same on both sides, to the pixel");
	picture = (PictureGrey){PICTURE_HASH_LEAST_SIDE - 1, SIDE, pixels};
	tap_ok(!picture_hash(&picture, hash), "nor what is too narrow");
	picture = (PictureGrey){1, 1, pixels};
	tap_ok(!picture_hash(&picture, hash), "nor a single pixel");
	picture = (PictureGrey){PICTURE_HASH_LEAST_SIDE, PICTURE_HASH_LEAST_SIDE, pixels};
	(void) picture_hash(&picture, hash);
	for (int i = 0; i < SIDE * 40; i++)
		other_pixels[i] = pixels[i / SIDE * 8 * SIDE + i % SIDE];
	picture = (PictureGrey){SIDE, 40, other_pixels};
	tap_ok(picture_hash(&picture, hash), "a long strip may have one");
}

static void
check_blinding(const uint8_t *hash)
{
	static const uint8_t master[SEAL_MASTER_KEY_SIZE] = {1};
	static const uint8_t other_master[SEAL_MASTER_KEY_SIZE] = {2};
	uint8_t one[PICTURE_HASH_SIZE];
	uint8_t changed[PICTURE_HASH_SIZE];
	uint8_t two[PICTURE_HASH_SIZE];
	bool seen[PICTURE_HASH_BITS] = {false};
	SealKey key;
	SealKey other;
	long failed = 0;

	if (seal_key_init(&key, 1, master) != CORE_OK ||
		seal_key_init(&other, 1, other_master) != CORE_OK)
		abort();
	for (int i = 0; i < PICTURE_HASH_BITS; i++)
	{
		failed += seen[key.blind_order[i]];
		seen[key.blind_order[i]] = true;
	}
	tap_all(failed, PICTURE_HASH_BITS, -1, "a key's order of bits has each of them once");
	picture_hash_blind(&key, hash, one);
	tap_ok(picture_hash_distance(one, hash) > 80, "a blinded hash is far from the hash");
	picture_hash_blind(&other, hash, two);
	tap_ok(picture_hash_distance(one, two) > 80, "and from what another key makes of it");
	failed = 0;
	for (int bits = 1; bits <= PICTURE_HASH_BITS; bits++)
	{
		memcpy(changed, hash, sizeof(changed));
		for (int i = 0; i < bits; i++)
			changed[i / 8] ^= (uint8_t) (1 << i % 8);
		picture_hash_blind(&key, changed, two);
		failed +=
			picture_hash_distance(one, two) != bits || picture_hash_distance(hash, changed) != bits;
	}
	tap_all(failed, PICTURE_HASH_BITS, -1, "distances are as they were");
	seal_key_wipe(&key);
	seal_key_wipe(&other);
}

/* Seals bytes with a hash, or with none; parses the header. */
static void
seal_with(const SealKey *key, const uint8_t *hash, EnvelopeHeader *header)
{
	uint8_t envelope[4 + ENVELOPE_OVERHEAD];
	SealRequest request = {
		.kind = IMAGE_KIND_FACE,
		.info = {IMAGE_FORMAT_JPEG, 1, 1},
		.plaintext = (const uint8_t *) "jpeg",
		.length = 4,
		.picture_hash = hash,
	};

	if (seal_image(key, &request, envelope) != CORE_OK ||
		envelope_parse(envelope, sizeof(envelope), sizeof(envelope), header) != CORE_OK ||
		seal_check_header(key, envelope, header) != CORE_OK ||
		seal_verify(key, envelope, header) != CORE_OK)
		abort();
}

static void
check_sealed(const uint8_t *hash)
{
	static const uint8_t master[SEAL_MASTER_KEY_SIZE] = {1};
	static const uint8_t zero[PICTURE_HASH_SIZE];
	uint8_t blinded[PICTURE_HASH_SIZE];
	uint8_t found[PICTURE_HASH_SIZE];
	EnvelopeHeader first;
	EnvelopeHeader second;
	EnvelopeHeader without;
	SealKey key;

	if (seal_key_init(&key, 1, master) != CORE_OK)
		abort();
	picture_hash_blind(&key, hash, blinded);
	seal_with(&key, hash, &first);
	seal_with(&key, hash, &second);
	seal_with(&key, NULL, &without);
	tap_ok(picture_hash_distance(first.picture_hash, second.picture_hash) > 80 &&
			   picture_hash_distance(first.picture_hash, hash) > 80 &&
			   picture_hash_distance(first.picture_hash, blinded) > 80,
		   "in envelopes equal pictures do not show");
	tap_ok(picture_hash_distance(without.picture_hash, zero) > 80,
		   "nor does that an image has no hash");
	tap_ok(seal_picture_hash(&key, &first, found) && memcmp(found, blinded, sizeof(found)) == 0 &&
			   seal_picture_hash(&key, &second, found) &&
			   memcmp(found, blinded, sizeof(found)) == 0,
		   "it comes out of them blinded");
	tap_ok(!seal_picture_hash(&key, &without, found) && memcmp(found, zero, sizeof(found)) == 0,
		   "and not where there is none");
	first.key_id = 2;
	tap_ok(!seal_picture_hash(&key, &first, found) && memcmp(found, zero, sizeof(found)) == 0,
		   "nor by the key of another id");
	seal_key_wipe(&key);
}

int
main(void)
{
	PictureGrey picture = {SIDE, SIDE, pixels};
	uint8_t hash[PICTURE_HASH_SIZE];

	draw(pixels);
	tap_ok(picture_hash(&picture, hash), "a picture has a hash");
	check_same(&picture, hash);
	check_changed(&picture, hash);
	check_different(hash);
	check_nothing_to_see();
	check_blinding(hash);
	check_sealed(hash);
	return tap_done();
}
