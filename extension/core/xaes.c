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
static XaesCipher second_cipher; /* what is encrypted while something else is decrypted */

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
aead_begin(XaesCipher *cipher, const XaesInput *in, int encrypt)
{
	uint8_t message_key[XAES_KEY_SIZE];
	int ignored;
	bool done;

	done = cipher_ready(cipher, "AES-256-GCM") && derive_message_key(in, message_key) &&
		   EVP_CipherInit_ex2(cipher->context, cipher->algorithm, message_key,
							  in->nonce + XAES_NONCE_SIZE - GCM_NONCE_SIZE, encrypt, NULL) == 1;
	core_wipe(message_key, sizeof(message_key));
	for (size_t at = 0; done && at < in->aad_length;)
	{
		size_t chunk = in->aad_length - at < UPDATE_MAX ? in->aad_length - at : UPDATE_MAX;

		done = EVP_CipherUpdate(cipher->context, NULL, &ignored, in->aad + at, (int) chunk) == 1;
		at += chunk;
	}
	return done;
}

/* Runs the text through the keyed AEAD; the output is as long as the text. */
static bool
aead_update(XaesCipher *cipher, const uint8_t *text, size_t length, uint8_t *out)
{
	for (size_t at = 0; at < length;)
	{
		size_t chunk = length - at < UPDATE_MAX ? length - at : UPDATE_MAX;
		int written = 0;

		if (EVP_CipherUpdate(cipher->context, out + at, &written, text + at, (int) chunk) != 1 ||
			(size_t) written != chunk)
			return false;
		at += chunk;
	}
	return true;
}

/* Runs the text through the keyed AEAD a piece at a time, each of which the sink is given. */
static bool
aead_pieces(const XaesInput *in, const XaesScratch *scratch, XaesSink sink, void *context)
{
	bool done = true;

	for (size_t at = 0; done && at < in->length;)
	{
		size_t chunk = in->length - at < scratch->size ? in->length - at : scratch->size;

		done = aead_update(&aead_cipher, in->text + at, chunk, scratch->bytes) &&
			   (sink == NULL || sink(scratch->bytes, chunk, context));
		at += chunk;
	}
	core_wipe(scratch->bytes, in->length < scratch->size ? in->length : scratch->size);
	return done;
}

/* Runs the text through the keyed AEAD for the tag's sake alone. */
static bool
aead_discard(const XaesInput *in)
{
	uint8_t bytes[SCRATCH_SIZE];
	XaesScratch scratch = {bytes, sizeof(bytes)};

	return aead_pieces(in, &scratch, NULL, NULL);
}

/* Whether the tag is that of the text that the AEAD was run over. */
static CoreStatus
aead_check(const uint8_t tag[XAES_TAG_SIZE])
{
	uint8_t expected_tag[XAES_TAG_SIZE];
	uint8_t nothing[AES_BLOCK];
	int written = 0;

	memcpy(expected_tag, tag, XAES_TAG_SIZE);
	if (EVP_CIPHER_CTX_ctrl(aead_cipher.context, EVP_CTRL_AEAD_SET_TAG, XAES_TAG_SIZE,
							expected_tag) != 1)
		return CORE_CRYPTO_FAILURE;
	return EVP_DecryptFinal_ex(aead_cipher.context, nothing, &written) == 1 && written == 0
			   ? CORE_OK
			   : CORE_NOT_AUTHENTIC;
}

/* Ends an encryption with its tag. */
static bool
aead_tag(const XaesCipher *cipher, uint8_t tag[XAES_TAG_SIZE])
{
	uint8_t nothing[AES_BLOCK];
	int written = 0;

	return EVP_EncryptFinal_ex(cipher->context, nothing, &written) == 1 && written == 0 &&
		   EVP_CIPHER_CTX_ctrl(cipher->context, EVP_CTRL_AEAD_GET_TAG, XAES_TAG_SIZE, tag) == 1;
}

/* Forgets the message key. False when OpenSSL says it could not. */
static bool
aead_end(XaesCipher *cipher)
{
	return cipher->context == NULL || EVP_CIPHER_CTX_reset(cipher->context) == 1;
}

CoreStatus
xaes_seal(const XaesInput *in, uint8_t *ciphertext, uint8_t tag[XAES_TAG_SIZE])
{
	bool done = aead_begin(&aead_cipher, in, 1) &&
				aead_update(&aead_cipher, in->text, in->length, ciphertext) &&
				aead_tag(&aead_cipher, tag);

	if (aead_end(&aead_cipher) && done)
		return CORE_OK;
	core_wipe(ciphertext, in->length);
	core_wipe(tag, XAES_TAG_SIZE);
	return CORE_CRYPTO_FAILURE;
}

CoreStatus
xaes_open(const XaesInput *in, const uint8_t tag[XAES_TAG_SIZE], uint8_t *plaintext)
{
	CoreStatus status = CORE_CRYPTO_FAILURE;

	if (aead_begin(&aead_cipher, in, 0) &&
		(plaintext != NULL ? aead_update(&aead_cipher, in->text, in->length, plaintext)
						   : aead_discard(in)))
		status = aead_check(tag);
	if (!aead_end(&aead_cipher))
		status = CORE_CRYPTO_FAILURE;
	if (status != CORE_OK && plaintext != NULL)
		core_wipe(plaintext, in->length);
	return status;
}

CoreStatus
xaes_open_pieces(const XaesInput *in, const XaesScratch *scratch, XaesSink sink, void *context)
{
	CoreStatus status = CORE_CRYPTO_FAILURE;

	if (aead_begin(&aead_cipher, in, 0) && aead_pieces(in, scratch, sink, context))
		status = aead_check(in->text + in->length);
	if (!aead_end(&aead_cipher))
		status = CORE_CRYPTO_FAILURE;
	return status;
}

/* A sink that encrypts; context: where the next piece goes. */
static bool
seal_piece(const uint8_t *piece, size_t length, void *context)
{
	uint8_t **out = context;
	bool done = aead_update(&second_cipher, piece, length, *out);

	*out += length;
	return done;
}

CoreStatus
xaes_reseal(const XaesInput *from, const XaesInput *to, const XaesScratch *scratch, uint8_t *out)
{
	uint8_t *next = out;
	CoreStatus status = CORE_CRYPTO_FAILURE;

	if (aead_begin(&second_cipher, to, 1))
		status = xaes_open_pieces(from, scratch, seal_piece, &next);
	if (status == CORE_OK && !aead_tag(&second_cipher, next))
		status = CORE_CRYPTO_FAILURE;
	if (!aead_end(&second_cipher))
		status = CORE_CRYPTO_FAILURE;
	if (status != CORE_OK)
		core_wipe(out, from->length + XAES_TAG_SIZE);
	return status;
}
