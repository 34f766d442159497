/*
 * seal.c - how bytes become image Datums, and which bytes do not.
 */
#include "base/compat.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "core/seal.h"
#include "image/image.h"
#include "image/picture.h"
#include "image/value.h"
#include "keyring/keyring.h"

#define KILOBYTE 1024

/* A varlena holds 1 GB, and an image's sealed text form is a third longer than the image. */
#define MAX_IMAGE_SIZE_KB (255 * KILOBYTE)
#define DEFAULT_IMAGE_SIZE_KB (64 * KILOBYTE)

static int max_image_size_kb = DEFAULT_IMAGE_SIZE_KB;

void
image_define_settings(void)
{
	DefineCustomIntVariable(
		"biometric_audit.max_image_size", "The longest image that can be sealed.",
		"Sealed values that already exist are not affected.", &max_image_size_kb,
		DEFAULT_IMAGE_SIZE_KB, 1, MAX_IMAGE_SIZE_KB, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	image_picture_define_settings();
}

static void
refuse_bytes(ImageKind kind, CoreStatus status, const ImageInfo *info)
{
	const char *name = image_kind_name(kind);
	const char *format = image_format_name(info->format);

	if (format == NULL)
		format = "image";
	switch (status)
	{
		case CORE_TRUNCATED:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
					 errmsg("%s image is truncated", name),
					 errdetail("The bytes begin as %s but end before its structure does.", format),
					 errhint("Send the whole file or record.")));
			break;
		case CORE_BAD_DIMENSIONS:
			ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
							errmsg("%s image has impossible dimensions", name),
							errdetail("Width and height of a %s image must be from 1 to %d pixels.",
									  format, IMAGE_MAX_SIDE),
							errhint("Check the device or program that wrote the image.")));
			break;
		case CORE_MALFORMED:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
					 errmsg("%s image is malformed", name),
					 errdetail("The bytes begin as %s but contradict its structure.", format),
					 errhint("Check the device or program that wrote the image.")));
			break;
		case CORE_NOT_AN_IMAGE:
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
					 errmsg("bytes are no %s image of a known format", name),
					 errdetail("Known formats are JPEG, PNG, JPEG 2000 (JP2 and codestream), WSQ, "
							   "ISO/IEC 19794-4, -5 and -6 records, and ANSI/NIST-ITL transactions "
							   "with an image."),
					 errhint("Send the bytes of the image file itself, not an encoding of them.")));
	}
}

static void
check_length(ImageKind kind, Size length)
{
	if (length == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s image is empty", image_kind_name(kind)),
						errdetail("An image has at least one byte."),
						errhint("Store NULL where there is no image.")));
	if (length > (Size) max_image_size_kb * KILOBYTE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s image of %zu bytes is too long", image_kind_name(kind), length),
				 errdetail("biometric_audit.max_image_size is %d kB.", max_image_size_kb),
				 errhint("Store a smaller image, or raise biometric_audit.max_image_size.")));
}

static uint64
now_ms(void)
{
	int64 epoch_us = INT64CONST(1000000) * SECS_PER_DAY * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE);

	return (uint64) ((GetCurrentTimestamp() + epoch_us) / 1000);
}

Datum
image_seal(ImageKind kind, const uint8 *bytes, Size length)
{
	SealRequest request = {.kind = kind, .plaintext = bytes, .length = length};
	uint8 hash[PICTURE_HASH_SIZE];
	const SealKey *key;
	CoreStatus status;
	struct varlena *result;

	check_length(kind, length);
	status = image_probe(bytes, length, &request.info);
	if (status != CORE_OK)
		refuse_bytes(kind, status, &request.info);
	request.now_ms = now_ms();

	result = palloc(VARHDRSZ + length + ENVELOPE_OVERHEAD);
	SET_VARSIZE(result, VARHDRSZ + length + ENVELOPE_OVERHEAD);
	key = keyring_active();
	if (image_picture_hash(&request.info, bytes, length, hash))
		request.picture_hash = hash;
	status = seal_image(key, &request, (uint8 *) VARDATA(result));
	core_wipe(hash, sizeof(hash));
	keyring_done();
	CHECK_FOR_INTERRUPTS();
	if (status != CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("could not seal a %s image", image_kind_name(kind)),
						errdetail("Sealing failed: %s.", core_status_text(status)),
						errhint("Check the server's OpenSSL installation, then try again.")));
	return PointerGetDatum(result);
}

static void
refuse_sealed(ImageKind kind, CoreStatus status)
{
	if (status == CORE_CRYPTO_FAILURE)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("could not verify a sealed %s image", image_kind_name(kind)),
						errdetail("Verifying failed: %s.", core_status_text(status)),
						errhint("Check the server's OpenSSL installation, then try again.")));
	ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
					errmsg("sealed %s image is damaged or forged", image_kind_name(kind)),
					errdetail("The envelope was refused: %s.", core_status_text(status)),
					errhint("Take the sealed value again, whole and unchanged, from where it was "
							"exported. If another server sealed it, this one needs the same key "
							"under the same id.")));
}

/*
 * The size setting does not apply: a dump must load although the setting was
 * lowered since. A value without a key here is checked for its structure only,
 * and can be opened only where the key is, which verifies it then.
 */
Datum
image_accept(ImageKind kind, const uint8 *bytes, Size length)
{
	EnvelopeHeader header;
	const SealKey *key;
	CoreStatus status = envelope_parse(bytes, length, length, &header);
	struct varlena *result;
	uint8 *envelope;

	if (status != CORE_OK)
		refuse_sealed(kind, status);
	if (header.plaintext_length > (uint64) MAX_IMAGE_SIZE_KB * KILOBYTE)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("sealed %s image is too long", image_kind_name(kind)),
						errdetail("No image is longer than %d kB.", MAX_IMAGE_SIZE_KB),
						errhint("Take the sealed value again from where it was exported.")));
	if (header.kind != kind)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("sealed image is of kind %s, not %s", image_kind_name(header.kind),
							   image_kind_name(kind)),
						errdetail("The kind is sealed with the image and cannot be changed."),
						errhint("Store it as biometric.%s_image.", image_kind_name(header.kind))));
	key = keyring_find(header.key_id);
	if (key != NULL)
	{
		status = seal_verify(key, bytes, &header);
		keyring_done();
		if (status != CORE_OK)
			refuse_sealed(kind, status);
	}

	result = palloc(VARHDRSZ + length);
	SET_VARSIZE(result, VARHDRSZ + length);
	envelope = (uint8 *) VARDATA(result);
	memcpy(envelope, bytes, length);
	envelope[ENVELOPE_FLAGS_OFFSET] =
		ENVELOPE_FLAG_IMPORTED | (header.flags & ENVELOPE_FLAG_UNCLAIMED);
	memset(envelope + ENVELOPE_STAMP_OFFSET, 0, ENVELOPE_STAMP_SIZE);
	return PointerGetDatum(result);
}

Datum
image_take(ImageKind kind, uint8 *bytes, Size length, bool wipe)
{
	volatile Datum result = (Datum) 0;

	if (envelope_has_magic(bytes, length))
		return image_accept(kind, bytes, length);
	PG_TRY();
	{
		result = image_seal(kind, bytes, length);
	}
	PG_FINALLY();
	{
		if (wipe)
			core_wipe(bytes, length);
	}
	PG_END_TRY();
	return result;
}

void
image_refuse_stored(ImageKind kind, CoreStatus status)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("stored %s image is damaged", image_kind_name(kind)),
			 errdetail("The envelope was refused: %s.", core_status_text(status)),
			 errhint("Restore the row from a backup, and find out what changed it behind the "
					 "extension's back.")));
}

void
image_parse_stored(ImageKind kind, const uint8 *bytes, Size available, Size total,
				   EnvelopeHeader *header)
{
	CoreStatus status = envelope_parse(bytes, available, total, header);

	if (status == CORE_OK && header->kind != kind)
		status = CORE_MALFORMED;
	if (status != CORE_OK)
		image_refuse_stored(kind, status);
}
