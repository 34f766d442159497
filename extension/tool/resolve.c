/*
 * resolve.c - what entries refer to.
 */
#include "tool/resolve.h"

#include <stdlib.h>
#include <string.h>

/* Reads the bundle that an entry is in, unless it was the last one. */
static void
load_bundle(Resolver *resolver, uint64_t index)
{
	int width = archive_width(resolver->size, 0, index);
	int found;

	if (resolver->bundle_number == index + 1)
		return;
	resolver->bundle_number = index + 1;
	resolver->bundle_width = 0;
	if (width > 0 &&
		archive_read_bundle(resolver->archive, index, width, &resolver->bundle, &found) == FILE_OK)
		resolver->bundle_width = width;
}

/* Finds an entry's bytes; NULL: the archive does not have them. */
static const uint8_t *
find_bytes(Resolver *resolver, uint64_t sequence, size_t *length)
{
	const uint8_t *entry = NULL;
	size_t at = 0;

	load_bundle(resolver, sequence / TLOG_TILE_WIDTH);
	if (sequence % TLOG_TILE_WIDTH >= (uint64_t) resolver->bundle_width)
		return NULL;
	for (uint64_t i = 0; i <= sequence % TLOG_TILE_WIDTH; i++)
	{
		if (tlog_bundle_next(resolver->bundle.bytes, resolver->bundle.length, &at, &entry,
							 length) != CORE_OK ||
			entry == NULL)
			return NULL;
	}
	return entry;
}

/* Copies an entry into a slot; false when it is none. */
static bool
fill_slot(ResolvedEntry *slot, uint64_t sequence, const uint8_t *entry, size_t length)
{
	slot->known = true;
	slot->sequence = sequence;
	buffer_reserve(&slot->bytes, length + 1);
	memcpy(slot->bytes.bytes, entry, length);
	slot->found = entry_decode(slot->bytes.bytes, length, &slot->fields) == CORE_OK;
	return slot->found;
}

void
resolve_learn(Resolver *resolver, uint64_t sequence, const EntryFields *fields,
			  const uint8_t *entry, size_t length)
{
	/* changes of the policy refer to a session as if to a statement: see resolve_entry */
	if (fields->event == ENTRY_STATEMENT || fields->event == ENTRY_SESSION)
		(void) fill_slot(&resolver->statements[sequence % RESOLVE_SLOTS], sequence, entry, length);
	if (fields->event == ENTRY_SESSION)
		(void) fill_slot(&resolver->sessions[sequence % RESOLVE_SLOTS], sequence, entry, length);
}

/* The entry of a number, from the slots or the archive; NULL: it is not there. */
static const ResolvedEntry *
look_up(Resolver *resolver, ResolvedEntry *slots, int64_t reference)
{
	uint64_t sequence = (uint64_t) reference;
	ResolvedEntry *slot = &slots[sequence % RESOLVE_SLOTS];
	const uint8_t *entry;
	size_t length = 0;

	if (reference < 0)
		return NULL;
	if (slot->known && slot->sequence == sequence)
		return slot->found ? slot : NULL;
	slot->known = true;
	slot->found = false;
	slot->sequence = sequence;
	entry = find_bytes(resolver, sequence, &length);
	if (entry == NULL)
		return NULL;
	return fill_slot(slot, sequence, entry, length) ? slot : NULL;
}

static void
set_session(PrintOrigin *origin, const ResolvedEntry *entry)
{
	if (entry == NULL || entry->fields.event != ENTRY_SESSION)
		return;
	origin->session = &entry->fields;
	origin->session_sequence = entry->sequence;
}

void
resolve_entry(Resolver *resolver, const EntryFields *fields, PrintOrigin *origin)
{
	const ResolvedEntry *entry;

	memset(origin, 0, sizeof(*origin));
	if (fields->event == ENTRY_SESSION)
		return;
	/* only an entry of an image refers to a statement, others to their session */
	if (fields->event == ENTRY_STATEMENT)
	{
		set_session(origin, look_up(resolver, resolver->sessions, fields->reference));
		return;
	}
	entry = look_up(resolver, resolver->statements, fields->reference);
	if (entry == NULL || entry->fields.event != ENTRY_STATEMENT)
	{
		set_session(origin, entry);
		return;
	}
	origin->statement = &entry->fields;
	origin->statement_sequence = entry->sequence;
	set_session(origin, look_up(resolver, resolver->sessions, entry->fields.reference));
}

void
resolve_free(Resolver *resolver)
{
	for (int i = 0; i < RESOLVE_SLOTS; i++)
	{
		free(resolver->statements[i].bytes.bytes);
		free(resolver->sessions[i].bytes.bytes);
	}
	free(resolver->bundle.bytes);
}
