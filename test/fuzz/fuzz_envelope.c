/*
 * fuzz_envelope.c - envelope_parse, seal_verify and seal_open. The first byte
 * says how to go on: as the bytes are, or with a header MAC made good, so that
 * the fuzzer gets past it, or as a plaintext that must come back.
 */
#include "core/envelope.h"
#include "core/seal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static SealKey key;

static void
check_zero(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		if (bytes[i] != 0)
			abort();
	}
}

/* Parses; what parses must write back to the same header, and must open or leave nothing. */
static void
try_envelope(const uint8_t *bytes, size_t size)
{
	EnvelopeHeader header;
	uint8_t written[ENVELOPE_HEADER_SIZE];
	uint8_t *out;
	CoreStatus opened;

	if (envelope_parse(bytes, size, size, &header) != CORE_OK)
	{
		check_zero((const uint8_t *) &header, sizeof(header));
		return;
	}
	envelope_write_header(&header, written);
	if (memcmp(written, bytes, ENVELOPE_MACED_SIZE) != 0)
		abort();
	out = malloc(header.plaintext_length);
	opened = seal_open(&key, bytes, &header, out);
	if (opened != CORE_OK)
		check_zero(out, header.plaintext_length);
	if (seal_verify(&key, bytes, &header) != opened)
		abort();
	free(out);
}

static void
try_with_good_mac(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size);

	memcpy(copy, data, size);
	if (size >= ENVELOPE_HEADER_SIZE &&
		core_hmac_sha256(key.header, sizeof(key.header), copy, ENVELOPE_MACED_SIZE,
						 copy + ENVELOPE_MAC_OFFSET) != CORE_OK)
		abort();
	try_envelope(copy, size);
	free(copy);
}

static void
try_round_trip(const uint8_t *data, size_t size)
{
	SealRequest request = {IMAGE_KIND_FACE, {IMAGE_FORMAT_JPEG, 1, 1}, 1, data, size};
	uint8_t *sealed = malloc(size + ENVELOPE_OVERHEAD);
	uint8_t *out = malloc(size);
	EnvelopeHeader header;

	if (seal_image(&key, &request, sealed) != CORE_OK ||
		envelope_parse(sealed, size + ENVELOPE_OVERHEAD, size + ENVELOPE_OVERHEAD, &header) !=
			CORE_OK ||
		seal_open(&key, sealed, &header, out) != CORE_OK || memcmp(out, data, size) != 0)
		abort();
	free(sealed);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t master[SEAL_MASTER_KEY_SIZE] = {1};

	if (key.id == 0 && seal_key_init(&key, 5, master) != CORE_OK)
		abort();
	if (size < 2)
		return 0;
	switch (data[0] % 3)
	{
		case 0:
			try_envelope(data + 1, size - 1);
			break;
		case 1:
			try_with_good_mac(data + 1, size - 1);
			break;
		default:
			try_round_trip(data + 1, size - 1);
			break;
	}
	return 0;
}
