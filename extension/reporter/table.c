/*
 * table.c - open addressing with linear probing, at most two thirds full.
 */
#define _GNU_SOURCE

#include "reporter/table.h"

#include "tool/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_SLOTS 64

/* Hashes differ from run to run, so that nobody can choose texts that collide. */
static uint64_t
hash_seed(void)
{
	static uint64_t seed;

	if (seed == 0 && getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint64_t) (uintptr_t) &seed;
	seed |= 1;
	return seed;
}

static uint64_t
hash_mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t) (a ^ UINT64_C(0x9e3779b97f4a7c15)) * (b | 1);

	return (uint64_t) product ^ (uint64_t) (product >> 64);
}

static uint64_t
hash_bytes(const char *bytes, size_t length)
{
	uint64_t seed = hash_seed();
	uint64_t hash = hash_mix(seed, length);

	for (size_t at = 0; at < length; at += 8)
	{
		uint64_t word = 0;

		memcpy(&word, bytes + at, length - at < 8 ? length - at : 8);
		hash = hash_mix(hash ^ word, seed);
	}
	return hash;
}

static void *
take_memory(void *old, size_t size)
{
	void *memory = realloc(old, size);

	if (memory == NULL)
	{
		fputs("biometric-report: out of memory\n", stderr);
		exit(TOOL_INPUT);
	}
	return memory;
}

static void *
take_zeroes(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (memory == NULL)
	{
		fputs("biometric-report: out of memory\n", stderr);
		exit(TOOL_INPUT);
	}
	return memory;
}

void *
list_grow(void *items, uint32_t count, uint32_t *capacity, size_t size)
{
	uint32_t old = *capacity;

	if (count < old)
		return items;
	*capacity = old == 0 ? 16 : old * 2;
	items = take_memory(items, (size_t) *capacity * size);
	memset((char *) items + (size_t) old * size, 0, (size_t) (*capacity - old) * size);
	return items;
}

Span
texts_get(const Texts *texts, uint32_t number)
{
	size_t begin;

	if (number == 0 || number > texts->count)
		return (Span){0};
	begin = number == 1 ? 0 : texts->ends[number - 2];
	return (Span){texts->bytes + begin, texts->ends[number - 1] - begin - 1};
}

/* The slot that a text has, or would have. */
static uint32_t
texts_slot(const Texts *texts, const char *bytes, size_t length)
{
	uint32_t mask = texts->slot_count - 1;
	uint32_t slot = (uint32_t) hash_bytes(bytes, length) & mask;

	for (; texts->slots[slot] != 0; slot = (slot + 1) & mask)
	{
		Span text = texts_get(texts, texts->slots[slot]);

		if (text.length == length && memcmp(text.bytes, bytes, length) == 0)
			break;
	}
	return slot;
}

static void
texts_rehash(Texts *texts)
{
	free(texts->slots);
	texts->slot_count = texts->slot_count == 0 ? FIRST_SLOTS : texts->slot_count * 2;
	texts->slots = take_zeroes(texts->slot_count, sizeof(*texts->slots));
	for (uint32_t number = 1; number <= texts->count; number++)
	{
		Span text = texts_get(texts, number);

		texts->slots[texts_slot(texts, text.bytes, text.length)] = number;
	}
}

/* Puts a text behind the others. */
static void
texts_append(Texts *texts, const char *bytes, size_t length)
{
	if (texts->capacity - texts->used < length + 1)
	{
		texts->capacity = texts->capacity * 2 + length + 4096;
		texts->bytes = take_memory(texts->bytes, texts->capacity);
	}
	texts->ends = list_grow(texts->ends, texts->count, &texts->ends_capacity, sizeof(size_t));
	memcpy(texts->bytes + texts->used, bytes, length);
	texts->bytes[texts->used + length] = '\0';
	texts->used += length + 1;
	texts->ends[texts->count++] = texts->used;
}

uint32_t
texts_add(Texts *texts, const char *bytes, size_t length)
{
	uint32_t slot;

	if (bytes == NULL)
		return 0;
	if ((uint64_t) texts->count * 3 >= (uint64_t) texts->slot_count * 2)
		texts_rehash(texts);
	slot = texts_slot(texts, bytes, length);
	if (texts->slots[slot] == 0)
	{
		texts_append(texts, bytes, length);
		texts->slots[slot] = texts->count;
	}
	return texts->slots[slot];
}

uint32_t
texts_find(const Texts *texts, const char *bytes, size_t length)
{
	if (bytes == NULL || texts->slot_count == 0)
		return 0;
	return texts->slots[texts_slot(texts, bytes, length)];
}

void
texts_free(Texts *texts)
{
	free(texts->bytes);
	free(texts->ends);
	free(texts->slots);
	*texts = (Texts){0};
}

static size_t
map_slot(const NumberMap *map, uint64_t key)
{
	size_t mask = map->slot_count - 1;
	size_t slot = (size_t) hash_mix(key, hash_seed()) & mask;

	while (map->values[slot] != 0 && map->keys[slot] != key)
		slot = (slot + 1) & mask;
	return slot;
}

uint32_t
map_find(const NumberMap *map, uint64_t key)
{
	return map->slot_count == 0 ? 0 : map->values[map_slot(map, key)];
}

static void
map_rehash(NumberMap *map)
{
	NumberMap old = *map;

	map->slot_count = old.slot_count == 0 ? FIRST_SLOTS : old.slot_count * 2;
	map->keys = take_zeroes(map->slot_count, sizeof(*map->keys));
	map->values = take_zeroes(map->slot_count, sizeof(*map->values));
	for (size_t i = 0; i < old.slot_count; i++)
	{
		size_t slot;

		if (old.values[i] == 0)
			continue;
		slot = map_slot(map, old.keys[i]);
		map->keys[slot] = old.keys[i];
		map->values[slot] = old.values[i];
	}
	free(old.keys);
	free(old.values);
}

uint32_t *
map_place(NumberMap *map, uint64_t key)
{
	size_t slot;

	if (map->count * 3 >= map->slot_count * 2)
		map_rehash(map);
	slot = map_slot(map, key);
	if (map->values[slot] == 0)
	{
		map->keys[slot] = key;
		map->count++;
	}
	return &map->values[slot];
}

void
map_free(NumberMap *map)
{
	free(map->keys);
	free(map->values);
	*map = (NumberMap){0};
}
