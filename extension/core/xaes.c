/*
 * xaes.c - XAES-256-GCM over OpenSSL's AES-256-ECB and AES-256-GCM.
 *
 * The algorithms are fetched and the contexts made once a process; every
 * operation resets its context, which wipes the key schedule.
 */
#include "core/xaes.h"

#include "core/seal.h"

#include <openssl/evp.h>
#include <string.h>

#define AES_BLOCK 16
#define GCM_NONCE_SIZE 12

/* EVP's lengths are ints; a multiple of the block size well below INT_MAX. */
#define UPDATE_MAX ((size_t) 1 << 30)

/* What verification without an output decrypts at a time: fits the first-level cache. */
#define SCRATCH_SIZE 8192

/* A fetched algorithm and the context that is used with it again and again. */
typedef struct XaesCipher
{
	EVP_CIPHER *algorithm;
	EVP_CIPHER_CTX *context;
} XaesCipher;

static XaesCipher block_cipher;
static XaesCipher aead_cipher;

/* Fetches an algorithm unless it is there already; false when OpenSSL cannot. */
static bool
cipher_ready(XaesCipher *cipher, const char *name)
{
	if (cipher->algorithm == NULL)
		cipher->algorithm = EVP_CIPHER_fetch(NULL, name, NULL);
	if (cipher->context == NULL)
		cipher->context = EVP_CIPHER_CTX_new();
	return cipher->algorithm != NULL && cipher->context != NULL;
}

/* Encrypts whole blocks, at most two, in electronic codebook mode. */
static bool
encrypt_blocks(const uint8_t *key, const uint8_t *in, int length, uint8_t *out)
{
	int written = 0;
	bool done;

	if (!cipher_ready(&block_cipher, "AES-256-ECB"))
		return false;
	done =
		EVP_EncryptInit_ex2(block_cipher.context, block_cipher.algorithm, key, NULL, NULL) == 1 &&
		EVP_CIPHER_CTX_set_padding(block_cipher.context, 0) == 1 &&
		EVP_EncryptUpdate(block_cipher.context, out, &written, in, length) == 1 &&
		written == length;
	return (EVP_CIPHER_CTX_reset(block_cipher.context) == 1) && done;
}

CoreStatus
xaes_subkey(const uint8_t key[XAES_KEY_SIZE], uint8_t out[16])
{
	static const uint8_t zero[AES_BLOCK] = {0};
	uint8_t block[AES_BLOCK];
	uint8_t carry;

	if (!encrypt_blocks(key, zero, AES_BLOCK, block))
	{
		core_wipe(block, sizeof(block));
		core_wipe(out, AES_BLOCK);
		return CORE_CRYPTO_FAILURE;
	}
	/* Doubling in GF(2^128); the mask instead of a branch keeps the time the same for all keys. */
	carry = block[0] >> 7;
	for (int i = 0; i < AES_BLOCK - 1; i++)
		out[i] = (uint8_t) (block[i] << 1 | block[i + 1] >> 7);
	out[AES_BLOCK - 1] = (uint8_t) (block[AES_BLOCK - 1] << 1 ^ (0x87 & -carry));
	core_wipe(block, sizeof(block));
	return CORE_OK;
}

/* Derives the key of one message: two blocks of CMAC, each over one block of input. */
static bool
derive_message_key(const XaesInput *in, uint8_t out[XAES_KEY_SIZE])
{
	uint8_t blocks[2 * AES_BLOCK];
	bool done;

	for (int i = 0; i < 2; i++)
	{
		uint8_t *block = blocks + i * AES_BLOCK;

		block[0] = 0;
		block[1] = (uint8_t) (i + 1);
		block[2] = 'X';
		block[3] = 0;
		memcpy(block + 4, in->nonce, AES_BLOCK - 4);
		for (int j = 0; j < AES_BLOCK; j++)
			block[j] ^= in->cmac_k1[j];
	}
	done = encrypt_blocks(in->key, blocks, sizeof(blocks), out);
	core_wipe(blocks, sizeof(blocks));
	return done;
}

/* Keys the AEAD for one message and gives it the AAD. */
static bool
aead_begin(const XaesInput *in, int encrypt)
{
	uint8_t message_key[XAES_KEY_SIZE];
	int ignored;
	bool done;

	done = cipher_ready(&aead_cipher, "AES-256-GCM") && derive_message_key(in, message_key) &&
		   EVP_CipherInit_ex2(aead_cipher.context, aead_cipher.algorithm, message_key,
							  in->nonce + XAES_NONCE_SIZE - GCM_NONCE_SIZE, encrypt, NULL) == 1;
	core_wipe(message_key, sizeof(message_key));
	for (size_t at = 0; done && at < in->aad_length;)
	{
		size_t chunk = in->aad_length - at < UPDATE_MAX ? in->aad_length - at : UPDATE_MAX;

		done =
			EVP_CipherUpdate(aead_cipher.context, NULL, &ignored, in->aad + at, (int) chunk) == 1;
		at += chunk;
	}
	return done;
}

/* Runs the text through the keyed AEAD; the output is as long as the text. */
static bool
aead_update(const uint8_t *text, size_t length, uint8_t *out)
{
	for (size_t at = 0; at < length;)
	{
		size_t chunk = length - at < UPDATE_MAX ? length - at : UPDATE_MAX;
		int written = 0;

		if (EVP_CipherUpdate(aead_cipher.context, out + at, &written, text + at, (int) chunk) !=
				1 ||
			(size_t) written != chunk)
			return false;
		at += chunk;
	}
	return true;
}

/* Runs the text through the keyed AEAD for the tag's sake alone. */
static bool
aead_discard(const uint8_t *text, size_t length)
{
	uint8_t scratch[SCRATCH_SIZE];
	bool done = true;

	for (size_t at = 0; done && at < length;)
	{
		size_t chunk = length - at < sizeof(scratch) ? length - at : sizeof(scratch);

		done = aead_update(text + at, chunk, scratch);
		at += chunk;
	}
	core_wipe(scratch, length < sizeof(scratch) ? length : sizeof(scratch));
	return done;
}

/* Forgets the message key. False when OpenSSL says it could not. */
static bool
aead_end(void)
{
	return aead_cipher.context == NULL || EVP_CIPHER_CTX_reset(aead_cipher.context) == 1;
}

CoreStatus
xaes_seal(const XaesInput *in, uint8_t *ciphertext, uint8_t tag[XAES_TAG_SIZE])
{
	uint8_t nothing[AES_BLOCK];
	int written = 0;
	bool done;

	done = aead_begin(in, 1) && aead_update(in->text, in->length, ciphertext) &&
		   EVP_EncryptFinal_ex(aead_cipher.context, nothing, &written) == 1 && written == 0 &&
		   EVP_CIPHER_CTX_ctrl(aead_cipher.context, EVP_CTRL_AEAD_GET_TAG, XAES_TAG_SIZE, tag) == 1;
	if (aead_end() && done)
		return CORE_OK;
	core_wipe(ciphertext, in->length);
	core_wipe(tag, XAES_TAG_SIZE);
	return CORE_CRYPTO_FAILURE;
}

CoreStatus
xaes_open(const XaesInput *in, const uint8_t tag[XAES_TAG_SIZE], uint8_t *plaintext)
{
	uint8_t expected_tag[XAES_TAG_SIZE];
	uint8_t nothing[AES_BLOCK];
	int written = 0;
	CoreStatus status = CORE_CRYPTO_FAILURE;

	memcpy(expected_tag, tag, XAES_TAG_SIZE);
	if (aead_begin(in, 0) &&
		(plaintext != NULL ? aead_update(in->text, in->length, plaintext)
						   : aead_discard(in->text, in->length)) &&
		EVP_CIPHER_CTX_ctrl(aead_cipher.context, EVP_CTRL_AEAD_SET_TAG, XAES_TAG_SIZE,
							expected_tag) == 1)
		status = EVP_DecryptFinal_ex(aead_cipher.context, nothing, &written) == 1 && written == 0
					 ? CORE_OK
					 : CORE_NOT_AUTHENTIC;
	if (!aead_end())
		status = CORE_CRYPTO_FAILURE;
	if (status != CORE_OK && plaintext != NULL)
		core_wipe(plaintext, in->length);
	return status;
}
