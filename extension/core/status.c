/*
 * status.c - the words for a CoreStatus.
 */
#include "core/status.h"

const char *
core_status_text(CoreStatus status)
{
	switch (status)
	{
		case CORE_OK:
			return "no error";
		case CORE_NOT_AN_IMAGE:
			return "the bytes are in none of the known image formats";
		case CORE_TRUNCATED:
			return "the bytes end before the structure they begin does";
		case CORE_BAD_DIMENSIONS:
			return "the width or height is zero or too large";
		case CORE_MALFORMED:
			return "the structure contradicts itself";
		case CORE_BAD_VERSION:
			return "the version is not one that this release knows";
		case CORE_WRONG_KEY:
			return "the key is not the one that sealed or signed this";
		case CORE_NOT_AUTHENTIC:
			return "the bytes are not what was sealed or signed under this key";
		case CORE_TOO_SMALL:
			return "the result does not fit";
		case CORE_CRYPTO_FAILURE:
			return "the cryptographic library failed";
		default:
			return "unknown status";
	}
}
