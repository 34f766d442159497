/*
 * facts.c - reads what is put on record of an image out of its header.
 */
#include "base/compat.h"

#include "access/detoast.h"

#include "core/seal.h"
#include "image/facts.h"
#include "image/value.h"
#include "keyring/keyring.h"

void
image_read_facts(ImageKind kind, Datum value, ImageFacts *facts)
{
	struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, 0, ENVELOPE_HEADER_SIZE);
	const uint8 *bytes = (uint8 *) VARDATA_ANY(slice);
	const SealKey *key;

	memset(facts, 0, sizeof(*facts));
	image_parse_stored(kind, bytes, VARSIZE_ANY_EXHDR(slice),
					   toast_raw_datum_size(value) - VARHDRSZ, &facts->header);
	key = keyring_find(facts->header.key_id);
	facts->authentic = key != NULL && seal_check_header(key, bytes, &facts->header) == CORE_OK;
	facts->has_picture = facts->authentic && seal_picture_hash(key, &facts->header, facts->picture);
	keyring_done();
	if ((Pointer) slice != DatumGetPointer(value))
		pfree(slice);
}
