/*
 * crypto.c - randomness, wiping, comparison and HMAC, all OpenSSL's.
 */
#include "core/seal.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

CoreStatus
core_random(uint8_t *out, size_t length)
{
	if (length <= INT_MAX && RAND_bytes(out, (int) length) == 1)
		return CORE_OK;
	core_wipe(out, length);
	return CORE_CRYPTO_FAILURE;
}

void
core_wipe(void *memory, size_t length)
{
	if (length > 0)
		OPENSSL_cleanse(memory, length);
}

bool
core_equal(const void *a, const void *b, size_t length)
{
	return CRYPTO_memcmp(a, b, length) == 0;
}

/*
 * The HMAC-SHA256 context of this process. Fetching the algorithm and setting
 * its digest, or copying a context, costs more than hashing a header.
 */
static EVP_MAC_CTX *
hmac_make_context(void)
{
	char digest_name[] = "SHA256";
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *made = algorithm != NULL ? EVP_MAC_CTX_new(algorithm) : NULL;

	EVP_MAC_free(algorithm);
	if (made != NULL && EVP_MAC_CTX_set_params(made, parameters) == 1)
		return made;
	EVP_MAC_CTX_free(made);
	return NULL;
}

static EVP_MAC_CTX *
hmac_context(void)
{
	static EVP_MAC_CTX *context = NULL;

	if (context == NULL)
		context = hmac_make_context();
	return context;
}

/* Takes the place of a key that is to be forgotten, or is empty. */
static const uint8_t no_key[32] = {0};

bool
core_hmac_begin(const uint8_t *key, size_t key_length)
{
	EVP_MAC_CTX *context = hmac_context();

	/* A NULL key would mean "the key set before". */
	return context != NULL &&
		   EVP_MAC_init(context, key_length > 0 ? key : no_key, key_length, NULL) == 1;
}

bool
core_hmac_add(const void *data, size_t length)
{
	return length == 0 || EVP_MAC_update(hmac_context(), data, length) == 1;
}

CoreStatus
core_hmac_end(bool done, uint8_t out[32])
{
	EVP_MAC_CTX *context = hmac_context();
	size_t written = 0;

	done = done && EVP_MAC_final(context, out, &written, 32) == 1 && written == 32;

	/* The context must not keep the key: the next it is given takes its place. */
	if (context != NULL && EVP_MAC_init(context, no_key, sizeof(no_key), NULL) != 1)
		done = false;
	if (done)
		return CORE_OK;
	core_wipe(out, 32);
	return CORE_CRYPTO_FAILURE;
}

CoreStatus
core_hmac_sha256(const uint8_t *key, size_t key_length, const void *data, size_t length,
				 uint8_t out[32])
{
	return core_hmac_end(core_hmac_begin(key, key_length) && core_hmac_add(data, length), out);
}
