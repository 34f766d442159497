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
 * An HMAC-SHA256 context without a key. Fetching the algorithm and setting
 * its digest costs more than hashing a header, so it is done once and copied.
 */
static EVP_MAC_CTX *
hmac_template(void)
{
	static EVP_MAC_CTX *template = NULL;
	char digest_name[] = "SHA256";
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *algorithm;
	EVP_MAC_CTX *made;

	if (template != NULL)
		return template;
	algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
	made = algorithm != NULL ? EVP_MAC_CTX_new(algorithm) : NULL;
	EVP_MAC_free(algorithm);
	if (made != NULL && EVP_MAC_CTX_set_params(made, parameters) == 1)
		template = made;
	else
		EVP_MAC_CTX_free(made);
	return template;
}

CoreStatus
core_hmac_sha256(const uint8_t *key, size_t key_length, const void *data, size_t length,
				 uint8_t out[32])
{
	static const uint8_t empty[1] = {0};
	EVP_MAC_CTX *template = hmac_template();
	EVP_MAC_CTX *context = template != NULL ? EVP_MAC_CTX_dup(template) : NULL;
	size_t written = 0;
	bool done;

	/* A NULL key would mean "the key set before", of which there is none. */
	done = context != NULL &&
		   EVP_MAC_init(context, key_length > 0 ? key : empty, key_length, NULL) == 1 &&
		   (length == 0 || EVP_MAC_update(context, data, length) == 1) &&
		   EVP_MAC_final(context, out, &written, 32) == 1 && written == 32;

	/* A copy, so that freeing it wipes the key: none stays in the template. */
	EVP_MAC_CTX_free(context);
	if (done)
		return CORE_OK;
	core_wipe(out, 32);
	return CORE_CRYPTO_FAILURE;
}
