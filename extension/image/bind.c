/*
 * bind.c - reads headers of stored images and puts homes into them.
 */
#include "base/compat.h"

#include "access/detoast.h"

#include "core/seal.h"
#include "image/bind.h"
#include "image/image.h"
#include "image/value.h"
#include "keyring/keyring.h"

/* Whether a value's bytes stand in memory, neither compressed nor elsewhere. */
static bool
is_plain(const struct varlena *value)
{
	return !VARATT_IS_EXTERNAL(value) && !VARATT_IS_COMPRESSED(value);
}

void
image_read_header(ImageKind kind, Datum value, EnvelopeHeader *header)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	struct varlena *slice;

	if (is_plain(stored))
	{
		Size length = VARSIZE_ANY_EXHDR(stored);

		image_parse_stored(kind, (uint8 *) VARDATA_ANY(stored), length, length, header);
		return;
	}
	slice = PG_DETOAST_DATUM_SLICE(value, 0, ENVELOPE_HEADER_SIZE);
	image_parse_stored(kind, (uint8 *) VARDATA_ANY(slice), VARSIZE_ANY_EXHDR(slice),
					   toast_raw_datum_size(value) - VARHDRSZ, header);
	pfree(slice);
}

/* Whether a header has nothing that binding would change. */
static bool
is_bound(const EnvelopeHeader *header, const ImageBinding *binding)
{
	static const uint8 none[ENVELOPE_HOME_SIZE];

	if ((header->flags & ENVELOPE_FLAG_IMPORTED) != 0 ||
		memcmp(header->home, binding->home, ENVELOPE_HOME_SIZE) != 0)
		return false;
	if (binding->stamp && header->counts_from_ms != binding->counts_from_ms)
		return false;
	if (binding->renew_origin)
		return memcmp(header->origin, binding->home, ENVELOPE_HOME_SIZE) == 0;
	if (binding->origin != NULL)
		return memcmp(header->origin, binding->origin, ENVELOPE_HOME_SIZE) == 0;
	return memcmp(header->origin, none, ENVELOPE_HOME_SIZE) != 0;
}

/* Writes a binding into the bytes of an envelope whose header was parsed. */
static void
bind_bytes(const SealKey *key, uint8 *bytes, const EnvelopeHeader *header,
		   const ImageBinding *binding)
{
	static const uint8 none[ENVELOPE_HOME_SIZE];
	const uint8 *origin = binding->origin != NULL ? binding->origin : header->origin;
	SealPlace place = {.home = binding->home, .counts_from_ms = header->counts_from_ms};
	CoreStatus status = seal_check_header(key, bytes, header);

	if (status != CORE_OK)
		image_refuse_stored(header->kind, status);
	if (binding->stamp)
		place.counts_from_ms = binding->counts_from_ms;
	if (binding->renew_origin || memcmp(origin, none, ENVELOPE_HOME_SIZE) == 0)
		origin = binding->home;
	place.origin = origin;
	status = seal_rehome(key, bytes, &place);
	if (status != CORE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not bind a %s image", image_kind_name(header->kind)),
				 errdetail("Authenticating its header failed: %s.", core_status_text(status)),
				 errhint("Check the server's OpenSSL installation, then try again.")));
	/* outside the MAC: neither imported, nor stamped by a cast */
	memset(bytes + ENVELOPE_FLAGS_OFFSET, 0, ENVELOPE_HEADER_SIZE - ENVELOPE_FLAGS_OFFSET);
}

/* A value that claims to be bound already must be so by its MAC, if its key is here to tell. */
static void
check_bound(const SealKey *key, Datum value, const EnvelopeHeader *header)
{
	struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, 0, ENVELOPE_HEADER_SIZE);
	CoreStatus status = CORE_OK;

	if (key != NULL)
		status = seal_check_header(key, (uint8 *) VARDATA_ANY(slice), header);
	if (status != CORE_OK)
		image_refuse_stored(header->kind, status);
	if ((Pointer) slice != DatumGetPointer(value))
		pfree(slice);
}

Datum
image_bind(ImageKind kind, Datum value, const ImageBinding *binding)
{
	EnvelopeHeader header;
	const SealKey *key;
	struct varlena *copy;

	image_read_header(kind, value, &header);
	if ((header.flags & ENVELOPE_FLAG_IMPORTED) != 0 && !binding->clear_imported)
		return value;
	key = keyring_find(header.key_id);
	if (is_bound(&header, binding))
	{
		check_bound(key, value, &header);
		return value;
	}
	if (key == NULL)
		return value;
	copy = PG_DETOAST_DATUM_COPY(value);
	bind_bytes(key, (uint8 *) VARDATA(copy), &header, binding);
	return PointerGetDatum(copy);
}

Datum
image_mark_unclaimed(Datum value)
{
	struct varlena *copy = PG_DETOAST_DATUM_COPY(value);

	((uint8 *) VARDATA(copy))[ENVELOPE_FLAGS_OFFSET] |= ENVELOPE_FLAG_UNCLAIMED;
	return PointerGetDatum(copy);
}
