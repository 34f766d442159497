/*
 * traced.c - images that were stored, and disclosures of images.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "ledger/derived.h"
#include "ledger/traced.h"

#define SUFFIX_SIZE 4

/* A bit for each beginning of a suffix: nearly all images are told to be others by it. */
#define FILTER_BITS 20

/* The entries behind the last full block. */
typedef struct Tail
{
	int64 first;
	int count;
	bytea *entries[ACTIVITY_BLOCK];
} Tail;

static void
open_reader(LedgerReader *reader, const LedgerLog *log, Snapshot snapshot)
{
	if (!store_reader_open(reader, log->log_id, snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing"),
						errhint("Create the extension again, and restore a dump.")));
}

static void
require_entry(bool found, int64 sequence)
{
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("entry " INT64_FORMAT " of the ledger is missing", sequence),
						errhint("biometric.verify_ledger() says what else has changed.")));
}

static void
read_tail(LedgerReader *reader, Tail *tail)
{
	int64 size = store_size(reader);
	int count = (int) (size % ACTIVITY_BLOCK);

	tail->first = size - count;
	tail->count = count == 0 ? 0 : store_entries(reader, tail->first, count, tail->entries);
	require_entry(tail->count == count, tail->first + tail->count);
}

static bool
decode(const bytea *bytes, EntryFields *fields)
{
	return entry_decode((const uint8_t *) VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ, fields) ==
		   CORE_OK;
}

/* ---- Images */

typedef struct ImageLook
{
	TracedImageLook look;
	void *context;
	MemoryContext caller; /* in which the look runs */
} ImageLook;

static void
look_at_stored(int64 block, const uint8 *stored, Size size, const uint8 *disclosed,
			   Size disclosed_size, void *context)
{
	ImageLook *to = context;
	MemoryContext old = MemoryContextSwitchTo(to->caller);

	for (const uint8 *at = stored; at + TRACED_STORED_SIZE <= stored + size;
		 at += TRACED_STORED_SIZE)
	{
		TracedImage image;
		uint32 key_id;

		memcpy(&key_id, at + 2, sizeof(key_id));
		image.sequence = block * ACTIVITY_BLOCK + at[0];
		image.key_id = pg_ntoh32(key_id);
		image.image_id = at + 6;
		image.digest = at + 22;
		image.picture_hash = at[1] == 1 ? at + 38 : NULL;
		to->look(&image, to->context);
	}
	MemoryContextSwitchTo(old);
}

static void
look_at_stored_entry(int64 sequence, const EntryFields *fields, ImageLook *to)
{
	TracedImage image = {.sequence = sequence};

	if ((fields->event != ENTRY_STORED && fields->event != ENTRY_REPLACED) ||
		fields->image_id == NULL || fields->digest == NULL)
		return;
	image.key_id = (uint32) fields->key;
	image.image_id = fields->image_id;
	image.digest = fields->digest;
	image.picture_hash = fields->picture_hash;
	to->look(&image, to->context);
}

void
traced_images(const LedgerLog *log, Snapshot snapshot, TracedImageLook look, void *context)
{
	ImageLook to = {look, context, CurrentMemoryContext};
	LedgerReader reader;
	EntryFields fields;
	Tail *tail = palloc(sizeof(Tail));

	open_reader(&reader, log, snapshot);
	derived_traced(&reader, true, false, look_at_stored, &to);
	read_tail(&reader, tail);
	for (int i = 0; i < tail->count; i++)
		if (decode(tail->entries[i], &fields))
			look_at_stored_entry(tail->first + i, &fields, &to);
	store_reader_close(&reader);
	pfree(tail);
}

/* ---- Disclosures */

/* An image that is asked for, by what the table has of its id first. */
typedef struct Wanted
{
	uint32 suffix;
	uint8 image_id[ENTRY_IMAGE_ID_SIZE];
} Wanted;

typedef struct DisclosureScan
{
	LedgerReader reader;
	Resolver *resolver;
	int64 first; /* entries before it were detached */
	int64 detached;
	int count;
	Wanted *wanted; /* ascending */
	uint8 *filter;
	MemoryContext chunk;
	MemoryContext caller; /* in which the look runs */
	TracedDisclosureLook look;
	void *context;
} DisclosureScan;

static uint32
suffix_at(const uint8 *bytes)
{
	uint32 suffix;

	memcpy(&suffix, bytes, sizeof(suffix));
	return pg_ntoh32(suffix);
}

static uint32
suffix_of(const uint8 *image_id)
{
	return suffix_at(image_id + ENTRY_IMAGE_ID_SIZE - SUFFIX_SIZE);
}

static int
compare_suffixes(const void *a, const void *b)
{
	const Wanted *left = a;
	const Wanted *right = b;

	return (left->suffix > right->suffix) - (left->suffix < right->suffix);
}

static int
compare_wanted(const void *a, const void *b)
{
	const Wanted *left = a;
	const Wanted *right = b;
	int order = compare_suffixes(a, b);

	return order != 0 ? order : memcmp(left->image_id, right->image_id, ENTRY_IMAGE_ID_SIZE);
}

static void
prepare_filter(DisclosureScan *scan, const uint8 *image_ids)
{
	scan->wanted = palloc_extended((Size) Max(scan->count, 1) * sizeof(Wanted), MCXT_ALLOC_HUGE);
	scan->filter = palloc0(((Size) 1 << FILTER_BITS) / 8);
	for (int i = 0; i < scan->count; i++)
	{
		Wanted *wanted = &scan->wanted[i];
		uint32 bit;

		memcpy(wanted->image_id, image_ids + (Size) i * ENTRY_IMAGE_ID_SIZE, ENTRY_IMAGE_ID_SIZE);
		wanted->suffix = suffix_of(wanted->image_id);
		bit = wanted->suffix >> (32 - FILTER_BITS);
		scan->filter[bit / 8] |= (uint8) (1 << bit % 8);
	}
	qsort(scan->wanted, scan->count, sizeof(Wanted), compare_wanted);
}

static bool
may_be_asked_for(const DisclosureScan *scan, uint32 suffix)
{
	uint32 bit = suffix >> (32 - FILTER_BITS);
	Wanted wanted = {.suffix = suffix};

	return (scan->filter[bit / 8] >> bit % 8 & 1) != 0 &&
		   bsearch(&wanted, scan->wanted, scan->count, sizeof(Wanted), compare_suffixes) != NULL;
}

static bool
is_asked_for(const DisclosureScan *scan, const uint8 *image_id)
{
	Wanted wanted;

	if (image_id == NULL)
		return false;
	wanted.suffix = suffix_of(image_id);
	memcpy(wanted.image_id, image_id, ENTRY_IMAGE_ID_SIZE);
	return bsearch(&wanted, scan->wanted, scan->count, sizeof(Wanted), compare_wanted) != NULL;
}

/* Shows an entry, if it is a disclosure of one of the images. */
static void
look_at_entry(DisclosureScan *scan, int64 sequence, const bytea *bytes)
{
	ActivityEntry entry = {.sequence = sequence};
	MemoryContext old;
	Resolved resolved;

	if (!decode(bytes, &entry.fields))
		return;
	resolver_note(scan->resolver, sequence, &entry.fields, (const uint8 *) VARDATA(bytes),
				  VARSIZE(bytes) - VARHDRSZ);
	if ((entry.fields.event != ENTRY_DISCLOSED && entry.fields.event != ENTRY_OBSERVED) ||
		!is_asked_for(scan, entry.fields.image_id))
		return;
	resolver_find(scan->resolver, sequence, &entry.fields, &resolved);
	entry.at = derive_at(&entry.fields);
	entry.statement = resolved.statement;
	entry.session = resolved.session;
	old = MemoryContextSwitchTo(scan->caller);
	scan->look(&entry, scan->context);
	MemoryContextSwitchTo(old);
}

static void
look_at_number(DisclosureScan *scan, int64 sequence)
{
	MemoryContext old;
	bytea *bytes;

	if (sequence < scan->first)
	{
		scan->detached++;
		return;
	}
	old = MemoryContextSwitchTo(scan->chunk);
	bytes = store_entry(&scan->reader, sequence);
	require_entry(bytes != NULL, sequence);
	look_at_entry(scan, sequence, bytes);
	MemoryContextSwitchTo(old);
	MemoryContextReset(scan->chunk);
}

static void
look_at_disclosed(int64 block, const uint8 *stored, Size stored_size, const uint8 *disclosed,
				  Size size, void *context)
{
	DisclosureScan *scan = context;

	for (const uint8 *at = disclosed; at + TRACED_DISCLOSED_SIZE <= disclosed + size;
		 at += TRACED_DISCLOSED_SIZE)
		if (may_be_asked_for(scan, suffix_at(at + 1)))
			look_at_number(scan, block * ACTIVITY_BLOCK + at[0]);
}

int64
traced_disclosures(const LedgerLog *log, Snapshot snapshot, const uint8 *image_ids, int count,
				   TracedDisclosureLook look, void *context)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "biometric traced disclosures",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	DisclosureScan *scan = palloc0(sizeof(DisclosureScan));
	Tail *tail = palloc(sizeof(Tail));
	int64 detached;

	open_reader(&scan->reader, log, snapshot);
	scan->resolver = resolver_make(scan->reader.segment_size, resolver_read, &scan->reader);
	scan->first = store_first(&scan->reader);
	scan->count = count;
	scan->look = look;
	scan->context = context;
	scan->caller = old;
	scan->chunk = AllocSetContextCreate(own, "biometric traced entry", ALLOCSET_DEFAULT_SIZES);
	prepare_filter(scan, image_ids);
	derived_traced(&scan->reader, false, true, look_at_disclosed, scan);
	read_tail(&scan->reader, tail);
	for (int i = 0; i < tail->count; i++)
		look_at_entry(scan, tail->first + i, tail->entries[i]);
	detached = scan->detached;
	store_reader_close(&scan->reader);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
	return detached;
}
