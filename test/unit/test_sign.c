/*
 * test_sign.c - Ed25519: the published vectors, keys that are none, and
 * signatures that were touched.
 */
#include "core/sign.h"
#include "signing.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

/* RFC 8032 section 7.1: seed, public key, message, signature. */
static const char *const published[][4] = {
	{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
	 "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
	 "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9"
	 "b46bd25bf5f0595bbe24655141438e7a100b"},
	{"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
	 "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
	 "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f1"
	 "1d8c387b2eaeb4302aeeb00d291612bb0c00"},
	{"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
	 "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
	 "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984d"
	 "c6594a7c15e9716ed28dc027beceea1ec40a"},
	{"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
	 "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
	 "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3fe"
	 "ebbd454d4423643ce80e2a9ac94fa54ca49f",
	 "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431"
	 "e0303dca179c138ac17ad9bef1177331a704"},
};

static void
check_published(void)
{
	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++)
	{
		uint8_t seed[SIGNING_SEED_SIZE];
		uint8_t message[64];
		uint8_t public_key[SIGN_PUBLIC_SIZE];
		uint8_t signature[SIGN_SIGNATURE_SIZE];
		size_t length = tap_unhex(published[i][2], message);
		SignKey *key;

		tap_unhex(published[i][0], seed);
		key = signing_key(seed);
		tap_ok(sign_key_public(key, public_key) == CORE_OK, "vector %d has a public key", (int) i);
		tap_hex(public_key, sizeof(public_key), published[i][1], "which is the published one");
		tap_ok(sign_public_is_sound(public_key), "and sound");
		tap_ok(sign_message(key, message, length, signature) == CORE_OK, "its message is signed");
		tap_hex(signature, sizeof(signature), published[i][3], "as was published");
		tap_number(sign_verify(public_key, message, length, signature), CORE_OK, "and verifies");
		sign_key_free(key);
	}
}

static void
check_touched(void)
{
	static const uint8_t message[40] = "the ledger's head at some size";
	SignKey *key = signing_key_number(7);
	SignKey *other = signing_key_number(8);
	uint8_t public_key[SIGN_PUBLIC_SIZE];
	uint8_t other_public[SIGN_PUBLIC_SIZE];
	uint8_t signature[SIGN_SIGNATURE_SIZE];
	uint8_t bytes[sizeof(message)];
	bool made = sign_key_public(key, public_key) == CORE_OK &&
				sign_key_public(other, other_public) == CORE_OK &&
				sign_message(key, message, sizeof(message), signature) == CORE_OK;
	long failed = 0;

	tap_ok(made, "a message is signed");
	for (int bit = 0; bit < 8 * SIGN_SIGNATURE_SIZE; bit++)
	{
		uint8_t touched[SIGN_SIGNATURE_SIZE];

		memcpy(touched, signature, sizeof(touched));
		touched[bit / 8] ^= (uint8_t) (1 << bit % 8);
		failed += sign_verify(public_key, message, sizeof(message), touched) != CORE_NOT_AUTHENTIC;
	}
	tap_all(failed, 8L * SIGN_SIGNATURE_SIZE, -1, "no bit of a signature can be changed");
	failed = 0;
	for (int bit = 0; bit < 8 * (int) sizeof(message); bit++)
	{
		memcpy(bytes, message, sizeof(bytes));
		bytes[bit / 8] ^= (uint8_t) (1 << bit % 8);
		failed += sign_verify(public_key, bytes, sizeof(bytes), signature) != CORE_NOT_AUTHENTIC;
	}
	tap_all(failed, 8L * (long) sizeof(message), -1, "nor of the message");
	failed = 0;
	for (int bit = 0; bit < 8 * SIGN_PUBLIC_SIZE; bit++)
	{
		uint8_t touched[SIGN_PUBLIC_SIZE];

		memcpy(touched, public_key, sizeof(touched));
		touched[bit / 8] ^= (uint8_t) (1 << bit % 8);
		failed += sign_verify(touched, message, sizeof(message), signature) != CORE_NOT_AUTHENTIC;
	}
	tap_all(failed, 8L * SIGN_PUBLIC_SIZE, -1, "nor of the public key");
	tap_number(sign_verify(public_key, message, sizeof(message) - 1, signature), CORE_NOT_AUTHENTIC,
			   "a shorter message does not verify");
	tap_number(sign_verify(other_public, message, sizeof(message), signature), CORE_NOT_AUTHENTIC,
			   "another key does not verify it");
	tap_number((long long) ERR_peek_error(), 0, "OpenSSL's error queue is left empty");
	sign_key_free(key);
	sign_key_free(other);
	sign_key_free(NULL);
}

/* RFC 8032 section 5.1.7: S is below the order of the group, or a signature had a second form. */
static void
check_malleable(void)
{
	static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,		0xd6,
									  0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
	SignKey *key = signing_key_number(9);
	uint8_t public_key[SIGN_PUBLIC_SIZE];
	uint8_t signature[SIGN_SIGNATURE_SIZE];
	bool made = sign_key_public(key, public_key) == CORE_OK &&
				sign_message(key, "x", 1, signature) == CORE_OK;
	int carry = 0;

	for (int i = 0; i < 32; i++)
	{
		carry += signature[32 + i] + order[i];
		signature[32 + i] = (uint8_t) carry;
		carry >>= 8;
	}
	tap_ok(made && sign_verify(public_key, "x", 1, signature) == CORE_NOT_AUTHENTIC,
		   "a signature has no second form");
	sign_key_free(key);
}

static void
check_sound(void)
{
	static const char *const weak[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	};
	uint8_t key[SIGN_PUBLIC_SIZE];
	long failed = 0;

	for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++)
	{
		tap_unhex(weak[i], key);
		failed += sign_public_is_sound(key);
	}
	tap_all(failed, sizeof(weak) / sizeof(weak[0]), -1,
			"keys of small order, and keys not reduced, are not sound");
	tap_unhex("ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", key);
	tap_ok(sign_public_is_sound(key), "the one below them is");
}

static SignKey *
read_key(const char *pem, size_t length, CoreStatus *status)
{
	char *copy = (char *) tap_copy(pem, length);
	SignKey *key = (SignKey *) copy;

	*status = sign_key_read(copy, length, &key);
	free(copy);
	return key;
}

/* Writes a key of OpenSSL's in PEM, under a password when there is one. */
static size_t
write_pem(EVP_PKEY *pair, const char *password, char out[SIGN_PEM_MAX])
{
	BIO *memory = BIO_new(BIO_s_mem());
	int length;

	if (pair == NULL || memory == NULL ||
		PEM_write_bio_PKCS8PrivateKey(memory, pair, password != NULL ? EVP_aes_256_cbc() : NULL,
									  password, password != NULL ? (int) strlen(password) : 0, NULL,
									  NULL) != 1)
		abort();
	length = BIO_read(memory, out, SIGN_PEM_MAX);
	BIO_free(memory);
	EVP_PKEY_free(pair);
	return length > 0 ? (size_t) length : 0;
}

static void
refuse(const char *pem, size_t length, const char *name)
{
	CoreStatus status;
	SignKey *key = read_key(pem, length, &status);

	tap_ok(key == NULL && status == CORE_MALFORMED && ERR_peek_error() == 0, "%s is no key", name);
}

static void
check_pem(void)
{
	static char text[2 * SIGN_PEM_MAX];
	SignKey *made;
	SignKey *key;
	CoreStatus status;
	size_t length;
	long failed = 0;

	length = write_pem(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL, text);
	key = read_key(text, length, &status);
	tap_ok(key != NULL && status == CORE_OK, "a key as OpenSSL writes it is read");
	sign_key_free(key);
	for (size_t cut = 0; cut + 2 < length; cut++)
	{
		key = read_key(text, cut, &status);
		failed += key != NULL || status != CORE_MALFORMED;
	}
	tap_all(failed, (long) length - 2, -1, "cut short anywhere, it is none");
	length = write_pem(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "secret", text);
	refuse(text, length, "an encrypted one, for which nobody is asked a password,");
	refuse(text, write_pem(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), NULL, text), "one of X25519");
	refuse(text, write_pem(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), NULL, text), "one of Ed448");
	refuse(text, write_pem(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), NULL, text),
		   "one of ECDSA");
	refuse("", 0, "nothing");
	refuse("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", 54, "an empty one");
	memset(text, '\n', sizeof(text));
	refuse(text, sizeof(text), "a text that is too long");
	refuse(text, SIGN_PEM_MAX, "a text of empty lines");
	tap_ok(sign_key_generate(&made) == CORE_OK, "a key is made");
	sign_key_free(made);
}

int
main(void)
{
	check_published();
	check_touched();
	check_malleable();
	check_sound();
	check_pem();
	return tap_done();
}
