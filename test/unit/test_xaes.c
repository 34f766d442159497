/*
 * test_xaes.c - XAES-256-GCM against the vectors of c2sp.org/XAES-256-GCM.
 */
#include "core/xaes.h"
#include "tap.h"

#include <openssl/evp.h>

typedef struct Vector
{
	uint8_t key_byte;
	const char *k1;
	const char *aad;
	const char *sealed; /* ciphertext, then tag */
} Vector;

static const Vector vectors[] = {
	{0x01, "e531954aca063d5b8d9c47a47d4cc6f0", "",
	 "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
	{0x03, "23810ec50edb99f374409466ed1f4b7b", "c2sp.org/XAES-256-GCM",
	 "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
};

static const char plaintext[] = "XAES-256-GCM";
static const char nonce[] = "ABCDEFGHIJKLMNOPQRSTUVWX";

static void
check_vector(const Vector *vector)
{
	uint8_t key[32];
	uint8_t k1[16];
	uint8_t sealed[12 + 16];
	uint8_t opened[12];
	XaesInput in = {
		.key = key,
		.cmac_k1 = k1,
		.nonce = (const uint8_t *) nonce,
		.aad = (const uint8_t *) vector->aad,
		.aad_length = strlen(vector->aad),
		.text = (const uint8_t *) plaintext,
		.length = sizeof(opened),
	};

	memset(key, vector->key_byte, sizeof(key));
	tap_ok(xaes_subkey(key, k1) == CORE_OK, "the subkey of %02x.. is computed", key[0]);
	tap_hex(k1, sizeof(k1), vector->k1, "it is the published K1");
	tap_ok(xaes_seal(&in, sealed, sealed + 12) == CORE_OK, "the plaintext is sealed");
	tap_hex(sealed, sizeof(sealed), vector->sealed, "to the published ciphertext and tag");

	in.text = sealed;
	tap_ok(xaes_open(&in, sealed + 12, opened) == CORE_OK &&
			   memcmp(opened, plaintext, sizeof(opened)) == 0,
		   "the published ciphertext opens to the plaintext");
	tap_ok(xaes_open(&in, sealed + 12, NULL) == CORE_OK, "and verifies without an output");
}

/* One bit of key, nonce, AAD, ciphertext or tag changed: nothing opens, the output is zero. */
static void
check_tampering(void)
{
	uint8_t parts[32 + 24 + 7 + 12 + 16];
	uint8_t opened[12];
	uint8_t k1[16];
	static const uint8_t zero[12];
	long failed = 0;
	XaesInput in = {
		.key = parts,
		.cmac_k1 = k1,
		.nonce = parts + 32,
		.aad = parts + 56,
		.aad_length = 7,
		.text = (const uint8_t *) plaintext,
		.length = sizeof(opened),
	};

	memset(parts, 0x5a, sizeof(parts));
	if (xaes_subkey(parts, k1) != CORE_OK || xaes_seal(&in, parts + 63, parts + 75) != CORE_OK)
		failed++;
	in.text = parts + 63;
	for (size_t bit = 0; bit < 8 * sizeof(parts); bit++)
	{
		CoreStatus status = xaes_subkey(parts, k1);

		parts[bit / 8] ^= (uint8_t) (1 << bit % 8);
		if (bit < 256)
			status = xaes_subkey(parts, k1);
		memset(opened, 0xee, sizeof(opened));
		if (status != CORE_OK || xaes_open(&in, parts + 75, opened) != CORE_NOT_AUTHENTIC ||
			memcmp(opened, zero, sizeof(zero)) != 0 ||
			xaes_open(&in, parts + 75, NULL) != CORE_NOT_AUTHENTIC)
			failed++;
		parts[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	tap_all(failed, 8 * sizeof(parts), -1,
			"any bit of key, nonce, AAD, ciphertext or tag flipped is not authentic");
}

/* Lengths around the block size and the scratch of verification. */
static void
check_lengths(void)
{
	static const size_t lengths[] = {0, 1, 15, 16, 17, 8191, 8192, 8193, 100000};
	static uint8_t text[100000];
	static uint8_t sealed[100000];
	static uint8_t opened[100000];
	uint8_t key[32] = {7};
	uint8_t k1[16];
	uint8_t tag[16];
	long failed = xaes_subkey(key, k1) != CORE_OK;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t) tap_random();
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
	{
		XaesInput in = {.key = key,
						.cmac_k1 = k1,
						.nonce = (const uint8_t *) nonce,
						.text = text,
						.length = lengths[i]};

		failed += xaes_seal(&in, sealed, tag) != CORE_OK;
		in.text = sealed;
		failed += xaes_open(&in, tag, opened) != CORE_OK;
		failed += memcmp(opened, text, lengths[i]) != 0;
		failed += xaes_open(&in, tag, NULL) != CORE_OK;
	}
	tap_all(failed, 9, -1, "texts of any length open, and verify piecewise");
}

/*
 * The accumulated test of the specification: inputs from one SHAKE-128 stream,
 * ciphertexts hashed by another. XAES_ITERATIONS=1000000 runs the long one.
 */
static void
check_accumulated(long iterations, const char *expected)
{
	size_t stream_size = (size_t) iterations * 330 + 100000;
	uint8_t *stream = malloc(stream_size);
	const uint8_t *at = stream;
	EVP_MD_CTX *generator = EVP_MD_CTX_new();
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t digest[32];
	long failed = 0;

	EVP_DigestInit_ex(generator, EVP_shake128(), NULL);
	EVP_DigestFinalXOF(generator, stream, stream_size);
	EVP_DigestInit_ex(hash, EVP_shake128(), NULL);
	for (long i = 0; i < iterations; i++)
	{
		uint8_t k1[16];
		uint8_t sealed[255 + 16];
		uint8_t opened[255];
		XaesInput in = {.key = at, .cmac_k1 = k1, .nonce = at + 32, .length = at[56]};

		in.text = at + 57;
		in.aad_length = in.text[in.length];
		in.aad = in.text + in.length + 1;
		at = in.aad + in.aad_length;
		failed += xaes_subkey(in.key, k1) != CORE_OK;
		failed += xaes_seal(&in, sealed, sealed + in.length) != CORE_OK;
		EVP_DigestUpdate(hash, sealed, in.length + 16);
		in.text = sealed;
		failed += xaes_open(&in, sealed + in.length, opened) != CORE_OK;
	}
	EVP_DigestFinalXOF(hash, digest, sizeof(digest));
	tap_all(failed, iterations, -1, "the accumulated test seals and opens");
	tap_hex(digest, sizeof(digest), expected, "and its ciphertexts have the published hash");
	EVP_MD_CTX_free(generator);
	EVP_MD_CTX_free(hash);
	free(stream);
}

int
main(void)
{
	const char *iterations = getenv("XAES_ITERATIONS");

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		check_vector(&vectors[i]);
	check_tampering();
	check_lengths();
	check_accumulated(10000, "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
	if (iterations != NULL && strcmp(iterations, "1000000") == 0)
		check_accumulated(1000000,
						  "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15");
	return tap_done();
}
