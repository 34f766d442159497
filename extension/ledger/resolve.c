/*
 * resolve.c - statements and sessions, kept while entries refer to them.
 *
 * Two generations: when the younger one is full it becomes the older one, and
 * what was in that is forgotten; what is found in the older one is copied into
 * the younger. So memory is bounded, and what is in use stays. One look-up of
 * a statement and of its session never forgets more than one generation: the
 * statement stays valid.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "ledger/resolve.h"

/* Of one generation. Far more than the two entries that one look-up may add. */
#define KEPT_ENTRIES 1024
#define KEPT_BYTES (1024 * 1024)

typedef struct Kept
{
	int64 sequence; /* the key */
	Size length;
	const uint8 *bytes;
	EntryFields fields; /* points into bytes */
} Kept;

typedef struct Generation
{
	MemoryContext context;
	HTAB *kept;
	Size bytes;
} Generation;

struct Resolver
{
	MemoryContext context;
	int64 segment_size;
	ResolveRead read;
	void *read_context;
	Generation young;
	Generation old;

	/* The last answer: entries of one statement follow one another. */
	int64 last_reference; /* -1: none */
	Resolved last;
};

static void
generation_begin(Resolver *resolver, Generation *generation)
{
	HASHCTL control = {.keysize = sizeof(int64), .entrysize = sizeof(Kept)};

	generation->context =
		AllocSetContextCreate(resolver->context, "biometric kept entries", ALLOCSET_DEFAULT_SIZES);
	control.hcxt = generation->context;
	generation->kept = hash_create("biometric kept entries", KEPT_ENTRIES, &control,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	generation->bytes = 0;
}

Resolver *
resolver_make(int64 segment_size, ResolveRead read, void *context)
{
	MemoryContext own =
		AllocSetContextCreate(CurrentMemoryContext, "biometric resolver", ALLOCSET_SMALL_SIZES);
	Resolver *resolver = MemoryContextAllocZero(own, sizeof(Resolver));

	resolver->context = own;
	resolver->segment_size = segment_size;
	resolver->read = read;
	resolver->read_context = context;
	resolver->last_reference = -1;
	generation_begin(resolver, &resolver->young);
	generation_begin(resolver, &resolver->old);
	return resolver;
}

void
resolver_free(Resolver *resolver)
{
	MemoryContextDelete(resolver->context);
}

/* Forgets the older generation, and begins a new one. */
static void
turn_generations(Resolver *resolver)
{
	MemoryContextDelete(resolver->old.context);
	resolver->old = resolver->young;
	generation_begin(resolver, &resolver->young);
	resolver->last_reference = -1;
}

/* Copies an entry into the younger generation; NULL when its bytes are no entry. */
static const EntryFields *
keep(Resolver *resolver, int64 sequence, const uint8 *bytes, Size length)
{
	Generation *young;
	uint8 *copy;
	Kept *kept;
	bool found;

	if (hash_get_num_entries(resolver->young.kept) >= KEPT_ENTRIES ||
		resolver->young.bytes > KEPT_BYTES)
		turn_generations(resolver);
	young = &resolver->young;
	kept = hash_search(young->kept, &sequence, HASH_ENTER, &found);
	if (found)
		return &kept->fields;
	copy = MemoryContextAlloc(young->context, Max(length, 1));
	memcpy(copy, bytes, length);
	if (entry_decode(copy, length, &kept->fields) != CORE_OK)
	{
		hash_search(young->kept, &sequence, HASH_REMOVE, NULL);
		pfree(copy);
		return NULL;
	}
	kept->bytes = copy;
	kept->length = length;
	young->bytes += length;
	return &kept->fields;
}

void
resolver_note(Resolver *resolver, int64 sequence, const EntryFields *fields, const uint8 *bytes,
			  Size length)
{
	if (fields->event == ENTRY_SESSION || fields->event == ENTRY_STATEMENT)
		(void) keep(resolver, sequence, bytes, length);
}

/* An entry that is kept, or else is read; NULL when there is none. */
static const EntryFields *
find_kept(Resolver *resolver, int64 sequence)
{
	Kept *kept = hash_search(resolver->young.kept, &sequence, HASH_FIND, NULL);
	const EntryFields *fields;
	bytea *bytes;

	if (kept != NULL)
		return &kept->fields;
	kept = hash_search(resolver->old.kept, &sequence, HASH_FIND, NULL);
	if (kept != NULL)
	{
		/* what is about to be forgotten is still what was asked for */
		uint8 *copy = palloc(Max(kept->length, 1));
		Size length = kept->length;

		memcpy(copy, kept->bytes, length);
		fields = keep(resolver, sequence, copy, length);
		pfree(copy);
		return fields;
	}
	bytes = resolver->read(sequence, resolver->read_context);
	if (bytes == NULL)
		return NULL;
	fields = keep(resolver, sequence, (const uint8 *) VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
	pfree(bytes);
	return fields;
}

/* What a reference leads to, if it may lead there. */
static const EntryFields *
follow(Resolver *resolver, int64 sequence, int64 reference)
{
	if (reference < 0 || reference >= sequence ||
		reference / resolver->segment_size != sequence / resolver->segment_size)
		return NULL;
	return find_kept(resolver, reference);
}

void
resolver_find(Resolver *resolver, int64 sequence, const EntryFields *fields, Resolved *resolved)
{
	int64 reference = fields->reference;
	int64 statement_sequence = -1;
	const EntryFields *found;

	if (reference >= 0 && reference == resolver->last_reference && reference < sequence &&
		reference / resolver->segment_size == sequence / resolver->segment_size)
	{
		*resolved = resolver->last;
		return;
	}
	memset(resolved, 0, sizeof(*resolved));
	resolved->session_sequence = -1;
	if (fields->event == ENTRY_SESSION)
		return;
	found = follow(resolver, sequence, reference);
	if (found != NULL && found->event == ENTRY_STATEMENT && fields->event != ENTRY_STATEMENT)
	{
		resolved->statement = found;
		statement_sequence = reference;
		reference = found->reference;
		found = follow(resolver, statement_sequence, reference);
	}
	if (found != NULL && found->event == ENTRY_SESSION)
	{
		resolved->session = found;
		resolved->session_sequence = reference;
	}
	/* what was not found this time may be found the next time */
	if (fields->event == ENTRY_STATEMENT || resolved->session == NULL)
		return;
	resolver->last_reference = fields->reference;
	resolver->last = *resolved;
}

bytea *
resolver_read(int64 sequence, void *reader)
{
	return store_entry(reader, sequence);
}
