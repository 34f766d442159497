/*
 * seal.c - seals and opens envelopes.
 */
#include "core/seal.h"

#include "core/picture_hash.h"
#include "core/reader.h"
#include "core/xaes.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

/* Bytes of the image id that the clock fills (RFC 9562 section 5.7). */
#define ID_TIME_SIZE 6

/* Bytes that decide about each exchange of the blinding's permutation. */
#define DRAW_SIZE 4

/* Derives bytes for one purpose with HKDF-SHA256; info is the purpose, NUL-terminated. */
static bool
derive_bytes(EVP_KDF_CTX *context, const uint8_t *master, const char *info, uint8_t *out,
			 size_t size)
{
	char digest_name[] = "SHA256";
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest_name, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *) master,
										  SEAL_MASTER_KEY_SIZE),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *) info, strlen(info)),
		OSSL_PARAM_construct_end(),
	};

	EVP_KDF_CTX_reset(context);
	return EVP_KDF_derive(context, out, size, parameters) == 1;
}

static bool
derive_key(EVP_KDF_CTX *context, const uint8_t *master, const char *info, uint8_t out[32])
{
	return derive_bytes(context, master, info, out, 32);
}

/*
 * Draws the mask and the permutation that blind picture hashes. The exchanges are
 * Fisher's and Yates's; a draw of 32 bits favours no place by more than 2^-24.
 */
static bool
derive_blinding(EVP_KDF_CTX *context, const uint8_t *master, SealKey *key)
{
	uint8_t drawn[sizeof(key->blind_mask) + DRAW_SIZE * PICTURE_HASH_BITS];
	Reader reader = reader_make(drawn, sizeof(drawn));
	bool done = derive_bytes(context, master, "biometric_audit 1 blind", drawn, sizeof(drawn));

	reader_copy(&reader, key->blind_mask, sizeof(key->blind_mask));
	for (int i = 0; i < PICTURE_HASH_BITS; i++)
		key->blind_order[i] = (uint8_t) i;
	for (int i = PICTURE_HASH_BITS - 1; i > 0; i--)
	{
		int j = (int) (reader_u32(&reader) % (uint32_t) (i + 1));
		uint8_t kept = key->blind_order[i];

		key->blind_order[i] = key->blind_order[j];
		key->blind_order[j] = kept;
	}
	core_wipe(drawn, sizeof(drawn));
	return done;
}

CoreStatus
seal_key_init(SealKey *key, uint32_t id, const uint8_t master[SEAL_MASTER_KEY_SIZE])
{
	EVP_KDF *algorithm = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = algorithm != NULL ? EVP_KDF_CTX_new(algorithm) : NULL;
	bool done;

	memset(key, 0, sizeof(*key));
	done = context != NULL && derive_key(context, master, "biometric_audit 1 body", key->body) &&
		   derive_key(context, master, "biometric_audit 1 header", key->header) &&
		   derive_key(context, master, "biometric_audit 1 digest", key->digest) &&
		   derive_key(context, master, "biometric_audit 1 picture", key->picture) &&
		   derive_key(context, master, "biometric_audit 1 mark", key->mark) &&
		   derive_blinding(context, master, key) && xaes_subkey(key->body, key->cmac_k1) == CORE_OK;
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(algorithm);
	if (!done)
	{
		seal_key_wipe(key);
		return CORE_CRYPTO_FAILURE;
	}
	key->id = id;
	return CORE_OK;
}

CoreStatus
seal_key_check(const uint8_t master[SEAL_MASTER_KEY_SIZE], uint8_t check[SEAL_CHECK_SIZE])
{
	EVP_KDF *algorithm = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = algorithm != NULL ? EVP_KDF_CTX_new(algorithm) : NULL;
	bool done = context != NULL && derive_key(context, master, "biometric_audit 1 check", check);

	EVP_KDF_CTX_free(context);
	EVP_KDF_free(algorithm);
	if (!done)
		core_wipe(check, SEAL_CHECK_SIZE);
	return done ? CORE_OK : CORE_CRYPTO_FAILURE;
}

void
seal_key_wipe(SealKey *key)
{
	core_wipe(key, sizeof(*key));
}

CoreStatus
seal_digest(const SealKey *key, const uint8_t *plaintext, size_t length,
			uint8_t out[ENVELOPE_DIGEST_SIZE])
{
	return core_hmac_sha256(key->digest, sizeof(key->digest), plaintext, length, out);
}

/* Computes the header MAC over the first ENVELOPE_MACED_SIZE bytes. */
static CoreStatus
header_mac(const SealKey *key, const uint8_t *header_bytes, uint8_t out[ENVELOPE_MAC_SIZE])
{
	return core_hmac_sha256(key->header, sizeof(key->header), header_bytes, ENVELOPE_MACED_SIZE,
							out);
}

/* Makes a UUIDv7 of a time in ms and ENVELOPE_ID_SIZE - ID_TIME_SIZE random bytes. */
static void
make_image_id(uint64_t now_ms, const uint8_t *random, uint8_t id[ENVELOPE_ID_SIZE])
{
	write_uint(id, now_ms, ID_TIME_SIZE);
	memcpy(id + ID_TIME_SIZE, random, ENVELOPE_ID_SIZE - ID_TIME_SIZE);
	id[6] = (uint8_t) (0x70 | (id[6] & 0x0f));
	id[8] = (uint8_t) (0x80 | (id[8] & 0x3f));
}

/*
 * Hides a picture hash, or the zeroes that stand for none, or shows it again. The
 * stream is the image's own: equal pictures do not show, nor which have no hash.
 */
static CoreStatus
turn_picture_hash(const SealKey *key, const EnvelopeHeader *header, const uint8_t *from,
				  uint8_t to[ENVELOPE_PICTURE_HASH_SIZE])
{
	uint8_t stream[ENVELOPE_PICTURE_HASH_SIZE];
	CoreStatus status = core_hmac_sha256(key->picture, sizeof(key->picture), header->image_id,
										 sizeof(header->image_id), stream);

	for (int i = 0; i < ENVELOPE_PICTURE_HASH_SIZE; i++)
		to[i] = (uint8_t) (status == CORE_OK ? from[i] ^ stream[i] : 0);
	core_wipe(stream, sizeof(stream));
	return status;
}

bool
seal_picture_hash(const SealKey *key, const EnvelopeHeader *header,
				  uint8_t blinded[ENVELOPE_PICTURE_HASH_SIZE])
{
	static const uint8_t none[ENVELOPE_PICTURE_HASH_SIZE];
	uint8_t hash[ENVELOPE_PICTURE_HASH_SIZE];
	bool found = key->id == header->key_id &&
				 turn_picture_hash(key, header, header->picture_hash, hash) == CORE_OK &&
				 !core_equal(hash, none, sizeof(none));

	memset(blinded, 0, ENVELOPE_PICTURE_HASH_SIZE);
	if (found)
		picture_hash_blind(key, hash, blinded);
	core_wipe(hash, sizeof(hash));
	return found;
}

/* Fills a header from a request, with a fresh image id and nonce. */
static CoreStatus
make_header(const SealKey *key, const SealRequest *request, EnvelopeHeader *header)
{
	static const uint8_t no_hash[ENVELOPE_PICTURE_HASH_SIZE];
	uint8_t random[ENVELOPE_NONCE_SIZE + ENVELOPE_ID_SIZE - ID_TIME_SIZE];
	const uint8_t *hash = request->picture_hash != NULL ? request->picture_hash : no_hash;

	*header = (EnvelopeHeader){
		.kind = request->kind,
		.format = request->info.format,
		.key_id = key->id,
		.width = request->info.width,
		.height = request->info.height,
		.plaintext_length = request->length,
	};
	if (core_random(random, sizeof(random)) != CORE_OK)
		return CORE_CRYPTO_FAILURE;
	memcpy(header->nonce, random, ENVELOPE_NONCE_SIZE);
	make_image_id(request->now_ms, random + ENVELOPE_NONCE_SIZE, header->image_id);
	if (turn_picture_hash(key, header, hash, header->picture_hash) != CORE_OK)
		return CORE_CRYPTO_FAILURE;
	return seal_digest(key, request->plaintext, request->length, header->digest);
}

/* What XAES needs to know of an envelope that begins with header_bytes. */
static XaesInput
xaes_input(const SealKey *key, const uint8_t *header_bytes, const EnvelopeHeader *header)
{
	return (XaesInput){
		.key = key->body,
		.cmac_k1 = key->cmac_k1,
		.nonce = header->nonce,
		.aad = header_bytes,
		.aad_length = ENVELOPE_AAD_SIZE,
		.text = header_bytes + ENVELOPE_HEADER_SIZE,
		.length = (size_t) header->plaintext_length,
	};
}

CoreStatus
seal_image(const SealKey *key, const SealRequest *request, uint8_t *out)
{
	EnvelopeHeader header;
	XaesInput input;
	uint8_t *body = out + ENVELOPE_HEADER_SIZE;
	CoreStatus status = make_header(key, request, &header);

	if (status == CORE_OK)
	{
		envelope_write_header(&header, out);
		status = header_mac(key, out, out + ENVELOPE_MAC_OFFSET);
	}
	if (status == CORE_OK)
	{
		input = xaes_input(key, out, &header);
		input.text = request->plaintext;
		status = xaes_seal(&input, body, body + request->length);
	}
	if (status != CORE_OK)
		core_wipe(out, request->length + ENVELOPE_OVERHEAD);
	return status;
}

CoreStatus
seal_check_header(const SealKey *key, const uint8_t *header_bytes, const EnvelopeHeader *header)
{
	uint8_t mac[ENVELOPE_MAC_SIZE];
	CoreStatus status;

	if (key->id != header->key_id)
		return CORE_WRONG_KEY;
	status = header_mac(key, header_bytes, mac);
	if (status == CORE_OK && !core_equal(mac, header_bytes + ENVELOPE_MAC_OFFSET, sizeof(mac)))
		status = CORE_NOT_AUTHENTIC;
	core_wipe(mac, sizeof(mac));
	return status;
}

/* Checks the header, then the body, into out or, when that is NULL, into nothing. */
static CoreStatus
open_body(const SealKey *key, const uint8_t *envelope, const EnvelopeHeader *header, uint8_t *out)
{
	XaesInput input = xaes_input(key, envelope, header);
	CoreStatus status = seal_check_header(key, envelope, header);

	if (status == CORE_OK)
		return xaes_open(&input, input.text + input.length, out);
	if (out != NULL)
		core_wipe(out, input.length);
	return status;
}

CoreStatus
seal_open(const SealKey *key, const uint8_t *envelope, const EnvelopeHeader *header, uint8_t *out)
{
	return open_body(key, envelope, header, out);
}

CoreStatus
seal_verify(const SealKey *key, const uint8_t *envelope, const EnvelopeHeader *header)
{
	return open_body(key, envelope, header, NULL);
}

/* A sink that digests. */
static bool
digest_piece(const uint8_t *piece, size_t length, void *context)
{
	(void) context;
	return core_hmac_add(piece, length);
}

/* Makes the header of an image that is sealed again, of which the body must be opened for the digest. */
static CoreStatus
make_header_again(const SealKey *from, const SealKey *to, const uint8_t *envelope,
				  const EnvelopeHeader *header, const XaesScratch *scratch, EnvelopeHeader *again)
{
	XaesInput input = xaes_input(from, envelope, header);
	uint8_t hash[ENVELOPE_PICTURE_HASH_SIZE];
	CoreStatus status = seal_check_header(from, envelope, header);
	CoreStatus digested;

	*again = *header;
	again->key_id = to->id;
	if (status == CORE_OK)
		status = core_random(again->nonce, ENVELOPE_NONCE_SIZE);
	if (status == CORE_OK)
		status = turn_picture_hash(from, header, header->picture_hash, hash);
	if (status == CORE_OK)
		status = turn_picture_hash(to, again, hash, again->picture_hash);
	core_wipe(hash, sizeof(hash));
	if (status != CORE_OK)
		return status;
	if (core_hmac_begin(to->digest, sizeof(to->digest)))
		status = xaes_open_pieces(&input, scratch, digest_piece, NULL);
	else
		status = CORE_CRYPTO_FAILURE;
	digested = core_hmac_end(status == CORE_OK, again->digest);
	return status != CORE_OK ? status : digested;
}

CoreStatus
seal_again(const SealKey *from, const SealKey *to, const uint8_t *envelope,
		   const EnvelopeHeader *header, const SealScratch *scratch, uint8_t *out)
{
	const XaesScratch through = {scratch->bytes, scratch->size};
	XaesInput opened = xaes_input(from, envelope, header);
	EnvelopeHeader again;
	XaesInput sealed;
	CoreStatus status = make_header_again(from, to, envelope, header, &through, &again);

	if (status == CORE_OK)
	{
		envelope_write_header(&again, out);
		out[ENVELOPE_FLAGS_OFFSET] = header->flags;
		status = header_mac(to, out, out + ENVELOPE_MAC_OFFSET);
	}
	if (status == CORE_OK)
	{
		sealed = xaes_input(to, out, &again);
		status = xaes_reseal(&opened, &sealed, &through, out + ENVELOPE_HEADER_SIZE);
	}
	if (status != CORE_OK)
		core_wipe(out, (size_t) header->plaintext_length + ENVELOPE_OVERHEAD);
	return status;
}

CoreStatus
seal_rehome(const SealKey *key, uint8_t *header_bytes, const SealPlace *place)
{
	uint8_t previous[ENVELOPE_MACED_SIZE - ENVELOPE_HOME_OFFSET];
	uint8_t mac[ENVELOPE_MAC_SIZE];
	CoreStatus status;

	memcpy(previous, header_bytes + ENVELOPE_HOME_OFFSET, sizeof(previous));
	memmove(header_bytes + ENVELOPE_ORIGIN_OFFSET, place->origin, ENVELOPE_HOME_SIZE);
	memmove(header_bytes + ENVELOPE_HOME_OFFSET, place->home, ENVELOPE_HOME_SIZE);
	write_uint(header_bytes + ENVELOPE_COUNTS_FROM_OFFSET, place->counts_from_ms, 8);
	status = header_mac(key, header_bytes, mac);
	if (status == CORE_OK)
		memcpy(header_bytes + ENVELOPE_MAC_OFFSET, mac, ENVELOPE_MAC_SIZE);
	else
		memcpy(header_bytes + ENVELOPE_HOME_OFFSET, previous, sizeof(previous));
	return status;
}
