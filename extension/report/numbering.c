/*
 * numbering.c - gives each of many things a number.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "report/held.h"

#define SLOTS_FIRST 256
#define NO_NUMBER (-1)

static Size
width_of_key(const Numbering *numbering)
{
	return numbering->key_size == 0 ? sizeof(ReleasedText) : numbering->key_size;
}

static uint32
hash_of_key(const Numbering *numbering, const void *key)
{
	const ReleasedText *text = key;

	return numbering->key_size == 0
			   ? hash_bytes((const unsigned char *) text->bytes, (int) text->length)
			   : hash_bytes(key, (int) numbering->key_size);
}

void *
numbering_key(const Numbering *numbering, int number)
{
	return numbering->keys + (Size) number * width_of_key(numbering);
}

static bool
is_key(const Numbering *numbering, int number, const void *key)
{
	const ReleasedText *one = numbering_key(numbering, number);
	const ReleasedText *other = key;

	if (numbering->key_size != 0)
		return memcmp(one, key, numbering->key_size) == 0;
	return one->length == other->length && memcmp(one->bytes, other->bytes, one->length) == 0;
}

static void
make_slots(Numbering *numbering, uint32 count)
{
	numbering->slot_count = count;
	numbering->slots =
		MemoryContextAllocHuge(numbering->context, (Size) count * sizeof(NumberingSlot));
	for (uint32 i = 0; i < count; i++)
		numbering->slots[i] = (NumberingSlot){.number = NO_NUMBER};
}

void
numbering_begin(Numbering *numbering, Size key_size, MemoryContext context)
{
	memset(numbering, 0, sizeof(*numbering));
	numbering->key_size = key_size;
	numbering->context = context;
	make_slots(numbering, SLOTS_FIRST);
}

/* The first free slot for a hash. */
static NumberingSlot *
free_slot(const Numbering *numbering, uint32 hash)
{
	uint32 mask = numbering->slot_count - 1;
	uint32 at = hash & mask;

	while (numbering->slots[at].number != NO_NUMBER)
		at = (at + 1) & mask;
	return &numbering->slots[at];
}

/* Keeps at least half of the slots free, so that few have to be looked at. */
static void
make_room(Numbering *numbering)
{
	NumberingSlot *old = numbering->slots;
	uint32 count = numbering->slot_count;

	if ((uint32) numbering->count < count / 2)
		return;
	if (numbering->count >= INT_MAX / 4)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too much was released to be counted at once"),
						errhint("Ask for a shorter period.")));
	make_slots(numbering, count * 2);
	for (uint32 i = 0; i < count; i++)
		if (old[i].number != NO_NUMBER)
			*free_slot(numbering, old[i].hash) = old[i];
	pfree(old);
}

static void
keep_key(Numbering *numbering, const void *key)
{
	Size width = width_of_key(numbering);
	Size wanted;

	if (numbering->count == numbering->keys_capacity)
	{
		wanted = Max(64, (Size) numbering->keys_capacity * 2);
		numbering->keys = numbering->keys == NULL
							  ? MemoryContextAllocHuge(numbering->context, wanted * width)
							  : repalloc_huge(numbering->keys, wanted * width);
		numbering->keys_capacity = (int) wanted;
	}
	memcpy(numbering_key(numbering, numbering->count), key, width);
}

static int
find_key(const Numbering *numbering, const void *key, uint32 hash)
{
	uint32 mask = numbering->slot_count - 1;

	for (uint32 at = hash & mask; numbering->slots[at].number != NO_NUMBER; at = (at + 1) & mask)
		if (numbering->slots[at].hash == hash &&
			is_key(numbering, numbering->slots[at].number, key))
			return numbering->slots[at].number;
	return NO_NUMBER;
}

int
numbering_find(const Numbering *numbering, const void *key)
{
	return find_key(numbering, key, hash_of_key(numbering, key));
}

int
numbering_number(Numbering *numbering, const void *key, bool *known)
{
	uint32 hash = hash_of_key(numbering, key);
	int number = find_key(numbering, key, hash);

	*known = number != NO_NUMBER;
	if (*known)
		return number;
	make_room(numbering);
	keep_key(numbering, key);
	*free_slot(numbering, hash) = (NumberingSlot){.hash = hash, .number = numbering->count};
	return numbering->count++;
}

void *
numbering_grow(Numbering *numbering, void *array, Size width, MemoryContext context)
{
	Size wanted = numbering->capacity;

	if (numbering->count <= numbering->capacity)
		return array;
	wanted = Min(Max(64, wanted * 2), INT_MAX);
	numbering->capacity = (int) wanted;
	return array == NULL ? MemoryContextAllocHuge(context, wanted * width)
						 : repalloc_huge(array, wanted * width);
}
