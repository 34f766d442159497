/*
 * limits_counted.c - images that this session has bound to a column where they are counted, and
 * that no transaction which lasts has counted.
 *
 * Its variables, and portals, outlive what is rolled back: without this an image that was stored
 * and taken back could be stored once more as one that comes from the column, and was counted.
 */
#include "base/compat.h"

#include "access/xact.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "trigger/limits.h"

/* Beyond this many nobody knows any more which were counted: all that come are counted again. */
#define BOUND_LIMIT 1000000

/* So many at first. */
#define COUNTED_ROOM 256

typedef struct BoundImage
{
	uint8 image_id[ENVELOPE_ID_SIZE]; /* hash key */
	bool counted;					  /* by the transaction that is running */
} BoundImage;

/* One that the transaction has counted, in the order of that. */
typedef struct CountedImage
{
	BoundImage *image;
	SubTransactionId subtransaction;
} CountedImage;

/* Of the session. An entry stays where it is until it is removed. */
static HTAB *bound = NULL;
static bool bound_lost = false;

/* Of the transaction; room: for how many there is memory. */
static CountedImage *counted = NULL;
static Size counted_count = 0;
static Size counted_room = 0;

/* An entry for an image; NULL when there are too many. */
static BoundImage *
bound_enter(const uint8 *image_id)
{
	HASHCTL info = {.keysize = ENVELOPE_ID_SIZE, .entrysize = sizeof(BoundImage)};
	BoundImage *image;
	bool found;

	if (bound == NULL)
	{
		info.hcxt = TopMemoryContext;
		bound = hash_create("biometric images bound and not counted", 64, &info,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	bound_lost |= hash_get_num_entries(bound) >= BOUND_LIMIT;
	if (bound_lost)
		return hash_search(bound, image_id, HASH_FIND, NULL);
	image = hash_search(bound, image_id, HASH_ENTER, &found);
	if (!found)
		image->counted = false;
	return image;
}

void
limits_note_bound(const uint8 *image_id)
{
	(void) bound_enter(image_id);
}

void
limits_note_counted(const uint8 *image_id)
{
	BoundImage *image = bound_enter(image_id);

	if (image == NULL || image->counted)
		return;
	if (counted_count == counted_room)
	{
		Size room = Max(2 * counted_room, COUNTED_ROOM);

		counted = counted == NULL
					  ? MemoryContextAlloc(TopMemoryContext, room * sizeof(CountedImage))
					  : repalloc_huge(counted, room * sizeof(CountedImage));
		counted_room = room;
	}
	counted[counted_count++] = (CountedImage){image, GetCurrentSubTransactionId()};
	image->counted = true;
}

bool
limits_not_counted(const uint8 *image_id)
{
	const BoundImage *image = bound == NULL ? NULL : hash_search(bound, image_id, HASH_FIND, NULL);

	return image != NULL ? !image->counted : bound_lost;
}

/* What was counted last, back to a number, was not: must not fail. */
static void
take_back(Size count)
{
	while (counted_count > count)
		counted[--counted_count].image->counted = false;
}

/* What has lasted needs not be known any more. */
static void
forget_counted(void)
{
	while (counted_count > 0)
	{
		uint8 image_id[ENVELOPE_ID_SIZE];

		memcpy(image_id, counted[--counted_count].image->image_id, ENVELOPE_ID_SIZE);
		(void) hash_search(bound, image_id, HASH_REMOVE, NULL);
	}
	if (counted != NULL)
		pfree(counted);
	counted = NULL;
	counted_room = 0;
}

static void
counted_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			forget_counted();
			break;
		case XACT_EVENT_ABORT:
			take_back(0);
			break;
		default:
			break; /* nothing has ended */
	}
}

/* Subtransactions are nested, so what one has counted stands at the end. */
static void
counted_end_sub(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	Size first = counted_count;

	while (first > 0 && counted[first - 1].subtransaction == mine)
		first--;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		take_back(first);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (Size i = first; i < counted_count; i++)
			counted[i].subtransaction = parent;
}

void
limits_counted_init(void)
{
	RegisterXactCallback(counted_end, NULL);
	RegisterSubXactCallback(counted_end_sub, NULL);
}
