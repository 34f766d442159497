/*
 * stamp.c - the transient mark by which the release gate knows a bytea that
 * the running statement made out of an image.
 */
#include "base/compat.h"

#include "access/parallel.h"

#include "core/seal.h"
#include "image/image.h"
#include "image/value.h"

#define STAMP_SECRET_SIZE 32

static uint64 current_statement = 0;

/* The secret counts only in the process that drew it: a fork starts anew. */
static uint8 stamp_secret[STAMP_SECRET_SIZE];
static int stamp_secret_owner = 0;

void
image_statement_set(uint64 number)
{
	current_statement = number;
}

uint64
image_statement_current(void)
{
	return current_statement;
}

static bool
stamp_secret_draw(void)
{
	if (stamp_secret_owner == MyProcPid)
		return true;
	stamp_secret_owner = 0;
	if (core_random(stamp_secret, sizeof(stamp_secret)) != CORE_OK)
		return false;
	stamp_secret_owner = MyProcPid;
	return true;
}

/*
 * The flags are under the stamp though outside the envelope's MACs, so that a
 * stamped value cannot lose its imported mark on the way to the gate.
 */
static bool
stamp_compute(const uint8 *envelope, uint8 stamp[ENVELOPE_STAMP_SIZE])
{
	uint8 message[ENVELOPE_STAMP_OFFSET + sizeof(uint64)];
	uint8 mac[32];
	uint64 number = current_statement;

	memcpy(message, envelope, ENVELOPE_STAMP_OFFSET);
	memcpy(message + ENVELOPE_STAMP_OFFSET, &number, sizeof(number));
	if (core_hmac_sha256(stamp_secret, sizeof(stamp_secret), message, sizeof(message), mac) !=
		CORE_OK)
		return false;
	memcpy(stamp, mac, ENVELOPE_STAMP_SIZE);
	return true;
}

void
image_stamp(uint8 *envelope)
{
	uint8 *stamp = envelope + ENVELOPE_STAMP_OFFSET;

	memset(stamp, 0, ENVELOPE_STAMP_SIZE);
	if (current_statement == 0 || IsParallelWorker())
		return;
	if (!stamp_secret_draw() || !stamp_compute(envelope, stamp))
	{
		memset(stamp, 0, ENVELOPE_STAMP_SIZE);
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("could not stamp an image that is cast to bytea"),
						errdetail("OpenSSL's random generator or HMAC-SHA256 failed."),
						errhint("Check the server's OpenSSL installation, then try again.")));
	}
}

bool
image_stamp_matches(const uint8 *envelope)
{
	uint8 expected[ENVELOPE_STAMP_SIZE];

	if (current_statement == 0 || stamp_secret_owner != MyProcPid || IsParallelWorker())
		return false;
	if (!stamp_compute(envelope, expected))
		return false;
	return core_equal(expected, envelope + ENVELOPE_STAMP_OFFSET, ENVELOPE_STAMP_SIZE);
}
