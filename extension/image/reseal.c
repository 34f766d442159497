/*
 * reseal.c - seals an image again under another key.
 */
#include "base/compat.h"

#include "core/seal.h"
#include "image/reseal.h"
#include "image/value.h"
#include "keyring/keyring.h"
#include "keyring/source.h"

/* The plaintext goes through this, a piece at a time. */
#define PIECE_SIZE (32 * 1024)

/* What must not be swapped out, dumped or inherited; wiped whenever it is not in use. */
typedef struct ResealSecrets
{
	SealKey from; /* a copy: looking for the other key may have the keyring read anew */
	uint8 piece[PIECE_SIZE];
} ResealSecrets;

/* Of this process; a child that has inherited the pointer has not inherited the memory. */
static SecretMemory memory;
static int memory_of = 0;

static ResealSecrets *
reseal_secrets(void)
{
	if (memory.memory != NULL && memory_of == MyProcPid)
		return memory.memory;
	if (!secret_allocate(&memory, sizeof(ResealSecrets)))
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("There is none that can be kept to this process.")));
	memory_of = MyProcPid;
	return memory.memory;
}

static void
refuse_key(ImageKind kind, uint32 key_id, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a %s image cannot be sealed again", image_kind_name(kind)),
			 errdetail("The keyring does not have the key that it %s, %u.", what, key_id),
			 errhint("Put the key back into the keyring, or see in biometric.key whether it was "
					 "shredded.")));
}

static void
refuse_status(ImageKind kind, CoreStatus status)
{
	if (status != CORE_CRYPTO_FAILURE)
		image_refuse_stored(kind, status);
	ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
					errmsg("could not seal a %s image again", image_kind_name(kind)),
					errdetail("Sealing failed: %s.", core_status_text(status)),
					errhint("Check the server's OpenSSL installation, then try again.")));
}

/*
 * Finds both keys. Looking for one may have the keyring read anew, or be cancelled: then nothing of
 * the other stays behind.
 */
static const SealKey *
reseal_keys(ResealSecrets *secrets, ImageKind kind, uint32 from_id, uint32 to_id)
{
	const SealKey *key;

	if (keyring_find(to_id) == NULL)
		refuse_key(kind, to_id, "is to have");
	key = keyring_find(from_id);
	if (key == NULL)
		refuse_key(kind, from_id, "has");
	secrets->from = *key;
	PG_TRY();
	{
		key = keyring_find(to_id);
		if (key == NULL)
			refuse_key(kind, to_id, "is to have");
	}
	PG_CATCH();
	{
		seal_key_wipe(&secrets->from);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return key;
}

/* Nothing raises here; and nothing is left in the memory. */
static CoreStatus
reseal_bytes(ResealSecrets *secrets, const SealKey *to, const uint8 *envelope,
			 const EnvelopeHeader *header, uint8 *out)
{
	SealScratch scratch = {secrets->piece, sizeof(secrets->piece)};
	CoreStatus status = seal_again(&secrets->from, to, envelope, header, &scratch, out);

	seal_key_wipe(&secrets->from);
	return status;
}

Datum
image_reseal(ImageKind kind, Datum value, uint32 key_id)
{
	ResealSecrets *secrets = reseal_secrets();
	struct varlena *sealed = PG_DETOAST_DATUM_PACKED(value);
	const uint8 *envelope = (uint8 *) VARDATA_ANY(sealed);
	Size length = VARSIZE_ANY_EXHDR(sealed);
	struct varlena *result;
	EnvelopeHeader header;
	const SealKey *to;
	CoreStatus status;

	image_parse_stored(kind, envelope, length, length, &header);
	if (header.key_id == key_id)
	{
		if ((Pointer) sealed != DatumGetPointer(value))
			pfree(sealed);
		return value;
	}
	result = palloc(VARHDRSZ + length);
	SET_VARSIZE(result, VARHDRSZ + length);
	to = reseal_keys(secrets, kind, header.key_id, key_id);
	status = reseal_bytes(secrets, to, envelope, &header, (uint8 *) VARDATA(result));
	if (status != CORE_OK)
		refuse_status(kind, status);
	if ((Pointer) sealed != DatumGetPointer(value))
		pfree(sealed);
	return PointerGetDatum(result);
}
