/*
 * held.h - which rows held an image, as the entries of one log say. For extension/report only.
 */
#ifndef BIOMETRIC_REPORT_HELD_H
#define BIOMETRIC_REPORT_HELD_H

#include "postgres.h"

#include "ledger/store.h"
#include "report/released.h"

/*
 * Things that have been numbered, from 0: a hash table by their keys. Slots are
 * as small as can be, and looked at one behind the other, since there are
 * hundreds of thousands of things, and each look elsewhere in memory costs more than
 * all else.
 */
typedef struct NumberingSlot
{
	uint32 hash;
	int number; /* -1: free */
} NumberingSlot;

typedef struct Numbering
{
	MemoryContext context;
	Size key_size; /* 0: keys are ReleasedText, compared by their bytes */
	int count;
	int capacity; /* of the array that the numbers lead into */
	char *keys;	  /* by number */
	int keys_capacity;
	NumberingSlot *slots;
	uint32 slot_count; /* a power of 2, more than count */
} Numbering;

/* An answer that is being made. */
typedef struct ReleasedBuilder
{
	Released *answer;
	MemoryContext context; /* of the answer */
	MemoryContext working; /* for what is not needed once it is made */
	Numbering texts;
	Numbering images;
	Numbering rows;
	Numbering states;
	Numbering persons;
	Numbering helds;
	Numbering hows;
	Numbering cells;
} ReleasedBuilder;

/* ---- numbering.c */

/* numbering_begin makes an empty numbering of keys of a size, 0: texts, in a memory context. */
extern void numbering_begin(Numbering *numbering, Size key_size, MemoryContext context);

/*
 * numbering_number returns the number of a key, which is copied; known: whether it had one
 * before. A text's bytes are borrowed. Error 54000.
 */
extern int numbering_number(Numbering *numbering, const void *key, bool *known);

/* numbering_key returns where a key stands, until the next is numbered. */
extern void *numbering_key(const Numbering *numbering, int number);

/*
 * numbering_grow makes room for the thing numbered last in the array that numbers lead into.
 * Returns the array, which is in a memory context of the caller's.
 */
extern void *numbering_grow(Numbering *numbering, void *array, Size width, MemoryContext context);

/* ---- released.c and held.c */

/*
 * builder_text returns the number of an entry's text, kept in the database's encoding;
 * RELEASED_NONE for one that is absent. json: it is a JSON object.
 */
extern int builder_text(ReleasedBuilder *builder, EntryText text, bool json);

/* entry_line returns the relation that an entry is about: its own, or of its statement's list. */
extern EntryText entry_line(const EntryFields *entry, const EntryFields *statement);

/* Of one log: what its entries say of images, looked up as it is asked for. */
typedef struct HeldLog HeldLog;

/*
 * held_begin prepares to look up images in a log. held_number returns the number, in the
 * answer, of how an image was held that was released by an entry, from a relation (a text,
 * or RELEASED_NONE). Error 42P01 when a table is gone.
 */
extern HeldLog *held_begin(ReleasedBuilder *builder, const LedgerLog *log, Snapshot snapshot);
extern int held_number(HeldLog *held, int image, int relation, int64 sequence);
extern void held_end(HeldLog *held);

#endif
