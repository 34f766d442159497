/*
 * search.c - goes through the ledger's images once.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "trace/search.h"

FoundImage *
search_find(const Search *search, const uint8 *image_id)
{
	for (int i = 0; i < search->count; i++)
		if (memcmp(search->images[i].id, image_id, ENTRY_IMAGE_ID_SIZE) == 0)
			return &search->images[i];
	return NULL;
}

static FoundImage *
add_image(Search *search)
{
	if (search->count == search->space)
	{
		search->space = Max(16, search->space * 2);
		search->images = search->images == NULL
							 ? palloc_array(FoundImage, search->space)
							 : repalloc(search->images, sizeof(FoundImage) * search->space);
	}
	return &search->images[search->count++];
}

static void
begin_image(FoundImage *image, const uint8 *image_id, TraceMatch match, int distance)
{
	memset(image, 0, sizeof(*image));
	memcpy(image->id, image_id, ENTRY_IMAGE_ID_SIZE);
	image->match = match;
	image->distance = distance;
}

void
search_want_image(Search *search, const uint8 *image_id, ImageKind kind)
{
	FoundImage *image = search_find(search, image_id);

	if (image != NULL)
		return;
	image = add_image(search);
	begin_image(image, image_id, TRACE_MARK, -1);
	image->kind = kind;
	search->wanted = search->count;
}

static void
add_stored(FoundImage *image, TraceMatch match, int log, int64 sequence)
{
	FoundStored *stored;

	if (image->stored_count == image->stored_space)
	{
		Size size;

		image->stored_space = Max(4, image->stored_space * 2);
		size = sizeof(FoundStored) * image->stored_space;
		image->stored = image->stored == NULL ? palloc(size) : repalloc_huge(image->stored, size);
	}
	stored = &image->stored[image->stored_count++];
	memset(stored, 0, sizeof(*stored));
	stored->log = log;
	stored->sequence = sequence;
	stored->match = match;
}

/* The similar image that is the farthest; NULL when there is room for one more. */
static FoundImage *
farthest(Search *search, int *count)
{
	FoundImage *found = NULL;

	*count = 0;
	for (int i = 0; i < search->count; i++)
	{
		FoundImage *image = &search->images[i];

		if (image->match != TRACE_SIMILAR)
			continue;
		(*count)++;
		if (i >= search->wanted && (found == NULL || image->distance > found->distance))
			found = image;
	}
	return found;
}

static int
count_exact(const Search *search)
{
	int count = 0;

	for (int i = 0; i < search->count; i++)
		count += search->images[i].match == TRACE_EXACT;
	return count;
}

/* The place for a new image of this match; NULL: there are nearer ones enough. */
static FoundImage *
place_for(Search *search, TraceMatch match, int distance)
{
	FoundImage *worst;
	int count;

	if (match == TRACE_EXACT)
	{
		if (count_exact(search) < search->limit)
			return add_image(search);
		search->more++;
		return NULL;
	}
	worst = farthest(search, &count);
	if (count < search->limit)
		return add_image(search);
	search->more++;
	if (worst == NULL || worst->distance <= distance)
		return NULL;
	if (worst->stored != NULL)
		pfree(worst->stored);
	return worst;
}

static void
take_image(Search *search, const TracedImage *traced, TraceMatch match, int distance)
{
	FoundImage *image = search_find(search, traced->image_id);

	if (image == NULL)
	{
		image = place_for(search, match, distance);
		if (image == NULL)
			return;
		begin_image(image, traced->image_id, match, distance);
	}
	if (match == TRACE_EXACT || image->match == TRACE_MARK)
		image->match = match;
	if (image->distance < 0 || (distance >= 0 && distance < image->distance))
		image->distance = distance;
	add_stored(image, match, search->log, traced->sequence);
}

/* Images that marks name, whatever they look like. True if this is one of them. */
static bool
take_wanted(Search *search, const TracedImage *traced, const EvidenceKey *key)
{
	for (int i = 0; i < search->wanted; i++)
	{
		FoundImage *image = &search->images[i];
		int distance;

		if (memcmp(image->id, traced->image_id, ENTRY_IMAGE_ID_SIZE) != 0)
			continue;
		distance =
			key == NULL ? -1 : evidence_distance(key, traced->picture_hash, PICTURE_HASH_BITS);
		if (key != NULL && evidence_has_digest(key, traced->digest, TRACED_DIGEST_SIZE))
			take_image(search, traced, TRACE_EXACT, Max(distance, 0));
		else if (distance >= 0 && distance <= search->near)
			take_image(search, traced, TRACE_SIMILAR, distance);
		else
		{
			if (distance >= 0)
				image->distance = distance;
			add_stored(image, TRACE_MARK, search->log, traced->sequence);
		}
		return true;
	}
	return false;
}

static HTAB *
make_set(const char *name)
{
	HASHCTL control = {.keysize = ENTRY_IMAGE_ID_SIZE,
					   .entrysize = ENTRY_IMAGE_ID_SIZE,
					   .hcxt = CurrentMemoryContext};

	return hash_create(name, 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Notes an image that one of its entries could not be compared by. */
static void
note_without_key(Search *search, const uint8 *image_id)
{
	if (search->without_key == NULL)
		search->without_key = make_set("biometric images without key");
	(void) hash_search(search->without_key, image_id, HASH_ENTER, NULL);
}

static void
look_at_image(const TracedImage *traced, void *context)
{
	Search *search = context;
	const EvidenceKey *key = evidence_key(search->evidence, traced->key_id);
	int distance;

	search->compared++;
	if (key == NULL)
		note_without_key(search, traced->image_id);
	if (search->wanted > 0 && take_wanted(search, traced, key))
		return;
	if (key == NULL)
		return;
	if (evidence_has_digest(key, traced->digest, TRACED_DIGEST_SIZE))
		take_image(search, traced, TRACE_EXACT, 0);
	else if ((distance = evidence_distance(key, traced->picture_hash, search->near)) >= 0)
		take_image(search, traced, TRACE_SIMILAR, distance);
}

/*
 * What was sealed again has entries under several keys, of which some may be gone: by those it
 * was not found, but they say in which rows it was. One under a key that is there is enough to
 * have compared it.
 */
static void
look_again(const TracedImage *traced, void *context)
{
	Search *search = context;
	FoundImage *image;

	if (evidence_key(search->evidence, traced->key_id) != NULL)
	{
		(void) hash_search(search->without_key, traced->image_id, HASH_REMOVE, NULL);
		return;
	}
	if (hash_search(search->found, traced->image_id, HASH_FIND, NULL) == NULL)
		return;
	image = search_find(search, traced->image_id);
	if (image - search->images >= search->wanted)
		add_stored(image, TRACE_MARK, search->log, traced->sequence);
}

static int
compare_stored(const void *a, const void *b)
{
	const FoundStored *one = a;
	const FoundStored *other = b;

	if (one->log != other->log)
		return one->log < other->log ? -1 : 1;
	return one->sequence < other->sequence ? -1 : one->sequence > other->sequence;
}

/* Goes through all logs once. */
static void
search_logs(Search *search, TracedImageLook look)
{
	for (int i = 0; i < list_length(search->logs); i++)
	{
		CHECK_FOR_INTERRUPTS();
		search->log = i;
		traced_images(list_nth(search->logs, i), search->snapshot, look, search);
	}
}

/* Goes through them again for what was sealed under keys that are not there. */
static void
search_again(Search *search)
{
	if (search->without_key == NULL)
		return;
	search->found = make_set("biometric images found");
	for (int i = 0; i < search->count; i++)
		(void) hash_search(search->found, search->images[i].id, HASH_ENTER, NULL);
	search_logs(search, look_again);
	for (int i = 0; i < search->count; i++)
		if (search->images[i].stored_count > 1)
			qsort(search->images[i].stored, search->images[i].stored_count, sizeof(FoundStored),
				  compare_stored);
}

static int
compare_images(const void *a, const void *b)
{
	const FoundImage *one = a;
	const FoundImage *other = b;

	if (one->match != other->match)
		return one->match < other->match ? -1 : 1;
	if (one->distance != other->distance)
		return one->distance < other->distance ? -1 : 1;
	/* ids begin with the time of sealing */
	return memcmp(one->id, other->id, ENTRY_IMAGE_ID_SIZE);
}

void
search_images(Search *search)
{
	search_logs(search, look_at_image);
	search_again(search);
	search_confirm(search);
	qsort(search->images, search->count, sizeof(FoundImage), compare_images);
}
