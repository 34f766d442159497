/*
 * test_hmac.c - HMAC-SHA256 against RFC 4231, and the derivation of the keys
 * of an image key against an HKDF of its own, itself checked with RFC 5869.
 */
#include "core/seal.h"
#include "core/xaes.h"
#include "tap.h"

typedef struct HmacCase
{
	const char *key;
	const char *data;
	const char *mac;
} HmacCase;

/* RFC 4231 section 4, in hexadecimal; case 5 publishes 16 bytes only. */
static const HmacCase hmac_cases[] = {
	{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
	{"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
	{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	 "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	 "dddddddddddddddddddddddddddddddddddd",
	 "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
	{"0102030405060708090a0b0c0d0e0f10111213141516171819",
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	 "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	 "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
	{"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c", "546573742057697468205472756e636174696f6e",
	 "a3b6167473100ee06e0c796c2955552b"},
};

/* Cases 6 and 7 have the key aa times 131. */
static const HmacCase long_key_cases[] = {
	{"", "Test Using Larger Than Block-Size Key - Hash Key First",
	 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	{"",
	 "This is a test using a larger than block-size key and a larger than block-size data. "
	 "The key needs to be hashed before being used by the HMAC algorithm.",
	 "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
};

static void
check_hmac(void)
{
	uint8_t key[131];
	uint8_t data[64];
	uint8_t mac[32];

	for (size_t i = 0; i < sizeof(hmac_cases) / sizeof(hmac_cases[0]); i++)
	{
		const HmacCase *c = &hmac_cases[i];
		size_t key_length = tap_unhex(c->key, key);
		size_t length = tap_unhex(c->data, data);

		tap_ok(core_hmac_sha256(key, key_length, data, length, mac) == CORE_OK,
			   "HMAC-SHA256 is computed");
		tap_hex(mac, strlen(c->mac) / 2, c->mac, "as RFC 4231 has it");
	}
	memset(key, 0xaa, sizeof(key));
	for (size_t i = 0; i < sizeof(long_key_cases) / sizeof(long_key_cases[0]); i++)
	{
		const HmacCase *c = &long_key_cases[i];

		tap_ok(core_hmac_sha256(key, sizeof(key), c->data, strlen(c->data), mac) == CORE_OK,
			   "HMAC-SHA256 with a long key is computed");
		tap_hex(mac, sizeof(mac), c->mac, "as RFC 4231 has it");
	}
	tap_ok(core_hmac_sha256(key, 0, "", 0, mac) == CORE_OK, "no key and no data will do");
	tap_hex(mac, sizeof(mac), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
			"HMAC-SHA256 of nothing under nothing");
}

/* What HKDF is given. */
typedef struct HkdfCase
{
	const char *ikm;
	const char *salt;
	const char *info;
	const char *okm;
} HkdfCase;

/* RFC 5869 appendix A.1 to A.3. */
static const HkdfCase hkdf_cases[] = {
	{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
	 "f0f1f2f3f4f5f6f7f8f9",
	 "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
	{"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	 "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
	 "404142434445464748494a4b4c4d4e4f",
	 "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
	 "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
	 "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
	 "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecf"
	 "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
	 "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
	 "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
	 "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
	 "cc30c58179ec3e87c14c01d5c1f3434f1d87"},
	{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
	 "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
};

/* HKDF-SHA256 as RFC 5869 section 2 writes it, from HMAC alone. */
static void
reference_hkdf(const HkdfCase *c, const uint8_t *ikm, size_t ikm_length, uint8_t *okm,
			   size_t length)
{
	uint8_t salt[80];
	size_t salt_length = tap_unhex(c->salt, salt);
	uint8_t prk[32];
	uint8_t block[32 + 80 + 1];
	uint8_t mac[32];
	size_t info_length;
	size_t done = 0;
	size_t previous = 0;

	if (core_hmac_sha256(salt, salt_length, ikm, ikm_length, prk) != CORE_OK)
		abort();
	for (uint8_t counter = 1; done < length; counter++)
	{
		size_t part = length - done < 32 ? length - done : 32;

		memcpy(block, mac, previous);
		info_length = tap_unhex(c->info, block + previous);
		block[previous + info_length] = counter;
		if (core_hmac_sha256(prk, 32, block, previous + info_length + 1, mac) != CORE_OK)
			abort();
		memcpy(okm + done, mac, part);
		done += part;
		previous = 32;
	}
}

static void
check_derivation(const char *info, const uint8_t *master, const uint8_t *found)
{
	char hex[128];
	HkdfCase c = {"", "", hex, ""};
	uint8_t expected[32];

	for (size_t i = 0; i < strlen(info); i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char) info[i]);
	reference_hkdf(&c, master, 32, expected, sizeof(expected));
	tap_ok(memcmp(found, expected, sizeof(expected)) == 0, "the key for \"%s\" is HKDF's", info);
}

static void
check_key(void)
{
	uint8_t master[32];
	uint8_t k1[16];
	static const SealKey wiped;
	SealKey key;

	for (size_t i = 0; i < sizeof(master); i++)
		master[i] = (uint8_t) i;
	tap_ok(seal_key_init(&key, 7, master) == CORE_OK, "an image key is derived");
	tap_number(key.id, 7, "it has the id that was asked for");
	check_derivation("biometric_audit 1 body", master, key.body);
	check_derivation("biometric_audit 1 header", master, key.header);
	check_derivation("biometric_audit 1 digest", master, key.digest);
	check_derivation("biometric_audit 1 picture", master, key.picture);
	check_derivation("biometric_audit 1 mark", master, key.mark);
	check_derivation("biometric_audit 1 blind", master, key.blind_mask);
	tap_ok(xaes_subkey(key.body, k1) == CORE_OK && memcmp(k1, key.cmac_k1, 16) == 0,
		   "its K1 is that of the body's key");
	seal_key_wipe(&key);
	tap_ok(memcmp(&key, &wiped, sizeof(key)) == 0, "a wiped key is all zeroes");
}

static void
check_helpers(void)
{
	uint8_t a[32] = {0};
	uint8_t b[32] = {0};

	tap_ok(core_random(a, 32) == CORE_OK && core_random(b, 32) == CORE_OK && !core_equal(a, b, 32),
		   "random bytes are not the same twice");
	tap_ok(core_random(a, 0) == CORE_OK, "no random bytes can be had");
	memcpy(b, a, 32);
	tap_ok(core_equal(a, b, 32), "equal bytes are equal");
	b[31] ^= 1;
	tap_ok(!core_equal(a, b, 32) && core_equal(a, b, 31), "a difference in the last byte is seen");
	core_wipe(a, 16);
	tap_hex(a, 16, "00000000000000000000000000000000", "wiped bytes are zero");
}

int
main(void)
{
	check_hmac();
	for (size_t i = 0; i < sizeof(hkdf_cases) / sizeof(hkdf_cases[0]); i++)
	{
		uint8_t ikm[80];
		uint8_t okm[82];
		size_t ikm_length = tap_unhex(hkdf_cases[i].ikm, ikm);
		size_t length = strlen(hkdf_cases[i].okm) / 2;

		reference_hkdf(&hkdf_cases[i], ikm, ikm_length, okm, length);
		tap_hex(okm, length, hkdf_cases[i].okm, "the reference HKDF does what RFC 5869 has");
	}
	check_key();
	check_helpers();
	return tap_done();
}
