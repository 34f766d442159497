/*
 * table.h - texts kept once and tables of numbers, which hold whatever a
 * ledger's entries say of one party, and so may get large.
 *
 * Zero-initialise, then add; free at the end. Out of memory ends the program.
 * Numbers that stand for texts are given in the order of coming, from 1 on; 0 is no text.
 */
#ifndef BIOMETRIC_REPORTER_TABLE_H
#define BIOMETRIC_REPORTER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A borrowed text, not NUL-terminated; bytes NULL: none. Valid until the next one is added. */
typedef struct Span
{
	const char *bytes;
	size_t length;
} Span;

typedef struct Texts
{
	char *bytes; /* all texts, one behind the other, each with a NUL behind it */
	size_t used;
	size_t capacity;
	size_t *ends; /* of text n at n - 1, its NUL included */
	uint32_t count;
	uint32_t ends_capacity;
	uint32_t *slots; /* open addressing; 0: free */
	uint32_t slot_count;
} Texts;

/* texts_add returns a text's number; it is added if it is new. Bytes NULL: 0. */
extern uint32_t texts_add(Texts *texts, const char *bytes, size_t length);

/* texts_find returns a text's number, or 0 when it was never added. */
extern uint32_t texts_find(const Texts *texts, const char *bytes, size_t length);

/* texts_get returns the text of a number; its bytes have a NUL behind them. 0: none. */
extern Span texts_get(const Texts *texts, uint32_t number);

/* texts_free gives its memory back. */
extern void texts_free(Texts *texts);

/* From a number to another that is not 0. */
typedef struct NumberMap
{
	uint64_t *keys;
	uint32_t *values; /* 0: free */
	size_t slot_count;
	size_t count;
} NumberMap;

/* map_find returns the value of a key, or 0 when it has none. */
extern uint32_t map_find(const NumberMap *map, uint64_t key);

/*
 * map_place returns where the value of a key is, or, being 0, is to be put
 * at once; valid until the next call.
 */
extern uint32_t *map_place(NumberMap *map, uint64_t key);

/* map_free gives its memory back. */
extern void map_free(NumberMap *map);

/* map_pair makes a key of two numbers. */
static inline uint64_t
map_pair(uint32_t a, uint32_t b)
{
	return (uint64_t) a << 32 | b;
}

/*
 * list_grow returns an array, made larger if need be, that has room for one
 * more item of size bytes behind count; what is new of it is zero.
 */
extern void *list_grow(void *items, uint32_t count, uint32_t *capacity, size_t size);

#endif
