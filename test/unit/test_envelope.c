/*
 * test_envelope.c - sealing and opening: what was sealed comes out, and
 * nothing that was touched does.
 */
#include "core/envelope.h"
#include "core/seal.h"
#include "tap.h"

#define TEXT "not a face, but as good as one"
#define TEXT_SIZE (sizeof(TEXT) - 1)
#define TOTAL (TEXT_SIZE + ENVELOPE_OVERHEAD)
#define NOW_MS UINT64_C(1735689600123)

static SealKey key;
static SealKey other_key;
static uint8_t sealed[TOTAL];

static void
make_keys(void)
{
	uint8_t master[32] = {1};

	if (seal_key_init(&key, 5, master) != CORE_OK)
		abort();
	master[31] = 1;
	if (seal_key_init(&other_key, 5, master) != CORE_OK)
		abort();
}

static CoreStatus
seal(const char *text, size_t length, uint8_t *out)
{
	SealRequest request = {
		.kind = IMAGE_KIND_IRIS,
		.info = {IMAGE_FORMAT_WSQ, 640, 480},
		.now_ms = NOW_MS,
		.plaintext = (const uint8_t *) text,
		.length = length,
	};

	return seal_image(&key, &request, out);
}

/* Parses and opens; the output is checked to be zero unless it opened. */
static CoreStatus
open_with(const SealKey *with, const uint8_t *envelope, size_t length, bool *left_nothing)
{
	uint8_t *copy = tap_copy(envelope, length);
	uint8_t out[TEXT_SIZE];
	static const uint8_t zero[TEXT_SIZE];
	EnvelopeHeader header;
	CoreStatus status = envelope_parse(copy, length, length, &header);
	CoreStatus verified;

	*left_nothing = true;
	if (status == CORE_OK && header.plaintext_length == TEXT_SIZE)
	{
		memset(out, 0xee, sizeof(out));
		status = seal_open(with, copy, &header, out);
		verified = seal_verify(with, copy, &header);
		*left_nothing =
			verified == status &&
			memcmp(out, status == CORE_OK ? (const uint8_t *) TEXT : zero, TEXT_SIZE) == 0;
	}
	free(copy);
	return status;
}

static void
check_round_trip(void)
{
	static const uint8_t zero[ENVELOPE_HOME_SIZE];
	EnvelopeHeader header;
	uint8_t digest[32];
	bool fine;

	tap_number(seal(TEXT, TEXT_SIZE, sealed), CORE_OK, "an image is sealed");
	tap_number(envelope_parse(sealed, TOTAL, TOTAL, &header), CORE_OK, "the envelope parses");
	tap_ok(header.kind == IMAGE_KIND_IRIS && header.format == IMAGE_FORMAT_WSQ &&
			   header.key_id == 5 && header.width == 640 && header.height == 480 &&
			   header.plaintext_length == TEXT_SIZE,
		   "the header says what the image is");
	tap_ok(header.flags == 0 && memcmp(header.home, zero, sizeof(zero)) == 0 &&
			   memcmp(header.origin, zero, sizeof(zero)) == 0 &&
			   memcmp(header.stamp, zero, sizeof(zero)) == 0,
		   "a fresh envelope has no home, origin, flags or stamp");
	tap_ok(header.image_id[6] >> 4 == 7 && header.image_id[8] >> 6 == 2, "its id is a UUIDv7");
	tap_number((long long) envelope_sealed_at_ms(&header), (long long) NOW_MS,
			   "whose time is that of the sealing");
	tap_ok(seal_digest(&key, (const uint8_t *) TEXT, TEXT_SIZE, digest) == CORE_OK &&
			   memcmp(digest, header.digest, sizeof(digest)) == 0,
		   "its digest is that of the plaintext");
	tap_ok(seal_digest(&other_key, (const uint8_t *) TEXT, TEXT_SIZE, digest) == CORE_OK &&
			   memcmp(digest, header.digest, sizeof(digest)) != 0,
		   "and another under another key");
	tap_number(open_with(&key, sealed, TOTAL, &fine), CORE_OK, "it opens");
	tap_ok(fine, "to what was sealed");
}

static void
check_plaintext_is_gone(void)
{
	bool seen = false;

	for (size_t i = 0; i + 8 <= TOTAL; i++)
		seen = seen || memcmp(sealed + i, &TEXT[4], 8) == 0;
	tap_ok(!seen, "no part of the plaintext stands in the envelope");
}

static void
check_freshness(void)
{
	uint8_t again[TOTAL];
	EnvelopeHeader a;
	EnvelopeHeader b;

	tap_ok(seal(TEXT, TEXT_SIZE, again) == CORE_OK &&
			   envelope_parse(sealed, TOTAL, TOTAL, &a) == CORE_OK &&
			   envelope_parse(again, TOTAL, TOTAL, &b) == CORE_OK,
		   "the same image is sealed again");
	tap_ok(memcmp(a.image_id, b.image_id, 16) != 0, "under another id");
	tap_ok(memcmp(a.nonce, b.nonce, 24) != 0, "with another nonce");
	tap_ok(memcmp(a.digest, b.digest, 32) == 0, "and the same digest");
	tap_ok(memcmp(sealed + ENVELOPE_HEADER_SIZE, again + ENVELOPE_HEADER_SIZE, TEXT_SIZE) != 0,
		   "to another ciphertext");
}

/* Flags and stamp are outside the MACs; a flag bit other than imported does not parse. */
static bool
bit_is_free(size_t bit)
{
	size_t at = bit / 8;

	return bit == 8 * ENVELOPE_FLAGS_OFFSET || bit == 8 * ENVELOPE_FLAGS_OFFSET + 1 ||
		   (at >= ENVELOPE_STAMP_OFFSET && at < ENVELOPE_HEADER_SIZE);
}

static void
check_flips(void)
{
	long failed = 0;
	long first = -1;

	for (size_t bit = 0; bit < 8 * TOTAL; bit++)
	{
		bool fine;
		CoreStatus status;

		sealed[bit / 8] ^= (uint8_t) (1 << bit % 8);
		status = open_with(&key, sealed, TOTAL, &fine);
		if (((status == CORE_OK) != bit_is_free(bit) || !fine) && failed++ == 0)
			first = (long) bit;
		sealed[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	tap_all(failed, 8 * TOTAL, first, "any bit flipped, but flags and stamp, and nothing opens");
}

static void
check_cuts(void)
{
	EnvelopeHeader header;
	static const EnvelopeHeader none;
	long failed = 0;
	long first = -1;
	bool fine;

	for (size_t length = 0; length < TOTAL; length++)
	{
		uint8_t *copy = tap_copy(sealed, length);

		if ((open_with(&key, sealed, length, &fine) == CORE_OK ||
			 envelope_parse(copy, length, length, &header) == CORE_OK ||
			 memcmp(&header, &none, sizeof(none)) != 0) &&
			failed++ == 0)
			first = (long) length;
		free(copy);
	}
	tap_all(failed, TOTAL, first, "an envelope cut short anywhere is refused");
	tap_number(envelope_parse(sealed, ENVELOPE_HEADER_SIZE, TOTAL, &header), CORE_OK,
			   "the header alone parses when the total length is known");
	tap_number(envelope_parse(sealed, ENVELOPE_HEADER_SIZE, TOTAL + 1, &header), CORE_MALFORMED,
			   "not with another total length");
	tap_number(envelope_parse(sealed, ENVELOPE_HEADER_SIZE, UINT64_MAX, &header), CORE_MALFORMED,
			   "however large");
	tap_number(envelope_parse(sealed, TOTAL, TOTAL - 1, &header), CORE_TRUNCATED,
			   "nor with one shorter than what is there");
	tap_number(envelope_parse(sealed, ENVELOPE_HEADER_SIZE - 1, TOTAL, &header), CORE_TRUNCATED,
			   "a header one byte short is truncated");
}

typedef struct HeaderFault
{
	size_t offset;
	uint8_t value;
	CoreStatus expected;
	const char *name;
} HeaderFault;

static void
check_header_faults(void)
{
	static const HeaderFault faults[] = {
		{0, 0x88, CORE_MALFORMED, "another magic"},
		{8, 0, CORE_BAD_VERSION, "version 0"},
		{8, 2, CORE_BAD_VERSION, "version 2"},
		{9, 0, CORE_MALFORMED, "no kind"},
		{9, IMAGE_KIND_LAST + 1, CORE_MALFORMED, "an unknown kind"},
		{10, 0, CORE_MALFORMED, "no format"},
		{10, IMAGE_FORMAT_LAST + 1, CORE_MALFORMED, "an unknown format"},
		{11, 1, CORE_MALFORMED, "a reserved byte set"},
		{15, 0, CORE_MALFORMED, "key id zero"},
		{16, 1, CORE_MALFORMED, "a width beyond 65535"},
		{21, 1, CORE_MALFORMED, "a height beyond 65535"},
		{24, 0x80, CORE_MALFORMED, "a length of more than 63 bits"},
		{ENVELOPE_FLAGS_OFFSET, 4, CORE_MALFORMED, "an unknown flag"},
		{ENVELOPE_FLAGS_OFFSET + 1, 1, CORE_MALFORMED, "a reserved byte set after the flags"},
		{ENVELOPE_STAMP_OFFSET - 1, 1, CORE_MALFORMED, "a reserved byte set before the stamp"},
	};
	EnvelopeHeader header;
	uint8_t copy[TOTAL];

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		memcpy(copy, sealed, TOTAL);
		copy[faults[i].offset] = faults[i].value;
		tap_number(envelope_parse(copy, TOTAL, TOTAL, &header), faults[i].expected, faults[i].name);
	}
	memcpy(copy, sealed, TOTAL);
	memset(copy + 16, 0, 4);
	tap_number(envelope_parse(copy, TOTAL, TOTAL, &header), CORE_MALFORMED, "zero width");
	memcpy(copy, sealed, TOTAL);
	memset(copy + 24, 0, 8);
	tap_number(envelope_parse(copy, ENVELOPE_OVERHEAD, ENVELOPE_OVERHEAD, &header), CORE_MALFORMED,
			   "an envelope of nothing");
	memcpy(copy, sealed, TOTAL);
	memset(copy + 24, 0xff, 8);
	tap_number(envelope_parse(copy, ENVELOPE_HEADER_SIZE, ENVELOPE_OVERHEAD - 1, &header),
			   CORE_MALFORMED, "a total length below the overhead");
	tap_ok(!envelope_has_magic(sealed, 7) && envelope_has_magic(sealed, 8), "the magic is 8 bytes");
}

static void
check_keys(void)
{
	SealKey renamed = key;
	EnvelopeHeader header;
	bool fine;

	renamed.id = 6;
	tap_number(open_with(&renamed, sealed, TOTAL, &fine), CORE_WRONG_KEY, "a key of another id");
	tap_ok(fine, "leaves nothing in the output");
	tap_number(open_with(&other_key, sealed, TOTAL, &fine), CORE_NOT_AUTHENTIC,
			   "another key of the same id");
	tap_ok(fine, "leaves nothing in the output");
	renamed = key;
	renamed.header[0] ^= 1;
	tap_number(open_with(&renamed, sealed, TOTAL, &fine), CORE_NOT_AUTHENTIC, "another header key");
	renamed = key;
	renamed.body[0] ^= 1;
	tap_number(open_with(&renamed, sealed, TOTAL, &fine), CORE_NOT_AUTHENTIC, "another body key");
	tap_ok(envelope_parse(sealed, TOTAL, TOTAL, &header) == CORE_OK &&
			   seal_check_header(&key, sealed, &header) == CORE_OK &&
			   seal_check_header(&other_key, sealed, &header) == CORE_NOT_AUTHENTIC,
		   "the header alone is checked without the body");
}

/* The body of one envelope under the header of another. */
static void
check_swap(void)
{
	uint8_t second[TOTAL];
	uint8_t mixed[TOTAL];
	bool fine;

	if (seal(TEXT, TEXT_SIZE, second) != CORE_OK)
		abort();
	memcpy(mixed, sealed, TOTAL);
	memcpy(mixed + ENVELOPE_HEADER_SIZE, second + ENVELOPE_HEADER_SIZE,
		   TOTAL - ENVELOPE_HEADER_SIZE);
	tap_number(open_with(&key, mixed, TOTAL, &fine), CORE_NOT_AUTHENTIC, "a swapped body");
	tap_ok(fine, "leaves nothing in the output");
	memcpy(mixed, second, ENVELOPE_HOME_OFFSET);
	memcpy(mixed + ENVELOPE_HOME_OFFSET, sealed + ENVELOPE_HOME_OFFSET,
		   ENVELOPE_HEADER_SIZE - ENVELOPE_HOME_OFFSET);
	tap_number(open_with(&key, mixed, TOTAL, &fine), CORE_NOT_AUTHENTIC, "a swapped header MAC");
}

/* A header as it is, but for length bytes from another envelope at an offset, is refused. */
static void
check_not_authentic(const uint8_t *envelope, size_t offset, const uint8_t *other, const char *name)
{
	uint8_t mixed[TOTAL];
	EnvelopeHeader header;
	bool fine;

	memcpy(mixed, envelope, TOTAL);
	memcpy(mixed + offset, other + offset, ENVELOPE_HOME_SIZE);
	tap_number(open_with(&key, mixed, TOTAL, &fine), CORE_NOT_AUTHENTIC, name);
	tap_ok(fine && envelope_parse(mixed, TOTAL, TOTAL, &header) == CORE_OK &&
			   seal_check_header(&key, mixed, &header) == CORE_NOT_AUTHENTIC,
		   "nor does its header pass alone");
}

static void
check_rehome(void)
{
	uint8_t moved[TOTAL];
	uint8_t again[TOTAL];
	uint8_t home[ENVELOPE_HOME_SIZE];
	uint8_t origin[ENVELOPE_HOME_SIZE];
	EnvelopeHeader header;
	bool fine;

	memset(home, 0x42, sizeof(home));
	memset(origin, 0x17, sizeof(origin));
	memcpy(moved, sealed, TOTAL);
	moved[ENVELOPE_FLAGS_OFFSET] = ENVELOPE_FLAG_IMPORTED;
	tap_number(
		seal_rehome(&key, moved,
					&(SealPlace){.home = home, .origin = origin, .counts_from_ms = 1234567890123}),
		CORE_OK, "an envelope gets a home");
	tap_ok(envelope_parse(moved, TOTAL, TOTAL, &header) == CORE_OK &&
			   memcmp(header.home, home, sizeof(home)) == 0 &&
			   memcmp(header.origin, origin, sizeof(origin)) == 0 &&
			   header.flags == ENVELOPE_FLAG_IMPORTED,
		   "home and origin are what the header tells, its flags as they were");
	tap_ok(header.counts_from_ms == UINT64_C(1234567890123),
		   "and so is the time that its retention counts from");
	tap_ok(open_with(&key, moved, TOTAL, &fine) == CORE_OK && fine, "it still opens");
	tap_ok(memcmp(moved, sealed, ENVELOPE_AAD_SIZE) == 0 &&
			   memcmp(moved + ENVELOPE_HEADER_SIZE, sealed + ENVELOPE_HEADER_SIZE,
					  TOTAL - ENVELOPE_HEADER_SIZE) == 0,
		   "nothing else has changed");
	check_not_authentic(moved, ENVELOPE_HOME_OFFSET, sealed,
						"the old home under the new MAC is refused");
	check_not_authentic(moved, ENVELOPE_ORIGIN_OFFSET, sealed,
						"the old origin under the new MAC is refused");
	memcpy(again, moved, TOTAL);
	memcpy(again + ENVELOPE_HOME_OFFSET, origin, sizeof(origin));
	memcpy(again + ENVELOPE_ORIGIN_OFFSET, home, sizeof(home));
	tap_number(open_with(&key, again, TOTAL, &fine), CORE_NOT_AUTHENTIC,
			   "home and origin cannot change places");

	/* The header's own bytes may be what it is given: an origin that stays. */
	memcpy(again, moved, TOTAL);
	tap_number(seal_rehome(&key, again,
						   &(SealPlace){.home = home,
										.origin = again + ENVELOPE_HOME_OFFSET,
										.counts_from_ms = 1234567890123}),
			   CORE_OK, "the home becomes the origin in one step");
	tap_ok(memcmp(again + ENVELOPE_ORIGIN_OFFSET, home, sizeof(home)) == 0 &&
			   open_with(&key, again, TOTAL, &fine) == CORE_OK,
		   "and it opens");
	memcpy(again, moved, TOTAL);
	tap_ok(seal_rehome(&key, again,
					   &(SealPlace){.home = again + ENVELOPE_HOME_OFFSET,
									.origin = again + ENVELOPE_ORIGIN_OFFSET,
									.counts_from_ms = 1234567890123}) == CORE_OK &&
			   memcmp(again, moved, TOTAL) == 0,
		   "the same home and origin make the same header");
	tap_number(
		seal_rehome(&other_key, again,
					&(SealPlace){.home = home, .origin = origin, .counts_from_ms = 1234567890123}),
		CORE_OK, "under another key");
	tap_number(open_with(&key, again, TOTAL, &fine), CORE_NOT_AUTHENTIC, "it does not open");
}

/* The time that an image's retention counts from: nobody but who has the key can change it. */
static void
check_counts_from(void)
{
	static const uint64_t times[] = {
		0, 1, UINT64_C(1234567890123), UINT64_C(1) << 63, (uint64_t) -1, (uint64_t) -315619200000};
	uint8_t home[ENVELOPE_HOME_SIZE] = {0x42};
	uint8_t early[TOTAL];
	uint8_t late[TOTAL];
	SealPlace place = {.home = home, .origin = home};
	EnvelopeHeader header;
	bool fine;

	tap_ok(envelope_parse(sealed, TOTAL, TOTAL, &header) == CORE_OK && header.counts_from_ms == 0,
		   "a fresh envelope counts from its sealing time");
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
	{
		memcpy(early, sealed, TOTAL);
		place.counts_from_ms = times[i];
		tap_ok(seal_rehome(&key, early, &place) == CORE_OK &&
				   envelope_parse(early, TOTAL, TOTAL, &header) == CORE_OK &&
				   header.counts_from_ms == times[i] && memcmp(header.home, home, 16) == 0 &&
				   open_with(&key, early, TOTAL, &fine) == CORE_OK && fine,
			   "a time that is stamped is read again, whichever it is, and the image opens");
	}
	memcpy(early, sealed, TOTAL);
	memcpy(late, sealed, TOTAL);
	place.counts_from_ms = 1000;
	if (seal_rehome(&key, early, &place) != CORE_OK)
		abort();
	place.counts_from_ms = 2000;
	if (seal_rehome(&key, late, &place) != CORE_OK)
		abort();
	tap_ok(memcmp(early, late, ENVELOPE_COUNTS_FROM_OFFSET) == 0 &&
			   memcmp(early + ENVELOPE_MAC_OFFSET, late + ENVELOPE_MAC_OFFSET, ENVELOPE_MAC_SIZE) !=
				   0,
		   "another time makes another MAC, and changes nothing before it");
	memcpy(late + ENVELOPE_COUNTS_FROM_OFFSET, early + ENVELOPE_COUNTS_FROM_OFFSET,
		   ENVELOPE_MACED_SIZE - ENVELOPE_COUNTS_FROM_OFFSET);
	tap_number(open_with(&key, late, TOTAL, &fine), CORE_NOT_AUTHENTIC,
			   "the old time under the new MAC is refused");
	tap_ok(envelope_parse(late, TOTAL, TOTAL, &header) == CORE_OK &&
			   seal_check_header(&key, late, &header) == CORE_NOT_AUTHENTIC,
		   "nor does its header pass alone");
	memset(late + ENVELOPE_COUNTS_FROM_OFFSET, 0xff, 8);
	tap_ok(envelope_parse(late, TOTAL, TOTAL, &header) == CORE_OK &&
			   seal_check_header(&key, late, &header) == CORE_NOT_AUTHENTIC,
		   "and a time that was put in by hand is refused, too");
}

/* An envelope sealed once and kept here: what is stored must stay readable. */
static void
check_stored(void)
{
	static const char hex[] =
#include "stored_envelope.inc"
		;
	uint8_t bytes[TOTAL];
	bool fine;

	tap_number((long long) tap_unhex(hex, bytes), TOTAL, "an envelope of an earlier day");
	tap_ok(open_with(&key, bytes, TOTAL, &fine) == CORE_OK && fine, "still opens");
}

int
main(int argc, char **argv)
{
	make_keys();
	if (argc > 1 && strcmp(argv[1], "--print") == 0)
	{
		if (seal(TEXT, TEXT_SIZE, sealed) != CORE_OK)
			return 1;
		for (size_t i = 0; i < TOTAL; i++)
			printf("%s%02x%s", i % 32 == 0 ? "\"" : "", sealed[i],
				   i % 32 == 31 || i + 1 == TOTAL ? "\"\n" : "");
		return 0;
	}
	check_round_trip();
	check_plaintext_is_gone();
	check_freshness();
	check_flips();
	check_cuts();
	check_header_faults();
	check_keys();
	check_swap();
	check_rehome();
	check_counts_from();
	check_stored();
	return tap_done();
}
