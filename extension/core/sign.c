/*
 * sign.c - Ed25519 over OpenSSL's EVP.
 *
 * What fails leaves nothing in OpenSSL's error queue: it is the process's,
 * and the next to look at it would take our failure for its own.
 */
#include "core/sign.h"

#include "core/seal.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

/* Bytes, powers of two: room for a text of SIGN_PEM_MAX several times over. */
#define SECURE_MEMORY 32768
#define SECURE_MEMORY_LEAST 16

struct SignKey
{
	EVP_PKEY *pair;
};

/* Nobody is there to type a password; and an empty one must not be tried either. */
static int
refuse_password(char *buffer, int size, int writing, void *context)
{
	(void) buffer;
	(void) size;
	(void) writing;
	(void) context;
	return -1;
}

/* Wraps a pair of keys, which it frees when it cannot. */
static CoreStatus
wrap_pair(EVP_PKEY *pair, SignKey **key)
{
	SignKey *made = OPENSSL_zalloc(sizeof(*made));

	if (made == NULL)
	{
		EVP_PKEY_free(pair);
		return CORE_CRYPTO_FAILURE;
	}
	made->pair = pair;
	*key = made;
	return CORE_OK;
}

/*
 * From here on OpenSSL keeps private keys where neither swap nor a core dump gets
 * them. Where the system grants no such memory, they are at least wiped.
 */
static void
use_secure_memory(void)
{
	if (CRYPTO_secure_malloc_initialized() != 1)
		(void) CRYPTO_secure_malloc_init(SECURE_MEMORY, SECURE_MEMORY_LEAST);
}

/* Decodes the first private key of a PEM text; what is left of it on the way is wiped. */
static EVP_PKEY *
read_pair(BIO *input)
{
	unsigned char *der = NULL;
	long length = 0;
	const unsigned char *at;
	EVP_PKEY *pair;

	if (PEM_bytes_read_bio_secmem(&der, &length, NULL, PEM_STRING_PKCS8INF, input, refuse_password,
								  NULL) != 1)
		return NULL;
	at = der;
	pair = d2i_AutoPrivateKey(NULL, &at, length);
	OPENSSL_secure_clear_free(der, (size_t) length);
	return pair;
}

CoreStatus
sign_key_read(const char *pem, size_t length, SignKey **key)
{
	BIO *input;
	EVP_PKEY *pair;
	bool fits;

	*key = NULL;
	if (length == 0 || length > SIGN_PEM_MAX)
		return CORE_MALFORMED;
	(void) ERR_set_mark();
	use_secure_memory();
	input = BIO_new_mem_buf(pem, (int) length);
	if (input == NULL)
	{
		(void) ERR_pop_to_mark();
		return CORE_CRYPTO_FAILURE;
	}
	pair = read_pair(input);
	BIO_free(input);
	fits = pair != NULL && EVP_PKEY_is_a(pair, "ED25519") == 1;
	(void) ERR_pop_to_mark();
	if (!fits)
	{
		EVP_PKEY_free(pair);
		return CORE_MALFORMED;
	}
	return wrap_pair(pair, key);
}

CoreStatus
sign_key_generate(SignKey **key)
{
	EVP_PKEY *pair;

	*key = NULL;
	(void) ERR_set_mark();
	use_secure_memory();
	pair = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	(void) ERR_pop_to_mark();
	return pair != NULL ? wrap_pair(pair, key) : CORE_CRYPTO_FAILURE;
}

void
sign_key_free(SignKey *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_free(key->pair);
	OPENSSL_free(key);
}

CoreStatus
sign_key_public(const SignKey *key, uint8_t public_key[SIGN_PUBLIC_SIZE])
{
	size_t length = SIGN_PUBLIC_SIZE;
	bool done;

	(void) ERR_set_mark();
	done = EVP_PKEY_get_raw_public_key(key->pair, public_key, &length) == 1 &&
		   length == SIGN_PUBLIC_SIZE;
	(void) ERR_pop_to_mark();
	if (done)
		return CORE_OK;
	core_wipe(public_key, SIGN_PUBLIC_SIZE);
	return CORE_CRYPTO_FAILURE;
}

bool
sign_public_is_sound(const uint8_t public_key[SIGN_PUBLIC_SIZE])
{
	/* The y coordinates of the eight points whose order divides eight, without p - 1. */
	static const uint8_t small_order[][SIGN_PUBLIC_SIZE] = {
		{0},
		{1},
		{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
		 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
		 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
		{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
		 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
		 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	};
	uint8_t y[SIGN_PUBLIC_SIZE];
	bool all_ones = true;

	memcpy(y, public_key, SIGN_PUBLIC_SIZE);
	y[SIGN_PUBLIC_SIZE - 1] &= 0x7f; /* the sign of x */
	for (size_t i = 0; i < sizeof(small_order) / sizeof(small_order[0]); i++)
	{
		if (memcmp(y, small_order[i], SIGN_PUBLIC_SIZE) == 0)
			return false;
	}
	for (int i = 1; i < SIGN_PUBLIC_SIZE - 1; i++)
		all_ones = all_ones && y[i] == 0xff;
	/* p is 2^255 - 19, so this is p - 1, of order two, and all that should have been reduced. */
	return !(all_ones && y[SIGN_PUBLIC_SIZE - 1] == 0x7f && y[0] >= 0xec);
}

CoreStatus
sign_message(const SignKey *key, const void *message, size_t length,
			 uint8_t signature[SIGN_SIGNATURE_SIZE])
{
	EVP_MD_CTX *context;
	size_t written = SIGN_SIGNATURE_SIZE;
	bool done;

	(void) ERR_set_mark();
	context = EVP_MD_CTX_new();
	done = context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key->pair) == 1 &&
		   EVP_DigestSign(context, signature, &written, message, length) == 1 &&
		   written == SIGN_SIGNATURE_SIZE;
	EVP_MD_CTX_free(context);
	(void) ERR_pop_to_mark();
	if (done)
		return CORE_OK;
	core_wipe(signature, SIGN_SIGNATURE_SIZE);
	return CORE_CRYPTO_FAILURE;
}

CoreStatus
sign_verify(const uint8_t public_key[SIGN_PUBLIC_SIZE], const void *message, size_t length,
			const uint8_t signature[SIGN_SIGNATURE_SIZE])
{
	EVP_PKEY *key;
	EVP_MD_CTX *context;
	CoreStatus status = CORE_CRYPTO_FAILURE;

	(void) ERR_set_mark();
	key = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, public_key, SIGN_PUBLIC_SIZE);
	context = EVP_MD_CTX_new();
	if (key != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1)
	{
		int answer = EVP_DigestVerify(context, signature, SIGN_SIGNATURE_SIZE, message, length);

		if (answer == 1)
			status = CORE_OK;
		else if (answer == 0)
			status = CORE_NOT_AUTHENTIC;
	}
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	(void) ERR_pop_to_mark();
	return status;
}
